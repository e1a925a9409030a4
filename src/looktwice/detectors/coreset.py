"""A coreset: few rows that stand for many, in one pass and bounded memory.

The doubling algorithm for k-centres (Charikar et al., STOC 1997): a row is dropped only if a kept one lies
within the radius; when too many are kept the radius grows and the kept rows are thinned again. Every dropped
row lies within 2 x radius of a kept one, since each thinning moves its stand-in by at most the radius of then
and radii at least double.
"""

from __future__ import annotations

import numpy as np

from looktwice.detectors.neighbours import nearest

BLOCK = 2048


class Coreset:
    """Collect rows (n, D) float32 with a tag each; never hold more than `limit` of them after `add`.

    Up to `limit` rows nothing is dropped, so small banks are exact. Deterministic: the order of the rows decides.
    """

    def __init__(self, limit: int) -> None:
        if limit < 1:
            raise ValueError(f"limit must be at least 1, got {limit}")
        self.limit = limit
        self.radius = 0.0
        self.rows = np.empty((0, 0), np.float32)
        self.tags = np.empty(0, np.int64)  # which reference a row came from
        self.others = np.empty(0, np.int64)  # another reference it stands for, or -1
        self.seen = 0

    def add(self, rows: np.ndarray, tag: int) -> None:
        """Take in more rows (n, D) of one reference; `tag` is its number, 0 or more."""
        rows = np.ascontiguousarray(rows, np.float32)
        self.seen += len(rows)
        for start in range(0, len(rows), BLOCK):
            block = rows[start : start + BLOCK]
            if self.radius > 0:
                distances, stand_in = (one[:, 0] for one in nearest(block, self.rows))
                new = distances > self.radius
                self._absorb(stand_in[~new], np.full(int((~new).sum()), tag))
                block = block[new]
                block = block[_spread(block, self.radius)]
            self.rows = np.concatenate([self.rows, block]) if self.rows.size else block
            self.tags = np.concatenate([self.tags, np.full(len(block), tag)])
            self.others = np.concatenate([self.others, np.full(len(block), -1)])
            while len(self.rows) > self.limit:
                self._thin()

    def without(self, tag: int) -> np.ndarray:
        """Rows (m, D) that stand for some other reference than `tag`: what is known without it."""
        return np.asarray(self.rows[(self.tags != tag) | (self.others >= 0)])

    def _thin(self) -> None:
        if self.radius == 0:
            some = self.rows[:: max(1, len(self.rows) // 512)]
            self.radius = float(np.median(nearest(some, self.rows, k=2)[0][:, 1])) or 1e-6
        else:
            self.radius *= 2
        kept = _spread(self.rows, self.radius)
        rows, tags, others = self.rows[~kept], self.tags[~kept], self.others[~kept]
        self.rows, self.tags, self.others = self.rows[kept], self.tags[kept], self.others[kept]
        if len(rows):
            stand_in = nearest(rows, self.rows)[1][:, 0]
            self._absorb(stand_in, tags)
            self._absorb(stand_in, others)

    def _absorb(self, stand_in: np.ndarray, tags: np.ndarray) -> None:
        """Note that rows stand for dropped ones with these tags; one other reference per row is enough to know."""
        news = (tags >= 0) & (tags != self.tags[stand_in]) & (self.others[stand_in] < 0)
        self.others[stand_in[news]] = tags[news]


def _spread(rows: np.ndarray, radius: float) -> np.ndarray:
    """Choose rows that lie farther than the radius from each other, first come first kept; (n,) bool."""
    kept = np.ones(len(rows), bool)
    if len(rows) < 2:
        return kept
    rows = rows - rows.mean(0)  # far from the origin a^2 + b^2 - 2ab would cancel
    square = (rows * rows).sum(1)
    for start in range(0, len(rows), BLOCK):
        end = min(start + BLOCK, len(rows))
        block, length = rows[start:end], square[start:end, None]
        if start:
            settled = np.flatnonzero(kept[:start])
            near = length + square[settled] - 2 * block @ rows[settled].T <= radius**2
            kept[start:end] = ~near.any(1)
        near = length + square[start:end] - 2 * block @ block.T <= radius**2
        inside = kept[start:end]
        for i in range(1, end - start):
            if inside[i]:
                inside[i] = not (near[i, :i] & inside[:i]).any()
    return kept
