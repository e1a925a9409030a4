"""Slow, obvious versions of the region metrics: one threshold after the other, one region after the other."""

from __future__ import annotations

from itertools import pairwise

import numpy as np


def regions_of(mask: np.ndarray) -> list[np.ndarray]:
    """Masks of the 8-connected regions, by flooding from one pixel at a time."""
    left, found = mask.copy(), []
    while left.any():
        region = np.zeros_like(mask)
        todo = [tuple(np.argwhere(left)[0])]
        while todo:
            y, x = todo.pop()
            if 0 <= y < mask.shape[0] and 0 <= x < mask.shape[1] and left[y, x]:
                left[y, x], region[y, x] = False, True
                todo += [(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
        found.append(region)
    return found


def slow_pro(maps: list[np.ndarray], masks: list[np.ndarray], limit: float) -> float:
    regions = [(one, region) for one, mask in zip(maps, masks, strict=True) for region in regions_of(mask)]
    normal = np.concatenate([one[~mask] for one, mask in zip(maps, masks, strict=True)])
    points = [(0.0, 0.0)]
    for threshold in np.unique(np.concatenate([one.ravel() for one in maps]))[::-1]:
        rate = (normal >= threshold).mean()
        points.append((rate, np.mean([(one[region] >= threshold).mean() for one, region in regions])))
    area = 0.0
    for (x0, y0), (x1, y1) in pairwise(points):
        if x0 >= limit:
            break
        if x1 > limit:
            x1, y1 = limit, y0 + (y1 - y0) * (limit - x0) / (x1 - x0)
        area += (x1 - x0) * (y0 + y1) / 2
    return area / limit


def slow_aupimo(maps: list[np.ndarray], masks: list[np.ndarray], low: float, high: float) -> list[float]:
    """Simpson's rule with many points over the logarithm of the rate, on the linearly joined curve."""
    normal = [one for one, mask in zip(maps, masks, strict=True) if not mask.any()]
    thresholds = np.unique(np.concatenate([one.ravel() for one in maps]))[::-1]
    rate = np.array([0.0] + [np.mean([(one >= t).mean() for one in normal]) for t in thresholds])
    results = []
    for one, mask in zip(maps, masks, strict=True):
        if not mask.any():
            results.append(float("nan"))
            continue
        overlap = np.array([0.0] + [(one[mask] >= t).mean() for t in thresholds])
        total = 0.0
        for k in range(len(rate) - 1):
            x0, x1 = max(rate[k], low), min(rate[k + 1], high)
            if x1 <= x0:
                continue
            slope = (overlap[k + 1] - overlap[k]) / (rate[k + 1] - rate[k])
            at = np.geomspace(x0, x1, 2001)
            height = overlap[k] + slope * (at - rate[k])
            total += (
                (height[0] + height[-1] + 4 * height[1:-1:2].sum() + 2 * height[2:-1:2].sum()) * np.log(x1 / x0) / 6000
            )
        results.append(total / np.log(high / low))
    return results
