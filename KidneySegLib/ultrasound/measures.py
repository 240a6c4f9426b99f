"""Length, width, area and perimeter of an outline, in mm where the picture is calibrated, else in pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from KidneySegLib.ultrasound.preparation import Mask

Points = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Measures:
    """Measures of an outline in one unit (mm or pixels).

    Attributes:
        length: largest extent (maximal Feret diameter).
        width: extent at right angles to it, as a reader sets the second pair of callipers.
        area: of all pixels.
        perimeter: of the outline.
    """

    length: float
    width: float
    area: float
    perimeter: float


def measure_mask(mask: Mask, pixel: tuple[float, float] = (1.0, 1.0)) -> Measures | None:
    """Measure an outline.

    For length and width each pixel stands for the middles of its four edges: n pixels in a row measure n edges, and a
    slanted end is not lengthened by a corner that the organ does not fill. The perimeter is that of the sub-pixel
    contour, without stairs.

    Args:
        mask: (y, x).
        pixel: edges of a pixel (y, x).

    Returns:
        None for an empty mask.
    """
    from scipy.spatial import ConvexHull

    rows, columns = np.nonzero(mask)
    if not rows.size:
        return None
    half = 0.5
    points = np.concatenate(
        [np.stack([rows + dy, columns + dx], axis=1) for dy, dx in ((half, 0), (-half, 0), (0, half), (0, -half))]
    )
    points = points * np.asarray(pixel)
    hull = points[ConvexHull(points).vertices]
    gaps = hull[:, None, :] - hull[None, :, :]
    distance = np.hypot(gaps[..., 0], gaps[..., 1])
    first, second = np.unravel_index(int(distance.argmax()), distance.shape)
    length = float(distance[first, second])
    along = (hull[second] - hull[first]) / length
    across = hull @ np.array([-along[1], along[0]])
    area = float(rows.size * pixel[0] * pixel[1])
    return Measures(length, float(np.ptp(across)), area, _perimeter(mask, pixel))


def length_ends(
    mask: Mask, pixel: tuple[float, float] = (1.0, 1.0)
) -> tuple[tuple[float, float], tuple[float, float]] | None:
    """The two ends (y, x) in pixels of the length, for drawing; None for an empty mask."""
    from scipy.spatial import ConvexHull, QhullError

    rows, columns = np.nonzero(mask)
    if rows.size < 3:
        return None
    points = np.stack([rows, columns], axis=1).astype(np.float64)
    try:
        points = points[ConvexHull(points).vertices]
    except QhullError:
        return None
    scaled = points * np.asarray(pixel)
    gaps = scaled[:, None, :] - scaled[None, :, :]
    distance = np.hypot(gaps[..., 0], gaps[..., 1])
    first, second = np.unravel_index(int(distance.argmax()), distance.shape)
    return (points[first, 0], points[first, 1]), (points[second, 0], points[second, 1])


def _perimeter(mask: Mask, pixel: tuple[float, float]) -> float:
    """Length of the marching-squares contour of a mask that is smoothed over a pixel (level one half).

    Each square of four pixel centres adds the line that separates its inside from its outside; smoothing turns the
    stairs of a slanted edge into a line (without it a circle would come out 5 % too long).
    """
    from scipy.ndimage import gaussian_filter

    values = gaussian_filter(np.pad(mask.astype(np.float64), 4), 1.0) - 0.5
    total = 0.0
    a, b, c, d = values[:-1, :-1], values[:-1, 1:], values[1:, 1:], values[1:, :-1]
    # Crossings on the upper, right, lower and left edge of each square: (y, x) within it, NaN where there is none.
    edges = []
    for start, end, y0, x0, dy, dx in ((a, b, 0, 0, 0, 1), (b, c, 0, 1, 1, 0), (d, c, 1, 0, 0, 1), (a, d, 0, 0, 1, 0)):
        crosses = (start > 0) != (end > 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            t = np.where(crosses, start / (start - end), np.nan)
        edges.append(((y0 + dy * t) * pixel[0], (x0 + dx * t) * pixel[1]))
    count = sum(~np.isnan(e[0]) for e in edges)
    for i in range(4):
        for j in range(i + 1, 4):
            gap = np.hypot(edges[i][0] - edges[j][0], edges[i][1] - edges[j][1])
            total += float(np.nansum(np.where(count == 2, gap, 0.0)))
    return total
