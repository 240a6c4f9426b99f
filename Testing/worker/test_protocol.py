from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from KidneySegLib.worker_parts import protocol
from KidneySegLib.worker_parts.protocol import ProtocolError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), JSON, max_size=5))
def test_every_message_survives_one_line(message):
    line = protocol.encode(message)
    assert line.count(b"\n") == 1
    assert protocol.decode(line) == message


def test_not_a_number_is_refused():
    with pytest.raises(ValueError, match="Out of range"):
        protocol.encode({"volume": float("nan")})


@pytest.mark.parametrize("line", [b"", b"hello\n", b"[1]\n", b'"x"\n', b"\xff\xfe\n", b"{" + b" " * (1 << 20) + b"}\n"])
def test_a_line_that_is_not_ours_is_refused(line):
    with pytest.raises(ProtocolError):
        protocol.decode(line)


@pytest.mark.parametrize(
    "request_",
    [{}, {"id": 1}, {"id": "1", "command": "segment"}, {"id": 1, "command": "rm"}, {"id": True, "command": "segment"}],
)
def test_a_request_needs_an_id_and_a_known_command(request_):
    with pytest.raises(ProtocolError):
        protocol.check_request(request_)


def test_another_version_is_refused_with_advice():
    with pytest.raises(ProtocolError, match="restart 3D Slicer"):
        protocol.check_greeting({"protocol": protocol.PROTOCOL, "version": protocol.VERSION + 1})
    with pytest.raises(ProtocolError, match="kidneyseg-worker"):
        protocol.check_greeting({"protocol": "other", "version": protocol.VERSION})
