"""The paper's ablation: the plain network, the four additions one by one, and all of them, by the same budget."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import dataclass
from pathlib import Path

from KidneySegLib.progress import Progress
from KidneySegLib.training.abnormality.config import ADDITIONS, AbnormalityRecipe
from KidneySegLib.training.abnormality.run import sample_source, train_variant
from KidneySegLib.training.kept_samples import KeptSamples

TABLE_FILE = "ablation.csv"
#: How each addition stands in the table.
TITLES = {
    "multi_resolution": "multi-resolution",
    "task_augmentation": "augmentation",
    "top_k": "top-k loss",
    "spatial_dropout": "spatial dropout",
}


@dataclass(frozen=True)
class AblationRow:
    """Scores of one variant on the held-out samples, the same ones for all.

    Attributes:
        name: of the variant, and of its folder.
        additions: those that are on.
        dice: by structure; NaN where no held-out sample holds it.
    """

    name: str
    additions: tuple[str, ...]
    dice: dict[str, float]


def variants(recipe: AbnormalityRecipe) -> dict[str, AbnormalityRecipe]:
    """The plain network, it with the additions one after the other, as the paper adds them, and all without each one.

    The paper adds them to the plain network; which of them were on together is not known, so both ways are run.
    """
    off = dict.fromkeys(ADDITIONS, False)
    on = dict.fromkeys(ADDITIONS, True)
    found = {"plain": recipe.switched(**off)}
    found.update({f"plain+{name}": recipe.switched(**{**off, name: True}) for name in ADDITIONS})
    found.update({f"all-{name}": recipe.switched(**{**on, name: False}) for name in ADDITIONS})
    found["all"] = recipe.switched(**on)
    return found


def run_ablation(
    recipe: AbnormalityRecipe,
    output: Path,
    *,
    dataset: Path | None = None,
    device: str = "auto",
    resume: bool = False,
    workers: int | None = None,
    progress: Progress | None = None,
) -> tuple[AblationRow, ...]:
    """Train all `variants` on the same samples and write ``ablation.csv``; finished ones are skipped.

    Samples are made once, in ``output/samples``. Other arguments as for `train_variant`.
    """
    from KidneySegLib.training.network_run import RECORD_FILE, SAMPLES_FOLDER

    samples = output / SAMPLES_FOLDER
    samples.mkdir(parents=True, exist_ok=True)
    source = KeptSamples(sample_source(recipe, dataset), samples)
    rows = []
    for name, variant in variants(recipe).items():
        folder = output / name
        train_variant(
            variant,
            folder,
            dataset=dataset,
            device=device,
            resume=resume,
            workers=workers,
            source=source,
            progress=progress,
        )
        record = json.loads((folder / RECORD_FILE).read_text(encoding="utf-8"))
        found = record["validation"] or dict.fromkeys(variant.structures, math.nan)
        rows.append(AblationRow(name, tuple(a for a in ADDITIONS if variant.additions[a]), found))
        _write(rows, output / TABLE_FILE)
    return tuple(rows)


def table_of(rows: tuple[AblationRow, ...]) -> tuple[tuple[str, ...], list[list[str]]]:
    """Headings and cells: a mark for each addition, then the Dice of each structure."""
    structures = list(rows[0].dice) if rows else []
    heads = (*(TITLES[name] for name in ADDITIONS), *(f"Dice {name}" for name in structures))
    cells = [
        [
            *("x" if name in row.additions else "" for name in ADDITIONS),
            *("-" if math.isnan(row.dice[name]) else f"{row.dice[name]:.3f}" for name in structures),
        ]
        for row in rows
    ]
    return heads, cells


def _write(rows: list[AblationRow], path: Path) -> None:
    heads, cells = table_of(tuple(rows))
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("variant", *heads))
        writer.writerows([row.name, *line] for row, line in zip(rows, cells, strict=True))
