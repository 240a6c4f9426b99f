"""Is a piece of "kidney" something else: spleen, liver, bladder, bowel, fat, bone? Rules, each with its reason."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from KidneySegLib.labels import OverviewLabel
from KidneySegLib.postprocessing.grid import Points, VoxelGrid
from KidneySegLib.postprocessing.grouping import OWN_KIDNEY_MM3
from KidneySegLib.postprocessing.landmarks import Landmarks
from KidneySegLib.postprocessing.pieces import Piece

if TYPE_CHECKING:
    import SimpleITK as sitk

#: A piece that the localiser calls liver or spleen for more than half, and kidney for less than a quarter.
MAX_OTHER_ORGAN = 0.5
MIN_KIDNEY_SHARE = 0.25
#: A piece that the localiser calls kidney for less than this is none, if it calls two others kidney for at least
#: `SEEN_SHARE`: people have two, and on a hard scan it may miss one of them. Where it sees one other, a piece under
#: `SMALL_UNSEEN_MM3` is none either: kidneys that it missed were larger. On the calibration phantoms every kidney had
#: 0.45 and more, bowel and vessels mostly under 0.2; those beside a single seen kidney measured 6 and 31 mL.
#: But a piece as large as a kidney of which every pass of the fine network finds `SURE_AGREEMENT` is kidney whatever
#: the localiser missed: on validation phantoms a graft of 138 mL that it did not see at all had 0.97, bowel of 6 to
#: 22 mL had 0.59 to 0.84. And a piece that it sees less than `SEEN_SHARE` of is none either, by the same counting, if a
#: pass misses so much of it that less than `DOUBTFUL_AGREEMENT` is left: all kidneys there had 0.93 and more.
#: All this is asked of a piece's parenchyma: a large cyst, which the localiser may call liver, must not hide the kidney
#: that it hangs on, and a bladder or bowel taken for a cyst is no kidney for its size.
UNSEEN_SHARE = 0.2
SEEN_SHARE = 0.4
SMALL_UNSEEN_MM3 = 40_000.0
SURE_AGREEMENT = 0.93
DOUBTFUL_AGREEMENT = 0.88
#: A two-stage model finds every kidney twice. A piece as large as a kidney, with its cysts and masses, of which every
#: look of both stages finds so much is kidney whatever the localiser missed, and however little parenchyma a mass has
#: left. On 116 validation phantoms, of pieces from 20 mL on, six of bowel, liver and spleen had 0.52 at most, and 193
#: of 203 kidneys had this.
FOUND_TWICE = 0.6
DOUBTED = "is hardly seen in the overview, and the passes of the network disagree about it"
UNSEEN = "is not where the overview shows a kidney"
#: Parenchyma measures 30 to 50 HU unenhanced as a rule, 14 in one development scan; urine and bile mostly 0 to 10. Not
#: asked of a piece that the localiser calls kidney for `SEEN_SHARE`: of a small kidney full of fat half is dark.
MIN_MEDIAN_HU = 11.0
#: Both kidneys of a patient, and a graft, get the same contrast medium. A piece that the localiser calls kidney for
#: less than `SEEN_SHARE` and that has less than this share of the median HU of one that it sees, where that is
#: enhanced, is muscle or bowel.
DARK_SHARE = 0.5
ENHANCED_HU = 100.0
#: No parenchyma is brighter than the aorta of a fast bolus; bone, metal and excreted contrast are.
MAX_MEDIAN_HU = 450.0
#: Gas in the middle of it: bowel.
GAS_HU = -250
MAX_GAS = 0.05
#: Centre of a kidney from the midline: 50 to 90 mm; polycystic ones and obese patients reach 120.
MAX_OFFSET_MM = 160.0
#: The bladder lies in the pelvis on the midline. A pelvic kidney may too, so urine's HU decides: unenhanced urine,
#: or urine with excreted contrast, far brighter than parenchyma of that phase.
BLADDER_OFFSET_MM = 40.0
BLADDER_DARK_HU = 28.0
BLADDER_BRIGHT_HU = 280.0


def why_no_kidney(
    piece: Piece,
    hu: NDArray[np.float32],
    landmarks: Landmarks,
    seen_medians_hu: Sequence[float] = (),
    agreement: float | None = None,
    twice: bool = False,
) -> str | None:
    """The reason why a piece cannot be kidney, or None if it can.

    Args:
        piece: the piece in question.
        hu: values of the scan over its parenchyma (over all of it where it has none); may be a sample.
        landmarks: of the patient.
        seen_medians_hu: median HU of each piece of the case that the localiser calls kidney for at least `SEEN_SHARE`.
        agreement: share of its parenchyma that every pass of the fine network finds, where that is known.
        twice: whether it is `found_twice`.
    """
    midline, overview, seen = landmarks.midline, landmarks.overview, twice
    median = float(np.median(hu)) if len(hu) else None
    if overview is not None:
        share = overview_shares(piece.tissue_mm, overview)
        other = max((OverviewLabel.LIVER, OverviewLabel.SPLEEN), key=lambda label: share[label])
        if share[other] > MAX_OTHER_ORGAN and share[OverviewLabel.KIDNEY] < MIN_KIDNEY_SHARE:
            return f"lies in the {other.name.lower()}"
        tissue_mm3 = piece.parenchyma_mm3 or piece.volume_mm3
        others_needed = 1 if tissue_mm3 < SMALL_UNSEEN_MM3 else 2
        seen = twice or bool(share[OverviewLabel.KIDNEY] >= SEEN_SHARE)
        sure = twice or (agreement is not None and agreement >= SURE_AGREEMENT and tissue_mm3 >= OWN_KIDNEY_MM3)
        if len(seen_medians_hu) >= others_needed:
            if share[OverviewLabel.KIDNEY] < UNSEEN_SHARE and not sure:
                return UNSEEN
            if not seen and agreement is not None and agreement < DOUBTFUL_AGREEMENT:
                return DOUBTED
        brightest = max(seen_medians_hu, default=0.0)
        if not seen and median is not None and brightest >= ENHANCED_HU and median < DARK_SHARE * brightest:
            return f"is far darker than the kidney beside it (median {median:.0f} HU)"
    if median is not None and piece.parenchyma_mm3 > 0:
        if median < MIN_MEDIAN_HU and not seen:
            return f"is fluid or fat (median {median:.0f} HU)"
        if median > MAX_MEDIAN_HU:
            return f"is bone, metal or excreted contrast (median {median:.0f} HU)"
        gas = float(np.mean(hu < GAS_HU))
        if gas > MAX_GAS:
            return f"holds gas like bowel ({gas:.0%} of it)"
        if midline is not None and landmarks.pelvis_top_mm is not None:
            x, _, z = piece.centre_mm
            in_the_middle = abs(x - float(midline.at(z))) < BLADDER_OFFSET_MM and z < landmarks.pelvis_top_mm
            if in_the_middle and (median < BLADDER_DARK_HU or median > BLADDER_BRIGHT_HU):
                return f"is the bladder (median {median:.0f} HU in the middle of the pelvis)"
    if midline is not None:
        offset = abs(float(piece.centre_mm[0] - midline.at(piece.centre_mm[2])))
        if offset > MAX_OFFSET_MM:
            return f"lies {offset:.0f} mm from the midline"
    return None


def found_twice(piece: Piece, share: float | None) -> bool:
    """Whether both stages of a two-stage model find a piece that is as large as a kidney.

    Args:
        share: of the whole piece that the look which finds least of it calls kidney; None for other models.
    """
    return share is not None and share >= FOUND_TWICE and piece.volume_mm3 >= OWN_KIDNEY_MM3


def kidney_share(samples_mm: Points, overview: sitk.Image) -> float:
    """Share of world positions that the localiser calls kidney."""
    return float(overview_shares(samples_mm, overview)[OverviewLabel.KIDNEY])


def overview_shares(samples_mm: Points, overview: sitk.Image) -> NDArray[np.float64]:
    """Share of world positions with each `OverviewLabel` in the localiser's map; outside it counts as background."""
    import SimpleITK as sitk

    index = VoxelGrid.of(overview).voxels_at(samples_mm)
    counts = np.bincount(sitk.GetArrayViewFromImage(overview)[tuple(index.T)], minlength=len(OverviewLabel))
    counts[OverviewLabel.BACKGROUND] += len(samples_mm) - len(index)
    return counts / max(1, len(samples_mm))
