"""A tiny scan with two kidneys, a model whose answer on it is known, and ways to run the command."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from KidneySegLib.cli.main import main

TOP = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Finished:
    """What a run of the command left: exit status and what it printed."""

    status: int
    out: str
    err: str


@pytest.fixture
def kidneyseg(capsys: pytest.CaptureFixture[str]) -> Callable[..., Finished]:
    """Run the command in this process."""

    def run(*arguments: str | Path) -> Finished:
        capsys.readouterr()
        status = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Finished(status, captured.out, captured.err)

    return run


@pytest.fixture
def kidneyseg_process() -> Callable[..., Finished]:
    """Run the command in a process of its own, as a user does."""

    def run(*arguments: str | Path, before: str = "") -> Finished:
        program = f"{before}\nimport sys\nfrom KidneySegLib.cli.main import main\nsys.exit(main())"
        command = [sys.executable, "-c", program, *map(str, arguments)]
        done = subprocess.run(command, cwd=TOP, capture_output=True, text=True, timeout=300)
        return Finished(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fine bundle (parenchyma over 100 HU, cortex over 200 HU at 3 mm) whose localiser lies beside it."""
    pytest.importorskip("torch")
    from Testing.inference import analytic_bundles

    folder = tmp_path_factory.mktemp("models")
    analytic_bundles.write_localiser(folder / "coarse")
    analytic_bundles.write_fine(
        folder / "fine", localiser="coarse", spacing_mm=(3.0, 3.0, 3.0), patch_size=(48, 48, 48)
    )
    return folder / "fine"


def a_scan() -> sitk.Image:
    """A body with two kidneys: 96 x 80 x 40 voxels of 3 x 3 x 4 mm, LPS axes; the left kidney is the larger one.

    Kidneys are ellipsoids with a 6 mm rim of 260 HU round 150 HU; fat (-80 HU) lies round them in muscle (50 HU).
    """
    size, spacing = (96, 80, 40), (3.0, 3.0, 4.0)
    image = sitk.Image(*size, sitk.sitkInt16)
    image.SetSpacing(spacing)
    image.SetOrigin([-(n - 1) / 2 * mm for n, mm in zip(size, spacing, strict=True)])
    z, y, x = np.meshgrid(
        *(np.arange(n) * mm - (n - 1) / 2 * mm for n, mm in zip(size[::-1], spacing[::-1], strict=True)), indexing="ij"
    )

    def inside(centre: tuple[float, float, float], radii: tuple[float, float, float]) -> np.ndarray:
        parts = ((axis - c) / r for axis, c, r in zip((x, y, z), centre, radii, strict=True))
        return sum(part**2 for part in parts) <= 1.0

    hu = np.full(x.shape, -1000, dtype=np.int16)
    hu[inside((0, 0, 0), (130, 105, 1e6))] = 50
    # x grows to the patient's left.
    for centre, radius in (((-60.0, 25.0, 0.0), 1.0), ((60.0, 25.0, 5.0), 1.12)):
        for grow, value in ((10.0, -80), (0.0, 260), (-6.0, 150)):
            hu[inside(centre, tuple(half * radius + grow for half in (27.0, 25.0, 52.0)))] = value
    scan = sitk.GetImageFromArray(hu)
    scan.CopyInformation(image)
    return scan


@pytest.fixture(scope="session")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`a_scan` as a NIfTI file."""
    path = tmp_path_factory.mktemp("scan") / "scan.nii.gz"
    sitk.WriteImage(a_scan(), str(path))
    return path


@pytest.fixture(scope="session")
def results(scan: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results folder of the tiny scan, made once; tests only read it."""
    folder = tmp_path_factory.mktemp("results") / "tiny"
    assert main(["segment", str(scan), "-o", str(folder), "--model", str(model), "--raw", "--quiet"]) == 0
    return folder
