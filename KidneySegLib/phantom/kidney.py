"""One kidney: a bent ellipsoid with cortex, columns, pyramids, sinus, calyces and pelvis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from KidneySegLib.labels import OverviewLabel, Side
from KidneySegLib.phantom.canvas import Block, Canvas
from KidneySegLib.phantom.fields import Field
from KidneySegLib.phantom.shapes import (
    FloatArray,
    capsule,
    ellipsoid_local,
    smooth_max,
    smooth_min,
    to_local,
)


@dataclass(frozen=True)
class Kidney:
    """Geometry of one kidney.

    Its own axes are u (to its convex border; the hilum is at -u), v (thickness) and w (to its upper pole).

    Attributes:
        side: which label ids its truth gets.
        centre_mm: world LPS.
        axes: rows u, v, w in world LPS.
        half_size_mm: along u, v, w.
        bend: how far the poles lean to the hilum, as a share of the half width.
        taper: how much thicker one pole is.
        surface: lobulation of the outer surface, mm.
        cortex_mm: thickness of the outer cortex.
        column_mm: width of the cortical columns between pyramids.
        pyramids: unit directions (n, 3) of pyramid axes in the kidney's normalised coordinates.
        pyramid_reach: cosine of the widest angle that a pyramid covers.
        sinus_shift: centre of the sinus along u, as a share of the half width.
        sinus_size: half size of the sinus as shares of the kidney's half sizes.
        calyx_mm, pelvis_mm: radii; large ones are hydronephrosis.
        dilated: calyces and pelvis carve into parenchyma.
        perirenal_mm: mean thickness of perirenal fat; negative where organs touch the kidney.
        lobe_hu: contrast between pyramids, HU.
        seed: seed of the kidney's own fields.
    """

    side: Side
    centre_mm: tuple[float, float, float]
    axes: NDArray[np.float64]
    half_size_mm: tuple[float, float, float]
    bend: float
    taper: float
    surface: Field
    fine_surface: Field
    cortex_mm: float
    cortex_variation: Field
    column_mm: float
    pyramids: NDArray[np.float64]
    pyramid_reach: float
    sinus_shift: float
    sinus_size: tuple[float, float, float]
    sinus_surface: Field
    papilla_mm: float
    calyx_mm: float
    pelvis_mm: float
    dilated: bool
    perirenal_mm: float
    perirenal_variation: Field
    scars: tuple[tuple[float, float, float, float], ...] = ()
    isthmus_to_mm: tuple[float, float, float] | None = None
    isthmus_radius_mm: float = 0.0
    seed: int = 0
    hu_shift: Mapping[str, float] = field(default_factory=dict)

    @property
    def reach_mm(self) -> float:
        """Radius of a ball round the centre that holds the kidney, its sinus and perirenal fat."""
        return max(self.half_size_mm) * 1.25 + 4

    def world(self, u: float, v: float, w: float) -> NDArray[np.float64]:
        """World position (x, y, z) of a point in the kidney's own coordinates."""
        point: NDArray[np.float64] = np.asarray(self.centre_mm) + np.asarray([u, v, w]) @ self.axes
        return point

    def calyx_points(self) -> NDArray[np.float64]:
        """World positions (n, 3) of the papillae, where minor calyces cup the pyramids."""
        w_mm, t_mm, l_mm = self.half_size_mm
        su, sv, sw = self.sinus_size
        local = self.pyramids * np.array([su * w_mm, sv * t_mm, sw * l_mm]) * 0.92
        local[:, 0] += self.sinus_shift * w_mm
        points: NDArray[np.float64] = np.asarray(self.centre_mm) + local @ self.axes
        return points

    def pelvis_points(self) -> NDArray[np.float64]:
        """World path (3, 3) from the middle of the sinus through the hilum to the start of the ureter."""
        w_mm, _, l_mm = self.half_size_mm
        local = np.array(
            [[-0.45 * w_mm, 0, 0.03 * l_mm], [-0.85 * w_mm, 0, -0.06 * l_mm], [-1.15 * w_mm, 0, -0.3 * l_mm]]
        )
        points: NDArray[np.float64] = np.asarray(self.centre_mm) + local @ self.axes
        return points


def sample_pyramids(rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    """Unit directions (count, 3), evenly spread over all but the hilum's side."""
    candidates = rng.standard_normal((600, 3))
    candidates /= np.linalg.norm(candidates, axis=1, keepdims=True)
    candidates = candidates[candidates[:, 0] > -0.55]
    chosen = [candidates[0]]
    nearest = candidates @ chosen[0]
    jitter = rng.uniform(0, 0.15, len(candidates))
    while len(chosen) < count:
        chosen.append(candidates[int(np.argmin(nearest + jitter))])
        nearest = np.maximum(nearest, candidates @ chosen[-1])
    return np.array(chosen)


def sample_kidney(
    rng: np.random.Generator,
    side: Side,
    centre_mm: tuple[float, float, float],
    axes: NDArray[np.float64],
    *,
    size: float = 1.0,
    ckd: float = 0.0,
    hydronephrosis: float = 0.0,
) -> Kidney:
    """A kidney of random shape.

    Args:
        size: factor on all its sizes.
        ckd: 0 healthy to 1 end-stage: smaller, thinner cortex, more sinus fat, scars.
        hydronephrosis: 0 none to 1 gross.
    """

    def uniform(low: float, high: float) -> float:
        return float(rng.uniform(low, high))

    def seed() -> int:
        return int(rng.integers(2**31))

    size *= 1 - 0.35 * ckd
    half = np.array([uniform(25, 36), uniform(21, 31), uniform(44, 64)]) * size
    if hydronephrosis > 0:
        half *= 1 + 0.3 * hydronephrosis
    fat = min(uniform(0, 1) ** 1.5 + 0.35 * ckd, 1.0)
    sinus = (0.42 + 0.26 * fat + uniform(-0.05, 0.05), 0.25 + 0.27 * fat + uniform(-0.05, 0.05), 0.5 + 0.17 * fat)
    scars = tuple(
        (*(direction / np.linalg.norm(direction)), uniform(3, 9))
        for direction in rng.standard_normal((int(rng.poisson(0.25 + 2.5 * ckd)), 3)) + np.array([0.5, 0, 0])
    )
    return Kidney(
        side=side,
        centre_mm=centre_mm,
        axes=axes,
        half_size_mm=(float(half[0]), float(half[1]), float(half[2])),
        bend=uniform(0.0, 0.5),
        taper=uniform(-0.18, 0.18),
        surface=Field(seed(), uniform(12, 26), uniform(0.3, 2.2)),
        fine_surface=Field(seed(), uniform(5, 9), uniform(0.0, 0.45)),
        cortex_mm=uniform(3.2, 7.6) * (1 - 0.5 * ckd) * size**0.5,
        cortex_variation=Field(seed(), uniform(10, 18), uniform(0.2, 1.2)),
        column_mm=uniform(1.2, 6.0) * (1 - 0.4 * ckd),
        pyramids=sample_pyramids(rng, int(rng.integers(8, 18))),
        pyramid_reach=float(np.cos(uniform(0.6, 1.1))),
        sinus_shift=uniform(-0.45, -0.22),
        sinus_size=sinus,
        sinus_surface=Field(seed(), uniform(6, 12), uniform(0.6, 2.4)),
        papilla_mm=uniform(0, 5),
        calyx_mm=uniform(0.8, 2.6) + 11 * hydronephrosis * size,
        pelvis_mm=uniform(2, 6) + 13 * hydronephrosis * size,
        dilated=hydronephrosis > 0,
        perirenal_mm=uniform(-2, 14),
        perirenal_variation=Field(seed(), uniform(18, 32), uniform(1, 6)),
        scars=scars,
        seed=seed(),
    )


@dataclass(frozen=True)
class _Shape:
    """Signed distances of one kidney on a block, mm: the filled outline, the sinus, and the medulla within."""

    outline: FloatArray
    sinus: FloatArray
    medulla: FloatArray
    pyramid: NDArray[np.int8]


def _shape(kidney: Kidney, canvas: Canvas, block: Block) -> _Shape:
    x, y, z = canvas.coordinates(block)
    u, v, w = to_local(x, y, z, kidney.centre_mm, kidney.axes)
    half_u, half_v, half_w = kidney.half_size_mm
    s = w / np.float32(half_w)
    thickness: FloatArray = np.float32(1) + np.float32(kidney.taper) * np.clip(s, -1.2, 1.2)
    bent = u + np.float32(kidney.bend * half_u) * np.minimum(s * s, 1.6) - np.float32(0.25 * kidney.bend * half_u)
    pu: FloatArray = (bent / thickness).astype(np.float32, copy=False)
    pv: FloatArray = v / thickness
    outline = ellipsoid_local(pu, pv, w, kidney.half_size_mm)
    outline += canvas.field(kidney.surface, block)
    if kidney.fine_surface.amplitude > 0.05:
        outline += canvas.field(kidney.fine_surface, block)
    for su, sv, sw, depth in kidney.scars:
        at = (su * half_u, sv * half_v, sw * half_w)
        dent = ellipsoid_local(pu - np.float32(at[0]), pv - np.float32(at[1]), w - np.float32(at[2]), (depth,) * 3)
        outline = smooth_max(outline, -dent, 4.0)
    if kidney.isthmus_to_mm is not None:
        pole = kidney.world(-0.2 * half_u, 0, -0.82 * half_w)
        bridge = capsule(
            x, y, z, tuple(pole), kidney.isthmus_to_mm, (kidney.isthmus_radius_mm * 1.15, kidney.isthmus_radius_mm)
        )
        outline = smooth_min(outline, bridge, 8.0)
    for name in ("psoas", "spine"):
        outline = smooth_max(outline, np.float32(1.0) - canvas.distances[name][block], 3.0)
    outline = smooth_max(outline, canvas.distances["cavity"][block] + np.float32(1.5), 3.0)

    # Directions from the sinus, in coordinates in which the kidney is a ball.
    eu = pu / np.float32(half_u) - np.float32(kidney.sinus_shift)
    ev = pv / np.float32(half_v)
    ew = s
    norm = np.sqrt(eu * eu + ev * ev + ew * ew) + np.float32(1e-4)
    best = np.full(u.shape, -1, np.float32)
    second = best.copy()
    pyramid = np.zeros(u.shape, np.int8)
    for index, (nu, nv, nw) in enumerate(kidney.pyramids.astype(np.float32)):
        cosine = (nu * eu + nv * ev + nw * ew) / norm
        closer = cosine > best
        second = np.where(closer, best, np.maximum(second, cosine))
        best = np.where(closer, cosine, best)
        pyramid[closer] = index
    best, second = np.clip(best, -1, 1), np.clip(second, -1, 1)
    radius_mm = norm * np.float32(np.mean(kidney.half_size_mm))
    angle = np.arccos(best)
    to_column_mm = (np.arccos(second) - angle) * 0.5 * radius_mm

    sinus_u = pu - np.float32(kidney.sinus_shift * half_u)
    sinus_half = [share * half for share, half in zip(kidney.sinus_size, kidney.half_size_mm, strict=True)]
    sinus = ellipsoid_local(sinus_u, pv, w, sinus_half)
    sinus += np.float32(kidney.papilla_mm) * np.clip(1 - angle * 3.0, 0, 1)
    sinus += canvas.field(kidney.sinus_surface, block)
    opening = ellipsoid_local(
        pu + np.float32(half_u * 1.0), pv, w, (0.62 * half_u, 0.75 * sinus_half[1] + 1, 0.72 * sinus_half[2])
    )
    sinus = smooth_min(sinus, opening, 4.0)

    cortex_mm = np.float32(kidney.cortex_mm) + canvas.field(kidney.cortex_variation, block)
    medulla = smooth_max(
        cortex_mm + outline, np.float32(kidney.column_mm / 2) - to_column_mm, max(2.0, kidney.cortex_mm * 0.6)
    )
    medulla = smooth_max(medulla, (angle - np.float32(np.arccos(kidney.pyramid_reach))) * radius_mm, 3.0)
    return _Shape(outline, sinus, medulla, pyramid)


def paint_kidneys(kidneys: Sequence[Kidney], canvas: Canvas, hu: Mapping[str, float]) -> None:
    """Perirenal fat of all kidneys, then each kidney with its truth, then its collecting system.

    The fat comes first because fused kidneys lie in each other's.

    Args:
        hu: values of ``cortex``, ``medulla``, ``sinus_fat``, ``perirenal_fat``, ``collecting_system``,
            ``renal_artery``, ``renal_vein``, ``texture`` (standard deviation), ``lobe`` (between pyramids).
    """
    placed = []
    for kidney in kidneys:
        reach = kidney.reach_mm + max(kidney.perirenal_mm, 0) + 3 * kidney.perirenal_variation.amplitude
        lower = np.asarray(kidney.centre_mm) - reach
        upper = np.asarray(kidney.centre_mm) + reach
        if kidney.isthmus_to_mm is not None:
            lower = np.minimum(lower, np.asarray(kidney.isthmus_to_mm) - 30)
            upper = np.maximum(upper, np.asarray(kidney.isthmus_to_mm) + 30)
        block = canvas.block(lower.tolist(), upper.tolist())
        if block is not None:
            values = {key: value + kidney.hu_shift.get(key, 0.0) for key, value in hu.items()}
            placed.append((kidney, block, _shape(kidney, canvas, block), values, np.random.default_rng(kidney.seed)))
    for kidney, block, shape, values, rng in placed:
        _paint_fat(kidney, canvas, block, shape, values, rng)
    for kidney, block, shape, values, rng in placed:
        _paint_kidney(kidney, canvas, block, shape, values, rng)


def _paint_fat(
    kidney: Kidney, canvas: Canvas, block: Block, shape: _Shape, values: Mapping[str, float], rng: np.random.Generator
) -> None:
    fat = shape.outline - np.float32(kidney.perirenal_mm) - canvas.field(kidney.perirenal_variation, block)
    fat = np.maximum(fat, canvas.distances["cavity"][block])
    for name in ("psoas", "spine"):
        fat = np.maximum(fat, -canvas.distances[name][block])
    stranding = Field(int(rng.integers(2**31)), 4.0, float(rng.uniform(0, 14)))
    canvas.paint(block, canvas.coverage(fat), values["perirenal_fat"] + canvas.field(stranding, block))
    if rng.random() < 0.5:  # Gerota's fascia: a thin line round the fat
        fascia = np.abs(fat) - np.float32(rng.uniform(0.2, 0.6))
        canvas.paint(block, canvas.coverage(fascia) * 0.8, float(rng.uniform(-40, 40)))


def _paint_kidney(
    kidney: Kidney, canvas: Canvas, block: Block, shape: _Shape, values: Mapping[str, float], rng: np.random.Generator
) -> None:
    inside = canvas.coverage(shape.outline)
    sinus_noise = Field(int(rng.integers(2**31)), 3.0, float(rng.uniform(0, 25)))
    canvas.paint(block, inside, values["sinus_fat"] + canvas.field(sinus_noise, block))
    _paint_sinus_vessels(kidney, canvas, block, shape, values, rng)

    parenchyma = np.minimum(inside, canvas.coverage(-shape.sinus))
    medulla = canvas.coverage(shape.medulla)
    lobe_hu = rng.normal(0, values["lobe"], len(kidney.pyramids)).astype(np.float32)
    texture = canvas.field(Field(int(rng.integers(2**31)), 2.0, values["texture"]), block)
    # The medulla brightens from papilla to base while contrast arrives, so the corticomedullary edge may be soft.
    gradient = np.clip(-shape.medulla / np.float32(12), 0, 1) * np.float32(rng.uniform(-0.25, 0.35))
    difference = values["cortex"] - values["medulla"]
    tissue_hu = values["cortex"] - medulla * (difference * (1 + gradient) - lobe_hu[shape.pyramid]) + texture
    prefix = kidney.side.value
    canvas.paint(
        block,
        parenchyma,
        tissue_hu,  # type: ignore[arg-type]  # float32; the types of numpy 2.2 say float64
        OverviewLabel.KIDNEY,
        truth=((f"{prefix}_parenchyma", 1.0), (f"{prefix}_cortex", 1 - medulla)),
    )
    _paint_collecting_system(kidney, canvas, block, shape, values, rng)


def _paint_sinus_vessels(
    kidney: Kidney, canvas: Canvas, block: Block, shape: _Shape, hu: Mapping[str, float], rng: np.random.Generator
) -> None:
    """Arteries and veins that fan out from the hilum to the papillae, within the sinus fat."""
    clip = np.full(canvas.hu.shape, 50, np.float32)
    clip[block] = np.maximum(shape.sinus, shape.outline - 6) - np.float32(1.5)
    root = kidney.pelvis_points()[1]
    for target in kidney.calyx_points():
        if rng.random() < 0.35:
            continue
        vessel = "renal_artery" if rng.random() < 0.5 else "renal_vein"
        start = root + rng.normal(0, 3, 3)
        middle = 0.5 * (start + target) + rng.normal(0, 4, 3)
        canvas.paint_tube(
            np.array([start, middle, target + rng.normal(0, 3, 3)]),
            [float(rng.uniform(1.2, 3.5)), float(rng.uniform(0.8, 2.5)), 0.6],
            hu[vessel],
            clip=clip,
        )


def _paint_collecting_system(
    kidney: Kidney, canvas: Canvas, block: Block, shape: _Shape, hu: Mapping[str, float], rng: np.random.Generator
) -> None:
    """Minor calyces, their stalks and the pelvis. When dilated they carve into the parenchyma, else they stay out."""
    clip = np.full(canvas.hu.shape, 50, np.float32)
    keep_cortex = shape.outline + np.float32(max(1.5, kidney.cortex_mm * 0.5))
    outside = np.maximum(-shape.outline, -shape.sinus)
    clip[block] = np.minimum(keep_cortex, -outside) if kidney.dilated else shape.sinus
    path = kidney.pelvis_points()
    value = hu["collecting_system"]
    stalks = [path[0] + (kidney.axes[2] * offset * kidney.half_size_mm[2]) for offset in (-0.32, 0.0, 0.32)]
    for point in kidney.calyx_points():
        stalk = stalks[int(np.argmin([np.linalg.norm(point - s) for s in stalks]))]
        radius = kidney.calyx_mm * float(rng.uniform(0.6, 1.3))
        canvas.paint_tube(
            np.array([point, 0.5 * (point + stalk), stalk]), [radius, radius * 0.6, radius * 0.7], value, clip=clip
        )
    for stalk in stalks:
        canvas.paint_tube(np.array([stalk, path[0]]), max(kidney.calyx_mm * 0.8, 1.2), value, clip=clip)
    if kidney.dilated:
        clip[block] = np.minimum(clip[block], np.where(shape.outline > 0, np.float32(-9), clip[block]))
    else:
        clip[block] = np.minimum(clip[block], -shape.outline)
    canvas.paint_tube(path, [kidney.pelvis_mm * 0.8, kidney.pelvis_mm, kidney.pelvis_mm * 0.35], value, clip=clip)
