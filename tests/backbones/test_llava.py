"""LLaVA's texts, labels, slots and crops, against haotian-liu/LLaVA and LLaVA-VL/LLaVA-NeXT."""

from __future__ import annotations

import hashlib
from collections import Counter

import numpy as np
import pytest
import torch
from checkpoints import golden, published
from hypothesis import given, settings
from hypothesis import strategies as st

from looktwice.backbones import llava
from looktwice.backbones.tiny import tiny_tokenizer
from looktwice.errors import UsageError

FIRST = golden.table("llava.json")  # LLaVA
NEXT = golden.table("llava_next.json")  # LLaVA-NeXT
NAMES = {"v1": "vicuna_v1"}  # theirs -> ours, where they differ
DIALOGUES = {
    "one": ["<image>\nIs the tile fine?", "No, it is cracked."],
    "two": ["Hello there", "Hi.", " <image> What now? ", "Replace it."],
    "three": ["<image>\nWhat is it?", "A nut.", "Is it <bent>?", "Yes.", "Why?", "Unclear: 3° tilt."],
    "text": ["Name a defect.", "A crack."],
    "quotes": ["<image>\nSay ASSISTANT: yes", "ASSISTANT: yes"],
    "pair": ["<image>\n<image>\nWhich one is odd?", "The second."],
    "open": ["<image>\nIs it fine?", None],
    "second": ["<image>\nIs it fine?", "No.", "Why?", None],
}
LATER = {
    "two": ["Hello\nthere", "Hi.", " <image> What now? ", "Replace it."],
    "text": ["Name a defect.", "A crack.\nOr two."],
}


def form(name: str) -> llava.Template:
    return llava.TEMPLATES[NAMES.get(name, name)]


# ---------------------------------------------------------------- templates


@pytest.mark.parametrize("name", list(FIRST["rendered"]))
@pytest.mark.parametrize("key", list(DIALOGUES))
def test_dialogues_are_written_as_llava_writes_them(name, key):
    assert form(name).render(DIALOGUES[key]) == FIRST["rendered"][name][key]


@pytest.mark.parametrize("name", list(NEXT["rendered"]))
@pytest.mark.parametrize("key", ["one", "two", "text", "open", "second"])
def test_dialogues_are_written_as_llava_next_writes_them(name, key):
    assert form(name).render((DIALOGUES | LATER)[key]) == NEXT["rendered"][name][key]


def test_an_open_turn_ends_without_a_space():
    assert llava.TEMPLATES["llava_v1"].render(["Hi", None]).endswith("USER: Hi ASSISTANT:")


@pytest.mark.parametrize("text", list(FIRST["placed"]))
def test_the_image_comes_first_as_in_llava(text):
    plain, framed = FIRST["placed"][text]
    assert llava.image_first(text) == plain
    assert llava.frame_images(llava.image_first(text)) == framed


@pytest.mark.parametrize("text", list(NEXT["placed"]))
def test_interleaved_text_is_left_alone_as_in_llava_next(text):
    assert llava.image_first(text, keep_interleaved=True) == NEXT["placed"][text]


def test_a_record_is_read_turn_by_turn():
    turns = [{"from": "gpt", "value": "x"}, {"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]
    assert llava.messages_of(turns) == ["q", "a"]


@pytest.mark.parametrize(
    ("speakers", "words"),
    [
        (["human"], "expected questions and answers in turn, got turns from"),
        (["human", "human"], "expected questions and answers in turn"),
        ([], "expected questions and answers in turn"),
        (["gpt"], "expected questions and answers in turn"),
        (["human", "bot"], "expected turns from 'human' and 'gpt', got"),
    ],
)
def test_a_record_whose_turns_do_not_alternate_is_refused(speakers, words):
    with pytest.raises(UsageError, match=words):
        llava.messages_of([{"from": one, "value": "x"} for one in speakers])


# ---------------------------------------------------------------- ids and labels


@pytest.mark.parametrize("key", [key for key in FIRST["encoded"] if "plain" not in key])
def test_ids_and_labels_are_those_of_llava(key):
    style, name, dialogue = key.split("/")
    ids, labels = llava.encode(form(name), DIALOGUES[dialogue], tiny_tokenizer(style))
    assert ids == FIRST["encoded"][key]["ids"]
    assert labels == FIRST["encoded"][key]["labels"]


@pytest.mark.parametrize("style", ["llama", "llama_new"])
def test_captions_are_learnt_as_in_llavas_first_stage(style):
    ids, labels = llava.encode(llava.TEMPLATES["plain"], ["<image>\nDescribe.", "A tile."], tiny_tokenizer(style))
    assert {"ids": ids, "labels": labels} == FIRST["encoded"][f"{style}/plain/caption"]


@pytest.mark.parametrize("key", list(NEXT["encoded"]))
def test_ids_and_labels_are_those_of_llava_next(key):
    ids, labels = llava.encode(llava.TEMPLATES["qwen_1_5"], (DIALOGUES | LATER)[key], tiny_tokenizer("qwen"))
    assert {"ids": ids, "labels": labels} == NEXT["encoded"][key]


@pytest.mark.parametrize("style", ["llama", "llama_new"])
@pytest.mark.parametrize("name", ["vicuna_v1", "llava_llama_2"])
def test_exactly_the_answers_are_learnt(style, name):
    tokenizer = tiny_tokenizer(style)
    _, labels = llava.encode(llava.TEMPLATES[name], DIALOGUES["three"], tokenizer)
    learnt = tokenizer.decode([one for one in labels if one != llava.IGNORE])
    assert learnt.replace(" ", "") == "Anut.</s>Yes.</s>Unclear:3°tilt.</s>"


def test_lengths_that_do_not_add_up_leave_nothing_to_learn():
    _, labels = llava.encode(form("v1"), DIALOGUES["three"], tiny_tokenizer("llama"), legacy=False)
    assert set(labels) == {llava.IGNORE}


@pytest.mark.parametrize("messages", [[], ["q"], ["q", ""], ["q", "a", "q"], ["", "a"]])
@pytest.mark.parametrize("name", ["vicuna_v1", "qwen_1_5", "plain"])
def test_a_dialogue_without_an_answer_is_refused(messages, name):
    with pytest.raises(UsageError, match="training needs a question and an answer in each round, got"):
        llava.encode(llava.TEMPLATES[name], messages, tiny_tokenizer())


def test_qwens_template_needs_qwens_tokens():
    with pytest.raises(UsageError, match=r"has no token '<\|im_start\|>': this template is for Qwen's"):
        llava.encode(llava.TEMPLATES["qwen_1_5"], ["q", "a"], tiny_tokenizer("llama"))


def test_one_begin_token_stays_where_the_tokenizer_adds_one():
    llama, qwen = tiny_tokenizer("llama"), tiny_tokenizer("qwen")
    ids = llava.token_ids("<image>a<image><image>", llama)
    assert Counter(ids)[llama.bos_token_id] == 1
    assert Counter(ids)[llava.IMAGE] == 3
    assert llava.token_ids("<image>a", qwen) == [llava.IMAGE, *qwen("a").input_ids]


# ---------------------------------------------------------------- slots


IDS = torch.tensor([[1, 7, -200, 8, 9, 0, 0], [1, -200, 3, -200, 4, 5, 6], [1, 2, 3, 4, 5, 0, 0]])
LENGTHS = (5, 7, 5)
COUNTS = ([5], [5, 5], [])
USED = ([0], [1, 2], [])


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("limit", [None, 9])
def test_images_are_spliced_in_as_in_llava(side, limit):
    theirs = golden.arrays("llava.npz")
    table = torch.nn.Embedding(40, 6)
    table.weight.data = torch.from_numpy(published.numbers((40, 6), 3 + 1))
    features = torch.from_numpy(published.numbers((4, 5, 6), 3 + 2))
    for row in range(3):
        ids = IDS[row, : LENGTHS[row]]
        labels = torch.where(ids > 4, ids, llava.IGNORE)
        wide, told = llava.expand_slots(ids, COUNTS[row], labels)
        embedded = llava.splice(table, wide, features[USED[row]].reshape(-1, 6))[:limit]
        kept = theirs[f"{side}{limit or ''}.mask"][row].astype(bool)
        golden.close(embedded, theirs[f"{side}{limit or ''}.embeds"][row][kept])
        assert told[:limit].tolist() == theirs[f"{side}{limit or ''}.labels"][row][kept].tolist()


def test_texts_of_one_length_are_spliced_together_as_one_by_one():
    table = torch.nn.Embedding(40, 6)
    ids = torch.tensor([[1, -200, -200, 4], [2, 3, -200, -200]])
    features = torch.from_numpy(published.numbers((4, 6), 0))
    together = llava.splice(table, ids, features)
    for row in range(2):
        assert torch.equal(together[row], llava.splice(table, ids[row], features[2 * row : 2 * row + 2]))


def test_gradient_reaches_features_and_words():
    table = torch.nn.Embedding(40, 6)
    features = torch.ones(2, 6, requires_grad=True)
    llava.splice(table, torch.tensor([3, -200, -200]), features).sum().backward()
    assert torch.equal(features.grad, torch.ones(2, 6))
    assert table.weight.grad[3].tolist() == [1.0] * 6
    assert table.weight.grad[0].tolist() == [0.0] * 6  # the id that stood in for the image


def test_images_and_slots_must_match_in_number():
    with pytest.raises(UsageError, match="the text has 1 <image> slots but 2 images were given"):
        llava.expand_slots(torch.tensor([1, -200, 2]), [4, 4])
    with pytest.raises(UsageError, match="room for 1 image tokens but 2 were given"):
        llava.splice(torch.nn.Embedding(4, 3), torch.tensor([1, -200, 2]), torch.zeros(2, 3))


texts = st.lists(st.sampled_from([3, 4, 9, 9, llava.IMAGE]), min_size=1, max_size=14)  # 9 is <seg>


@given(rows=st.lists(texts, min_size=1, max_size=3), n=st.integers(1, 5))
@settings(deadline=None, max_examples=60)
def test_the_states_marked_are_those_before_each_seg_in_the_expanded_text(rows, n):
    length = max(map(len, rows))
    ids = torch.tensor([row + [0] * (length - len(row)) for row in rows])
    for row, marks in zip(ids.tolist(), llava.seg_states(ids, 9, n), strict=True):
        wide = [one for token in row for one in ([token] * n if token == llava.IMAGE else [token])]
        expected = [i for i in range(len(wide) - 1) if wide[i + 1] == 9]
        assert marks.nonzero().flatten().tolist() == expected
        expanded, _ = llava.expand_slots(torch.tensor(row), [n] * row.count(llava.IMAGE))
        assert llava.seg_states(expanded[None], 9)[0].nonzero().flatten().tolist() == expected


def test_with_one_leading_image_of_256_tokens_the_marks_are_lisas():
    ids = torch.tensor([[1, -200, 5, 9, 6, 9, 0], [1, -200, 5, 6, 7, 8, 9]])
    theirs = torch.cat([torch.zeros(2, 255, dtype=torch.bool), ids[:, 1:] == 9, torch.zeros(2, 1, dtype=torch.bool)], 1)
    assert torch.equal(llava.seg_states(ids, 9, 256), theirs)


# ---------------------------------------------------------------- crops


def noise(seed: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng([seed, height, width]).integers(0, 256, (height, width, 3)).astype(np.uint8)


@pytest.mark.parametrize("key", list(FIRST["square"]))
def test_images_are_padded_to_squares_as_in_llava(key):
    height, width = map(int, key.split("x"))
    square = llava.expand_to_square(noise(3, height, width), (122, 116, 104))
    assert square.tolist() == FIRST["square"][key]


def test_the_padding_colour_is_the_published_one():
    from looktwice.backbones.clip import MEAN

    assert llava.fill_colour(MEAN) == (122, 116, 104)


def test_resolutions_of_a_list_are_chosen_as_in_llava():
    pinpoints = [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]]
    choices = llava.grid_resolutions(pinpoints, 336)
    for size, best, shape in FIRST["best"]:
        assert llava.select_best_resolution(tuple(size), choices) == tuple(best)
        assert llava.grid_shape(tuple(size), choices, 336) == tuple(shape)


def test_resolutions_of_a_range_are_chosen_as_in_llava_next():
    choices = llava.grid_resolutions("(1x1),...,(6x6)", 384)
    assert len(choices) == 36
    for size, shape in NEXT["shape"]:
        assert llava.grid_shape(tuple(size), choices, 384) == tuple(shape)


def test_a_range_that_names_nothing_is_refused():
    with pytest.raises(UsageError, match=r"must be a list or like '\(1x1\),...,\(6x6\)', got 'any'"):
        llava.grid_resolutions("any", 384)


@pytest.mark.parametrize("key", list(NEXT["crops"]))
def test_crops_are_those_of_llava_next_to_the_last_bit(key):
    height, width = map(int, key.split("x"))
    crops = llava.anyres_crops(noise(4, height, width), llava.grid_resolutions("(1x1),...,(6x6)", 384), 384)
    assert list(crops.shape) == NEXT["crops"][key]["shape"]
    assert hashlib.sha256(np.ascontiguousarray(crops).tobytes()).hexdigest() == NEXT["crops"][key]["sha256"]


def test_padding_is_cut_off_as_in_llava():
    for height, width, size, kept in FIRST["unpad"]:
        page = torch.arange(height * width).reshape(1, height, width)
        assert llava.unpad(page, tuple(size))[0].tolist() == kept


@pytest.mark.parametrize("i", range(len(NEXT["merged"])))
def test_crops_are_laid_out_as_in_llava_next(i):
    size, ratio, n, tokens = NEXT["merged"][i]
    features = torch.from_numpy(published.numbers((1 + n, 9, 5), 4 + 10 + i))
    newline = torch.from_numpy(published.numbers((5,), 4 + 1))
    most = int(ratio.split("_")[-1]) if "max" in ratio else None
    choices = llava.grid_resolutions("(1x1),...,(6x6)", 384)
    merged = llava.merge_crops(features, newline, tuple(size), choices, 384, most)
    assert len(merged) == tokens
    golden.close(merged, golden.arrays("llava_next.npz")[f"merged{i}"])


@given(size=st.tuples(st.integers(1, 5000), st.integers(1, 5000)))
@settings(deadline=None, max_examples=40)
def test_any_size_has_crops_that_tile_its_resolution(size):
    choices = llava.grid_resolutions("(1x1),...,(6x6)", 384)
    across, down = llava.grid_shape(size, choices, 384)
    assert (across * 384, down * 384) in choices
    features = torch.zeros(1 + across * down, 4, 2)
    merged = llava.merge_crops(features, torch.ones(2), size, choices, 384)
    # room for nine crops, a tenth for rounding, the whole image and the line ends
    assert 4 <= len(merged) <= 4 * (9 * 1.1**2 + 1) + 12
