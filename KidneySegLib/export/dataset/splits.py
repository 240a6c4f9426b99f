"""Which cases are held out, and how the others are divided for cross-validation."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from KidneySegLib.export.dataset.records import DataSetCase, Split

#: One case in so many is held out.
HELD_OUT_EVERY = 5
FOLDS = 5
_THICK_MM = 3.0


def split_of_new(data_set_id: str, subject: str, known: Sequence[DataSetCase]) -> Split:
    """Held out or not, for a case that is new: one in each five, its place among them by lot.

    The lot is drawn from the data set's own id, so that it can be drawn again. A patient who is known keeps his part.
    """
    same = [case.split for case in known if case.subject == subject]
    if same:
        return Split.TRAIN if Split.TRAIN in same else Split.TEST
    block, place = divmod(len(known), HELD_OUT_EVERY)
    drawn = int(hashlib.sha256(f"{data_set_id} {block}".encode()).hexdigest(), 16) % HELD_OUT_EVERY
    return Split.TEST if place == drawn else Split.TRAIN


def without_overlap(cases: Iterable[DataSetCase]) -> dict[str, Split]:
    """The part of each case, by id: what it says of itself, but no patient in both parts.

    Two people who add two scans of one new patient at the same moment may draw differently. A model may have seen the
    patient by then, so both cases train.
    """
    cases = list(cases)
    trained = {case.subject for case in cases if case.split is Split.TRAIN}
    return {case.case_id: Split.TRAIN if case.subject in trained else case.split for case in cases}


def stratum(case: DataSetCase, volumes_ml: Mapping[str, float]) -> tuple[bool, bool, bool]:
    """What the folds shall have in equal shares: thick slices, cysts or masses, small kidneys."""
    sick = any(ml > 0 for key, ml in volumes_ml.items() if key.endswith(("_cyst", "_mass")))
    parenchyma = sum(ml for key, ml in volumes_ml.items() if not key.endswith(("_cyst", "_mass")))
    # Half of 279.6 mL, the mean of both normal kidneys in Luo and Li 2025.
    return case.slice_thickness_mm > _THICK_MM, sick, parenchyma < 140.0


def folds(strata: Mapping[str, object], subjects: Mapping[str, str], count: int = FOLDS) -> list[list[str]]:
    """Case ids divided into parts of nearly equal size, each with its share of every stratum, no patient in two.

    Args:
        strata: by case id.
        subjects: by case id.
        count: at most so many parts; no more than there are patients.

    Returns:
        The validation cases of each fold, sorted. The same input always gives the same folds.
    """
    groups: dict[str, list[str]] = defaultdict(list)
    for case_id in sorted(strata):
        groups[subjects[case_id]].append(case_id)
    by_stratum: dict[str, list[list[str]]] = defaultdict(list)
    for members in groups.values():
        by_stratum[str(strata[members[0]])].append(members)
    parts: list[list[str]] = [[] for _ in range(max(1, min(count, len(groups))))]
    for name in sorted(by_stratum):
        have = [0] * len(parts)
        # Patients with many cases first, so that the small ones fill up; then by their id, which is by lot.
        for members in sorted(by_stratum[name], key=lambda ids: (-len(ids), ids)):
            part = min(range(len(parts)), key=lambda i: (have[i], len(parts[i]), i))
            parts[part] += members
            have[part] += len(members)
    return [sorted(part) for part in parts]
