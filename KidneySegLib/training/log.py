"""The log of a run: a CSV, and a plot of it."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path


class TrainingLog:
    """Rows of numbers in a CSV file.

    Args:
        path: of the file.
        columns: its header; ``step`` must be the first.
        resume_step: rows after this step are dropped: they will be written again. 0: a new file.
    """

    def __init__(self, path: Path, columns: tuple[str, ...], resume_step: int = 0) -> None:
        if not columns or columns[0] != "step":
            raise ValueError(f"the first column must be step, got {columns}")
        self._path = path
        self._columns = columns
        kept: list[dict[str, str]] = []
        if resume_step and path.exists():
            with open(path, newline="", encoding="utf-8") as file:
                kept = [row for row in csv.DictReader(file) if int(row["step"]) <= resume_step]
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(kept)

    def write(self, row: Mapping[str, float | int | None]) -> None:
        """Append a row; what is missing or ``None`` stays empty."""
        cells = {
            name: f"{value:.6g}" if isinstance(value, float) else value
            for name, value in row.items()
            if value is not None
        }
        with open(self._path, "a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, self._columns, restval="").writerow(cells)


def plot_log(log: Path, picture: Path, *, over: str = "step", scored_on: str = "held-out phantoms") -> bool:
    """Draw loss and validation Dice over steps.

    Args:
        log: a CSV with a column ``loss`` and columns ``dice_NAME``.
        picture: where to; its ending says which kind.
        over: column of whole numbers that the horizontal axis shows.
        scored_on: what the Dice were measured on.

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
    for name in rows[0]:
        points = [(int(row[over]), float(row[name])) for row in rows if row[name] not in ("", None)]
        if name == "loss" and points:
            left.plot(*zip(*points, strict=True), linewidth=1)
        elif name.startswith("dice_") and points:
            right.plot(*zip(*points, strict=True), marker=".", label=name.removeprefix("dice_"))
    left.set(xlabel=over, ylabel="training loss", yscale="log")
    right.set(xlabel=over, ylabel=f"Dice on {scored_on}", ylim=(0, 1))
    if right.lines:
        right.legend()
    figure.savefig(picture, dpi=110)
    return True
