"""Defects of a surface: each paints over what is already on the canvas, only where the part is.

`strength` (0..1) is how blatant a flaw is: its contrast and, where that is physical, its depth. `size` is its radius or
half its length in units. What lies on the part (a thread, dirt) casts a shadow; what goes into it (a dent, a hole) is
lit from the other side than what stands out. Letters: h w pixels of the window.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from looktwice.data.procedural.canvas import Canvas, Colour, F, Field, polyline, ring, segment, wavy

ALL = ("metal", "plastic", "cloth", "wood", "stone", "glass", "ceramic", "board", "paper", "leather", "rubber",
       "silicon", "food", "film", "tissue")  # fmt: skip


@dataclass(frozen=True)
class Mark:
    """Where and how large one flaw is."""

    at: tuple[float, float]
    size: float
    strength: float
    turn: float
    ink: Colour  # a colour for stains and dirt
    grain: float = 0.0  # direction of the material
    pitch: float = 0.05  # of its pattern


@dataclass(frozen=True)
class Flaw:
    """One kind of surface defect."""

    paint: Callable[[Canvas, np.random.Generator, Mark], None]
    stuffs: tuple[str, ...]  # materials it occurs in
    sizes: tuple[float, float]  # smallest and largest, units
    reach: float = 1.3  # how far from its place it paints, in sizes
    line: bool = False  # it needs room along one direction only
    several: bool = False  # it often comes more than once


def _depth(c: Canvas, height: Field, amount: float) -> Field:
    """Shading of a small relief: brighter where it faces the lamp. `height` in units."""
    if min(height.shape) < 2:
        return np.ones_like(height)
    dv, du = np.gradient(height, F(c.px))
    return np.asarray(1 - F(amount) * (du * F(c.lamp[0]) + dv * F(c.lamp[1])), F)


def _edge(d: Field, soft: float) -> Field:
    return np.asarray(np.clip(F(0.5) - d / F(soft), 0, 1))


def _bow(rng: np.random.Generator, m: Mark, steps: int = 7, crooked: float = 0.12) -> np.ndarray:
    """(steps, 2) a slightly bent line through the place of a mark, in part coordinates."""
    t = np.linspace(-1, 1, steps)
    bend = rng.uniform(-1, 1) * crooked * 2 * (1 - t * t) + crooked * 0.25 * rng.normal(size=steps)
    along, across = t * m.size, bend * m.size
    cos, sin = np.cos(m.turn), np.sin(m.turn)
    return np.column_stack([m.at[0] + cos * along - sin * across, m.at[1] + sin * along + cos * across])


# ---------------------------------------------------------------- into the surface


def scratch(c: Canvas, rng: np.random.Generator, m: Mark) -> None:
    """One to three furrows with a bright burr, deeper in the middle."""
    width = rng.uniform(0.005, 0.014) * (0.8 + 0.8 * m.strength * m.size / 0.3) + 0.4 * c.px
    for number in range(int(rng.integers(1, 4)) if m.strength > 0.4 else 1):
        off = number * rng.uniform(0.012, 0.03)
        mark = Mark((m.at[0] - off * np.sin(m.turn), m.at[1] + off * np.cos(m.turn)), m.size, m.strength, m.turn, m.ink)
        points = _bow(rng, mark, crooked=0.08)
        d, t = polyline(c.u, c.v, points)
        depth = np.clip(
            F(3) * t * (1 - t) * (F(0.8) + F(0.5) * np.sin(F(rng.uniform(8, 25)) * t + F(rng.uniform(0, 6)))), 0, 1
        )
        line = np.exp(-((d / F(width)) ** 2)) * depth * c.on
        bright = rng.uniform() < 0.6
        k = F((0.2 + 0.8 * m.strength) * (0.85 if number == 0 else 0.5))
        c.paint(line * k, (0.95, 0.95, 0.93) if bright else (0.06, 0.06, 0.06))
        shadow = np.exp(-(((d - F(1.7 * width)) / F(width)) ** 2)) * depth * c.on
        c.shade(1 - F(0.35 if bright else 0.1) * k * shadow)


def crack(c: Canvas, rng: np.random.Generator, m: Mark) -> None:
    """A thin dark line that wanders, with a side branch or two."""
    steps = 14
    walk = np.cumsum(rng.normal(0, 0.42, steps)) * 0.28
    t = np.linspace(-1, 1, steps)
    along, across = t * m.size, (walk - walk.mean()) * m.size * 0.5
    cos, sin = np.cos(m.turn), np.sin(m.turn)
    points = np.column_stack([m.at[0] + cos * along - sin * across, m.at[1] + sin * along + cos * across])
    width = (0.003 + 0.006 * rng.uniform()) * (0.6 + 0.8 * m.strength) + 0.35 * c.px
    d, at = polyline(c.u, c.v, points)
    thin = F(width) * (F(0.35) + F(0.9) * np.clip(4 * at * (1 - at), 0, 1))
    line = np.exp(-((d / thin) ** 2)) * (d < 4 * thin)
    for _ in range(int(rng.integers(0, 3))):
        start = points[int(rng.integers(3, steps - 3))]
        turn, long = m.turn + rng.choice((-1, 1)) * rng.uniform(0.4, 1.1), m.size * rng.uniform(0.2, 0.5)
        middle = start + 0.5 * long * np.array((np.cos(turn + 0.2), np.sin(turn + 0.2)))
        branch = np.array((start, middle, start + long * np.array((np.cos(turn), np.sin(turn)))))
        d, at = polyline(c.u, c.v, branch)
        line = np.maximum(line, np.exp(-((d / (F(width) * (1 - F(0.7) * at))) ** 2)))
    k = F(0.25 + 0.75 * m.strength)
    dark = rng.uniform(0.02, 0.25)
    c.paint(line * k * c.on, c.rgb * F(dark))
    if rng.uniform() < 0.4:  # the other lip of the crack catches light
        lip = np.roll(line, (1, 1), (0, 1)) * (1 - line)
        c.shade(1 + F(0.25) * k * lip * c.on)


def hole(c: Canvas, rng: np.random.Generator, m: Mark) -> None:
    """A pit or a puncture with a ragged rim: dark inside, its far wall lit."""
    u, v = c.local(m.at)
    r, angle = ring(u, v), np.arctan2(v, u)
    stretch = 1 + F(rng.uniform(0, 0.35)) * np.cos(2 * (angle - F(m.turn)))
    d = r - F(m.size * 0.8) * stretch * (1 + F(0.22) * wavy(rng, 2, 7)(angle))
    k = F(0.3 + 0.7 * m.strength)
    inside = c.cover(d)
    towards = (u * F(c.lamp[0]) + v * F(c.lamp[1])) / np.maximum(r, F(1e-4))
    wall = np.exp(-((d / F(0.22 * m.size + c.px)) ** 2))
    deep = (
        c.rgb
        * F(rng.uniform(0.05, 0.35))
        * (F(1.1) - F(0.9) * np.clip(-d / F(m.size), 0, 1))
        * (1 - F(0.5) * towards * wall)
    )
    c.paint(inside * k * c.on, np.maximum(deep, 0))
    c.shade(
        1
        + F(0.3)
        * k
        * np.clip(towards, -1, 1)
        * np.exp(-(((d - F(0.1 * m.size)) / F(0.14 * m.size + c.px)) ** 2))
        * c.on
    )


def dent(c: Canvas, rng: np.random.Generator, m: Mark) -> None:
    """A knock: a hollow with a soft rim, seen by its light and shade only."""
    u, v = c.local(m.at, m.turn)
    v = v * F(rng.uniform(1.0, 2.2))
    r = ring(u, v) / (F(m.size) * (1 + F(0.12) * wavy(rng, 2, 4)(np.arctan2(v, u))))
    bowl = -np.exp(-((r / F(0.55)) ** 2) * F(1.2)) + F(0.25) * np.exp(-(((r - F(0.95)) / F(0.25)) ** 2))
    shade = _depth(c, F(m.size) * bowl, 0.12 + 0.45 * m.strength)
    c.shade(1 + (np.clip(shade, 0.35, 1.8) - 1) * c.on)


def bump(c: Canvas, rng: np.random.Generator, m: Mark) -> None:
    """A blister: a round rise with a highlight."""
    u, v = c.local(m.at)
    r = ring(u, v) / (F(m.size) * (1 + F(0.1) * wavy(rng, 2, 4)(np.arctan2(v, u))))
    rise = np.clip(1 - r * r, 0, 1)
    shade = _depth(c, F(0.8 * m.size) * rise, 0.10 + 0.4 * m.strength)
    c.shade(1 + (np.clip(shade, 0.4, 1.8) - 1) * c.on)
    glint = np.exp(
        -(((u - F(0.3 * m.size * c.lamp[0])) ** 2 + (v - F(0.3 * m.size * c.lamp[1])) ** 2) / F((0.22 * m.size) ** 2))
    )
    c.paint(F(0.6 * m.strength) * glint * c.on * rise, (1.0, 1.0, 1.0))


def cut(c: Canvas, rng: np.random.Generator, m: Mark) -> None:
    """A slit with open lips: dark inside, a bright edge."""
    points = _bow(rng, m, 4, crooked=0.05)
    d, t = polyline(c.u, c.v, points)
    wide = F(0.010 + 0.03 * m.strength * rng.uniform(0.5, 1.0) * min(1.0, m.size / 0.15)) * np.sqrt(
        np.clip(4 * t * (1 - t), 0, 1)
    )
    inside = c.cover(d - wide)
    lip = np.exp(-(((d - wide - F(0.008)) / F(0.008 + c.px)) ** 2)) * np.clip(8 * t * (1 - t), 0, 1)
    k = F(0.35 + 0.65 * m.strength)
    c.shade(1 + F(0.35) * k * lip * c.on)
    c.paint(inside * k * c.on, c.rgb * F(rng.uniform(0.08, 0.3)))


def pores(c: Canvas, rng: np.random.Generator, m: Mark) -> None:
    """A nest of tiny pits."""
    k = F(0.35 + 0.65 * m.strength)
    for _ in range(int(rng.integers(4, 16))):
        angle, far = rng.uniform(0, 2 * np.pi), m.size * np.sqrt(rng.uniform())
        small = rng.uniform(0.006, 0.018) + 0.4 * c.px
        at = m.at[0] + far * np.cos(angle), m.at[1] + far * np.sin(angle)
        near = c.around(*at, 3 * small)
        if near is None:
            continue
        u, v = near.local(at)
        d = ring(u, v * F(rng.uniform(1, 1.6))) - F(small)
        near.shade(
            1
            + F(0.4)
            * k
            * np.exp(-(((d - F(0.4 * small)) / F(0.6 * small)) ** 2))
            * near.on
            * (u * F(c.lamp[0]) + v * F(c.lamp[1]) < 0)
        )
        near.paint(near.cover(d) * k * near.on, near.rgb * F(rng.uniform(0.1, 0.4)))


def abrasion(c: Canvas, rng: np.random.Generator, m: Mark) -> None:
    """A rubbed patch: many fine parallel lines, paler than around it."""
    u, v = c.local(m.at, m.turn)
    patch = _edge(
        ring(u, v * F(rng.uniform(1.2, 2.6))) - F(m.size) * (F(0.7) + F(0.3) * wavy(rng)(np.arctan2(v, u))),
        0.5 * m.size,
    )
    lines = np.clip(F(0.5) + F(0.8) * c.noise(f"rub{rng.integers(9)}", (0.3, 0.012), m.turn), 0, 1)
    pale = rng.uniform() < 0.7
    c.paint(F(0.15 + 0.6 * m.strength) * patch * lines * c.on, c.rgb * F(0.4) + F(0.55) if pale else c.rgb * F(0.5))


# ---------------------------------------------------------------- change of colour


def stain(c: Canvas, rng: np.random.Generator, m: Mark) -> None:
    """A dried see-through pool with a darker rim and a few drops."""
    u, v = c.local(m.at, m.turn)
    v = v * F(rng.uniform(1, 1.8))
    pool = ring(u, v) - F(0.75 * m.size) * (1 + F(0.35) * wavy(rng, 2, 8, 0.9)(np.arctan2(v, u)))
    for _ in range(int(rng.integers(0, 4))):
        angle, far = rng.uniform(0, 2 * np.pi), rng.uniform(0.9, 1.2) * m.size
        drop = ring(u - F(far * np.cos(angle)), v - F(far * np.sin(angle))) - F(rng.uniform(0.05, 0.14) * m.size)
        pool = np.minimum(pool, drop)
    wet = _edge(pool, rng.uniform(0.02, 0.25) * m.size + c.px)
    rim = np.exp(-(((pool + F(0.08 * m.size)) / F(0.10 * m.size + c.px)) ** 2)) * F(rng.uniform(0, 0.8))
    cloud = 1 + F(0.25) * c.noise(f"stain{rng.integers(9)}", 0.4 * m.size + 0.02)
    thick = np.clip(wet * (F(0.55) + rim) * cloud, 0, 1) * F(0.15 + 0.85 * m.strength) * c.on
    ink = np.asarray(m.ink, F)[:, None, None]
    if rng.uniform() < 0.6:
        c.rgb *= 1 - thick * (1 - np.minimum(ink / F(max(0.35, float(np.max(m.ink)))), 1))
        c.rgb *= 1 - F(0.3) * thick
    else:
        c.paint(F(0.8) * thick, m.ink)


def discoloration(c: Canvas, rng: np.random.Generator, m: Mark) -> None:
    """A patch of another tint or brightness: soft, or a band that ends at a line."""
    u, v = c.local(m.at, m.turn)
    v = v * F(rng.uniform(1, 2))
    if rng.uniform() < 0.25:
        u = np.maximum(np.abs(u), 0) * F(rng.uniform(0.2, 0.6)) + F(0.02) * c.noise("band", 0.2)
    r = ring(u, v) / (F(m.size) * (1 + F(0.3) * wavy(rng, 2, 5)(np.arctan2(v, u))))
    patch = np.exp(-((r / F(0.75)) ** rng.uniform(2, 5))) * (1 + F(0.15) * c.noise(f"tint{rng.integers(9)}", 0.06))
    shift = rng.uniform(-0.35, 0.35, 3) * rng.uniform(0.2, 1) + rng.choice((-1, 1)) * rng.uniform(0.15, 0.45)
    c.rgb *= 1 + (F(0.12 + 0.75 * m.strength) * patch * c.on) * np.asarray(shift, F)[:, None, None]


def burn(c: Canvas, rng: np.random.Generator, m: Mark) -> None:
    """Scorched: black in the middle, brown around, a pale halo."""
    u, v = c.local(m.at, m.turn)
    r = ring(u, v * F(rng.uniform(1, 1.7))) / (F(m.size) * (1 + F(0.25) * wavy(rng, 2, 7)(np.arctan2(v, u))))
    k = F(0.25 + 0.75 * m.strength) * c.on
    brown = np.exp(-((r / F(0.75)) ** 3))
    black = np.exp(-((r / F(rng.uniform(0.25, 0.5))) ** 3)) * np.clip(
        F(0.9) + F(0.3) * c.noise(f"burn{rng.integers(9)}", 0.03), 0, 1
    )
    c.paint(F(0.65) * k * brown, c.rgb * np.asarray((0.55, 0.36, 0.2), F)[:, None, None])
    c.paint(F(0.9) * k * black, (0.05, 0.04, 0.035))


def hot_spot(c: Canvas, rng: np.random.Generator, m: Mark) -> None:
    """An overheated place: a glow that fades, bluish or straw on metal."""
    u, v = c.local(m.at, m.turn)
    r = ring(u, v * F(rng.uniform(1, 1.6))) / F(m.size)
    k = F(0.2 + 0.8 * m.strength) * c.on
    heat = np.exp(-(r * r) * F(2.2))
    tint = np.asarray(((0.95, 0.75, 0.4), (0.45, 0.5, 0.85), (1.0, 0.9, 0.75))[int(rng.integers(3))], F)[:, None, None]
    c.paint(F(0.75) * k * heat, tint * (F(0.35) + F(0.8) * c.rgb))


def corrosion(c: Canvas, rng: np.random.Generator, m: Mark) -> None:
    """Rust or oxide: rough spots that grow together."""
    u, v = c.local(m.at)
    r = ring(u, v) / F(m.size)
    spread = c.fractal(f"rust{rng.integers(9)}", 0.5 * m.size + 0.03, 4) - F(2.6) * r + F(1.3)
    rust = np.clip(spread * F(1.6), 0, 1) * (r < 1.25)
    tints = ((0.45, 0.22, 0.1), (0.55, 0.32, 0.14), (0.35, 0.2, 0.14), (0.62, 0.66, 0.6), (0.28, 0.5, 0.44))
    tint = np.asarray(tints[int(rng.integers(5))], F)[:, None, None]
    spots = 1 + F(0.3) * c.noise(f"spots{rng.integers(9)}", 0.02)
    c.paint(rust * F(0.2 + 0.8 * m.strength) * c.on, tint * spots)


def fade(c: Canvas, rng: np.random.Generator, m: Mark) -> None:
    """The pattern is worn away: everything runs together into its mean colour."""
    u, v = c.local(m.at, m.turn)
    patch = _edge(
        ring(u, v * F(rng.uniform(1, 2))) - F(0.8 * m.size) * (1 + F(0.25) * wavy(rng)(np.arctan2(v, u))), 0.4 * m.size
    )
    mean = c.rgb.reshape(3, -1).mean(1) * rng.uniform(0.85, 1.15)
    c.paint(F(0.3 + 0.65 * m.strength) * patch * c.on, mean)


# ---------------------------------------------------------------- on the surface


def contamination(c: Canvas, rng: np.random.Generator, m: Mark) -> None:
    """One or more foreign particles that lie on the part: shavings, crumbs, flakes."""
    many = int(rng.integers(1, 6)) if rng.uniform() < 0.5 else 1
    k = F(0.3 + 0.7 * m.strength)
    shiny = rng.uniform() < 0.3
    for number in range(many):
        angle, far = rng.uniform(0, 2 * np.pi), m.size * (0.0 if many == 1 else np.sqrt(rng.uniform()))
        size = m.size * (rng.uniform(0.5, 0.9) if many == 1 else rng.uniform(0.12, 0.35))
        at = m.at[0] + far * np.cos(angle), m.at[1] + far * np.sin(angle)
        u, v = c.local(at, rng.uniform(0, np.pi))
        v = v * F(rng.uniform(1, 3))
        line, rough = np.arctan2(v, u), wavy(rng, 2, 8, 0.4)
        d = ring(u, v) - F(size) * (F(0.8) + F(0.35) * rough(line))
        lift = 0.25 * size + c.px
        shadow = _edge(np.sqrt((u + F(0.6 * lift)) ** 2 + (v + F(0.6 * lift)) ** 2) - F(size), 0.6 * size)
        c.shade(1 - F(0.45) * k * shadow * c.on)
        lit = (
            F(0.75)
            + F(0.35) * c.noise(f"crumb{number}", 0.3 * size + 0.012)
            - F(0.25) * (u * F(c.lamp[0]) + v * F(c.lamp[1])) / F(-size)
        )
        colour = np.asarray(m.ink, F)[:, None, None] * np.clip(lit, 0.25, 1.6)
        if shiny:
            colour = np.clip(colour * F(0.6) + F(0.5) * (lit > 1.0), 0, 1)
        c.paint(c.cover(d) * k * c.on, colour)


def thread(c: Canvas, rng: np.random.Generator, m: Mark) -> None:
    """A fibre or hair in loops, with its shadow; it may hang over the edge of the part."""
    steps = 16
    turn = m.turn + np.cumsum(rng.normal(0, 0.5, steps))
    points = np.cumsum(np.column_stack([np.cos(turn), np.sin(turn)]), 0)
    points = (points - points.mean(0)) / max(1e-6, np.abs(points - points.mean(0)).max()) * m.size + np.array(m.at)
    width = rng.uniform(0.005, 0.013) + 0.3 * c.px
    d, t = polyline(c.u, c.v, points)
    below, _ = polyline(c.u + F(0.016 * c.lamp[0]), c.v + F(0.016 * c.lamp[1]), points)
    k = F(0.3 + 0.7 * m.strength)
    c.shade(1 - F(0.4) * k * np.exp(-((below / F(1.6 * width)) ** 2)))
    round_ = np.sqrt(np.clip(1 - (d / F(width)) ** 2, 0, 1))
    c.paint(
        c.cover(d - F(width)) * k,
        np.asarray(m.ink, F)[:, None, None] * (F(0.55) + F(0.5) * round_ + F(0.06) * np.sin(t * F(160))),
    )


def residue(c: Canvas, rng: np.random.Generator, m: Mark) -> None:
    """Glue or oil: a glossy clear blob with bright and dark rims."""
    u, v = c.local(m.at, m.turn)
    v = v * F(rng.uniform(1, 2))
    d = ring(u, v) - F(0.75 * m.size) * (1 + F(0.3) * wavy(rng, 2, 6)(np.arctan2(v, u)))
    body = np.clip(-d / F(0.35 * m.size), 0, 1)
    thick = np.sqrt(body)
    k = 0.25 + 0.75 * m.strength
    c.rgb *= 1 - F(k) * c.cover(d) * c.on * (
        1 - np.asarray((0.88, 0.84, 0.7) if rng.uniform() < 0.5 else (0.86, 0.88, 0.9), F)[:, None, None]
    )
    shade = np.clip(_depth(c, F(0.35 * m.size) * thick, 0.25 * k), 0.5, 1.7)
    c.shade(1 + (shade - 1) * c.on * c.cover(d))
    glint = np.exp(
        -(((u - F(0.3 * m.size)) / F(0.25 * m.size)) ** 2 + ((v + F(0.25 * m.size)) / F(0.10 * m.size)) ** 2)
    )
    c.paint(F(0.85 * k) * glint * c.cover(d) * c.on, (1, 1, 1))


def drops(c: Canvas, rng: np.random.Generator, m: Mark) -> None:
    """Splashed drops: some beads, dark below and bright above, or flecks of paint."""
    paint_, k = rng.uniform() < 0.5, F(0.3 + 0.7 * m.strength)
    for _ in range(int(rng.integers(3, 12))):
        angle, far = rng.uniform(0, 2 * np.pi), m.size * rng.uniform() ** 0.7
        small = m.size * rng.uniform(0.05, 0.2) + 0.5 * c.px
        at = m.at[0] + far * np.cos(angle), m.at[1] + far * np.sin(angle)
        near = c.around(*at, 1.6 * small)
        if near is None:
            continue
        u, v = near.local(at)
        inside = near.cover(ring(u, v) - F(small)) * near.on * k
        if paint_:
            near.paint(inside, m.ink)
        else:
            side = (u * F(c.lamp[0]) + v * F(c.lamp[1])) / F(small)
            near.paint(inside, near.rgb * np.clip(F(1.0) - F(0.45) * side, 0.4, 1.5))


def smear(c: Canvas, rng: np.random.Generator, m: Mark) -> None:
    """A wiped streak of grease or ink, torn open along its way."""
    u, v = c.local(m.at, m.turn)
    along = u / F(m.size)
    wide = F(m.size * rng.uniform(0.12, 0.35)) * np.clip(1 - along * along, 0, 1)
    torn = np.clip(F(0.6) + F(0.6) * c.noise(f"wipe{rng.integers(9)}", (0.4, 0.02), m.turn), 0, 1)
    streak = _edge(np.abs(v) - wide, 0.08 * m.size + c.px) * torn * (np.abs(along) < 1)
    c.paint(F(0.15 + 0.65 * m.strength) * streak * c.on, m.ink)


# ---------------------------------------------------------------- of soft and woven surfaces


def wrinkle(c: Canvas, rng: np.random.Generator, m: Mark) -> None:
    """A fold: a long soft ridge, lit on one side, dark on the other."""
    points = _bow(rng, m, 6, crooked=0.22)
    d, t = polyline(c.u, c.v, points)
    wide = rng.uniform(0.025, 0.07) * min(1.0, m.size / 0.2) + 1.5 * c.px
    ridge = np.exp(-((d / F(wide)) ** 2)) * np.clip(5 * t * (1 - t), 0, 1)
    shade = _depth(c, F(wide) * ridge, 0.2 + 0.6 * m.strength)
    c.shade(1 + (np.clip(shade, 0.45, 1.6) - 1) * c.on)
    c.shade(1 - F(0.15 * m.strength) * np.exp(-((d / F(0.25 * wide)) ** 2)) * np.clip(5 * t * (1 - t), 0, 1) * c.on)


def line_fault(c: Canvas, rng: np.random.Generator, m: Mark) -> None:
    """One thread or pass is missing, doubled or of another colour: a straight streak along the grain."""
    u, v = c.local(m.at, m.grain if rng.uniform() < 0.6 else m.grain + np.pi / 2)
    wide = max(0.35 * m.pitch, 0.008) * rng.uniform(0.7, 1.5) + 0.4 * c.px
    ends = _edge(np.abs(u) - F(m.size), 0.1 * m.size)
    line = np.exp(-((v / F(wide)) ** 4)) * ends * (F(0.85) + F(0.25) * c.noise("line", 0.05)) * c.on
    k = F(0.2 + 0.7 * m.strength)
    kind = rng.uniform()
    if kind < 0.4:
        c.shade(1 - F(0.75) * k * line)
    elif kind < 0.7:
        c.shade(1 + F(0.8) * k * line)
    else:
        c.paint(k * line, m.ink)


def knot(c: Canvas, rng: np.random.Generator, m: Mark) -> None:
    """A lump where yarn was tied or fluff was woven in."""
    u, v = c.local(m.at, m.turn)
    r = ring(u, v * F(rng.uniform(1, 1.8))) / (F(0.8 * m.size) * (1 + F(0.25) * wavy(rng)(np.arctan2(v, u))))
    lump = np.clip(1 - r * r, 0, 1)
    fuzz = 1 + F(0.3) * c.noise(f"fluff{rng.integers(9)}", (0.05, 0.012), m.turn)
    k = F(0.25 + 0.75 * m.strength)
    c.shade(1 - F(0.35) * k * np.exp(-(((r - 1) / F(0.25)) ** 2)) * c.on)
    c.paint(
        k * np.sqrt(lump) * c.on,
        np.asarray(m.ink, F)[:, None, None] * np.clip(fuzz + F(0.3) * (lump - F(0.5)), 0.3, 1.5),
    )


def foreign_patch(c: Canvas, rng: np.random.Generator, m: Mark) -> None:
    """The pattern is out of step: a patch of the surface turned, mirrored or moved."""
    u, v = c.local(m.at, m.turn)
    shape = F(m.size) * (F(0.75) + F(0.3) * wavy(rng, 2, 5)(np.arctan2(v, u)))
    inside = np.where(
        rng.uniform() < 0.5,
        _edge(ring(u, v) - shape, 0.06 * m.size + c.px),
        _edge(np.maximum(np.abs(u), np.abs(v) * F(1.4)) - F(0.7 * m.size), c.px * 1.5),
    )
    other = (
        c.rgb[:, ::-1, ::-1]
        if rng.uniform() < 0.5
        else np.roll(c.rgb, (c.rgb.shape[1] // 3, c.rgb.shape[2] // 4), (1, 2))
    )
    c.paint(F(0.35 + 0.65 * m.strength) * inside.astype(F) * c.on, other.copy())


def print_fault(c: Canvas, rng: np.random.Generator, m: Mark) -> None:
    """A blot, a void or a doubled edge in what is printed."""
    u, v = c.local(m.at, m.turn)
    d = ring(u, v * F(rng.uniform(1, 2.5))) - F(0.6 * m.size) * (1 + F(0.4) * wavy(rng, 2, 8, 0.5)(np.arctan2(v, u)))
    k = F(0.3 + 0.7 * m.strength)
    if rng.uniform() < 0.5:
        c.paint(c.cover(d) * k * c.on, m.ink)
    else:
        moved = np.roll(c.rgb, (max(1, int(0.03 / c.px)), max(1, int(0.04 / c.px))), (1, 2))
        c.paint(_edge(d, 0.3 * m.size) * k * F(0.7) * c.on, np.minimum(c.rgb, moved))


def edge_wear(c: Canvas, rng: np.random.Generator, m: Mark) -> None:
    """The rim of the part is chipped or rubbed where the mark lies: crumbs are gone from the last layer."""
    u, v = c.local(m.at)
    bite = c.fractal(f"wear{rng.integers(9)}", 0.4 * m.size + 0.02, 3) * F(0.35 * m.size) + ring(u, v) - F(0.7 * m.size)
    gone = c.cover(bite) * c.on
    k = F(0.35 + 0.65 * m.strength)
    pale = rng.uniform() < 0.6
    c.paint(gone * k, c.rgb * F(0.35) + F(0.5) if pale else c.rgb * F(0.3))
    c.shade(1 - F(0.4) * k * np.exp(-((bite / F(0.015 + c.px)) ** 2)) * c.on)


def stripe(c: Canvas, rng: np.random.Generator, m: Mark) -> None:
    """A drawn mark of a pen, a roller or a stacker: an even straight line."""
    a = m.at[0] - m.size * np.cos(m.turn), m.at[1] - m.size * np.sin(m.turn)
    b = m.at[0] + m.size * np.cos(m.turn), m.at[1] + m.size * np.sin(m.turn)
    d, t = segment(c.u, c.v, a, b)
    wide = rng.uniform(0.008, 0.02) + 0.3 * c.px
    c.paint(c.cover(d - F(wide)) * F(0.2 + 0.7 * m.strength) * c.on * (F(0.85) + F(0.15) * np.sin(t * 40)), m.ink)


HARD = ("metal", "plastic", "wood", "stone", "glass", "ceramic", "board", "silicon", "leather", "rubber", "film")
BRITTLE = ("wood", "stone", "glass", "ceramic", "plastic", "silicon", "board", "food", "metal", "rubber")
SOFT = ("cloth", "leather", "paper", "film", "rubber", "tissue")

FLAWS: Mapping[str, Flaw] = {
    "scratch": Flaw(scratch, HARD, (0.08, 0.6), line=True, several=True),
    "crack": Flaw(crack, BRITTLE, (0.08, 0.8), line=True, several=True),
    "hole": Flaw(hole, ALL, (0.02, 0.16), 1.8, several=True),
    "dent": Flaw(
        dent, ("metal", "plastic", "food", "leather", "rubber", "film", "paper"), (0.06, 0.3), 2.2, several=True
    ),
    "blister": Flaw(
        bump,
        ("metal", "plastic", "rubber", "film", "leather", "ceramic", "board", "tissue"),
        (0.03, 0.22),
        1.3,
        several=True,
    ),
    "cut": Flaw(
        cut,
        ("cloth", "leather", "paper", "film", "rubber", "wood", "plastic", "food"),
        (0.06, 0.4),
        line=True,
        several=True,
    ),
    "pores": Flaw(pores, ("metal", "stone", "ceramic", "plastic", "rubber", "food"), (0.05, 0.25), 1.6),
    "abrasion": Flaw(abrasion, HARD, (0.06, 0.4), 1.3, several=True),
    "stain": Flaw(stain, ALL, (0.04, 0.45), 1.6, several=True),
    "discoloration": Flaw(discoloration, ALL, (0.08, 0.55), 2.2),
    "burn": Flaw(
        burn,
        ("cloth", "wood", "paper", "plastic", "board", "leather", "rubber", "food", "silicon", "film"),
        (0.04, 0.3),
        1.9,
        several=True,
    ),
    "hot_spot": Flaw(hot_spot, ("metal", "silicon"), (0.06, 0.4), 1.9),
    "corrosion": Flaw(corrosion, ("metal",), (0.05, 0.4), 1.4, several=True),
    "fading": Flaw(fade, ("cloth", "paper", "plastic", "film"), (0.07, 0.4), 1.5),
    "contamination": Flaw(contamination, ALL, (0.025, 0.18), 2.2, several=True),
    "thread": Flaw(thread, ALL, (0.08, 0.45), 1.3, several=True),
    "residue": Flaw(
        residue,
        ("metal", "plastic", "cloth", "wood", "stone", "glass", "ceramic", "board", "leather", "silicon", "film"),
        (0.04, 0.3),
        1.6,
        several=True,
    ),
    "drops": Flaw(drops, ALL, (0.08, 0.4), 1.4),
    "smear": Flaw(
        smear, ("metal", "plastic", "stone", "glass", "ceramic", "board", "paper", "film", "silicon"), (0.1, 0.5), 1.2
    ),
    "wrinkle": Flaw(wrinkle, SOFT, (0.12, 0.7), 1.4, line=True),
    "line_fault": Flaw(line_fault, ("cloth", "metal", "film", "silicon"), (0.2, 1.2), 1.2, line=True),
    "knot": Flaw(knot, ("cloth", "wood"), (0.025, 0.12), 2.0, several=True),
    "pattern_fault": Flaw(foreign_patch, ("cloth", "wood", "stone", "paper", "leather"), (0.1, 0.4), 1.3),
    "print_fault": Flaw(print_fault, ("paper", "film", "plastic", "metal"), (0.03, 0.18), 2.0),
    "edge_wear": Flaw(edge_wear, ("paper", "film", "metal", "plastic", "wood", "board", "ceramic"), (0.05, 0.22), 1.6),
    "pen_mark": Flaw(
        stripe, ("leather", "paper", "cloth", "metal", "plastic", "ceramic", "wood", "stone"), (0.1, 0.5), line=True
    ),
}
