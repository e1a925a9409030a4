"""The phrases that made scenes are spoken of with: what defects, parts and consequences are called.

`words` chooses among them. Letters: none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """How one defect is spoken of."""

    group: str  # decides rules, impact and what to do
    nouns: tuple[str, ...]
    verbs: tuple[str, ...] = ("is visible", "can be seen", "is present", "shows")
    sentence: str = ""  # instead of noun and verb, with {subject} and {where}


LIES = ("lies", "is stuck", "is visible", "sits")
RUNS = ("runs", "extends", "is visible", "can be seen")

KINDS: Mapping[str, Kind] = {
    "scratch": Kind("surface", ("scratch", "scratch mark", "score mark"), RUNS),
    "crack": Kind("fracture", ("crack", "fine crack", "fracture line"), RUNS),
    "hole": Kind("fracture", ("hole", "pit", "puncture")),
    "dent": Kind("surface", ("dent", "knock mark", "hollow")),
    "blister": Kind("surface", ("blister", "bump", "raised spot")),
    "cut": Kind("fracture", ("cut", "slit"), RUNS),
    "pores": Kind("fracture", ("nest of pores", "cluster of pores", "group of small pits")),
    "abrasion": Kind("surface", ("rubbed patch", "abrasion", "worn area")),
    "stain": Kind("dirt", ("stain", "dried spot", "blot")),
    "discoloration": Kind("colour", ("discoloured area", "patch of another tint", "discoloration")),
    "burn": Kind("heat", ("burn mark", "scorched spot")),
    "hot_spot": Kind("heat", ("hot spot", "heat mark", "overheated place")),
    "corrosion": Kind("corrosion", ("corroded spot", "patch of corrosion")),
    "fading": Kind("colour", ("faded area", "washed-out patch")),
    "contamination": Kind("dirt", ("foreign particle", "piece of foreign matter", "contamination"), LIES),
    "thread": Kind("dirt", ("loose thread", "fibre", "hair"), LIES),
    "residue": Kind("dirt", ("residue", "drop of glue", "glossy residue"), LIES),
    "drops": Kind("dirt", ("spray of drops", "group of splashes")),
    "smear": Kind("dirt", ("smear", "wiped streak"), RUNS),
    "wrinkle": Kind("surface", ("wrinkle", "fold", "crease"), RUNS),
    "line_fault": Kind("structure", ("faulty line", "streak along the grain", "line fault"), RUNS),
    "knot": Kind("structure", ("knot", "lump")),
    "pattern_fault": Kind("structure", ("fault in the pattern", "patch that does not match the pattern")),
    "print_fault": Kind("print", ("print fault", "misprint")),
    "edge_wear": Kind("surface", ("flaked-off spot", "place where the top layer is gone")),
    "pen_mark": Kind("dirt", ("pen mark", "drawn line"), RUNS),
    "missing_part": Kind("missing", ("missing part",), sentence="one {subject} is missing {where}"),
    "misplaced_part": Kind("position", ("misplaced part",), sentence="one {subject} is out of place {where}"),
    "wrong_part": Kind(
        "position", ("wrong part",), sentence="one {subject} {where} is not of the right colour or size"
    ),
    "bent": Kind("shape", ("bent part",), sentence="one {subject} is bent {where}"),
    "broken_part": Kind("fracture", ("broken part",), sentence="one {subject} is broken {where}"),
    "bridge": Kind("electric", ("bridge",), sentence="a spur of metal sticks out of one {subject} {where}"),
    "dead_area": Kind("electric", ("dead area",), sentence="a part of the {subject} is dark and inactive {where}"),
    "cold_solder": Kind(
        "electric", ("cold solder joint",), sentence="one {subject} is dull and lumpy {where}: a cold joint"
    ),
    "wear": Kind("shape", ("worn thread",), sentence="the thread of the {subject} is worn away {where}"),
    "hollow_part": Kind("missing", ("missing core",), sentence="the copper of one {subject} is missing {where}"),
    "wrong_level": Kind("position", ("wrong level",), sentence="the level of the {subject} is wrong {where}"),
    "broken_edge": Kind("fracture", ("broken edge",), sentence="a piece is broken off the edge {where}"),
    "deformation": Kind("shape", ("deformation",), sentence="the {subject} is deformed {where}"),
    "extra_part": Kind("dirt", ("extra part",), sentence="a {subject} that does not belong there lies {where}"),
}

# what a rule says, and how a kept one is explained; {many} and {part} come from the design
RULES: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "surface": (
        (
            "The surface has no scratches, dents or worn spots",
            "No dents, scratches or bumps are allowed",
            "The surface must be even and undamaged",
        ),
        ("The surface is even.", "No mechanical damage to the surface is seen."),
    ),
    "fracture": (
        (
            "Nothing is cracked, pierced or broken off",
            "There are no cracks, holes or breaks",
            "The {object} must be whole",
        ),
        ("Nothing is broken or cracked.", "No crack, hole or break is seen."),
    ),
    "dirt": (
        (
            "The {object} is clean and free of foreign matter",
            "No stains, residues or foreign bodies are allowed",
            "Nothing lies on the {object} that does not belong there",
        ),
        ("It is clean.", "No foreign matter is seen."),
    ),
    "colour": (
        (
            "The colour is even, apart from light and shade",
            "There are no discoloured areas",
            "The colour must be the same everywhere it should be",
        ),
        ("The colour is as it should be.", "No discoloured area is seen."),
    ),
    "heat": (
        ("There are no burn marks or hot spots", "Nothing is scorched or overheated"),
        ("No trace of heat is seen.", "Nothing is scorched."),
    ),
    "corrosion": (
        ("There is no rust or corrosion", "The metal is bright, without corrosion"),
        ("No corrosion is seen.", "The metal is free of corrosion."),
    ),
    "structure": (
        ("The pattern is regular", "Threads and lines run without faults", "The structure is even all over"),
        ("The structure is regular.", "No fault of the structure is seen."),
    ),
    "print": (
        ("The print is complete and sharp", "All that is printed can be read", "There are no misprints"),
        ("The print is complete.", "No misprint is seen."),
    ),
    "missing": (
        ("The {object} has {many}", "No {part} may be missing", "Every {part} is present"),
        ("Every {part} is there.", "No {part} is missing."),
    ),
    "position": (
        (
            "Every part is of the right kind and in its place",
            "No part may be out of place or of the wrong kind",
            "Parts sit where the drawing has them",
        ),
        ("All parts are in place.", "Every part is where it belongs."),
    ),
    "shape": (
        ("Nothing is bent or deformed", "The {object} keeps its shape", "All parts are straight and in shape"),
        ("Its shape is right.", "Nothing is bent."),
    ),
    "electric": (
        ("Joints and lines are whole, without bridges or dead areas", "All electrical connections are sound"),
        ("The connections are sound.", "No electrical fault is seen."),
    ),
}

IMPACT: Mapping[str, tuple[str, ...]] = {
    "surface": (
        "It spoils the look and can be where corrosion or cracks begin",
        "The finish is damaged, and what slides or seals on it will wear faster",
        "It lowers the value of the {object} and may weaken it locally",
    ),
    "fracture": (
        "It weakens the {object}, and it can grow under load until the {object} fails",
        "The {object} may break or leak there in use",
        "Strength is lost at this place, and pieces may come loose",
    ),
    "dirt": (
        "It can hinder later steps such as coating, joining or packing",
        "Foreign matter may come loose and harm what is near",
        "The {object} is not clean enough for use",
    ),
    "colour": (
        "It points to an uneven process and will be rejected by sight",
        "The look is uneven, which hints at a change of material or treatment",
        "It may be a sign of ageing or of a wrong mixture",
    ),
    "heat": (
        "The material may have lost its strength there, and it can be a sign of overload",
        "Heat has changed the material, so it may fail early",
        "It points to overheating, with a risk of failure or fire",
    ),
    "corrosion": (
        "It eats into the metal and will spread",
        "The metal gets thinner there, and the {object} will fail sooner",
        "Corrosion will go on and weaken the {object}",
    ),
    "structure": (
        "The regular structure is disturbed, so the {object} is weaker and looks faulty there",
        "It shows a fault of the machine that made it and may go on along its length",
        "The {object} will be of second quality",
    ),
    "print": (
        "What is printed can no longer be read for sure, so parts may be mixed up",
        "The marking is not reliable, and the {object} cannot be traced",
        "It looks faulty and may not be read by scanners",
    ),
    "missing": (
        "The {object} is incomplete and cannot do its work",
        "Without it, the {object} may come loose or not work at all",
        "Its load falls on the others, which may fail",
    ),
    "position": (
        "The {object} may not fit or not work as it should",
        "It can lead to a wrong assembly further on",
        "The function is at risk, because the parts do not match the drawing",
    ),
    "shape": (
        "It will not fit its counterpart and may jam",
        "The shape is out of tolerance, so assembly or function is at risk",
        "Under load it can give way further",
    ),
    "electric": (
        "The current may be interrupted or take a wrong way",
        "It can lead to loss of power, a short circuit or a failure in use",
        "The connection is not reliable",
    ),
}

USES: Mapping[str, tuple[str, ...]] = {
    "fixing": ("the joint it holds may loosen", "the assembly may come apart"),
    "cover": ("customers will see it", "the surface no longer protects what is beneath"),
    "cloth": ("seams and wear will make it worse", "the piece cannot be sold as first quality"),
    "structure": ("the structure bears less load", "safety is at risk"),
    "drive": ("it will run rough and wear out its counterpart", "the drive may stall"),
    "contact": ("the circuit may fail", "signals may drop out"),
    "energy": ("less energy is delivered", "the whole string loses power"),
    "vessel": ("it may leak", "the content may be spoiled"),
    "medicine": ("patients may be harmed or get a wrong dose", "the batch may have to be blocked"),
    "food": ("it must not be sold", "health may be at risk"),
    "line": ("the line may flash over or trip", "supply is at risk"),
    "print": ("the product cannot be identified", "the print will be rejected"),
    "organ": ("a physician should judge it", "it may be a finding that needs treatment"),
    "closing": ("it may not close any more", "it will jam"),
    "toy": ("it may not hold on others", "small pieces may come off"),
    "joint": ("the joint may break under load", "the seam may leak"),
    "seal": ("it may not seal any more", "it will wear sooner"),
    "part": ("it may fail in use", "the function is at risk"),
}

ADVICE: Mapping[str, tuple[str, ...]] = {
    "surface": (
        "polish or refinish the place if the depth allows it, otherwise replace the {object}",
        "check handling and tools for what caused it",
        "sort it out as second quality if it is only a matter of looks",
    ),
    "fracture": (
        "take the {object} out of use and replace it",
        "do not use it; check neighbouring pieces of the same batch",
        "reject it and look for the cause in the process",
    ),
    "dirt": (
        "clean the {object} and inspect it again",
        "remove the foreign matter, then check that nothing is left beneath",
        "clean it, and find out where the dirt comes from",
    ),
    "colour": (
        "compare it with a limit sample and sort it out if it is outside",
        "check material and temperatures of the process",
        "set it aside for a decision by quality control",
    ),
    "heat": (
        "take it out of use and find the source of the heat",
        "replace the {object} and check the load",
        "reject it and check the temperature of the process",
    ),
    "corrosion": (
        "remove the corrosion and renew the protection, or replace the {object}",
        "replace it and check how it was stored",
        "clean to bare metal, measure what is left, then decide",
    ),
    "structure": (
        "mark the place and cut it out, or sort the piece out",
        "stop the machine and check the thread or tool at this position",
        "grade it down and check the machine",
    ),
    "print": (
        "print it again or apply a new label",
        "set it aside and check the printer",
        "reject it, since it cannot be read for sure",
    ),
    "missing": (
        "fit the missing {subject} and inspect again",
        "complete the {object} before it goes on",
        "stop it here, add the {subject}, and check the feeder",
    ),
    "position": (
        "put the {subject} right and inspect again",
        "rework it: refit the right {subject}",
        "check the placement step and correct this piece",
    ),
    "shape": (
        "straighten it if that is allowed, otherwise replace it",
        "replace the {object} and check how it was handled",
        "reject it; bent parts must not be used",
    ),
    "electric": (
        "rework the connection and test it",
        "repair and measure it before use",
        "take it out and check the soldering step",
    ),
}

SEEN = (
    "cover",
    "cloth",
    "food",
    "medicine",
    "print",
    "vessel",
)  # uses where looks and cleanliness matter by themselves

NEAR_MISS_WORDS: Mapping[str, str] = {
    "glare": "the bright spot is only the lamp mirrored in the surface",
    "shadow": "the dark side is only a shadow",
    "dust": "the faint round spots are dust on the lens, not on the {object}",
    "exposure": "the picture is only lighter or darker than usual",
    "defocus": "the picture is only a little out of focus",
    "pose": "the {object} is only placed a little differently",
    "tolerance": "the {object} and its parts only use what their tolerance allows",
    "warm_light": "the light only has another tint",
}


NAMES: Mapping[str, tuple[str, ...]] = {
    "fabric": ("cloth", "textile", "woven fabric"),
    "carpet": ("rug", "floor covering"),
    "knitwear": ("knitted fabric", "jersey"),
    "leather": ("hide", "leather cover"),
    "board": ("wooden board", "panel of wood", "plank"),
    "stone slab": ("slab", "stone plate", "worktop"),
    "tiled wall": ("tiles", "wall"),
    "sheet": ("metal sheet", "strip", "metal surface"),
    "blank": ("raw part", "metal surface"),
    "grid": ("mesh", "screen", "grille"),
    "panel": ("coated panel", "surface", "cover"),
    "profiled sheet": ("profile", "ribbed sheet"),
    "foam pad": ("foam", "sponge"),
    "printed sheet": ("wallpaper", "wrapping"),
    "printed cloth": ("cotton print",),
    "web": ("paper web", "sheet of paper"),
    "tissue": ("mucosa", "skin"),
    "mounting plate": ("cover plate", "base plate", "housing cover"),
    "gear wheel": ("gear", "sprocket", "toothed wheel"),
    "nut": ("metal nut",),
    "flange": ("ring", "washer"),
    "screw": ("bolt",),
    "cast housing": ("casting", "impeller", "cast cover"),
    "weld seam": ("weld", "welded joint"),
    "bearing": ("ball bearing",),
    "connector": ("pin header", "plug"),
    "spring": ("coil spring",),
    "label": ("nameplate", "sticker"),
    "circuit board": ("electronic board", "PCB", "module"),
    "bare board": ("PCB", "printed circuit", "board film"),
    "solar cell": ("photovoltaic cell", "cell"),
    "cable": ("cable end", "power cable"),
    "terminal block": ("terminal strip", "connector block"),
    "transistor": ("component", "power transistor"),
    "battery pack": ("battery module", "tray of cells"),
    "electrical insulator": ("insulator", "insulator string"),
    "overhead line": ("power line", "catenary"),
    "bottle": ("glass bottle", "flask"),
    "capsule": ("medicine capsule",),
    "tablet": ("pill",),
    "pack": ("tray", "blister pack", "box"),
    "fruit": ("piece of fruit", "fruit"),
    "zip": ("zipper",),
    "brush head": ("brush",),
    "toy brick": ("building brick",),
    "dial": ("gauge", "instrument"),
    "wind turbine blade": ("rotor blade", "blade"),
    "scan": ("slice image", "head scan"),
}

FILM_KINDS: Mapping[str, Kind] = {
    "stoppage": Kind("motion", ("stoppage",), sentence="the {subject} stands still {where}"),
    "reversal": Kind("motion", ("reversal",), sentence="the {subject} runs backwards {where}"),
    "missing_part": Kind("missing", ("missing part",), sentence="one {subject} is missing {where}"),
    "intruder": Kind("dirt", ("foreign object",), sentence="a {subject} that does not belong there passes {where}"),
    "wrong_order": Kind("motion", ("wrong order",), sentence="the order of the {subject}s is wrong {where}"),
}
MOTION_IMPACT = (
    "The cycle is disturbed, and later steps will not find what they expect",
    "Output is lost, and parts may jam",
    "It can damage the machine or the parts that follow",
)
MOTION_ADVICE = (
    "stop the machine, find the cause and start again",
    "check drive and sensors before the next cycle",
    "clear the line and restart it under supervision",
)
