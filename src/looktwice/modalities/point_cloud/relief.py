"""The sensor's own view of a cloud that lies on a grid: one picture, rows and columns as the sensor saw them.

Only this view is drawn: a sensor sees every point it measures, and the two lamps of the picture already light the
surface from two sides. Further sides would show no point more, only the gaps behind edges, which differ from scan to
scan.
Heights are taken over a robust plane, so that a dent in a tilted plate is not drowned by the tilt.

A list of points may have lost the grid it was measured on (a height map saved as x y z). Where two of its coordinates
are evenly spaced and no two points share both, the grid is found again and the list looks like the grid it was.

Letters: R C rows and columns of the grid, N = R * C points, S side of the view in pixels.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from PIL import Image
from scipy import ndimage

from looktwice.modalities.point_cloud.painting import luminance, paint

NAME = "front"
SMALLEST = 16  # rows and columns; below, a grid is too coarse for a picture and the points are seen from all around
HALF_EMPTY = 0.5  # of the cells of a found grid must hold a point
OFF_GRID = 0.05  # of a step a coordinate may be off
GAP = 5  # cells; narrower gaps are filled, for the eyes only
BEYOND = 8  # cells
HIGHEST = 1e6  # pixels; what float32 holds with digits to spare
PLANE_POINTS = 20_000  # points that decide the plane
PLANE_ROUNDS = 20


class Grid(NamedTuple):
    """A found grid: cell (N,) int64 of each point, in the (rows, columns) of `shape`."""

    cell: np.ndarray
    shape: tuple[int, int]


def find_grid(points: np.ndarray) -> Grid | None:
    """Return the grid that valid points (N, 3) lie on, or None.

    Columns run along the first of its two axes, rows along the second, as in the picture of a sensor.
    """
    if len(points) < SMALLEST**2:
        return None
    glance = points[:: max(1, len(points) // 16384)]
    for across, down in ((0, 1), (0, 2), (1, 2)):
        if any(len(np.unique(glance[:, axis])) > len(glance) // 2 for axis in (across, down)):
            continue  # random coordinates hardly ever repeat: no need to sort them all
        column, row = _steps(points[:, across]), _steps(points[:, down])
        if column is None or row is None:
            continue
        columns, rows = int(column.max()) + 1, int(row.max()) + 1
        if min(rows, columns) < SMALLEST or rows * columns * HALF_EMPTY > len(points):
            continue
        cell = row * columns + column
        if np.bincount(cell, minlength=rows * columns).max() == 1:
            return Grid(cell, (rows, columns))
    return None


def _steps(values: np.ndarray) -> np.ndarray | None:
    """Count evenly spaced values (N,) from the lowest: (N,) int64; None where they are not."""
    levels, index = np.unique(values, return_inverse=True)
    if len(levels) < SMALLEST or len(levels) * SMALLEST * HALF_EMPTY > len(values):
        return None
    span = levels[-1] - levels[0]
    number = np.rint(span / np.median(np.diff(levels)))
    if number > 2 * len(levels):
        return None
    steps = (levels - levels[0]) / (span / number)
    whole = np.rint(steps).astype(np.int64)
    even = np.abs(steps - whole).max() < OFF_GRID and (np.diff(whole) > 0).all()
    return np.asarray(whole[index]) if even else None


def render_grid(
    points: np.ndarray, valid: np.ndarray, colors: np.ndarray | None, size: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw a grid of points (R, C, 3) float64, valid (R, C) bool, colors (R, C, 3) uint8 or None.

    Returns the image (S, S, 3) uint8, shown (S, S) bool and pixel (R * C,) int32, -1 for invalid points. The grid
    keeps its proportions and starts at the upper left, so that a row more or less at its end moves nothing.
    """
    rows, columns = valid.shape
    scale = size / max(rows, columns)
    height, step = _heights(points, valid)
    light = None if colors is None else luminance(colors)

    # empty cells beyond the end: what lies at the end is drawn alike whether an empty row follows it or not
    beyond = ((0, BEYOND), (0, BEYOND))
    valid, height = np.pad(valid, beyond), np.pad(height, beyond)
    closed = ndimage.binary_closing(np.asarray(np.pad(valid, GAP), bool), np.ones((GAP, GAP), bool))
    at_row, at_column = (np.minimum((np.arange(size) + 0.5) / scale, n - 1).astype(int) for n in valid.shape)
    shown = closed[GAP:-GAP, GAP:-GAP][at_row[:, None], at_column]  # the last cell is one beyond, and empty
    height = np.clip(height * (scale / step), -HIGHEST, HIGHEST)
    height = _fit(_nearest(height, valid), scale, size)
    if light is not None:
        light = _fit(_nearest(np.pad(light, beyond), valid), scale, size)
    height = ndimage.gaussian_filter(height, max(0.8, 0.6 * scale))

    row, column = (np.minimum((np.arange(n) + 0.5) * scale, size - 1).astype(np.int32) for n in (rows, columns))
    pixel = np.where(valid[:rows, :columns], row[:, None] * np.int32(size) + column, np.int32(-1))
    shown.flat[pixel[pixel >= 0]] = True  # on the way down a lone point may fall between
    return paint(height, height, shown, size, light), shown, pixel.ravel()


def _heights(points: np.ndarray, valid: np.ndarray) -> tuple[np.ndarray, float]:
    """Heights (R, C) float32 over a robust plane, towards the sensor, and the distance of neighbours in the plane."""
    inner = points[valid]
    centre = np.median(inner, axis=0)
    along_row, along_column = _tangent(points, valid, 1), _tangent(points, valid, 0)
    normal, offset = _plane((inner - centre)[:: max(1, len(inner) // PLANE_POINTS)])
    # columns run right and rows down in the sensor's picture: their cross product looks away from it
    if normal @ np.cross(along_column, along_row) < 0:
        normal, offset = -normal, -offset
    height = np.where(valid, (points - centre) @ normal - offset, 0)
    flat = [np.linalg.norm(side - (side @ normal) * normal) for side in (along_row, along_column)]
    step = float(np.sqrt(flat[0] * flat[1]))
    return height.astype(np.float64), step if step > 0 else 1.0


def _tangent(points: np.ndarray, valid: np.ndarray, axis: int) -> np.ndarray:
    """Median step (3,) from a point to its neighbour along an axis of the grid."""
    both = np.logical_and(*_neighbours(valid, axis))
    if not both.any():
        return np.zeros(3)
    before, after = _neighbours(points, axis)
    return np.asarray(np.median((after - before)[both], axis=0))


def _neighbours(values: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    return (values[:-1], values[1:]) if axis == 0 else (values[:, :-1], values[:, 1:])


def _plane(points: np.ndarray) -> tuple[np.ndarray, float]:
    """Unit normal (3,) and offset of the plane with the least sum of distances: a dent of a third does not tilt it."""
    weight = np.ones(len(points))
    normal, offset = np.array([0.0, 0.0, 1.0]), 0.0
    for _ in range(PLANE_ROUNDS):
        middle = weight @ points / weight.sum()
        spread = (points - middle).T * weight @ (points - middle)
        normal = np.linalg.eigh(spread)[1][:, 0]
        offset = float(normal @ middle)
        distance = np.abs(points @ normal - offset)
        floor = max(float(np.median(distance)) * 0.1, 1e-12 * float(np.abs(points).max()), 1e-300)
        weight = floor / np.maximum(distance, floor)
    return normal, offset


def _nearest(values: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Give each invalid cell (R, C) the value of the nearest valid one."""
    if valid.all():
        return values
    row, column = ndimage.distance_transform_edt(~valid, return_distances=False, return_indices=True)
    return np.asarray(values[row, column])


def _fit(values: np.ndarray, scale: float, size: int) -> np.ndarray:
    """Scale (R, C) into the upper left of (S, S) float32: averages on the way down, bilinear on the way up."""
    rows, columns = (max(1, min(size, int(n * scale))) for n in values.shape)
    picture = Image.fromarray(np.ascontiguousarray(values, np.float32))
    part = (0.0, 0.0, min(columns / scale, values.shape[1]), min(rows / scale, values.shape[0]))
    fitted = np.zeros((size, size), np.float32)
    fitted[:rows, :columns] = np.asarray(picture.resize((columns, rows), Image.Resampling.BILINEAR, box=part))
    return fitted
