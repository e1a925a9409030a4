"""Where an answer points: boxes and marks as a coarse map, and what that says of each view.

Letters: V views, h w pixels of a view.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from looktwice.detectors.talking.pictures import Shot, Sides, on_views
from looktwice.prompts.answer import Answer
from looktwice.prompts.expert import Mark
from looktwice.records import Views

SKIRT = 0.02  # of the longer side: over so much a box fades out
SKIRT_HEIGHT = 0.45  # below the border of 0.5, so that a region found in the map is the box itself


def places(answer: Answer, shots: Sequence[Shot], marks: Sequence[Mark]) -> dict[int, list[Sides]]:
    """View -> boxes that the answer names, directly or by the number of a mark."""
    found: dict[int, list[Sides]] = {}
    for box in answer.boxes:
        for view, sides in on_views(shots[box.picture - 1], (box.x0, box.y0, box.x1, box.y1)):
            found.setdefault(view, []).append(sides)
    for number in answer.marks:
        found.setdefault(marks[number - 1].view, []).append(marks[number - 1].box)
    return found


def view_scores(
    views: Views, score: float, answer: Answer, shots: Sequence[Shot], found: Mapping[int, Sequence[Sides]]
) -> tuple[float, ...]:
    """(V,) the score; lower for the views that an answer does not name while it names others, 0 for hidden ones."""
    named = set(found)
    for number in answer.pictures:
        if len(shots[number - 1].places) == 1:  # a sheet of all views names none
            named.add(shots[number - 1].places[0][0])
    shown = {view for shot in shots for view, _ in shot.places}
    others = min(score, 1 - score) if named else score
    return tuple(0.0 if view not in shown else score if view in named else others for view in range(len(views.images)))


def coarse_map(views: Views, scores: Sequence[float], found: Mapping[int, Sequence[Sides]]) -> np.ndarray:
    """(V, h, w) float32: a view's score in its boxes, or everywhere in a view without one; 0 outside of the thing."""
    height, width = views.images.shape[1:3]
    maps = np.zeros(views.images.shape[:3], np.float32)
    for view, score in enumerate(scores):
        boxes = found.get(view)
        maps[view] = score * (boxes_map((height, width), boxes) if boxes else 1.0)
    return maps if views.shown is None else np.where(views.shown, maps, 0).astype(np.float32)


def boxes_map(size: tuple[int, int], boxes: Sequence[Sides]) -> np.ndarray:
    """(h, w) float32: 1 inside of the boxes, fading out around them."""
    height, width = size
    y, x = np.ogrid[:height, :width]
    reach = max(1.0, SKIRT * max(size))
    values = np.zeros(size, np.float32)
    for x0, y0, x1, y1 in boxes:
        left, top = min(int(x0 * width), width - 1), min(int(y0 * height), height - 1)
        right, bottom = max(int(np.ceil(x1 * width)), left + 1), max(int(np.ceil(y1 * height)), top + 1)
        away = np.hypot(
            np.maximum(np.maximum(left - x, x - right + 1), 0), np.maximum(np.maximum(top - y, y - bottom + 1), 0)
        )
        one = np.where(away == 0, 1.0, SKIRT_HEIGHT * np.clip(1 - away / reach, 0, 1))
        values = np.maximum(values, one.astype(np.float32))
    return values
