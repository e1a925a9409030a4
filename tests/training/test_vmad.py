"""VMAD in training: a run of test size learns, goes on exactly, and is opened by its detector."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from looktwice import detectors, modalities
from looktwice.backbones import llava
from looktwice.backbones.sam import SamSize, sam_config
from looktwice.detectors.vmad.config import VmadConfig, trainable_names
from looktwice.detectors.vmad.weights import open_saved
from looktwice.errors import UsageError
from looktwice.modalities.image import sample_from_array
from looktwice.records import Spec
from looktwice.training import TrainConfig, grid, table, train
from looktwice.training.instruct import open_sources
from looktwice.training.judging import judge, records_of
from looktwice.training.sampling import Sampler
from looktwice.training.vmad import ABLATION, VmadTraining

torch.set_num_threads(1)
DATA = "procedural:level=easy,categories=nut,size=64"
SMALL = {
    "vision_config": {
        "image_size": 64,
        "patch_size": 8,
        "hidden_size": 48,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
    },
    "vision_layer": -1,
    "ltc_layers": [-3, -2, -1],
    "text_config": {
        "model_type": "llama",
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "max_position_embeddings": 512,
    },
    "visual_config": sam_config(
        SamSize(32, 1, 2, (0,)), 64, patch=8, window=4, channels=32, decoder_heads=2, decoder_mlp=64
    ).to_dict(),
    "conv_widths": [16, 24, 32],
    "dssl_ready": 8,
    "dssl_slots": 64,
}
SECTION = {"preset": "laptop", "config": SMALL, "words": 500, "kinds": {"mask": 1}}
QUICK = {
    "data": (DATA,), "batch": 4, "accumulate": 1, "lr": 2e-3, "warmup": 5, "clip": 5.0,
    "log_every": 1, "save_every": 4, "precision": "no", "model": SECTION,
}  # fmt: skip


def config(**changes):
    return TrainConfig(**{**QUICK, **changes})


def lines(out, name="losses.jsonl"):
    return [json.loads(line) for line in (out / name).read_text("utf-8").splitlines()]


def column(out, name):
    return [line[name] for line in lines(out)]


@pytest.fixture(scope="module")
def learnt(tmp_path_factory):
    """A run of test size: its folder and outcome."""
    out = tmp_path_factory.mktemp("learnt") / "run"
    return out, train("vmad", config(steps=80), out)


def test_all_three_losses_fall(learnt):
    out, _ = learnt
    for name in ("txt", "seg", "pbsd"):
        values = [value for value in column(out, name) if name != "pbsd" or value > 0]
        third = len(values) // 3
        assert np.mean(values[-third:]) < 0.7 * np.mean(values[:third]), name


def test_the_total_is_the_weighted_sum(learnt):
    out, _ = learnt
    for line in lines(out):
        seg = 2.0 * line["bce"] + 0.5 * line["dice"]
        assert line["seg"] == pytest.approx(seg, rel=1e-4)
        assert line["loss"] == pytest.approx(line["txt"] + seg + 0.1 * line["pbsd"], rel=1e-4)


def test_a_broken_off_run_goes_on_with_the_same_losses(tmp_path):
    def stop(progress):
        if progress.step == 6:
            raise RuntimeError

    train("vmad", config(steps=8), tmp_path / "whole")
    with pytest.raises(RuntimeError):
        train("vmad", config(steps=8), tmp_path / "run", on_step=stop)
    train("vmad", config(steps=8), tmp_path / "run", resume=True)
    assert lines(tmp_path / "run") == lines(tmp_path / "whole")
    one, other = (open_saved(tmp_path / name / "model")[0].state_dict() for name in ("whole", "run"))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert int(one["dssl.count"]) == 16


def test_a_finished_run_is_not_begun_again(learnt):
    out, outcome = learnt
    again = train("vmad", config(steps=80), out, resume=True)
    assert (again.model, again.losses) == (outcome.model, outcome.losses)


def test_what_was_saved_is_what_was_trained_to_the_last_bit(tmp_path):
    sources = open_sources((DATA,))
    system = VmadTraining.make(SECTION, sources, 0)
    system.save(tmp_path, system.network, system.network.state_dict())
    model, processor = open_saved(tmp_path)
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in system.network.state_dict().items())
    record = Sampler(sources, 0).draws(0, 1)[0].record()
    batches = [collate([record]) for collate in (system.collate, VmadTraining(model, system.collate).collate)]
    assert torch.equal(system.network.eval()(batches[0]).logits, model(batches[1]).logits)
    assert processor.tokenizer.get_vocab() == system.collate.processor.tokenizer.get_vocab()


def test_the_detector_opens_what_was_trained(learnt):
    _, outcome = learnt
    fitted = detectors.load("vmad", weights=str(outcome.model), max_new_tokens=40).fit(Spec(object="nut"))
    record = open_sources((DATA,))[0].other[3]
    (views,) = modalities.views(sample_from_array(record["image"]))
    (prediction,) = fitted.predict([views])
    assert prediction.anomaly_map.shape == (1, 64, 64)
    assert prediction.explanation.raw.startswith(("Yes", "No"))  # it has learnt how answers begin


def test_figures_of_the_test_data_are_those_of_the_detector(learnt):
    _, outcome = learnt
    records = records_of(open_sources(("procedural:categories=nut,size=64,first=0,count=3",)), 6)
    assert [one["anomalous"] for one in records] == [False] * 3 + [True] * 3
    figures = judge("vmad", outcome.model, records, max_new_tokens=40)
    assert {"image_auroc", "pixel_auroc", "auroc_yes", "auroc_mask", "says_right"} <= set(figures)
    assert all(0 <= value <= 1 for value in figures.values())


# ---------------------------------------------------------------- what learns


@pytest.mark.parametrize(("projector", "dssl"), [("ltc", True), ("linear", False)])
def test_the_trainable_names_are_those_of_the_sheet(projector, dssl):
    changes = {"train": "adapters", "lora": {}, "projector": projector, "dssl": dssl}
    section = {**SECTION, "config": {**SMALL, **changes}}
    model = VmadTraining.make(section, open_sources((DATA,)), 0).network
    rule = ["lora_", "lm_head", "embed_tokens", "mask_decoder", "text_hidden_fcs"]  # LISA's, then what VMAD adds
    rule += ["projector."] * (projector == "ltc") + ["dssl."] * dssl
    for name, parameter in model.named_parameters():
        assert parameter.requires_grad == any(part in name for part in rule), name
    assert set(rule) >= {part.removeprefix("visual_model.").rstrip(".") for part in ("lora_", "lm_head")}
    learning = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    assert all(any(part in name for name in learning) for part in rule)
    frozen = [name for name, parameter in model.named_parameters() if not parameter.requires_grad]
    assert any(name.startswith("vision_tower.") for name in frozen)
    assert any("prompt_encoder" in name for name in frozen)
    assert any("vision_encoder" in name for name in frozen)
    assert len(trainable_names(model.config)) == len(rule)


def test_frozen_weights_stay_and_adapters_move(tmp_path):
    section = {**SECTION, "config": {**SMALL, "train": "adapters", "lora": {}}}
    before = VmadTraining.make(section, open_sources((DATA,)), 0).network.state_dict()
    outcome = train("vmad", config(steps=3, model=section), tmp_path)
    after = open_saved(outcome.model)[0].state_dict()
    moved = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert any("lora_B" in name for name in moved)
    assert not any(name.startswith("vision_tower.") or "vision_encoder" in name for name in moved)
    assert not any("base_layer" in name for name in moved)


def test_stages_follow_each_other_and_each_trains_its_part(tmp_path):
    stages = (
        {"steps": 2, "model": {"config": {"train": "projector"}}, "sampling": "shuffled"},
        {"steps": 3, "model": {"config": {"train": "adapters"}}},
    )
    told = []
    staged = config(steps=9, stages=stages, model={**SECTION, "config": {**SMALL, "lora": {}}})
    outcome = train("vmad", staged, tmp_path, on_step=told.append)
    assert outcome.model == tmp_path / "stage-2" / "model"
    steps = [(one.stage, one.step, one.steps) for one in told]
    assert steps[::2] == [("1 of 2", 1, 2), ("2 of 2", 1, 3), ("2 of 2", 3, 3)]
    first, second = (open_saved(tmp_path / f"stage-{i}" / "model")[0] for i in (1, 2))
    start = VmadTraining.make(staged.staged()[0].model, open_sources((DATA,)), 0).network.state_dict()
    moved = {name for name, value in first.state_dict().items() if not torch.equal(value, start[name])}
    assert moved
    assert all(name.startswith(("projector.", "dssl.")) for name in moved)  # of DSSL, its queues
    assert not any(name.startswith("dssl.w") for name in moved)
    assert second.config.train == "adapters"
    again = train("vmad", staged, tmp_path, resume=True)
    assert again.losses == outcome.losses


def test_a_saved_model_keeps_its_shape(tmp_path, learnt):
    _, outcome = learnt
    with pytest.raises(UsageError, match=r"model\.config\.projector cannot change in a saved model"):
        VmadTraining.make({"start": str(outcome.model), "config": {"projector": "linear"}}, (), 0)
    with pytest.raises(UsageError, match="train must be one of"):
        VmadTraining.make({"start": str(outcome.model), "config": {"train": "everything"}}, (), 0)
    adapted = VmadTraining.make({"start": str(outcome.model), "config": {"train": "adapters", "lora": {"r": 4}}}, (), 0)
    assert adapted.network.config.lora["r"] == 4


def test_half_precision_and_recomputed_activations_train(tmp_path):
    section = {**SECTION, "dtype": "bfloat16", "gradient_checkpointing": True}
    section["config"] = {**SMALL, "train": "adapters", "lora": {}}
    outcome = train("vmad", config(steps=2, precision="bf16", model=section), tmp_path)
    assert np.isfinite(outcome.losses["loss"])


# ---------------------------------------------------------------- dialogues


def written(record, **changes):
    collate = VmadTraining.make({**SECTION, **changes}, open_sources((DATA,)), 0).collate
    return collate.write(record)


def test_a_question_of_each_kind_is_asked_as_often_as_told():
    collate = VmadTraining.make({**SECTION, "kinds": {"detect": 1, "suggest": 3}}, open_sources((DATA,)), 0).collate
    record = open_sources((DATA,))[0].other[0]
    answers = [collate.write({**record, "draw": i})["conversations"][1]["value"] for i in range(400)]
    share = np.mean([answer.endswith("<seg>") for answer in answers])
    assert 0.68 < share < 0.82
    assert len({collate.write({**record, "draw": i})["conversations"][0]["value"] for i in range(100)}) == 8


def test_the_same_draw_is_the_same_dialogue():
    record = {**open_sources((DATA,))[0].other[0], "draw": 7}
    assert written(record)["conversations"] == written(record)["conversations"]


def test_own_conversations_are_learnt_where_there_are_no_sections():
    own = [{"from": "human", "value": "<image>\n<image>\nWhat is it?"}, {"from": "gpt", "value": "A nut."}]
    found = written({"id": "1", "image": "a.png", "anomalous": None, "conversations": own})
    assert found["conversations"][0]["value"] == "<image>\nWhat is it?"
    assert found["anomalous"] is True  # not known to be normal: the queues must not learn from it


def test_a_record_with_nothing_to_say_is_refused():
    with pytest.raises(UsageError, match="record 1 has neither conversations nor a label and sections"):
        written({"id": "1", "image": "a.png", "anomalous": None})


def test_the_learnt_tokenizer_knows_the_words_of_the_data():
    processor = VmadTraining.make(SECTION, open_sources((DATA,)), 0).collate.processor
    ids = llava.token_ids("Is there any anomaly on the flange?", processor.tokenizer)
    assert len(ids) < 16
    assert processor.yes_no()[0] != processor.yes_no()[1]


def test_records_on_disk_with_broken_files_are_skipped_and_the_rest_is_learnt(tmp_path):
    for split, kind, many in (("train", "good", 3), ("test", "good", 2), ("test", "scratch", 4)):
        for i in range(many):
            path = tmp_path / "data" / "bottle" / split / kind / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.random.default_rng(i).integers(0, 255, (48, 64, 3), np.uint8)).save(path)
    masks = tmp_path / "data" / "bottle" / "ground_truth" / "scratch"
    masks.mkdir(parents=True)
    for i in (0, 1):
        Image.fromarray(np.pad(np.full((8, 8), 255, np.uint8), ((4, 36), (10, 46)))).save(masks / f"{i}_mask.png")
    Image.fromarray(np.zeros((5, 5), np.uint8)).save(masks / "2_mask.png")  # of another size
    (tmp_path / "data" / "bottle" / "train" / "good" / "1.png").write_bytes(b"\x89PNG broken")
    data = (f"mvtec_ad:{tmp_path / 'data'}",)
    outcome = train("vmad", config(steps=8, data=data), tmp_path / "run")
    told = {name.rsplit("bottle", 1)[1]: why for name, why in outcome.skipped.items()}
    assert set(told) == {"/test/scratch/3.png", "/ground_truth/scratch/2_mask.png", "/train/good/1.png"}
    assert "this anomalous picture has no mask" in told["/test/scratch/3.png"]


# ---------------------------------------------------------------- settings


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"presets": "laptop"}, r"model.presets: .* Did you mean 'preset'\? It has preset, config"),
        ({"config": {"projectr": "ltc"}}, r"model.config has no 'projectr'. Did you mean 'projector'\?"),
        ({"config": {"projector": "magic"}}, "projector must be one of ltc, linear, mlp2x"),
        ({"preset": "vmad_7b"}, "vmad_7b starts from published weights: set model.tokenizer, model.llava"),
        ({"clip": "x"}, "model.clip: published weights need model.tokenizer"),
        ({"kinds": {"mask": 0}}, "model.kinds must hold shares of at least 0, not all 0"),
        ({"kinds": {"poem": 1}}, r"model.kinds.poem"),
    ],
)
def test_what_cannot_be_set_is_said(section, words):
    with pytest.raises(UsageError, match=words):
        VmadTraining.make(section, open_sources((DATA,)), 0)


def test_the_ablation_switches_projector_and_dssl():
    made = {name: VmadConfig.laptop(**fields) for name, fields in ABLATION.items()}
    assert {name: (one.projector, one.dssl) for name, one in made.items()} == {
        "none": ("linear", False), "LTC": ("ltc", False), "DSSL": ("linear", True), "both": ("ltc", True),
    }  # fmt: skip
    assert made["none"].image_tokens == 4 * made["both"].image_tokens


def test_a_grid_is_one_call(tmp_path, monkeypatch):
    variants = {name: ABLATION[name] for name in ("none", "both")}
    monkeypatch.setattr(VmadTraining, "ABLATION", variants)
    test = "procedural:categories=nut,size=64,first=0,count=1"
    rows = grid("vmad", config(steps=1, eval_count=2), tmp_path, seeds=(0, 1), test=(test,))
    assert [(row.variant, row.seed) for row in rows] == [(v, s) for s in (0, 1) for v in variants]
    shown = table(rows)
    assert shown.count("\n") == 3
    assert "| none | 2 |" in shown
    assert " ± " in shown


def test_a_grid_without_test_data_is_refused(tmp_path):
    with pytest.raises(UsageError, match="a grid compares figures of test data"):
        grid("vmad", config(steps=1), tmp_path)
