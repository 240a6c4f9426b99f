"""The models that ship with the program, and the demonstration that everybody runs first."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from KidneySegLib import models
from KidneySegLib.cli.demo import started_as
from KidneySegLib.labels import Side, parenchyma_ids
from KidneySegLib.phantom import protocol
from Testing.cli.conftest import TOP, Finished

EMBEDDED = TOP / "Resources" / "models"
#: OpenVINO graphs included, the localiser's 6 MB and the fine network's 16 MB.
MAX_BYTES = 25_000_000
CT_BUNDLES = ("kidneyseg-arterial", "kidneyseg-localiser")
#: Floors on one easy case; the measured means stand in the README.
MIN_PARENCHYMA_DICE = 0.90
MIN_CORTEX_DICE = 0.75

needs_models = pytest.mark.skipif(
    not (EMBEDDED / models.DEFAULT_MODEL / "model.json").is_file(), reason="this checkout has no embedded model bundle"
)


@needs_models
def test_embedded_models_are_whole_small_and_say_what_they_are(kidneyseg: Callable[..., Finished]) -> None:
    assert kidneyseg("models", "verify").status == 0
    names = [path.name for path in EMBEDDED.iterdir() if path.is_dir()]
    assert set(CT_BUNDLES) <= set(names)
    assert sum(path.stat().st_size for name in CT_BUNDLES for path in (EMBEDDED / name).iterdir()) < MAX_BYTES
    assert models.find_bundle(models.DEFAULT_MODEL).lesions is not None
    for name in CT_BUNDLES:
        bundle = models.read_bundle(EMBEDDED / name)
        assert bundle.licence == "Apache-2.0"
        assert bundle.training
        assert bundle.intended_use


def test_the_demo_says_how_the_program_is_started_from_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    installed = tmp_path / "bin" / ("kidneyseg.exe" if os.name == "nt" else "kidneyseg")
    installed.parent.mkdir()
    installed.touch(mode=0o755)
    monkeypatch.setattr("sys.argv", [str(installed), "demo"])
    monkeypatch.setenv("PATH", str(tmp_path))
    assert started_as() == str(installed)
    monkeypatch.setenv("PATH", str(installed.parent))
    assert started_as() == "kidneyseg"
    monkeypatch.setattr("sys.argv", ["/lib/KidneySegLib/__main__.py", "demo"])
    monkeypatch.setenv("PATH", str(tmp_path))
    assert started_as() == "kidneyseg"


@needs_models
def test_demo_segments_its_sample_case_well(
    kidneyseg: Callable[..., Finished], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The demo as users run it, but for pixels of twice the size."""
    coarse = replace(protocol.LUO_LI_2025, pixel_mm=1.368, matrix=256)
    monkeypatch.setattr(protocol, "LUO_LI_2025", coarse)
    out = tmp_path / "demo"
    done = kidneyseg("demo", "-o", out)
    assert done.status == 0, done.err
    assert all(text in done.out for text in ("right", "left", "truth", "overlay.png", "sample-case"))
    found = sitk.GetArrayFromImage(sitk.ReadImage(str(out / "segmentation.nii.gz")))
    true = sitk.GetArrayFromImage(sitk.ReadImage(str(out / "sample-case" / "labels.nii.gz")))
    for side in (Side.RIGHT, Side.LEFT):
        assert dice(found, true, parenchyma_ids(side)) >= MIN_PARENCHYMA_DICE
    assert dice(found, true, (1, 3)) >= MIN_CORTEX_DICE
    again = kidneyseg("segment", out / "sample-case" / "dicom", "-o", tmp_path / "again", "--quiet")
    assert again.status == 0, again.err
    np.testing.assert_array_equal(
        sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "again" / "segmentation.nii.gz"))), found
    )


def dice(a: np.ndarray, b: np.ndarray, ids: tuple[int, ...]) -> float:
    """Overlap of the voxels with some ids, 0 to 1."""
    mine, theirs = np.isin(a, ids), np.isin(b, ids)
    return float(2 * (mine & theirs).sum() / (mine.sum() + theirs.sum()))
