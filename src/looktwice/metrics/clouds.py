"""Point clouds: how well the scores of points find the anomalous points.

A point that no view saw has no score: NaN. By default it ranks below every seen point, since nothing would ever flag
it; `unseen="drop"` leaves such points out, which hides defects that no view saw. Say which was used.
Letters: C clouds, N points of a cloud (differs), R regions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from looktwice.errors import UsageError
from looktwice.metrics.maps import as_labels, as_scores
from looktwice.metrics.ranking import NAN, auroc, average_precision, rank
from looktwice.metrics.regions import check_limit, pro_of

Unseen = Literal["lowest", "drop"]


def point_auroc(
    scores: Sequence[np.ndarray],
    masks: Sequence[np.ndarray],
    average: Literal["micro", "macro"] = "micro",
    unseen: Unseen = "lowest",
) -> float:
    """Point-wise AUROC of C clouds: scores (N,) float, NaN = unseen; masks (N,) bool.

    "micro" pools the points of all clouds, as Real3D-AD and Anomaly-ShapeNet do per class; "macro" is the mean over
    clouds that hold both kinds of points. NaN where there is no such cloud.

    >>> point_auroc([np.array([0.1, 0.9, np.nan])], [np.array([False, True, False])])
    1.0
    """
    if average not in ("micro", "macro"):
        raise UsageError(f"average must be 'micro' or 'macro', got {average!r}")
    clouds = [
        (values, as_labels(truth, f"mask {index}"))
        for index, (values, truth) in enumerate(_seen(scores, masks, unseen))
    ]
    if average == "micro":
        pooled = [np.concatenate(column) for column in zip(*clouds, strict=True)]
        return auroc(*pooled) if pooled else NAN
    each = [auroc(values, truth) for values, truth in clouds if truth.any() and not truth.all()]
    return float(np.mean(each)) if each else NAN


def point_average_precision(
    scores: Sequence[np.ndarray], masks: Sequence[np.ndarray], unseen: Unseen = "lowest"
) -> float:
    """Average precision of the points of all C clouds: scores (N,) float, NaN = unseen; masks (N,) bool.

    NaN without an anomalous point.

    >>> point_average_precision([np.array([0.1, 0.9, np.nan])], [np.array([False, True, False])])
    1.0
    """
    clouds = [
        (values, as_labels(truth, f"mask {index}"))
        for index, (values, truth) in enumerate(_seen(scores, masks, unseen))
    ]
    pooled = [np.concatenate(column) for column in zip(*clouds, strict=True)]
    return average_precision(*pooled) if pooled else NAN


def o_pro(
    scores: Sequence[np.ndarray], regions: Sequence[np.ndarray], limit: float = 0.3, unseen: Unseen = "lowest"
) -> float:
    """Object-wise PRO of C clouds: mean share of each region found, over false positive rates of points up to `limit`.

    scores (N,) float, NaN = unseen; regions (N,) int, 0 = normal, k = region k of this cloud, or a bool mask: then the
    anomalous points of one object are one region. `point_regions` splits a mask into its parts. Definition of curve and
    limit as in `pro`; NaN without a region or a normal point.

    >>> o_pro([np.array([0.9, 0.8, 0.1, 0.2])], [np.array([1, 2, 0, 0])])
    1.0
    """
    check_limit(limit)
    clouds = list(_seen(scores, regions, unseen))
    if not clouds:
        return NAN
    everything = np.concatenate([values for values, _ in clouds])
    anomalous = np.concatenate([values[ids != 0] for values, ids in clouds])
    weights, count = [], 0
    for index, (_, ids) in enumerate(clouds):
        if ids.dtype.kind not in "iub" or (len(ids) and ids.min() < 0):
            raise UsageError(f"regions of cloud {index} must be bool or whole numbers from 0, got {ids.dtype}")
        _, region, sizes = np.unique(ids[ids != 0], return_inverse=True, return_counts=True)
        weights.append((1 / sizes)[region])
        count += len(sizes)
    return pro_of(rank(np.sort(everything), anomalous, np.concatenate(weights) / max(1, count)), limit)


def point_regions(points: np.ndarray, mask: np.ndarray, radius: float) -> npt.NDArray[np.int64]:
    """(N,) region of each point: 0 for a normal one, else from 1 on, in the order of their first points.

    points (N, 3) in any unit, mask (N,) bool; anomalous points closer than or at `radius`, in the same unit, are of one
    region.

    >>> points = np.array([[0, 0, 0], [1, 0, 0], [9, 0, 0], [5, 0, 0]])
    >>> point_regions(points, np.array([True, True, True, False]), radius=1.5).tolist()
    [1, 1, 2, 0]
    """
    if len(points) != len(mask):
        raise UsageError(f"{len(points)} points have a mask of {len(mask)}: give one value per point")
    if not radius > 0:
        raise UsageError(f"radius must be above 0, got {radius}")
    chosen = np.flatnonzero(as_labels(np.asarray(mask), "mask"))
    regions = np.zeros(len(points), np.int64)
    if not len(chosen):
        return regions
    near = cKDTree(points[chosen]).query_pairs(radius, output_type="ndarray")
    graph = coo_matrix((np.ones(len(near)), (near[:, 0], near[:, 1])), shape=(len(chosen), len(chosen)))
    _, found = connected_components(graph, directed=False)
    _, first, inverse = np.unique(found, return_index=True, return_inverse=True)
    order = np.argsort(np.argsort(first))  # by first point, whatever the library's numbering
    regions[chosen] = order[inverse] + 1
    return regions


def _seen(
    scores: Sequence[np.ndarray], truths: Sequence[np.ndarray], unseen: Unseen
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Scores without NaN, and the truth of the points kept."""
    if unseen not in ("lowest", "drop"):
        raise UsageError(f"unseen must be 'lowest' or 'drop', got {unseen!r}")
    if len(scores) != len(truths):
        raise UsageError(f"{len(scores)} clouds of scores have {len(truths)} of truth: give one per cloud")
    clouds = []
    for index, (values, truth) in enumerate(zip(scores, truths, strict=True)):
        values, truth = np.asarray(values), np.asarray(truth)
        if values.ndim != 1 or values.shape != truth.shape:
            raise UsageError(f"cloud {index} has scores {values.shape} and truth {truth.shape}: both must be (N,)")
        if values.dtype.kind == "f":
            hidden = np.isnan(values)
            values, truth = (
                (values[~hidden], truth[~hidden])
                if unseen == "drop"
                else (np.where(hidden, values.dtype.type(-np.inf), values), truth)
            )
        clouds.append((as_scores(values, f"cloud {index}"), truth))
    return clouds
