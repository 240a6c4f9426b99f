"""Pieces that belong to one kidney, and what is too small or too far off to be one."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from KidneySegLib.postprocessing.grid import Points
from KidneySegLib.postprocessing.landmarks import Midline
from KidneySegLib.postprocessing.pieces import Piece, gap_mm, length_mm

#: A piece this large could be a kidney of its own; smaller ones join the nearest kidney.
OWN_KIDNEY_MM3 = 30_000.0
#: Two large pieces nearer than this, on one side and not too long together, are one kidney that a cyst has parted.
LINK_LARGE_MM = 40.0
#: A smaller piece nearer than this to a kidney belongs to it; farther off it is more likely bowel.
LINK_MM = 20.0
#: Two such pieces that together are longer than any usual kidney (Glodny 2009: 110 +- 12 mm) are two kidneys.
MAX_LENGTH_MM = 165.0
#: Kidneys whose centres differ more in height do not compete for one place: a transplant lies far below.
SAME_LEVEL_MM = 110.0
#: Less parenchyma than this, apart from every kidney, is no kidney (end-stage kidneys hold 10 to 40 mL).
MIN_KIDNEY_MM3 = 5_000.0


@dataclass(frozen=True)
class Group:
    """Pieces of one kidney, largest first."""

    pieces: tuple[Piece, ...]

    @property
    def volume_mm3(self) -> float:
        return sum(piece.volume_mm3 for piece in self.pieces)

    @property
    def parenchyma_mm3(self) -> float:
        return sum(piece.parenchyma_mm3 for piece in self.pieces)

    @property
    def centre_mm(self) -> Points:
        """World position of the centre of mass."""
        weights = np.array([piece.volume_mm3 for piece in self.pieces])
        centres = np.stack([piece.centre_mm for piece in self.pieces])
        mean: Points = weights @ centres / weights.sum()
        return mean

    @property
    def surface_mm(self) -> Points:
        """World positions on the surface."""
        return np.concatenate([piece.surface_mm for piece in self.pieces])

    def left_share(self, midline: Midline | None) -> float:
        """Share of the volume that lies to the left of the midline; 0.5 where no midline is known."""
        if midline is None:
            return 0.5
        left = [
            piece.volume_mm3 * float(np.mean(piece.samples_mm[:, 0] > midline.at(piece.samples_mm[:, 2])))
            for piece in self.pieces
        ]
        return sum(left) / self.volume_mm3


def group_pieces(pieces: list[Piece], midline: Midline | None) -> list[Group]:
    """Join the pieces of each kidney, largest kidney first.

    Large pieces are joined first, if they are near, on one side and not too long together; then each small one goes
    to the nearest large one within `LINK_MM`, whatever the side, for a fragment has no side of its own. What stays
    alone stays a group.
    """
    large = [Group((piece,)) for piece in pieces if piece.volume_mm3 >= OWN_KIDNEY_MM3]
    small = [piece for piece in pieces if piece.volume_mm3 < OWN_KIDNEY_MM3]
    groups: list[Group] = []
    for group in large:
        for n, other in enumerate(groups):
            if _one_kidney(other, group, midline):
                groups[n] = Group(other.pieces + group.pieces)
                break
        else:
            groups.append(group)
    anchors = list(groups)
    rest = []
    for piece in small:
        gaps = [gap_mm(piece.surface_mm, anchor.surface_mm) for anchor in anchors]
        nearest = int(np.argmin(gaps)) if gaps else -1
        if gaps and gaps[nearest] <= LINK_MM:
            groups[nearest] = Group((*groups[nearest].pieces, piece))
        else:
            rest.append(piece)
    for piece in rest:  # small kidneys in pieces of their own
        for n in range(len(anchors), len(groups)):
            if gap_mm(piece.surface_mm, groups[n].surface_mm) <= LINK_MM:
                groups[n] = Group((*groups[n].pieces, piece))
                break
        else:
            groups.append(Group((piece,)))
    return sorted(groups, key=lambda group: -group.volume_mm3)


def drop_islands(
    groups: list[Group], midline: Midline | None, sure: Collection[int] = ()
) -> tuple[list[Group], list[Group]]:
    """Groups that can be a kidney, and islands.

    An island has less than `MIN_KIDNEY_MM3` of parenchyma, or less than `OWN_KIDNEY_MM3` beside a larger kidney of
    the same side and level: a shrunken kidney is alone in its place.

    Args:
        groups: largest first.
        midline: the patient's midline, if known.
        sure: numbers of pieces that are kidney however little parenchyma is left of it, if alone in their place.
    """
    kept: list[Group] = []
    islands: list[Group] = []
    for group in groups:
        left = group.left_share(midline) > 0.5
        beside = midline is not None and any(
            (other.left_share(midline) > 0.5) == left
            and abs(float(other.centre_mm[2] - group.centre_mm[2])) < SAME_LEVEL_MM
            for other in kept
        )
        needed = OWN_KIDNEY_MM3 if beside else MIN_KIDNEY_MM3
        is_sure = not beside and any(piece.number in sure for piece in group.pieces)
        (kept if group.parenchyma_mm3 >= needed or is_sure else islands).append(group)
    return kept, islands


def _one_kidney(a: Group, b: Group, midline: Midline | None) -> bool:
    if midline is not None and (a.left_share(midline) > 0.5) != (b.left_share(midline) > 0.5):
        return False
    surfaces = a.surface_mm, b.surface_mm
    return gap_mm(*surfaces) <= LINK_LARGE_MM and length_mm(np.concatenate(surfaces)) <= MAX_LENGTH_MM
