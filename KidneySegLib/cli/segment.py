"""``kidneyseg segment``: from a CT to masks, volumes, pictures and a report."""

from __future__ import annotations

import argparse
from pathlib import Path

from KidneySegLib.cli import options as shared
from KidneySegLib.cli.export import add_dicom_seg, series_wanted, write_wanted
from KidneySegLib.progress import CancelToken

_TEXT = """\
Find both kidneys in one CT scan, separate cortex from medulla, measure, and write a results folder:

  volumes.csv            one row a kidney and one for both: mL, mm, HU, flags
  report.html            pictures, table, warnings and provenance on one page
  overlay.png            the masks on the CT
  segmentation.nii.gz    the masks on the scan's own grid; segmentation.seg.nrrd the same for 3D Slicer
  provenance.json        versions, model, device, times and checks

INPUT is a DICOM folder or zip file, or one NIfTI, NRRD or MetaImage file. Where a folder holds several
CT series, the error lists them; choose one with --series. The scan never leaves this computer.
"""
_EXAMPLES = """\
  kidneyseg segment DICOM_FOLDER -o results
  kidneyseg segment study.zip --series 1.2.840.113619.2.55.3 -o results
  kidneyseg segment scan.nii.gz -o results --creatinine 1.1 --creatinine-unit mg/dL --age 61 --sex f
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = shared.add_command(commands, "segment", "segment and measure one CT scan", _TEXT, _EXAMPLES)
    parser.add_argument("input", type=Path, metavar="INPUT", help="DICOM folder or zip, or one image file")
    shared.add_output(parser, "results folder; an existing results folder is replaced as a whole")
    parser.add_argument("--series", metavar="UID", help="which series of a DICOM folder")
    parser.add_argument("--case-id", metavar="ID", help="first column of the table (default: the name of OUT)")
    group = shared.add_search(parser)
    group.add_argument("--raw", action="store_true", help="also write raw_labels.nii.gz, the network's own label map")
    add_dicom_seg(parser)
    shared.add_patient(parser)
    shared.add_quiet(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, token: CancelToken) -> None:
    from KidneySegLib import pipeline
    from KidneySegLib.cli.results import print_case
    from KidneySegLib.cli.terminal import shown_progress

    series = series_wanted(options, options.input)
    with shown_progress(token, quiet=options.quiet) as progress:
        case = pipeline.segment_case(
            options.input,
            options.output,
            series_uid=options.series,
            model=options.model,
            device=options.device,
            precision=options.precision,
            mirror=options.mirror,
            use_localiser=not options.no_localiser,
            find_lesions=options.lesions,
            raw=options.raw,
            case_id=options.case_id,
            patient=shared.patient_of(options),
            progress=progress,
        )
    print_case(case)
    write_wanted(case, series)
