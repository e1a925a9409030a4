"""Gear wheels on a conveyor under a fixed camera: a video with an exact mask for every frame.

The belt with everything on it is drawn once as one long strip; each frame is the part of the strip under the camera,
averaged over the way it moves while the shutter is open, between two still rails, in a light that flickers. Strip
pixels a defect does not cover equal those of the good strip, so two videos of one seed differ inside the masks only.
Letters: F frames, H W pixels of a frame, L length of the strip in pixels. Lengths are in units of 1/240 of H.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from looktwice.data.procedural.drawing import (
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

UNITS = 240.0  # height of a frame
SPEED = 160.0  # units per second
SHUTTER = 0.25  # share of the time between two frames
RAIL = 24.0  # height of each rail
PITCH = 220.0  # from gear to gear
TIP, ROOT, TEETH = 46.0, 38.0, 22  # radii of a gear and its number of teeth
RIM, HUB, BORE = 33.0, 16.0, 8.0
ROOM = TIP + 16  # half side of the square a gear is drawn in, with its shadow
DETAIL = 2  # gears are drawn this much larger, then averaged

BELT = np.array((52, 68, 63), np.float32)
BRASS = np.array((202, 166, 98), np.float32)
STEEL = np.array((172, 176, 180), np.float32)
PROPERTIES = ("belt", "places", "gears", "flicker", "noise", "defect")

Layer = tuple[Field, Field, Field]  # colour (h, w, 3), its cover (h, w) in 0..1, the strength of its shadow (h, w)


def conveyor(
    seed: int, defect: str | None = None, seconds: float = 6.0, fps: int = 25, size: tuple[int, int] = (240, 320)
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Film one run of the belt: frames (F, H, W, 3) uint8, labels (F,) bool, masks (F, H, W) bool.

    A frame is labelled when its mask is not empty; the defect crosses the picture around the middle of the video.
    `seconds` is 0.2 to 60, `fps` 1 to 120, each side of `size` 96 to 1080 pixels. Raises UsageError, UnknownName.
    """
    check_defect("conveyor", defect, CONVEYOR_DEFECTS)
    _check_numbers(seconds, fps, size)
    random = streams(seed, PROPERTIES)
    count, scale = max(2, round(seconds * fps)), size[0] / UNITS
    step = SPEED * scale / fps  # pixels per frame
    length = size[1] + int(np.ceil(step * (count - 1 + SHUTTER))) + 2
    strip, touched = _strip(random, defect, (size[0], length), scale)

    frames, masks = np.empty((count, *size, 3), np.uint8), np.zeros((count, *size), np.bool_)
    light, flicker = _light(size), _flicker(random["flicker"], count, fps)
    rail = _rails(size, scale)
    wide = round(RAIL * scale)  # rows of each rail
    for i in range(count):
        start = step * (count - 1 - i)  # the belt runs to the right
        frame = _exposed(strip, start, step * SHUTTER, size[1])
        frame[:wide], frame[-wide:] = rail[:wide], rail[-wide:]
        frame *= light * flicker[i]
        frame += 1.6 * random["noise"].standard_normal((*size, 1), np.float32)
        frames[i] = to_pixels(frame)
        if defect is not None:
            masks[i, wide:-wide] = _exposed(touched[wide:-wide], start, step * SHUTTER, size[1])[..., 0] > 0
    return frames, np.asarray(masks.any((1, 2))), masks


def _check_numbers(seconds: float, fps: int, size: tuple[int, int]) -> None:
    if not 0.2 <= seconds <= 60:
        raise UsageError(f"seconds of a conveyor must be 0.2 to 60, got {seconds}")
    if not 1 <= fps <= 120:
        raise UsageError(f"fps of a conveyor must be 1 to 120, got {fps}")
    if not all(96 <= side <= 1080 for side in size):
        raise UsageError(f"each side of a conveyor's size must be 96 to 1080 pixels, got {size}")


# ---------------------------------------------------------------- the camera


def _exposed(strip: Field, start: float, way: float, width: int) -> Field:
    """What `width` pixels see of the strip from `start` on while it moves by `way` pixels: (H, width, channels)."""
    first, offset, reach = int(start), start - int(start), 1 + way
    edges = np.arange(int(np.ceil(offset + reach)) + 1)
    shares = np.diff(np.clip(edges, offset, offset + reach)) / reach
    seen = strip[:, first : first + width] * np.float32(shares[0])
    for i, share in enumerate(shares[1:], 1):
        seen += strip[:, first + i : first + i + width] * np.float32(share)
    return np.asarray(seen)


def _light(size: tuple[int, int]) -> Field:
    """(H, W, 1) brightness under a lamp above the middle."""
    v, u = np.linspace(-1, 1, size[0], dtype=np.float32), np.linspace(-1, 1, size[1], dtype=np.float32)
    return np.asarray(1.04 - 0.07 * u[None, :] ** 2 - 0.05 * v[:, None] ** 2)[..., None]


def _flicker(rng: np.random.Generator, count: int, fps: int) -> Field:
    """(F,) brightness: a slow beat of the mains and a little chance."""
    time = np.arange(count) / fps
    beat = 0.012 * np.sin(2 * np.pi * (rng.uniform(1.5, 3.0) * time + rng.uniform()))
    return np.asarray(rng.uniform(0.98, 1.02) + beat + rng.normal(0, 0.004, count), np.float32)


def _rails(size: tuple[int, int], scale: float) -> Field:
    """The two still rails (H, W, 3), folded sheet with a row of holes; between them it holds nothing of use."""
    v = ((np.arange(size[0], dtype=np.float32) + 0.5) / scale)[:, None]
    u = ((np.arange(size[1], dtype=np.float32) + 0.5) / scale)[None, :]
    from_edge = np.minimum(v, UNITS - v)
    profile = np.interp(from_edge, (0, 3, 4, 17, 19, 22, RAIL), (96, 104, 132, 126, 168, 92, 38)).astype(np.float32)
    rail = np.broadcast_to(profile, size)[..., None] * np.array((0.97, 1.0, 1.03), np.float32)
    hole = np.hypot((u % 80) - 40, from_edge - 10.5) - 4.2
    paint(rail, cover(np.abs(hole) - 0.8, 1 / scale), (196.0, 200.0, 204.0))
    paint(rail, cover(hole, 1 / scale), (60.0, 63.0, 68.0))
    return rail


# ---------------------------------------------------------------- the strip


def _strip(
    random: dict[str, np.random.Generator], defect: str | None, size: tuple[int, int], scale: float
) -> tuple[Field, Field]:
    """The belt with its gears (H, L, 3) and what the defect touches (H, L, 1)."""
    strip, touched = _belt(random["belt"], size, scale), np.zeros((*size, 1), np.float32)
    places = _places(random["places"], size[1] / scale)
    middle = int(np.argmin([abs(u - size[1] / scale / 2) for u, _ in places]))
    turns = random["gears"].uniform(-4, 4, len(places)), random["gears"].uniform(0.97, 1.03, len(places))
    for i, (place, turn, tone) in enumerate(zip(places, *turns, strict=True)):
        gear = _gear(np.radians(turn), tone, scale)
        here, inside = _window(place, gear[1].shape, size, scale)
        good = _laid(strip[here], gear, inside)
        if i == middle and defect in _GEAR_DEFECTS:
            bad, coverage = _GEAR_DEFECTS[defect](gear, scale, random["defect"])
            touched[here][..., 0] = coverage[inside] > 0.02
            good = np.where(touched[here] > 0, _laid(strip[here], bad, inside), good)
        strip[here] = good
    if defect == "foreign_object":
        place = places[middle][0] + PITCH / 2, UNITS / 2 + random["defect"].uniform(-45, 45)
        nut = _nut(random["defect"], scale)
        here, inside = _window(place, nut[1].shape, size, scale)
        touched[here][..., 0] = np.maximum(nut[1], nut[2])[inside] > 0.02
        strip[here] = np.where(touched[here] > 0, _laid(strip[here], nut, inside), strip[here])
    return strip, touched


def _belt(rng: np.random.Generator, size: tuple[int, int], scale: float) -> Field:
    """Woven rubber: a fine diagonal weave, wear along the way it runs, faint blotches."""
    rows, columns = int(UNITS), int(np.ceil(size[1] / scale))
    u, v = np.arange(columns, dtype=np.float32)[None, :], np.arange(rows, dtype=np.float32)[:, None]
    weave = 2.6 * np.sin((u + v) * 1.05) * np.sin((u - v) * 1.05)
    lines = resized(smooth_noise(rng, (rows, columns // 10), (0.6, 4)), (rows, columns))
    blotches = resized(smooth_noise(rng, (rows // 6, columns // 6), (2.3, 2.3)), (rows, columns))
    shade = weave + 1.6 * lines + 2.0 * blotches + 1.4 * smooth_noise(rng, (rows, columns), (0.7, 0.7))
    edge = np.clip((np.minimum(v, UNITS - v) - RAIL) / 9, 0, 1)
    return (BELT + resized(shade, size)[..., None]) * resized(0.55 + 0.45 * edge * np.ones_like(u), size)[..., None]


def _places(rng: np.random.Generator, length: float) -> list[tuple[float, float]]:
    """Centres (u, v) of the gears along a strip, in units; at least one."""
    start = rng.uniform(0.1, 0.9) * PITCH
    along = np.arange(start, max(length, start + 1), PITCH)
    return [(float(u + rng.uniform(-10, 10)), float(UNITS / 2 + rng.uniform(-5, 5))) for u in along]


def _window(
    place: tuple[float, float], shape: tuple[int, ...], size: tuple[int, int], scale: float
) -> tuple[Window, Window]:
    """Where a layer centred on `place` lies on the strip, and which part of the layer that is."""
    top = [round(c * scale - n / 2) for c, n in zip(place[::-1], shape, strict=False)]
    low, high = [max(0, t) for t in top], [min(t + n, m) for t, n, m in zip(top, shape, size, strict=False)]
    here = [slice(a, max(a, b)) for a, b in zip(low, high, strict=True)]
    inside = [slice(h.start - t, h.stop - t) for h, t in zip(here, top, strict=True)]
    return (here[0], here[1]), (inside[0], inside[1])


def _laid(ground: Field, layer: Layer, inside: Window) -> Field:
    """The ground with a layer on it, and its shadow between the two."""
    colour, alpha, shadow = (part[inside] for part in layer)
    return np.asarray(
        ground * (1 - shadow * (1 - alpha))[..., None] * (1 - alpha[..., None]) + colour * alpha[..., None]
    )


# ---------------------------------------------------------------- what lies on the belt


def _square(half: float, scale: float, detail: int = 1) -> tuple[Field, Field]:
    """Coordinates u, v of a square of half side `half`, `detail` times finer than the frame."""
    side = detail * 2 * int(np.ceil(half * scale))
    line = (np.arange(side, dtype=np.float32) + 0.5 - side / 2) / np.float32(detail * scale)
    u, v = np.meshgrid(line, line)
    return u, v


def _averaged(fine: Field) -> Field:
    """Mean over each DETAIL x DETAIL cell."""
    rows, columns = fine.shape[0] // DETAIL, fine.shape[1] // DETAIL
    return np.asarray(fine.reshape(rows, DETAIL, columns, DETAIL, *fine.shape[2:]).mean((1, 3)), np.float32)


def _layer(colour: Field, alpha: Field, scale: float) -> Layer:
    """Average a finely drawn thing to the frame's pixels, and add the shadow it casts."""
    a = _averaged(alpha)
    return _averaged(colour * alpha[..., None]) / np.maximum(a, 1e-6)[..., None], a, _shadow(a, scale)


def _shadow(alpha: Field, scale: float) -> Field:
    soft = ndimage.gaussian_filter(alpha, 2.2 * scale)
    return np.asarray(0.62 * ndimage.shift(soft, (4.5 * scale, 3.5 * scale), order=1, prefilter=False), np.float32)


def _gear(turn: float, tone: float, scale: float) -> Layer:
    """A brass gear: teeth, a bevelled rim, a recessed web with six holes, a hub with bore and keyway."""
    (u, v), px = _square(ROOM, scale, DETAIL), 1 / (DETAIL * scale)
    radius, angle = np.hypot(u, v), np.arctan2(v, u) - np.float32(turn)
    wave = np.clip(2.0 * np.cos(TEETH * angle) + 0.2, -1, 1)
    outline = radius - (TIP + ROOT) / 2 - (TIP - ROOT) / 2 * wave
    holes = np.full_like(radius, np.inf)
    for k in range(6):
        a = turn + k * np.pi / 3
        holes = np.minimum(holes, disc(u, v, (24.5 * np.cos(a), 24.5 * np.sin(a)), 5.0))
    cos, sin = np.cos(turn), np.sin(turn)
    key = box(cos * u + sin * v, cos * v - sin * u, (BORE, 0), (3.2, 2.2))
    bore = np.minimum(radius - BORE, key)

    sheen = 0.92 + 0.10 * np.cos(2 * (angle + turn) + 1.9) + 0.012 * np.sin(radius * 3.1)
    colour = BRASS * (tone * sheen)[..., None]
    soft = ndimage.gaussian_filter(outline, 1.2 / px)
    bevel = 0.92 + 0.42 * facing(soft)
    paint(colour, cover(-outline - 2.2, px), BRASS * (tone * bevel)[..., None])
    web = np.maximum(radius - RIM, HUB - radius)
    paint(colour, cover(web, px), BRASS * (0.70 * tone * sheen)[..., None])
    wall = np.abs(web + 1.4) - 1.4
    paint(colour, cover(wall, px), BRASS * (tone * (0.74 - 0.40 * facing(web)))[..., None])
    for hollow in (holes, bore):
        rim = np.abs(hollow - 1.0) - 1.0
        paint(colour, cover(rim, px), BRASS * (tone * (0.80 - 0.42 * facing(hollow)))[..., None])
    alpha = cover(outline, px) * (1 - cover(holes, px)) * (1 - cover(bore, px))
    return _layer(np.asarray(colour, np.float32), np.asarray(alpha, np.float32), scale)


def _nut(rng: np.random.Generator, scale: float) -> Layer:
    """A steel hexagon nut that fell on the belt."""
    (u, v), px = _square(34, scale, DETAIL), 1 / (DETAIL * scale)
    turn, flat = rng.uniform(0, np.pi / 3), 14.0
    radius, angle = np.hypot(u, v), np.arctan2(v, u) - turn
    sector = (angle + np.pi / 6) % (np.pi / 3) - np.pi / 6
    hexagon, bore = radius * np.cos(sector) - flat, radius - 7.5
    colour = STEEL * (0.95 + 0.08 * np.cos(2 * angle))[..., None]
    paint(colour, cover(flat + 0.2 - radius, px), STEEL * (0.80 + 0.35 * facing(hexagon))[..., None])
    paint(colour, cover(bore - 2.5, px), STEEL * (0.72 - 0.45 * facing(bore))[..., None])
    paint(colour, cover(bore, px), (40.0, 42.0, 44.0))
    return _layer(np.asarray(colour, np.float32), cover(hexagon, px), scale)


# ---------------------------------------------------------------- defects of a gear: the bad layer, what it touches


def _broken(gear: Layer, scale: float, rng: np.random.Generator) -> tuple[Layer, Field]:
    """A piece of the rim with several teeth has broken out; the fracture is bright and jagged."""
    colour, alpha, _ = gear
    u, v = _square(ROOM, scale)
    way = rng.uniform(0, 2 * np.pi)
    along, beside = np.cos(way) * u + np.sin(way) * v, np.cos(way) * v - np.sin(way) * u
    jagged = 2.2 * wobble(rng, beside / 9, 8)
    cut = rng.uniform(15, 20) + 0.30 * np.abs(beside) + jagged - along  # negative in the lost piece
    fresh = np.clip(1.3 - np.abs(cut - 1.4) / 1.6, 0, 1)
    bad_colour = colour.copy()
    paint(bad_colour, fresh, BRASS * 1.18)
    gone = cover(cut, 1 / scale)
    left = np.asarray(alpha * (1 - gone), np.float32)
    bad = bad_colour, left, _shadow(left, scale)
    changed = np.maximum(np.abs(bad[1] - alpha), np.abs(bad[2] - gear[2]) * (1 - alpha))
    return bad, np.maximum(changed, fresh * alpha)


def _stained(gear: Layer, scale: float, rng: np.random.Generator) -> tuple[Layer, Field]:
    """Burnt oil on the rim and the web: nearly black, with a soft edge."""
    colour, alpha, shadow = gear
    u, v = _square(ROOM, scale)
    way, far, radius = rng.uniform(0, 2 * np.pi), rng.uniform(22, 30), rng.uniform(14, 18)
    centre = float(far * np.cos(way)), float(far * np.sin(way))
    pool = disc(u, v, centre, radius) - 0.25 * radius * wobble(rng, np.arctan2(v - centre[1], u - centre[0]))
    wet = np.clip(0.5 - pool / 3.5, 0, 1)
    dark = 1 - 0.85 * wet[..., None] * (1 - np.array((0.26, 0.20, 0.16), np.float32))
    return (np.asarray(colour * dark, np.float32), alpha, shadow), wet * alpha


_GEAR_DEFECTS: dict[str | None, Callable[[Layer, float, np.random.Generator], tuple[Layer, Field]]] = {
    "broken": _broken,
    "stained": _stained,
}
CONVEYOR_DEFECTS = ("broken", "foreign_object", "stained")
