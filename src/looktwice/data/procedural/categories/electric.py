"""Electrical things: boards, solar cells, cables, terminals, transistors, batteries, insulators, lines.

Letters: d distance to an outline, h w pixels of a window.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from looktwice.data.procedural.canvas import Canvas, F, Field, cells, of_cell, ring, rounded_box
from looktwice.data.procedural.categories.common import ground, handling, lay, plate_outline, strong, text_part
from looktwice.data.procedural.categories.things import bead, body, disc_like, engraved, hole, screw, slab, star, strip
from looktwice.data.procedural.design import RGB, Design, Part, able, any_colour, flat, metal_colour, pick, tone

MASKS: tuple[RGB, ...] = (
    (0.05, 0.32, 0.16),
    (0.06, 0.14, 0.38),
    (0.45, 0.07, 0.08),
    (0.08, 0.08, 0.09),
    (0.85, 0.86, 0.84),
    (0.10, 0.40, 0.22),
)
CHIP: RGB = (0.10, 0.10, 0.11)
SOLDER: RGB = (0.72, 0.73, 0.74)


def _traces(rng: np.random.Generator, many: int, width: float, rgb: RGB, low: float = -0.9) -> list[Part]:
    """Copper lines with right and half-right angles that keep clear of one another, and their pads."""
    lanes = np.linspace(low, 0.9, many) + rng.uniform(-0.02, 0.02, many)
    step, parts = 1.8 / max(1, many - 1), []
    upright = rng.uniform() < 0.5
    corner = rng.uniform(-0.4, 0.4)
    shift = float(rng.choice((-1, 1))) * rng.uniform(0.0, 0.45)
    for lane in lanes:
        if rng.uniform() < 0.12:
            continue
        start, end = (
            rng.uniform(-0.98, -0.6) if rng.uniform() < 0.5 else -1.4,
            rng.uniform(0.5, 0.98) if rng.uniform() < 0.5 else 1.4,
        )
        knee = corner + 0.5 * abs(shift) * (lane if shift > 0 else -lane)
        line = [(start, lane), (knee, lane), (knee + abs(shift), lane + shift), (end, lane + shift)]
        if knee + abs(shift) > end:
            line = [(start, lane), (end, lane)]
        points = np.array(line)
        if upright:
            points = points[:, ::-1]
        wide = width * float(rng.choice((0.7, 1.0, 1.0, 1.8))) if step > 5 * width else width
        parts.append(
            strip("trace", points, min(wide, 0.32 * step), rgb, can=("break", "short", "bend"), round_=0.12, shadow=0.1)
        )
        for (u, v), near in ((points[0], start > -1.2), (points[-1], end < 1.2)):
            if near:
                parts.append(
                    bead(
                        "pad",
                        (float(u), float(v)),
                        min(2.2 * width, 0.42 * step),
                        rgb,
                        gloss=0.1,
                        hole_=0.4,
                        can=("miss", "swap"),
                    )
                )
    return parts


def circuit_board(rng: np.random.Generator) -> Design:
    """An assembled board: traces, chips with legs, small two-ended components, connectors, print."""
    mask = MASKS[int(rng.integers(len(MASKS)))]
    copper = tone(mask, 1.45) if sum(mask) < 1.5 else tone(mask, 0.85)
    gold = (0.80, 0.66, 0.32) if rng.uniform() < 0.5 else SOLDER
    side = 0.93 if rng.uniform() < 0.4 else 3.0  # whether its edges are in the picture
    board = body("board", plate_outline((side, side), 0.04), mask, "plain", bevel=0.015)
    parts = [ground(rng, (0.03, 0.2)), board if side < 1 else replace(board, can=frozenset())]
    parts += _traces(rng, int(rng.integers(6, 13)), rng.uniform(0.010, 0.02), copper)
    ink: RGB = (0.9, 0.9, 0.88) if sum(mask) < 1.5 else (0.15, 0.15, 0.15)
    grid = [(x, y) for x in (-0.6, -0.2, 0.2, 0.6) for y in (-0.6, -0.2, 0.2, 0.6)]
    names = {"chip": 1.2, "resistor": 2.5, "capacitor": 1.5, "joint": 1.5, "can": 0.7, "text": 0.7, "empty": 1.5}
    taken: set[tuple[float, float]] = set()
    for at in [grid[i] for i in rng.permutation(len(grid))[: int(rng.integers(9, 15))]]:
        what = pick(rng, names)
        turn = float(rng.choice((0.0, np.pi / 2)))
        spot = at[0] + rng.uniform(-0.03, 0.03), at[1] + rng.uniform(-0.03, 0.03)
        if at in taken or what == "empty":
            continue
        if what == "chip":
            half = rng.uniform(0.10, 0.15), rng.uniform(0.06, 0.1)
            parts.append(
                slab(
                    "chip",
                    spot,
                    half,
                    tone(CHIP, rng.uniform(0.7, 2)),
                    turn=turn,
                    legs=int(rng.integers(4, 8)),
                    mark=int(rng.integers(1, 1 << 30)),
                    can=("miss", "move", "turn", "bend", "break"),
                )
            )
        elif what in ("resistor", "capacitor"):
            rgb = tone(CHIP, 1.2) if what == "resistor" else (0.62, 0.5, 0.34)
            half = rng.uniform(0.045, 0.07), rng.uniform(0.024, 0.036)
            for k in range(int(rng.integers(1, 4))):
                off = (k - 1) * 0.09
                here = (spot[0] + (off if turn else 0), spot[1] + (0 if turn else off))
                parts.append(slab(what, here, half, rgb, turn=turn, ends=SOLDER, gloss=0.25, near=0.04))
        elif what == "joint":
            for k in range(int(rng.integers(2, 5))):
                at2 = (spot[0] + 0.085 * (k - 1.5) * (turn == 0), spot[1] + 0.085 * (k - 1.5) * (turn != 0))
                parts.append(bead("solder joint", at2, 0.032, gold, gloss=0.6, can=("miss", "swap", "cold")))
        elif what == "can":
            parts.append(
                bead(
                    "electrolytic capacitor",
                    spot,
                    rng.uniform(0.08, 0.12),
                    tone(any_colour(rng, (0.1, 0.8)), 1.0),
                    gloss=0.35,
                    can=("miss", "swap", "move"),
                )
            )
        else:
            parts.append(text_part("silk print", spot, 0.12, ink, int(rng.integers(1 << 30)), 4, turn))
    if rng.uniform() < 0.5:
        parts += [
            hole((0.82 * x, 0.82 * y), 0.05, "mounting hole", (0.75, 0.68, 0.5)) for x in (-1, 1) for y in (-1, 1)
        ]
    spare = (
        slab("stray component", (0, 0), (0.05, 0.03), CHIP, ends=SOLDER),
        bead("solder ball", (0, 0), 0.02, SOLDER),
    )
    flaws = strong(
        "scratch", "contamination", "residue", "burn", "thread", stain=0.6, discoloration=0.5, crack=0.5, drops=0.4
    )
    return Design(
        "circuit board",
        "board",
        "printed circuit board",
        mask,
        tuple(parts),
        handling(rng, "fixed" if rng.uniform() < 0.6 else "loose", 0.15),
        flaws=flaws,
        use="contact",
        spare=spare,
        pitch=0.1,
    )


def bare_board(rng: np.random.Generator) -> Design:
    """A board without components, or a film of it: dark lines on a light ground or the other way round."""
    style = pick(rng, {"film": 1.2, "copper": 1, "etched": 1})
    back, line = {
        "film": ((0.95, 0.95, 0.95), (0.05, 0.05, 0.05)),
        "copper": ((0.10, 0.36, 0.2), (0.75, 0.5, 0.3)),
        "etched": ((0.72, 0.66, 0.5), (0.8, 0.48, 0.3)),
    }[style]
    if rng.uniform() < 0.25:
        back, line = line, back
    ground_ = body("substrate", plate_outline((3, 3), 0), tone(back, rng.uniform(0.85, 1.0)), "plain", shadow=0.0)
    ground_ = replace(ground_, can=able("ground"))
    parts = [ground_, *_traces(rng, int(rng.integers(5, 12)), rng.uniform(0.018, 0.05), line)]
    for _ in range(int(rng.integers(0, 3))):
        at = float(rng.uniform(-0.8, 0.8)), float(rng.uniform(-0.8, 0.8))
        parts.append(
            bead("pad", at, rng.uniform(0.06, 0.12), line, gloss=0.05, hole_=0.4, can=("miss", "swap", "move"))
        )
    if rng.uniform() < 0.5:
        u, v = rng.uniform(-0.6, 0.6, 2)
        parts += [
            slab("pad", (float(u + 0.09 * k), float(v)), (0.025, 0.07), line, gloss=0.05, can=("miss", "move"))
            for k in range(int(rng.integers(3, 7)))
        ]
    h = replace(handling(rng, "fixed", 0.5), shear=0.0)
    return Design(
        "bare board",
        "board",
        "copper-clad laminate",
        back,
        tuple(parts),
        h,
        flaws=strong("scratch", contamination=1.0, stain=0.5, hole=0.7, residue=0.4, thread=0.4),
        use="contact",
        pitch=0.1,
        spare=(
            bead("spot of copper", (0, 0), 0.03, line, gloss=0.05),
            strip("splash of copper", np.array(((-0.06, 0.0), (0.0, 0.03), (0.07, 0.0))), 0.015, line),
        ),
    )


def solar_cell(rng: np.random.Generator) -> Design:
    """A solar cell: fingers, bus bars, a frame; grainy or even silicon, in daylight or as its own glow."""
    poly, glow = rng.uniform() < 0.5, rng.uniform() < 0.5
    base: RGB = (0.55, 0.55, 0.55) if glow else ((0.08, 0.14, 0.34) if rng.uniform() < 0.7 else (0.07, 0.07, 0.1))
    base = tone(base, rng.uniform(0.8, 1.4))
    bars, fingers, upright = int(rng.integers(2, 6)), int(rng.integers(18, 44)), rng.uniform() < 0.5
    metal: RGB = (0.14, 0.14, 0.14) if glow else (0.75, 0.76, 0.77)
    seed, patchy, corner = int(rng.integers(1 << 30)), rng.uniform(0.05, 0.3), rng.uniform(0.0, 0.3)

    def cell_(c: Canvas, p: Part) -> None:
        u, v = (c.v, c.u) if upright else (c.u, c.v)
        shade = 1 + F(0.05) * c.noise("glow", 0.8) - F(0.10 if glow else 0.0) * (u * u + v * v)
        if poly:
            shift = c.shot.random("wafer").uniform(-0.7, 0.7, 2)
            _, border, name = cells(u + F(shift[0]), v + F(shift[1]), 0.2, seed, 0.95)
            shade = shade + F(patchy) * (of_cell(name, seed) - F(0.5)) - F(0.10) * np.exp(-border / F(0.006)) * F(glow)
        if glow:
            shade = shade - F(0.10) * np.clip(c.noise("dislocation", 0.12) - F(0.9), 0, 1)
        dead = p.fault.get("dim")
        if dead is not None:
            first = F(2.0 / (bars + 1)) * F(int(dead["place"] * (bars + 1))) - 1
            inside = (
                (v > first) * (v < first + F(2.0 / (bars + 1))) * (np.abs(u) < F(0.25 + 0.7 * abs(dead["strength"])))
                if dead["seed"] % 2
                else (u * F(dead["side"]) > F(0.2 + 0.5 * dead["place"])) * (np.abs(v) < 2)
            )
            shade = shade * (1 - F(0.25 + 0.65 * dead["strength"]) * inside)
        rgb = flat(base, np.maximum(shade, 0.02))
        lines = np.abs(np.mod(u * F(fingers / 2), 1) - F(0.5)) * F(2 / fingers)
        rgb = rgb + (c.cover(lines - F(0.004)) * F(0.5)) * (np.asarray(metal, F)[:, None, None] - rgb)
        d = rounded_box(u, v, (0.95, 0.95), corner)
        lay(c, d, rgb, bevel=0.01, gloss=0.1, shadow=0.0)

    under = replace(ground(rng, (0.02, 0.08) if glow else None))
    parts = [under, Part("cell", cell_, radius=3.0, can=able("body", "dim"))]
    for i in range(bars):
        at = -1 + (i + 1) * 2 / (bars + 1)
        line = np.array(((-0.93, at), (0.93, at)))
        parts.append(
            strip(
                "bus bar",
                line[:, ::-1] if upright else line,
                rng.uniform(0.012, 0.022),
                metal,
                can=("break", "bend", "miss"),
                round_=0.1,
                shadow=0.0,
            )
        )
    return Design(
        "solar cell",
        "silicon",
        "polycrystalline silicon" if poly else "monocrystalline silicon",
        base,
        tuple(parts),
        handling(rng, "fixed" if rng.uniform() < 0.7 else "loose", 0.9 if glow else 0.2),
        flaws=strong(
            "scratch",
            "stain",
            "hot_spot",
            "discoloration",
            "line_fault",
            crack=3,
            contamination=0.6,
            burn=0.6,
            hole=0.3,
            smear=0.4,
        ),
        use="energy",
        grain=0.0 if upright else np.pi / 2,
        pitch=2 / fingers,
    )


def cable(rng: np.random.Generator) -> Design:
    """The cut end of a cable: insulated wires of several colours in a sheath."""
    wires, sheath = int(rng.integers(2, 6)), any_colour(rng, (0.05, 0.9), 0.4)
    outer, copper = rng.uniform(0.72, 0.88), (0.78, 0.48, 0.3) if rng.uniform() < 0.7 else (0.75, 0.75, 0.76)
    size = 0.92 * (outer - 0.06) / (1 + 1 / np.sin(np.pi / max(wires, 2))) if wires > 2 else 0.44 * (outer - 0.06)
    far = outer - 0.08 - size
    strands, seed = int(rng.choice((1, 7, 19, 37))), int(rng.integers(1 << 30))

    def core(c: Canvas, p: Part) -> None:
        near = c.around(*p.at, p.radius)
        if near is None:
            return
        u, v = near.local(p.at)
        r = ring(u, v)
        lay(
            near,
            r - F(size),
            flat(p.look["rgb"], 1 + F(0.02) * near.noise("skin", 0.05)),
            bevel=0.02,
            gloss=0.3,
            shadow=0.4,
            soft=0.03,
        )
        inside = r - F(0.62 * size)
        if "hollow" in p.fault:
            near.paint(near.cover(inside), tone(p.look["rgb"], 0.8))
            return
        if strands == 1:
            near.paint(
                near.cover(inside), flat(copper, 1 + F(0.3) * (u * F(near.lamp[0]) + v * F(near.lamp[1])) / F(size))
            )
            return
        distance, _, name = cells(u, v, 1.2 * size / np.sqrt(strands), seed, 0.35)
        shade = F(1.15) - distance / F(0.9 * size / np.sqrt(strands)) + F(0.3) * (of_cell(name, seed) - F(0.5))
        near.paint(near.cover(inside), flat(copper, np.clip(shade, 0.15, 1.4)))

    def outline(c: Canvas, p: Part) -> Field:
        return ring(*c.local(p.at)) - F(outer)

    colours = [any_colour(rng, (0.15, 0.9), 0.95) for _ in range(wires)]
    parts = [
        ground(rng),
        body("sheath", outline, sheath, "grainy", bevel=0.04),
        disc_like("core", outer * 0.88, lambda c, d: c.paint(c.cover(d), tone(sheath, 0.35))),
    ]
    for (x, y), rgb in zip(star(wires, rng.uniform(0, 6.28)), colours, strict=True):
        parts.append(
            Part(
                "wire",
                core,
                (far * x, far * y),
                1.15 * size + 0.02,
                look={"rgb": rgb},
                can=able("miss", "swap", "move", "hollow"),
                play=(0.01, 0.3),
                near=0.2 * size,
            )
        )
    return Design(
        "cable",
        "rubber",
        "insulated copper",
        sheath,
        tuple(parts),
        handling(rng, pick(rng, {"loose": 1, "turned": 0.7}), 0.1),
        flaws=strong("cut", "hole", "crack", "contamination", "scratch", "dent", burn=0.5, thread=0.5),
        use="contact",
    )


def terminal(rng: np.random.Generator) -> Design:
    """Wires that run into a terminal block or a connector."""
    many = int(rng.integers(3, 9))
    pitch, half = 1.7 / many, rng.uniform(0.15, 0.28)
    block = any_colour(rng, (0.1, 0.95), 0.7)
    colours = [any_colour(rng, (0.1, 0.9), 0.95) for _ in range(many)]
    if rng.uniform() < 0.3:
        colours = [colours[0]] * many
    parts: list[Part] = [ground(rng)]
    wide, height = min(0.3 * pitch, 0.06), rng.uniform(-0.2, 0.1)
    for i, rgb in enumerate(colours):
        x = -0.85 + (i + 0.5) * pitch
        sway = rng.uniform(-0.4, 0.4, 2) * pitch
        line = np.array(((x, height), (x, 0.45), (x + sway[0], 0.75), (x + sway[1], 1.2)))
        parts.append(strip("wire", line, wide, rgb, can=("miss", "swap", "break", "bend"), round_=0.8))
    holder = slab("block", (0.0, height - half * 0.4), (0.88, half), block, corner=0.03, can=(), kind="smooth")
    parts.append(replace(holder, can=able("body")))
    parts += [
        screw(
            (-0.85 + (i + 0.5) * pitch, height - half * 0.5),
            min(0.32 * pitch, 0.08),
            metal_colour(rng)[1],
            "slot",
            rng.uniform(0, 3),
        )
        for i in range(many)
    ]
    if rng.uniform() < 0.5:
        parts.append(
            text_part(
                "marking",
                (0.0, height - half * 1.15),
                0.3,
                (0.9, 0.9, 0.9) if sum(block) < 1.5 else (0.1, 0.1, 0.1),
                int(rng.integers(1 << 30)),
                6,
            )
        )
    return Design(
        "terminal block",
        "plastic",
        "plastic",
        block,
        tuple(parts),
        handling(rng, "loose", 0.1),
        flaws=strong("crack", "scratch", "burn", "contamination", "residue", stain=0.6, thread=0.6),
        use="contact",
    )


def transistor(rng: np.random.Generator) -> Design:
    """A component with legs on a hole board or a ground."""
    legs, half = int(rng.choice((2, 3, 3, 4, 5))), (rng.uniform(0.22, 0.36), rng.uniform(0.18, 0.32))
    rgb = tone(CHIP, rng.uniform(0.7, 2.5)) if rng.uniform() < 0.7 else any_colour(rng)
    pitch = 2 * half[0] / (legs + 0.3)
    base = ground(rng)
    board = any_colour(rng, (0.3, 0.85), 0.5)
    holes = rng.uniform(0.10, 0.16)

    def perforated(c: Canvas, p: Part) -> None:
        a, b = np.mod(c.u, F(holes)) - F(holes / 2), np.mod(c.v, F(holes)) - F(holes / 2)
        d = ring(a, b)
        c.rgb[:] = flat(board, 1 + F(0.04) * c.noise("board", 0.3))
        c.paint(c.cover(d - F(0.35 * holes)), tone(board, 1.4))
        c.paint(c.cover(d - F(0.2 * holes)), tone(board, 0.2))

    if rng.uniform() < 0.6:
        base = Part("ground", perforated, can=able("ground"))
    parts: list[Part] = [base]
    top, kink = -0.15, rng.uniform(-0.1, 0.1)
    for i in range(legs):
        x = -half[0] + (i + 0.65) * pitch
        line = np.array(
            (
                (x, top + 0.1),
                (x, 0.35),
                (x + kink * (i - (legs - 1) / 2), 0.5),
                (x + kink * (i - (legs - 1) / 2), rng.uniform(0.78, 0.85)),
            )
        )
        parts.append(strip("leg", line, 0.024, SOLDER, can=("miss", "bend", "break"), round_=0.7))
    parts.append(
        slab(
            "body",
            (0.0, top - half[1] * 0.7),
            half,
            rgb,
            corner=rng.uniform(0.01, 0.12),
            mark=int(rng.integers(1, 1 << 30)),
            can=("move", "turn", "swap"),
            kind="smooth",
            near=0.12,
        )
    )
    parts[-1] = replace(parts[-1], can=parts[-1].can | able("body"), play=(0.01, 0.03))
    if rng.uniform() < 0.5:
        tab = slab("tab", (0.0, top - half[1] * 1.75), (half[0] * 0.95, half[1] * 0.5), SOLDER, can=(), kind="brushed")
        parts.insert(-1, tab)
        parts.append(hole((0.0, top - half[1] * 1.9), 0.07, "hole in the tab"))
    return Design(
        "transistor",
        "plastic",
        "moulded plastic",
        rgb,
        tuple(parts),
        handling(rng, "fixed" if rng.uniform() < 0.6 else "loose", 0.15),
        flaws=strong("crack", "scratch", "hole", "contamination", "stain", "dent", burn=0.7, thread=0.4),
        use="contact",
    )


def battery(rng: np.random.Generator) -> Design:
    """Round cells in a tray, or fuses and barrels in a row."""
    columns, rows = int(rng.integers(2, 5)), int(rng.integers(2, 5))
    pitch = 1.75 / max(columns, rows)
    size = 0.44 * pitch
    skin, (_, cap) = any_colour(rng, (0.15, 0.9), 0.9), metal_colour(rng)
    inner = rng.uniform(0.3, 0.6)
    tray = any_colour(rng, (0.05, 0.9), 0.3)

    def cell_(c: Canvas, p: Part) -> None:
        near = c.around(*p.at, p.radius)
        if near is None:
            return
        r = ring(*near.local(p.at))
        u, v = near.local(p.at, p.turn)
        lay(near, r - F(p.look["size"]), flat(p.look["rgb"], 1 + 0 * r), bevel=0.03, gloss=0.5, soft=0.03)
        near.paint(near.cover(r - F(0.82 * size)), flat(cap, F(0.75) + F(0.25) * np.cos(2 * np.arctan2(v, u))))
        engraved(near, r - F(0.82 * size), 0.5, 0.012)
        if not p.look["reversed"]:
            lay(
                near,
                r - F(inner * size),
                flat(tone(cap, 1.15), 1 + F(0.2) * u / F(size)),
                bevel=0.02,
                gloss=0.5,
                shadow=0.5,
                soft=0.02,
            )

    parts: list[Part] = [ground(rng), body("tray", plate_outline((0.95, 0.95), 0.06), tray, "plain", bevel=0.02)]
    for i in range(columns):
        for j in range(rows):
            at = (i - (columns - 1) / 2) * pitch, (j - (rows - 1) / 2) * pitch
            parts.append(
                Part(
                    "cell",
                    cell_,
                    at,
                    size * 1.2,
                    rng.uniform(0, 6.28),
                    {"rgb": skin, "size": size, "reversed": False},
                    able("miss", "swap", "move"),
                    (0.06 * size, 3.0),
                    0.25 * size,
                )
            )
    return Design(
        "battery pack",
        "metal",
        "steel cells",
        skin,
        tuple(parts),
        handling(rng, "loose", 0.15),
        flaws=strong("dent", "scratch", "corrosion", "contamination", "residue", "stain"),
        use="energy",
    )


def insulator(rng: np.random.Generator) -> Design:
    """A string of discs against the sky or a wall, as on a line."""
    discs, wide, rgb = int(rng.integers(5, 12)), rng.uniform(0.22, 0.4), any_colour(rng, (0.3, 0.95), 0.6)
    pitch = 1.7 / discs
    sky = ground(rng, (0.55, 0.95))
    _, steel = metal_colour(rng)
    parts: list[Part] = [sky, strip("rod", np.array(((0.0, -1.3), (0.0, 1.3))), 0.035, steel, can=(), round_=0.8)]

    def disc(c: Canvas, p: Part) -> None:
        near = c.around(*p.at, p.radius)
        if near is None:
            return
        u, v = near.local(p.at, p.turn)
        w = F(p.look["size"])
        d = np.maximum(
            rounded_box(u, v, (float(w), 0.34 * pitch), 0.16 * pitch), F(-0.5 * pitch) + np.abs(v) + F(0.05) * u * u
        )
        side = np.clip(u / w, -1, 1)
        shade = (
            F(0.6) + F(0.5) * np.sqrt(np.clip(1 - side * side, 0, 1)) - F(0.35) * np.clip(v / F(0.34 * pitch), -1, 1)
        )
        lay(near, d, flat(p.look["rgb"], shade), bevel=0.012, gloss=0.2, shadow=0.3, soft=0.03)
        glint = np.exp(-(((u + F(0.35) * w) / F(0.12 * w)) ** 2)) * near.cover(d)
        near.paint(F(0.45) * glint, (1, 1, 1))

    for i in range(discs):
        at = 0.0, -0.85 + (i + 0.5) * pitch
        parts.append(
            Part(
                "disc",
                disc,
                at,
                wide + 0.06,
                0.0,
                {"rgb": rgb, "size": wide},
                able("miss", "swap", "turn", "body"),
                (0.004, 0.01),
                0.05,
            )
        )
    return Design(
        "electrical insulator",
        "ceramic",
        "porcelain" if rng.uniform() < 0.6 else "glass",
        rgb,
        tuple(parts),
        handling(rng, "loose", 0.15),
        flaws=strong("crack", "contamination", "scratch", "stain", discoloration=0.7),
        use="line",
    )


def overhead_line(rng: np.random.Generator) -> Design:
    """Wires, a pole or a mast against the sky, with clamps."""
    many, parts = int(rng.integers(2, 6)), [ground(rng, (0.5, 0.95))]
    dark = tone((0.2, 0.2, 0.21), rng.uniform(0.5, 1.8))
    tilt = rng.uniform(-0.3, 0.3)
    mast = rng.uniform(-0.5, 0.5)
    if rng.uniform() < 0.7:
        parts.append(
            strip(
                "mast",
                np.array(((mast, -1.4), (mast + 0.02, 1.4))),
                rng.uniform(0.04, 0.1),
                tone((0.5, 0.47, 0.43), rng.uniform(0.5, 1.3)),
                can=(),
                round_=0.7,
            )
        )
    for i in range(many):
        y = -0.75 + 1.5 * (i + 0.5) / many
        u = np.linspace(-1.4, 1.4, 7)
        line = np.column_stack([u, y + tilt * u + rng.uniform(0, 0.08) * u * u])
        parts.append(
            strip(
                "wire",
                line,
                rng.uniform(0.010, 0.022),
                dark,
                can=("break", "bend", "miss"),
                round_=0.5,
                shadow=0.0,
                kind="twisted",
            )
        )
        parts.append(
            slab(
                "clamp",
                (float(mast), float(y + tilt * mast)),
                (0.05, 0.035),
                metal_colour(rng)[1],
                can=("miss", "turn", "swap"),
                kind="plain",
            )
        )
        parts[-1] = replace(parts[-1], can=parts[-1].can | able("body"))
    return Design(
        "overhead line",
        "metal",
        "stranded aluminium",
        dark,
        tuple(parts),
        handling(rng, "loose", 0.15),
        flaws=strong(corrosion=0.6, contamination=0.5),
        use="line",
        spare=(strip("hanging strip", np.array(((0.0, -0.1), (0.03, 0.05), (-0.02, 0.18))), 0.015, any_colour(rng)),),
    )
