"""A conversation about one part: it is shown once, and every question carries what was said before."""

from __future__ import annotations

from typing import NamedTuple

from looktwice.detectors.talking.inquiry import Case, Inquiry, joined
from looktwice.errors import UsageError
from looktwice.prompts.answer import clean
from looktwice.prompts.inspector import render_dialogue
from looktwice.talkers.protocol import Asking, TalkerError, Turn


class Said(NamedTuple):
    """One question and its answer; the answer is untrusted."""

    question: str
    answer: str


class SeenByTalker:
    """One part that was looked at. Where the talker runs here, pictures are encoded once for all questions."""

    def __init__(self, inquiry: Inquiry, case: Case) -> None:
        self._inquiry = inquiry
        words = render_dialogue(inquiry.templates, inquiry.config.language)
        self._start = (*inquiry.start(case, formatted=False), words)
        self._said: list[Said] = []

    @property
    def transcript(self) -> tuple[Said, ...]:
        """What was asked and answered so far, in order."""
        return tuple(self._said)

    def ask(self, question: str) -> str:
        """Answer one question, knowing those before; raises UsageError for an empty one, TalkerError."""
        question = clean(question).strip()
        if not question:
            raise UsageError("a question must say something, got only spaces")
        how = Asking(self._inquiry.config.max_tokens, seed=self._inquiry.config.seed)
        (reply,) = self._inquiry.chat([(self._dialogue(question), how)])
        if isinstance(reply, TalkerError):
            raise reply
        answer = clean(reply.text).strip()
        self._said.append(Said(question, answer))
        return answer

    def _dialogue(self, question: str) -> tuple[Turn, ...]:
        turns: list[Turn] = []
        for asked, answered in self._said:
            turns += [Turn("user", (asked,)), Turn("assistant", (answered or "(nothing)",))]
        turns.append(Turn("user", (question,)))
        first = turns[0]
        return (Turn("user", joined((*self._start, *first.parts))), *turns[1:])
