import numpy as np
import pytest

from looktwice.detectors.alignment import align, map_to_picture, warp_to_picture, warp_to_reference
from looktwice.detectors.memory import MemoryConfig

from .scenes import noise_texture, part, seen_again, warped

REGISTERED = MemoryConfig().register_above


@pytest.mark.parametrize(
    ("shift", "turn", "scale"),
    [
        ((0, 0), 0, 1),
        ((3, -2), 0, 1),
        ((0.5, 0.25), 0, 1),
        ((-7, 5), 0, 1),
        ((14, 9), 0, 1),
        ((0, 0), 2, 1),
        ((0, 0), -4, 1),
        ((0, 0), 0, 1.04),
        ((0, 0), 0, 0.96),
        ((4, -3), 3, 1.03),
        ((-5, 6), -2.5, 0.97),
    ],
)
@pytest.mark.parametrize("seed", [0, 1])
def test_a_known_transform_is_recovered(shift, turn, scale, seed):
    reference = part(128, seed)
    picture = warped(reference, shift, turn, scale)
    found = align(picture, reference)
    assert np.hypot(found.shift[0] - shift[0], found.shift[1] - shift[1]) < 0.5
    assert abs(found.turn - turn) < 0.2
    assert abs(found.scale - scale) < 0.005
    assert found.correlation > 0.97
    assert found.correlation >= found.before


@pytest.mark.parametrize("size", [(256, 384), (512, 300)])
def test_pictures_larger_than_the_working_size_are_in_their_own_pixels(size):
    reference = part(512, 2)[: size[0], : size[1]]
    found = align(warped(reference, (9, -6), 1.5), reference)
    assert np.hypot(found.shift[0] - 9, found.shift[1] + 6) < 0.5
    assert abs(found.turn - 1.5) < 0.2


def test_light_and_noise_do_not_mislead():
    reference = part(128)
    found = align(seen_again(reference, (2, -3), light=1.15, noise=6), reference)
    # what lay at (y, x) now lies at (y + 2, x - 3)
    assert np.hypot(found.shift[0] - 3, found.shift[1] + 2) < 0.5
    assert abs(found.turn) < 0.2


def test_a_defect_does_not_pull():
    reference = part(128)
    picture = warped(reference, (4, 2))
    picture[30:60, 40:80] = 250
    found = align(picture, reference)
    assert np.hypot(found.shift[0] - 4, found.shift[1] - 2) < 0.5


@pytest.mark.parametrize("seed", range(4))
def test_unrelated_pictures_do_not_count_as_registered(seed):
    assert align(noise_texture(128, seed), noise_texture(128, seed + 50)).correlation < REGISTERED
    assert align(part(128, seed), part(128, seed + 50)).correlation < REGISTERED


def test_flat_pictures_have_nothing_to_register():
    flat = np.full((64, 64, 3), 120, np.uint8)
    for one, other in ((flat, flat), (flat, part(64)), (part(64), flat)):
        found = align(one, other)
        assert (found.shift, found.turn, found.scale, found.correlation) == ((0, 0), 0, 1, 0)


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (5, 700), (3, 3)])
def test_the_smallest_pictures_are_no_trouble(size):
    one = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8)
    found = align(one, one)
    assert found.shift == (0, 0)
    assert found.turn == 0
    assert -1 <= found.correlation <= 1


def test_sizes_that_differ_are_refused():
    with pytest.raises(ValueError, match=r"one size, got \(64, 64, 3\) and \(64, 65, 3\)"):
        align(np.zeros((64, 64, 3), np.uint8), np.zeros((64, 65, 3), np.uint8))


def test_warps_lead_there_and_back():
    reference = part(128)
    picture = warped(reference, (5, -4), 2, 1.02)
    found = align(picture, reference)
    there, inside = warp_to_reference(picture, found)
    back, reached = warp_to_picture(reference, found)
    assert 0.8 < inside.mean() < 1
    assert 0.8 < reached.mean() < 1
    core = np.s_[12:-12, 12:-12]
    assert np.abs(there[core].astype(int) - reference[core]).mean() < 3
    assert np.abs(back[core].astype(int) - picture[core]).mean() < 3


def test_a_map_follows_the_picture():
    reference = part(128)
    found = align(warped(reference, (6, -4)), reference)
    values = np.zeros((128, 128), np.float32)
    values[60, 70] = 1
    carried = map_to_picture(values, found)
    assert np.abs(np.array(np.unravel_index(carried.argmax(), carried.shape)) - (64, 64)).max() <= 1


def test_the_words_say_all_of_it():
    reference = part(128)
    words = align(warped(reference, (3, -2)), reference).words()
    assert words.startswith("shift (+3.0, -2.0) px, turn ")
    assert ("scale 1.00" in words and "correlation 0.9" in words) or "correlation 1.0" in words
