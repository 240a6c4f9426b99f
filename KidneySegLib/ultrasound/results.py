"""The results folder of one ultrasound picture or loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from KidneySegLib.export.provenance import provenance_text
from KidneySegLib.export.results_folder import PROVENANCE, new_results_folder
from KidneySegLib.progress import Progress
from KidneySegLib.ultrasound.image import UltrasoundImage
from KidneySegLib.ultrasound.overlay import draw_overlay
from KidneySegLib.ultrasound.preparation import Mask
from KidneySegLib.ultrasound.table import FrameRow, csv_text

if TYPE_CHECKING:
    import SimpleITK as sitk

SEGMENTATION = "segmentation.nii.gz"
MASK = "mask.png"
MEASUREMENTS = "measurements.csv"
OVERLAY = "overlay.png"
KIDNEY_ID = 1


def write_results(
    folder: Path,
    *,
    image: UltrasoundImage,
    masks: Sequence[Mask],
    rows: Sequence[FrameRow],
    demonstration: bool,
    provenance: Mapping[str, Any],
    progress: Progress = Progress(),
) -> None:
    """Write all files of a results folder, whole or not at all; an older results folder is replaced as a whole.

    ``mask.png`` (255 is kidney) is there for a single picture; ``segmentation.nii.gz`` holds all frames. The overlay
    shows the frame with the largest kidney.

    Raises:
        OutputError: the folder is not ours, or cannot be written.
    """
    from PIL import Image

    progress.report("write", 0.0)
    shown = max(range(len(rows)), key=lambda index: rows[index].area_px or 0)
    with new_results_folder(folder) as place:
        write_label_map(masks, image, place / SEGMENTATION)
        if len(masks) == 1:
            Image.fromarray(masks[0].astype(np.uint8) * 255).save(place / MASK)
        (place / MEASUREMENTS).write_bytes(csv_text(rows).encode("utf-8"))
        picture = draw_overlay(
            image.frames[shown],
            image.view,
            masks[shown],
            rows[shown],
            pixel_mm=image.pixel_mm,
            demonstration=demonstration,
        )
        picture.save(place / OVERLAY, format="PNG", compress_level=6)
        (place / PROVENANCE).write_bytes(provenance_text(provenance).encode("utf-8"))
        progress.check()
    progress.report("write", 1.0)


def write_label_map(masks: Sequence[Mask], image: UltrasoundImage, path: Path) -> None:
    """Frames as a label map (x, y, frame): 1 is kidney. Spacing in mm where known, else 1; frames are 1 apart."""
    import SimpleITK as sitk

    labels: sitk.Image = sitk.GetImageFromArray(np.stack(masks).astype(np.uint8) * KIDNEY_ID)
    y_mm, x_mm = image.pixel_mm or (1.0, 1.0)
    labels.SetSpacing((x_mm, y_mm, 1.0))
    sitk.WriteImage(labels, str(path), useCompression=True)
