"""``kidneyseg measure``: table and report of a label map that a person corrected."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

from KidneySegLib.cli import options as shared
from KidneySegLib.cli.export import add_dicom_seg, series_wanted, write_wanted
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
  kidneyseg measure corrected.nii.gz --automatic results --reader "Dr. A" --image scan.nii.gz -o results-corrected
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
    group = parser.add_argument_group("origin, said by the report")
    group.add_argument("--reader", default="", metavar="NAME", help="who corrected the labels")
    group.add_argument("--comment", default="", metavar="TEXT", help="a remark of the reader")
    group.add_argument(
        "--automatic", type=Path, metavar="RESULTS", help="results folder that the correction started from"
    )
    add_dicom_seg(parser)
    shared.add_patient(parser)
    shared.add_quiet(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, token: CancelToken) -> None:
    from datetime import datetime

    from KidneySegLib import pipeline
    from KidneySegLib.cli.results import print_case
    from KidneySegLib.cli.terminal import shown_progress
    from KidneySegLib.ct import read_ct
    from KidneySegLib.export import check_results_folder
    from KidneySegLib.export.dataset.sources import read_source
    from KidneySegLib.export.read_back import read_label_map
    from KidneySegLib.export.review import Review, changed_voxels

    check_results_folder(options.output)
    series = series_wanted(options, options.image)
    with shown_progress(token, quiet=options.quiet) as progress:
        image, labels = options.image, options.labels
        model: Mapping[str, str] = {}
        changed = None
        if options.automatic:
            image = read_ct(options.image, series_uid=options.series, progress=progress)
            labels = read_label_map(options.labels, options.reference_labels, image)
            start = read_source(options.automatic, image)
            model, changed = start.model, changed_voxels(start.labels, labels, image.image)
        review = None
        if options.reader or options.comment or changed is not None:
            time = datetime.now().astimezone().isoformat(timespec="seconds")
            review = Review(options.reader, time, comment=options.comment, changed_voxels=changed)
        case = pipeline.measure_case(
            labels,
            image,
            options.output,
            scheme=options.reference_labels,
            series_uid=options.series,
            case_id=options.case_id,
            patient=shared.patient_of(options),
            model=model.get("name", ""),
            model_facts=model,
            review=review,
            progress=progress,
        )
    print_case(case)
    write_wanted(case, series)
