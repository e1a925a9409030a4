"""What a style of prompting is, and what it is told about the case at hand.

A dialogue is laid out so that all parts of one run begin alike, and a talker need encode that beginning only once:
opening, references, then the part, then the request. Letters: none; pictures never come here, only their labels do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from looktwice.prompts.answer import Answer
from looktwice.records import Spec

PromptPart = Literal["task", "class", "rules", "reference"]
PROMPT_PARTS: tuple[PromptPart, ...] = ("task", "class", "rules", "reference")
Kind = Literal["pixels", "points", "frames"]  # the way back of the views: photograph, cloud, video


@dataclass(frozen=True)
class Brief:
    """One case in numbers and words: what every prompt about it depends on."""

    spec: Spec  # only what is to be told; see `told`
    parts: tuple[PromptPart, ...] = PROMPT_PARTS  # the kinds of knowledge that may be told
    kind: Kind = "pixels"
    views: int = 1  # sides or frames that are shown
    references: int = 0  # pictures of normal parts shown before
    pictures: int = 1  # pictures of the part that boxes can be given in
    marks: int = 0  # numbered marks that can be named
    sheet: bool = False  # whether all views lie on one picture


class Style(Protocol):
    """Words around the pictures, and how the answer is read. Empty texts are left out of a dialogue."""

    def opening(self, brief: Brief, formatted: bool = True) -> str:
        """What comes first; `formatted` says whether the form of the answer will be that of this style."""

    def reference(self, number: int, of: int, name: str) -> str:
        """What stands before a reference."""

    def part(self, brief: Brief) -> str:
        """What stands before the pictures of the part."""

    def picture(self, number: int, of: int, name: str) -> str:
        """What stands before one of several pictures of the part."""

    def grid(self, brief: Brief) -> str:
        """What stands before the picture with marks to name places by."""

    def closing(self, brief: Brief) -> str:
        """What stands last: the form of the answer."""

    def schema(self, brief: Brief) -> Mapping[str, Any] | None:
        """JSON Schema of the answer, if there is one."""

    def parse(self, text: str, brief: Brief) -> Answer | None:
        """Read an answer; None where it cannot be read without guessing."""

    def repair(self) -> str:
        """Ask for an answer again that could not be read; "" where this style does not."""


def told(spec: Spec, parts: Iterable[PromptPart]) -> Spec:
    """The sheet with only what these parts tell: the class is object and context, rules are rules and defects."""
    chosen = set(parts)
    return Spec(
        task=spec.task if "task" in chosen else "",
        object=spec.object if "class" in chosen else "",
        context=spec.context if "class" in chosen else "",
        rules=spec.rules if "rules" in chosen else (),
        defects=spec.defects if "rules" in chosen else (),
        references=spec.references if "reference" in chosen else (),
    )
