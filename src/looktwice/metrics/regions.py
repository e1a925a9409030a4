"""How well maps cover each defect: PRO over all images, AUPIMO for each image.

A region is a group of anomalous pixels that touch at a side or a corner (8-connectivity). Every region counts the same,
however large. Letters: N maps, H W pixels, P anomalous pixels, K rows of a Ranking.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from looktwice.errors import UsageError
from looktwice.metrics.maps import Maps, Masks, Pair, checked_pairs
from looktwice.metrics.ranking import NAN, Floats, Ranking, rank

TOUCHING = np.ones((3, 3), np.bool_)  # sides and corners, as in the published evaluation code
AUPIMO_BOUNDS = (1e-5, 1e-4)  # false positive rates, as in the paper


def pro(maps: Maps, masks: Masks, limit: float = 0.3) -> float:
    """Per-region overlap: mean share of each region found, averaged over false positive rates from 0 to `limit`.

    maps (N, H, W) float or N arrays (H, W); masks alike, bool. The rate counts the normal pixels of all images. The
    curve has a point at every distinct score and is linear between, also where it meets the limit.
    1 is perfect; NaN without a region or without a normal pixel. Raises UsageError on NaN scores and on a limit
    outside (0, 1].

    >>> import numpy as np
    >>> pro(np.array([[[0.9, 0.1], [0.2, 0.3]]]), np.array([[[True, False], [False, False]]]))
    1.0
    """
    check_limit(limit)
    return pro_of(pixel_ranking(checked_pairs(maps, masks)), limit)


def check_limit(limit: float) -> None:
    """Raise UsageError on a limit that is no false positive rate above 0."""
    if not 0 < limit <= 1:
        raise UsageError(f"the limit of PRO is a false positive rate in (0, 1], got {limit}")


def pixel_ranking(pairs: list[Pair]) -> Ranking:
    """Rank all pixels at once: one sort serves AUROC, AP, F1-max and PRO."""
    if not pairs:
        return rank(np.empty(0), np.empty(0))
    ordered = np.concatenate([one.reshape(-1) for one, _ in pairs])
    ordered.sort()
    hit = [(one, mask, *region_weights(mask)) for one, mask in pairs if mask.any()]
    if not hit:
        return rank(ordered, ordered[:0])
    weights = np.concatenate([weights for _, _, weights, _ in hit]) / sum(count for *_, count in hit)
    return rank(ordered, np.concatenate([one[mask] for one, mask, *_ in hit]), weights)


def region_weights(mask: np.ndarray) -> tuple[Floats, int]:
    """(P,) one over the size of the region of each anomalous pixel, row by row, and the number of regions."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return np.empty(0), 0
    crop = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]  # defects are small: label only around them
    labels, count = ndimage.label(crop, TOUCHING)
    region = labels[crop] - 1
    return (1 / np.bincount(region))[region], int(count)


def pro_of(ranking: Ranking, limit: float) -> float:
    """PRO of a ranking."""
    if not ranking.positives or not ranking.negatives:
        return NAN
    x, y = cut(*curve(ranking.normal_above, ranking.normal, ranking.overlap, ranking.negatives), 0, limit)
    area = (np.diff(x) * (y[1:] + y[:-1])).sum() / 2
    return min(1.0, float(area / limit))  # overlaps are sums of fractions: 1 may come out a hair above


def curve(above: Floats, at_least: Floats, y: Floats, negatives: float) -> tuple[Floats, Floats]:
    """(2K + 2,) x and y of a curve from (0, 0) to (1, 1): per row the point before its items and the point after."""
    x = np.stack([above, at_least], axis=1).reshape(-1) / negatives
    before = np.concatenate([[0.0], y[:-1]])
    steps = np.stack([before, y], axis=1).reshape(-1)
    return np.concatenate([[0.0], x, [1.0]]), np.concatenate([[0.0], steps, [1.0]])


def cut(x: Floats, y: Floats, low: float, high: float) -> tuple[Floats, Floats]:
    """The part of a rising curve with low <= x <= high, with points at both ends by linear interpolation."""
    first = np.searchsorted(x, low, "right")
    last = np.searchsorted(x, high, "left")
    ends = [_at(x, y, low, int(first)), _at(x, y, high, int(last))]
    inside = slice(first, max(first, last))
    return np.concatenate([[low], x[inside], [high]]), np.concatenate([ends[:1], y[inside], ends[1:]])


def _at(x: Floats, y: Floats, where: float, after: int) -> float:
    """Height at `where`, which lies between points after - 1 and after."""
    if after == 0 or after == len(x):
        return float(y[max(0, after - 1)])
    width = x[after] - x[after - 1]
    return float(y[after - 1] + (y[after] - y[after - 1]) * (where - x[after - 1]) / width)


def aupimo(maps: Maps, masks: Masks, bounds: tuple[float, float] = AUPIMO_BOUNDS) -> Floats:
    """(N,) area under each image's overlap curve, over the logarithm of the false positive rate within `bounds`.

    The rate is the mean over the normal images of each one's own rate, so anomalous images cannot soften it. An image
    is normal when its mask is empty, and has no AUPIMO: NaN. All are NaN without a normal image.
    Exact, with a point at every distinct score. Raises UsageError on NaN scores or bounds not 0 < low < high <= 1.

    >>> import numpy as np
    >>> maps = np.stack([np.zeros((4, 4)), np.eye(4)])
    >>> aupimo(maps, maps > 0.5)
    array([nan,  1.])
    """
    low, high = bounds
    if not 0 < low < high <= 1:
        raise UsageError(f"bounds of AUPIMO are false positive rates with 0 < low < high <= 1, got {bounds}")
    pairs = checked_pairs(maps, masks)
    ordered, rate = _rate_on_normal_images([one.reshape(-1) for one, mask in pairs if one.size and not mask.any()])
    if not len(ordered):
        return np.full(len(pairs), NAN)
    return np.array([overlap_area(one[mask], ordered, rate, low, high) for one, mask in pairs])


def _rate_on_normal_images(normal: list[np.ndarray]) -> tuple[np.ndarray, Floats]:
    """All scores of normal images, rising, and (n + 1,) the mean rate of pixels at or behind each place."""
    if not normal:
        return np.empty(0), np.zeros(1)
    scores = np.concatenate(normal)
    if len({len(one) for one in normal}) == 1:  # the mean of rates is the rate of the pool
        return np.sort(scores), np.arange(len(scores), -1, -1) / len(scores)
    weights = np.concatenate([np.full(len(one), 1 / len(one) / len(normal)) for one in normal])
    order = np.argsort(scores)
    return scores[order], np.concatenate([np.cumsum(weights[order[::-1]])[::-1], [0.0]])


def overlap_area(anomalous: np.ndarray, ordered: np.ndarray, rate: Floats, low: float, high: float) -> float:
    """Mean overlap of one anomalous picture over log(rate) from `low` to `high`: AUPIMO's inner integral."""
    if not len(anomalous):
        return NAN
    thresholds, counts = np.unique(anomalous, return_counts=True)
    found = np.cumsum(counts[::-1]) / len(anomalous)
    above = rate[np.searchsorted(ordered, thresholds, "right")][::-1]
    at_least = rate[np.searchsorted(ordered, thresholds, "left")][::-1]
    x, y = cut(*curve(above, at_least, found, 1.0), low, high)
    wide = np.diff(x) > 0
    x0, x1, y0, y1 = x[:-1][wide], x[1:][wide], y[:-1][wide], y[1:][wide]
    slope = (y1 - y0) / (x1 - x0)
    area = (y0 - slope * x0) * np.log(x1 / x0) + slope * (x1 - x0)  # integral of a straight line over log x
    return float(np.clip(area.sum() / np.log(high / low), 0, 1))
