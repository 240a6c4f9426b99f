"""The body round the kidneys: skin, fat, muscle, spine, ribs, pelvis, lungs and diaphragm.

World origin: the middle of the body of the second lumbar vertebra.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from KidneySegLib.labels import OverviewLabel
from KidneySegLib.phantom.canvas import Canvas
from KidneySegLib.phantom.fields import Field
from KidneySegLib.phantom.shapes import FloatArray, capsule, ellipsoid, smooth_max

#: Length of the trunk that the phantom has, mm from the middle of L2.
LOWEST_MM, HIGHEST_MM = -330.0, 300.0


@dataclass(frozen=True)
class Body:
    """Outline and walls of the trunk, all lengths in mm.

    Attributes:
        half_width, half_depth: of the skin's outline at the waist.
        back: distance from the middle of the vertebral body to the skin of the back.
        squareness: exponent of the outline (2 is an ellipse).
        fat: thickness of the fat under the skin at the front, sides and back.
        wall: thickness of the muscle wall.
        dome: height of the right diaphragm's top above the origin.
        vertebra_pitch: distance of one vertebra to the next.
        arms: whether the arms lie at the sides.
        table: height of the table's surface below the back, or None.
    """

    half_width: float
    half_depth: float
    back: float
    squareness: float
    fat: tuple[float, float, float]
    wall: float
    dome: float
    dome_depth: float
    vertebra_pitch: float
    vertebra_half: tuple[float, float]
    disc_share: float
    lordosis: float
    psoas: tuple[float, float]
    rib_pitch: float
    rib_slant: float
    rib_offset: float
    arms: bool
    table: float | None
    outline: Field
    inner_outline: Field
    muscle_lumps: Field
    seed: int

    @property
    def centre_y(self) -> float:
        return self.back - self.half_depth

    def bounds_mm(self) -> tuple[tuple[float, float], tuple[float, float], tuple[float, float]]:
        """Box (x, y, z) that holds the trunk."""
        wide = self.half_width * 1.12 + 8
        return (-wide, wide), (self.centre_y - self.half_depth * 1.1 - 8, self.back + 12), (LOWEST_MM, HIGHEST_MM)

    def dome_height(self, x: FloatArray, y: FloatArray) -> FloatArray:
        """Height of the diaphragm over (x, y): domes right and left, deep at the back and sides."""
        side = np.where(x < 0, np.float32(0), np.float32(-14))
        centre = np.where(x < 0, np.float32(-0.42 * self.half_width), np.float32(0.42 * self.half_width))
        across = (x - centre) / np.float32(0.55 * self.half_width)
        along = (y - np.float32(self.centre_y - 0.1 * self.half_depth)) / np.float32(0.95 * self.half_depth)
        drop = np.minimum(across**2 * 0.5 + along**2 * np.where(y > self.centre_y, 1.15, 0.45), 1.6)
        height = np.float32(self.dome) + side - np.float32(self.dome_depth) * drop
        return height.astype(np.float32)


def sample_body(rng: np.random.Generator) -> Body:
    def uniform(low: float, high: float) -> float:
        return float(rng.uniform(low, high))

    def seed() -> int:
        return int(rng.integers(2**31))

    build = uniform(0, 1)
    fatness = uniform(0, 1) ** 1.3
    fat = (4 + 34 * fatness * uniform(0.4, 1), 5 + 42 * fatness * uniform(0.5, 1), 5 + 36 * fatness * uniform(0.5, 1))
    return Body(
        half_width=118 + 28 * build + 48 * fatness + uniform(-6, 6),
        half_depth=80 + 18 * build + 46 * fatness + uniform(-8, 8),
        back=52 + 12 * build + fat[2] + uniform(-4, 6),
        squareness=uniform(2.0, 2.7),
        fat=fat,
        wall=uniform(6, 20),
        dome=uniform(118, 170),
        dome_depth=uniform(60, 110),
        vertebra_pitch=uniform(32, 39),
        vertebra_half=(uniform(20, 27), uniform(14.5, 19)),
        disc_share=uniform(0.14, 0.28),
        lordosis=uniform(0, 22),
        psoas=(uniform(11, 24), uniform(12, 25)),
        rib_pitch=uniform(24, 33),
        rib_slant=uniform(0.25, 0.65),
        rib_offset=uniform(0, 30),
        arms=bool(rng.random() < 0.12),
        table=uniform(1, 30) if rng.random() < 0.75 else None,
        outline=Field(seed(), uniform(45, 90), uniform(1, 5)),
        inner_outline=Field(seed(), uniform(25, 50), uniform(0.5, 2.5)),
        muscle_lumps=Field(seed(), uniform(14, 26), uniform(0.8, 2.5)),
        seed=seed(),
    )


def paint_body(body: Body, canvas: Canvas, hu: Mapping[str, float]) -> None:
    """Skin, fat, muscle wall and the fat of the cavity; leaves the distances ``body`` and ``cavity``.

    Args:
        hu: ``skin``, ``fat``, ``visceral_fat``, ``muscle``, ``fat_strands`` (standard deviation).
    """
    rng = np.random.default_rng(body.seed)
    x, y, z = canvas.x, canvas.y, canvas.z
    # The trunk is widest at hips and chest, and sits on the table with its back.
    level = z / np.float32(HIGHEST_MM)
    width = np.float32(body.half_width) * (1 + np.float32(rng.uniform(0.0, 0.10)) * np.minimum(level * level * 4, 1))
    depth = np.float32(body.half_depth)
    py = (y - np.float32(body.centre_y)) / depth
    px = x / width
    exponent = np.float32(body.squareness)
    radius = (np.abs(px) ** exponent + np.abs(py) ** exponent) ** (1 / exponent)
    scale = np.float32(min(body.half_width, body.half_depth))
    slope = np.sqrt((px * scale / width) ** 2 + (py * scale / depth) ** 2) / np.maximum(radius, 0.05)
    outline = (radius - 1) * scale / np.maximum(slope, 0.35)
    outline += canvas.field(body.outline)
    # A groove over the spine.
    outline = smooth_max(outline, np.float32(9) - np.sqrt((x / 1.2) ** 2 + (y - np.float32(body.back + 6)) ** 2), 10.0)
    canvas.distances["body"] = outline
    whole = canvas.whole
    strands = canvas.field(Field(int(rng.integers(2**31)), 4.5, hu["fat_strands"]))
    canvas.paint(whole, canvas.coverage(outline), hu["fat"] + strands)
    skin = np.abs(outline + np.float32(1.0)) - np.float32(1.0)
    canvas.paint(whole, canvas.coverage(skin), hu["skin"])

    toward_back = np.clip(py, 0, 1) ** 2
    toward_front = np.clip(-py, 0, 1) ** 2
    toward_side = np.clip(1 - toward_back - toward_front, 0, 1)
    front, side, back = (np.float32(f) for f in body.fat)
    fat = front * toward_front + side * toward_side + back * toward_back
    muscle = outline + fat + canvas.field(body.inner_outline)
    texture = canvas.field(Field(int(rng.integers(2**31)), 3.0, float(rng.uniform(2, 9))))
    canvas.paint(whole, canvas.coverage(muscle), hu["muscle"] + texture)
    canvas.distances["muscle"] = muscle
    layers = np.abs(muscle + np.float32(body.wall * 0.45)) - np.float32(rng.uniform(0, 0.9))
    canvas.paint(whole, canvas.coverage(layers) * (1 - toward_back) * np.float32(rng.uniform(0.2, 1)), hu["fat"])
    # The cavity in front of the spine and the muscles of the back.
    cavity = muscle + np.float32(body.wall)
    floor = (
        y
        - np.float32(rng.uniform(27, 33))
        - np.float32(0.17) * np.minimum(np.abs(x), 90)
        + canvas.field(body.muscle_lumps)
    )
    cavity = smooth_max(cavity, floor.astype(np.float32), 16.0)
    canvas.distances["cavity"] = cavity
    mesentery = canvas.field(Field(int(rng.integers(2**31)), 5.0, hu["fat_strands"]))
    canvas.paint(whole, canvas.coverage(cavity), hu["visceral_fat"] + mesentery)


def paint_muscles(body: Body, canvas: Canvas, hu: Mapping[str, float]) -> None:
    """Psoas, quadratus lumborum and fat planes of the back; leaves the distance ``psoas``.

    Args:
        hu: ``muscle``, ``fat``.
    """
    rng = np.random.default_rng(body.seed + 1)
    x, y, z = canvas.x, canvas.y, canvas.z
    whole = canvas.whole
    # Fat between the muscles of the back.
    septum = np.abs(np.abs(x) - np.float32(44) - canvas.field(body.muscle_lumps)) - np.float32(rng.uniform(0, 1.4))
    behind = np.float32(22) - y
    septum = np.maximum(np.maximum(septum, behind), canvas.distances["muscle"])
    canvas.paint(whole, canvas.coverage(septum), hu["fat"])
    # The psoas grows downwards, away from the spine.
    half_x, half_y = body.psoas
    growth = np.clip((np.float32(45) - z) / np.float32(110), 0, 1.3)
    centre_x = np.float32(body.vertebra_half[0] + 0.45 * half_x) + np.float32(14) * growth
    centre_y = np.float32(6) - np.float32(14) * np.clip(growth - 0.7, 0, 1)
    ax = np.maximum(np.float32(half_x) * growth, 0.5)
    ay = np.maximum(np.float32(half_y) * growth, 0.5)
    u, v = (np.abs(x) - centre_x) / ax, (y - centre_y) / ay
    radius = np.sqrt(u * u + v * v)
    psoas = (radius - 1) * np.minimum(ax, ay) + canvas.field(body.muscle_lumps) * 0.7
    psoas = np.where(growth <= 0.02, np.float32(20), psoas)
    quadratus = ellipsoid(np.abs(x), y, z, (62 + rng.uniform(-4, 8), 30, -40), (rng.uniform(13, 24), 9, 85))
    psoas = np.minimum(psoas, quadratus)
    canvas.distances["psoas"] = psoas
    texture = canvas.field(Field(int(rng.integers(2**31)), 3.0, float(rng.uniform(2, 9))))
    canvas.paint(whole, canvas.coverage(psoas), hu["muscle"] + float(rng.uniform(-6, 8)) + texture)


def paint_spine(body: Body, canvas: Canvas, hu: Mapping[str, float]) -> None:
    """Vertebrae, discs, canal and processes; leaves the distance ``spine``.

    Args:
        hu: ``bone_spongy``, ``bone_cortex``, ``disc``, ``canal``.
    """
    rng = np.random.default_rng(body.seed + 2)
    half_x, half_y = body.vertebra_half
    distance = np.full(canvas.hu.shape, 40, np.float32)
    canvas.distances["spine"] = distance
    block = canvas.block((-75, -half_y - 25, LOWEST_MM), (75, body.back, HIGHEST_MM))
    if block is None:
        return
    x, y, z = canvas.coordinates(block)
    # Lordosis: the spine comes forward in the lumbar, goes back in the thoracic region.
    y = y + np.float32(body.lordosis) * np.sin(z / np.float32(95)) * np.float32(0.35)
    phase = np.mod(z / np.float32(body.vertebra_pitch) + 0.5, 1) - 0.5
    waist = 1 - np.float32(0.13) * np.cos(phase * np.float32(2 * np.pi))
    u, v = x / (np.float32(half_x) * waist), y / (np.float32(half_y) * waist)
    column = (np.sqrt(u * u + v * v) - 1) * np.float32(min(half_x, half_y))
    lumps = canvas.field(Field(int(rng.integers(2**31)), 7.0, 0.7), block)
    column = column + lumps
    disc = np.float32(0.5 * (1 - body.disc_share)) - np.abs(phase)
    disc = disc * np.float32(body.vertebra_pitch)
    spongy = canvas.field(Field(int(rng.integers(2**31)), 2.5, float(rng.uniform(8, 35))), block)
    spongy += np.float32(hu["bone_spongy"])
    shell = np.float32(rng.uniform(1.0, 2.6))
    cortical = np.where(column > -shell, np.float32(hu["bone_cortex"]), spongy)
    endplate = np.abs(disc - 1.2) < 1.2
    bone = np.where(endplate, np.float32(hu["bone_cortex"] * 0.8), cortical)
    vertebra = np.where(disc > 0, bone, np.float32(hu["disc"]))
    back = y - np.float32(half_y)
    arch = ellipsoid(x, y, z * 0, (0, half_y + 13, 0), (rng.uniform(20, 26), rng.uniform(15, 20), 60))
    facets = np.where(np.abs(phase) < 0.36, arch, np.float32(9))
    spinous = np.maximum(np.abs(x) - np.float32(rng.uniform(2.5, 4.5)), np.abs(back - np.float32(36)) - np.float32(18))
    spinous = np.maximum(spinous, (np.abs(phase + 0.12) - np.float32(0.3)) * np.float32(body.vertebra_pitch))
    transverse = np.maximum(
        np.abs(back - np.float32(6) - np.float32(0.15) * np.abs(x)) - np.float32(3.5), np.abs(x) - np.float32(44)
    )
    transverse = np.maximum(transverse, (np.abs(phase + 0.05) - 0.11) * np.float32(body.vertebra_pitch))
    posterior = np.minimum(np.minimum(facets, spinous), transverse) + lumps
    posterior_hu = np.where(posterior > -2.0, np.float32(hu["bone_cortex"]), spongy)
    spine = OverviewLabel.SPINE
    canvas.paint(block, canvas.coverage(posterior), posterior_hu, spine)
    canal = ellipsoid(x, y, z * 0, (0, half_y + 8.5, 0), (rng.uniform(9, 12), rng.uniform(6.5, 9), 60))
    canvas.paint(block, canvas.coverage(canal), hu["canal"], spine)
    canvas.paint(block, canvas.coverage(column), vertebra, spine)
    distance[block] = np.minimum(column, posterior)


def paint_ribs_and_pelvis(body: Body, canvas: Canvas, hu: Mapping[str, float]) -> None:
    """Ribs in the wall above the kidneys; iliac wings, sacrum and femoral heads below.

    Args:
        hu: ``bone_spongy``, ``bone_cortex``, ``muscle``.
    """
    rng = np.random.default_rng(body.seed + 3)
    x, y, z = canvas.x, canvas.y, canvas.z
    depth = np.abs(canvas.distances["muscle"] + np.float32(body.wall * 0.62)) - np.float32(rng.uniform(3, 4.6))
    forward = np.float32(body.back) - y
    run = np.minimum(forward, 150) + np.float32(0.45) * np.abs(x)
    height = z + np.float32(body.rib_slant) * run - np.float32(body.rib_offset)
    phase = (np.mod(height / np.float32(body.rib_pitch), 1) - 0.5) * np.float32(body.rib_pitch)
    rib = np.sqrt(np.maximum(depth + 4, 0) ** 2 * 1.3 + phase**2) - np.float32(rng.uniform(4.5, 6.2))
    lowest = np.float32(rng.uniform(-10, 35)) + np.clip((np.float32(60) - forward), 0, 60) * np.float32(-0.3)
    rib = np.maximum(rib, lowest - z)
    rib = np.where(np.abs(x) < 26, np.float32(9), rib)
    bone = np.where(rib > -1.6, np.float32(hu["bone_cortex"]) * 0.8, np.float32(hu["bone_spongy"]))
    canvas.paint(canvas.whole, canvas.coverage(rib), bone)
    top = float(rng.uniform(-95, -62))
    block = canvas.block((-190, -130, LOWEST_MM), (190, body.back, top + 5))
    if block is None:
        return
    x, y, z = canvas.coordinates(block)
    below = np.float32(top) - z
    wing_x = np.float32(88) + np.float32(18) * np.cos(below / 60) + np.float32(rng.uniform(-6, 10))
    lean = (y - np.float32(body.back - 62)) * np.float32(0.55)
    wing = np.abs(np.abs(x) - wing_x + np.clip(lean, -40, 60)) - np.float32(rng.uniform(4, 8))
    wing = np.maximum(wing, np.abs(y - np.float32(body.back - 70) + below * 0.25) - np.clip(12 + below * 0.9, 0, 62))
    wing = np.maximum(np.maximum(wing, -below), below - 150)
    sacrum = ellipsoid(np.abs(x), y, z, (0, 28, top - 55), (46, 20, 55))
    hip = ellipsoid(np.abs(x), y, z, (92, body.back - 110, top - 150), (25, 25, 25))
    shaft = capsule(np.abs(x), y, z, (100, body.back - 110, top - 160), (135, body.back - 105, top - 260), (20, 17))
    bones = np.minimum(np.minimum(wing, sacrum), np.minimum(hip, shaft))
    bones = bones + canvas.field(Field(int(rng.integers(2**31)), 10.0, 1.2), block)
    value = np.where(bones > -2.2, np.float32(hu["bone_cortex"]), np.float32(hu["bone_spongy"]))
    gluteal = np.maximum(np.minimum(wing, hip) - np.float32(34), -below)
    gluteal = np.maximum(gluteal, canvas.distances["muscle"][block])
    gluteal = np.maximum(gluteal, -canvas.distances["cavity"][block])
    canvas.paint(block, canvas.coverage(gluteal), hu["muscle"])
    canvas.paint(block, canvas.coverage(bones), value)


def paint_chest(body: Body, canvas: Canvas, hu: Mapping[str, float]) -> None:
    """Lungs above the diaphragm with the heart between them; leaves the distance ``diaphragm`` (negative below).

    Args:
        hu: ``lung``, ``heart``, ``muscle``.
    """
    rng = np.random.default_rng(body.seed + 4)
    x, y, z = canvas.x, canvas.y, canvas.z
    diaphragm = (z - body.dome_height(x, y)) * np.float32(0.7) + canvas.field(body.inner_outline)
    canvas.distances["diaphragm"] = diaphragm
    cavity = canvas.distances["cavity"]
    # The chest is wider than the belly at the back, where lungs reach behind the upper poles.
    chest = np.maximum(canvas.distances["muscle"] + np.float32(body.wall * 0.9), y - np.float32(body.back - 30))
    mediastinum = np.float32(rng.uniform(20, 36)) - np.sqrt(x * x + np.minimum(y - 5, 0) ** 2 * 0.08)
    lung = np.maximum(np.maximum(chest, -diaphragm), mediastinum)
    vessels = canvas.field(Field(int(rng.integers(2**31)), 5.0, 1.0))
    lung_hu = np.where(vessels > 2.1, np.float32(20), np.float32(hu["lung"]) + 15 * vessels)
    canvas.paint(canvas.whole, canvas.coverage(lung), lung_hu)
    crus = np.abs(diaphragm + np.float32(1.5)) - np.float32(rng.uniform(0.8, 1.8))
    crus = np.maximum(crus, cavity - np.float32(4))
    canvas.paint(canvas.whole, canvas.coverage(crus), hu["muscle"])
    block = canvas.block((-60, body.centre_y - 90, body.dome - 30), (110, 20, HIGHEST_MM))
    if block is not None:
        bx, by, bz = canvas.coordinates(block)
        heart = ellipsoid(bx, by, bz, (18, body.centre_y - 25, body.dome + 42), (58, 46, 46))
        heart = np.maximum(heart, -diaphragm[block])
        canvas.paint(block, canvas.coverage(heart), hu["heart"])


def paint_table_and_arms(body: Body, canvas: Canvas, hu: Mapping[str, float]) -> None:
    """What lies in the air round the trunk: the table, its pad, arms at the sides.

    Args:
        hu: ``muscle``, ``bone_cortex``.
    """
    rng = np.random.default_rng(body.seed + 5)
    outside = canvas.distances["body"]
    if body.arms:
        for sign in (-1, 1):
            start = (sign * (body.half_width + 42), body.centre_y + 20, LOWEST_MM)
            end = (sign * (body.half_width + 34), body.centre_y + 35, HIGHEST_MM)
            arm = capsule(canvas.x, canvas.y, canvas.z, start, end, (34, 44))
            arm = np.maximum(arm, -outside)
            bone = capsule(canvas.x, canvas.y, canvas.z, start, end, (11, 12))
            canvas.paint(canvas.whole, canvas.coverage(arm), hu["muscle"])
            canvas.paint(canvas.whole, canvas.coverage(bone), hu["bone_cortex"])
    if body.table is not None:
        curve = canvas.x_mm[None, None, :] ** 2 / np.float32(rng.uniform(900, 4000))
        surface = canvas.y_mm[None, :, None] - np.float32(body.back + body.table) + curve
        surface = np.broadcast_to(surface, canvas.hu.shape)
        wide = np.abs(canvas.x_mm)[None, None, :] - np.float32(rng.uniform(190, 240))
        board = np.maximum(np.maximum(np.abs(surface) - np.float32(rng.uniform(0.6, 1.5)), -outside), wide)
        canvas.paint(canvas.whole, canvas.coverage(board), float(rng.uniform(-200, 150)))
        foam = np.maximum(np.maximum(np.abs(surface - 22) - np.float32(20), -outside), wide)
        canvas.paint(canvas.whole, canvas.coverage(foam) * 0.7, float(rng.uniform(-980, -850)))
