"""Small made pictures, clouds and frames, and what several tests do with them."""

import numpy as np
from PIL import Image
from scipy import ndimage

import looktwice
from looktwice import modalities
from looktwice.records import Sample, Spec, ToFrames, Views
from looktwice.settings import PointCloudSettings, Settings

SMALL = Settings(point_cloud=PointCloudSettings(size=64, views=2))


def part(side=96, seed=0):
    """A picture with structure that can be registered: smooth blobs of two sizes, the same for a seed."""
    rng = np.random.default_rng(seed)
    layers = [ndimage.gaussian_filter(rng.standard_normal((side, side)), s) for s in (3, 6)]
    luma = sum(layer / layer.std() for layer in layers)
    grey = 128 + 28 * luma
    return np.clip(np.stack([grey, 0.9 * grey, 0.8 * grey], -1), 0, 255).astype(np.uint8)


def noise_texture(side=96, seed=0):
    """Fine texture of no fixed place: nothing to register, every patch like the others."""
    grain = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal((side, side)), 0.8, mode="wrap")
    grey = 128 + 25 * grain / grain.std()
    return np.repeat(np.clip(grey, 0, 255)[..., None], 3, 2).astype(np.uint8)


def woven(side=96, seed=0):
    """A weave: threads of eight pixels over and under each other, with a little camera noise."""
    y, x = np.mgrid[:side, :side] * (2 * np.pi / 8)
    grey = 128 + 40 * np.sin(x) * np.sin(y) + np.random.default_rng(seed).normal(0, 2, (side, side))
    return np.repeat(np.clip(grey, 0, 255)[..., None], 3, 2).astype(np.uint8)


def blob(image, y, x, radius=6, value=(30, 20, 90)):
    """A copy with a disc of one colour; also the disc as a mask."""
    yy, xx = np.ogrid[: image.shape[0], : image.shape[1]]
    mask = (yy - y) ** 2 + (xx - x) ** 2 <= radius**2
    marked = image.copy()
    marked[mask] = value
    return marked, mask


def scratch(image, y, x0, x1, value=(250, 250, 250)):
    """A copy with a level scratch three pixels wide; also the scratch as a mask."""
    mask = np.zeros(image.shape[:2], bool)
    mask[y - 1 : y + 2, x0:x1] = True
    marked = image.copy()
    marked[mask] = value
    return marked, mask


def seen_again(image, shift=(1.5, -2.0), light=1.06, noise=2.0, seed=1):
    """The same thing before the same camera: moved by (down, right) pixels, re-lit, with camera noise."""
    moved = ndimage.shift(image.astype(np.float32), (*shift, 0), order=1, mode="nearest") * light
    moved += np.random.default_rng(seed).normal(0, noise, image.shape)
    return np.clip(np.rint(moved), 0, 255).astype(np.uint8)


def warped(image, shift=(0.0, 0.0), turn=0.0, scale=1.0):
    """A picture whose pixel p shows what the original has at scale * R(turn) @ p + shift, about the centre.

    shift (x, y) in pixels, turn in degrees from x to y.
    """
    h, w = image.shape[:2]
    c, s = scale * np.cos(np.deg2rad(turn)), scale * np.sin(np.deg2rad(turn))
    y, x = np.mgrid[:h, :w].astype(float)
    y, x = y - (h - 1) / 2, x - (w - 1) / 2
    at = [s * x + c * y + (h - 1) / 2 + shift[1], c * x - s * y + (w - 1) / 2 + shift[0]]
    drawn = [ndimage.map_coordinates(image[..., k].astype(float), at, order=3, mode="reflect") for k in range(3)]
    return np.clip(np.rint(np.stack(drawn, -1)), 0, 255).astype(np.uint8)


def views_of(thing):
    """The one Views of a picture (an array) or a sample."""
    sample = thing if isinstance(thing, Sample) else looktwice.sample_from_array(thing)
    (views,) = modalities.views(sample, SMALL)
    return views


def spec_of(*pictures):
    return Spec(references=tuple(looktwice.sample_from_array(one, f"reference{i}") for i, one in enumerate(pictures)))


def cloud(seed=0, dent=0.0):
    """A flattened ball, its top dented by a share of its height."""
    points = np.random.default_rng(seed).normal(size=(2500, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    points *= np.where(points[:, 2:] > 0.8, 1 - dent, 1)
    return looktwice.cloud_from_array(points * (1, 1, 0.7), f"cloud{seed}")


def frames(pictures, context=None):
    """Views as a video gives them: no poses."""
    times = np.arange(len(pictures)) / 4
    way = ToFrames(frames=np.arange(len(pictures)), times=times, size=pictures[0].shape[:2])
    names = tuple(f"t={t:.2f} s" for t in times)
    return Views(images=np.stack(pictures), names=names, way=way, context=context, posed=False)


def highest(anomaly_map):
    """(row, column) of the highest value of a map."""
    return np.unravel_index(int(np.argmax(anomaly_map)), anomaly_map.shape)


def resized(image, width, height):
    return np.asarray(Image.fromarray(image).resize((width, height)))
