"""A cloud coloured by its scores, as binary PLY that MeshLab and CloudCompare open.

Letters: N points. Each vertex holds x y z (double: large offsets keep their precision), red green blue,
score (float, -1 where no view saw the point) and index (its place in the inspected file).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from looktwice.errors import UsageError
from looktwice.report.atomic import atomic_stream
from looktwice.report.overlay import heat_colors

UNSEEN = (128, 128, 128)
VERTEX = np.dtype([("x", "<f8"), ("y", "<f8"), ("z", "<f8"), ("rgb", "u1", 3), ("score", "<f4"), ("index", "<i4")])
HEADER = """ply
format binary_little_endian 1.0
comment anomaly score of each point: 0 normal, 1 anomalous, -1 (grey) seen by no view
comment index: place of the point in the inspected file, which holds {total} points; invalid ones are left out
element vertex {count}
property double x
property double y
property double z
property uchar red
property uchar green
property uchar blue
property float score
property int index
end_header
"""
BLOCK = 1 << 20  # points written at once


def write_ply(path: Path | str, points: np.ndarray, scores: np.ndarray, valid: np.ndarray) -> Path:
    """Write the valid points of a cloud, coloured by score.

    points (N, 3) float64, scores (N,) in [0, 1] with NaN = unseen, valid (N,) bool. Raises UsageError when the
    lengths differ or a score is out of range.
    """
    if points.shape != (len(points), 3) or scores.shape != (len(points),) or valid.shape != (len(points),):
        raise UsageError(
            f"points (N, 3), scores (N,) and valid (N,) must agree, got {points.shape}, {scores.shape}, {valid.shape}"
        )
    kept = np.nonzero(valid)[0]
    with atomic_stream(path) as stream:
        stream.write(HEADER.format(count=len(kept), total=len(points)).encode("ascii"))
        for start in range(0, len(kept), BLOCK):
            part = kept[start : start + BLOCK]
            stream.write(_vertices(points[part], scores[part], part).tobytes())
    return Path(path)


def _vertices(points: np.ndarray, scores: np.ndarray, index: np.ndarray) -> np.ndarray:
    """One record per point, in the order of the header."""
    unseen = np.isnan(scores)
    rows = np.empty(len(points), VERTEX)
    rows["x"], rows["y"], rows["z"] = points.T
    rows["rgb"] = heat_colors(np.where(unseen, 0, scores)[None])[0]
    rows["rgb"][unseen] = UNSEEN
    rows["score"] = np.where(unseen, -1, scores)
    rows["index"] = index
    return rows
