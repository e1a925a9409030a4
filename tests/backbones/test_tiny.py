"""Tiny networks come from their seed alone."""

from __future__ import annotations

import pytest
import torch

from looktwice.backbones import tiny


@pytest.mark.parametrize("make", [tiny.tiny_sam, tiny.tiny_vision, tiny.tiny_llama])
def test_a_tiny_network_is_made_from_its_seed_alone(make):
    torch.manual_seed(1)
    first = make(seed=0)
    torch.manual_seed(2)
    again, other = make(seed=0), make(seed=1)
    names = dict(first.named_parameters())
    assert all(torch.equal(value, names[name]) for name, value in again.named_parameters())
    assert not any(torch.equal(value, names[name]) for name, value in other.named_parameters())


@pytest.mark.parametrize("style", ["llama", "llama_new", "qwen"])
def test_a_tiny_tokenizer_gives_back_what_it_was_given(style):
    tokenizer = tiny.tiny_tokenizer(style)
    text = "Is the tile\nfine? 3° é"
    assert tokenizer.decode(tokenizer(text).input_ids, skip_special_tokens=True) == text


def test_llamas_tokenizers_differ_after_a_special_token():
    old, new = (tiny.tiny_tokenizer(style)("a</s>b").input_ids for style in ("llama", "llama_new"))
    assert len(old) == len(new) + 1
