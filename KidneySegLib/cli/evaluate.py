"""``kidneyseg evaluate``: masks against reference masks."""

from __future__ import annotations

import argparse
from pathlib import Path

from KidneySegLib.cli import options as shared
from KidneySegLib.progress import CancelToken

_SCHEMES = ("kidneyseg", "training", "sides", "kits", "abnormality")
_TEXT = """\
Score predicted masks against reference masks, case by case and in groups: Dice, Jaccard, precision, recall,
accuracy, HD95, ASSD, surface Dice, volume error, agreement of volumes, sides, flags and traffic light.

A case is NAME.nii.gz (or .nrrd, .mha, .seg.nrrd) or a folder NAME with segmentation.nii.gz or labels.nii.gz in it;
the output of `kidneyseg batch` and of `kidneyseg phantom` will do as they are. Names must agree. Only structures
that both have are scored, the rest is listed. Phantoms bring their groups along: variant, phase, slice thickness.

Writes OUT/report.html (tables and plots), scores.csv (a row a case and structure), cases.csv, summary.csv,
agreement.csv, table1.csv, table2.csv and evaluation.json. The patient table of --groups has a line a case: case_id,
and of creatinine, creatinine_unit (mg/dL or umol/L), age, sex, egfr, group those that are known.
"""
_EXAMPLES = """\
  kidneyseg evaluate --prediction results --reference phantoms -o evaluation
  kidneyseg evaluate --prediction results --reference labelsTr --reference-labels training -o evaluation
  kidneyseg evaluate --prediction results --reference readers --groups patients.csv -o evaluation
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = shared.add_command(commands, "evaluate", "score masks against reference masks", _TEXT, _EXAMPLES)
    parser.add_argument("--prediction", type=Path, required=True, metavar="DIR", help="masks to be judged")
    parser.add_argument("--reference", type=Path, required=True, metavar="DIR", help="masks that are taken as true")
    shared.add_output(parser, "folder for the evaluation; an older evaluation is replaced as a whole")
    parser.add_argument(
        "--reference-labels",
        choices=_SCHEMES,
        default="kidneyseg",
        metavar="SCHEME",
        help="whose ids the references hold: kidneyseg (default), training (1 medulla, 2 cortex, 3 cyst, 4 mass), "
        "sides (1 right, 2 left), kits (1 kidney, 2 tumour, 3 cyst) or abnormality (1 kidney, 2 abnormality)",
    )
    parser.add_argument(
        "--prediction-labels", choices=_SCHEMES, default="kidneyseg", metavar="SCHEME", help="the predictions' ids"
    )
    parser.add_argument(
        "--task", choices=("ct", "ultrasound"), default="ct", help="3-D masks of CT (default) or pictures"
    )
    parser.add_argument(
        "--surface-tolerance",
        type=_tolerance,
        nargs="+",
        default=None,
        metavar="MM",
        help="tolerances of surface Dice (default: 1 2)",
    )
    parser.add_argument("--no-surfaces", action="store_true", help="leave out HD95, ASSD and surface Dice: quicker")
    parser.add_argument(
        "--hierarchical", action="store_true", help="also score KiTS' classes: kidney and masses, masses, tumour"
    )
    group = parser.add_argument_group("groups of patients by kidney function (adults)")
    group.add_argument("--groups", type=Path, metavar="CSV", help="patient table")
    group.add_argument(
        "--egfr", choices=("2021", "2009"), default="2021", help="CKD-EPI formula (default: 2021; Luo & Li used 2009)"
    )
    group.add_argument("--creatinine-unit", choices=("mg/dL", "umol/L"), help="where the table does not say it")
    parser.add_argument(
        "--jobs", type=shared.count, metavar="N", help="processes (default: one a processor, at most 8)"
    )
    shared.add_quiet(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, token: CancelToken) -> None:
    if options.task == "ultrasound":
        _run_ultrasound(options, token)
        return
    from KidneySegLib.cli.evaluation import print_evaluation
    from KidneySegLib.cli.terminal import shown_progress
    from KidneySegLib.evaluation import evaluate_cohort
    from KidneySegLib.evaluation.metrics import DEFAULT_TOLERANCES_MM

    with shown_progress(token, quiet=options.quiet) as progress:
        done = evaluate_cohort(
            options.prediction,
            options.reference,
            options.output,
            reference_labels=options.reference_labels,
            prediction_labels=options.prediction_labels,
            groups=options.groups,
            formula=options.egfr,
            creatinine_unit=options.creatinine_unit,
            tolerances_mm=options.surface_tolerance or DEFAULT_TOLERANCES_MM,
            surfaces=not options.no_surfaces,
            hierarchical=options.hierarchical,
            jobs=options.jobs,
            progress=progress,
        )
    print_evaluation(done)


def _run_ultrasound(options: argparse.Namespace, token: CancelToken) -> None:
    from KidneySegLib.cli.terminal import shown_progress
    from KidneySegLib.evaluation.ultrasound import evaluate_ultrasound

    with shown_progress(token, quiet=options.quiet) as progress:
        done = evaluate_ultrasound(options.prediction, options.reference, options.output, progress=progress)
    print(done.text)


def _tolerance(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 100:
        raise argparse.ArgumentTypeError(f"must be a number of mm from 0 to 100, got {text!r}")
    return value
