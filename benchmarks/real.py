"""How well the detectors without weights do on three small real sets: python benchmarks/real.py ROOT [--quick].

ROOT holds three folders, each with a manifest.csv of one row per file, paths relative to it, label 1 = defective:

  pcb/            path,label,reference,mask       boards (DeepPCB) and the template photographed alike of each bad one
  magnetic_tile/  path,label,mask,type            good and bad tiles, a pixel mask for each bad one
  road3d/         tiff,pcd,label,mask,point_labels   organised xyz clouds, (0, 0, 0) where there is no point, and masks

pcb: each defective board is judged by its own template; the normal ones are the templates, judged by themselves after
a shift of 2 to 3 pixels, re-lighting by 5 to 10 % and camera noise. The others: 4 normal references drawn by a seed,
all else judged; mean and standard deviation over the seeds. --quick takes 10 boards and one seed, --only one of the
three sets.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

import looktwice
from looktwice import modalities
from looktwice.detectors.protocol import Fitted
from looktwice.metrics import auroc, pixel_metrics, point_auroc
from looktwice.records import Prediction, Sample, Spec, Views

REFERENCES, SEEDS, NOISE = 4, 5, 4.0
Row = dict[str, str]
Figures = dict[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, help="folder with pcb/, magnetic_tile/ and road3d/")
    parser.add_argument("--quick", action="store_true", help="10 boards and one seed")
    parser.add_argument("--only", choices=("pcb", "magnetic_tile", "road3d"), help="one set alone")
    args = parser.parse_args()
    seeds = range(1 if args.quick else SEEDS)
    root: Path = args.root
    print("| set | detector | runs | figures (mean +- deviation) | seconds |\n| --- | --- | --- | --- | --- |")
    if args.only in (None, "pcb"):
        line("pcb", "memory, own template", [lambda: boards(root / "pcb", 10 if args.quick else None)])
    if args.only in (None, "magnetic_tile"):
        folder = root / "magnetic_tile"
        line("magnetic_tile", "memory, 4 references", [partial(tiles, folder, "memory", seed) for seed in seeds])
        line("magnetic_tile", "selfsim", [partial(tiles, folder, "selfsim", 0)])
    if args.only in (None, "road3d"):
        line("road3d", "memory, 4 references", [partial(roads, root / "road3d", seed) for seed in seeds])


def line(data: str, detector: str, runs: list[Callable[[], Figures]]) -> None:
    start = time.perf_counter()
    found: list[Figures] = [run() for run in runs]
    words = []
    for name in found[0]:
        values = [one[name] for one in found]
        spread = f" +- {np.std(values):.3f}" if len(values) > 1 else ""
        words.append(f"{name} {np.mean(values):.3f}{spread}")
    seconds = time.perf_counter() - start
    print(f"| {data} | {detector} | {len(found)} | {', '.join(words)} | {seconds:.0f} |", flush=True)


def boards(folder: Path, many: int | None) -> Figures:
    rng = np.random.default_rng(0)
    scores, labels = [], []
    for row in [row for row in manifest(folder) if row["label"] == "1"][:many]:
        template = modalities.load(folder / row["reference"])
        fitted = looktwice.load("memory").fit(Spec(references=(template,)))
        again = looktwice.sample_from_array(seen_again(template.data.pixels, rng))
        for sample, label in ((modalities.load(folder / row["path"]), 1), (again, 0)):
            scores.append(judge(fitted, sample)[1].score)
            labels.append(label)
    values, truth = np.array(scores), np.array(labels)
    found = values >= 0.5
    return {
        "image AUROC": auroc(values, truth),
        "found at 0.5": float(found[truth == 1].mean()),
        "false alarms at 0.5": float(found[truth == 0].mean()),
    }


def seen_again(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The board as the same camera might see it again."""
    shift = rng.choice([-1, 1], 2) * rng.uniform(2, 3, 2)
    light = 1 + rng.choice([-1, 1]) * rng.uniform(0.05, 0.1)
    moved = ndimage.shift(pixels.astype(np.float32), (*shift, 0), order=1, mode="nearest")
    return np.clip(np.rint(moved * light + rng.normal(0, NOISE, pixels.shape)), 0, 255).astype(np.uint8)


def tiles(folder: Path, name: str, seed: int) -> Figures:
    rows = manifest(folder)
    chosen = references(rows, seed) if name == "memory" else []
    spec = Spec(references=tuple(str(folder / row["path"]) for row in chosen))
    fitted = looktwice.load(name).fit(spec)
    scores, labels, maps, masks = [], [], [], []
    for row in without(rows, chosen):
        sample = modalities.load(folder / row["path"])
        views, prediction = judge(fitted, sample)
        scores.append(prediction.score)
        labels.append(int(row["label"]))
        maps.append(views.scatter(prediction.anomaly_map))
        masks.append(mask_of(folder, row, sample.size))
    pixels = pixel_metrics(maps, masks, pro_limit=0.3)
    return {"image AUROC": auroc(scores, labels), "pixel AUROC": pixels["auroc"], "PRO(0.3)": pixels["pro"]}


def roads(folder: Path, seed: int) -> Figures:
    rows = manifest(folder)
    chosen = references(rows, seed)
    fitted = looktwice.load("memory").fit(Spec(references=tuple(str(folder / row["tiff"]) for row in chosen)))
    scores, labels, points, masks = [], [], [], []
    for row in without(rows, chosen):
        sample = modalities.load(folder / row["tiff"])
        views, prediction = judge(fitted, sample)
        scores.append(prediction.score)
        labels.append(int(row["label"]))
        valid = sample.data.valid
        points.append(views.scatter(prediction.anomaly_map)[valid])
        masks.append(mask_of(folder, row, sample.data.grid).reshape(-1)[valid])
    return {"image AUROC": auroc(scores, labels), "point AUROC": point_auroc(points, masks)}


def judge(fitted: Fitted, sample: Sample) -> tuple[Views, Prediction]:
    views = next(modalities.views(sample))
    return views, fitted.predict([views])[0]


def manifest(folder: Path) -> list[Row]:
    with (folder / "manifest.csv").open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def references(rows: list[Row], seed: int) -> list[Row]:
    normal = [row for row in rows if row["label"] == "0"]
    return [normal[i] for i in np.random.default_rng(seed).permutation(len(normal))[:REFERENCES]]


def without(rows: list[Row], some: list[Row]) -> Iterator[Row]:
    return (row for row in rows if row not in some)


def mask_of(folder: Path, row: Row, size: tuple[int, ...]) -> np.ndarray:
    if not row["mask"]:
        return np.zeros(size, bool)
    return np.asarray(Image.open(folder / row["mask"]).convert("L")) > 0


if __name__ == "__main__":
    main()
