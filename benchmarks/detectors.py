"""Speed and memory of the detectors that need no weights, and of their nearest neighbours beside scikit-learn.

Pictures are made plates with a defect each. Figures are of one process; `nearest` and scikit-learn's brute force answer
the same queries in the same run, and their answers are compared.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable

import numpy as np
import psutil
from sklearn.neighbors import NearestNeighbors

import looktwice
from looktwice import modalities
from looktwice.data.procedural import plate
from looktwice.detectors.features import filter_bank
from looktwice.detectors.neighbours import nearest
from looktwice.records import Spec, Views

REFERENCES = 4
SIDES = (256, 1024)
PICTURES = 2
ROUNDS = 2


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def fastest(work: Callable[[], object]) -> float:
    return min(seconds(work) for _ in range(ROUNDS))


def resident_mib() -> float:
    return float(psutil.Process().memory_info().rss / (1 << 20))


def peak_mib() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def judged(side: int) -> list[Views]:
    made = (looktwice.sample_from_array(plate(i, "scratch", side)[0]) for i in range(PICTURES))
    return [next(modalities.views(sample)) for sample in made]


def normal(side: int) -> Spec:
    made = [looktwice.sample_from_array(plate(900 + i, None, side)[0], f"reference {i}") for i in range(REFERENCES)]
    return Spec(references=tuple(made))


def speed_of(name: str, side: int) -> None:
    spec, views = normal(side), judged(side)
    start = time.perf_counter()
    fitted = looktwice.load(name).fit(spec)
    fit = time.perf_counter() - start
    fitted.predict(views[:1])
    taken = fastest(lambda: fitted.predict(views)) / len(views)
    print(
        f"{name}, {side} px: {1 / taken:.2f} images/s ({1000 * taken:.0f} ms each), fit in {fit:.2f} s, "
        f"{resident_mib():.0f} MiB resident afterwards"
    )


def neighbours(k: int) -> None:
    def rows(seeds: range) -> np.ndarray:
        return np.concatenate([filter_bank(plate(seed, None, 256)[0]).reshape(4096, -1) for seed in seeds])

    queries, bank = rows(range(2)), rows(range(900, 902))
    peer = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(bank)
    ours, theirs = fastest(lambda: nearest(queries, bank, k)), fastest(lambda: peer.kneighbors(queries))
    exact = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(bank.astype(np.float64))
    wanted = exact.kneighbors(queries.astype(np.float64))[0]
    error, peer_error = (np.abs(d - wanted).max() for d in (nearest(queries, bank, k)[0], peer.kneighbors(queries)[0]))
    print(
        f"nearest, {len(queries)} queries in {len(bank)} rows of {bank.shape[1]}, k={k}: {ours:.3f} s; "
        f"scikit-learn brute: {theirs:.3f} s; ratio {theirs / ours:.2f}x; "
        f"largest error {error:.1e} against {peer_error:.1e}"
    )


def main() -> None:
    print(f"{psutil.cpu_count()} cores; {REFERENCES} references; best of {ROUNDS}; {resident_mib():.0f} MiB at rest")
    for name in ("memory", "selfsim"):
        for side in SIDES:
            speed_of(name, side)
    print(f"peak memory so far: {peak_mib():.0f} MiB resident")
    for k in (1, 4):
        neighbours(k)


if __name__ == "__main__":
    main()
