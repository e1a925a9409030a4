"""What designs share: grounds to lie on, bodies with an edge, rare marks, and how pictures are taken.

Letters: d distance to an outline (units, negative inside), h w pixels of a window.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from looktwice.data.procedural.canvas import Canvas, Colour, F, Field, ring, rounded_box, segment, slope
from looktwice.data.procedural.design import RGB, Handling, Part, able, any_colour, flat, pick, tone

Outline = Callable[[Canvas, Part], Field]


def handling(rng: np.random.Generator, pose: str, grey: float = 0.25) -> Handling:
    """How pictures of a family are taken; `pose` is fixed, loose, turned (by any angle), or texture (any crop)."""
    spread = {"fixed": (0.008, 0.006, 0.004), "loose": (0.04, 0.05, 0.02), "turned": (0.06, np.pi, 0.03)}
    shift, turn, zoom = spread.get(pose, (0.3, 0.03, 0.03))
    unsteady = 2.5 if rng.uniform() < 0.25 else 1.0  # some lines have daylight, or an old lamp
    return Handling(
        shift=shift * rng.uniform(0.3, 1),
        turn=turn * (1 if pose == "turned" else rng.uniform(0.2, 1)),
        zoom=zoom,
        shear=rng.uniform(0, 0.015),
        grey=bool(rng.uniform() < grey),
        level=unsteady * rng.uniform(0.02, 0.12),
        slope=unsteady * rng.uniform(0.02, 0.14),
        vignette=rng.uniform(0, 0.18),
        tint=rng.uniform(0, 0.025),
        blur=(rng.uniform(0.0015, 0.005), rng.uniform(0.005, 0.010)),
        noise=(0.004, rng.uniform(0.008, 0.022)),
        jpeg=None if rng.uniform() < 0.6 else (int(rng.integers(60, 85)), 95),
        gamma=float(np.exp(rng.uniform(-0.25, 0.25))),
        lamp=float(rng.uniform(0, 2 * np.pi)),
    )


# ---------------------------------------------------------------- the ground


def ground(rng: np.random.Generator, light: tuple[float, float] | None = None) -> Part:
    """What the part lies on; its place in the picture does not move with the part."""
    kinds = {"plain": 3.0, "grainy": 2.0, "wood": 0.6, "gridded": 0.6, "cloth": 0.8, "lamp": 1.0, "scuffed": 1.0}
    kind = pick(rng, kinds)
    level = light or ((0.03, 0.3) if rng.uniform() < 0.55 else (0.5, 0.95))
    rgb = any_colour(rng, level, 0.1 if rng.uniform() < 0.55 else 0.5)  # most benches are grey
    if kind == "lamp":
        rgb = (0.95, 0.95, 0.94)
    return Part("ground", _ground, look={"kind": kind, "rgb": rgb, "pitch": rng.uniform(0.05, 0.3)}, can=able("ground"))


def _ground(c: Canvas, p: Part) -> None:
    kind, still = p.look["kind"], -c.shot.pose.turn  # the bench does not turn with the part
    x, y = c.seat()
    if kind == "wood":
        shade = 1 + F(0.10) * c.noise("table", (1.5, 0.03), still) + F(0.05) * c.noise("table2", (0.4, 0.01), still)
    elif kind == "gridded":
        half = F(p.look["pitch"] / 2)
        line = np.maximum(np.abs(np.mod(x, 2 * half) - half), np.abs(np.mod(y, 2 * half) - half)) / half
        shade = 1 + F(0.18) * line**6
    elif kind == "cloth":
        weave = F(0.10) * clear(c, 0.042) * np.sin(x * F(150)) * np.sin(y * F(150))
        shade = 1 + weave + F(0.04) * c.noise("cloth", 0.3)
    elif kind == "scuffed":
        shade = 1 + F(0.07) * c.fractal("scuff", 0.5, 3) + F(0.03) * c.noise("scuff9", (0.2, 0.012), still + 0.6)
    elif kind == "grainy":
        shade = 1 + F(0.06) * c.noise("grain", 0.014)
    else:
        shade = 1 + F(0.02) * c.noise("plain", 0.6)
    c.rgb[:] = flat(p.look["rgb"], shade)


def clear(c: Canvas, pitch: float) -> np.float32:
    """How well a pattern of this pitch can be seen at this resolution, 0..1."""
    return F(np.clip(pitch / c.px / 3 - 0.6, 0, 1))


# ---------------------------------------------------------------- bodies


def lay(
    c: Canvas,
    d: Field,
    colour: Field,
    *,
    bevel: float = 0.03,
    gloss: float = 0.35,
    shadow: float = 0.45,
    soft: float = 0.05,
) -> Field:
    """Paint a body with a lit edge and the shadow it casts; returns how much of each pixel it covers."""
    towards = slope(d, c.lamp)
    if shadow:
        away = np.exp(np.minimum(d, 0.5).clip(0) * F(-1 / soft))
        c.shade(1 - F(shadow) * away * (F(0.6) - F(0.4) * towards))
    alpha = c.cover(d)
    rim = np.exp(-((d / F(bevel)) ** 2))
    c.solid(alpha, colour * (1 + F(gloss) * towards * rim))
    return alpha


def sunk(c: Canvas, d: Field, colour: Field | Colour, *, wall: float = 0.02, depth: float = 0.5) -> Field:
    """Paint a hollow: its wall is dark towards the lamp and bright on the far side."""
    towards = slope(d, c.lamp)
    rim = np.exp(-((d / F(wall)) ** 2))
    alpha = c.cover(d)
    c.paint(alpha, colour)
    c.shade(1 - F(depth) * towards * rim * (d < F(1.5 * wall)))
    return alpha


# ---------------------------------------------------------------- rare but normal: one logo, a frame, a bar


def rare(rng: np.random.Generator, chance: float = 0.35) -> tuple[Part, ...]:
    """A mark that every good part of the family has once."""
    if rng.uniform() > chance:
        return ()
    kind = pick(rng, {"frame": 1.0, "bar": 1.0, "logo": 1.2, "corner": 1.0, "ticks": 0.7})
    look = {
        "kind": kind,
        "rgb": any_colour(rng, (0.02, 0.95)),
        "wide": rng.uniform(0.02, 0.07),
        "seed": int(rng.integers(1 << 30)),
        "turn": float(rng.choice((0, np.pi / 2))),
        "size": rng.uniform(0.08, 0.2),
    }
    at = float(rng.uniform(-0.7, 0.7)), float(rng.uniform(-0.7, 0.7))
    if kind == "corner":
        at = float(rng.choice((-0.85, 0.85))), float(rng.choice((-0.85, 0.85)))
    return (Part("mark", _rare, at, 3.0 if kind in ("frame", "bar", "ticks") else 0.5, look=look),)


def _rare(c: Canvas, p: Part) -> None:
    kind, wide = p.look["kind"], F(p.look["wide"])
    if kind == "frame":
        c.paint(c.cover(F(0.96) - wide - np.maximum(np.abs(c.u), np.abs(c.v))), p.look["rgb"])
        return
    if kind == "bar":
        u, v = c.local(p.at, p.look["turn"])
        c.paint(c.cover(np.abs(v) - wide) * F(0.9), flat(p.look["rgb"], 1 + F(0.1) * np.cos(v / wide)))
        return
    if kind == "ticks":
        d = np.maximum(np.abs(np.mod(c.u, F(0.1)) - F(0.05)) - F(0.008), np.abs(c.v - F(p.at[1])) - wide)
        c.paint(c.cover(d), p.look["rgb"])
        return
    near = c.around(*p.at, p.radius)
    if near is None:
        return
    u, v = near.local(p.at)
    size = F(p.look["size"])
    if kind == "corner":
        near.paint(near.cover(ring(u, v) - size * F(0.6)), p.look["rgb"])
        near.paint(near.cover(ring(u, v) - size * F(0.3)), tone(p.look["rgb"], 1.7))
        return
    rng = np.random.default_rng(p.look["seed"])
    near.paint(near.cover(glyphs(u / size, v / size, rng, 3) * size) * F(0.85), p.look["rgb"])


# ---------------------------------------------------------------- print

STROKES = (
    (-1, -1, 1, -1),
    (-1, 0, 1, 0),
    (-1, 1, 1, 1),
    (-1, -1, -1, 0),
    (-1, 0, -1, 1),
    (1, -1, 1, 0),
    (1, 0, 1, 1),
    (-1, 1, 1, -1),
)


def glyphs(u: Field, v: Field, rng: np.random.Generator, letters: int) -> Field:
    """Distance to a row of made-up letters, about 2 wide and 1 high around (0, 0)."""
    best = np.full(u.shape, 9.0, F)
    step = 2.0 / letters
    for i in range(letters):
        centre = -1 + (i + 0.5) * step
        strokes = rng.permutation(len(STROKES))[: int(rng.integers(3, 6))]
        near = np.abs(u - F(centre)) < step
        if not near.any():
            continue
        for s in strokes:
            a, b, x, y = STROKES[s]
            w, h = 0.32 * step, 0.32
            d, _ = segment(u, v, (centre + a * w, b * h), (centre + x * w, y * h))
            np.minimum(best, d, out=best)
    return best - F(0.06 + 0.02 * min(3.0, 6 / letters))


def text_part(
    name: str,
    at: tuple[float, float],
    size: float,
    rgb: RGB,
    seed: int,
    letters: int = 5,
    turn: float = 0.0,
    free: bool = False,
) -> Part:
    """A row of print about 2 * size wide: the same letters on every part of the family, or others on each (`free`)."""
    look = {"size": size, "rgb": rgb, "seed": seed, "letters": letters, "free": free}
    return Part(name, _text, at, 1.3 * size, turn, look, able("miss", "move", "turn", "print"), near=0.2 * size)


def _text(c: Canvas, p: Part) -> None:
    near = c.around(*p.at, p.radius)
    if near is None:
        return
    size = F(p.look["size"])
    u, v = near.local(p.at, p.turn)
    u, v = u / size, v / size
    free, fault = p.look["free"], p.fault.get("print")
    seed = int(c.shot.random(f"letters {p.look['seed']}").integers(1 << 30)) if free else p.look["seed"]
    alpha = near.cover(glyphs(u, v, np.random.default_rng(seed), p.look["letters"]) * size)
    if fault is not None:
        k, kind = F(0.3 + 0.7 * fault["strength"]), fault["seed"] % (2 if free else 3)
        side = np.clip((u - F(2 * fault["place"] - 1)) * F(4 * fault["side"]) + F(0.5), 0, 1)
        if kind == 0:  # faded to one side
            alpha = alpha * (1 - k * side)
        elif kind == 1:  # doubled
            shifted = near.cover(
                glyphs(u + F(0.12), v + F(0.09), np.random.default_rng(seed), p.look["letters"]) * size
            )
            alpha = np.maximum(alpha, k * shifted)
        else:  # other letters
            other = near.cover(glyphs(u, v, np.random.default_rng(fault["seed"]), p.look["letters"]) * size)
            alpha = alpha * (1 - side) + other * side
    near.paint(alpha * F(0.9), p.look["rgb"])


# ---------------------------------------------------------------- shapes


def plate_outline(half: tuple[float, float], corner: float) -> Outline:
    """A rectangle with rounded corners."""
    return lambda c, p: rounded_box(*c.local(p.at, p.turn), half, corner)


def strong(*names: str, **weights: float) -> Mapping[str, float]:
    """A table of surface defects: names with weight 1, others with their own."""
    return {**dict.fromkeys(names, 1.0), **weights}
