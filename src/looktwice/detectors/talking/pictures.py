"""What is shown: views as single pictures or on one sheet, and the way from a box on a picture back to the views.

Letters: V views, h w pixels of a view. Boxes are (x0, y0, x1, y1) in shares of a picture's width and height.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

from looktwice.records import Region, Views
from looktwice.report.overlay import draw_regions
from looktwice.report.sheet import contact_sheet

SMALLEST = 32  # pixels: vision encoders refuse pictures thinner than a patch
OVERLAP = 0.1  # of a box on a sheet that must lie on a view for the view to be meant
MARGIN = 0.5  # of a place's sides, shown around it in a crop

Sides = tuple[float, float, float, float]
WHOLE: Sides = (0.0, 0.0, 1.0, 1.0)


@dataclass(frozen=True, eq=False)
class Shot:
    """One picture of the part, and where on it which views lie."""

    name: str
    pixels: np.ndarray  # (H, W, 3) uint8
    places: tuple[tuple[int, Sides], ...]  # view, box on the picture


def visible(views: Views) -> list[int]:
    """The views that show something of the thing."""
    return [v for v in range(len(views.images)) if views.shown is None or views.shown[v].any()]


def shots(views: Views, layout: Literal["list", "sheet"], max_side: int) -> tuple[Shot, ...]:
    """Return the pictures to show, views that show nothing left out."""
    chosen = visible(views)
    if layout == "list" or len(chosen) < 2:
        return tuple(Shot(views.names[v], fitted(views.images[v], max_side), ((v, WHOLE),)) for v in chosen)
    sheet, placements = contact_sheet(views.images[chosen], [views.names[v] for v in chosen], max_side=max_side)
    height, width = sheet.shape[:2]
    places = tuple(
        (v, (p.x / width, p.y / height, (p.x + p.width) / width, (p.y + p.height) / height))
        for v, p in zip(chosen, placements, strict=True)
    )
    return (Shot("", sheet, places),)


def fitted(pixels: np.ndarray, max_side: int) -> np.ndarray:
    """Scale (H, W, 3) to a longest side of at most `max_side`, and each side to at least SMALLEST pixels."""
    height, width = pixels.shape[:2]
    scale = min(1.0, max_side / max(height, width))
    size = (max(SMALLEST, round(width * scale)), max(SMALLEST, round(height * scale)))
    if size == (width, height):
        return pixels
    return np.asarray(Image.fromarray(np.ascontiguousarray(pixels)).resize(size, Image.Resampling.BOX))


def on_views(shot: Shot, box: Sides) -> list[tuple[int, Sides]]:
    """Carry a box on a picture to the views that it lies on."""
    found = []
    area = (box[2] - box[0]) * (box[3] - box[1])
    for view, (x0, y0, x1, y1) in shot.places:
        left, top, right, bottom = max(box[0], x0), max(box[1], y0), min(box[2], x1), min(box[3], y1)
        if right > left and bottom > top and (right - left) * (bottom - top) >= OVERLAP * area:
            wide, high = x1 - x0, y1 - y0
            found.append((view, ((left - x0) / wide, (top - y0) / high, (right - x0) / wide, (bottom - y0) / high)))
    return found


def crop(pixels: np.ndarray, box: Sides, max_side: int) -> np.ndarray:
    """Cut a place (h, w, 3) out of a view with MARGIN around it, and enlarge it if it is small."""
    height, width = pixels.shape[:2]
    wide, high = MARGIN * (box[2] - box[0]), MARGIN * (box[3] - box[1])
    x0, y0 = int(max(0.0, box[0] - wide) * width), int(max(0.0, box[1] - high) * height)
    x1, y1 = int(np.ceil(min(1.0, box[2] + wide) * width)), int(np.ceil(min(1.0, box[3] + high) * height))
    cut = pixels[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)]
    larger = min(4, max_side // 2 // max(cut.shape[:2]))
    return fitted(cut.repeat(larger, 0).repeat(larger, 1) if larger > 1 else cut, max_side)


def draw_marks(pixels: np.ndarray, boxes: Sequence[Sides], numbers: Sequence[int] | None = None) -> np.ndarray:
    """Draw numbered boxes on (H, W, 3) uint8; numbers count from 1, others are left out of the drawing."""
    height, width = pixels.shape[:2]
    last = max(numbers, default=0) if numbers is not None else len(boxes)
    by_number = dict(zip(numbers if numbers is not None else range(1, last + 1), boxes, strict=True))
    regions = []
    for number in range(1, last + 1):
        box = by_number.get(number)
        corners = None
        if box is not None:
            corners = (int(box[0] * width), int(box[1] * height), round(box[2] * width), round(box[3] * height))
        regions.append(Region(score=0, words="", where="", box=corners))
    return draw_regions(pixels, regions)


def grid(rows: int) -> tuple[Sides, ...]:
    """Boxes of `rows` x `rows` cells, row by row."""
    steps = [i / rows for i in range(rows + 1)]
    return tuple((steps[x], steps[y], steps[x + 1], steps[y + 1]) for y in range(rows) for x in range(rows))
