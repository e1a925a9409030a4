"""What a talker is: a chat model that is shown pictures and text, and answers in text.

A talker knows nothing of inspections: prompts are made and replies are read elsewhere. What it says is untrusted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np

from looktwice.errors import LookTwiceError


@dataclass(frozen=True, eq=False)
class Picture:
    """One picture of a turn; `label` is for people and logs, models are told of it by the text around it."""

    pixels: np.ndarray  # (H, W, 3) uint8
    label: str = ""


Part = str | Picture


@dataclass(frozen=True)
class Turn:
    """What one side said: texts and pictures in order."""

    role: Literal["system", "user", "assistant"]
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Asking:
    """How to answer. Everything here changes the answer, so it is part of what a stored answer is found by."""

    max_tokens: int = 512  # length of the answer, at most
    temperature: float = 0.0  # 0: greedy
    seed: int = 0  # of sampling
    schema: Mapping[str, Any] | None = None  # JSON Schema of the answer, sent where the server takes one
    choices: tuple[str, ...] = ()  # words whose probability as the first word of the answer is wanted


@dataclass(frozen=True)
class Usage:
    """What an answer cost. `dollars` is None where no price is known."""

    tokens_in: int = 0
    tokens_out: int = 0
    dollars: float | None = None


@dataclass(frozen=True)
class Reply:
    """One answer. `text` is untrusted."""

    text: str
    finish: Literal["stop", "length", "refusal"] = "stop"
    usage: Usage = field(default_factory=Usage)
    choices: Mapping[str, float] | None = None  # probability of each of Asking.choices, summing to 1; None: not told
    cached: bool = False  # whether it was asked before and not paid for again


class TalkerError(LookTwiceError):
    """A talker that gave no answer; `kind` says why.

    One of talker_unreachable, talker_refused_key, talker_rate_limited, talker_timeout, talker_failed,
    talker_bad_request. The text never holds a key.
    """

    def __init__(self, kind: str, why: str) -> None:
        super().__init__(why)
        self.kind = kind


class ChatModel(Protocol):
    """A chat model that sees. Deterministic at temperature 0 as far as its maker allows."""

    name: str  # "openai:gpt-4o", as the user typed it

    def chat(self, dialogues: Sequence[Sequence[Turn]], how: Asking) -> list[Reply | TalkerError]:
        """Answer each dialogue (ending in a user turn), in order; one that fails takes no other with it.

        What several dialogues start with alike (task, rules, references) may be encoded once and kept; a dialogue
        that goes on from an earlier one is cheap where the model runs here.
        """
