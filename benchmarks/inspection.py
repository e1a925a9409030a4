"""Pictures per second of the whole main job, its memory, and how fast the command line answers.

    python benchmarks/inspection.py

Each row is one process of `looktwice.inspect` on made pictures (textured, every fourth with a spot): loading, judging,
and, with reports, the map, pictures and HTML on disk. Fitting the references and imports are not counted, the report at
the end is. "nothing" is a detector that answers at once: what the main job itself costs. Memory is the peak of the
process, imports (about 90 MB) included. Best of two rounds.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from looktwice.inspection import Inspection
from looktwice.records import Prediction, Spec
from looktwice.settings import Settings

COUNTS = {256: 40, 1024: 8}  # side -> pictures
REFERENCES, ROUNDS = 4, 2
MODELS = ("nothing", "selfsim", "memory")
COLD = (
    ["--help"],
    ["models"],
    ["inspect", "one.png"],
    ["inspect", "one.png", "-m", "memory", "--reference", "two.png"],
)


class Nothing:
    """A detector that looks at nothing."""

    def fit(self, spec, settings=None):
        """Learn nothing."""
        return self

    def predict(self, batch):
        """Find nothing."""
        return [Prediction(score=0.1, anomaly_map=np.full(v.images.shape[:3], 0.1, np.float32)) for v in batch]


def main() -> None:
    if len(sys.argv) > 1:  # one row, in a process of its own
        print(json.dumps(row(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4] == "reports")))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for side, count in COUNTS.items():
            for i in range(count + REFERENCES):
                made(folder / str(side) / ("reference" if i < REFERENCES else "part") / f"{i:03d}.png", side, i)
        print(f"{'':34} {'images/s':>9} {'peak MB':>8}")
        for side in COUNTS:
            for model in MODELS:
                for how in ("memory only", "reports"):
                    rate, peak = best([model, str(side), name, how])
                    print(f"{f'{model}, {side} px, {how}':34} {rate:9.1f} {peak:8.0f}", flush=True)
        cold_starts(folder)


def made(path: Path, side: int, seed: int) -> None:
    """Write one textured picture; every fourth has a spot."""
    rng = np.random.default_rng(0)
    texture = np.asarray(
        Image.fromarray(rng.integers(90, 170, (side // 8, side // 8, 3), np.uint8)).resize((side, side))
    ).astype(np.int16)
    pixels = texture + np.random.default_rng(seed).integers(-4, 5, texture.shape)
    if seed % 4 == 3:
        pixels[side // 2 : side // 2 + side // 12, side // 3 : side // 3 + side // 12] -= 80
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)


def row(model: str, side: int, folder: Path, reports: bool) -> tuple[float, float]:
    """Inspect the pictures of one size once; returns images per second and the peak of this process in MB."""
    spec = Spec(references=(str(folder / str(side) / "reference"),)) if model == "memory" else Spec()
    with tempfile.TemporaryDirectory() as out:
        run = Inspection(
            folder / str(side) / "part",
            Nothing() if model == "nothing" else model,
            spec,
            out=Path(out) / "run" if reports else None,
            settings=Settings(),
        )
        run.fitted("image")
        start = time.perf_counter()
        count = sum(result.error is None for result in run)
        seconds = time.perf_counter() - start
    assert count == COUNTS[side]
    return count / seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def best(arguments: list[str]) -> tuple[float, float]:
    """The best rate and the highest peak of some rounds."""
    rounds = [
        json.loads(subprocess.run([sys.executable, __file__, *arguments], capture_output=True, check=True).stdout)
        for _ in range(ROUNDS)
    ]
    return max(rate for rate, _ in rounds), max(peak for _, peak in rounds)


def cold_starts(folder: Path) -> None:
    """How long a person waits for the command line, from its start to its end."""
    made(folder / "one.png", 256, 0)
    made(folder / "two.png", 256, 1)
    command = [sys.executable, "-c", "from looktwice.cli.main import run; run()"]
    print(f"{'':50} {'seconds':>8}")
    for arguments in COLD:
        seconds = []
        for number in range(3):
            out = ["--out", f"out-{number}-{len(arguments)}"] if arguments[0] == "inspect" else []
            start = time.perf_counter()
            subprocess.run([*command, *arguments, *out], cwd=folder, capture_output=True, check=True)
            seconds.append(time.perf_counter() - start)
        print(f"{'looktwice ' + ' '.join(arguments):50} {min(seconds):8.2f}", flush=True)


if __name__ == "__main__":
    main()
