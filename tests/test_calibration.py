import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from looktwice.calibration import Calibration, calibrate, fuse, needed
from looktwice.errors import UsageError

FEW = settings(deadline=None, max_examples=60)


def make(scores, alpha=0.5, references=(), **more):
    """A calibration of scores by modality, or of pictures, with made-up hashes."""
    scores = scores if isinstance(scores, dict) else {"image": scores}
    given = {"model": "memory", "settings_hash": "abc", "sha256s": hashes(sum(map(len, scores.values())))} | more
    return calibrate(scores, alpha, reference_sha256s=references, **given)


def hashes(count):
    return [f"{i:064x}" for i in range(count)]


# ---------------------------------------------------------------- how many parts


@pytest.mark.parametrize(
    ("alpha", "parts"), [(0.5, 1), (1 / 3, 2), (0.1, 9), (0.07, 14), (0.05, 19), (0.01, 99), (0.001, 999)]
)
def test_needed_says_how_many_normal_parts_an_alpha_takes(alpha, parts):
    assert needed(alpha) == parts


@FEW
@given(st.floats(1e-6, 0.5))
def test_needed_is_the_smallest_number_of_parts_that_reaches_alpha(alpha):
    n = needed(alpha)
    assert 1 / (n + 1) <= alpha
    assert n == 1 or 1 / n > alpha


def test_the_smallest_alpha_there_is_has_an_answer():
    assert needed(5e-324) > 10**300


def test_too_few_parts_are_refused_with_what_is_needed_and_what_would_do():
    with pytest.raises(UsageError) as error:
        make([0.1] * 30, 0.01)
    assert str(error.value) == (
        "alpha 0.01 needs at least 99 normal parts that are not references, got 30: with 30 the smallest alpha is 0.033"
    )


@pytest.mark.parametrize("parts", [1, 2, 8, 30, 98, 500])
def test_the_smallest_alpha_that_is_offered_is_accepted(parts):
    with pytest.raises(UsageError, match="smallest alpha is") as error:
        make([0.1] * parts, 1e-9)
    alpha = float(str(error.value).rsplit(" ", 1)[1])
    assert make([0.1] * parts, alpha).alpha == alpha <= 1.1 / (parts + 1)


def test_each_modality_needs_enough_parts_of_its_own():
    with pytest.raises(UsageError, match=r"^video: alpha 0\.1 needs at least 9 .* got 2: .* smallest alpha is 0\.34$"):
        make({"image": [0.1] * 9, "video": [0.1] * 2}, 0.1)


def test_no_parts_at_all_are_refused():
    with pytest.raises(UsageError, match="no normal part was scored: name files or folders with normal parts"):
        make({})
    with pytest.raises(UsageError, match="needs at least 1 normal parts that are not references, got 0: at least one"):
        make([])


@pytest.mark.parametrize("alpha", [0, -0.1, 0.51, 1, float("nan"), float("inf")])
def test_an_alpha_that_promises_nothing_is_refused(alpha):
    for call in (lambda: make([0.1] * 99, alpha), lambda: needed(alpha)):
        with pytest.raises(UsageError, match=r"alpha must be above 0 and at most 0\.5, got"):
            call()


# ---------------------------------------------------------------- what parts may be used


def test_parts_that_are_references_are_refused_by_name():
    named = dict(zip(["a.png", "b.png", "c.png"], hashes(3), strict=True))
    with pytest.raises(UsageError, match=r"^b\.png stands also among the references: .* other normal parts$"):
        make([0.1, 0.2, 0.3], sha256s=named, references=[hashes(3)[1], "other"])


def test_many_shared_parts_are_counted():
    with pytest.raises(UsageError, match=r" and 2 more stand also among the references"):
        make([0.1] * 5, references=hashes(5))


def test_a_part_given_twice_is_refused():
    named = {"a.png": "1", "b.png": "2", "copy of a.png": "1"}
    with pytest.raises(UsageError, match=r"^a\.png, copy of a\.png stand more than once .* give each part once$"):
        make([0.1, 0.2, 0.3], sha256s=named)
    with pytest.raises(UsageError, match=r"^1 stands more than once"):
        make([0.1, 0.2, 0.3], sha256s=["1", "2", "1"])


def test_every_score_needs_a_hash():
    with pytest.raises(UsageError, match="3 scores need as many different hashes of parts, got 2"):
        make([0.1, 0.2, 0.3], sha256s=hashes(2))


@pytest.mark.parametrize("score", [float("nan"), -0.1, 1.1, float("inf")])
def test_a_score_outside_zero_to_one_is_refused(score):
    with pytest.raises(UsageError, match=r"image: a score must lie in \[0, 1\], got"):
        make([0.1, score, 0.3])
    with pytest.raises(UsageError, match=r"image: a score must lie in \[0, 1\], got"):
        make([0.1, 0.3]).judge(score, "image")


def test_an_unknown_modality_is_refused():
    with pytest.raises(UsageError, match=r"scores\.smell"):
        make({"smell": [0.1, 0.2]})


def test_a_calibration_that_could_never_find_anything_is_refused():
    with pytest.raises(UsageError, match=r"image: so many normal parts have the score 1 that with alpha 0\.1 no part"):
        make([0.2] * 8 + [1.0], 0.1)
    assert make([0.2] * 18 + [1.0], 0.1).threshold("image") == 0.2


# ---------------------------------------------------------------- p-values and verdicts


def test_p_value_counts_normal_parts_that_are_at_least_as_anomalous():
    made = make([0.3, 0.1, 0.2, 0.2])
    assert [made.p_value(score, "image") for score in (0.0, 0.1, 0.15, 0.2, 0.3, 0.31)] == [
        1.0,
        1.0,
        0.8,
        0.8,
        0.4,
        0.2,
    ]


@FEW
@given(st.lists(st.sampled_from(np.linspace(0, 0.9, 7).tolist()), min_size=2, max_size=25), st.floats(0, 1))
def test_p_values_agree_with_the_slow_version_and_fall_with_the_score(scores, score):
    made = make(scores)
    assert made.p_value(score, "image") == (1 + sum(s >= score for s in scores)) / (len(scores) + 1)
    assert made.p_value(score, "image") >= made.p_value(min(1, score + 0.05), "image") > 0


@FEW
@given(st.lists(st.integers(0, 9), min_size=2, max_size=30), st.floats(0.001, 0.999))
def test_of_any_parts_no_more_than_their_share_gets_a_small_p_value(levels, level):
    """Exact: each part in turn is the new one, as likely as any other when their order does not matter."""
    scores = [one / 10 for one in levels]
    p = [make(scores[:i] + scores[i + 1 :]).p_value(new, "image") for i, new in enumerate(scores)]
    assert sum(one <= level for one in p) <= level * len(scores)


@FEW
@given(
    st.lists(st.sampled_from(np.linspace(0, 0.9, 13).tolist()), min_size=9, max_size=60),
    st.sampled_from([0.1, 0.15, 0.2, 0.3, 0.5]),
)
def test_the_verdict_is_anomalous_exactly_above_the_threshold(scores, alpha):
    made = make(scores, alpha)
    threshold = made.threshold("image")
    for score in (*scores, threshold, np.nextafter(threshold, 1), np.nextafter(threshold, 0)):
        score = float(np.clip(score, 0, 1))
        assert (made.judge(score, "image")[0] == "anomalous") == (score > threshold)


@pytest.mark.parametrize("alpha", [0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.2])
def test_verdicts_are_three_bands_of_the_ranking(alpha):
    scores = np.arange(1, 100) / 200
    made = make(scores, alpha)
    verdicts = [made.judge(score - 0.001, "image")[0] for score in (*scores, 0.6)][::-1]
    anomalous = round(alpha * 100)
    assert verdicts == ["anomalous"] * anomalous + ["unsure"] * anomalous + ["normal"] * (100 - 2 * anomalous)


def test_unsure_never_reaches_half_of_the_normal_parts():
    assert [make([0.1] * 99, alpha).unsure_level for alpha in (0.01, 0.1, 0.25, 0.3, 0.5)] == [0.02, 0.2, 0.5, 0.5, 0.5]


def test_with_the_fewest_parts_a_score_above_all_is_anomalous_and_a_tie_is_unsure():
    made = make([0.2] * 8 + [0.4], 0.1)
    assert made.judge(0.41, "image") == ("anomalous", 0.1)
    assert made.judge(0.4, "image") == ("unsure", 0.2)
    assert made.judge(0.2, "image") == ("normal", 1.0)


def test_modalities_are_judged_by_their_own_parts():
    made = make({"video": [0.6] * 9, "image": [0.2] * 9}, 0.1)
    assert made.judge(0.5, "image")[0] == "anomalous"
    assert made.judge(0.5, "video")[0] == "normal"
    assert (made.threshold("image"), made.threshold("video")) == (0.2, 0.6)


def test_a_missing_modality_says_which_ones_there_are():
    made = make({"video": [0.1] * 3, "image": [0.1] * 3})
    for call in (made.threshold, made.words, lambda name: made.judge(0.5, name), lambda name: made.p_value(0.5, name)):
        with pytest.raises(UsageError, match=r"^this calibration was made for images and videos, not for point clouds"):
            call("point_cloud")


def test_the_guarantee_is_put_into_words():
    made = make({"image": [0.1] * 120, "video": [0.1]}, 0.5)
    assert make([0.1] * 120, 0.01).words("image") == (
        "at most 1 % of normal parts are called anomalous (split-conformal, 120 normal parts)"
    )
    assert made.words("video") == "at most 50 % of normal parts are called anomalous (split-conformal, 1 normal part)"
    assert make([0.1] * 2000, 0.0005).words("image").startswith("at most 0.05 % of")


# ---------------------------------------------------------------- coverage


def alike(rng, count):
    return rng.beta(2, 5, count)


def with_ties(rng, count):
    return np.round(rng.beta(2, 5, count), 1) * 0.9


def nearly_all_the_same(rng, count):
    return np.where(rng.random(count) < 0.97, 0.2, 0.7)


def of_one_batch(rng, count):
    """Dependent, as parts of one lot under one light are, but in no order."""
    return np.clip(rng.uniform(0, 0.5) + rng.normal(0, 0.02, count), 0, 0.99)


@pytest.mark.parametrize("draw", [alike, with_ties, nearly_all_the_same, of_one_batch])
@pytest.mark.parametrize(("alpha", "parts"), [(0.1, 19), (0.05, 59), (0.07, 40)])
def test_false_alarms_stay_below_alpha(draw, alpha, parts):
    rng, times = np.random.default_rng(7), 3000
    false = anxious = 0
    for _ in range(times):
        scores = draw(rng, parts + 1)
        made = make(scores[:-1], alpha)
        verdict, _ = made.judge(float(scores[-1]), "image")
        false += verdict == "anomalous"
        anxious += verdict != "normal"
    slack = 3 * (alpha * (1 - alpha) / times) ** 0.5
    assert false / times <= alpha + slack
    assert anxious / times <= 2 * alpha + 2 * slack
    if draw in (alike, of_one_batch):  # without ties the promise is also kept from below, to the step of 1 / (n + 1)
        steps = np.floor(alpha * (parts + 1) + 1e-9) / (parts + 1)
        assert false / times >= steps - slack
        assert anxious / times >= steps


def test_defects_are_still_found_at_a_small_alpha():
    rng = np.random.default_rng(3)
    made = make(rng.normal(0.3, 0.05, 199).clip(0, 1), 0.01)
    found = [made.judge(score, "image")[0] == "anomalous" for score in rng.normal(0.6, 0.05, 500).clip(0, 1)]
    assert np.mean(found) > 0.95


# ---------------------------------------------------------------- on disk


def test_what_is_saved_is_read_again(tmp_path):
    made = make({"video": [0.5, 1 / 3], "image": [0.2, 0.1, 0.7]})
    assert made.scores["image"] == (0.1, 0.2, 0.7)
    assert list(made.scores) == ["image", "video"]
    assert Calibration.read(made.save(tmp_path / "deep" / "cal.json")) == made
    assert [one.name for one in (tmp_path / "deep").iterdir()] == ["cal.json"]


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = make([0.1, 0.2]).save(tmp_path / "cal.json")
    before = path.read_bytes()
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        make([0.3, 0.4]).save(path)
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["cal.json"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not a calibration, it is no JSON"),
        (b"alpha: 0.1", "not a calibration, it is no JSON"),
        (b"\xff\xfe\x00", "not a calibration, it is no JSON"),
        (b"[" * 100_000, "not a calibration, it is no JSON"),
        (b"[1, 2]", "not a calibration. Make one: looktwice calibrate"),
        (b'{"score": 1}', "not a calibration. Make one: looktwice calibrate"),
    ],
)
def test_another_file_is_no_calibration(tmp_path, content, words):
    path = tmp_path / "cal.json"
    path.write_bytes(content)
    with pytest.raises(UsageError) as error:
        Calibration.read(path)
    assert str(error.value).startswith(f"{path}: {words}")


def test_a_missing_file_and_a_folder_are_said_so(tmp_path):
    with pytest.raises(UsageError, match=r"none\.json: no such file\. Make one: looktwice calibrate"):
        Calibration.read(tmp_path / "none.json")
    with pytest.raises(UsageError, match="cannot be read"):
        Calibration.read(tmp_path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"version": "0.0.1"}, "made by looktwice 0.0.1, this is .* whose scores may differ. Calibrate again"),
        ({"alpha": 0.0001}, r"alpha 0\.0001 needs at least 9999 normal parts .* got 3: .* Calibrate again"),
        ({"alpha": "small"}, "alpha: Input should be a valid number"),
        ({"scores": {"image": [0.3, 0.2, 0.1]}}, "image: scores must ascend"),
        ({"scores": {"image": [0.1, 0.2, None]}}, "scores.image.2"),
        ({"scores": {"image": [0.1, 0.2, float("nan")]}}, r"a score must lie in \[0, 1\], got nan"),
        ({"scores": {"smell": [0.1, 0.2, 0.3]}}, "scores.smell"),
        ({"scores": {"image": [0.1, 0.2]}}, "2 scores need as many different hashes of parts, got 3"),
        ({"scores": 5}, "scores: "),
        ({"extra": 5}, "extra: Extra inputs are not permitted"),
    ],
)
def test_a_changed_file_is_refused_with_what_is_wrong(tmp_path, change, words):
    path = make([0.1, 0.2, 0.3]).save(tmp_path / "cal.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(UsageError, match=words) as error:
        Calibration.read(path)
    assert str(error.value).startswith(f"{path}: ")


# ---------------------------------------------------------------- several p-values


def test_one_sure_witness_is_enough():
    assert fuse([0.01, 0.9]) == 0.02
    assert fuse([0.3]) == 0.3
    assert fuse([0.6, 0.9, 1.0]) == 1.0
    assert fuse([0.4, 0.0]) == 0.0


@pytest.mark.parametrize(
    "witnesses",
    [
        lambda p, rng: [p, p, p],
        lambda p, rng: [p, 1 - p],
        lambda p, rng: [p, (p + 1 / 3) % 1, (p + 2 / 3) % 1],  # never two small at once: the worst case
        lambda p, rng: [p, *rng.random(4)],
    ],
    ids=["the same", "contrary", "disjoint", "independent"],
)
def test_a_fused_p_value_is_valid_however_the_witnesses_depend_on_each_other(witnesses):
    rng, times = np.random.default_rng(5), 20_000
    fused = np.array([fuse(witnesses(p, rng)) for p in rng.random(times)])
    for level in (0.01, 0.05, 0.1, 0.3):
        assert np.mean(fused <= level) <= level + 3 * (level / times) ** 0.5


def test_the_factor_of_a_fused_p_value_cannot_be_smaller():
    p = np.random.default_rng(6).random(20_000)
    fused = np.array([fuse([one, (one + 0.5) % 1]) for one in p])
    assert np.mean(fused <= 0.2) == pytest.approx(0.2, abs=0.01)


@FEW
@given(st.floats(0, 1), st.floats(0, 1))
def test_of_two_witnesses_the_fused_value_is_never_above_twice_their_mean(a, b):
    assert fuse([a, b]) <= a + b


def test_what_is_no_p_value_is_refused():
    with pytest.raises(UsageError, match="no p-values to combine"):
        fuse([])
    for wrong in (-0.1, 1.5, float("nan")):
        with pytest.raises(UsageError, match=r"p-values lie in \[0, 1\], got"):
            fuse([0.5, wrong])
