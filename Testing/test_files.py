"""Files that readers see whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from pathlib import Path

import pytest

from KidneySegLib.errors import InputError, OutputError
from KidneySegLib.files import file_sha256, json_text, plain_write_errors, why_not_written, write_json, write_whole


def test_a_file_is_whole_or_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    write_whole(path, b"one")
    write_whole(path, b"two")
    assert path.read_bytes() == b"two"
    assert [child.name for child in tmp_path.iterdir()] == ["table.csv"]


@pytest.mark.parametrize("apart", [False, True])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, apart: bool
) -> None:
    path = tmp_path / "case" / "table.csv"
    write_whole(path, b"one", tmp_path if apart else None)

    def fail(_handle: int) -> None:
        raise OSError("disk gone")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk gone"):
        write_whole(path, b"two", tmp_path if apart else None)
    assert path.read_bytes() == b"one"
    assert [child.name for child in tmp_path.rglob("*") if child.is_file()] == ["table.csv"]


def test_json_is_read_back_whatever_the_letters(tmp_path: Path) -> None:
    content = {"title": "Nieren, Köln", "values": [1, 2.5, None]}
    write_json(tmp_path / "a.json", content)
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert json.loads(text) == content
    assert "Köln" in text
    assert text.endswith("}\n")
    write_json(tmp_path / "b.json", {**content, "file": "\udcff.png"}, ascii_only=True)
    assert json.loads((tmp_path / "b.json").read_bytes().decode("ascii")) == {**content, "file": "\udcff.png"}


def test_a_number_that_is_none_is_refused_where_asked(tmp_path: Path) -> None:
    assert "NaN" in json_text({"dice": float("nan")})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"dice": float("nan")}, allow_nan=False)
    assert list(tmp_path.iterdir()) == []


def test_the_hash_of_a_file_longer_than_a_block(tmp_path: Path) -> None:
    content = bytes(range(256)) * 5000
    (tmp_path / "file").write_bytes(content)
    assert file_sha256(tmp_path / "file") == hashlib.sha256(content).hexdigest()


def test_why_a_file_could_not_be_written(tmp_path: Path) -> None:
    assert why_not_written(OSError(errno.ENOSPC, "No space left on device")) == "the disk is full"
    assert why_not_written(OSError(errno.EIO, "Input/output error")) == "Input/output error"
    assert why_not_written(OSError("the network is gone")) == "the network is gone"
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file") as caught:
        (tmp_path / "file" / "table.csv").write_text("")
    if os.name != "nt":
        assert why_not_written(caught.value) == "a part of its path is a file"


def test_a_failed_write_is_told_with_its_reason_and_advice() -> None:
    with (
        pytest.raises(OutputError) as caught,
        plain_write_errors("a.csv could not be written", "Choose another place."),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert str(caught.value) == "a.csv could not be written (the disk is full). Choose another place."
    assert isinstance(caught.value.__cause__, OSError)
    with pytest.raises(InputError, match="of another kind"), plain_write_errors("a.csv could not be written", ""):
        raise InputError("of another kind")
