"""How well scores rank the anomalous above the normal: AUROC, average precision, F1-max.

All of them, and PRO, follow from one small table, the Ranking: for every distinct score of an anomalous item, how many
anomalous and how many normal items lie at or above it. Scores of normal items alone need no row: between two rows no
anomalous item is won, so recall and overlap stand still and precision only falls.

Letters: K rows, P anomalous items, N normal items.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from looktwice.errors import UsageError
from looktwice.metrics.maps import as_labels, as_scores

Floats = npt.NDArray[np.float64]
NAN = float("nan")


@dataclass(frozen=True)
class Ranking:
    """Counts at every score that an anomalous item has, from the highest score to the lowest.

    A row stands for the items with exactly this score; in a binned ranking, for the items of one bin.
    """

    thresholds: np.ndarray  # (K,) falling
    anomalous_at: Floats  # (K,) anomalous items of this row
    normal_above: Floats  # (K,) normal items of higher rows
    normal: Floats  # (K,) normal items at or above
    overlap: Floats  # (K,) share of the regions covered at or above, in [0, 1]
    positives: int  # P
    negatives: int  # N

    @property
    def anomalous(self) -> Floats:
        """(K,) anomalous items at or above."""
        return np.cumsum(self.anomalous_at)


def rank(ordered: np.ndarray, anomalous: np.ndarray, weights: Floats | None = None) -> Ranking:
    """Build the Ranking from all scores in rising order and the anomalous ones in any order.

    `weights` (P,) says how much of the regions each anomalous item stands for; together they make 1.
    """
    order = np.argsort(anomalous)
    rising = anomalous[order]
    new = np.ones(len(rising), np.bool_)
    new[1:] = rising[1:] != rising[:-1]
    starts = np.flatnonzero(new)
    distinct = rising[starts]
    counts = np.diff(starts, append=len(rising))
    left = np.searchsorted(ordered, distinct, "left")
    right = left + counts
    tied = ordered[np.minimum(right, len(ordered) - 1)] == distinct  # with a normal item: only then search again
    right[tied] = np.searchsorted(ordered, distinct[tied], "right")
    at_least = (len(rising) - starts)[::-1]  # anomalous items at or above
    above = at_least - counts[::-1]
    overlap = np.zeros(len(starts))
    if weights is not None and len(starts):
        overlap = np.cumsum(weights[order[::-1]])[at_least - 1]
    return Ranking(
        thresholds=distinct[::-1],
        anomalous_at=counts[::-1].astype(np.float64),
        normal_above=(len(ordered) - right[::-1] - above).astype(np.float64),
        normal=(len(ordered) - left[::-1] - at_least).astype(np.float64),
        overlap=overlap,
        positives=len(anomalous),
        negatives=len(ordered) - len(anomalous),
    )


def auroc(scores: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Chance that an anomalous item scores higher than a normal one, ties counting half; NaN with one class only.

    `scores` and `labels` have one shape; labels are bool or 0/1 with 1 = anomalous. Raises UsageError on NaN scores.

    >>> auroc([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1])
    0.75
    """
    return auroc_of(_ranking(scores, labels))


def average_precision(scores: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Precision at each recall step, weighted by the step; no interpolation; NaN without an anomalous item.

    >>> round(average_precision([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1]), 4)
    0.8333
    """
    return average_precision_of(_ranking(scores, labels))


def f1_max(scores: npt.ArrayLike, labels: npt.ArrayLike) -> tuple[float, float]:
    """Highest F1 of the rule `score >= threshold`, and that threshold; (NaN, NaN) without an anomalous item.

    Of several thresholds with the highest F1 the highest is returned: the fewest false alarms.

    >>> f1_max([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1])
    (0.8, 0.35)
    """
    return f1_max_of(_ranking(scores, labels))


def _ranking(scores: npt.ArrayLike, labels: npt.ArrayLike) -> Ranking:
    values, truth = np.asarray(scores), np.asarray(labels)
    if values.shape != truth.shape:
        raise UsageError(f"scores are {values.shape}, labels {truth.shape}: they must have one shape")
    flat = as_scores(values.reshape(-1), "scores")
    anomalous = flat[as_labels(truth.reshape(-1), "labels")]
    return rank(np.sort(flat), anomalous)


def auroc_of(ranking: Ranking) -> float:
    """AUROC of a ranking."""
    if not ranking.positives or not ranking.negatives:
        return NAN
    beaten = ranking.negatives - (ranking.normal_above + ranking.normal) / 2  # a tie is half a win
    return float((ranking.anomalous_at * beaten).sum() / ranking.positives / ranking.negatives)


def average_precision_of(ranking: Ranking) -> float:
    """Average precision of a ranking."""
    if not ranking.positives:
        return NAN
    caught = ranking.anomalous
    return float((ranking.anomalous_at * caught / (caught + ranking.normal)).sum() / ranking.positives)


def f1_max_of(ranking: Ranking) -> tuple[float, float]:
    """F1-max of a ranking, with its threshold in the type of the scores."""
    if not ranking.positives:
        return NAN, NAN
    caught = ranking.anomalous
    f1 = 2 * caught / (caught + ranking.normal + ranking.positives)
    best = int(np.argmax(f1))
    return float(f1[best]), float(ranking.thresholds[best])
