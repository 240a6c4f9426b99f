"""Where a picture shows echoes: the sector or rectangle that the probe sees, without text, scales and logos."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]
Grey = npt.NDArray[np.uint8]

#: Grey levels up to this are black; JPEG leaves such traces in what was black.
BLACK = 12
#: A view smaller than this share of the picture is none: then the whole picture is taken.
MIN_SHARE = 0.05
#: Text is made of strokes; what is thinner than this share of the picture's height is not the view.
_STROKE_SHARE = 0.012
#: Colour of an annotation: how far its channels lie apart.
_COLOUR = 48


@dataclass(frozen=True)
class View:
    """Attributes:
    mask: where echoes are (y, x).
    is_whole: whether no edge was found, so that the whole picture counts.
    """

    mask: Mask
    is_whole: bool


def find_view(frames: Grey) -> View:
    """The view of a picture (y, x) or of a cine loop (t, y, x), whose frames share it.

    The largest bright region that is no thin stroke, its gaps filled column by column between its upper and lower edge
    (shadows are black down to the lower edge, so that edge is made convex first). Text does not belong: it is thin, and
    apart from the echoes.
    """
    from scipy import ndimage

    brightest = frames if frames.ndim == 2 else frames.max(axis=0)
    height, width = brightest.shape
    radius = max(1, round(_STROKE_SHARE * height / 2))
    bright = np.pad(_smoothed(brightest) > BLACK, 3 * radius).astype(np.uint8)
    # Speckle leaves black dots: closed first, so that opening takes strokes away and not tissue. Filters of squares are
    # separable, which ndimage's binary morphology does not know.
    close, open_ = 2 * radius + 1, 4 * radius + 1
    bright = ndimage.minimum_filter(ndimage.maximum_filter(bright, close), close)
    bright = ndimage.maximum_filter(ndimage.minimum_filter(bright, open_), open_)
    bright = bright[3 * radius : -3 * radius, 3 * radius : -3 * radius]
    parts, count = ndimage.label(bright)
    if count == 0:
        return View(np.ones((height, width), bool), True)
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    main = parts == int(sizes.argmax())
    # Shadows may cut the view into pieces: those of some size belong to it.
    for index in np.flatnonzero(sizes > 0.08 * sizes.max()):
        main |= parts == index
    mask = _filled(main)
    if mask.mean() < MIN_SHARE:
        return View(np.ones((height, width), bool), True)
    return View(mask, bool(mask.mean() > 0.98))


def _smoothed(picture: Grey) -> npt.NDArray[np.uint16]:
    """Mean of 2 x 2 pixels: enough against JPEG's ringing round text, and fast."""
    wide = np.pad(picture, ((0, 1), (0, 1)), mode="edge").astype(np.uint16)
    result: npt.NDArray[np.uint16] = (wide[:-1, :-1] + wide[1:, :-1] + wide[:-1, 1:] + wide[1:, 1:]) // 4
    return result


def _filled(region: Mask) -> Mask:
    """Convex everywhere but at the upper edge, where a convex probe's face bulges into the picture."""
    from PIL import Image, ImageDraw
    from scipy.ndimage import median_filter
    from scipy.spatial import ConvexHull, QhullError

    height, width = region.shape
    filled = np.flatnonzero(region.any(axis=1))
    # The hull needs each row's ends only.
    ends = (region[filled].argmax(axis=1), width - 1 - region[filled, ::-1].argmax(axis=1))
    rows, columns = np.concatenate([filled, filled]), np.concatenate(ends)
    try:
        hull = ConvexHull(np.stack([columns, rows], axis=1)).vertices
    except QhullError:
        return region
    canvas = Image.new("1", (width, height))
    corners = [(int(columns[i]), int(rows[i])) for i in hull]
    ImageDraw.Draw(canvas).polygon(corners, fill=1, outline=1)
    mask = np.asarray(canvas, dtype=bool).copy()
    present = np.flatnonzero(region.any(axis=0))
    top = np.full(width, height)
    top[present] = region[:, present].argmax(axis=0)
    first, last = int(present[0]), int(present[-1])
    upper = median_filter(top[first : last + 1], size=max(3, (last - first) // 20), mode="nearest")
    # The upper edge between the face's two corners; a shadow that begins at the face may not bite deeper than the face.
    corners_x = _face_corners(upper)
    if corners_x is not None:
        left, right = corners_x
        face = upper[left : right + 1]
        x = np.linspace(-1, 1, len(face))
        arc = _arc(x, face)
        inside = np.zeros_like(mask)
        inside[:, first + left : first + right + 1] = np.arange(height)[:, None] < np.floor(arc)[None, :]
        mask &= ~inside
    return mask


def _face_corners(upper: npt.NDArray[np.int_]) -> tuple[int, int] | None:
    """Ends of the probe's face: the highest places of the left and the right half of the upper edge."""
    middle = len(upper) // 2
    if middle < 4:
        return None
    left = int(upper[:middle].argmin())
    right = middle + int(len(upper) - middle - 1 - upper[middle:][::-1].argmin())
    return (left, right) if right - left >= 4 else None


def _arc(x: npt.NDArray[np.float64], face: npt.NDArray[np.int_]) -> npt.NDArray[np.float64]:
    """A parabola through the face's ends that sinks as the face does in the median; never above the chord."""
    chord = face[0] + (x + 1) / 2 * (face[-1] - face[0])
    bulge = 1 - x**2
    share = (face - chord)[bulge > 0.3] / bulge[bulge > 0.3]
    sag = max(0.0, float(np.median(share))) if share.size else 0.0
    return np.asarray(chord + sag * bulge)


def coloured_pixels(colour: npt.NDArray[np.uint8]) -> Mask:
    """Where a colour picture (y, x, 3) is coloured, as callipers and text on it often are."""
    spread = colour.max(axis=-1).astype(np.int16) - colour.min(axis=-1)
    result: Mask = spread > _COLOUR
    return result


def without(frame: Grey, left_out: Mask) -> Grey:
    """A copy of a picture (y, x) with some pixels replaced by the nearest others."""
    from scipy.ndimage import binary_dilation, distance_transform_edt

    if not left_out.any() or left_out.all():
        return frame
    left_out = binary_dilation(left_out)  # interpolated and compressed edges of strokes
    if left_out.all():
        return frame
    nearest = distance_transform_edt(left_out, return_distances=False, return_indices=True)
    result: Grey = frame[tuple(nearest)]
    return result
