"""What is known of a case and of each of its revisions, as frozen records that are read from its folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from KidneySegLib.errors import InputError
from KidneySegLib.files import file_sha256

if TYPE_CHECKING:
    import SimpleITK as sitk

CASE_FORMAT = "kidneyseg-dataset-case"
REVISION_FORMAT = "kidneyseg-dataset-revision"
FORMAT_VERSION = 1

CASE_FILE = "case.json"
REVISION_FILE = "revision.json"
IMAGE = "image.nii.gz"
LABELS = "labels.nii.gz"
AUTOMATIC = "automatic.nii.gz"
UNCERTAINTY = "uncertainty.nii.gz"
REVISIONS = "revisions"


class Status(str, Enum):
    """What a reader says of labels. Only accepted ones train anything."""

    UNREVIEWED = "unreviewed"
    ACCEPTED = "accepted"
    REJECTED = "rejected"


class Origin(str, Enum):
    """Where labels come from: a model alone, a model and then a person, or a person alone."""

    AUTOMATIC = "automatic"
    CORRECTED = "corrected"
    MANUAL = "manual"


class Split(str, Enum):
    """What a case is for. It is said once, when the case is added, so that held-out cases stay held out."""

    TRAIN = "train"
    TEST = "test"


@dataclass(frozen=True)
class Change:
    """What a person changed of one structure.

    Attributes:
        added_voxels, removed_voxels: voxels that are the structure now and were not, and the other way round.
        before_ml, after_ml: its volume.
    """

    added_voxels: int
    removed_voxels: int
    before_ml: float
    after_ml: float


@dataclass(frozen=True)
class Revision:
    """One set of labels of a case: by one reader, at one time. Never changed once it is there.

    Attributes:
        folder: where it lies; its name is its number.
        reader: who answers for it; empty for unreviewed automatic labels.
        created: time in UTC, ISO 8601.
        status: what the reader says of it.
        origin: automatic, corrected or manual.
        comment: free text of the reader.
        seconds_spent: time the reader spent editing, or None.
        model: name, version and sha256 of the model that the labels started from; empty for manual ones.
        based_on: number of the revision that was loaded for editing, or None.
        changes: by label key (``right_cortex``); only structures that changed. Empty where the automatic labels are
            not known.
        changed_voxels: voxels whose label changed, or None where the automatic labels are not known.
        volumes_ml: by label key, of these labels.
        flags: keys of `KidneySegLib.flags.FLAGS`.
        uncertainty: what the model said of its own result, by column of ``volumes.csv``; may be empty.
        files: SHA-256 of each file.
        program: version of KidneySeg that wrote it.
        token: says which of two that came at the same moment this is.
    """

    folder: Path
    reader: str
    created: str
    status: Status
    origin: Origin
    comment: str = ""
    seconds_spent: float | None = None
    model: Mapping[str, str] = field(default_factory=dict)
    based_on: int | None = None
    changes: Mapping[str, Change] = field(default_factory=dict)
    changed_voxels: int | None = None
    volumes_ml: Mapping[str, float] = field(default_factory=dict)
    flags: tuple[str, ...] = ()
    uncertainty: Mapping[str, float | str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    program: str = ""
    token: str = ""

    @property
    def number(self) -> int:
        """1 for the first revision of its case."""
        return int(self.folder.name)

    @property
    def labels_path(self) -> Path:
        """``labels.nii.gz``: ids 1-15 on the image's whole grid."""
        return self.folder / LABELS

    @property
    def automatic_path(self) -> Path | None:
        """The model's own labels, where they are known."""
        return self.folder / AUTOMATIC if AUTOMATIC in self.files else None

    @property
    def uncertainty_path(self) -> Path | None:
        """The model's uncertainty in each voxel, where it is known."""
        return self.folder / UNCERTAINTY if UNCERTAINTY in self.files else None

    def labels(self) -> sitk.Image:
        """The labels, uint8.

        Raises:
            InputError: the file is not what was written.
        """
        return read_whole(self.labels_path, self.files[LABELS])


@dataclass(frozen=True)
class DataSetCase:
    """One case: an image and all that people said of it.

    Attributes:
        case_id: made from the image and a secret of the data set; says nothing about the patient.
        folder: where it lies.
        created: time in UTC, ISO 8601.
        split: held out (``test``) or not (``train``).
        subject: the same for all cases of one patient, as far as was known; a keyed hash.
        source_sha256: `KidneySegLib.ct.scan.CtScan.sha256` of what was read.
        image_sha256: the same of ``image.nii.gz``.
        slice_thickness_mm: nominal.
        flags: keys that reading the scan raised.
        files: SHA-256 of each file.
        revisions: by number, oldest first.
    """

    case_id: str
    folder: Path
    created: str
    split: Split
    subject: str
    source_sha256: str
    image_sha256: str
    slice_thickness_mm: float
    flags: tuple[str, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    revisions: tuple[Revision, ...] = ()

    @property
    def image_path(self) -> Path:
        """``image.nii.gz``: HU, no DICOM attributes."""
        return self.folder / IMAGE

    def image(self) -> sitk.Image:
        """The CT in HU.

        Raises:
            InputError: the file is not what was written.
        """
        return read_whole(self.image_path, self.files[IMAGE])

    @property
    def latest(self) -> Revision:
        """The newest revision, whatever its status."""
        return self.revisions[-1]

    def by_reader(self) -> dict[str, Revision]:
        """The newest word of each reader; unreviewed labels are nobody's."""
        return {one.reader: one for one in self.revisions if one.status is not Status.UNREVIEWED}

    def accepted(self) -> tuple[Revision, ...]:
        """Labels to train on: of each reader the newest, if he accepted it; oldest first."""
        found = (one for one in self.by_reader().values() if one.status is Status.ACCEPTED)
        return tuple(sorted(found, key=lambda one: one.number))

    @property
    def best(self) -> Revision | None:
        """The newest accepted labels, or None."""
        return self.accepted()[-1] if self.accepted() else None

    @property
    def reviewed(self) -> bool:
        """Whether anybody accepted or rejected labels of this case."""
        return bool(self.by_reader())


def to_json(record: Revision | DataSetCase, leave_out: tuple[str, ...]) -> dict[str, Any]:
    """Fields of a record as JSON has them; what the folder's own name says is left out."""
    from KidneySegLib.export.provenance import plain_data

    given = {item.name: getattr(record, item.name) for item in fields(record) if item.name not in leave_out}
    plain: dict[str, Any] = plain_data(given)
    return plain


def case_json(case: DataSetCase) -> dict[str, Any]:
    """The content of ``case.json``."""
    facts = to_json(case, leave_out=("folder", "revisions"))
    return {"format": CASE_FORMAT, "format_version": FORMAT_VERSION, **facts}


def revision_json(revision: Revision) -> dict[str, Any]:
    """The content of ``revision.json``."""
    facts = to_json(revision, leave_out=("folder",))
    return {"format": REVISION_FORMAT, "format_version": FORMAT_VERSION, **facts}


def read_case(folder: Path) -> DataSetCase:
    """A case and all its revisions.

    Raises:
        InputError: a file is missing or is not what was written.
    """
    given = _read(folder / CASE_FILE, CASE_FORMAT)
    numbers = sorted(int(path.name) for path in (folder / REVISIONS).iterdir() if path.name.isdigit())
    revisions = tuple(read_revision(folder / REVISIONS / f"{number:04d}") for number in numbers)
    if not revisions:
        raise InputError(f"{folder} holds no revision. It was not written by KidneySeg: move it out of the data set.")
    try:
        return DataSetCase(
            case_id=str(given["case_id"]),
            folder=folder,
            created=str(given["created"]),
            split=Split(given["split"]),
            subject=str(given["subject"]),
            source_sha256=str(given["source_sha256"]),
            image_sha256=str(given["image_sha256"]),
            slice_thickness_mm=float(given["slice_thickness_mm"]),
            flags=tuple(given["flags"]),
            files=dict(given["files"]),
            revisions=revisions,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(folder / CASE_FILE, error) from error


def read_revision(folder: Path) -> Revision:
    """A revision's record; its label maps are read when they are asked for.

    Raises:
        InputError: the file is missing or is not what was written.
    """
    given = _read(folder / REVISION_FILE, REVISION_FORMAT)
    try:
        return Revision(
            folder=folder,
            reader=str(given["reader"]),
            created=str(given["created"]),
            status=Status(given["status"]),
            origin=Origin(given["origin"]),
            comment=str(given["comment"]),
            seconds_spent=None if given["seconds_spent"] is None else float(given["seconds_spent"]),
            model=dict(given["model"]),
            based_on=given["based_on"],
            changes={key: Change(**change) for key, change in given["changes"].items()},
            changed_voxels=given["changed_voxels"],
            volumes_ml=dict(given["volumes_ml"]),
            flags=tuple(given["flags"]),
            uncertainty=dict(given["uncertainty"]),
            files=dict(given["files"]),
            program=str(given["program"]),
            token=str(given["token"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _damaged(folder / REVISION_FILE, error) from error


def read_whole(path: Path, sha256: str) -> sitk.Image:
    """An image file of the data set, if it is what was written.

    Raises:
        InputError: missing, or changed since.
    """
    import SimpleITK as sitk

    try:
        found = file_sha256(path)
    except OSError as error:
        raise InputError(f"{path} could not be read ({error.strerror}). Restore it from a copy.") from error
    if found != sha256:
        raise InputError(f"{path} is not what was written: its SHA-256 differs. Restore it from a copy.")
    return sitk.ReadImage(str(path))


def _read(path: Path, format_name: str) -> dict[str, Any]:
    try:
        given = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _damaged(path, error) from error
    if not isinstance(given, dict) or given.get("format") != format_name:
        raise _damaged(path, "it is no " + format_name)
    if given.get("format_version") != FORMAT_VERSION:
        raise InputError(
            f"{path} has version {given.get('format_version')} of the format, but this KidneySeg reads version "
            f"{FORMAT_VERSION}. Update KidneySeg."
        )
    return given


def _damaged(path: Path, why: object) -> InputError:
    return InputError(
        f"{path} is missing or damaged ({why}). Restore it from a copy, or move its folder out of the data set."
    )
