"""The self-check: an answer as numbered statements, to be judged again in other words and arrangements.

The talker has made each of these statements itself. One that it calls false when asked again has flipped.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from looktwice.prompts.answer import Answer, word
from looktwice.prompts.loose import objects, spoken
from looktwice.prompts.templates import Templates
from looktwice.records import Spec

Wording = Literal["neutral", "leading"]
MOST = 20  # statements of one answer that are checked
SENTENCE = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])\s*")
JUDGED = {"true": True, "false": False}


@dataclass(frozen=True)
class Statement:
    """Something the talker has claimed; `name` says where: "verdict", "rules.r1", "description: The sentence."."""

    name: str
    text: str


def statements(templates: Templates, answer: Answer, spec: Spec) -> tuple[Statement, ...]:
    """The claims of an answer, at most MOST; what it left open claims nothing."""
    found = []
    if answer.verdict != "unsure":
        found.append(Statement("verdict", templates.fill(f"check.{answer.verdict}")))
    for name in ("defect_type", "location"):
        if said := getattr(answer, name):
            found.append(Statement(name, templates.fill(f"check.{name}", text=_line(said))))
    for rule in spec.rules:
        if (judged := answer.rules.get(rule.id)) and judged.verdict in ("kept", "broken"):
            said = templates.fill(f"check.{judged.verdict}", text=_line(rule.text))
            found.append(Statement(f"rules.{rule.id}", said))
    for name in ("description", "impact"):
        found += [Statement(f"{name}: {one}", one) for one in sentences(getattr(answer, name))]
    return tuple(found[:MOST])


def sentences(text: str) -> list[str]:
    """Split a text into its sentences, each on one line.

    >>> sentences("It is bent. Why? 1.5 mm off")
    ['It is bent.', 'Why?', '1.5 mm off']
    """
    return [_line(one) for one in SENTENCE.split(text) if one.strip()]


def _line(text: str) -> str:
    return " ".join(text.split())


def render(templates: Templates, claims: Sequence[Statement], wording: Wording) -> str:
    """Ask for a judgement of each statement, plainly or while a colleague is said to doubt them."""
    listed = "\n".join(f"{i}. {claim.text}" for i, claim in enumerate(claims, 1))
    return f"{templates.fill(f'check.{wording}')}\n\n{templates.fill('check.statements', statements=listed)}"


def parse(text: str, count: int) -> tuple[bool | None, ...] | None:
    """True, False or None (cannot tell, not said) for each statement; None where no object names one.

    >>> parse('{"1": "true", "2": false, "3": "cannot tell"}', 4)
    (True, False, None, None)
    """
    for made in reversed(objects(spoken(text))):
        if any(str(i) in made for i in range(1, count + 1)):
            return tuple(_judged(made.get(str(i))) for i in range(1, count + 1))
    return None


def _judged(value: Any) -> bool | None:
    return value if isinstance(value, bool) else JUDGED.get(word(value))
