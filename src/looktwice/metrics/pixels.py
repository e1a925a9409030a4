"""Pixel metrics of a whole class: all at once and exact, or as a stream in bounded memory with a proven error bound.

Exact: the scores are sorted once, and AUROC, average precision, F1-max and PRO are read off one Ranking.

Streaming: scores fall into bins. Every power of two that occurs (0.25 to 0.5, 0.5 to 1 ...; negative ones too) is
divided into 2**m bins of one width, so small scores are told apart as well as large ones. When powers of two are added
and the room is used up, all bins join in pairs and m falls by one. So m depends on the scores seen and never on their
order or their split into updates: merging is exact. Scores are rounded down to float32 first.
The metrics are those of scores that tie within their bin. What that can change:

- AUROC: pairs in different bins are ordered rightly; a pair within a bin counts 1/2 instead of something in [0, 1].
- AP: the precision at an anomalous pixel lies between the one where its bin holds every normal pixel first and the one
  where all anomalous pixels of its bin share the highest score.
- F1-max: the lower edge of each bin is a threshold, so the truth is no less; within a bin it is at most the F1 with
  every anomalous pixel of the bin caught and no further false alarm.
- PRO: the curve is right at every edge and rises in between, so it stays within the rectangle that two edges span.

Letters: N maps, H W pixels, P anomalous pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, Self

import numpy as np
import numpy.typing as npt

from looktwice.errors import UsageError
from looktwice.metrics.maps import Maps, Masks, Pair, checked_pairs
from looktwice.metrics.ranking import NAN, Floats, Ranking, auroc_of, average_precision_of, f1_max_of
from looktwice.metrics.regions import check_limit, pixel_ranking, pro_of, region_weights

BINS = 2**16
SPAN = 16  # powers of two that get the full number of bins
CHUNK = 2**16  # pixels binned at once: their temporaries stay in the processor's cache
BATCH = 2**22  # pixels whose anomalous ones are gathered before they are counted


class PixelScores(dict[str, float]):
    """{"auroc", "ap", "f1_max", "pro"}, each in [0, 1] or NaN where undefined.

    `threshold` is the score that reaches `f1_max`. `bound` holds, for each metric, how far the exact value can be from
    this one: 0 where the value is exact. Printing shows both.
    """

    def __init__(self, values: dict[str, float], threshold: float, bound: dict[str, float]) -> None:
        super().__init__(values)
        self.threshold = threshold
        self.bound = bound

    def __str__(self) -> str:
        rows = [f"{name} {value:.6f} (off by at most {self.bound[name]:.1e})" for name, value in self.items()]
        return ", ".join(rows)


def pixel_metrics(maps: Maps, masks: Masks, pro_limit: float = 0.3) -> PixelScores:
    """Exact AUROC, average precision, F1-max and PRO of all pixels, from one sort.

    maps (N, H, W) float or N arrays (H, W) of any sizes; masks alike, bool or 0/1. `pro_limit` in (0, 1] is the highest
    false positive rate of PRO. float32 scores are compared as float32. Needs about the memory of the maps once more,
    and about 130 bytes per anomalous pixel. Raises UsageError on NaN scores, naming the map.

    >>> import numpy as np
    >>> maps = np.array([[[0.9, 0.1], [0.2, 0.3]]])
    >>> dict(pixel_metrics(maps, maps > 0.5))
    {'auroc': 1.0, 'ap': 1.0, 'f1_max': 1.0, 'pro': 1.0}
    """
    check_limit(pro_limit)
    ranking = pixel_ranking(checked_pairs(maps, masks))
    return _scores(ranking, pro_limit, {"auroc": 0.0, "ap": 0.0, "f1_max": 0.0, "pro": 0.0})


def _scores(ranking: Ranking, limit: float, bound: dict[str, float]) -> PixelScores:
    best, threshold = f1_max_of(ranking)
    values = {
        "auroc": auroc_of(ranking),
        "ap": average_precision_of(ranking),
        "f1_max": best,
        "pro": pro_of(ranking, limit),
    }
    return PixelScores(values, threshold, bound)


# ---------------------------------------------------------------- streaming


MANTISSA = 23  # bits of a float32 behind its sign and exponent
SIGN = np.uint32(2**31)
OCTAVES = 512  # sign and exponent: the powers of two of both signs, the infinities at the ends
UNSEEN = -(2**40)  # makes the slot of a score from an unseen octave negative


class PixelMetrics:
    """Pixel metrics of any number of images in bounded memory, with a proven bound on the error.

    `bins` >= 256: into how many bins each power of two of the scores is divided while they span up to 16 of them; all
    get fewer when they span more. There are never more than 16 * bins in all, at 24 bytes: 24 MiB by default.
    States of several processes join with `merge` and can be pickled.

    >>> import numpy as np
    >>> maps = np.linspace(0, 1, 64).reshape(4, 4, 4)
    >>> stream = PixelMetrics()
    >>> for one in maps:
    ...     stream.update(one[None], one[None] > 0.7)
    >>> print(stream.compute()["auroc"], stream.compute().bound["auroc"])
    1.0 0.0
    """

    def __init__(self, bins: int = BINS) -> None:
        if bins < 256:
            raise UsageError(f"bins must be at least 256, got {bins}")
        self.bins = bins
        self.images = 0
        self.regions = 0
        self._m = min(MANTISSA, (SPAN * bins).bit_length() - 1)  # each octave has 2**m bins
        self._octaves: list[int] = []  # as they came: the first one has the first 2**m slots
        self._shift = np.full(OCTAVES, UNSEEN, np.int64)  # from the bins of an octave to its slots
        self._all = np.zeros(SPAN * bins, np.int64)
        self._anomalous = np.zeros(SPAN * bins, np.int64)
        self._covered = np.zeros(SPAN * bins, np.float64)  # shares of regions

    def update(self, maps: Maps, masks: Masks) -> None:
        """Count the pixels of more images: maps (N, H, W) float or N arrays (H, W), masks alike.

        Raises UsageError as `pixel_metrics` does, before anything is counted.
        """
        pairs = checked_pairs(maps, masks)
        for batch in _batches(pairs):
            for one, _ in batch:
                flat = one.reshape(-1)
                for start in range(0, len(flat), CHUNK):
                    slots = self._slots(flat[start : start + CHUNK])
                    np.add.at(self._all, slots, 1)
            hit = [(one[mask], *region_weights(mask)) for one, mask in batch if mask.any()]
            if hit:
                slots = self._slots(np.concatenate([scores for scores, *_ in hit]))
                np.add.at(self._anomalous, slots, 1)
                np.add.at(self._covered, slots, np.concatenate([weights for _, weights, _ in hit]))
                self.regions += sum(count for *_, count in hit)
        self.images += len(pairs)

    def _slots(self, scores: np.ndarray) -> npt.NDArray[np.int64]:
        """Slot of each score, making room for new octaves."""
        keys = _keys(scores)
        octaves = (keys >> MANTISSA).astype(np.int64)
        slots = self._shift[octaves] + (keys >> (MANTISSA - self._m))
        if slots.min() < 0:
            self._add_octaves(np.unique(octaves).tolist())
            slots = self._shift[octaves] + (keys >> (MANTISSA - self._m))
        return slots

    def _add_octaves(self, octaves: list[int]) -> None:
        new = [octave for octave in octaves if octave not in self._octaves]
        while (len(self._octaves) + len(new)) << self._m > len(self._all):
            self._join_bins_in_pairs()
        self._octaves += new
        self._shift[self._octaves] = (np.arange(len(self._octaves)) - self._octaves) << self._m

    def _join_bins_in_pairs(self) -> None:
        used = len(self._octaves) << self._m
        for table in (self._all, self._anomalous, self._covered):
            joined = table[0:used:2] + table[1:used:2]
            table[:used] = 0
            table[: used // 2] = joined
        self._m -= 1

    def merge(self, other: PixelMetrics) -> Self:
        """Add what another one has counted, as if its images had come here; returns self.

        Raises UsageError when the other has another number of bins.
        """
        if self.bins != other.bins:
            raise UsageError(f"cannot merge {other.bins} bins into {self.bins}: make both with the same bins")
        self._add_octaves(other._octaves)
        joined = 1 << (other._m - self._m)  # the other has no more octaves than both, so no fewer bins in each
        for mine, others in (
            (self._all, other._all),
            (self._anomalous, other._anomalous),
            (self._covered, other._covered),
        ):
            for page, octave in enumerate(other._octaves):
                own = self._octaves.index(octave) << self._m
                counted = others[page << other._m : (page + 1) << other._m]
                mine[own : own + (1 << self._m)] += counted.reshape(-1, joined).sum(1)
        self.images += other.images
        self.regions += other.regions
        return self

    def compute(self, pro_limit: float = 0.3) -> PixelScores:
        """AUROC, average precision, F1-max and PRO of all pixels so far, with `bound` on the error of each.

        Can be called again, with other limits, and between updates.
        """
        check_limit(pro_limit)
        ranking = self.ranking()
        return _scores(ranking, pro_limit, _bound(ranking, pro_limit))

    def ranking(self) -> Ranking:
        """One row per bin with anomalous pixels."""
        octaves = np.array(self._octaves, np.int64)
        order = np.argsort(octaves)
        counted, anomalous, covered = (
            table[: len(octaves) << self._m].reshape(-1, 1 << self._m)[order].reshape(-1)
            for table in (self._all, self._anomalous, self._covered)
        )
        falling = np.flatnonzero(anomalous)[::-1]
        at = anomalous[falling].astype(np.float64)
        positives, total = int(anomalous.sum()), int(counted.sum())
        counted -= anomalous
        normal = (total - positives - counted.cumsum() + counted)[falling].astype(np.float64)
        mantissas = (falling & ((1 << self._m) - 1)) << (MANTISSA - self._m)
        return Ranking(
            thresholds=_scores_of((octaves[order][falling >> self._m] << MANTISSA | mantissas).astype(np.uint32)),
            anomalous_at=at,
            normal_above=normal - counted[falling],
            normal=normal,
            overlap=covered[falling].cumsum() / max(1, self.regions),
            positives=positives,
            negatives=total - positives,
        )


def _keys(scores: np.ndarray) -> npt.NDArray[np.uint32]:
    """Whole numbers in the order of the scores: the bits of a float32, with the order of the negative ones turned."""
    single = scores
    if scores.dtype != np.float32:
        with np.errstate(over="ignore"):
            nearest = scores.astype(np.float32)
            below = np.nextafter(nearest, np.float32(-np.inf))
        single = np.where(nearest > scores, below, nearest)  # rounded down, so that a threshold cuts the same
    bits = (single + np.float32(0)).view(np.uint32)  # -0.0 becomes 0.0
    bits ^= (bits.view(np.int32) >> 31).view(np.uint32) | SIGN
    return bits


def _scores_of(keys: npt.NDArray[np.uint32]) -> npt.NDArray[np.float32]:
    """The scores that have these keys; the bin of -inf begins among the NaN, which never occur."""
    scores = np.where(keys & SIGN, keys ^ SIGN, ~keys).view(np.float32)
    return np.where(np.isnan(scores), np.float32(-np.inf), scores)


def _batches(pairs: list[Pair]) -> Iterator[list[Pair]]:
    """Consecutive pairs of together at most BATCH pixels, or one that alone has more."""
    batch: list[Pair] = []
    for pair in pairs:
        if batch and sum(one.size for one, _ in batch) + pair[0].size > BATCH:
            yield batch
            batch = []
        batch.append(pair)
    if batch:
        yield batch


def _bound(ranking: Ranking, limit: float) -> dict[str, float]:
    """How far the exact metrics can be from those of a binned ranking; proofs in the module's docstring."""
    at, above, normal = ranking.anomalous_at, ranking.normal_above, ranking.normal
    if not ranking.positives:
        return {"auroc": NAN, "ap": NAN, "f1_max": NAN, "pro": NAN}
    caught = ranking.anomalous
    before = caught - at
    best_precision = caught / (caught + above)
    # j = 1..p anomalous pixels after all normal ones: sum (t+j)/(t+j+f) = p - f * sum 1/(t+j+f) >= p - f * ln(...)
    worst_precision = 1 - np.where(normal > 0, normal * np.log1p(at / np.maximum(before + normal, 1)), 0) / at
    precision = caught / (caught + normal)
    higher, lower = (at * (best_precision - precision)).sum(), (at * (precision - worst_precision)).sum()
    ap = float(max(higher, lower) / ranking.positives)
    best_f1 = float((2 * caught / (caught + above + ranking.positives)).max())
    if not ranking.negatives:
        return {"auroc": NAN, "ap": ap, "f1_max": best_f1 - f1_max_of(ranking)[0], "pro": NAN}
    width = np.minimum(normal / ranking.negatives, limit) - np.minimum(above / ranking.negatives, limit)
    height = np.diff(ranking.overlap, prepend=0.0)
    half = np.where(normal / ranking.negatives <= limit, 0.5, 1.0)  # the limit may cut a rectangle anywhere
    return {
        "auroc": float((at * (normal - above)).sum() / 2 / ranking.positives / ranking.negatives),
        "ap": ap,
        "f1_max": best_f1 - f1_max_of(ranking)[0],
        "pro": float((width * height * half).sum() / limit),
    }


# ---------------------------------------------------------------- at one threshold


def iou(maps: Maps, masks: Masks, threshold: float, average: Literal["pixels", "images"] = "pixels") -> float:
    """Intersection over union of `map >= threshold` and the mask.

    "pixels": one figure from the counts of all pixels. "images": mean of each image's own figure. Where nothing is
    marked and nothing is found there is nothing to compare: NaN, and such images are left out of the mean.

    >>> import numpy as np
    >>> round(iou(np.array([[[0.9, 0.8, 0.1]]]), np.array([[[True, False, False]]]), 0.5), 2)
    0.5
    """
    both, found, marked = _counts(maps, masks, threshold, average)
    return _mean_share(both, found + marked - both)


def dice(maps: Maps, masks: Masks, threshold: float, average: Literal["pixels", "images"] = "pixels") -> float:
    """Dice of `map >= threshold` and the mask, which is the F1 of its pixels; averages and NaN as in `iou`.

    >>> import numpy as np
    >>> round(dice(np.array([[[0.9, 0.8, 0.1]]]), np.array([[[True, False, False]]]), 0.5), 2)
    0.67
    """
    both, found, marked = _counts(maps, masks, threshold, average)
    return _mean_share(2 * both, found + marked)


def _counts(maps: Maps, masks: Masks, threshold: float, average: str) -> tuple[Floats, Floats, Floats]:
    if average not in ("pixels", "images"):
        raise UsageError(f"average must be 'pixels' or 'images', got {average!r}")
    rows = [
        (int((found & mask).sum()), int(found.sum()), int(mask.sum()))
        for found, mask in ((one >= threshold, mask) for one, mask in checked_pairs(maps, masks))
    ]
    table = np.array(rows, np.float64).reshape(-1, 3)
    if average == "pixels":
        table = table.sum(0, keepdims=True)
    return table[:, 0], table[:, 1], table[:, 2]


def _mean_share(part: Floats, whole: Floats) -> float:
    compared = whole > 0
    return float((part[compared] / whole[compared]).mean()) if compared.any() else NAN
