"""Which labels of each case are exported: the newest, those of one reader, or what several readers agree on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from KidneySegLib.errors import InputError
from KidneySegLib.export.dataset.dataset import DataSet
from KidneySegLib.export.dataset.records import DataSetCase, Revision, Split

if TYPE_CHECKING:
    import SimpleITK as sitk

#: `choose`: of several readers the one who accepted last.
NEWEST = "newest"
#: `choose`: prefix of a method of `KidneySegLib.evaluation.consensus`, as in ``consensus:staple``.
CONSENSUS = "consensus"
METHODS = ("majority", "intersection", "staple")
PARENCHYMA_KEYS = ("_cortex", "_medulla", "_undivided")


@dataclass(frozen=True)
class Chosen:
    """A case and the labels that it is exported with.

    Attributes:
        case: image and facts.
        revisions: the labels, one of each reader that counts.
        method: how several are joined; empty for one.
    """

    case: DataSetCase
    revisions: tuple[Revision, ...]
    method: str = ""

    @property
    def volumes_ml(self) -> Mapping[str, float]:
        """By label key, of the newest labels."""
        return self.revisions[-1].volumes_ml

    @property
    def divided(self) -> bool:
        """Whether cortex and medulla are told apart in all its kidneys."""
        return not any(key.endswith("_undivided") for one in self.revisions for key in one.volumes_ml)

    def voxels(self) -> NDArray[np.uint8]:
        """Ids 1-15, (z, y, x), on the image's grid.

        Raises:
            InputError: a file is damaged, or the method cannot be used.
        """
        import SimpleITK as sitk

        maps = [one.labels() for one in self.revisions]
        if len(maps) == 1:
            return np.asarray(sitk.GetArrayFromImage(maps[0]), dtype=np.uint8)
        return join(maps, self.method)


def choose(data_set: DataSet, readers: str = NEWEST) -> tuple[tuple[Chosen, ...], dict[str, str]]:
    """The cases to export, and why others are left out.

    Args:
        data_set: where they are.
        readers: `NEWEST`, ``consensus`` or ``consensus:METHOD`` (one of `METHODS`), or the name of a reader.

    Raises:
        InputError: no such method or reader.
    """
    kind, _, method = readers.partition(":")
    if kind == CONSENSUS and (method or METHODS[0]) not in METHODS:
        raise InputError(f"The consensus must be one of {', '.join(METHODS)}, got {method}.")
    cases = data_set.cases()
    known = sorted({one.reader for case in cases for one in case.accepted()})
    if kind not in (NEWEST, CONSENSUS) and readers not in known:
        raise InputError(
            f"{data_set.folder} has no accepted labels of the reader {readers}. "
            f"Readers are: {', '.join(known) or 'none'}."
        )
    chosen = []
    left_out = {}
    for case in cases:
        accepted = case.accepted()
        if kind == CONSENSUS:
            taken = accepted
        elif kind == NEWEST:
            taken = accepted[-1:]
        else:
            taken = tuple(one for one in accepted if one.reader == readers)
        if not taken:
            left_out[case.case_id] = "no accepted labels" + ("" if kind in (NEWEST, CONSENSUS) else f" of {readers}")
        elif not any(key.endswith(PARENCHYMA_KEYS) for one in taken for key in one.volumes_ml):
            left_out[case.case_id] = "no kidney in its labels"
        else:
            chosen.append(Chosen(case, taken, (method or METHODS[0]) if len(taken) > 1 else ""))
    return tuple(chosen), left_out


def parts(chosen: Sequence[Chosen]) -> tuple[tuple[Chosen, ...], tuple[Chosen, ...]]:
    """Cases to train on, and held-out ones."""
    train = tuple(one for one in chosen if one.case.split is Split.TRAIN)
    return train, tuple(one for one in chosen if one.case.split is Split.TEST)


def join(maps: Sequence[sitk.Image], method: str) -> NDArray[np.uint8]:
    """One label map from several readers' ones.

    Args:
        maps: ids 1-15, all on one grid.
        method: one of `METHODS`.

    Returns:
        Ids 1-15, (z, y, x).
    """
    import SimpleITK as sitk

    from KidneySegLib.evaluation.consensus import consensus

    return np.asarray(sitk.GetArrayFromImage(consensus(maps, method).labels), dtype=np.uint8)
