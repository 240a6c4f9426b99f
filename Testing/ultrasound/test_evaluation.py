"""The paper's metrics on masks with known counts."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from KidneySegLib.cli.main import main
from KidneySegLib.errors import InputError
from KidneySegLib.evaluation.overlap import Overlap
from KidneySegLib.evaluation.ultrasound import evaluate_ultrasound
from KidneySegLib.evaluation.ultrasound_pictures import draw_confusion


def mask(rows: slice, columns: slice) -> np.ndarray:
    pixels = np.zeros((10, 10), np.uint8)
    pixels[rows, columns] = 255
    return pixels


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Picture a: TP 20, FP 5, FN 5, TN 70. b: TP 10, FP 0, FN 10, TN 80. c: nothing in either. d: a false kidney."""
    found, truth = tmp_path / "found", tmp_path / "truth"
    found.mkdir()
    truth.mkdir()
    nothing = mask(slice(0, 0), slice(0, 0))
    pairs = {
        "a": (mask(slice(0, 5), slice(0, 5)), mask(slice(1, 6), slice(0, 5))),
        "b": (mask(slice(0, 2), slice(0, 5)), mask(slice(0, 4), slice(0, 5))),
        "c": (nothing, nothing),
        "d": (mask(slice(0, 2), slice(0, 2)), nothing),
    }
    for name, (one, other) in pairs.items():
        Image.fromarray(one).save(found / f"{name}.png")
        Image.fromarray(other).save(truth / f"{name}.png")
    return found, truth


def test_metrics_are_means_over_pictures_with_a_kidney(tmp_path: Path, folders: tuple[Path, Path]) -> None:
    done = evaluate_ultrasound(*folders, tmp_path / "out")
    expected = {
        "accuracy": (0.90, 0.90),
        "precision": (0.8, 1.0),
        "recall": (0.8, 0.5),
        "jaccard": (20 / 30, 0.5),
        "f1": (0.8, 2 / 3),
    }
    for key, (one, other) in expected.items():
        summary = done.summary(key)
        assert summary.n == 2
        assert summary.mean == pytest.approx((one + other) / 2)
        assert summary.sd == pytest.approx(abs(one - other) / math.sqrt(2))
    assert done.pixels == Overlap(tp=30, fp=9, fn=15, tn=346)
    assert done.pictures == Overlap(tp=2, fp=1, fn=0, tn=1)


def test_files_say_the_same(tmp_path: Path, folders: tuple[Path, Path]) -> None:
    evaluate_ultrasound(*folders, tmp_path / "out")
    with open(tmp_path / "out" / "scores.csv", newline="", encoding="utf-8") as file:
        rows = {row["picture"]: row for row in csv.DictReader(file)}
    assert [rows["a"][key] for key in ("tp", "fp", "fn", "tn")] == ["20", "5", "5", "70"]
    assert float(rows["b"]["f1"]) == pytest.approx(0.66667)
    assert rows["c"]["f1"] == ""
    with open(tmp_path / "out" / "summary.csv", newline="", encoding="utf-8") as file:
        summary = {row["metric"]: row for row in csv.DictReader(file)}
    assert float(summary["jaccard"]["mean"]) == pytest.approx(0.58333)
    facts = json.loads((tmp_path / "out" / "provenance.json").read_text())
    assert facts["task"] == "ultrasound"
    assert facts["false_kidneys"] == 1
    for name in ("confusion_pixels.png", "confusion_pictures.png"):
        with Image.open(tmp_path / "out" / name) as picture:
            assert picture.size[0] > 400


def test_a_confusion_matrix_is_darkest_where_its_row_s_share_is() -> None:
    picture = np.asarray(draw_confusion(Overlap(tp=99, fp=50, fn=1, tn=50), "Pixels", "kidney", "rest")).astype(int)
    left, top, cell = 190, 120, 190
    corners = {(y, x): int(picture[top + y * cell + 20, left + x * cell + 20].sum()) for y in (0, 1) for x in (0, 1)}
    assert corners[0, 0] < corners[1, 0] == corners[1, 1] < corners[0, 1]


def test_the_command_evaluates_results_folders(
    tmp_path: Path, folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    found, truth = folders
    results = tmp_path / "results"
    for path in found.glob("*.png"):
        (results / path.stem).mkdir(parents=True)
        path.rename(results / path.stem / "mask.png")
    arguments = [
        "evaluate",
        "--task",
        "ultrasound",
        "--prediction",
        results,
        "--reference",
        truth,
        "-o",
        tmp_path / "o",
    ]
    assert main([*map(str, arguments), "-q"]) == 0
    out = capsys.readouterr().out
    assert "Scored 4 pictures, 2 of them with a kidney" in out
    assert "F1 score   73.33 +- 9.43 %" in out
    assert "1 of 2 left empty" in out


def test_polygons_serve_as_reference(tmp_path: Path, folders: tuple[Path, Path]) -> None:
    table = tmp_path / "labels.csv"
    shape = json.dumps({"name": "rect", "x": 0, "y": 0, "width": 4, "height": 4})
    with open(table, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["filename", "region_count", "region_shape_attributes", "region_attributes", "file_attributes"])
        writer.writerow(["a.png", "1", shape, '{"Anatomy": "Capsule"}', "{}"])
        writer.writerow(["b.png", "0", "{}", "{}", "{}"])
    done = evaluate_ultrasound(folders[0], table, tmp_path / "out")
    assert [s.name for s in done.scores] == ["a"]
    assert done.summary("f1").mean == 1.0
    assert set(done.missing) == {"b", "c", "d"}


@pytest.mark.parametrize("spoil", ["size", "names"])
def test_what_does_not_fit_is_refused(tmp_path: Path, folders: tuple[Path, Path], spoil: str) -> None:
    found, truth = folders
    if spoil == "size":
        Image.fromarray(np.zeros((9, 10), np.uint8)).save(found / "a.png")
    else:
        for path in found.glob("*.png"):
            path.rename(found / f"other-{path.name}")
    with pytest.raises(InputError, match="10 x 9" if spoil == "size" else "No mask"):
        evaluate_ultrasound(found, truth, tmp_path / "out")
    assert not (tmp_path / "out").exists()
