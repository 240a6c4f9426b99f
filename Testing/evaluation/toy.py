"""Small label maps with known voxels, and folders of cases made of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

Array = NDArray[Any]
SHAPE = (6, 12, 24)


def kidneys(shift: int = 0) -> Array:
    """Two boxes (z, y, x): right 1 (cortex) around 2, left 3 around 4; moved along x."""
    labels = np.zeros(SHAPE, np.uint8)
    for start, cortex, medulla in ((3, 1, 2), (14, 3, 4)):
        x = start + shift
        labels[1:5, 2:10, x : x + 6] = cortex
        labels[2:4, 4:8, x + 2 : x + 4] = medulla
    return labels


def image(labels: Array, spacing_mm_xyz: tuple[float, float, float] = (1.0, 1.0, 5.0)) -> sitk.Image:
    made = sitk.GetImageFromArray(labels.astype(np.uint8))
    made.SetSpacing(spacing_mm_xyz)
    made.SetOrigin((-10.0, 20.0, 30.0))
    return made


def write(path: Path, labels: Array, spacing_mm_xyz: tuple[float, float, float] = (1.0, 1.0, 5.0)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image(labels, spacing_mm_xyz), str(path), useCompression=True)
    return path


def write_truth(folder: Path, **changes: Any) -> None:
    """``truth.json`` of a phantom, as much of it as an evaluation reads."""
    truth: dict[str, Any] = {
        "format": "kidneyseg-phantom-1",
        "variant": "normal",
        "phase": {"name": "arterial"},
        "protocol": {"slice_thickness_mm": 5.0},
        "subject": {"sex": "f", "age_years": 55, "creatinine_mg_dl": 0.9},
    }
    truth.update(changes)
    (folder / "truth.json").write_text(json.dumps(truth), encoding="utf-8")


def write_volumes(folder: Path, rows: list[Mapping[str, str]]) -> None:
    """``volumes.csv`` with these cells."""
    columns = ["case_id", "side", "flags", "model", "traffic_light"]
    lines = [",".join(columns)] + [",".join(row.get(name, "") for name in columns) for row in rows]
    (folder / "volumes.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
