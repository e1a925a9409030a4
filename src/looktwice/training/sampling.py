"""Which records make up a micro-batch: a function of the seed and of the number of the micro-batch, nothing else.

So a run that goes on in the middle draws what it would have drawn, and the processes of a distributed run draw
different records without talking to each other.

Balanced: normal and other records take turns, also across micro-batches of one and across processes, so that each pair
of micro-steps has a normal picture (the queues of DSSL feed on them). Sources take turns too. Each source is gone
through in a new order each time.

Letters: b records of a micro-batch, w processes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal

import numpy as np

from looktwice.errors import UsageError
from looktwice.training.instruct import ENDLESS, Pool, Record, Source

Kind = Literal["normal", "other"]
Sampling = Literal["balanced", "shuffled"]
TRIES = 50  # records tried in place of one that is broken, before the run gives up


@dataclass(frozen=True)
class Draw:
    """One record that is asked for."""

    pool: Pool
    index: int
    number: int  # how many were drawn before: decides all else that is random about the record

    def record(self) -> Record:
        """Read it; raises BadFile."""
        return {**self.pool[self.index], "draw": self.number}


@dataclass(frozen=True)
class Sampler:
    """Draws records of sources; raises UsageError where a balanced one lacks a kind."""

    sources: tuple[Source, ...]
    seed: int
    sampling: Sampling = "balanced"

    def __post_init__(self) -> None:
        if self.sampling == "balanced":
            for kind, word in (("normal", "known to be normal"), ("other", "anomalous")):
                if not self._turns[kind]:
                    raise UsageError(
                        f"no record of {', '.join(one.name for one in self.sources)} is {word}: "
                        "add data, or set sampling=shuffled"
                    )

    def __len__(self) -> int:
        """Records there are; where there is no end, ENDLESS."""
        return min(ENDLESS, sum(len(pool) for one in self.sources for pool in (one.normal, one.other)))

    def draws(self, micro: int, batch: int, rank: int = 0, world: int = 1) -> list[Draw]:
        """The b records of the micro-batch of a process."""
        return [self._draw(micro, j, batch, rank, world) for j in range(batch)]

    def instead(self, draw: Draw) -> Iterator[Draw]:
        """What takes the place of a broken record: the next of its pool, in the pool's own order."""
        for step in range(1, min(TRIES, len(draw.pool))):
            yield Draw(draw.pool, (draw.index + step) % len(draw.pool), draw.number)

    def _draw(self, micro: int, j: int, batch: int, rank: int, world: int) -> Draw:
        number = (micro * world + rank) * batch + j
        if self.sampling == "shuffled":
            return self._of("any", number, number)
        # two that follow each other within a process differ in kind, and so do 2k and 2k + 1 of `number`
        kind: Kind = "other" if (micro * batch + j + rank) % 2 else "normal"
        return self._of(kind, number // 2, number)

    def _of(self, kind: str, count: int, number: int) -> Draw:
        """The count-th record of a kind."""
        lap, place = divmod(count, len(self._turns[kind]))
        turn = self._turns[kind][place]
        nth = lap * turn.turns + turn.nth
        if len(turn.pool) == ENDLESS:
            return Draw(turn.pool, nth, number)
        again, place = divmod(nth, len(turn.pool))
        return Draw(turn.pool, int(_order(self.seed, turn.number, again, len(turn.pool))[place]), number)

    @cached_property
    def _turns(self) -> dict[str, tuple[_Turn, ...]]:
        """Pools in the order of their turns."""
        found: dict[str, list[_Turn]] = {"normal": [], "other": [], "any": []}
        for s, source in enumerate(self.sources):
            pools = {"normal": source.normal, "other": source.other, "any": _both(source)}
            for k, (kind, pool) in enumerate(pools.items()):
                if len(pool):
                    found[kind] += [_Turn(pool, 3 * s + k, nth, source.turns) for nth in range(source.turns)]
        return {kind: tuple(turns) for kind, turns in found.items()}


@dataclass(frozen=True)
class _Turn:
    """One turn of a pool in a lap."""

    pool: Pool
    number: int  # of the pool
    nth: int  # of its turns in a lap
    turns: int


@dataclass(frozen=True)
class _Joined:
    """Normal and other records of a source as one pool; of endless ones in turn."""

    normal: Pool
    other: Pool

    def __len__(self) -> int:
        return min(ENDLESS, len(self.normal) + len(self.other))

    def __getitem__(self, index: int) -> Record:
        if len(self) == ENDLESS:
            return (self.other if index % 2 else self.normal)[index // 2]
        return self.normal[index] if index < len(self.normal) else self.other[index - len(self.normal)]


def _both(source: Source) -> Pool:
    if not len(source.other):
        return source.normal
    return _Joined(source.normal, source.other) if len(source.normal) else source.other


@lru_cache(maxsize=8)
def _order(seed: int, pool: int, lap: int, length: int) -> np.ndarray:
    return np.random.default_rng([seed, pool, lap]).permutation(length)
