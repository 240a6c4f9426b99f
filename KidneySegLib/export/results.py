"""The results folder of one case."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from KidneySegLib.export.label_maps import on_whole_grid, write_image
from KidneySegLib.export.overlay import Sections, draw_overlay, write_overlay
from KidneySegLib.export.provenance import make_provenance, provenance_text
from KidneySegLib.export.report import report_html
from KidneySegLib.export.results_folder import PROVENANCE, new_results_folder
from KidneySegLib.export.seg_nrrd import write_seg_nrrd
from KidneySegLib.measurement.table import MeasurementTable, csv_text
from KidneySegLib.progress import Progress

if TYPE_CHECKING:
    import SimpleITK as sitk
    from PIL import Image

    from KidneySegLib.ct.phase import PhaseEstimate
    from KidneySegLib.ct.scan import CtScan

SEGMENTATION = "segmentation.nii.gz"
SEG_NRRD = "segmentation.seg.nrrd"
VOLUMES = "volumes.csv"
OVERLAY = "overlay.png"
REPORT = "report.html"
RAW_LABELS = "raw_labels.nii.gz"


def write_results(
    folder: Path,
    *,
    case_id: str,
    scan: CtScan,
    labels: sitk.Image,
    sections: Future[Sections],
    table: MeasurementTable,
    phase: PhaseEstimate | None,
    provenance: Mapping[str, Any],
    raw_labels: sitk.Image | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Write all files of a results folder, whole or not at all.

    Files are made in a temporary folder beside the wanted one, which then takes its name; an older results folder
    is replaced as a whole. If anything fails, or the user cancels, the temporary folder is removed and what was
    there stays as it was.

    Args:
        folder: results folder: missing, empty, or an older results folder.
        case_id: name of the case.
        scan: what was read.
        labels: ids 1-15 on the scan's grid or a part of it.
        sections: of scan and labels, for the overlay; they may still be painted elsewhere.
        table: what was measured.
        phase: contrast phase, if known.
        provenance: facts that only the caller knows; written beside those of `make_provenance`.
        raw_labels: the network's own label map, on the scan's grid or a part of it; None writes none.
        progress: told per file; looked at for cancelling.

    Returns:
        What ``provenance.json`` says.

    Raises:
        OutputError: the folder is not ours, or cannot be written.
        InputError: labels do not lie on the scan's grid.
    """
    progress = progress or Progress()
    progress.report("write", 0.0)
    facts = make_provenance(provenance, case_id=case_id, scan=scan, phase=phase, flags=table.flags, notes=table.notes)
    with new_results_folder(folder) as place, ThreadPoolExecutor(1) as beside:
        # Drawing and packing take as long as each other, and each takes one thread.
        drawn = beside.submit(_draw, place / OVERLAY, case_id, sections, table)
        write_image(on_whole_grid(labels, scan.image), place / SEGMENTATION)
        progress.report("write", 0.3)
        write_seg_nrrd(labels, scan.image, place / SEG_NRRD)
        if raw_labels is not None:
            write_image(on_whole_grid(raw_labels, scan.image), place / RAW_LABELS)
        progress.report("write", 0.5)
        (place / VOLUMES).write_bytes(csv_text(table).encode("utf-8"))
        picture = drawn.result()
        progress.report("write", 0.8)
        page = report_html(case_id=case_id, table=table, picture=picture, provenance=facts, phase=phase)
        (place / REPORT).write_bytes(page.encode("utf-8"))
        (place / PROVENANCE).write_bytes(provenance_text(facts).encode("utf-8"))
        progress.check()
    progress.report("write", 1.0)
    return facts


def _draw(path: Path, case_id: str, sections: Future[Sections], table: MeasurementTable) -> Image.Image:
    picture = draw_overlay(sections.result(), case_id=case_id, table=table)
    write_overlay(picture, path)
    return picture
