"""Objects of metal: plates, gears, nuts, screws, castings, welds, rings, springs.

Letters: d distance to an outline, h w pixels of a window.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from looktwice.data.procedural.canvas import Canvas, F, Field, ring, rounded_box, wavy
from looktwice.data.procedural.categories.common import ground, handling, lay, plate_outline, rare, strong, text_part
from looktwice.data.procedural.categories.things import (
    bead,
    body,
    disc_like,
    engraved,
    hole,
    screw,
    slab,
    star,
    strip,
)
from looktwice.data.procedural.design import (
    METAL_FINISHES,
    RGB,
    Design,
    Part,
    able,
    any_colour,
    finish,
    flat,
    metal_colour,
    pick,
    tone,
)

ON_METAL = strong(
    *("scratch", "dent", "stain", "contamination", "corrosion", "crack", "residue"),
    hole=0.5,
    discoloration=0.7,
    abrasion=0.7,
    thread=0.5,
    pores=0.6,
    smear=0.5,
    hot_spot=0.3,
    pen_mark=0.2,
)


def screwed_plate(rng: np.random.Generator) -> Design:
    """A plate or cover with screws, holes, a label and an engraving."""
    name, rgb = metal_colour(rng)
    painted = rng.uniform() < 0.3
    if painted:
        rgb = any_colour(rng, (0.2, 0.9))
    kind = "smooth" if painted else pick(rng, METAL_FINISHES)
    half, corner = (rng.uniform(0.6, 0.85), rng.uniform(0.45, 0.8)), rng.uniform(0.02, 0.25)
    turn = float(rng.choice((0, np.pi / 2)))
    parts = [
        ground(rng),
        body("plate", plate_outline(half, corner), rgb, kind, turn=turn, bevel=rng.uniform(0.015, 0.05)),
    ]
    size, (_, steel) = rng.uniform(0.05, 0.10), metal_colour(rng)
    head = pick(rng, {"slot": 1, "cross": 1, "hex": 1, "rivet": 0.7})
    inset = size + rng.uniform(0.03, 0.12) + 0.3 * corner
    places = [(su * (half[0] - inset), sv * (half[1] - inset)) for su in (-1, 1) for sv in (-1, 1)]
    if rng.uniform() < 0.4:
        places += [(0.0, -(half[1] - inset)), (0.0, half[1] - inset)]
    parts += [
        screw(at, size, steel, head, rng.uniform(0, np.pi), "rivet" if head == "rivet" else "screw") for at in places
    ]
    slots = [(-0.3, -0.1), (0.3, -0.1), (0.0, 0.22), (-0.25, 0.2), (0.3, 0.2)]
    for at in slots[: int(rng.integers(0, 4))]:
        what = pick(rng, {"hole": 2, "label": 1, "knob": 1, "text": 1})
        at = at[0] * half[0] / 0.8, at[1] * half[1] / 0.6
        if what == "hole":
            parts.append(hole(at, rng.uniform(0.05, 0.12)))
        elif what == "label":
            parts.append(
                slab(
                    "label",
                    at,
                    (0.16, 0.08),
                    any_colour(rng, (0.6, 0.97)),
                    mark=int(rng.integers(1, 1 << 30)),
                    gloss=0.1,
                )
            )
        elif what == "knob":
            parts.append(bead("knob", at, rng.uniform(0.06, 0.11), any_colour(rng)))
        else:
            parts.append(text_part("engraving", at, 0.16, tone(rgb, 0.35), int(rng.integers(1 << 30))))
    return Design(
        "mounting plate",
        "metal",
        "painted steel" if painted else f"{kind} {name}",
        rgb,
        tuple(parts),
        handling(rng, pick(rng, {"fixed": 1, "loose": 1})),
        flaws=ON_METAL,
        use="fixing",
        grain=turn,
        spare=(bead("loose bead", (0, 0), 0.05, steel), screw((0, 0), size, steel, head, 0.0, "loose screw")),
    )


def gear(rng: np.random.Generator) -> Design:
    """A gear wheel or sprocket with bore, keyway and perhaps spokes."""
    name, rgb = metal_colour(rng)
    plastic = rng.uniform() < 0.25
    if plastic:
        name, rgb = "nylon", any_colour(rng, (0.6, 0.95), 0.4)
    teeth, tip, deep = int(rng.integers(10, 30)), rng.uniform(0.65, 0.85), rng.uniform(0.06, 0.14)
    bore, hub = rng.uniform(0.10, 0.2), rng.uniform(0.24, 0.32)
    spokes, kind = int(rng.integers(0, 7)), pick(rng, METAL_FINISHES)

    def outline(c: Canvas, p: Part) -> Field:
        u, v = c.local(p.at, p.turn)
        r, angle = ring(u, v), np.arctan2(v, u)
        wave = np.clip(F(1.8) * np.cos(F(teeth) * angle), -1, 1)
        lost = p.fault.get("break")
        height = F(deep / 2) * (wave - 1)
        if lost is not None:
            place = 2 * np.pi * int(lost["place"] * teeth) / teeth
            away = np.abs(np.mod(angle - F(place) + F(np.pi), F(2 * np.pi)) - F(np.pi))
            gone = away < F(np.pi / teeth * (1.0 if lost["strength"] < 0.6 else 2.9))
            rough = F(0.25 * deep) * wavy(np.random.default_rng(lost["seed"]), 6, 8)(angle * 5)
            height = np.where(gone, np.minimum(height, F(-deep * (0.35 + 0.6 * lost["strength"])) + rough), height)
        bend = p.fault.get("bend")
        if bend is not None:
            place = 2 * np.pi * int(bend["place"] * teeth) / teeth
            away = np.mod(angle - F(place) + F(np.pi), F(2 * np.pi)) - F(np.pi)
            lean = F(0.5 * np.pi / teeth * (0.5 + bend["strength"]) * bend["side"]) * np.clip(
                (r - F(tip - deep)) / F(deep), 0, 1
            )
            moved = np.clip(F(1.8) * np.cos(F(teeth) * (angle - lean)), -1, 1)
            height = np.where(np.abs(away) < F(1.4 * np.pi / teeth), F(deep / 2) * (moved - 1), height)
        return np.asarray(np.maximum(r - F(tip) - height, F(bore) - r), np.float32)

    parts = [ground(rng), body("gear", outline, rgb, "turned" if rng.uniform() < 0.4 else kind, bevel=0.02)]
    parts[1] = replace(parts[1], can=able("body", "break", "bend"), radius=1.0)
    if spokes > 2:
        parts += [
            hole((0.5 * (hub + tip - deep) * x, 0.5 * (hub + tip - deep) * y), 0.26 * (tip - deep - hub) + 0.02)
            for x, y in star(spokes)
        ]
    parts.append(disc_like("hub", hub, lambda c, d: engraved(c, d, 0.4, 0.015)))
    return Design(
        "gear wheel",
        "plastic" if plastic else "metal",
        name,
        rgb,
        tuple(parts),
        handling(rng, pick(rng, {"loose": 1, "turned": 1})),
        flaws=ON_METAL
        if not plastic
        else strong("scratch", "crack", "stain", "contamination", "pores", "discoloration", "dent"),
        use="drive",
    )


def nut(rng: np.random.Generator) -> Design:
    """A nut, washer or flange with three to eight corners."""
    name, rgb = metal_colour(rng)
    corners, size, bore = int(rng.choice((4, 6, 6, 8, 0))), rng.uniform(0.55, 0.8), rng.uniform(0.22, 0.42)
    kind, chamfer = pick(rng, METAL_FINISHES), rng.uniform(0.03, 0.12)
    bolts = int(rng.integers(3, 7)) if corners == 0 and rng.uniform() < 0.7 else 0

    def outline(c: Canvas, p: Part) -> Field:
        u, v = c.local(p.at, p.turn)
        r = ring(u, v)
        d = r - F(size)
        if corners:
            sector = np.mod(np.arctan2(v, u), F(2 * np.pi / corners)) - F(np.pi / corners)
            d = np.maximum(d, r * np.cos(sector) - F(size * np.cos(np.pi / corners) * 1.06))
        return np.asarray(np.maximum(d, F(bore) - r), np.float32)

    parts = [ground(rng), body("ring" if corners == 0 else "nut", outline, rgb, kind, bevel=chamfer, gloss=0.5)]
    parts.append(disc_like("thread", bore * 1.18, lambda c, d: engraved(c, d, 0.3, 0.02)))
    parts += [
        hole((0.5 * (size + bore) * x, 0.5 * (size + bore) * y), 0.22 * (size - bore), "bolt hole")
        for x, y in star(bolts)
    ]
    if rng.uniform() < 0.4 and corners:
        parts.append(
            text_part(
                "marking",
                (0.0, -0.5 * (size + bore)),
                0.5 * (size - bore),
                tone(rgb, 0.4),
                int(rng.integers(1 << 30)),
                3,
            )
        )
    return Design(
        "nut" if corners else "flange",
        "metal",
        name,
        rgb,
        tuple(parts),
        handling(rng, pick(rng, {"turned": 2, "loose": 1})),
        flaws=ON_METAL,
        use="fixing",
    )


def bolt(rng: np.random.Generator) -> Design:
    """A screw or nail from its side."""
    name, rgb = metal_colour(rng)
    shank, head, pitch = rng.uniform(0.10, 0.2), rng.uniform(1.5, 2.2), rng.uniform(0.05, 0.10)
    long, tipped, smooth = rng.uniform(0.6, 0.85), rng.uniform() < 0.5, rng.uniform(0.0, 0.5)

    def draw(c: Canvas, p: Part) -> None:
        u, v = c.local(p.at, p.turn)
        bend = p.fault.get("bend")
        if bend is not None:
            v = (
                v
                - F(0.22 * (0.3 + bend["strength"]) * bend["side"])
                * np.clip((u - F(long * (bend["place"] - 0.6))) / F(0.6), 0, 2) ** 2
            )
        end: Field | np.float32 = F(long)
        cutoff = p.fault.get("break")
        if cutoff is not None:
            end = F(long * (0.9 - 0.6 * cutoff["strength"])) + F(0.03) * np.sin(v * 60)
        phase = (u + F(0.25) * v) * F(2 * np.pi / pitch)
        threaded = np.clip((u - F(-long + 0.2 + smooth)) * 30, 0, 1)
        worn = p.fault.get("wear")
        if worn is not None:
            threaded = threaded * (
                1
                - np.exp(
                    -(((u - F(long * (2 * worn["place"] - 1) * 0.6 + 0.1)) / F(0.12 + 0.1 * worn["strength"])) ** 4)
                )
                * F(0.3 + 0.7 * worn["strength"])
            )
        radius = F(shank) * (1 - F(0.16) * threaded * (F(0.5) + F(0.5) * np.sin(phase)))
        if tipped:
            radius = radius * np.clip((end - u) / F(0.2), 0, 1)
        d = np.maximum(np.abs(v) - radius, np.maximum(u - end, F(-long) - u))
        cap = rounded_box(u + F(long), v, (0.10, shank * head), 0.04)
        d = np.minimum(d, cap)
        wide = np.where(cap < 0, F(shank * head), F(shank))
        side = np.clip(v / wide, -1, 1)
        shade = F(0.55) + F(0.65) * np.sqrt(np.clip(1 - side * side, 0, 1)) + F(0.25) * side * F(np.sign(c.lamp[1]))
        shade = shade + F(0.28) * threaded * np.cos(phase) * (cap > 0)
        lay(c, d, finish(c, "grainy", rgb, "bolt") * shade, bevel=0.012, gloss=0.1, soft=0.08)

    part = Part("screw", draw, look={"rgb": rgb}, radius=1.1, can=able("body", "bend", "break", "wear"))
    return Design(
        "screw",
        "metal",
        name,
        rgb,
        (ground(rng), part),
        handling(rng, pick(rng, {"turned": 2, "loose": 1}), 0.5),
        flaws=ON_METAL,
        use="fixing",
    )


def casting(rng: np.random.Generator) -> Design:
    """A cast housing from above: a disc or a bracket with bosses, ribs and holes; like an impeller or a cover."""
    name, rgb = metal_colour(rng)
    rgb = tone(rgb, rng.uniform(0.6, 1.05))
    size, hub, blades = rng.uniform(0.7, 0.88), rng.uniform(0.15, 0.28), int(rng.integers(0, 8))
    rough, curl = rng.uniform(0.6, 1.6), rng.uniform(-0.9, 0.9)
    ears = int(rng.integers(2, 5)) if rng.uniform() < 0.5 else 0

    def outline(c: Canvas, p: Part) -> Field:
        u, v = c.local(p.at, p.turn)
        d = ring(u, v) - F(size)
        for x, y in star(ears, 0.3):
            d = np.minimum(d, ring(u - F(0.92 * size * x), v - F(0.92 * size * y)) - F(0.16))
        return np.asarray(d, np.float32)

    def ribs(c: Canvas, p: Part) -> None:
        u, v = c.local(p.at, p.turn)
        r = ring(u, v)
        angle = np.arctan2(v, u) - F(curl) * r
        wave = np.cos(F(blades) * angle)
        d = (F(0.82) - wave) * r * F(0.5 / blades * 2)
        d = np.maximum(d, np.maximum(r - F(0.85 * size), F(hub) - r))
        lay(
            c,
            np.asarray(d, np.float32),
            finish(c, "cast", tone(rgb, 1.08), "rib", 0, rough),
            bevel=0.02,
            gloss=0.3,
            shadow=0.35,
            soft=0.03,
        )

    parts = [ground(rng), body("casting", outline, rgb, "cast", rough=rough, bevel=0.04)]
    parts.append(disc_like("rim", size * 0.9, lambda c, d: engraved(c, d, 0.45, 0.02)))
    if blades > 2:
        parts.append(Part("rib", ribs, radius=size))
    parts.append(bead("hub", (0, 0), hub, tone(rgb, 1.1), gloss=0.15, hole_=rng.uniform(0.3, 0.6), can=()))
    parts += [hole((0.92 * size * x, 0.92 * size * y), 0.07, "bolt hole") for x, y in star(ears, 0.3)]
    return Design(
        "cast housing",
        "metal",
        f"cast {name}",
        rgb,
        tuple(parts),
        handling(rng, pick(rng, {"fixed": 1, "loose": 1, "turned": 1}), 0.5),
        flaws=strong(
            "crack",
            "scratch",
            "corrosion",
            "dent",
            "stain",
            "contamination",
            pores=2,
            hole=1.5,
            discoloration=0.5,
        ),
        use="structure",
    )


def weld(rng: np.random.Generator) -> Design:
    """A weld seam between two sheets: overlapping scales, heat tint on both sides."""
    name, rgb = metal_colour(rng)
    wide, pitch, heat, turn = (
        rng.uniform(0.12, 0.26),
        rng.uniform(0.05, 0.12),
        rng.uniform(0.05, 0.35),
        float(rng.choice((0.0, np.pi / 2))),
    )
    kind, round_ = pick(rng, METAL_FINISHES), rng.uniform(0.5, 1.6)

    def draw(c: Canvas, p: Part) -> None:
        u, v = c.local((0, 0), turn)
        c.rgb[:] = finish(c, kind, rgb, "sheet", turn)
        c.on[:] = 1
        away = np.abs(v) / F(wide)
        tint = np.stack([1 + 0 * away, 1 - F(0.4 * heat) * np.exp(-away), 1 - F(heat) * np.exp(-away * F(0.9))])
        c.rgb *= tint * (1 - F(0.5 * heat) * np.exp(-((away - F(1.5)) ** 2)))
        wander = F(0.03) * c.noise("wander", (0.6, 4.0), turn)
        gap = p.fault.get("break")
        edge = F(wide) * (1 + F(0.10) * c.noise("edge", (0.06, 4.0), turn))
        if gap is not None:
            edge = edge * (
                1
                - np.exp(-(((u - F(1.6 * gap["place"] - 0.8)) / F(0.06 + 0.18 * gap["strength"])) ** 4))
                * F(0.5 + 0.5 * gap["strength"])
            )
        side = (v + wander) / np.maximum(edge, F(0.01))
        phase = u / F(pitch) + F(round_) * side * side + F(0.25) * c.noise("pace", (0.2, 4.0), turn)
        scale = np.mod(phase, 1)
        dome = np.sqrt(np.clip(1 - side * side, 0, 1))
        lit = F(0.62) + F(0.4) * dome + F(0.45) * (scale - F(0.4)) + F(0.25) * side * F(c.lamp[1])
        alpha = c.cover((np.abs(side) - 1) * edge)
        c.shade(1 - F(0.35) * np.exp(-np.clip((np.abs(side) - 1) * edge, 0, 1) / F(0.025)))
        c.paint(alpha, flat(tone(rgb, 1.05), lit * (1 + F(0.06) * c.noise("bead", 0.02))))

    part = Part("weld seam", draw, look={}, can=able("break", "soft"), radius=3.0)
    return Design(
        "weld seam",
        "metal",
        name,
        rgb,
        (part, *rare(rng, 0.2)),
        handling(rng, pick(rng, {"loose": 1, "fixed": 1}), 0.45),
        True,
        turn,
        pitch,
        strong(
            "hole",
            "contamination",
            "corrosion",
            "scratch",
            pores=2,
            crack=2,
            discoloration=0.7,
            drops=1.0,
            hot_spot=0.6,
        ),
        use="joint",
    )


def bearing(rng: np.random.Generator) -> Design:
    """A ball bearing, or a ring of equal pieces in a cage."""
    name, rgb = metal_colour(rng)
    outer, inner, many = rng.uniform(0.7, 0.85), rng.uniform(0.22, 0.36), int(rng.integers(7, 15))
    track = 0.5 * (outer + inner)
    size = min(0.36 * (outer - inner) * 0.9, 0.85 * np.pi * track / many)
    cage = any_colour(rng, (0.1, 0.8))

    def outline(c: Canvas, p: Part) -> Field:
        r = ring(*c.local(p.at, p.turn))
        return np.asarray(np.maximum(r - F(outer), F(inner * 0.75) - r), np.float32)

    def race(c: Canvas, p: Part) -> None:
        r = ring(*c.local(p.at))
        gap = np.abs(r - F(track)) - F(size * 1.12)
        c.paint(c.cover(gap), flat(cage, 1 + F(0.05) * c.noise("cage", 0.03)))
        engraved(c, gap, 0.6, 0.015)

    parts: list[Part] = [
        ground(rng),
        body("ring", outline, rgb, "turned", bevel=0.03, gloss=0.5),
        Part("race", race, radius=outer),
    ]
    balls = [
        bead("ball", (track * x, track * y), size, (0.8, 0.81, 0.83), gloss=0.8, can=("miss", "swap"))
        for x, y in star(many)
    ]
    return Design(
        "bearing",
        "metal",
        name,
        rgb,
        (*parts, *balls),
        handling(rng, pick(rng, {"fixed": 1, "turned": 1})),
        flaws=ON_METAL,
        use="drive",
    )


def spring(rng: np.random.Generator) -> Design:
    """A coil spring or a comb of pins from its side."""
    name, rgb = metal_colour(rng)
    pins = rng.uniform() < 0.5
    many, wire, half = int(rng.integers(7, 15)), rng.uniform(0.016, 0.03), rng.uniform(0.3, 0.6)
    pitch = 1.6 / many
    parts: list[Part] = [ground(rng)]
    for i in range(many):
        x = -0.8 + (i + 0.5) * pitch
        if pins:
            line = np.array(((x, -half), (x, half)))
        else:
            line = np.array(((x - 0.5 * pitch, -half), (x - 0.3 * pitch, half), (x + 0.5 * pitch, -half)))
        parts.append(
            strip(
                "pin" if pins else "coil",
                line,
                wire,
                rgb,
                can=("bend", "break", "miss") if pins else ("bend",),
                round_=0.9,
            )
        )
    if pins:
        parts.append(slab("holder", (0.0, half * 0.75), (0.86, 0.14), any_colour(rng, (0.05, 0.6)), can=()))
        parts[-1] = replace(parts[-1], can=able("body"), radius=1.0)
    what = "connector" if pins else "spring"
    return Design(
        what,
        "metal",
        name,
        rgb,
        tuple(parts),
        handling(rng, "loose"),
        flaws=strong("contamination", "corrosion", "thread", "residue"),
        use="contact" if pins else "drive",
    )


def label_plate(rng: np.random.Generator) -> Design:
    """A nameplate: lines of print, a logo, a bar code, a frame."""
    rgb = any_colour(rng, (0.55, 0.97), 0.4) if rng.uniform() < 0.6 else any_colour(rng, (0.03, 0.3))
    ink: RGB = (0.06, 0.06, 0.08) if sum(rgb) > 1.4 else (0.92, 0.92, 0.9)
    half = rng.uniform(0.65, 0.85), rng.uniform(0.4, 0.65)
    seed, lines = int(rng.integers(1 << 30)), int(rng.integers(2, 5))
    stuff = pick(rng, {"paper": 1, "plastic": 1, "metal": 1})
    parts = [
        ground(rng),
        body("label", plate_outline(half, rng.uniform(0, 0.1)), rgb, "plain", bevel=0.012, shadow=0.25),
    ]
    for i in range(lines):
        size = rng.uniform(0.14, 0.30)
        at = float(rng.uniform(-0.3, 0.3) * half[0]), float(-half[1] + (i + 0.8) * 2 * half[1] / (lines + 0.8))
        free = rng.uniform() < 0.25
        name = "lot number" if free else "line of print"
        parts.append(text_part(name, at, size, ink, seed + i, int(rng.integers(4, 9)), free=free))
    if rng.uniform() < 0.7:
        bars = np.random.default_rng(seed).uniform(0.004, 0.018, 22)

        def code(c: Canvas, p: Part) -> None:
            near = c.around(*p.at, p.radius)
            if near is None:
                return
            u, v = near.local(p.at, p.turn)
            edges = np.cumsum(bars) - bars.sum() / 2
            number = np.searchsorted(edges, u)
            fault = p.fault.get("print")
            alpha = (number % 2 == 0) * near.cover(np.maximum(np.abs(v) - F(0.07), np.abs(u) - F(bars.sum() / 2)))
            if fault is not None:
                alpha = alpha * (
                    1
                    - F(0.3 + 0.7 * fault["strength"])
                    * np.exp(-(((u - F((fault["place"] - 0.5) * bars.sum())) / F(0.05)) ** 2))
                )
            near.paint(alpha.astype(F), ink)

        at = (rng.choice((-1, 1)) * 0.45 * half[0], 0.72 * half[1])
        parts.append(
            Part(
                "bar code",
                code,
                at,
                float(bars.sum() / 2) + 0.09,
                look={"rgb": ink},
                can=able("miss", "move", "turn", "print"),
                near=0.08,
            )
        )
    return Design(
        "label",
        stuff,
        {"paper": "printed paper", "plastic": "plastic", "metal": "anodised aluminium"}[stuff],
        rgb,
        (*parts, *rare(rng, 0.4)),
        handling(rng, "loose", 0.2),
        flaws=strong(
            "scratch" if stuff != "paper" else "wrinkle",
            "stain",
            "print_fault",
            "edge_wear",
            "contamination",
            "smear",
            "discoloration",
            "thread",
        ),
        use="print",
    )
