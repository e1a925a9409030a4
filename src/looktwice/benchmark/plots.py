"""Plots of curves as SVG, drawn by hand: small, sharp, the same bytes every time, readable without colour.

Letters: x and y in [0, 1] of the plot.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from markupsafe import Markup, escape

from looktwice.benchmark.compare import shots_words
from looktwice.benchmark.score import read_scores
from looktwice.benchmark.store import CURVES
from looktwice.errors import UsageError
from looktwice.report.atomic import write_atomically

SIDE, LEFT, TOP, BOTTOM = 360, 60, 30, 46  # of the square, and the room around it
COLORS = ("#0b559f", "#c1440e", "#2a7d3f", "#7b3294", "#8c6d00", "#00798c", "#a4133c", "#495057")
DASHES = ("", "7 3", "2 3", "9 3 2 3")
KEYS = 24  # curves with a name beside the plot; more are drawn and counted
TITLES: Mapping[str, tuple[str, str, str, float, bool]] = {
    "roc": ("ROC of samples", "false positive rate", "true positive rate", 1.0, True),
    "pro": ("PRO curve", "false positive rate of pixels", "per-region overlap", 0.3, False),
}
Curves = Mapping[str, Sequence[Sequence[float]]]  # name -> (x, y) pairs


def curves_svg(curves: Curves, title: str, x: str, y: str, limit: float = 1.0, diagonal: bool = False) -> str:
    """An SVG picture of rising curves; x from 0 to `limit`, y from 0 to 1. Names are escaped.

    diagonal: with the line of a coin toss.
    """
    width = LEFT + SIDE + 20 + 260
    height = max(TOP + SIDE + BOTTOM, TOP + 18 * (min(len(curves), KEYS) + 2))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        f'<text x="{LEFT}" y="18" font-size="14" font-weight="bold">{escape(title)}</text>',
    ]
    for i in range(6):
        share = i / 5
        across, up = LEFT + share * SIDE, TOP + (1 - share) * SIDE
        parts.append(
            f'<path d="M{across:.0f} {TOP}V{TOP + SIDE}M{LEFT} {up:.0f}H{LEFT + SIDE}" stroke="#ddd" fill="none"/>'
            f'<text x="{across:.0f}" y="{TOP + SIDE + 16}" text-anchor="middle">{share * limit:g}</text>'
            f'<text x="{LEFT - 6}" y="{up + 4:.0f}" text-anchor="end">{share:g}</text>'
        )
    if diagonal:
        parts.append(f'<path d="M{LEFT} {TOP + SIDE}L{LEFT + SIDE} {TOP}" stroke="#999" stroke-dasharray="4 4"/>')
    parts.append(f'<text x="{LEFT + SIDE / 2:.0f}" y="{TOP + SIDE + 36}" text-anchor="middle">{escape(x)}</text>')
    parts.append(
        f'<text transform="translate(16 {TOP + SIDE / 2:.0f}) rotate(-90)" text-anchor="middle">{escape(y)}</text>'
    )
    for number, (name, points) in enumerate(curves.items()):
        style = f'stroke="{COLORS[number % len(COLORS)]}" stroke-width="1.6"'
        if dash := DASHES[number // len(COLORS) % len(DASHES)]:
            style += f' stroke-dasharray="{dash}"'
        drawn = " ".join(f"{LEFT + a / limit * SIDE:.1f},{TOP + (1 - b) * SIDE:.1f}" for a, b in points)
        parts.append(f'<polyline points="{drawn}" fill="none" {style}/>')
        if number < KEYS:
            at = TOP + 18 * number + 10
            key = LEFT + SIDE + 20
            parts.append(f'<path d="M{key} {at}h24" {style}/><text x="{key + 30}" y="{at + 4}">{escape(name)}</text>')
    if len(curves) > KEYS:
        parts.append(f'<text x="{LEFT + SIDE + 20}" y="{TOP + 18 * KEYS + 14}">and {len(curves) - KEYS} more</text>')
    return str(Markup("\n").join([*map(Markup, parts), Markup("</svg>")])) + "\n"


def write_plots(runs: Sequence[Path], out: Path) -> list[Path]:
    """Write roc.svg and pro.svg of scored runs into `out`; scores them where that is missing. Returns the paths."""
    found: dict[str, dict[str, Sequence[Sequence[float]]]] = {"roc": {}, "pro": {}}
    for folder in runs:
        scores = read_scores(folder)
        curves = json.loads((Path(folder) / CURVES).read_text(encoding="utf-8"))
        for one in scores["categories"]:
            name = f"{one['category']}, {shots_words(one['shots'])}"
            name += f", seed {one['seed']}" if any(other["seed"] for other in scores["categories"]) else ""
            name = f"{scores['model']}: {name}" if len(runs) > 1 else name
            for kind, points in curves[one["unit"]].items():
                found[kind][name] = points
    written = []
    for kind, words in TITLES.items():
        if found[kind]:
            written.append(write_atomically(out / f"{kind}.svg", curves_svg(found[kind], *words)))
    if not written:
        raise UsageError("no curve to draw: no category has samples of both labels")
    return written
