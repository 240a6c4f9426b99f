"""``kidneyseg segment`` on a scan and a model whose answers are known."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from KidneySegLib.labels import Side, parenchyma_ids
from Testing.cli.conftest import Finished

FILES = {
    "segmentation.nii.gz",
    "segmentation.seg.nrrd",
    "volumes.csv",
    "report.html",
    "overlay.png",
    "provenance.json",
    "raw_labels.nii.gz",
}


def rows_of(results: Path) -> dict[str, dict[str, str]]:
    with (results / "volumes.csv").open(newline="", encoding="utf-8") as file:
        return {row["side"]: row for row in csv.DictReader(file)}


def test_results_folder_holds_what_it_should(results: Path) -> None:
    assert {path.name for path in results.iterdir()} == FILES


def test_segmentation_lies_on_the_scans_own_grid(results: Path, scan: Path) -> None:
    image, found = sitk.ReadImage(str(scan)), sitk.ReadImage(str(results / "segmentation.nii.gz"))
    assert found.GetSize() == image.GetSize()
    np.testing.assert_allclose(found.GetSpacing(), image.GetSpacing())
    np.testing.assert_allclose(found.GetOrigin(), image.GetOrigin())
    np.testing.assert_allclose(found.GetDirection(), image.GetDirection())


def test_volumes_are_voxel_counts_times_voxel_volume(results: Path) -> None:
    labels = sitk.ReadImage(str(results / "segmentation.nii.gz"))
    values = sitk.GetArrayViewFromImage(labels)
    voxel_ml = float(np.prod(labels.GetSpacing())) / 1000
    rows = rows_of(results)
    assert list(rows) == ["right", "left", "both"]
    for side in (Side.RIGHT, Side.LEFT):
        counted_ml = np.isin(values, parenchyma_ids(side)).sum() * voxel_ml
        assert float(rows[side.value]["parenchyma_ml"]) == pytest.approx(counted_ml, abs=5e-4)
    assert float(rows["both"]["cortex_ml"]) == pytest.approx(np.isin(values, (1, 3)).sum() * voxel_ml, abs=5e-4)


def test_kidneys_are_found_with_their_true_sides_and_sizes(results: Path) -> None:
    rows = rows_of(results)
    right_ml = 4 / 3 * np.pi * 27 * 25 * 52 / 1000
    assert float(rows["right"]["parenchyma_ml"]) == pytest.approx(right_ml, rel=0.05)
    assert float(rows["left"]["parenchyma_ml"]) == pytest.approx(right_ml * 1.12**3, rel=0.05)


def test_provenance_says_how_it_was_made_and_not_where(results: Path, scan: Path) -> None:
    text = (results / "provenance.json").read_text(encoding="utf-8")
    facts = json.loads(text)
    assert facts["model"]["name"] == "fine"
    assert len(facts["model"]["sha256"]) == len(facts["input"]["sha256"]) == 64
    assert facts["device"] == "cpu"
    assert facts["backend"] == "openvino"
    assert facts["precision"] in ("float32", "bfloat16")
    assert {"read", "localise", "network", "postprocess", "measure"} <= facts["seconds"].keys()
    assert facts["packages"]["openvino"]
    assert str(scan.parent) not in text


def test_table_flags_and_places_are_printed(
    kidneyseg: Callable[..., Finished], scan: Path, model: Path, tmp_path: Path
) -> None:
    done = kidneyseg("segment", scan, "-o", tmp_path / "case-7", "--model", model)
    assert done.status == 0
    assert all(word in done.out for word in ("case-7", "right", "left", "both", "Contrast", "volumes.csv"))
    assert "Running the network" in done.err
    assert rows_of(tmp_path / "case-7")["both"]["case_id"] == "case-7"


def test_quiet_shows_no_progress(kidneyseg: Callable[..., Finished], scan: Path, model: Path, tmp_path: Path) -> None:
    done = kidneyseg("segment", scan, "-o", tmp_path / "out", "--model", model, "--quiet", "--case-id", "A 1")
    assert done.status == 0
    assert done.err == ""
    assert rows_of(tmp_path / "out")["left"]["case_id"] == "A 1"
    assert not (tmp_path / "out" / "raw_labels.nii.gz").exists()


def test_patient_data_give_egfr_and_indexed_volumes(
    kidneyseg: Callable[..., Finished], results: Path, scan: Path, tmp_path: Path
) -> None:
    patient = ("--creatinine", "88.4", "--creatinine-unit", "umol/L", "--age", "50", "--sex", "m")
    size = ("--height-cm", "170", "--weight-kg", "70")
    done = kidneyseg(
        "measure", results / "segmentation.nii.gz", "--image", scan, "-o", tmp_path / "out", *patient, *size
    )
    assert done.status == 0
    both = rows_of(tmp_path / "out")["both"]
    assert both["egfr_ckd_epi_2021"] == "91.7"
    assert float(both["parenchyma_ml_per_m2"]) == pytest.approx(float(both["parenchyma_ml"]) / 1.8181, rel=1e-3)


def test_creatinine_without_unit_is_refused(kidneyseg: Callable[..., Finished], scan: Path, tmp_path: Path) -> None:
    done = kidneyseg("segment", scan, "-o", tmp_path / "out", "--creatinine", "1.1")
    assert done.status == 2
    assert "--creatinine-unit" in done.err


def test_an_older_results_folder_is_replaced_as_a_whole(
    kidneyseg: Callable[..., Finished], results: Path, scan: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(results, tmp_path / "again")
    (folder / "stale.txt").write_text("from an older run")
    done = kidneyseg("measure", results / "segmentation.nii.gz", "--image", scan, "-o", folder)
    assert done.status == 0
    assert {path.name for path in folder.iterdir()} == FILES - {"raw_labels.nii.gz"}


def test_a_folder_that_is_not_ours_is_left_alone(
    kidneyseg: Callable[..., Finished], scan: Path, model: Path, tmp_path: Path
) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    done = kidneyseg("segment", scan, "-o", tmp_path, "--model", model)
    assert done.status == 2
    assert "not empty" in done.err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_torch_is_never_imported_on_the_cpu(
    kidneyseg_process: Callable[..., Finished], scan: Path, model: Path, tmp_path: Path
) -> None:
    """The whole road with torch made impossible to import."""
    without_torch = (
        "import sys\n"
        "class NoTorch:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] == 'torch':\n"
        "            raise ModuleNotFoundError('No module named torch', name='torch')\n"
        "sys.meta_path.insert(0, NoTorch())"
    )
    done = kidneyseg_process(
        "segment", scan, "-o", tmp_path / "out", "--model", model, "--device", "cpu", before=without_torch
    )
    assert done.status == 0, done.err
    assert float(rows_of(tmp_path / "out")["both"]["parenchyma_ml"]) > 200


def test_no_kidney_is_a_flag_and_no_error(
    kidneyseg: Callable[..., Finished], scan: Path, model: Path, tmp_path: Path
) -> None:
    image = sitk.ReadImage(str(scan))
    empty = sitk.Minimum(image, 50)
    sitk.WriteImage(empty, str(tmp_path / "no_kidney.nii.gz"))
    done = kidneyseg("segment", tmp_path / "no_kidney.nii.gz", "-o", tmp_path / "out", "--model", model)
    assert done.status == 0, done.err
    assert "No kidney was found" in done.out
    rows = rows_of(tmp_path / "out")
    assert list(rows) == ["both"]
    assert "no_kidney" in rows["both"]["flags"].split(";")
    assert rows["both"]["parenchyma_ml"] == ""
