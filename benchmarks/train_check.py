"""Does VMAD learn? From random weights, on made pictures, on a processor; parts are held out for the test.

    python benchmarks/train_check.py                 one run on the easy level; exit 1 if it stays below the bars
    python benchmarks/train_check.py --grid          none / LTC / DSSL / both on the easy and the hard level
    python benchmarks/train_check.py --minutes 10    as many updates as fit into the time, by a measured pace

The easy level: one family each of four categories, blatant defects, photographed alike. The hard level: four families
of each, defects down to faint ones, and odd but harmless light, focus and poses among the good parts. Figures of a run
depend on its updates, not on the machine; the time does. A stopped run goes on with the same command.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from looktwice import training
from looktwice.training import Progress

BARS = {"image_auroc": 0.85, "pixel_auroc": 0.90}
PARTS = "categories=nut+metal_sheet+foam+pill"
LEVELS = {
    "easy": f"procedural:level=easy,{PARTS}",
    "hard": f"procedural:level=hard,families=4,near=0.15,{PARTS}",
}
HELD_OUT = ",first=0,count=100"  # of each family; those learnt from begin at 1000
STEPS, GRID_STEPS = 2000, 600
PACE = 12  # updates that measure the pace
SHOWN = ("image_auroc", "pixel_auroc", "auroc_yes", "auroc_mask", "says_right")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--grid", action="store_true", help="the ablation instead of one run")
    parser.add_argument("--seeds", type=int, default=2, help="of each variant of the grid")
    parser.add_argument("--levels", default="easy,hard", help="of the grid")
    parser.add_argument("--steps", type=int, help=f"updates of a run; default {STEPS}, of a grid {GRID_STEPS}")
    parser.add_argument("--minutes", type=float, help="updates that fit into this time, instead")
    parser.add_argument("--count", type=int, default=200, help="pictures judged, half of them good")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("out/train-check"))
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    steps = given.steps or (GRID_STEPS if given.grid else STEPS)
    if given.minutes:
        steps = fitting(given.minutes)
    if given.grid:
        for level in given.levels.split(","):
            grid(level, steps, given)
    else:
        check(steps, given)


def settings(level: str, steps: int, count: int) -> dict[str, Any]:
    """How a run on a level is set."""
    return {
        "data": [LEVELS[level]],
        "test": [LEVELS[level] + HELD_OUT],
        "changes": {"steps": steps, "eval_count": count, "log_every": max(1, steps // 40)},
    }


def fitting(minutes: float) -> int:
    """Updates that fit into a time, judging left out."""
    with TemporaryDirectory() as folder:
        times: list[float] = []
        training.train(
            "vmad", "laptop", Path(folder) / "run", changes={"steps": PACE, "log_every": 1},
            on_step=lambda progress: times.append(time.perf_counter()),
        )  # fmt: skip
    pace = (times[-1] - times[2]) / (len(times) - 3)  # the first ones warm up
    print(f"{pace:.2f} s an update: {max(PACE, int(60 * minutes / pace))} updates fit into {minutes:g} minutes")
    return max(PACE, int(60 * minutes / pace))


def check(steps: int, given: argparse.Namespace) -> None:
    """One run on the easy level, against the bars."""
    start = time.perf_counter()
    asked = settings("easy", steps, given.count)
    asked["changes"]["eval_every"] = max(1, steps // 4)
    outcome = training.train("vmad", "laptop", given.out / f"easy-{steps}", resume=True, on_step=tell, **asked)
    seconds = time.perf_counter() - start
    print(f"\nAfter {outcome.steps} updates, {seconds / 60:.1f} minutes with {given.threads} threads:")
    for line in training.evaluations(outcome.model.parent):
        print(f"  update {line['step']:5d}: {figures(line)}")
    low = {name: bar for name, bar in BARS.items() if not outcome.figures[name] > bar}
    for name, bar in BARS.items():
        print(f"{name} {outcome.figures[name]:.3f}: {'below' if name in low else 'above'} the bar of {bar}")
    sys.exit(1 if low else 0)


def grid(level: str, steps: int, given: argparse.Namespace) -> None:
    """The ablation on a level."""
    rows = training.grid(
        "vmad", "laptop", given.out / f"grid-{level}-{steps}", seeds=range(given.seeds), resume=True,
        on_step=lambda name, progress: tell(progress, f"{level} {name} "), **settings(level, steps, given.count),
    )  # fmt: skip
    print(f"\n{level}, {steps} updates, {given.count} pictures judged, in %:\n{training.table(rows, SHOWN)}\n")


def tell(progress: Progress, name: str = "") -> None:
    losses = ", ".join(f"{key} {value:.3f}" for key, value in progress.losses.items())
    print(f"{name}[{progress.step}/{progress.steps}] {losses}; {progress.left / 60:.1f} min left", flush=True)


def figures(line: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {line[name]:.3f}" for name in SHOWN if name in line)


if __name__ == "__main__":
    main()
