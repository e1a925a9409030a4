"""Point clouds: scans as points or meshes, seen as rendered pictures, with the way back from a pixel to its points.

- `reading` turns files into points and says which of them are valid;
- `rendering` looks at a cloud from all around with a z-buffer;
- `relief` draws the sensor's own view of a cloud on a grid;
- `painting` turns heights into the three channels of a picture.

Letters: N points, V views, H W rows and columns of an organised cloud.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np

from looktwice.errors import UsageError
from looktwice.modalities import sample_id, sha256_of
from looktwice.modalities.point_cloud import reading, relief, rendering, tilting
from looktwice.records import PointCloudData, Sample, ToPoints, Views
from looktwice.settings import Settings

__all__ = ["PointCloud", "cloud_from_array"]


class PointCloud:
    """Clouds and meshes: one Views of rendered pictures each."""

    name: Literal["point_cloud"] = "point_cloud"
    suffixes = reading.SUFFIXES

    def recognises(self, path: Path) -> bool:
        """Whether this existing file is a cloud; never raises. Text, NPY and TIFF are looked into."""
        return reading.recognise(path)

    def load(self, path: Path, settings: Settings) -> Sample:
        """Read and check one cloud; raises BadFile, MissingExtra."""
        data, notes = reading.settle(path, reading.read(path, settings.point_cloud))
        return Sample(
            id=sample_id(path),
            path=path,
            modality=self.name,
            data=data,
            sha256=sha256_of(path),
            notes=notes + _seen_as(data, settings),
        )

    def views(self, sample: Sample, settings: Settings) -> Iterator[Views]:
        """Yield one Views: a cloud on a grid as its sensor saw it, any other from settings.point_cloud.views sides."""
        assert isinstance(sample.data, PointCloudData)
        data, size = sample.data, settings.point_cloud.size
        points, colors = data.points[data.valid], _useful(data)
        if _has_picture(data):
            assert data.grid is not None
            grid_colors = None if colors is None else data.colors.reshape(*data.grid, 3)  # type: ignore[union-attr]
            yield _sensor_view(data.points.reshape(*data.grid, 3), data.valid.reshape(data.grid), grid_colors, size)
        elif (found := relief.find_grid(points)) is not None:
            yield _found_view(data, points, colors, found, size)
        else:
            images, names, shown, seen = rendering.render(points, colors, settings.point_cloud.views, size)
            pixel = seen
            if len(points) < len(data.points):
                pixel = np.full((len(names), len(data.points)), -1, np.int32)
                pixel[:, data.valid] = seen
            yield Views(images=images, names=names, way=ToPoints(pixel=pixel), shown=shown)

    def retakes(self, sample: Sample, number: int, of: int, settings: Settings) -> Iterator[Views]:
        """Yield views of tilted copies of the cloud, if it can be turned."""
        assert isinstance(sample.data, PointCloudData)
        for data in tilting.tilted(sample.data, number, of):
            yield from self.views(sample.model_copy(update={"data": data}), settings)


def cloud_from_array(points: np.ndarray, id: str = "array", colors: np.ndarray | None = None) -> Sample:
    """Make a Sample of points (N, 3), or organised (H, W, 3), of any real numbers.

    `colors` has the same shape, uint8 or floats in [0, 1]. Invalid points are treated as in a file.
    Raises UsageError for other shapes and BadFile(empty) where no point is valid.
    """
    points = np.asarray(points)
    if points.ndim not in (2, 3) or points.shape[-1] != 3 or points.dtype.kind not in "iuf":
        raise UsageError(f"expected numbers of shape (N, 3) or (H, W, 3), got {points.dtype} of shape {points.shape}")
    flat = None
    if colors is not None:
        colors = np.asarray(colors)
        if colors.shape != points.shape:
            raise UsageError(f"colors must have the shape of the points, {points.shape}, got {colors.shape}")
        if colors.dtype.kind == "f" and colors.size and colors.min() >= 0 and colors.max() <= 1:
            colors = np.rint(colors * 255).astype(np.uint8)
        if colors.dtype != np.uint8:
            raise UsageError(f"colors must be uint8, or floats in [0, 1], got {colors.dtype}")
        flat = colors.reshape(-1, 3)
    grid = (points.shape[0], points.shape[1]) if points.ndim == 3 else None
    with np.errstate(invalid="ignore"):  # some NaNs complain when they are cast
        numbers = points.reshape(-1, 3).astype(np.float64)
    data, notes = reading.settle(id, reading.Raw(numbers, flat, grid))
    digest = hashlib.sha256(np.ascontiguousarray(points).tobytes())
    if flat is not None:
        digest.update(flat.tobytes())
    path = Path(id)
    return Sample(id=id, path=path, modality="point_cloud", data=data, sha256=digest.hexdigest(), notes=notes)


def _has_picture(data: PointCloudData) -> bool:
    return data.grid is not None and min(data.grid) >= relief.SMALLEST


def _useful(data: PointCloudData) -> np.ndarray | None:
    """Colours (valid points, 3), or None: a cloud of one colour is drawn like one without."""
    if data.colors is None:
        return None
    colors = data.colors[data.valid]
    return None if (colors == colors[0]).all() else colors


def _sensor_view(points: np.ndarray, valid: np.ndarray, colors: np.ndarray | None, size: int) -> Views:
    image, shown, pixel = relief.render_grid(points, valid, colors, size)
    return Views(images=image[None], names=(relief.NAME,), way=ToPoints(pixel=pixel[None]), shown=shown[None])


def _found_view(
    data: PointCloudData, points: np.ndarray, colors: np.ndarray | None, found: relief.Grid, size: int
) -> Views:
    """Lay a list of points out on the grid it came from, look, and return to the list."""
    cells = found.shape[0] * found.shape[1]
    laid, valid = np.zeros((cells, 3)), np.zeros(cells, bool)
    laid[found.cell], valid[found.cell] = points, True
    laid_colors = None
    if colors is not None:
        spread = np.zeros((cells, 3), np.uint8)
        spread[found.cell] = colors
        laid_colors = spread.reshape(*found.shape, 3)
    sensor = _sensor_view(laid.reshape(*found.shape, 3), valid.reshape(found.shape), laid_colors, size)
    assert isinstance(sensor.way, ToPoints)
    pixel = np.full((1, len(data.points)), -1, np.int32)
    pixel[0, data.valid] = sensor.way.pixel[0, found.cell]
    return sensor.model_copy(update={"way": ToPoints(pixel=pixel)})


def _seen_as(data: PointCloudData, settings: Settings) -> tuple[str, ...]:
    """Say what the pictures will show other than plainly every point from all around."""
    if _has_picture(data):
        return ()
    points = data.points[data.valid]
    if (found := relief.find_grid(points)) is not None:
        return (f"the points lie on a grid of {found.shape[0]} x {found.shape[1]}: seen as its sensor saw it",)
    poses = np.array([rendering.pose(one) for one in rendering.directions(settings.point_cloud.views)[1]])
    centre, half = rendering.frame(points, poses)
    far = int((np.abs(points - centre) > half).any(1).sum())
    return (f"{far} points lie far from all others, outside of some or all views",) if far else ()
