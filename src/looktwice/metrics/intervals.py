"""How sure a figure is: bootstrap intervals, and whether one system really beats another.

Items (images, objects, questions; never the pixels of one image, which are not independent) are drawn again with
replacement, and the metric is computed for each draw.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from looktwice.errors import UsageError

Metric = Callable[..., Any]  # metric(values) or metric(scores, labels), as `auroc`; must return one number


@dataclass(frozen=True)
class Interval:
    """A figure and where it would lie on other items of the same kind."""

    value: float  # on the items given
    low: float
    high: float
    level: float
    resamples: int
    undefined: int  # resamples for which the metric is NaN; they are left out


@dataclass(frozen=True)
class Comparison:
    """Is A better than B, or is it noise? Difference means A - B."""

    a: float
    b: float
    difference: float
    low: float
    high: float
    level: float
    p_value: float  # two-sided: how easily chance alone turns the sign of the difference
    resamples: int
    undefined: int

    @property
    def significant(self) -> bool:
        """Whether the interval of the difference leaves out 0."""
        return self.low > 0 or self.high < 0


def bootstrap(
    scores: npt.ArrayLike,
    metric: Metric,
    labels: npt.ArrayLike | None = None,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Percentile interval of `metric(scores, labels)`, or of `metric(scores)` without labels.

    scores and labels are (N, ...), one row per item. With labels as many items of each label are drawn as there are, so
    that no draw loses a class. The same seed gives the same interval. Raises UsageError on bad input.

    >>> bootstrap([0.0, 1.0, 1.0, 1.0], np.mean).low
    0.25
    """
    values, truth = _columns(scores, labels)
    _check(level, resamples)
    drawn = np.array(
        [_apply(metric, values, truth, index) for index in _draws(len(values), truth, resamples, seed)], np.float64
    )
    low, high, undefined = _percentiles(drawn, level)
    return Interval(_apply(metric, values, truth, None), low, high, level, resamples, undefined)


def paired_bootstrap(
    a: npt.ArrayLike,
    b: npt.ArrayLike,
    metric: Metric = np.mean,
    labels: npt.ArrayLike | None = None,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Comparison:
    """Compare two systems on the same items: `metric` of A minus `metric` of B, both on the same draws.

    a, b (N, ...): what each system gave for item i; labels (N,) as in `bootstrap`. Both systems see the same draw, so
    items that are hard for both do not widen the interval. The p-value is twice the smaller share of draws on one side
    of 0, draws at 0 counting for both, with one added to count and total so that it is never 0.

    >>> paired_bootstrap([0.9, 0.8, 0.9, 0.7], [0.5, 0.6, 0.5, 0.6]).significant
    True
    """
    first, truth = _columns(a, labels)
    second, _ = _columns(b, labels)
    if len(first) != len(second):
        raise UsageError(f"a has {len(first)} items, b has {len(second)}: a paired comparison needs the same items")
    _check(level, resamples)
    drawn = np.array(
        [
            _apply(metric, first, truth, index) - _apply(metric, second, truth, index)
            for index in _draws(len(first), truth, resamples, seed)
        ],
        np.float64,
    )
    low, high, undefined = _percentiles(drawn, level)
    one, two = _apply(metric, first, truth, None), _apply(metric, second, truth, None)
    return Comparison(one, two, one - two, low, high, level, _p_value(drawn), resamples, undefined)


def _columns(values: npt.ArrayLike, labels: npt.ArrayLike | None) -> tuple[np.ndarray, np.ndarray | None]:
    rows = np.asarray(values)
    if rows.ndim == 0 or not len(rows):
        raise UsageError("a bootstrap needs at least one item")
    if labels is None:
        return rows, None
    truth = np.asarray(labels)
    if truth.shape != rows.shape[:1]:
        raise UsageError(f"{len(rows)} items have labels of shape {truth.shape}: give one label per item")
    return rows, truth


def _check(level: float, resamples: int) -> None:
    if not 0 < level < 1 or resamples < 1:
        raise UsageError(f"level must lie in (0, 1) and resamples be at least 1, got {level} and {resamples}")


def _draws(count: int, labels: np.ndarray | None, resamples: int, seed: int) -> Iterator[npt.NDArray[np.int64]]:
    """Indices of each draw, within each label."""
    generator = np.random.default_rng(seed)
    groups = [np.arange(count)] if labels is None else [np.flatnonzero(labels == one) for one in np.unique(labels)]
    for _ in range(resamples):
        yield np.concatenate([group[generator.integers(0, len(group), len(group))] for group in groups])


def _apply(metric: Metric, values: np.ndarray, labels: np.ndarray | None, index: np.ndarray | None) -> float:
    if index is not None:
        values, labels = values[index], None if labels is None else labels[index]
    result = metric(values) if labels is None else metric(values, labels)
    if np.ndim(result) != 0:
        raise UsageError(f"metric must return one number, got {result!r}: wrap it, as in lambda s, y: f1_max(s, y)[0]")
    return float(result)


def _percentiles(drawn: np.ndarray, level: float) -> tuple[float, float, int]:
    defined = drawn[~np.isnan(drawn)]
    if not len(defined):
        return float("nan"), float("nan"), len(drawn)
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high), len(drawn) - len(defined)


def _p_value(differences: np.ndarray) -> float:
    defined = differences[~np.isnan(differences)]
    if not len(defined):
        return float("nan")
    below, above = (defined <= 0).sum(), (defined >= 0).sum()
    return float(min(1.0, 2 * (min(below, above) + 1) / (len(defined) + 1)))
