"""Families of made videos: a conveyor, a turntable, a press; each with a rhythm that a defect breaks.

What moves is painted once: a strip that runs under the camera, a table that turns, a head that goes up and down.
Frames differ by where it is at that moment, by flicker and by the sensor's noise. Letters: F frames, H W pixels of a
frame, L length of the strip in pixels, t time in seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.ndimage import binary_closing, gaussian_filter

from looktwice.data.procedural.camera import Pixels
from looktwice.data.procedural.canvas import Canvas, F, Field, Pose, Shot, generator, key_of
from looktwice.data.procedural.categories.common import ground
from looktwice.data.procedural.categories.things import bead, screw, slab
from looktwice.data.procedural.design import RGB, Part, any_colour, metal_colour, pick, tone
from looktwice.data.procedural.words import Saying, say
from looktwice.errors import UsageError, unknown_name

Bools = npt.NDArray[np.bool_]
FILM_DEFECTS = ("stoppage", "reversal", "missing_part", "intruder", "wrong_order")
OF_A_PRESS = ("stoppage", "missing_part", "intruder", "wrong_order")
ENTERS = 0.25, 0.5  # of the video: when a wrong part comes into view
CHANGED = 0.02  # of full brightness: a smaller difference is not labelled


@dataclass(frozen=True, eq=False)
class FilmScene:
    """One made video with everything that is known about it."""

    frames: Pixels  # (F, H, W, 3) uint8
    labels: Bools  # (F,) True where the defect shows
    masks: Bools  # (F, H, W)
    fps: int
    category: str
    seed: int
    index: int
    object: str
    defect_type: str = ""
    strength: float = 0.0
    subject: str = ""

    @property
    def anomalous(self) -> bool:
        """Whether it has a defect."""
        return self.defect_type != ""

    @property
    def interval(self) -> tuple[float, float] | None:
        """First and last second of the defect; None for a normal video."""
        at = np.flatnonzero(self.labels)
        return (float(at[0] / self.fps), float((at[-1] + 1) / self.fps)) if len(at) else None

    @cached_property
    def words(self) -> Saying:
        """When, description, impact and recommendation."""
        rng = generator(self.seed, key_of(self.category), self.index, key_of(self.defect_type), 25)
        when = f"from {self.interval[0]:.1f} s to {self.interval[1]:.1f} s" if self.interval else ""
        return say(rng, self.object, "", self.defect_type, self.subject, when, float(self.labels.mean()), "the frames")


@dataclass(frozen=True)
class Reel:
    """A family's machine: the parts in their order, and how they move."""

    name: str
    kind: str  # conveyor, turntable, press
    under: Part
    items: tuple[Part, ...]  # one of each, in the order they come
    stranger: Part
    pitch: float  # units from part to part
    speed: float  # units per second
    flicker: float
    noise: float
    blur: float
    lamp: float


class FilmFamily:
    """Videos of one machine; `good` and `defective` film it, the same for the same index."""

    def __init__(self, category: str, seed: int) -> None:
        if category not in FILMS:
            raise unknown_name("category of videos", category, FILMS)
        if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
            raise UsageError(f"seed must be a whole number of at least 0, got {seed!r}")
        self.category, self.seed = category, int(seed)
        self.seeds = self.seed, key_of(category)
        self.reel = _reel(category, generator(*self.seeds, 1))
        self.defects = OF_A_PRESS if category == "press" else FILM_DEFECTS

    def good(self, index: int, seconds: float = 5.0, fps: int = 12, size: tuple[int, int] = (120, 160)) -> FilmScene:
        """The index-th good run: frames (F, H, W, 3), no label set."""
        return self._filmed(index, None, 0.0, seconds, fps, size)

    def defective(
        self,
        index: int,
        defect: str | None = None,
        strength: float | None = None,
        seconds: float = 5.0,
        fps: int = 12,
        size: tuple[int, int] = (120, 160),
    ) -> FilmScene:
        """The index-th run with one defect in it; raises UnknownName, UsageError.

        Where no frame is labelled, frames equal those of `good(index)` until the defect first shows.
        """
        if defect is not None and defect not in self.defects:
            raise unknown_name(f"defect of a {self.category}", defect, self.defects)
        if strength is not None and not 0 <= strength <= 1:
            raise UsageError(f"strength must be 0 to 1, got {strength}")
        rng = generator(*self.seeds, 2, index, 5)
        kind = defect or self.defects[int(rng.integers(len(self.defects)))]
        return self._filmed(
            index, kind, float(rng.uniform(0.2, 1)) if strength is None else strength, seconds, fps, size
        )

    def _filmed(
        self, index: int, defect: str | None, strength: float, seconds: float, fps: int, size: tuple[int, int]
    ) -> FilmScene:
        if isinstance(index, bool) or not isinstance(index, int | np.integer) or index < 0:
            raise UsageError(f"index must be a whole number of at least 0, got {index!r}")
        if not 2 <= seconds <= 60 or not 4 <= fps <= 60:
            raise UsageError(
                f"a video must have 2 to 60 seconds and 4 to 60 frames per second, got {seconds} and {fps}"
            )
        if not all(64 <= side <= 512 and side % 2 == 0 for side in size):
            raise UsageError(f"each side of a video must be even and 64 to 512 pixels, got {size}")
        seeds = (*self.seeds, 2, int(index))
        times = np.arange(round(seconds * fps)) / fps
        shown, masks, stopped, subject = FILMS[self.category](self.reel, seeds, times, size, defect, strength)
        rng, reel = generator(*seeds, 6), self.reel
        light = _light(rng, size)
        flicker = (
            1
            + reel.flicker * np.sin(2 * np.pi * rng.uniform(0.5, 3) * times)
            + rng.normal(0, 0.3 * reel.flicker, len(times))
        )
        frames = np.empty((len(times), *size, 3), np.uint8)
        for i, rgb in enumerate(shown):
            grain = rng.standard_normal((1, *size), F) * F(reel.noise)
            frames[i] = (
                np.clip((rgb * light * F(flicker[i]) + grain) * 255 + F(0.5), 0, 255)
                .astype(np.uint8)
                .transpose(1, 2, 0)
            )
        labels = masks.any((1, 2)) | stopped
        return FilmScene(
            frames, labels, masks, fps, self.category, self.seed, int(index), reel.name, defect or "", strength, subject
        )


def _light(rng: np.random.Generator, size: tuple[int, int]) -> Field:
    y, x = np.linspace(-1, 1, size[0], dtype=F)[:, None], np.linspace(-1, 1, size[1], dtype=F)[None, :]
    a, b, c = rng.uniform(-0.1, 0.1, 3)
    return np.asarray(1 + F(a) * x + F(b) * y - F(abs(c)) * (x * x + y * y), F)


# ---------------------------------------------------------------- machines


def _reel(kind: str, rng: np.random.Generator) -> Reel:
    pitch = rng.uniform(0.9, 1.3)
    size = 0.28 * pitch
    items = tuple(_item(rng, size, i) for i in range(int(rng.integers(1, 4)) + 1))
    stranger = _item(rng, 0.6 * size, 9)
    names = {
        "conveyor": ("conveyor", "belt line", "sorting line"),
        "turntable": ("turntable", "rotary table"),
        "press": ("press", "stamping machine"),
    }[kind]
    return Reel(
        names[int(rng.integers(len(names)))],
        kind,
        ground(rng),
        items,
        replace(stranger, name=("hand tool", "rag", "nut", "foreign object")[int(rng.integers(4))]),
        pitch,
        rng.uniform(0.5, 0.9),
        rng.uniform(0, 0.02),
        rng.uniform(0.004, 0.014),
        rng.uniform(0.3, 0.9),
        rng.uniform(0, 6.28),
    )


def _item(rng: np.random.Generator, size: float, number: int) -> Part:
    rgb: RGB = any_colour(rng, (0.2, 0.95), 1.0) if rng.uniform() < 0.7 else metal_colour(rng)[1]
    kind = pick(rng, {"box": 2, "disc": 1, "chip": 1, "screw": 1})
    if kind == "box":
        return slab(
            "box",
            (0, 0),
            (size * rng.uniform(0.5, 1), size * rng.uniform(0.4, 0.9)),
            rgb,
            corner=rng.uniform(0, 0.08),
            mark=int(rng.integers(0, 2)) * (number + 3),
        )
    if kind == "disc":
        return bead("disc", (0, 0), size * rng.uniform(0.5, 0.8), rgb, gloss=0.3, hole_=rng.uniform(0, 0.5))
    if kind == "chip":
        return slab(
            "module", (0, 0), (size * 0.7, size * 0.5), tone(rgb, 0.5), legs=int(rng.integers(4, 9)), mark=number + 5
        )
    return screw((0, 0), size * 0.7, rgb, ("slot", "cross", "hex")[int(rng.integers(3))], 0.0, "bolt head")


def _strip(
    reel: Reel, seeds: tuple[int, ...], size: tuple[int, int], slots: list[tuple[float, float, Part | None]]
) -> Field:
    """(3, H, L) the ground with parts at (u, v), painted and out of focus as the lens sees it."""
    shot = Shot(seeds, (*seeds[:2], 3), size, Pose(), (float(np.cos(reel.lamp)), float(np.sin(reel.lamp))))
    canvas = Canvas(shot)
    reel.under.draw(canvas, reel.under)
    for u, v, part in slots:
        if part is not None:
            placed = replace(part, at=(u, v), key=part.key or part.name)
            placed.draw(canvas, placed)
    return np.asarray(gaussian_filter(canvas.rgb, (0, reel.blur, reel.blur), truncate=3), F)


Shown = tuple[
    list[Field], Bools, Bools, str
]  # frames (3, H, W), masks (F, H, W), where it stands (F,), what it is about


def _way(
    reel: Reel, times: npt.NDArray[np.float64], defect: str | None, strength: float, rng: np.random.Generator
) -> tuple[npt.NDArray[np.float64], Bools]:
    """How far it has moved at each moment, units, and when it does not move as it should."""
    speed = np.full(len(times), reel.speed)
    odd = np.zeros(len(times), np.bool_)
    if defect in ("stoppage", "reversal"):
        long = 0.15 + 0.3 * strength
        start = rng.uniform(0.2, 0.85 - long)
        total = times[-1] + times[1]
        odd = (times >= start * total) & (times < (start + long) * total)
        speed[odd] *= 0 if defect == "stoppage" else -0.7
    steps = np.concatenate([[0.0], np.cumsum(speed)[:-1]]) * times[1]
    return steps, odd


def _sequence(reel: Reel, count: int, middle: int, after: int, defect: str | None) -> tuple[list[Part | None], str]:
    """The parts that come, one a slot, and what a defect is about."""
    order: list[Part | None] = [reel.items[i % len(reel.items)] for i in range(count)]
    if defect == "missing_part":
        name = reel.items[middle % len(reel.items)].name
        order[middle] = None
        return order, name
    if defect == "wrong_order":
        other = (middle + after) % count
        order[middle], order[other] = order[other], order[middle]
        return order, "part"
    return order, reel.name


def _conveyor(
    reel: Reel,
    seeds: tuple[int, ...],
    times: npt.NDArray[np.float64],
    size: tuple[int, int],
    defect: str | None,
    strength: float,
) -> Shown:
    rng, fate = generator(*seeds, 7), generator(*seeds, 9)
    height, width = size
    pixels = height / 2  # per unit
    way, odd = _way(reel, times, defect, strength, fate)
    length = width + int(np.ceil((reel.speed * times[-1]) * pixels)) + 4
    span = length / pixels
    start = rng.uniform(0, reel.pitch)
    places = np.arange(start - span / 2, span / 2 + reel.pitch, reel.pitch)
    shake = rng.uniform(-0.04, 0.04, (len(places), 2))
    left = span / 2 - width / pixels - way[int(fate.uniform(*ENTERS) * len(way))]  # where the view ends at that moment
    middle = int(np.argmin(np.abs(places - left)))
    plain, _ = _sequence(reel, len(places), middle, -1, None)
    order, subject = _sequence(reel, len(places), middle, -1, defect)

    def slots(parts: list[Part | None]) -> list[tuple[float, float, Part | None]]:
        return [(float(u + du), float(dv), part) for u, (du, dv), part in zip(places, shake, parts, strict=True)]

    good = _strip(reel, seeds, (height, length), slots(plain))
    bad = good
    if defect in ("missing_part", "wrong_order"):
        bad = _strip(reel, seeds, (height, length), slots(order))
    elif defect == "intruder":
        stranger = (float(places[middle] + reel.pitch / 2), float(fate.uniform(-0.5, 0.5)), reel.stranger)
        bad, subject = _strip(reel, seeds, (height, length), [*slots(plain), stranger]), reel.stranger.name
    changed = np.abs(bad - good).max(0) > CHANGED
    bad = np.where(changed, bad, good)
    at = np.clip((length - width - 2) - way * pixels, 0, length - width - 2)  # the belt runs to the right
    frames = [_cropped(bad, float(x), width) for x in at]
    masks = np.stack([changed[:, int(x) : int(x) + width] | changed[:, int(x) + 1 : int(x) + 1 + width] for x in at])
    return frames, masks, odd, subject


def _cropped(strip: Field, start: float, width: int) -> Field:
    first, share = int(start), F(start - int(start))
    return np.asarray(
        strip[:, :, first : first + width] * (1 - share) + strip[:, :, first + 1 : first + 1 + width] * share
    )


def _turntable(
    reel: Reel,
    seeds: tuple[int, ...],
    times: npt.NDArray[np.float64],
    size: tuple[int, int],
    defect: str | None,
    strength: float,
) -> Shown:
    rng, fate = generator(*seeds, 7), generator(*seeds, 9)
    height, width = size
    radius = 1.5  # units from the axis to the parts; the camera looks at the upper rim of the table
    count = 2 * (int(2 * np.pi * radius / reel.pitch) // 2)
    while count % len(reel.items):
        count -= 1
    pixels = height / 2
    side = 2 * int(np.ceil(np.hypot(radius + 1.0, width / height) * pixels) + 2)
    way, odd = _way(reel, times, defect, strength, fate)
    first = rng.uniform(0, 2 * np.pi)
    turns = first + way / radius
    edge = turns[int(fate.uniform(*ENTERS) * len(turns))] + np.arctan2(
        width / height, radius
    )  # where the view ends then
    middle = round(edge / (2 * np.pi / count)) % count
    order, subject = _sequence(reel, count, middle, 1, defect)
    plain, _ = _sequence(reel, count, middle, 1, None)

    def slots(parts: list[Part | None]) -> list[tuple[float, float, Part | None]]:
        scale = 2 * pixels / side  # the whole table is painted 2 units wide
        return [
            (scale * radius * np.cos(a), scale * radius * np.sin(a), _scaled(part, scale, a))
            for a, part in zip(np.arange(count) * 2 * np.pi / count, parts, strict=True)
        ]

    good = _strip(reel, seeds, (side, side), slots(plain))
    bad = good
    if defect in ("missing_part", "wrong_order"):
        bad = _strip(reel, seeds, (side, side), slots(order))
    elif defect == "intruder":
        scale, a = 2 * pixels / side, (middle + 0.5) * 2 * np.pi / count
        extra = (scale * radius * np.cos(a), scale * radius * np.sin(a), _scaled(reel.stranger, scale, a))
        bad, subject = _strip(reel, seeds, (side, side), [*slots(plain), extra]), reel.stranger.name
    touched = np.abs(bad - good).max(0) > CHANGED
    bad = np.where(touched, bad, good)
    changed = Image.fromarray(touched.astype(np.float32))
    planes = [Image.fromarray(plane) for plane in bad]
    frames, masks = [], []
    centre = side / 2, side / 2 - radius * pixels
    for turn in turns:
        box = _turned(turn, side, (centre[0] - width / 2, centre[1] - height / 2))
        frames.append(
            np.stack(
                [
                    np.asarray(p.transform((width, height), Image.Transform.AFFINE, box, Image.Resampling.BILINEAR))
                    for p in planes
                ]
            )
        )
        masks.append(
            np.asarray(changed.transform((width, height), Image.Transform.AFFINE, box, Image.Resampling.BILINEAR)) > 0
        )
    return frames, np.stack(masks), odd, subject


def _scaled(part: Part | None, scale: float, turn: float) -> Part | None:
    if part is None:
        return None
    look = {
        **part.look,
        "size": np.asarray(part.look["size"]) * scale
        if np.ndim(part.look["size"])
        else float(part.look["size"]) * scale,
    }
    return replace(part, look=look, radius=part.radius * scale + 0.03, turn=turn)


def _turned(turn: float, side: int, corner: tuple[float, float]) -> tuple[float, float, float, float, float, float]:
    """Coefficients that take a pixel of the frame to one of the table, turned so that `turn` is at the top."""
    angle = turn + np.pi / 2
    cos, sin, half = np.cos(angle), np.sin(angle), side / 2
    x, y = corner[0] - half, corner[1] - half
    return cos, -sin, cos * x - sin * y + half, sin, cos, sin * x + cos * y + half


def _press(
    reel: Reel,
    seeds: tuple[int, ...],
    times: npt.NDArray[np.float64],
    size: tuple[int, int],
    defect: str | None,
    strength: float,
) -> Shown:
    """A part comes from the left, the head comes down on it, it leaves to the right."""
    rng, fate = generator(*seeds, 7), generator(*seeds, 9)
    height, width = size
    period = 1.0 / reel.speed
    offset = rng.uniform(0, 0.3)
    clock = times / period + offset
    whole = int(clock[-1])  # cycles that are seen to their end
    struck = int(fate.integers(max(0, min(1, whole - 1)), max(1, whole)))
    odd = np.zeros(len(times), np.bool_)
    stuck = 0.0
    if defect == "stoppage":
        stuck = 0.6 + 1.2 * strength
        begin = (struck + fate.uniform(0.35, 0.65) - offset) * period
        odd = (times >= begin) & (times < begin + stuck)
        clock = np.where(times < begin, times, np.maximum(begin, times - stuck)) / period + offset
    under = _strip(reel, seeds, size, [])
    layers = {part.name + str(i): _sprite(reel, seeds, size, part) for i, part in enumerate(reel.items)}
    names = list(layers)
    stranger = _sprite(reel, seeds, size, reel.stranger)
    head = _head(reel, generator(*seeds[:2], 8), size)
    place = fate.uniform(-0.3, 0.3)
    frames, masks = [], []
    for now in clock:
        cycle, phase = int(now), now - int(now)
        item = names[cycle % len(names)]
        x = _smooth(phase / 0.3) - 1 + _smooth((phase - 0.7) / 0.3)  # -1 left, 0 under the head, 1 right
        down = _smooth((phase - 0.35) / 0.12) - _smooth((phase - 0.55) / 0.12)
        states = [(item, x, down, False)]
        hit = cycle == struck
        if hit and defect == "missing_part":
            states.append(("", x, down, False))
        elif hit and defect == "wrong_order":
            late = _smooth((phase - 0.72) / 0.1) - _smooth((phase - 0.88) / 0.1)
            states.append((item, _smooth(phase / 0.3) - 1 + _smooth((phase - 0.35) / 0.3), late, False))
        elif hit and defect == "intruder":
            states.append((item, x, down, True))
        pictures = []
        for name, across, press, strange in states:
            rgb = under.copy()
            if name:
                _laid(rgb, layers[name], (0.30, 1.0 * across * width / height * 1.3))
            if strange:
                _laid(rgb, stranger, (0.1, place * 1.5 + 0.5))
            _laid(rgb, head, (-0.75 + 0.62 * press, 0.0))
            pictures.append(rgb)
        touched = np.abs(pictures[-1] - pictures[0]).max(0) > CHANGED
        touched |= binary_closing(touched, iterations=2)
        frames.append(np.where(touched, pictures[-1], pictures[0]))
        masks.append(touched)
    subject = {
        "missing_part": reel.items[struck % len(reel.items)].name,
        "intruder": reel.stranger.name,
        "wrong_order": "step",
    }.get(defect or "", reel.name)
    return frames, np.stack(masks), odd, subject


Layer = tuple[Field, Field]  # colour (3, H, W) and cover (H, W)


def _sprite(reel: Reel, seeds: tuple[int, ...], size: tuple[int, int], part: Part) -> Layer:
    shot = Shot(seeds, (*seeds[:2], 3), size, Pose(), (float(np.cos(reel.lamp)), float(np.sin(reel.lamp))))
    canvas = Canvas(shot)
    here = replace(part, at=(0.0, 0.0), key=part.key or part.name)
    here.draw(canvas, here)
    marked = Canvas(shot)
    marked.rgb[:] = 1
    here.draw(marked, here)
    alpha = np.maximum(canvas.on, 1 - np.abs(marked.rgb - canvas.rgb).max(0))  # where the ground does not shine through
    return canvas.rgb / np.maximum(alpha, F(1e-3)), alpha


def _head(reel: Reel, rng: np.random.Generator, size: tuple[int, int]) -> Layer:
    rgb, wide = metal_colour(rng)[1], float(rng.uniform(0.22, 0.4))
    head = slab("head", (0.0, -0.6), (wide, 0.9), rgb, corner=0.04, kind="brushed", gloss=0.4)
    shot = Shot((1, 2), (1, 3), size, Pose(), (float(np.cos(reel.lamp)), float(np.sin(reel.lamp))))
    canvas = Canvas(shot)
    head.draw(canvas, head)
    return canvas.rgb / np.maximum(canvas.on, F(1e-3)), canvas.on


def _laid(rgb: Field, layer: Layer, by: tuple[float, float]) -> None:
    """Lay a layer over a picture, moved `by` units down and to the right, to the nearest pixel."""
    colour, alpha = layer
    height, width = alpha.shape
    dy, dx = (round(b * height / 2) for b in by)
    if abs(dy) >= height or abs(dx) >= width:
        return
    to = slice(max(0, dy), height + min(0, dy)), slice(max(0, dx), width + min(0, dx))
    of = slice(max(0, -dy), height + min(0, -dy)), slice(max(0, -dx), width + min(0, -dx))
    rgb[:, to[0], to[1]] += alpha[of] * (colour[:, of[0], of[1]] - rgb[:, to[0], to[1]])


def _smooth(x: float) -> float:
    x = min(1.0, max(0.0, x))
    return x * x * (3 - 2 * x)


Filmed = Callable[[Reel, tuple[int, ...], npt.NDArray[np.float64], tuple[int, int], str | None, float], Shown]

FILMS: Mapping[str, Filmed] = {
    "conveyor": _conveyor, "turntable": _turntable, "press": _press,
}  # fmt: skip


def film_family(category: str, seed: int) -> FilmFamily:
    """The family of videos of a category that a seed draws; raises UnknownName, UsageError."""
    return FilmFamily(category, seed)
