"""The strict loader: all or nothing, memory brought only where it lacks, ties kept."""

from __future__ import annotations

import weakref
from functools import partial

import pytest
import torch
from torch import nn
from transformers import LlamaForCausalLM

from looktwice.backbones.tiny import tiny_llama
from looktwice.checkpoints import (
    BadCheckpoint,
    Split,
    Tensors,
    Transposed,
    check_fit,
    empty_weights,
    load_strict,
    under,
)
from looktwice.checkpoints.tables import translate
from looktwice.checkpoints.tensors import Entry


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([nn.Linear(2, 3), nn.Linear(3, 2)])
        self.head = nn.Linear(2, 2, bias=False)
        self.register_buffer("count", torch.zeros(1, dtype=torch.long))


TABLE = {"layers.{i}.{rest}": "blocks.{i}.{rest}", "out.weight": "head.weight", "n": "count", "step": None}


def file(**changes: torch.Tensor | None) -> Tensors:
    whole: dict[str, torch.Tensor | None] = {
        "layers.0.weight": torch.ones(3, 2),
        "layers.0.bias": torch.ones(3),
        "layers.1.weight": 2 * torch.ones(2, 3),
        "layers.1.bias": 2 * torch.ones(2),
        "out.weight": 3 * torch.ones(2, 2),
        "n": torch.tensor([7]),
        "step": torch.zeros(()),
    }
    whole |= {name.replace("__", "."): value for name, value in changes.items()}
    return Tensors.of({name: value for name, value in whole.items() if value is not None}, "small.pth")


def test_every_tensor_finds_its_place():
    model = Small()
    report = load_strict(model, file(), TABLE)
    assert model.blocks[1].bias.tolist() == [2, 2]
    assert model.count.tolist() == [7]
    assert report.dropped == ("step",)
    assert report.missing == ()
    assert len(report.filled) == 6


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"n": None}, r"small\.pth: it lacks count of the model's 6 tensors\."),
        ({"layers__1__bias": None, "n": None}, r"lacks blocks\.1\.bias, count of the model's 6"),
        ({"extra": torch.zeros(1)}, r"it holds extra that this model does not have\."),
        ({"layers__2__bias": torch.zeros(1)}, r"it holds layers\.2\.bias that this model does not have"),
        ({"n": torch.tensor([1, 2])}, r"it does not fit: n is \(2,\) in the file but count is \(1,\) in the model"),
        ({"n": None, "extra": torch.zeros(1)}, r"it lacks count of .*, it holds extra that"),
    ],
)
def test_what_does_not_fit_is_named_and_nothing_is_filled(changes, words):
    model = Small()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for act in (load_strict, check_fit):
        with pytest.raises(BadCheckpoint, match=words):
            act(model, file(**changes), TABLE)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_many_names_are_counted_and_not_listed():
    model = nn.ModuleDict({f"part{i}": nn.Linear(1, 1) for i in range(9)})
    with pytest.raises(
        BadCheckpoint, match=r"lacks part0\.bias, \S+, \S+, part1\.weight and 14 more of the model's 18"
    ):
        load_strict(model, Tensors({}), {})


def test_missing_names_are_allowed_by_pattern_and_reported():
    model = Small()
    nn.init.constant_(model.head.weight, 9)
    report = load_strict(model, file(out__weight=None), TABLE, allow_missing=["head.*"])
    assert report.missing == ("head.weight",)
    assert model.head.weight.unique().tolist() == [9]


def test_a_look_beforehand_says_what_a_load_would_do():
    model = Small()
    before = model.head.weight.clone()
    report = check_fit(model, file(), TABLE)
    assert torch.equal(model.head.weight, before)
    assert report == load_strict(model, file(), TABLE)


def test_tensors_are_split_and_turned():
    model = nn.ModuleDict({"q": nn.Linear(2, 2), "k": nn.Linear(2, 2), "o": nn.Linear(3, 2, bias=False)})
    table = {
        "qk": Split(("q.weight", "k.weight")),
        "qk_bias": Split(("q.bias", "k.bias")),
        "proj": Transposed(("o.weight",)),
    }
    joined = torch.arange(8.0).reshape(4, 2)
    theirs = {"qk": joined, "qk_bias": torch.arange(4.0), "proj": torch.arange(6.0).reshape(3, 2)}
    load_strict(model, Tensors.of(theirs), table)
    assert torch.equal(torch.cat([model.q.weight, model.k.weight]), joined)
    assert model.k.bias.tolist() == [2, 3]
    assert torch.equal(model.o.weight.T, theirs["proj"])
    with pytest.raises(BadCheckpoint, match=r"qk is \(5, 2\) in the file but q\.weight is \(2, 2\)"):
        load_strict(model, Tensors.of(theirs | {"qk": torch.zeros(5, 2)}), table)


def test_precision_stays_the_models_unless_another_is_asked_for():
    half = Tensors.of({name: one.half() if one.is_floating_point() else one for name, one in file().items()})
    model = Small()
    load_strict(model, half, TABLE)
    assert model.head.weight.dtype == torch.float32
    load_strict(model, half, TABLE, dtype=torch.bfloat16)
    assert {one.dtype for one in model.parameters()} == {torch.bfloat16}
    assert model.count.dtype == torch.long


def test_a_frozen_parameter_stays_frozen_and_a_plain_one_learns():
    with empty_weights():
        model = Small()
    model.head.requires_grad_(False)
    load_strict(model, file(), TABLE)
    assert not model.head.weight.requires_grad
    assert model.blocks[0].weight.requires_grad
    assert not any(one.is_meta for one in model.parameters())


def test_filling_leaves_the_file_as_it_was():
    stored = {name: one.clone() for name, one in file().items()}
    with empty_weights():
        model = Small()
    load_strict(model, Tensors.of(stored), TABLE)
    with torch.no_grad():
        model.head.weight.zero_()
    assert stored["out.weight"].unique().tolist() == [3]


LLAMA = {"{rest}": "{rest}"}


def test_tied_weights_stay_tied_from_one_tensor_of_the_file():
    whole = tiny_llama(tied=True)
    stored = {name: one for name, one in whole.state_dict().items() if name != "lm_head.weight"}
    with empty_weights():
        model = LlamaForCausalLM(whole.config)
    load_strict(model.eval(), Tensors.of(stored), LLAMA)
    assert model.lm_head.weight is model.model.embed_tokens.weight
    ids = torch.tensor([[1, 5, 9]])
    with torch.no_grad():
        assert torch.equal(model(ids).logits, whole(ids).logits)


def test_two_values_of_one_tied_weight_are_refused():
    whole = tiny_llama(tied=True)
    stored = {name: one.clone() for name, one in whole.state_dict().items()}
    load_strict(tiny_llama(seed=1, tied=True), Tensors.of(stored), LLAMA)
    stored["lm_head.weight"] += 1
    with pytest.raises(
        BadCheckpoint, match=r"it gives two values of lm_head\.weight, which is one tensor in the model"
    ):
        load_strict(tiny_llama(seed=1, tied=True), Tensors.of(stored), LLAMA)


def test_a_buffer_that_no_file_holds_must_be_made():
    with torch.device("meta"):
        model = LlamaForCausalLM(tiny_llama().config)
    with pytest.raises(
        BadCheckpoint, match=r"\S+inv_freq is in no file and has no value: build .* inside empty_weights"
    ):
        load_strict(model, Tensors.of(tiny_llama().state_dict()), LLAMA)


def test_the_table_that_knows_most_names_is_taken():
    other = {"blocks.{rest}": "blocks.{rest}", "head.weight": "head.weight", "count": "count"}
    ours = Tensors.of(Small().state_dict())
    assert load_strict(Small(), ours, [TABLE, other]).dropped == ()
    assert load_strict(Small(), file(), [other, TABLE]).dropped == ("step",)


@pytest.mark.parametrize(
    ("name", "looks"),
    [
        ("image_encoder.pos_embed", "SAM's published file"),
        ("visual.conv1.weight", "OpenAI's CLIP file"),
        ("vision_model.post_layernorm.bias", "a CLIP file as transformers saves it"),
        ("model.mm_projector.0.weight", "a LLaVA checkpoint, or its projector alone"),
        ("model.mm_projector.q_proj_1.weight", "a TokenPacker checkpoint"),
        ("model.visual_model.mask_decoder.iou_token.weight", "a LISA checkpoint"),
        ("base_model.model.x.lora_A.weight", "a LoRA adapter: merge it into its base with merge_lora"),
        ("model.embed_tokens.weight", "a language model without eyes"),
    ],
)
def test_a_wrong_file_is_recognised(name, looks):
    with pytest.raises(BadCheckpoint) as error:
        load_strict(Small(), Tensors.of({name: torch.zeros(1)}, "x.pth"), TABLE)
    assert str(error.value).endswith(f"This looks like {looks}.")


def test_the_first_row_that_fits_counts():
    table = {"a.{i}.b": "first.{i}", "a.{rest}": "second.{rest}", "x.{i}.{j}": "{j}.{i}"}
    assert translate("a.12.b", table).names == ("first.12",)
    assert translate("a.c.b", table).names == ("second.c.b",)
    assert translate("x.1.2", table).names == ("2.1",)
    with pytest.raises(LookupError):
        translate("ab", table)  # a point is a point


def test_a_table_moves_under_a_longer_name():
    moved = under({"a": "b", "c": None, "d": Split(("e", "f"))}, "m.", "p.")
    assert moved["m.a"].names == ("p.b",)
    assert moved["m.c"] is None
    assert isinstance(moved["m.d"], Split)
    assert moved["m.d"].names == ("p.e", "p.f")


def test_one_tensor_of_the_file_is_in_memory_at_a_time():
    alive: list[weakref.ref[torch.Tensor]] = []
    most = 0

    def read(one: torch.Tensor) -> torch.Tensor:
        nonlocal most
        fresh = one.clone()
        alive.append(weakref.ref(fresh))
        most = max(most, sum(held() is not None for held in alive))
        return fresh

    stored = file()
    counted = Tensors({name: Entry(stored.shape(name), partial(read, stored[name])) for name in stored})
    with empty_weights():
        model = Small()
    load_strict(model, counted, TABLE)
    assert len(alive) == 6  # the dropped one is never read
    assert most <= 2  # the one being read, and the one before until its name is given away
