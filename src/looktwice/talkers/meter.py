"""What answers cost: counted as they come, kept on disk, and stopped before a budget is passed.

Before a request goes out, the most that it can cost is set aside: a token for each byte of text, the most that a
picture costs, and the longest answer. What it did cost takes its place when the answer is there. So requests that run
at once do not pass the budget together.
"""

from __future__ import annotations

import json
import math
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from looktwice.errors import StopRun, UsageError
from looktwice.talkers.cache import Answers, key_of
from looktwice.talkers.prices import FREE, Price
from looktwice.talkers.protocol import Asking, ChatModel, Reply, TalkerError, Turn

TURN = 16  # tokens around a turn, at most
BILLED = ("talker_timeout", "talker_failed")  # failures whose answer may have been made, and billed


class BudgetSpent(StopRun):
    """The next request could pass the budget. Answers so far are in the cache."""

    kind = "budget"


@dataclass(frozen=True)
class Spent:
    """What was asked and what it cost, so far."""

    requests: int = 0  # answered
    cached: int = 0  # answered from the cache, for nothing
    failed: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    dollars: float | None = 0.0  # None: the price is not known
    budget: float | None = None  # dollars

    @property
    def words(self) -> str:
        """One line for people.

        >>> Spent(requests=3, cached=1, tokens_in=4200, tokens_out=310, dollars=0.0137, budget=1.0).words
        '3 requests, 1 from the cache, 4,200 + 310 tokens, $0.0137 of $1.00'
        """
        words = [f"{self.requests} request{'' if self.requests == 1 else 's'}"]
        words += [f"{self.cached} from the cache"] if self.cached else []
        words += [f"{self.failed} failed"] if self.failed else []
        words += [f"{self.tokens_in:,} + {self.tokens_out:,} tokens"]
        if self.dollars is None:
            words += ["price not known"]
        elif self.dollars or self.budget is not None:
            words += [f"${self.dollars:.4f}" + ("" if self.budget is None else f" of ${self.budget:.2f}")]
        return ", ".join(words)


@dataclass(frozen=True, eq=False)
class Request:
    """One dialogue that is to be asked."""

    number: int
    dialogue: Sequence[Turn]
    key: str
    most: float  # dollars it can cost


class Metered:
    """A talker whose answers are counted and, with `answers`, kept and found again.

    price: per million tokens; None takes the talker's own (a talker without one costs nothing). budget: dollars that
    must not be passed. Raises UsageError for a budget below 0, and for one where no price is known.
    """

    def __init__(
        self,
        talker: ChatModel,
        answers: Answers | None = None,
        budget: float | None = None,
        price: Price | None = None,
    ) -> None:
        self.talker = talker
        self.name = talker.name
        self.answers = answers
        self.price: Price | None = price or getattr(talker, "price", FREE)
        if budget is not None and not (math.isfinite(budget) and budget >= 0):
            raise UsageError(f"a budget is a number of dollars from 0 up, got {budget}")
        if budget is not None and self.price is None:
            raise UsageError(
                f"a budget needs the price of {self.name}, which is not known: give price_in and price_out, "
                "in dollars per million tokens (0 and 0 for a server of your own)"
            )
        self._spent = Spent(dollars=None if self.price is None else 0.0, budget=budget)
        self._reserved = 0.0  # dollars set aside for requests under way
        self._lock = threading.Lock()

    @property
    def identity(self) -> Mapping[str, Any] | str:
        """All that an answer depends on beside the question."""
        return getattr(self.talker, "identity", self.name)

    @property
    def spent(self) -> Spent:
        """What was asked and what it cost so far; grows while answers come."""
        with self._lock:
            return self._spent

    def chat(self, dialogues: Sequence[Sequence[Turn]], how: Asking) -> list[Reply | TalkerError]:
        """Answer each dialogue, in order, from the cache where it was asked before.

        Raises BudgetSpent before a request that could pass the budget; those under way are finished and kept first.
        """
        found: dict[int, Reply | TalkerError] = {}
        waiting: deque[Request] = deque()
        for number, dialogue in enumerate(dialogues):
            key = key_of(self.identity, dialogue, how) if self.answers else ""
            stored = self.answers.get(key) if self.answers else None
            if stored is None:
                waiting.append(Request(number, dialogue, key, self._most(dialogue, how)))
            else:
                found[number] = stored
                self._count(cached=1)
        while waiting:
            found |= self._ask(waiting, how)
        return [found[number] for number in range(len(dialogues))]

    def _ask(self, waiting: deque[Request], how: Asking) -> dict[int, Reply | TalkerError]:
        """Ask as many as the budget surely allows; what they leave of it may allow more."""
        asked: list[Request] = []
        found: dict[int, Reply | TalkerError] = {}
        try:
            for at, answer in _answers(self.talker, self._admitted(waiting, asked), how):
                found[asked[at].number] = self._settle(asked[at], answer)
        finally:
            for request in asked:  # left in the middle (Ctrl-C): it may be billed all the same
                if request.number not in found:
                    self._count(freed=request.most, dollars=request.most, failed=1)
        return found

    def _admitted(self, waiting: deque[Request], asked: list[Request]) -> Iterator[Sequence[Turn]]:
        while waiting:
            if not self._reserve(waiting[0].most):
                if asked:
                    return
                raise BudgetSpent(self._no_more(waiting[0].most))
            asked.append(waiting.popleft())
            yield asked[-1].dialogue

    def _reserve(self, dollars: float) -> bool:
        with self._lock:
            budget, spent = self._spent.budget, self._spent.dollars
            if budget is not None and (spent or 0.0) + self._reserved + dollars > budget:
                return False
            self._reserved += dollars
            return True

    def _no_more(self, most: float) -> str:
        spent = self.spent
        kept = " Answers so far are kept: the same command goes on from them." if self.answers else ""
        return (
            f"the budget of ${spent.budget:g} is used up: ${spent.dollars:.4f} are spent "
            f"({spent.requests} requests), and the next one can cost ${most:.4f}.{kept}"
        )

    def _settle(self, request: Request, answer: Reply | TalkerError) -> Reply | TalkerError:
        if isinstance(answer, TalkerError):
            lost = request.most if answer.kind in BILLED else 0.0
            self._count(freed=request.most, dollars=lost, failed=1)
            return answer
        usage = answer.usage
        counted = usage.tokens_in > 0 or usage.tokens_out > 0
        dollars = None
        if self.price is not None:  # a server that does not count is charged the most
            dollars = self.price.dollars(usage.tokens_in, usage.tokens_out) if counted else request.most
        self._count(request.most, dollars or 0.0, 1, tokens_in=usage.tokens_in, tokens_out=usage.tokens_out)
        if self.answers:
            self.answers.put(request.key, self.name, answer)
        return replace(answer, usage=replace(usage, dollars=dollars))

    def _count(self, freed: float = 0.0, dollars: float = 0.0, requests: int = 0, **more: int) -> None:
        with self._lock:
            spent = self._spent
            self._reserved -= freed
            total = None if spent.dollars is None else spent.dollars + dollars
            grown = {name: getattr(spent, name) + value for name, value in more.items()}
            self._spent = replace(spent, dollars=total, requests=spent.requests + requests, **grown)

    def _most(self, dialogue: Sequence[Turn], how: Asking) -> float:
        """Dollars that a dialogue can cost at most."""
        if self.price is None or self.price == FREE:
            return 0.0
        parts = [part for turn in dialogue for part in turn.parts]
        texts = sum(len(part.encode("utf-8", "replace")) for part in parts if isinstance(part, str))
        pictures = sum(not isinstance(part, str) for part in parts)
        schema = 0 if how.schema is None else len(json.dumps(how.schema, default=dict))
        tokens = texts + schema + pictures * self.price.picture + TURN * len(dialogue)
        return self.price.dollars(tokens, how.max_tokens)


def _answers(
    talker: ChatModel, dialogues: Iterable[Sequence[Turn]], how: Asking
) -> Iterator[tuple[int, Reply | TalkerError]]:
    """Answers as they come, where the talker can tell; else all when the last is there."""
    stream = getattr(talker, "stream", None)
    if stream is not None:
        yield from stream(dialogues, how)
    elif batch := list(dialogues):
        yield from enumerate(talker.chat(batch, how))
