"""What the terminal says of a finished case."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from KidneySegLib.measurement import MeasurementTable
    from KidneySegLib.pipeline import CaseResult

#: Columns of volumes.csv that fit a terminal, and how they are headed.
_COLUMNS = {
    "parenchyma_ml": "parenchyma mL",
    "cortex_ml": "cortex mL",
    "medulla_ml": "medulla mL",
    "split_percent": "split %",
    "length_mm": "length mm",
    "cortical_thickness_mm": "cortex mm",
}
#: Further ones, where a kidney has some.
_LESION_COLUMNS = {"cyst_ml": "cysts mL", "mass_ml": "masses mL"}
#: Of these a sample case knows the truth.
_TRUE_COLUMNS = ("parenchyma_ml", "cortex_ml", "medulla_ml")

Truth = Mapping[str, Mapping[str, float | None]]


def print_case(case: CaseResult, truth: MeasurementTable | None = None) -> None:
    """Print the table, the flags as sentences, and where things lie.

    Args:
        case: the finished case.
        truth: the same measures of the true masks, printed beside the measured ones.
    """
    from KidneySegLib.cli.terminal import print_table
    from KidneySegLib.flags import FLAGS

    found = {n: text for n, text in _LESION_COLUMNS.items() if any(getattr(row, n) for row in case.table)}
    columns = {name: _COLUMNS[name] for name in _TRUE_COLUMNS} if truth is not None else {**_COLUMNS, **found}
    header = ["kidney"]
    for text in columns.values():
        header += [text, "truth"] if truth is not None else [text]
    sides = [row.side for row in case.table]
    if truth is not None:
        sides = [side for side in ("right", "left", "unsided", "both") if side in sides or truth.row(side) is not None]
    rows = []
    for side in sides:
        cells = [side]
        for name in columns:
            cells.append(_cell(case.table, side, name))
            if truth is not None:
                cells.append(_cell(truth, side, name))
        rows.append(cells)
    print(f"Case {case.case_id}")
    print_table(header, rows)
    print(f"Contrast: {case.phase.reason}")
    for key in case.table.flags:
        print(f"{FLAGS[key].severity.value}: {FLAGS[key].sentence}")
    if case.provenance.get("lesions_shown") and not found:
        print("note: cysts and masses were looked for, and none was found.")
    for note in case.table.notes:
        print(f"note: {note}")
    print(f"Table:    {case.folder / 'volumes.csv'}")
    print(f"Pictures: {case.folder / 'overlay.png'} and {case.folder / 'report.html'}")
    print(f"Masks:    {case.folder / 'segmentation.nii.gz'} (3D Slicer: segmentation.seg.nrrd)")


def true_table(labels: Path) -> MeasurementTable:
    """Volumes of the true masks of a sample case, measured on its ``labels.nii.gz``."""
    import SimpleITK as sitk

    from KidneySegLib.measurement import measure, read_labels

    truth = read_labels(labels)
    return measure(truth, sitk.Cast(truth, sitk.sitkInt16))


def _cell(table: MeasurementTable, side: str, name: str) -> str:
    row = table.row(side)
    value = getattr(row, name) if row is not None else None
    return "" if value is None else f"{value:.1f}"
