"""Tensors by name, read when they are asked for, and what can be wrong with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import torch

from looktwice.errors import LookTwiceError

Shape = tuple[int, ...]


class BadCheckpoint(LookTwiceError):
    """Weights that are missing, cannot be read, or do not fit the model."""

    kind = "bad_checkpoint"


class Entry(NamedTuple):
    """One tensor that is read when asked for."""

    shape: Shape
    read: Callable[[], torch.Tensor]


class Tensors(Mapping[str, torch.Tensor]):
    """Tensors by name; each is read anew when it is asked for. `source` says where they come from, for errors."""

    def __init__(self, entries: Mapping[str, Entry], source: str = "memory") -> None:
        self.entries = dict(entries)
        self.source = source

    @classmethod
    def of(cls, tensors: Mapping[str, torch.Tensor], source: str = "memory") -> Tensors:
        """Wrap tensors that are in memory."""
        return cls(
            {name: Entry(tuple(one.shape), partial(tensors.__getitem__, name)) for name, one in tensors.items()}, source
        )

    def shape(self, name: str) -> Shape:
        """Return the shape of a tensor without reading it."""
        return self.entries[name].shape

    def __getitem__(self, name: str) -> torch.Tensor:
        return self.entries[name].read()

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)


def some(names: Sequence[str]) -> str:
    """List the first few names and count the others."""
    return ", ".join(names[:4]) + more(names[4:])


def more(names: Sequence[str]) -> str:
    """Count names that are not listed."""
    return f" and {len(names)} more" if names else ""
