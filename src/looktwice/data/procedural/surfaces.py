"""Points spread evenly over a surface that is given by its distance function.

Points are drawn in a thin shell around the surface, then moved onto it. Lengths in millimetres. Letters: N points,
f distance (negative inside), p places (N, 3).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Points = npt.NDArray[np.float64]
Distance = Callable[[Points], Points]  # (N, 3) -> (N,)

SHELL = 0.25  # mm on each side of the surface
CELL = 1.0  # mm, of the grid that finds the surface quickly
COARSE = 5  # cells along a large cell


def slope(distance: Distance, p: Points) -> Points:
    """(N, 3) gradient of the distance, from the four corners of a tiny tetrahedron."""
    step, corners = 1e-4, np.array(((1.0, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1)))
    return np.asarray(sum(distance(p + step * e)[:, None] * e for e in corners) / (4 * step))


def onto(distance: Distance, p: Points) -> Points:
    """Move points near a surface onto it."""
    for _ in range(2):
        steepest = slope(distance, p)
        p = p - (distance(p) / np.maximum((steepest**2).sum(1), 1e-6))[:, None] * steepest
    return p


def cells(distance: Distance, low: Points, high: Points) -> Points:
    """(C, 3) lower corners of the cells of a grid that the shell may touch."""
    axes = [np.arange(a, b, CELL) for a, b in zip(low, high, strict=True)]
    corners = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
    return np.asarray(corners[np.abs(distance(corners + CELL / 2)) < SHELL + CELL * np.sqrt(3) / 2])


def found_cells(distance: Distance, half: Points) -> Points:
    """The same for a box from -half to half, looked for in large cells first: far fewer places to ask.

    Large cells are passed over by the distance at their middle, so it may be at most 1.5 times too large.
    """
    wide = COARSE * CELL
    axes = [np.arange(-h, h, wide) for h in half]
    corners = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
    near = corners[np.abs(distance(corners + wide / 2)) < 1.5 * (SHELL + wide * np.sqrt(3) / 2)]
    inside = np.stack(np.meshgrid(*[CELL * np.arange(COARSE)] * 3, indexing="ij"), -1).reshape(-1, 3)
    small = (near[:, None] + inside).reshape(-1, 3)
    return np.asarray(small[np.abs(distance(small + CELL / 2)) < SHELL + CELL * np.sqrt(3) / 2])


def in_shell(distance: Distance, boxes: Points, many: int, rng: np.random.Generator) -> Points:
    """Of `many` points drawn in the cells, those within SHELL of the surface; `boxes` from `cells`."""
    p = boxes[rng.integers(len(boxes), size=many)] + rng.uniform(0, CELL, (many, 3))
    p = p[np.abs(distance(p)) < SHELL]
    # blends bend the distance: dividing by its slope keeps the shell equally thick everywhere
    return np.asarray(p[np.abs(distance(p)) < SHELL * np.linalg.norm(slope(distance, p), axis=1)])
