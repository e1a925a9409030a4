import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from looktwice.backbones.sam import postprocess_masks
from looktwice.checkpoints import BadCheckpoint
from looktwice.detectors.protocol import Reasoner
from looktwice.detectors.vmad.detector import NO_MASK, Lisa, LisaOptions, Vmad, VmadOptions, top_mean
from looktwice.detectors.vmad.processing import VmadProcessor
from looktwice.errors import UsageError
from looktwice.records import Spec, ToPixels, Views

from .scenes import SMALL, cloud, frames, part, spec_of, views_of
from .vmad_small import picture, small


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model that says the mask token on its own, saved."""
    path = tmp_path_factory.mktemp("vmad")
    save(*talker(), path)
    return path


def talker():
    return small(3, train="all")


def save(model, processor, path):
    model.save_pretrained(path)
    processor.save_pretrained(path)


def fitted(folder, spec=None, **options):
    options = {"max_new_tokens": 6, **options}
    return looked(Vmad(VmadOptions(weights=str(folder), **options)).fit(spec or Spec(object="plate"), SMALL))


def looked(judge):
    """Make the mask token one that the model says: the first word of its answer about a fixed picture."""
    model, processor = judge.model, judge.processor
    with torch.inference_mode():
        tokens = model.encode_image(processor.frame(picture(seed=9)).clip[None])
        said = model.answer(model.prompt(judge.ids[None], tokens), 3, ()).ids[0]
    model.config.seg_token_id = said[0]
    return judge


def of(image, shown=None):
    way = ToPixels(size=image.shape[:2])
    return Views(images=image[None], names=("image",), way=way, shown=None if shown is None else shown[None])


def same(a, b):
    assert a.score == b.score
    assert a.view_scores == b.view_scores
    assert a.evidence == b.evidence
    assert a.explanation == b.explanation
    assert a.anomaly_map.tobytes() == b.anomaly_map.tobytes()


# ---------------------------------------------------------------- scores and maps


def test_the_score_is_half_yes_and_half_mask_and_the_map_lies_on_the_view(folder):
    (prediction,) = fitted(folder).predict([of(picture(50, 70))])
    evidence = prediction.evidence
    assert evidence["masks"] >= 1
    assert prediction.score == pytest.approx(0.5 * evidence["yes"] + 0.5 * evidence["mask"])
    assert prediction.anomaly_map.shape == (1, 50, 70)
    assert 0 < prediction.anomaly_map.min() < prediction.anomaly_map.max() < 1
    assert evidence["mask"] == pytest.approx(top_mean(prediction.anomaly_map))
    assert evidence["peak"] == pytest.approx(prediction.anomaly_map.max())
    assert prediction.seconds > 0


@pytest.mark.parametrize("how", ["yes", "mask", "peak"])
def test_each_evidence_can_be_the_score_alone(folder, how):
    (prediction,) = fitted(folder, score=how).predict([of(picture())])
    assert prediction.score == pytest.approx(prediction.evidence[how])


def test_without_a_mask_token_the_map_is_empty_and_the_evidence_says_so(folder):
    judge = fitted(folder)
    judge.model.config.seg_token_id = judge.processor.config.seg_token_id = 0
    (prediction,) = judge.predict([of(picture())])
    assert not prediction.anomaly_map.any()
    assert prediction.evidence["mask"] == 0
    assert prediction.evidence["masks"] == NO_MASK
    assert prediction.score == pytest.approx(0.5 * prediction.evidence["yes"])


def test_many_mask_tokens_give_one_map_of_their_highest_values(folder, monkeypatch):
    judge = fitted(folder)
    states = torch.randn(3, 48, generator=torch.Generator().manual_seed(0))
    answer = judge.model.answer
    monkeypatch.setattr(judge.model, "answer", lambda *args: replace(answer(*args), states=[states]))
    (prediction,) = judge.predict([of(picture(64, 64))])
    assert prediction.evidence["masks"] == 3
    with torch.no_grad():
        features = judge.model.encode_visual(judge.processor.frame(picture(64, 64)).visual[None])[0]
        masks = postprocess_masks(judge.model.draw(states, features), (64, 64), (64, 64), 64)[:, 0].sigmoid()
    np.testing.assert_allclose(prediction.anomaly_map[0], masks.amax(0).numpy(), atol=1e-6)


def test_an_empty_answer_is_an_answer(folder):
    judge = fitted(folder)
    judge.stop = set(range(500))  # whatever it says first ends it
    judge.model.config.seg_token_id = 499
    (prediction,) = judge.predict([of(picture())])
    assert prediction.evidence["masks"] == NO_MASK
    assert prediction.explanation is not None


def test_a_batch_is_judged_as_one_by_one(folder):
    judge = fitted(folder)
    batch = [of(picture(*size, seed=i)) for i, size in enumerate(((40, 64), (64, 40), (9, 200), (1, 1)))]
    together = judge.predict(batch)
    for views, prediction in zip(batch, together, strict=True):
        same(judge.predict([views])[0], prediction)
    for views, prediction in zip(batch, judge.predict(batch[::-1])[::-1], strict=True):
        same(judge.predict([views])[0], prediction)
    assert judge.predict([]) == []


def test_judged_together_they_differ_by_rounding_only(folder):
    batch = [of(picture(seed=i)) for i in range(3)]
    one, several = fitted(folder).predict(batch), fitted(folder, together=2).predict(batch)
    for a, b in zip(one, several, strict=True):
        assert a.score == pytest.approx(b.score, abs=1e-5)
        np.testing.assert_allclose(a.anomaly_map, b.anomaly_map, atol=1e-4)


def test_the_same_picture_has_the_same_answer_after_another_start(folder):
    views = of(picture())
    torch.manual_seed(1)
    once = fitted(folder).predict([views])[0]
    torch.manual_seed(2)
    same(once, fitted(folder).predict([views])[0])


@pytest.mark.parametrize("size", [(1, 1000), (1000, 1), (1, 1), (3, 5)])
def test_pictures_of_extreme_shape_are_judged(folder, size):
    (prediction,) = fitted(folder).predict([of(picture(*size))])
    assert prediction.anomaly_map.shape == (1, *size)
    assert np.isfinite(prediction.anomaly_map).all()


def test_what_is_not_shown_is_not_judged(folder):
    shown = np.zeros((40, 64), bool)
    shown[:, :20] = True
    judge = fitted(folder)
    (prediction,) = judge.predict([of(picture(), shown)])
    assert not prediction.anomaly_map[0, :, 20:].any()
    assert prediction.evidence["mask"] == pytest.approx(top_mean(prediction.anomaly_map[0][shown]))
    (nothing,) = judge.predict([of(picture(), np.zeros((40, 64), bool))])
    assert nothing.score == 0
    assert not nothing.anomaly_map.any()


def test_clouds_and_frames_are_judged_in_all_their_views(folder):
    judge = fitted(folder)
    (prediction,) = judge.predict([views_of(cloud(1))])
    assert len(prediction.view_scores) == 2
    assert prediction.score == max(prediction.view_scores)
    (prediction,) = judge.predict([frames([picture(seed=i) for i in range(3)])])
    assert len(prediction.view_scores) == 3


def test_the_evidence_of_a_mask_is_its_highest_hundredth():
    values = np.arange(1000) / 1000
    assert top_mean(values) == pytest.approx(np.arange(990, 1000).mean() / 1000)
    assert top_mean(np.array([0.25])) == 0.25
    assert top_mean(np.array([])) == 0


# ---------------------------------------------------------------- references


def test_references_make_it_few_shot(folder):
    normal = [part(seed=1), part(seed=2), part(seed=3)]
    strange = part(seed=1)
    strange[30:60, 30:60] = np.random.default_rng(0).integers(0, 256, (30, 30, 3))
    zero, few = fitted(folder), fitted(folder, spec_of(*normal))
    before, after = zero.predict([of(strange)])[0], few.predict([of(strange)])[0]
    assert "few_shot" not in before.evidence
    assert after.evidence["few_shot"] > few.predict([of(normal[0])])[0].evidence["few_shot"]
    unlike = few.similarity(of(strange))
    assert unlike.shape == (1, 96, 96)
    assert unlike[0, 35:55, 35:55].mean() > 1.2 * unlike[0, :, 70:].mean()
    judged = 0.5 * after.evidence["yes"] + 0.5 * after.evidence["mask"]
    assert after.score == pytest.approx(0.5 * judged + 0.5 * after.evidence["few_shot"])


def test_without_references_the_queue_of_training_gives_a_map_for_diagnosis(folder):
    judge = fitted(folder)
    with pytest.raises(UsageError, match="queues are empty until training fills them"):
        judge.similarity(of(picture()))
    judge.model.dssl.push(torch.eye(16)[:2], torch.eye(16)[:2])
    unlike = judge.similarity(of(picture(30, 64)))
    assert unlike.shape == (1, 30, 64)
    assert len(np.unique(unlike[0, 10:14, 5:20])) == 1  # one value for each cell
    assert 0 < unlike.max() <= 1
    judge.model.dssl = None
    with pytest.raises(UsageError, match="there are none: add references"):
        judge.similarity(of(picture()))


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_the_share_of_the_references_is_an_option(folder, weight):
    spec = spec_of(part(seed=1))
    judge = fitted(folder, spec, few_shot_weight=weight)
    (prediction,) = judge.predict([of(part(seed=5))])
    alone = fitted(folder).predict([of(part(seed=5))])[0]
    if weight:
        assert prediction.score == pytest.approx(prediction.evidence["few_shot"])
        np.testing.assert_allclose(prediction.anomaly_map, judge.similarity(of(part(seed=5))), atol=1e-6)
    else:
        np.testing.assert_allclose(prediction.anomaly_map.shape, alone.anomaly_map.shape)
        assert prediction.score == pytest.approx(0.5 * (prediction.evidence["yes"] + prediction.evidence["mask"]))


@pytest.mark.parametrize("many", [1, 2, 3])
def test_references_look_normal_to_themselves(folder, many):
    pictures = [part(seed=i) for i in range(many)]
    judge = fitted(folder, spec_of(*pictures))
    for one in pictures:
        assert judge.predict([of(one)])[0].evidence["few_shot"] < 0.5


@pytest.mark.parametrize("one", [np.zeros((1, 1, 3), np.uint8), np.full((64, 64, 3), 9, np.uint8), picture(3, 300)])
def test_odd_references_are_looked_at(folder, one):
    judge = fitted(folder, spec_of(one, one))
    assert judge.predict([of(one)])[0].evidence["few_shot"] < 0.5


# ---------------------------------------------------------------- words


class Parrot:
    """Stands in for the tokens of an answer."""

    def __init__(self, judge, text):
        self.judge, self.text = judge, text

    def __call__(self, ids):
        return self.text


@pytest.mark.parametrize(
    ("explain", "wanted"),
    [
        ("mask", {"description": "The image shows a plate with a dent in the upper left. It leaks. Replace it."}),
        ("impact", {"impact": "It leaks. Replace it."}),
        ("suggest", {"impact": "It leaks.", "suggestion": "Replace it."}),
    ],
)
def test_an_answer_becomes_an_explanation(folder, explain, wanted):
    judge = fitted(folder, Spec(object="plate", defects=("dent", "crack")), explain=explain)
    text = "Yes, there is an anomaly. The image shows a plate with a dent in the upper left. It leaks. Replace it."
    judge.processor.text = Parrot(judge, text)
    explanation = judge.predict([of(picture())])[0].explanation
    assert {name: getattr(explanation, name) for name in wanted} == wanted
    assert (explanation.defect_type, explanation.location, explanation.raw) == ("dent", "upper left", text)


def test_a_place_that_is_not_named_is_read_from_the_mask(folder):
    judge = fitted(folder)
    judge.processor.text = Parrot(judge, "Yes. A dent.")
    (prediction,) = judge.predict([of(picture())])
    y, x = np.unravel_index(prediction.anomaly_map[0].argmax(), (40, 64))
    assert (
        prediction.explanation.location.split()[0]
        in (
            ("upper", "left", "right", "centre", "lower"),
            ("upper", "left", "right", "centre", "lower"),
        )[int(y > x)]
    )
    judge.processor.text = Parrot(judge, "No.")
    assert judge.predict([of(picture())])[0].explanation.location == ""


def test_rules_and_context_are_part_of_the_prompt(folder):
    spec = Spec(object="plate", context="Seen from above.", rules=("No dents", "Two holes"))
    judge = fitted(folder, spec)
    text = judge.processor.text([one for one in judge.ids.tolist() if one >= 0])
    assert "Seen from above." in text
    assert "(r1) No dents. (r2) Two holes." in text
    assert text.endswith("ASSISTANT:")
    assert judge.predict([of(picture())])[0].explanation.rules == {}


def test_each_rule_is_asked_about_where_that_is_wanted(folder):
    judge = fitted(folder, Spec(object="plate", rules=("No dents", "Two holes")), ask_rules=True)
    judge.processor.text = Parrot(judge, "No, it is bent.")
    rules = judge.predict([of(picture())])[0].explanation.rules
    assert [(rule.id, rule.verdict, rule.reason) for rule in rules.values()] == [
        ("r1", "broken", "it is bent."),
        ("r2", "broken", "it is bent."),
    ]


def test_a_sheet_too_long_for_the_model_is_refused(folder):
    with pytest.raises(
        UsageError, match=r"tokens and the answer up to 6, the language model has room for 1024: shorten"
    ):
        fitted(folder, Spec(context="word " * 3000))


def test_a_question_of_ones_own_is_asked(folder):
    judge = fitted(folder, question="Is it <image> broken?")
    assert "Is it broken?" in judge.processor.text([one for one in judge.ids.tolist() if one >= 0])


# ---------------------------------------------------------------- dialogue


def test_a_dialogue_goes_on_from_what_was_said(folder):
    judge = fitted(folder)
    assert isinstance(judge, Reasoner)
    seen = judge.look(of(picture()))
    first = seen.ask("Is it bent?")
    cached = seen.at.mask.shape[1]
    second = seen.ask("Why do you say so?")
    assert seen.at.mask.shape[1] > cached  # what was said stays
    fresh = judge.look(of(picture()))
    assert [fresh.ask("Is it bent?"), fresh.ask("Why do you say so?")] == [first, second]
    fresh.forget()
    assert fresh.ask("Is it bent?") == first


@torch.inference_mode()
def test_a_follow_up_is_answered_as_if_all_was_read_anew(folder):
    judge = fitted(folder)
    seen = judge.look(of(picture()))
    seen.ask("Is it bent?")
    last, cache = seen.last, seen.at
    ids = seen._next("Why?")
    follow = judge.model.prompt(ids[None], after=cache)
    first = judge.processor.question_ids("Is it bent?")
    tokens = judge.model.encode_image(judge.processor.frame(picture()).clip[None])
    said = judge.model.answer(judge.model.prompt(first[None], tokens), 6, judge.stop).ids[0]
    assert said[-1:] == last
    whole = torch.cat([first, torch.tensor(said), ids[1:]])
    torch.testing.assert_close(judge.model.prompt(whole[None], tokens).logits, follow.logits, atol=1e-4, rtol=1e-4)


def test_an_outgrown_dialogue_forgets_its_earlier_turns(folder):
    judge = fitted(folder)
    seen = judge.look(of(picture()))
    first = seen.ask("Is it bent?")
    judge.room = seen.at.mask.shape[1] + 10
    assert seen.ask("Is it bent?") == first
    judge.room = 40
    with pytest.raises(UsageError, match="the language model has room for 40"):
        seen.ask("Is it bent?")


def test_of_several_views_one_is_talked_about_and_named(folder):
    judge = fitted(folder)
    views = frames([picture(seed=i) for i in range(3)])
    seen = judge.look(views)
    yes = [fitted(folder).predict([of(np.asarray(image))])[0].evidence["yes"] for image in views.images]
    assert seen.name == views.names[int(np.argmax(yes))]
    assert seen.ask("What is it?").startswith(f"{seen.name}: ")


def test_an_empty_question_is_refused(folder):
    with pytest.raises(UsageError, match="at least one word"):
        fitted(folder).look(of(picture())).ask("  ")


# ---------------------------------------------------------------- weights


def test_a_detector_without_weights_says_how_to_get_some():
    with pytest.raises(UsageError, match=r"vmad has no weights: .*looktwice train vmad.*--option weights=FOLDER"):
        Vmad().fit(Spec())
    with pytest.raises(UsageError, match=r"lisa has no weights: .*about 15 GB: `hf download xinlai/LISA-7B-v1`"):
        Lisa().fit(Spec())
    with pytest.raises(UsageError, match="nowhere is not there"):
        Vmad(VmadOptions(weights="nowhere")).fit(Spec())


def test_weights_that_do_not_fit_their_configuration_are_refused(folder, tmp_path):
    def broken(change):
        path = tmp_path / change.__name__
        shutil.copytree(folder, path)
        weights = load_file(path / "model.safetensors")
        change(weights)
        save_file(weights, path / "model.safetensors", {"format": "pt"})
        return path

    def lacking(weights):
        del weights["projector.mlp.0.weight"]

    def strange(weights):
        weights["projector.more"] = torch.zeros(1)

    def other_shape(weights):
        weights["projector.mlp.0.weight"] = torch.zeros(3, 3)

    for change, said in ((lacking, "lack"), (strange, "also hold"), (other_shape, "have other shapes for")):
        with pytest.raises(BadCheckpoint, match=f"not those of config.json beside them: they {said} .*projector"):
            fitted(broken(change))


def test_broken_weights_and_folders_of_other_models_are_refused(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "cut")
    data = (folder / "model.safetensors").read_bytes()
    (tmp_path / "cut" / "model.safetensors").write_bytes(data[: len(data) // 2])
    with pytest.raises(BadCheckpoint, match="cut: the weights cannot be read"):
        fitted(tmp_path / "cut")
    (tmp_path / "other").mkdir()
    with pytest.raises(BadCheckpoint, match=r"has no config.json that can be read"):
        fitted(tmp_path / "other")
    (tmp_path / "other" / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(BadCheckpoint, match="is of 'bert', neither VMAD's nor LISA's"):
        fitted(tmp_path / "other")
    shutil.copytree(folder, tmp_path / "mute", ignore=shutil.ignore_patterns("tokenizer*"))
    with pytest.raises(UsageError, match="mute holds no tokenizer"):
        fitted(tmp_path / "mute")


@pytest.mark.parametrize("device", ["cuda:99", "abacus"])
def test_a_device_that_is_not_there_is_named(folder, device):
    with pytest.raises(UsageError, match=f"device '{device}' cannot be used here"):
        fitted(folder, device=device)


def test_options_out_of_range_are_refused():
    from pydantic import ValidationError

    for odd in ({"few_shot_weight": 2}, {"score": "best"}, {"bits": 5}, {"max_new_tokens": 0}, {"together": 0}):
        with pytest.raises(ValidationError):
            VmadOptions(**odd)
    assert LisaOptions().score == "peak"
    for kind in (VmadOptions, LisaOptions):
        assert all(field.description for field in kind.model_fields.values())


def test_a_processor_saved_beside_its_model_comes_back(folder):
    _, processor = talker()
    again = VmadProcessor.from_pretrained(folder)
    assert torch.equal(again.question_ids("Is it?"), processor.question_ids("Is it?"))
