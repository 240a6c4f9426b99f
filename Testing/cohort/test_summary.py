"""The page for quality control."""

from __future__ import annotations

import re
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from KidneySegLib.cohort import BatchResult
from KidneySegLib.cohort.histogram import bin_counts, bin_edges, histogram
from KidneySegLib.cohort.record import DONE, CaseRecord, failed_record
from KidneySegLib.cohort.summary import summary_html
from KidneySegLib.cohort.throughput import BatchState


def a_record(case_id: str, flags: str = "", volume: str = "300", model: str = "m") -> CaseRecord:
    row = {"case_id": case_id, "side": "both", "parenchyma_ml": volume, "flags": flags, "model": model}
    return CaseRecord(case_id, DONE, (row,), program_version="1")


def test_counts_flags_and_failures(tmp_path: Path) -> None:
    records = [a_record("anna", "one_kidney"), a_record("berta"), failed_record("clara", "no scan")]
    page = summary_html(tmp_path, records, BatchState(total=3, made=2, failed=1, cases_per_hour=120.0))
    assert "<span>Measured</span><b>2</b>" in page
    assert "<span>With warnings</span><b>1</b>" in page
    assert "<span>Failed</span><b>1</b>" in page
    assert "Only one kidney was found." in page
    assert "120 cases an hour" in page
    assert "<th>clara</th><td>no scan</td>" in page
    # The flagged case comes first among the pictures.
    assert page.index("class='thumb warning'") < page.index("class='thumb '")


def test_nothing_from_outside_is_markup(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>'\""
    records = [a_record(evil, model=evil), a_record("b", model="other"), failed_record("c" + evil, evil)]
    page = summary_html(tmp_path, records, BatchState(total=3))
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_the_page_needs_no_network(finished: BatchResult) -> None:
    page = (finished.output / "summary.html").read_text(encoding="utf-8")
    assert not re.search(r"(src|href)=['\"](https?:)?//", page)
    assert page.count("data:image/jpeg;base64,") == 2
    assert "href='cases/anna/report.html'" in page


def test_cases_made_in_different_ways_are_pointed_out(tmp_path: Path) -> None:
    page = summary_html(tmp_path, [a_record("a", model="one"), a_record("b", model="two")], BatchState(total=2))
    assert "Not all cases were made the same way" in page


def test_an_empty_cohort_has_a_page(tmp_path: Path) -> None:
    assert "Measured" in summary_html(tmp_path, [], BatchState(total=0))


def test_a_histogram_counts_what_lies_in_each_interval() -> None:
    edges = bin_edges([0.0, 1.0, 2.0, 3.0, 4.0, 10.0])
    assert edges == [0.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0]
    assert bin_counts([0.0, 1.0, 2.0, 3.0, 4.0, 10.0], edges) == [2, 2, 1, 0, 0, 1]
    assert histogram("Length", "mm", {"right": [1.0, 2.0]}).count("<rect") == 2


@given(st.lists(st.floats(min_value=-1e9, max_value=1e9), min_size=1, max_size=200))
def test_no_value_is_lost(values: list[float]) -> None:
    edges = bin_edges(values)
    assert edges[0] <= min(values)
    assert edges[-1] >= max(values)
    assert len(edges) < 60
    assert sum(bin_counts(values, edges)) == len(values)
