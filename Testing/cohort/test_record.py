"""A case's truth stands in one place, and the table is made from it."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
from pathlib import Path

import pytest

from KidneySegLib.cohort.record import (
    DONE,
    FAILED,
    CaseRecord,
    failed_record,
    read_records,
    read_result,
    write_failure,
)
from KidneySegLib.cohort.table import BATCH_COLUMNS, TableFile, table_text
from KidneySegLib.errors import OutputError
from KidneySegLib.measurement.table import COLUMNS


def a_result(output: Path, case_id: str, input_sha256: str = "11", volume: str = "150.000") -> Path:
    folder = output / "cases" / case_id
    folder.mkdir(parents=True, exist_ok=True)
    facts = {
        "input": {"sha256": input_sha256},
        "model": {"name": "m", "sha256": "22"},
        "version": "1.0",
        "batch": {"key": "kk", "source_stamp": "ss"},
    }
    (folder / "provenance.json").write_text(json.dumps(facts))
    (folder / "volumes.csv").write_text(
        f"case_id,side,parenchyma_ml,flags\n{case_id},right,{volume},one_kidney\n{case_id},both,{volume},one_kidney\n"
    )
    return folder


def test_a_result_is_read_with_its_rows(tmp_path: Path) -> None:
    record = read_result(a_result(tmp_path, "anna"), "anna")
    assert record is not None
    assert (record.status, record.input_sha256, record.key, record.stamp) == (DONE, "11", "kk", "ss")
    assert record.flags == ("one_kidney",)
    both = record.row("both")
    assert both is not None
    assert both["parenchyma_ml"] == "150.000"
    assert both["cortex_ml"] == ""
    assert (both["status"], both["error"], both["input_sha256"], both["model_sha256"]) == (DONE, "", "11", "22")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("provenance.json", None),
        ("provenance.json", b"{"),
        ("provenance.json", b"[]"),
        ("provenance.json", b'{"input": 3}'),
        ("provenance.json", b"[" * 100_000),
        ("volumes.csv", None),
        ("volumes.csv", b""),
        ("volumes.csv", b"\xff\xfe"),
        ("volumes.csv", b"a,b\n1,2\n"),
    ],
)
def test_a_damaged_result_is_none(tmp_path: Path, name: str, content: bytes | None) -> None:
    folder = a_result(tmp_path, "anna")
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(content)
    assert read_result(folder, "anna") is None
    assert read_records(tmp_path) == {}


def test_a_failure_comes_back_as_it_was_written(tmp_path: Path) -> None:
    record = failed_record("anna", "=1+1 is\nno scan", input_sha256="11", model_sha256="22")
    write_failure(tmp_path, record, "Traceback")
    assert read_records(tmp_path) == {"anna": record}
    assert record.rows[0]["error"] == "'=1+1 is no scan"
    assert record.rows[0]["side"] == "both"


def test_of_a_failure_and_a_result_the_later_one_counts(tmp_path: Path) -> None:
    """Whatever the clocks say: the failure names the result that it came after."""
    first = read_result(a_result(tmp_path, "anna"), "anna")
    assert first is not None
    write_failure(tmp_path, failed_record("anna", "changed and broken", after=first.provenance_sha256))
    assert read_records(tmp_path)["anna"].status == FAILED
    # Repaired and segmented again; killed before the failure's file was removed.
    a_result(tmp_path, "anna", input_sha256="33")
    assert read_records(tmp_path)["anna"].status == DONE
    assert read_records(tmp_path)["anna"].input_sha256 == "33"


def test_what_is_no_case_is_passed_over(tmp_path: Path) -> None:
    a_result(tmp_path, "anna")
    a_result(tmp_path, ".anna.x1.part")
    (tmp_path / "cases" / "a file").touch()
    (tmp_path / "failures").mkdir()
    (tmp_path / "failures" / "readme.txt").touch()
    (tmp_path / "failures" / "broken.json").write_text("{")
    assert list(read_records(tmp_path)) == ["anna"]


def test_the_table_has_the_columns_of_single_runs_then_its_own(tmp_path: Path) -> None:
    a_result(tmp_path, "anna")
    write_failure(tmp_path, failed_record("berta", "@SUM(A1) -cmd"))
    table = TableFile(tmp_path, ["berta", "anna"])
    records = read_records(tmp_path)
    table.write(records)
    lines = list(csv.reader(io.StringIO((tmp_path / "volumes.csv").read_text(encoding="utf-8"))))
    assert lines[0] == [*COLUMNS, "status", "error", "input_sha256", "model_sha256"]
    assert tuple(lines[0]) == BATCH_COLUMNS
    assert [(line[0], line[1]) for line in lines[1:]] == [("berta", "both"), ("anna", "right"), ("anna", "both")]
    error = lines[1][BATCH_COLUMNS.index("error")]
    assert error == "'@SUM(A1) -cmd"
    assert all(len(line) == len(BATCH_COLUMNS) for line in lines)
    assert not (tmp_path / "volumes.csv").read_bytes().startswith(b"\xef\xbb\xbf")


def test_a_table_that_finds_no_room_says_so_and_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_result(tmp_path, "anna")
    table = TableFile(tmp_path, ["anna", "berta"])
    table.write(read_records(tmp_path))
    before = (tmp_path / "volumes.csv").read_bytes()
    a_result(tmp_path, "berta")

    def full(_handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match=r"volumes\.csv could not be written \(the disk is full\)\. Finished cases"):
        table.write(read_records(tmp_path))
    assert (tmp_path / "volumes.csv").read_bytes() == before


def test_case_ids_that_are_formulas_are_made_harmless() -> None:
    text = table_text([failed_record("=cmd()", "+x"), CaseRecord("a", DONE, ({"case_id": "a", "side": "both"},))])
    lines = list(csv.reader(io.StringIO(text)))
    assert [line[0] for line in lines[1:]] == ["'=cmd()", "a"]
