"""Sentences about a picture of a data set, from what is known about it: what it shows, the kind of defect, the mask.

They are the sections of an instruct record: description, impact, suggestion. Nothing is said that is not known: without
a mask no place is named, without a kind of defect the defect stays a defect. Consequences and advice go by the group of
a kind of defect (a scratch is damage to the surface), in the phrases that made pictures are spoken of with.

Letters: H W pixels.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from looktwice.data.procedural.canvas import generator
from looktwice.data.procedural.phrases import ADVICE, IMPACT, KINDS
from looktwice.data.procedural.words import places

# Noun and group of names that are no nouns, or mislead: the folders of MVTec AD, and words that several sets share.
ODD: Mapping[str, tuple[str, str]] = {
    "bent": ("bent spot", "shape"),
    "broken": ("break", "fracture"),
    "broken_large": ("large break", "fracture"),
    "broken_small": ("small break", "fracture"),
    "broken_teeth": ("broken tooth", "fracture"),
    "burnt": ("burnt spot", "heat"),
    "cable_swap": ("swapped cable", "position"),
    "color": ("discoloured spot", "colour"),
    "combined": ("combination of defects", ""),
    "cut_inner_insulation": ("cut in the inner insulation", "fracture"),
    "cut_outer_insulation": ("cut in the outer insulation", "fracture"),
    "defective": ("defect", ""),
    "fabric_border": ("damaged fabric border", "structure"),
    "fabric_interior": ("damaged fabric", "structure"),
    "flip": ("flipped side", "position"),
    "glue": ("drop of glue", "dirt"),
    "glue_strip": ("strip of glue", "dirt"),
    "gray_stroke": ("grey stroke", "colour"),
    "liquid": ("liquid stain", "dirt"),
    "manipulated_front": ("damaged front", "surface"),
    "melt": ("molten spot", "heat"),
    "metal_contamination": ("piece of metal", "dirt"),
    "misplaced": ("misplaced part", "position"),
    "missing": ("missing part", "missing"),
    "oil": ("oil stain", "dirt"),
    "pill_type": ("wrong kind of tablet", "position"),
    "poke": ("poke mark", "fracture"),
    "poke_insulation": ("poked insulation", "fracture"),
    "print": ("misprint", "print"),
    "rough": ("rough spot", "surface"),
    "scratch_head": ("scratched head", "surface"),
    "scratch_neck": ("scratched neck", "surface"),
    "split_teeth": ("split row of teeth", "fracture"),
    "squeeze": ("squeezed spot", "shape"),
    "squeezed_teeth": ("squeezed tooth", "shape"),
    "thread_side": ("damaged screw thread", "surface"),
    "thread_top": ("damaged screw thread", "surface"),
}
# The group of other names, by the first of these words that it contains; more telling words first.
GROUPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("missing", ("missing", "absent")),
    ("position", ("misplaced", "swap", "flip", "wrong")),
    ("print", ("print", "label")),
    ("heat", ("burn", "melt", "molten", "scorch", "heat")),
    ("corrosion", ("corro", "rust", "oxid")),
    ("electric", ("solder", "short", "bridge")),
    ("surface", ("scratch", "abrasion", "dent", "rough", "bump")),
    ("fracture", ("crack", "broken", "break", "hole", "cut", "poke", "split", "chip", "fray", "pit", "damage", "tear")),
    ("colour", ("color", "colour", "fading")),
    ("dirt", ("contamin", "foreign", "glue", "oil", "liquid", "stain", "thread", "fibre", "fiber", "dirt", "stuck")),
    ("shape", ("bent", "bend", "deform", "squeez", "fold", "wrinkle", "crush")),
    ("structure", ("pattern", "knot", "weave", "fabric")),
)
UNKNOWN = "defect"  # where the kind is not stated
NORMAL = "The image shows the {object} as it should be."
DEFECT = "The image shows the {object} with {defect}{place}."
SOME_IMPACT = "It may impair the function or the look of the {object}."
SOME_ADVICE = "Set the {object} aside and have it examined."


def sections(
    thing: str, anomalous: bool, defect: str = "", mask: np.ndarray | None = None, draw: int = 0
) -> dict[str, str]:
    """Return {"description", "impact", "suggestion"} about a thing; a normal one has a description only.

    defect: a folder's or label's name for the kind of defect, several with commas between them. mask: (H, W) bool, says
    where. Among several phrases `draw` chooses, always the same one.

    >>> sections("metal nut", True, "scratch")["description"]
    'The image shows the metal nut with a scratch.'
    """
    if not anomalous:
        return {"description": NORMAL.format(object=thing), "impact": "", "suggestion": ""}
    names = [name.strip() for name in defect.split(",") if name.strip()] or [UNKNOWN]
    found = places(mask) if mask is not None else ()
    place = f" at the {found[0]}" if found else ""
    said = " and ".join(dict.fromkeys(_a(noun(name)) for name in names))
    words = {"object": thing, "subject": _part(names[0])}
    group, rng = group_of(names[0]), generator(draw, 31)
    impact, advice = SOME_IMPACT, SOME_ADVICE
    if group:
        impact, advice = (table[group][int(rng.integers(len(table[group])))] for table in (IMPACT, ADVICE))
    return {
        "description": DEFECT.format(object=thing, defect=said, place=place),
        "impact": _sentence(impact.format(**words)),
        "suggestion": _sentence(advice.format(**words)),
    }


def noun(defect: str) -> str:
    """What a kind of defect is called.

    >>> noun("broken_large"), noun("foreign object"), noun("nest_of_pores")
    ('large break', 'foreign object', 'nest of pores')
    """
    key = _key(defect)
    if key in ODD:
        return ODD[key][0]
    return KINDS[key].nouns[0] if key in KINDS else " ".join(key.split("_"))


def group_of(defect: str) -> str:
    """The group of a kind of defect, "" where its name does not tell.

    >>> group_of("scratch_neck"), group_of("missing_wire"), group_of("anomaly")
    ('surface', 'missing', '')
    """
    key = _key(defect)
    if key in ODD:
        return ODD[key][1]
    if key in KINDS:
        return KINDS[key].group
    return next((group for group, words in GROUPS if any(word in key for word in words)), "")


def _key(defect: str) -> str:
    return defect.strip().lower().replace(" ", "_").replace("-", "_")


def _part(defect: str) -> str:
    """The part a defect is about: "missing_wire" -> "wire"."""
    words = [word for word in defect.lower().replace("_", " ").split() if word not in ("missing", "misplaced", "wrong")]
    return " ".join(words) if words and len(words) < len(defect.replace("_", " ").split()) else "part"


def _a(text: str) -> str:
    return f"{'an' if text[:1].lower() in 'aeiou' else 'a'} {text}"


def _sentence(text: str) -> str:
    text = text[:1].upper() + text[1:]
    return text if text.endswith(".") else f"{text}."
