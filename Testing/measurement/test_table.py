"""``volumes.csv``: written, read back, and safe to open in a spreadsheet."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from KidneySegLib.errors import InputError, OutputError
from KidneySegLib.flags import FLAGS
from KidneySegLib.measurement import COLUMNS, MeasurementTable, Row, read_csv, write_csv
from KidneySegLib.measurement.table import csv_text

ROW = Row(
    "case_0001",
    "right",
    parenchyma_ml=161.00649,
    cortex_ml=87.0,
    cortex_fraction=0.54345678,
    cortex_hu_mean=-0.04,
    medulla_hu_mean=-12.34,
    flags=("one_kidney", "hu_clipped"),
    model="kidneyseg-arterial",
)
text = st.text(st.characters(codec="utf-8"), max_size=20).filter(str.isprintable) | st.text("'=+-@ ,\"a", max_size=6)


def test_the_file_to_the_byte(tmp_path: Path) -> None:
    path = tmp_path / "volumes.csv"
    write_csv(MeasurementTable((ROW,)), path)
    lines = path.read_bytes().split(b"\n")
    assert lines[0] == ",".join(COLUMNS).encode()
    # -0.04 rounds to 0.0, not -0.0; flags stand in the order of their table.
    assert lines[1] == (
        b"case_0001,right,161.006,87.000,,0.5435,,,,,,0.0,-12.3,hu_clipped;one_kidney,kidneyseg-arterial,automatic"
        + b"," * (len(COLUMNS) - 16)
    )
    assert lines[2:] == [b""]


@pytest.mark.parametrize("start", ["=1+1", "+1", "-1", "@SUM(A1)", " =1", "'=1", "=1+'x'!A1"])
def test_text_that_a_spreadsheet_would_run_gets_an_apostrophe(start: str, tmp_path: Path) -> None:
    table = MeasurementTable((replace(ROW, case_id=start, model=start),))
    write_csv(table, tmp_path / "volumes.csv")
    with (tmp_path / "volumes.csv").open(encoding="utf-8", newline="") as file:
        (line,) = csv.DictReader(file)
    assert line["case_id"] == line["model"] == "'" + start
    assert line["medulla_hu_mean"] == "-12.3"
    assert read_csv(tmp_path / "volumes.csv").rows[0].case_id == start


@given(case_id=text, model=text, hu=st.none() | st.floats(-2000, 3000), flags=st.sets(st.sampled_from(sorted(FLAGS))))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_round_trip(tmp_path: Path, case_id: str, model: str, hu: float | None, flags: set[str]) -> None:
    order = tuple(key for key in FLAGS if key in flags)
    row = Row(case_id, "both", cortex_hu_mean=hu, flags=order, model=model, kdigo_stage="G3a")
    path = tmp_path / "volumes.csv"
    write_csv(MeasurementTable((row, row)), path)
    (back, again) = read_csv(path).rows
    assert back == again
    assert back == replace(row, cortex_hu_mean=back.cortex_hu_mean)
    assert (back.cortex_hu_mean is None) == (hu is None)
    if hu is not None:
        assert back.cortex_hu_mean == pytest.approx(hu, abs=0.0501)
    assert csv_text(read_csv(path)) == path.read_text(encoding="utf-8")


@given(st.text(st.characters(codec="utf-8"), max_size=20))
@settings(deadline=None)
def test_a_cell_is_one_line(case_id: str) -> None:
    (line,) = csv.DictReader(csv_text(MeasurementTable((Row(case_id, "both"),))).splitlines())
    assert len(line["case_id"].splitlines()) <= 1
    assert line["side"] == "both"


def test_a_spreadsheets_bom_and_new_columns_are_no_obstacle(tmp_path: Path) -> None:
    path = tmp_path / "volumes.csv"
    path.write_bytes(b"\xef\xbb\xbf" + b"case_id,side,parenchyma_ml,status\r\nA,right,12.5,ok\r\n")
    assert read_csv(path).rows == (Row("A", "right", parenchyma_ml=12.5, source=""),)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"a,b\n1,2\n", "no column case_id"),
        (b'case_id,side,parenchyma_ml\nA,right,"12,5"\n', "line 2: parenchyma_ml"),
        (b"\xff\xfe\x00", "UTF-8"),
        (b"", "no column case_id"),
    ],
)
def test_what_is_no_table(content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "volumes.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match=words):
        read_csv(path)


def test_a_missing_file_and_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="could not be read"):
        read_csv(tmp_path / "none.csv")
    with pytest.raises(OutputError, match="could not be written"):
        write_csv(MeasurementTable((ROW,)), tmp_path / "no" / "such" / "volumes.csv")
