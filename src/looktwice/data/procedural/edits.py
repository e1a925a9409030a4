"""Structural defects: edits of the list of parts, bent coordinates, and pieces broken off.

An edit says which window changes and what is painted there instead. Draw functions read what happened to their part
from `Part.fault`. Letters: h w pixels of the window.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from looktwice.data.procedural.canvas import Canvas, F, Field, Shot, ring, wavy
from looktwice.data.procedural.design import Design, Part, any_colour, mixed, tone

# what a part can suffer -> the defect it makes
SUFFERS = {
    "miss": "missing_part",
    "move": "misplaced_part",
    "turn": "misplaced_part",
    "swap": "wrong_part",
    "bend": "bent",
    "break": "broken_part",
    "short": "bridge",
    "print": "print_fault",
    "dim": "dead_area",
    "cold": "cold_solder",
    "lump": "deformation",
    "wear": "wear",
    "hollow": "hollow_part",
    "level": "wrong_level",
}


@dataclass(frozen=True)
class Edit:
    """One structural defect: the new parts, the discs (u, v, radius) that change, and how."""

    parts: tuple[Part, ...]
    discs: tuple[tuple[float, float, float], ...]
    subject: str = ""  # the part it happened to, in words
    bend: Callable[[Field, Field], None] | None = None
    bite: Callable[[Canvas], tuple[Field, Field]] | None = None  # what is gone and the fracture beside it, 0..1


def possible(design: Design, parts: Sequence[Part]) -> dict[str, list[tuple[str, int]]]:
    """Defect -> which parts can suffer it, and how."""
    found: dict[str, list[tuple[str, int]]] = {}
    for number, part in enumerate(parts):
        for what in sorted(part.can & SUFFERS.keys()):
            found.setdefault(SUFFERS[what], []).append((what, number))
    if design.spare:
        found["extra_part"] = [("extra", -1)]
    if any("body" in part.can for part in parts):
        found["broken_edge"] = [("chip", -1)]
    if any("soft" in part.can for part in parts):
        found["deformation"] = [("warp", -1)]
    return found


def edit(
    design: Design,
    parts: tuple[Part, ...],
    what: str,
    number: int,
    strength: float,
    rng: np.random.Generator,
    shot: Shot,
    on: Field,
) -> Edit | None:
    """One structural defect of a kind, or None where nothing fits; `on` (H, W) is where the part is seen."""
    if number < 0:
        maker = {"extra": _extra, "chip": _chip, "warp": _warp}[what]
        return maker(design, parts, strength, rng, shot, on)
    part = parts[number]
    if what == "miss":
        return Edit(parts[:number] + parts[number + 1 :], _discs(part), part.name)
    new, also = _SUFFER[what](part, strength, rng, design)
    return Edit((*parts[:number], new, *parts[number + 1 :]), (*_discs(part), *also), part.name)


def _discs(part: Part) -> tuple[tuple[float, float, float], ...]:
    """Discs that hold a part; of a line, one at each of its points, whatever happens to it."""
    if "points" not in part.look:
        return ((*part.at, part.radius),)
    width = float(np.min(part.look["size"]))
    reach = 8 * width + 0.09
    return tuple((part.at[0] + float(u), part.at[1] + float(v), reach) for u, v in part.look["points"])


Suffered = tuple[Part, tuple[tuple[float, float, float], ...]]


def _move(part: Part, strength: float, rng: np.random.Generator, design: Design) -> Suffered:
    angle, far = rng.uniform(0, 2 * np.pi), part.near * (0.3 + 0.7 * strength)
    at = part.at[0] + far * np.cos(angle), part.at[1] + far * np.sin(angle)
    turn = part.turn + rng.uniform(-0.5, 0.5) * strength
    return replace(part, at=at, turn=turn), ((*at, part.radius),)


def _turn(part: Part, strength: float, rng: np.random.Generator, design: Design) -> Suffered:
    return replace(part, turn=part.turn + rng.choice((-1, 1)) * (0.12 + 0.9 * strength * rng.uniform(0.6, 1))), ()


def _swap(part: Part, strength: float, rng: np.random.Generator, design: Design) -> Suffered:
    look, rgb = dict(part.look), part.look.get("rgb", (0.5, 0.5, 0.5))
    if rng.uniform() < 0.6 or "size" not in look:
        other = any_colour(rng) if rng.uniform() < 0.5 else tone(rgb, rng.choice((0.5, 1.6)))
        look["rgb"] = mixed(rgb, other, 0.3 + 0.7 * strength)
    else:
        look["size"] = np.asarray(look["size"]) * (1 - rng.uniform(0.12, 0.4) * (0.4 + 0.6 * strength))
    return replace(part, look=look), ()


def _fault(name: str) -> Callable[[Part, float, np.random.Generator, Design], Suffered]:
    def suffer(part: Part, strength: float, rng: np.random.Generator, design: Design) -> Suffered:
        draws = {
            "how": name,
            "strength": strength,
            "place": float(rng.uniform(0.2, 0.8)),
            "side": float(rng.choice((-1, 1))),
            "seed": int(rng.integers(1 << 30)),
        }
        return replace(part, fault={**part.fault, name: draws}), ()

    return suffer


def _level(part: Part, strength: float, rng: np.random.Generator, design: Design) -> Suffered:
    size = float(part.look["size"]) + float(rng.choice((-1, 1))) * (0.06 + 0.3 * strength)
    return replace(part, look={**part.look, "size": size}), ()


_SUFFER: dict[str, Callable[[Part, float, np.random.Generator, Design], Suffered]] = {
    "move": _move, "turn": _turn, "swap": _swap, "level": _level,
    **{n: _fault(n) for n in ("bend", "break", "short", "print", "dim", "cold", "lump", "wear", "hollow")},
}  # fmt: skip


def _extra(
    design: Design, parts: tuple[Part, ...], strength: float, rng: np.random.Generator, shot: Shot, on: Field
) -> Edit | None:
    part = design.spare[int(rng.integers(len(design.spare)))]
    rows, columns = np.nonzero(on > 0.9)
    if len(rows) == 0:
        return None
    spot = int(rng.integers(len(rows)))
    at = shot.affine @ (columns[spot], rows[spot], 1)
    new = replace(part, at=(float(at[0]), float(at[1])), turn=float(rng.uniform(0, 2 * np.pi)), key=part.key + "x")
    return Edit((*parts, new), ((new.at[0], new.at[1], new.radius),), part.name)


def _chip(
    design: Design, parts: tuple[Part, ...], strength: float, rng: np.random.Generator, shot: Shot, on: Field
) -> Edit | None:
    solid = on > 0.5
    rim = np.zeros_like(solid)
    rim[:-1] |= solid[:-1] & ~solid[1:]
    rim[1:] |= solid[1:] & ~solid[:-1]
    rim[:, :-1] |= solid[:, :-1] & ~solid[:, 1:]
    rim[:, 1:] |= solid[:, 1:] & ~solid[:, :-1]
    rows, columns = np.nonzero(rim)
    if len(rows) < 20:
        return None
    spot = int(rng.integers(len(rows)))
    u0, v0 = (float(x) for x in shot.affine @ (columns[spot], rows[spot], 1))
    size = rng.uniform(0.03, 0.09) + 0.12 * strength * rng.uniform()
    jagged, fine, shift = wavy(rng, 2, 4), wavy(rng, 5, 12, 0.3), rng.uniform(0, 0.3, 2) * size

    def bite(c: Canvas) -> tuple[Field, Field]:
        u, v = c.local((u0 + shift[0], v0 + shift[1]))
        angle = np.arctan2(v, u)
        d = ring(u, v) - F(size) * (1 + F(0.3) * jagged(angle) + F(0.16) * fine(angle))
        return c.cover(d), np.clip(F(0.5) - (d - F(0.22 * size)) / F(0.1 * size + c.px), 0, 1) * (1 - c.cover(d))

    return Edit(parts, ((u0, v0, 2.0 * size),), design.name, bite=bite)


def _warp(
    design: Design, parts: tuple[Part, ...], strength: float, rng: np.random.Generator, shot: Shot, on: Field
) -> Edit | None:
    rows, columns = np.nonzero(on > 0.5)
    if len(rows) == 0:
        return None
    spot = int(rng.integers(len(rows)))
    u0, v0 = (float(x) for x in shot.affine @ (columns[spot], rows[spot], 1))
    size = rng.uniform(0.12, 0.35)
    way, far = rng.uniform(0, 2 * np.pi), size * (0.12 + 0.35 * strength)
    twist, pull = rng.uniform(-1, 1) * (0.3 + 0.9 * strength), rng.uniform(-0.25, 0.25) * strength

    def bend(u: Field, v: Field) -> None:
        du, dv = u - F(u0), v - F(v0)
        fall = np.clip(1 - (du * du + dv * dv) / F(size * size), 0, 1) ** 2
        u += fall * (F(far * np.cos(way)) - F(twist) * dv + F(pull) * du)
        v += fall * (F(far * np.sin(way)) + F(twist) * du + F(pull) * dv)

    return Edit(parts, ((u0, v0, size),), design.name, bend=bend)
