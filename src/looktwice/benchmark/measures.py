"""The figures of a benchmark by name, and how they are put together over samples, categories and pixels.

Letters: N samples, S seeds, C categories.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from looktwice.errors import unknown_name
from looktwice.metrics import auroc, average_precision, f1_max
from looktwice.metrics.regions import AUPIMO_BOUNDS, overlap_area

# name -> as a table prints it. Of the last ones we compute none: they stand in published tables.
METRICS: Mapping[str, str] = {
    "image_auroc": "image AUROC",
    "image_ap": "image AP",
    "image_f1_max": "image F1-max",
    "pixel_auroc": "pixel AUROC",
    "pixel_ap": "pixel AP",
    "pixel_f1_max": "pixel F1-max",
    "pro": "PRO",
    "pro_05": "PRO to 0.05",
    "aupimo": "AUPIMO",
    "pixel_iou": "pixel IoU",
    "pixel_dice": "pixel Dice",
    "point_auroc": "point AUROC",
    "point_ap": "point AP",
    "o_pro": "O-PRO",
    "frame_auroc": "frame AUROC, micro",
    "frame_auroc_macro": "frame AUROC, macro",
    "frame_ap": "frame AP",
    "accuracy": "accuracy",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "rouge_l": "ROUGE-L",
    "sbert": "SBERT",
    "gpt_score": "GPT-score",
    "ap": "AP (image or pixel: not stated)",
}
PLAIN = frozenset({"gpt_score"})  # 1 to 10; all others are shares, printed in percent

SAMPLE_METRICS: Mapping[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "image_auroc": auroc,
    "image_ap": average_precision,
    "image_f1_max": lambda scores, labels: f1_max(scores, labels)[0],
}


def title(name: str) -> str:
    """A metric as a table prints it; raises UnknownName."""
    if name not in METRICS:
        raise unknown_name("metric", name, METRICS)
    return METRICS[name]


class OverCategories:
    """A metric of samples as the mean over categories, for the bootstrap: draws stay within category and label.

    Samples must be sorted by `strata` = 2 * category + label; (N,) or (N, S) scores, then also the mean over seeds.
    """

    def __init__(self, metric: str, strata: np.ndarray) -> None:
        self.metric = SAMPLE_METRICS[metric]
        self.slices = _slices(strata)

    def __call__(self, scores: np.ndarray, strata: np.ndarray) -> float:
        """The mean over the categories, each with both labels."""
        columns = scores.reshape(len(scores), -1).T
        values = [self.metric(column[part], strata[part] % 2) for part in self.slices for column in columns]
        return float(np.mean(values))


class RatioOverCategories:
    """A figure that is a sum over a number, per sample, as the mean over categories; `strata` as in OverCategories.

    Values are (N, S, 2): what a sample adds to the sum and to the number, for each seed.
    """

    def __init__(self, strata: np.ndarray) -> None:
        self.slices = _slices(strata)

    def __call__(self, values: np.ndarray, strata: np.ndarray) -> float:
        """The mean over categories and seeds."""
        sums = np.array([values[part].sum(0) for part in self.slices])  # (C, S, 2)
        return float((sums[..., 0] / sums[..., 1]).mean())


def _slices(strata: np.ndarray) -> list[slice]:
    """Where each category lies."""
    starts = np.flatnonzero(np.diff(strata // 2, prepend=-1))
    return [slice(a, b) for a, b in zip(starts, [*starts[1:], len(strata)], strict=True)]


class NormalCeiling:
    """AUPIMO in bounded memory: the highest scores of normal images, all that its range of rates can see.

    The rate of a threshold is the mean over normal images of the share of their pixels at or above it; above 1e-4 it
    does not count. So of each new image only scores can matter that keep the rate below that, and with every image the
    ceiling rises. Exact, ties included. Letters: K kept scores, about 1e-4 of all normal pixels.
    """

    def __init__(self, images: int) -> None:
        """`images` normal images will be added."""
        self.images = images
        self.scores: np.ndarray = np.empty(0)  # (K,) rising, each once
        self.shares: np.ndarray = np.empty(0)  # (K,) what each adds to the rate

    def add(self, scores: np.ndarray) -> None:
        """Take in a normal image (H, W)."""
        flat = scores.reshape(-1)
        if len(self.scores) and self.shares.sum() >= AUPIMO_BOUNDS[1]:
            flat = flat[flat >= self.scores[0]]
        share = np.full(len(flat), 1 / scores.size / self.images)
        values, inverse = np.unique(np.concatenate([self.scores, flat]), return_inverse=True)
        shares = np.bincount(inverse.reshape(-1), np.concatenate([self.shares, share]))
        above = np.cumsum(shares[::-1])[::-1] - shares
        kept = above < AUPIMO_BOUNDS[1]
        self.scores, self.shares = values[kept], shares[kept]

    def area(self, anomalous: np.ndarray) -> float:
        """AUPIMO of one image from the scores of its anomalous pixels; NaN without a normal image."""
        if not len(self.scores):
            return float("nan")
        rate = np.concatenate([np.cumsum(self.shares[::-1])[::-1], [0.0]])
        return overlap_area(anomalous, self.scores, rate, *AUPIMO_BOUNDS)


def thinned_curve(x: np.ndarray, y: np.ndarray, points: int = 200) -> list[list[float]]:
    """A rising curve as at most `points` pairs, evenly spread along it, both ends kept; for drawing alone."""
    new = np.ones(len(x), np.bool_)
    new[1:] = (np.diff(x) > 0) | (np.diff(y) > 0)
    x, y = x[new], y[new]
    if len(x) > points:
        way = np.concatenate([[0.0], np.cumsum(np.hypot(np.diff(x / x[-1]), np.diff(y)))])
        wanted = np.linspace(0, way[-1], points)
        chosen = np.unique(np.searchsorted(way, wanted).clip(0, len(x) - 1))
        x, y = x[chosen], y[chosen]
    return [[round(float(a), 5), round(float(b), 5)] for a, b in zip(x, y, strict=True)]


def mean_of(values: Sequence[float]) -> float:
    """Plain mean of what is defined, NaN where nothing is."""
    defined = [value for value in values if value == value]
    return sum(defined) / len(defined) if defined else float("nan")
