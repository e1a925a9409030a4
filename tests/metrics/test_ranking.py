"""AUROC, average precision and F1-max against scikit-learn and against versions that spell the definition out."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from looktwice.metrics import auroc, average_precision, f1_max

TIED = st.sampled_from([-3.0, -0.5, -0.0, 0.0, 0.25, 0.5, 1.0, 1e30])  # few values: most scores are ties
FREE = st.floats(-1e6, 1e6, width=32)


@st.composite
def scored(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    size = draw(st.integers(2, 60))
    values = draw(st.sampled_from([TIED, FREE]))
    scores = np.array(draw(st.lists(values, min_size=size, max_size=size)))
    labels = np.array(draw(st.lists(st.booleans(), min_size=size, max_size=size)))
    labels[0], labels[1] = True, False
    return scores.astype(draw(st.sampled_from([np.float32, np.float64]))), labels


@settings(deadline=None, max_examples=150)
@given(scored())
def test_auroc_and_ap_equal_scikit_learn_with_ties(pair: tuple[np.ndarray, np.ndarray]) -> None:
    scores, labels = pair
    assert auroc(scores, labels) == pytest.approx(roc_auc_score(labels, scores), abs=1e-9)
    assert average_precision(scores, labels) == pytest.approx(average_precision_score(labels, scores), abs=1e-9)


@settings(deadline=None, max_examples=80)
@given(scored())
def test_f1_max_is_the_best_f1_of_any_threshold_and_its_threshold_reaches_it(
    pair: tuple[np.ndarray, np.ndarray],
) -> None:
    scores, labels = pair
    best, threshold = f1_max(scores, labels)
    every = {float(t): f1_score(labels, scores >= t) for t in np.unique(scores)}
    assert best == pytest.approx(max(every.values()), abs=1e-12)
    assert f1_score(labels, scores >= threshold) == pytest.approx(best, abs=1e-12)
    assert threshold == max(t for t, f1 in every.items() if f1 >= best - 1e-12)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.sampled_from([-math.inf, -1.0, 0.0, 2.0, math.inf]), st.booleans()), min_size=1))
def test_infinite_scores_rank_as_the_lowest_and_the_highest(rows: list[tuple[float, bool]]) -> None:
    scores, labels = (np.array(column) for column in zip(*rows, strict=True))
    finite = np.clip(scores, -9, 9)
    for metric in (auroc, average_precision):
        np.testing.assert_equal(metric(scores, labels), metric(finite, labels))
    np.testing.assert_equal(f1_max(scores, labels)[0], f1_max(finite, labels)[0])


def test_a_million_scores_equal_scikit_learn() -> None:
    generator = np.random.default_rng(1)
    scores = generator.normal(size=1_000_000).astype(np.float32).round(3)
    labels = generator.random(1_000_000) < 0.02
    scores[labels] += 1
    assert auroc(scores, labels) == pytest.approx(roc_auc_score(labels, scores), abs=1e-9)
    assert average_precision(scores, labels) == pytest.approx(average_precision_score(labels, scores), abs=1e-9)


def test_equal_scores_are_worth_a_coin_toss() -> None:
    scores, labels = np.full(10, 0.3), np.arange(10) < 3
    assert auroc(scores, labels) == 0.5
    assert average_precision(scores, labels) == pytest.approx(0.3)
    assert f1_max(scores, labels) == (pytest.approx(2 * 3 / 13), 0.3)


@pytest.mark.parametrize("size", [0, 3])
def test_without_an_anomalous_item_everything_is_undefined(size: int) -> None:
    scores, labels = np.arange(size) / 10, np.zeros(size, bool)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert math.isnan(auroc(scores, labels))
        assert math.isnan(average_precision(scores, labels))
        assert all(map(math.isnan, f1_max(scores, labels)))


def test_without_a_normal_item_only_auroc_is_undefined() -> None:
    scores, labels = np.array([0.1, 0.4]), np.ones(2, bool)
    assert math.isnan(auroc(scores, labels))
    assert average_precision(scores, labels) == 1
    assert f1_max(scores, labels) == (1, 0.1)


def test_whole_numbers_half_floats_and_0_1_labels_are_taken() -> None:
    assert auroc([1, 2, 3], [0, 1, 1]) == 1
    assert auroc(np.array([1, 2, 3], np.float16), np.array([0, 1, 0], np.uint8)) == 0.5
    assert auroc(np.array([[1.0, 2.0], [3.0, 0.0]]), np.array([[0, 1], [1, 0]])) == 1


@pytest.mark.parametrize(
    ("scores", "labels", "words"),
    [
        (
            [0.1, math.nan, 0.2],
            [0, 1, 1],
            "scores holds 1 NaN of 3 scores: a NaN has no rank, so",
        ),
        ([0.1, 0.2], [0, 255], "labels must be bool or 0/1, got int64 with other values: pass labels > 0"),
        ([0.1, 0.2], [0], r"scores are \(2,\), labels \(1,\): they must have one shape"),
        (["a", "b"], [0, 1], "scores must hold real numbers, got <U1"),
    ],
)
def test_bad_input_is_named(scores: list[object], labels: list[int], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        auroc(scores, labels)  # type: ignore[arg-type]
