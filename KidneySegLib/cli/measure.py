"""``kidneyseg measure``: table and report of a label map that a person corrected."""

from __future__ import annotations

import argparse
from pathlib import Path

from KidneySegLib.cli import options as shared
from KidneySegLib.progress import CancelToken

_TEXT = """\
Measure a label map, as corrected in 3D Slicer or elsewhere, and write the same results folder as
`kidneyseg segment`. LABELS holds the ids of segmentation.nii.gz and lies on the CT's grid:

   1 right cortex    2 right medulla    3 left cortex    4 left medulla
   5 right cyst      6 left cyst        7 right mass     8 left mass
   9-12 cortex, medulla, cyst, mass of a kidney without side
  13 right, 14 left, 15 unsided parenchyma that is not divided
"""
_EXAMPLES = """\
  kidneyseg measure corrected.nii.gz --image scan.nii.gz -o results-corrected
  kidneyseg measure Segmentation.seg.nrrd --image DICOM_FOLDER -o results-corrected
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = shared.add_command(commands, "measure", "measure a (corrected) label map", _TEXT, _EXAMPLES)
    parser.add_argument("labels", type=Path, metavar="LABELS", help="label map (NIfTI, NRRD, MetaImage, .seg.nrrd)")
    parser.add_argument("--image", type=Path, required=True, metavar="CT", help="the scan that it was drawn on")
    shared.add_output(parser, "results folder; an existing results folder is replaced as a whole")
    parser.add_argument(
        "--reference-labels",
        choices=("kidneyseg", "training", "sides", "kits", "abnormality"),
        default="kidneyseg",
        metavar="SCHEME",
        help="whose ids they are: kidneyseg (default), training (1 medulla, 2 cortex, 3 cyst, 4 mass), sides (1 right, "
        "2 left), kits (1 kidney, 2 tumour, 3 cyst) or abnormality (1 kidney, 2 abnormality)",
    )
    parser.add_argument("--series", metavar="UID", help="which series of a DICOM folder")
    parser.add_argument("--case-id", metavar="ID", help="first column of the table (default: the name of OUT)")
    shared.add_patient(parser)
    shared.add_quiet(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, token: CancelToken) -> None:
    from KidneySegLib import pipeline
    from KidneySegLib.cli.results import print_case
    from KidneySegLib.cli.terminal import shown_progress

    with shown_progress(token, quiet=options.quiet) as progress:
        case = pipeline.measure_case(
            options.labels,
            options.image,
            options.output,
            scheme=options.reference_labels,
            series_uid=options.series,
            case_id=options.case_id,
            patient=shared.patient_of(options),
            progress=progress,
        )
    print_case(case)
