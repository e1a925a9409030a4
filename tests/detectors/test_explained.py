"""A detector that measures and a chat model that explains: what one shows the other, and both scores as one."""

from __future__ import annotations

import json

import numpy as np
import pytest
from fake_detectors import Dark
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

import looktwice
from looktwice.detectors.explained import Explained, ExplainedConfig, find_marks, normal_scores
from looktwice.detectors.protocol import Reasoner
from looktwice.detectors.talking.fusion import fuse
from looktwice.errors import UsageError
from looktwice.records import Failure, Prediction, Result, Spec
from looktwice.report import jsonl
from looktwice.report.overlay import blend
from looktwice.talkers.fake import Scripted
from looktwice.talkers.protocol import Reply, TalkerError

from .scenes import SMALL, cloud, part, spec_of, views_of

ANSWER = {
    "description": "A dark spot.",
    "verdict": "anomalous",
    "defect_type": "spot",
    "marks": [2],
    "rules": [{"id": "r1", "verdict": "broken", "seen": "a spot"}],
}
SPEC = Spec(object="lid", rules=["No spot."])


def talker(yes: float = 0.9, answer: object = ANSWER) -> Scripted:
    def say(dialogue, how):
        if how.choices:
            return Reply("Yes", choices={"Yes": yes, "No": 1 - yes})
        return answer if isinstance(answer, TalkerError) else json.dumps(answer)

    return Scripted.of(say)


def light(*spots: tuple[int, int]) -> np.ndarray:
    """A light picture with dark squares of 12 pixels, the first the darkest."""
    pixels = np.full((100, 120, 3), 250, np.uint8)
    for i, (y, x) in enumerate(spots):
        pixels[y : y + 12, x : x + 12] = 20 * (i + 1)
    return pixels


TWO = views_of(light((10, 10), (75, 90)))
CLEAN = views_of(light())


def explained(model=None, expert=None, **options):
    return Explained(expert or Dark(), ExplainedConfig(**options), model or talker(), "dark").fit(SPEC, SMALL)


def texts(asked) -> str:
    return "\n".join(one for turn in asked.dialogue for one in turn.parts if isinstance(one, str))


def test_the_talker_is_shown_the_map_the_marks_and_each_place_enlarged():
    model = talker()
    explained(model).predict([TWO])
    asked = model.asked[0]
    assert [picture.label for picture in asked.pictures] == ["image", "overlay image", "mark 1", "mark 2"]
    told = texts(asked)
    assert "A measuring method (dark)" in told
    assert "It gives the part 0.92" in told
    assert "- mark 1: upper left, 1.2 % of the picture, 0.92" in told
    assert "- mark 2: lower right, 1.2 % of the picture, 0.84" in told
    assert "Mark 2, enlarged:" in told
    assert '"marks": a list' in told
    overlay = asked.pictures[1].pixels
    heat = blend(TWO.images[0], Dark().predict([TWO])[0].anomaly_map[0])
    assert overlay.shape == heat.shape
    changed = (overlay != heat).any(-1)
    assert changed.any()  # the numbered boxes
    assert not changed[30:50].any()
    first = asked.pictures[2].pixels
    assert first.min() == 20
    assert (first == 20).all(-1).mean() == pytest.approx(1 / 4, abs=0.1)  # half a side around the place


def test_the_experts_score_and_map_stay_and_the_answer_explains_them():
    measured = Dark().predict([TWO])[0]
    (prediction,) = explained(talker(yes=0.3)).predict([TWO])
    assert prediction.score == measured.score
    assert np.array_equal(prediction.anomaly_map, measured.anomaly_map)
    assert prediction.explanation.description == "A dark spot."
    assert prediction.explanation.rules["r1"].verdict == "broken"
    evidence = prediction.evidence
    assert (evidence["expert"], evidence["talker"]) == (measured.score, pytest.approx(0.3))
    assert evidence["score from"] == "dark"
    assert evidence["talker's score from"] == "probability of yes, both orders"
    assert evidence["marks confirmed"] == "2"
    assert "contradiction" not in evidence


def test_where_the_expert_finds_nothing_it_says_so_and_marks_nothing():
    model = talker()
    (prediction,) = explained(model).predict([CLEAN])
    assert "marks no place" in texts(model.asked[0])
    assert len(model.asked[0].pictures) == 1
    assert prediction.score < 0.5
    assert prediction.evidence["talker"] == pytest.approx(0.9)
    assert prediction.evidence["contradiction"] == "stated anomalous, but the score says otherwise"


def test_the_strongest_places_are_marked_up_to_a_number():
    spots = [(y, x) for y in (5, 40, 70) for x in (5, 50, 90)]
    views = views_of(light(*spots[:6]))
    (measured,) = Dark().predict([views])
    marks = find_marks(views, measured, 4)
    assert [round(mark.score, 2) for mark in marks] == [0.92, 0.84, 0.76, 0.69]
    assert [(round(100 * mark.box[1]), round(120 * mark.box[0])) for mark in marks] == spots[:4]


def test_a_map_below_the_border_is_cut_near_its_peak_and_none_gives_no_marks():
    maps = np.zeros((1, 100, 120), np.float32)
    maps[0, 20:40, 30:60] = 0.3
    low = Prediction(score=0.7, anomaly_map=maps)
    (mark,) = find_marks(CLEAN, low, 5)
    assert mark.box == (30 / 120, 0.2, 0.5, 0.4)
    assert find_marks(CLEAN, Prediction(score=0.7), 5) == ()
    assert find_marks(CLEAN, Prediction(score=0.7, anomaly_map=np.zeros_like(maps)), 5) == ()


def test_an_expert_without_a_map_is_told_in_words():
    model = talker()
    expert = Dark(lambda views: Prediction(score=0.8))
    (prediction,) = explained(model, expert).predict([TWO])
    assert "It gives the part 0.80 on a scale" in texts(model.asked[0])
    assert prediction.anomaly_map is None


def test_marks_on_a_cloud_name_their_view():
    model = talker()
    views = views_of(cloud())
    explained(model).predict([views])
    assert f'of "{views.names[0]}"' in texts(model.asked[0]) or f'of "{views.names[1]}"' in texts(model.asked[0])
    assert any(picture.label.startswith("overlay") for picture in model.asked[0].pictures)


def test_any_detector_of_the_package_can_be_explained():
    spec = SPEC.model_copy(update={"references": spec_of(part(), part(seed=1)).references})
    for name in ("memory", "selfsim"):
        fitted = Explained(looktwice.load(name), ExplainedConfig(), talker(), name).fit(spec, SMALL)
        plain = looktwice.load(name).fit(spec, SMALL).predict([TWO])[0]
        assert fitted.predict([TWO])[0].score == plain.score


def test_an_answer_that_cannot_be_had_fails_the_part():
    model = talker(answer=TalkerError("talker_unreachable", "no server"))
    fitted = explained(model)
    (found,) = fitted.attempt([TWO])
    assert isinstance(found, TalkerError)
    with pytest.raises(TalkerError, match="no server"):
        fitted.predict([TWO])


def test_a_conversation_knows_what_the_expert_found():
    model = Scripted.of(lambda dialogue, how: "It is dirt.")
    fitted = explained(model)
    assert isinstance(fitted, Reasoner)
    seen = fitted.look(TWO)
    assert seen.ask("What is mark 1?") == "It is dirt."
    assert "- mark 1: upper left" in texts(model.asked[0])
    assert len(model.asked[0].pictures) == 4


def test_the_self_check_works_with_an_expert_too():
    (prediction,) = explained(verify=True).predict([TWO])
    assert "checked" in prediction.evidence


def test_nothing_shown_is_not_asked_about():
    views = TWO.model_copy(update={"shown": np.zeros((1, 100, 120), bool)})
    model = talker()
    (prediction,) = explained(model).predict([views])
    assert (prediction.score, model.asked) == (0, [])


def test_the_cost_is_that_of_the_talker(tmp_path):
    script = '[{"when": "one word", "choices": {"Yes": 1}}, {"reply": {"verdict": "normal"}}]'
    detector = Explained(Dark(), ExplainedConfig(talker=f"fake:{script}"))
    assert detector.spent.startswith("0 requests, ")
    assert Explained(Dark()).spent == ""
    detector.fit(SPEC, SMALL).predict([TWO])
    assert detector.spent.startswith("3 requests, ")


def test_a_run_is_known_by_both():
    detector = Explained(looktwice.load("memory", size=128), ExplainedConfig(talker="fake:[]"), expert_name="memory")
    assert detector.name == "memory + fake:[]"
    dumped = detector.config.model_dump(mode="json")
    assert dumped["expert_options"]["size"] == 128
    assert dumped["explainer"]["talker"] == "fake:[]"
    json.dumps(dumped)


# ---------------------------------------------------------------- both scores as one

scores = st.floats(0, 1)


def normal(n: int, seed: int = 0) -> tuple[list[float], list[float]]:
    rng = np.random.default_rng(seed)
    return rng.random(n).tolist(), rng.random(n).tolist()


@settings(deadline=None, max_examples=100)
@given(scores, scores, scores, scores)
def test_a_part_that_both_find_more_anomalous_has_the_higher_score(a, b, c, d):
    low, high = (min(a, c), min(b, d)), (max(a, c), max(b, d))
    p_low, score_low = fuse(low, normal(40), 0.1)
    p_high, score_high = fuse(high, normal(40), 0.1)
    assert p_high <= p_low
    assert score_high >= score_low
    assert 0 < p_high <= p_low <= 1
    assert 0 <= score_low <= score_high <= 1


@settings(deadline=None, max_examples=100)
@given(scores, scores, st.sampled_from([0.05, 0.1, 1 / 3, 0.5]), st.integers(0, 30))
def test_a_half_stays_the_border(a, b, alpha, seed):
    p, score = fuse((a, b), normal(20 + seed, seed), alpha)
    assert (score >= 0.5) == (p <= alpha + 1e-9)


def test_of_normal_parts_no_more_than_alpha_score_a_half_however_both_depend_on_each_other():
    rng = np.random.default_rng(0)
    for depend in (0.0, 0.9, -0.9):
        above, trials, n, alpha = 0, 3000, 19, 0.1
        for _ in range(trials):
            one = rng.normal(size=n + 1)
            other = depend * one + np.sqrt(1 - depend**2) * rng.normal(size=n + 1)
            squashed = [1 / (1 + np.exp(-x)) for x in (one, other)]
            _, score = fuse((squashed[0][-1], squashed[1][-1]), [x[:-1].tolist() for x in squashed], alpha)
            above += score >= 0.5
        assert above / trials < alpha + 3 * np.sqrt(alpha * (1 - alpha) / trials)
        assert above / trials > alpha / 2  # nor is it timid


def test_two_weak_witnesses_together_are_strong():
    expert, other = normal(99)
    ninth = (sorted(expert)[93], sorted(other)[93])  # each alone: p = 0.07
    alone = [fuse((ninth[0], 0.5), (expert, other), 0.05)[0], fuse((0.5, ninth[1]), (expert, other), 0.05)[0]]
    both, score = fuse(ninth, (expert, other), 0.05)
    assert both < 0.05 < min(alone)
    assert score >= 0.5


@pytest.mark.parametrize(
    ("normal_parts", "words"),
    [
        (([0.1] * 18, [0.1] * 18), r"after 19 normal parts that are not references, got 18"),
        (([0.1] * 19, [0.1] * 18), "two scores of each normal part, got 19 and 18"),
        (([0.1] * 19, [1.1] * 19), r"lie in \[0, 1\]"),
        (([], []), "got 0"),
    ],
)
def test_too_few_or_wrong_scores_are_refused(normal_parts, words):
    with pytest.raises(UsageError, match=words):
        fuse((0.5, 0.5), normal_parts, 0.05)


def shades(count: int, seed: int = 0) -> list:
    rng = np.random.default_rng(seed)
    return [views_of(np.full((40, 40, 3), int(shade), np.uint8)) for shade in rng.integers(200, 250, count)]


def by_shade(dialogue, how):
    """A talker that finds brighter parts more anomalous: the opposite of the expert."""
    if how.choices:
        picture = next(part for part in dialogue[0].parts if not isinstance(part, str))
        return Reply("Yes", choices={"Yes": float(picture.pixels.mean()) / 255, "No": 0})
    return json.dumps(ANSWER)


def test_calibrated_on_normal_parts_both_scores_are_one():
    fitted = explained(Scripted.of(by_shade), alpha=0.1).calibrate(shades(29))
    assert fitted.config.fuse == "calibrated"
    usual, dark = fitted.predict([views_of(np.full((40, 40, 3), shade, np.uint8)) for shade in (225, 10)])
    assert usual.score < 0.5
    assert usual.evidence["score from"] == "both, calibrated on 29 normal parts"
    assert 0 < usual.evidence["p_value of both"] <= 1
    assert usual.view_scores == pytest.approx((usual.score,))
    assert {"expert", "talker"} <= set(dark.evidence)
    assert dark.evidence["expert"] > 0.9


def test_scores_of_an_earlier_run_calibrate_as_well(tmp_path):
    model = Scripted.of(by_shade)
    fitted = explained(model, alpha=0.1).calibrate(shades(29))
    plain = explained(model).predict(shades(29))
    results = [
        Result(id="x", path="x.png", modality="image", model="m", verdict="normal", evidence=one.evidence)
        for one in plain
    ]
    stored = explained(model, alpha=0.1, fuse="calibrated", normal_scores=normal_scores(results))
    for result in results:
        jsonl.append(tmp_path / "results.jsonl", result)
    read = explained(model, alpha=0.1, fuse="calibrated", normal_scores=tmp_path / "results.jsonl")
    first, *others = (detector.predict([TWO])[0].score for detector in (fitted, stored, read))
    assert others == [first, first]
    with pytest.raises(ValidationError, match=r"normal_scores: .*missing\.jsonl"):
        ExplainedConfig(normal_scores=str(tmp_path / "missing.jsonl"))


def test_calibration_refuses_too_few_parts_and_missing_scores():
    with pytest.raises(UsageError, match="after 19 normal parts"):
        explained(Scripted.of(by_shade)).calibrate(shades(5))
    with pytest.raises(UsageError, match="fuse=calibrated needs scores of normal parts: call calibrate"):
        explained(fuse="calibrated").predict([TWO])
    with pytest.raises(UsageError, match="after 19 normal parts"):
        explained(normal_scores={"expert": (0.1,), "talker": (0.1,)})
    failed = Result(id="x", path="x.png", modality=None, model="m", error=Failure(kind="a", message="b"))
    with pytest.raises(UsageError, match=r"x\.png: the result has no score of the expert"):
        normal_scores([failed])
