"""A machined plate seen from above: a picture with an exact mask of its defect.

Drawn from distance fields in part coordinates: u right, v down, the plate's centre at (0, 0), 512 units across the
picture whatever its size. First the good part is painted, then the defect over it; pixels the defect does not cover
are taken from the good part, so two pictures of one seed differ inside the mask only.
Letters: H W pixels, px units per pixel.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from looktwice.data.procedural.drawing import (
    LIGHT,
    Field,
    Window,
    box,
    check_defect,
    cover,
    disc,
    facing,
    paint,
    resized,
    smooth_noise,
    streams,
    to_pixels,
    wobble,
)
from looktwice.errors import UsageError

UNITS = 512.0  # across the picture
MM_PER_UNIT = 0.25  # the plate is 106 x 84 mm
HALF, CORNER, BEVEL = (212.0, 168.0), 20.0, 8.0
SCREWS = ((-180.0, -136.0), (180.0, -136.0), (-180.0, 136.0), (180.0, 136.0))
SINK, HEAD = 20.0, 16.0  # radii of a countersink and of a screw head
POCKET, POCKET_HALF, POCKET_CORNER = (-72.0, -34.0), (82.0, 60.0), 28.0
BORE, BORE_RADIUS, TURNED_RADIUS = (96.0, -48.0), 40.0, 60.0
LABEL, LABEL_HALF = (96.0, 74.0), (74.0, 27.0)
SCALE, SCALE_STEP, SCALE_STEPS = (-152.0, 66.0), 8.0, 20
INK_DETAIL = 3  # ink pixels per unit

STEEL = np.array((184, 187, 190), np.float32)
BENCH = np.array((49, 54, 61), np.float32)
BENCH_SEED = 7  # every part lies on the same bench
PROPERTIES = ("pose", "light", "brush", "screws", "noise", "defect")


def plate(seed: int, defect: str | None = None, size: int = 512) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
    """Draw one plate: pixels (size, size, 3) uint8 and the mask (size, size) bool of its defect.

    Without a defect the mask is empty. With one, every pixel outside the mask equals that of the good plate of the
    same seed. `size` is in pixels, 64 to 4096. Raises UsageError, UnknownName.
    """
    check_defect("plate", defect, PLATE_DEFECTS)
    if not 64 <= size <= 4096:
        raise UsageError(f"size of a plate must be 64 to 4096 pixels, got {size}")
    random = streams(seed, PROPERTIES)
    scene = _scene(random, size)
    blur = random["light"].uniform(0.45, 0.75) / scene.px
    picture = _blurred(scene.picture, blur)
    mask = np.zeros((size, size), np.bool_)
    if defect is not None:
        damaged, coverage = scene.picture.copy(), np.zeros((size, size), np.float32)
        _DEFECTS[defect](scene, damaged, coverage, random["defect"])
        mask = ndimage.gaussian_filter(coverage, blur) > 0.12
        picture = np.where(mask[..., None], _blurred(damaged, blur), picture)
    picture = _lit(picture, random["light"])
    return to_pixels(picture + _sensor_noise(picture, random["noise"])), mask


@dataclass(frozen=True)
class _Scene:
    picture: Field  # (H, W, 3) float32, 0..255, evenly lit
    bench: Field  # the same without the plate
    u: Field  # (H, W) part coordinates
    v: Field
    outline: Field  # (H, W) distance to the plate
    brush: Field  # (H, W) brightness of the brushed finish, about 1
    px: float

    def around(self, centre: tuple[float, float], radius: float) -> Window:
        """The part of the picture that holds a disc of the part, with room for the pose."""
        room, middle, size = radius + 10, UNITS / 2, self.u.shape[0]
        low = [int(max(0, (c + middle - room) / self.px)) for c in centre]
        high = [int(min(size, (c + middle + room) / self.px + 1)) for c in centre]
        return slice(low[1], high[1]), slice(low[0], high[0])


# ---------------------------------------------------------------- the good part


def _scene(random: dict[str, np.random.Generator], size: int) -> _Scene:
    px = UNITS / size
    across = ((np.arange(size, dtype=np.float32) + 0.5) * px - UNITS / 2)[None, :]
    shift, turn = random["pose"].uniform(-3, 3, 2), np.radians(random["pose"].uniform(-0.5, 0.5))
    cos, sin = np.float32(np.cos(turn)), np.float32(np.sin(turn))
    x, y = across - np.float32(shift[0]), across.T - np.float32(shift[1])
    u, v = cos * x + sin * y, cos * y - sin * x
    outline = box(u, v, (0, 0), HALF, CORNER)
    brush = _brush(random["brush"], size)
    bench = _bench(size)
    shadow = np.clip(0.5 - box(u, v, (9, 11), HALF, CORNER) / 30, 0, 1)
    bench = bench * (1 - 0.62 * shadow * shadow)[..., None]
    scene = _Scene(bench.copy(), bench, u, v, outline, brush, px)
    _paint_face(scene)
    _paint_bore(scene)
    _paint_pocket(scene)
    _paint_ink(scene)
    for centre in SCREWS:
        _paint_screw(scene, centre, random["screws"].uniform(0, np.pi))
    return scene


@lru_cache(maxsize=4)
def _bench(size: int) -> Field:
    """A dark rubber mat: fine grain and a little wear."""
    rng = np.random.default_rng(BENCH_SEED)
    grain = 2.2 * smooth_noise(rng, (512, 512), (0.8, 0.8)) + 2.0 * smooth_noise(rng, (512, 512), (22, 22))
    return np.asarray(BENCH + resized(grain, (size, size))[..., None], np.float32)


def _brush(rng: np.random.Generator, size: int) -> Field:
    """Lines of a brushed finish: long faint ones, short fine ones."""
    long = resized(smooth_noise(rng, (512, 64), (0.4, 7)), (512, 512))
    short = resized(smooth_noise(rng, (512, 256), (0, 4)), (512, 512))
    return 1 + resized(0.014 * long + 0.012 * short, (size, size))


def _paint_face(scene: _Scene) -> None:
    sheen = 0.10 * np.exp(-(((scene.u + 0.35 * scene.v + 30) / 130) ** 2)) - 0.0002 * scene.v
    face = STEEL * ((0.93 + sheen) * scene.brush)[..., None]
    towards = facing(scene.outline)
    bevel = STEEL * (0.80 + 0.42 * towards)[..., None]
    paint(scene.picture, cover(scene.outline, scene.px), bevel)
    paint(scene.picture, cover(scene.outline + BEVEL, scene.px), face)
    ridge = cover(np.abs(scene.outline + BEVEL) - 0.6, scene.px)
    paint(scene.picture, 0.45 * ridge, (240.0, 243.0, 245.0))


def _paint_bore(scene: _Scene) -> None:
    """A turned ring with fine circles and a crossed sheen, and a through hole that shows its wall."""
    here = scene.around(BORE, TURNED_RADIUS)
    u, v, picture = scene.u[here], scene.v[here], scene.picture[here]
    ring, hole = disc(u, v, BORE, TURNED_RADIUS), disc(u, v, BORE, BORE_RADIUS)
    angle = np.arctan2(v - BORE[1], u - BORE[0])
    turned = 0.93 + 0.13 * np.cos(2 * (angle + 0.9)) + 0.03 * np.sin(ring * 2.1)
    paint(picture, cover(ring, scene.px), STEEL * turned[..., None])
    paint(picture, 0.6 * cover(np.abs(ring) - 1.0, scene.px), (86.0, 88.0, 92.0))
    chamfer = 0.85 - 0.45 * facing(hole)
    paint(picture, cover(hole, scene.px), STEEL * chamfer[..., None])
    inside = hole + 5
    wall = 58 - 34 * facing(inside)
    paint(picture, cover(inside, scene.px), wall[..., None] * np.ones(3, np.float32))
    floor = disc(u, v, (BORE[0] - 4, BORE[1] - 5), BORE_RADIUS - 11)
    soft = np.clip(0.5 - floor / 5, 0, 1) * cover(inside, scene.px)
    paint(picture, soft, 0.38 * BENCH)


def _paint_pocket(scene: _Scene) -> None:
    """A milled pocket: shaded wall, cutter marks on the floor, the shadow of its upper left wall."""
    here = scene.around(POCKET, POCKET_HALF[0])
    u, v, picture = scene.u[here], scene.v[here], scene.picture[here]
    rim = box(u, v, POCKET, POCKET_HALF, POCKET_CORNER)
    wall = 0.66 - 0.40 * facing(rim)
    paint(picture, cover(rim, scene.px), STEEL * wall[..., None])
    floor = rim + 7
    lane = (v - POCKET[1] + 53) % 21.2 - 10.6  # the cutter moved 21.2 units per pass
    marks = 0.022 * np.cos(1.25 * (u + np.sqrt(np.maximum(144 - lane * lane, 0)))) - 0.03 * (np.abs(lane) > 9.9)
    shade = (0.74 + marks + 0.00035 * (u + v)) * (0.5 + 0.5 * scene.brush[here])
    wall_shadow = np.clip(0.5 + box(u, v, (POCKET[0] + 9, POCKET[1] + 11), (75, 53), 21) / 16, 0, 1)
    paint(picture, cover(floor, scene.px), STEEL * (shade * (1 - 0.42 * wall_shadow))[..., None])
    paint(picture, 0.5 * cover(np.abs(rim) - 0.7, scene.px), (236.0, 238.0, 240.0))


def _paint_ink(scene: _Scene) -> None:
    """Laser marks on the metal, and the printed label."""
    engraved, printed = _ink(scene.px)
    row, column = (scene.v + UNITS / 2) * INK_DETAIL - 0.5, (scene.u + UNITS / 2) * INK_DETAIL - 0.5
    low, high = int((UNITS / 2 + 24) / scene.px), int((UNITS / 2 + 156) / scene.px) + 1
    here = slice(low, high), slice(None)
    at = np.stack([row[here], column[here]])
    marks, print_ = (ndimage.map_coordinates(ink, at, order=1, prefilter=False) for ink in (engraved, printed))
    picture = scene.picture[here]
    paint(picture, 0.80 * marks, (52.0, 52.0, 56.0))
    paper = box(scene.u[here], scene.v[here], LABEL, LABEL_HALF, 4)
    lifted = box(scene.u[here], scene.v[here], (LABEL[0] + 1.5, LABEL[1] + 2), LABEL_HALF, 4)
    paint(picture, 0.35 * np.clip(0.5 - lifted / 4, 0, 1), (30.0, 30.0, 34.0))
    paint(picture, cover(paper, scene.px), (233.0, 231.0, 222.0))
    paint(picture, 0.92 * print_, (28.0, 30.0, 36.0))


@lru_cache(maxsize=4)
def _ink(px: float) -> tuple[Field, Field]:
    """Engraved and printed ink, 0..1, INK_DETAIL pixels per unit over the whole part, as fine as `px` can show."""
    side = int(UNITS * INK_DETAIL)
    metal, paper = Image.new("L", (side, side)), Image.new("L", (side, side))
    engrave, write = ImageDraw.Draw(metal), ImageDraw.Draw(paper)

    def at(u: float, v: float) -> tuple[float, float]:
        return (u + UNITS / 2) * INK_DETAIL, (v + UNITS / 2) * INK_DETAIL

    def text(draw: ImageDraw.ImageDraw, u: float, v: float, words: str, height: float, anchor: str = "lm") -> None:
        draw.text(at(u, v), words, fill=255, font=ImageFont.load_default(height * INK_DETAIL), anchor=anchor)

    for i in range(SCALE_STEPS + 1):
        u, long = SCALE[0] + i * SCALE_STEP, (18 if i % 10 == 0 else 14 if i % 5 == 0 else 9)
        engrave.line([at(u, SCALE[1]), at(u, SCALE[1] + long)], fill=255, width=int(1.3 * INK_DETAIL))
        if i % 5 == 0:
            text(engrave, u, SCALE[1] + 27, str(2 * i), 14, "mm")
    engrave.line([at(SCALE[0], SCALE[1]), at(SCALE[0] + 160, SCALE[1])], fill=255, width=int(1.3 * INK_DETAIL))
    text(engrave, -72, 128, "LT-204  B", 26, "mm")
    text(engrave, 90, 128, "BORE 20 H7", 16, "mm")
    text(write, 30, 58, "MOUNTING PLATE", 14)
    text(write, 30, 75, "No. 204-B   LOT 0716", 11)
    bars = np.random.default_rng(204).integers(1, 4, 44)
    u = 30.0
    for i, wide in enumerate(bars):
        if i % 2 == 0:
            write.rectangle([at(u, 84), at(u + wide * 0.9, 96)], fill=255)
        u += wide * 0.9 + 0.55
    text(write, 146, 90, "OK", 13, "lm")
    blur = 0.45 * INK_DETAIL * px
    engraved, printed = (
        ndimage.gaussian_filter(np.asarray(ink, np.float32) / 255, blur, truncate=3) for ink in (metal, paper)
    )
    return engraved, printed


def _paint_sink(scene: _Scene, picture: Field, centre: tuple[float, float]) -> None:
    here = scene.around(centre, SINK)
    cone = disc(scene.u[here], scene.v[here], centre, SINK)
    lit = 0.62 - 0.34 * facing(cone)
    paint(picture[here], cover(cone, scene.px), STEEL * lit[..., None])


def _paint_screw(scene: _Scene, centre: tuple[float, float], turn: float) -> None:
    _paint_sink(scene, scene.picture, centre)
    here = scene.around(centre, SINK)
    u, v, picture = scene.u[here] - centre[0], scene.v[here] - centre[1], scene.picture[here]
    head = disc(u, v, (0, 0), HEAD)
    angle, reach = np.arctan2(v, u), np.clip(1 + head / HEAD, 0, 1.2)
    dome = 0.86 + 0.30 * facing(head) * reach**2 + 0.07 * np.cos(2 * (angle - turn) + 0.6) * reach
    paint(picture, cover(head - 1.6, scene.px), (40.0, 41.0, 44.0))
    paint(picture, cover(head, scene.px), (STEEL - (6, 9, 16)) * dome[..., None])
    cos, sin = np.float32(np.cos(turn)), np.float32(np.sin(turn))
    along, beside = cos * u + sin * v, cos * v - sin * u
    slot = np.maximum(np.abs(beside) - 2.6, head + 0.8)
    edge = float(np.sign(cos * LIGHT[1] - sin * LIGHT[0])) or 1.0
    lip = np.maximum(np.abs(beside + edge * 3.2) - 0.7, np.abs(along) - (HEAD - 2))
    paint(picture, 0.55 * cover(lip, scene.px), (240.0, 241.0, 240.0))
    paint(picture, cover(slot, scene.px), (44.0, 44.0, 48.0))


# ---------------------------------------------------------------- the camera


def _blurred(picture: Field, sigma: float) -> Field:
    return ndimage.gaussian_filter(picture, (sigma, sigma, 0), truncate=3)


def _lit(picture: Field, rng: np.random.Generator) -> Field:
    """Light level, a slope across the picture, a slightly warmer or colder lamp, darker corners."""
    size = picture.shape[0]
    across = np.linspace(-1, 1, size, dtype=np.float32)
    level, slope, warmth = rng.uniform(0.96, 1.04), rng.uniform(-0.03, 0.03, 2), rng.uniform(-0.012, 0.012)
    light = level * (1 + slope[0] * across[None, :] + slope[1] * across[:, None])
    light = light * (1 - 0.05 * (across[None, :] ** 2 + across[:, None] ** 2))
    tint = np.array((1 + warmth, 1, 1 - warmth))
    return np.asarray(picture * light[..., None] * tint, np.float32)


def _sensor_noise(picture: Field, rng: np.random.Generator) -> Field:
    """Shot noise: stronger where it is brighter, mostly the same in the three colours."""
    shared = rng.standard_normal(picture.shape[:2], np.float32)[..., None]
    own = rng.standard_normal(picture.shape, np.float32)
    strength = 0.6 + 1.2 * np.sqrt(np.maximum(picture, 0) / 255)
    return np.asarray(strength * (0.85 * shared + 0.5 * own), np.float32)


# ---------------------------------------------------------------- defects: each paints over the good part


def _face(u: Field, v: Field) -> Field:
    """Distance to the open brushed face: negative where nothing else is."""
    holes = [box(u, v, POCKET, POCKET_HALF, POCKET_CORNER), disc(u, v, BORE, TURNED_RADIUS)]
    holes += [disc(u, v, screw, SINK) for screw in SCREWS]
    face: Field = box(u, v, (0, 0), HALF, CORNER) + BEVEL
    for hole in holes:
        face = np.maximum(face, -hole)
    return face


def _clear(u: Field, v: Field) -> Field:
    """Distance to the open face without the label."""
    return np.maximum(_face(u, v), -box(u, v, LABEL, LABEL_HALF))


def _scratch(scene: _Scene, picture: Field, coverage: Field, rng: np.random.Generator) -> None:
    """A slightly bent groove across the brush lines: a bright burr beside a dark furrow, deeper in its middle."""
    many, steps = 256, 48
    length, turn = rng.uniform(110, 165, many), rng.uniform(0.3, 1.1, many) * rng.choice((-1, 1), many)
    start = rng.uniform(-0.85, 0.85, (2, many)) * np.array(HALF)[:, None]
    bow, width = rng.uniform(-0.08, 0.08, many) * length, rng.uniform(3.4, 4.6)
    t = np.linspace(0, 1, steps)[:, None]
    lines_u = start[0] + t * length * np.cos(turn) - np.sin(np.pi * t) * bow * np.sin(turn)
    lines_v = start[1] + t * length * np.sin(turn) + np.sin(np.pi * t) * bow * np.cos(turn)
    on_face = (_clear(lines_u, lines_v) < -4).mean(0)
    best = int(np.argmax(on_face >= min(0.8, on_face.max())))  # the first that runs over open metal
    line = np.stack([lines_u[:, best], lines_v[:, best]], 1)
    depth = np.interp(np.arange(steps), np.arange(0, steps, 4), rng.uniform(0.65, 1.0, len(range(0, steps, 4))))
    depth *= np.clip(np.sin(np.pi * (0.06 + 0.94 * t[:, 0])) * 2.2, 0.35, 1)

    here = scene.around((float(line[:, 0].mean()), float(line[:, 1].mean())), float(length[best]) * 0.6)
    d, side, at = _distance_to_line(scene.u[here], scene.v[here], line)
    deep = np.interp(at, np.arange(steps), depth).astype(np.float32)
    alpha = np.clip(cover(_face(scene.u[here], scene.v[here]), scene.px), 0, 1)
    half = width / 2 * (0.6 + 0.4 * deep)
    burr, furrow = (
        cover(np.abs(side - half * 0.55) + d - np.abs(side) - half * 0.7, scene.px),
        cover(d - half, scene.px),
    )
    paint(picture[here], 0.9 * deep * furrow * alpha, (70.0, 71.0, 75.0))
    paint(picture[here], deep * burr * alpha, (252.0, 253.0, 255.0))
    coverage[here] = np.maximum(burr, furrow) * alpha


def _distance_to_line(u: Field, v: Field, line: Field) -> tuple[Field, Field, Field]:
    """Distance to a polyline (S, 2), the same signed by side, and the place along it as a vertex number."""
    nearest = np.full(u.shape, np.inf, np.float32)
    side, at = np.zeros_like(nearest), np.zeros_like(nearest)
    for i, (a, b) in enumerate(pairwise(line)):
        step = b - a
        t = np.clip(((u - a[0]) * step[0] + (v - a[1]) * step[1]) / (step @ step), 0, 1)
        du, dv = u - a[0] - t * step[0], v - a[1] - t * step[1]
        d = np.hypot(du, dv)
        closer = d < nearest
        nearest = np.where(closer, d, nearest)
        side = np.where(closer, np.sign(step[0] * dv - step[1] * du) * d, side)
        at = np.where(closer, i + t, at)
    return nearest, side, at


def _missing_screw(scene: _Scene, picture: Field, coverage: Field, rng: np.random.Generator) -> None:
    """An empty countersink and a dark threaded hole."""
    centre = SCREWS[int(rng.integers(len(SCREWS)))]
    _paint_sink(scene, picture, centre)
    here = scene.around(centre, SINK)
    u, v = scene.u[here], scene.v[here]
    hole = disc(u, v, centre, 10.5)
    away = -facing(hole)  # the far wall catches the light
    thread = 40 + 34 * np.clip(away, 0, 1) * (0.55 + 0.45 * np.cos(hole * 2.6)) * np.clip(1 + hole / 7, 0, 1)
    paint(picture[here], cover(hole, scene.px), (thread - 14 * np.clip(-hole / 8, 0, 1))[..., None] * np.ones(3))
    paint(picture[here], 0.5 * cover(np.abs(hole) - 0.8, scene.px), (30.0, 30.0, 33.0))
    coverage[here] = cover(disc(u, v, centre, SINK - 2), scene.px)


def _open_spot(rng: np.random.Generator, radius: float) -> tuple[float, float]:
    """A place on the open face that keeps `radius` clear; the clearest one where none does."""
    spots = rng.uniform(-1, 1, (2, 512)) * (np.array(HALF)[:, None] - BEVEL)
    clear = -_clear(spots[0], spots[1])
    best = int(np.argmax(clear >= min(radius, clear.max())))
    return float(spots[0, best]), float(spots[1, best])


def _stain(scene: _Scene, picture: Field, coverage: Field, rng: np.random.Generator) -> None:
    """Dried cutting oil: a see-through brown pool with a dark rim and a few drops."""
    radius = rng.uniform(24, 32)
    centre = _open_spot(rng, 0.75 * radius)
    here = scene.around(centre, 2.2 * radius)
    u, v = scene.u[here], scene.v[here]
    angle = np.arctan2(v - centre[1], u - centre[0])
    pool = disc(u, v, centre, radius) - 0.22 * radius * wobble(rng, angle)
    for _ in range(4):
        turn, far, small = rng.uniform(0, 2 * np.pi), rng.uniform(1.15, 1.7) * radius, rng.uniform(2, 4.5)
        pool = np.minimum(pool, disc(u, v, (centre[0] + far * np.cos(turn), centre[1] + far * np.sin(turn)), small))
    cloudy = resized(smooth_noise(rng, (64, 64), (5, 5)), pool.shape)
    wet = np.clip(0.5 - pool / 3, 0, 1) * cover(scene.outline[here], scene.px)
    rim = np.exp(-(((pool + 2.5) / 3.0) ** 2))
    thick = np.clip(wet * (0.60 + 0.35 * rim + 0.07 * cloudy), 0, 1)
    through = 1 - thick[..., None] * (1 - np.array((0.50, 0.36, 0.20), np.float32))
    picture[here] *= through
    coverage[here] = wet


def _dent(scene: _Scene, picture: Field, coverage: Field, rng: np.random.Generator) -> None:
    """A knock: a round hollow, dark on the lamp's side and bright on the far one, with a raised rim."""
    radius = rng.uniform(17, 23)
    centre = _open_spot(rng, radius + 2)
    here = scene.around(centre, 1.6 * radius)
    u, v = scene.u[here] - centre[0], scene.v[here] - centre[1]
    angle = np.arctan2(v, u)
    reach = np.hypot(u, v) / (radius * (1 + 0.16 * wobble(rng, angle, 4)))
    slope = np.where(
        reach < 1, np.sin(np.pi * np.clip(reach, 0, 1)), -0.3 * np.sin(np.pi * np.clip(reach - 1, 0, 0.3) / 0.3)
    )
    towards = (u * LIGHT[0] + v * LIGHT[1]) / np.maximum(np.hypot(u, v), 1e-3)
    shade = 1 - 0.42 * slope * towards - 0.16 * np.clip(1 - reach, 0, 1)
    glint = 0.30 * np.clip(slope * -towards, 0, 1) ** 4
    lit = picture[here] * shade[..., None]
    lit = lit + glint[..., None] * (255 - lit)
    inside = np.clip((1.3 - reach) * radius / scene.px, 0, 1) * cover(_face(scene.u[here], scene.v[here]), scene.px)
    paint(picture[here], inside, lit)
    coverage[here] = inside


def _chip(scene: _Scene, picture: Field, coverage: Field, rng: np.random.Generator) -> None:
    """A piece broken out of the edge: the bench shows, and a bright rough fracture runs around it."""
    side, radius = int(rng.integers(4)), rng.uniform(24, 32)
    along = rng.uniform(-0.55, 0.55)
    sign = 1.0 if side < 2 else -1.0
    centre = (along * HALF[0], sign * (HALF[1] + 3)) if side % 2 else (sign * (HALF[0] + 3), along * HALF[1])
    here = scene.around(centre, 1.7 * radius)
    u, v = scene.u[here], scene.v[here]
    angle = np.arctan2(v - centre[1], u - centre[0])
    jagged = radius * (0.20 * wobble(rng, angle, 4) + 0.10 * wobble(rng, angle, 12))
    broken = disc(u, v, centre, radius) - jagged
    gone = broken + 7.5 + 0.10 * radius * wobble(rng, angle, 5)
    inside = cover(scene.outline[here], scene.px)
    grain = resized(smooth_noise(rng, (96, 96), (1.3, 1.3)), broken.shape)
    facet = np.sign(np.sin(angle * 9 + 2.0 * wobble(rng, angle, 5))) * 0.10
    rough = 0.66 - 0.34 * facing(broken) + facet + 0.09 * grain
    paint(picture[here], cover(broken, scene.px) * inside, STEEL * rough[..., None])
    lip = 0.6 * cover(np.abs(broken) - 0.9, scene.px) * inside
    paint(picture[here], lip, (247.0, 248.0, 250.0))
    shadow = np.clip(0.5 - gone / 14, 0, 1)
    paint(picture[here], cover(gone, scene.px) * inside, 0.75 * BENCH * (1 - 0.45 * (1 - shadow))[..., None])
    coverage[here] = cover(broken - 1.0, scene.px) * inside


_DEFECTS: dict[str, Callable[[_Scene, Field, Field, np.random.Generator], None]] = {
    "scratch": _scratch,
    "missing_screw": _missing_screw,
    "stain": _stain,
    "dent": _dent,
    "chip": _chip,
}
PLATE_DEFECTS = tuple(_DEFECTS)
