"""Keys and values of a batch whose rows start alike, and attention over them.

What all rows start with is held once, and attended by the queries of all rows together. Behind it come the columns of
the batch: what else is encoded of each row, ending together; then the rest of each prompt, ending together; then the
answers. Empty columns are masked, and the model is told the position of each token: where a column lies means nothing.

Letters: B rows, H heads, G of them to each head of keys, P shared tokens, C columns so far, Q columns that are run now,
D width of a head.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from looktwice.talkers.hf.prefixes import Layers, Node, Path

ATTENTION = "looktwice_columns"  # name under which transformers finds `attend`
ROOM = 64  # columns that are made at a time
SCORES = 1 << 26  # scores that are held at a time


class Columns:
    """What transformers calls a cache: `update` is asked by each layer, one after the other."""

    def __init__(self, starts: Sequence[Path], two_way: bool, device: torch.device) -> None:
        self.shared = common(starts) if len(starts) > 1 else Path()  # P tokens
        self.own = [after(start, len(self.shared)) for start in starts]
        self.two_way = two_way
        self.far: Layers = []  # (H / G, P, D) of each layer
        self.near: Layers = []  # (B, H / G, C and room for more, D) of each layer
        lengths = torch.tensor([len(start) for start in starts], device=device)[:, None] - len(self.shared)
        filled = int(lengths.max())
        # which token of its row a column holds, -1 for none
        self.places = torch.arange(filled, device=device) - filled + lengths  # (B, C)
        self.places = torch.where(self.places < 0, -1, self.places + len(self.shared))
        self.blocks = torch.full_like(self.places, -1)  # (B, C): which picture a column is part of, -1 for none

    @property
    def filled(self) -> int:
        """C."""
        return self.places.shape[1]

    def open(self, places: Tensor, blocks: Tensor) -> None:
        """Make new columns: the tokens (B, Q) they hold, and the pictures these are part of."""
        self.places = torch.cat([self.places, places], 1)
        self.blocks = torch.cat([self.blocks, blocks], 1)

    def update(self, keys: Tensor, values: Tensor, layer_idx: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Write what the new columns hold, (B, H / G, Q, D); return all columns."""
        end = self.filled
        first = end - keys.shape[2]
        if layer_idx == len(self.near):
            self.far.append((self._shared(layer_idx, 0), self._shared(layer_idx, 1)))
            self.near.append((self._opened(keys, layer_idx, 0, first), self._opened(values, layer_idx, 1, first)))
        written = []
        for old, new in zip(self.near[layer_idx], (keys, values), strict=True):
            if end > old.shape[2]:
                old = torch.cat([old, old.new_zeros(*old.shape[:2], end + ROOM - old.shape[2], old.shape[3])], 2)
            old[:, :, first:end] = new
            written.append(old)
        self.near[layer_idx] = (written[0], written[1])
        return written[0][:, :, :end], written[1][:, :, :end]

    def mask(self, new: int, window: int | None) -> Tensor:
        """What the last `new` columns see: (B, 1, Q, C), and the shared tokens before it where there is a window.

        A token sees its row's past, or `window` tokens of it, and its own picture.
        """
        asks, asks_of = self.places[:, -new:, None], self.blocks[:, -new:, None]
        seen = self.places[:, None] <= asks
        if self.two_way:
            seen |= (self.blocks[:, None] == asks_of) & (asks_of >= 0)
        seen &= self.places[:, None] >= 0
        if window is not None:
            seen &= self.places[:, None] > asks - window
            far = torch.arange(len(self.shared), device=asks.device) > asks - window
            seen = torch.cat([far, seen], 2)
        return (seen | (asks < 0))[:, None]  # an empty column sees all: of nothing there is no mean

    def stretch(self, row: int, first: int, last: int) -> Layers:
        """Copies of columns [first, last) of one row."""
        return [(keys[row, :, first:last].clone(), values[row, :, first:last].clone()) for keys, values in self.near]

    def _shared(self, layer: int, which: int) -> Tensor:
        pieces = [node.layers[layer][which][:, :tokens] for node, tokens in self.shared.steps]
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces, 1) if pieces else torch.empty(0)

    def _opened(self, like: Tensor, layer: int, which: int, filled: int) -> Tensor:
        # zeros, because a masked column still is multiplied, by zero
        made = like.new_zeros(*like.shape[:2], self.filled + ROOM, like.shape[3])
        for row, pieces in enumerate(self.own):
            at = filled - sum(last - first for _, first, last in pieces)
            for node, first, last in pieces:
                made[row, :, at : at + last - first] = node.layers[layer][which][:, first:last]
                at += last - first
        return made


def attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor,
    scaling: float,
    columns: Columns,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attention of (B, H, Q, D) over the shared tokens and the columns (B, H / G, C, D); gives (B, Q, H, D).

    A function for transformers' AttentionInterface. The same as over columns that hold the shared tokens in every row.
    """
    if not columns.shared.steps:
        seen, _ = sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling)
        return seen, None
    far_keys, far_values = columns.far[module.layer_idx]
    (rows, heads, wide, width), (groups, shared, _) = query.shape, far_keys.shape
    query = query.reshape(rows, groups, heads // groups, wide, width) * scaling
    at_once = max(1, SCORES // (rows * heads * (shared + key.shape[2])))
    parts = [
        _attend(
            query[:, :, :, first : first + at_once],
            far_keys,
            far_values,
            key,
            value,
            ~attention_mask[:, :, None, first : first + at_once],
        )
        for first in range(0, wide, at_once)
    ]
    return torch.cat(parts, 3).flatten(1, 2).transpose(1, 2), None


def _attend(
    query: Tensor, far_keys: Tensor, far_values: Tensor, keys: Tensor, values: Tensor, hidden: Tensor
) -> Tensor:
    """(B, H / G, G, Q, D) over (H / G, P, D) and (B, H / G, C, D); `hidden` (B, 1, 1, Q, C or P + C)."""
    rows = len(query)
    asked = query.flatten(2, 3)  # (B, H / G, G Q, D)
    far = unfold(fold(asked) @ far_keys.mT, rows)  # (B, H / G, G Q, P)
    scores = torch.cat([far, asked @ keys.mT], -1).view(*query.shape[:-1], -1)  # (B, H / G, G, Q, P + C)
    scores[..., -hidden.shape[-1] :].masked_fill_(hidden, -torch.inf)
    weights = scores.softmax(-1, dtype=torch.float32).to(query.dtype).flatten(2, 3)
    shared = far_keys.shape[1]
    seen = unfold(fold(weights[..., :shared]) @ far_values, rows) + weights[..., shared:] @ values
    return seen.view(query.shape)


def fold(rows: Tensor) -> Tensor:
    """(B, H, N, D) -> (H, B N, D)."""
    return rows.transpose(0, 1).flatten(1, 2)


def unfold(together: Tensor, rows: int) -> Tensor:
    """(H, B N, D) -> (B, H, N, D)."""
    heads, all_of_them, width = together.shape
    return together.view(heads, rows, all_of_them // rows, width).transpose(0, 1)


def common(paths: Sequence[Path]) -> Path:
    """What all paths start with."""
    steps: list[tuple[Node, int]] = []
    for step in zip(*(path.steps for path in paths), strict=False):
        node, tokens = step[0][0], min(length for _, length in step)
        if any(other is not node for other, _ in step):
            break
        steps.append((node, tokens))
        if any(length != tokens for _, length in step):
            break
    return Path(tuple(steps))


def after(path: Path, tokens: int) -> list[tuple[Node, int, int]]:
    """What follows the first tokens of a path: nodes, and which tokens of them."""
    pieces = [(node, max(0, tokens - node.at), length) for node, length in path.steps]
    return [(node, first, last) for node, first, last in pieces if first < last]


AttentionInterface.register(ATTENTION, attend)
