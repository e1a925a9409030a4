"""From scores to places: which pixels, points or seconds are anomalous, and what is measured there.

Pure functions on arrays; no model, no file, no random state. `words` turns what is measured here into sentences.
Letters: H W pixels of the original, h w pixels of the expected picture, N points of a cloud, K points of a patch,
F frames. Boxes are (x0, y0, x1, y1), x1 and y1 outside. A score at the threshold counts as anomalous.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, Literal, TypeVar, overload

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from looktwice.errors import UsageError

Floats = npt.NDArray[np.floating[Any]]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
Vector = tuple[float, float, float]

NEAR = 0.01  # of the longer side: pieces with a smaller gap are one region
SPECK = 4  # pixels: anything smaller is not counted beside a larger region
SPECK_SHARE = 2e-5  # of the picture, where that is more than SPECK
CLOUD_SPECK = 10  # points: a few points of a scan always stray
CLOUD_SPECK_SHARE = 5e-4  # of the seen points, where that is more than CLOUD_SPECK


# ---------------------------------------------------------------- what is found


@dataclass(frozen=True, eq=False)
class Place:
    """One anomalous place of a picture."""

    box: tuple[int, int, int, int]  # original pixels
    mask: Bools  # (y1 - y0, x1 - x0): which pixels of the box
    score: float  # the highest of the map inside
    area: int  # pixels
    share: float  # of the picture, in (0, 1]


@dataclass(frozen=True, eq=False)
class Patch:
    """One anomalous place of a point cloud."""

    points: Ints  # (K,) indices, sorted
    centre: Vector  # mean of the points, in the units of the file
    extent: Vector  # along x, y and z, in the units of the file
    score: float  # the highest of its points
    area: int  # points
    share: float  # of the seen points, in (0, 1]


@dataclass(frozen=True)
class Interval:
    """One anomalous stretch of a video, in seconds."""

    start: float
    end: float
    peak_time: float
    peak_score: float
    peak: int  # which of the F frames is the peak; the first of equals


T = TypeVar("T")


@dataclass(frozen=True)
class Found(Sequence[T], Generic[T]):
    """The places that are kept, strongest first, and how many are not."""

    kept: tuple[T, ...] = ()
    left_out: int = 0  # places beyond the limit
    specks: int = 0  # pieces too small to count

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[T, ...]: ...
    def __getitem__(self, index: int | slice) -> T | tuple[T, ...]:
        """The place (or places) at this rank."""
        return self.kept[index]

    def __len__(self) -> int:
        return len(self.kept)

    def __iter__(self) -> Iterator[T]:
        return iter(self.kept)


# ---------------------------------------------------------------- pictures


def picture_regions(anomaly_map: Floats, threshold: float, limit: int = 20) -> Found[Place]:
    """Return the places of an anomaly map (H, W) in [0, 1] where it reaches `threshold`, strongest first.

    Pixels that touch, also by a corner, belong together, and so do pieces with a gap under 1 % of the longer side.
    Specks under 4 px or 0.002 % of the picture are left out, except for the strongest when there is nothing else.
    Raises UsageError for a map that is not 2-D or not finite, and for a limit below 1.
    """
    if anomaly_map.ndim != 2 or anomaly_map.size == 0:
        raise UsageError(f"expected an anomaly map of shape (H, W), got {anomaly_map.shape}")
    if not np.isfinite(anomaly_map).all():
        raise UsageError("expected an anomaly map of finite numbers, got NaN or infinity")
    _check_limit(limit)
    hot = _reaches(anomaly_map, threshold)
    if not hot.any():
        return Found()
    top, bottom = _ends(hot, 0)
    left, right = _ends(hot, 1)
    hot = hot[top:bottom, left:right]
    height, width = anomaly_map.shape
    labels = _grouped(hot, gap=int(np.ceil(NEAR * max(height, width))) - 1)
    of_pixel = labels[hot]  # (hot pixels,), 1 ...
    areas = np.bincount(of_pixel)[1:]
    best = np.full(len(areas), -np.inf, anomaly_map.dtype)
    np.maximum.at(best, of_pixel - 1, anomaly_map[top:bottom, left:right][hot])
    ranks, left_out, specks = _ranked(best, areas, max(SPECK, SPECK_SHARE * anomaly_map.size), limit)
    boxes = ndimage.find_objects(labels)
    kept = tuple(
        Place(
            box=(left + xs.start, top + ys.start, left + xs.stop, top + ys.stop),
            mask=labels[ys, xs] == rank + 1,
            score=float(best[rank]),
            area=int(areas[rank]),
            share=float(areas[rank] / anomaly_map.size),
        )
        for rank in ranks
        for ys, xs in [boxes[rank]]
    )
    return Found(kept, left_out, specks)


def _check_limit(limit: int) -> None:
    if limit < 1:
        raise UsageError(f"limit must be at least 1, got {limit}")


def _reaches(scores: Floats, threshold: float) -> Bools:
    """Exact in double precision, without a copy: 0.7 as float32 lies below 0.7 and does not reach it."""
    if not np.isfinite(threshold):
        raise UsageError(f"threshold must be a finite number, got {threshold}")
    border = scores.dtype.type(threshold)
    if float(border) < threshold:
        border = np.nextafter(border, scores.dtype.type(np.inf))
    reached: Bools = scores >= border
    return reached


def _ends(hot: Bools, axis: int) -> tuple[int, int]:
    where = np.flatnonzero(np.any(hot, axis=1 - axis))
    return int(where[0]), int(where[-1]) + 1


def _grouped(hot: Bools, gap: int) -> npt.NDArray[np.int32]:
    """Number the groups of pixels that are at most `gap` other pixels apart, along rows and columns; 0 is outside."""
    near = ndimage.maximum_filter(hot, size=gap + 1, mode="constant", cval=0) if gap > 0 else hot
    labels = np.empty(hot.shape, np.int32)
    ndimage.label(near, np.ones((3, 3), bool), output=labels)
    labels[~hot] = 0
    return labels


def _ranked(best: Floats, areas: npt.NDArray[Any], least: float, limit: int) -> tuple[list[int], int, int]:
    """Ranks by score, then area, then position; how many are beyond the limit; how many are specks."""
    order = np.lexsort((np.arange(len(best)), -areas, -best))
    large = order[areas[order] >= least]
    if not len(large):
        large = order[:1]
    return [int(rank) for rank in large[:limit]], max(len(large) - limit, 0), len(order) - len(large)


# ---------------------------------------------------------------- point clouds

FINEST = 600  # cells along the diagonal of the object: points of one cell are linked as one
NEIGHBOURS = 6  # the distance to this neighbour is the local spacing: on a square grid 1.4 steps
REACH = 2.0  # local spacings between points that belong together: on a square grid one point may be missing
LINKS = 12  # nearest anomalous neighbours that are asked


def cloud_regions(points: Floats, scores: Floats, threshold: float, limit: int = 20) -> Found[Patch]:
    """Return the groups of points (N, 3) whose `scores` (N,) reach `threshold`, strongest first.

    A score that is NaN means unseen, a point that is not finite means invalid: both are ignored. Two anomalous points
    belong together when they are at most two local spacings apart. Specks under 10 points or 0.05 % of the seen points
    are left out, except for the strongest when there is nothing else.
    Raises UsageError for wrong shapes and for a limit below 1.
    """
    if points.ndim != 2 or points.shape[1] != 3 or scores.shape != points.shape[:1]:
        raise UsageError(f"expected points (N, 3) and scores (N,), got {points.shape} and {scores.shape}")
    _check_limit(limit)
    seen = np.flatnonzero(np.isfinite(scores) & np.isfinite(points).all(1))
    hot = _reaches(scores[seen], threshold)
    if not hot.any():
        return Found()
    labels = _linked(points[seen], hot)
    indices = seen[hot]
    areas = np.bincount(labels)
    best = np.full(len(areas), -np.inf, scores.dtype)
    np.maximum.at(best, labels, scores[indices])
    ranks, left_out, specks = _ranked(best, areas, max(CLOUD_SPECK, CLOUD_SPECK_SHARE * len(seen)), limit)
    kept = tuple(
        _patch(points, indices[labels == rank], float(best[rank]), int(areas[rank]), len(seen)) for rank in ranks
    )
    return Found(kept, left_out, specks)


def _patch(points: Floats, indices: npt.NDArray[Any], score: float, area: int, seen: int) -> Patch:
    own = points[indices].astype(np.float64)
    x, y, z = own.mean(0).tolist()
    dx, dy, dz = np.ptp(own, axis=0).tolist()
    return Patch(indices.astype(np.int64), (x, y, z), (dx, dy, dz), score, area, area / seen)


def _linked(points: Floats, hot: Bools) -> npt.NDArray[Any]:
    """Number the groups of hot points, in the order of their first points."""
    cells, first = _cells(points)
    cell_is_hot = np.zeros(len(first), bool)
    cell_is_hot[cells[hot]] = True
    spots = points[first]
    own = spots[cell_is_hot]
    groups = np.zeros(len(first), np.int64)
    if len(own) > 1:
        spacing = _nearest(spots, own, NEIGHBOURS + 1)[0][:, -1]
        far, other = _nearest(own, own, LINKS + 1)
        near = far <= REACH * np.minimum(spacing[:, None], spacing[other])
        source = np.broadcast_to(np.arange(len(own))[:, None], near.shape)[near]
        graph = coo_array((np.ones(len(source), bool), (source, other[near])), shape=(len(own), len(own)))
        groups[cell_is_hot] = connected_components(graph, directed=False)[1]
    return _renumbered(groups[cells[hot]])


def _nearest(points: Floats, asking: Floats, count: int) -> tuple[Floats, Ints]:
    """Distances and indices (K, count) of the nearest points, the asking point itself included."""
    count = min(count, len(points))
    far, other = cKDTree(points, balanced_tree=False).query(asking, list(range(1, count + 1)), workers=-1)
    return np.asarray(far), np.asarray(other)


def _cells(points: Floats) -> tuple[Ints, Ints]:
    """Which cell each point is in, and the first point of each cell; duplicates share a cell.

    Cells are finer than what a view resolves, so nothing is lost, and the work is bounded for any number of points.
    """
    low, high = np.percentile(points, [1, 99], axis=0)  # a few stray points must not make the cells coarse
    size = np.linalg.norm(high - low) or np.linalg.norm(np.ptp(points, axis=0)) or 1.0
    steps = np.clip(np.floor((points - low) * (FINEST / size)), -(2**20), 2**20 - 1).astype(np.int64) + 2**20
    keys = (steps[:, 0] << 42) | (steps[:, 1] << 21) | steps[:, 2]
    _, first, cells = np.unique(keys, return_index=True, return_inverse=True)
    return cells.reshape(-1), first


def _renumbered(labels: Ints) -> npt.NDArray[Any]:
    _, first, labels = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[labels]


# ---------------------------------------------------------------- videos


def intervals(times: Floats, scores: Floats, threshold: float, duration: float) -> list[Interval]:
    """Return when the scores (F,) of frames at `times` (F,), seconds and increasing, reach `threshold`.

    Each frame stands for half the way to its neighbours, a single frame for the whole video. One frame below the
    threshold between two that reach it does not end an interval. All lies within [0, duration]; a video is at least
    as long as the time of its last frame. Raises UsageError for wrong shapes, times or scores that are not finite.
    """
    times, scores = np.asarray(times), np.asarray(scores)
    if times.ndim != 1 or times.shape != scores.shape:
        raise UsageError(f"expected times (F,) and scores (F,), got {times.shape} and {scores.shape}")
    if not (np.isfinite(times).all() and np.isfinite(scores).all()):
        raise UsageError("expected times and scores to be finite numbers, got NaN or infinity")
    if (np.diff(times) < 0).any():
        raise UsageError("expected times that increase")
    moments, of_frame = np.unique(times, return_inverse=True)  # frames with the same time stand for one moment
    hot = np.zeros(len(moments), bool)
    hot[of_frame[_reaches(scores, threshold)]] = True
    hot[1:-1] |= hot[:-2] & hot[2:]
    borders = _borders(moments, duration)
    changes = np.flatnonzero(np.diff(np.concatenate([[False], hot, [False]])))
    found = []
    for start, end in changes.reshape(-1, 2):
        frames = np.flatnonzero((of_frame >= start) & (of_frame < end))
        peak = int(frames[np.argmax(scores[frames])])
        found.append(
            Interval(float(borders[start]), float(borders[end]), float(times[peak]), float(scores[peak]), peak)
        )
    return found


def _borders(moments: Floats, duration: float) -> Floats:
    """(F + 1,) where each moment begins, and the end of the last."""
    if len(moments) < 2:
        return np.array([0.0, max(duration, float(moments.max(initial=0)))])
    between = (moments[:-1] + moments[1:]) / 2
    ends = [2 * moments[0] - between[0]], between, [2 * moments[-1] - between[-1]]
    return np.clip(np.concatenate(ends), 0, max(duration, float(moments[-1])))


# ---------------------------------------------------------------- the shape of a place


@dataclass(frozen=True)
class Shape:
    """The ellipse with the same second moments as a place; for a solid rectangle all of it is exact."""

    centre: tuple[float, float]  # x, y in pixels of the picture: (0.5, 0.5) is the middle of the first pixel
    elongation: float  # length / width, at least 1
    angle: float  # of the longer axis, degrees in [-90, 90]: 0 is horizontal, 45 rises to the right
    filled: float  # area of the place / area of the ellipse: about 1 when solid, less with gaps


def shape_of(place: Place) -> Shape:
    """Measure the shape of a place."""
    rows, columns = place.mask.sum(1), place.mask.sum(0)
    ys, xs = np.arange(len(rows)) + 0.5, np.arange(len(columns)) + 0.5
    x, y = (columns @ xs) / place.area, (rows @ ys) / place.area
    row_sums = np.array([xs[row].sum() for row in place.mask])  # (rows,) sum of x over the pixels of each row
    # 1/12: a pixel is a square, not a point, so that a bar of 30 x 2 px is 15 times as long as wide
    xx = columns @ (xs - x) ** 2 / place.area + 1 / 12
    yy = rows @ (ys - y) ** 2 / place.area + 1 / 12
    xy = float(row_sums @ (ys - y)) / place.area
    spread = float(np.hypot((xx - yy) / 2, xy))
    long, short = (xx + yy) / 2 + spread, max((xx + yy) / 2 - spread, 1 / 12)
    angle = float(np.degrees(np.arctan2(-2 * xy, xx - yy)) / 2) if spread > 1e-9 * long else 0.0
    ellipse = 4 * np.pi * np.sqrt(long * short)
    return Shape(
        (float(place.box[0] + x), float(place.box[1] + y)), float(np.sqrt(long / short)), angle, place.area / ellipse
    )


# ---------------------------------------------------------------- the look of a place

DARKER = 8.0  # grey levels of 255: smaller differences of the mean brightness are not called a difference
COLOUR = 10.0  # the same for colour; about 12 levels of one channel
ROUGHER = 1.5  # times the local contrast
CONTRAST = 3.0  # grey levels by which the local contrast must differ as well
FLOOR = 0.5  # grey levels of contrast below which a picture of whole numbers is flat
RING = 8  # pixels that surroundings must have to be compared with
WINDOWS = 12  # windows of 3 x 3 px a place must have before its texture is judged
MEMBERS = 6  # pixels of the place such a window must hold
SAMPLES = 200_000  # pixels that are measured of a larger place
LUMA = np.array([0.299, 0.587, 0.114])  # brightness of an RGB pixel, 0 .. 255

Hue = Literal["red", "yellow", "green", "cyan", "blue", "magenta"]
HUES: tuple[Hue, ...] = ("red", "yellow", "green", "cyan", "blue", "magenta")  # opposites are three apart
_DIRECTIONS = np.array([(2, -1, -1), (1, 1, -2), (-1, 2, -1), (-2, 1, 1), (-1, -1, 2), (1, -2, 1)]) / np.sqrt(6)


@dataclass(frozen=True)
class Look:
    """What some pixels look like."""

    brightness: float  # mean, 0 .. 255
    rgb: Vector  # mean, 0 .. 255
    contrast: float | None  # median of the local standard deviations, grey levels; None where too few pixels touch


@dataclass(frozen=True)
class Difference:
    """How a place differs from what it is compared with; only what exceeds its minimum is named."""

    here: Look
    there: Look
    brightness: Literal["darker", "lighter"] | None
    hue: tuple[Literal["more", "less"], Hue] | None
    saturation: Literal["more", "less"] | None
    texture: Literal["rougher", "smoother"] | None
    texture_judged: bool
    drifted: bool = False  # more would be named if the rest of the picture did not differ in the same way


@dataclass(frozen=True)
class _Pixels:
    """The measured pixels: colours (K, 3) and the local standard deviations of those with enough neighbours."""

    rgb: Floats
    contrasts: Floats

    @property
    def look(self) -> Look:
        r, g, b = self.rgb.mean(0).tolist()
        judged = len(self.contrasts) >= WINDOWS
        return Look(float(LUMA @ (r, g, b)), (r, g, b), float(np.median(self.contrasts)) if judged else None)


@dataclass(frozen=True)
class _Drift:
    """How the whole picture differs from the expected one outside all places: light, colour cast, blur."""

    rgb: Floats  # (3,) median difference
    contrast: float  # ratio


_NO_DRIFT = _Drift(np.zeros(3), 1.0)


def compare_with_surroundings(pixels: npt.NDArray[np.uint8], places: Sequence[Place]) -> list[Difference | None]:
    """Compare each place of a picture (H, W, 3) with the ring around it that belongs to no place.

    None where that ring has fewer than 8 pixels: a region that covers everything has no surroundings.
    """
    _check_picture(pixels)
    taken = _taken(places, (pixels.shape[0], pixels.shape[1]))
    return [_against_ring(pixels, place, taken) for place in places]


def compare_with_expected(
    pixels: npt.NDArray[np.uint8], places: Sequence[Place], expected: npt.NDArray[np.uint8]
) -> list[Difference]:
    """Compare each place of a picture (H, W, 3) with the same place of `expected` (h, w, 3).

    An expected picture in the smaller frame of a view is compared there: enlarging it would make it smoother than any
    real picture. What is different all over the picture, such as the light, is not counted as a difference of a place.
    """
    _check_picture(pixels)
    _check_picture(expected)
    size, frame = pixels.shape[:2], expected.shape[:2]
    if frame[0] > size[0] or frame[1] > size[1]:
        raise UsageError(f"the expected picture {frame} must not be larger than the picture {size}")
    if frame != size:
        shrunk = Image.fromarray(pixels).resize((frame[1], frame[0]), Image.Resampling.BOX)
        pixels = np.asarray(shrunk)
        places = [_shrunk(place, size, frame) for place in places]
    drift = _drift(pixels, expected, ~_taken(places, frame))
    differences = []
    for place in places:
        here = _measured(pixels, place.mask, place.box[0], place.box[1])
        there = _measured(expected, place.mask, place.box[0], place.box[1])
        difference = _difference(here, there, drift)
        drifted = difference != _difference(here, there, _NO_DRIFT)
        differences.append(replace(difference, drifted=drifted))
    return differences


def _check_picture(pixels: npt.NDArray[np.uint8]) -> None:
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8 or 0 in pixels.shape:
        raise UsageError(f"expected a picture (H, W, 3) of uint8, got {pixels.dtype} of shape {pixels.shape}")


def _taken(places: Sequence[Place], size: tuple[int, ...]) -> Bools:
    taken = np.zeros(size, bool)
    for place in places:
        x0, y0, x1, y1 = place.box
        taken[y0:y1, x0:x1] |= place.mask
    return taken


def _shrunk(place: Place, size: tuple[int, ...], frame: tuple[int, ...]) -> Place:
    """The same place in a smaller frame; each pixel goes to the one it falls into."""
    ys, xs = np.nonzero(place.mask)
    ys, xs = (ys + place.box[1]) * frame[0] // size[0], (xs + place.box[0]) * frame[1] // size[1]
    y0, x0, y1, x1 = int(ys.min()), int(xs.min()), int(ys.max()) + 1, int(xs.max()) + 1
    mask = np.zeros((y1 - y0, x1 - x0), bool)
    mask[ys - y0, xs - x0] = True
    return Place((x0, y0, x1, y1), mask, place.score, int(mask.sum()), float(mask.sum() / (frame[0] * frame[1])))


def _against_ring(pixels: npt.NDArray[np.uint8], place: Place, taken: Bools) -> Difference | None:
    x0, y0, x1, y1 = place.box
    radius = int(np.clip(np.sqrt(place.area) / 2, 3, 3 + 0.1 * max(pixels.shape[:2])))
    left, top = max(x0 - radius, 0), max(y0 - radius, 0)
    right, bottom = min(x1 + radius, pixels.shape[1]), min(y1 + radius, pixels.shape[0])
    inside = np.zeros((bottom - top, right - left), bool)
    inside[y0 - top : y1 - top, x0 - left : x1 - left] = place.mask
    ring = ndimage.maximum_filter(inside, size=2 * radius + 1, mode="constant", cval=0)
    ring &= ~taken[top:bottom, left:right]
    if np.count_nonzero(ring) < RING:
        return None
    here, there = _measured(pixels, inside, left, top), _measured(pixels, ring, left, top)
    return _difference(here, there, _NO_DRIFT, _standard_error(here.rgb, there.rgb))


def _measured(pixels: npt.NDArray[np.uint8], mask: Bools, left: int, top: int) -> _Pixels:
    """Measure the pixels under `mask`, whose corner lies at (left, top); of very many, a fixed sample."""
    ys, xs = np.nonzero(mask)
    if len(ys) > SAMPLES:
        chosen = np.random.default_rng(0).integers(0, len(ys), SAMPLES)  # not every n-th: that would meet stripes
        ys, xs = ys[chosen], xs[chosen]
    rgb = pixels[ys + top, xs + left].astype(np.float64)
    total, squares, members = np.zeros(len(ys)), np.zeros(len(ys)), np.zeros(len(ys))
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            y, x = np.clip(ys + dy, 0, mask.shape[0] - 1), np.clip(xs + dx, 0, mask.shape[1] - 1)
            # only neighbours of the same place: its outline is not its texture
            own = mask[y, x] & (y == ys + dy) & (x == xs + dx)
            values = np.where(own, pixels[y + top, x + left] @ LUMA, 0)
            total, squares, members = total + values, squares + values**2, members + own
    enough = members >= MEMBERS
    mean = total[enough] / members[enough]
    variance = squares[enough] / members[enough] - mean**2
    return _Pixels(rgb, np.sqrt(np.maximum(variance, 0)))


def _standard_error(here: Floats, there: Floats) -> Floats:
    """(3,) of the difference of the means. One pixel alone is taken to vary as much as what it is compared with."""
    error: Floats = np.sqrt((here if len(here) > 1 else there).var(0) / len(here) + there.var(0) / len(there))
    return error


def _drift(pixels: npt.NDArray[np.uint8], expected: npt.NDArray[np.uint8], outside: Bools) -> _Drift:
    if np.count_nonzero(outside) < RING:
        return _NO_DRIFT
    here, there = _measured(pixels, outside, 0, 0), _measured(expected, outside, 0, 0)
    ratio = 1.0
    if here.look.contrast is not None and there.look.contrast is not None:
        ratio = (here.look.contrast + FLOOR) / (there.look.contrast + FLOOR)
    return _Drift(np.median(here.rgb - there.rgb, axis=0), ratio)


def _difference(here: _Pixels, there: _Pixels, drift: _Drift, error: Floats | None = None) -> Difference:
    error = np.zeros(3) if error is None else error
    return Difference(
        here.look,
        there.look,
        brightness=_brightness(here.look, there.look, drift, float(LUMA @ error)),
        hue=_hue(here.look, there.look, drift, float(np.linalg.norm(error))),
        saturation=_saturation(here, there, drift, float(np.linalg.norm(error))),
        texture=_texture(here.look, there.look, drift),
        texture_judged=here.look.contrast is not None and there.look.contrast is not None,
    )


def _brightness(here: Look, there: Look, drift: _Drift, error: float) -> Literal["darker", "lighter"] | None:
    change = here.brightness - there.brightness
    beyond = (change - float(LUMA @ drift.rgb)) * np.sign(change)
    if abs(change) < max(DARKER, 2 * error) or beyond < DARKER:
        return None
    return "darker" if change < 0 else "lighter"


def _colour(rgb: Vector | Floats) -> Floats:
    """(3,) what is left of a colour without its grey: its direction is the hue, its length the saturation."""
    colour = np.asarray(rgb, np.float64)
    return colour - float(colour.mean())


def _without_light(here: Look, there: Look) -> Floats:
    """The colour of `there` after the change of light that best explains the colour of `here`.

    A shadow or a lamp scales a colour, haze or a highlight adds grey: neither is another colour. Between no scaling and
    scaling by the change of brightness everything is allowed.
    """
    colour = _colour(there.rgb)
    scaled = colour * (here.brightness / max(there.brightness, 1.0))
    way = scaled - colour
    length = float(way @ way)
    along = float(np.clip((_colour(here.rgb) - colour) @ way / length, 0, 1)) if length > 0 else 0.0
    explained: Floats = colour + along * way
    return explained


def _hue(here: Look, there: Look, drift: _Drift, error: float) -> tuple[Literal["more", "less"], Hue] | None:
    own = _colour(here.rgb)
    change = own - _without_light(here, there)
    best = int(np.argmax(_DIRECTIONS @ change))
    direction = _DIRECTIONS[best]
    plain = float(direction @ (own - _colour(there.rgb)))
    least = max(COLOUR, 2 * error)
    if min(float(np.linalg.norm(change)), plain) < least or plain - float(direction @ _colour(drift.rgb)) < COLOUR:
        return None
    # towards yellow but not yellow: what was blue is less blue
    return ("more", HUES[best]) if float(direction @ own) > 0 else ("less", HUES[(best + 3) % 6])


def _saturation(here: _Pixels, there: _Pixels, drift: _Drift, error: float) -> Literal["more", "less"] | None:
    """Of the mean colour and of the single pixels alike: colourful noise is not a colour."""
    own = float(np.linalg.norm(_colour(here.look.rgb)))
    other = float(np.linalg.norm(_colour(there.look.rgb)))
    explained = float(np.linalg.norm(_without_light(here.look, there.look)))
    single = _mean_saturation(here) - _mean_saturation(there)
    least = max(COLOUR, 2 * error) + float(np.linalg.norm(_colour(drift.rgb)))
    if min(own - other, own - explained, single) >= least:
        return "more"
    if max(own - other, own - explained, single) <= -least:
        return "less"
    return None


def _mean_saturation(pixels: _Pixels) -> float:
    return float(np.linalg.norm(pixels.rgb - pixels.rgb.mean(1, keepdims=True), axis=1).mean())


def _texture(here: Look, there: Look, drift: _Drift) -> Literal["rougher", "smoother"] | None:
    if here.contrast is None or there.contrast is None or abs(here.contrast - there.contrast) < CONTRAST:
        return None
    ratio = (here.contrast + FLOOR) / (there.contrast + FLOOR)
    if ratio >= ROUGHER * max(1.0, drift.contrast):
        return "rougher"
    if ratio <= min(1.0, drift.contrast) / ROUGHER:
        return "smoother"
    return None


# ---------------------------------------------------------------- bump or dent

RELIEF_POINTS = 1_000_000  # of the cloud, and
PATCH_POINTS = 5_000  # of the patch, are looked at; every n-th of more
AROUND = 30  # neighbours a surface is fitted to, in at least
SECTORS = 6  # of eight directions around the patch
STEADY = 0.8  # share of the patch that must lie on the same side of that surface
STRONG = 4.0  # times the roughness of the neighbours that the offset must exceed


@dataclass(frozen=True)
class Relief:
    """How far a patch stands out of (> 0) or lies below (< 0) the surface around it, in the units of the file."""

    offset: float  # median of its points
    extreme: float  # of the same sign


def relief(points: Floats, patch: Patch, others: Bools, outward: Literal["centre", "sensor"]) -> Relief | None:
    """Measure whether a patch is a bump or a dent of the surface around it, or None where that is not certain.

    `points` (N, 3); `others` (N,) are the valid points outside all patches. `outward` says what is outside: "centre",
    away from the middle of the object, or "sensor", towards the origin, where organised clouds are recorded from.
    A quadratic surface is fitted to the neighbours. They must lie around the patch, be smoother than the offset and
    tell outside from inside; else nothing is claimed.
    """
    own = points[patch.points[:: 1 + len(patch.points) // PATCH_POINTS]].astype(np.float64)
    candidates = np.flatnonzero(others)
    rest = points[candidates[:: 1 + len(candidates) // RELIEF_POINTS]].astype(np.float64)
    around = _neighbours(own, rest)
    if len(around) < AROUND:
        return None
    centre = around.mean(0)
    axes = np.linalg.svd(around - centre, full_matrices=False)[2]  # (3, 3) rows: two along the surface, its normal
    own_uvw, around_uvw, rest_uvw = (own - centre) @ axes.T, (around - centre) @ axes.T, (rest - centre) @ axes.T
    radius = float(np.hypot(around_uvw[:, 0], around_uvw[:, 1]).max())
    side = _outside(axes @ -centre, rest_uvw, radius, outward)
    if side == 0:
        return None
    if not _surrounds(around_uvw, own_uvw):
        return None
    fit = np.linalg.lstsq(_quadratic(around_uvw), around_uvw[:, 2], rcond=None)[0]
    roughness = 1.4826 * float(np.median(np.abs(around_uvw[:, 2] - _quadratic(around_uvw) @ fit)))
    offsets = side * (own_uvw[:, 2] - _quadratic(own_uvw) @ fit)
    offset = float(np.median(offsets))
    rounding = 1e-6 * float(np.abs(around).max())
    if abs(offset) < max(STRONG * roughness, rounding) or np.mean(offsets * np.sign(offset) > 0) < STEADY:
        return None
    return Relief(offset, float(offsets.max() if offset > 0 else offsets.min()))


def _neighbours(own: Floats, rest: Floats) -> Floats:
    """The other points at a distance between an eighth and all of the patch's radius: a seam is left out."""
    centre = own.mean(0)
    radius = float(np.linalg.norm(own - centre, axis=1).max())
    close: Floats = rest[(np.abs(rest - centre) <= 2 * radius).all(1)]
    if not len(close):
        return close
    distance = _nearest(own, close, 1)[0][:, 0]
    return close[(distance > radius / 8) & (distance <= radius)]


def _outside(origin: Floats, rest: Floats, radius: float, outward: Literal["centre", "sensor"]) -> float:
    """+1 or -1: the side of the surface that is outside; 0 where it cannot be told.

    All in the frame of the surface, whose third axis is its normal: the origin of the file and the other points.
    """
    low, high = rest.min(0), rest.max(0)
    middle, size = (low + high) / 2, float(np.linalg.norm(high - low))
    if outward == "sensor":
        distance = float(np.linalg.norm(origin - middle))
        along = float(origin[2]) / max(float(np.linalg.norm(origin)), 1e-12)
        # a sensor stands back from what it sees; an origin inside the cloud means that the cloud was moved
        return float(np.sign(along)) if distance >= size and abs(along) > 0.3 else 0.0
    along = float(-middle[2]) / max(float(np.linalg.norm(middle)), 1e-12)
    if abs(along) < 0.5:
        return 0.0
    side = float(np.sign(along))
    # only a solid has an outside: nothing in front of the surface, and its far side behind it
    depth = rest[np.hypot(rest[:, 0], rest[:, 1]) <= radius, 2] * side
    in_front = int((depth > min(0.02 * size, radius)).sum())
    behind = int((depth < -max(0.02 * size, radius)).sum())
    return side if in_front == 0 and behind >= AROUND // 3 else 0.0


def _surrounds(around: Floats, own: Floats) -> bool:
    middle = own[:, :2].mean(0)
    angles = np.arctan2(around[:, 1] - middle[1], around[:, 0] - middle[0])
    sectors = np.floor((angles / np.pi + 1) * 4).astype(int) % 8
    counts = np.bincount(sectors, minlength=8)
    return int((counts > 0).sum()) >= SECTORS


def _quadratic(uvw: Floats) -> Floats:
    u, v = uvw[:, 0], uvw[:, 1]
    return np.stack([np.ones_like(u), u, v, u * u, u * v, v * v], axis=1)
