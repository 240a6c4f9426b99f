"""Commands of the panel's Re-training section and its DICOM SEG button. All of substance is in `export`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from KidneySegLib.progress import Progress
from KidneySegLib.worker_parts import arrays
from KidneySegLib.worker_parts.protocol import ProtocolError

if TYPE_CHECKING:
    import SimpleITK as sitk

    from KidneySegLib.export.dataset import DataSetCase, Revision
    from KidneySegLib.worker_parts.commands import Session

Request = Mapping[str, Any]
Reply = dict[str, Any]


def dataset_add(session: Session, request: Request, progress: Progress) -> Reply:
    """Add what the panel shows to a data set: a new case, or a new revision of one."""
    from KidneySegLib.export.dataset import DEIDENTIFICATION_NOTICE, Addition, DataSet, Status

    scan = session.scan(request)
    automatic = request.get("automatic")
    told = Addition(
        reader=str(request.get("reader") or ""),
        status=_status(request, Status),
        comment=str(request.get("comment") or ""),
        seconds_spent=request.get("seconds_spent"),
        model={str(key): str(value) for key, value in (request.get("model_facts") or {}).items()},
        based_on=request.get("based_on"),
        flags=tuple(request.get("flags") or ()),
        uncertainty=dict(request.get("uncertainty") or {}),
        subject=request.get("subject") or None,
        case_id=request.get("dataset_case") or None,
    )
    added = DataSet.create(_path(request, "dataset")).add(
        scan,
        arrays.read_image(session.workspace, request["labels"]),
        told,
        automatic=arrays.read_image(session.workspace, automatic) if automatic else None,
        progress=progress,
    )
    return {
        "case": _describe_case(added.case),
        "revision": added.revision.number,
        "is_new_case": added.is_new_case,
        "notice": DEIDENTIFICATION_NOTICE,
    }


def dataset_list(session: Session, request: Request, progress: Progress) -> Reply:
    """All cases, and the order in which those that nobody reviewed should be."""
    from KidneySegLib.export.dataset import DataSet
    from KidneySegLib.export.dataset.queue import to_review

    data_set = DataSet.open(_path(request, "dataset"))
    cases = data_set.cases()
    return {
        "title": data_set.title,
        "cases": [_describe_case(case) for case in cases],
        "next": [case.case_id for case in to_review(cases)],
    }


def dataset_load(session: Session, request: Request, progress: Progress) -> Reply:
    """A revision for further editing: where the image is, its labels and the automatic ones."""
    import SimpleITK as sitk

    from KidneySegLib.export.dataset import DataSet
    from KidneySegLib.export.dataset.records import read_whole

    case = DataSet.open(_path(request, "dataset")).case(str(request.get("case") or ""))
    number = request.get("revision")
    chosen = [one for one in case.revisions if number in (None, one.number)]
    if not chosen:
        raise ProtocolError(f"{case.case_id} has no revision {number!r}")
    revision = chosen[-1]
    image = case.image()
    progress.report("read", 0.5)
    labels = revision.labels()
    path = revision.automatic_path
    automatic = read_whole(path, revision.files[path.name]) if path is not None else None
    start = automatic if automatic is not None else labels
    return {
        "case": _describe_case(case),
        "revision": _describe_revision(revision),
        "image": str(case.image_path),
        "labels": _sent(session, f"labels-{request['id']}.npy", labels),
        "automatic": _sent(session, f"automatic-{request['id']}.npy", automatic) if automatic is not None else None,
        "table": _table(start, sitk.Cast(image, image.GetPixelID()), case.case_id, revision),
    }


def dataset_export(session: Session, request: Request, progress: Progress) -> Reply:
    """A training set for nnU-Net or MONAI."""
    from KidneySegLib.export.dataset import DataSet
    from KidneySegLib.export.dataset.monai import export_monai
    from KidneySegLib.export.dataset.nnunet import export_nnunet

    kinds: dict[str, Callable[..., Any]] = {"nnunet": export_nnunet, "monai": export_monai}
    kind = str(request.get("format") or "")
    if kind not in kinds:
        raise ProtocolError(f"format must be one of {', '.join(kinds)}, got {kind!r}")
    exported = kinds[kind](
        DataSet.open(_path(request, "dataset")),
        _path(request, "output"),
        readers=str(request.get("readers") or "newest"),
        progress=progress,
    )
    return {
        "folder": str(exported.folder),
        "train": len(exported.train),
        "test": len(exported.test),
        "left_out": dict(exported.left_out),
    }


def dicom_seg(session: Session, request: Request, progress: Progress) -> Reply:
    """The labels that the panel shows as a DICOM SEG that refers to the series of the volume."""
    from KidneySegLib.ct.source_series import read_source_files
    from KidneySegLib.export.dicom_seg import write_dicom_seg
    from KidneySegLib.export.label_maps import on_scan

    files = request.get("files")
    if not isinstance(files, list) or not files:
        raise ProtocolError("files must be a list of the series' DICOM files")
    scan, series = read_source_files([Path(name) for name in files], progress)
    labels = on_scan(arrays.read_image(session.workspace, request["labels"]), scan.image)
    facts = request.get("provenance")
    path = _path(request, "output")
    notes = write_dicom_seg(path, labels, scan.image, series, provenance=facts if isinstance(facts, dict) else None)
    return {"file": str(path), "notes": list(notes)}


HANDLERS: dict[str, Callable[[Session, Request, Progress], Reply]] = {
    "dataset_add": dataset_add,
    "dataset_list": dataset_list,
    "dataset_load": dataset_load,
    "dataset_export": dataset_export,
    "dicom_seg": dicom_seg,
}


def _describe_case(case: DataSetCase) -> Reply:
    return {
        "case_id": case.case_id,
        "created": case.created,
        "split": case.split.value,
        "reviewed": case.reviewed,
        "traffic_light": str(case.latest.uncertainty.get("traffic_light", "")),
        "revisions": [_describe_revision(one) for one in case.revisions],
    }


def _describe_revision(revision: Revision) -> Reply:
    return {
        "number": revision.number,
        "reader": revision.reader,
        "created": revision.created,
        "status": revision.status.value,
        "origin": revision.origin.value,
        "comment": revision.comment,
        "changed_voxels": revision.changed_voxels,
        "seconds_spent": revision.seconds_spent,
        "model": dict(revision.model),
        "flags": list(revision.flags),
        "uncertainty": dict(revision.uncertainty),
    }


def _sent(session: Session, name: str, labels: sitk.Image) -> Reply:
    """A label map in the workspace, cut to the box that holds something, and that box's first voxel."""
    import SimpleITK as sitk

    from KidneySegLib.postprocessing.grid import bounding_box

    box = bounding_box(sitk.GetArrayViewFromImage(labels)) or (slice(0, 1),) * 3
    z, y, x = box
    part = labels[x.start : x.stop, y.start : y.stop, z.start : z.stop]
    return {**arrays.write_image(session.workspace, name, part), "index": [x.start, y.start, z.start]}


def _table(labels: sitk.Image, image: sitk.Image, case_id: str, revision: Revision) -> Reply:
    import csv
    import io

    from KidneySegLib.measurement import measure
    from KidneySegLib.measurement.table import csv_text

    table = measure(labels, image, case_id=case_id, model=revision.model.get("name", ""), flags=revision.flags)
    columns, *rows = csv.reader(io.StringIO(csv_text(table), newline=""))
    return {"columns": columns, "rows": rows}


def _path(request: Request, key: str) -> Path:
    value = request.get(key)
    if not isinstance(value, str) or not value:
        raise ProtocolError(f"{key} must be a path, got {value!r}")
    return Path(value)


def _status(request: Request, kinds: Any) -> Any:
    try:
        return kinds(request.get("status"))
    except ValueError as error:
        raise ProtocolError(
            f"status must be accepted, rejected or unreviewed, got {request.get('status')!r}"
        ) from error
