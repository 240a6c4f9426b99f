"""``kidneyseg measure``: the table of a label map that a person made."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from Testing.cli.conftest import Finished
from Testing.cli.test_segment import rows_of

MEASURED = ("parenchyma_ml", "cortex_ml", "medulla_ml", "length_mm", "cortical_thickness_mm", "cortex_hu_mean")


@pytest.mark.parametrize("name", ["segmentation.nii.gz", "segmentation.seg.nrrd"])
def test_the_programs_own_masks_measure_the_same(
    kidneyseg: Callable[..., Finished], results: Path, scan: Path, tmp_path: Path, name: str
) -> None:
    done = kidneyseg("measure", results / name, "--image", scan, "-o", tmp_path / "out")
    assert done.status == 0, done.err
    automatic, corrected = rows_of(results), rows_of(tmp_path / "out")
    for side in ("right", "left", "both"):
        assert [corrected[side][column] for column in MEASURED] == [automatic[side][column] for column in MEASURED]
        assert corrected[side]["source"] == "corrected"
        assert automatic[side]["source"] == "automatic"


def test_a_correction_changes_the_table_by_its_voxels(
    kidneyseg: Callable[..., Finished], results: Path, scan: Path, tmp_path: Path
) -> None:
    labels = sitk.ReadImage(str(results / "segmentation.nii.gz"))
    values = sitk.GetArrayFromImage(labels)
    where = np.argwhere(values == 1)[:100]
    values[tuple(where.T)] = 2
    edited = sitk.GetImageFromArray(values)
    edited.CopyInformation(labels)
    sitk.WriteImage(edited, str(tmp_path / "edited.nrrd"))
    done = kidneyseg("measure", tmp_path / "edited.nrrd", "--image", scan, "-o", tmp_path / "out")
    assert done.status == 0, done.err
    before, after = rows_of(results)["right"], rows_of(tmp_path / "out")["right"]
    assert float(before["cortex_ml"]) - float(after["cortex_ml"]) == pytest.approx(100 * 36 / 1000, abs=2e-3)
    assert after["parenchyma_ml"] == before["parenchyma_ml"]


def test_the_terminal_shows_cysts_where_there_are_some(
    kidneyseg: Callable[..., Finished], results: Path, scan: Path, tmp_path: Path
) -> None:
    labels = sitk.ReadImage(str(results / "segmentation.nii.gz"))
    values = sitk.GetArrayFromImage(labels)
    values[tuple(np.argwhere(values == 2)[:500].T)] = 5
    edited = sitk.GetImageFromArray(values)
    edited.CopyInformation(labels)
    for name, image, shown in (("cyst", edited, True), ("none", labels, False)):
        sitk.WriteImage(image, str(tmp_path / f"{name}.nrrd"))
        done = kidneyseg("measure", tmp_path / f"{name}.nrrd", "--image", scan, "-o", tmp_path / name)
        assert done.status == 0, done.err
        assert ("cysts mL" in done.out) == shown
        assert "masses mL" not in done.out
        assert f"{500 * 36 / 1000:.1f}" in done.out or not shown


def test_masks_of_others_are_undivided_and_get_their_sides(
    kidneyseg: Callable[..., Finished], results: Path, scan: Path, tmp_path: Path
) -> None:
    """KiTS labels have no sides and no cortex: volumes are given, cortex cells are empty, never 0."""
    labels = sitk.ReadImage(str(results / "segmentation.nii.gz"))
    sitk.WriteImage(sitk.Cast(labels > 0, sitk.sitkUInt8), str(tmp_path / "kits.nii.gz"))
    done = kidneyseg(
        "measure", tmp_path / "kits.nii.gz", "--image", scan, "-o", tmp_path / "out", "--reference-labels", "kits"
    )
    assert done.status == 0, done.err
    ours, theirs = rows_of(results), rows_of(tmp_path / "out")
    for side in ("right", "left"):
        assert theirs[side]["parenchyma_ml"] == ours[side]["parenchyma_ml"]
        assert theirs[side]["cortex_ml"] == ""
        assert "undivided_parenchyma" in theirs[side]["flags"]


def test_a_segment_that_is_not_known_is_named(
    kidneyseg: Callable[..., Finished], results: Path, scan: Path, tmp_path: Path
) -> None:
    segmentation = sitk.ReadImage(str(results / "segmentation.seg.nrrd"))
    segmentation.SetMetaData("Segment0_Name", "Liver")
    segmentation.SetMetaData("Segment0_ID", "Segment_1")
    sitk.WriteImage(segmentation, str(tmp_path / "edited.seg.nrrd"))
    done = kidneyseg("measure", tmp_path / "edited.seg.nrrd", "--image", scan, "-o", tmp_path / "out", "--quiet")
    assert done.status == 2
    assert "Liver" in done.err
    assert not (tmp_path / "out").exists()
