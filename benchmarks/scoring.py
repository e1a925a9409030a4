"""How long scoring a run takes and how much memory: python benchmarks/scoring.py [--scale].

Writes a run of made maps as `looktwice benchmark predict` would, scores it, and prints seconds and the peak memory of
the process. --scale: 1,000 maps of 1024 x 1024, else 60 of 512 x 512.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
from scipy import ndimage

from looktwice.benchmark.plan import Plan, versions
from looktwice.benchmark.score import score
from looktwice.benchmark.store import Row, UnitPlan, UnitWriter, encode_map, encode_truth, open_run

DISTINCT = 20  # made maps; the run holds each of them many times, moved a little


def made_map(rng: np.random.Generator, side: int, defect: bool) -> tuple[np.ndarray, np.ndarray]:
    """A smooth map in [0, 1] and its mask."""
    small = ndimage.gaussian_filter(rng.random((side // 8, side // 8)), 2)
    values = ndimage.zoom(small, 8, order=1)[:side, :side]
    mask = np.zeros((side, side), np.bool_)
    if defect:
        row, column = rng.integers(0, side - side // 8, 2)
        mask[row : row + side // 12, column : column + side // 10] = True
        values = values + 0.15 * ndimage.gaussian_filter(mask.astype(np.float32), side / 80)
    return np.clip(values, 0, 1).astype(np.float32), mask


def write_run(folder: Path, count: int, side: int) -> None:
    """A run as predicting leaves it."""
    unit = UnitPlan(
        name="0000-made-0-0", category="made", shots=0, seed=0, references=(), references_sha256="", samples=count
    )
    plan = Plan(model="made", dataset="folder").model_dump(mode="json") | {"categories": ["made"], "variant": ""}
    data = {"fingerprint": "", "missing": []}
    open_run(
        folder,
        {"format": 1, "plan": plan, "config": {}, "data": data, "units": [unit.model_dump()], "versions": versions()},
    )
    rng = np.random.default_rng(0)
    made = [made_map(rng, side, bool(i % 2)) for i in range(DISTINCT)]
    writer = UnitWriter(folder / "units" / unit.name, [str(i) for i in range(count)])
    for i in range(count):
        values, mask = made[i % DISTINCT]
        shift = 7 * (i // DISTINCT)
        values, mask = np.roll(values, shift, 0), np.roll(mask, shift, 0)
        line = {
            "id": str(i), "path": str(i), "category": "made", "label": i % 2, "modality": "image", "defect_type": "",
            "size": [side, side], "score": float(values.max()), "error": None,
            "map": {"kind": "uint16", "shape": [side, side]}, "truth": {"shape": [side, side]},
        }  # fmt: skip
        writer.append([Row(line, {"map": encode_map(values, "uint16"), "truth": encode_truth(mask)}, 0.0)])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--scale", action="store_true")
    chosen = parser.parse_args()
    count, side = (1000, 1024) if chosen.scale else (60, 512)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        write_run(Path(folder) / "run", count, side)
        written = time.perf_counter()
        size = (Path(folder) / "run/units/0000-made-0-0/arrays.bin").stat().st_size
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        scores = score(Path(folder) / "run")
        scored = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"{count} maps of {side} x {side}, {count * side * side:,} pixels, {size / 2**20:.0f} MiB on disk")
    print(f"written in {written - start:.1f} s, scored in {scored - written:.1f} s")
    print(f"peak memory of the process {peak / 1024:.0f} MiB (before scoring {before / 1024:.0f} MiB)")
    print({name: round(value, 4) for name, value in scores["means"][0]["metrics"].items()})


if __name__ == "__main__":
    main()
