"""SAM's published file layout, and parity with facebookresearch/segment-anything."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import SamModel

from looktwice.backbones import sam
from looktwice.checkpoints import BadCheckpoint, Tensors, check_fit, empty_weights, load_strict, read_tensors
from looktwice.checkpoints.sam import LAYOUTS, PUBLISHED

from . import golden, published

SEED = 7
NARROW = {"grid": 4, "window": 3, "channels": 32, "mlp": 64}
COUNTS = {"vit_h": 641_090_608, "vit_l": 312_342_832, "vit_b": 93_735_472}  # ViT-H's as published


def narrow() -> SamModel:
    size = sam.SamSize(32, 3, 2, (2,))
    return SamModel(sam.sam_config(size, 64, window=3, channels=32, decoder_heads=2, decoder_mlp=64)).eval()


def weights() -> dict[str, torch.Tensor]:
    return published.drawn(published.sam(32, 3, 2, (2,), **NARROW), SEED)


@pytest.fixture(scope="module")
def model() -> SamModel:
    made = narrow()
    load_strict(made, Tensors.of(weights()), PUBLISHED)
    return made


@pytest.fixture(scope="module")
def theirs() -> dict[str, np.ndarray]:
    return golden.arrays("sam.npz")


PROMPTS = {
    "points": {
        "input_points": torch.tensor(
            [[[[3.0, 5.0], [60.0, 20.0], [33.0, 63.0]], [[10.0, 50.0], [1.0, 1.0], [0.0, 0.0]]]]
        ),
        "input_labels": torch.tensor([[[1, 0, 1], [0, 1, -1]]]),
    },
    "boxes": {"input_boxes": torch.tensor([[[2.0, 3.0, 40.0, 50.0], [10.0, 0.0, 63.0, 20.0]]])},
}
PROMPTS["points_boxes"] = PROMPTS["points"] | PROMPTS["boxes"]
NOTHING = {"input_points": None, "input_labels": None, "input_boxes": None, "input_masks": None}


@torch.no_grad()
def test_each_block_of_the_image_encoder_agrees_with_the_published_code(model, theirs):
    seen = model.vision_encoder(
        torch.from_numpy(published.numbers((2, 3, 64, 64), SEED + 1)), output_hidden_states=True
    )
    for i, block in enumerate(seen.hidden_states[1:4]):
        # values up to 28, so that the last bit of float32 is 2e-6
        np.testing.assert_allclose(block.numpy(), theirs[f"block{i}"], rtol=0, atol=2e-5)
    golden.close(seen.last_hidden_state, theirs["neck"])


@torch.no_grad()
@pytest.mark.parametrize("name", list(PROMPTS))
def test_prompts_and_their_masks_agree_with_the_published_code(model, theirs, name):
    sparse, dense = model.prompt_encoder(**(NOTHING | PROMPTS[name]))
    golden.close(sparse[0], theirs[f"{name}.sparse"])
    for multimask in (False, True):
        masks, quality = model.mask_decoder(
            torch.from_numpy(theirs["neck"][:1]),
            sam.position_grid(model.shared_image_embedding, 4),
            sparse,
            dense,
            multimask_output=multimask,
        )
        golden.close(masks[0], theirs[f"{name}.masks{int(multimask)}"])
        golden.close(quality[0], theirs[f"{name}.iou{int(multimask)}"])


@torch.no_grad()
def test_mask_prompts_agree_with_the_published_code(model, theirs):
    drawn = torch.from_numpy(published.numbers((2, 1, 16, 16), SEED + 2))
    sparse, dense = model.prompt_encoder(**(NOTHING | {"input_masks": drawn}))
    assert sparse is None
    golden.close(dense, theirs["masks.dense"])
    for i in range(2):  # transformers takes one mask per image; the published code several
        masks, quality = model.mask_decoder(
            torch.from_numpy(theirs["neck"][:1]),
            sam.position_grid(model.shared_image_embedding, 4),
            None,
            dense[i : i + 1],
            multimask_output=True,
        )
        golden.close(masks[0, 0], theirs["masks.masks1"][i])
        golden.close(quality[0, 0], theirs["masks.iou1"][i])


@torch.no_grad()
def test_without_a_prompt_the_mask_agrees_with_the_published_code(model, theirs):
    drawn = sam.decode(model, torch.from_numpy(theirs["neck"][0]), torch.zeros(1, 0, 32))
    golden.close(drawn, theirs["none.masks0"])
    golden.close(sam.position_grid(model.shared_image_embedding, 4), theirs["dense_pe"])


@torch.no_grad()
@pytest.mark.parametrize(("i", "size", "original"), [(0, (50, 64), (100, 128)), (1, (64, 31), (33, 16))])
def test_an_image_goes_through_as_in_the_published_code(model, theirs, i, size, original):
    image = np.random.default_rng(SEED + 3 + i).integers(0, 256, (*size, 3)).astype(np.uint8)
    pixels = sam.normalise_and_pad(image, 64)
    if i == 1:
        golden.close(pixels, theirs["prep"])
    seen = model(pixel_values=pixels[None], **PROMPTS["boxes"], multimask_output=False)
    golden.close(seen.pred_masks[0], theirs[f"whole{i}.low"])
    masks = sam.postprocess_masks(seen.pred_masks[0], size, original, 64) > 0
    wanted = np.unpackbits(theirs[f"whole{i}.masks"], count=masks.numel()).astype(bool)
    assert (masks.numpy().ravel() == wanted).mean() > 0.999  # a logit of 1e-9 may fall on either side


@torch.no_grad()
def test_the_decoder_of_published_width_agrees_with_the_published_code(theirs):
    wide = SamModel(sam.sam_config(sam.SamSize(32, 1, 2, (0,)), 128, window=3)).eval()
    load_strict(
        wide, Tensors.of(published.drawn(published.sam(32, 1, 2, (0,), grid=8, window=3), SEED, 0.07)), PUBLISHED
    )
    embedding = torch.from_numpy(published.numbers((1, 256, 8, 8), SEED + 6))
    sparse = torch.from_numpy(published.numbers((3, 1, 256), SEED + 7))
    golden.close(sam.decode(wide, embedding[0], sparse), theirs["wide.masks"])


@pytest.mark.parametrize("size", list(COUNTS))
def test_published_names_and_shapes_fill_the_configuration_exactly(size):
    shape = sam.SIZES[size]
    names = published.sam(shape.width, shape.depth, shape.heads, shape.global_blocks)
    file = Tensors.of({name: torch.empty(one, device="meta") for name, one in names.items()})
    with empty_weights():
        model = sam.build_sam(size)
    report = check_fit(model, file, LAYOUTS)
    free = sum(parameter.numel() for parameter in model.parameters()) - 2 * 128  # their position code is a buffer
    assert free == COUNTS[size]
    assert sum(torch.Size(one).numel() for one in names.values()) - 2 * 128 == COUNTS[size]
    assert len(report.filled) == len(names)
    assert report.missing == report.dropped == ()


def test_the_layout_of_transformers_comes_back_as_it_was(model, tmp_path):
    model.save_pretrained(tmp_path)
    again = narrow()
    load_strict(again, tmp_path, LAYOUTS)
    for name, value in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name


def test_the_published_file_loads_from_disk(model, tmp_path):
    torch.save(weights(), tmp_path / "sam_vit_t.pth")
    again = narrow()
    report = load_strict(again, tmp_path / "sam_vit_t.pth", LAYOUTS)
    assert len(report.filled) == len(weights())
    for name, value in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name


def test_a_larger_sam_says_which_shapes_differ(tmp_path):
    torch.save(published.drawn(published.sam(48, 3, 2, (2,), **NARROW), 0), tmp_path / "sam.pth")
    with pytest.raises(BadCheckpoint, match=r"pos_embed is \(1, 4, 4, 48\) in the file but .*\(1, 4, 4, 32\)") as error:
        load_strict(narrow(), tmp_path / "sam.pth", LAYOUTS)
    assert "This looks like SAM's published file." in str(error.value)


def test_a_sam_with_more_blocks_is_refused():
    deeper = Tensors.of(published.drawn(published.sam(32, 4, 2, (2,), **NARROW), 0))
    with pytest.raises(BadCheckpoint, match=r"image_encoder\.blocks\.3\.\S+, .* and \d+ more that this model does not"):
        load_strict(narrow(), deeper, LAYOUTS)


def test_tensors_are_read_once_each_and_by_name(tmp_path):
    torch.save(weights(), tmp_path / "sam.pth")
    file = read_tensors(tmp_path / "sam.pth")
    assert set(file) == set(weights())
    assert all(file.shape(name) == tuple(value.shape) for name, value in weights().items())
