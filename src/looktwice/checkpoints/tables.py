"""Key tables: their names on the left, ours on the right.

`{i}`, `{j}` stand for numbers and `{rest}` for the rest of a name; the first row that fits counts. On the right: our
name, Split or Transposed, or None for what is dropped, with the reason beside it.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from looktwice.checkpoints.tensors import Shape


@dataclass(frozen=True)
class Move:
    """Their tensor becomes one of ours as it is."""

    names: tuple[str, ...]

    def shapes(self, shape: Shape) -> list[Shape]:
        """Return the shapes of ours for that of theirs."""
        return [shape]

    def cut(self, tensor: torch.Tensor) -> Sequence[torch.Tensor]:
        """Return ours for theirs."""
        return [tensor]


class Split(Move):
    """Their tensor is cut into equal parts along its first side."""

    def shapes(self, shape: Shape) -> list[Shape]:
        """Return the shapes of the parts; the whole's where it cannot be cut, so that none fits."""
        parts = len(self.names)
        if not shape or shape[0] % parts:
            return [shape] * parts
        return [(shape[0] // parts, *shape[1:])] * parts

    def cut(self, tensor: torch.Tensor) -> Sequence[torch.Tensor]:
        """Return the parts."""
        return tensor.chunk(len(self.names))


class Transposed(Move):
    """Their matrix is ours, turned."""

    def shapes(self, shape: Shape) -> list[Shape]:
        """Return the turned shape."""
        return [shape[::-1]]

    def cut(self, tensor: torch.Tensor) -> Sequence[torch.Tensor]:
        """Return the turned matrix."""
        return [tensor.T]


Table = Mapping[str, str | Move | None]


def under(table: Table, theirs: str = "", ours: str = "") -> dict[str, Move | None]:
    """Return the table for a part: their names begin with `theirs`, ours with `ours`.

    >>> under({"a.{i}": "b.{i}"}, "model.sam.", "visual_model.")
    {'model.sam.a.{i}': Move(names=('visual_model.b.{i}',))}
    """
    return {theirs + row: renamed(move, lambda name: ours + name) for row, move in table.items()}


def renamed(move: str | Move | None, change: Callable[[str], str]) -> Move | None:
    """Apply a change to each of our names."""
    if move is None:
        return None
    if isinstance(move, str):
        move = Move((move,))
    return type(move)(tuple(change(name) for name in move.names))


def translate(name: str, table: Table) -> Move | None:
    """Return what becomes of their tensor, None if it is dropped; raises LookupError where no row fits."""
    for row, move in table.items():
        found = _pattern(row).fullmatch(name)
        if found:
            parts = found.groupdict()
            return renamed(move, lambda one, parts=parts: one.format(**parts))  # type: ignore[misc]
    raise LookupError(name)


@functools.cache
def _pattern(row: str) -> re.Pattern[str]:
    numbered = re.sub(r"\\\{([a-z])\\\}", r"(?P<\1>\\d+)", re.escape(row))
    return re.compile(numbered.replace(r"\{rest\}", "(?P<rest>.+)"))
