import copy

import pytest
import torch
from transformers import AutoTokenizer, CLIPVisionModel

from looktwice.backbones import llava
from looktwice.detectors.vmad.config import VmadConfig, trainable_names
from looktwice.detectors.vmad.model import VmadModel, quantisation, semantic_state
from looktwice.detectors.vmad.processing import VmadProcessor, collate
from looktwice.errors import MissingExtra, UsageError

from .vmad_small import normal_record, picture, record, small, small_config

RECORDS = [record(i) if i % 2 else normal_record(i) for i in range(4)]


def prompt_of(model, processor, questions=("What is it?",), seed=0):
    """Prompts, padded on the left, and their image tokens."""
    ids = [processor.question_ids(one) for one in questions]
    length = max(map(len, ids))
    padded = torch.zeros(len(ids), length, dtype=torch.long)
    mask = torch.zeros_like(padded)
    for b, one in enumerate(ids):
        padded[b, length - len(one) :], mask[b, length - len(one) :] = one, 1
    pictures = torch.stack([processor.frame(picture(seed=seed + b)).clip for b in range(len(ids))])
    return padded, mask, model.encode_image(pictures)


# ---------------------------------------------------------------- parts by configuration


def test_the_published_sizes_have_the_published_shapes():
    config = VmadConfig.vmad_7b()
    with torch.device("meta"):
        model = VmadModel(VmadConfig.vmad_7b(lora=None))
    count = {name: sum(one.numel() for one in part.parameters()) for name, part in model.named_children()}
    assert count["text_hidden_fcs"] == 17_830_144
    assert count["visual_model"] == 641_090_608 + 2 * 128  # the position code is a parameter here
    assert count["vision_tower"] == 303_179_776
    assert model.projector.base.weight.shape == (4096, 1024)
    assert (config.grid, config.image_tokens) == (16, 64)
    assert VmadConfig.vmad_7b(336).image_tokens == 144
    with pytest.raises(UsageError, match="sees 224 or 336 pixels, got 300"):
        VmadConfig.vmad_7b(300)
    lisa = VmadConfig.lisa_7b()
    assert (lisa.image_tokens, lisa.projector, lisa.dssl, lisa.seg_token) == (256, "linear", False, "[SEG]")


def test_adapters_of_the_published_size_are_as_many_as_lisas():
    with torch.device("meta"):
        model = VmadModel(VmadConfig.lisa_7b(lora={}))
    lora = sum(one.numel() for name, one in model.named_parameters() if "lora_" in name)
    assert lora == 4_194_304
    learnt = {name for name, one in model.named_parameters() if one.requires_grad}
    parts = ("lora_", "lm_head", "embed_tokens", "mask_decoder", "text_hidden_fcs")
    assert learnt == {name for name, _ in model.named_parameters() if any(part in name for part in parts)}


def test_a_laptop_model_has_a_few_million_weights():
    model = VmadModel(VmadConfig.laptop())
    assert 2e6 < sum(one.numel() for one in model.parameters()) < 5e6
    assert all(one.requires_grad for one in model.parameters())


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"projector": "linear"},
        {"projector": "mlp2x", "dssl": False},
        {"ltc_init": "warm", "ltc_layers": (1, 3)},
        {"ltc_factor": 3},
        {"visual_backbone": "conv", "conv_widths": (8, 8, 8, 8)},
        {"clip_geometry": "lisa", "image_start_end": True, "seg_token": "[SEG]"},
        {"pbsd": "infonce"},
        {"template": "llava_llama_2"},
    ],
)
def test_every_configuration_learns_and_answers(changes):
    model, processor = small(train="all", **changes)
    records = RECORDS
    if "seg_token" in changes:
        records = [record(i, answer="Sure, [SEG].") for i in range(4)]
    model.train()
    out = model(collate(records, processor))
    assert set(out.losses) == {"txt", "bce", "dice"} | ({"pbsd"} if model.config.dssl else set())
    assert [one.shape for one in out.masks] == [(1, 40, 64)] * 4
    out.loss.backward()
    assert all(torch.isfinite(one.grad).all() for one in model.parameters() if one.grad is not None)
    model.eval()
    ids, mask, tokens = prompt_of(model, processor)
    assert tokens.shape[1] == model.config.image_tokens
    with torch.inference_mode():
        answers = model.answer(model.prompt(ids, tokens, mask), 3, processor.stop_ids())
    assert 1 <= len(answers.ids[0]) <= 3


def test_any_language_model_of_transformers_will_do():
    text = {
        "model_type": "qwen2",
        "vocab_size": 300,
        "hidden_size": 48,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "tie_word_embeddings": True,
    }
    model, processor = small(text_config=text, lora={"r": 2})
    out = model(collate(RECORDS, processor))
    out.loss.backward()
    assert model.language_model.get_output_embeddings().weight is model.language_model.get_input_embeddings().weight


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"projector": "qformer"}, "projector must be one of ltc, linear, mlp2x, got 'qformer'"),
        ({"pbsd": "mse"}, "pbsd must be one of kl, infonce"),
        ({"clip_geometry": "centre"}, "clip_geometry must be one of aligned, lisa"),
        ({"train": "some"}, "train must be one of adapters, projector, all"),
        ({"ltc_layers": (-9,)}, "hidden state -9 of a vision tower with 4 layers: take -5 to 4"),
        ({"ltc_layers": ()}, "at least one entry in ltc_layers"),
        ({"ltc_heads": 5}, "ltc_heads 5 must divide the tower's width 32"),
        ({"dssl_ready": 9}, "0 < dssl_ready <= dssl_slots"),
        ({"lora": {"rank": 4}}, "lora has r, alpha, dropout, targets, got rank"),
        ({"visual_backbone": "conv", "conv_widths": (8, 8)}, "patch_size must be 4, got 16"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused(changes, words):
    with pytest.raises(UsageError, match=words):
        small_config(**changes)


# ---------------------------------------------------------------- saved and loaded


@pytest.mark.parametrize(
    "changes", [{}, {"lora": {"r": 2}}, {"ltc_init": "warm"}, {"visual_backbone": "conv", "conv_widths": [8] * 4}]
)
def test_a_saved_model_comes_back_bit_by_bit(tmp_path, changes):
    model, processor = small(**changes)
    model.train()
    model(collate(RECORDS, processor))  # the queues fill
    model.eval()
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    assert sorted(one.suffix for one in tmp_path.iterdir() if "model" in one.name) == [".safetensors"]
    again = VmadModel.from_pretrained(tmp_path)
    made_of = {name: value for name, value in vars(model.config).items() if isinstance(value, (int, float, list, dict))}
    assert {name: getattr(again.config, name) for name in made_of} == made_of
    assert [one.requires_grad for one in again.parameters()] == [one.requires_grad for one in model.parameters()]
    mine, theirs = model.state_dict(), again.state_dict()
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)
    if model.dssl is not None:
        assert int(again.dssl.count) == 2
    batch = collate(RECORDS, VmadProcessor(again.config, AutoTokenizer.from_pretrained(tmp_path)))
    with torch.no_grad():
        assert torch.equal(model(batch).loss, again.eval()(batch).loss)


def test_a_model_loads_in_bfloat16_and_by_device_map(tmp_path):
    model, processor = small()
    model.save_pretrained(tmp_path)
    placed = VmadModel.from_pretrained(tmp_path, dtype=torch.bfloat16, device_map={"": "cpu"})
    assert {one.dtype for one in placed.parameters()} == {torch.bfloat16}
    out = placed(collate(RECORDS, processor))
    out.loss.backward()
    assert torch.isfinite(out.loss)
    assert out.loss.item() == pytest.approx(model(collate(RECORDS, processor)).loss.item(), rel=0.1)
    assert {"LlamaDecoderLayer", "CLIPEncoderLayer"} <= set(placed._no_split_modules)


def test_a_part_that_the_saved_model_lacks_starts_anew(tmp_path):
    model, _ = small(dssl=False)
    model.save_pretrained(tmp_path)
    config = VmadConfig.from_pretrained(tmp_path)
    config.dssl, config.ltc_init = True, "warm"
    again = VmadModel.from_pretrained(tmp_path, config=config)
    assert torch.equal(again.projector.q_proj_1.weight, model.projector.q_proj_1.weight)
    for started in (again.dssl.w_phi, again.dssl.w_psi, again.projector.inject.weight):
        assert 0.015 < started.std() < 0.025
    assert again.projector.alpha == 0
    assert not again.dssl.queue_v.any()


def test_few_bits_name_what_is_missing():
    with pytest.raises(UsageError, match="4 or 8 bits, got 3"):
        quantisation(3)
    with pytest.raises(
        MissingExtra, match="weights in 4 bits need the module 'bitsandbytes': pip install bitsandbytes"
    ):
        quantisation(4)


# ---------------------------------------------------------------- what is trained


@pytest.mark.parametrize("train", ["adapters", "projector", "all"])
def test_only_what_is_named_learns(train):
    model, processor = small(train=train, lora={"r": 2})
    names = trainable_names(model.config)
    learnt = {name for name, one in model.named_parameters() if one.requires_grad}
    assert learnt == {name for name, _ in model.named_parameters() if any(part in name for part in names)}
    before = copy.deepcopy(model.state_dict())
    model.train()
    step = torch.optim.SGD([one for one in model.parameters() if one.requires_grad], lr=0.1)
    for _ in range(3):
        model(collate(RECORDS, processor)).loss.backward()
        step.step()
    moved = {name for name, one in model.named_parameters() if not torch.equal(one, before[name])}
    assert moved <= learnt
    for part in {"adapters": ("lora_B", "dssl", "mask_decoder"), "projector": ("projector",), "all": ("vision",)}[
        train
    ]:
        assert any(part in name for name in moved)


def test_fresh_adapters_change_nothing_and_merged_ones_keep_what_they_learnt():
    model, processor = small()
    batch = collate(RECORDS, processor)
    with torch.no_grad():
        before = model(batch).logits
        model.add_lora(r=2)
        model.eval()
        assert torch.equal(model(batch).logits, before)
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.1)
        adapted = model(batch).logits
        assert not torch.allclose(adapted, before, atol=1e-3)
        with pytest.raises(UsageError, match="has LoRA adapters already"):
            model.add_lora()
        model.merge_lora()
        torch.testing.assert_close(model(batch).logits, adapted, atol=1e-4, rtol=1e-4)
    assert model.config.lora is None
    assert not any("lora" in name for name in model.state_dict())


@pytest.mark.parametrize(
    "changes", [{}, {"visual_backbone": "conv", "conv_widths": [8] * 4}, {"lora": {"r": 2, "dropout": 0.0}}]
)
def test_gradient_checkpointing_gives_the_same_gradients(changes):
    model, processor = small(train="adapters" if "lora" in changes else "all", **changes)
    batch = collate(RECORDS, processor)
    model.train()
    model.dssl.eval()
    model(batch).loss.backward()
    wanted = {name: one.grad.clone() for name, one in model.named_parameters() if one.grad is not None}
    model.zero_grad()
    model.activation_checkpointing_enable()
    assert model.language_model.model.layers[0].gradient_checkpointing
    model(batch).loss.backward()
    for name, one in model.named_parameters():
        if name in wanted:
            torch.testing.assert_close(one.grad, wanted[name], atol=1e-5, rtol=1e-4)


def test_more_words_make_room_in_embeddings_and_head():
    model, _ = small()
    rows = model.config.text_config.vocab_size
    model.fit_vocabulary(rows + 3)
    assert model.language_model.get_input_embeddings().weight.shape[0] == rows + 3
    assert model.language_model.get_output_embeddings().weight.shape[0] == rows + 3
    assert model.config.text_config.vocab_size == rows + 3


# ---------------------------------------------------------------- losses


def test_the_loss_is_the_weighted_sum_of_its_parts():
    model, processor = small(pbsd_weight=0.3, bce_weight=3.0, text_weight=0.5, seg_weight=2.0)
    model.train()
    model(collate(RECORDS, processor))
    out = model(collate(RECORDS, processor))
    txt, bce, dice, pbsd = (out.losses[name] for name in ("txt", "bce", "dice", "pbsd"))
    assert pbsd > 0
    torch.testing.assert_close(out.loss, 0.5 * txt + 2 * (3 * bce + 0.5 * dice) + 0.3 * pbsd)


def test_words_cost_the_same_alone_as_padded():
    model, processor = small()
    long = record(1, answer="Yes, there is an anomaly. It is long, as answers go. <seg>")
    with torch.no_grad():
        alone = [model(collate([one], processor)) for one in (RECORDS[0], long)]
        both = model(collate([RECORDS[0], long], processor))
    for b, one in enumerate(alone):
        length = one.logits.shape[1]
        torch.testing.assert_close(both.logits[b, :length], one.logits[0], atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(both.masks[b], one.masks[0], atol=1e-4, rtol=1e-4)


def test_an_unknown_mask_costs_nothing_and_an_empty_one_no_dice():
    model, processor = small(dssl=False)
    with torch.no_grad():
        unknown = model(collate([record(0, mask=None)], processor))
        assert unknown.losses["bce"] == unknown.losses["dice"] == 0
        empty = model(collate([normal_record(0)], processor))
        assert empty.losses["bce"] > 0
        assert empty.losses["dice"] == 0
        both = model(collate([record(1), record(0, mask=None)], processor))
        torch.testing.assert_close(both.losses["dice"], model(collate([record(1)], processor)).losses["dice"])


def test_answers_without_a_mask_token_still_teach_words():
    model, processor = small()
    model.train()
    out = model(collate([record(0, answer="Yes."), record(1, anomalous=False, answer="No.")], processor))
    assert [len(one) for one in out.masks] == [0, 0]
    assert out.losses["txt"] > 0
    assert out.losses["bce"] == 0
    out.loss.backward()


def test_the_normal_meaning_is_the_mean_of_the_answer_before_the_mask_token():
    states = torch.arange(12.0).view(1, 6, 2)
    labels = torch.tensor([[-100, -100, 5, 6, 9, 7]])
    meant, there = semantic_state(states, labels, 9)
    torch.testing.assert_close(meant, states[:, 2:4].mean(1))
    assert there.tolist() == [True]
    meant, there = semantic_state(states, torch.tensor([[-100, -100, -100, -100, 9, 7]]), 9)
    assert there.tolist() == [False]
    assert not meant.any()


def test_three_losses_fall_on_eight_pictures():
    torch.manual_seed(0)
    _, processor = small(train="all", visual_backbone="conv", conv_widths=(8, 8, 16, 16), dssl_ready=4)
    model = VmadModel(processor.config)
    records = [record(i) if i % 2 else normal_record(i) for i in range(8)]
    batch = collate(records, processor)
    step = torch.optim.AdamW(model.parameters(), lr=3e-3)
    model.train()
    history = []
    for _ in range(25):
        out = model(batch)
        out.loss.backward()
        step.step()
        step.zero_grad()
        history.append({name: one.item() for name, one in out.losses.items()})
    assert history[-1]["txt"] < 0.5 * history[0]["txt"]
    assert history[-1]["bce"] < 0.95 * history[0]["bce"]
    assert min(one["pbsd"] for one in history[15:]) < history[1]["pbsd"]


# ---------------------------------------------------------------- answers


def steered(seed=0, most=12):
    """A model whose mask token is one it says on its own: the token it repeats or says third."""
    model, processor = small(seed)
    ids, mask, tokens = prompt_of(model, processor)
    with torch.inference_mode():
        said = model.answer(model.prompt(ids, tokens, mask), most, ()).ids[0]
    model.config.seg_token_id = max(said, key=said.count)
    return model, processor, said


@torch.inference_mode()
def test_states_of_cached_decoding_are_those_of_one_pass_over_the_whole():
    for seed in range(3):
        model, processor, said = steered(seed)
        ids, mask, tokens = prompt_of(model, processor)
        answers = model.answer(model.prompt(ids, tokens, mask), len(said), ())
        assert answers.ids[0] == said
        whole = torch.cat([ids, torch.tensor([said])], 1)
        emits = llava.seg_states(whole, model.config.seg_token_id)
        states = model._read(model._embed(whole, tokens[0]), torch.ones_like(whole)).hidden_states[-1]
        assert len(answers.states[0]) == said.count(model.config.seg_token_id) >= 1
        torch.testing.assert_close(answers.states[0], states[emits], atol=1e-4, rtol=1e-4)


@torch.inference_mode()
def test_answers_are_the_same_alone_and_padded_in_a_batch():
    model, processor, _ = steered()
    questions = ("What is it?", "Is there a dent on the left side of it?", "Hm?")
    ids, mask, tokens = prompt_of(model, processor, questions)
    together = model.answer(model.prompt(ids, tokens, mask), 8, processor.stop_ids())
    for b, question in enumerate(questions):
        one, one_mask, image = prompt_of(model, processor, (question,), seed=b)
        alone = model.answer(model.prompt(one, image, one_mask), 8, processor.stop_ids())
        assert alone.ids[0] == together.ids[b]
        torch.testing.assert_close(alone.states[0], together.states[b], atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(alone.first[0], together.first[b], atol=1e-4, rtol=1e-4)


@torch.inference_mode()
def test_greedy_answers_are_the_same_every_time():
    model, processor, said = steered()
    ids, mask, tokens = prompt_of(model, processor)
    again = [model.answer(model.prompt(ids, tokens, mask), len(said), ()) for _ in range(2)]
    assert again[0].ids == again[1].ids
    assert torch.equal(again[0].first, again[1].first)


@torch.inference_mode()
def test_an_answer_ends_at_the_first_stop_token_or_at_its_length():
    model, processor, said = steered()
    ids, mask, tokens = prompt_of(model, processor)
    stopped = model.answer(model.prompt(ids, tokens, mask), 12, {said[2]})
    first = said.index(said[2])
    assert stopped.ids[0] == said[: first + 1]
    assert len(model.answer(model.prompt(ids, tokens, mask), 1, ()).ids[0]) == 1


@torch.inference_mode()
def test_each_mask_token_has_a_mask_of_its_own():
    model, _ = small()
    features = model.encode_visual(torch.randn(1, 3, 64, 64))[0]
    states = torch.randn(3, 48)
    masks = model.draw(states, features)
    assert masks.shape == (3, 1, 16, 16)
    for i in range(3):
        torch.testing.assert_close(model.draw(states[i : i + 1], features)[0], masks[i], atol=1e-5, rtol=1e-5)
    assert model.draw(states[:0], features).shape == (0, 1, 16, 16)


def test_a_model_without_a_mask_token_says_so():
    config = small_config()
    model = VmadModel(config)
    with pytest.raises(UsageError, match="no seg_token_id: join the tokenizer"):
        model._seg_id()


def test_the_tower_is_read_without_its_class_token():
    model, _ = small(projector="linear")
    pixels = torch.randn(1, 3, 28, 28)
    assert isinstance(model.vision_tower, CLIPVisionModel)
    with torch.no_grad():
        states = model.vision_tower(pixels, output_hidden_states=True).hidden_states[-2][:, 1:]
        torch.testing.assert_close(model.encode_image(pixels), model.projector(states))
