"""Copies of a normal part, as the same camera or scanner might see it again: what a few references cannot show.

Letters: h w pixels, N points.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import ndimage

from looktwice import modalities
from looktwice.records import PointCloudData, Sample, Views
from looktwice.settings import Settings

SHIFT, LIGHT, NOISE = 2.5, 0.08, 3.0  # of pictures: pixels, relative, grey levels
TILT = 1.0  # degrees, of clouds
TILTED = 9  # copies of clouds, over all references together
GOLDEN = np.pi * (3 - np.sqrt(5))  # directions a golden angle apart are spread evenly, however many there are


def vary(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Copy a picture (h, w, 3) uint8: moved by a pixel or two, re-lit, noisy."""
    dy, dx = rng.uniform(-SHIFT, SHIFT, 2)
    light = 1 + rng.uniform(-LIGHT, LIGHT)
    moved = ndimage.shift(image.astype(np.float32), (dy, dx, 0), order=1, mode="nearest")
    noisy = moved * light + NOISE * rng.standard_normal(image.shape, np.float32)
    return np.asarray(np.clip(np.rint(noisy), 0, 255), np.uint8)


def tilted(sample: Sample, views: Views, number: int, of: int, settings: Settings | None) -> Iterator[Views]:
    """Yield views of tilted copies of reference `number` of `of`, if it is a cloud without a grid; else nothing.

    A surface seen edge-on comes into sight when a part lies a degree askew, and three references seldom show both
    sides of that. What lies on a grid has been seen from one side only: it cannot be turned.
    """
    data = sample.data
    if not isinstance(data, PointCloudData) or data.grid is not None:
        return
    copies = min(4, -(-TILTED // of))
    centre = data.points[data.valid].mean(0)
    for i in range(number * copies, number * copies + copies if number < TILTED else 0):
        points = np.where(data.valid[:, None], (data.points - centre) @ _tilt(GOLDEN * i).T + centre, 0.0)
        copy = sample.model_copy(update={"data": data.model_copy(update={"points": points})})
        for seen in modalities.views(copy, settings):
            if seen.names == views.names:  # points that lie on a grid are drawn otherwise, once tilted
                yield seen


def _tilt(direction: float) -> np.ndarray:
    """(3, 3) turn by TILT about a level axis (z is up)."""
    x, y = np.cos(direction), np.sin(direction)
    c, s = np.cos(np.radians(TILT)), np.sin(np.radians(TILT))
    return np.array(
        [[c + x * x * (1 - c), x * y * (1 - c), y * s], [x * y * (1 - c), c + y * y * (1 - c), -x * s], [-y * s, x * s, c]]
    )
