"""Anomaly maps and masks as they come in: checked once, then walked pair by pair.

Letters: N maps, H W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from looktwice.errors import UsageError

Maps = np.ndarray | Sequence[np.ndarray]  # (N, H, W), or N arrays (H, W) of any sizes
Masks = np.ndarray | Sequence[np.ndarray]  # the same sizes, bool or 0/1
Pair = tuple[np.ndarray, np.ndarray]  # (H, W) float32 or float64 without NaN, (H, W) bool


def checked_pairs(maps: Maps, masks: Masks) -> list[Pair]:
    """Return one (map, mask) pair per image; views of the input where its types allow.

    Raises UsageError naming the map or mask, what is allowed and the fix: counts or sizes that differ, NaN scores,
    masks that are neither bool nor 0/1.
    """
    if len(maps) != len(masks):
        raise UsageError(f"{len(maps)} maps have {len(masks)} masks: give one mask per map, all False for a normal one")
    return [
        _checked_pair(np.asarray(one), np.asarray(mask), index)
        for index, (one, mask) in enumerate(zip(maps, masks, strict=True))
    ]


def _checked_pair(one: np.ndarray, mask: np.ndarray, index: int) -> Pair:
    if one.ndim != 2:
        hint = ": for a single map pass maps[None] and masks[None]" if one.ndim < 2 else ""
        raise UsageError(f"map {index} must be (H, W), got shape {one.shape}{hint}")
    if one.shape != mask.shape:
        raise UsageError(f"map {index} is {one.shape}, its mask {mask.shape}: resize the map to the mask first")
    return as_scores(one, f"map {index}"), as_labels(mask, f"mask {index}")


def as_scores(values: np.ndarray, name: str) -> np.ndarray:
    """Return real numbers as float32 (float16 and float32) or float64 (the rest); infinities are scores, NaN is not."""
    if values.dtype.kind not in "fiub":
        raise UsageError(f"{name} must hold real numbers, got {values.dtype}")
    small = values.dtype.kind == "f" and values.dtype.itemsize <= 4
    scores = values.astype(np.float32 if small else np.float64, copy=False)
    if scores.size and np.isnan(scores.min()):  # the lowest of anything with a NaN is NaN
        count = int(np.isnan(scores).sum())
        raise UsageError(
            f"{name} holds {count} NaN of {scores.size} scores: a NaN has no rank, so score or drop it first"
        )
    return scores


def as_labels(values: np.ndarray, name: str) -> np.ndarray:
    """Return bool; anything but bool, 0 and 1 is refused, since 255 or a class id may or may not mean anomalous."""
    if values.dtype == np.bool_:
        return values
    labels = values.astype(np.bool_)
    if values.dtype.kind not in "fiu" or not np.array_equal(labels, values):
        raise UsageError(
            f"{name} must be bool or 0/1, got {values.dtype} with other values: pass {name.split()[0]} > 0"
        )
    return labels
