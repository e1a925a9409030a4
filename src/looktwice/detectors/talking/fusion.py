"""Two scores of one part as one, calibrated on normal parts: the ranks of Fisher's statistic, split off conformally.

Each score of the part is ranked among those of n normal parts and itself, and so is each normal part's; the product
of a part's two ranks orders the n + 1 parts (as Fisher's statistic of two p-values does: Statistical Methods for
Research Workers, 1932). All n + 1 parts are treated alike, so if the part is normal too, and comes from the same
process, its place in that order is equally likely anywhere: P(p <= a) <= a, however the two scores depend on each
other (full conformal prediction; Vovk, Gammerman & Shafer, 2005). Letters: n normal parts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from looktwice.errors import UsageError

TIE = 0.999  # of the way to the next level: parts of one p-value differ, but none reaches the next


def fuse(scores: tuple[float, float], normal: Sequence[Sequence[float]], alpha: float) -> tuple[float, float]:
    """Return the p-value in (0, 1] of a part with two scores, and a score in [0, 1] that is >= 0.5 where p <= alpha.

    normal: two sequences of n scores in [0, 1], of the same normal parts. The score falls with p; of parts with the
    same p, the one with the higher mean score has the higher one. Raises UsageError as `check_normal` does.
    """
    check_normal(normal, alpha)
    n = len(normal[0])
    ranks = [_ranks(np.append(np.asarray(known, float), score)) for known, score in zip(normal, scores, strict=True)]
    product = ranks[0] * ranks[1]
    count = int((product <= product[-1]).sum())  # in 1 .. n + 1, itself included
    most = math.floor(alpha * (n + 1) + 1e-9)
    low, high = _level(count / (n + 1), alpha), _level((count - 1) / (n + 1), alpha)
    if count > most:
        high = min(high, 0.5)
    else:
        low = max(low, 0.5)  # alpha * (n + 1) may lie between two counts, or just beside one
    return count / (n + 1), low + (high - low) * TIE * sum(scores) / 2


def check_normal(normal: Sequence[Sequence[float]], alpha: float) -> None:
    """Raise UsageError for scores that are not two of each part, lie outside [0, 1], or are too few for alpha."""
    if len(normal) != 2 or len(normal[0]) != len(normal[1]):
        counts = " and ".join(str(len(one)) for one in normal)
        raise UsageError(f"expected two scores of each normal part, got {counts}")
    if any(not 0 <= score <= 1 for one in normal for score in one):
        raise UsageError("scores of normal parts lie in [0, 1]")
    needed = math.ceil(1 / alpha - 1e-9) - 1
    if len(normal[0]) < needed:
        raise UsageError(
            f"with alpha {alpha:g} two scores can be fused after {needed} normal parts that are not references, "
            f"got {len(normal[0])}: score more normal parts, or raise alpha"
        )


def _ranks(scores: np.ndarray) -> np.ndarray:
    """(n + 1,) int64: how many scores are at least as high as each."""
    return np.asarray(len(scores) - np.searchsorted(np.sort(scores), scores, side="left"), np.int64)


def _level(p: float, alpha: float) -> float:
    return alpha / (alpha + p)
