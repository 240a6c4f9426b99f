"""Small bowel, duodenum and colon: tubes with an enhancing wall and every kind of content."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from KidneySegLib.phantom.body import Body
from KidneySegLib.phantom.canvas import Canvas
from KidneySegLib.phantom.fields import Field
from KidneySegLib.phantom.shapes import capsule, smooth_path


@dataclass(frozen=True)
class Loop:
    """One piece of bowel.

    Attributes:
        path_mm: middle line (n, 3).
        radius_mm: outer radius along it (n,).
        wall_mm: thickness of the wall.
        content: ``fluid``, ``gas``, ``level`` (gas over fluid), ``contrast``, ``faeces`` or ``collapsed``.
        content_hu: mean HU of what is not gas.
        wall_shift_hu: how this loop's wall differs from the mean wall.
    """

    path_mm: NDArray[np.float64]
    radius_mm: NDArray[np.float64]
    wall_mm: float
    content: str
    content_hu: float
    wall_shift_hu: float
    seed: int


def _loop(rng: np.random.Generator, points: list[list[float]], radius: float, kinds: dict[str, float]) -> Loop:
    path = smooth_path(points, 5.0)
    n = len(path)
    waves = 1 + rng.uniform(0.03, 0.22) * np.sin(np.arange(n) * 5.0 / rng.uniform(5, 14) + rng.uniform(0, 6))
    kind = str(rng.choice(list(kinds), p=np.array(list(kinds.values())) / sum(kinds.values())))
    hu = {
        "fluid": rng.uniform(-5, 45),
        "level": rng.uniform(-5, 60),
        "gas": -950.0,
        "contrast": rng.uniform(100, 500),
        "faeces": rng.uniform(-60, 60),
        "collapsed": rng.uniform(40, 90),
    }[kind]
    return Loop(
        path_mm=path,
        radius_mm=radius * waves * np.linspace(rng.uniform(0.8, 1.1), rng.uniform(0.8, 1.1), n),
        wall_mm=float(rng.uniform(1.2, 3.2)),
        content=kind,
        content_hu=float(hu),
        wall_shift_hu=float(rng.normal(0, 18)),
        seed=int(rng.integers(2**31)),
    )


def sample_bowel(rng: np.random.Generator, body: Body) -> tuple[Loop, ...]:
    """All loops of one patient, colon last so that it lies over the rest."""
    loops: list[Loop] = []
    front = body.centre_y - body.half_depth + body.fat[0] + body.wall + 12
    wide = body.half_width - body.fat[1] - body.wall - 14
    oral = rng.random() < 0.3
    small = {"fluid": 4.0, "collapsed": 3.0, "level": 1.5, "gas": 0.6, "contrast": 6.0 if oral else 0.25, "faeces": 0.2}
    for _ in range(int(rng.integers(6, 22))):
        centre = np.array([rng.uniform(-0.7, 0.85) * wide, rng.uniform(front, -38), rng.uniform(-230, 45)])
        points = [centre.tolist()]
        for _ in range(int(rng.integers(2, 6))):
            centre = centre + rng.normal(0, 1, 3) * [24, 15, 22]
            centre[1] = np.clip(centre[1], front, -34)
            centre[0] = np.clip(centre[0], -wide, wide)
            points.append(centre.tolist())
        loops.append(_loop(rng, points, float(rng.uniform(7, 17)), small))
    # The duodenum: down beside the right kidney, then across in front of the vessels.
    x, y, z = rng.uniform(-58, -36), rng.uniform(-58, -26), rng.uniform(0, 32)
    points = [
        [x + 14, y - 12, z + 10],
        [x, y, z],
        [x - 3, y + 4, z - 32],
        [x + 12, y + 2, z - 58],
        [8, -52, z - 62],
        [38, -46, z - 40],
    ]
    loops.append(_loop(rng, points, float(rng.uniform(9, 15)), small))
    points = [[35, -48, z - 35], [55, rng.uniform(-60, -40), z - 15], [70, rng.uniform(-70, -40), z - 40]]
    loops.append(_loop(rng, points, float(rng.uniform(8, 14)), small))
    colon = {"faeces": 5.0, "gas": 2.0, "level": 1.5, "fluid": 0.8, "collapsed": 1.0, "contrast": 2.0 if oral else 0.2}
    right_y, left_y = rng.uniform(-55, 2), rng.uniform(-55, 8)
    flexure_r, flexure_l = rng.uniform(-15, 45), rng.uniform(20, 85)
    ascending: list[list[float]] = [
        [-wide * rng.uniform(0.75, 0.95), right_y + rng.normal(0, 8), h] for h in np.linspace(-150, flexure_r, 4)
    ]
    dip = rng.uniform(-90, 30)
    transverse: list[list[float]] = [
        [-wide * 0.75, right_y - 20, flexure_r + 5],
        [-wide * 0.35, front + rng.uniform(0, 25), 0.5 * (flexure_r + dip)],
        [rng.uniform(-20, 20), front + rng.uniform(0, 18), dip],
        [wide * 0.45, front + rng.uniform(0, 30), 0.5 * (flexure_l + dip)],
        [wide * 0.8, left_y - 25, flexure_l],
    ]
    descending: list[list[float]] = [
        [wide * rng.uniform(0.78, 0.95), left_y + rng.normal(0, 8), h] for h in np.linspace(flexure_l, -150, 4)
    ]
    sigmoid: list[list[float]] = [
        [wide * 0.75, left_y - 8, -160],
        [wide * 0.4, -30, -200],
        [0, -20, -215],
        [5, 25, -260],
    ]
    for points in (ascending, transverse, descending, sigmoid):
        pieces = max(int(rng.integers(1, 4)), 1)
        loop = _loop(rng, points, float(rng.uniform(11, 28)), colon)
        cuts = np.linspace(0, len(loop.path_mm), pieces + 1).astype(int)
        for a, b in itertools.pairwise(cuts):
            if b - a < 2:
                continue
            piece = _loop(
                rng, [loop.path_mm[a].tolist(), loop.path_mm[min(b, len(loop.path_mm) - 1)].tolist()], 10.0, colon
            )
            path, radius = loop.path_mm[a : b + 1], loop.radius_mm[a : b + 1]
            loops.append(
                Loop(path, radius, piece.wall_mm, piece.content, piece.content_hu, piece.wall_shift_hu, piece.seed)
            )
    return tuple(loops)


def paint_bowel(loops: tuple[Loop, ...], canvas: Canvas, hu: Mapping[str, float]) -> None:
    """Walls first, then what they hold, loop by loop.

    Args:
        hu: ``bowel_wall``.
    """
    for loop in loops:
        reach = float(loop.radius_mm.max()) * 1.2 + 2
        block = canvas.block((loop.path_mm.min(0) - reach).tolist(), (loop.path_mm.max(0) + reach).tolist())
        if block is None:
            continue
        rng = np.random.default_rng(loop.seed)
        start = [s.start for s in block]
        distance = np.full(canvas.hu[block].shape, 30, np.float32)
        for i in range(len(loop.path_mm) - 1):
            a, b = loop.path_mm[i], loop.path_mm[i + 1]
            radii = (float(loop.radius_mm[i]), float(loop.radius_mm[i + 1]))
            piece = canvas.block((np.minimum(a, b) - max(radii)).tolist(), (np.maximum(a, b) + max(radii)).tolist())
            if piece is None:
                continue
            inner = tuple(slice(p.start - s, p.stop - s) for p, s in zip(piece, start, strict=True))
            x, y, z = canvas.coordinates(piece)
            np.minimum(distance[inner], capsule(x, y, z, a, b, radii), out=distance[inner])
        distance += canvas.field(Field(int(rng.integers(2**31)), 6.0, float(rng.uniform(0.3, 1.6))), block)
        distance = np.maximum(distance, canvas.distances["cavity"][block] + 1.5)
        for name in ("psoas", "spine"):
            distance = np.maximum(distance, 1 - canvas.distances[name][block])
        canvas.paint(block, canvas.coverage(distance), hu["bowel_wall"] + loop.wall_shift_hu)
        if loop.content == "collapsed":
            continue
        lumen = distance + np.float32(loop.wall_mm)
        content = np.full(lumen.shape, loop.content_hu, np.float32)
        if loop.content == "faeces":
            lumps = canvas.field(Field(int(rng.integers(2**31)), float(rng.uniform(2, 4.5)), 1.0), block)
            content += lumps * np.float32(rng.uniform(15, 60))
            content = np.where(lumps > np.float32(rng.uniform(0.7, 1.8)), np.float32(-600), content)
        elif loop.content in ("fluid", "contrast"):
            folds = canvas.field(Field(int(rng.integers(2**31)), 3.0, float(rng.uniform(2, 25))), block)
            content += folds
        elif loop.content == "level":
            _, y, _ = canvas.coordinates(block)
            middle = float(loop.path_mm[:, 1].mean())
            content = np.where(y < middle + rng.uniform(-6, 6), np.float32(-950), content)
        canvas.paint(block, canvas.coverage(lumen), content)
