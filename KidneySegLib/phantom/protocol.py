"""How a phantom is scanned: geometry, reconstruction kernel, dose and the imperfections of a CT."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Protocol as Interface

import numpy as np

from KidneySegLib.phantom.grid import Grid

Bounds = tuple[tuple[float, float], tuple[float, float], tuple[float, float]]

#: What a scan covers: the kidneys with room, down to the groins, from the chest to the groins, or a box that cuts a
#: kidney.
COVERAGES = ("abdomen", "abdomen_pelvis", "chest_abdomen_pelvis", "cut_kidney")


class KidneyPlace(Interface):
    """What of a scene's kidney the scan's range is planned by; a kidney that is not upright also has ``axes``."""

    @property
    def centre_mm(self) -> tuple[float, float, float]: ...

    @property
    def half_size_mm(self) -> tuple[float, float, float]: ...


class Scannable(Interface):
    """What a scene must offer to be scanned; `render.render` draws it."""

    @property
    def kidneys(self) -> tuple[KidneyPlace, ...]: ...

    def body_bounds_mm(self) -> Bounds: ...


@dataclass(frozen=True)
class Kernel:
    """A reconstruction kernel as its modulation transfer function.

    MTF(f) = exp(-2 (pi sigma f)^2) (1 + boost (f/f_b)^2 exp(1 - (f/f_b)^2)), f in cycles/mm: a Gaussian whose middle
    frequencies a sharp kernel lifts, which is what makes edges overshoot.

    Attributes:
        name: our name.
        dicom_name: a name as vendors write it in ConvolutionKernel.
        sigma_mm: of the Gaussian; the MTF of a plain one is 0.5 at 0.187/sigma.
        boost, boost_per_mm: lift and where it is greatest.
        noise: factor on the noise of the soft kernel at the same dose.
        step_mm: sampling in the plane that shows all the kernel can show.
    """

    name: str
    dicom_name: str
    sigma_mm: float
    boost: float
    boost_per_mm: float
    noise: float
    step_mm: float


KERNELS = {
    kernel.name: kernel
    for kernel in (
        Kernel("smooth", "B20f", 0.66, 0.0, 0.4, 0.75, 1.20),
        Kernel("soft", "B30f", 0.54, 0.0, 0.4, 1.0, 1.10),
        Kernel("medium", "B40f", 0.45, 0.15, 0.4, 1.35, 0.95),
        Kernel("sharp", "B50f", 0.37, 0.45, 0.45, 1.9, 0.80),
        Kernel("very_sharp", "B70f", 0.29, 0.80, 0.6, 3.0, 0.70),
    )
}


@dataclass(frozen=True)
class Protocol:
    """One way to scan.

    Attributes:
        name: of the protocol, for the truth file.
        pixel_mm: in the plane, both ways.
        matrix: rows and columns; the field of view is pixel_mm times this.
        slice_thickness_mm: full width at half maximum of the slice profile.
        slice_spacing_mm: from slice to slice; less than the thickness overlaps, more leaves gaps.
        coverage: one of `COVERAGES`.
        kernel: key of `KERNELS`.
        noise_hu: standard deviation in the middle of 30 cm of water.
        iterative: how much an iterative reconstruction moves noise to low frequencies, 0 to 1.
        beam_hardening: strength of dark bands between bones, 0 (none) to about 0.1.
        metal: whether a spine implant is in the scan.
        circular_field: whether only the circle inscribed in the matrix is reconstructed.
        padding_hu: value outside that circle.
        clip_hu: lowest and highest value that is stored.
        offset_mm: of the field's centre from the body's centre, x and y.
    """

    name: str = "sampled"
    pixel_mm: float = 0.75
    matrix: int = 512
    slice_thickness_mm: float = 5.0
    slice_spacing_mm: float = 5.0
    coverage: str = "abdomen"
    kernel: str = "soft"
    noise_hu: float = 11.0
    iterative: float = 0.3
    beam_hardening: float = 0.04
    metal: bool = False
    circular_field: bool = False
    padding_hu: int = -1024
    clip_hu: tuple[int, int] = (-1024, 3071)
    offset_mm: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        for name in ("pixel_mm", "slice_thickness_mm", "slice_spacing_mm"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be positive, got {value}")
        if self.matrix < 1:
            raise ValueError(f"matrix must be at least 1, got {self.matrix}")
        if self.coverage not in COVERAGES:
            raise ValueError(f"coverage must be one of {', '.join(COVERAGES)}; got {self.coverage!r}")
        if self.kernel not in KERNELS:
            raise ValueError(f"kernel must be one of {', '.join(KERNELS)}; got {self.kernel!r}")
        if self.noise_hu < 0:
            raise ValueError(f"noise_hu must not be negative, got {self.noise_hu}")

    @classmethod
    def sample(
        cls,
        rng: np.random.Generator,
        body_bounds_mm: Bounds | None = None,
        *,
        robust: bool = False,
        slice_thickness_mm: float | None = None,
        coverage: str | None = None,
    ) -> Protocol:
        """A protocol as abdominal CT is done: 512x512, pixels 0.5-1.0 mm, slices 0.6-5 mm.

        Args:
            rng: source of all randomness.
            body_bounds_mm: of the scene; the field of view is chosen round it as a radiographer would.
            robust: also the odd ones: slices to 8 mm, pixels to 2.2 mm, heavy noise.
            slice_thickness_mm: fix it.
            coverage: fix it, one of `COVERAGES`.
        """
        width = 380.0
        if body_bounds_mm is not None:
            (x0, x1), (y0, y1), _ = body_bounds_mm
            width = max(x1 - x0, y1 - y0)
        # One in eight cuts the flanks off, the others leave some air.
        field = width * (rng.uniform(0.82, 0.97) if rng.random() < 0.12 else rng.uniform(0.99, 1.18))
        matrix, pixel = 512, float(np.clip(field / 512, 0.5, 1.0))
        thickness = float(rng.choice([5.0, 3.0, 2.5, 2.0, 1.5, 1.25, 1.0], p=[0.34, 0.2, 0.12, 0.1, 0.08, 0.08, 0.08]))
        if rng.random() < 0.03:
            thickness = 0.6
        if robust:
            if rng.random() < 0.4:
                thickness = float(rng.uniform(5.0, 8.0))
            if rng.random() < 0.4:
                pixel = float(rng.uniform(0.9, 2.2))
                matrix = 2 * math.ceil(0.5 * field / pixel)
        thickness = thickness if slice_thickness_mm is None else slice_thickness_mm
        spacing = thickness
        if thickness <= 3.0 and rng.random() < 0.4:
            spacing = thickness * float(rng.choice([0.5, 0.7, 0.8]))
        elif rng.random() < 0.05:
            spacing = thickness * float(rng.uniform(1.1, 1.4))
        kernel = str(rng.choice(list(KERNELS), p=[0.12, 0.5, 0.23, 0.1, 0.05]))
        # Noise falls with the root of the thickness; thin slices get a little more dose or denoising.
        noise = rng.uniform(7.0, 15.0) * (5.0 / thickness) ** 0.42 * KERNELS[kernel].noise
        if robust and rng.random() < 0.25:
            noise *= rng.uniform(1.5, 2.5)
        circular = bool(rng.random() < 0.5)
        clip = [(-1024, 3071), (-1024, 1023), (-1000, 1000), (-1024, 2976)][
            int(rng.choice(4, p=[0.8, 0.1, 0.05, 0.05]))
        ]
        return cls(
            pixel_mm=round(pixel, 4),
            matrix=matrix,
            slice_thickness_mm=round(thickness, 3),
            slice_spacing_mm=round(spacing, 3),
            coverage=coverage or str(rng.choice(COVERAGES, p=[0.42, 0.36, 0.17, 0.05])),
            kernel=kernel,
            noise_hu=round(float(min(noise, 60.0)), 2),
            iterative=round(float(rng.uniform(0.0, 0.8)), 3),
            beam_hardening=round(float(rng.uniform(0.0, 0.08)), 4),
            metal=bool(rng.random() < 0.04),
            circular_field=circular,
            padding_hu=int(rng.choice([-1024, -2000, -3024], p=[0.6, 0.3, 0.1])) if circular else -1024,
            clip_hu=clip,
            offset_mm=(round(float(rng.normal(0, 6)), 2), round(float(rng.normal(0, 6)), 2)),
        )

    def place(self, scene: Scannable, rng: np.random.Generator) -> Grid:
        """The scan's own grid on a scene: in the plane round the body's middle, along z as the coverage says."""
        (x0, x1), (y0, y1), (z0, z1) = scene.body_bounds_mm()
        bottom, top = self._range_mm(scene, (z0, z1), rng)
        slices = max(1, round((top - bottom) / self.slice_spacing_mm))
        centre_x, centre_y = (x0 + x1) / 2 + self.offset_mm[0], (y0 + y1) / 2 + self.offset_mm[1]
        origin = (
            centre_x - (self.matrix - 1) / 2 * self.pixel_mm,
            centre_y - (self.matrix - 1) / 2 * self.pixel_mm,
            bottom + self.slice_spacing_mm / 2,
        )
        return Grid(
            (slices, self.matrix, self.matrix),
            (self.slice_spacing_mm, self.pixel_mm, self.pixel_mm),
            (round(origin[0], 3), round(origin[1], 3), round(origin[2], 3)),
        )

    def _range_mm(
        self, scene: Scannable, body_mm: tuple[float, float], rng: np.random.Generator
    ) -> tuple[float, float]:
        low, high = body_mm
        above, below, cut_share = rng.uniform(25, 90), rng.uniform(25, 90), rng.uniform(0.15, 0.5)
        from_above = rng.random() < 0.5
        if not scene.kidneys:
            return (low, high) if self.coverage == "chest_abdomen_pelvis" else (low, high - 0.25 * (high - low))
        bottoms = [k.centre_mm[2] - _half_height_mm(k) for k in scene.kidneys]
        tops = [k.centre_mm[2] + _half_height_mm(k) for k in scene.kidneys]
        bottom, top = max(low, min(bottoms) - below), min(high, max(tops) + above)
        if self.coverage == "abdomen_pelvis":
            bottom = low
        elif self.coverage == "chest_abdomen_pelvis":
            bottom, top = low, high
        elif self.coverage == "cut_kidney":
            if from_above:
                top = max(tops) - cut_share * (max(tops) - min(bottoms))
            else:
                bottom = min(bottoms) + cut_share * (max(tops) - min(bottoms))
        return float(bottom), float(top)


def _half_height_mm(kidney: KidneyPlace) -> float:
    """From a kidney's centre to its highest point: an ellipsoid along its own axes, if it has them."""
    axes = np.asarray(getattr(kidney, "axes", np.eye(3)), np.float64)
    return float(np.linalg.norm(axes[:, 2] * np.asarray(kidney.half_size_mm)))


#: The geometry of Luo & Li 2025: 5 mm slices, 0.684 mm pixels, 512x512.
LUO_LI_2025 = Protocol(name="luo-li-2025", pixel_mm=0.684, noise_hu=10.0)
#: Thin slices as angiograms are kept.
THIN = Protocol(
    name="thin", pixel_mm=0.75, slice_thickness_mm=1.0, slice_spacing_mm=0.8, noise_hu=20.0, kernel="medium"
)
#: No noise, no artefact: for looking at the anatomy and for tests.
IDEAL = Protocol(name="ideal", noise_hu=0.0, beam_hardening=0.0)
PROTOCOLS = {protocol.name: protocol for protocol in (LUO_LI_2025, THIN, IDEAL)}


def named(name: str, **changes: object) -> Protocol:
    """A protocol of `PROTOCOLS`, with changes.

    Raises:
        KeyError: for an unknown name.
    """
    if name not in PROTOCOLS:
        raise KeyError(f"protocol must be one of {', '.join(PROTOCOLS)}; got {name!r}")
    return replace(PROTOCOLS[name], **changes)  # type: ignore[arg-type]
