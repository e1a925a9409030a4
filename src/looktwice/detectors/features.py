"""Filter-bank features of picture patches: colour, edges, lines and roughness at several scales. No weights.

A patch is a cell of CELL x CELL pixels. Letters: h w pixels, r c rows and columns of cells, D features.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

CELL = 4  # pixels: small enough for a hair-line defect at the working size
OCTAVES = 4  # the last one sees 32 pixels around a cell: enough to tell a hole from a wanted hole
SLOW = 32  # pixels: luminance that changes more slowly is light, not structure
STEP = CELL << (OCTAVES - 3)  # pictures are padded to a multiple of this


def filter_bank(image: np.ndarray) -> np.ndarray:
    """Describe every cell of a picture.

    image (h, w, 3) uint8 -> (ceil(h / CELL), ceil(w / CELL), D) float32, in units of full scale (0..1).
    Per octave: luminance without its slow part (whole in the last octave), two colour differences, edges in
    four directions, bright and dark lines or dots, roughness. The border is continued by reflection.
    """
    rows, columns = -(-image.shape[0] // CELL), -(-image.shape[1] // CELL)
    level = _opponent(_pad(image))
    parts = []
    for octave in range(OCTAVES):
        luma = level[0]
        last = octave == OCTAVES - 1
        tone = luma if last else luma - _slow(luma, SLOW >> octave)
        maps = [tone, level[1], level[2], *_edges(luma), *_lines(luma), _roughness(luma)]
        parts += [_to_cells(m, CELL, 1 << octave)[:rows, :columns] for m in maps]
        if not last:
            level = np.stack([_half(channel) for channel in level])
    return np.stack(parts, -1)


def neighbourhood(features: np.ndarray, side: int) -> np.ndarray:
    """Average (r, c, D) features over side x side cells: what is there counts, not exactly where."""
    return np.asarray(ndimage.uniform_filter(features, (side, side, 1), mode="reflect"))


def _pad(image: np.ndarray) -> np.ndarray:
    high, wide = (-image.shape[0] % STEP), (-image.shape[1] % STEP)
    return np.pad(image, ((0, high), (0, wide), (0, 0)), mode="symmetric") if high or wide else image


def _opponent(image: np.ndarray) -> np.ndarray:
    """(h, w, 3) uint8 -> (3, h, w) float32: luminance, red-green, blue-yellow."""
    red, green, blue = np.moveaxis(image.astype(np.float32) / 255, -1, 0)
    return np.stack([(red + green + blue) / 3, (red - green) / 2, (blue - (red + green) / 2) / 2])


def _slow(luma: np.ndarray, radius: int) -> np.ndarray:
    return np.asarray(ndimage.uniform_filter(luma, 2 * radius + 1, mode="reflect"))


def _half(m: np.ndarray) -> np.ndarray:
    return np.asarray(0.25 * (m[::2, ::2] + m[1::2, ::2] + m[::2, 1::2] + m[1::2, 1::2]))


def _to_cells(m: np.ndarray, cell: int, pixel: int) -> np.ndarray:
    """Bring a map whose pixels are `pixel` original pixels wide to one value per cell."""
    while pixel < cell:
        m, pixel = _half(m), pixel * 2
    if pixel > cell:
        m = ndimage.zoom(m, pixel // cell, order=1, grid_mode=True, mode="nearest")
    return m


def _edges(luma: np.ndarray) -> list[np.ndarray]:
    p = np.pad(luma, 1, mode="edge")
    across = 0.5 * (p[1:-1, 2:] - p[1:-1, :-2])
    down = 0.5 * (p[2:, 1:-1] - p[:-2, 1:-1])
    falling = 0.35 * (p[2:, 2:] - p[:-2, :-2])  # 0.35: half of 1 / sqrt(2), the distance of diagonal pixels
    rising = 0.35 * (p[2:, :-2] - p[:-2, 2:])
    return [np.abs(across), np.abs(down), np.abs(falling), np.abs(rising)]


def _lines(luma: np.ndarray) -> list[np.ndarray]:
    p = np.pad(luma, 1, mode="edge")
    bump = luma - 0.25 * (p[1:-1, 2:] + p[1:-1, :-2] + p[2:, 1:-1] + p[:-2, 1:-1])
    return [np.maximum(bump, 0), np.maximum(-bump, 0)]


def _roughness(luma: np.ndarray) -> np.ndarray:
    mean = ndimage.uniform_filter(luma, 3)
    return np.asarray(np.sqrt(np.maximum(ndimage.uniform_filter(luma * luma, 3) - mean * mean, 0)))
