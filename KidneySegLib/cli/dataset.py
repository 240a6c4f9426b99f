"""``kidneyseg dataset``: corrected cases kept for training, and their export."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from KidneySegLib.cli import options as shared
from KidneySegLib.progress import CancelToken

if TYPE_CHECKING:
    from KidneySegLib.export.dataset import DataSetCase

_TEXT = """\
A data set is a folder that grows: each case with its image, the automatic and the corrected labels, who
corrected what and when. Adding a case again adds a revision; nothing is overwritten, and several people may
add at the same time. Images are stored without DICOM attributes, under names that say nothing of the
patient; text that is burnt into pictures is yours to check.
"""
_EXAMPLES = """\
  kidneyseg dataset add results-corrected --image DICOM_FOLDER --dataset our-kidneys --reader "Dr. A"
  kidneyseg dataset list our-kidneys
  kidneyseg dataset export our-kidneys --format nnunet -o nnUNet_raw/Dataset601_Kidneys
"""
_ADD_TEXT = """\
Add labels to a data set, which is made if it is not there. LABELS is a results folder (of `segment` or
`measure`) or a label map as `measure` takes it. With --automatic, the results folder or label map that the
correction started from, the data set also says what was changed.
"""
_ADD_EXAMPLES = """\
  kidneyseg dataset add corrected.nii.gz --automatic results --image scan.nii.gz --dataset our-kidneys --reader "Dr. A"
  kidneyseg dataset add results --image scan.nii.gz --dataset our-kidneys --status unreviewed
"""
_EXPORT_TEXT = """\
Write accepted labels as a training set: nnUNet_raw with region labels (parenchyma contains cortex), five
folds and a held-out test list, or MONAI's JSON list. Held-out cases (one in five, drawn when a case is added)
are never in the training part.
"""
_EXPORT_EXAMPLES = """\
  kidneyseg dataset export our-kidneys --format nnunet -o nnUNet_raw/Dataset601_Kidneys
  kidneyseg dataset export our-kidneys --format monai -o kidneys-monai --readers consensus:staple
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = shared.add_command(commands, "dataset", "corrected cases, kept for training", _TEXT, _EXAMPLES)
    actions = parser.add_subparsers(title="actions", metavar="ACTION", dest="action", required=True)
    _add_add(actions)

    action = actions.add_parser("list", help="the cases of a data set, and who said what of them")
    action.add_argument("dataset", type=Path, metavar="DATASET", help="its folder")
    action.add_argument("--next", action="store_true", help="only cases nobody reviewed, the most uncertain first")
    action.set_defaults(run=run_list)

    action = shared.add_command(actions, "export", "write a training set", _EXPORT_TEXT, _EXPORT_EXAMPLES)
    action.add_argument("dataset", type=Path, metavar="DATASET", help="its folder")
    action.add_argument("--format", choices=("nnunet", "monai"), required=True, help="for whom")
    shared.add_output(action, "folder of the training set; for nnU-Net named DatasetNNN_Name")
    action.add_argument(
        "--readers",
        default="newest",
        metavar="WHO",
        help="whose labels: newest (default), consensus[:majority|intersection|staple], or the name of a reader",
    )
    action.add_argument(
        "--parenchyma-only",
        action="store_true",
        default=None,
        help="cortex and medulla as one label (default: only where no case has cortex)",
    )
    shared.add_quiet(action)
    action.set_defaults(run=run_export)


def _add_add(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    action = shared.add_command(actions, "add", "add labels of a case", _ADD_TEXT, _ADD_EXAMPLES)
    action.add_argument("labels", type=Path, metavar="LABELS", help="results folder or label map")
    action.add_argument("--image", type=Path, required=True, metavar="CT", help="the scan that they were made on")
    action.add_argument("--dataset", type=Path, required=True, metavar="FOLDER", help="the data set")
    action.add_argument("--reader", default="", metavar="NAME", help="who corrected or accepted the labels")
    action.add_argument(
        "--status",
        choices=("accepted", "rejected", "unreviewed"),
        default="accepted",
        help="what the reader says of them (default: accepted); only accepted labels train anything",
    )
    action.add_argument("--automatic", type=Path, metavar="LABELS", help="what the correction started from")
    action.add_argument("--comment", default="", metavar="TEXT", help="a remark; nothing that identifies the patient")
    action.add_argument("--seconds", type=float, metavar="S", help="time that the correction took")
    action.add_argument(
        "--subject",
        metavar="ID",
        help="anything that is the same for all scans of a patient, so that they stay in one part; only a keyed hash "
        "of it is stored (default: PatientID of a DICOM scan)",
    )
    action.add_argument("--split", choices=("train", "test"), help="held out (test) or not (default: by lot)")
    action.add_argument("--series", metavar="UID", help="which series of a DICOM folder")
    action.add_argument(
        "--reference-labels",
        choices=("kidneyseg", "training", "sides", "kits", "abnormality"),
        default="kidneyseg",
        metavar="SCHEME",
        help="whose ids a label map holds, as for `measure` (default: kidneyseg)",
    )
    shared.add_quiet(action)
    action.set_defaults(run=run_add)


def run_add(options: argparse.Namespace, token: CancelToken) -> None:
    from KidneySegLib.cli.terminal import shown_progress
    from KidneySegLib.ct import read_ct
    from KidneySegLib.export.dataset import DEIDENTIFICATION_NOTICE, Addition, DataSet, Split, Status
    from KidneySegLib.export.dataset.sources import read_source, subject_of

    with shown_progress(token, quiet=options.quiet) as progress:
        scan = read_ct(options.image, series_uid=options.series, progress=progress)
        source = read_source(options.labels, scan, options.reference_labels)
        start = read_source(options.automatic, scan, options.reference_labels) if options.automatic else None
        automatic = start.labels if start else source.labels if source.is_automatic else None
        told = Addition(
            reader=options.reader or source.reader,
            status=Status(options.status),
            comment=options.comment,
            seconds_spent=options.seconds,
            model=source.model or (start.model if start else {}),
            flags=source.flags or (start.flags if start else ()),
            uncertainty=(start.uncertainty if start else {}) or source.uncertainty,
            subject=options.subject or subject_of(scan),
            split=Split(options.split) if options.split else None,
        )
        added = DataSet.create(options.dataset).add(scan, source.labels, told, automatic=automatic, progress=progress)
    revision = added.revision
    what = "new case" if added.is_new_case else "new revision of a case that was there"
    print(
        f"{added.case.case_id} revision {revision.number} ({what}, {added.case.split.value}): {revision.status.value}"
    )
    if revision.changed_voxels is not None:
        print(f"{revision.changed_voxels} voxels differ from the automatic labels")
    for key, change in revision.changes.items():
        print(f"  {key:<18} {change.before_ml:8.2f} -> {change.after_ml:8.2f} mL")
    print(f"note: {DEIDENTIFICATION_NOTICE}")


def run_list(options: argparse.Namespace, token: CancelToken) -> None:
    from KidneySegLib.cli.terminal import print_table
    from KidneySegLib.export.dataset import DataSet
    from KidneySegLib.export.dataset.queue import to_review

    data_set = DataSet.open(options.dataset)
    cases = to_review(data_set.cases()) if options.next else data_set.cases()
    if not cases:
        print("Every case was reviewed." if options.next and data_set.cases() else "The data set has no cases yet.")
        return
    header = ("case", "part", "revisions", "readers", "accepted", "changed voxels", "traffic light")
    print_table(header, [_line(case) for case in cases], numbers=False)


def _line(case: DataSetCase) -> tuple[str, ...]:
    best = case.best or case.latest
    readers = ", ".join(f"{name} ({one.status.value})" for name, one in case.by_reader().items())
    return (
        case.case_id,
        case.split.value,
        str(len(case.revisions)),
        readers or "not reviewed",
        f"{case.best.created[:16].replace('T', ' ')}" if case.best else "",
        "" if best.changed_voxels is None else str(best.changed_voxels),
        str(best.uncertainty.get("traffic_light", "")),
    )


def run_export(options: argparse.Namespace, token: CancelToken) -> None:
    from KidneySegLib.cli.terminal import shown_progress
    from KidneySegLib.export.dataset import DataSet
    from KidneySegLib.export.dataset.monai import export_monai
    from KidneySegLib.export.dataset.nnunet import export_nnunet

    write = export_nnunet if options.format == "nnunet" else export_monai
    with shown_progress(token, quiet=options.quiet) as progress:
        exported = write(
            DataSet.open(options.dataset),
            options.output,
            readers=options.readers,
            parenchyma_only=options.parenchyma_only,
            progress=progress,
        )
    print(
        f"{len(exported.train)} cases to train on in {len(exported.folds)} folds, {len(exported.test)} held out: "
        f"{exported.folder}"
    )
    for case_id, why in sorted(exported.left_out.items()):
        print(f"left out: {case_id}, {why}")
