"""What a CT adds to a slice: the reconstruction kernel, noise, and streaks.

Noise is made view by view, as a reconstruction does: the frequencies along a direction come from the rays across it, so
each sector of the frequency plane gets the noise of its rays' path through the body. Long paths (across the hips) give
coarse horizontal streaks, short ones stay quiet, with no further model of photon starvation.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from KidneySegLib.phantom.protocol import Kernel

FloatArray = npt.NDArray[np.float32]

#: Attenuation of water near 70 keV, the mean energy of a 120 kV beam.
WATER_PER_MM = 0.0195
#: Path at which a protocol's noise is stated: through the middle of 30 cm of water.
REFERENCE_PATH = WATER_PER_MM * 300.0

#: log of the noise variance per unit of path. 1 without any control of the tube current; scanners even out most of it.
PATH_EXPONENT = 0.5
#: Sectors of the frequency plane, and views of a streak reconstruction.
SECTORS, STREAK_VIEWS = 6, 72
#: Side of the coarse image that paths and streaks are computed on.
COARSE = 128
#: Denser than this is taken for bone or metal by the beam-hardening model.
DENSE_HU = 250.0
#: Denser than this is metal, and how strongly it hardens the beam.
METAL_FROM_HU, METAL_STRENGTH = 3000.0, 2.0
#: Noise of neighbouring slices is correlated this much by interpolation between detector rows.
SLICE_CORRELATION = 0.15
#: Noise power near frequency zero, as if the ramp began there (cycles/mm): measured spectra do not fall to zero.
NOISE_FLOOR_PER_MM = 0.10
#: Noise power at high frequencies that the kernel does not reach, as a part of the greatest power (aliasing).
GRAIN = 0.05
#: A filter may at most sharpen what resampling blurred by this.
LARGEST_GAIN = 2.5


def kernel_mtf(frequencies_per_mm: npt.NDArray[np.float64], kernel: Kernel) -> npt.NDArray[np.float64]:
    """Modulation transfer of a kernel at radial frequencies in cycles/mm; 1 at zero."""
    f = frequencies_per_mm
    ratio = (f / kernel.boost_per_mm) ** 2
    lift = 1.0 + kernel.boost * ratio * np.exp(1.0 - ratio)
    return np.asarray(np.exp(-2.0 * (np.pi * kernel.sigma_mm * f) ** 2) * lift)


def noise_spectrum(
    frequencies_per_mm: npt.NDArray[np.float64], kernel: Kernel, iterative: float
) -> npt.NDArray[np.float64]:
    """Amplitude of noise at radial frequencies: the ramp's root times the kernel; iteration damps high frequencies."""
    f = frequencies_per_mm
    amplitude = np.sqrt(f + NOISE_FLOOR_PER_MM) * kernel_mtf(f, kernel) / (1.0 + iterative * (f / 0.22) ** 2)
    grain = GRAIN * amplitude.max(initial=0.0) ** 2 * np.exp(-((f / 0.8) ** 2))
    return np.asarray(np.sqrt(amplitude**2 + grain))


def _frequencies(rows: int, columns: int, pixel_mm: float) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    fy = np.asarray(np.fft.fftfreq(rows, pixel_mm), np.float64)
    fx = np.asarray(np.fft.rfftfreq(columns, pixel_mm), np.float64)
    return fy[:, None], fx[None, :]


@dataclass(frozen=True)
class KernelFilter:
    """Brings slices that sampling has already softened to the sharpness of a kernel.

    Attributes:
        gain: real transfer function on the half plane of `numpy.fft.rfft2`.
        shape: rows, columns of the slices.
    """

    gain: FloatArray
    shape: tuple[int, int]

    @classmethod
    def of(
        cls,
        kernel: Kernel,
        shape: tuple[int, int],
        pixel_mm: float,
        sampling_y: npt.NDArray[np.float64],
        sampling_x: npt.NDArray[np.float64],
    ) -> KernelFilter:
        """A filter for slices of a shape.

        Args:
            sampling_y, sampling_x: what sampling has done along each axis, at the frequencies of fftfreq and rfftfreq.
        """
        fy, fx = _frequencies(*shape, pixel_mm)
        done = np.abs(sampling_y[:, None] * sampling_x[None, :])
        gain = kernel_mtf(np.hypot(fy, fx), kernel) / np.maximum(done, 1e-3)
        return cls(np.minimum(gain, LARGEST_GAIN).astype(np.float32), shape)

    def apply(self, hu: FloatArray) -> FloatArray:
        from scipy import fft

        return np.asarray(fft.irfft2(fft.rfft2(hu) * self.gain, s=self.shape), np.float32)


class Projector:
    """Parallel rays through a coarse square image, as one sparse matrix; its transpose projects back.

    Args:
        size: side of the image in pixels.
        pixel_mm: of the image.
        angles: directions of the detector in radians; rays run across them.
    """

    def __init__(self, size: int, pixel_mm: float, angles: npt.NDArray[np.float64]) -> None:
        from scipy import sparse

        self.bins = int(np.ceil(size * 1.5))
        self.views = len(angles)
        self.pixel_mm = pixel_mm
        centre = (np.arange(size) - (size - 1) / 2).astype(np.float64)
        y, x = np.meshgrid(centre, centre, indexing="ij")
        rows, columns, weights = [], [], []
        pixel_index = np.arange(size * size)
        for view, angle in enumerate(angles):
            position = (x * np.cos(angle) + y * np.sin(angle)).ravel() + (self.bins - 1) / 2
            lower = np.floor(position).astype(np.int64)
            part = position - lower
            for bins, weight in ((lower, 1 - part), (lower + 1, part)):
                rows.append(view * self.bins + bins)
                columns.append(pixel_index)
                weights.append(weight)
        shape = (self.views * self.bins, size * size)
        entries = (np.concatenate(weights).astype(np.float32), (np.concatenate(rows), np.concatenate(columns)))
        self.matrix: Any = sparse.csr_matrix(entries, shape=shape)
        self.transposed: Any = self.matrix.T.tocsr()

    def project(self, image_per_mm: FloatArray) -> FloatArray:
        """Line integrals (views, bins) of an image in 1/mm."""
        sums = self.matrix @ image_per_mm.ravel()
        return np.asarray(sums.reshape(self.views, self.bins) * np.float32(self.pixel_mm), np.float32)

    def reconstruct(self, sinogram: FloatArray) -> FloatArray:
        """Filtered back-projection, in 1/mm."""
        frequencies = np.abs(np.fft.rfftfreq(2 * self.bins, self.pixel_mm))
        window = np.cos(np.pi * frequencies * self.pixel_mm) ** 2
        spectrum = np.fft.rfft(sinogram, 2 * self.bins, axis=1) * (frequencies * window)
        filtered = np.fft.irfft(spectrum, axis=1)[:, : self.bins].astype(np.float32)
        size = round(np.sqrt(self.matrix.shape[1]))
        image = (self.transposed @ filtered.ravel()).reshape(size, size)
        return np.asarray(image * np.float32(np.pi / self.views), np.float32)


@lru_cache(maxsize=4)
def _projector(pixel_mm: float, views: int) -> Projector:
    return Projector(COARSE, pixel_mm, np.arange(views) * np.pi / views)


def coarse_image(hu: FloatArray) -> FloatArray:
    """A slice averaged onto `COARSE` pixels a side (its own side for smaller ones is repeated)."""
    from scipy import ndimage

    rows, columns = hu.shape
    if rows % COARSE == 0 and columns % COARSE == 0:
        parts = hu.reshape(COARSE, rows // COARSE, COARSE, columns // COARSE)
        return np.asarray(parts.mean(axis=(1, 3)), np.float32)
    zoom = (COARSE / rows, COARSE / columns)
    return np.asarray(ndimage.zoom(hu, zoom, order=1, grid_mode=True, mode="nearest"), np.float32)


def enlarge(coarse: FloatArray, shape: tuple[int, int]) -> FloatArray:
    """A coarse image on a slice's pixels, linear between centres."""
    result = coarse
    for axis, size in enumerate(shape):
        position = np.clip((np.arange(size) + 0.5) * coarse.shape[axis] / size - 0.5, 0, coarse.shape[axis] - 1)
        lower = np.minimum(position.astype(np.intp), coarse.shape[axis] - 2)
        weight = (position - lower).astype(np.float32)
        weight = weight[:, None] if axis == 0 else weight[None, :]
        low, high = np.take(result, lower, axis), np.take(result, lower + 1, axis)
        result = low + weight * (high - low)
    return np.asarray(result, np.float32)


def attenuation(hu: FloatArray) -> FloatArray:
    """HU to 1/mm, never negative."""
    return np.asarray(np.maximum(np.float32(WATER_PER_MM) * (1 + hu / np.float32(1000)), 0), np.float32)


def beam_hardening(hu: FloatArray, field_mm: float, strength: float) -> FloatArray | None:
    """HU error of a polychromatic beam: rays through much bone or metal seem shorter than they are.

    Args:
        hu: slice without artefacts, square field.
        field_mm: side of the field.
        strength: of the term quadratic in the path through bone.

    Returns:
        HU to add, on `COARSE` pixels a side; None where nothing dense is in the slice.
    """
    densest = float(hu.max(initial=-1000))
    if densest < DENSE_HU + 100 or (strength <= 0 and densest < METAL_FROM_HU):
        return None
    scale = np.float32(WATER_PER_MM / 1000)
    dense = coarse_image(np.clip(hu - np.float32(DENSE_HU), 0, METAL_FROM_HU)) * scale
    projector = _projector(field_mm / COARSE, STREAK_VIEWS)
    path = projector.project(dense)
    error = -np.float32(strength) * path**2
    if densest > METAL_FROM_HU:
        # Few photons pass metal: its shadow is understated by much more than bone's, until it levels off.
        shadow = projector.project(coarse_image(np.maximum(hu - np.float32(METAL_FROM_HU), 0)) * scale)
        error -= np.float32(METAL_STRENGTH) * shadow**2 / (1 + shadow)
    return np.asarray(projector.reconstruct(error) / np.float32(WATER_PER_MM / 1000), np.float32)


class NoiseMaker:
    """Noise for the slices of one scan, in order.

    Args:
        kernel: of the reconstruction.
        noise_hu: standard deviation in the middle of 30 cm of water.
        iterative: strength of an iterative reconstruction, 0 to 1.
        shape: rows, columns.
        pixel_mm: of the slices.
        overlap: share of a slice that is also in the next (1 - spacing / thickness, not below 0).
        rng: source of all randomness.
    """

    def __init__(
        self,
        kernel: Kernel,
        noise_hu: float,
        iterative: float,
        shape: tuple[int, int],
        pixel_mm: float,
        overlap: float,
        rng: np.random.Generator,
    ) -> None:
        self._shape = shape
        self._noise_hu = noise_hu
        self._rng = rng
        self._correlation = min(SLICE_CORRELATION + max(overlap, 0.0), 0.95)
        self._field_mm = max(shape) * pixel_mm
        fy, fx = _frequencies(*shape, pixel_mm)
        amplitude = noise_spectrum(np.hypot(fy, fx), kernel, iterative)
        amplitude[0, 0] = 0.0
        power = amplitude**2
        power[:, 1 : (shape[1] + 1) // 2] *= 2  # the half plane that rfft2 leaves out
        # White noise of unit variance through a filter H has the variance mean(H^2).
        amplitude /= np.sqrt(power.sum() / np.prod(shape))
        self._sectors = [(amplitude * window).astype(np.float32) for window in _sector_windows(fy, fx)]
        self._last: npt.NDArray[np.complex64] | None = None

    def next(self, hu: FloatArray) -> FloatArray:
        """Noise for the next slice, whose noise-free HU decide where it is loud."""
        from scipy import fft

        # White noise, drawn in the plane so that its transform has the symmetry of a real image.
        white = fft.rfft2(self._rng.standard_normal(self._shape, dtype=np.float32))
        if self._last is not None:
            keep = np.float32(self._correlation)
            white = keep * self._last + np.sqrt(1 - keep * keep) * white
        self._last = white
        if self._noise_hu == 0:
            return np.zeros(self._shape, np.float32)
        result: FloatArray = np.zeros(self._shape, np.float32)
        for sector, loudness in zip(self._sectors, self._loudness(hu), strict=True):
            result += fft.irfft2(white * sector, s=self._shape) * enlarge(loudness, self._shape)
        result *= np.float32(self._noise_hu)
        return result

    def _loudness(self, hu: FloatArray) -> list[FloatArray]:
        """Factor on the noise of each sector, on the coarse image: its rays' path against the reference path."""
        projector = _projector(self._field_mm / COARSE, SECTORS)
        paths = projector.project(attenuation(coarse_image(hu)))
        factor = np.exp(np.minimum(0.5 * PATH_EXPONENT * (paths - REFERENCE_PATH), np.log(8.0)))
        factors = []
        for view in range(SECTORS):
            rows = slice(view * projector.bins, (view + 1) * projector.bins)
            factors.append((projector.matrix[rows].T @ factor[view]).reshape(COARSE, COARSE))
        return factors


def _sector_windows(fy: npt.NDArray[np.float64], fx: npt.NDArray[np.float64]) -> list[npt.NDArray[np.float64]]:
    """Smooth angular windows that sum to 1; window i is centred on the direction of view i."""
    angle = np.arctan2(fy, fx) % np.pi
    windows = []
    for i in range(SECTORS):
        away = np.abs((angle - i * np.pi / SECTORS + np.pi / 2) % np.pi - np.pi / 2) * SECTORS / np.pi
        windows.append(np.cos(np.minimum(away, 1.0) * np.pi / 2) ** 2)
    return windows
