"""Pictures of a cloud from all around: an orthographic z-buffer that remembers which pixel shows which point.

Every picture has the same scale, so the same object gives the same pictures wherever it stands and whatever its unit.
What holds for a picture in general (its three channels, the grey around the object) is in `painting`.

How a side becomes a surface: each pixel keeps its nearest point (the z-buffer). Gaps between the points of one surface
are closed by a morphological opening of the distances, as wide as the cloud is sparse; other than fat dots this shifts
neither outlines nor slopes. A point is seen where it lies on that surface, within a tolerance that grows with its
slope.

Letters: N points, V views, S side of a view in pixels, F half the side of the frame in the units of the file.
Distances and depths inside this file are in pixels.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from scipy import ndimage

from looktwice.modalities.point_cloud.painting import fill_gaps, luminance, paint

# Where the viewer stands. Files are taken to have z up; "front" looks along +y, as drawings of parts do.
SIDES = {
    "front": (0, -1, 0),
    "back": (0, 1, 0),
    "left": (-1, 0, 0),
    "right": (1, 0, 0),
    "top": (0, 0, 1),
    "bottom": (0, 0, -1),
}
TRIM = 0.005  # of the points, at either end of an axis, may lie anywhere without moving the frame
MARGIN = 1.25  # frame over object: a burr of a quarter of the object's half width stays in the picture
CELLS = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 64, 80, 96, 128)  # pixels
SPARSEST = 1 / 14  # of a view: cells any larger say nothing about a surface
FULL = 4  # points make a cell full: about two each of the near and the far surface
CLOSED = 0.75  # a surface is closed at the smallest cell of which this share is full
DOT = 1 / 40  # of a view: side of a point that belongs to no surface
STEEPEST = 2.0  # slope beyond which the tolerance of a point on the surface grows no more
FAR = 1e6  # pixels; strays are drawn in from beyond, as float32 must hold them
BLOCK = 1 << 17  # points worked on at a time: they fit the cache


def directions(count: int) -> tuple[tuple[str, ...], np.ndarray]:
    """Return the names and the (count, 3) unit directions towards the viewer.

    The first six are the sides; each further one lies farthest from all before it, so that a name has the
    same pose whatever `count` is.
    """
    names = list(SIDES)[:count]
    chosen = [np.array(SIDES[name], float) for name in names]
    if count > len(SIDES):
        steps = np.arange(1000) + 0.5  # a Fibonacci sphere of candidates
        z = 1 - 2 * steps / len(steps)
        angle = np.pi * (1 + np.sqrt(5)) * steps
        candidates = np.stack([np.cos(angle) * np.sqrt(1 - z**2), np.sin(angle) * np.sqrt(1 - z**2), z], 1)
        nearest = (candidates @ np.array(chosen).T).max(1)
        for number in range(len(SIDES) + 1, count + 1):
            chosen.append(candidates[nearest.argmin()])
            names.append(f"view {number}")
            nearest = np.maximum(nearest, candidates @ chosen[-1])
    return tuple(names), np.array(chosen)


def pose(toward: np.ndarray) -> np.ndarray:
    """Return (3, 3) rows: right, up, away from the viewer. Up is z, or y where the viewer looks along z."""
    up = np.array([0.0, 0.0, 1.0]) if abs(toward[2]) < 0.99 else np.array([0.0, 1.0, 0.0])
    right = np.cross(up, toward)
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(toward, right), -toward])


def frame(points: np.ndarray, poses: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the centre (3,) of all views and F, from extents that a few stray points cannot move.

    `points` (N, 3) are valid ones. The scale is not rounded: a step of rounding would tear apart the
    pictures of two parts that lie on either side of it.
    """
    ends = np.array([_extent(points[:, axis]) for axis in range(3)])
    centre = ends.mean(1)
    half = float((ends[:, 1] - ends[:, 0]).max()) / 2
    oblique = poses[len(SIDES) :, :2].reshape(-1, 3)
    if len(oblique):
        reach = [np.abs(_extent((points - centre) @ axis)).max() for axis in oblique]
        half = max(half, *map(float, reach))
    if half <= 1e-12 * float(np.abs(ends).max()):  # all in one spot: any frame will do
        half = 1.0
    return centre, MARGIN * half


def _extent(values: np.ndarray) -> tuple[float, float]:
    cut = int(TRIM * len(values))
    low, high = cut, len(values) - 1 - cut
    ordered = np.partition(values, (low, high))
    return float(ordered[low]), float(ordered[high])


def render(
    points: np.ndarray, colors: np.ndarray | None, count: int, size: int, workers: int | None = None
) -> tuple[np.ndarray, tuple[str, ...], np.ndarray, np.ndarray]:
    """Look at valid points (N, 3) float64 from `count` sides.

    Returns images (V, S, S, 3) uint8, names, shown (V, S, S) bool and pixel (V, N) int32: the flat pixel that
    shows the point, or -1. The answer does not depend on `workers`.
    """
    names, toward = directions(count)
    poses = np.array([pose(one) for one in toward])
    centre, half = frame(points, poses)
    cloud = np.empty((3, len(points)), np.float32)
    for axis in range(3):  # centred before the cut to float32: far from the origin it has no digits to spare
        cloud[axis] = np.clip((points[:, axis] - centre[axis]) * (size / 2 / half), -FAR, FAR)
    light = None if colors is None else luminance(colors)

    images = np.empty((count, size, size, 3), np.uint8)
    shown = np.empty((count, size, size), bool)
    pixel = np.empty((count, len(points)), np.int32)

    def look(view: int) -> None:
        images[view], shown[view] = _look(cloud, light, poses[view].astype(np.float32), size, pixel[view])

    with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
        list(pool.map(look, range(count)))  # each view writes only its own slice
    return images, names, shown, pixel


def _look(
    cloud: np.ndarray, light: np.ndarray | None, turn: np.ndarray, size: int, pixel: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Fill `pixel` (N,) for one view; return its image (S, S, 3) and where it shows the object (S, S)."""
    nearest, counts = _project(cloud, turn, size, pixel)
    cell = spacing(counts)
    dot = max(3, round(DOT * size))
    surface = _dots(nearest, dot) if cell is None else _close(nearest, _window(cell))
    shown = np.isfinite(surface)
    sums = _see(cloud, light, turn, surface + (dot if cell is None else _tolerance(surface, cell)), pixel)
    distance, grey = fill_gaps(sums, shown, dot / 4 if cell is None else max(0.8, 0.6 * cell))
    height = np.where(shown, -surface if cell is None else -distance, 0)
    # over the median, not the middle: a dent must not shift the grey of all the rest
    over_median = height - (np.median(height[shown]) if shown.any() else 0)
    return paint(height, over_median, shown, size / MARGIN, None if light is None else grey), shown


def _project(cloud: np.ndarray, turn: np.ndarray, size: int, pixel: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fill pixel (N,), S * S outside of the frame; return z-buffer, inf where empty, and points per pixel (S, S)."""
    nearest = np.full(size * size + 1, np.inf, np.float32)
    for start in range(0, cloud.shape[1], BLOCK):
        part = slice(start, start + BLOCK)
        right, up, away = (_along(axis, cloud[:, part]) for axis in turn)
        column, row = np.floor(size / 2 + right), np.floor(size / 2 - up)
        inside = (column >= 0) & (column < size) & (row >= 0) & (row < size)
        pixel[part] = np.where(inside, row * size + column, size * size)  # below 2**24: exact in float32
        np.minimum.at(nearest, pixel[part], away)
    counts = np.bincount(pixel, minlength=size * size + 1)[:-1]
    return nearest[:-1].reshape(size, size), counts.reshape(size, size)


def _along(axis: np.ndarray, cloud: np.ndarray) -> np.ndarray:
    """Coordinate (N,) along an axis (3,); by hand, as BLAS would start threads of its own and round as it likes."""
    terms = [cloud[i] * axis[i] for i in range(3) if axis[i] != 0]
    return np.asarray(sum(terms[1:], terms[0]))


def _see(
    cloud: np.ndarray, light: np.ndarray | None, turn: np.ndarray, limit: np.ndarray, pixel: np.ndarray
) -> np.ndarray:
    """Set `pixel` (N,) to -1 where the point lies behind `limit` (S, S) or outside of the frame.

    Returns (5, S, S) of the seen points: their number and the sums of column, row, distance and light.
    """
    limits = np.append(limit.ravel(), np.float32(-np.inf))
    sums = np.zeros((5, limit.size), np.float32)
    for start in range(0, cloud.shape[1], BLOCK):
        part = slice(start, start + BLOCK)
        right, up, away = (_along(axis, cloud[:, part]) for axis in turn)
        seen = away <= limits[pixel[part]]
        pixel[part][~seen] = -1
        flat = pixel[part][seen]
        np.add.at(sums[0], flat, np.float32(1))
        np.add.at(sums[1], flat, right[seen])
        np.add.at(sums[2], flat, -up[seen])
        np.add.at(sums[3], flat, away[seen])
        if light is not None:
            np.add.at(sums[4], flat, light[part][seen])
    return sums.reshape(5, *limit.shape)


def spacing(counts: np.ndarray) -> int | None:
    """How many pixels apart the points of a surface are, from points per pixel (S, S); None where there is none."""
    side = len(counts)
    for cell in CELLS:
        if cell > SPARSEST * side:
            break
        padded = np.pad(counts, (0, -side % cell))
        blocks = padded.reshape(len(padded) // cell, cell, len(padded) // cell, cell).sum((1, 3))
        occupied = np.count_nonzero(blocks)
        if occupied and np.count_nonzero(blocks >= FULL) >= CLOSED * occupied:
            return cell
    return None


def _window(cell: int) -> int:
    """Side of the opening, odd: some 20 points of one surface, so that no gap is left by chance."""
    return 2 * (3 * cell // 2) + 1


def _close(nearest: np.ndarray, width: int) -> np.ndarray:
    """Distances of the closed surface (S, S): gaps narrower than `width` take the distance around them."""
    eroded = ndimage.minimum_filter(nearest, width, mode="constant", cval=np.inf)
    return np.asarray(ndimage.maximum_filter(eroded, width, mode="constant", cval=-np.inf))


def _dots(nearest: np.ndarray, side: int) -> np.ndarray:
    return np.asarray(ndimage.minimum_filter(nearest, side, mode="constant", cval=np.inf))


def _tolerance(surface: np.ndarray, cell: int) -> np.ndarray:
    """How far (S, S) behind the surface a point may lie and still be on it.

    Points of one pixel differ by its slope, those of one opening window by the curvature of the object.
    """
    slope = np.hypot(_steepness(surface, cell), _steepness(surface.T, cell).T)
    return np.asarray(1 + 1.5 * np.minimum(slope, STEEPEST) + 0.001 * _window(cell) ** 2, np.float32)


def _steepness(surface: np.ndarray, lag: int) -> np.ndarray:
    """Steepness along the rows' axis: the smaller of both sides, as a jump to another surface is not a slope."""
    with np.errstate(invalid="ignore"):  # inf - inf beside the object
        step = np.abs(surface[lag:] - surface[:-lag]) / lag
    smaller = np.full_like(surface, np.inf)
    smaller[:-lag] = step
    smaller[lag:] = np.fmin(smaller[lag:], step)
    return np.where(np.isfinite(smaller), smaller, STEEPEST)
