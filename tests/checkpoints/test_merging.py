"""Weights published in pieces, against the plain sums and against peft."""

from __future__ import annotations

import json
from pathlib import Path

import peft
import pytest
import torch
from transformers import LlamaForCausalLM

from looktwice.backbones.tiny import fill, tiny_llama
from looktwice.checkpoints import BadCheckpoint, Tensors, apply_delta, load_strict, merge_lora
from looktwice.checkpoints.merging import plain_name

from . import published

# peft still asks transformers by a name that is going away
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")

NAMES = published.llama(8, 12, 2, 20)


def test_a_delta_is_added_to_its_base():
    base, delta = published.drawn(NAMES, 0), published.drawn(NAMES, 1)
    merged = apply_delta(Tensors.of(base), Tensors.of(delta))
    assert set(merged) == set(NAMES)
    assert all(torch.equal(merged[name], base[name] + delta[name]) for name in NAMES)
    assert torch.equal(delta["lm_head.weight"], published.drawn(NAMES, 1)["lm_head.weight"])


def test_rows_of_added_words_and_the_projector_are_taken_from_the_delta():
    base, delta = (
        published.drawn(NAMES, 0),
        published.drawn(published.llama(8, 12, 2, 23) | published.projector(6, 8), 1),
    )
    merged = apply_delta(Tensors.of(base), Tensors.of(delta))
    for name in ("lm_head.weight", "model.embed_tokens.weight"):
        assert torch.equal(merged[name][:20], base[name] + delta[name][:20])
        assert torch.equal(merged[name][20:], delta[name][20:])
    assert torch.equal(merged["model.mm_projector.weight"], delta["model.mm_projector.weight"])


def test_the_sum_has_the_precision_of_the_delta():
    base = published.drawn(NAMES, 0)
    delta = {name: one.half() for name, one in published.drawn(NAMES, 1).items()}
    merged = apply_delta(Tensors.of(base), Tensors.of(delta))
    assert torch.equal(merged["model.norm.weight"], base["model.norm.weight"].half() + delta["model.norm.weight"])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model.norm.weight": None}, r"the delta lacks model\.norm\.weight of its base: another base\?"),
        ({"model.norm.weight": torch.zeros(7)}, r"model\.norm\.weight is \(7,\), its base \(8,\): another base\?"),
        ({"lm_head.weight": torch.zeros(20, 9)}, r"lm_head\.weight is \(20, 9\), its base \(20, 8\): another base\?"),
    ],
)
def test_a_delta_of_another_base_is_refused(change, words):
    delta = {name: one for name, one in (published.drawn(NAMES, 1) | change).items() if one is not None}
    with pytest.raises(BadCheckpoint, match=words):
        apply_delta(Tensors.of(published.drawn(NAMES, 0)), Tensors.of(delta))


def test_a_base_that_is_not_whole_is_refused():
    base = {name: one for name, one in published.drawn(NAMES, 0).items() if ".1." not in name}
    with pytest.raises(
        BadCheckpoint, match=r"the base lacks model\.layers\.1\.\S+, .* that the delta changes: is it whole"
    ):
        apply_delta(Tensors.of(base), Tensors.of(published.drawn(NAMES, 1)))


def test_frequencies_of_old_files_need_no_partner():
    old = {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4)}
    base, delta = published.drawn(NAMES, 0), published.drawn(NAMES, 1)
    assert set(apply_delta(Tensors.of(base | old), Tensors.of(delta))) == set(NAMES)
    assert set(apply_delta(Tensors.of(base), Tensors.of(delta | old))) == set(NAMES | old)


# ---------------------------------------------------------------- LoRA

IDS = torch.tensor([[1, 5, 9, 3]])
SETTINGS = {"r": 4, "lora_alpha": 10, "target_modules": ["q_proj", "v_proj"], "lora_dropout": 0.0}


def adapted(folder: Path, **changes) -> torch.Tensor:
    """Save an adapter with peft and return the logits of the adapted model."""
    model = peft.get_peft_model(tiny_llama(), peft.LoraConfig(**(SETTINGS | changes), task_type="CAUSAL_LM"))
    for name, weight in model.named_parameters():
        if "lora_" in name:
            weight.data.copy_(published.drawn({name: tuple(weight.shape)}, 5, 0.3)[name])
    model.save_pretrained(folder, save_embedding_layers=False)
    with torch.no_grad():
        return model.eval()(IDS).logits


def logits(tensors: Tensors) -> torch.Tensor:
    model = fill(LlamaForCausalLM(tiny_llama().config), 99)
    load_strict(model, tensors, {"{rest}": "{rest}"})
    with torch.no_grad():
        return model(IDS).logits


def base() -> Tensors:
    return Tensors.of(tiny_llama().state_dict())


@pytest.mark.parametrize("changes", [{}, {"use_rslora": True}, {"modules_to_save": ["lm_head"]}])
def test_an_adapter_of_peft_is_merged_as_peft_computes(tmp_path, changes):
    wanted = adapted(tmp_path, **changes)
    assert (wanted - logits(base())).abs().max() > 0.01
    torch.testing.assert_close(logits(merge_lora(base(), tmp_path)), wanted, rtol=0, atol=1e-5)


def test_llavas_other_trained_weights_come_with_the_adapter(tmp_path):
    adapted(tmp_path)
    head = torch.full((400, 64), 0.5)
    others = {"base_model.model.lm_head.weight": head, "base_model.model.model.mm_projector.0.bias": torch.ones(3)}
    torch.save(others, tmp_path / "non_lora_trainables.bin")
    merged = merge_lora(base(), tmp_path)
    assert torch.equal(merged["lm_head.weight"], head)
    assert merged["model.mm_projector.0.bias"].tolist() == [1, 1, 1]


def test_lisas_unmerged_training_file_is_merged_in_one_go():
    model = peft.get_peft_model(tiny_llama(), peft.LoraConfig(**SETTINGS, task_type="CAUSAL_LM"))
    for name, weight in model.named_parameters():
        if "lora_" in name:
            weight.data.copy_(published.drawn({name: tuple(weight.shape)}, 6, 0.3)[name])
    # peft 0.4, which LISA was trained with, put nothing between a layer and its weight
    state = {name.replace(".base_layer", ""): one for name, one in model.state_dict().items()}
    assert "base_model.model.model.layers.0.self_attn.q_proj.lora_A.default.weight" in state
    with torch.no_grad():
        wanted = model.eval()(IDS).logits
    torch.testing.assert_close(logits(merge_lora(Tensors({}), Tensors.of(state), alpha=10)), wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("base_model.model.model.layers.0.self_attn.q_proj.weight", "model.layers.0.self_attn.q_proj.weight"),
        ("base_model.model.lm_head.weight", "lm_head.weight"),
        ("base_model.model.lm_head.modules_to_save.default.weight", "lm_head.weight"),
        ("model.model.mm_projector.0.bias", "model.mm_projector.0.bias"),
        ("model.mm_projector.0.bias", "model.mm_projector.0.bias"),
    ],
)
def test_what_peft_puts_around_names_is_taken_off(theirs, ours):
    assert plain_name(theirs) == ours


def pairs(**changes) -> Tensors:
    name = "base_model.model.model.layers.0.self_attn.q_proj"
    whole = {f"{name}.lora_A.weight": torch.zeros(4, 64), f"{name}.lora_B.weight": torch.zeros(64, 4)}
    whole |= {key.replace("__", "."): one for key, one in changes.items()}
    return Tensors.of({key: one for key, one in whole.items() if one is not None}, "adapter.bin")


A = "base_model__model__model__layers__0__self_attn__q_proj__lora_A__weight"


@pytest.mark.parametrize(
    ("adapter", "alpha", "words"),
    [
        (pairs(**{A: None}), 8, r"adapter\.bin: .*q_proj\.weight has lora_B without its other half"),
        (pairs(**{A: torch.zeros(4, 63)}), 8, r"q_proj\.weight is \(64, 64\), its adapter \(64, 4\) x \(4, 63\)"),
        (pairs(**{A: torch.zeros(5, 64)}), 8, r"its adapter \(64, 4\) x \(5, 64\): another base\?"),
        (pairs(), None, "alpha is not known: give alpha="),
        (pairs(x__lora_A__weight=torch.zeros(4, 2)), 8, r"the base has no x\.weight that the adapter changes"),
        (pairs(x__lora_embedding_A=torch.zeros(4, 2)), 8, r"x\.lora_embedding_A is not plain LoRA of a linear layer"),
    ],
)
def test_an_adapter_that_does_not_fit_is_refused(adapter, alpha, words):
    with pytest.raises(BadCheckpoint, match=words):
        merge_lora(base(), adapter, alpha)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, r"adapter_config\.json cannot be read"),
        ("{", r"adapter_config\.json cannot be read"),
        ("[]", r"adapter_config\.json holds no settings"),
        (json.dumps({"lora_alpha": 1, "use_dora": True}), "with use_dora are not plain LoRA: merge them with peft"),
        (json.dumps({"lora_alpha": 1}), r"has neither adapter_model\.safetensors nor adapter_model\.bin"),
    ],
)
def test_a_folder_that_is_no_adapter_is_refused(tmp_path, text, words):
    if text is not None:
        (tmp_path / "adapter_config.json").write_text(text, "utf-8")
    with pytest.raises(BadCheckpoint, match=words):
        merge_lora(base(), tmp_path)
