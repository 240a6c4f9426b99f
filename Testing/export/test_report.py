"""The report and provenance: complete, self-contained, safe, without identity."""

from __future__ import annotations

import base64
import io
import json
import re
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from KidneySegLib.export import results, write_results
from KidneySegLib.export.provenance import plain_data, provenance_text
from KidneySegLib.export.report import RESEARCH_USE, report_html
from KidneySegLib.flags import FLAGS, Severity
from KidneySegLib.measurement import MeasurementTable, Row
from Testing.export.conftest import Case

NASTY = "<script>alert('1')</script> & \"quoted\""
PHASE = SimpleNamespace(
    phase="nephrographic", aorta_hu=170.4, cortex_hu=199.0, medulla_hu=None, flags=("phase_nephrographic",),
    reason="Cortex and medulla differ by < 25 HU.",
)  # fmt: skip


class Reader(HTMLParser):
    """Collects tags, attributes that load something, and text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loaded: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loaded += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]

    def handle_data(self, data: str) -> None:
        self.text += data


def page_of(table: MeasurementTable, **changed: Any) -> str:
    arguments = {"case_id": "A", "picture": Image.new("RGB", (60, 40)), "provenance": {}, "phase": None, **changed}
    return report_html(table=table, **arguments)


TABLE = MeasurementTable(
    (
        Row("A", "right", 161.06, 87.5, 73.56, 0.543, 52.1, length_mm=110.2, flags=("kidney_cut_by_scan",)),
        Row("A", "left", 148.0, 80.0, 68.0, 0.54, 47.9),
        Row("A", "both", 309.06, 167.5, 141.56, 0.542, flags=("kidney_cut_by_scan",), kdigo_stage="G3a",
            egfr_ckd_epi_2021=52.4, bsa_mosteller_m2=1.8),
    ),
    notes=("The height was not used: 1.75 cm.",),
)  # fmt: skip


def test_it_loads_nothing_from_elsewhere() -> None:
    page = page_of(TABLE)
    reader = Reader(page)
    assert len(reader.loaded) == 1
    head, data = reader.loaded[0].split(",")
    assert head == "data:image/jpeg;base64"
    assert Image.open(io.BytesIO(base64.b64decode(data))).size == (60, 40)
    assert "script" not in reader.tags
    assert not re.search(r"url\(|@import|https?:", page)


def test_text_of_users_and_files_is_escaped() -> None:
    phase = SimpleNamespace(**{**vars(PHASE), "reason": NASTY})
    provenance = {"model": {"name": NASTY}, "version": NASTY}
    page = page_of(replace(TABLE, notes=(NASTY,)), case_id=NASTY, provenance=provenance, phase=phase)
    reader = Reader(page)
    assert "script" not in reader.tags
    assert reader.text.count(NASTY) >= 6


def test_numbers_flags_and_facts_are_there() -> None:
    text = Reader(page_of(TABLE, phase=PHASE)).text
    for words in ("161.1", "309.1", "54.2", "110", "52 mL/min/1.73 m²", "KDIGO G3a", "nephrographic", "170 HU",
                  "The height was not used", RESEARCH_USE, FLAGS["phase_nephrographic"].sentence):  # fmt: skip
        assert words in text, words
    assert FLAGS["kidney_cut_by_scan"].sentence[:-1] + " (right)." in text


def test_flags_stand_in_the_order_of_their_weight() -> None:
    page = page_of(MeasurementTable((Row("A", "both", flags=("hu_clipped", "one_kidney", "side_uncertain")),)))
    order = re.findall(r"<li class='(\w+)'", page)
    assert order == [Severity.CRITICAL.value, Severity.WARNING.value, Severity.INFO.value]


def test_no_kidney_and_no_flags() -> None:
    assert "Nothing was measured" in page_of(MeasurementTable((Row("A", "both", flags=("no_kidney",)),)))
    assert "No warnings" in page_of(MeasurementTable((Row("A", "both"),)))


def test_what_is_not_measured_is_a_dash_not_a_zero() -> None:
    undivided = Row("A", "right", 120.0, flags=("undivided_parenchyma",))
    page = page_of(MeasurementTable((undivided, Row("A", "left", 120.0, 60.0, 60.0), Row("A", "both", 240.0))))
    assert re.search(r"<th>Cortex <small>mL</small></th><td>&ndash;</td><td>60\.0</td><td>&ndash;</td>", page)
    assert "Cysts" not in page


def test_the_files_agree_and_name_nobody(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "draw_overlay", lambda *_, **__: Image.new("RGB", (60, 40)))
    facts = write_results(tmp_path / "out", **case.arguments(phase=PHASE))
    written = json.loads((tmp_path / "out" / "provenance.json").read_text(encoding="utf-8"))
    assert written == facts
    assert written["input"]["sha256"] == "cd" * 32
    assert written["input"]["size"] == list(case.scan.image.GetSize())
    assert written["model"]["sha256"] == "ab" * 32
    assert written["seconds"] == {"read": 0.5, "network": 2.0}
    assert written["flags"] == list(case.table.flags)
    for path in (tmp_path / "out").iterdir():
        assert b"JANE" not in path.read_bytes(), path.name
        assert b"1.2.3" not in path.read_bytes() or path.suffix in {".gz", ".png", ".html"}, path.name


@dataclass(frozen=True)
class Record:
    phase: Severity
    values: tuple[float, ...]


def test_plain_data() -> None:
    given = {
        "record": Record(Severity.INFO, (1.0, float("nan"), float("inf"))),
        "numpy": (np.float32(0.5), np.int64(3), np.array([1, 2])),
        "path": Path("/data/DOE^JANE/ct.nii.gz"),
        Severity.WARNING: None,
        "ok": True,
    }
    assert plain_data(given) == {
        "record": {"phase": "info", "values": [1.0, None, None]},
        "numpy": [0.5, 3, [1, 2]],
        "path": "ct.nii.gz",
        "warning": None,
        "ok": True,
    }
    assert json.loads(provenance_text(given))["record"]["values"] == [1.0, None, None]
    assert "ä" in provenance_text({"title": "ä"})
