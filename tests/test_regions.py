import time
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from looktwice.errors import UsageError
from looktwice.regions import (
    Found,
    Place,
    cloud_regions,
    compare_with_expected,
    compare_with_surroundings,
    intervals,
    picture_regions,
    relief,
    shape_of,
)

FEW = settings(deadline=None, max_examples=40)


def map_of(mask, score=0.9):
    return np.where(mask, score, 0).astype(np.float32)


def boxed(shape, *boxes):
    mask = np.zeros(shape, bool)
    for x0, y0, x1, y1 in boxes:
        mask[y0:y1, x0:x1] = True
    return mask


def drawn(found, shape):
    """The places painted back onto a picture."""
    mask = np.zeros(shape, int)
    for place in found:
        x0, y0, x1, y1 = place.box
        mask[y0:y1, x0:x1] += place.mask
    return mask


# ---------------------------------------------------------------- pictures


def test_a_region_is_where_it_was_drawn():
    mask = boxed((60, 80), (10, 20, 35, 30))
    (place,) = picture_regions(map_of(mask, 0.75), 0.5)
    assert place.box == (10, 20, 35, 30)
    assert place.area == 250
    assert place.share == 250 / 4800
    assert place.score == 0.75
    assert place.mask.all()


@FEW
@given(st.integers(0, 2**32 - 1), st.integers(1, 90), st.integers(1, 90), st.sampled_from([0.3, 0.7, 0.95]))
def test_regions_cover_each_hot_pixel_once_and_no_other(seed, height, width, threshold):
    anomaly_map = np.random.default_rng(seed).random((height, width), dtype=np.float32)
    found = picture_regions(anomaly_map, threshold, limit=10**6)
    painted = drawn(found, anomaly_map.shape)
    hot = anomaly_map >= threshold
    assert painted.max(initial=0) <= 1
    assert not (painted.astype(bool) & ~hot).any()
    assert hot.sum() - painted.sum() <= 3 * found.specks
    for place in found:
        x0, y0, x1, y1 = place.box
        assert place.mask.shape == (y1 - y0, x1 - x0)
        assert place.mask[0].any()
        assert place.mask[-1].any()
        assert place.mask[:, 0].any()
        assert place.mask[:, -1].any()
        assert place.area == place.mask.sum()
        assert place.score == anomaly_map[y0:y1, x0:x1][place.mask].max()
    order = [(-place.score, -place.area) for place in found]
    assert order == sorted(order)


@FEW
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.01, 0.05, 0.2]))
def test_small_maps_agree_with_plain_connected_components(seed, density):
    hot = np.random.default_rng(seed).random((50, 60)) < density  # under 100 px nothing is near enough to merge
    _, count = ndimage.label(hot, np.ones((3, 3)))
    found = picture_regions(map_of(hot), 0.5, limit=10**6)
    assert len(found) + found.specks == count


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize(("gap", "count"), [(3, 1), (4, 1), (5, 2), (6, 2)])
def test_pieces_nearer_than_one_percent_are_one_region(gap, count, axis):
    mask = boxed((500, 500), (100, 100, 120, 120), (120 + gap, 119, 140 + gap, 140))
    assert len(picture_regions(map_of(mask if axis else mask.T), 0.5)) == count


def test_pieces_merge_across_a_diagonal_gap():
    near = boxed((500, 500), (10, 10, 20, 20), (24, 24, 34, 34))
    far = boxed((500, 500), (10, 10, 20, 20), (25, 25, 35, 35))
    assert len(picture_regions(map_of(near), 0.5)) == 1
    assert len(picture_regions(map_of(far), 0.5)) == 2
    assert len(picture_regions(map_of(near[:, ::-1]), 0.5)) == 1


def test_specks_are_left_out_beside_a_region_and_counted():
    mask = boxed((90, 90), (10, 10, 20, 20), (50, 50, 51, 53), (70, 70, 71, 71))
    found = picture_regions(map_of(mask), 0.5)
    assert [place.area for place in found] == [100]
    assert (found.specks, found.left_out) == (2, 0)


def test_a_piece_of_four_pixels_is_no_speck_in_a_small_picture_but_in_a_large_one():
    small = boxed((90, 90), (10, 10, 20, 20), (50, 50, 52, 52))
    large = boxed((1000, 1000), (10, 10, 30, 30), (500, 500, 519, 501))  # 19 px, and 0.002 % is 20 px
    assert len(picture_regions(map_of(small), 0.5)) == 2
    assert len(picture_regions(map_of(large), 0.5)) == 1
    large[500, 519] = True
    assert len(picture_regions(map_of(large), 0.5)) == 2


def test_the_strongest_speck_is_kept_when_there_is_nothing_else():
    anomaly_map = np.zeros((50, 50), np.float32)
    anomaly_map[3, 4], anomaly_map[30, 40] = 0.6, 0.8
    found = picture_regions(anomaly_map, 0.5)
    assert [place.box for place in found] == [(40, 30, 41, 31)]
    assert found.specks == 1


def test_the_limit_keeps_the_strongest_and_says_how_many_are_left_out():
    anomaly_map = np.zeros((99, 99), np.float32)
    for i in range(8):
        anomaly_map[10 * i : 10 * i + 3, 10:13] = 0.5 + i / 20
    found = picture_regions(anomaly_map, 0.5, limit=3)
    assert [place.box[1] for place in found] == [70, 60, 50]
    assert found.left_out == 5


def test_equal_scores_are_ordered_by_area_and_then_by_place():
    mask = boxed((90, 90), (50, 10, 55, 15), (10, 30, 15, 35), (40, 60, 50, 70))
    assert [place.box[:2] for place in picture_regions(map_of(mask), 0.5)] == [(40, 60), (50, 10), (10, 30)]


def test_nothing_at_the_threshold_gives_no_region():
    assert len(picture_regions(np.full((5, 5), 0.4, np.float32), 0.5)) == 0
    assert picture_regions(np.full((5, 5), 0.4, np.float32), 0.5) == Found()


def test_a_score_at_the_threshold_counts_and_one_below_in_double_precision_does_not():
    assert len(picture_regions(np.full((5, 5), 0.5, np.float32), 0.5)) == 1
    just_below = np.full((5, 5), 0.7, np.float32)  # 0.699999988
    assert float(just_below[0, 0]) < 0.7
    assert len(picture_regions(just_below, 0.7)) == 0


def test_one_pixel_is_a_region_of_everything():
    (place,) = picture_regions(np.ones((1, 1), np.float32), 0.5)
    assert (place.box, place.area, place.share) == ((0, 0, 1, 1), 1, 1.0)


def test_a_found_list_can_be_indexed_sliced_and_walked():
    found = picture_regions(map_of(boxed((90, 90), (1, 1, 9, 9), (50, 50, 55, 55))), 0.5)
    assert found[0].area == 64
    assert [place.area for place in found[:1]] == [64]
    assert [place.area for place in found] == [64, 25]


@pytest.mark.parametrize(
    ("anomaly_map", "threshold", "limit", "words"),
    [
        (np.zeros((2, 3, 4), np.float32), 0.5, 20, r"shape \(H, W\), got \(2, 3, 4\)"),
        (np.zeros((0, 4), np.float32), 0.5, 20, r"shape \(H, W\), got \(0, 4\)"),
        (np.full((2, 2), np.nan, np.float32), 0.5, 20, "finite numbers, got NaN"),
        (np.zeros((2, 2), np.float32), float("nan"), 20, "threshold must be a finite number, got nan"),
        (np.zeros((2, 2), np.float32), 0.5, 0, "limit must be at least 1, got 0"),
    ],
)
def test_bad_maps_are_refused_in_words(anomaly_map, threshold, limit, words):
    with pytest.raises(UsageError, match=words):
        picture_regions(anomaly_map, threshold, limit)


def test_a_map_of_16_megapixels_of_noise_takes_seconds():
    anomaly_map = np.random.default_rng(0).random((4096, 4096), dtype=np.float32)
    start = time.perf_counter()
    picture_regions(anomaly_map, 0.5)
    assert time.perf_counter() - start < 15  # 1.4 s on two quiet cores


# ---------------------------------------------------------------- shapes


@FEW
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 20), st.integers(0, 20))
def test_the_shape_of_a_bar_is_exact(width, height, x, y):
    (place,) = picture_regions(map_of(boxed((60, 60), (x, y, x + width, y + height))), 0.5)
    shape = shape_of(place)
    assert shape.centre == pytest.approx((x + width / 2, y + height / 2))
    assert shape.elongation == pytest.approx(max(width, height) / min(width, height))
    assert shape.filled == pytest.approx(3 / np.pi)
    if width != height:
        assert abs(shape.angle) == pytest.approx(0 if width > height else 90)


@FEW
@given(st.floats(-88, 88), st.floats(30, 60), st.floats(5, 8))
def test_the_shape_of_a_turned_bar_has_its_angle_and_its_ratio(angle, length, thickness):
    y, x = np.mgrid[:160, :160] - 79.5
    turn = np.radians(angle)
    along, across = x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)
    mask = (abs(along) < length) & (abs(across) < thickness)
    (place,) = picture_regions(map_of(mask), 0.5)
    shape = shape_of(place)
    assert shape.angle == pytest.approx(angle, abs=1.5)
    assert shape.elongation == pytest.approx(length / thickness, rel=0.13)


def test_gaps_lower_the_filled_share():
    y, x = np.mgrid[:100, :100] - 49.5
    disc, ring = np.hypot(x, y) < 30, abs(np.hypot(x, y) - 30) < 3
    assert shape_of(picture_regions(map_of(disc), 0.5)[0]).filled == pytest.approx(1, abs=0.02)
    assert shape_of(picture_regions(map_of(ring), 0.5)[0]).filled < 0.3


# ---------------------------------------------------------------- looks

SHAPE = (90, 120)
DISC = np.hypot(*(np.mgrid[:90, :120] - np.array([40, 50])[:, None, None])) < 12


def painted(mask, colour=(128, 128, 128), base=(128, 128, 128), grain=0.0, sigma=2.0, seed=0):
    """A picture of `base` with camera noise `sigma`, `colour` under the mask and grain on top of it."""
    rng = np.random.default_rng(seed)
    pixels = np.where(mask[..., None], np.array(colour, float), np.array(base, float))
    pixels += rng.normal(0, 1, (*mask.shape, 1)) * np.where(mask, np.hypot(grain, sigma), sigma)[..., None]
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)


def both(mask, pixels, base=(128, 128, 128)):
    """The one place compared with its ring, and with a good picture of the same scene."""
    found = picture_regions(map_of(mask), 0.5)
    good = painted(np.zeros_like(mask), base=base, seed=1)
    (ring,), (expected,) = compare_with_surroundings(pixels, found), compare_with_expected(pixels, found, good)
    return ring, expected


@FEW
@given(st.integers(-60, 60), st.integers(0, 1000))
def test_darker_and_lighter_are_said_exactly_when_drawn_beyond_the_minimum(step, seed):
    for difference in both(DISC, painted(DISC, (128 + step,) * 3, seed=seed)):
        if abs(step) >= 10:
            assert difference.brightness == ("darker" if step < 0 else "lighter")
        elif abs(step) <= 6:
            assert difference.brightness is None
        assert (difference.hue, difference.saturation, difference.texture) == (None, None, None)


@pytest.mark.parametrize(
    ("colour", "base", "hue", "saturation"),
    [
        ((200, 100, 100), (128, 128, 128), ("more", "red"), "more"),
        ((100, 190, 100), (128, 128, 128), ("more", "green"), "more"),
        ((100, 100, 210), (128, 128, 128), ("more", "blue"), "more"),
        ((160, 160, 60), (128, 128, 128), ("more", "yellow"), "more"),
        ((60, 160, 160), (128, 128, 128), ("more", "cyan"), "more"),
        ((180, 90, 180), (128, 128, 128), ("more", "magenta"), "more"),
        ((80, 80, 80), (40, 60, 200), ("less", "blue"), "less"),
        ((120, 120, 120), (200, 60, 60), ("less", "red"), "less"),
        ((200, 0, 0), (0, 0, 0), ("more", "red"), "more"),
        ((20, 30, 100), (40, 60, 200), None, None),  # a shadow
        ((200, 100, 60), (100, 50, 30), None, None),  # a lamp
        ((140, 90, 70), (100, 50, 30), None, None),  # a highlight
    ],
)
def test_another_colour_is_named_and_another_light_is_not(colour, base, hue, saturation):
    for difference in both(DISC, painted(DISC, colour, base), base):
        assert (difference.hue, difference.saturation) == (hue, saturation)
        assert difference.texture is None


@FEW
@given(st.tuples(*[st.integers(0, 255)] * 3), st.tuples(*[st.integers(0, 255)] * 3))
def test_a_named_colour_holds_for_the_pixels_themselves(colour, base):
    directions = dict(
        zip(("red", "green", "blue", "cyan", "magenta", "yellow"), [*np.eye(3), *-np.eye(3)], strict=True)
    )
    for difference in both(DISC, painted(DISC, colour, base, sigma=0), base):
        change = np.subtract(difference.here.rgb, difference.there.rgb)
        if difference.hue:
            sense, hue = difference.hue
            assert (1 if sense == "more" else -1) * directions[hue] @ (change - change.mean()) > 0
        if difference.brightness:
            grey = np.array([0.299, 0.587, 0.114]) @ np.subtract(colour, base)
            assert (grey < 0) == (difference.brightness == "darker")


@pytest.mark.parametrize(("grain", "base_grain", "texture"), [(20, 2, "rougher"), (2, 20, "smoother"), (3, 2, None)])
def test_rough_and_smooth_patches_are_told_from_their_surroundings(grain, base_grain, texture):
    rng = np.random.default_rng(3)
    noise = rng.normal(0, 1, (*SHAPE, 1)) * np.where(DISC, grain, base_grain)[..., None]
    pixels = np.clip(128 + noise, 0, 255).astype(np.uint8).repeat(3, 2)
    (difference,) = compare_with_surroundings(pixels, picture_regions(map_of(DISC), 0.5))
    assert difference.texture == texture
    assert difference.texture_judged


def test_the_outline_of_a_place_is_not_its_texture():
    for difference in both(DISC, painted(DISC, (20, 20, 20))):
        assert difference.brightness == "darker"
        assert difference.texture is None


def test_a_thin_scratch_has_no_texture_to_judge():
    mask = boxed(SHAPE, (20, 30, 60, 31))
    (difference,) = compare_with_surroundings(painted(mask, (60, 60, 60)), picture_regions(map_of(mask), 0.5))
    assert difference.brightness == "darker"
    assert not difference.texture_judged
    assert difference.texture is None


def test_colourful_noise_is_not_called_more_saturated():
    rng = np.random.default_rng(0)
    pixels = painted(np.zeros(SHAPE, bool))
    pixels[DISC] = np.clip(rng.normal(128, 40, (DISC.sum(), 3)), 0, 255)
    (difference,) = compare_with_surroundings(pixels, picture_regions(map_of(DISC), 0.5))
    assert difference.saturation is None
    assert difference.texture == "rougher"


def test_another_light_all_over_is_not_a_difference_of_the_place():
    good = painted(np.zeros(SHAPE, bool))
    relit = (good * 0.85).astype(np.uint8)
    found = picture_regions(map_of(DISC), 0.5)
    (difference,) = compare_with_expected(relit, found, good)
    assert difference.brightness is None
    assert difference.drifted
    (difference,) = compare_with_expected(np.where(DISC[..., None], relit // 2, relit), found, good)
    assert difference.brightness == "darker"


def test_an_expected_picture_that_is_blurred_all_over_makes_no_place_rougher():
    pixels, blurred = painted(DISC, sigma=12), painted(DISC, sigma=2, seed=1)
    (difference,) = compare_with_expected(pixels, picture_regions(map_of(DISC), 0.5), blurred)
    assert difference.here.contrast > 3 * difference.there.contrast
    assert difference.texture is None
    assert difference.drifted


def test_a_mean_colour_is_not_called_more_saturated_than_colourful_noise():
    pixels = np.random.default_rng(0).integers(0, 256, (*SHAPE, 3), dtype=np.uint8)
    pixels[DISC] = (160, 110, 110)
    (difference,) = compare_with_surroundings(pixels, picture_regions(map_of(DISC), 0.5))
    assert difference.hue == ("more", "red")
    assert difference.saturation is None


def test_one_noisy_pixel_is_not_lighter_than_its_surroundings():
    pixels = painted(np.zeros(SHAPE, bool), sigma=12)
    pixels[40, 50] = 145
    (difference,) = compare_with_surroundings(pixels, picture_regions(map_of(boxed(SHAPE, (50, 40, 51, 41))), 0.5))
    assert difference.here.brightness - difference.there.brightness > 10
    assert difference.brightness is None


def test_other_places_are_not_surroundings():
    mask = boxed(SHAPE, (40, 40, 50, 50), (53, 40, 63, 50))
    pixels = painted(mask, (60, 60, 60), sigma=0)
    for difference in compare_with_surroundings(pixels, picture_regions(map_of(mask), 0.5)):
        assert difference.there.brightness == pytest.approx(128)


def test_a_region_of_everything_has_no_surroundings():
    found = picture_regions(np.ones(SHAPE, np.float32), 0.5)
    assert compare_with_surroundings(painted(DISC), found) == [None]
    assert compare_with_expected(painted(DISC), found, painted(DISC))[0].brightness is None


def test_a_region_at_the_corner_is_compared_with_the_ring_it_has():
    mask = boxed(SHAPE, (0, 0, 12, 12))
    (difference,) = compare_with_surroundings(painted(mask, (200, 200, 200)), picture_regions(map_of(mask), 0.5))
    assert difference.brightness == "lighter"


def test_an_expected_picture_in_the_frame_of_a_view_is_compared_there():
    mask = DISC.repeat(4, 0).repeat(4, 1)
    pixels = painted(mask, (60, 60, 60), sigma=15)
    shrunk = painted(np.zeros(SHAPE, bool), sigma=4)  # what a view has left of noise of 15
    (difference,) = compare_with_expected(pixels, picture_regions(map_of(mask), 0.5), shrunk)
    assert difference.brightness == "darker"
    assert difference.texture is None


def test_pictures_of_other_kinds_are_refused_in_words():
    found = picture_regions(map_of(DISC), 0.5)
    with pytest.raises(UsageError, match=r"a picture \(H, W, 3\) of uint8, got float64 of shape \(90, 120, 3\)"):
        compare_with_surroundings(np.zeros((90, 120, 3)), found)
    with pytest.raises(
        UsageError, match=r"expected picture \(91, 120\) must not be larger than the picture \(90, 120\)"
    ):
        compare_with_expected(painted(DISC), found, np.zeros((91, 120, 3), np.uint8))


# ---------------------------------------------------------------- point clouds


def plane(step=1.0, side=60, jitter=0.0, seed=0):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] * step
    return np.stack([x.ravel(), y.ravel(), np.zeros(side * side)], 1) + rng.normal(0, jitter, (side * side, 3))


def test_each_patch_holds_the_points_it_was_made_of():
    points = plane()
    first = (points[:, 0] < 10) & (points[:, 1] < 5)
    second = np.hypot(points[:, 0] - 40, points[:, 1] - 40) < 6
    scores = np.where(first, 0.7, np.where(second, 0.9, 0.1)).astype(np.float32)
    found = cloud_regions(points, scores, 0.5)
    assert [patch.points.tolist() for patch in found] == [np.flatnonzero(m).tolist() for m in (second, first)]
    assert found[0].points.dtype == np.int64
    assert found[0].centre == pytest.approx((40, 40, 0))
    assert found[1].extent == pytest.approx((9, 4, 0))
    assert found[1].share == first.sum() / len(points)
    assert found[0].score == pytest.approx(0.9)


@FEW
@given(st.integers(0, 1000), st.sampled_from([1e-6, 1.0, 1e5]), st.integers(0, 10))
def test_patches_do_not_depend_on_unit_and_place(seed, unit, shift):
    points = plane(jitter=0.15, seed=seed)
    hot = (np.hypot(points[:, 0] - 20, points[:, 1] - 20) < 7) | (np.hypot(points[:, 0] - 45, points[:, 1] - 45) < 7)
    found = cloud_regions(points * unit + shift * unit, hot.astype(np.float32), 0.5)
    assert len(found) == 2
    assert sum(patch.area for patch in found) == hot.sum()


def test_sparse_and_dense_parts_are_each_linked_at_their_own_spacing():
    dense, sparse = plane(0.1, 50), plane(3.0, 40) + np.array([100, 0, 0])
    points = np.concatenate([dense, sparse])
    scores = np.zeros(len(points), np.float32)
    scores[: len(dense)][np.hypot(*(dense[:, :2] - 2).T) < 0.8] = 0.8
    scores[: len(dense)][np.hypot(*(dense[:, :2] - 4).T) < 0.6] = 0.8  # 1.4 away: far for these, near for the others
    scores[len(dense) :][np.hypot(*(sparse[:, :2] - [150, 50]).T) < 12] = 0.9
    assert len(cloud_regions(points, scores, 0.5)) == 3


def test_unseen_and_invalid_points_are_ignored():
    points = plane()
    scores = np.full(len(points), 0.9, np.float32)
    scores[1800:] = np.nan
    points[:100] = np.nan
    (patch,) = cloud_regions(points, scores, 0.5)
    assert patch.points.tolist() == list(range(100, 1800))
    assert patch.share == 1


@pytest.mark.parametrize("count", [1, 2, 5])
def test_very_few_points_and_equal_points_are_one_patch(count):
    found = cloud_regions(np.ones((count, 3)), np.ones(count, np.float32), 0.5)
    assert [patch.area for patch in found] == [count]
    assert found[0].extent == (0, 0, 0)


def test_a_stray_point_does_not_blur_the_others_together():
    points = np.concatenate([plane(), [[1e9, 0, 0]]])
    hot = (points[:, 0] < 5) | ((points[:, 0] > 20) & (points[:, 0] < 25))
    found = cloud_regions(points, hot.astype(np.float32), 0.5)
    assert [patch.area for patch in found] == [300, 240]


def test_a_point_far_above_a_dense_patch_does_not_join_it():
    points = np.concatenate([plane(0.1), [[3, 3, 1]]])
    scores = (np.hypot(points[:, 0] - 3, points[:, 1] - 3) < 1).astype(np.float32)
    found = cloud_regions(points, scores, 0.5)
    assert (len(found), found.specks) == (1, 1)
    assert len(points) - 1 not in found[0].points


def test_lonely_points_are_specks_of_a_cloud():
    points = plane()
    scores = (np.hypot(points[:, 0] - 20, points[:, 1] - 20) < 5).astype(np.float32)
    scores[[-1, -200]] = 1
    found = cloud_regions(points, scores, 0.5)
    assert (len(found), found.specks) == (1, 2)


def test_eight_points_are_a_speck_beside_a_region_and_a_region_alone():
    points = plane()
    few = (points[:, 0] >= 50) & (points[:, 0] < 54) & (points[:, 1] >= 50) & (points[:, 1] < 52)
    assert few.sum() == 8
    many = np.hypot(points[:, 0] - 20, points[:, 1] - 20) < 5
    found = cloud_regions(points, (few | many).astype(np.float32), 0.5)
    assert ([patch.area for patch in found], found.specks) == ([int(many.sum())], 1)
    assert [patch.area for patch in cloud_regions(points, few.astype(np.float32), 0.5)] == [8]


def test_no_hot_point_gives_no_patch():
    assert len(cloud_regions(plane(), np.zeros(3600, np.float32), 0.5)) == 0
    assert len(cloud_regions(plane(), np.full(3600, np.nan, np.float32), 0.5)) == 0


def test_clouds_of_other_shapes_are_refused_in_words():
    with pytest.raises(UsageError, match=r"points \(N, 3\) and scores \(N,\), got \(5, 3\) and \(4,\)"):
        cloud_regions(np.zeros((5, 3)), np.zeros(4, np.float32), 0.5)


def test_a_million_points_take_seconds():
    points = np.random.default_rng(0).normal(size=(1_000_000, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    start = time.perf_counter()
    (patch,) = cloud_regions(points, (points[:, 2] > 0).astype(np.float32), 0.5)
    assert time.perf_counter() - start < 20  # 2 s on two quiet cores
    assert patch.area == np.count_nonzero(points[:, 2] > 0)


# ---------------------------------------------------------------- bump or dent


def relief_of(points, hot, outward):
    (patch,) = cloud_regions(points, hot.astype(np.float32), 0.5)
    return relief(points, patch, ~hot, outward)


@pytest.mark.parametrize("height", [0.1, -0.1])
@pytest.mark.parametrize("direction", [(0, 0, 1), (1, 0, 0), (-0.6, 0.8, 0)])
def test_a_bump_on_a_sphere_stands_out_and_a_dent_lies_below(height, direction):
    points = np.random.default_rng(1).normal(size=(20_000, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    angle = np.arccos(np.clip(points @ np.array(direction, float), -1, 1))
    points *= 1 + height * np.exp(-((angle / 0.12) ** 2))[:, None]
    measured = relief_of(points, angle < 0.25, "centre")
    assert measured is not None
    assert np.sign(measured.offset) == np.sign(measured.extreme) == np.sign(height)
    assert measured.extreme == pytest.approx(height, abs=0.02)


@pytest.mark.parametrize("depth", [0.8, -0.8])
def test_in_an_organised_cloud_outside_is_towards_the_sensor(depth):
    points = plane(jitter=0.02) + np.array([-30, -30, 300])
    hot = np.hypot(points[:, 0], points[:, 1]) < 8
    points[hot, 2] -= depth
    measured = relief_of(points, hot, "sensor")
    assert measured is not None
    assert measured.offset == pytest.approx(depth, abs=0.05)


def test_the_seam_of_a_patch_does_not_bend_the_surface_around_it():
    points = plane() + np.array([-30, -30, 300])
    distance = np.hypot(points[:, 0], points[:, 1])
    points[:, 2] -= np.where(distance < 16, 1, np.where(distance < 17, 0.5, 0))
    measured = relief_of(points, distance < 16, "sensor")
    assert measured is not None
    assert measured.offset == pytest.approx(1, abs=1e-6)


def test_a_smooth_place_is_neither_bump_nor_dent():
    points = plane(jitter=0.05) + np.array([-30, -30, 300])
    assert relief_of(points, np.hypot(points[:, 0], points[:, 1]) < 8, "sensor") is None
    sphere = np.random.default_rng(1).normal(size=(20_000, 3))
    sphere /= np.linalg.norm(sphere, axis=1, keepdims=True)
    sphere *= 1 + np.random.default_rng(2).normal(0, 0.003, (len(sphere), 1))
    assert relief_of(sphere, sphere[:, 2] > 0.97, "centre") is None


def test_a_sheet_has_no_outside():
    points = plane(jitter=0.02)
    hot = np.hypot(points[:, 0] - 40, points[:, 1] - 20) < 8
    points[hot, 2] += 1
    assert relief_of(points, hot, "centre") is None


def test_inside_a_bowl_nothing_is_claimed():
    points = np.random.default_rng(1).normal(size=(20_000, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    points = points[points[:, 2] < -0.3]
    hot = points[:, 2] < -0.97
    points[hot] *= 0.95
    assert relief_of(points, hot, "centre") is None


def test_at_a_rim_with_neighbours_on_one_side_nothing_is_claimed():
    points = plane(jitter=0.02) + np.array([-30, -30, 300])
    hot = points[:, 0] < -25
    points[hot, 2] -= 1
    assert relief_of(points, hot, "sensor") is None


def test_a_cloud_that_was_moved_to_the_origin_has_no_sensor_side():
    points = plane(jitter=0.02) + np.array([-30, -30, 5])
    hot = np.hypot(points[:, 0], points[:, 1]) < 8
    points[hot, 2] -= 1
    assert relief_of(points, hot, "sensor") is None


def test_a_patch_without_neighbours_has_no_relief():
    points = plane()
    (patch,) = cloud_regions(points, np.ones(len(points), np.float32), 0.5)
    assert relief(points, patch, np.zeros(len(points), bool), "sensor") is None


# ---------------------------------------------------------------- videos


def spans(times, scores, threshold=0.5, duration=None):
    found = intervals(np.array(times, float), np.array(scores, float), threshold, duration or max(times))
    return [(i.start, i.end, i.peak_time, i.peak_score, i.peak) for i in found]


def test_a_run_of_frames_reaches_half_way_to_its_neighbours():
    assert spans([0, 1, 2, 3, 4, 6], [0, 0, 0.8, 0.9, 0, 0], duration=7) == [(1.5, 3.5, 3, 0.9, 3)]


def test_one_frame_alone_lasts():
    assert spans([0, 1, 3], [0, 0.7, 0]) == [(0.5, 2, 1, 0.7, 1)]


def test_one_frame_below_does_not_end_an_interval_and_two_do():
    assert [s[:2] for s in spans(range(7), [0, 0.9, 0, 0.9, 0, 0.9, 0])] == [(0.5, 5.5)]
    assert [s[:2] for s in spans(range(7), [0, 0.9, 0, 0, 0.9, 0, 0])] == [(0.5, 1.5), (3.5, 4.5)]


def test_the_ends_stay_within_the_video():
    assert spans([0, 1, 2], [0.9, 0, 0.8], duration=2.2) == [(0, 2.2, 0, 0.9, 0)]
    assert [s[:2] for s in spans([0, 1, 2], [0, 0, 0.8], duration=2.2)] == [(1.5, 2.2)]
    assert [s[:2] for s in spans([0, 1, 2], [0, 0, 0.8], duration=9)] == [(1.5, 2.5)]
    assert [s[:2] for s in spans([0, 1, 2], [0, 0, 0.8], duration=1.0)] == [(1.5, 2)]


def test_a_single_frame_stands_for_the_whole_video():
    assert spans([0], [0.9], duration=4) == [(0, 4, 0, 0.9, 0)]
    assert spans([0], [0.1], duration=4) == []


def test_no_frame_at_the_threshold_gives_no_interval():
    assert spans([0, 1, 2], [0.1, 0.4, 0.49]) == []
    assert intervals(np.zeros(0), np.zeros(0), 0.5, 0.0) == []


def test_frames_with_the_same_time_are_one_moment():
    assert spans([0, 1, 1, 2], [0, 0.6, 0.9, 0]) == [(0.5, 1.5, 1, 0.9, 2)]


@FEW
@given(st.lists(st.tuples(st.floats(0.01, 2), st.floats(0, 1)), min_size=2, max_size=40))
def test_intervals_agree_with_asking_each_moment(steps):
    times, scores = np.cumsum([s for s, _ in steps]), np.array([v for _, v in steps])
    found = intervals(times, scores, 0.5, times[-1])
    for left, right in pairwise(found):
        assert left.end < right.start
    for i, score in enumerate(scores):
        inside = [one for one in found if one.start <= times[i] <= one.end]
        closed = 0 < i < len(scores) - 1 and min(scores[i - 1], scores[i + 1]) >= 0.5
        assert bool(inside) == bool(score >= 0.5 or closed)
        assert all(one.peak_score >= score for one in inside)


@pytest.mark.parametrize(
    ("times", "scores", "words"),
    [
        ([0, 1], [0.5], r"times \(F,\) and scores \(F,\), got \(2,\) and \(1,\)"),
        ([0, 1], [0.5, np.nan], "finite numbers"),
        ([1, 0], [0.5, 0.5], "times that increase"),
    ],
)
def test_bad_curves_are_refused_in_words(times, scores, words):
    with pytest.raises(UsageError, match=words):
        intervals(np.array(times, float), np.array(scores, float), 0.5, 2.0)


def test_a_place_is_small_in_memory():
    (place,) = picture_regions(map_of(boxed((2000, 2000), (5, 5, 25, 25))), 0.5)
    assert isinstance(place, Place)
    assert place.mask.base is None
    assert place.mask.nbytes == 400
