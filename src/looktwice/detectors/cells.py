"""Between pictures and cells: the working size, which cells show the thing, one number for a map of cells.

Letters: H W pixels of a view, h w pixels at working size, r c rows and columns of cells.
"""

from __future__ import annotations

from typing import overload

import numpy as np
from PIL import Image
from scipy import ndimage

from looktwice.detectors.features import CELL
from looktwice.records import Views, resize_map


def shrink(image: np.ndarray, size: int) -> np.ndarray:
    """Bring a picture (h, w, 3) to the working size: area averaging, never up."""
    factor = size / max(image.shape[:2])
    if factor >= 1:
        return image
    target = (max(1, round(image.shape[1] * factor)), max(1, round(image.shape[0] * factor)))
    return np.asarray(Image.fromarray(image).resize(target, Image.Resampling.BOX))


def enlarge(image: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Bring a picture at working size back to the (H, W) of its view."""
    if image.shape[:2] == tuple(size):
        return image
    return np.asarray(Image.fromarray(image).resize((size[1], size[0]), Image.Resampling.BILINEAR))


def to_view(cells: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """(r, c) values of cells -> (h, w) map of the view."""
    smooth = ndimage.gaussian_filter(cells, 0.7)
    return np.asarray(np.clip(resize_map(smooth, (size[0], size[1])), 0, 1))


def cells_shown(views: Views, i: int, image: np.ndarray) -> np.ndarray:
    """(r, c) bool: cells of the working picture in which view i shows the thing."""
    if views.shown is None:
        return np.ones((-(-image.shape[0] // CELL), -(-image.shape[1] // CELL)), bool)
    return cells_of(resize_map(views.shown[i].astype(np.float32), image.shape[:2]) > 0.5)


def cells_of(pixels: np.ndarray) -> np.ndarray:
    """(h, w) bool -> (r, c) bool: cells of which more than half is set."""
    high, wide = -pixels.shape[0] % CELL, -pixels.shape[1] % CELL
    padded = np.pad(pixels, ((0, high), (0, wide)), mode="edge").astype(np.float32)
    r, c = padded.shape[0] // CELL, padded.shape[1] // CELL
    return np.asarray(padded.reshape(r, CELL, c, CELL).mean((1, 3)) > 0.5)


def strength(cells: np.ndarray, shown: np.ndarray) -> float:
    """One number for a map: the mean of its few highest cells and of its highest hundredth.

    The first finds a speck, the second a wide weak change; both are means, so that one cell alone decides nothing.
    """
    values = ndimage.gaussian_filter(cells, 0.7)[shown]
    if not values.size:
        return 0.0
    few = min(5, values.size)
    many = max(few, values.size // 100)
    highest = np.sort(np.partition(values, -many)[-many:])
    return float(0.5 * highest[-few:].mean() + 0.5 * highest.mean())


@overload
def squash(values: float, margin: float) -> float: ...
@overload
def squash(values: np.ndarray, margin: float) -> np.ndarray: ...
def squash(values: np.ndarray | float, margin: float) -> np.ndarray | float:
    """Units of the normal level -> [0, 1), with 0.5 at `margin`."""
    return values**2 / (values**2 + margin**2)
