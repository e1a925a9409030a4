"""CLIP's image preparation; its numbers against the published code are in tests/checkpoints/test_clip.py."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from looktwice.backbones import clip
from looktwice.backbones.tiny import tiny_vision
from looktwice.errors import UnknownName


@given(height=st.integers(1, 90), width=st.integers(1, 90))
@settings(deadline=None, max_examples=25)
def test_images_are_prepared_as_transformers_prepares_them(height, width):
    image = np.random.default_rng([height, width]).integers(0, 256, (height, width, 3)).astype(np.uint8)
    processor = CLIPImageProcessorPil(size={"shortest_edge": 56}, crop_size={"height": 56, "width": 56})
    theirs = processor(Image.fromarray(image), return_tensors="pt")["pixel_values"][0]
    ours = clip.normalise(clip.resize_and_crop(image, 56))
    assert ours.shape == (3, 56, 56)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


def test_a_batch_is_normalised_as_one_by_one():
    images = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3)).astype(np.uint8)
    assert torch.equal(clip.normalise(images), torch.stack([clip.normalise(one) for one in images]))


@torch.no_grad()
def test_patch_features_leave_the_class_token_out():
    tower = tiny_vision()
    pixels = torch.randn(2, 3, 56, 56, generator=torch.Generator().manual_seed(0))
    features = clip.patch_features(tower, pixels)
    assert features.shape == (2, 16, 32)
    alone = torch.cat([clip.patch_features(tower, one[None]) for one in pixels])
    torch.testing.assert_close(features, alone)
    # the last block is not part of them
    before = clip.patch_features(tower, pixels, 3)
    torch.testing.assert_close(features, before, rtol=0, atol=0)


def test_published_towers_use_the_activation_their_weights_need():
    assert {clip.vision_config(name).hidden_act for name in clip.SIZES} == {"quick_gelu"}


def test_an_unknown_size_lists_the_known_ones():
    with pytest.raises(UnknownName, match=r"Unknown CLIP size 'ViT-L-14'\. Did you mean 'ViT-L/14'\?"):
        clip.build_vision("ViT-L-14")
