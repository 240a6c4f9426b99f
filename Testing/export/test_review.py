"""Report and provenance say whether numbers are automatic or corrected, by whom, when and with which model."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest
from PIL import Image

from KidneySegLib.export.provenance import make_provenance
from KidneySegLib.export.report import report_html
from KidneySegLib.export.review import Review, origin_sentence
from Testing.export.conftest import Case

MODEL = {"name": "kidneyseg-arterial", "version": "1.0", "sha256": "ab" * 32}
REVIEW = Review("Dr. A <b>", "2026-11-21T09:15:00+00:00", "accepted", "upper pole & cyst", 321)


@pytest.mark.parametrize(
    ("facts", "sentence"),
    [
        ({}, ""),
        (
            {"source": "automatic", "model": MODEL},
            "Automatic, made by the model kidneyseg-arterial 1.0; not reviewed by a person.",
        ),
        (
            {"source": "automatic", "model": MODEL, "review": asdict(REVIEW)},
            "Automatic, made by the model kidneyseg-arterial 1.0; accepted by Dr. A <b>, 2026-11-21 09:15.",
        ),
        (
            {"source": "corrected", "model": MODEL, "review": asdict(REVIEW)},
            "Corrected by Dr. A <b>, 2026-11-21 09:15, starting from the automatic result of the model "
            "kidneyseg-arterial 1.0 (321 voxels changed).",
        ),
        ({"source": "corrected", "model": None, "review": None}, "Drawn or corrected; no model is known."),
        (
            {"source": "corrected", "model": {"name": "m"}, "review": {"reader": "B", "status": "rejected"}},
            "Corrected by B, starting from the automatic result of the model m; rejected.",
        ),
    ],
)
def test_the_sentence(facts: dict[str, Any], sentence: str) -> None:
    assert origin_sentence(facts) == sentence


def test_report_shows_it_escaped_before_the_numbers(case: Case) -> None:
    facts = make_provenance(
        {"source": "corrected", "model": MODEL, "review": REVIEW},
        case_id="c",
        scan=case.scan,
        phase=None,
        flags=(),
        notes=(),
    )
    assert facts["review"]["reader"] == "Dr. A <b>"
    page = report_html(case_id="c", table=case.table, picture=Image.new("RGB", (8, 8)), provenance=facts)
    sentence = "Corrected by Dr. A &lt;b&gt;, 2026-11-21 09:15, starting from"
    assert sentence in page
    assert "<b>," not in page
    assert page.index(sentence) < page.index("class='cards'")
    assert "upper pole &amp; cyst" in page
    assert "<dt>Reader</dt>" in page
