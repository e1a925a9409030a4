"""Points of clouds, frames of videos, and means over classes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from looktwice.metrics import (
    class_means,
    frame_auroc,
    frame_average_precision,
    o_pro,
    point_auroc,
    point_average_precision,
    point_regions,
)


def clouds() -> tuple[list[np.ndarray], list[np.ndarray]]:
    generator = np.random.default_rng(0)
    masks = [generator.random(size) < 0.2 for size in (50, 80)] + [np.zeros(30, bool)]
    return [generator.normal(size=len(mask)) + mask for mask in masks], masks


def test_micro_pools_all_points_and_macro_averages_clouds_with_both_kinds() -> None:
    scores, masks = clouds()
    assert point_auroc(scores, masks) == pytest.approx(roc_auc_score(np.concatenate(masks), np.concatenate(scores)))
    each = [roc_auc_score(mask, values) for values, mask in zip(scores[:2], masks[:2], strict=True)]
    assert point_auroc(scores, masks, average="macro") == pytest.approx(np.mean(each))


def test_an_unseen_point_ranks_last_or_is_left_out_as_told() -> None:
    scores, masks = [np.array([0.2, np.nan, 0.9, 0.1])], [np.array([False, True, True, False])]
    assert point_auroc(scores, masks) == 0.5
    assert point_auroc(scores, masks, unseen="drop") == 1
    assert o_pro(scores, masks, limit=0.3) == pytest.approx(0.5)
    assert o_pro(scores, masks, limit=0.3, unseen="drop") == 1


def test_o_pro_weighs_every_region_alike() -> None:
    scores = np.r_[1.0, np.zeros(4), np.full(95, 0.5)]
    regions = np.r_[1, 2, 2, 2, 2, np.zeros(95, int)]
    assert o_pro([scores], [regions], limit=0.3) == pytest.approx(0.5)
    assert o_pro([scores], [regions > 0], limit=0.3) == pytest.approx(0.2)  # one object, one region
    assert o_pro([scores[:5], scores[5:]], [regions[:5], regions[5:]], limit=0.3) == pytest.approx(0.5)


def test_clouds_without_anomalies_are_undefined() -> None:
    for value in (
        point_auroc([], []),
        point_auroc([np.zeros(3)], [np.zeros(3, bool)], average="macro"),
        o_pro([], []),
        o_pro([np.zeros(3)], [np.zeros(3, bool)]),
    ):
        assert math.isnan(value)


def test_regions_of_points_are_numbered_in_order_whatever_the_distance_chain() -> None:
    points = np.array([[x, 0, 0] for x in (9, 0, 1, 2, 5, 10)], float)
    mask = np.array([True, True, True, True, False, True])
    assert point_regions(points, mask, radius=1.0).tolist() == [1, 2, 2, 2, 0, 1]
    assert point_regions(points, np.zeros(6, bool), radius=1.0).tolist() == [0] * 6
    with pytest.raises(ValueError, match="radius must be above 0"):
        point_regions(points, mask, radius=0)
    with pytest.raises(ValueError, match="6 points have a mask of 2"):
        point_regions(points, mask[:2], radius=1)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (([np.zeros(2)], []), "1 clouds of scores have 0 of truth"),
        (([np.zeros(2)], [np.zeros(3, bool)]), r"cloud 0 has scores \(2,\) and truth \(3,\)"),
        (([np.zeros(2)], [np.zeros(2, bool)], "mean"), "average must be 'micro' or 'macro'"),
        (([np.zeros(2)], [np.zeros(2, bool)], "micro", "zero"), "unseen must be 'lowest' or 'drop'"),
    ],
)
def test_bad_clouds_are_named(arguments: tuple[object, ...], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        point_auroc(*arguments)  # type: ignore[arg-type]


def test_regions_must_be_whole_numbers_from_zero() -> None:
    for regions in (np.array([0.5, 0]), np.array([-1, 0])):
        with pytest.raises(ValueError, match="regions of cloud 0 must be bool or whole numbers from 0"):
            o_pro([np.zeros(2)], [regions])


def test_micro_and_macro_frame_auroc_differ_and_follow_their_definitions() -> None:
    scores = [np.array([0, 1, 2.0]), np.array([10.0, 11.0, 12.0]), np.array([0.5, 0.75])]
    labels = [np.array([0, 0, 1]), np.array([0, 1, 1]), np.array([0, 0])]
    assert frame_auroc(scores, labels, average="macro") == 1
    assert frame_auroc(scores, labels, average="micro") == pytest.approx(
        roc_auc_score(np.concatenate(labels), np.concatenate(scores))
    )
    assert frame_auroc(scores, labels, average="micro", normalise=True) == pytest.approx(
        roc_auc_score([0, 0, 1, 0, 1, 1, 0, 0], [0, 0.5, 1, 0, 0.5, 1, 0, 1])
    )


def test_undefined_and_bad_videos_are_defined_and_named() -> None:
    assert math.isnan(frame_auroc([], [], average="micro"))
    assert math.isnan(frame_auroc([np.zeros(2)], [np.zeros(2, bool)], average="macro"))
    assert frame_auroc([np.full(3, 0.2)], [np.array([0, 1, 0])], average="micro", normalise=True) == 0.5
    for arguments, words in (
        (([np.zeros(2)], [np.zeros(3, bool)]), r"video 0 has scores \(2,\) and labels \(3,\)"),
        (([np.array([np.nan])], [np.array([True])]), "video 0 holds 1 NaN"),
        (([np.zeros(2)], []), "1 videos of scores have 0 of labels"),
    ):
        with pytest.raises(ValueError, match=words):
            frame_auroc(*arguments, average="micro")
    with pytest.raises(ValueError, match="average must be 'micro' or 'macro'"):
        frame_auroc([], [], average="mean")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="video 0 holds infinite scores"):
        frame_auroc([np.array([np.inf, 0])], [np.array([1, 0])], average="micro", normalise=True)


def test_class_means_weigh_classes_alike_and_say_who_is_missing() -> None:
    got = class_means({"bottle": {"auroc": 1.0, "pro": math.nan}, "cable": {"auroc": 0.5, "pro": 0.25}})
    assert got.mean == {"auroc": 0.75, "pro": 0.25}
    assert got.left_out == {"auroc": (), "pro": ("bottle",)}
    assert math.isnan(class_means({"bottle": {"pro": math.nan}}).mean["pro"])
    assert class_means({}).mean == {}
    with pytest.raises(ValueError, match=r"class 'b' has the metrics \['ap'\], the first class \['auroc'\]"):
        class_means({"a": {"auroc": 1.0}, "b": {"ap": 1.0}})


def test_average_precision_of_points_and_frames_pools_them_all() -> None:
    scores, masks = clouds()
    wanted = average_precision_score(np.concatenate(masks), np.concatenate(scores))
    assert point_average_precision(scores, masks) == pytest.approx(wanted, abs=1e-12)
    assert frame_average_precision(scores, masks) == pytest.approx(wanted, abs=1e-12)
    unseen = [np.array([0.2, np.nan, 0.9, 0.1])], [np.array([False, True, True, False])]
    assert point_average_precision(*unseen) == pytest.approx(0.75)  # the unseen point is the last of four
    assert point_average_precision(*unseen, unseen="drop") == 1
    for metric in (point_average_precision, frame_average_precision):
        assert math.isnan(metric([], []))
        assert math.isnan(metric([np.zeros(3)], [np.zeros(3, bool)]))
        with pytest.raises(ValueError, match=r"1 .* of scores have 0 of"):
            metric([np.zeros(3)], [])
