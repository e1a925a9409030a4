"""CLIP's published layout, and parity with openai/CLIP."""

from __future__ import annotations

import hashlib
import warnings

import numpy as np
import pytest
import torch
from transformers import CLIPConfig, CLIPModel

from looktwice.backbones import clip
from looktwice.checkpoints import BadCheckpoint, Tensors, check_fit, empty_weights, files, load_strict, read_tensors
from looktwice.checkpoints.clip import LAYOUTS, VISION_LAYOUTS

from . import golden, published

SEED = 5
SIZE = clip.ClipSize(side=56, patch=14, width=128, depth=3, heads=2, joint=32)


def weights() -> dict[str, torch.Tensor]:
    return published.drawn(published.clip(56, 14, 128, 3, 32, 64, 2, 120), SEED, 0.1)


def whole() -> CLIPModel:
    text = {
        "vocab_size": 120,
        "hidden_size": 64,
        "intermediate_size": 256,
        "num_hidden_layers": 2,
        "num_attention_heads": 1,
        "eos_token_id": 119,
        "bos_token_id": 118,
        "pad_token_id": 0,
    }
    config = CLIPConfig(text_config=text, vision_config=clip.vision_config(SIZE).to_dict(), projection_dim=32)
    return CLIPModel(config).eval()


def tower() -> torch.nn.Module:
    return clip.build_vision(SIZE).eval()


def images() -> torch.Tensor:
    return torch.from_numpy(published.numbers((3, 3, 56, 56), SEED + 1))


def texts() -> torch.Tensor:
    ids = torch.from_numpy(np.random.default_rng(SEED + 2).integers(1, 118, (3, 77)))
    for row, end in zip(ids, (5, 76, 30), strict=True):
        row[end], row[end + 1 :] = 119, 0
    return ids


@torch.no_grad()
def test_both_towers_agree_with_the_published_code():
    theirs = golden.arrays("clip.npz")
    model = whole()
    load_strict(model, Tensors.of(weights()), LAYOUTS)
    golden.close(model.get_image_features(images()).pooler_output, theirs["image"])
    golden.close(model.get_text_features(texts()).pooler_output, theirs["text"])
    golden.close(model(input_ids=texts(), pixel_values=images()).logits_per_image, theirs["logits"])


@torch.no_grad()
def test_each_block_of_the_vision_tower_agrees_with_the_published_code():
    theirs = golden.arrays("clip.npz")
    model = tower()
    report = load_strict(model, Tensors.of(weights()), VISION_LAYOUTS)
    assert "visual.proj" in report.dropped
    for i in range(3):
        golden.close(clip.patch_features(model, images(), i + 1)[..., ::4], theirs[f"block{i}"][:, 1:])
    golden.close(clip.patch_features(model, images()), clip.patch_features(model, images(), 2).numpy())


@pytest.mark.parametrize("name", list(clip.SIZES))
def test_published_names_and_shapes_fill_the_configuration_exactly(name):
    size = clip.SIZES[name]
    text = 512 if size.joint == 512 else 768
    names = published.clip(size.side, size.patch, size.width, size.depth, size.joint, text, 12, 49408)
    file = Tensors.of({key: torch.empty(one, device="meta") for key, one in names.items()})
    with empty_weights():
        model = clip.build_vision(name)
    report = check_fit(model, file, VISION_LAYOUTS)
    assert report.missing == ()
    assert len(report.filled) == sum(1 for key in model.state_dict())


def test_the_layout_of_transformers_loads_whole_and_as_a_tower(tmp_path):
    model = whole()
    load_strict(model, Tensors.of(weights()), LAYOUTS)
    model.save_pretrained(tmp_path)
    again, eyes = whole(), tower()
    load_strict(again, tmp_path, LAYOUTS)
    load_strict(eyes, tmp_path, VISION_LAYOUTS)
    assert torch.equal(again.text_projection.weight, weights()["text_projection"].T)
    with torch.no_grad():
        seen = model.vision_model(images()).last_hidden_state
        assert torch.equal(eyes(images()).last_hidden_state, seen)


def test_positions_counted_in_old_files_are_dropped(tmp_path):
    model = whole()
    old = {name: value.clone() for name, value in model.state_dict().items()}
    old["vision_model.embeddings.position_ids"] = torch.arange(17)[None]
    torch.save(old, tmp_path / "pytorch_model.bin")
    assert load_strict(whole(), tmp_path, LAYOUTS).dropped == ("vision_model.embeddings.position_ids",)


def test_half_precision_files_fill_a_float32_model():
    half = {name: value.half() for name, value in weights().items()}
    model = tower()
    load_strict(model, Tensors.of(half), VISION_LAYOUTS)
    assert model.pre_layrnorm.weight.dtype == torch.float32
    assert torch.equal(model.pre_layrnorm.weight.half(), half["visual.ln_pre.weight"])


class Program(torch.nn.Module):
    """As OpenAI publishes CLIP: a program around the weights."""

    def __init__(self) -> None:
        super().__init__()
        self.logit_scale = torch.nn.Parameter(torch.tensor(4.6))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.logit_scale


@pytest.fixture
def program(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit is deprecated
        torch.jit.save(torch.jit.trace(Program(), torch.ones(2)), tmp_path / "ViT-L-14.pt")
    return tmp_path / "ViT-L-14.pt"


def test_a_program_that_is_known_byte_for_byte_gives_its_weights(program, monkeypatch):
    digest = hashlib.sha256(program.read_bytes()).hexdigest()
    monkeypatch.setattr(files, "OPENAI_CLIP", {digest: "tiny"})
    assert float(read_tensors(program)["logit_scale"]) == pytest.approx(4.6)


def test_an_unknown_program_is_never_run(program):
    with pytest.raises(BadCheckpoint, match=r"TorchScript program and none of OpenAI's CLIP files .* never loaded"):
        read_tensors(program)
