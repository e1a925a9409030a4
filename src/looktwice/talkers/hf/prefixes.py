"""What was encoded before: keys and values of token sequences, so that what starts alike is encoded once.

A tree: each node holds a stretch of tokens and goes on from some place of its parent. To stay within a number of bytes,
nodes are dropped, the longest unused first. Letters: n tokens, H heads, D width of a head.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from looktwice.talkers.hf.pictures import size_of

Layers = list[tuple[Tensor, Tensor]]  # keys and values of each layer, (H, n, D)


@dataclass(eq=False)
class Node:
    """A stretch of tokens that goes on from token `at` of the sequence its parent is part of."""

    at: int
    keys: np.ndarray  # (n, 2) int64
    layers: Layers
    parent: Node | None
    children: list[Node] = field(default_factory=list)
    used: int = 0  # when, in calls of the store

    @property
    def bytes(self) -> int:
        """Of its keys and values."""
        return sum(size_of(layer) for layer in self.layers)


@dataclass(frozen=True)
class Path:
    """Nodes one after another, and how many tokens of each: the encoded start of a sequence."""

    steps: tuple[tuple[Node, int], ...] = ()

    def __len__(self) -> int:
        return sum(tokens for _, tokens in self.steps)

    def upto(self, tokens: int) -> Path:
        """The same path with so many tokens at most."""
        steps = []
        for node, length in self.steps:
            if node.at < tokens:
                steps.append((node, min(length, tokens - node.at)))
        return Path(tuple(steps))


class Prefixes:
    """The tree, and its limit in bytes."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.bytes = 0
        self._root = Node(0, np.empty((0, 2), np.int64), [], None)
        self._clock = 0

    def longest(self, keys: np.ndarray) -> Path:
        """The longest encoded start of a sequence (n, 2)."""
        self._clock += 1
        path = self._walk(self._root, keys)
        for node, _ in path.steps:
            node.used = self._clock
        return path

    def add(self, path: Path, keys: np.ndarray, layers: Layers) -> Node:
        """Keep the stretch (n, 2) that follows `path`."""
        self._clock += 1
        parent = path.steps[-1][0] if path.steps else self._root
        node = Node(len(path), keys, layers, parent, used=self._clock)
        parent.children.append(node)
        self.bytes += node.bytes
        return node

    def trim(self, needed: Collection[Node] = ()) -> None:
        """Drop the longest unused nodes until the limit holds, but none of `needed`."""
        while self.bytes > self.limit:
            free = [node for node in self._nodes() if not node.children and node not in needed]
            if not free:
                return
            node = min(free, key=lambda node: node.used)
            assert node.parent is not None
            node.parent.children.remove(node)
            self.bytes -= node.bytes

    def clear(self) -> None:
        """Forget everything."""
        self._root.children.clear()
        self.bytes = 0

    def _walk(self, node: Node, keys: np.ndarray) -> Path:
        end = node.at + alike(node.keys, keys[node.at :])
        best = Path(((node, end - node.at),)) if end > node.at else Path()
        longest = end
        for child in node.children:
            if child.at > end:
                continue
            rest = self._walk(child, keys)
            if child.at + len(rest) > longest:
                longest = child.at + len(rest)
                before = ((node, child.at - node.at),) if child.at > node.at else ()
                best = Path(before + rest.steps)
        return best

    def _nodes(self) -> Iterator[Node]:
        todo = list(self._root.children)
        while todo:
            node = todo.pop()
            todo += node.children
            yield node


def alike(first: np.ndarray, second: np.ndarray) -> int:
    """How many rows two arrays (n, 2) share from the start."""
    length = min(len(first), len(second))
    differ = np.nonzero((first[:length] != second[:length]).any(axis=1))[0]
    return int(differ[0]) if len(differ) else length
