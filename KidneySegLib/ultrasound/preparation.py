"""From a picture to network input and back: crop to the view, fit into the network's square, even out grey levels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]
Grey = npt.NDArray[np.uint8]
Float32 = npt.NDArray[np.float32]
Size = tuple[int, int]

#: Below this spread of grey levels (of 255) a view shows nothing; it also keeps the division finite.
MIN_SPREAD = 2.0


@dataclass(frozen=True)
class Placement:
    """Where a picture's view lies in the network's input.

    Attributes:
        shape: of the picture (y, x).
        box: of the view in the picture: top, left, bottom, right; the last two excluded.
        target: of the same in the network's input.
        size: of the network's input (y, x).
    """

    shape: Size
    box: tuple[int, int, int, int]
    target: tuple[int, int, int, int]
    size: Size

    @property
    def scale(self) -> float:
        """Input pixels for one pixel of the picture."""
        return (self.target[2] - self.target[0]) / (self.box[2] - self.box[0])


def place(view: Mask, size: Size) -> Placement:
    """The view's bounding box in the middle of the network's input, as large as fits, its shape kept.

    Raises:
        ValueError: for an empty view.
    """
    rows, columns = np.flatnonzero(view.any(axis=1)), np.flatnonzero(view.any(axis=0))
    if not rows.size:
        raise ValueError("a view with pixels was expected, got an empty one")
    top, bottom, left, right = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
    scale = min(size[0] / (bottom - top), size[1] / (right - left))
    height = min(size[0], max(1, round((bottom - top) * scale)))
    width = min(size[1], max(1, round((right - left) * scale)))
    y, x = (size[0] - height) // 2, (size[1] - width) // 2
    return Placement(
        (view.shape[0], view.shape[1]), (top, left, bottom, right), (y, x, y + height, x + width), size
    )  # fmt: skip


def fit(picture: Float32, placement: Placement) -> Float32:
    """A picture's view in the network's input, zero around it."""
    top, left, bottom, right = placement.box
    y, x, y_end, x_end = placement.target
    result = np.zeros(placement.size, np.float32)
    result[y:y_end, x:x_end] = _resized(picture[top:bottom, left:right], (y_end - y, x_end - x))
    return result


def unfit(maps: Float32, placement: Placement) -> Float32:
    """The inverse of `fit` for maps (y, x) of the network's output: on the picture's pixels, zero outside the box."""
    top, left, bottom, right = placement.box
    y, x, y_end, x_end = placement.target
    result = np.zeros(placement.shape, np.float32)
    result[top:bottom, left:right] = _resized(maps[y:y_end, x:x_end], (bottom - top, right - left))
    return result


def network_input(frame: Grey, view: Mask, placement: Placement) -> Float32:
    """Network input (y, x) of a picture: black outside the view; mean 0 and standard deviation 1 within it.

    Gain and grey maps differ between scanners and nothing in the picture says which was used, so each picture is evened
    out by itself.
    """
    shown = fit(np.where(view, frame, 0).astype(np.float32), placement)
    inside = fit(view.astype(np.float32), placement) >= 0.5
    return even_out(shown, inside)


def even_out(grey: Float32, inside: Mask) -> Float32:
    """Grey levels (0 to 255) with mean 0 and standard deviation 1 within a mask; what lies outside is black."""
    if not inside.any():
        inside = np.ones_like(inside)
    values = grey[inside]
    result: Float32 = (np.where(inside, grey, 0) - values.mean()) / max(float(values.std()), MIN_SPREAD)
    return result.astype(np.float32)


def _resized(picture: Float32, size: Size) -> Float32:
    """Bilinear; where it shrinks, each pixel is the mean of what it covers (PIL widens its triangle)."""
    from PIL import Image

    if picture.shape == size:
        return picture
    image = Image.fromarray(np.ascontiguousarray(picture, dtype=np.float32))
    return np.asarray(image.resize((size[1], size[0]), Image.Resampling.BILINEAR), dtype=np.float32)
