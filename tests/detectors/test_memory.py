import numpy as np
import pytest

import looktwice

from .scenes import SMALL, blob, cloud, highest, noise_texture, part, scratch, seen_again, spec_of, views_of

SHIFT = (2, -3)  # (down, right) pixels


def again(seed=1, image=None):
    return seen_again(part(128) if image is None else image, SHIFT, seed=seed)


@pytest.fixture(scope="module")
def alone():
    """Fitted on a single reference."""
    return looktwice.load("memory").fit(spec_of(part(128)))


@pytest.fixture(scope="module")
def several():
    """Fitted on four pictures of the same part."""
    moves = [(0, 0), (1, 1), (-1, 0.5), (0.5, -1.5)]
    pictures = [
        seen_again(part(128), move, light, seed=10 + i)
        for i, (move, light) in enumerate(zip(moves, (1, 1.04, 0.96, 1.02), strict=True))
    ]
    return looktwice.load("memory").fit(spec_of(*pictures))


def judged(detector, picture):
    return detector.predict([views_of(picture)])[0]


@pytest.mark.parametrize("which", ["alone", "several"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_same_part_seen_again_is_normal(which, seed, request):
    prediction = judged(request.getfixturevalue(which), again(seed))
    assert prediction.score < 0.5
    assert prediction.evidence["registration"].startswith("registered: shift (")


@pytest.mark.parametrize("which", ["alone", "several"])
@pytest.mark.parametrize(
    "mark",
    [
        lambda image: blob(image, 40, 85),
        lambda image: blob(image, 100, 30, radius=4, value=(255, 255, 255)),
        lambda image: scratch(image, 70, 30, 80),
    ],
    ids=["dark blob", "small light blob", "scratch"],
)
def test_a_defect_is_found_where_it_is(which, mark, request):
    picture, mask = mark(again())
    prediction = judged(request.getfixturevalue(which), picture)
    assert prediction.score >= 0.5
    assert mask[highest(prediction.anomaly_map[0])]
    assert prediction.anomaly_map[0][mask].mean() > 3 * prediction.anomaly_map[0][~mask].mean()


def test_a_patch_copied_from_elsewhere_is_found_by_its_place(alone):
    picture = again()
    picture[80:104, 20:44] = picture[20:44, 84:108]
    prediction = judged(alone, picture)
    y, x = highest(prediction.anomaly_map[0])
    assert prediction.score >= 0.5
    assert 76 <= y < 108
    assert 16 <= x < 48


def test_what_is_expected_lies_on_the_picture(alone):
    picture, mask = blob(again(), 40, 85)
    expected = judged(alone, picture).expected[0].astype(int)
    core = np.zeros_like(mask)
    core[8:-8, 8:-8] = True
    aligned = np.abs(expected - again())[core].mean()
    unaligned = np.abs(part(128).astype(int) - again())[core].mean()
    assert aligned < 0.7 * unaligned
    assert np.abs(expected - picture)[mask].mean() > 3 * aligned


def test_texture_without_a_place_is_judged_all_the_same():
    fitted = looktwice.load("memory").fit(spec_of(*[noise_texture(128, seed) for seed in range(4)]))
    clean = judged(fitted, noise_texture(128, 9))
    marked, mask = blob(noise_texture(128, 9), 60, 44)
    found = judged(fitted, marked)
    assert clean.score < 0.5 <= found.score
    assert mask[highest(found.anomaly_map[0])]
    assert clean.expected is None
    assert clean.evidence["registration"] == "not registered: compared with the references wherever they match best"


def test_another_part_is_not_registered_and_anomalous_or_unplaced(alone):
    other = judged(alone, part(128, 77))
    assert other.evidence["registration"].startswith("not registered")


def test_register_above_one_never_registers():
    fitted = looktwice.load("memory", register_above=1.0).fit(spec_of(part(128)))
    assert judged(fitted, again()).evidence["registration"].startswith("not registered")


def test_a_larger_margin_gives_lower_scores():
    picture, _ = blob(again(), 40, 85, radius=4)
    scores = [
        judged(looktwice.load("memory", margin=margin).fit(spec_of(part(128))), picture).score for margin in (0.5, 2.0)
    ]
    assert scores[0] > scores[1]


def test_a_large_picture_is_compared_small_and_mapped_back():
    fitted = looktwice.load("memory", size=64).fit(spec_of(part(128)))
    picture, mask = blob(again(), 40, 85, radius=9)
    prediction = judged(fitted, picture)
    assert prediction.anomaly_map.shape == (1, 128, 128)
    assert prediction.expected.shape == (1, 128, 128, 3)
    assert prediction.score >= 0.5
    assert mask[highest(prediction.anomaly_map[0])]


def test_the_bank_keeps_its_limit():
    fitted = looktwice.load("memory", bank=100).fit(spec_of(part(128), noise_texture(128)))
    assert 1 <= len(fitted.bank.rows) <= 100


def test_the_order_of_four_references_hardly_matters():
    pictures = [again(seed) for seed in range(4)]
    picture, _ = blob(again(9), 40, 85, radius=4)
    scores = [
        judged(looktwice.load("memory").fit(spec_of(*some)), picture).score for some in (pictures, pictures[::-1])
    ]
    assert abs(scores[0] - scores[1]) < 0.1


def test_a_dented_cloud_scores_above_a_whole_one():
    spec = looktwice.Spec(references=(cloud(1), cloud(2), cloud(3)))
    fitted = looktwice.load("memory").fit(spec, SMALL)
    whole, dented = (judged(fitted, one).score for one in (cloud(4), cloud(4, dent=0.25)))
    assert dented > whole
