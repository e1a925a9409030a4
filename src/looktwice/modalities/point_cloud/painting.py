"""How heights become a picture that shows dents, bumps and holes: depth, and the surface lit from two sides.

The channels of a picture of a cloud (all constant where there is no surface: the grey BACKGROUND):

- red: height. Half from the height over the trend of the whole, half from the height over its surroundings, each
  through an asinh: a dent of 0.5 % of the object is as visible as a step of 10 %. Middle grey is level.
- green: the surface lit from the left, slopes exaggerated.
- blue: the surface lit from above. For a cloud with colours: their luminance instead, and green is then lit from the
  upper left. So a picture of a coloured cloud resembles only those of coloured ones.

No channel is stretched to the range of the sample: the same shape has the same grey in every sample.

Letters: h w pixels of a picture. Heights are in pixels, higher is nearer to the viewer.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

BACKGROUND = 60  # level ground is lit to 180 and stands out
FINE = 0.005  # of the object's size: heights beyond it are more and more compressed
COARSE = 0.25  # of the object's size: the highest that can be told apart
AROUND = 1 / 8  # of the picture: the width of the surroundings a height is compared to
RELIEF = 1.5  # slopes are lit as if this many times steeper
LEFT, ABOVE, UPPER_LEFT = (-1.0, 0.0), (0.0, -1.0), (-(0.5**0.5), -(0.5**0.5))  # column, row of a lamp at 45 degrees


def paint(
    height: np.ndarray, over_trend: np.ndarray, shown: np.ndarray, object_size: float, light: np.ndarray | None
) -> np.ndarray:
    """Return the picture (h, w, 3) uint8 of heights (h, w) float32 where `shown` (h, w) is set.

    `over_trend` (h, w) are the heights over the trend of the whole, `object_size` is its size in pixels,
    `light` (h, w) luminance in 0..255 or None.
    """
    over_trend = _compressed(over_trend / object_size)
    over_surroundings = _compressed((height - _surroundings(height, shown)) / object_size)
    rows, columns = _slope(height, shown, 0), _slope(height, shown, 1)
    red = 127.5 + 63.75 * (over_trend + over_surroundings)
    if light is None:
        green, blue = _lit(columns, rows, LEFT), _lit(columns, rows, ABOVE)
    else:
        green, blue = _lit(columns, rows, UPPER_LEFT), light
    picture = np.stack([red, green, blue], -1)
    picture[~shown] = BACKGROUND
    return np.asarray(np.clip(np.rint(picture), 0, 255), np.uint8)


def _compressed(part: np.ndarray) -> np.ndarray:
    """Heights as parts of the object's size -> -1..1."""
    return np.asarray(np.clip(np.arcsinh(part / FINE) / np.arcsinh(COARSE / FINE), -1, 1))


def _surroundings(height: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """Mean height around each pixel: a box, twice."""
    width = max(3, round(AROUND * max(height.shape)))
    total, weight = np.where(shown, height, 0).astype(np.float32), shown.astype(np.float32)
    for _ in range(2):
        total = ndimage.uniform_filter(total, width, mode="constant")
        weight = ndimage.uniform_filter(weight, width, mode="constant")
    return np.asarray(total / np.maximum(weight, 1e-6))


def _slope(height: np.ndarray, shown: np.ndarray, axis: int) -> np.ndarray:
    """Slope (h, w) along an axis from the neighbours that are shown: none is made up at the outline."""
    height, shown = height.swapaxes(0, axis), shown.swapaxes(0, axis)
    both = shown[1:] & shown[:-1]
    step = np.where(both, height[1:] - height[:-1], 0)
    total, number = np.zeros(height.shape, np.float32), np.zeros(height.shape, np.float32)
    total[1:] += step
    total[:-1] += step
    number[1:] += both
    number[:-1] += both
    return (total / np.maximum(number, 1)).swapaxes(0, axis)


def _lit(columns: np.ndarray, rows: np.ndarray, lamp: tuple[float, float]) -> np.ndarray:
    """Light 0..255 on a matt surface with these slopes, from a lamp at 45 degrees."""
    across, down = RELIEF * columns, RELIEF * rows
    toward_lamp = 1 - across * lamp[0] - down * lamp[1]  # the normal is (-across, -down, 1)
    return np.asarray(255 * 0.5**0.5 * np.maximum(toward_lamp, 0) / np.sqrt(1 + across**2 + down**2))


def fill_gaps(sums: np.ndarray, shown: np.ndarray, blur: float) -> tuple[np.ndarray, np.ndarray]:
    """Spread what points say over all that is `shown` (h, w): returns heights and light (h, w) float32.

    `sums` (5, h, w): number of points per pixel, sums of their column and row (from the middle of the
    picture), height and light. A mean over unevenly spread points leans to where they are; on a slope that looks like
    a rough surface, so each mean is moved along the slope to the middle of its pixel.
    """
    here = sums[0] > 0
    means = np.where(here, sums / np.maximum(sums[0], 1), 0)
    means[0] = here
    weight, column, row, height, light = (
        ndimage.gaussian_filter(one, blur, mode="constant", truncate=5.0) for one in means
    )
    near = weight > 1e-5
    weight = np.where(near, weight, 1)
    height /= weight
    middle = np.arange(shown.shape[0]) + 0.5 - shown.shape[0] / 2
    right, down = column / weight - middle, row / weight - middle[:, None]
    level, inside = height, near & shown
    share = np.maximum(ndimage.gaussian_filter(inside.astype(np.float32), blur, mode="constant"), 1e-6)
    for _ in range(2):  # the slope is better known after the first
        smooth = ndimage.gaussian_filter(np.where(inside, level, 0), blur, mode="constant") / share
        level = height - right * _slope(smooth, inside, 1) - down * _slope(smooth, inside, 0)
    return level, light / weight


def luminance(colors: np.ndarray) -> np.ndarray:
    """(..., 3) uint8 -> (...) float32 in 0..255, weights of BT.601."""
    return colors.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
