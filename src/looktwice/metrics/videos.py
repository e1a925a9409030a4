"""Videos: how well the scores of frames find the anomalous frames. Letters: V videos, F frames of a video (differs)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from looktwice.errors import UsageError
from looktwice.metrics.maps import as_labels, as_scores
from looktwice.metrics.ranking import NAN, auroc, average_precision


def frame_auroc(
    scores: Sequence[np.ndarray],
    labels: Sequence[np.ndarray],
    *,
    average: Literal["micro", "macro"],
    normalise: bool = False,
) -> float:
    """Frame-level AUROC of V videos: scores (F,) float, labels (F,) bool or 0/1.

    "micro" strings all frames together, "macro" is the mean over videos that hold both kinds of frames: papers use
    either, they differ by points, so there is no default. `normalise` first maps each video's own scores to [0, 1],
    which needs its end and lifts micro figures; a constant video becomes 0. NaN where no AUROC is defined.

    >>> frame_auroc([np.array([0.1, 0.9]), np.array([0.8, 0.2])], [np.array([0, 1]), np.array([0, 0])], average="micro")
    1.0
    """
    if average not in ("micro", "macro"):
        raise UsageError(f"average must be 'micro' or 'macro', got {average!r}")
    videos = _videos(scores, labels, normalise)
    if average == "micro":
        pooled = [np.concatenate(column) for column in zip(*videos, strict=True)]
        return auroc(*pooled) if pooled else NAN
    each = [auroc(values, truth) for values, truth in videos if truth.any() and not truth.all()]
    return float(np.mean(each)) if each else NAN


def frame_average_precision(scores: Sequence[np.ndarray], labels: Sequence[np.ndarray]) -> float:
    """Average precision of the frames of all V videos strung together, as UCF-Crime is scored beside AUROC.

    scores (F,) float, labels (F,) bool or 0/1. NaN without an anomalous frame.

    >>> frame_average_precision([np.array([0.1, 0.9])], [np.array([0, 1])])
    1.0
    """
    pooled = [np.concatenate(column) for column in zip(*_videos(scores, labels, normalise=False), strict=True)]
    return average_precision(*pooled) if pooled else NAN


def _videos(
    scores: Sequence[np.ndarray], labels: Sequence[np.ndarray], normalise: bool
) -> list[tuple[np.ndarray, np.ndarray]]:
    if len(scores) != len(labels):
        raise UsageError(f"{len(scores)} videos of scores have {len(labels)} of labels: give one per video")
    return [
        _checked(np.asarray(values), np.asarray(truth), index, normalise)
        for index, (values, truth) in enumerate(zip(scores, labels, strict=True))
    ]


def _checked(values: np.ndarray, truth: np.ndarray, index: int, normalise: bool) -> tuple[np.ndarray, np.ndarray]:
    if values.ndim != 1 or values.shape != truth.shape:
        raise UsageError(f"video {index} has scores {values.shape} and labels {truth.shape}: both must be (F,)")
    frames = as_scores(values, f"video {index}")
    if normalise and len(frames):
        if not np.isfinite(frames).all():
            raise UsageError(f"video {index} holds infinite scores: they cannot be normalised")
        span = frames.max() - frames.min()
        frames = (frames - frames.min()) / (span if span > 0 else 1)
    return frames, as_labels(truth, f"labels of video {index}")
