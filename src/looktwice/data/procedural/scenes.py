"""Families of parts, and pictures of them: good, defective with an exact mask, and odd but normal.

A `Family` is drawn from a category and a seed; `good(i)` is its i-th part, `defective(i)` the same part, photographed
the same way, with one defect. Outside of the mask both pictures are equal. Letters: H W pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from looktwice.data.procedural import edits, flaws
from looktwice.data.procedural.camera import GREY, NEAR_MISSES, Exposure, Pixels, compressed, expose
from looktwice.data.procedural.canvas import Box, Canvas, F, Field, Pose, Shot, generator, key_of
from looktwice.data.procedural.categories import CATEGORIES
from looktwice.data.procedural.design import Design, Handling, Part, any_colour, pick, tone
from looktwice.data.procedural.phrases import NAMES
from looktwice.data.procedural.words import Question, Rule, Telling, rules_of, tell
from looktwice.errors import UsageError, unknown_name
from looktwice.records import RuleFinding

LEVELS = ("easy", "medium", "hard")
STRENGTHS = {"easy": (0.7, 1.0), "medium": (0.4, 1.0), "hard": (0.1, 1.0)}
TIGHTER = {"easy": 0.4, "medium": 0.8, "hard": 1.0}  # how much nuisance, of what the family has
CHANGED = 3  # grey levels: a smaller difference is not seen beside the sensor's noise
VISIBLE = 1.0  # contrast of a defect against the variation around it
SMALLEST = 2e-4  # of the picture: a smaller mask is drawn again
TRIES = 8
SEVERAL = 0.2  # how often a part has the same defect at several places
SIDES = 64, 512
EASY = 8  # families of a category at the easy level


@dataclass(frozen=True, eq=False)
class Scene:
    """One made picture with everything that is known about it."""

    image: Pixels = field(repr=False)  # (H, W, 3) uint8
    mask: npt.NDArray[np.bool_] = field(repr=False)  # (H, W), True where the defect changed the picture
    family: Family
    index: int  # of the part in its family
    defect_type: str = ""  # "" for a normal part
    strength: float = 0.0  # 0..1, blatant at 1
    contrast: float = 0.0  # of the defect against the variation around it
    near_miss: str = ""  # what is odd about a normal picture
    subject: str = ""  # the part it happened to, in words

    @property
    def category(self) -> str:
        """The category of its family."""
        return self.family.category

    @property
    def object(self) -> str:
        """What the part is called."""
        return self.family.object

    @property
    def anomalous(self) -> bool:
        """Whether it has a defect."""
        return self.defect_type != ""

    @cached_property
    def words(self) -> Telling:
        """What can be said about it: where, description, impact, recommendation, questions, rules."""
        return tell(self)

    @property
    def where(self) -> str:
        """The cell of a 3 x 3 grid that holds the largest piece of the defect; "" for a normal part."""
        return self.words.where

    @property
    def description(self) -> str:
        """What the picture shows, in a sentence or two."""
        return self.words.description

    @property
    def impact(self) -> str:
        """What the defect may lead to; "" for a normal part."""
        return self.words.impact

    @property
    def recommendation(self) -> str:
        """What to do."""
        return self.words.recommendation

    @property
    def questions(self) -> tuple[Question, ...]:
        """Questions and their answers."""
        return self.words.questions

    @property
    def rules(self) -> tuple[RuleFinding, ...]:
        """Which rules are kept or broken, with reasons."""
        return self.words.rules


class Family:
    """Parts of one kind: `good`, `defective` and `near_miss` make pictures of them, the same for the same index."""

    def __init__(self, category: str, seed: int, level: str = "hard") -> None:
        if category not in CATEGORIES:
            raise unknown_name("category", category, CATEGORIES)
        if level not in LEVELS:
            raise UsageError(f"level must be one of {', '.join(LEVELS)}, got {level!r}")
        _check_whole("seed", seed)
        self.category, self.seed, self.level = category, int(seed), level
        self.seeds = (self.seed, key_of(category))
        self.design: Design = CATEGORIES[category](generator(*self.seeds, 1))
        self.handling = _tightened(self.design.handling, TIGHTER[level])

    def __reduce__(self) -> tuple[Any, ...]:
        """A family travels to another process as its name and is drawn again there."""
        return family, (self.category, self.seed, self.level)

    def __repr__(self) -> str:
        return f"Family({self.category!r}, {self.seed}, {self.level!r})"

    @cached_property
    def defects(self) -> dict[str, float]:
        """Defects that can occur, with how often."""
        table = {name: weight for name, weight in self.design.flaws.items() if weight > 0}
        for name in edits.possible(self.design, self.design.parts):
            table[name] = table.get(name, 0) + 1.6
        return table

    @cached_property
    def object(self) -> str:
        """What the part is called."""
        names = (self.design.name, *NAMES.get(self.design.name, ()))
        return names[int(generator(*self.seeds, 20).integers(len(names)))]

    @cached_property
    def rules(self) -> tuple[Rule, ...]:
        """Rules of an expert for this family."""
        return rules_of(self)

    def good(self, index: int, size: int = 192) -> Scene:
        """The index-th good part: image (size, size, 3) and an empty mask."""
        shot = self._shot(index, size)
        canvas = _painted(shot, self._parts(shot))
        image = self._photograph(canvas, expose(shot, self.handling))
        return self._scene(image, np.zeros(image.shape[:2], np.bool_), index)

    def near_miss(self, index: int, size: int = 192, kind: str | None = None) -> Scene:
        """A good part under an odd but harmless light, focus or pose."""
        if kind is not None and kind not in NEAR_MISSES:
            raise unknown_name("near-miss", kind, NEAR_MISSES)
        shot = self._shot(index, size)
        kind = kind or NEAR_MISSES[int(shot.random("near miss").integers(len(NEAR_MISSES)))]
        if kind in ("pose", "tolerance"):
            shot = self._shot(index, size, far=True)
        canvas = _painted(shot, self._parts(shot, 2.0 if kind == "tolerance" else 1.0))
        image = self._photograph(canvas, expose(shot, self.handling, kind))
        return replace(self._scene(image, np.zeros(image.shape[:2], np.bool_), index), near_miss=kind)

    def defective(
        self,
        index: int,
        defect: str | None = None,
        strength: float | None = None,
        size: int = 192,
        visible: bool = True,
    ) -> Scene:
        """The index-th part with one defect: its picture equals that of `good(index)` outside of the mask.

        `visible` raises a strength that cannot be seen against the part's own variation. Raises UnknownName for a
        defect that this family cannot have, UsageError for a strength outside 0..1.
        """
        if defect is not None and defect not in self.defects:
            raise unknown_name(f"defect of a {self.category}", defect, self.defects)
        if strength is not None and not 0 <= strength <= 1:
            raise UsageError(f"strength must be 0 to 1, got {strength}")
        shot = self._shot(index, size)
        parts, exposure = self._parts(shot), expose(shot, self.handling)
        canvas = _painted(shot, parts)
        clean = exposure.develop(canvas.rgb, canvas.box)
        rng = shot.random(f"defect {defect or ''}")
        lowest, highest = STRENGTHS[self.level]
        best: tuple[float, Any] | None = None
        for _ in range(TRIES if defect is None else 4 * TRIES):
            kind = defect or pick(rng, self.defects)
            power = float(rng.uniform(lowest, highest)) if strength is None else strength
            for _ in range(4 if visible else 1):
                found = self._with(
                    kind, power, shot, parts, exposure, canvas, clean, generator(int(rng.integers(1 << 62)))
                )
                if found is None:
                    break
                if best is None or found[0] > best[0]:
                    best = found[0], (kind, power, *found[1:])
                if found[0] >= VISIBLE or not visible or power >= 1:
                    break
                power = min(1.0, 1.35 * power + 0.1)
            if best is not None and (best[0] >= VISIBLE or not visible):
                break
        if best is None:  # nothing fits: a stain fits anywhere
            raise UsageError(f"no place for {defect or 'a defect'} on {self.category} {self.seed}/{index}")
        contrast, (kind, power, image, mask, subject) = best
        image = self._stored(image, clean, mask, exposure)
        scene = self._scene(image, mask, index)
        return replace(scene, defect_type=kind, strength=power, contrast=contrast, subject=subject)

    # ------------------------------------------------------------ one picture

    def _shot(self, index: int, size: int, far: bool = False) -> Shot:
        _check_whole("index", index)
        if not SIDES[0] <= size <= SIDES[1]:
            raise UsageError(f"size must be {SIDES[0]} to {SIDES[1]} pixels, got {size}")
        seeds = (*self.seeds, 2, int(index))
        rng, h = generator(*seeds), self.handling
        more = 1.8 if far else 1.0
        draws = rng.uniform(-1, 1, 6) * more
        pose = Pose(
            float(h.turn * draws[0]),
            (float(h.shift * draws[1]), float(h.shift * draws[2])),
            float(np.exp(h.zoom * draws[3])),
            float(h.shear * draws[4]),
        )
        angle = h.lamp + 0.15 * draws[5]
        return Shot(seeds, (*self.seeds, 3), (size, size), pose, (float(np.cos(angle)), float(np.sin(angle))))

    def _parts(self, shot: Shot, share: float = 1.0) -> tuple[Part, ...]:
        rng = shot.random("tolerance")
        return tuple(part.shaken(rng, share) for part in self.design.parts)

    def _photograph(self, canvas: Canvas, exposure: Exposure) -> Pixels:
        image = exposure.develop(canvas.rgb, canvas.box)
        return image if exposure.jpeg is None else compressed(image, exposure.jpeg)

    def _stored(self, image: Pixels, clean: Pixels, mask: npt.NDArray[np.bool_], exposure: Exposure) -> Pixels:
        """As a file format stores it; outside of the mask exactly the good twin."""
        if exposure.jpeg is not None:
            image, clean = compressed(image, exposure.jpeg), compressed(clean, exposure.jpeg)
        return np.where(mask[..., None], image, clean)

    def _scene(self, image: Pixels, mask: npt.NDArray[np.bool_], index: int) -> Scene:
        return Scene(image, mask, self, int(index))

    # ------------------------------------------------------------ one defect

    def _with(
        self,
        kind: str,
        strength: float,
        shot: Shot,
        parts: tuple[Part, ...],
        exposure: Exposure,
        canvas: Canvas,
        clean: Pixels,
        rng: np.random.Generator,
    ) -> tuple[float, Pixels, npt.NDArray[np.bool_], str] | None:
        """Contrast, picture, mask and subject with a defect of this kind; None where it finds no place."""
        options = edits.possible(self.design, parts).get(kind, [])
        on_surface = self.design.flaws.get(kind, 0) > 0
        if options and not (on_surface and rng.uniform() < 0.3):
            what, number = options[int(rng.integers(len(options)))]
            made = edits.edit(self.design, parts, what, number, strength, rng, shot, canvas.on)
            if made is None:
                return None
            discs, paint, subject = made.discs, self._edited(made, shot, parts), made.subject
        else:
            mark = self._mark(kind, strength, shot, canvas, rng)
            if mark is None:
                return None
            flaw, marks = flaws.FLAWS[kind], [mark]
            if flaw.several and rng.uniform() < SEVERAL:
                more = (self._mark(kind, strength, shot, canvas, rng) for _ in range(int(rng.integers(1, 4))))
                marks += [replace(one, ink=mark.ink) for one in more if one is not None]
            discs, subject = tuple((*one.at, flaw.reach * one.size) for one in marks), self.design.name
            seed = int(rng.integers(1 << 62))

            def paint(box: Box) -> Field:
                window = _painted(shot, parts, box)
                for number, one in enumerate(marks):
                    flaw.paint(window, generator(seed, number), one)
                return window.rgb

        return _judged(shot, exposure, clean, discs, paint, subject)

    def _edited(self, made: edits.Edit, shot: Shot, parts: tuple[Part, ...]) -> Callable[[Box], Field]:
        def paint(box: Box) -> Field:
            window = _painted(shot, made.parts, box, made.bend)
            if made.bite is None:
                return window.rgb
            under = _painted(shot, tuple(part for part in parts if "ground" in part.can), box)
            gone, rim = made.bite(window)
            window.shade(1 + rim * window.on * (F(0.35) * window.noise("fracture", 0.02) + F(0.2)))
            window.paint(gone * window.on, under.rgb)
            return window.rgb

        return paint

    def _mark(
        self, kind: str, strength: float, shot: Shot, canvas: Canvas, rng: np.random.Generator
    ) -> flaws.Mark | None:
        """A place on the surface with enough room; the roomiest of many draws."""
        flaw = flaws.FLAWS[kind]
        low, high = flaw.sizes
        share = rng.beta(1.1, 1.4) * (0.5 + 0.5 * strength) if self.level == "hard" else rng.uniform(0.4, 1)
        size = low + (high - low) * share
        rows, columns = rng.integers(0, shot.size[0], 48), rng.integers(0, shot.size[1], 48)
        turn = float(rng.uniform(0, np.pi))
        fit = canvas.on[rows, columns].copy()
        reach = size / shot.px * (0.5 if flaw.line else 0.8)
        for angle in (turn, turn + np.pi) if flaw.line else np.arange(6) * np.pi / 3:
            r = np.clip((rows + reach * np.sin(angle)).astype(int), 0, shot.size[0] - 1)
            q = np.clip((columns + reach * np.cos(angle)).astype(int), 0, shot.size[1] - 1)
            fit += canvas.on[r, q]
        good = np.flatnonzero(fit >= 0.8 * fit.max())
        if fit.max() < 1.5:
            return None
        spot = int(good[0])
        at = shot.affine @ (columns[spot], rows[spot], 1)
        return flaws.Mark(
            (float(at[0]), float(at[1])),
            float(size),
            strength,
            turn,
            self._ink(canvas, rng),
            self.design.grain,
            self.design.pitch,
        )

    def _ink(self, canvas: Canvas, rng: np.random.Generator) -> tuple[float, float, float]:
        """A colour for dirt: from the part's own palette, an earthy one, black, white, or any."""
        kind = rng.uniform()
        if kind < 0.4:
            row, column = (int(rng.integers(n)) for n in canvas.on.shape)
            r, g, b = (float(x) for x in canvas.rgb[:, row, column])
            return tone((r, g, b), rng.uniform(0.5, 1.6))
        if kind < 0.6:
            return tone(
                ((0.42, 0.28, 0.15), (0.3, 0.24, 0.18), (0.5, 0.4, 0.25))[int(rng.integers(3))], rng.uniform(0.5, 1.3)
            )
        if kind < 0.75:
            return (0.07, 0.07, 0.07)
        return (0.93, 0.92, 0.9) if kind < 0.85 else any_colour(rng)


def _tightened(h: Handling, share: float) -> Handling:
    low, high = h.noise
    return replace(
        h,
        shift=h.shift * share,
        turn=h.turn * share,
        zoom=h.zoom * share,
        shear=h.shear * share,
        level=h.level * share,
        slope=h.slope * share,
        noise=(low * share, high * share),
    )


def _painted(
    shot: Shot, parts: Sequence[Part], box: Box | None = None, bend: Callable[[Field, Field], None] | None = None
) -> Canvas:
    canvas = Canvas(shot, box, bend)
    for part in parts:
        part.draw(canvas, part)
    return canvas


def _judged(
    shot: Shot,
    exposure: Exposure,
    clean: Pixels,
    discs: Sequence[tuple[float, float, float]],
    paint: Callable[[Box], Field],
    subject: str,
) -> tuple[float, Pixels, npt.NDArray[np.bool_], str] | None:
    """Paint the window that changes, photograph it, and measure what changed and how visible that is."""
    margin = exposure.margin + 2
    height, width = shot.size
    boxes = np.array([shot.box(*disc) for disc in discs])
    top, left = np.maximum(boxes[:, (0, 2)].min(0) - margin, 0)
    bottom, right = np.minimum(boxes[:, (1, 3)].max(0) + margin, (height, width))
    if bottom - top <= 2 * margin or right - left <= 2 * margin:
        return None
    box = int(top), int(bottom), int(left), int(right)
    seen = exposure.develop(paint(box), box)
    # the rim of the window lacks what the blur would bring in from outside: keep it only at the picture's own rim
    inner = tuple(
        slice(0 if a == 0 else margin, b - a if b == n else b - a - margin)
        for a, b, n in ((box[0], box[1], height), (box[2], box[3], width))
    )
    here = tuple(slice(a + s.start, a + s.stop) for a, s in zip((box[0], box[2]), inner, strict=True))
    before, after = clean[here], seen[inner]
    change = np.abs(after.astype(np.int16) - before).max(2)
    changed = change > CHANGED
    if changed.sum() < max(3, SMALLEST * height * width):
        return None
    region = ndimage.binary_fill_holes(ndimage.binary_closing(np.pad(changed, 2), iterations=1))[2:-2, 2:-2] | changed
    mask = np.zeros(shot.size, np.bool_)
    mask[here] = region
    image = clean.copy()
    image[here] = after
    grey = before @ GREY
    noise = float((grey - ndimage.uniform_filter(grey, max(3, int(0.06 / shot.px)))).std())
    strongest = np.sort(change[changed])[-max(4, int(0.3 * changed.sum())) :]
    contrast = float(strongest.mean()) / (2 * noise + 4)
    return contrast, image, mask, subject


def _check_whole(what: str, value: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 0:
        raise UsageError(f"{what} must be a whole number of at least 0, got {value!r}")


# ---------------------------------------------------------------- names for users


@lru_cache(maxsize=32)
def family(category: str, seed: int, level: str = "hard") -> Family:
    """The family of a category that a seed draws; raises UnknownName, UsageError."""
    return Family(category, seed, level)


@dataclass(frozen=True)
class Episode:
    """What a few-shot detector sees at once: good references, and queries of the same family."""

    references: tuple[Scene, ...]
    normal: Scene
    defective: Scene


class Stream:
    """An endless list of scenes: `stream[i]` is always the same picture, whoever asks and in whatever order.

    Consecutive scenes share a family, `per_family` at a time. Iterating starts at 0 and never ends.
    """

    def __init__(
        self,
        seed: int,
        *,
        size: int = 192,
        level: str = "hard",
        categories: Sequence[str] | None = None,
        per_family: int = 4,
        anomalous: float = 0.5,
        near_misses: float = 0.15,
    ) -> None:
        for name in categories or ():
            if name not in CATEGORIES:
                raise unknown_name("category", name, CATEGORIES)
        if level not in LEVELS:
            raise UsageError(f"level must be one of {', '.join(LEVELS)}, got {level!r}")
        _check_whole("seed", seed)
        if per_family < 1 or not 0 <= anomalous <= 1 or not 0 <= near_misses <= 1:
            raise UsageError("per_family must be at least 1, anomalous and near_misses 0 to 1")
        self.seed, self.size, self.level, self.per_family = int(seed), size, level, per_family
        self.categories = tuple(categories or CATEGORIES)
        self.anomalous, self.near_misses = anomalous, near_misses

    def family(self, number: int) -> Family:
        """The number-th family."""
        rng = generator(self.seed, 11, number)
        category = self.categories[int(rng.integers(len(self.categories)))]
        seed = int(rng.integers(EASY if self.level == "easy" else 1 << 40))
        return family(category, seed, self.level)

    def __getitem__(self, index: int) -> Scene:
        """The index-th scene."""
        _check_whole("index", index)
        made, inside = self.family(index // self.per_family), index % self.per_family
        draw = float(generator(self.seed, 12, index).uniform())
        if draw < self.anomalous:
            return made.defective(inside, size=self.size)
        near = draw < self.anomalous + (1 - self.anomalous) * self.near_misses
        return made.near_miss(inside, self.size) if near else made.good(inside, self.size)

    def __iter__(self) -> Iterator[Scene]:
        index = 0
        while True:
            yield self[index]
            index += 1

    def episode(self, number: int, references: int = 4) -> Episode:
        """The number-th family as a task: references, one normal query (sometimes a near-miss), one defective."""
        made = self.family(number)
        shown = tuple(made.good(i, self.size) for i in range(references))
        near = generator(self.seed, 13, number).uniform() < self.near_misses
        normal = made.near_miss(1000, self.size) if near else made.good(1000, self.size)
        return Episode(shown, normal, made.defective(1001, size=self.size))


def stream(seed: int, **settings: Any) -> Stream:
    """An endless list of scenes; settings as in `Stream`."""
    return Stream(seed, **settings)
