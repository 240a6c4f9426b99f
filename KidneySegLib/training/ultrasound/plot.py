"""The picture of a training log."""

from __future__ import annotations

import csv
from pathlib import Path


def plot_training(log: Path, picture: Path) -> bool:
    """Draw loss and validation Dice over epochs.

    Returns:
        Whether there is a picture: without matplotlib (extra ``train``), or without rows, there is none.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return False
    with open(log, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if not rows:
        return False
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for axes, name in ((left, "loss"), (right, "dice_kidney")):
        points = [(int(row["epoch"]), float(row[name])) for row in rows if row[name]]
        if points:
            axes.plot(*zip(*points, strict=True), marker=".", linewidth=1)
    left.set(xlabel="epoch", ylabel="training loss", yscale="log")
    right.set(xlabel="epoch", ylabel="Dice of validation pictures", ylim=(0, 1))
    figure.savefig(picture, dpi=110)
    return True
