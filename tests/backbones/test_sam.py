"""SAM's geometry; its numbers against the published code are in tests/checkpoints/test_sam.py."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch
from checkpoints import golden
from hypothesis import given, settings
from hypothesis import strategies as st

from looktwice.backbones import sam
from looktwice.backbones.tiny import tiny_sam
from looktwice.errors import UnknownName, UsageError

RESIZED = golden.table("sam_resize.json")
sides = st.integers(1, 3000)


@pytest.mark.parametrize("key", list(RESIZED["resized"]))
def test_images_are_resized_as_in_the_published_code_to_the_last_bit(key):
    size, side = key.split("->")
    height, width = map(int, size.split("x"))
    image = (
        np.random.default_rng([RESIZED["seed"], height, width]).integers(0, 256, (height, width, 3)).astype(np.uint8)
    )
    resized = sam.resize_longest_side(image, int(side))
    assert list(resized.shape) == RESIZED["resized"][key]["shape"]
    assert hashlib.sha256(np.ascontiguousarray(resized).tobytes()).hexdigest() == RESIZED["resized"][key]["sha256"]


@given(height=sides, width=sides, side=st.sampled_from([64, 256, 1024]))
@settings(deadline=None, max_examples=50)
def test_the_longer_side_fills_the_square_and_no_side_is_lost(height, width, side):
    resized = sam.resized_size((height, width), side)
    assert max(resized) == side
    assert min(resized) >= 1
    assert abs(min(resized) - min(height, width) * side / max(height, width)) <= 1


@given(height=st.integers(1, 60), width=st.integers(1, 60))
@settings(deadline=None, max_examples=20)
def test_an_image_lies_in_the_upper_left_and_zeros_fill_the_rest(height, width):
    image = np.full((height, width, 3), 255, np.uint8)
    pixels, (h, w) = sam.prepare(image, 64)
    assert pixels.shape == (3, 64, 64)
    assert (pixels[:, :h, :w] > 2).all()
    assert pixels[:, h:].abs().sum() == pixels[:, :, w:].abs().sum() == 0


def test_an_image_larger_than_the_square_is_refused():
    with pytest.raises(UsageError, match="expected an image of at most 64 x 64, got 65 x 3: resize it first"):
        sam.normalise_and_pad(np.zeros((3, 65, 3), np.uint8), 64)


@given(height=st.integers(1, 200), width=st.integers(1, 200))
@settings(deadline=None, max_examples=20)
def test_masks_come_back_at_the_size_of_the_original(height, width):
    resized = sam.resized_size((height, width), 64)
    back = sam.postprocess_masks(torch.full((2, 1, 16, 16), -3.0), resized, (height, width), 64)
    assert back.shape == (2, 1, height, width)
    torch.testing.assert_close(back, torch.full_like(back, -3.0))


@pytest.mark.parametrize(("height", "width"), [(80, 100), (100, 50)])
def test_a_half_drawn_at_low_resolution_is_that_half_of_the_original(height, width):
    resized = sam.resized_size((height, width), 64)
    low = torch.full((1, 1, 16, 16), -1.0)
    low[..., : resized[1] // 8] = 1.0  # of 16 columns, those that show the left half
    back = sam.postprocess_masks(low, resized, (height, width), 64)[0, 0] > 0
    right = torch.arange(width) >= width / 2
    assert (back == ~right).float().mean() > 0.95


def test_half_precision_logits_come_back_in_float32():
    back = sam.postprocess_masks(torch.zeros(1, 1, 16, 16, dtype=torch.bfloat16), (64, 64), (10, 10), 64)
    assert back.dtype == torch.float32


def test_no_prompt_gives_no_mask():
    drawn = sam.decode(tiny_sam(), torch.zeros(32, 4, 4), torch.zeros(0, 1, 32))
    assert drawn.shape == (0, 1, 16, 16)
    assert sam.postprocess_masks(drawn, (64, 64), (9, 7), 64).shape == (0, 1, 9, 7)


def test_gradient_reaches_the_prompt_and_the_decoder():
    model = tiny_sam()
    sparse = torch.ones(2, 1, 32, requires_grad=True)
    sam.decode(model, torch.ones(32, 4, 4), sparse).sum().backward()
    assert sparse.grad.abs().sum() > 0
    assert model.mask_decoder.mask_tokens.weight.grad.abs().sum() > 0


def test_a_half_precision_decoder_takes_float32_prompts():
    model = tiny_sam().to(torch.bfloat16)
    drawn = sam.decode(model, torch.ones(32, 4, 4, dtype=torch.bfloat16), torch.ones(1, 1, 32))
    assert drawn.dtype == torch.bfloat16


def test_the_position_code_is_that_of_the_network():
    model = tiny_sam()
    ours = sam.position_grid(model.prompt_encoder.shared_embedding, 4)
    torch.testing.assert_close(ours, model.get_image_wide_positional_embeddings())


def test_a_fresh_network_starts_as_the_published_one_does():
    torch.manual_seed(0)
    model = sam.build_sam(sam.sam_config(sam.SamSize(32, 1, 2, (0,)), 64)).requires_grad_(False)
    assert 0.8 < float(model.shared_image_embedding.positional_embedding.std()) < 1.2
    assert float(model.vision_encoder.layers[0].mlp.lin1.weight.std()) > 0.01
    assert model.mask_decoder.transformer.layers[0].layer_norm1.eps == 1e-5


def test_an_unknown_size_lists_the_known_ones():
    with pytest.raises(
        UnknownName, match=r"Unknown SAM size 'vit_x'\. Did you mean 'vit_\w'\? Known: vit_h, vit_l, vit_b"
    ):
        sam.build_sam("vit_x")


def test_a_side_of_broken_patches_is_refused():
    with pytest.raises(UsageError, match=r"must be a multiple of the patch \(16\), got 100"):
        sam.sam_config("vit_b", 100)
