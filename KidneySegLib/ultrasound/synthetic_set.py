"""Folders of synthetic pictures with truth, in the form that training and evaluation read."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from KidneySegLib.errors import OutputError
from KidneySegLib.progress import Progress
from KidneySegLib.ultrasound.measures import measure_mask
from KidneySegLib.ultrasound.synthetic import synthetic_image

TABLE = "pictures.csv"
FOLDERS = ("images", "masks", "parts")
_COLUMNS = ("filename", "seed", "pixel_mm", "probe", "organ", "lesions", "text", "area_mm2", "length_mm")


def write_synthetic_set(folder: Path, count: int, seed: int = 0, progress: Progress = Progress()) -> None:
    """Write the pictures of ``count`` seeds from ``seed`` on.

    ``images/``, ``masks/`` (255 is kidney), ``parts/`` (1 cortex, 2 medulla, 3 sinus) and ``pictures.csv``.

    Raises:
        OutputError: the folder holds something already.
    """
    from PIL import Image

    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OutputError(f"{folder} is not empty. Choose a new folder for the synthetic pictures.")
    for name in FOLDERS:
        (folder / name).mkdir(parents=True, exist_ok=True)
    with open(folder / TABLE, "w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, _COLUMNS, lineterminator="\n")
        table.writeheader()
        for index in range(count):
            progress.report("case", index / count, f"{index + 1} of {count}")
            image = synthetic_image(seed + index)
            name = f"synthetic_{seed + index:08d}.png"
            Image.fromarray(image.pixels).save(folder / "images" / name)
            Image.fromarray(image.kidney.astype(np.uint8) * 255).save(folder / "masks" / name)
            Image.fromarray(image.labels).save(folder / "parts" / name)
            measures = measure_mask(image.kidney, (image.pixel_mm, image.pixel_mm))
            table.writerow(
                {
                    "filename": name,
                    "seed": seed + index,
                    "pixel_mm": f"{image.pixel_mm:.4f}",
                    "probe": image.facts["probe"],
                    "organ": image.facts["organ"],
                    "lesions": " ".join(image.facts["lesions"]),
                    "text": int(image.has_text),
                    "area_mm2": f"{measures.area:.1f}" if measures else "",
                    "length_mm": f"{measures.length:.1f}" if measures else "",
                }
            )
    progress.report("case", 1.0)
