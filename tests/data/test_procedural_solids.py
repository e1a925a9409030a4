"""Made clouds: points on the surface, labels where the surface changed."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import cKDTree

from looktwice.data.procedural import CLOUD_DEFECTS, SOLIDS, cloud_family, solids
from looktwice.data.procedural.surfaces import cells, found_cells
from looktwice.errors import UnknownName, UsageError

POINTS = 4_000


def unmoved(made, index, points):
    """The good cloud before noise and pose."""
    return made._scanned(index, points)


@pytest.mark.parametrize("category", SOLIDS)
def test_a_good_scan_lies_on_the_surface_and_is_the_same_again(category):
    made = cloud_family(category, 1)
    cloud = unmoved(made, 0, POINTS)
    assert np.abs(made.solid.distance()(cloud)).max() < solids.OFF
    half = np.array(made.solid.half) + solids.MARGIN
    assert (np.abs(cloud) <= half).all()
    scene = made.good(0, POINTS)
    assert scene.points.shape == (POINTS, 3)
    assert not scene.labels.any()
    assert np.array_equal(scene.points, solids.CloudFamily(category, 1).good(0, POINTS).points)
    assert not np.array_equal(scene.points, made.good(1, POINTS).points)


@pytest.mark.parametrize("category", SOLIDS)
def test_only_labelled_rows_lie_off_the_good_surface(category):
    made = cloud_family(category, 2)
    for index, name in enumerate(made.defects[:: 1 if category == "flange" else 3]):
        twin, bad = made.good(index, POINTS), made.defective(index, name, points=POINTS)
        assert bad.labels.sum() >= solids.FEWEST
        assert bad.labels.mean() < 0.6
        same = (twin.points == bad.points).all(1)
        assert not (same & bad.labels).any()
        assert bad.defect_type == name
        # laid back into the pose of the scanner's table, unlabelled points lie on the good surface
        moved = cKDTree(twin.points).query(bad.points[~bad.labels])[0]
        assert np.quantile(moved, 0.99) < 6.0


def test_a_dent_goes_in_and_a_bump_comes_out():
    made = cloud_family("shaft", 3)
    cloud = unmoved(made, 0, POINTS)
    good = made.solid.distance()
    for name, sign in (("dent", -1), ("blister", 1)):
        changed, _ = CLOUD_DEFECTS[name](made.solid, cloud, 1.0, np.random.default_rng(0))
        bad, labels = made._resampled(cloud, changed, np.random.default_rng(1))
        assert labels.any()
        assert (sign * good(bad[labels]) > 0.1).mean() > 0.95
        assert np.abs(good(bad[~labels])).max() < 0.3


def test_a_defect_is_sampled_as_densely_as_the_rest():
    made = cloud_family("brick", 1)
    cloud = unmoved(made, 0, 20_000)
    changed, _ = CLOUD_DEFECTS["dent"](made.solid, cloud, 1.0, np.random.default_rng(4))
    bad, labels = made._resampled(cloud, changed, np.random.default_rng(1))
    tree = cKDTree(bad)
    near = tree.query(bad, 7)[0][:, -1]
    assert np.median(near[labels]) == pytest.approx(np.median(near[~labels]), rel=0.25)


def test_a_stronger_dent_is_deeper():
    made = cloud_family("potato", 1)
    cloud = unmoved(made, 0, POINTS)
    good = made.solid.distance()

    def depth(strength):
        changed, _ = CLOUD_DEFECTS["dent"](made.solid, cloud, strength, np.random.default_rng(2))
        return np.abs(good(made._resampled(cloud, changed, np.random.default_rng(3))[0])).max()

    assert depth(1.0) > 1.5 * depth(0.2)


def test_the_place_in_words_agrees_with_the_labels():
    points = np.random.default_rng(0).uniform(-1, 1, (3000, 3))
    assert solids.place_in(points, points[:, 2] > 0.9) == "top centre"
    assert solids.place_in(points, (points > 0.5).all(1)) == "top back right"
    assert solids.place_in(points, (points < -0.5).all(1)) == "bottom front left"
    assert solids.place_in(points, np.zeros(3000, bool)) == ""
    scene = cloud_family("flange", 1).defective(0, "dent", points=POINTS)
    assert scene.words.where in scene.words.description
    assert "flange" in scene.words.description
    assert scene.words.recommendation


def test_cells_are_found_from_coarse_to_fine_as_one_by_one():
    made = cloud_family("wheel", 1)
    half = np.array(made.solid.half) + solids.MARGIN
    high = np.ceil(2 * half / 5) * 5 - half  # the coarse grid ends there
    slow, quick = cells(made.solid.distance(), -half, high), found_cells(made.solid.distance(), half)
    assert {tuple(np.round(c, 6)) for c in slow} == {tuple(np.round(c, 6)) for c in quick}


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: cloud_family("flang", 0), UnknownName, "Unknown category of clouds 'flang'. Did you mean 'flange'"),
        (lambda: cloud_family("flange", -1), UsageError, "seed must be a whole number of at least 0, got -1"),
        (lambda: cloud_family("flange", 0).good(0, 10), UsageError, "points must be 2,000 to 5,000,000, got 10"),
        (lambda: cloud_family("flange", 0).defective(0, "dint"), UnknownName, "'dint'. Did you mean 'dent'"),
        (lambda: cloud_family("flange", 0).defective(0, "dent", 2), UsageError, "strength must be 0 to 1, got 2"),
        (lambda: cloud_family("potato", 0).defective(0, "missing_part"), UnknownName, "Unknown defect of a potato"),
    ],
)
def test_bad_arguments_are_named_with_what_is_allowed(make, error, words):
    with pytest.raises(error) as caught:
        make()
    assert words in str(caught.value)
