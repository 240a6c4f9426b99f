"""The data set as a whole: make or open it, list its cases, add to it."""

from __future__ import annotations

import hashlib
import hmac
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from KidneySegLib.errors import InputError
from KidneySegLib.export.dataset import records
from KidneySegLib.export.dataset.folders import (
    PASSING,
    creating,
    new_secret,
    publish,
    replace_file,
    staging_folder,
)
from KidneySegLib.export.dataset.problems import plain_disk_errors
from KidneySegLib.export.dataset.records import DataSetCase, Origin, Revision, Split, Status
from KidneySegLib.export.dataset.splits import split_of_new, without_overlap
from KidneySegLib.files import json_text
from KidneySegLib.progress import Progress

if TYPE_CHECKING:
    import SimpleITK as sitk

    from KidneySegLib.ct import CtScan

FORMAT = "kidneyseg-dataset"
DATASET_FILE = "dataset.json"
KEY_FILE = "private.key"
CASES = "cases"
_PREFIX = "case_"
DEIDENTIFICATION_NOTICE = (
    "Images are stored without DICOM attributes and under names that say nothing of the patient. Text that is burnt "
    "into the pictures, and what readers write into comments, is yours to check. Leave private.key out when you share "
    "the data set: with it, somebody who has a list of patient numbers could find out who is in it."
)


@dataclass(frozen=True)
class Addition:
    """What is told of labels that are added.

    Attributes:
        reader: who answers for them; empty for unreviewed automatic labels only.
        status: what the reader says of them.
        origin: None says automatic or corrected by comparing with ``automatic``, manual where that is missing.
        comment, seconds_spent, model, based_on, flags, uncertainty: see `records.Revision`.
        subject: anything that is the same for all scans of a patient, such as a patient number; only a keyed hash of
            it is stored. None for a patient of whom this is the only scan.
        split: held out or not; None draws by lot. A case that is there already keeps its own.
        case_id: the case that was loaded for editing, if it came from this data set.
    """

    reader: str
    status: Status = Status.ACCEPTED
    origin: Origin | None = None
    comment: str = ""
    seconds_spent: float | None = None
    model: Mapping[str, str] = field(default_factory=dict)
    based_on: int | None = None
    flags: tuple[str, ...] = ()
    uncertainty: Mapping[str, float | str] = field(default_factory=dict)
    subject: str | None = None
    split: Split | None = None
    case_id: str | None = None


@dataclass(frozen=True)
class Added:
    """What became of an addition.

    Attributes:
        case: as it is now.
        revision: what was added.
        is_new_case: whether the image came with it.
    """

    case: DataSetCase
    revision: Revision
    is_new_case: bool


@dataclass(frozen=True)
class DataSet:
    """An opened data set. Cases are read from its folders each time they are asked for.

    Attributes:
        folder: where it lies.
        data_set_id: a random name of the data set.
        title: what people call it.
    """

    folder: Path
    data_set_id: str
    title: str

    @classmethod
    def open(cls, folder: Path) -> DataSet:
        """A data set that is there.

        Raises:
            InputError: there is none.
        """
        folder = Path(folder).expanduser()
        path = folder / DATASET_FILE
        try:
            given = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise InputError(
                f"{folder} is no data set of KidneySeg (it has no {DATASET_FILE}). Add a case to it first, or give "
                "another folder."
            ) from error
        except (OSError, ValueError) as error:
            raise InputError(f"{path} could not be read ({error}). Restore it from a copy.") from error
        if not isinstance(given, dict) or given.get("format") != FORMAT:
            raise InputError(f"{path} is not that of a data set of KidneySeg. Give another folder.")
        if given.get("format_version") != records.FORMAT_VERSION:
            raise InputError(
                f"{folder} has version {given.get('format_version')} of the format, but this KidneySeg reads version "
                f"{records.FORMAT_VERSION}. Update KidneySeg."
            )
        return cls(folder, str(given.get("id", "")), str(given.get("title", "")))

    @classmethod
    def create(cls, folder: Path, title: str = "") -> DataSet:
        """A data set: the one that is there, else a new one in a missing or empty folder.

        Raises:
            InputError: the folder holds something else.
            OutputError: it cannot be written to.
        """
        folder = Path(folder).expanduser()
        if not (folder / DATASET_FILE).is_file():
            with plain_disk_errors(folder):
                _check_empty(folder)
                folder.mkdir(parents=True, exist_ok=True)
                with creating(folder):
                    _write_new(folder, title)
        return cls.open(folder)

    def cases(self) -> tuple[DataSetCase, ...]:
        """All cases, by the time they were added. No patient is in both parts (`DataSetCase.split`).

        Raises:
            InputError: a folder of a case is damaged.
        """
        place = self.folder / CASES
        folders = [path for path in place.iterdir() if path.name.startswith(_PREFIX)] if place.is_dir() else []
        found = sorted((records.read_case(path) for path in folders), key=lambda case: (case.created, case.case_id))
        parts = without_overlap(found)
        return tuple(replace(case, split=parts[case.case_id]) for case in found)

    def case(self, case_id: str) -> DataSetCase:
        """One case.

        Raises:
            InputError: there is no such case, or it is damaged.
        """
        for case in self.cases():
            if case.case_id == case_id:
                return case
        raise InputError(f"{self.folder} has no case {case_id}. List its cases with: kidneyseg dataset list")

    def find(self, scan: CtScan) -> DataSetCase | None:
        """The case of a scan, if it is here: by what was read, or by what this data set wrote of it."""
        for case in self.cases():
            if scan.sha256 in (case.source_sha256, case.image_sha256):
                return case
        return None

    def add(
        self,
        scan: CtScan,
        labels: sitk.Image,
        told: Addition,
        *,
        automatic: sitk.Image | None = None,
        uncertainty: sitk.Image | None = None,
        progress: Progress = Progress(),
    ) -> Added:
        """Add labels of a scan: a new case, or a new revision of one that is there. Nothing is overwritten.

        Safe against others who add at the same time, against being killed, and against a full disk: the case or
        revision appears by one rename, or not at all.

        Args:
            scan: the CT.
            labels: ids 1-15 on the scan's grid or a part of it.
            told: who, when and why.
            automatic: the model's own labels, on the same terms.
            uncertainty: the model's uncertainty in each voxel, on the same terms.
            progress: told the stage ``write``; looked at for cancelling.

        Raises:
            InputError: labels on another grid, a reader without a name, or a case that the scan is not.
            OutputError: the data set cannot be written to.
            Cancelled: nothing was added.
        """
        from KidneySegLib.export.dataset.writing import check_told, write_case, write_revision

        check_told(told)
        progress.report("write", 0.0)
        case = self.case(told.case_id) if told.case_id else self.find(scan)
        with plain_disk_errors(self.folder), staging_folder(self.folder) as staging:
            revision = write_revision(staging / "revision", scan, labels, told, automatic, uncertainty)
            progress.report("write", 0.4)
            if case is None:
                written = staging / "case"
                case_id = _PREFIX + self._keyed(f"image {scan.sha256}")
                new = DataSetCase(
                    case_id=case_id,
                    folder=self.folder / CASES / case_id,
                    created=revision.created,
                    split=Split.TRAIN,
                    subject=self._keyed(f"subject {told.subject}" if told.subject else f"image {scan.sha256}"),
                    source_sha256=scan.sha256,
                    image_sha256="",
                    slice_thickness_mm=scan.slice_thickness_mm,
                    flags=scan.flags,
                )
                new = replace(new, split=told.split or split_of_new(self.data_set_id, new.subject, self.cases()))
                write_case(written, new, scan, staging / "revision")
                progress.report("write", 1.0)
                if publish(written, new.folder):
                    return self._added(case_id, revision.token, is_new_case=True)
                # Somebody else added the same scan at the same moment.
                (written / records.REVISIONS / "0001").rename(staging / "revision")
                case = self.case(case_id)
            _check_same_image(case, scan)
            progress.report("write", 1.0)
            number = case.latest.number + 1
            while not publish(staging / "revision", case.folder / records.REVISIONS / f"{number:04d}"):
                number += 1
        return self._added(case.case_id, revision.token, is_new_case=False)

    def _added(self, case_id: str, token: str, *, is_new_case: bool) -> Added:
        case = self.case(case_id)
        return Added(case, next(one for one in case.revisions if one.token == token), is_new_case)

    def _keyed(self, text: str) -> str:
        """A short name that nobody can make or check without the data set's secret."""
        path = self.folder / KEY_FILE
        try:
            key = path.read_bytes().strip()
        except OSError as error:
            raise InputError(
                f"{path} is missing, so new cases cannot be named. It was left out when the data set was shared: add "
                "to the original, or make a data set of your own."
            ) from error
        return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()[:12]


def _write_new(folder: Path, title: str) -> None:
    from KidneySegLib import __version__

    if (folder / DATASET_FILE).is_file():
        return
    facts = {
        "format": FORMAT,
        "format_version": records.FORMAT_VERSION,
        "id": uuid.uuid4().hex,
        "title": title or folder.resolve().name,
        "created": now(),
        "program": f"KidneySeg {__version__}",
        "deidentification": DEIDENTIFICATION_NOTICE,
    }
    with staging_folder(folder) as staging:
        if not (folder / KEY_FILE).is_file():
            replace_file(folder / KEY_FILE, new_secret(), staging)
        # Last, because it makes the folder a data set.
        replace_file(folder / DATASET_FILE, json_text(facts, allow_nan=False).encode("utf-8"), staging)


def _check_empty(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file, but a folder for the data set was expected. Give another one.")
    foreign = [
        path.name
        for path in (folder.iterdir() if folder.is_dir() else ())
        if path.name not in (KEY_FILE, DATASET_FILE) and not path.name.startswith(PASSING)
    ]
    # Looked for again: someone else may just have made it, with the first case in it.
    if foreign and not (folder / DATASET_FILE).is_file():
        raise InputError(
            f"The folder {folder} holds {', '.join(sorted(foreign)[:3])} and is no data set of KidneySeg (no "
            f"{DATASET_FILE}). Give an empty or new folder."
        )


def _check_same_image(case: DataSetCase, scan: CtScan) -> None:
    """A revision must belong to the image that it is filed under."""
    import numpy as np
    import SimpleITK as sitk

    from KidneySegLib.postprocessing.grid import VoxelGrid, offset_in

    if scan.sha256 in (case.source_sha256, case.image_sha256):
        return
    # Another program may round the geometry of the same voxels in another way.
    image = case.image()
    same_grid = offset_in(VoxelGrid.of(scan.image), VoxelGrid.of(image)) == (0, 0, 0)
    first, second = sitk.GetArrayViewFromImage(scan.image), sitk.GetArrayViewFromImage(image)
    if same_grid and np.array_equal(first, second):
        return
    raise InputError(
        f"This scan is not that of {case.case_id}: its voxels or geometry differ. Load the case from the data set "
        "again, or add the scan as a case of its own."
    )


def now() -> str:
    """This moment in UTC, ISO 8601 with milliseconds."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")
