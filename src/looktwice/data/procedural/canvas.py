"""What a scene is painted on: a picture or a window of it, with the coordinates of the part at every pixel.

A scene is painted twice where it has a defect: once whole, and once more in a window around the defect. Both paintings
must agree where the defect is not, so everything random is a field of the whole picture that is drawn once (`Shot`)
and cut out by windows (`Canvas`). Part coordinates: u right, v down, the picture's centre near (0, 0), 2 units across
the shorter side whatever the size. Letters: H W pixels of the picture, h w of a window, px units per pixel.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

Field = npt.NDArray[np.floating[Any]]  # float32; (h, w), or (3, h, w) for colours: planes are faster than pixels
Colour = tuple[float, float, float] | npt.NDArray[np.floating]  # RGB in 0..1
Box = tuple[int, int, int, int]  # top, bottom, left, right in pixels of the picture

REACH = 1.75  # noise covers part coordinates from -REACH to REACH: the corner of any turned picture
TORUS = 64  # cells repeat after this many, a power of two
F = np.float32


def key_of(text: str) -> int:
    """A name as a number for a seed, the same on every machine."""
    return zlib.crc32(text.encode())


def generator(*seeds: int) -> np.random.Generator:
    """A random stream of its own for these numbers."""
    return np.random.default_rng(seeds)


@dataclass(frozen=True)
class Pose:
    """Where the camera sees the part: turned by `turn` radians, moved by `shift` units, `zoom` times as large."""

    turn: float = 0.0
    shift: tuple[float, float] = (0.0, 0.0)
    zoom: float = 1.0
    shear: float = 0.0

    def matrix(self) -> npt.NDArray[np.float64]:
        """(2, 3): picture units (x, y, 1) to part coordinates."""
        cos, sin = np.cos(self.turn) / self.zoom, np.sin(self.turn) / self.zoom
        turn = np.array(((cos, sin + self.shear * cos), (-sin, cos - self.shear * sin)))
        return np.column_stack([turn, -turn @ np.array(self.shift)])


@dataclass
class Shot:
    """Everything that is drawn once for one picture: its pose, its light, its fields of noise."""

    seeds: tuple[int, ...]  # of this item
    family_seeds: tuple[int, ...]  # of its family: what all its items share
    size: tuple[int, int]  # (H, W)
    pose: Pose
    lamp: tuple[float, float] = (-0.6, -0.8)  # where the lamp stands, a unit vector
    fields: dict[str, Field] = field(default_factory=dict)

    @cached_property
    def px(self) -> float:
        """Units of the part per pixel."""
        return 2.0 / min(self.size) / self.pose.zoom

    @cached_property
    def affine(self) -> npt.NDArray[np.float64]:
        """(2, 3): pixel (column, row, 1) to part coordinates."""
        unit = 2.0 / min(self.size)
        to_units = np.array(((unit, 0, unit * (0.5 - self.size[1] / 2)), (0, unit, unit * (0.5 - self.size[0] / 2))))
        return np.asarray(self.pose.matrix() @ np.vstack([to_units, (0, 0, 1)]))

    @cached_property
    def uv(self) -> tuple[Field, Field]:
        """Part coordinates (H, W) of every pixel."""
        a = self.affine.astype(F)
        column, row = np.arange(self.size[1], dtype=F)[None, :], np.arange(self.size[0], dtype=F)[:, None]
        return a[0, 0] * column + (a[0, 1] * row + a[0, 2]), a[1, 0] * column + (a[1, 1] * row + a[1, 2])

    def pixel(self, u: float, v: float) -> tuple[float, float]:
        """(row, column) of a point of the part."""
        (a, b, c), (d, e, f) = self.back
        return d * u + e * v + f, a * u + b * v + c

    @cached_property
    def back(self) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
        """The way back from part coordinates (u, v, 1): to a column, and to a row."""
        inverse = np.linalg.inv(np.vstack([self.affine, (0, 0, 1)]))
        (a, b, c), (d, e, f) = inverse[:2].tolist()
        return (a, b, c), (d, e, f)

    def box(self, u: float, v: float, radius: float) -> Box:
        """The part of the picture that holds a disc; empty (top == bottom or left == right) when it lies outside."""
        row, column = self.pixel(u, v)
        r = radius / self.px * (1 + abs(self.pose.shear)) + 1.5
        top, left = max(0, int(row - r)), max(0, int(column - r))
        bottom, right = min(self.size[0], int(row + r) + 2), min(self.size[1], int(column + r) + 2)
        return top, max(top, bottom), left, max(left, right)

    def box_of(self, points: npt.NDArray[np.floating], margin: float) -> Box:
        """The part of the picture that holds points (S, 2) of the part with `margin` units around each."""
        places = [self.pixel(float(u), float(v)) for u, v in points]
        r = margin / self.px * (1 + abs(self.pose.shear)) + 1.5
        top, left = (max(0, int(min(p[i] for p in places) - r)) for i in (0, 1))
        bottom, right = (min(self.size[i], int(max(p[i] for p in places) + r) + 2) for i in (0, 1))
        return top, max(top, bottom), left, max(left, right)

    def random(self, key: str, shared: bool = False) -> np.random.Generator:
        """A stream for one purpose; `shared` by all items of the family."""
        return generator(*(self.family_seeds if shared else self.seeds), key_of(key))

    def noise(self, key: str, cell: tuple[float, float], turn: float = 0.0, shared: bool = False) -> Field:
        """(H, W) smooth noise of about mean 0 and deviation 1 in part coordinates.

        A bump is `cell` units along and across the direction `turn`; bumps finer than a pixel are averaged away.
        """
        name = f"{key}|{cell}|{turn}|{shared}"
        if name not in self.fields:
            self.fields[name] = self._noise(self.random(key, shared), cell, turn, shared)
        return self.fields[name]

    def _noise(self, rng: np.random.Generator, cell: tuple[float, float], turn: float, shared: bool) -> Field:
        fine = np.array([max(c, 1.05 * self.px) for c in cell])
        a = rotation(turn) @ self.affine / fine[:, None]
        thin = F(np.sqrt(np.prod(np.array(cell) / fine)))
        height, width = self.size
        if not shared and (
            cell[0] == cell[1] or abs(a[0, 1]) * height * fine[0] + abs(a[1, 0]) * width * fine[1] < 0.08
        ):
            # the same anywhere and in any direction: no need to turn it
            step = np.hypot(a[:, 0], a[:, 1]) if cell[0] == cell[1] else np.abs((a[0, 0], a[1, 1]))
            count = [int(step[0] * width) + 4, int(step[1] * height) + 4]
            grid = Image.fromarray(rng.standard_normal((count[1], count[0]), F))
            box = (1.5, 1.5, 1.5 + step[0] * width, 1.5 + step[1] * height)
            return np.asarray(grid.resize((width, height), Image.Resampling.BICUBIC, box)) * F(1.22 * thin)
        reach = REACH * (1.42 if turn else 1.0)
        count = [int(2 * reach / c) + 4 for c in fine]
        grid = Image.fromarray(rng.standard_normal((count[1], count[0]), F))
        offset, gain = a[:, 2] + reach / fine + 2, 1.45
        if max(count) < 96:  # coarse noise: round off what bilinear sampling would leave angular
            grid = grid.resize((3 * count[0], 3 * count[1]), Image.Resampling.BICUBIC)
            a, offset, gain = a * 3, offset * 3, 1.25
        data = (a[0, 0], a[0, 1], offset[0], a[1, 0], a[1, 1], offset[1])
        picture = grid.transform((width, height), Image.Transform.AFFINE, data, Image.Resampling.BILINEAR)
        return np.asarray(picture) * F(gain * thin)


def rotation(turn: float) -> npt.NDArray[np.float64]:
    """(2, 2): coordinates along and across a direction."""
    return np.array(((np.cos(turn), np.sin(turn)), (-np.sin(turn), np.cos(turn))))


class Canvas:
    """A window of a shot: the picture under the brush and the part coordinates of its pixels."""

    def __init__(self, shot: Shot, box: Box | None = None, bend: Callable[[Field, Field], None] | None = None) -> None:
        self.shot, self.box, self.px, self.lamp = shot, box or (0, shot.size[0], 0, shot.size[1]), shot.px, shot.lamp
        top, bottom, left, right = self.box
        self.u, self.v = (field[top:bottom, left:right] for field in shot.uv)
        self.taken: tuple[npt.NDArray[np.intp], ...] | None = None
        shape = bottom - top, right - left
        if bend is not None:
            self.u, self.v = self.u.copy(), self.v.copy()
            bend(self.u, self.v)
            self._follow()
        self.rgb = np.zeros((3, *shape), F)
        self.on = np.zeros(shape, F)  # how much of each pixel is surface of the part
        self.bent = bend is not None

    def _follow(self) -> None:
        """Where in the picture the bent coordinates lie: fields of noise bend with them."""
        a = self.shot.affine
        inverse = np.linalg.inv(a[:, :2]).astype(F)
        du, dv = self.u - F(a[0, 2]), self.v - F(a[1, 2])
        column, row = inverse[0, 0] * du + inverse[0, 1] * dv, inverse[1, 0] * du + inverse[1, 1] * dv
        height, width = self.shot.size
        column, row = np.clip(column, 0, width - 1.001), np.clip(row, 0, height - 1.001)
        c0, r0 = column.astype(np.intp), row.astype(np.intp)
        self.fraction = column - c0, row - r0
        self.taken = r0, c0, np.minimum(r0 + 1, height - 1), np.minimum(c0 + 1, width - 1)

    def cut(self, whole: Field) -> Field:
        """The part of a field of the whole picture that lies under this window."""
        if self.taken is None:
            top, bottom, left, right = self.box
            return whole[..., top:bottom, left:right]
        r0, c0, r1, c1 = self.taken
        fc, fr = self.fraction
        upper = whole[r0, c0] * (1 - fc) + whole[r0, c1] * fc
        lower = whole[r1, c0] * (1 - fc) + whole[r1, c1] * fc
        return np.asarray(upper * (1 - fr) + lower * fr, F)

    def noise(self, key: str, cell: float | tuple[float, float], turn: float = 0.0, shared: bool = False) -> Field:
        """Smooth noise in part coordinates, about mean 0 and deviation 1, bumps `cell` units wide."""
        cells = cell if isinstance(cell, tuple) else (cell, cell)
        return self.cut(self.shot.noise(key, cells, turn, shared))

    def fractal(self, key: str, cell: float, octaves: int = 3, fall: float = 0.55, shared: bool = False) -> Field:
        """Noise of several sizes, each half the last and `fall` times as strong; deviation about 1."""
        total = sum(F(fall**i) * self.noise(f"{key}{i}", cell / 2**i, shared=shared) for i in range(octaves))
        return np.asarray(total / F(np.sqrt(sum(fall ** (2 * i) for i in range(octaves)))), F)

    def seat(self) -> tuple[Field, Field]:
        """Places in the picture (w,) and (h, 1), in units from its middle: they do not move with the part."""
        top, bottom, left, right = self.box
        unit = 2.0 / min(self.shot.size)
        x = (np.arange(left, right, dtype=F) - F(self.shot.size[1] / 2)) * F(unit)
        y = (np.arange(top, bottom, dtype=F) - F(self.shot.size[0] / 2)) * F(unit)
        return x, y[:, None]

    def around(self, u: float, v: float, radius: float) -> Canvas | None:
        """The window around a disc of the part as a canvas on the same picture; None when nothing of it is here."""
        return self._inside(self.shot.box(u, v, radius))

    def along(self, points: npt.NDArray[np.floating], margin: float) -> Canvas | None:
        """The window around points (S, 2) of the part; None when nothing of it is here."""
        return self._inside(self.shot.box_of(points, margin))

    def _inside(self, box: Box) -> Canvas | None:
        if self.bent:
            return self if self.u.size else None
        top, bottom, left, right = self.box
        a, b, c, d = box
        a, b, c, d = max(a, top), min(b, bottom), max(c, left), min(d, right)
        if a >= b or c >= d:
            return None
        here = slice(a - top, b - top), slice(c - left, d - left)
        small = object.__new__(Canvas)
        small.shot, small.box, small.px, small.lamp = self.shot, (a, b, c, d), self.px, self.lamp
        small.u, small.v, small.on, small.rgb = (
            self.u[here],
            self.v[here],
            self.on[here],
            self.rgb[(slice(None), *here)],
        )
        small.bent, small.taken = False, None
        return small

    # ------------------------------------------------------------ shapes

    def cover(self, d: Field) -> Field:
        """How much of each pixel lies inside a shape, from its distance field."""
        return np.asarray(np.clip(F(0.5) - d * F(1 / self.px), 0, 1))

    def local(self, at: tuple[float, float], turn: float = 0.0) -> tuple[Field, Field]:
        """Coordinates with their centre at `at`, turned by `turn` radians."""
        u, v = self.u - F(at[0]), self.v - F(at[1])
        if turn == 0.0:
            return u, v
        cos, sin = F(np.cos(turn)), F(np.sin(turn))
        return cos * u + sin * v, cos * v - sin * u

    def paint(self, alpha: Field, colour: Field | Colour) -> None:
        """Lay a colour, or a picture (3, h, w), over the canvas as thick as `alpha` says."""
        for plane in range(3):
            self.rgb[plane] += alpha * (np.asarray(colour[plane], F) - self.rgb[plane])

    def solid(self, alpha: Field, colour: Field | Colour) -> None:
        """Paint a surface of the part: what defects may lie on."""
        self.paint(alpha, colour)
        np.maximum(self.on, alpha, out=self.on)

    def shade(self, factor: Field) -> None:
        """Make the picture darker (below 1) or brighter (above)."""
        self.rgb *= factor

    def ground(self, alpha: Field) -> None:
        """Say where the part has a hole through which the ground is seen."""
        self.on *= 1 - alpha


def rounded_box(u: Field, v: Field, half: tuple[float, float], corner: float = 0.0) -> Field:
    """Distance to a rectangle with rounded corners around (0, 0)."""
    qu, qv = np.abs(u) - F(half[0] - corner), np.abs(v) - F(half[1] - corner)
    au, av = np.maximum(qu, 0), np.maximum(qv, 0)
    return np.asarray(np.sqrt(au * au + av * av) + np.minimum(np.maximum(qu, qv), 0) - F(corner))


def ring(u: Field, v: Field) -> Field:
    """Distance to the point (0, 0)."""
    return np.asarray(np.sqrt(u * u + v * v))


def segment(u: Field, v: Field, a: Sequence[float], b: Sequence[float]) -> tuple[Field, Field]:
    """Distance to a line from a to b, and the place along it, 0..1."""
    du, dv = F(b[0] - a[0]), F(b[1] - a[1])
    t = np.clip(((u - F(a[0])) * du + (v - F(a[1])) * dv) / max(float(du * du + dv * dv), 1e-9), 0, 1)
    return ring(u - F(a[0]) - t * du, v - F(a[1]) - t * dv), t


def polyline(u: Field, v: Field, points: npt.NDArray[np.floating]) -> tuple[Field, Field]:
    """Distance to a polyline (S, 2), and the place along it, 0..1."""
    best, place = np.full(u.shape, np.inf, F), np.zeros(u.shape, F)
    for i in range(len(points) - 1):
        d, t = segment(u, v, points[i], points[i + 1])
        closer = d < best
        best = np.where(closer, d, best)
        place = np.where(closer, (i + t) / F(len(points) - 1), place)
    return best, place


def slope(d: Field, lamp: tuple[float, float]) -> Field:
    """How much the outward side of a shape's edge faces the lamp, -1..1, from its distance field."""
    if min(d.shape) < 2:
        return np.zeros_like(d)
    dv, du = np.gradient(d)
    return np.asarray((du * F(lamp[0]) + dv * F(lamp[1])) / np.sqrt(np.maximum(du * du + dv * dv, F(1e-14))))


def wavy(rng: np.random.Generator, low: int = 2, waves: int = 6, fall: float = 0.7) -> Callable[[Field], Field]:
    """A smooth random closed line: about -1 to 1 for each angle."""
    orders = np.arange(low, low + waves)
    sizes = rng.normal(size=waves) / orders**fall
    sizes = sizes / (np.abs(sizes).sum() + 1e-9)
    phases = rng.uniform(0, 2 * np.pi, waves)

    def line(angle: Field) -> Field:
        total = np.zeros_like(angle)
        for size, order, phase in zip(sizes, orders, phases, strict=True):
            total += F(size) * np.cos(F(order) * angle + F(phase))
        return total

    return line


def cells(u: Field, v: Field, pitch: float, seed: int, loose: float = 0.9) -> tuple[Field, Field, npt.NDArray[np.intp]]:
    """Voronoi cells around a shaken grid: distance to the nearest site, to the cell's border, and a number a cell."""
    gu, gv = u * F(1 / pitch), v * F(1 / pitch)
    column, row = np.floor(gu), np.floor(gv)
    fu, fv = gu - column, gv - row
    wide = TORUS + 2
    base = ((row.astype(np.intp) & (TORUS - 1)) + 1) * wide + (column.astype(np.intp) & (TORUS - 1)) + 1
    site = _sites(seed, loose)
    first = np.full(u.shape, 9.0, F)
    second, name = first.copy(), np.zeros(u.shape, np.intp)
    for dv in (-1, 0, 1):
        for du in (-1, 0, 1):
            at = base + (dv * wide + du)
            a, b = (site[0] + F(du)).take(at) - fu, (site[1] + F(dv)).take(at) - fv
            d = a * a + b * b
            np.minimum(second, np.maximum(d, first), out=second)
            np.copyto(name, at, where=d < first)
            np.minimum(first, d, out=first)
    first, second = np.sqrt(first), np.sqrt(second)
    return first * F(pitch), (second - first) * F(0.5 * pitch), NAMES.take(name)


@lru_cache(maxsize=64)
def _sites(seed: int, loose: float) -> Field:
    """(2, cells) where the site of each cell lies in it, 0..1; a rim of cells repeats those of the other side."""
    shaken = (generator(seed, 77).random((2, TORUS, TORUS)).astype(F) - F(0.5)) * F(loose) + F(0.5)
    return np.pad(shaken, ((0, 0), (1, 1), (1, 1)), mode="wrap").reshape(2, -1)


NAMES = np.pad(np.arange(TORUS * TORUS).reshape(TORUS, TORUS), 1, mode="wrap").reshape(-1)


def of_cell(name: npt.NDArray[np.intp], seed: int, column: int = 0) -> Field:
    """A random number 0..1 for each cell."""
    return np.asarray(_numbers(seed, column).take(name & (TORUS * TORUS - 1)))


@lru_cache(maxsize=64)
def _numbers(seed: int, column: int) -> Field:
    return generator(seed, 78 + column).random(TORUS * TORUS).astype(F)
