"""Whole evaluations of small cohorts: files, groups, tables, what is said of bad cases."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from KidneySegLib.cli.main import main
from KidneySegLib.errors import InputError, OutputError
from KidneySegLib.evaluation import evaluate_cohort
from KidneySegLib.evaluation.calibration import flag_rates, light_calibration
from KidneySegLib.evaluation.csv_cells import cell_text, rounded
from KidneySegLib.evaluation.svg import ticks
from Testing.evaluation.test_case import SWAPPED
from Testing.evaluation.toy import kidneys, write, write_truth, write_volumes

Cohort = tuple[Path, Path]


@pytest.fixture
def cohort(tmp_path: Path) -> Cohort:
    """Five phantoms and their predictions, each moved by a voxel more; the last has its sides swapped."""
    lights = ("green", "green", "yellow", "red", "green")
    for number in range(5):
        reference = tmp_path / "reference" / f"case_{number}"
        prediction = tmp_path / "prediction" / f"case_{number}"
        write(reference / "labels.nii.gz", kidneys())
        variant, phase = ("normal", "arterial") if number < 3 else ("cysts", "unenhanced")
        write_truth(
            reference,
            variant=variant,
            phase={"name": phase},
            subject={
                "sex": "fm"[number % 2],
                "age_years": 50 + number,
                "creatinine_mg_dl": (0.8, 0.9, 1.5, 2, 4)[number],
            },
        )
        found = kidneys(shift=number)
        write(prediction / "segmentation.nii.gz", SWAPPED[kidneys()] if number == 4 else found)
        flags = "phase_unenhanced" if phase == "unenhanced" else ""
        write_volumes(
            prediction, [{"case_id": prediction.name, "side": "both", "flags": flags, "traffic_light": lights[number]}]
        )
    return tmp_path / "prediction", tmp_path / "reference"


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_numbers_and_files(cohort: Cohort, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = evaluate_cohort(*cohort, out, jobs=1)
    names = {path.name for path in out.iterdir()}
    assert names == {
        "agreement.csv", "cases.csv", "evaluation.json", "provenance.json", "report.html", "scores.csv", "summary.csv",
        "table1.csv", "table2.csv", "table2_tests.csv",
    }  # fmt: skip
    dice = {row["case_id"]: float(row["dice"]) for row in rows(out / "scores.csv") if row["structure"] == "parenchyma"}
    assert dice == pytest.approx(
        {"case_0": 1, "case_1": 5 / 6, "case_2": 4 / 6, "case_3": 3 / 6, "case_4": 1}, abs=1e-5
    )
    facts = json.loads((out / "evaluation.json").read_text(encoding="utf-8"))
    assert facts["summary"]["parenchyma"]["dice"]["mean"] == pytest.approx(np.mean([1, 5 / 6, 4 / 6, 3 / 6, 1]))
    by_variant = facts["groups"]["variant"]
    assert by_variant["normal"]["summary"]["parenchyma"]["dice"]["mean"] == pytest.approx(np.mean([1, 5 / 6, 4 / 6]))
    assert by_variant["cysts"]["cases"] == ["case_3", "case_4"]
    assert set(facts["groups"]) == {"variant", "phase", "slice thickness", "eGFR group", "KDIGO stage"}
    assert facts["sides"] == {"right": 4, "wrong": 1}
    assert facts["not_scored"]["cyst"] == "neither references nor predictions hold any"
    assert "SimpleITK" in facts["metrics"]["hd95_mm"]["by"] or "scipy" in facts["metrics"]["hd95_mm"]["by"]
    assert done.cohort.summary("parenchyma", "volume_error_percent").mean == 0


def test_flags_by_phase_and_traffic_light(cohort: Cohort, tmp_path: Path) -> None:
    done = evaluate_cohort(*cohort, tmp_path / "out", surfaces=False, jobs=1)
    rates = {(r.group, r.flag): (r.raised, r.cases) for r in flag_rates(done.cohort.scored)}
    assert rates["arterial", "no_corticomedullary_contrast"] == (0, 3)
    assert rates["unenhanced", "no_corticomedullary_contrast"] == (2, 2)
    assert rates["all", "phase_unenhanced"] == (2, 5)
    lights = light_calibration(done.cohort.scored)
    assert lights is not None
    assert lights.counts == {"green": 3, "yellow": 1, "red": 1}
    assert lights.green_share == pytest.approx(3 / 5)
    # Green: Dice 1, 0.83, 1; below 0.9: green, yellow, red.
    assert lights.good_among_green == pytest.approx(2 / 3)
    assert lights.green_among_poor == pytest.approx(1 / 3)


def test_table_2(cohort: Cohort, tmp_path: Path) -> None:
    evaluate_cohort(*cohort, tmp_path / "out", surfaces=False, jobs=1)
    table = {row["group"]: row for row in rows(tmp_path / "out" / "table2.csv")}
    # eGFR of the five patients: 89.7, 103, 41.7, 39.2, 12.7.
    assert {group: row["n"] for group, row in table.items()} == {
        "normal": "1", "mild": "1", "moderate": "2", "severe": "1", "chi2 (sex), F": "", "p": "",
    }  # fmt: skip
    assert table["moderate"]["male/female"] == "1/1"
    assert table["moderate"]["age years"] == "52.50 ± 0.71"
    assert table["severe"]["VRP mL"] == "1.92"
    # Dice 2/3 and 1/2.
    assert table["moderate"]["VRP Dice %"] == "58.33 ± 11.79"
    # All volumes are the same.
    assert table["p"]["VRP mL"] == ""
    assert table["p"]["age years"] != ""


def test_a_bad_case_stops_no_other(cohort: Cohort, tmp_path: Path) -> None:
    prediction, reference = cohort
    (prediction / "case_1" / "segmentation.nii.gz").write_bytes(b"torn")
    write(prediction / "extra.nii.gz", kidneys())
    write(reference / "unseen" / "labels.nii.gz", kidneys())
    done = evaluate_cohort(prediction, reference, tmp_path / "out", surfaces=False, jobs=1)
    assert len(done.cohort.scored) == 4
    table = {row["case_id"]: row for row in rows(tmp_path / "out" / "cases.csv")}
    assert table["case_1"]["status"] == "failed"
    assert table["case_1"]["error"]
    assert table["extra"]["error"] == "no reference of this name"
    assert table["unseen"]["error"] == "no prediction of this name"


def test_processes_give_the_same(cohort: Cohort, tmp_path: Path) -> None:
    for jobs in (1, 2):
        evaluate_cohort(*cohort, tmp_path / f"out{jobs}", jobs=jobs)
    one, two = ((tmp_path / f"out{jobs}" / "scores.csv").read_bytes() for jobs in (1, 2))
    assert one == two


def test_patients_from_a_table(cohort: Cohort, tmp_path: Path) -> None:
    table = tmp_path / "patients.csv"
    table.write_text(
        "case_id,creatinine,creatinine_unit,age,sex\ncase_0,0.9,mg/dL,55,f\ncase_1,0.8,mg/dL,12,f\n"
        "case_2,250,umol/L,60,m\nother,1,mg/dL,60,m\n",
        encoding="utf-8",
    )
    done = evaluate_cohort(*cohort, tmp_path / "out", groups=table, surfaces=False, jobs=1)
    assert done.cohort.groupings["eGFR group"] == {"case_0": "mild", "case_2": "severe"}
    notes = " ".join(done.cohort.notes)
    for words in ("case_3, case_4", "adults only", "other"):
        assert words in notes


def test_one_group_and_nothing_that_varies_are_told(cohort: Cohort, tmp_path: Path) -> None:
    table = tmp_path / "patients.csv"
    table.write_text("case_id,egfr\n" + "".join(f"case_{n},75\n" for n in range(5)), encoding="utf-8")
    done = evaluate_cohort(*cohort, tmp_path / "out", groups=table, surfaces=False, jobs=1)
    assert any("one group (mild)" in note for note in done.cohort.notes)
    reasons = {row["column"]: row["reason"] for row in rows(tmp_path / "out" / "table2_tests.csv")}
    assert reasons["VRP mL"] == "needs at least two groups"
    function = [row for row in rows(tmp_path / "out" / "agreement.csv") if "eGFR" in row["statistic"]]
    assert {row["reason"] for row in function} == {"one of the two does not vary"}


class _Open(HTMLParser):
    """Elements that load something from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.outside: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in {"script", "link", "iframe", "img"} or any(key in {"src", "href"} for key, _ in attrs):
            self.outside.append(tag)


def test_the_page_is_whole_in_itself_and_escapes(cohort: Cohort, tmp_path: Path) -> None:
    prediction, reference = cohort
    evil = "<script>alert('x')</script>".replace("/", "")
    for folder, name in ((prediction, "segmentation.nii.gz"), (reference, "labels.nii.gz")):
        write(folder / evil / name, kidneys())
    evaluate_cohort(prediction, reference, tmp_path / "out", jobs=1)
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    reader = _Open()
    reader.feed(page)
    assert reader.outside == []
    plots = [f"<svg{part.partition('</svg>')[0]}</svg>" for part in page.split("<svg")[1:]]
    assert len(plots) > 10
    for plot in plots:
        ElementTree.fromstring(plot)
    for words in ("Bland-Altman", "ICC(2,1)", "scipy cKDTree", "Both masks empty"):
        assert words in page


def test_only_our_own_output_is_replaced(cohort: Cohort, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for _ in range(2):
        evaluate_cohort(*cohort, out, surfaces=False, jobs=1)
    results = tmp_path / "results"
    results.mkdir()
    (results / "provenance.json").write_text('{"format": "kidneyseg-results"}', encoding="utf-8")
    with pytest.raises(OutputError, match="other results"):
        evaluate_cohort(*cohort, results, jobs=1)
    with pytest.raises(InputError, match="same folder"):
        evaluate_cohort(*cohort, cohort[0], jobs=1)


def test_names_that_do_not_match(tmp_path: Path) -> None:
    write(tmp_path / "p" / "a.nii.gz", kidneys())
    write(tmp_path / "r" / "b.nii.gz", kidneys())
    write(tmp_path / "r" / "c.nii.gz", kidneys())
    with pytest.raises(InputError, match=r"Predictions: a\. References: b, c\."):
        evaluate_cohort(tmp_path / "p", tmp_path / "r", tmp_path / "out")
    done = evaluate_cohort(tmp_path / "p" / "a.nii.gz", tmp_path / "r" / "b.nii.gz", tmp_path / "out", jobs=1)
    assert done.cohort.summary("cortex", "dice").mean == 1
    with pytest.raises(InputError, match="does not exist"):
        evaluate_cohort(tmp_path / "none", tmp_path / "r", tmp_path / "out2")


def test_the_output_of_batch_is_read_as_it_is(tmp_path: Path) -> None:
    write(tmp_path / "batch" / "cases" / "a" / "segmentation.nii.gz", kidneys())
    write(tmp_path / "batch" / "cases" / "b" / "segmentation.nii.gz", kidneys())
    (tmp_path / "batch" / "volumes.csv").write_text("case_id,side\n", encoding="utf-8")
    for name in "ab":
        write(tmp_path / "truth" / f"{name}.nii.gz", kidneys())
    done = evaluate_cohort(tmp_path / "batch", tmp_path / "truth", tmp_path / "out", surfaces=False, jobs=1)
    assert [case.case_id for case in done.cohort.scored] == ["a", "b"]


def test_not_one_case_that_could_be_scored_is_an_error(tmp_path: Path) -> None:
    write(tmp_path / "p" / "a.nii.gz", np.full((6, 12, 24), 99))
    write(tmp_path / "r" / "a.nii.gz", kidneys())
    with pytest.raises(InputError, match="The only case could not be scored"):
        evaluate_cohort(tmp_path / "p", tmp_path / "r", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_cells_are_safe_and_numbers_keep_their_sign() -> None:
    assert cell_text("=HYPERLINK()") == "'=HYPERLINK()"
    assert cell_text(" +1") == "' +1"
    assert cell_text("a\nb") == "a b"
    assert cell_text(rounded(-1.5, 3)) == "-1.500"
    assert cell_text(rounded(-0.0001, 2)) == "0.00"
    assert cell_text(rounded(None, 2)) == ""


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]), (-3, 12, [0, 5, 10]), (5, 5, [5])],
)
def test_ticks(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high) == expected


@pytest.fixture
def kidneyseg(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def run(*arguments: str | Path) -> tuple[int, str, str]:
        status = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


def test_command(cohort: Cohort, tmp_path: Path, kidneyseg: Callable[..., tuple[int, str, str]]) -> None:
    prediction, reference = cohort
    write(prediction / "extra.nii.gz", kidneys())
    status, out, err = kidneyseg(
        "evaluate", "--prediction", prediction, "--reference", reference, "-o", tmp_path / "out", "-q", "--jobs", "1"
    )
    assert status == 0
    for words in ("By variant", "By phase", "sides wrong: case_4", "unenhanced 2 of 2 (100%)", "60% of all cases are"):
        assert words in out
    assert "without a reference: extra" in err


def test_command_refuses(tmp_path: Path, kidneyseg: Callable[..., tuple[int, str, str]]) -> None:
    status, _, err = kidneyseg(
        "evaluate", "--prediction", tmp_path / "no", "--reference", tmp_path, "-o", tmp_path / "o"
    )
    assert status == 2
    assert "does not exist" in err
    assert kidneyseg("evaluate", "--prediction", "a", "--reference", "b", "-o", "c", "--jobs", "0")[0] == 2
