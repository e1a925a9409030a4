"""What an answer says, typed: read field by field from an object a model wrote, never guessed.

Rules of reading: a word outside of the known ones, a number out of range and a value of another kind are left out. An
answer without a verdict is no answer. A confidence above 1, up to 100, is taken as percent. A box whose sides are not
in order, that leaves 0..1000 or lies in 0..1 is left out: it was meant in other units. A rule may be named by its id or
its place in the list; one that is judged twice in different ways is left out.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from looktwice.prompts.loose import CutText
from looktwice.records import Rule, RuleVerdict, Verdict

VERDICTS: Mapping[str, Verdict] = {
    **dict.fromkeys(("normal", "ok", "good", "pass"), "normal"),
    **dict.fromkeys(("anomalous", "anomaly", "abnormal", "defective", "defect", "fail"), "anomalous"),
    **dict.fromkeys(("unsure", "uncertain", "unknown"), "unsure"),
}
RULE_VERDICTS: Mapping[str, RuleVerdict] = {
    **dict.fromkeys(("kept", "obeyed", "satisfied", "fulfilled", "met"), "kept"),
    **dict.fromkeys(("broken", "violated", "not kept", "not met"), "broken"),
    **dict.fromkeys(("not visible", "invisible", "cannot be seen", "cannot tell", "unclear", "unknown"), "not visible"),
}
SCALE = 1000  # boxes are asked for in thousandths
LONGEST = 4_000  # characters kept of one text
# Control characters but tab and line break, and those that turn the direction of writing round.
UNSEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
PERCENT = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(%?)\s*")


@dataclass(frozen=True)
class Box:
    """A place in one of the pictures shown: sides as shares of its width and height, in 0..1."""

    picture: int  # from 1
    x0: float
    y0: float
    x1: float
    y1: float


@dataclass(frozen=True)
class RuleAnswer:
    """What was said of one rule."""

    verdict: RuleVerdict
    seen: str = ""


@dataclass(frozen=True)
class Answer:
    """One answer, read. Its texts are untrusted."""

    verdict: Verdict
    confidence: float | None = None  # in 0..1, that the verdict is right
    description: str = ""
    defect_type: str = ""
    location: str = ""
    impact: str = ""
    suggestion: str = ""
    rules: Mapping[str, RuleAnswer] = field(default_factory=dict)  # by id
    boxes: tuple[Box, ...] = ()
    pictures: tuple[int, ...] = ()  # numbers, from 1, of the pictures said to show the defect
    marks: tuple[int, ...] = ()  # numbers, from 1, of the marks said to lie on the defect


def read_answer(made: Mapping[str, Any], rules: Sequence[Rule], pictures: int, marks: int) -> Answer | None:
    """Read an object; None where it holds no verdict."""
    inner = list(made.values())
    if len(inner) == 1 and isinstance(inner[0], Mapping):  # {"answer": {...}}
        made = inner[0]
    verdict = VERDICTS.get(word(made.get("verdict")))
    if verdict is None:
        return None
    texts = {name: text(made.get(name)) for name in ("description", "defect_type", "location", "impact", "suggestion")}
    return Answer(
        verdict=verdict,
        confidence=share(made.get("confidence")),
        rules=read_rules(made.get("rules"), rules),
        boxes=read_boxes(made.get("boxes"), pictures),
        pictures=numbers(made.get("pictures"), pictures),
        marks=numbers(made.get("marks"), marks),
        **texts,
    )


def word(value: Any) -> str:
    """A text as one of a few words: lower case, one space between; "" for anything else and for a text that was cut."""
    if not isinstance(value, str) or isinstance(value, CutText):
        return ""
    return " ".join(value.replace("_", " ").lower().strip(" .!\"'").split())


def text(value: Any) -> str:
    """A text to show; a list of texts is joined, a number written out, anything else is ""."""
    if isinstance(value, (list, tuple)):
        return "; ".join(filter(None, (text(one) for one in value if isinstance(one, str))))
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return ""
    return clean(str(value)).strip()[:LONGEST]


def clean(value: str) -> str:
    """A text without control characters other than tab and line break, and without halves of surrogate pairs."""
    whole = value.encode("utf-16", "surrogatepass").decode("utf-16", "ignore")
    return UNSEEN.sub(" ", whole.replace("\r\n", "\n"))


def share(value: Any) -> float | None:
    """A number in 0..1; what lies above 1, up to 100, and what is written with % is percent. None for the rest."""
    if isinstance(value, (bool, CutText)):
        return None
    percent = False
    if isinstance(value, str):
        found = PERCENT.fullmatch(value)
        if found is None:
            return None
        value, percent = float(found[1]), bool(found[2])
    if not isinstance(value, (int, float)) or not math.isfinite(value) or not 0 <= value <= 100:
        return None
    return float(value) / 100 if percent or value > 1 else float(value)


def numbers(value: Any, most: int) -> tuple[int, ...]:
    """Whole numbers in 1..most, each once, in order; of a list or of one number alone."""
    listed = value if isinstance(value, (list, tuple)) else [value]
    found = (_whole(one) for one in listed)
    return tuple(sorted({one for one in found if one is not None and 1 <= one <= most}))


def _whole(value: Any) -> int | None:
    if isinstance(value, (bool, CutText)):
        return None
    if isinstance(value, str) and re.fullmatch(r"\s*\d{1,6}\s*", value):
        return int(value)
    return int(value) if isinstance(value, (int, float)) and math.isfinite(value) and value == int(value) else None


def read_boxes(value: Any, pictures: int) -> tuple[Box, ...]:
    """Boxes as {"picture", "box": [x0, y0, x1, y1]}; where there is one picture, also as bare lists of numbers."""
    if not isinstance(value, (list, tuple)):
        return ()
    listed = [value] if len(value) == 4 and all(_is_number(side) for side in value) else value
    found = (_box(one, pictures) for one in listed)
    return tuple(dict.fromkeys(box for box in found if box is not None))


def _box(value: Any, pictures: int) -> Box | None:
    picture: int | None = 1 if pictures == 1 else None
    sides = value
    if isinstance(value, Mapping):
        sides = value.get("box")
        picture = _whole(value["picture"]) if "picture" in value else picture
    if not isinstance(sides, (list, tuple)) or len(sides) != 4 or not all(_is_number(side) for side in sides):
        return None
    if picture is None or not 1 <= picture <= pictures:
        return None
    if max(sides) <= 1:
        return None
    x0, y0, x1, y1 = (float(side) / SCALE for side in sides)
    return Box(picture, x0, y0, x1, y1) if 0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1 else None


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def read_rules(value: Any, rules: Sequence[Rule]) -> dict[str, RuleAnswer]:
    """Verdicts by rule id, of a list of objects or of an object from rule to verdict; unknown rules are left out."""
    if isinstance(value, Mapping):
        listed = [(key, one if isinstance(one, Mapping) else {"verdict": one}) for key, one in value.items()]
    elif isinstance(value, (list, tuple)):
        listed = [(one.get("id", one.get("rule")), one) for one in value if isinstance(one, Mapping)]
    else:
        return {}
    found: dict[str, list[RuleAnswer]] = {}
    for name, one in listed:
        rule, verdict = _rule(name, rules), RULE_VERDICTS.get(word(one.get("verdict")))
        if rule is not None and verdict is not None:
            found.setdefault(rule.id, []).append(RuleAnswer(verdict, text(one.get("seen", one.get("reason")))))
    return {id: said[0] for id, said in found.items() if len({one.verdict for one in said}) == 1}


def _rule(name: Any, rules: Sequence[Rule]) -> Rule | None:
    """The rule of this id, else the one at this place ("2", 2, "rule 2")."""
    if isinstance(name, bool) or not isinstance(name, (str, int, float)):
        return None
    for rule in rules:
        if rule.id == str(name):
            return rule
    plain = re.sub(r"^\s*(?:rule|r)?\s*[#.]?\s*", "", str(name).lower()).strip(" .:)]")
    place = _whole(name) if not isinstance(name, str) else _whole(plain)
    by_id = [rule for rule in rules if rule.id.lower() in (str(name).strip(" .:[]").lower(), plain)]
    if len(by_id) == 1:
        return by_id[0]
    return rules[place - 1] if place is not None and 1 <= place <= len(rules) else None
