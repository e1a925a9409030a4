"""LISA's published layout, and parity with dvlab-research/LISA from token ids to masks and losses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from looktwice.backbones import llava, losses, sam
from looktwice.backbones.tiny import tiny_tokenizer
from looktwice.checkpoints import BadCheckpoint, Tensors, load_strict, read_tensors, under
from looktwice.checkpoints.clip import VISION_LAYOUTS
from looktwice.checkpoints.lisa import PUBLISHED, WITHOUT_PROJECTOR

from . import golden, published
from .parts import Parts

SEED = 11
SEG = 355
SIZES = [(40, 64), (64, 51)]  # of the resized images in the square of SAM
ORIGINALS = [(25, 40), (32, 26)]
TEXTS = [[0, 1], [2]]  # which dialogue is about which image
DIALOGUES = [
    ["<image>\nWhat is crack in this image? Please output segmentation mask.", "Sure, it is [SEG]."],
    ["<image>\nIs the tile fine?", "No, [SEG] and also [SEG]."],
    ["<image>\nCan you segment the dent in this image?", "[SEG].", "Where is it?", "At the lower edge."],
]


def names() -> published.Shapes:
    eyes = published.sam(32, 2, 2, (1,), grid=4, window=3, channels=32, mlp=64)
    rest = published.llama(64, 96, 2, 360) | published.projector(32, 64) | published.lisa(64, 32)
    return rest | published.within(eyes, "model.visual_model.")


def weights() -> dict[str, torch.Tensor]:
    drawn = published.drawn(names(), SEED, 0.15)
    strong = published.drawn(names(), SEED, 0.25)
    return drawn | {name: one for name, one in strong.items() if ".visual_model." in name}


@pytest.fixture(scope="module")
def model() -> Parts:
    made = Parts(360, lisa=True).eval()
    report = load_strict(made, Tensors.of(weights()), PUBLISHED, allow_missing=["vision_tower.*"])
    assert all(name.startswith("vision_tower.") for name in report.missing)
    tower = published.drawn(published.clip(224, 14, 32, 3, 16, 16, 1, 50), SEED, 0.1)
    load_strict(made.vision_tower, Tensors.of(tower), VISION_LAYOUTS)
    return made


@pytest.fixture(scope="module")
def theirs() -> dict[str, np.ndarray]:
    return golden.arrays("lisa.npz")


@pytest.fixture(scope="module")
def told() -> dict:
    return golden.table("lisa.json")


@pytest.fixture(scope="module")
def tokenizer():
    made = tiny_tokenizer("llama")
    made.add_tokens("[SEG]")
    made.add_tokens(["<im_start>", "<im_end>"], special_tokens=True)
    assert made.convert_tokens_to_ids("[SEG]") == SEG
    return made


def encoded(tokenizer, template: str) -> list[tuple[torch.Tensor, torch.Tensor]]:
    form = llava.TEMPLATES[template]
    rows = [llava.encode(form, [llava.frame_images(one) for one in turns], tokenizer) for turns in DIALOGUES]
    return [(torch.tensor(ids), torch.tensor(labels)) for ids, labels in rows]


def image(i: int) -> torch.Tensor:
    return torch.from_numpy(published.numbers((3, 224, 224), SEED + 30 + i))


def view(i: int) -> torch.Tensor:
    return torch.from_numpy(published.numbers((3, 64, 64), SEED + 20 + i))


@pytest.mark.parametrize("template", ["llava_v1", "llava_llama_2"])
def test_ids_and_labels_of_a_batch_agree_with_the_published_code(tokenizer, told, template):
    form = llava.TEMPLATES[template]
    texts = [form.render([llava.frame_images(one) for one in turns]) for turns in DIALOGUES]
    assert texts == told[template]["prompts"]
    ids, labels = zip(*encoded(tokenizer, template), strict=True)
    pad = torch.nn.utils.rnn.pad_sequence
    assert pad(list(ids), batch_first=True, padding_value=0).tolist() == told[template]["ids"]
    assert pad(list(labels), batch_first=True, padding_value=llava.IGNORE).tolist() == told[template]["labels"]
    assert pad([one == one for one in ids], batch_first=True).int().tolist() == told[template]["attention"]


@torch.no_grad()
def test_states_and_logits_agree_with_the_published_code(model, tokenizer, theirs):
    for row, (ids, _) in enumerate(encoded(tokenizer, "llava_v1")):
        states, logits = model.read(ids, image(0 if row < 2 else 1))
        length = len(states)
        golden.close(states[::10], theirs["hidden"][row][: -(-length // 10)])
        golden.close(logits[::40], theirs["logits"][row][: -(-length // 40)])


@torch.no_grad()
@pytest.mark.parametrize("i", [0, 1])
def test_masks_agree_with_the_published_code_from_ids_to_original_pixels(model, tokenizer, theirs, i):
    texts = [encoded(tokenizer, "llava_v1")[j][0] for j in TEXTS[i]]
    drawn = sam.postprocess_masks(model.masks(texts, SEG, image(i), view(i)), SIZES[i], ORIGINALS[i], 64)
    golden.close(drawn[:, 0], theirs[f"masks{i}"])


@torch.no_grad()
def test_losses_of_a_batch_agree_with_the_published_code(model, tokenizer, told):
    rows = encoded(tokenizer, "llava_v1")
    logits, labels, drawn, wanted = [], [], [], []
    for i, which in enumerate(TEXTS):
        for j in which:
            logits.append(model.read(rows[j][0], image(i))[1][:-1])
            labels.append(llava.expand_slots(rows[j][0], [256], rows[j][1])[1][1:])
        low = model.masks([rows[j][0] for j in which], SEG, image(i), view(i))
        drawn.append(sam.postprocess_masks(low, SIZES[i], ORIGINALS[i], 64)[:, 0])
        wanted.append(torch.from_numpy(published.numbers((len(drawn[-1]), *ORIGINALS[i]), SEED + 40 + i)) > 0.3)
    words = F.cross_entropy(torch.cat(logits), torch.cat(labels), ignore_index=llava.IGNORE)
    bce, dice = losses.mask_losses(drawn, wanted)
    assert float(words) == pytest.approx(told["losses"]["ce_loss"], abs=golden.TOLERANCE)
    assert 2.0 * float(bce) == pytest.approx(told["losses"]["mask_bce_loss"], abs=golden.TOLERANCE)
    assert 0.5 * float(dice) == pytest.approx(told["losses"]["mask_dice_loss"], abs=golden.TOLERANCE)
    assert float(words + 2 * bce + 0.5 * dice) == pytest.approx(told["losses"]["loss"], abs=golden.TOLERANCE)


@torch.no_grad()
@pytest.mark.parametrize("n", [0, 1, 3])
def test_prompts_are_drawn_as_in_the_published_code(model, theirs, n):
    features = torch.from_numpy(published.numbers((1, 32, 4, 4), SEED + 80))
    prompts = torch.from_numpy(published.numbers((n, 32), SEED + 70 + n))
    low = sam.decode(model.visual_model, features[0], prompts[:, None])
    golden.close(low, theirs[f"drawn{n}"])
    back = sam.postprocess_masks(low, (40, 64), (25, 40), 64)
    golden.close(back, theirs.get(f"post{n}", np.zeros((0, 1, 25, 40), np.float32)))


@torch.no_grad()
def test_masks_drawn_together_are_those_drawn_alone(model):
    features = torch.from_numpy(published.numbers((32, 4, 4), 1))
    prompts = torch.from_numpy(published.numbers((4, 1, 32), 2))
    together = sam.decode(model.visual_model, features, prompts)
    alone = torch.cat([sam.decode(model.visual_model, features, one[None]) for one in prompts])
    assert (together - alone).abs().max() < 1e-5


@pytest.mark.parametrize("n", [0, 1, 3])
def test_mask_losses_agree_with_the_published_code(theirs, n):
    logits = torch.from_numpy(published.numbers((n, 16, 12), SEED + 50 + n, 3.0))
    wanted = (torch.from_numpy(published.numbers((n, 16, 12), SEED + 60 + n)) > 0).float()
    if n == 3:
        wanted[1] = 0
    golden.close(losses.sigmoid_ce_loss(logits, wanted, n), theirs[f"bce{n}"])
    golden.close(losses.dice_loss(logits, wanted, n), theirs[f"dice{n}"])


# ---------------------------------------------------------------- the files


def test_a_published_folder_loads_beside_the_file_of_clip(tmp_path):
    torch.save(weights(), tmp_path / "pytorch_model.bin")
    made = Parts(360, lisa=True)
    report = load_strict(made, tmp_path, PUBLISHED, allow_missing=["vision_tower.*"])
    assert len(report.filled) == len(weights())
    assert torch.equal(made.text_hidden_fcs[2].bias, weights()["model.text_hidden_fcs.0.2.bias"])


def test_a_lisa_folder_without_clip_names_the_tower_that_is_missing():
    with pytest.raises(BadCheckpoint, match=r"lacks vision_tower\.\S+, .* and \d+ more of the model's") as error:
        load_strict(Parts(360, lisa=True), Tensors.of(weights()), PUBLISHED)
    assert "This looks like a LISA checkpoint." in str(error.value)


def test_another_projector_starts_from_lisa_without_its_own():
    made = Parts(360, kind="mlp2x", lisa=True)
    report = load_strict(
        made, Tensors.of(weights()), WITHOUT_PROJECTOR, allow_missing=["vision_tower.*", "projector.*"]
    )
    assert report.dropped == ("model.mm_projector.bias", "model.mm_projector.weight")
    assert {name.split(".")[0] for name in report.missing} == {"vision_tower", "projector"}


def test_a_file_with_fewer_words_is_refused():
    short = weights() | {"lm_head.weight": torch.zeros(358, 64)}
    with pytest.raises(BadCheckpoint, match=r"lm_head\.weight is \(358, 64\) in the file but"):
        load_strict(Parts(360, lisa=True), Tensors.of(short), PUBLISHED, allow_missing=["vision_tower.*"])


def test_clip_loads_into_its_place_in_the_whole_model(tmp_path):
    made = Parts(360, lisa=True)
    tower = published.drawn(published.clip(224, 14, 32, 3, 16, 16, 1, 50), SEED, 0.1)
    torch.save(tower, tmp_path / "clip.pt")
    inside = [under(table, ours="vision_tower.") for table in VISION_LAYOUTS]
    others = ["projector.*", "language_model.*", "visual_model.*", "text_hidden_fcs.*"]
    report = load_strict(made, read_tensors(tmp_path / "clip.pt"), inside, allow_missing=others)
    assert all(name.startswith("vision_tower.") for name in report.filled)
