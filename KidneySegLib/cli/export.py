"""``kidneyseg export``: results in other formats; and the option that `segment` and `measure` share for it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from KidneySegLib.cli import options as shared
from KidneySegLib.progress import CancelToken

if TYPE_CHECKING:
    from KidneySegLib.ct.source_series import SourceSeries
    from KidneySegLib.pipeline import CaseResult

SEGMENTATION_DCM = "segmentation.dcm"
_TEXT = """\
Write results in another format.

  dicom-seg    a DICOM SEG object for an archive (PACS): a segment for each structure and side with its codes,
               the series that it was made on, and whether it is automatic or corrected, by whom, when and with
               which model. It carries the patient's name as the series does.
"""
_EXAMPLES = """\
  kidneyseg export dicom-seg results --image DICOM_FOLDER -o kidneys.dcm
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = shared.add_command(commands, "export", "results in other formats (DICOM SEG)", _TEXT, _EXAMPLES)
    kinds = parser.add_subparsers(title="formats", metavar="FORMAT", dest="format", required=True)
    kind = shared.add_command(kinds, "dicom-seg", "a DICOM SEG object", _TEXT, _EXAMPLES)
    kind.add_argument("results", type=Path, metavar="RESULTS", help="results folder of segment or measure")
    kind.add_argument("--image", type=Path, required=True, metavar="DICOM", help="the DICOM folder or zip of the scan")
    kind.add_argument("--series", metavar="UID", help="which series of it")
    shared.add_output(kind, "the file; replaced if it is there")
    shared.add_quiet(kind)
    kind.set_defaults(run=run_dicom_seg)


def run_dicom_seg(options: argparse.Namespace, token: CancelToken) -> None:
    from KidneySegLib.cli.terminal import shown_progress
    from KidneySegLib.ct import read_ct
    from KidneySegLib.ct.source_series import read_source_series
    from KidneySegLib.export.dataset.sources import read_provenance, read_source
    from KidneySegLib.export.dicom_seg import write_dicom_seg

    with shown_progress(token, quiet=options.quiet) as progress:
        series = read_source_series(options.image, options.series, progress)
        scan = read_ct(options.image, series_uid=series.uid, progress=progress)
        source = read_source(options.results, scan)
        facts = read_provenance(options.results) if options.results.is_dir() else {}
        notes = write_dicom_seg(options.output, source.labels, scan.image, series, provenance=facts)
    for note in notes:
        print(f"note: {note}")
    print(f"DICOM SEG: {options.output}")


def add_dicom_seg(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """``--dicom-seg``."""
    parser.add_argument(
        "--dicom-seg", action="store_true", help=f"also write {SEGMENTATION_DCM}, for an archive (needs a DICOM input)"
    )


def series_wanted(options: argparse.Namespace, source: Path) -> SourceSeries | None:
    """The series that ``--dicom-seg`` will refer to; None without that option. Asked for before the work is done.

    Raises:
        InputError: the input is no DICOM.
    """
    from KidneySegLib.ct.source_series import read_source_series

    return read_source_series(source, options.series) if options.dicom_seg else None


def write_wanted(case: CaseResult, series: SourceSeries | None) -> None:
    """Write ``segmentation.dcm`` into the results folder, if it was asked for, and say so."""
    from KidneySegLib.export.dicom_seg import write_dicom_seg

    if series is None:
        return
    both = case.table.row("both")
    if both is None or both.parenchyma_ml is None:
        print("note: no kidney was found, so there is no DICOM SEG")
        return
    path = case.folder / SEGMENTATION_DCM
    for note in write_dicom_seg(path, case.labels, case.scan.image, series, provenance=case.provenance):
        print(f"note: {note}")
    print(f"DICOM SEG: {path}")
