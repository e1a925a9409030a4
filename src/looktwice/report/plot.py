"""The score of a video over time, as numbers an SVG draws. Letters: F scores."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from looktwice.records import Curve

WIDTH, HEIGHT = 1000, 100  # of the plot's own coordinates; the page stretches them
BINS = 500  # of a long curve: the lowest and highest score of each bin are drawn
STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)


@dataclass(frozen=True)
class Plot:
    """Everything in per cent of the plot's width or height, but for `line` and `fill` in its own coordinates."""

    line: str
    fill: str
    threshold: float | None
    intervals: tuple[tuple[int, float, float], ...]  # (number of the region, left, width)
    ticks: tuple[tuple[float, str], ...]  # (left, label)


def plot(curve: Curve, threshold: float | None, intervals: Sequence[tuple[int, float, float]]) -> Plot | None:
    """Plan the drawing of a curve with numbered intervals (number, start, end) in seconds; None without scores."""
    pairs = [(t, s) for t, s in zip(curve.times, curve.scores, strict=False) if math.isfinite(t) and math.isfinite(s)]
    if not pairs:
        return None
    start = min(0.0, pairs[0][0])
    end = max([t for t, _ in pairs] + [stop for _, _, stop in intervals if math.isfinite(stop)])
    span = end - start or 1.0

    def across(time: float) -> float:
        return min(max((time - start) / span, 0.0), 1.0)

    points = [(across(t) * WIDTH, (1 - min(max(s, 0.0), 1.0)) * HEIGHT) for t, s in _thinned(pairs)]
    if len(points) == 1:  # one frame: a level line, else nothing would be seen
        points = [(0.0, points[0][1]), (float(WIDTH), points[0][1])]
    line = " ".join(f"{x:.1f},{y:.2f}" for x, y in points)
    return Plot(
        line=line,
        fill=f"{points[0][0]:.1f},{HEIGHT} {line} {points[-1][0]:.1f},{HEIGHT}",
        threshold=None if threshold is None else 100 * (1 - min(max(threshold, 0.0), 1.0)),
        intervals=tuple(
            (number, 100 * across(a), 100 * max(across(b) - across(a), 0.004)) for number, a, b in intervals
        ),
        ticks=tuple((100 * across(t), clock(t, span)) for t in _ticks(start, end)),
    )


def _thinned(pairs: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most 2 BINS points, peaks and valleys kept."""
    if len(pairs) <= 2 * BINS:
        return list(pairs)
    kept: list[tuple[float, float]] = []
    for i in range(BINS):
        part = pairs[i * len(pairs) // BINS : (i + 1) * len(pairs) // BINS]
        ends = {min(part, key=lambda p: p[1]), max(part, key=lambda p: p[1])}
        kept.extend(sorted(ends))
    return kept


def _ticks(start: float, end: float) -> list[float]:
    """Three to seven round times."""
    span = end - start
    if span <= 0:
        return [start]
    if span < STEPS[0] * 3:
        power = 10.0 ** math.floor(math.log10(span / 3))
        step = max(power * m for m in (1, 2, 5) if power * m <= span / 3)
    else:
        step = max(s for s in STEPS if s * 3 <= span)
        while span / step > 7:  # beyond the longest step
            step *= 2
    first = math.ceil(start / step - 1e-9)
    return [step * i for i in range(first, math.floor(end / step + 1e-9) + 1)]


def clock(seconds: float, span: float) -> str:
    """A time as the axis shows it.

    >>> clock(1.5, 4), clock(90, 300), clock(4000, 9000)
    ('1.5 s', '1:30', '1:06:40')
    """
    if span < 120:
        return f"{round(seconds, 3):g} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
