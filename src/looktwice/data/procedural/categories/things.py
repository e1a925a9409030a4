"""Things that objects are assembled from: bodies, screws, holes, slabs, strips, pads.

Each is a `Part` with a draw function that reads its look, and what a defect did to it. Letters: h w pixels of a window.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from looktwice.data.procedural.canvas import Canvas, F, Field, polyline, ring, rotation, rounded_box, slope, wavy
from looktwice.data.procedural.categories.common import Outline, glyphs, lay, sunk
from looktwice.data.procedural.design import RGB, Part, able, finish, flat, tone

THROUGH = (0.04, 0.04, 0.045)  # what is seen in a deep hole


def body(
    name: str,
    outline: Outline,
    rgb: RGB,
    kind: str = "smooth",
    *,
    turn: float = 0.0,
    rough: float = 1.0,
    bevel: float = 0.03,
    gloss: float = 0.35,
    shadow: float = 0.45,
    **more: Any,
) -> Part:
    """The main body of an object, of one material, with a lit edge."""
    look = {
        "outline": outline,
        "rgb": rgb,
        "kind": kind,
        "turn": turn,
        "rough": rough,
        "bevel": bevel,
        "gloss": gloss,
        "shadow": shadow,
        **more,
    }
    return Part(name, _body, look=look, can=able("body"), key=name)


def _body(c: Canvas, p: Part) -> None:
    look = p.look
    colour = finish(c, look["kind"], look["rgb"], p.key + "body", look["turn"], look["rough"])
    d = look["outline"](c, p)
    if "dome" in look:
        colour = colour * (1 + F(look["dome"]) * (c.u * F(c.lamp[0]) + c.v * F(c.lamp[1])))
    lay(c, d, colour, bevel=look["bevel"], gloss=look["gloss"], shadow=look["shadow"])


def screw(at: tuple[float, float], size: float, rgb: RGB, head: str, turn: float, name: str = "screw") -> Part:
    """A screw head in its sink; its drive may point anywhere."""
    look = {"size": size, "rgb": rgb, "head": head}
    return Part(name, _screw, at, 1.5 * size, turn, look, able("miss", "swap", "move"), (0.0, np.pi), 0.5 * size)


def _screw(c: Canvas, p: Part) -> None:
    near = c.around(*p.at, p.radius)
    if near is None:
        return
    size = F(p.look["size"])
    u, v = near.local(p.at, p.turn)
    r = ring(u, v)
    lit = near.local(p.at)
    side = (lit[0] * F(near.lamp[0]) + lit[1] * F(near.lamp[1])) / size
    near.shade(1 - F(0.5) * near.cover(r - size * F(1.15)))
    dome = 1 + F(0.35) * side + F(0.12) * np.cos(2 * np.arctan2(v, u))
    near.paint(near.cover(r - size), flat(p.look["rgb"], dome))
    head = p.look["head"]
    if head == "slot":
        d = np.maximum(np.abs(v) - F(0.14) * size, np.abs(u) - F(0.8) * size)
    elif head == "cross":
        d = np.minimum(
            np.maximum(np.abs(v) - F(0.13) * size, np.abs(u) - F(0.6) * size),
            np.maximum(np.abs(u) - F(0.13) * size, np.abs(v) - F(0.6) * size),
        )
    elif head == "hex":
        d = np.maximum(np.abs(u), F(0.5) * np.abs(u) + F(0.866) * np.abs(v)) - F(0.5) * size
    else:
        d = r - size * F(0.25)
    near.paint(near.cover(d) * F(0.9), tone(p.look["rgb"], 0.25))


def hole(at: tuple[float, float], size: float, name: str = "hole", deep: RGB = THROUGH) -> Part:
    """A drilled hole with a chamfer."""
    return Part(
        name,
        _hole,
        at,
        1.5 * size + 0.02,
        look={"size": size, "rgb": deep},
        can=able("miss", "move", "swap"),
        near=0.8 * size,
    )


def _hole(c: Canvas, p: Part) -> None:
    near = c.around(*p.at, p.radius)
    if near is None:
        return
    d = ring(*near.local(p.at)) - F(p.look["size"])
    sunk(near, d, flat(p.look["rgb"], 1 + 0 * d), wall=0.012 + 0.15 * p.look["size"])
    near.ground(near.cover(d))


def slab(
    name: str,
    at: tuple[float, float],
    half: tuple[float, float],
    rgb: RGB,
    *,
    turn: float = 0.0,
    corner: float = 0.01,
    can: Sequence[str] = ("miss", "move", "turn", "swap"),
    legs: int = 0,
    mark: int = 0,
    gloss: float = 0.4,
    kind: str = "plain",
    ends: RGB | None = None,
    near: float = 0.05,
) -> Part:
    """A small box seen from above: a chip, a cell, a plate; with legs, coloured ends or print on it."""
    look = {
        "size": np.array(half),
        "rgb": rgb,
        "corner": corner,
        "legs": legs,
        "mark": mark,
        "gloss": gloss,
        "kind": kind,
        "ends": ends,
    }
    radius = float(np.hypot(*half)) + (0.08 if legs else 0.03)
    return Part(name, _slab, at, radius, turn, look, able(*can), (0.004, 0.012), near, key=name)


def _slab(c: Canvas, p: Part) -> None:
    near = c.around(*p.at, p.radius)
    if near is None:
        return
    u, v = near.local(p.at, p.turn)
    half, look = p.look["size"], p.look
    a, b = float(half[0]), float(half[1])
    if look["legs"]:
        _legs(near, u, v, p, a, b)
    d = rounded_box(u, v, (a, b), min(look["corner"], 0.9 * a, 0.9 * b))
    lay(
        near,
        d,
        finish(near, look["kind"], look["rgb"], p.key),
        bevel=0.012,
        gloss=look["gloss"],
        shadow=0.5,
        soft=0.025,
    )
    if look["ends"] is not None:
        near.paint(near.cover(np.maximum(d, F(0.68 * a) - np.abs(u))), flat(look["ends"], 1 + F(0.1) * v / F(b)))
    if look["mark"]:
        text = glyphs(u / F(0.7 * a), v / F(0.7 * a), np.random.default_rng(look["mark"]), 4) * F(0.7 * a)
        near.paint(near.cover(text) * F(0.6), (0.85, 0.85, 0.82) if sum(look["rgb"]) < 1.5 else (0.1, 0.1, 0.1))


def _legs(c: Canvas, u: Field, v: Field, p: Part, a: float, b: float) -> None:
    many, pitch = p.look["legs"], 2 * a / p.look["legs"]
    cell = np.clip(np.floor((u + F(a)) / F(pitch)), 0, many - 1)
    centre = (cell + F(0.5)) * F(pitch) - F(a)
    shift = np.zeros_like(u)
    gone = np.zeros(u.shape, bool)
    for name, amount in (("bend", 0.7), ("break", 0.0)):
        fault = p.fault.get(name)
        if fault is None:
            continue
        struck = (cell == int(fault["place"] * many)) & (np.sign(v) == fault["side"])
        shift = shift + np.where(
            struck,
            F(amount * pitch * (0.4 + 0.8 * fault["strength"]) * fault["side"])
            * np.clip((np.abs(v) - F(b)) / F(0.05), 0, 1),
            0,
        )
        gone |= struck & (name == "break") & (np.abs(v) > F(b + 0.012))
    d = np.maximum(np.abs(u - centre - shift) - F(0.26 * pitch), np.abs(v) - F(b + 0.05))
    d = np.where(gone, F(0.1), d)
    c.solid(c.cover(d), flat((0.74, 0.75, 0.76), 1 - F(2.5) * np.clip(np.abs(v) - F(b), 0, 0.1)))


def strip(
    name: str,
    points: np.ndarray,
    width: float,
    rgb: RGB,
    *,
    can: Sequence[str] = ("bend", "break", "miss"),
    round_: float = 0.6,
    play: float = 0.0,
    shadow: float = 0.3,
    kind: str = "plain",
) -> Part:
    """A wire, trace, bus bar or needle along a polyline (S, 2); it can bend, break, or be bridged to its neighbour."""
    points = np.asarray(points, float)
    at = (points.min(0) + points.max(0)) / 2
    look = {"points": points - at, "size": width, "rgb": rgb, "round": round_, "shadow": shadow, "kind": kind}
    radius = float(np.abs(points - at).max()) * 1.42 + width + 0.06
    return Part(
        name, _strip, (float(at[0]), float(at[1])), radius, 0.0, look, able(*can), (play, 0.0), 4 * width, key=name
    )


def _strip(c: Canvas, p: Part) -> None:
    points, width = p.look["points"], float(np.min(p.look["size"]))
    bend = p.fault.get("bend")
    if bend is not None:
        points = _bent(points, bend, width)
    short = p.fault.get("short")
    near = c.along(points @ rotation(p.turn) + np.array(p.at), width * (6 if short else 2) + 0.05)
    if near is None:
        return
    u, v = near.local(p.at, p.turn)
    d, t = polyline(u, v, points)
    gap = p.fault.get("break")
    outline = d - F(width)
    long = max(1e-6, float(np.hypot(*np.diff(points, axis=0).T).sum()))
    if gap is not None:
        rough = F(0.3 * width) * wavy(np.random.default_rng(gap["seed"]), 3, 6)(d * F(200))
        half = width * (0.35 + 1.6 * gap["strength"])
        outline = np.maximum(outline, F(half) - np.abs(t - F(gap["place"])) * F(long) + rough)
    if short is not None:
        outline = np.minimum(outline, _bridge(u, v, points, short, width))
    if p.look["shadow"]:
        near.shade(1 - F(p.look["shadow"]) * np.exp(-np.clip(outline, 0, 1) / F(0.02)))
    shade = 1 - F(p.look["round"]) * (np.clip(d / F(width), 0, 1) ** 2 - F(0.3))
    if p.look["kind"] == "twisted":
        shade = shade * (1 + F(0.2) * np.sin(t * F(long * 90) + d / F(width) * 3))
    near.solid(near.cover(outline), flat(p.look["rgb"], shade))


def _bent(points: np.ndarray, fault: Any, width: float) -> np.ndarray:
    """The polyline pushed sideways around one place."""
    t = np.linspace(0, 1, 17)
    old = np.linspace(0, 1, len(points))
    fine = np.column_stack([np.interp(t, old, points[:, i]) for i in (0, 1)])
    way = np.gradient(fine, axis=0)
    side = np.column_stack([-way[:, 1], way[:, 0]]) / np.maximum(1e-9, np.hypot(*way.T))[:, None]
    push = max(0.03, 2.0 * width) * (0.5 + 1.8 * fault["strength"]) * fault["side"]
    return np.asarray(fine + side * (push * np.exp(-(((t - fault["place"]) / 0.16) ** 2)))[:, None])


def _bridge(u: Field, v: Field, points: np.ndarray, fault: Any, width: float) -> Field:
    """A drop of metal that sticks out of the strip to one side: a spur, or a short to its neighbour."""
    place = fault["place"] * (len(points) - 1)
    low = int(place)
    high = min(low + 1, len(points) - 1)
    at = points[low] + (points[high] - points[low]) * (place - low)
    way = points[high] - points[low]
    side = np.array((-way[1], way[0])) / max(1e-9, np.hypot(*way)) * fault["side"]
    long = width * (1.2 + 3.0 * fault["strength"])
    d, t = polyline(u, v, np.array((at, at + side * long)))
    return np.asarray(d - F(width) * (F(0.9) - F(0.45) * np.sin(t * F(np.pi))))


def bead(
    name: str,
    at: tuple[float, float],
    size: float,
    rgb: RGB,
    *,
    gloss: float = 0.6,
    hole_: float = 0.0,
    can: Sequence[str] = ("miss", "swap"),
) -> Part:
    """A joint of solder, a rivet, a button: a shiny dome; a cold one is grey, lumpy and off its place."""
    look = {"size": size, "rgb": rgb, "gloss": gloss, "hole": hole_}
    return Part(name, _bead, at, 1.8 * size, 0.0, look, able(*can), (0.1 * size, 0.0), 0.6 * size, key=name)


def _bead(c: Canvas, p: Part) -> None:
    near = c.around(*p.at, p.radius)
    if near is None:
        return
    size, gloss = float(p.look["size"]), p.look["gloss"]
    u, v = near.local(p.at)
    cold = p.fault.get("cold") or p.fault.get("lump")
    rgb = p.look["rgb"]
    edge: Field | np.float32 = F(size)
    if cold is not None:
        line = wavy(np.random.default_rng(cold["seed"]), 2, 6)(np.arctan2(v, u))
        edge = F(size) * (1 + F(0.45 * (0.3 + cold["strength"])) * line)
        rgb, gloss = tone(rgb, 1 - 0.5 * cold["strength"]), gloss * (1 - cold["strength"])
    r = ring(u, v)
    side = (u * F(near.lamp[0]) + v * F(near.lamp[1])) / F(size)
    colour = flat(rgb, 1 + F(0.5) * side * F(gloss + 0.2))
    if cold is not None:
        colour = colour * (1 + F(0.35 * cold["strength"]) * near.noise("lump", 0.5 * size))
    alpha = near.cover(r - edge)
    near.shade(1 - F(0.35) * np.exp(-np.clip(r - F(size), 0, 1) / F(0.3 * size)))
    near.solid(alpha, colour)
    glint = np.exp(
        -(((u - F(0.35 * size * near.lamp[0])) ** 2 + (v - F(0.35 * size * near.lamp[1])) ** 2) / F((0.25 * size) ** 2))
    )
    near.paint(F(gloss) * glint * alpha, (1, 1, 1))
    if p.look["hole"]:
        near.paint(near.cover(r - F(size * p.look["hole"])), THROUGH)


def engraved(c: Canvas, d: Field, depth: float = 0.5, wide: float = 0.012) -> None:
    """A groove along the outline where d is 0."""
    towards = slope(d, c.lamp)
    line = np.exp(-((d / F(wide)) ** 2))
    c.shade(1 - F(depth) * line * (F(0.6) + F(0.4) * towards))


def star(n: int, phase: float = 0.0) -> list[tuple[float, float]]:
    """n directions, evenly around."""
    return [(float(np.cos(a)), float(np.sin(a))) for a in phase + np.arange(n) * 2 * np.pi / n]


def disc_like(name: str, size: float, paint: Any, at: tuple[float, float] = (0.0, 0.0)) -> Part:
    """A circle on a body that only shades it: `paint(canvas, d)` with d the distance to the circle."""

    def draw(c: Canvas, p: Part) -> None:
        near = c.around(*p.at, p.radius)
        if near is not None:
            paint(near, ring(*near.local(p.at)) - F(size))

    return Part(name, draw, at, 1.3 * size + 0.05)
