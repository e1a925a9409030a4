"""A machined cover as a scanner sees it: a point cloud with an exact label for every point.

The cover is one distance function in millimetres: x along, y across, z up, its foot at z = 0. Points are spread
evenly over its surface: drawn in a thin shell around it, then moved onto it. A defect moves or replaces only the
points it touches, so two clouds of one seed agree row by row outside the labels, up to a handful of rows that a
broken-off piece frees. Letters: N points, f distance (negative inside), P points drawn in a box.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from looktwice.data.procedural.drawing import check_defect, streams
from looktwice.data.procedural.surfaces import SHELL, Distance, Points, cells, in_shell, onto
from looktwice.errors import UsageError

HALF_X, HALF_Y, HEIGHT = 48.0, 32.0, 14.0  # mm, of the flange
CORNER, EDGE = 12.0, 1.6  # radii of its upright corners and of its edges
BOSS, BOSS_RADIUS, BOSS_TOP, BORE_RADIUS, BORE_FLOOR = (-14.0, 0.0), 15.0, 27.0, 7.5, 10.0
FILLET = 2.5  # where the boss meets the flange
HOLES, HOLE_RADIUS = ((-36.0, 20.0), (36.0, -20.0)), 4.5
GROOVE_X, GROOVE_HALF, GROOVE_FLOOR = 23.0, 4.0, 9.0
LOW, HIGH = np.array((-50.0, -34.0, -2.0)), np.array((50.0, 34.0, 29.0))  # a box around the cover

NOISE = 0.03  # mm, of the scanner, one standard deviation
PROPERTIES = ("surface", "noise", "pose", "defect")


def solid(seed: int, defect: str | None = None, points: int = 40_000) -> tuple[Points, npt.NDArray[np.bool_]]:
    """Scan one cover: points (N, 3) float64 in millimetres and labels (N,) bool, True on the defect.

    The cover lies within 1 mm and 1 degree of its place. `points` is N, 2,000 to 5,000,000.
    Raises UsageError, UnknownName.
    """
    check_defect("solid", defect, SOLID_DEFECTS)
    if not 2_000 <= points <= 5_000_000:
        raise UsageError(f"points of a solid must be 2,000 to 5,000,000, got {points}")
    random = streams(seed, PROPERTIES)
    cloud = _sample(points, random["surface"])
    labels = np.zeros(points, np.bool_)
    if defect is not None:
        cloud, labels = _DEFECTS[defect](cloud, random["defect"])
    cloud = cloud + random["noise"].normal(0, NOISE, cloud.shape)
    pose = Rotation.from_rotvec(np.radians(_in_ball(random["pose"])))
    return pose.apply(cloud) + _in_ball(random["pose"]), labels


def _in_ball(rng: np.random.Generator) -> Points:
    """A random vector no longer than 1."""
    vector = rng.normal(size=3)
    return np.asarray(vector / np.linalg.norm(vector) * rng.uniform())


# ---------------------------------------------------------------- the shape


def _cover(p: Points) -> Points:
    """Distance to the good cover."""
    x, y, z = p.T
    flange = _rounded(_rectangle(x, y), np.abs(z - HEIGHT / 2) - HEIGHT / 2, EDGE)
    from_boss = np.hypot(x - BOSS[0], y - BOSS[1])
    boss = _rounded(from_boss - BOSS_RADIUS, np.abs(z - BOSS_TOP + 10) - 10, 1.2)  # its foot hides in the flange
    body = _blended(flange, boss, FILLET)
    bore = np.maximum(from_boss - BORE_RADIUS - np.maximum(z - BOSS_TOP + 1.2, 0), BORE_FLOOR - z)  # with a chamfer
    groove = np.maximum(np.abs(x - GROOVE_X) - GROOVE_HALF, GROOVE_FLOOR - z)
    body = np.maximum(body, -np.minimum(bore, groove))
    for at in HOLES:
        sink = np.maximum(z - HEIGHT + 1.0, 0)
        body = np.maximum(body, HOLE_RADIUS + sink - np.hypot(x - at[0], y - at[1]))
    return np.asarray(body)


def _rectangle(x: Points, y: Points) -> Points:
    qx, qy = np.abs(x) - HALF_X + CORNER, np.abs(y) - HALF_Y + CORNER
    outside = np.hypot(np.maximum(qx, 0), np.maximum(qy, 0))
    return np.asarray(outside + np.minimum(np.maximum(qx, qy), 0) - CORNER)


def _rounded(side: Points, lid: Points, radius: float) -> Points:
    """Where both are negative, with an edge of the given radius."""
    a, b = side + radius, lid + radius
    return np.asarray(np.hypot(np.maximum(a, 0), np.maximum(b, 0)) + np.minimum(np.maximum(a, b), 0) - radius)


def _blended(a: Points, b: Points, radius: float) -> Points:
    """Where either is negative, with a fillet between them."""
    near = np.maximum(radius - np.abs(a - b), 0) / radius
    return np.asarray(np.minimum(a, b) - near * near * radius / 4)


# ---------------------------------------------------------------- points on a surface


@lru_cache(maxsize=1)
def _cover_cells() -> Points:
    return cells(_cover, LOW, HIGH)


def _sample(points: int, rng: np.random.Generator) -> Points:
    """(points, 3) points spread evenly over the good cover."""
    found: list[Points] = []
    while sum(map(len, found)) < points:
        found.append(in_shell(_cover, _cover_cells(), 4 * points, rng))
    return onto(_cover, np.concatenate(found)[:points])


# ---------------------------------------------------------------- defects


def _spot(cloud: Points, room: float, rng: np.random.Generator) -> Points:
    """A place on the top of the flange that keeps `room` mm clear of everything."""
    top = cloud[np.abs(cloud[:, 2] - HEIGHT) < 1e-3]
    x, y = top[:, 0], top[:, 1]
    clear = np.minimum(-_rectangle(x, y) - EDGE, np.abs(x - GROOVE_X) - GROOVE_HALF)
    clear = np.minimum(clear, np.hypot(x - BOSS[0], y - BOSS[1]) - BOSS_RADIUS - FILLET)
    for at in HOLES:
        clear = np.minimum(clear, np.hypot(x - at[0], y - at[1]) - HOLE_RADIUS - 1)
    good = np.flatnonzero(clear >= min(room, clear.max()))
    return np.asarray(top[rng.choice(good)])


def _pushed(cloud: Points, centre: Points, radius: float, height: float) -> tuple[Points, npt.NDArray[np.bool_]]:
    """Raise (or, below zero, sink) the top around `centre` by a smooth hill; label what moved beyond the noise."""
    reach = np.linalg.norm(cloud[:, :2] - centre[:2], axis=1) / radius
    hill = height * np.clip(1 - reach**2, 0, None) ** 2
    labels = (np.abs(hill) > 2 * NOISE) & (np.abs(cloud[:, 2] - HEIGHT) < 1e-3)
    moved = cloud.copy()
    moved[labels, 2] += hill[labels]
    return moved, labels


def _dent(cloud: Points, rng: np.random.Generator) -> tuple[Points, npt.NDArray[np.bool_]]:
    """A knock into the top of the flange: 14 to 17 mm wide, 2.4 to 3.2 mm deep."""
    radius, depth = rng.uniform(7.0, 8.5), rng.uniform(2.4, 3.2)
    return _pushed(cloud, _spot(cloud, radius, rng), radius, -depth)


def _bump(cloud: Points, rng: np.random.Generator) -> tuple[Points, npt.NDArray[np.bool_]]:
    """Weld spatter or a cast-in blob on the flange: 10 to 13 mm wide, 2.4 to 3.2 mm high."""
    radius, height = rng.uniform(5.0, 6.5), rng.uniform(2.4, 3.2)
    return _pushed(cloud, _spot(cloud, radius, rng), radius, height)


def _broken_off(
    cloud: Points, fracture: Distance, low: Points, high: Points, rng: np.random.Generator
) -> tuple[Points, npt.NDArray[np.bool_]]:
    """Take away what lies where `fracture` is negative, and show the fracture instead, as densely sampled.

    Rows that are not needed for the fracture are spent on the rest of the cover.
    """
    lost = np.flatnonzero(fracture(cloud) < 0)

    def rest(p: Points) -> Points:
        return np.maximum(_cover(p), -fracture(p))

    near, whole, many = cells(rest, low, high), _cover_cells(), 4 * len(cloud)
    shown = onto(rest, in_shell(rest, near, many, rng))
    shown = shown[(np.abs(fracture(shown)) < 1e-3) & (_cover(shown) < -1e-3)]
    everywhere = in_shell(_cover, whole, many, rng)
    kept = everywhere[fracture(everywhere) > SHELL]
    # the same shell drawn equally often: shown points per cell compare the two areas
    needed = min(len(lost), len(shown), round(len(cloud) * len(shown) * len(near) / (len(everywhere) * len(whole))))
    broken, labels = cloud.copy(), np.zeros(len(cloud), np.bool_)
    broken[lost[:needed]], labels[lost[:needed]] = shown[:needed], True
    broken[lost[needed:]] = onto(_cover, kept[: len(lost) - needed])
    return broken, labels


def _roughness(rng: np.random.Generator, size: float) -> Callable[[Points], Points]:
    """Height of a fracture at each place: a few crossing waves, `size` mm high."""
    ways = rng.normal(size=(5, 3))
    ways *= (2 * np.pi / rng.uniform(4, 11, 5) / np.linalg.norm(ways, axis=1))[:, None]
    phases = rng.uniform(0, 2 * np.pi, 5)
    return lambda p: np.asarray(size * np.sin(p @ ways.T + phases).mean(1) * 2)


def _missing_boss(cloud: Points, rng: np.random.Generator) -> tuple[Points, npt.NDArray[np.bool_]]:
    """The boss has broken off just above the flange."""
    rough, height = _roughness(rng, 0.5), HEIGHT + rng.uniform(1.0, 2.0)
    reach = BOSS_RADIUS + FILLET

    def fracture(p: Points) -> Points:
        return height + rough(p) - p[:, 2]

    low = np.array((BOSS[0] - reach, BOSS[1] - reach, height - 2))
    high = np.array((BOSS[0] + reach, BOSS[1] + reach, height + 2))
    return _broken_off(cloud, fracture, low, high, rng)


def _broken_edge(cloud: Points, rng: np.random.Generator) -> tuple[Points, npt.NDArray[np.bool_]]:
    """A corner of the flange without a hole has broken away."""
    side = rng.choice((-1.0, 1.0))
    way = np.array((side * rng.uniform(0.8, 1.2), side * 1.0, rng.uniform(-0.2, 0.5)))
    way /= np.linalg.norm(way)
    tip = np.array((side * HALF_X, side * HALF_Y, HEIGHT / 2))
    far = way @ tip - rng.uniform(13, 17)
    rough = _roughness(rng, 0.7)

    def fracture(p: Points) -> Points:
        return np.asarray(far + rough(p) - p @ way)

    ends = np.array((side * (HALF_X - 34), side * (HALF_Y - 34))), np.array((side * 50.0, side * 34.0))
    low = np.append(np.minimum(*ends), LOW[2])
    high = np.append(np.maximum(*ends), HEIGHT + 2)
    return _broken_off(cloud, fracture, low, high, rng)


_DEFECTS: dict[str, Callable[[Points, np.random.Generator], tuple[Points, npt.NDArray[np.bool_]]]] = {
    "dent": _dent,
    "bump": _bump,
    "missing_boss": _missing_boss,
    "broken_edge": _broken_edge,
}
SOLID_DEFECTS = tuple(_DEFECTS)
