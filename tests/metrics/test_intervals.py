"""Bootstrap: intervals that cover as often as they say, and comparisons that call noise noise."""

from __future__ import annotations

import math

import numpy as np
import pytest

from looktwice.metrics import auroc, bootstrap, f1_max, paired_bootstrap


def test_an_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    covered = 0
    for seed in range(200):
        got = bootstrap(generator.normal(size=60), np.mean, resamples=200, level=0.9, seed=seed)
        covered += got.low <= 0 <= got.high
    assert 0.83 <= covered / 200 <= 0.96


def test_two_systems_of_one_kind_are_rarely_called_different() -> None:
    generator = np.random.default_rng(1)
    calls = [
        paired_bootstrap(*generator.normal(size=(2, 60)), resamples=200, seed=seed).significant for seed in range(150)
    ]
    assert sum(calls) / len(calls) <= 0.11


def test_a_small_but_steady_lead_is_seen_because_the_items_are_paired() -> None:
    generator = np.random.default_rng(2)
    hardness = generator.normal(size=80)
    better = hardness + 0.1 + 0.05 * generator.normal(size=80)
    got = paired_bootstrap(better, hardness)
    assert got.significant
    assert got.low > 0
    assert got.p_value < 0.01
    assert got.difference == pytest.approx(got.a - got.b)
    back = paired_bootstrap(hardness, better)
    assert (back.low, back.high) == pytest.approx((-got.high, -got.low))
    assert back.p_value == got.p_value


def test_the_same_systems_do_not_differ() -> None:
    scores = np.random.default_rng(3).random(20)
    got = paired_bootstrap(scores, scores)
    assert (got.difference, got.low, got.high, got.p_value, got.significant) == (0, 0, 0, 1, False)


def test_auroc_is_drawn_within_each_class_so_that_no_draw_is_undefined() -> None:
    labels = np.r_[np.ones(2, bool), np.zeros(30, bool)]
    scores = np.random.default_rng(4).random(32) + labels
    got = bootstrap(scores, auroc, labels, resamples=300)
    assert got.undefined == 0
    assert got.value == auroc(scores, labels)
    assert got.low <= got.value <= got.high <= 1
    assert paired_bootstrap(scores, -scores, auroc, labels, resamples=200).significant


def test_undefined_draws_are_left_out_and_counted() -> None:
    values = np.r_[np.full(3, np.nan), 1.0]
    got = bootstrap(values, lambda v: float(v[0]), resamples=400)
    assert 200 < got.undefined < 400
    assert (got.low, got.high) == (1, 1)
    empty = bootstrap([math.nan], lambda v: float(v[0]), resamples=5)
    assert math.isnan(empty.low)
    assert empty.undefined == 5
    assert math.isnan(paired_bootstrap([math.nan], [1.0], lambda v: float(v[0]), resamples=5).p_value)


def test_the_same_seed_gives_the_same_interval() -> None:
    scores = np.random.default_rng(5).random(30)
    assert bootstrap(scores, np.mean, seed=7) == bootstrap(scores, np.mean, seed=7)
    assert bootstrap(scores, np.mean, seed=7) != bootstrap(scores, np.mean, seed=8)


def test_bad_input_is_named() -> None:
    for call, words in (
        (lambda: bootstrap([], np.mean), "at least one item"),
        (lambda: bootstrap([1.0], np.mean, level=1.0), r"level must lie in \(0, 1\)"),
        (lambda: bootstrap([1.0], np.mean, resamples=0), "resamples be at least 1"),
        (lambda: bootstrap([1.0, 2.0], auroc, [1]), r"2 items have labels of shape \(1,\)"),
        (lambda: bootstrap([1.0, 2.0], f1_max, [1, 0]), "metric must return one number, got .*: wrap it"),
        (
            lambda: paired_bootstrap([1.0, 2.0], [1.0]),
            "a has 2 items, b has 1: a paired comparison needs",
        ),
    ):
        with pytest.raises(ValueError, match=words):
            call()
