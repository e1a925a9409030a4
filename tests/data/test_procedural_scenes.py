"""Made pictures of families of parts: deterministic, masked exactly, defects only where they can be."""

from __future__ import annotations

import pickle
import re
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest

from looktwice.data.procedural import (
    CATEGORIES,
    CLOUD_DEFECTS,
    FILM_DEFECTS,
    FILMS,
    HELD_OUT,
    LEVELS,
    NEAR_MISSES,
    SOLIDS,
    family,
    scenes,
    stream,
)
from looktwice.data.procedural.canvas import Canvas, Pose, Shot, cells
from looktwice.data.procedural.edits import SUFFERS
from looktwice.data.procedural.flaws import ALL, FLAWS
from looktwice.data.procedural.phrases import KINDS
from looktwice.errors import UnknownName, UsageError

SIZE = 96
DEFECTS = sorted({*FLAWS, *SUFFERS.values(), "broken_edge", "deformation", "extra_part"})


def test_there_are_enough_categories_and_defects():
    assert len(CATEGORIES) >= 24
    assert set(HELD_OUT) < set(CATEGORIES)
    assert 3 * len(HELD_OUT) > len(CATEGORIES)
    assert len(DEFECTS) >= 15
    assert set(DEFECTS) == set(KINDS)
    possible = {name for category in CATEGORIES for name in family(category, 0).defects}
    possible |= {name for category in CATEGORIES for name in family(category, 1).defects}
    assert possible == set(DEFECTS)


# ---------------------------------------------------------------- the good part


@pytest.mark.parametrize("category", CATEGORIES)
def test_the_same_seed_draws_the_same_parts_and_another_seed_or_index_others(category):
    made, again, other = family(category, 4), scenes.Family(category, 4), family(category, 5)
    first = made.good(0, SIZE)
    assert first.image.shape == (SIZE, SIZE, 3)
    assert first.image.dtype == np.uint8
    assert first.mask.shape == (SIZE, SIZE)
    assert not first.mask.any()
    assert not first.anomalous
    assert np.array_equal(first.image, again.good(0, SIZE).image)
    assert not np.array_equal(first.image, made.good(1, SIZE).image)
    assert np.abs(first.image.astype(int) - other.good(0, SIZE).image).mean() > 3
    assert first.image.std() > 2


@pytest.mark.parametrize("category", CATEGORIES)
def test_a_window_is_painted_like_the_whole_picture(category):
    made = family(category, 2)
    shot = made._shot(0, 128)
    parts = made._parts(shot)
    whole = scenes._painted(shot, parts)
    box = (30, 94, 20, 100)
    window = scenes._painted(shot, parts, box)
    inner = slice(4, -4)  # an edge's light needs its neighbours
    assert np.allclose(whole.rgb[:, 30:94, 20:100][:, inner, inner], window.rgb[:, inner, inner], atol=2e-3)


def test_a_scene_is_the_same_at_every_size_but_finer():
    made = family("screwed_plate", 1)
    small, large = made.good(0, 128).image.astype(float), made.good(0, 384).image.astype(float)
    shrunk = large.reshape(128, 3, 128, 3, 3).mean((1, 3))
    assert np.corrcoef(shrunk.ravel(), small.ravel())[0, 1] > 0.97


def test_parts_of_a_family_differ_less_than_families_do():
    within, between = [], []
    for category in ("gear", "circuit_board", "bottle", "label"):
        one = [family(category, 1).good(i, 64).image.astype(float) for i in range(3)]
        other = family(category, 2).good(0, 64).image.astype(float)
        within += [np.abs(one[0] - one[1]).mean(), np.abs(one[1] - one[2]).mean()]
        between.append(np.abs(one[0] - other).mean())
    assert np.mean(within) < 0.5 * np.mean(between)


# ---------------------------------------------------------------- defects


@pytest.mark.parametrize("category", CATEGORIES)
def test_a_defect_changes_every_pixel_it_claims_to_and_no_other(category):
    made = family(category, 3)
    names = sorted(made.defects)
    for index, name in enumerate(names[:: max(1, len(names) // 4)]):
        good, bad = made.good(index, SIZE), made.defective(index, name, size=SIZE)
        same = (good.image == bad.image).all(2)
        assert same[~bad.mask].all()  # exactly: also after noise, blur and JPEG
        assert bad.mask.any()
        assert (~same[bad.mask]).mean() > 0.5  # what is filled in between lies inside the defect
        assert bad.anomalous
        assert bad.defect_type == name


def test_a_lossless_picture_shows_every_change_in_the_mask():
    # without JPEG the mask holds every pixel that changes by more than the threshold, and only closes gaps
    for seed in range(6):
        made = scenes.Family("metal_sheet", seed)
        made.handling = replace(made.handling, jpeg=None)
        good, bad = made.good(0, SIZE).image.astype(int), made.defective(0, size=SIZE)
        change = np.abs(bad.image - good).max(2)
        assert (change[~bad.mask] == 0).all()
        assert (change[bad.mask] > scenes.CHANGED).mean() > 0.6


@pytest.mark.parametrize("name", DEFECTS)
def test_each_defect_can_be_drawn_and_is_seen(name):
    found = 0
    for number, category in enumerate(sorted(CATEGORIES) * 6):
        made = family(category, number // len(CATEGORIES))
        if name not in made.defects:
            continue
        scene = made.defective(number, name, 0.9, size=SIZE)
        assert scene.strength >= 0.9
        found += scene.contrast >= scenes.VISIBLE
        if found == 2:
            return
    raise AssertionError(f"{name} was seen {found} times")


def test_a_stronger_defect_is_easier_to_see():
    contrasts = {strength: [] for strength in (0.15, 0.5, 1.0)}
    for seed in range(8):
        made = family("coating", seed)
        for name in ("scratch", "stain", "smear"):
            for strength, found in contrasts.items():
                found.append(made.defective(0, name, strength, SIZE, visible=False).contrast)
    weak, medium, strong = (np.mean(found) for found in contrasts.values())
    assert weak < medium < strong


def test_gating_raises_what_could_not_be_seen():
    raised = 0
    for seed in range(12):
        made = family("carpet", seed)
        plain = made.defective(0, "stain", 0.05, SIZE, visible=False)
        gated = made.defective(0, "stain", 0.05, SIZE)
        assert plain.strength == 0.05
        assert gated.contrast >= min(plain.contrast, scenes.VISIBLE)
        raised += gated.strength > 0.05
    assert raised > 6


def test_without_a_wish_defects_are_visible():
    found = [stream(1, size=SIZE, anomalous=1.0)[i] for i in range(0, 160, 4)]
    assert np.mean([scene.contrast >= scenes.VISIBLE for scene in found]) > 0.95
    shares = np.array([scene.mask.mean() for scene in found])
    assert shares.max() > 0.02
    assert shares.min() < 0.004
    assert len({scene.defect_type for scene in found}) > 12


@pytest.mark.parametrize(
    ("category", "never"),
    [
        ("metal_sheet", ("cut", "burn", "knot", "missing_part")),
        ("woven", ("corrosion", "dent", "crack", "missing_part")),
        ("pill", ("corrosion", "bent", "bridge", "wrinkle")),
        ("concrete", ("bent", "cold_solder", "missing_part")),
    ],
)
def test_a_defect_comes_only_where_it_makes_sense(category, never):
    for seed in range(5):
        assert not set(never) & set(family(category, seed).defects)


@pytest.mark.parametrize("category", CATEGORIES)
def test_surface_flaws_fit_the_material(category):
    for seed in range(4):
        design = family(category, seed).design
        assert design.stuff in ALL
        wrong = [name for name, weight in design.flaws.items() if weight > 0 and design.stuff not in FLAWS[name].stuffs]
        assert not wrong, (design.stuff, wrong)


def test_a_missing_part_is_gone_where_it_was():
    for seed in range(4):
        made = family("screwed_plate", seed)
        bad = made.defective(0, "missing_part", size=SIZE)
        rows, columns = np.nonzero(bad.mask)
        shot = made._shot(0, SIZE)
        centre = shot.affine @ (columns.mean(), rows.mean(), 1)
        places = [part.at for part in made._parts(shot) if part.name == bad.subject]
        assert min(np.hypot(*(np.array(at) - centre)) for at in places) < 0.08


# ---------------------------------------------------------------- odd but normal


@pytest.mark.parametrize("kind", NEAR_MISSES)
def test_a_near_miss_changes_the_picture_but_not_the_part(kind):
    made = family("screwed_plate", 6)
    odd = made.near_miss(0, SIZE, kind)
    assert odd.near_miss == kind
    assert not odd.anomalous
    assert not odd.mask.any()
    assert not np.array_equal(odd.image, made.good(0, SIZE).image)
    assert np.array_equal(odd.image, made.near_miss(0, SIZE, kind).image)


# ---------------------------------------------------------------- streams


def test_a_stream_is_the_same_in_any_order_and_in_any_process():
    settings = {"size": 64, "categories": ("gear", "woven", "pill")}
    forward = [stream(9, **settings)[i] for i in range(8)]
    backward = [stream(9, **settings)[i] for i in reversed(range(8))][::-1]
    iterated = [scene for scene, _ in zip(stream(9, **settings), range(8), strict=False)]
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        elsewhere = list(pool.map(stream(9, **settings).__getitem__, range(8)))
    for others in (backward, iterated, elsewhere):
        for one, other in zip(forward, others, strict=True):
            assert np.array_equal(one.image, other.image)
            assert np.array_equal(one.mask, other.mask)
            assert one.words == other.words
    assert {scene.anomalous for scene in forward} == {True, False}


def test_another_seed_streams_other_pictures():
    assert not np.array_equal(stream(1, size=64)[0].image, stream(2, size=64)[0].image)


def test_an_episode_shows_references_and_queries_of_one_family():
    episode = stream(4, size=64).episode(3, references=3)
    assert len(episode.references) == 3
    everyone = [*episode.references, episode.normal, episode.defective]
    assert len({(scene.category, scene.family.seed) for scene in everyone}) == 1
    assert [scene.anomalous for scene in everyone] == [False] * 4 + [True]
    assert len({scene.image.tobytes() for scene in everyone}) == 5


@pytest.mark.parametrize("level", LEVELS)
def test_an_easy_level_has_blatant_defects_only(level):
    lowest, highest = scenes.STRENGTHS[level]
    found = [stream(2, size=64, level=level, anomalous=1.0)[i] for i in range(0, 40, 4)]
    assert all(lowest <= scene.strength <= 1 for scene in found)
    assert highest == 1.0
    if level == "easy":
        assert {stream(2, level=level).family(i).seed for i in range(60)} <= set(range(scenes.EASY))


def test_a_scene_travels_to_another_process():
    scene = stream(3, size=64)[1]
    back = pickle.loads(pickle.dumps(scene))
    assert back.words == scene.words
    assert np.array_equal(back.image, scene.image)


# ---------------------------------------------------------------- the canvas


def test_noise_moves_with_the_part_when_it_belongs_to_the_family():
    shots = [Shot((1, i), (1,), (128, 128), Pose(shift=(0.1 * i, 0.0))) for i in (0, 1)]
    here, there = (shot.noise("grain", (0.2, 0.2), shared=True) for shot in shots)
    moved = 0.1 / (2 / 128)
    shift = round(moved)
    assert np.corrcoef(here[:, : 128 - shift].ravel(), there[:, shift:].ravel())[0, 1] > 0.95
    assert abs(np.corrcoef(here.ravel(), shots[0].noise("grain", (0.2, 0.2)).ravel())[0, 1]) < 0.4


def test_a_pixel_and_its_place_are_each_others_way_back():
    shot = Shot((1,), (1,), (96, 128), Pose(0.7, (0.1, -0.2), 1.2, 0.01))
    u, v = shot.uv
    row, column = shot.pixel(float(u[20, 90]), float(v[20, 90]))
    assert (row, column) == pytest.approx((20, 90), abs=1e-3)


def test_cells_know_their_nearest_site():
    canvas = Canvas(Shot((1,), (1,), (64, 64), Pose()))
    near, border, name = cells(canvas.u, canvas.v, 0.3, 5)
    assert (near >= 0).all()
    assert (border >= 0).all()
    edges = name[:, 1:] != name[:, :-1]
    assert np.median(border[:, 1:][edges]) < 0.03  # where the number changes a border is near


# ---------------------------------------------------------------- bad arguments


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: family("gaer", 0), UnknownName, "Unknown category 'gaer'. Did you mean 'gear'"),
        (lambda: family("gear", -1), UsageError, "seed must be a whole number of at least 0, got -1"),
        (lambda: family("gear", 0, "brutal"), UsageError, "level must be one of easy, medium, hard, got 'brutal'"),
        (lambda: family("gear", 0).good(-1), UsageError, "index must be a whole number of at least 0, got -1"),
        (lambda: family("gear", 0).good(0, 32), UsageError, "size must be 64 to 512 pixels, got 32"),
        (
            lambda: family("gear", 0).defective(0, "scrath"),
            UnknownName,
            "a gear 'scrath'. Did you mean 'scratch'",
        ),
        (lambda: family("gear", 0).defective(0, "scratch", 1.5), UsageError, "strength must be 0 to 1, got 1.5"),
        (
            lambda: family("gear", 0).near_miss(0, 64, "glaer"),
            UnknownName,
            "'glaer'. Did you mean 'glare'",
        ),
        (lambda: stream(0, categories=("gaer",)), UnknownName, "Unknown category 'gaer'"),
        (lambda: stream(0, level="x"), UsageError, "level must be one of easy, medium, hard, got 'x'"),
        (lambda: stream(0, anomalous=2), UsageError, "anomalous and near_misses 0 to 1"),
        (lambda: stream(0)[-1], UsageError, "index must be a whole number of at least 0, got -1"),
    ],
)
def test_bad_arguments_are_named_with_what_is_allowed(make, error, words):
    with pytest.raises(error) as caught:
        make()
    assert words in str(caught.value)


def test_the_page_names_every_category_defect_and_near_miss():
    page = (Path(__file__).parents[2] / "docs" / "procedural.md").read_text("utf-8")
    words = set(re.findall(r"\w+", page[page.index("## What is drawn") :]))
    assert {*CATEGORIES, *DEFECTS, *NEAR_MISSES, *SOLIDS, *CLOUD_DEFECTS, *FILMS, *FILM_DEFECTS} <= words
