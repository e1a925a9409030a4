import json
import re

import pytest
import torch
from safetensors.torch import save_file

from looktwice.checkpoints import BadCheckpoint, lisa, llava, sam, tokenpacker
from looktwice.detectors.vmad.config import VmadConfig
from looktwice.detectors.vmad.detector import Lisa, LisaOptions
from looktwice.detectors.vmad.model import VmadModel
from looktwice.detectors.vmad.processing import collate
from looktwice.detectors.vmad.weights import assemble, kind_of, open_lisa
from looktwice.errors import UsageError
from looktwice.records import Spec

from .test_vmad import of
from .vmad_small import normal_record, picture, record, small, small_config

LISA = {"projector": "linear", "dssl": False, "seg_token": "[SEG]", "image_start_end": True, "clip_geometry": "lisa"}


def published(model, table, prefix=""):
    """Weights of ours by their published names: a key table read from right to left."""
    rows = [(getattr(ours, "names", [ours])[0], theirs) for theirs, ours in table.items() if ours is not None]
    found = {}
    for name, tensor in model.state_dict().items():
        for ours, theirs in rows:
            pattern = re.escape(prefix + ours)
            for hole, what in (("i", r"\d+"), ("j", r"\d+"), ("rest", ".+")):
                pattern = pattern.replace(rf"\{{{hole}\}}", f"(?P<{hole}>{what})", 1)
            if fits := re.fullmatch(pattern, name):
                found[theirs.format(**fits.groupdict())] = tensor.clone()
                break
    return found


def write(path, weights):
    save_file({name: one.contiguous() for name, one in weights.items()}, path)
    return path


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """A LISA folder, a LLaVA folder and files of CLIP, SAM and TokenPacker, all small, with the published names."""
    folder = tmp_path_factory.mktemp("parts")
    model, processor = small(5, **LISA)
    text = model.config.text_config
    raw = {
        "model_type": "llava",
        "train_mask_decoder": True,
        "mm_vision_tower": "openai/clip-vit-large-patch14",
        "mm_use_im_start_end": True,
        "vocab_size": text.vocab_size,
        "hidden_size": 48,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 1024,
    }
    for name, table in (("lisa", lisa.PUBLISHED), ("llava", llava.PUBLISHED)):
        (folder / name).mkdir()
        processor.tokenizer.save_pretrained(folder / name)
        (folder / name / "config.json").write_text(json.dumps(raw))
        weights = published(model, table)
        weights = {key: one for key, one in weights.items() if "vision_tower" not in key}
        write(folder / name / "model.safetensors", weights)
    write(folder / "clip.safetensors", {f"vision_model.{k}": v for k, v in model.vision_tower.state_dict().items()})
    write(folder / "sam.safetensors", published(model.visual_model, sam.PUBLISHED))
    packer, _ = small(6)
    write(folder / "tokenpacker.safetensors", published(packer, tokenpacker.PROJECTOR))
    return folder, model, packer


def same_part(ours, theirs):
    mine, other = ours.state_dict(), theirs.state_dict()
    assert mine.keys() == other.keys()
    return all(torch.equal(mine[name], other[name]) for name in mine)


def changes():
    config = small_config()
    return {"vision_config": config.vision_config, "visual_config": config.visual_config, "ltc_heads": 4}


def test_a_published_lisa_folder_opens_with_its_tower_beside_it(parts):
    folder, model, _ = parts
    assert kind_of(folder / "lisa") == "lisa"
    opened, processor = open_lisa(folder / "lisa", folder / "clip.safetensors", **changes())
    for part in ("vision_tower", "projector", "language_model", "visual_model", "text_hidden_fcs"):
        assert same_part(getattr(opened, part), getattr(model, part)), part
    batch = collate([record(1, answer="It is [SEG].")], processor)
    with torch.no_grad():
        assert torch.equal(opened(batch).masks[0], model(batch).masks[0])


def test_lisa_is_a_detector(parts, monkeypatch):
    folder, _, _ = parts
    sizes = changes()
    monkeypatch.setattr(VmadConfig, "lisa_7b", classmethod(lambda cls, **more: cls(**{**LISA, **sizes, **more})))
    options = LisaOptions(weights=str(folder / "lisa"), clip=str(folder / "clip.safetensors"), max_new_tokens=4)
    judge = Lisa(options).fit(Spec(object="plate"))
    (prediction,) = judge.predict([of(picture())])
    assert prediction.score == prediction.evidence["peak"]
    text = judge.processor.text([one for one in judge.ids.tolist() if one >= 0])
    assert "Is there any anomaly in the image? Please output segmentation mask." in text


def test_a_lisa_folder_without_a_part_or_a_tower_is_refused(parts, tmp_path):
    folder, _, _ = parts
    with pytest.raises(BadCheckpoint, match="hf download openai/clip-vit-large-patch14"):
        open_lisa(folder / "lisa", "openai/clip-vit-large-patch14", **changes())
    with pytest.raises(BadCheckpoint, match=r"lacks .*text_hidden_fcs"):
        open_lisa(folder / "llava", folder / "clip.safetensors", **changes())


@pytest.mark.parametrize(
    "made", [{"ltc_init": "warm"}, {"ltc_init": "fresh"}, {"projector": "linear", "dssl": False}, {"lora": {"r": 2}}]
)
def test_training_starts_from_published_parts(parts, made):
    folder, model, _ = parts
    torch.manual_seed(0)
    started, processor = assemble(
        small_config(**made),
        folder / "llava",
        clip=folder / "clip.safetensors",
        llava=folder / "llava",
        sam=folder / "sam.safetensors",
    )
    assert same_part(started.vision_tower, model.vision_tower)
    assert same_part(started.visual_model, model.visual_model)
    rows = model.config.text_config.vocab_size
    words = started.language_model.get_input_embeddings().weight
    assert torch.equal(words[:rows], model.language_model.get_input_embeddings().weight)
    assert processor.config.seg_token_id == len(processor.tokenizer) - 1
    assert not any(one.is_meta for one in started.state_dict().values())
    if made.get("ltc_init") == "warm":
        assert torch.equal(started.projector.base.weight, model.projector.weight)
        assert started.projector.alpha == 0
        assert 0 < started.projector.inject.weight.std() < 0.1
    if made.get("projector") == "linear":
        assert same_part(started.projector, model.projector)
    out = started.train()(collate([record(0), normal_record(1)], processor))
    out.loss.backward()
    assert torch.isfinite(out.loss)
    learnt = {name for name, one in started.named_parameters() if one.requires_grad}
    assert any("mask_decoder" in name for name in learnt)
    assert not any("vision_tower" in name for name in learnt)


def test_a_lisa_folder_and_a_published_projector_start_vmad(parts):
    folder, model, packer = parts
    started, _ = assemble(
        small_config(),
        folder / "lisa",
        clip=folder / "clip.safetensors",
        lisa=folder / "lisa",
        tokenpacker=folder / "tokenpacker.safetensors",
    )
    assert same_part(started.text_hidden_fcs, model.text_hidden_fcs)
    assert same_part(started.projector, packer.projector)
    assert started.dssl is not None


def test_what_has_no_weights_starts_as_a_new_model_does(parts):
    folder, _, _ = parts
    torch.manual_seed(0)
    started, _ = assemble(small_config(), folder / "llava")
    new = VmadModel(small_config())
    for part in ("vision_tower", "projector", "visual_model", "text_hidden_fcs", "dssl"):
        for name, one in getattr(new, part).state_dict().items():
            if one.is_floating_point() and one.numel() > 200:
                spread = getattr(started, part).state_dict()[name].std().item()
                assert spread == pytest.approx(one.std().item(), rel=0.5, abs=1e-6), f"{part}.{name}"


def test_parts_that_exclude_each_other_are_refused(parts):
    folder, _, _ = parts
    with pytest.raises(UsageError, match="leave llava and sam out"):
        assemble(small_config(), folder / "lisa", lisa=folder / "lisa", sam=folder / "sam.safetensors")
    with pytest.raises(UsageError, match="holds no tokenizer"):
        assemble(small_config(), folder)
