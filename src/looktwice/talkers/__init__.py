"""Talkers: chat models that are shown pictures, one file each, one row in TALKERS.

A talker is named KIND:REST: "openai:gpt-4o", "hf:Qwen/Qwen2.5-VL-7B-Instruct", "fake:answers.yaml".
"""

from __future__ import annotations

from typing import Any

from looktwice.errors import UsageError
from looktwice.registry import Registry
from looktwice.talkers.protocol import ChatModel

TALKERS = Registry(
    "talker",
    {
        "openai": "looktwice.talkers.openai:OpenAI",
        "hf": "looktwice.talkers.hf:Local",
        "fake": "looktwice.talkers.fake:Scripted",
    },
)


def load(name: str, **options: Any) -> ChatModel:
    """Return the talker called KIND:REST; raises UsageError, UnknownName, MissingExtra.

    >>> load("gpt-4o")
    Traceback (most recent call last):
    looktwice.errors.UsageError: a talker is named KIND:MODEL, got 'gpt-4o'. Kinds: openai, hf, fake
    """
    kind, colon, rest = name.partition(":")
    if not colon or not rest:
        raise UsageError(f"a talker is named KIND:MODEL, got '{name}'. Kinds: {', '.join(TALKERS)}")
    made: ChatModel = TALKERS.load(kind)(rest, **options)
    return made
