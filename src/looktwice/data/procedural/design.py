"""What a family is made of: parts in the order they are painted, of materials, in colours that have names.

A `Design` is drawn once per family; each of its items is the design with every part shaken within its tolerance.
Because a scene is a list of parts, a structural defect is an edit of that list. Letters: h w pixels of a window.
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from looktwice.data.procedural.canvas import Canvas, Colour, F, Field

Draw = Callable[[Canvas, "Part"], None]
RGB = tuple[float, float, float]


@dataclass(frozen=True)
class Part:
    """One thing in a scene: where it is, how it is painted, and what can happen to it."""

    name: str  # in words: "screw"
    draw: Draw
    at: tuple[float, float] = (0.0, 0.0)
    radius: float = 3.0  # of a disc that holds it, its shadow included
    turn: float = 0.0
    look: Mapping[str, Any] = field(default_factory=dict)  # what its draw function needs to know
    can: frozenset[str] = frozenset()  # a key of edits.SUFFERS, or: body, soft, ground
    play: tuple[float, float] = (0.0, 0.0)  # tolerance of place (units) and turn (radians)
    near: float = 0.0  # room to the next part, units: how far it can move
    key: str = ""  # names its own noise
    fault: Mapping[str, Any] = field(default_factory=dict)  # what a defect did to it

    def shaken(self, rng: np.random.Generator, share: float = 1.0) -> Part:
        """The same part within its tolerance, of which good parts use a half: a share of 2 is all of it."""
        if self.play == (0.0, 0.0):
            return self
        du, dv, turn = share * rng.uniform(-1, 1, 3)
        at = (self.at[0] + du * self.play[0], self.at[1] + dv * self.play[0])
        return replace(self, at=at, turn=self.turn + turn * self.play[1])


def able(*what: str) -> frozenset[str]:
    """What can happen to a part."""
    return frozenset(what)


@dataclass(frozen=True)
class Handling:
    """How parts of a family are photographed: the same for all, more or less tightly."""

    shift: float = 0.02  # units
    turn: float = 0.02  # radians
    zoom: float = 0.01
    shear: float = 0.0
    grey: bool = False
    level: float = 0.06  # how much the brightness differs from picture to picture
    slope: float = 0.08  # of light across the picture
    vignette: float = 0.08
    tint: float = 0.02
    blur: tuple[float, float] = (0.002, 0.006)  # units
    noise: tuple[float, float] = (0.004, 0.012)
    jpeg: tuple[int, int] | None = None
    gamma: float = 1.0
    lamp: float = 0.0  # angle of the lamp, radians


@dataclass(frozen=True)
class Design:
    """A family: what it is called, its parts, and how they are photographed."""

    name: str  # in words: "mounting plate"
    stuff: str  # what kind of material a defect meets: metal, plastic, cloth, wood, stone, glass, board ...
    material: str  # in words: "brushed steel"
    colour: RGB
    parts: tuple[Part, ...]
    handling: Handling
    texture: bool = False  # the surface fills the picture
    grain: float = 0.0  # direction of threads or lines, radians
    pitch: float = 0.1  # size of its pattern, units
    flaws: Mapping[str, float] = field(default_factory=dict)  # surface defects that occur, with weights
    use: str = "part"  # what it is for: decides what a defect may lead to
    spare: tuple[Part, ...] = ()  # parts that may lie there by mistake


# ---------------------------------------------------------------- colours

NAMED: Mapping[str, RGB] = {
    "black": (0.06, 0.06, 0.06), "dark grey": (0.25, 0.25, 0.26), "grey": (0.5, 0.5, 0.5),
    "light grey": (0.73, 0.73, 0.73), "white": (0.94, 0.94, 0.93), "cream": (0.92, 0.86, 0.7),
    "beige": (0.78, 0.68, 0.54), "brown": (0.42, 0.27, 0.16), "dark brown": (0.22, 0.14, 0.09),
    "red": (0.78, 0.12, 0.12), "dark red": (0.45, 0.08, 0.1), "orange": (0.9, 0.5, 0.12),
    "yellow": (0.92, 0.82, 0.2), "olive": (0.45, 0.45, 0.2), "green": (0.2, 0.58, 0.25),
    "dark green": (0.08, 0.3, 0.16), "turquoise": (0.2, 0.65, 0.62), "light blue": (0.55, 0.75, 0.9),
    "blue": (0.15, 0.3, 0.72), "dark blue": (0.08, 0.12, 0.33), "violet": (0.45, 0.25, 0.6),
    "pink": (0.9, 0.6, 0.68), "copper": (0.72, 0.43, 0.28), "golden": (0.78, 0.62, 0.28),
}  # fmt: skip


def colour_name(rgb: Colour) -> str:
    """The nearest colour that has a name."""
    wanted = np.asarray(rgb, float)
    weights = np.array((1.0, 1.2, 0.9))
    return min(NAMED, key=lambda name: float((((np.array(NAMED[name]) - wanted) * weights) ** 2).sum()))


def tone(rgb: Colour, factor: float) -> RGB:
    """The same colour, darker or brighter."""
    r, g, b = (float(min(1.0, max(0.0, c * factor))) for c in rgb)
    return r, g, b


def mixed(a: Colour, b: Colour, share: float) -> RGB:
    """A colour between a (share 0) and b (share 1)."""
    r, g, b_ = (float(x + (y - x) * share) for x, y in zip(a, b, strict=True))
    return r, g, b_


def any_colour(rng: np.random.Generator, light: tuple[float, float] = (0.15, 0.9), vivid: float = 0.8) -> RGB:
    """A colour of any hue; greys are as common as vivid ones."""
    saturation = vivid * rng.uniform() ** 1.6
    r, g, b = colorsys.hsv_to_rgb(rng.uniform(), saturation, rng.uniform(*light))
    return float(r), float(g), float(b)


def metal_colour(rng: np.random.Generator) -> tuple[str, RGB]:
    """A metal and how it looks."""
    metals: tuple[tuple[str, RGB], ...] = (
        ("steel", (0.62, 0.63, 0.65)), ("stainless steel", (0.72, 0.72, 0.71)), ("aluminium", (0.78, 0.79, 0.8)),
        ("cast iron", (0.32, 0.32, 0.33)), ("blackened steel", (0.17, 0.17, 0.18)), ("brass", (0.75, 0.6, 0.32)),
        ("copper", (0.72, 0.44, 0.3)), ("zinc-plated steel", (0.68, 0.7, 0.68)), ("titanium", (0.55, 0.53, 0.51)),
        ("bronze", (0.55, 0.42, 0.24)),
    )  # fmt: skip
    name, rgb = metals[int(rng.choice(len(metals), p=_shares((4, 4, 4, 2, 1, 2, 1.5, 1, 1, 1))))]
    return name, tone(rgb, rng.uniform(0.75, 1.15))


def _shares(weights: Sequence[float]) -> np.ndarray:
    return np.asarray(weights, float) / sum(weights)


def pick(rng: np.random.Generator, table: Mapping[str, float]) -> str:
    """One name of a table of weights."""
    names = list(table)
    return names[int(rng.choice(len(names), p=_shares([table[n] for n in names])))]


# ---------------------------------------------------------------- materials


def flat(rgb: Colour, factor: Field | float = 1.0) -> Field:
    """(3, h, w): one colour, as bright as `factor` says."""
    return np.asarray(np.asarray(rgb, F)[:, None, None] * np.asarray(factor, F))


def finish(c: Canvas, kind: str, rgb: Colour, key: str, turn: float = 0.0, rough: float = 1.0) -> Field:
    """(3, h, w): a surface of a material; `rough` scales how uneven it is."""
    return flat(rgb, _FINISHES[kind](c, key, turn, rough))


def _plain(c: Canvas, key: str, turn: float, rough: float) -> Field:
    return 1 + F(0.012 * rough) * c.noise(key, 0.9)


def _smooth(c: Canvas, key: str, turn: float, rough: float) -> Field:
    sheen = F(0.10) * (c.u * F(c.lamp[0]) + c.v * F(c.lamp[1]))
    return 1 + sheen + F(0.012 * rough) * c.noise(key, 0.5)


def _grainy(c: Canvas, key: str, turn: float, rough: float) -> Field:
    return 1 + F(0.035 * rough) * c.noise(key, 0.016) + F(0.03 * rough) * c.noise(key + "b", 0.22)


def _brushed(c: Canvas, key: str, turn: float, rough: float) -> Field:
    across = F(-np.sin(turn)) * c.u + F(np.cos(turn)) * c.v
    sheen = F(0.09) * np.cos(across * F(2.1) + F(len(key)))
    lines = F(0.035 * rough) * c.noise(key, (0.5, 0.010), turn) + F(0.025 * rough) * c.noise(
        key + "l", (1.5, 0.03), turn
    )
    return np.asarray(1 + sheen + lines)


def _cast(c: Canvas, key: str, turn: float, rough: float) -> Field:
    return 1 + F(0.06 * rough) * c.noise(key, 0.028) + F(0.05 * rough) * c.fractal(key + "f", 0.3, 2)


def _polished(c: Canvas, key: str, turn: float, rough: float) -> Field:
    bands = np.sin(F(2.6) * (c.u * F(np.cos(turn)) + c.v * F(np.sin(turn))) + F(0.9) * c.noise(key, 0.9))
    return 1 + F(0.16) * bands + F(0.006 * rough) * c.noise(key + "s", 0.02)


def _turned(c: Canvas, key: str, turn: float, rough: float) -> Field:
    r = np.sqrt(c.u * c.u + c.v * c.v)
    angle = np.arctan2(c.v, c.u)
    return 1 + F(0.11) * np.cos(2 * angle + F(turn)) + F(0.03 * rough) * np.sin(r * F(90))


_FINISHES: Mapping[str, Callable[[Canvas, str, float, float], Field]] = {
    "plain": _plain, "smooth": _smooth, "grainy": _grainy, "brushed": _brushed, "cast": _cast,
    "polished": _polished, "turned": _turned,
}  # fmt: skip
METAL_FINISHES = {"brushed": 3.0, "grainy": 2.0, "cast": 2.0, "smooth": 2.0, "polished": 1.0}
