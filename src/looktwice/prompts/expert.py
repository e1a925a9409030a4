"""What a talker is told of the findings of a detector that measures: words for its score, its map and its marks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from looktwice.prompts.answer import clean
from looktwice.prompts.templates import Templates

ROWS, COLUMNS = ("upper", "centre", "lower"), ("left", "centre", "right")


@dataclass(frozen=True)
class Mark:
    """One place the detector marks: a box in shares of one view's width and height."""

    view: int  # from 0
    box: tuple[float, float, float, float]  # x0, y0, x1, y1 in 0..1
    score: float  # in 0..1


def render(templates: Templates, name: str, score: float, marks: Sequence[Mark], names: Sequence[str]) -> str:
    """Introduce the detector and list its score and marks; `names` are the labels of the views, "" for none."""
    intro = templates.fill("expert.intro", name=clean(name))
    if not marks:
        return f"{intro}\n\n{templates.fill('expert.nothing', score=f'{score:.2f}')}"
    lines = [_mark(templates, number, mark, names[mark.view]) for number, mark in enumerate(marks, 1)]
    return f"{intro}\n\n{templates.fill('expert.found', score=f'{score:.2f}', marks=chr(10).join(lines))}"


def _mark(templates: Templates, number: int, mark: Mark, name: str) -> str:
    x0, y0, x1, y1 = mark.box
    return templates.fill(
        "expert.mark",
        number=str(number),
        where=where((x0 + x1) / 2, (y0 + y1) / 2),
        picture=f' of "{clean(name)}"' if name else "",
        share=f"{max(0.1, 100 * (x1 - x0) * (y1 - y0)):.2g} %",
        score=f"{mark.score:.2f}",
    )


def where(x: float, y: float) -> str:
    """A point in shares of width and height as a cell of a 3 x 3 grid.

    >>> where(0.1, 0.1), where(0.5, 0.5), where(0.9, 0.5)
    ('upper left', 'centre', 'centre right')
    """
    row, column = ROWS[min(int(3 * y), 2)], COLUMNS[min(int(3 * x), 2)]
    return row if row == column else f"{row} {column}"


def overlay(templates: Templates, name: str) -> str:
    """Label the picture with the detector's map over it."""
    return templates.fill("expert.overlay", picture=f' picture "{clean(name)}"' if name else " picture")


def crop(templates: Templates, number: int) -> str:
    """Label an enlarged mark."""
    return templates.fill("expert.crop", number=str(number))
