"""Copies of a picture of a normal part, as the same camera might see it again: what a few references cannot show."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

SHIFT, LIGHT, NOISE = 2.5, 0.08, 3.0  # pixels, relative, grey levels


def vary(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Copy a picture (h, w, 3) uint8: moved by a pixel or two, re-lit, noisy."""
    dy, dx = rng.uniform(-SHIFT, SHIFT, 2)
    light = 1 + rng.uniform(-LIGHT, LIGHT)
    moved = ndimage.shift(image.astype(np.float32), (dy, dx, 0), order=1, mode="nearest")
    noisy = moved * light + NOISE * rng.standard_normal(image.shape, np.float32)
    return np.asarray(np.clip(np.rint(noisy), 0, 255), np.uint8)
