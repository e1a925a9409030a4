import functools
import tempfile

import numpy as np
import pytest

import looktwice
from looktwice.detectors import CARDS, DETECTORS
from looktwice.errors import NoReferences, UnknownName, UsageError
from looktwice.records import Spec

from .scenes import SMALL, cloud, frames, noise_texture, part, resized, seen_again, spec_of, views_of
from .vmad_small import small

every = pytest.mark.parametrize("name", DETECTORS)
REFERENCES = [part(), seen_again(part(), (1, 1), 1.02)]


TALKER = """fake:
- {when: one word, choices: {Yes: 0.1, No: 0.9}}
- {reply: {verdict: normal, description: Nothing.}}
"""


@functools.cache
def weights():
    """A tiny random model, saved; removed with the process."""
    model, processor = small(3, train="all")
    folder = tempfile.TemporaryDirectory()
    model.save_pretrained(folder.name)
    processor.save_pretrained(folder.name)
    return folder


def fitted(name, spec=None):
    options = {"talker": TALKER} if CARDS[name].talks else {}
    if CARDS[name].weights:
        options = {"weights": weights().name, "max_new_tokens": 4}
    return looktwice.load(name, **options).fit(spec or spec_of(*REFERENCES), SMALL)


def check(views, prediction):
    assert 0 <= prediction.score <= 1
    assert prediction.anomaly_map.shape == views.images.shape[:3]
    assert prediction.anomaly_map.dtype == np.float32
    assert np.isfinite(prediction.anomaly_map).all()
    assert prediction.anomaly_map.min() >= 0
    assert prediction.anomaly_map.max() <= 1
    assert len(prediction.view_scores) == len(views.images)
    assert all(0 <= score <= 1 for score in prediction.view_scores)
    if prediction.expected is not None:
        assert prediction.expected.shape == views.images.shape
        assert prediction.expected.dtype == np.uint8


def same(a, b):
    assert a.score == b.score
    assert a.view_scores == b.view_scores
    assert a.anomaly_map.tobytes() == b.anomaly_map.tobytes()
    assert (a.expected is None) == (b.expected is None)
    assert a.expected is None or a.expected.tobytes() == b.expected.tobytes()


def test_each_row_has_a_card_and_each_card_a_row():
    assert list(DETECTORS) == list(CARDS)


@every
def test_the_card_says_all_a_person_needs(name):
    card = CARDS[name]
    for text in (card.summary, card.paper, card.good_for, card.bad_for):
        assert text.strip() == text != ""
    assert card.zero_shot or card.few_shot
    assert card.modalities
    assert set(card.modalities) <= {"image", "point_cloud", "video"}
    assert card.ready or card.weights


@every
def test_the_config_is_described_and_its_defaults_are_valid(name):
    kind = DETECTORS.load(name)
    for option, field in kind.Config.model_fields.items():
        assert field.description, option
        assert looktwice.load(name, **{option: field.get_default()})


@every
def test_a_picture_is_judged(name):
    views = views_of(seen_again(part()))
    (prediction,) = fitted(name).predict([views])
    check(views, prediction)
    assert (prediction.anomaly_map is not None) == CARDS[name].localises


@every
def test_a_cloud_is_judged_in_all_its_views(name):
    spec = Spec(references=(cloud(1), cloud(2)))
    views = views_of(cloud(3, dent=0.2))
    (prediction,) = fitted(name, spec).predict([views])
    assert len(prediction.view_scores) == 2
    check(views, prediction)
    assert not prediction.anomaly_map[~views.shown].any()


@every
@pytest.mark.parametrize("with_context", [False, True])
def test_frames_without_a_pose_are_judged(name, with_context):
    pictures = [noise_texture(64, seed) for seed in range(3)]
    context = np.stack([noise_texture(64, seed) for seed in (8, 9)]) if with_context else None
    views = frames(pictures, context)
    (prediction,) = fitted(name, spec_of(noise_texture(64, 20), noise_texture(64, 21))).predict([views])
    check(views, prediction)


@every
def test_a_batch_is_judged_as_one_by_one(name):
    judge = fitted(name)
    batch = [views_of(one) for one in (part(), noise_texture(), part(seed=5), np.zeros((40, 30, 3), np.uint8))]
    together = judge.predict(batch)
    assert len(together) == len(batch)
    for views, prediction in zip(batch, together, strict=True):
        same(judge.predict([views])[0], prediction)
    for views, prediction in zip(batch[::-1], judge.predict(batch[::-1]), strict=True):
        same(judge.predict([views])[0], prediction)
    assert judge.predict([]) == []


@every
def test_the_same_sheet_gives_the_same_answer_twice(name):
    views = views_of(seen_again(part(), seed=4))
    np.random.seed(1)  # noqa: NPY002  # the global state must not matter
    once = fitted(name).predict([views])[0]
    np.random.seed(2)  # noqa: NPY002  # the global state must not matter
    same(once, fitted(name).predict([views])[0])


ODD = {
    "one pixel": np.full((1, 1, 3), 90, np.uint8),
    "constant": np.full((64, 64, 3), 128, np.uint8),
    "black": np.zeros((64, 64, 3), np.uint8),
    "thin": np.random.default_rng(0).integers(0, 256, (5, 700, 3)).astype(np.uint8),
    "one column": np.random.default_rng(0).integers(0, 256, (90, 1, 3)).astype(np.uint8),
}


@every
@pytest.mark.parametrize("picture", ODD.values(), ids=ODD.keys())
def test_odd_pictures_are_judged(name, picture):
    views = views_of(picture)
    check(views, fitted(name).predict([views])[0])


@every
@pytest.mark.parametrize("picture", ODD.values(), ids=ODD.keys())
@pytest.mark.parametrize("many", [1, 2])
def test_odd_pictures_serve_as_references_and_agree_with_themselves(name, picture, many):
    views = views_of(picture)
    (prediction,) = fitted(name, spec_of(*[picture] * many)).predict([views])
    check(views, prediction)
    if CARDS[name].few_shot:
        assert prediction.score < 0.5


@every
def test_a_view_that_shows_nothing_is_not_anomalous(name):
    picture = part()
    views = views_of(picture).model_copy(update={"shown": np.zeros((1, 96, 96), bool)})
    judge = fitted(name, spec_of(np.full((50, 50, 3), 200, np.uint8)))
    (prediction,) = judge.predict([views])
    check(views, prediction)
    assert prediction.score == 0
    assert not prediction.anomaly_map.any()


@every
def test_references_may_have_another_size_than_the_sample(name):
    judge = fitted(name, spec_of(part(), resized(part(), 70, 110)))
    for size in ((60, 80), (128, 96), (96, 96)):
        views = views_of(resized(part(seed=3), *size))
        check(views, judge.predict([views])[0])


@every
def test_judging_leaves_its_input_alone(name):
    views = views_of(seen_again(part()))
    before = views.images.tobytes()
    fitted(name).predict([views])
    assert views.images.tobytes() == before


@pytest.mark.parametrize("name", [name for name, card in CARDS.items() if not card.zero_shot])
def test_a_few_shot_detector_asks_for_references(name):
    with pytest.raises(NoReferences, match="the sheet names none: add --reference FILE") as caught:
        looktwice.load(name).fit(Spec())
    assert name in str(caught.value)


@pytest.mark.parametrize("name", [name for name, card in CARDS.items() if card.zero_shot])
def test_a_zero_shot_detector_needs_no_references(name):
    views = views_of(noise_texture())
    check(views, fitted(name, Spec()).predict([views])[0])


@every
def test_an_unknown_option_names_those_there_are(name):
    with pytest.raises(UsageError) as caught:
        looktwice.load(name, sise=3)
    words = str(caught.value)
    assert name in words
    assert "'sise'" in words
    assert all(option in words for option in DETECTORS.load(name).Config.model_fields)


@pytest.mark.parametrize(
    ("name", "option", "value", "word"),
    [
        ("memory", "size", 3, "64"),
        ("memory", "size", 9000, "4096"),
        ("memory", "bank", 0, "100"),
        ("memory", "register_above", 1.5, "1"),
        ("memory", "margin", 0, "0"),
        ("memory", "size", "wide", "integer"),
        ("selfsim", "size", 3, "64"),
        ("selfsim", "alike", 0, "1"),
        ("selfsim", "margin", -1, "0"),
    ],
)
def test_a_value_out_of_range_names_the_option_and_the_limit(name, option, value, word):
    with pytest.raises(UsageError, match=f"{name} option '{option}'") as caught:
        looktwice.load(name, **{option: value})
    assert word in str(caught.value).split("Its options")[0]
    assert "Its options: size" in str(caught.value)


@pytest.mark.parametrize(("wrong", "near"), [("memori", "memory"), ("self-sim", "selfsim")])
def test_an_unknown_model_names_the_nearest(wrong, near):
    with pytest.raises(UnknownName, match=f"Unknown model '{wrong}'. Did you mean '{near}'\\?.*looktwice models"):
        looktwice.load(wrong)
