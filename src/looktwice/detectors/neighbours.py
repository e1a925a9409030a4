"""Nearest neighbours, exact and blocked. NumPy only.

Letters: N queries, M bank rows, D features, k neighbours.
"""

from __future__ import annotations

import numpy as np

QUERY_BLOCK, BANK_BLOCK = 2048, 512  # 4 MiB of products at a time: they stay in the cache
ROUNDING = 1e-5  # of the size of both vectors: more than a product of float32 can be off


def nearest(queries: np.ndarray, bank: np.ndarray, k: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Return the distance to, and row of, each query's k nearest bank rows, nearest first.

    queries (N, D), bank (M, D) float32, 1 <= k <= M -> distances (N, k) float32, rows (N, k) int64.
    Exact up to float32: no row taken is farther than a better one by more than its rounding of the squared distance
    of either from the middle of the bank. The blocks only bound memory: a few MiB besides copies of the input.
    Equal distances: the lower row.
    Raises ValueError for an empty bank, a k out of range or widths that differ.
    """
    queries, bank = np.ascontiguousarray(queries, np.float32), np.ascontiguousarray(bank, np.float32)
    if queries.shape[1] != bank.shape[1]:
        raise ValueError(f"queries have {queries.shape[1]} features, the bank has {bank.shape[1]}")
    if not len(bank):
        raise ValueError("the bank is empty: there is nothing to be near to")
    if not 1 <= k <= len(bank):
        raise ValueError(f"k must be in 1..{len(bank)} (rows of the bank), got {k}")
    # centred data keeps |a|^2 + |b|^2 - 2ab from cancelling
    centre = bank.mean(0, dtype=np.float64).astype(np.float32)
    queries, bank = queries - centre, bank - centre
    # one product gives ab - |b|^2 / 2, which is largest where the distance is smallest
    wide = np.concatenate([bank, -0.5 * (bank * bank).sum(1, keepdims=True)], 1)
    rows = np.empty((len(queries), k), np.int64)
    for start in range(0, len(queries), QUERY_BLOCK):
        block = queries[start : start + QUERY_BLOCK]
        block = np.concatenate([block, np.ones((len(block), 1), np.float32)], 1)
        rows[start : start + QUERY_BLOCK] = _best_row(block, wide) if k == 1 else _best_rows(block, wide, k)
    distances = np.empty(rows.shape, np.float32)
    for column in range(k):
        distances[:, column] = np.sqrt(((queries - bank[rows[:, column]]) ** 2).sum(1))
    if k > 1:
        order = np.lexsort((rows, distances), axis=1)
        rows, distances = np.take_along_axis(rows, order, 1), np.take_along_axis(distances, order, 1)
    return distances, rows


def _best_row(block: np.ndarray, wide: np.ndarray) -> np.ndarray:
    """(n, 1) the row of `wide` most like each query of a block; of equal ones the first."""
    best, rows = np.full(len(block), -np.inf, np.float32), np.zeros(len(block), np.int64)
    every = np.arange(len(block))
    for start in range(0, len(wide), BANK_BLOCK):
        likeness = block @ wide[start : start + BANK_BLOCK].T
        winner = likeness.argmax(1)
        value = likeness[every, winner]
        better = value > best
        best[better], rows[better] = value[better], winner[better] + start
    return rows[:, None]


def _best_rows(block: np.ndarray, wide: np.ndarray, k: int) -> np.ndarray:
    """(n, k) the rows of `wide` most like each query of a block; of equal ones the first."""
    best, rows = np.full((len(block), k), -np.inf, np.float32), np.zeros((len(block), k), np.int64)
    enough = _bound(block, wide, k)
    for start in range(0, len(wide), BANK_BLOCK):
        likeness = block @ wide[start : start + BANK_BLOCK].T
        _improve(best, rows, likeness, start, np.maximum(enough, best[:, -1]))
    return rows


def _bound(block: np.ndarray, wide: np.ndarray, k: int) -> np.ndarray:
    """(n,) what each of the k best rows surely exceeds: the k-th best of a sample, less what rounding may do.

    With it hardly a row that is not among the best is ever looked at.
    """
    sample = wide[:: max(1, len(wide) // max(BANK_BLOCK, 4 * k))]
    likeness = block @ sample.T
    kth = np.partition(likeness, likeness.shape[1] - k, axis=1)[:, likeness.shape[1] - k]
    size = np.sqrt(np.einsum("nd,nd->n", block, block)) * np.sqrt(np.einsum("md,md->m", sample, sample).max())
    return np.asarray(kth - ROUNDING * size, np.float32)


def _improve(best: np.ndarray, rows: np.ndarray, likeness: np.ndarray, start: int, enough: np.ndarray) -> None:
    """Let the columns of a block (they stand for the rows from `start`) in where they beat what is enough, (n,)."""
    # of one axis they are found faster
    which, column = np.divmod(np.flatnonzero(likeness > enough[:, None]), likeness.shape[1])
    if not len(which):
        return
    counts = np.bincount(which, minlength=len(best))
    active = np.flatnonzero(counts)
    place = np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)
    line = np.repeat(np.arange(len(active)), counts[active])
    k = best.shape[1]
    values = np.full((len(active), k + int(counts.max())), -np.inf, np.float32)
    found = np.zeros(values.shape, np.int64)
    values[:, :k], found[:, :k] = best[active], rows[active]
    values[line, k + place], found[line, k + place] = likeness[which, column], column + start
    order = np.argsort(-values, axis=1, kind="stable")[:, :k]  # earlier rows stand first
    best[active], rows[active] = np.take_along_axis(values, order, 1), np.take_along_axis(found, order, 1)
