"""What a system must have to be trained by the loop: parameters, batches of records, a loss, weights on disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from torch import Tensor, nn

from looktwice.training.instruct import Record


class Losses(NamedTuple):
    """What a batch costs."""

    total: Tensor  # scalar, with gradient
    parts: Mapping[str, Tensor]  # scalars by name, for people; unweighted


class Collate(Protocol):
    """Makes a batch of records. Travels to other processes, so it must not hold the network.

    A record also has "draw", the number of records drawn before it: what is random about it follows from that.
    """

    def __call__(self, records: Sequence[Record]) -> Any:
        """Return tensors in dicts and lists. Raises BadFile or UsageError where a record cannot be learnt from."""


class Trainable(Protocol):
    """A system before and while it is trained."""

    network: nn.Module  # what requires grad is trained; the loop may put a wrapper of the same network here
    collate: Collate

    def loss(self, batch: Any) -> Losses:
        """Pass a batch through `network`."""

    def save(self, folder: Path, network: nn.Module, weights: Mapping[str, Tensor]) -> None:
        """Write what the system is opened from into an empty folder; `weights` are all of `network`'s."""
