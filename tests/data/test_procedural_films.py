"""Made videos: a rhythm that is kept, and labels on the frames where it is broken."""

from __future__ import annotations

import numpy as np
import pytest

from looktwice.data.procedural import FILMS, film_family
from looktwice.data.procedural.films import FilmFamily
from looktwice.errors import UnknownName, UsageError

SHORT = {"seconds": 4.0, "fps": 10, "size": (64, 96)}
CASES = [(category, defect) for category in FILMS for defect in film_family(category, 0).defects]


@pytest.mark.parametrize("category", FILMS)
def test_a_good_run_has_no_label_and_is_the_same_again(category):
    made = film_family(category, 1)
    first = made.good(0, **SHORT)
    assert first.frames.shape == (40, 64, 96, 3)
    assert first.frames.dtype == np.uint8
    assert first.labels.shape == (40,)
    assert first.masks.shape == (40, 64, 96)
    assert not first.labels.any()
    assert not first.masks.any()
    assert first.interval is None
    assert np.array_equal(first.frames, FilmFamily(category, 1).good(0, **SHORT).frames)
    assert not np.array_equal(first.frames, made.good(1, **SHORT).frames)
    assert np.abs(np.diff(first.frames.astype(int), axis=0)).mean() > 0.5  # something moves


@pytest.mark.parametrize(("category", "defect"), CASES)
def test_a_defective_run_is_labelled_where_it_differs(category, defect):
    made = film_family(category, 2)
    good, bad = made.good(0, **SHORT), made.defective(0, defect, **SHORT)
    assert bad.defect_type == defect
    assert 2 < bad.labels.sum() < 40
    assert bad.labels[bad.masks.any((1, 2))].all()
    if defect in ("stoppage", "reversal"):
        before = slice(0, int(np.flatnonzero(bad.labels)[0]))
        assert np.array_equal(good.frames[before], bad.frames[before])
        return
    assert np.array_equal(good.frames[~bad.masks], bad.frames[~bad.masks])
    change = np.abs(good.frames.astype(int) - bad.frames).max(3)[bad.masks]
    assert np.median(change) > 8


@pytest.mark.parametrize("category", FILMS)
def test_nothing_moves_while_it_stands_still(category):
    made = film_family(category, 3)
    run = made.defective(0, "stoppage", 1.0, **SHORT)
    step = np.abs(np.diff(run.frames.astype(float), axis=0)).mean((1, 2, 3))
    still = run.labels[1:] & run.labels[:-1]
    assert step[still].max() < np.quantile(step[~still], 0.9)
    noise = np.abs(np.diff(run.frames[:, :4].astype(float), axis=0)).mean()
    assert step[still].mean() < 4 * noise + 3


def test_a_reversal_shows_earlier_frames_again():
    made = film_family("conveyor", 4)
    run = made.defective(0, "reversal", 1.0, **SHORT)
    at = np.flatnonzero(run.labels)
    late = run.frames[at[-1]].astype(float)
    earlier = np.abs(run.frames[: at[0]].astype(float) - late).mean((1, 2, 3))
    assert earlier.min() < np.abs(run.frames[at[0]].astype(float) - late).mean()


def test_words_name_the_seconds():
    run = film_family("conveyor", 1).defective(0, "missing_part", **SHORT)
    first, last = run.interval
    assert f"from {first:.1f} s to {last:.1f} s" in run.words.description
    assert run.words.impact
    assert film_family("conveyor", 1).good(0, **SHORT).words.impact == ""


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: film_family("conveyer", 0), UnknownName, "'conveyer'. Did you mean 'conveyor'"),
        (lambda: film_family("press", 0).defective(0, "reversal"), UnknownName, "Unknown defect of a press 'reversal'"),
        (lambda: film_family("press", 0).good(-1), UsageError, "index must be a whole number of at least 0, got -1"),
        (lambda: film_family("press", 0).good(0, 1.0), UsageError, "2 to 60 seconds and 4 to 60 frames per second"),
        (lambda: film_family("press", 0).good(0, size=(63, 64)), UsageError, "must be even and 64 to 512 pixels"),
        (lambda: film_family("press", 0).defective(0, None, -1.0), UsageError, "strength must be 0 to 1, got -1.0"),
    ],
)
def test_bad_arguments_are_named_with_what_is_allowed(make, error, words):
    with pytest.raises(error) as caught:
        make()
    assert words in str(caught.value)
