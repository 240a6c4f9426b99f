"""Ways to damage a file: blindly, and where it hurts."""

from __future__ import annotations

import gzip
import json
import random
import struct
from collections.abc import Callable
from typing import Any

#: Numbers on which readers stumble.
_NUMBERS = (0, 1, -1, 2, 7, 127, 128, 255, 32767, -32768, 65535, 2**31 - 1, -(2**31), 2**32 - 1)
_FLOATS = (0.0, -0.0, -1.0, 1e-38, 1e-7, 1e38, -1e38, float("nan"), float("inf"), float("-inf"), 1.0, 1e6)
_LENGTHS = (0, 1, 2, 0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF, 0x10000000, 0x0000FFFF)
#: VRs whose length has 32 bits.
_LONG_FORM = b"OB OW OF SQ UT UN UC UR OD OL".split()
_TEXTS = (b"nan", b"-1", b"1e400", b"inf", b"\\\\\\", b"", b"\xff\xfe", b"0", b"A\\B", b"99999999")
_VRS = b"AE AS AT CS DA DS DT FL FD IS LO LT OB OD OF OW PN SH SL SQ SS ST TM UI UL UN US UT UV ZZ".split()

#: Offset and struct format of NIfTI-1 header fields that readers use.
_NIFTI_FIELDS = (
    (0, "i"),  # sizeof_hdr
    (39, "b"),  # dim_info
    *((40 + 2 * axis, "h") for axis in range(8)),  # dim
    (70, "h"),  # datatype
    (72, "h"),  # bitpix
    *((76 + 4 * axis, "f") for axis in range(8)),  # pixdim
    (108, "f"),  # vox_offset
    (112, "f"),  # scl_slope
    (116, "f"),  # scl_inter
    (123, "b"),  # xyzt_units
    (252, "h"),  # qform_code
    (254, "h"),  # sform_code
    *((256 + 4 * index, "f") for index in range(18)),  # quaternion, offsets, srow_x, _y, _z
    (344, "i"),  # magic
    (348, "i"),  # extension
)
_DATATYPES = (0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 768, 1024, 1280, 1536, 1792, 2048, 2304)


def blind(data: bytes, rng: random.Random, reach: int | None = None) -> bytes:
    """Flip, replace, cut out, repeat or insert bytes; within the first ``reach`` where given."""
    damaged = bytearray(data)
    end = min(len(damaged), reach or len(damaged))
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        place = rng.randrange(max(end, 1))
        kind = rng.randrange(7)
        if not damaged:
            break
        place = min(place, len(damaged) - 1)
        if kind == 0:
            damaged[place] ^= 1 << rng.randrange(8)
        elif kind == 1:
            damaged[place] = rng.choice((0, 1, 0x20, 0x2D, 0x5C, 0x7F, 0x80, 0xFE, 0xFF))
        elif kind == 2:
            del damaged[place : place + rng.choice((1, 2, 3, 8, 40))]
        elif kind == 3:
            damaged[place:place] = damaged[place : place + rng.choice((1, 2, 8, 60))]
        elif kind == 4:
            damaged[place:place] = rng.randbytes(rng.choice((1, 2, 4, 9)))
        elif kind == 5:
            width = rng.choice("HIh")
            value = (
                struct.pack("<" + width, rng.choice(_LENGTHS) & (0xFFFF if width in "H" else 0xFFFFFFFF))
                if (width != "h")
                else struct.pack("<h", max(-32768, min(32767, rng.choice(_NUMBERS))))
            )
            damaged[place : place + len(value)] = value
        elif rng.random() < 0.2:
            del damaged[place:]
    return bytes(damaged)


def dicom(data: bytes, rng: random.Random, pixels_at: int) -> bytes:
    """Damage a DICOM file's header: lengths, VRs, values, order; sometimes anything anywhere."""
    if rng.random() < 0.3:
        return blind(data, rng, pixels_at if rng.random() < 0.9 else None)
    damaged = bytearray(data)
    elements = _elements(data, pixels_at)
    for _ in range(rng.choice((1, 1, 2, 3))):
        start, long_form, value_at, length = rng.choice(elements)
        kind = rng.randrange(6)
        if kind == 0:  # a lying length
            lie = rng.choice((*_LENGTHS, length + 1, max(length - 1, 0), length + 2, length * 2))
            if long_form:
                damaged[value_at - 4 : value_at] = struct.pack("<I", lie & 0xFFFFFFFF)
            else:
                damaged[value_at - 2 : value_at] = struct.pack("<H", lie & 0xFFFF)
        elif kind == 1:  # another VR
            damaged[start + 4 : start + 6] = rng.choice(_VRS)
        elif kind == 2:  # a value that readers stumble on, of the same length
            text = rng.choice(
                (b"nan", b"-1", b"1e400", b"inf", b"\\\\\\", b"", b"\xff\xfe", b"0", b"A\\B", b"99999999")
            )
            damaged[value_at : value_at + length] = (text * (length // max(len(text), 1) + 1)).ljust(length)[:length]
        elif kind == 3:  # an absurd binary number
            if length in (2, 4):
                number = rng.choice(_NUMBERS) & (0xFFFF if length == 2 else 0xFFFFFFFF)
                damaged[value_at : value_at + length] = struct.pack("<H" if length == 2 else "<I", number)
        elif kind == 4:  # another tag
            struct.pack_into(
                "<HH", damaged, start, rng.choice((2, 8, 0x28, 0x29, 0x7FE0, 0xFFFE)), rng.randrange(65536)
            )
        else:  # the element away, or twice
            element = damaged[start : value_at + length]
            damaged[start : value_at + length] = element * rng.choice((0, 2))
            break  # the places of the others are no longer true
    return bytes(damaged)


def _elements(data: bytes, stop: int) -> list[tuple[int, bool, int, int]]:
    """(start, whether the length has 32 bits, start of the value, length) of each element of explicit little endian."""
    found = []
    place = 132
    while place + 8 <= stop:
        long_form = data[place + 4 : place + 6] in (
            b"OB",
            b"OW",
            b"OF",
            b"SQ",
            b"UT",
            b"UN",
            b"UC",
            b"UR",
            b"OD",
            b"OL",
        )
        if long_form:
            (length,) = struct.unpack_from("<I", data, place + 8)
            value_at = place + 12
        else:
            (length,) = struct.unpack_from("<H", data, place + 6)
            value_at = place + 8
        # A sequence is entered, not passed over.
        inside = length == 0xFFFFFFFF or data[place + 4 : place + 6] == b"SQ"
        found.append((place, long_form, value_at, 0 if inside else length))
        place = value_at + (0 if inside else length)
        while data[place : place + 2] == b"\xfe\xff":  # item marks have no VR
            place += 8
    return found


def nifti(data: bytes, rng: random.Random, packed: bool) -> bytes:
    """Damage a NIfTI-1 header field by field; sometimes the packed bytes."""
    damaged = bytearray(data)
    if rng.random() < 0.2:
        damaged = bytearray(blind(data, rng, 352))
    else:
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            offset, kind = rng.choice(_NIFTI_FIELDS)
            if kind == "f":
                value: float = rng.choice(_FLOATS) if rng.random() < 0.8 else rng.uniform(-3, 3)
                struct.pack_into("<f", damaged, offset, value)
            elif kind == "h":
                choices = _DATATYPES if offset == 70 and rng.random() < 0.7 else _NUMBERS
                struct.pack_into("<h", damaged, offset, max(-32768, min(32767, rng.choice(choices))))
            elif kind == "b":
                struct.pack_into("<b", damaged, offset, max(-128, min(127, rng.choice(_NUMBERS))))
            else:
                struct.pack_into("<I", damaged, offset, rng.choice(_NUMBERS) & 0xFFFFFFFF)
        if rng.random() < 0.1:
            del damaged[rng.randrange(len(damaged)) :]
    if not packed:
        return bytes(damaged)
    result = gzip.compress(bytes(damaged), 1)
    return blind(result, rng) if rng.random() < 0.15 else result


def text_header(data: bytes, rng: random.Random, end: int) -> bytes:
    """Damage the text header of NRRD or MetaImage: a number, a word or a line; sometimes anything."""
    if rng.random() < 0.3:
        return blind(data, rng, end)
    lines = data[:end].split(b"\n")
    for _ in range(rng.choice((1, 1, 2))):
        index = rng.randrange(len(lines))
        words = lines[index].split(b" ")
        choice = rng.randrange(4)
        if choice == 0:
            lines[index] = b""
        elif choice == 1:
            lines.insert(index, lines[index])
        else:
            odd = (b"-1", b"0", b"nan", b"1e99", b"99999999999", b"(1,1,1)", b"\xff", b"%s%n", b"../../x", b"LIST")
            words[rng.randrange(len(words))] = rng.choice(odd)
            lines[index] = b" ".join(words)
    return b"\n".join(lines) + data[end:]


def json_text(content: Any, rng: random.Random) -> bytes:
    """Damage a JSON document: absurd values and shapes, sometimes no JSON at all."""
    if rng.random() < 0.15:
        return blind(json.dumps(content).encode(), rng)
    changed = json.loads(json.dumps(content))
    for _ in range(rng.choice((1, 1, 2, 4))):
        parent, key = _somewhere(changed, rng)
        if parent is None:
            changed = absurd(rng)
            break
        if isinstance(parent, dict) and rng.random() < 0.15:
            del parent[key]
        elif isinstance(parent, dict) and rng.random() < 0.1:
            parent[rng.choice(("", "__class__", "../x", "\u0000", "n" * 5000))] = absurd(rng)
        else:
            parent[key] = absurd(rng)
    text = json.dumps(changed, allow_nan=True, ensure_ascii=rng.random() < 0.5)
    return text.encode("utf-8", "surrogatepass")


def absurd(rng: random.Random) -> Any:
    """A value that does not belong here."""
    makers: tuple[Callable[[], Any], ...] = (
        lambda: None,
        lambda: rng.choice((True, False)),
        lambda: rng.choice((0, -1, 10**9, 10**18, 10**400, 2**63)),
        lambda: rng.choice((1e308, -1e308, 1e-320, float("nan"), float("inf"))),
        lambda: rng.choice(("", "x", "../../etc/passwd", "a" * 10_000, "\ud800", "=1+1", "<b>", "\x00", "C:\\x")),
        lambda: [],
        lambda: {},
        lambda: [10**6] * rng.choice((1, 3, 1000)),
        lambda: [[1.0] * 3] * 3,
        lambda: {"a": {"b": {"c": [1, 2, {"d": None}]}}},
        lambda: _deep(rng.choice((50, 500))),
    )
    return rng.choice(makers)()


def _deep(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def _somewhere(content: Any, rng: random.Random) -> tuple[Any, Any]:
    """A container inside a document and one of its keys, each as likely as the next."""
    places: list[tuple[Any, Any]] = []
    stack = [content]
    while stack:
        here = stack.pop()
        keys: Any = here.keys() if isinstance(here, dict) else range(len(here)) if isinstance(here, list) else ()
        for key in keys:
            places.append((here, key))
            stack.append(here[key])
    return rng.choice(places) if places else (None, None)
