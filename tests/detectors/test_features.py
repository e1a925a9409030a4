import numpy as np
import pytest

from looktwice.detectors.features import CELL, OCTAVES, filter_bank, neighbourhood

from .scenes import part

KINDS = 10  # per octave: tone, two colours, four edges, bright and dark lines, roughness
TONE = 0
STRUCTURE = slice(3, KINDS)


def by_kind(image):
    """(r, c, OCTAVES, KINDS) features."""
    features = filter_bank(image)
    return features.reshape(*features.shape[:2], OCTAVES, KINDS)


@pytest.mark.parametrize("size", [(64, 64), (1, 1), (5, 700), (33, 18), (4, 4), (97, 3)])
def test_there_is_one_row_of_features_per_cell(size):
    image = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8)
    features = filter_bank(image)
    assert features.shape == (-(-size[0] // CELL), -(-size[1] // CELL), OCTAVES * KINDS)
    assert features.dtype == np.float32
    assert np.isfinite(features).all()
    assert np.abs(features).max() <= 1


@pytest.mark.parametrize("grey", [0, 90, 255])
def test_a_constant_picture_has_no_structure(grey):
    features = by_kind(np.full((50, 70, 3), grey, np.uint8))
    # roughness is a root of a rounding error
    np.testing.assert_allclose(features[..., STRUCTURE], 0, atol=2e-3)
    np.testing.assert_allclose(features[..., 1:3], 0, atol=1e-6)
    np.testing.assert_allclose(features[:, :, :-1, TONE], 0, atol=1e-4)
    np.testing.assert_allclose(features[:, :, -1, TONE], grey / 255, atol=1e-5)


def test_brightness_moves_the_last_tone_alone():
    image = (part() // 2 + 40).astype(np.uint8)
    darker, lighter = by_kind(image), by_kind(image + np.uint8(30))
    moved = np.abs(lighter - darker).max((0, 1))
    assert moved[-1, TONE] == pytest.approx(30 / 255, abs=1e-4)
    moved[-1, TONE] = 0
    assert moved.max() < 2e-3


def test_a_colour_moves_the_colours_and_no_edge():
    image = np.full((64, 64, 3), 100, np.uint8)
    image[..., 0] += 30
    image[..., 1] -= 30
    features = by_kind(image)
    assert features[..., 1].min() == pytest.approx(30 / 255, abs=1e-5)
    np.testing.assert_allclose(features[..., STRUCTURE], 0, atol=2e-3)


def test_an_upright_and_a_level_edge_are_told_apart():
    image = np.zeros((64, 64, 3), np.uint8)
    image[:, 32:] = 200
    across, down = by_kind(image)[..., 0, 3].max(), by_kind(image)[..., 0, 4].max()
    assert across > 0.05
    assert down < 1e-6
    turned = by_kind(image.transpose(1, 0, 2))
    assert turned[..., 0, 4].max() == pytest.approx(across)
    assert turned[..., 0, 3].max() < 1e-6


def test_a_bright_line_is_a_dark_one_of_the_negative():
    image = np.full((64, 64, 3), 100, np.uint8)
    image[::4] = 180  # one row in each cell
    bright, dark = by_kind(image)[..., 0, 7], by_kind(200 - image)[..., 0, 7]
    assert bright.mean() == pytest.approx(40 / 255 / 4, rel=0.1)
    # the rows beside a bright line are a quarter as dark each
    assert by_kind(image)[..., 0, 8].mean() == pytest.approx(bright.mean(), rel=0.1)
    np.testing.assert_allclose(by_kind(200 - image)[..., 0, 8], bright, atol=1e-6)
    np.testing.assert_allclose(by_kind(image)[..., 0, 8], dark, atol=1e-6)


def test_a_change_is_felt_near_it_only():
    image = part(128)
    marked = image.copy()
    marked[:4, :4] = 255
    moved = np.abs(filter_bank(marked) - filter_bank(image)).max(-1)
    assert moved[0, 0] > 0.1
    assert moved[24:, 24:].max() < 1e-3


def test_a_neighbourhood_is_a_mean_over_cells():
    features = np.zeros((9, 9, 2), np.float32)
    features[4, 4] = 9
    around = neighbourhood(features, 3)
    np.testing.assert_allclose(around[3:6, 3:6], 1, rtol=1e-5)
    assert around.sum() == pytest.approx(18, rel=1e-5)
