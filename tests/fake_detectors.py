"""Small detectors for tests, and parts for them: what is dark is anomalous."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from pydantic import BaseModel

from looktwice.records import Prediction, Spec, Views


def darkness(views: Views) -> Prediction:
    """The darkness of each pixel is its anomaly."""
    maps = (1 - views.images.mean(-1) / 255).astype(np.float32)
    if views.shown is not None:
        maps = np.where(views.shown, maps, 0).astype(np.float32)
    each = tuple(float(one.max()) for one in maps)
    return Prediction(score=max(each), anomaly_map=maps, view_scores=each)


class Config(BaseModel):
    """What can be set of a Dark."""

    level: float = 0.5


class Dark:
    """A detector that answers with `answer`, and remembers what it was asked."""

    def __init__(self, answer: Callable[[Views], object] = darkness, level: float = 0.5) -> None:
        self.config = Config(level=level)
        self.answer = answer
        self.fitted: list[Spec] = []
        self.batches: list[int] = []

    def fit(self, spec, settings=None):
        self.fitted.append(spec)
        return self

    def predict(self, batch: Sequence[Views]) -> list:
        self.batches.append(len(batch))
        return [self.answer(views) for views in batch]


def picture(path: Path, grey: int = 230, spot: bool = False, size: int = 32, seed: int = 0) -> Path:
    """A light picture, perhaps with a black spot of an eighth of its side at the upper left."""
    pixels = np.full((size, size, 3), grey, np.uint8)
    pixels += np.random.default_rng(seed).integers(0, 4, pixels.shape, dtype=np.uint8)
    if spot:
        pixels[size // 8 : size // 4, size // 8 : size // 4] = 0
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def pictures(folder: Path, count: int, bad: Sequence[int] = ()) -> list[Path]:
    """Pictures 00.png, 01.png ... of which those in `bad` have a spot."""
    return [picture(folder / f"{i:02d}.png", spot=i in bad, seed=i) for i in range(count)]


def cloud(path: Path, count: int = 900) -> Path:
    """Points on a sphere of radius 1, as text."""
    points = np.random.default_rng(0).normal(size=(count, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savetxt(path, points, fmt="%.5f")
    return path


def frames(folder: Path, count: int = 8, bad: Sequence[int] = ()) -> Path:
    """A folder of frames, of which those in `bad` have a spot."""
    for i in range(count):
        picture(folder / f"{i:03d}.png", spot=i in bad, size=32, seed=i)
    return folder
