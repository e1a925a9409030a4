import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from looktwice.errors import UsageError
from looktwice.records import Region
from looktwice.report.overlay import ALPHAS, COLORS, blend, draw_regions, heat_colors, levels


def lightness(colors: np.ndarray) -> np.ndarray:
    """CIE L* of (..., 3) uint8 sRGB."""
    c = colors / 255
    linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    y = linear @ [0.2126, 0.7152, 0.0722]
    return np.where(y > 0.008856, 116 * np.cbrt(y) - 16, 903.3 * y)


def region(box: tuple[int, int, int, int] | None) -> Region:
    return Region(score=0.9, words="", where="", box=box)


def test_heat_colours_grow_lighter_with_the_score_in_even_steps() -> None:
    steps = np.diff(lightness(heat_colors(np.linspace(0, 1, 21)[None])[0]))
    assert (steps > 0).all()
    assert steps.max() < 2 * steps.min()


def test_heat_colours_grow_lighter_for_those_who_see_no_red() -> None:
    # Protanopia as of Vienot, Brettel and Mollon (1999), in linear RGB
    linear = (COLORS[::16] / 255) ** 2.2
    seen = linear @ np.array([[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]]).T
    assert (np.diff(seen @ [0.2126, 0.7152, 0.0722]) > 0).all()


@given(score=st.floats(0, 1))
@settings(deadline=None, max_examples=30)
def test_a_score_and_its_colour_differ_by_half_a_level_at_most(score: float) -> None:
    assert abs(int(levels(np.array([[score]]))[0, 0]) - 255 * score) <= 0.5 + 1e-4


def test_blend_leaves_normal_areas_exactly_as_they_are() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (300, 20, 3), dtype=np.uint8)
    anomaly_map = np.zeros((300, 20), np.float32)
    anomaly_map[280:, :10] = 0.9
    mixed = blend(pixels, anomaly_map)
    np.testing.assert_array_equal(mixed[:280], pixels[:280])
    np.testing.assert_array_equal(mixed[280:, 10:], pixels[280:, 10:])
    assert (mixed[280:, :10] != pixels[280:, :10]).any(2).all()


def test_blend_agrees_with_the_slow_version() -> None:
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 256, (40, 30, 3), dtype=np.uint8)
    anomaly_map = rng.random((40, 30), dtype=np.float32)
    level = np.round(anomaly_map * 255).astype(int)
    alpha = (ALPHAS[level] * 0.7)[..., None]
    slow = pixels * (1 - alpha) + COLORS[level] * alpha
    assert np.abs(blend(pixels, anomaly_map, 0.7) - slow).max() < 2


def test_blend_shows_more_heat_where_the_score_is_higher() -> None:
    grey = np.full((1, 256, 3), 128, np.uint8)
    ramp = np.linspace(0, 1, 256, dtype=np.float32)[None]
    assert (np.diff(ALPHAS) >= 0).all()
    np.testing.assert_array_equal(blend(grey, ramp, 0.0), grey)
    np.testing.assert_array_equal(blend(grey, np.ones_like(ramp), 1.0), np.broadcast_to(COLORS[255], grey.shape))


@pytest.mark.parametrize(
    ("anomaly_map", "strength", "words"),
    [
        (np.zeros((4, 5)), 0.5, "the map is (4, 5), its picture (5, 4): resize it first"),
        (np.full((5, 4), 1.5), 0.5, "must lie in [0, 1], got 1.5 to 1.5"),
        (np.full((5, 4), np.nan), 0.5, "must lie in [0, 1], got nan"),
        (np.zeros((5, 4)), 1.5, "strength must lie in [0, 1], got 1.5"),
    ],
)
def test_blend_names_what_it_cannot_use(anomaly_map: np.ndarray, strength: float, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        blend(np.zeros((5, 4, 3), np.uint8), anomaly_map, strength)
    assert words in str(caught.value)


def test_blend_names_pixels_that_are_none() -> None:
    with pytest.raises(UsageError, match="pixels must be"):
        blend(np.zeros((5, 4), np.uint8), np.zeros((5, 4)))


@pytest.mark.parametrize("ground", [0, 128, 255])
def test_boxes_stand_out_on_any_ground(ground: int) -> None:
    pixels = np.full((200, 300, 3), ground, np.uint8)
    drawn = draw_regions(pixels, [region((60, 80, 160, 150))])
    edge = drawn[76:84, 110]
    assert edge.max() == 255
    assert edge.min() == 0
    np.testing.assert_array_equal(drawn[100:140, 70:150], pixels[100:140, 70:150])  # what was found stays visible
    assert (pixels == ground).all()


def test_boxes_are_scaled_to_the_picture() -> None:
    pixels = np.full((100, 100, 3), 128, np.uint8)
    changed = (draw_regions(pixels, [region((400, 600, 800, 900))], (0.1, 0.1)) != 128).any(2)
    rows, columns = np.nonzero(changed.any(1))[0], np.nonzero(changed[70:].any(0))[0]
    assert rows.max() in range(89, 93)
    assert columns.min() in range(37, 41)
    assert columns.max() in range(79, 83)


def test_a_region_without_a_box_keeps_its_number() -> None:
    pixels = np.full((100, 100, 3), 128, np.uint8)
    box = (20, 40, 60, 80)
    np.testing.assert_array_equal(draw_regions(pixels, [region(None)]), pixels)
    one, two = draw_regions(pixels, [region(box)]), draw_regions(pixels, [region(None), region(box)])
    assert (one != two).any()  # a 2 is written, not a 1


@given(
    box=st.tuples(st.integers(-50, 300), st.integers(-50, 300), st.integers(-50, 300), st.integers(-50, 300)),
    size=st.tuples(st.integers(1, 60), st.integers(1, 60)),
)
@settings(deadline=None, max_examples=40)
def test_any_box_can_be_drawn_on_any_picture(box: tuple[int, int, int, int], size: tuple[int, int]) -> None:
    pixels = np.zeros((*size, 3), np.uint8)
    assert draw_regions(pixels, [region(box)], (0.5, 0.5)).shape == pixels.shape


def test_four_megapixels_are_blended_and_drawn_quickly() -> None:
    pixels = np.zeros((2000, 2000, 3), np.uint8)
    anomaly_map = np.full((2000, 2000), 0.5, np.float32)
    best = np.inf
    for _ in range(3):
        start = time.perf_counter()
        draw_regions(blend(pixels, anomaly_map), [region((100, 100, 400, 400))] * 10)
        best = min(best, time.perf_counter() - start)
    assert best < 2.0  # 0.15 s on two idle cores
