"""Families of made solids as a scanner sees them: point clouds with an exact label for every point.

A solid is a distance function in millimetres: a base with features that are added or cut. A defect is an edit of that
function; the cloud of a defective part keeps every row of its good twin whose point still lies on the surface, and the
other rows show the changed surface, labelled. Letters: N points, f distance (negative inside), p places (N, 3).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from looktwice.data.procedural.canvas import generator, key_of
from looktwice.data.procedural.surfaces import Distance, Points, found_cells, in_shell, onto, slope
from looktwice.data.procedural.words import Saying, say
from looktwice.errors import UsageError, unknown_name

MARGIN = 4.0  # mm of room around a solid
LABELLED = 0.15  # mm: a point farther than this from the good surface is labelled
POINTS = 2_000, 5_000_000
OFF = 0.05  # mm: what is left of a point drawn in the shell is thrown away when it is farther off
FEWEST, TRIES = 6, 24  # labelled points, and draws until there are so many


@dataclass(frozen=True)
class Feature:
    """Something added to a base or cut into it."""

    name: str  # in words
    distance: Distance
    cut: bool = False


@dataclass(frozen=True)
class Solid:
    """A made solid: what it is called, its base and its features, and the half sides of a box around it."""

    name: str
    material: str
    base: Distance
    features: tuple[Feature, ...]
    half: tuple[float, float, float]

    def distance(self, without: int = -1) -> Distance:
        """Distance to the solid, perhaps without one feature."""
        kept = [feature for i, feature in enumerate(self.features) if i != without]

        def f(p: Points) -> Points:
            d = self.base(p)
            for feature in kept:
                other = feature.distance(p)
                d = np.maximum(d, -other) if feature.cut else np.minimum(d, other)
            return d

        return f


@dataclass(frozen=True, eq=False)
class CloudScene:
    """One made cloud with everything that is known about it."""

    points: Points  # (N, 3) float64, millimetres
    labels: npt.NDArray[np.bool_]  # (N,) True on the defect
    category: str
    seed: int
    index: int
    object: str
    defect_type: str = ""
    strength: float = 0.0
    subject: str = ""
    material: str = ""

    @property
    def anomalous(self) -> bool:
        """Whether it has a defect."""
        return self.defect_type != ""

    @cached_property
    def words(self) -> Saying:
        """Where, description, impact and recommendation; a place is said by the box around the cloud."""
        rng = generator(self.seed, key_of(self.category), self.index, key_of(self.defect_type), 24)
        share = float(self.labels.mean())
        return say(
            rng,
            self.object,
            self.material,
            self.defect_type,
            self.subject,
            place_in(self.points, self.labels),
            share,
            "the points",
        )


def place_in(points: Points, labels: npt.NDArray[np.bool_]) -> str:
    """Where the labelled points (N,) lie in the box around all (N, 3): "top front left"; "" without any."""
    if not labels.any():
        return ""
    low, high = points.min(0), points.max(0)
    third = np.minimum(2, (3 * (points[labels].mean(0) - low) / np.maximum(high - low, 1e-9)).astype(int))
    level, depth, side = (
        ("bottom", "middle", "top")[third[2]],
        ("front", "", "back")[third[1]],
        ("left", "", "right")[third[0]],
    )
    around = f"{depth} {side}".strip() or "centre"
    return f"{level} {around}"


def _on(f: Distance, p: Points) -> Points:
    """Points near a surface moved onto it, without those that an inner corner lets neither side have."""
    moved = onto(f, p)
    return np.asarray(moved[np.abs(f(moved)) < OFF])


class CloudFamily:
    """Solids of one kind; `good` and `defective` scan them, the same for the same index."""

    def __init__(self, category: str, seed: int) -> None:
        if category not in SOLIDS:
            raise unknown_name("category of clouds", category, SOLIDS)
        if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
            raise UsageError(f"seed must be a whole number of at least 0, got {seed!r}")
        self.category, self.seed = category, int(seed)
        self.seeds = self.seed, key_of(category)
        rng = generator(*self.seeds, 1)
        self.solid = SOLIDS[category](rng)
        self.noise, self.loose = rng.uniform(0.015, 0.05), rng.uniform(1, 6)

    @cached_property
    def defects(self) -> tuple[str, ...]:
        """Defects that can occur."""
        return tuple(name for name in CLOUD_DEFECTS if name != "missing_part" or self.solid.features)

    @cached_property
    def _cells(self) -> Points:
        return found_cells(self.solid.distance(), np.array(self.solid.half) + MARGIN)

    @cached_property
    def _shell(self) -> float:
        """Volume of the shell that points are drawn in, in cells."""
        many = 60_000
        return (
            len(in_shell(self.solid.distance(), self._cells, many, generator(*self.seeds, 4))) / many * len(self._cells)
        )

    def good(self, index: int, points: int = 20_000) -> CloudScene:
        """The index-th good solid, scanned: points (N, 3), no label set."""
        cloud = self._scanned(index, points)
        return self._seen(cloud, np.zeros(points, np.bool_), index, "", 0.0, "")

    def defective(
        self, index: int, defect: str | None = None, strength: float | None = None, points: int = 20_000
    ) -> CloudScene:
        """The index-th solid with one defect; raises UnknownName, UsageError.

        Rows that are not labelled equal those of `good(index)`, up to a few that the defect laid bare elsewhere.
        """
        if defect is not None and defect not in self.defects:
            raise unknown_name(f"defect of a {self.category}", defect, self.defects)
        if strength is not None and not 0 <= strength <= 1:
            raise UsageError(f"strength must be 0 to 1, got {strength}")
        cloud = self._scanned(index, points)
        rng = generator(*self.seeds, 2, index, key_of(defect or "defect"))
        kind = defect or self.defects[int(rng.integers(len(self.defects)))]
        power = float(rng.uniform(0.2, 1)) if strength is None else strength
        for _ in range(TRIES):
            changed, subject = CLOUD_DEFECTS[kind](self.solid, cloud, power, rng)
            bad, labels = self._resampled(cloud, changed, rng)
            if labels.sum() >= FEWEST:
                break
            power = min(1.0, power + 0.1)
        else:
            raise UsageError(f"no place for {kind} on {self.category} {self.seed}/{index}")
        return self._seen(bad, labels, index, kind, power, subject or self.solid.name)

    def _scanned(self, index: int, points: int) -> Points:
        if not POINTS[0] <= points <= POINTS[1]:
            raise UsageError(f"points must be {POINTS[0]:,} to {POINTS[1]:,}, got {points}")
        rng = generator(*self.seeds, 2, index, 1)
        f, found = self.solid.distance(), np.empty((0, 3))
        while len(found) < points:
            found = np.concatenate([found, _on(f, in_shell(f, self._cells, 3 * points, rng))])
        return found[:points]

    def _resampled(
        self, cloud: Points, changed: Distance, rng: np.random.Generator
    ) -> tuple[Points, npt.NDArray[np.bool_]]:
        """The cloud of the changed solid, and which of its points are off the good surface."""
        good = self.solid.distance()
        gone = np.flatnonzero(np.abs(changed(cloud)) > LABELLED)
        new = found_cells(changed, np.array(self.solid.half) + MARGIN)
        many = int(len(cloud) / self._shell * len(new))  # as dense as the rest
        fresh = _on(changed, in_shell(changed, new, many, rng))
        off = np.abs(good(fresh)) > LABELLED
        bare = fresh[off][: len(gone)]
        rest = fresh[~off][: len(gone) - len(bare)]
        bad, labels = cloud.copy(), np.zeros(len(cloud), np.bool_)
        bad[gone[: len(bare)]], labels[gone[: len(bare)]] = bare, True
        bad[gone[len(bare) : len(bare) + len(rest)]] = rest
        left = gone[len(bare) + len(rest) :]
        bad[left] = onto(changed, bad[left])
        return bad, labels

    def _seen(
        self, cloud: Points, labels: npt.NDArray[np.bool_], index: int, defect: str, strength: float, subject: str
    ) -> CloudScene:
        rng = generator(*self.seeds, 2, index, 3)
        seen = cloud + rng.normal(0, self.noise, cloud.shape)
        turn = rng.normal(size=3)
        turn *= np.radians(self.loose) * rng.uniform() / np.linalg.norm(turn)
        seen = Rotation.from_rotvec(turn).apply(seen) + rng.uniform(-1, 1, 3)
        return CloudScene(
            seen,
            labels,
            self.category,
            self.seed,
            index,
            self.solid.name,
            defect,
            strength,
            subject,
            self.solid.material,
        )


# ---------------------------------------------------------------- shapes


def _box(
    p: Points, half: tuple[float, float, float], at: tuple[float, float, float] = (0, 0, 0), edge: float = 1.0
) -> Points:
    q = np.abs(p - np.array(at)) - np.array(half) + edge
    return np.asarray(np.linalg.norm(np.maximum(q, 0), axis=1) + np.minimum(q.max(1), 0) - edge)


def _rod(
    p: Points,
    radius: float,
    low: float,
    high: float,
    at: tuple[float, float] = (0, 0),
    axis: int = 2,
    edge: float = 0.6,
) -> Points:
    """A round bar along one axis, from low to high."""
    across = [i for i in range(3) if i != axis]
    r = np.hypot(p[:, across[0]] - at[0], p[:, across[1]] - at[1]) - radius + edge
    z = np.abs(p[:, axis] - (low + high) / 2) - (high - low) / 2 + edge
    return np.asarray(np.hypot(np.maximum(r, 0), np.maximum(z, 0)) + np.minimum(np.maximum(r, z), 0) - edge)


def _torus(p: Points, large: float, small: float, height: float = 0.0) -> Points:
    return np.asarray(np.hypot(np.hypot(p[:, 0], p[:, 1]) - large, p[:, 2] - height) - small)


def _around(n: int, radius: float, phase: float = 0.0) -> list[tuple[float, float]]:
    return [(float(radius * np.cos(a)), float(radius * np.sin(a))) for a in phase + np.arange(n) * 2 * np.pi / n]


def _hole(name: str, radius: float, low: float, high: float, at: tuple[float, float]) -> Feature:
    return Feature(name, lambda p: _rod(p, radius, low, high, at, edge=0.1), cut=True)


def _boss(name: str, radius: float, low: float, high: float, at: tuple[float, float]) -> Feature:
    return Feature(name, lambda p: _rod(p, radius, low, high, at))


def _flange(rng: np.random.Generator) -> Solid:
    outer, thick, hub, bore = rng.uniform(28, 38), rng.uniform(4, 8), rng.uniform(11, 15), rng.uniform(5, 8)
    high = thick + rng.uniform(6, 16)
    bolts = [
        _hole("bolt hole", rng.uniform(2.4, 3.4), -20, 20, at)
        for at in _around(int(rng.integers(3, 8)), 0.5 * (outer + hub) + 1)
    ]

    def base(p: Points) -> Points:
        body = np.minimum(_rod(p, outer, -thick, 0), _rod(p, hub, -thick, high))
        return np.asarray(np.maximum(body, -_rod(p, bore, -40, 40)))

    return Solid("flange", "steel", base, tuple(bolts), (outer, outer, high))


def _bracket(rng: np.random.Generator) -> Solid:
    x, y, z, t = rng.uniform(24, 36), rng.uniform(14, 24), rng.uniform(20, 30), rng.uniform(2.5, 4)
    holes = [_hole("hole", rng.uniform(2.2, 3.4), -z - 5, -z + 6, at) for at in ((-x / 2, 0), (x / 2, 0))]
    rib = Feature("rib", lambda p: np.maximum(_box(p, (t, y - 2, z - t), (0, 0, 0)), 0.7 * (p[:, 1] + p[:, 2])))

    def base(p: Points) -> Points:
        return np.minimum(_box(p, (x, y, t), (0, 0, -z + t)), _box(p, (x, t, z), (0, -y + t, 0)))

    return Solid("bracket", "sheet steel", base, (*holes, rib), (x, y, z))


def _housing(rng: np.random.Generator) -> Solid:
    x, y, z, wall = rng.uniform(26, 36), rng.uniform(18, 28), rng.uniform(8, 14), rng.uniform(2, 3.5)
    bosses = [_boss("screw post", 3.2, -z, z - 2, (su * (x - 7), sv * (y - 7))) for su in (-1, 1) for sv in (-1, 1)]
    window = Feature("window", lambda p: _box(p, (rng_w, 2 * wall + 3, z / 2), (0, y, z / 3), 0.2), cut=True)
    rng_w = float(rng.uniform(5, 10))

    def base(p: Points) -> Points:
        return np.maximum(_box(p, (x, y, z)), -_box(p, (x - wall, y - wall, z), (0, 0, wall), 1.5))

    return Solid("housing", "plastic", base, (*bosses, window), (x, y, z))


def _shaft(rng: np.random.Generator) -> Solid:
    steps = rng.uniform(6, 14, int(rng.integers(3, 6)))
    ends = np.linspace(-36, 36, len(steps) + 1)
    width = float(steps[1])

    def base(p: Points) -> Points:
        rods = [_rod(p, r, a - 0.5, b, axis=0, edge=0.5) for r, a, b in zip(steps, ends, ends[1:], strict=False)]
        return np.asarray(np.min(rods, axis=0))

    middle = float((ends[1] + ends[2]) / 2)
    key = Feature("keyway", lambda p: _box(p, (7, 1.8, 2.5), (middle, 0, width), 0.3), cut=True)
    return Solid("shaft", "steel", base, (key,), (37, 15, 15))


def _cup(rng: np.random.Generator) -> Solid:
    radius, high, wall = rng.uniform(18, 26), rng.uniform(16, 26), rng.uniform(2, 3.5)

    def handle(p: Points) -> Points:
        q = np.column_stack([p[:, 2], p[:, 0] - radius, p[:, 1]])
        return np.maximum(_torus(q, 0.55 * high, 2.6), -(np.hypot(p[:, 0], p[:, 1]) - radius + 1))

    def base(p: Points) -> Points:
        return np.maximum(
            _rod(p, radius, -high, high, edge=1.5), -_rod(p, radius - wall, -high + wall, high + 9, edge=1.0)
        )

    return Solid("cup", "ceramic", base, (Feature("handle", handle),), (radius + 0.55 * high + 4, radius + 4, high + 1))


def _wheel(rng: np.random.Generator) -> Solid:
    teeth, radius, thick, bore = int(rng.integers(12, 24)), rng.uniform(26, 34), rng.uniform(4, 7), rng.uniform(5, 8)
    spokes = [
        _hole("window", rng.uniform(4, 5.5), -20, 20, at) for at in _around(int(rng.integers(3, 6)), 0.55 * radius)
    ]

    def base(p: Points) -> Points:
        wave = np.clip(1.8 * np.cos(teeth * np.arctan2(p[:, 1], p[:, 0])), -1, 1)
        r = (np.hypot(p[:, 0], p[:, 1]) - radius - 1.8 * wave) * 0.8
        body = np.maximum(r, np.abs(p[:, 2]) - thick)
        return np.asarray(np.maximum(body, -_rod(p, bore, -20, 20)))

    return Solid("gear wheel", "steel", base, tuple(spokes), (radius + 2, radius + 2, thick + 1))


def _brick(rng: np.random.Generator) -> Solid:
    columns, rows, pitch = int(rng.integers(2, 5)), int(rng.integers(2, 4)), rng.uniform(14, 17)
    x, y, z = columns * pitch / 2, rows * pitch / 2, rng.uniform(6, 10)
    studs = [
        _boss("stud", 0.3 * pitch, z - 1, z + 3.4, ((i - (columns - 1) / 2) * pitch, (j - (rows - 1) / 2) * pitch))
        for i in range(columns) for j in range(rows)
    ]  # fmt: skip
    return Solid("toy brick", "plastic", lambda p: _box(p, (x, y, z), edge=0.6), tuple(studs), (x, y, z + 4))


def _ring(rng: np.random.Generator) -> Solid:
    large, small, many = rng.uniform(24, 30), rng.uniform(5, 8), int(rng.integers(4, 9))
    notches = [
        Feature("groove", lambda p, at=at: np.linalg.norm(p - np.array((*at, small)), axis=1) - 3.2, cut=True)  # type: ignore[misc]
        for at in _around(many, large)
    ]
    return Solid(
        "ring", "rubber", lambda p: _torus(p, large, small), tuple(notches), (large + small, large + small, small)
    )


def _vessel(rng: np.random.Generator) -> Solid:
    heights = np.linspace(-36, 36, 7)
    profile = np.array((14, rng.uniform(16, 24), rng.uniform(16, 24), rng.uniform(12, 22), rng.uniform(8, 14), 7, 7.5))
    lip = Feature("lip", lambda p: _torus(p, 8.2, 1.8, 34.5))

    def base(p: Points) -> Points:
        side = 0.75 * (np.hypot(p[:, 0], p[:, 1]) - np.interp(p[:, 2], heights, profile))
        inside = -(side + 2.2)
        return np.asarray(np.maximum(np.maximum(side, np.abs(p[:, 2]) - 36), np.where(p[:, 2] > -32, inside, -9.0)))

    return Solid("bottle", "glass", base, (lip,), (26, 26, 38))


def _potato(rng: np.random.Generator) -> Solid:
    ways, phases, sizes = rng.normal(size=(6, 3)), rng.uniform(0, 6.28, 6), rng.uniform(0.4, 1.6, 6)
    half = rng.uniform(18, 30, 3)

    def base(p: Points) -> Points:
        r = np.linalg.norm(p / half, axis=1)
        return np.asarray(((r - 1) * half.min() + (np.sin(p @ ways.T / 14 + phases) * sizes).sum(1)) * 0.7)

    return Solid("potato", "plant tissue", base, (), (float(half[0]) + 6, float(half[1]) + 6, float(half[2]) + 6))


SOLIDS: Mapping[str, Callable[[np.random.Generator], Solid]] = {
    "flange": _flange, "bracket": _bracket, "housing": _housing, "shaft": _shaft, "cup": _cup, "wheel": _wheel,
    "brick": _brick, "ring": _ring, "vessel": _vessel, "potato": _potato,
}  # fmt: skip


# ---------------------------------------------------------------- defects: the changed distance, and what it is about

Change = Callable[[Solid, Points, float, np.random.Generator], tuple[Distance, str]]


def _spot(solid: Solid, cloud: Points, rng: np.random.Generator) -> tuple[Points, Points]:
    """A place on the surface and the way out of it; of several, the one where the surface is flattest around."""
    tries = cloud[rng.integers(len(cloud), size=16)]
    normals = slope(solid.distance(), tries)
    normals /= np.maximum(np.linalg.norm(normals, axis=1), 1e-9)[:, None]
    depth = solid.distance()(tries - 1.5 * normals)
    best = int(np.argmax(depth < -1.3) if (depth < -1.3).any() else np.argmin(depth))
    return tries[best], normals[best]


def _dent(solid: Solid, cloud: Points, strength: float, rng: np.random.Generator) -> tuple[Distance, str]:
    (at, out), radius, good = _spot(solid, cloud, rng), rng.uniform(7, 14), solid.distance()
    deep = 0.8 + 2.8 * strength
    while deep > 0.5 and good((at - (deep + 1.0) * out)[None])[0] > -0.8:  # it must not come out on the other side
        deep *= 0.8
    centre = at + out * (radius - deep)
    return (lambda p: np.maximum(good(p), radius - np.linalg.norm(p - centre, axis=1))), ""


def _bump(solid: Solid, cloud: Points, strength: float, rng: np.random.Generator) -> tuple[Distance, str]:
    (at, out), radius = _spot(solid, cloud, rng), rng.uniform(5, 10)
    centre, good = at - out * (radius - (0.8 + 2.8 * strength)), solid.distance()
    return (lambda p: np.minimum(good(p), np.linalg.norm(p - centre, axis=1) - radius)), ""


def _pierced(solid: Solid, cloud: Points, strength: float, rng: np.random.Generator) -> tuple[Distance, str]:
    (at, out), radius, good = _spot(solid, cloud, rng), 1.5 + 2.5 * strength, solid.distance()
    deep = rng.uniform(2, 8)

    def f(p: Points) -> Points:
        along = (p - at) @ out
        away = np.linalg.norm((p - at) - along[:, None] * out, axis=1)
        return np.asarray(np.maximum(good(p), -np.maximum(away - radius, np.abs(along) - deep)))

    return f, ""


def _scratched(solid: Solid, cloud: Points, strength: float, rng: np.random.Generator) -> tuple[Distance, str]:
    (at, out), good = _spot(solid, cloud, rng), solid.distance()
    way = np.cross(out, rng.normal(size=3))
    way /= max(1e-9, float(np.linalg.norm(way)))
    long, radius = rng.uniform(8, 20), 0.8 + 1.2 * strength

    def f(p: Points) -> Points:
        t = np.clip((p - at) @ way, -long, long)
        return np.asarray(np.maximum(good(p), radius - np.linalg.norm(p - at - t[:, None] * way, axis=1)))

    return f, ""


def _lost(solid: Solid, cloud: Points, strength: float, rng: np.random.Generator) -> tuple[Distance, str]:
    number = int(rng.integers(len(solid.features)))
    return solid.distance(without=number), solid.features[number].name


def _broken(solid: Solid, cloud: Points, strength: float, rng: np.random.Generator) -> tuple[Distance, str]:
    good, way = solid.distance(), rng.normal(size=3)
    way /= np.linalg.norm(way)
    far = np.quantile(cloud @ way, 1 - (0.01 + 0.07 * strength))
    waves, phases = rng.normal(size=(4, 3)) * 0.6, rng.uniform(0, 6.28, 4)
    return (lambda p: np.maximum(good(p), p @ way - far + 0.4 * np.sin(p @ waves.T + phases).sum(1))), ""


def _bent(solid: Solid, cloud: Points, strength: float, rng: np.random.Generator) -> tuple[Distance, str]:
    good, half = solid.distance(), np.array(solid.half)
    along = int(np.argmax(half))
    start, push = rng.uniform(-0.1, 0.4) * half[along], (1.0 + 4.0 * strength) * rng.choice((-1, 1))
    across = (along + 1 + int(rng.integers(2))) % 3
    side = rng.choice((-1, 1))

    def f(p: Points) -> Points:
        q = p.copy()
        over = np.clip((side * p[:, along] - start) / max(1.0, half[along] - start), 0, 1.2)
        q[:, across] -= push * over**2
        return good(q)

    return f, ""


def _stuck(solid: Solid, cloud: Points, strength: float, rng: np.random.Generator) -> tuple[Distance, str]:
    (at, out), good = _spot(solid, cloud, rng), solid.distance()
    turn = Rotation.from_rotvec(rng.normal(size=3)).as_matrix()
    x, y, z = rng.uniform(1.2, 2.4, 3) * (0.8 + 1.2 * strength)
    return (lambda p: np.minimum(good(p), _box((p - at - 0.5 * out) @ turn, (x, y, z), edge=0.4))), "chip of metal"


CLOUD_DEFECTS: Mapping[str, Change] = {
    "dent": _dent, "blister": _bump, "hole": _pierced, "scratch": _scratched, "missing_part": _lost,
    "broken_edge": _broken, "bent": _bent, "extra_part": _stuck,
}  # fmt: skip


def cloud_family(category: str, seed: int) -> CloudFamily:
    """The family of solids of a category that a seed draws; raises UnknownName, UsageError."""
    return CloudFamily(category, seed)
