"""Small parts, clouds and frames for the tests of detectors, and their views."""

from __future__ import annotations

import numpy as np
from PIL import Image
from scipy import ndimage

from looktwice import modalities
from looktwice.modalities.image import sample_from_array
from looktwice.modalities.point_cloud import cloud_from_array
from looktwice.records import Sample, Spec, ToFrames, Views
from looktwice.settings import PointCloudSettings, Settings

SMALL = Settings(point_cloud=PointCloudSettings(views=2, size=96))


def part(seed: int = 0, size: int = 96) -> np.ndarray:
    """A part: shapes on a plain ground, (size, size, 3) uint8."""
    rng = np.random.default_rng(seed)
    picture = np.full((size, size, 3), 110.0)
    y, x = np.mgrid[:size, :size]
    for _ in range(14):
        cy, cx = rng.uniform(0.1, 0.9, 2) * size
        ry, rx = rng.uniform(0.05, 0.16, 2) * size
        round_one = rng.random() < 0.5
        inside = ((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 < 1 if round_one else (abs(y - cy) < ry) & (abs(x - cx) < rx)
        picture[inside] = rng.uniform(20, 235, 3)
    return np.rint(ndimage.gaussian_filter(picture, (0.8, 0.8, 0))).astype(np.uint8)


def seen_again(
    picture: np.ndarray, shift: tuple[float, float] = (0, 0), light: float = 1.0, seed: int = 0, noise: float = 2.0
) -> np.ndarray:
    """The same part before the same camera: moved by (down, right) pixels, re-lit, noisy."""
    moved = ndimage.shift(picture.astype(float), (*shift, 0), order=1, mode="nearest")
    noisy = moved * light + np.random.default_rng(seed).normal(0, noise, picture.shape)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


def noise_texture(size: int = 96, seed: int = 0) -> np.ndarray:
    """A surface that is alike everywhere, (size, size, 3) uint8."""
    grain = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(size, size)), 1.0)
    return np.clip(np.repeat((128 + 30 * grain / grain.std())[..., None], 3, 2), 0, 255).astype(np.uint8)


def resized(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """The picture at another size."""
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BOX))


def cloud(seed: int, dent: float = 0.0, points: int = 4000) -> Sample:
    """A scanned dome on a plate, one unit across, with a dent of the given depth."""
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(-0.5, 0.5, (2, points))
    z = np.sqrt(np.maximum(0.09 - x**2 - y**2, 0)) + rng.normal(0, 0.001, points)
    z -= dent * np.exp(-((x - 0.1) ** 2 + (y + 0.1) ** 2) / 0.01)
    return cloud_from_array(np.stack([x, y, z], 1), f"cloud {seed}")


def views_of(thing: np.ndarray | Sample) -> Views:
    """The one Views of a picture or of a sample."""
    return next(modalities.views(thing if isinstance(thing, Sample) else sample_from_array(thing), SMALL))


def frames(pictures: list[np.ndarray], context: np.ndarray | None = None) -> Views:
    """Frames of a video, which have no pose."""
    images, count = np.stack(pictures), len(pictures)
    way = ToFrames(frames=np.arange(count), times=np.arange(count) / 4.0, size=images.shape[1:3])
    names = tuple(f"t={i / 4:.2f} s" for i in range(count))
    return Views(images=images, names=names, way=way, context=context, posed=False)


def spec_of(*pictures: np.ndarray) -> Spec:
    """A sheet with these pictures as references."""
    return Spec(references=tuple(sample_from_array(one, f"reference {i}") for i, one in enumerate(pictures)))
