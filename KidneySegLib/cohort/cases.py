"""Which cases a cohort holds: a folder with a case in each sub-folder, or a CSV."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from KidneySegLib.cohort.case_names import name_of_folder, same_on_disk
from KidneySegLib.ct.entries import IMAGE_SUFFIXES, shown
from KidneySegLib.errors import InputError
from KidneySegLib.measurement.clinical import Patient

#: Taken before anything else that lies in a case's folder: the scan as `kidneyseg phantom` writes it.
CT_NAME = "ct.nii.gz"
_SCAN_SUFFIXES = (*IMAGE_SUFFIXES, ".zip")


@dataclass(frozen=True)
class CohortCase:
    """One case to segment.

    Attributes:
        case_id: first column of the table and name of the results folder.
        source: what `ct.read_ct` is given.
        series_uid: which DICOM series, or None: the only one.
        patient: what is known of the patient besides what the scan says.
    """

    case_id: str
    source: Path
    series_uid: str | None = None
    patient: Patient = field(default_factory=Patient)


def find_cases(cohort: Path, output: Path) -> tuple[CohortCase, ...]:
    """The cases of a cohort, ordered by id (a CSV: as its lines stand).

    Args:
        cohort: a folder, in which each sub-folder is a case (its ``ct.nii.gz`` if present, else its only DICOM
            series or image), and each image file or zip as well; or a CSV (`case_list.read_case_list`).
        output: the batch's own folder, never taken for a case.

    Raises:
        InputError: no such folder or file, one without cases, or names that cannot be told apart.
    """
    cohort = Path(cohort).expanduser()
    if cohort.is_dir():
        cases = _in_folder(cohort, output)
    elif cohort.is_file():
        from KidneySegLib.cohort.case_list import read_case_list

        cases = read_case_list(cohort)
    else:
        raise InputError(f"{shown(cohort)} does not exist. Give a folder with a sub-folder for each case, or a CSV.")
    _check_different(cases, cohort)
    return cases


def _in_folder(cohort: Path, output: Path) -> tuple[CohortCase, ...]:
    own = output.resolve()
    cases = []
    loose = 0
    for path in sorted(cohort.iterdir()):
        if path.name.startswith(".") or path.resolve() == own:
            continue
        if path.is_dir():
            scan = path / CT_NAME
            cases.append(CohortCase(name_of_folder(path.name), scan if scan.is_file() else path))
        elif path.name.lower().endswith(_SCAN_SUFFIXES):
            cases.append(CohortCase(name_of_folder(_stem(path.name)), path))
        else:
            loose += 1
    if not cases:
        what = f"only {loose} other files" if loose else "nothing"
        raise InputError(
            f"{shown(cohort)} holds no cases ({what}). Give a folder with a sub-folder for each case, or a CSV with "
            "the columns case_id and path."
        )
    return tuple(cases)


def _stem(name: str) -> str:
    suffix = next(suffix for suffix in _SCAN_SUFFIXES if name.lower().endswith(suffix))
    return name[: -len(suffix)]


def _check_different(cases: Iterable[CohortCase], cohort: Path) -> None:
    seen: dict[str, CohortCase] = {}
    for case in cases:
        other = seen.setdefault(same_on_disk(case.case_id), case)
        if other is not case:
            raise InputError(
                f"{shown(cohort)} holds two cases named {case.case_id} ({shown(other.source)} and "
                f"{shown(case.source)}). Give each its own name."
            )
