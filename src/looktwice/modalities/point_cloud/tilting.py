"""Tilted copies of a cloud: how the same part might lie the next time.

A surface seen edge-on comes into sight when a part lies a degree askew, and a few scans seldom show every side of that.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from looktwice.records import PointCloudData

TILT = 1.0  # degrees
TILTED = 6  # copies, over all samples together
MOST = 4  # of one sample
GOLDEN = np.pi * (3 - np.sqrt(5))  # directions a golden angle apart are spread evenly, however many there are


def tilted(data: PointCloudData, number: int, of: int) -> Iterator[PointCloudData]:
    """Yield the tilted copies that fall to sample `number` of `of` (from 0).

    None for a cloud on a grid: it was seen from one side only and cannot be turned.
    """
    if data.grid is not None or number >= TILTED:
        return
    copies = min(MOST, -(-TILTED // of))
    centre = data.points[data.valid].mean(0)
    for i in range(number * copies, (number + 1) * copies):
        points = np.where(data.valid[:, None], (data.points - centre) @ _tilt(GOLDEN * i).T + centre, 0.0)
        yield data.model_copy(update={"points": points})


def _tilt(direction: float) -> np.ndarray:
    """(3, 3) turn by TILT about the level axis (z is up) that points in `direction`, radians."""
    x, y = np.cos(direction), np.sin(direction)
    c, s = np.cos(np.radians(TILT)), np.sin(np.radians(TILT))
    rows = [
        [c + x * x * (1 - c), x * y * (1 - c), y * s],
        [x * y * (1 - c), c + y * y * (1 - c), -x * s],
        [-y * s, x * s, c],
    ]
    return np.array(rows)
