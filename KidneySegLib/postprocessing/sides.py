"""Which kidney is right, which is left, and which has no side."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from KidneySegLib.labels import Side
from KidneySegLib.postprocessing.grouping import OWN_KIDNEY_MM3, Group
from KidneySegLib.postprocessing.landmarks import Midline

#: A kidney crosses the midline if its smaller part has at least this share and volume.
MIN_CROSSING_SHARE = 0.15
MIN_CROSSING_MM3 = 10_000.0
#: Above this share on the far side, with another kidney there, the side cannot be told.
MAX_FAR_SHARE = 0.35
#: Without any midline, two kidneys whose centres are this far apart sideways are right and left of each other.
MIN_APART_MM = 60.0
#: A kidney whose top lies below the lowest point of the others, but for this overlap, is pelvic.
MAX_OVERLAP_MM = 10.0
#: Two kidneys at one height on both sides are lumbar, whatever the pelvis looked like.
PAIR_HEIGHT_MM = 60.0
#: Without sight of the pelvis: a kidney whose centre lies this far below all others is no lumbar one. A crossed kidney
#: lies one kidney length (110 mm) below its neighbour, a transplant 150 mm and more.
FAR_BELOW_MM = 140.0

FlagOfSide = tuple[Side | None, str]


@dataclass(frozen=True)
class Sided:
    """A kidney and its side.

    Attributes:
        group: its pieces.
        side: where it lies in the patient.
        flags: what is to be said about it.
    """

    group: Group
    side: Side
    flags: tuple[str, ...] = ()


def find_sides(
    groups: list[Group], midline: Midline | None, pelvis_top_mm: float | None
) -> tuple[list[Sided], tuple[str, ...]]:
    """Give every kidney its side by its position to the spine, at its own height.

    - A kidney on both sides of the midline, with no other kidney on its smaller part's side, is fused: no side.
    - A lumbar kidney has the side it lies on. Of two on one side the upper one has it, the lower one has none.
    - A pelvic kidney has the side it lies on if it completes a pair with one lumbar kidney of the other side
      (an ectopic kidney). Otherwise (a third kidney, or no lumbar one) it is most likely a transplant: no side.
    - Without any landmark two kidneys are right and left of each other; else the side is uncertain.

    Returns:
        The kidneys in the order given, and flags of the whole case.
    """
    if not groups:
        return [], ("no_kidney",)
    case = ["more_than_two_kidneys"] if len(groups) > 2 else []
    if midline is None:
        return _sides_without_midline(groups, case)
    left = [group.left_share(midline) for group in groups]
    crossing = [
        min(share, 1 - share) >= MIN_CROSSING_SHARE and min(share, 1 - share) * group.volume_mm3 >= MIN_CROSSING_MM3
        for share, group in zip(left, groups, strict=True)
    ]
    pelvic = _find_pelvic(groups, left, crossing, pelvis_top_mm)
    sides: dict[int, Side] = {}
    flags: dict[int, list[str]] = {n: ["pelvic_kidney"] if pelvic[n] else [] for n in range(len(groups))}
    for n in range(len(groups)):
        if crossing[n]:
            far_is_left = left[n] < 0.5
            occupied = any(
                m != n and not crossing[m] and (left[m] > 0.5) == far_is_left and other.volume_mm3 >= OWN_KIDNEY_MM3
                for m, other in enumerate(groups)
                if pelvic[m] == pelvic[n]
            )
            if not occupied and not (pelvic[n] and len(groups) > 1):
                sides[n] = Side.UNSIDED
                flags[n].append("fused_kidneys")
            elif pelvic[n] or min(left[n], 1 - left[n]) > MAX_FAR_SHARE:
                sides[n] = Side.UNSIDED
                flags[n].append("side_uncertain")
        if n not in sides and not pelvic[n]:
            sides[n] = Side.LEFT if left[n] > 0.5 else Side.RIGHT
    crossed = _leave_one_per_side(groups, sides)
    lumbar = [side for n, side in sides.items() if not pelvic[n]]
    for n in range(len(groups)):
        if n in sides:
            continue
        own = Side.LEFT if left[n] > 0.5 else Side.RIGHT
        pair = len(groups) == 2 and len(lumbar) == 1 and lumbar[0] not in (own, Side.UNSIDED)
        sides[n] = own if pair else Side.UNSIDED
    if crossed and len(groups) == 2:
        case.append("crossed_ectopia")
    if len(groups) == 1 and "fused_kidneys" not in flags[0]:
        case.append("one_kidney")
    return [Sided(group, sides[n], tuple(flags[n])) for n, group in enumerate(groups)], tuple(case)


def _sides_without_midline(groups: list[Group], case: list[str]) -> tuple[list[Sided], tuple[str, ...]]:
    if len(groups) == 2:
        across = [float(group.centre_mm[0]) for group in groups]
        if abs(across[0] - across[1]) >= MIN_APART_MM:
            first = Side.LEFT if across[0] > across[1] else Side.RIGHT
            second = Side.RIGHT if first is Side.LEFT else Side.LEFT
            return [Sided(groups[0], first), Sided(groups[1], second)], tuple(case)
    if len(groups) == 1:
        case.append("one_kidney")
    return [Sided(group, Side.UNSIDED, ("side_uncertain",)) for group in groups], tuple(case)


def _find_pelvic(
    groups: list[Group], left: list[float], crossing: list[bool], pelvis_top_mm: float | None
) -> list[bool]:
    heights = [group.surface_mm[:, 2] for group in groups]
    centres = [float(group.centre_mm[2]) for group in groups]
    below_crest = [pelvis_top_mm is not None and z < pelvis_top_mm for z in centres]
    for n in range(len(groups)):
        for m in range(n):
            opposite = (left[n] > 0.5) != (left[m] > 0.5) and not (crossing[n] or crossing[m])
            if opposite and abs(centres[n] - centres[m]) < PAIR_HEIGHT_MM:
                below_crest[n] = below_crest[m] = False
    pelvic = []
    for n in range(len(groups)):
        others = [heights[m] for m in range(len(groups)) if m != n and not below_crest[m]]
        # On its own side a lower kidney may be a crossed one; only far below all others it is pelvic.
        below_others = bool(others) and heights[n].max() < min(h.min() for h in others) + MAX_OVERLAP_MM
        far_below = below_others and centres[n] < min(c for m, c in enumerate(centres) if m != n) - FAR_BELOW_MM
        pelvic.append(below_crest[n] or far_below)
    return pelvic


def _leave_one_per_side(groups: list[Group], sides: dict[int, Side]) -> bool:
    """Of several kidneys on one side leave the side to the uppermost; whether there were several."""
    several = False
    for side in (Side.RIGHT, Side.LEFT):
        own = [n for n, s in sides.items() if s is side]
        own.sort(key=lambda n: -float(np.max(groups[n].centre_mm[2])))
        for n in own[1:]:
            sides[n] = Side.UNSIDED
            several = True
    return several
