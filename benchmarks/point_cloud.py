"""Speed of the point cloud renderer: points per second, peak memory, and the ratio to two ways of doing without.

The target is 1 million points, 6 views of 448 pixels, in under 2 s on 2 cores. The peers answer only part of the
question: a z-buffer by np.lexsort finds the front-most point of each pixel (no closed surface, no picture),
trimesh casts rays at a mesh (its own, of 20,480 faces) and says which face each pixel sees.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable

import numpy as np

from looktwice.modalities.point_cloud import PointCloud, cloud_from_array, rendering
from looktwice.settings import Settings

POINTS = 1_000_000
RAYS = 2_000
ROUNDS = 3


def fastest(work: Callable[[], object]) -> float:
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def peak_mib() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def dented_ball(number: int) -> np.ndarray:
    points = np.random.default_rng(0).normal(size=(number, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    return points * np.where(points[:, :1] > 0.97, 0.95, 1)


def lexsort_views(points: np.ndarray, size: int) -> list[np.ndarray]:
    """Index of the front-most point of each occupied pixel, for six sides."""
    turns = np.array([rendering.pose(one) for one in rendering.directions(6)[1]])
    centre, half = rendering.frame(points, turns)
    cloud = ((points - centre) * (size / 2 / half)).astype(np.float32)
    front = []
    for turn in turns.astype(np.float32):
        right, up, away = turn @ cloud.T
        flat = np.floor(size / 2 - up).astype(np.int64) * size + np.floor(size / 2 + right).astype(np.int64)
        order = np.lexsort((away, flat))
        front.append(order[np.append(True, np.diff(flat[order]) != 0)])
    return front


def ray_seconds() -> float | None:
    """Seconds trimesh takes for one ray, or None where it cannot cast any."""
    try:
        import trimesh

        ball = trimesh.creation.icosphere(5)
        start = np.column_stack([np.random.default_rng(0).uniform(-1, 1, (RAYS, 2)), np.full(RAYS, 2)])
        ways = np.tile([0.0, 0.0, -1.0], (RAYS, 1))
        ball.ray.intersects_first(start[:2], ways[:2])  # builds its tree
        return fastest(lambda: ball.ray.intersects_first(start, ways)) / RAYS
    except ImportError:
        return None


def main() -> None:
    how = Settings()
    count, size = how.point_cloud.views, how.point_cloud.size
    points = dented_ball(POINTS)
    sample = cloud_from_array(points)
    before = peak_mib()
    ours = fastest(lambda: list(PointCloud().views(sample, how)))
    grown = peak_mib() - before
    print(f"point cloud: {POINTS:,} points, {count} views of {size} px: {ours:.2f} s, {POINTS / ours:,.0f} points/s")
    print(f"point cloud: peak memory grows by {grown:.0f} MiB while rendering, of which 23 MiB are the answer")
    peer = fastest(lambda: lexsort_views(points, size))
    print(f"point cloud: np.lexsort z-buffer, six sides, no pictures: {peer:.2f} s, {peer / ours:.1f} x ours")
    ray = ray_seconds()
    if ray is None:
        print("point cloud: trimesh rays: not measured, it lacks rtree or embree here")
    else:
        rays = ray * count * size * size
        print(f"point cloud: trimesh rays: {rays:.0f} s for as many pixels ({RAYS} timed), {rays / ours:,.0f} x ours")
    grid = np.dstack(
        [*np.meshgrid(np.arange(1000.0), np.arange(1000.0)), np.random.default_rng(0).random((1000, 1000))]
    )
    organised = cloud_from_array(grid)
    listed = cloud_from_array(grid.reshape(-1, 3))
    seconds = fastest(lambda: list(PointCloud().views(organised, how)))
    found = fastest(lambda: list(PointCloud().views(listed, how)))
    print(f"point cloud: grid of 1000 x 1000, sensor's view: {seconds:.2f} s; from a list that lost it: {found:.2f} s")


if __name__ == "__main__":
    main()
