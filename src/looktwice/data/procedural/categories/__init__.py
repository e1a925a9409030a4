"""The categories: what a family can be. Each is a function that draws a design from a stream of numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from looktwice.data.procedural.categories import electric, goods, metal, textures
from looktwice.data.procedural.design import Design

CATEGORIES: Mapping[str, Callable[[np.random.Generator], Design]] = {
    "woven": textures.woven,
    "carpet": textures.carpet,
    "knit": textures.knit,
    "leather": textures.leather,
    "wood": textures.wood,
    "stone": textures.stone,
    "concrete": textures.concrete,
    "tiles": textures.tiles,
    "metal_sheet": textures.metal_sheet,
    "cast_surface": textures.cast_surface,
    "mesh": textures.mesh,
    "coating": textures.coating,
    "corrugated": textures.corrugated,
    "foam": textures.foam,
    "printed_pattern": textures.printed_pattern,
    "paper": textures.paper,
    "tissue": textures.tissue,
    "screwed_plate": metal.screwed_plate,
    "gear": metal.gear,
    "nut": metal.nut,
    "bolt": metal.bolt,
    "casting": metal.casting,
    "weld": metal.weld,
    "bearing": metal.bearing,
    "spring": metal.spring,
    "label": metal.label_plate,
    "circuit_board": electric.circuit_board,
    "bare_board": electric.bare_board,
    "solar_cell": electric.solar_cell,
    "cable": electric.cable,
    "terminal": electric.terminal,
    "transistor": electric.transistor,
    "battery": electric.battery,
    "insulator": electric.insulator,
    "overhead_line": electric.overhead_line,
    "bottle_mouth": goods.bottle_mouth,
    "bottle": goods.bottle,
    "capsule": goods.capsule,
    "pill": goods.pill,
    "blister_pack": goods.blister_pack,
    "fruit": goods.fruit,
    "zipper": goods.zipper,
    "brush": goods.brush,
    "toy_brick": goods.toy_brick,
    "dial": goods.dial,
    "blade": goods.blade,
    "scan": goods.scan,
}

# for testing: whoever trains on made data leaves these out
HELD_OUT = (
    *("leather", "tiles", "mesh", "printed_pattern", "tissue", "gear", "bolt", "weld", "label", "bare_board"),
    *("cable", "battery", "bottle_mouth", "pill", "zipper", "dial"),
)
