"""Frames per second of planning and viewing a video, against the plainest PyAV loop on the same file.

    python benchmarks/video.py

The plain loop decodes every frame to RGB and drops it. All figures come from one run on one made video
(640 x 480, 30 per second, 20 s), the best of three rounds; memory is what each adds at its peak in its own process.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from looktwice.modalities.video import Video
from looktwice.report.mp4 import write_video
from looktwice.settings import Settings, VideoSettings

SIZE, RATE, SECONDS, ROUNDS = (480, 640), 30, 20, 3
PLAIN = "plain PyAV loop, every frame to RGB"
DEFAULT = Settings()
NO_CONTEXT = Settings(video=VideoSettings(context=0))
EVERY = Settings(video=VideoSettings(every=1, context=0))


def main() -> None:
    if len(sys.argv) == 3:  # called by `added_memory`
        print(json.dumps(growth(WAYS[sys.argv[1]], Path(sys.argv[2]))))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "made.mp4"
        write_video(path, made(SECONDS * RATE), RATE)
        print(f"{SIZE[1]} x {SIZE[0]}, {SECONDS * RATE} frames, {path.stat().st_size / 1e6:.1f} MB")
        print(f"{'':44} {'seconds':>8} {'frames/s':>9} {'x plain':>8} {'MB':>6}")
        rounds = [{name: timed(way, path) for name, way in WAYS.items()} for _ in range(ROUNDS)]
        plain = min(one[PLAIN] for one in rounds)
        for name in WAYS:
            seconds = min(one[name] for one in rounds)
            rate, memory = SECONDS * RATE / seconds, added_memory(name, path)
            print(f"{name:44} {seconds:8.2f} {rate:9.0f} {plain / seconds:8.2f} {memory:6.0f}", flush=True)


def made(count: int) -> Iterator[np.ndarray]:
    """Yield frames of a moving texture with camera noise, the same on every run."""
    rng = np.random.default_rng(0)
    texture = rng.integers(60, 180, (*SIZE, 3), np.uint8)
    for index in range(count):
        yield np.roll(texture, index, 1) + rng.integers(0, 8, (*SIZE, 1), np.uint8)


def plain_loop(path: Path) -> None:
    import av

    with av.open(str(path)) as container:
        container.streams.video[0].thread_type = "AUTO"
        for frame in container.decode(video=0):
            frame.to_ndarray(format="rgb24")


def planning(path: Path) -> None:
    Video().load(path, DEFAULT)


def plan_and_views(settings: Settings) -> Callable[[Path], None]:
    def way(path: Path) -> None:
        for views in Video().views(Video().load(path, settings), settings):
            assert len(views.images)

    return way


WAYS: dict[str, Callable[[Path], None]] = {
    PLAIN: plain_loop,
    "planning": planning,
    "planning + views, default (4 per second)": plan_and_views(DEFAULT),
    "planning + views, default without context": plan_and_views(NO_CONTEXT),
    "planning + views, every frame": plan_and_views(EVERY),
}


def timed(way: Callable[[Path], None], path: Path) -> float:
    start = time.perf_counter()
    way(path)
    return time.perf_counter() - start


def added_memory(name: str, path: Path) -> float:
    """Megabytes that the way adds to a fresh process at its peak."""
    run = subprocess.run([sys.executable, __file__, name, str(path)], capture_output=True, text=True, check=True)
    return float(json.loads(run.stdout))


def growth(way: Callable[[Path], None], path: Path) -> float:
    import av  # noqa: F401  loaded before, so that only the frames count

    before = peak()
    way(path)
    return peak() - before


def peak() -> float:
    """Megabytes this program held at most. Where there is no /proc, those of its parent may count too."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().split("VmHWM:")[1].split()[0]) * 1024 / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6


if __name__ == "__main__":
    main()
