"""Pixel metrics against scikit-learn and a loop over thresholds, and against torchmetrics and anomalib where installed.

python benchmarks/metrics.py           40 maps of 518 x 518: seconds, ratios, distance from exact, memory
python benchmarks/metrics.py --habits  how far the habits of other evaluation code move the same figures
python benchmarks/metrics.py --scale   1,000 maps of 1,024 x 1,024 streamed: seconds and peak memory

All times of one run are taken on the same maps in the same process; ours are the median of five.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import resource
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from scipy import ndimage

from looktwice.metrics import PixelMetrics, aupimo, dice, pixel_metrics

REPEATS = 5
STEPS = 200  # thresholds of the usual PRO loop
NEEDED = {"exact": 8, "streaming": 60}  # times faster than scikit-learn and the loop


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--maps", type=int, help="how many maps (40, or 1,000 with --scale)")
    parser.add_argument("--side", type=int, help="height and width in pixels (518, or 1,024 with --scale)")
    parser.add_argument("--noise", action="store_true", help="unrelated pixels instead of smooth maps: no locality")
    parser.add_argument("--habits", action="store_true", help="what other evaluation code would print")
    parser.add_argument("--scale", action="store_true", help="stream a billion pixels and report the peak memory")
    chosen = parser.parse_args()
    if chosen.scale:
        scale(chosen.maps or 1000, chosen.side or 1024)
    elif chosen.habits:
        habits(chosen.maps or 40, chosen.side or 518)
    else:
        compare(chosen.maps or 40, chosen.side or 518, smooth=not chosen.noise)


# ---------------------------------------------------------------- maps


def made_maps(count: int, side: int, smooth: bool = True, seed: int = 0) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Noise in [0, 1] with up to four elliptic defects that stand out a little; every fourth map is normal."""
    generator = np.random.default_rng(seed)
    y, x = np.ogrid[:side, :side]
    for index in range(count):
        one = generator.random((side, side), dtype=np.float32)
        if smooth:
            one = ndimage.gaussian_filter(one, 4)
            one = np.clip(0.3 + 3 * (one - 0.5), 0, 1)
        mask = np.zeros((side, side), np.bool_)
        for _ in range(index % 4):
            cy, cx = generator.integers(0, side, 2)
            ry, rx = generator.integers(side // 64 + 1, side // 12 + 2, 2)
            mask |= ((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 <= 1
        yield np.clip(one * np.float32(0.8) + mask * np.float32(0.15), 0, 1), mask


# ---------------------------------------------------------------- the usual ways


def with_scikit_learn(maps: np.ndarray, masks: np.ndarray) -> dict[str, float]:
    metrics = importlib.import_module("sklearn.metrics")
    scores, labels = maps.reshape(-1), masks.reshape(-1)
    precision, recall, _ = metrics.precision_recall_curve(labels, scores)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    return {
        "auroc": metrics.roc_auc_score(labels, scores),
        "ap": metrics.average_precision_score(labels, scores),
        "f1_max": float(f1.max()),
    }


def pro_by_loop(
    maps: np.ndarray, masks: np.ndarray, limit: float = 0.3, corners: bool = True, stretch: bool = False
) -> float:
    """PRO at 200 thresholds between the lowest and the highest score; a mean over the pixels of each region in turn.

    `corners`: pixels that touch at a corner are one region. `stretch`: drop what lies above the limit and stretch the
    rates that are left to [0, 1] instead of cutting the curve at the limit.
    """
    regions = []
    for index, mask in enumerate(masks):
        labels, count = ndimage.label(mask, np.ones((3, 3)) if corners else None)
        regions += [np.flatnonzero(labels == region + 1) + index * mask.size for region in range(count)]
    normal, flat = ~masks, maps.reshape(-1)
    rates, overlaps = [], []
    for threshold in np.linspace(maps.max(), maps.min(), STEPS):
        found = maps >= threshold
        rates.append(found[normal].mean())
        hit = flat >= threshold
        overlaps.append(np.mean([hit[region].mean() for region in regions]))
    kept = np.array(rates) <= limit
    x, y = np.array(rates)[kept], np.array(overlaps)[kept]
    if stretch:
        x = (x - x.min()) / (x.max() - x.min()) * limit
    else:
        x, y = np.append(x, limit), np.append(y, np.interp(limit, rates, overlaps))
    return float((np.diff(x) * (y[1:] + y[:-1])).sum() / 2 / limit)


def with_torchmetrics(maps: np.ndarray, masks: np.ndarray) -> dict[str, float]:
    torch = importlib.import_module("torch")
    functional = importlib.import_module("torchmetrics.functional.classification")
    scores, labels = torch.from_numpy(maps.reshape(-1)), torch.from_numpy(masks.reshape(-1).astype(np.int64))
    precision, recall, _ = functional.binary_precision_recall_curve(scores, labels)
    return {
        "auroc": float(functional.binary_auroc(scores, labels)),
        "ap": float(functional.binary_average_precision(scores, labels)),
        "f1_max": float((2 * precision * recall / (precision + recall).clamp(min=1e-12)).max()),
    }


def with_anomalib(maps: np.ndarray, masks: np.ndarray) -> dict[str, float]:
    torch = importlib.import_module("torch")
    module: Any = importlib.import_module("anomalib.metrics.aupro")
    metric = (module._AUPRO if hasattr(module, "_AUPRO") else module.AUPRO)(fpr_limit=0.3)  # since 2.0 and before
    metric.update(torch.from_numpy(maps), torch.from_numpy(masks.astype(np.int64)))
    return {"pro": float(metric.compute())}


def aupimo_of_anomalib(maps: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """(N,) AUPIMO of each picture at 300,000 thresholds, NaN for the normal ones."""
    torch = importlib.import_module("torch")
    metric = importlib.import_module("anomalib.metrics.pimo.pimo")._AUPIMO(return_average=False)
    metric.update(torch.from_numpy(maps), torch.from_numpy(masks))
    return np.asarray(metric.compute()[1].aupimos)


# ---------------------------------------------------------------- ours


def streamed(maps: np.ndarray, masks: np.ndarray) -> dict[str, float]:
    stream = PixelMetrics()
    stream.update(maps, masks)
    return stream.compute()


def compare(count: int, side: int, smooth: bool) -> None:
    pairs = list(made_maps(count, side, smooth))
    maps, masks = np.stack([one for one, _ in pairs]), np.stack([mask for _, mask in pairs])
    kind = "smooth" if smooth else "noise"
    print(f"{count} {kind} maps of {side} x {side}: {maps.size:,} pixels, {masks.mean():.2%} anomalous")
    seconds, exact = median_seconds(lambda: pixel_metrics(maps, masks))
    quick, approximate = median_seconds(lambda: streamed(maps, masks))
    slow, known = once(lambda: with_scikit_learn(maps, masks))
    loop, coarse = once(lambda: pro_by_loop(maps, masks))
    usual = slow + loop

    print(f"scikit-learn AUROC, AP, F1 {slow:8.3f} s")
    print(f"PRO loop, {STEPS} thresholds  {loop:8.3f} s   PRO {coarse:.6f}, off by {abs(coarse - exact['pro']):.1e}")
    print(f"exact, all four            {seconds:8.3f} s   {ratio(usual / seconds, 'exact')}")
    print(f"streaming, all four        {quick:8.3f} s   {ratio(usual / quick, 'streaming')}")
    print("exact:    ", exact)
    print("streaming:", approximate)
    worst = max(abs(exact[name] - known[name]) for name in known)
    print(f"largest distance: exact from scikit-learn {worst:.1e}, ", end="")
    print(f"streaming from exact {max(abs(exact[name] - approximate[name]) for name in exact):.1e} (needed: 1e-4)")
    print(
        f"memory on top of {maps.nbytes / 2**20:.0f} MiB of maps and {masks.nbytes / 2**20:.0f} MiB of masks: ", end=""
    )
    print(f"exact {peak_mib(lambda: pixel_metrics(maps, masks)):.0f} MiB, ", end="")
    print(f"streaming {peak_mib(lambda: streamed(maps, masks)):.0f} MiB")
    for name, peer in (("torchmetrics", with_torchmetrics), ("anomalib", with_anomalib)):
        if importlib.util.find_spec(name) is None:
            print(f"{name} is not installed: skipped")
            continue
        took, values = once(lambda peer=peer: peer(maps, masks))
        apart = ", ".join(f"{key} {value:.6f} (exact {exact[key]:.6f})" for key, value in values.items())
        print(f"{name:26} {took:8.3f} s   {took / seconds:.1f} x exact, {took / quick:.1f} x streaming: {apart}")
        if name == "anomalib":
            beside_anomalib(maps, masks)


def beside_anomalib(maps: np.ndarray, masks: np.ndarray) -> None:
    took, theirs = once(lambda: aupimo_of_anomalib(maps, masks))
    seconds, ours = median_seconds(lambda: aupimo(maps, masks))
    print(
        f"anomalib, AUPIMO           {took:8.3f} s   {took / seconds:.1f} x ours: mean {np.nanmean(theirs):.6f} "
        f"(exact {np.nanmean(ours):.6f}), largest distance of a picture {np.nanmax(np.abs(theirs - ours)):.1e}"
    )


def ratio(times: float, mode: str) -> str:
    return f"{times:.1f} times faster (needed: {NEEDED[mode]})"


def median_seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    runs = [once(work) for _ in range(REPEATS)]
    return float(np.median([seconds for seconds, _ in runs])), runs[-1][1]


def once(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def peak_mib(work: Callable[[], Any]) -> float:
    tracemalloc.start()
    work()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 2**20


def habits(count: int, side: int) -> None:
    """The same maps, scored as other code would; scratches of one pixel's width are added as defects."""
    pairs = list(made_maps(count, side))
    maps, masks = np.stack([one for one, _ in pairs]), np.stack([mask for _, mask in pairs])
    for index in range(1, count, 4):
        place = np.arange(side // 8, side // 4)
        masks[index, place, place] = True
        maps[index, place, place] += np.float32(0.15)
    exact = pixel_metrics(maps, masks)
    sharp = maps.astype(np.float64) ** 8  # the same ranks, so the same exact figures
    small = [ndimage.zoom(one, 256 / side, order=1) for one in maps]
    small_masks = [ndimage.zoom(mask.astype(np.uint8), 256 / side, order=0) > 0 for mask in masks]
    own = maps / maps.max((1, 2), keepdims=True)
    half = count // 2
    threshold = pixel_metrics(maps[:half], masks[:half]).threshold
    second = pixel_metrics(maps[half:], masks[half:])
    rows = [
        ("PRO from 200 thresholds", pro_by_loop(maps, masks), exact["pro"]),
        ("the same, scores to the 8th power", pro_by_loop(sharp, masks), pixel_metrics(sharp, masks)["pro"]),
        ("the same, rates up to the limit stretched", pro_by_loop(sharp, masks, stretch=True), exact["pro"]),
        ("PRO, corners do not join", pro_by_loop(maps, masks, corners=False), exact["pro"]),
        ("PRO up to 0.05 instead of 0.3", pixel_metrics(maps, masks, 0.05)["pro"], exact["pro"]),
        ("PRO, maps and masks at 256 x 256", pixel_metrics(small, small_masks)["pro"], exact["pro"]),
        ("AP, maps and masks at 256 x 256", pixel_metrics(small, small_masks)["ap"], exact["ap"]),
        ("AP, each map divided by its maximum", pixel_metrics(own, masks)["ap"], exact["ap"]),
        ("AUROC, anomalous images alone", _anomalous_alone(maps, masks), exact["auroc"]),
        ("F1 of one half, threshold of the other", dice(maps[half:], masks[half:], threshold), second["f1_max"]),
    ]
    print(f"{'habit':44}{'prints':>10}{'ours':>10}{'points':>9}")
    for name, theirs, ours in rows:
        print(f"{name:44}{theirs:10.4f}{ours:10.4f}{100 * (theirs - ours):9.2f}")


def _anomalous_alone(maps: np.ndarray, masks: np.ndarray) -> float:
    marked = masks.any((1, 2))
    return pixel_metrics(maps[marked], masks[marked])["auroc"]


def scale(count: int, side: int) -> None:
    stream, making, counting = PixelMetrics(), 0.0, 0.0
    pairs = made_maps(count, side, smooth=False)
    for _ in range(count):
        seconds, (one, mask) = once(lambda: next(pairs))
        making += seconds
        seconds, _ = once(lambda one=one, mask=mask: stream.update(one[None], mask[None]))
        counting += seconds
    seconds, result = once(stream.compute)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    print(f"{count:,} maps of {side} x {side}: {count * side * side:,} pixels, {stream.regions:,} regions")
    print(f"counted in {counting:.1f} s, computed in {seconds:.3f} s (making the maps took {making:.1f} s)")
    print(f"peak memory of the process {peak / 2**20:.0f} MiB (allowed: 1024)")
    print(result)


if __name__ == "__main__":
    main()
