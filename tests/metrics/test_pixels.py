"""Pixel metrics: exact against slow versions and scikit-learn, streaming against exact within its bound."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from looktwice.metrics import PixelMetrics, aupimo, dice, iou, pixel_metrics, pro
from looktwice.metrics.pixels import _keys, _scores_of

from .slow import regions_of, slow_aupimo, slow_pro

NAMES = ("auroc", "ap", "f1_max", "pro")
KINDS = st.sampled_from(["ties", "normal", "skewed", "constant", "wide", "infinite"])


def scores_of(kind: str, generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    drawn = generator.normal(size=shape)
    return {
        "ties": drawn.round(0),
        "normal": drawn,
        "skewed": np.exp(4 * drawn),
        "constant": np.full(shape, -0.25),
        "wide": drawn * 10.0 ** generator.integers(-12, 12, shape),
        "infinite": np.where(drawn > 1.5, np.inf, np.where(drawn < -1.5, -np.inf, drawn)),
    }[kind]


@st.composite
def images(draw: st.DrawFn) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """A few maps of differing sizes with blobs as masks, at least one of them anomalous and one pixel normal."""
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kind, dtype = draw(KINDS), draw(st.sampled_from([np.float32, np.float64]))
    maps, masks = [], []
    for _ in range(draw(st.integers(1, 4))):
        shape = (draw(st.integers(1, 9)), draw(st.integers(1, 9)))
        maps.append(scores_of(kind, generator, shape).astype(dtype))
        masks.append(generator.random(shape) < draw(st.sampled_from([0.0, 0.1, 0.4, 1.0])))
    masks[0].flat[0] = True
    maps.append(np.zeros((1, 1), dtype))
    masks.append(np.zeros((1, 1), bool))
    return maps, masks


def blobs(count: int = 6, side: int = 96, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    maps = generator.random((count, side, side), dtype=np.float32)
    masks = np.zeros(maps.shape, bool)
    for index in range(1, count):
        y, x = generator.integers(0, side - 20, 2)
        masks[index, y : y + 12, x : x + 18] = True
        masks[index, side - 4 :, :3] = True
    return maps + masks * np.float32(0.4), masks


# ---------------------------------------------------------------- exact


@settings(deadline=None, max_examples=120)
@given(images(), st.sampled_from([0.05, 0.3, 0.77, 1.0]))
def test_pro_equals_the_slow_version(pair: tuple[list[np.ndarray], list[np.ndarray]], limit: float) -> None:
    maps, masks = pair
    assert pro(maps, masks, limit) == pytest.approx(slow_pro(maps, masks, limit), abs=1e-9)


@settings(deadline=None, max_examples=80)
@given(images())
def test_all_four_equal_scikit_learn_and_the_slow_version(pair: tuple[list[np.ndarray], list[np.ndarray]]) -> None:
    maps, masks = pair
    scores, labels = np.concatenate([m.ravel() for m in maps]), np.concatenate([m.ravel() for m in masks])
    known = np.clip(scores, -1e30, 1e30)  # scikit-learn takes no infinities
    got = pixel_metrics(maps, masks, pro_limit=0.3)
    assert tuple(got) == NAMES
    assert got["auroc"] == pytest.approx(roc_auc_score(labels, known), abs=1e-9)
    assert got["ap"] == pytest.approx(average_precision_score(labels, known), abs=1e-9)
    precision, recall, _ = precision_recall_curve(labels, known)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-300)
    assert got["f1_max"] == pytest.approx(f1.max(), abs=1e-9)
    assert got["pro"] == pytest.approx(slow_pro(maps, masks, 0.3), abs=1e-9)
    assert set(got.bound.values()) == {0}


@settings(deadline=None, max_examples=40)
@given(images(), st.sampled_from([(0.01, 0.5), (0.2, 1.0)]))
def test_aupimo_equals_the_slow_version(
    pair: tuple[list[np.ndarray], list[np.ndarray]], bounds: tuple[float, float]
) -> None:
    maps, masks = pair
    np.testing.assert_allclose(aupimo(maps, masks, bounds), slow_aupimo(maps, masks, *bounds), atol=1e-7)


def test_regions_that_touch_at_a_corner_are_one() -> None:
    mask = np.eye(3, dtype=bool)
    maps = np.where(mask, [[[0.9, 0, 0], [0, 0.1, 0], [0, 0, 0.1]]], 0.5)
    assert len(regions_of(mask)) == 1
    assert pro(maps, mask[None], 0.5) == pytest.approx(1 / 3)  # three regions of one pixel would give the same here
    wide = np.array([[1, 0, 0, 0, 0], [0, 1, 1, 1, 0]], bool)
    scores = np.where(wide, [[0.9, 0, 0, 0, 0], [0, 0.1, 0.1, 0.1, 0]], 0.5)
    assert pro(scores[None], wide[None], 0.5) == pytest.approx(1 / 4)  # two regions would give 1 / 2


def test_every_region_counts_the_same_however_large() -> None:
    masks = np.zeros((1, 20, 20), bool)
    masks[0, 0, 0] = masks[0, 5:15, 5:15] = True
    maps = np.zeros((1, 20, 20))
    maps[0, 0, 0] = 1.0
    assert pro(maps, masks, limit=0.3) == pytest.approx(0.5 + 0.5 * 0.15)  # the large one is found by the tie at 0


def test_the_curve_is_cut_by_linear_interpolation_at_the_limit() -> None:
    maps, masks = np.array([[[1.0, 1.0, 1.0, 0.0]]]), np.array([[[True, False, False, False]]])
    assert pro(maps, masks, limit=1 / 3) == pytest.approx(0.25)  # from 0 to 1/2 on the way to (2/3, 1)


def test_one_class_only_has_a_defined_answer() -> None:
    maps = np.random.default_rng(0).random((2, 5, 5))
    nothing, everything = np.zeros(maps.shape, bool), np.ones(maps.shape, bool)
    assert all(map(math.isnan, pixel_metrics(maps, nothing).values()))
    assert math.isnan(pro(maps, nothing))
    full = pixel_metrics(maps, everything)
    assert math.isnan(full["auroc"])
    assert math.isnan(full["pro"])
    assert (full["ap"], full["f1_max"], full.threshold) == (1, 1, maps.min())
    assert np.isnan(aupimo(maps, everything)).all()  # no normal image, no shared rate
    assert np.isnan(aupimo(maps, nothing)).all()


@pytest.mark.parametrize("metric", [pixel_metrics, lambda *a: PixelMetrics().update(*a) or PixelMetrics().compute()])
def test_no_images_at_all_are_undefined_everywhere(metric: object) -> None:
    assert all(map(math.isnan, metric([], []).values()))  # type: ignore[operator]


def test_constant_maps_are_worth_a_coin_toss() -> None:
    masks = blobs()[1]
    share = masks.mean()
    got = pixel_metrics(np.full(masks.shape, 0.7, np.float32), masks)
    assert got["auroc"] == 0.5
    assert got["ap"] == pytest.approx(share)
    assert got["f1_max"] == pytest.approx(2 * share / (1 + share))
    assert got["pro"] == pytest.approx(0.15)  # the diagonal up to 0.3
    assert got.threshold == np.float32(0.7)


def test_perfect_maps_score_one() -> None:
    masks = blobs()[1]
    got = pixel_metrics(masks.astype(np.float32), masks, pro_limit=0.05)
    assert dict(got) == pytest.approx(dict.fromkeys(NAMES, 1.0))
    assert np.nanmin(aupimo(masks * 1.0, masks)) == 1


def test_a_list_of_differing_sizes_equals_the_padded_truth() -> None:
    maps, masks = blobs()
    listed = pixel_metrics([one[:-7] for one in maps], [one[:-7] for one in masks])
    assert dict(listed) == pytest.approx(dict(pixel_metrics(maps[:, :-7], masks[:, :-7])), abs=1e-12)


def test_the_input_is_left_as_it_was() -> None:
    maps, masks = blobs()
    before = maps.copy()
    pixel_metrics(maps, masks)
    PixelMetrics().update(maps, masks)
    np.testing.assert_array_equal(maps, before)


def test_metrics_follow_the_ranks_alone() -> None:
    maps, masks = blobs()
    assert dict(pixel_metrics(np.exp(9 * maps.astype(np.float64)), masks)) == pytest.approx(
        dict(pixel_metrics(maps, masks)), abs=1e-12
    )


@pytest.mark.parametrize(
    ("maps", "masks", "words"),
    [
        (np.array([[[0.0]], [[np.nan]]]), np.zeros((2, 1, 1), bool), "map 1 holds 1 NaN of 1 scores"),
        (np.zeros((2, 3, 3)), np.zeros((1, 3, 3), bool), "2 maps have 1 masks: give one mask per map"),
        (np.zeros((1, 3, 3)), np.zeros((1, 3, 4), bool), r"map 0 is \(3, 3\), its mask \(3, 4\): resize the map"),
        (np.zeros((3, 3)), np.zeros((3, 3), bool), r"map 0 must be \(H, W\), got shape \(3,\): .* pass maps\[None\]"),
        (np.zeros((1, 3, 3)), np.full((1, 3, 3), 255, np.uint8), "mask 0 must be bool or 0/1, .* pass mask > 0"),
        (np.zeros((1, 2, 2), complex), np.zeros((1, 2, 2), bool), "map 0 must hold real numbers, got complex128"),
    ],
)
def test_bad_input_is_named(maps: np.ndarray, masks: np.ndarray, words: str) -> None:
    for function in (pixel_metrics, PixelMetrics().update, pro, aupimo):
        with pytest.raises(ValueError, match=words):
            function(maps, masks)


@pytest.mark.parametrize("limit", [0, -0.1, 1.1, math.nan])
def test_a_limit_that_is_no_rate_is_refused(limit: float) -> None:
    maps, masks = blobs(1)
    for call in (
        lambda: pro(maps, masks, limit),
        lambda: pixel_metrics(maps, masks, limit),
        lambda: PixelMetrics().compute(limit),
    ):
        with pytest.raises(ValueError, match=r"false positive rate in \(0, 1\]"):
            call()


@pytest.mark.parametrize("bounds", [(0, 0.1), (0.2, 0.1), (0.1, 2)])
def test_bounds_of_aupimo_that_are_no_rates_are_refused(bounds: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="0 < low < high <= 1"):
        aupimo(*blobs(2), bounds)


# ---------------------------------------------------------------- streaming


@settings(deadline=None, max_examples=150)
@given(images(), st.sampled_from([256, 300, 4096]), st.sampled_from([0.05, 0.3, 1.0]))
def test_the_exact_value_lies_within_the_bound(
    pair: tuple[list[np.ndarray], list[np.ndarray]], bins: int, limit: float
) -> None:
    maps, masks = pair
    stream = PixelMetrics(bins)
    for one, mask in zip(maps, masks, strict=True):
        stream.update([one], [mask])
    exact, got = pixel_metrics(maps, masks, limit), stream.compute(limit)
    for name in NAMES:
        assert abs(exact[name] - got[name]) <= got.bound[name] + 1e-12, name
    assert (stream.images, stream.regions) == (len(maps), sum(len(regions_of(mask)) for mask in masks))


@settings(deadline=None, max_examples=80)
@given(images())
def test_the_threshold_reaches_its_f1(pair: tuple[list[np.ndarray], list[np.ndarray]]) -> None:
    maps, masks = pair
    stream = PixelMetrics(256)
    stream.update(maps, masks)
    for got in (stream.compute(), pixel_metrics(maps, masks)):
        found = np.concatenate([(one >= got.threshold).ravel() for one in maps])
        marked = np.concatenate([mask.ravel() for mask in masks])
        assert 2 * (found & marked).sum() / (found.sum() + marked.sum()) == pytest.approx(got["f1_max"], abs=1e-12)


@settings(deadline=None, max_examples=80)
@given(images(), st.randoms(use_true_random=False))
def test_neither_order_nor_split_changes_the_counts(
    pair: tuple[list[np.ndarray], list[np.ndarray]], shuffler: object
) -> None:
    maps, masks = pair
    whole = PixelMetrics(256)
    whole.update(maps, masks)
    rows = list(zip(maps, masks, strict=True))
    shuffler.shuffle(rows)  # type: ignore[attr-defined]
    parts = []
    for one, mask in rows:
        parts.append(PixelMetrics(256))
        parts[-1].update([one], [mask])
    joined = PixelMetrics(256)
    for part in parts:
        assert joined.merge(pickle.loads(pickle.dumps(part))) is joined
    assert dict(joined.compute()) == pytest.approx(dict(whole.compute()), abs=1e-12)
    assert joined.compute().bound == pytest.approx(whole.compute().bound, abs=1e-12)
    assert joined.compute().threshold == whole.compute().threshold
    assert (joined._m, sorted(joined._octaves)) == (whole._m, sorted(whole._octaves))


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.one_of(st.floats(allow_nan=False), st.floats(allow_nan=False, width=32), st.just(-0.0)), min_size=2),
    st.sampled_from([np.float32, np.float64]),
)
def test_bins_keep_the_order_of_scores_and_begin_at_a_score(values: list[float], dtype: type) -> None:
    scores = (
        np.array(sorted(values)) if dtype is np.float64 else np.array(sorted(values)).clip(-3e38, 3e38).astype(dtype)
    )
    keys = _keys(scores)
    assert (np.diff(keys.astype(np.int64)) >= 0).all()
    edges = _scores_of(keys)
    assert (edges <= scores).all()
    if dtype is np.float32:
        np.testing.assert_array_equal(edges, scores)


def test_memory_does_not_grow_with_images_or_with_the_range() -> None:
    generator = np.random.default_rng(0)
    stream = PixelMetrics(256)
    for _ in range(20):
        maps = generator.normal(size=(1, 40, 40)) * 10.0 ** generator.integers(-38, 37, (1, 40, 40))
        stream.update(maps.astype(np.float32), maps > 1)
        assert len(stream._octaves) << stream._m <= len(stream._all) == 16 * 256
    assert stream._all.sum() == 20 * 1600
    assert len(stream._octaves) > 300


@pytest.mark.parametrize("kind", ["uniform", "normal", "probability", "skewed", "integer", "tiny"])
def test_streaming_is_within_a_ten_thousandth_of_exact(kind: str) -> None:
    maps, masks = blobs(12, 256)
    maps = {
        "uniform": maps,
        "normal": np.random.default_rng(3).normal(size=maps.shape) + masks,
        "probability": 1 / (1 + np.exp(10 - 12 * maps)),
        "skewed": np.exp(2 * np.random.default_rng(3).normal(size=maps.shape) + 4 * masks),
        "integer": (maps * 180).astype(np.uint8),
        "tiny": maps * 1e-20,
    }[kind]
    exact = pixel_metrics(maps, masks)
    stream = PixelMetrics()
    for start in range(0, 12, 5):
        stream.update(maps[start : start + 5], masks[start : start + 5])
    got = stream.compute()
    assert tuple(got) == NAMES
    for name in NAMES:
        assert abs(got[name] - exact[name]) < 1e-4, name
        assert abs(got[name] - exact[name]) <= got.bound[name] + 1e-12, name


def test_scores_that_fall_on_the_bins_are_exact() -> None:
    generator = np.random.default_rng(5)
    maps = generator.integers(0, 256, (4, 30, 30)).astype(np.uint8)
    masks = generator.random(maps.shape) < 0.1
    stream = PixelMetrics()
    stream.update(maps, masks)
    assert dict(stream.compute()) == pytest.approx(dict(pixel_metrics(maps, masks)), abs=1e-12)


def test_printing_shows_the_bound() -> None:
    stream = PixelMetrics()
    stream.update(*blobs())
    assert str(stream.compute()).startswith("auroc 0.")
    assert f"(off by at most {stream.compute().bound['pro']:.1e})" in str(stream.compute())


def test_a_refused_update_counts_nothing() -> None:
    maps, masks = blobs()
    stream = PixelMetrics()
    stream.update(maps, masks)
    before = stream.compute()
    with pytest.raises(ValueError, match="NaN"):
        stream.update([maps[0], np.full((2, 2), np.nan)], [masks[0], np.zeros((2, 2), bool)])
    assert (stream.compute(), stream.compute().bound) == (before, before.bound)


def test_merging_other_bins_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot merge 512 bins into 256: make both with the same bins"):
        PixelMetrics(256).merge(PixelMetrics(512))
    with pytest.raises(ValueError, match="bins must be at least 256, got 2"):
        PixelMetrics(2)


# ---------------------------------------------------------------- at one threshold


def test_iou_and_dice_count_what_the_threshold_finds() -> None:
    maps = np.array([[[0.9, 0.5, 0.1, 0.0]], [[0.9, 0.0, 0.0, 0.0]], [[0.0, 0.0, 0.0, 0.0]]])
    masks = np.array([[[1, 0, 1, 0]], [[1, 0, 0, 0]], [[0, 0, 0, 0]]], bool)
    assert iou(maps, masks, 0.5) == pytest.approx(2 / 4)
    assert dice(maps, masks, 0.5) == pytest.approx(4 / 6)
    assert iou(maps, masks, 0.5, average="images") == pytest.approx((1 / 3 + 1) / 2)  # the third has nothing to compare
    assert dice(maps, masks, 0.5, average="images") == pytest.approx((2 / 4 + 1) / 2)
    assert math.isnan(iou(maps[2:], masks[2:], 0.5))
    assert dice(maps[2:], masks[2:], -1) == 0
    with pytest.raises(ValueError, match="average must be 'pixels' or 'images', got 'mean'"):
        iou(maps, masks, 0.5, average="mean")  # type: ignore[arg-type]


def test_dice_at_the_best_threshold_is_f1_max() -> None:
    maps, masks = blobs()
    got = pixel_metrics(maps, masks)
    assert dice(maps, masks, got.threshold) == pytest.approx(got["f1_max"], abs=1e-12)
