"""LLaVA's two layouts, against transformers' own LLaVA."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import LlavaConfig, LlavaForConditionalGeneration

from looktwice.backbones import llava
from looktwice.backbones.tiny import fill
from looktwice.checkpoints import BadCheckpoint, Tensors, apply_delta, load_strict, read_tensors, under
from looktwice.checkpoints.clip import VISION_LAYOUTS
from looktwice.checkpoints.llava import INTO_LTC, LAYOUTS, PUBLISHED, layouts

from . import golden, published
from .parts import Parts

SEED = 13
TOWER = published.clip(56, 14, 32, 3, 16, 16, 1, 50)


def weights(kind: str) -> dict[str, torch.Tensor]:
    return published.drawn(published.llama(64, 96, 2, 40) | published.projector(32, 64, kind), SEED)


@pytest.mark.parametrize("kind", ["linear", "mlp2x"])
def test_the_authors_layout_fills_all_but_the_tower(kind, tmp_path):
    torch.save(weights(kind), tmp_path / "pytorch_model.bin")
    made = Parts(40, side=56, kind=kind)
    report = load_strict(made, tmp_path, LAYOUTS, allow_missing=["vision_tower.*"])
    assert len(report.filled) == len(weights(kind))
    last = made.projector if kind == "linear" else made.projector[2]
    assert torch.equal(last.bias, weights(kind)[f"model.mm_projector.{'' if kind == 'linear' else '2.'}bias"])
    assert torch.equal(made.language_model.lm_head.weight, weights(kind)["lm_head.weight"])


def test_frequencies_of_old_files_are_dropped():
    old = weights("linear") | {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.zeros(8)}
    report = load_strict(Parts(40, side=56), Tensors.of(old), PUBLISHED, allow_missing=["vision_tower.*"])
    assert report.dropped == ("model.layers.0.self_attn.rotary_emb.inv_freq",)


def test_a_trained_tower_in_the_file_is_taken_from_it():
    made = Parts(40, side=56)
    names = made.vision_tower.state_dict()
    inside = {
        f"model.vision_tower.vision_tower.vision_model.{name}": torch.full_like(one, 0.5) for name, one in names.items()
    }
    report = load_strict(made, Tensors.of(weights("linear") | inside), PUBLISHED)
    assert report.missing == ()
    assert made.vision_tower.post_layernorm.bias.unique().tolist() == [0.5]


def theirs() -> LlavaForConditionalGeneration:
    parts = Parts(40, side=56)
    config = LlavaConfig(
        vision_config=parts.vision_tower.config.to_dict(),
        text_config=parts.language_model.config.to_dict(),
        image_token_index=39,
        projector_hidden_act="gelu",
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
    )
    return fill(LlavaForConditionalGeneration(config), SEED, 0.15)


def stored(model: LlavaForConditionalGeneration, layout: str, folder: Path) -> dict[str, torch.Tensor]:
    """The tensors of transformers' LLaVA under the names of its files, now and in version 4."""
    if layout == "inner":
        return dict(model.state_dict())
    model.save_pretrained(folder)
    saved = load_file(folder / "model.safetensors")
    if layout == "5":
        return saved
    return {name.replace("vision_tower.", "vision_tower.vision_model."): one for name, one in saved.items()}


@torch.no_grad()
@pytest.mark.parametrize("layout", ["4", "5", "inner"])
def test_logits_are_those_of_transformers_llava(layout, tmp_path):
    model = theirs()
    file = Tensors.of(stored(model, layout, tmp_path))
    made = Parts(40, side=56, kind="mlp2x").eval()
    report = load_strict(made, file, LAYOUTS)
    assert report.missing == ()
    image = torch.from_numpy(published.numbers((3, 56, 56), SEED + 1))
    ids = torch.tensor([1, 5, *[39] * 16, 7, 8, 9])
    wanted = model(input_ids=ids[None], pixel_values=image[None], attention_mask=torch.ones(1, 21)).logits[0]
    golden.close(made.read(torch.tensor([1, 5, llava.IMAGE, 7, 8, 9]), image)[1], wanted.numpy())


def test_a_delta_on_a_language_model_makes_a_llava():
    base = published.drawn(published.llama(64, 96, 2, 37), 1)
    delta = weights("linear")
    made = Parts(40, side=56)
    whole = apply_delta(Tensors.of(base), Tensors.of(delta))
    load_strict(made, whole, PUBLISHED, allow_missing=["vision_tower.*"])
    embedding = made.language_model.get_input_embeddings().weight
    assert torch.equal(embedding[:37], delta["model.embed_tokens.weight"][:37] + base["model.embed_tokens.weight"])
    assert torch.equal(embedding[37:], delta["model.embed_tokens.weight"][37:])


def test_a_projector_alone_says_what_it_is():
    alone = {name: one for name, one in weights("mlp2x").items() if "mm_projector" in name}
    with pytest.raises(BadCheckpoint, match=r"This looks like a LLaVA checkpoint, or its projector alone\."):
        load_strict(Parts(40, side=56, kind="mlp2x"), Tensors.of(alone), PUBLISHED, allow_missing=["vision_tower.*"])


def test_a_projector_alone_loads_where_it_is_allowed(tmp_path):
    alone = {name: one for name, one in weights("mlp2x").items() if "mm_projector" in name}
    torch.save(alone, tmp_path / "mm_projector.bin")
    made = Parts(40, side=56, kind="mlp2x")
    others = ["vision_tower.*", "language_model.*"]
    report = load_strict(made, read_tensors(tmp_path), PUBLISHED, allow_missing=others)
    assert set(report.filled) == {f"projector.{i}.{leaf}" for i in (0, 2) for leaf in ("weight", "bias")}


def test_llavas_projector_becomes_the_base_of_the_compression():
    made = Parts(40, side=56)
    made.projector = torch.nn.ModuleDict({"base": torch.nn.Linear(32, 64), "inject": torch.nn.Linear(32, 32)})
    missing = ["vision_tower.*", "projector.inject.*"]
    report = load_strict(made, Tensors.of(weights("linear")), INTO_LTC, allow_missing=missing)
    assert torch.equal(made.projector["base"].weight, weights("linear")["model.mm_projector.weight"])
    assert "projector.inject.weight" in report.missing


def test_the_projector_goes_elsewhere_or_nowhere_from_every_layout(tmp_path):
    file = Tensors.of(stored(theirs(), "5", tmp_path))
    made = Parts(40, side=56)
    made.projector = torch.nn.ModuleDict({"base": Parts(40, side=56, kind="mlp2x").projector})
    load_strict(made, file, layouts("projector.base"))
    assert torch.equal(made.projector["base"][2].bias, file["multi_modal_projector.linear_2.bias"])
    report = load_strict(Parts(40, side=56), file, layouts(None), allow_missing=["projector.*"])
    assert len(report.dropped) == 4


def test_another_language_model_is_refused():
    with pytest.raises(BadCheckpoint, match=r"model\.embed_tokens\.weight is \(40, 64\) in the file but"):
        load_strict(Parts(41, side=56), Tensors.of(weights("linear")), PUBLISHED, allow_missing=["vision_tower.*"])


def test_the_tower_comes_from_the_file_of_clip():
    made = Parts(40, side=56)
    inside = [under(table, ours="vision_tower.") for table in VISION_LAYOUTS]
    tower = Tensors.of(published.drawn(TOWER, SEED))
    report = load_strict(made, tower, inside, allow_missing=["projector.*", "language_model.*"])
    assert {name.split(".")[0] for name in report.filled} == {"vision_tower"}
