"""Goods: bottles, capsules, pills, packs, food, zips, brushes, toys, dials, blades, scans.

Letters: d distance to an outline, h w pixels of a window.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from looktwice.data.procedural.canvas import Canvas, F, Field, cells, of_cell, ring, rounded_box, wavy
from looktwice.data.procedural.categories.common import (
    ground,
    handling,
    lay,
    plate_outline,
    rare,
    strong,
    sunk,
    text_part,
)
from looktwice.data.procedural.categories.things import bead, body, disc_like, engraved, slab, star
from looktwice.data.procedural.design import (
    RGB,
    Design,
    Part,
    able,
    any_colour,
    finish,
    flat,
    metal_colour,
    mixed,
    pick,
    tone,
)


def bottle_mouth(rng: np.random.Generator) -> Design:
    """A bottle, jar or pipe from above: rings of thick and thin glass, a dark inside."""
    glass = any_colour(rng, (0.12, 0.7), 0.7)
    outer, rim, inside = rng.uniform(0.75, 0.9), rng.uniform(0.55, 0.7), rng.uniform(0.38, 0.5)
    wobble = rng.uniform(3, 9)

    def rings(c: Canvas, p: Part) -> None:
        u, v = c.local(p.at, p.turn)
        r, angle = ring(u, v), np.arctan2(v, u)
        glow = F(0.5) + F(0.5) * np.cos(2 * (angle - F(0.7)))
        c.paint(c.cover(np.abs(r - F(0.5 * (outer + rim))) - F(0.04)) * F(0.5) * glow, tone(glass, 2.2))
        sunk(c, r - F(inside), flat(tone(glass, 0.18), 1 + F(0.3) * glow), wall=0.03, depth=0.6)
        edge = np.exp(-(((r - F(rim)) / F(0.02)) ** 2))
        c.shade(1 + F(0.9) * edge * (F(0.3) + F(0.7) * glow))
        c.shade(1 + F(0.10) * np.sin(angle * F(wobble) + r * 30) * (r < F(outer)))

    parts = [
        ground(rng, (0.75, 0.97) if rng.uniform() < 0.6 else None),
        body("bottle", lambda c, p: ring(*c.local(p.at)) - F(outer), glass, "plain", bevel=0.05, gloss=0.5),
        Part("mouth", rings, radius=1.0),
    ]
    if rng.uniform() < 0.4:
        parts += [
            bead("knob", (0.85 * outer * x, 0.85 * outer * y), 0.02, tone(glass, 1.8), can=("miss",))
            for x, y in star(24)
        ]
    return Design(
        "bottle",
        "glass",
        "coloured glass",
        glass,
        tuple(parts),
        handling(rng, "fixed" if rng.uniform() < 0.6 else "loose", 0.2),
        flaws=strong("contamination", "scratch", "hole", "stain", "residue", crack=2, thread=0.6),
        use="vessel",
    )


def bottle(rng: np.random.Generator) -> Design:
    """A bottle from its side: body, neck, cap, level, label."""
    glass, liquid = any_colour(rng, (0.4, 0.9), 0.4), any_colour(rng, (0.1, 0.9))
    half, neck, cap_rgb = rng.uniform(0.28, 0.45), rng.uniform(0.10, 0.16), any_colour(rng, (0.1, 0.95), 0.9)
    shoulder, level = rng.uniform(-0.45, -0.2), rng.uniform(-0.35, 0.1)
    label_rgb = any_colour(rng, (0.5, 0.97), 0.7)
    seed = int(rng.integers(1 << 30))

    def outline(c: Canvas, p: Part) -> Field:
        u, v = c.local(p.at, p.turn)
        k = F(0.5) - F(0.5) * np.cos(np.clip((v - F(shoulder) + F(0.15)) / F(0.3), 0, 1) * F(np.pi))
        wide = F(neck) + F(half - neck) * k
        return np.asarray(np.maximum((np.abs(u) - wide) * F(0.85), np.maximum(F(-0.72) - v, v - F(0.88))), np.float32)

    def content(c: Canvas, p: Part) -> None:
        d = outline(c, p) + F(0.035)
        u, v = c.local(p.at, p.turn)
        top = F(level) + F(p.look["size"])
        c.paint(c.cover(np.maximum(d, top - v)) * F(0.85), flat(liquid, F(1.05) - F(0.6) * (u / F(half)) ** 2))
        c.paint(np.exp(-(((v - top) / F(0.01)) ** 2)) * (d < 0), tone(liquid, 1.5))

    def shine(c: Canvas, p: Part) -> None:
        u, _ = c.local(p.at, p.turn)
        d = outline(c, p)
        c.paint(np.exp(-(((u + F(0.6 * half)) / F(0.07 * half)) ** 2)) * F(0.5) * (d < F(-0.03)), (1, 1, 1))

    parts = [
        ground(rng),
        body("bottle", outline, glass, "plain", bevel=0.03),
        Part("content", content, look={"size": 0.0, "rgb": liquid}, can=able("level"), radius=1.2),
    ]
    label = slab(
        "label",
        (0.0, 0.4),
        (half * 0.95, 0.2),
        label_rgb,
        corner=0.005,
        can=("miss", "move", "turn", "swap"),
        gloss=0.1,
        near=0.1,
    )
    parts += [label, text_part("print", (0.0, 0.36), half * 0.7, (0.1, 0.1, 0.15), seed, 5), Part("shine", shine)]
    cap = slab(
        "cap",
        (0.0, -0.8),
        (neck * 1.25, 0.1),
        cap_rgb,
        corner=0.02,
        can=("miss", "turn", "swap", "move"),
        kind="smooth",
        near=0.06,
    )
    parts.append(replace(cap, can=cap.can | able("body")))
    return Design(
        "bottle",
        "glass",
        "glass",
        glass,
        tuple(parts),
        handling(rng, "fixed" if rng.uniform() < 0.6 else "loose", 0.1),
        flaws=strong("crack", "scratch", "contamination", "stain", "smear", "drops", "thread"),
        use="vessel",
    )


def capsule(rng: np.random.Generator) -> Design:
    """A two-coloured capsule with print."""
    a, b = any_colour(rng, (0.2, 0.95), 0.9), any_colour(rng, (0.2, 0.95), 0.9)
    half, long, seam = rng.uniform(0.24, 0.34), rng.uniform(0.65, 0.85), rng.uniform(-0.15, 0.2)

    def outline(c: Canvas, p: Part) -> Field:
        u, v = c.local(p.at, p.turn)
        u = u * 1.0
        return np.asarray(rounded_box(u, v * np.where(u < F(seam), F(0.96), F(1.0)), (long, half), half), np.float32)

    def draw(c: Canvas, p: Part) -> None:
        u, v = c.local(p.at, p.turn)
        d = outline(c, p)
        side = np.clip(v / F(half), -1, 1)
        shade = F(0.5) + F(0.55) * np.sqrt(np.clip(1 - side * side, 0, 1)) + F(0.15) * side * F(c.lamp[1])
        share = np.clip((u - F(seam)) / F(c.px) + F(0.5), 0, 1)
        colour = flat(a, shade) + share * (flat(b, shade) - flat(a, shade))
        lay(c, d, colour * (1 + F(0.012) * c.noise("skin", 0.3)), bevel=0.02, gloss=0.15, soft=0.09)
        c.shade(1 - F(0.35) * np.exp(-(((u - F(seam)) / F(0.012)) ** 2)) * c.on)
        glint = np.exp(-(((v - F(0.42 * half * np.sign(c.lamp[1]))) / F(0.12 * half)) ** 2)) * (
            np.abs(u) < F(long - half * 0.8)
        )
        c.paint(F(0.5) * glint * c.on, (1, 1, 1))

    ink: RGB = (0.1, 0.1, 0.12)
    part = Part("capsule", draw, can=able("body", "soft"), radius=1.1)
    parts = [
        ground(rng),
        part,
        text_part("imprint", (0.5 * (seam + long) - 0.05, 0.0), 0.18, ink, int(rng.integers(1 << 30)), 3),
    ]
    return Design(
        "capsule",
        "plastic",
        "gelatine",
        mixed(a, b, 0.5),
        tuple(parts),
        handling(rng, pick(rng, {"fixed": 1, "loose": 1, "turned": 1}), 0.1),
        flaws=strong(
            "crack", "dent", "scratch", "hole", "contamination", "stain", "discoloration", print_fault=0.7, thread=0.4
        ),
        use="medicine",
    )


def pill(rng: np.random.Generator) -> Design:
    """A tablet: round, oval or long, with a score line, letters, or coloured specks."""
    rgb, speck = any_colour(rng, (0.6, 0.97), 0.6), any_colour(rng, (0.2, 0.9), 0.9)
    half, oval = (rng.uniform(0.6, 0.8), rng.uniform(0.4, 0.7)), rng.uniform()
    speckled, seed = rng.uniform(0, 1) * (rng.uniform() < 0.5), int(rng.integers(1 << 30))

    def outline(c: Canvas, p: Part) -> Field:
        u, v = c.local(p.at, p.turn)
        if oval < 0.35:
            return np.asarray(ring(u, v) - F(half[0]), np.float32)
        if oval < 0.7:
            return rounded_box(u, v, half, min(half))
        return np.asarray((ring(u / F(half[0]), v / F(half[1])) - 1) * F(min(half)), np.float32)

    def draw(c: Canvas, p: Part) -> None:
        d = outline(c, p)
        edge = np.clip(1 + d / F(0.16), 0, 1)
        shade = F(1.02) - F(0.25) * edge**2 + F(0.03) * c.noise("powder", 0.016) + F(0.02) * c.noise("press", 0.2)
        colour = flat(rgb, shade)
        if speckled:
            spots = np.clip((c.noise("speck", 0.045) - F(2.1 - 0.7 * speckled)) * 4, 0, 1)
            colour = colour + spots * F(0.8) * (np.asarray(speck, F)[:, None, None] - colour)
        lay(c, d, colour, bevel=0.07, gloss=0.25, soft=0.07)

    def score(c: Canvas, p: Part) -> None:
        u, v = c.local(p.at, p.turn)
        d = np.maximum(np.abs(u) - F(0.012), np.abs(v) - F(0.8 * half[1]))
        engraved(c, np.asarray(d, np.float32), 0.5, 0.014)

    parts = [ground(rng), Part("tablet", draw, can=able("body"), radius=1.0)]
    if rng.uniform() < 0.5:
        parts.append(Part("score line", score, radius=0.8, can=able("miss", "turn")))
    else:
        parts.append(text_part("imprint", (0.0, 0.0), 0.3, tone(rgb, 0.5), seed, 3))
    return Design(
        "tablet",
        "food",
        "pressed powder",
        rgb,
        tuple(parts),
        handling(rng, pick(rng, {"fixed": 1, "loose": 1, "turned": 1}), 0.1),
        flaws=strong("hole", "stain", "contamination", "discoloration", "pores", "thread", crack=1.5, edge_wear=0),
        use="medicine",
    )


def blister_pack(rng: np.random.Generator) -> Design:
    """Equal pieces in rows: pills in a blister, sweets in a box, candles, eggs, parts in a tray."""
    columns, rows = int(rng.integers(2, 5)), int(rng.integers(2, 5))
    pitch_u, pitch_v = 1.72 / columns, 1.72 / rows
    size = 0.36 * min(pitch_u, pitch_v)
    rgb, tray = any_colour(rng, (0.3, 0.97), 0.8), any_colour(rng, (0.3, 0.95), 0.25)
    shape, bump = pick(rng, {"round": 2, "long": 1, "square": 0.7}), rng.uniform(0.4, 1)
    mould = rng.uniform() < 0.7
    rough = rng.uniform(0, 0.1)

    def cup(c: Canvas, p: Part) -> None:
        near = c.around(*p.at, p.radius)
        if near is not None:
            sunk(
                near,
                ring(*near.local(p.at)) - F(1.18 * size),
                flat(tone(tray, 0.82), 1 + 0 * near.u),
                wall=0.02,
                depth=0.5,
            )

    def piece(c: Canvas, p: Part) -> None:
        near = c.around(*p.at, p.radius)
        if near is None:
            return
        u, v = near.local(p.at, p.turn)
        s = float(np.min(p.look["size"]))
        if shape == "round":
            d = ring(u, v) - F(s)
        elif shape == "long":
            d = rounded_box(u, v, (s, 0.5 * s), 0.5 * s)
        else:
            d = rounded_box(u, v, (0.8 * s, 0.8 * s), 0.2 * s)
        lost = p.fault.get("break")
        if lost is not None:
            line = F((lost["place"] - 0.3) * s * (1.2 - lost["strength"])) + F(0.12 * s) * wavy(
                np.random.default_rng(lost["seed"]), 3, 6
            )(v * F(3 / s))
            d = np.maximum(d, u - line)
        lit = near.local(p.at)
        dome = 1 + F(0.35 * bump) * (lit[0] * F(near.lamp[0]) + lit[1] * F(near.lamp[1])) / F(s)
        lay(
            near,
            np.asarray(d, np.float32),
            flat(p.look["rgb"], dome * (1 + F(rough) * near.noise("piece", 0.03))),
            bevel=0.2 * s,
            gloss=0.35,
            shadow=0.45,
            soft=0.03,
        )

    parts: list[Part] = [ground(rng), body("tray", plate_outline((0.94, 0.94), 0.1), tray, "smooth", bevel=0.02)]
    for i in range(columns):
        for j in range(rows):
            at = (i - (columns - 1) / 2) * pitch_u, (j - (rows - 1) / 2) * pitch_v
            if mould:
                parts.append(Part("cup", cup, at, 1.35 * size))
            parts.append(
                Part(
                    "piece",
                    piece,
                    at,
                    1.35 * size,
                    rng.uniform(0, 6.28) if shape == "long" and rng.uniform() < 0.5 else 0.0,
                    {"rgb": rgb, "size": size},
                    able("miss", "swap", "break", "move"),
                    (0.08 * size, 0.3),
                    0.3 * size,
                )
            )
    return Design(
        "pack",
        "food" if rng.uniform() < 0.5 else "plastic",
        "moulded plastic",
        rgb,
        tuple(parts),
        handling(rng, "loose" if rng.uniform() < 0.5 else "fixed", 0.1),
        flaws=strong("contamination", "stain", "crack", "thread", "hole", discoloration=0.7),
        use="medicine" if mould else "food",
    )


def fruit(rng: np.random.Generator) -> Design:
    """Something that grew: a nut, a bean, a potato, an apple, an egg."""
    rgb = (
        (0.62, 0.38, 0.2),
        (0.75, 0.55, 0.3),
        (0.75, 0.2, 0.15),
        (0.5, 0.62, 0.2),
        (0.9, 0.82, 0.7),
        (0.3, 0.18, 0.12),
    )[int(rng.integers(6))]
    rgb = tone(rgb, rng.uniform(0.8, 1.15))
    size, aspect, spots = rng.uniform(0.55, 0.75), rng.uniform(1.0, 1.5), rng.uniform(0.0, 0.12)
    stripes, cap = int(rng.integers(0, 14)), rng.uniform() < 0.5
    grain = rng.uniform(0.02, 0.08)

    def draw(c: Canvas, p: Part) -> None:
        shape = wavy(c.shot.random("shape"), 2, 4)
        u, v = c.local(p.at, p.turn)
        v = v * F(aspect)
        angle = np.arctan2(v, u)
        r = ring(u, v)
        d = r - F(size) * (1 + F(0.07) * shape(angle))
        high = np.sqrt(np.clip(1 - (r / F(size)) ** 2, 0, 1))
        shade = F(0.45) + F(0.6) * high + F(0.2) * (u * F(c.lamp[0]) + v * F(c.lamp[1])) / F(size)
        shade = shade * (
            1 + F(spots) * c.noise("spots", 0.05) + F(grain) * c.noise("grain", 0.014) + F(0.06) * c.noise("big", 0.4)
        )
        if stripes:
            shade = shade * (
                1 + F(0.10) * np.cos(F(stripes) * angle + F(0.8) * c.noise("wave", 0.3)) * np.clip(r * 2, 0, 1)
            )
        colour = flat(rgb, shade)
        if cap:
            end = np.clip((u - F(0.45 * size)) * 8 + F(0.4) * c.noise("end", 0.08), 0, 1)
            colour = colour + end * F(0.7) * (flat(mixed(rgb, (0.9, 0.8, 0.6), 0.6), shade) - colour)
        lay(c, np.asarray(d, np.float32), colour, bevel=0.03, gloss=0.1, soft=0.1)

    part = Part("fruit", draw, can=able("body"), radius=1.0, play=(0.03, np.pi if rng.uniform() < 0.5 else 0.2))
    return Design(
        "fruit",
        "food",
        "fruit",
        rgb,
        (ground(rng), part),
        handling(rng, "loose", 0.1),
        flaws=strong(
            "crack",
            "hole",
            "cut",
            "stain",
            "dent",
            "contamination",
            "burn",
            discoloration=1.5,
        ),
        use="food",
    )


def zipper(rng: np.random.Generator) -> Design:
    """A zip: two rows of teeth on cloth tape."""
    tape, (_, tooth) = any_colour(rng, (0.05, 0.9), 0.7), metal_colour(rng)
    if rng.uniform() < 0.5:
        tooth = any_colour(rng, (0.1, 0.95))
    many, turn = int(rng.integers(10, 22)), float(rng.choice((0.0, np.pi / 2)))
    pitch, wide = 2.0 / many, rng.uniform(0.10, 0.2)

    def tapes(c: Canvas, p: Part) -> None:
        u, v = c.local((0, 0), turn)
        d = np.abs(v) - F(0.75)
        weave = 1 + F(0.10) * np.sin(u * 110) * np.sin(v * 110) + F(0.04) * c.noise("tape", 0.015)
        lay(
            c,
            d,
            flat(tape, weave * (1 - F(0.2) * np.exp(-(((np.abs(v) - F(0.45)) / F(0.02)) ** 2)))),
            bevel=0.02,
            shadow=0.3,
        )

    parts: list[Part] = [ground(rng), Part("tape", tapes, can=able("body", "soft"))]
    for i in range(-1, 2 * many + 3):
        along, side = -1 + (i * 0.5) * pitch, 1 if i % 2 else -1
        at = (along, side * wide * 0.35)
        if turn:
            at = (-at[1], at[0])
        parts.append(
            slab(
                "tooth",
                at,
                (0.2 * pitch, wide * 0.55),
                tooth,
                turn=turn,
                corner=0.02,
                can=("miss", "turn", "move", "swap"),
                near=0.3 * pitch,
                gloss=0.5,
            )
        )
    return Design(
        "zip",
        "cloth",
        "woven tape",
        tape,
        tuple(parts),
        handling(rng, "loose", 0.3),
        flaws=strong(
            "stain", "thread", "cut", "hole", "contamination", "burn", "discoloration", fading=0.5, wrinkle=0.7
        ),
        use="closing",
        grain=turn,
    )


def brush(rng: np.random.Generator) -> Design:
    """Tufts of bristles on a head."""
    half, head = (rng.uniform(0.7, 0.85), rng.uniform(0.32, 0.5)), any_colour(rng, (0.2, 0.95), 0.9)
    columns, rows = int(rng.integers(6, 11)), int(rng.integers(3, 5))
    tints = [any_colour(rng, (0.4, 0.97), 0.9) for _ in range(int(rng.integers(1, 4)))]
    size = min(0.85 * half[0] / columns, 0.8 * half[1] / rows)
    seed = int(rng.integers(1 << 30))

    def tuft(c: Canvas, p: Part) -> None:
        near = c.around(*p.at, p.radius)
        if near is None:
            return
        lean = p.fault.get("bend")
        shift = (
            (0.9 * size * lean["strength"] * lean["side"], 0.7 * size * lean["strength"])
            if lean is not None
            else (0.0, 0.0)
        )
        u, v = near.local((p.at[0] + shift[0], p.at[1] + shift[1]))
        spread = 1.0 + (0.5 * lean["strength"] if lean is not None else 0.0)
        r = ring(u, v) / F(spread)
        hairs, _, name = cells(u, v, 0.32 * size, seed, 0.9)
        shade = F(0.75) + F(0.5) * (of_cell(name, seed) - F(0.5)) - F(0.6) * hairs / F(0.32 * size) + F(0.2)
        near.shade(1 - F(0.4) * np.exp(-np.clip(r - F(size), 0, 1) / F(0.02)))
        near.solid(
            near.cover(r - F(0.95 * size) * (1 + F(0.12) * near.noise("tip", 0.03))),
            flat(p.look["rgb"], np.clip(shade, 0.1, 1.4)),
        )

    parts: list[Part] = [ground(rng), body("head", plate_outline(half, min(half) * 0.9), head, "smooth", bevel=0.04)]
    for i in range(columns):
        for j in range(rows):
            at = (i - (columns - 1) / 2) * 1.8 * half[0] / columns, (j - (rows - 1) / 2) * 1.75 * half[1] / rows
            if (at[0] / half[0]) ** 4 + (at[1] / half[1]) ** 4 < 0.6:
                parts.append(
                    Part(
                        "tuft",
                        tuft,
                        at,
                        2.0 * size,
                        0.0,
                        {"rgb": tints[i % len(tints)], "size": size},
                        able("miss", "bend", "swap"),
                        (0.08 * size, 0.0),
                    )
                )
    return Design(
        "brush head",
        "plastic",
        "plastic",
        head,
        tuple(parts),
        handling(rng, "loose", 0.1),
        flaws=strong("contamination", "thread", "stain", "residue", "discoloration", burn=0.4),
        use="food",
    )


def toy_brick(rng: np.random.Generator) -> Design:
    """A brick or block with studs."""
    columns, rows, rgb = int(rng.integers(2, 5)), int(rng.integers(1, 4)), any_colour(rng, (0.15, 0.95), 1.0)
    pitch = 1.6 / max(columns, rows)
    half = columns * pitch / 2, rows * pitch / 2
    parts: list[Part] = [ground(rng), body("brick", plate_outline(half, 0.03), rgb, "smooth", bevel=0.025, gloss=0.45)]
    for i in range(columns):
        for j in range(rows):
            at = (i - (columns - 1) / 2) * pitch, (j - (rows - 1) / 2) * pitch
            parts.append(bead("stud", at, 0.3 * pitch, tone(rgb, 1.06), gloss=0.3, can=("miss", "swap", "lump")))
            if pitch > 0.45:
                parts.append(text_part("stud mark", at, 0.16 * pitch, tone(rgb, 0.75), 5, 3))
    return Design(
        "toy brick",
        "plastic",
        "moulded plastic",
        rgb,
        tuple(parts),
        handling(rng, pick(rng, {"loose": 1, "turned": 1}), 0.1),
        flaws=strong(
            "scratch",
            "crack",
            "dent",
            "stain",
            "contamination",
            "discoloration",
            "hole",
            abrasion=0.8,
            residue=0.5,
            blister=0.6,
        ),
        use="toy",
    )


def dial(rng: np.random.Generator) -> Design:
    """A gauge or a clock face: ticks, figures, a hand that may point anywhere."""
    face, ink = any_colour(rng, (0.75, 0.97), 0.2), any_colour(rng, (0.03, 0.25))
    if rng.uniform() < 0.35:
        face, ink = ink, face
    ticks, size, span = int(rng.integers(10, 40)), rng.uniform(0.72, 0.88), rng.uniform(0.75, 1.0)
    hand = any_colour(rng, (0.2, 0.9), 1.0)
    rim = metal_colour(rng)[1]
    seed = int(rng.integers(1 << 30))

    def scale(c: Canvas, p: Part) -> None:
        u, v = c.local(p.at, p.turn)
        r, angle = ring(u, v), np.arctan2(u, -v) / F(np.pi * span)
        step = np.mod(angle * F(ticks / 2) + F(0.5), 1) - F(0.5)
        long = np.mod(np.round(angle * F(ticks / 2)), 5) == 0
        d = np.maximum(
            np.abs(step) * r * F(2 * np.pi * span / ticks) - F(0.008),
            np.abs(r - F(0.8 * size)) - np.where(long, F(0.06), F(0.03)),
        )
        fault = p.fault.get("print")
        alpha = c.cover(np.asarray(d, np.float32)) * (np.abs(angle) < 1)
        if fault is not None:
            away = np.abs(angle - F(2 * fault["place"] - 1))
            alpha = alpha * (1 - F(0.3 + 0.7 * fault["strength"]) * (away < F(0.15)))
        c.paint(alpha, ink)

    def needle(c: Canvas, p: Part) -> None:
        u, v = c.local(p.at, p.turn)
        bend = p.fault.get("bend")
        if bend is not None:
            u = u - F(0.35 * (0.2 + bend["strength"]) * bend["side"]) * np.clip(-v - F(0.15), 0, 1) ** 1.5
        end = F(0.7 * size * (1 - (0.7 * p.fault["break"]["strength"] if "break" in p.fault else 0)))
        d = np.maximum(
            np.abs(u) - F(0.012) - F(0.02) * np.clip(1 + v / F(0.7 * size), 0, 1), np.maximum(-v - end, v - F(0.15))
        )
        c.shade(1 - F(0.25) * np.exp(-np.clip(d, 0, 1) / F(0.02)))
        c.paint(c.cover(d), p.look["rgb"])

    parts = [
        ground(rng),
        body("case", lambda c, p: ring(*c.local(p.at)) - F(size + 0.07), rim, "turned", bevel=0.03, gloss=0.5),
        disc_like("face", size, lambda c, d: sunk(c, d, finish(c, "plain", face, "face"), wall=0.02, depth=0.4)),
        Part("scale", scale, radius=size, look={"rgb": ink}, can=able("print")),
    ]
    for i in range(4):
        a = (i / 3 * 2 - 1) * np.pi * span * 0.9
        parts.append(text_part("figure", (0.56 * size * np.sin(a), -0.56 * size * np.cos(a)), 0.09, ink, seed + i, 2))
    parts.append(
        Part(
            "hand",
            needle,
            (0, 0),
            size,
            rng.uniform(-1, 1),
            {"rgb": hand},
            able("miss", "bend", "break", "swap"),
            (0.0, rng.choice((0.05, 2.0))),
        )
    )
    parts.append(bead("hub", (0, 0), 0.06, rim, can=("miss",)))
    return Design(
        "dial",
        "plastic",
        "printed metal",
        face,
        (*parts, *rare(rng, 0.3)),
        handling(rng, "fixed" if rng.uniform() < 0.6 else "loose", 0.1),
        flaws=strong("scratch", "crack", "contamination", "stain", "thread", "drops", print_fault=0.7, smear=0.6),
        use="print",
    )


def blade(rng: np.random.Generator) -> Design:
    """A long smooth body against the sky: a turbine blade, a wing, a pipe, a knife."""
    rgb, turn = any_colour(rng, (0.6, 0.97), 0.15) if rng.uniform() < 0.7 else any_colour(rng), rng.uniform(-0.5, 0.5)
    wide, taper = rng.uniform(0.25, 0.5), rng.uniform(0, 0.25)
    bands = int(rng.integers(0, 3))

    def outline(c: Canvas, p: Part) -> Field:
        u, v = c.local(p.at, turn)
        return np.asarray(np.abs(v + F(0.08) * u * u) - F(wide) + F(taper) * u, np.float32)

    def bands_(c: Canvas, p: Part) -> None:
        u, v = c.local(p.at, turn)
        for i in range(bands):
            c.paint(c.cover(np.abs(u - F(-0.5 + 0.6 * i)) - F(0.07)) * c.on * F(0.9), p.look["rgb"])
        side = np.clip(v / F(wide), -1, 1)
        c.shade(1 - F(0.3) * side * c.on * F(np.sign(c.lamp[1]) or 1))

    parts = [
        ground(rng, (0.45, 0.95)),
        body("blade", outline, rgb, "smooth", bevel=0.02, gloss=0.2, shadow=0.0),
        Part("bands", bands_, look={"rgb": any_colour(rng, (0.3, 0.8), 1.0)}),
    ]
    return Design(
        "wind turbine blade",
        "plastic",
        "glass fibre laminate",
        rgb,
        tuple(parts),
        handling(rng, "loose", 0.15),
        flaws=strong(
            "scratch",
            "abrasion",
            "stain",
            "discoloration",
            "hole",
            "drops",
            "residue",
            crack=2,
            edge_wear=1.0,
            burn=0.6,
        ),
        use="structure",
    )


def scan(rng: np.random.Generator) -> Design:
    """A grey slice through something round and nearly symmetrical, bright rim and folded inside, on black."""
    size, aspect, rim = rng.uniform(0.68, 0.85), rng.uniform(0.8, 1.25), rng.uniform(0.03, 0.08)
    level, folds, fall = rng.uniform(0.3, 0.55), rng.uniform(0.10, 0.22), rng.uniform(0.1, 0.3)
    hollow = rng.uniform(0.05, 0.14)

    def draw(c: Canvas, p: Part) -> None:
        shape = wavy(c.shot.random("head"), 2, 3)
        u, v = c.local(p.at, p.turn)
        v = v * F(aspect)
        r = ring(u, v) / (1 + F(0.04) * shape(np.arctan2(v, u)))
        d = r - F(size)
        mirrored = np.abs(u)
        wave = np.sin(
            F(2 * np.pi / folds) * (r + F(0.25) * np.sin(4 * mirrored * F(np.pi)) + F(0.10) * c.noise("fold", 0.25))
        )
        inner = np.clip(1 - r / F(size - 2 * rim), 0, 1)
        shade = F(level) * (
            1 + F(fall) * np.clip(wave, -1, 1) * np.clip(F(1.2) - inner, 0, 1) + F(0.06) * c.noise("matter", 0.03)
        )
        ventricle = np.minimum(
            ring((mirrored - F(0.10)) * F(1.8), v + F(0.05)), ring((mirrored - F(0.16)) * F(1.6), v - F(0.15))
        ) - F(hollow)
        shade = shade * (1 - F(0.7) * np.clip(F(0.5) - ventricle / F(0.03), 0, 1))
        shade = shade * (1 - F(0.5) * np.exp(-((u / F(0.012)) ** 2)) * (np.abs(v) > F(0.2)))
        bone = np.exp(-(((d + F(rim)) / F(0.6 * rim)) ** 2))
        shade = shade * (1 - bone) + bone * F(0.9)
        c.solid(c.cover(d), flat((1, 1, 1), shade))

    def black(c: Canvas, p: Part) -> None:
        c.rgb[:] = F(0.02)

    h = replace(handling(rng, "loose", 1.0), gamma=1.0, slope=0.02, vignette=0.0)
    return Design(
        "scan",
        "tissue",
        "tissue",
        (level, level, level),
        (Part("ground", black, can=able("ground")), Part("slice", draw, can=able("soft"), radius=1.0)),
        h,
        False,
        0.0,
        0.1,
        strong(discoloration=3, blister=1.5, hole=0.6, stain=0.8),
        "organ",
    )
