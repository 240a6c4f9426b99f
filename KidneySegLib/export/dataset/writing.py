"""The files of a case and of a revision, written into a private folder."""

from __future__ import annotations

import math
import uuid
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from KidneySegLib.errors import InputError
from KidneySegLib.export.dataset import records
from KidneySegLib.export.dataset.records import Change, DataSetCase, Origin, Revision, Status
from KidneySegLib.files import file_sha256, write_json
from KidneySegLib.labels import LABELS

if TYPE_CHECKING:
    import SimpleITK as sitk

    from KidneySegLib.ct import CtScan
    from KidneySegLib.export.dataset.dataset import Addition


def check_told(told: Addition) -> None:
    """Refuse what would make a revision that nobody can use.

    Raises:
        InputError: a reviewed revision without a reader, or an impossible time.
    """
    from KidneySegLib.flags import FLAGS

    if told.status is not Status.UNREVIEWED and not told.reader.strip():
        raise InputError("Labels that were accepted or rejected need the name of the reader (--reader NAME).")
    seconds = told.seconds_spent
    if seconds is not None and not (math.isfinite(seconds) and seconds >= 0):
        raise InputError(f"The time spent must be a number of seconds of at least 0, got {seconds}.")
    unknown = sorted(set(told.flags) - FLAGS.keys())
    if unknown:
        raise InputError(f"These flags are not known: {', '.join(unknown)}. Leave them out.")


def write_revision(
    place: Path,
    scan: CtScan,
    labels: sitk.Image,
    told: Addition,
    automatic: sitk.Image | None,
    uncertainty: sitk.Image | None,
) -> Revision:
    """Write all files of a revision into a new folder.

    Returns:
        Its record; ``folder`` is the private one.

    Raises:
        InputError: label maps on another grid or with unknown ids.
        OSError: the disk.
    """
    import SimpleITK as sitk

    from KidneySegLib import __version__
    from KidneySegLib.export.dataset.dataset import now
    from KidneySegLib.export.label_maps import on_whole_grid, set_into_grid, write_image

    place.mkdir()
    whole = on_whole_grid(labels, scan.image)
    voxels = sitk.GetArrayViewFromImage(whole)
    counts = _counts(voxels)
    ml = abs(float(np.prod(scan.image.GetSpacing()))) / 1000
    write_image(whole, place / records.LABELS)
    origin = told.origin or Origin.MANUAL
    changes: Mapping[str, Change] = {}
    changed: int | None = None
    if automatic is not None:
        before = on_whole_grid(automatic, scan.image)
        write_image(before, place / records.AUTOMATIC)
        changes, changed = _changes(sitk.GetArrayViewFromImage(before), voxels, ml)
        origin = told.origin or (Origin.CORRECTED if changed else Origin.AUTOMATIC)
    if uncertainty is not None:
        uncertain = set_into_grid(uncertainty, scan.image, sitk.sitkFloat32)
        if uncertain is None:
            raise InputError("The uncertainty map does not lie on the grid of the scan. Leave it out.")
        write_image(uncertain, place / records.UNCERTAINTY)
    files = {path.name: file_sha256(path) for path in sorted(place.iterdir())}
    revision = Revision(
        folder=place,
        reader=told.reader.strip(),
        created=now(),
        status=told.status,
        origin=origin,
        comment=told.comment.strip(),
        seconds_spent=told.seconds_spent,
        model={str(key): str(value) for key, value in told.model.items() if value},
        based_on=told.based_on,
        changes=changes,
        changed_voxels=changed,
        volumes_ml={label.key: counts[label.id] * ml for label in LABELS if counts[label.id]},
        flags=told.flags,
        uncertainty=dict(told.uncertainty),
        files=files,
        program=f"KidneySeg {__version__}",
        token=uuid.uuid4().hex,
    )
    write_json(place / records.REVISION_FILE, records.revision_json(revision), allow_nan=False)
    return revision


def write_case(place: Path, case: DataSetCase, scan: CtScan, revision: Path) -> None:
    """Write a new case into a new folder and move its first revision there.

    Raises:
        OSError: the disk.
    """
    from KidneySegLib.ct import read_ct
    from KidneySegLib.export.label_maps import write_image

    (place / records.REVISIONS).mkdir(parents=True)
    write_image(plain_image(scan.image), place / records.IMAGE)
    # NIfTI keeps geometry in single precision, so what is read back may have another hash than what was written.
    case = replace(
        case,
        image_sha256=read_ct(place / records.IMAGE).sha256,
        files={records.IMAGE: file_sha256(place / records.IMAGE)},
    )
    write_json(place / records.CASE_FILE, records.case_json(case), allow_nan=False)
    revision.rename(place / records.REVISIONS / "0001")


def plain_image(image: sitk.Image) -> sitk.Image:
    """Voxels and geometry of an image and nothing else: headers of files that were read travel with it."""
    import SimpleITK as sitk

    plain: sitk.Image = sitk.GetImageFromArray(sitk.GetArrayViewFromImage(image))
    plain.CopyInformation(image)
    return plain


def _counts(voxels: NDArray[Any]) -> NDArray[np.int64]:
    counts = np.zeros(256, dtype=np.int64)
    for plane in voxels:
        counts += np.bincount(plane.ravel(), minlength=256)
    known = {0, *(label.id for label in LABELS)}
    unknown = [int(value) for value in np.flatnonzero(counts) if int(value) not in known]
    if unknown:
        raise InputError(f"The label map holds the ids {', '.join(map(str, unknown))}, but ids are 1 to {len(LABELS)}.")
    return counts


def _changes(before: NDArray[Any], after: NDArray[Any], voxel_ml: float) -> tuple[Mapping[str, Change], int]:
    """What changed, by label key, and how many voxels."""
    n = len(LABELS) + 1
    pairs = np.zeros((n, n), dtype=np.int64)
    _counts(before)
    for old, new in zip(before, after, strict=True):
        pairs += np.bincount(old.ravel().astype(np.int64) * n + new.ravel(), minlength=n * n).reshape(n, n)
    changes = {}
    for label in LABELS:
        had, has, kept = (int(v) for v in (pairs[label.id].sum(), pairs[:, label.id].sum(), pairs[label.id, label.id]))
        if had != kept or has != kept:
            changes[label.key] = Change(has - kept, had - kept, had * voxel_ml, has * voxel_ml)
    return changes, int(pairs.sum() - np.trace(pairs))
