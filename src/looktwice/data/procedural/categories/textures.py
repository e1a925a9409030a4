"""Surfaces that fill the picture: cloth, wood, metal sheet, stone, leather, mesh, print, foam, tissue.

Every item of a family is another piece of the same material. Letters: h w pixels of a window.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from looktwice.data.procedural.canvas import Canvas, F, Field, cells, of_cell, ring, rounded_box
from looktwice.data.procedural.categories.common import clear, ground, handling, lay, rare, strong
from looktwice.data.procedural.design import (
    RGB,
    Design,
    Part,
    able,
    any_colour,
    flat,
    metal_colour,
    mixed,
    pick,
    tone,
)

Sheet = Callable[[Canvas], Field]
EDGED = 0.25  # how often the edges of a sheet are in the picture


def sheet(
    rng: np.random.Generator,
    name: str,
    stuff: str,
    material: str,
    rgb: RGB,
    paint: Sheet,
    flaws: dict[str, float],
    *,
    use: str,
    grey: float = 0.25,
    grain: float = 0.0,
    pitch: float = 0.1,
    soft: bool = False,
    pose: str = "texture",
) -> Design:
    """A design whose surface fills the picture."""

    can, under = {"soft"} if soft else set(), tuple[Part, ...]()
    if rng.uniform() < EDGED:
        half = (
            (rng.uniform(0.6, 0.96), 4.0) if rng.uniform() < 0.4 else (rng.uniform(0.7, 0.97), rng.uniform(0.5, 0.97))
        )
        half = half if rng.uniform() < 0.5 else half[::-1]
        corner, under, pose = float(rng.uniform(0, 0.1)), (ground(rng),), "loose"
        can.add("body")

        def draw(c: Canvas, p: Part) -> None:
            lay(c, rounded_box(c.u, c.v, half, corner), paint(c), bevel=0.012, gloss=0.3, shadow=0.35)
    else:

        def draw(c: Canvas, p: Part) -> None:
            c.rgb[:] = paint(c)
            c.on[:] = 1

    part = Part(name, draw, can=frozenset(can))
    return Design(
        name,
        stuff,
        material,
        rgb,
        (*under, part, *rare(rng, 0.3)),
        handling(rng, pose, grey),
        True,
        grain,
        pitch,
        flaws,
        use,
    )


def blend(a: RGB, b: RGB, share: Field) -> Field:
    """(3, h, w): a where share is 0, b where it is 1."""
    low, high = np.asarray(a, F)[:, None, None], np.asarray(b, F)[:, None, None]
    return np.asarray(low + (high - low) * share, F)


# ---------------------------------------------------------------- cloth


def woven(rng: np.random.Generator) -> Design:
    """Plain, twill or basket weave, of one or two colours, plain, striped or checked."""
    pitch, turn = rng.uniform(0.035, 0.13), rng.uniform(-0.15, 0.15) if rng.uniform() < 0.7 else rng.uniform(-0.8, 0.8)
    kind = pick(rng, {"plain": 2, "twill": 2, "basket": 1})
    warp = any_colour(rng, (0.15, 0.92))
    weft = warp if rng.uniform() < 0.5 else mixed(warp, any_colour(rng), 0.5)
    third, repeat = any_colour(rng), rng.uniform(0.25, 0.9)
    macro = pick(rng, {"none": 3, "stripes": 1, "checks": 1})
    relief, fuzz, wander = rng.uniform(0.15, 0.5), rng.uniform(0.02, 0.09), rng.uniform(0.02, 0.12)

    def paint(c: Canvas) -> Field:
        u, v = c.local((0, 0), turn)
        a = (u + F(pitch * wander * 2) * c.noise("a", 0.3)) * F(np.pi / pitch)
        b = (v + F(pitch * wander * 2) * c.noise("b", 0.3)) * F(np.pi / pitch)
        if kind == "plain":
            over = np.sin(a) * np.sin(b)
        elif kind == "twill":
            over = np.sin(a + b) * F(0.9)
        else:
            over = np.sin(a / 2) * np.sin(b / 2)
        k = clear(c, pitch)
        over = np.clip(over * 4 * k, -1, 1) * F(0.5) + F(0.5)
        round_ = over * np.cos(a) ** 2 + (1 - over) * np.cos(b) ** 2
        shade = 1 - F(relief) * k * (round_ - F(0.5)) + F(fuzz) * c.noise("fuzz", 0.012) + F(0.02) * c.noise("big", 0.5)
        rgb = blend(weft, warp, over)
        if macro != "none":
            phase = F(2 * np.pi / repeat)
            band = np.clip(np.sin(u * phase) * 6, 0, 1)
            if macro == "checks":
                band = (band + np.clip(np.sin(v * phase) * 6, 0, 1)) / 2
            rgb = rgb + F(0.8) * band * (np.asarray(third, F)[:, None, None] - rgb)
        return np.asarray(rgb * shade, F)

    return sheet(
        rng,
        "fabric",
        "cloth",
        f"{kind}-woven fabric",
        mixed(warp, weft, 0.5),
        paint,
        dict(
            strong(
                "hole",
                "stain",
                "thread",
                "cut",
                "contamination",
                "wrinkle",
                "discoloration",
                "knot",
                line_fault=2,
                pattern_fault=0.7,
                burn=0.6,
                pen_mark=0.4,
                fading=0.5,
            )
        ),
        use="cloth",
        grain=turn,
        pitch=2 * pitch,
        soft=True,
    )


def carpet(rng: np.random.Generator) -> Design:
    """Tufts of two or three colours, or fleece."""
    size = rng.uniform(0.018, 0.04)
    a, b = any_colour(rng, (0.2, 0.85), 0.5), any_colour(rng, (0.1, 0.85), 0.5)
    b = mixed(a, b, rng.uniform(0.2, 1))
    contrast, lie = rng.uniform(0.1, 0.3), rng.uniform(0, np.pi)

    def paint(c: Canvas) -> Field:
        share = np.clip(F(0.5) + F(0.5) * c.noise("mix", size * 1.6), 0, 1)
        tuft = c.noise("tuft", (2 * size, size), lie)
        return blend(a, b, share) * (1 + F(contrast) * tuft + F(0.05) * c.noise("lie", 0.3))

    return sheet(
        rng,
        "carpet",
        "cloth",
        "tufted carpet",
        mixed(a, b, 0.5),
        paint,
        dict(
            strong(
                "hole",
                "stain",
                "thread",
                "cut",
                "contamination",
                "discoloration",
                "burn",
                "residue",
                "knot",
                fading=0.5,
            )
        ),
        use="cloth",
        grain=lie,
        pitch=size,
        soft=False,
    )


def knit(rng: np.random.Generator) -> Design:
    """Columns of stitches."""
    pitch, rgb = rng.uniform(0.06, 0.14), any_colour(rng, (0.2, 0.9))
    second = rgb if rng.uniform() < 0.6 else any_colour(rng, (0.2, 0.9))
    rows = rng.uniform(0.2, 0.7)

    def paint(c: Canvas) -> Field:
        u, v = c.u + F(0.15 * pitch) * c.noise("a", 0.25), c.v + F(0.15 * pitch) * c.noise("b", 0.25)
        column = np.abs(np.mod(u / F(pitch), 1) - F(0.5)) * 2
        stitch = np.mod(v / F(pitch * 0.75) + F(0.8) * column, 1)
        yarn = np.sqrt(np.clip(1 - (2 * stitch - 1) ** 2, 0, 1)) * (F(0.55) + F(0.45) * np.sin(column * F(np.pi)))
        shade = F(0.55) + F(0.55) * (yarn * clear(c, pitch) + F(0.6) * (1 - clear(c, pitch)))
        band = np.clip(np.sin(v * F(2 * np.pi / rows)) * 8, 0, 1)
        return np.asarray(blend(rgb, second, band) * (shade + F(0.05) * c.noise("fuzz", 0.012)))

    return sheet(
        rng,
        "knitwear",
        "cloth",
        "knitted wool",
        rgb,
        paint,
        dict(
            strong(
                "hole",
                "stain",
                "thread",
                "contamination",
                "knot",
                "discoloration",
                line_fault=1.5,
                pattern_fault=0.6,
                cut=0.7,
            )
        ),
        use="cloth",
        grain=np.pi / 2,
        pitch=pitch,
        soft=True,
    )


def leather(rng: np.random.Generator) -> Design:
    """Grained hide: small cells with dark furrows."""
    pitch, rgb = rng.uniform(0.03, 0.10), any_colour(rng, (0.12, 0.75), 0.6)
    if rng.uniform() < 0.6:
        rgb = tone((0.42, 0.27, 0.17), rng.uniform(0.4, 1.5))
    deep, seed, loose = rng.uniform(0.15, 0.5), int(rng.integers(1 << 30)), rng.uniform(0.7, 1.0)

    def paint(c: Canvas) -> Field:
        shift = c.shot.random("piece").uniform(-0.5, 0.5, 2)
        bend = F(0.4 * pitch) * c.noise("bend", 2.5 * pitch)
        near, border, name = cells(c.u + F(shift[0]) + bend, c.v + F(shift[1]) - bend, pitch, seed, loose)
        furrow = np.exp(-((border / F(0.16 * pitch + 0.3 * c.px)) ** 2)) * clear(c, pitch)
        shade = (
            1
            - F(deep) * furrow
            + F(0.10) * (of_cell(name, seed) - F(0.5))
            - F(0.15) * clear(c, pitch) * near / F(pitch)
        )
        return flat(rgb, shade + F(0.05) * c.noise("pore", 0.012) + F(0.05) * c.noise("hide", 0.6))

    return sheet(
        rng,
        "leather",
        "leather",
        "grained leather",
        rgb,
        paint,
        dict(
            strong(
                "scratch",
                "cut",
                "hole",
                "stain",
                "wrinkle",
                "residue",
                "discoloration",
                "abrasion",
                "contamination",
                "burn",
                blister=0.5,
                pen_mark=0.7,
                thread=0.5,
                pattern_fault=0.5,
            )
        ),
        use="cover",
        grey=0.15,
        pitch=pitch,
        soft=False,
    )


# ---------------------------------------------------------------- wood and stone


def wood(rng: np.random.Generator) -> Design:
    """A board: long wavering rings and fibres."""
    early = (
        tone((0.80, 0.62, 0.40), rng.uniform(0.6, 1.15)) if rng.uniform() < 0.85 else any_colour(rng, (0.3, 0.8), 0.4)
    )
    late = tone(mixed(early, (0.35, 0.2, 0.1), rng.uniform(0.3, 0.7)), rng.uniform(0.7, 1.0))
    many, turn, wild = rng.uniform(4, 18), rng.choice((0, np.pi / 2)) + rng.normal(0, 0.05), rng.uniform(0.2, 1.2)

    def paint(c: Canvas) -> Field:
        _, v = c.local((0, 0), turn)
        rings = (
            v * F(many)
            + F(wild) * c.noise("flow", (1.4, 0.35), turn) * 2
            + F(0.15) * c.noise("flow2", (0.5, 0.06), turn)
        )
        wave = np.mod(rings, 1)
        late_wood = wave**3 * np.clip((1 - wave) * 8, 0, 1)
        fibre = F(0.06) * c.noise("fibre", (0.35, 0.008), turn) + F(0.03) * c.noise("board", 0.7)
        return np.asarray(blend(early, late, np.clip(F(0.15) + late_wood, 0, 1)) * (1 + fibre))

    return sheet(
        rng,
        "board",
        "wood",
        "wood",
        early,
        paint,
        dict(
            strong(
                "scratch",
                "crack",
                "hole",
                "stain",
                "knot",
                "burn",
                "discoloration",
                "residue",
                "cut",
                "contamination",
                pen_mark=0.6,
                edge_wear=0.4,
                drops=0.6,
            )
        ),
        use="cover",
        grey=0.12,
        grain=turn,
        pitch=0.3,
    )


def stone(rng: np.random.Generator) -> Design:
    """Granite, terrazzo or marble."""
    kind = pick(rng, {"granite": 1, "terrazzo": 1, "marble": 1})
    palette = [any_colour(rng, (0.2, 0.9), 0.35) for _ in range(3)]
    pitch, seed, vein = rng.uniform(0.04, 0.16), int(rng.integers(1 << 30)), rng.uniform(0.02, 0.07)

    def granite(c: Canvas) -> Field:
        a = np.clip(F(0.5) + F(0.7) * c.noise("a", 0.5 * pitch), 0, 1)
        b = (c.noise("b", 0.4 * pitch) > 1.0).astype(F)
        rgb = blend(palette[0], palette[1], a)
        rgb = rgb + b * F(0.8) * (np.asarray(palette[2], F)[:, None, None] - rgb)
        return rgb * (1 + F(0.05) * c.noise("c", 0.012))

    def terrazzo(c: Canvas) -> Field:
        shift = c.shot.random("piece").uniform(-0.6, 0.6, 2)
        _, border, name = cells(c.u + F(shift[0]), c.v + F(shift[1]), pitch, seed, 0.95)
        chip = c.cover(F(0.12 * pitch) - border) * (of_cell(name, seed) < 0.7)
        colour = np.stack([np.asarray(p, F) for p in palette])[(of_cell(name, seed, 1) * 2.99).astype(int)]
        rgb = flat(palette[0], 1 + F(0.04) * c.noise("c", 0.015))
        return np.asarray(
            rgb + chip * F(0.85) * (colour.transpose(2, 0, 1) * (F(0.8) + F(0.4) * of_cell(name, seed, 2)) - rgb)
        )

    def marble(c: Canvas) -> Field:
        flow = c.fractal("flow", 0.9, 4, 0.6)
        line = np.exp(-np.abs(flow) / F(vein)) * np.clip(F(0.6) + c.noise("on", 0.5), 0, 1)
        cloud = 1 + F(0.05) * c.fractal("cloud", 0.6, 3)
        return blend(palette[0], tone(palette[1], 0.7), F(0.7) * line) * cloud

    paint = {"granite": granite, "terrazzo": terrazzo, "marble": marble}[kind]
    return sheet(
        rng,
        "stone slab",
        "stone",
        kind,
        palette[0],
        paint,
        dict(
            strong(
                "crack",
                "scratch",
                "stain",
                "hole",
                "contamination",
                "residue",
                "discoloration",
                "abrasion",
                "pores",
                pen_mark=0.6,
                pattern_fault=0.5,
                drops=0.6,
            )
        ),
        use="cover",
        grey=0.15,
        pitch=pitch,
    )


def concrete(rng: np.random.Generator) -> Design:
    """Concrete, plaster or asphalt: clouds, grains, small pits."""
    rgb = tone((0.6, 0.59, 0.56), rng.uniform(0.4, 1.35))
    cloud, grain, size, pits = (
        rng.uniform(0.03, 0.1),
        rng.uniform(0.03, 0.16),
        rng.uniform(0.01, 0.03),
        rng.uniform(1.6, 3.2),
    )
    asphalt = rng.uniform() < 0.35
    if asphalt:
        rgb, grain, size = tone(rgb, 0.6), 0.25, rng.uniform(0.015, 0.035)

    def paint(c: Canvas) -> Field:
        pit = np.clip((c.noise("pit", 0.03) - F(pits)) * 3, 0, 1)
        shade = 1 + F(cloud) * c.fractal("cloud", 0.8, 4, 0.7) + F(grain) * c.noise("grain", size) - F(0.45) * pit
        return flat(rgb, np.maximum(shade, 0.1))

    return sheet(
        rng,
        "road surface" if asphalt else "concrete wall",
        "stone",
        "asphalt" if asphalt else "concrete",
        rgb,
        paint,
        dict(strong("hole", "stain", "discoloration", "pores", "residue", crack=3, contamination=0.7, smear=0.1)),
        use="structure",
        grey=0.35,
        pitch=size,
    )


def tiles(rng: np.random.Generator) -> Design:
    """Tiles or bricks with joints."""
    wide, high = rng.uniform(0.25, 0.7), rng.uniform(0.15, 0.5)
    offset, joint = (0.5 if rng.uniform() < 0.5 else 0.0), rng.uniform(0.012, 0.03)
    rgb, grout = any_colour(rng, (0.3, 0.95), 0.6), any_colour(rng, (0.2, 0.9), 0.15)
    spread, glaze, rough = rng.uniform(0.02, 0.2), rng.uniform(0, 0.25), rng.uniform(0.01, 0.06)

    def paint(c: Canvas) -> Field:
        row = np.floor(c.v / F(high))
        x = c.u / F(wide) + F(offset) * np.mod(row, 2)
        fu, fv = np.mod(x, 1), np.mod(c.v / F(high), 1)
        d = np.minimum((F(0.5) - np.abs(fu - F(0.5))) * F(wide), (F(0.5) - np.abs(fv - F(0.5))) * F(high)) - F(
            joint / 2
        )
        number = (np.floor(x) * 7 + row * 131).astype(np.int64)
        shade = (
            1
            + F(spread) * (of_cell(number, 5) - F(0.5)) * 2
            + F(rough) * c.noise("clay", 0.025)
            + F(0.03) * c.noise("big", 0.5)
        )
        edge = np.exp(-np.clip(d, 0, 1) / F(0.015))
        shade = shade * (1 - F(0.25) * edge) + F(glaze) * (F(0.5) - fv) * F(0.5)
        return np.asarray(blend(grout, rgb, c.cover(-d)) * shade)

    return sheet(
        rng,
        "tiled wall",
        "ceramic",
        "ceramic tile",
        rgb,
        paint,
        dict(
            strong(
                "crack",
                "scratch",
                "stain",
                "edge_wear",
                "hole",
                "residue",
                "contamination",
                "discoloration",
                "smear",
                pen_mark=0.7,
            )
        ),
        use="cover",
        pitch=high,
        pose="loose" if rng.uniform() < 0.5 else "texture",
    )


# ---------------------------------------------------------------- metal, mesh, coatings


def metal_sheet(rng: np.random.Generator) -> Design:
    """Rolled, ground or brushed sheet."""
    name, rgb = metal_colour(rng)
    turn = float(rng.choice((0, np.pi / 2))) + rng.normal(0, 0.03)
    fine, long, patch = rng.uniform(0.02, 0.10), rng.uniform(0.01, 0.08), rng.uniform(0.0, 0.08)
    band, glow = rng.uniform(0, 0.25), rng.uniform(-0.3, 0.3)

    def paint(c: Canvas) -> Field:
        u, v = c.local((0, 0), turn)
        shade = 1 + F(fine) * c.noise("fine", (0.35, 0.010), turn) + F(long) * c.noise("long", (2.5, 0.035), turn)
        shade = shade + F(patch) * c.fractal("patch", 0.5, 3) + F(0.02) * c.noise("grain", 0.012)
        return flat(rgb, np.maximum(shade + F(band) * np.cos(v * F(1.6) + F(glow)) - F(0.05) * u * u, 0.05))

    return sheet(
        rng,
        "sheet",
        "metal",
        f"rolled {name}" if rng.uniform() < 0.5 else f"brushed {name}",
        rgb,
        paint,
        dict(
            strong(
                "scratch",
                "dent",
                "hole",
                "stain",
                "corrosion",
                "pores",
                "discoloration",
                "line_fault",
                "abrasion",
                "crack",
                hot_spot=0.6,
                contamination=0.8,
                blister=0.6,
                residue=0.5,
                smear=0.6,
                drops=0.4,
            )
        ),
        use="cover",
        grey=0.6,
        grain=turn,
        pitch=0.04,
    )


def cast_surface(rng: np.random.Generator) -> Design:
    """Rough skin: sand casting, sintered blanks, blasted or powder-coated metal."""
    name, rgb = metal_colour(rng)
    rgb = tone(rgb, rng.uniform(0.4, 1))
    size, rough, cloud = rng.uniform(0.012, 0.05), rng.uniform(0.05, 0.22), rng.uniform(0, 0.08)

    def paint(c: Canvas) -> Field:
        bumps = c.noise("bumps", size)
        shade = (
            1 + F(rough) * bumps + F(0.5 * rough) * c.noise("fine", 0.5 * size) + F(cloud) * c.fractal("cloud", 0.7, 2)
        )
        return flat(rgb, np.maximum(shade, 0.05))

    return sheet(
        rng,
        "blank",
        "metal",
        f"cast {name}",
        rgb,
        paint,
        dict(
            strong(
                "pores",
                "hole",
                "scratch",
                "dent",
                "corrosion",
                "contamination",
                "stain",
                crack=2,
                abrasion=0.6,
            )
        ),
        use="structure",
        grey=0.6,
        pitch=size,
    )


def mesh(rng: np.random.Generator) -> Design:
    """A grid of wires or a perforated sheet in front of a ground."""
    pitch, wire = rng.uniform(0.10, 0.3), rng.uniform(0.10, 0.35)
    kind, turn = pick(rng, {"square": 2, "diamond": 1.5, "holes": 1.5}), rng.normal(0, 0.03)
    _, rgb = metal_colour(rng)
    behind = any_colour(rng, (0.02, 0.25) if rng.uniform() < 0.6 else (0.75, 0.95), 0.3)

    def draw(c: Canvas, p: Part) -> None:
        u, v = c.local((0, 0), turn)
        if kind == "diamond":
            u, v = (u + F(0.6) * v) * F(0.85), (v * F(0.6) - u) * F(0.85)
        a, b = np.mod(u / F(pitch), 1) - F(0.5), np.mod(v / F(pitch), 1) - F(0.5)
        if kind == "holes":
            d = (F(0.5 - 0.5 * wire) - ring(a, b)) * F(pitch)
        else:
            d = (np.minimum(F(0.5) - np.abs(a), F(0.5) - np.abs(b)) - F(wire / 2)) * F(pitch)
        alpha = c.cover(d)
        c.rgb[:] = flat(behind, 1 + F(0.04) * c.noise("behind", 0.4))
        round_ = 1 - F(0.5) * np.clip(d / F(0.5 * wire * pitch) + 1, 0, 1) ** 2
        c.solid(alpha, flat(rgb, round_ * (1 + F(0.06) * c.noise("metal", 0.03))))

    part = Part("mesh", draw, can=able("soft", "body"))
    under = Part(
        "ground",
        lambda c, p: c.rgb.__setitem__(slice(None), flat(behind, 1 + F(0.04) * c.noise("behind", 0.4))),
        can=able("ground"),
    )
    flaws = dict(strong("contamination", "thread", "corrosion", "residue", "discoloration", hole=0.5, stain=0.5))
    return Design(
        "grid",
        "metal",
        "wire mesh" if kind != "holes" else "perforated sheet",
        rgb,
        (under, part),
        handling(rng, "texture", 0.5),
        True,
        turn,
        pitch,
        flaws,
        use="structure",
    )


def coating(rng: np.random.Generator) -> Design:
    """Paint, enamel, film or glass: nearly even, glossy, with orange peel."""
    rgb, stuff = any_colour(rng, (0.1, 0.97)), pick(rng, {"plastic": 1, "film": 1, "glass": 0.7, "ceramic": 0.7})
    peel, sheen, way = rng.uniform(0.0, 0.04), rng.uniform(0.05, 0.35), rng.uniform(0, 2 * np.pi)

    def paint(c: Canvas) -> Field:
        slope_ = F(sheen) * (c.u * F(np.cos(way)) + c.v * F(np.sin(way)))
        return flat(rgb, 1 + slope_ + F(peel) * c.noise("peel", 0.04) + F(0.03) * c.noise("big", 0.9))

    return sheet(
        rng,
        "panel",
        stuff,
        {"plastic": "painted plastic", "film": "film", "glass": "glass", "ceramic": "enamel"}[stuff],
        rgb,
        paint,
        dict(
            strong(
                "scratch",
                "stain",
                "contamination",
                "blister",
                "residue",
                "smear",
                "drops",
                "thread",
                "pen_mark",
                "discoloration",
                dent=0.7 if stuff in ("plastic", "film") else 0,
                wrinkle=1.0 if stuff == "film" else 0,
                crack=0.8 if stuff in ("glass", "ceramic") else 0,
                abrasion=0.6,
            )
        ),
        use="cover",
        pitch=0.05,
    )


def corrugated(rng: np.random.Generator) -> Design:
    """Ribs, knurls or cardboard flutes."""
    pitch, turn, crossed = rng.uniform(0.06, 0.2), rng.uniform(0, np.pi), rng.uniform() < 0.4
    stuff = pick(rng, {"metal": 1, "rubber": 1, "paper": 1})
    rgb = {
        "metal": metal_colour(rng)[1],
        "rubber": tone((0.16, 0.16, 0.17), rng.uniform(0.6, 2)),
        "paper": tone((0.72, 0.56, 0.38), rng.uniform(0.8, 1.15)),
    }[stuff]
    deep = rng.uniform(0.12, 0.45)

    def paint(c: Canvas) -> Field:
        u, v = c.local((0, 0), turn)
        k = clear(c, pitch) * F(deep)
        wave = np.sin(u * F(2 * np.pi / pitch) + F(0.2) * c.noise("w", 0.5))
        if crossed:
            wave = wave * np.sin(v * F(2 * np.pi / pitch))
        return flat(rgb, 1 + k * wave + F(0.04) * c.noise("grain", 0.014) + F(0.03) * c.noise("big", 0.5))

    return sheet(
        rng,
        "profiled sheet",
        stuff,
        {"metal": "knurled metal", "rubber": "ribbed rubber", "paper": "corrugated cardboard"}[stuff],
        rgb,
        paint,
        dict(
            strong(
                *("dent", "stain", "contamination", "hole", "discoloration"),
                scratch=1.0 if stuff != "paper" else 0,
                residue=1.0 if stuff == "metal" else 0,
                cut=1.0 if stuff != "metal" else 0,
                corrosion=1.0 if stuff == "metal" else 0,
                wrinkle=0.8 if stuff == "paper" else 0,
            )
        ),
        use="cover",
        grain=turn,
        pitch=pitch,
        soft=True,
    )


def foam(rng: np.random.Generator) -> Design:
    """Open cells: foam, sponge, bread, filter."""
    size, rgb = rng.uniform(0.03, 0.10), any_colour(rng, (0.4, 0.95), 0.6)
    seed, stuff = int(rng.integers(1 << 30)), pick(rng, {"rubber": 1.5, "food": 1})

    def paint(c: Canvas) -> Field:
        shift = c.shot.random("piece").uniform(-0.6, 0.6, 2)
        near, border, name = cells(c.u + F(shift[0]), c.v + F(shift[1]), size, seed, 0.95)
        deep = (of_cell(name, seed) ** 2) * np.clip(1 - near / F(0.6 * size), 0, 1) * clear(c, size)
        wall = np.exp(-border / F(0.1 * size))
        return flat(
            rgb,
            F(0.95) - F(0.7) * deep + F(0.06) * wall + F(0.04) * c.noise("big", 0.5) + F(0.03) * c.noise("f", 0.012),
        )

    return sheet(
        rng,
        "foam pad" if stuff == "rubber" else "slice of bread",
        stuff,
        "foam" if stuff == "rubber" else "bread",
        rgb,
        paint,
        dict(
            strong(
                "hole",
                "stain",
                "contamination",
                "thread",
                "discoloration",
                burn=1.0 if stuff == "food" else 0,
                cut=1,
            )
        ),
        use="food" if stuff == "food" else "seal",
        grey=0.15,
        pitch=size,
    )


# ---------------------------------------------------------------- print and tissue


def printed_pattern(rng: np.random.Generator) -> Design:
    """Wallpaper, wrapping or printed cloth: motifs on a lattice."""
    pitch, paper = rng.uniform(0.18, 0.5), any_colour(rng, (0.5, 0.97), 0.4)
    inks = [any_colour(rng, (0.05, 0.9)) for _ in range(2)]
    motif, stagger = (
        pick(rng, {"dots": 1, "rings": 1, "petals": 1.5, "diamonds": 1, "waves": 1}),
        0.5 * float(rng.uniform() < 0.6),
    )
    size, leaves = rng.uniform(0.2, 0.42), int(rng.integers(3, 8))
    stuff = "cloth" if rng.uniform() < 0.4 else "paper"

    def paint(c: Canvas) -> Field:
        row = np.floor(c.v / F(pitch))
        a = np.mod(c.u / F(pitch) + F(stagger) * np.mod(row, 2), 1) - F(0.5)
        b = np.mod(c.v / F(pitch), 1) - F(0.5)
        r = ring(a, b)
        if motif == "dots":
            first, second = r - F(size), r - F(0.5 * size)
        elif motif == "rings":
            first, second = np.abs(r - F(size)) - F(0.06), r - F(0.4 * size)
        elif motif == "petals":
            angle = np.arctan2(b, a)
            first, second = r - F(size) * (F(0.6) + F(0.4) * np.cos(F(leaves) * angle)), r - F(0.35 * size)
        elif motif == "diamonds":
            first, second = np.abs(a) + np.abs(b) - F(size), np.abs(np.abs(a) + np.abs(b) - F(0.5)) - F(0.03)
        else:
            first, second = np.abs(b - F(0.2) * np.sin(a * F(2 * np.pi))) - F(0.1), np.abs(b + F(0.3)) - F(0.05)
        rgb = flat(paper, 1 + F(0.03) * c.noise("paper", 0.014) + F(0.02) * c.noise("big", 0.5))
        for d, ink in ((first, inks[0]), (second, inks[1])):
            rgb = rgb + c.cover(d * F(pitch)) * F(0.92) * (np.asarray(ink, F)[:, None, None] - rgb)
        return np.asarray(rgb, F)

    return sheet(
        rng,
        "printed sheet" if stuff == "paper" else "printed cloth",
        stuff,
        "printed paper" if stuff == "paper" else "printed cotton",
        paper,
        paint,
        dict(
            strong(
                "stain",
                "cut",
                "hole",
                "wrinkle",
                "discoloration",
                "contamination",
                "pattern_fault",
                "fading",
                print_fault=2 if stuff == "paper" else 0,
                thread=0.7,
                burn=0.4,
                pen_mark=0.6,
            )
        ),
        use="print",
        grey=0.1,
        pitch=pitch,
        soft=True,
        pose="texture" if rng.uniform() < 0.5 else "loose",
    )


def paper(rng: np.random.Generator) -> Design:
    """Paper, cardboard, nonwoven or felt: random fibres."""
    rgb = any_colour(rng, (0.55, 0.97), 0.35)
    fibre, cloud = rng.uniform(0.02, 0.08), rng.uniform(0.02, 0.07)

    def paint(c: Canvas) -> Field:
        shade = 1 + F(cloud) * c.fractal("cloud", 0.2, 3, 0.8)
        for i in range(3):
            shade = shade + F(fibre * 0.6) * c.noise(f"fibre{i}", (0.10, 0.012), 1.05 * i + 0.3)
        return flat(rgb, shade)

    return sheet(
        rng,
        "web",
        "paper",
        "paper" if rng.uniform() < 0.5 else "nonwoven",
        rgb,
        paint,
        dict(
            strong(
                "hole",
                "stain",
                "cut",
                "wrinkle",
                "contamination",
                "discoloration",
                "burn",
                "thread",
                "pen_mark",
                print_fault=0.3,
            )
        ),
        use="print",
        grey=0.4,
        pitch=0.05,
        soft=False,
    )


def tissue(rng: np.random.Generator) -> Design:
    """Something grown: mucosa, a leaf, the skin of a fruit, with vessels."""
    rgb = ((0.78, 0.42, 0.36), (0.85, 0.62, 0.55), (0.35, 0.55, 0.22), (0.75, 0.28, 0.15), (0.85, 0.7, 0.25))[
        int(rng.integers(5))
    ]
    rgb = tone(rgb, rng.uniform(0.7, 1.1))
    vein, dark, spots = rng.uniform(0.02, 0.06), rng.uniform(0.2, 0.7), rng.uniform(0, 0.10)
    leaf = rgb[1] > rgb[0]

    def paint(c: Canvas) -> Field:
        flow = c.fractal("flow", 0.7, 3, 0.6)
        vessel = np.exp(-np.abs(flow) / F(vein))
        relief = F(0.14) * c.noise("relief", 0.6) + F(0.05) * c.noise("relief2", 0.18)
        shade = 1 + relief + F(spots) * c.noise("spots", 0.035) + F(0.02) * c.noise("fine", 0.014)
        other = tone(rgb, 1.3) if leaf else (rgb[0] * 0.75, rgb[1] * 0.4, rgb[2] * 0.45)
        return np.asarray(blend(rgb, other, F(dark) * vessel) * shade)

    return sheet(
        rng,
        "leaf" if leaf else "tissue",
        "tissue",
        "plant tissue" if leaf else "tissue",
        rgb,
        paint,
        dict(strong("hole", "stain", "contamination", wrinkle=0.7, blister=2, discoloration=2)),
        use="organ",
        grey=0.15,
        pitch=0.1,
        soft=False,
    )
