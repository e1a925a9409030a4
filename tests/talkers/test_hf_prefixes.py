"""What was encoded before is found again, dropped in time, and attended as if every row held it."""

from __future__ import annotations

from types import SimpleNamespace
from zlib import crc32

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import scaled_dot_product_attention

from looktwice.talkers.hf import columns
from looktwice.talkers.hf.columns import Columns, attend, common
from looktwice.talkers.hf.prefixes import Layers, Node, Path, Prefixes

texts = st.lists(st.text("ab", min_size=1, max_size=8), min_size=1, max_size=8)


def keys_of(text: str) -> np.ndarray:
    return np.array([(ord(letter), 0) for letter in text], np.int64).reshape(-1, 2)


def layers_of(text: str, first: int) -> Layers:
    """Keys and values that tell which token of which text they were made of: (1, n, 1)."""
    made = torch.tensor([float(crc32(text[: i + 1].encode()) % 9973) for i in range(first, len(text))]).view(1, -1, 1)
    return [(made, -made)]


def keep(store: Prefixes, text: str) -> None:
    path = store.longest(keys_of(text))
    if len(path) < len(text):
        store.add(path, keys_of(text)[len(path) :], layers_of(text, len(path)))


def held(path: Path) -> torch.Tensor:
    pieces = [node.layers[0][0][0, :tokens, 0] for node, tokens in path.steps]
    return torch.cat([torch.empty(0), *pieces])


@given(texts, st.text("ab", max_size=8))
@settings(deadline=None, max_examples=60)
def test_the_longest_start_that_was_kept_is_found(kept: list[str], asked: str) -> None:
    store = Prefixes(1 << 20)
    for text in kept:
        keep(store, text)
    path = store.longest(keys_of(asked))
    slow = max(i for i in range(len(asked) + 1) if any(text.startswith(asked[:i]) for text in kept))
    assert len(path) == slow
    assert torch.equal(held(path), layers_of(asked[:slow], 0)[0][0][0, :, 0])
    for tokens in range(slow + 1):
        assert torch.equal(held(path.upto(tokens)), held(path)[:tokens])
    starts = {text[:i] for text in kept for i in range(1, len(text) + 1)}
    assert store.bytes == 8 * len(starts)  # each start once, as two float32


def test_what_was_not_used_for_longest_is_dropped_first() -> None:
    store = Prefixes(8 * 9)
    for text in ("aab", "aba", "bbb"):
        keep(store, text)
    store.longest(keys_of("aab"))
    keep(store, "baa")
    store.trim()
    assert [len(store.longest(keys_of(text))) for text in ("aab", "baa", "aba", "bbb")] == [3, 3, 1, 3]
    assert store.bytes <= store.limit


def test_what_is_needed_is_not_dropped() -> None:
    store = Prefixes(0)
    keep(store, "aab")
    keep(store, "aabab")
    (node, _), (end, _) = store.longest(keys_of("aabab")).steps
    store.trim({node})
    assert len(store.longest(keys_of("aabab"))) == 3
    store.trim()
    assert (len(store.longest(keys_of("aab"))), store.bytes) == (0, 0)
    assert end.parent is node


@pytest.mark.parametrize("window", [None, 3])
@pytest.mark.parametrize("scores", [1, 1 << 26], ids=["a query at a time", "at once"])
def test_shared_tokens_are_attended_as_if_every_row_held_them(window, scores, monkeypatch) -> None:
    monkeypatch.setattr(columns, "SCORES", scores)
    torch.manual_seed(0)
    rows, heads, groups, width = 3, 4, 2, 8
    shared = Node(0, keys_of("aaaaa"), [(torch.randn(groups, 5, width), torch.randn(groups, 5, width))], None)
    own = Node(4, keys_of("bb"), [(torch.randn(groups, 2, width), torch.randn(groups, 2, width))], shared)
    starts = [Path(((shared, 4), (own, 2))), Path(((shared, 5),)), Path(((shared, 4),))]
    lengths, new = (6, 5, 4), (2, 1, 3)
    batch = Columns(starts, two_way=False, device=torch.device("cpu"))
    assert len(common(starts)) == len(batch.shared) == 4
    places = torch.full((rows, 3), -1)
    for row, (length, more) in enumerate(zip(lengths, new, strict=True)):
        places[row, 3 - more :] = torch.arange(length, length + more)
    batch.open(places, torch.full_like(places, -1))
    keys, values = torch.randn(rows, groups, 3, width), torch.randn(rows, groups, 3, width)
    near = batch.update(keys, values, 0)
    query = torch.randn(rows, heads, 3, width)
    module = SimpleNamespace(layer_idx=0, num_key_value_groups=heads // groups)
    got, _ = attend(module, query, *near, batch.mask(3, window), scaling=0.5, columns=batch)
    for row, (start, more) in enumerate(zip(starts, new, strict=True)):
        whole = [
            torch.cat([*(node.layers[0][i][:, :tokens] for node, tokens in start.steps), made[row, :, 3 - more :]], 1)
            for i, made in enumerate((keys, values))
        ]
        ask = torch.arange(lengths[row], lengths[row] + more)[:, None]
        told = torch.arange(whole[0].shape[1])
        seen = (told <= ask) & (told > ask - (window or 99))
        plainly = scaled_dot_product_attention(
            query[row, :, 3 - more :], *(one.repeat_interleave(2, 0) for one in whole), attn_mask=seen, scale=0.5
        )
        torch.testing.assert_close(got[row, 3 - more :].transpose(0, 1), plainly, rtol=1e-5, atol=1e-6)


def test_rows_with_nothing_in_common_share_nothing() -> None:
    one, other = (Node(0, keys_of(text), layers_of(text, 0), None) for text in ("ab", "ba"))
    assert common([Path(((one, 2),)), Path(((other, 2),))]).steps == ()
    assert common([Path(((one, 2),)), Path()]).steps == ()
