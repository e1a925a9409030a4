import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from looktwice.backbones.llava import IGNORE, IMAGE
from looktwice.backbones.tiny import tiny_tokenizer
from looktwice.detectors.vmad.processing import VmadProcessor, collate, join, small_tokenizer
from looktwice.errors import BadFile, UsageError

from .vmad_small import QUESTION, SIDE, normal_record, picture, record, small, small_config, words

MODEL, PROCESSOR = small()
sizes = st.tuples(st.integers(1, 300), st.integers(1, 300))


def processor_of(tokenizer=None, **changes):
    config, tokenizer = small_config(**changes), tokenizer or small_tokenizer(words(), 500)
    join(config, tokenizer)
    return VmadProcessor(config, tokenizer)


# ---------------------------------------------------------------- pictures


@given(sizes)
@settings(deadline=None, max_examples=25)
def test_the_cells_tile_the_picture_exactly(size):
    framed = PROCESSOR.frame(np.zeros((*size, 3), np.uint8))
    assert framed.clip.shape == (3, 28, 28)
    assert framed.visual.shape == (3, SIDE, SIDE)
    cells = PROCESSOR.cells(framed)
    assert cells.shape == (4, 4)
    areas = (cells[:, 2] - cells[:, 0]).clamp(min=0) * (cells[:, 3] - cells[:, 1]).clamp(min=0)
    assert areas.sum().item() == pytest.approx(framed.shown[0] * framed.shown[1])


@given(y=st.integers(2, 37), x=st.integers(2, 77), geometry=st.sampled_from(["aligned", "lisa"]))
@settings(deadline=None, max_examples=25)
def test_both_squares_show_a_spot_in_the_same_cell(y, x, geometry):
    processor = ALIGNED if geometry == "aligned" else LISA
    image = np.zeros((40, 80, 3), np.uint8)
    before = processor.frame(image)
    image[y - 2 : y + 2, x - 2 : x + 2] = 255
    framed = processor.frame(image)
    side = 28 // processor.config.token_grid
    lit = (framed.clip - before.clip).abs().sum(0).unfold(0, side, side).unfold(1, side, side).sum((2, 3)).flatten()
    drawn = (framed.visual - before.visual).abs().sum(0)
    shares = [drawn[y0:y1, x0:x1].sum() / drawn.sum() for x0, y0, x1, y1 in processor.cells(framed).round().int()]
    if max(shares) > 0.95:  # the spot lies in one cell
        assert int(lit.argmax()) == int(np.argmax(shares))


ALIGNED, LISA = processor_of(), processor_of(clip_geometry="lisa")


def test_lisas_geometry_is_that_of_clips_own_processor():
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    theirs = CLIPImageProcessorPil(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28})
    for size in ((40, 64), (57, 31), (28, 28), (3, 90)):
        wanted = theirs(Image.fromarray(picture(*size)), return_tensors="pt").pixel_values[0]
        torch.testing.assert_close(LISA.frame(picture(*size)).clip, wanted, atol=1e-5, rtol=1e-5)


def test_padding_of_the_towers_square_is_clips_mean():
    framed = PROCESSOR.frame(picture(20, 80))
    assert not framed.clip[:, 7:].any()
    assert framed.clip[:, :7].any()


def test_a_grid_that_the_factor_does_not_divide_has_smaller_last_cells():
    processor = processor_of(ltc_factor=3)
    assert processor.config.image_tokens == 4
    cells = processor.cells(processor.frame(picture(64, 64)))
    assert cells[0].tolist() == [0, 0, 48, 48]
    assert cells[3].tolist() == [48, 48, 64, 64]


@pytest.mark.parametrize("size", [(1, 1000), (1000, 1), (1, 1), (2, 999)])
@pytest.mark.parametrize("geometry", ["aligned", "lisa"])
def test_extreme_shapes_are_framed(size, geometry):
    framed = (ALIGNED if geometry == "aligned" else LISA).frame(picture(*size))
    assert min(framed.shown) >= 1
    assert torch.isfinite(framed.clip).all()


# ---------------------------------------------------------------- words


@pytest.mark.parametrize("letters", [False, True])
def test_a_question_is_what_the_answer_of_a_record_follows(letters):
    _, processor = small(letters=letters)
    ids, labels = processor.dialogue_ids(record()["conversations"])
    asked = processor.question_ids("Is there any anomaly?")
    first = int((labels != IGNORE).nonzero()[0])
    assert torch.equal(ids[:first], asked)
    assert processor.text(ids[first:].tolist()) == "Yes, there is an anomaly."
    assert int((ids == IMAGE).sum()) == processor.config.image_tokens
    assert ids[-1].item() in processor.stop_ids()


@pytest.mark.parametrize("letters", [False, True])
def test_a_dialogue_goes_on_as_it_was_learnt(letters):
    _, processor = small(letters=letters)
    turns = [QUESTION, {"from": "gpt", "value": "Yes. <seg>"}, {"from": "human", "value": "Why?"}]
    ids, labels = processor.dialogue_ids([*turns, {"from": "gpt", "value": "A dent."}])
    close, following = processor.next_ids("Why?")
    learnt = labels.tolist()
    second = next(i for i in range(len(learnt)) if learnt[i] != IGNORE and i > learnt.index(int(close[-1])))
    assert ids[second - len(following) : second].tolist() == following.tolist()
    assert ids[second - len(following) - len(close) : second - len(following)].tolist() == close.tolist()


def test_yes_and_no_begin_with_tokens_of_their_own():
    yes, no = PROCESSOR.yes_no()
    assert PROCESSOR.text([yes]) == "Yes"
    assert PROCESSOR.text([no]) == "No"
    _, letters = small(letters=True)
    with pytest.raises(UsageError, match="begins Yes and No with the same token"):
        letters.yes_no()


def test_the_marks_around_an_image_are_tokens():
    processor = processor_of(image_start_end=True)
    ids = processor.question_ids("Is it?").tolist()
    first, last = ids.index(IMAGE), len(ids) - 1 - ids[::-1].index(IMAGE)
    marks = processor.tokenizer.convert_ids_to_tokens([ids[first - 1], ids[last + 1]])
    assert marks == ["<im_start>", "<im_end>"]


def test_words_of_a_person_bring_no_second_picture():
    ids = PROCESSOR.question_ids("Is <image> this <image>?")
    assert int((ids == IMAGE).sum()) == PROCESSOR.config.image_tokens


def test_the_same_texts_learn_the_same_tokenizer():
    one, other = (small_tokenizer(words(), 400).get_vocab() for _ in range(2))
    assert one == other
    assert len(one) == 400


def test_no_text_is_outside_of_the_small_tokenizer():
    text = "ß 漢字 \t 🙂 <x>"
    made = small_tokenizer(words(), 400)
    assert made.decode(made(text, add_special_tokens=False).input_ids) == text


def test_a_tokenizer_of_another_model_is_refused():
    with pytest.raises(UsageError, match="is it the tokenizer of this model"):
        VmadProcessor(PROCESSOR.config, tiny_tokenizer())


def test_an_unknown_template_names_the_known_ones():
    config = small_config(template="llava_v9", seg_token_id=1)
    with pytest.raises(UsageError, match="template must be one of vicuna_v1, llava_v1"):
        VmadProcessor(config, PROCESSOR.tokenizer)


def test_control_characters_of_an_answer_are_dropped():
    ids = PROCESSOR.tokenizer("a\x1b[31m\x00b", add_special_tokens=False).input_ids
    assert PROCESSOR.text(ids) == "a [31m b"


# ---------------------------------------------------------------- batches


def test_a_batch_holds_what_the_model_reads():
    batch = collate([record(0), normal_record(1)], PROCESSOR)
    assert batch["input_ids"].shape == batch["labels"].shape == batch["attention_mask"].shape
    assert batch["pixel_values"].shape == (2, 3, SIDE, SIDE)
    assert batch["cells"].shape == (2, PROCESSOR.config.image_tokens, 4)
    assert batch["normal"].tolist() == [False, True]
    assert batch["drawn"].tolist() == [True, True]
    assert [one.shape for one in batch["masks"]] == [(1, 40, 64)] * 2
    assert batch["masks"][0].sum() == 15 * 20
    assert not batch["masks"][1].any()
    shorter = batch["attention_mask"].sum(1).argmin()
    assert (batch["labels"][shorter][batch["attention_mask"][shorter] == 0] == IGNORE).all()


def test_a_record_alone_is_as_in_a_batch():
    alone, among = collate([record(3)], PROCESSOR), collate([normal_record(1), record(3)], PROCESSOR)
    length = int(alone["attention_mask"].sum())
    for key in ("input_ids", "labels"):
        assert torch.equal(alone[key][0], among[key][1][:length])
    assert torch.equal(alone["pixel_values"][0], among["pixel_values"][1])


def test_files_are_read_like_arrays(tmp_path):
    one = record(0)
    Image.fromarray(one["image"]).save(tmp_path / "image.png")
    Image.fromarray((one["mask"] * 255).astype(np.uint8)).save(tmp_path / "mask.png")
    files = collate([{**one, "image": tmp_path / "image.png", "mask": str(tmp_path / "mask.png")}], PROCESSOR)
    arrays = collate([one], PROCESSOR)
    assert torch.equal(files["pixel_values"], arrays["pixel_values"])
    assert torch.equal(files["masks"][0], arrays["masks"][0])


def test_without_a_mask_a_defect_teaches_words_only_and_a_normal_part_an_empty_mask():
    batch = collate([record(0, mask=None), normal_record(1, mask=None)], PROCESSOR)
    assert batch["drawn"].tolist() == [False, True]
    assert not batch["masks"][1].any()


def test_several_masks_belong_to_several_mask_tokens():
    masks = [np.zeros((40, 64), bool), np.ones((40, 64), bool)]
    batch = collate([record(0, answer="Yes. <seg> and <seg>", mask=masks)], PROCESSOR)
    assert batch["masks"][0].sum((1, 2)).tolist() == [0, 40 * 64]
    assert collate([record(0, answer="Yes.")], PROCESSOR)["masks"][0].shape == (0, 40, 64)


@pytest.mark.parametrize(
    ("odd", "error", "words"),
    [
        ({"mask": "nowhere.png"}, BadFile, "nowhere.png: the mask a record names is not there"),
        ({"image": "nowhere.png"}, BadFile, "nowhere.png: no such file"),
        ({"mask": np.ones((40, 63), bool)}, UsageError, "made/0: the mask is 63 x 40, its image 64 x 40"),
        ({"mask": [np.ones((40, 64), bool)] * 2}, UsageError, "made/0 asks for 1 masks and has 2"),
        (
            {"conversations": [QUESTION, {"from": "gpt", "value": ""}]},
            UsageError,
            "made/0: training needs .* an answer",
        ),
        ({"conversations": [QUESTION]}, UsageError, "made/0: expected questions and answers in turn"),
        ({"conversations": [{"from": "human", "value": "Hm?"}, {"from": "gpt", "value": "Yes."}]}, UsageError, "once"),
        (
            {"conversations": [{"from": "human", "value": "<image> <seg>?"}, {"from": "gpt", "value": "Yes."}]},
            UsageError,
            "made/0: only answers may hold <seg>",
        ),
        ({"image": np.zeros((4, 4), np.uint8)}, UsageError, r"uint8 of shape \(H, W, 3\)"),
    ],
)
def test_a_bad_record_is_named_with_what_is_wrong(odd, error, words):
    with pytest.raises(error, match=words):
        collate([{**record(0), **odd}], PROCESSOR)


def test_a_record_that_lacks_a_field_says_which():
    odd = record(0)
    del odd["anomalous"], odd["image"]
    with pytest.raises(UsageError, match="record made/0 lacks image, anomalous"):
        collate([odd], PROCESSOR)
    with pytest.raises(UsageError, match="at least one record"):
        collate([], PROCESSOR)


def test_a_dialogue_longer_than_the_language_model_is_refused():
    answer = "Yes " * 1200 + "<seg>"
    with pytest.raises(UsageError, match=r"made/0 takes .* tokens, the language model has room for 1024"):
        collate([record(0, answer=answer)], PROCESSOR)


def test_a_broken_mask_file_is_named(tmp_path):
    (tmp_path / "mask.png").write_bytes(b"no picture")
    with pytest.raises(BadFile, match=r"mask.png: cannot be read as a mask"):
        collate([record(0, mask=tmp_path / "mask.png")], PROCESSOR)
