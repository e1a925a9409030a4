from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage
from scipy.spatial import cKDTree

from looktwice.data.procedural import (
    CONVEYOR_DEFECTS,
    PLATE_DEFECTS,
    DemoParts,
    bearing_cover,
    conveyor,
    parts,
    plate,
    solid,
    write_demo_parts,
)
from looktwice.data.procedural.drawing import box, cover, disc, smooth_noise
from looktwice.errors import MissingExtra, UnknownName, UsageError
from looktwice.records import Spec

SHORT = {"seconds": 4.0, "fps": 10, "size": (120, 160)}


# ---------------------------------------------------------------- the drawing tools


@settings(deadline=None, max_examples=20)
@given(st.floats(3, 20), st.floats(3, 20), st.floats(0, 3), st.floats(-9, 9), st.floats(-9, 9))
def test_a_covered_shape_has_the_area_of_the_shape(half_u, half_v, corner, at_u, at_v):
    line = np.arange(-32, 32) + 0.5
    u, v = np.meshgrid(line, line)
    drawn = cover(box(u, v, (at_u, at_v), (half_u, half_v), corner), 1.0).sum()
    assert drawn == pytest.approx(4 * half_u * half_v - (4 - np.pi) * corner**2, rel=0.03, abs=2)
    radius = min(half_u, half_v)
    assert cover(disc(u, v, (at_u, at_v), radius), 1.0).sum() == pytest.approx(np.pi * radius**2, rel=0.03)


def test_smooth_noise_has_mean_0_and_deviation_1():
    noise = smooth_noise(np.random.default_rng(0), (64, 96), (2, 5))
    assert noise.shape == (64, 96)
    assert noise.dtype == np.float32
    assert abs(noise.mean()) < 1e-5
    assert noise.std() == pytest.approx(1, abs=1e-5)


# ---------------------------------------------------------------- the plate


def test_the_same_seed_draws_the_same_plate_and_another_seed_another():
    first, again, other = plate(3)[0], plate(3)[0], plate(4)[0]
    assert first.shape == (512, 512, 3)
    assert first.dtype == np.uint8
    assert np.array_equal(first, again)
    assert (first != other).mean() > 0.5


def test_good_plates_differ_little():
    """Another seed moves and relights the plate; it does not make it another plate."""
    first, other = plate(0, size=256)[0].astype(float), plate(1, size=256)[0].astype(float)
    soft = [ndimage.gaussian_filter(p.mean(2), 3) for p in (first, other)]
    assert np.corrcoef(soft[0].ravel(), soft[1].ravel())[0, 1] > 0.97


@pytest.mark.parametrize("defect", PLATE_DEFECTS)
@pytest.mark.parametrize("seed", [0, 7])
def test_a_defective_plate_differs_from_its_good_twin_in_the_mask_only(defect, seed):
    (good, nothing), (bad, mask) = plate(seed), plate(seed, defect)
    assert not nothing.any()
    assert np.array_equal(good[~mask], bad[~mask])
    assert 300 < mask.sum() < 0.03 * mask.size
    change = np.abs(good.astype(int) - bad.astype(int)).max(2)
    assert (change[mask] > 0).mean() > 0.9  # nothing is masked that was not touched
    assert np.median(change[mask]) > 12  # and a person sees it


@pytest.mark.parametrize("defect", PLATE_DEFECTS)
def test_a_plate_shows_the_same_defect_at_every_size(defect):
    small, large = plate(5, defect, size=128)[1], plate(5, defect, size=640)[1]
    shrunk = np.asarray(Image.fromarray(large).resize((128, 128), Image.Resampling.BOX).convert("L")) > 127
    near = ndimage.binary_dilation(small, iterations=2)
    assert small.any()
    assert near[shrunk].all()


def test_a_chip_lies_at_the_edge_and_a_screw_is_missing_in_a_corner():
    for seed in range(5):
        rows, columns = np.nonzero(plate(seed, "chip", size=256)[1])
        from_edge = min(rows.min() - 44, 212 - rows.max(), columns.min() - 22, 234 - columns.max())
        assert abs(from_edge) <= 4
        rows, columns = np.nonzero(plate(seed, "missing_screw", size=256)[1])
        assert abs(abs(rows.mean() - 128) - 68) < 4
        assert abs(abs(columns.mean() - 128) - 90) < 4


# ---------------------------------------------------------------- the cover


def in_place(points, seed):
    """Undo the pose that a seed gives."""
    rng = bearing_cover.streams(seed, bearing_cover.PROPERTIES)["pose"]
    turn = bearing_cover.Rotation.from_rotvec(np.radians(bearing_cover._in_ball(rng)))
    return turn.inv().apply(points - bearing_cover._in_ball(rng))


def test_the_same_seed_scans_the_same_cover_and_another_seed_another():
    first, labels = solid(3, points=5000)
    assert first.shape == (5000, 3)
    assert first.dtype == np.float64
    assert not labels.any()
    assert np.array_equal(first, solid(3, points=5000)[0])
    assert not np.array_equal(first, solid(4, points=5000)[0])


def test_every_point_of_a_good_cover_lies_on_its_surface():
    points = in_place(solid(2)[0], 2)
    off = bearing_cover._cover(points)
    assert len(points) == 40_000
    assert np.abs(off).max() < 6 * bearing_cover.NOISE
    assert off.std() == pytest.approx(bearing_cover.NOISE, rel=0.1)


def test_points_are_spread_evenly_over_the_cover():
    points = in_place(solid(1)[0], 1)
    x, y, z = points.T
    near = 5 * bearing_cover.NOISE
    round_boss = np.hypot(x - bearing_cover.BOSS[0], y - bearing_cover.BOSS[1])
    top = ((np.abs(z - bearing_cover.HEIGHT) < near) & (np.abs(x - 37) < 7) & (np.abs(y - 8) < 10)).sum() / 280
    foot = ((np.abs(z) < near) & (np.abs(x - 20) < 10) & (np.abs(y) < 25)).sum() / 1000
    side = ((np.abs(y - bearing_cover.HALF_Y) < near) & (np.abs(x) < 15) & (np.abs(z - 7) < 4)).sum() / 240
    boss = ((np.abs(round_boss - bearing_cover.BOSS_RADIUS) < near) & (z > 18) & (z < 25)).sum() / (2 * np.pi * 15 * 7)
    assert np.allclose([top, foot, side, boss], np.mean([top, foot, side, boss]), rtol=0.12)


def test_a_cover_lies_within_a_millimetre_and_a_degree():
    still = in_place(solid(0, points=5000)[0], 0)
    for seed in range(6):
        points = solid(seed, points=5000)[0]
        distance, _ = cKDTree(still).query(points)
        assert np.quantile(distance, 0.9) < 1 + 50 * np.radians(1) + 1.5


@pytest.mark.parametrize("defect", ["dent", "bump"])
def test_a_dent_sinks_and_a_bump_rises_and_all_other_points_stay(defect):
    (good, _), (bad, labels) = solid(6), solid(6, defect)
    assert np.array_equal(good[~labels], bad[~labels])
    moved = (in_place(bad, 6) - in_place(good, 6))[labels]
    assert np.allclose(moved[:, :2], 0, atol=1e-9)
    sign = -1 if defect == "dent" else 1
    assert (sign * moved[:, 2] > 2 * bearing_cover.NOISE).all()
    assert 2 < (sign * moved[:, 2]).max() < 3.3
    assert labels.sum() > 80


@pytest.mark.parametrize("defect", ["missing_boss", "broken_edge"])
def test_where_a_piece_broke_off_only_the_fracture_is_labelled_and_nothing_else_is_missing(defect):
    (good, _), (bad, labels) = solid(8), solid(8, defect)
    good, bad = in_place(good, 8), in_place(bad, 8)
    same = np.isclose(good, bad, atol=1e-9).all(1)
    assert not (same & labels).any()
    assert same.mean() > 0.85
    inside = bearing_cover._cover(bad)
    assert (inside[labels] < 5 * bearing_cover.NOISE).all()  # a fracture lies inside the good cover
    assert (np.abs(inside[~labels]) < 6 * bearing_cover.NOISE).all()  # all else on its surface
    gone = good[~same]
    lost = gone[cKDTree(bad).query(gone)[0] > 3]
    assert len(lost) > 200  # the good surface is truly gone there
    centre = (
        (*bearing_cover.BOSS, bearing_cover.HEIGHT)
        if defect == "missing_boss"
        else np.sign(lost.mean(0)) * (48, 32, 14)
    )
    assert np.linalg.norm(lost.mean(0) - centre) < 20
    assert labels.sum() > 300


def test_a_fracture_is_sampled_as_densely_as_the_rest():
    bad, labels = solid(9, "missing_boss")
    ring = np.pi * (15.5**2 - 7.5**2)
    whole = ((np.abs(in_place(bad, 9)[:, 2]) < 0.15) & (np.abs(bad[:, 0] - 20) < 10) & (np.abs(bad[:, 1]) < 25)).sum()
    assert labels.sum() / ring == pytest.approx(whole / 1000, rel=0.25)


# ---------------------------------------------------------------- the conveyor


def test_the_same_seed_films_the_same_run_and_another_seed_another():
    first, labels, masks = conveyor(2, **SHORT)
    assert first.shape == (40, 120, 160, 3)
    assert first.dtype == np.uint8
    assert labels.shape == (40,)
    assert masks.shape == (40, 120, 160)
    assert not labels.any()
    assert not masks.any()
    assert np.array_equal(first, conveyor(2, **SHORT)[0])
    assert (first != conveyor(3, **SHORT)[0]).mean() > 0.3


@pytest.mark.parametrize("defect", CONVEYOR_DEFECTS)
def test_a_defective_run_differs_from_its_good_twin_in_the_masks_only(defect):
    good, (bad, labels, masks) = conveyor(5, **SHORT)[0], conveyor(5, defect, **SHORT)
    assert np.array_equal(good[~masks], bad[~masks])
    assert np.array_equal(labels, masks.any((1, 2)))
    assert 15 < labels.sum() < 30  # some frames show it, some do not
    seen = np.flatnonzero(labels)
    assert np.array_equal(seen, np.arange(seen[0], seen[-1] + 1))  # it passes once
    middle = seen[len(seen) // 2]
    change = np.abs(good[middle].astype(int) - bad[middle].astype(int)).max(2)[masks[middle]]
    assert (change > 0).mean() > 0.85
    assert np.median(change) > 20


def test_what_lies_on_the_belt_moves_at_a_constant_speed_and_the_rails_stay():
    frames, _, masks = conveyor(1, "foreign_object", **SHORT)
    whole = [i for i in range(len(masks)) if masks[i].any() and not masks[i][:, [0, -1]].any()]
    across = np.array([np.nonzero(masks[i])[1].mean() for i in whole])
    slope = np.polyfit(whole, across, 1)
    assert slope[0] == pytest.approx(80 / 10, rel=0.01)
    assert np.abs(across - np.polyval(slope, whole)).max() < 0.8
    rails = frames[:, :10].astype(float)
    level = rails.mean((1, 2, 3), keepdims=True)
    assert (rails / level).std(0).mean() < 0.03
    assert not masks[:, :12].any()


@pytest.mark.parametrize("seconds", [0.2, 1.0])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_even_a_short_run_holds_whole_frames(seconds, seed):
    frames, labels, masks = conveyor(seed, "broken", seconds=seconds, fps=10, size=(96, 130))
    assert frames.shape == (max(2, round(seconds * 10)), 96, 130, 3)
    assert labels.any()
    assert np.array_equal(labels, masks.any((1, 2)))


# ---------------------------------------------------------------- bad arguments


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: plate(0, "scrach"), "Unknown defect of a plate 'scrach'. Did you mean 'scratch'?"),
        (lambda: solid(0, "dint"), "Unknown defect of a solid 'dint'. Did you mean 'dent'?"),
        (lambda: conveyor(0, "stain"), "Unknown defect of a conveyor 'stain'. Did you mean 'stained'?"),
    ],
)
def test_an_unknown_defect_lists_the_near_one(make, words):
    with pytest.raises(UnknownName, match=words.replace("?", r"\?")):
        make()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: plate(-1), "seed must be a whole number of at least 0, got -1"),
        (lambda: plate(True), "seed must be a whole number of at least 0, got True"),
        (lambda: solid(1.5), "seed must be a whole number of at least 0, got 1.5"),
        (lambda: plate(0, size=8), "size of a plate must be 64 to 4096 pixels, got 8"),
        (lambda: solid(0, points=3), "points of a solid must be 2,000 to 5,000,000, got 3"),
        (lambda: conveyor(0, seconds=0), "seconds of a conveyor must be 0.2 to 60, got 0"),
        (lambda: conveyor(0, fps=0), "fps of a conveyor must be 1 to 120, got 0"),
        (lambda: conveyor(0, size=(240, 20)), r"each side .* must be 96 to 1080 pixels, got \(240, 20\)"),
    ],
)
def test_a_value_out_of_range_is_named_with_its_range(make, words):
    with pytest.raises(UsageError, match=words):
        make()


# ---------------------------------------------------------------- the folder


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> DemoParts:
    pytest.importorskip("av")
    return write_demo_parts(tmp_path_factory.mktemp("demo") / "parts")


def test_the_folder_holds_what_the_parts_name(demo):
    written = {p.relative_to(demo.folder).as_posix() for p in demo.folder.rglob("*") if p.is_file()}
    references = {f"references/plate_{i}.png" for i in (1, 2, 3, 4)}
    references |= {f"references/cover_{i}.ply" for i in (1, 2, 3)} | {f"references/belt_{i}.mp4" for i in (1, 2)}
    good = {"plate_good.png", "cover_good.ply", "belt_good.mp4"}
    bad = {"plate_defect.png", "cover_defect.ply", "belt_defect.mp4"}
    assert written == references | good | bad | {"sheet.yaml", "truth.json"}
    named = [{p.relative_to(demo.folder).as_posix() for p in ps} for ps in (demo.references, demo.good, demo.defective)]
    assert named == [references, good, bad]


def test_the_sheet_is_a_spec_and_its_files_exist(demo):
    spec = Spec(**yaml.safe_load(demo.sheet.read_text(encoding="utf-8")))
    found = {p for pattern in spec.references for p in demo.folder.glob(str(pattern))}
    assert found == set(demo.references)
    assert [demo.folder / name for name in spec.tests.must_pass] == list(demo.good)
    assert [demo.folder / name for name in spec.tests.must_fail] == list(demo.defective)
    assert len(spec.rules) >= 6


def test_the_truth_makes_each_picture_and_cloud_again(demo):
    truth = json.loads(demo.truth.read_text(encoding="utf-8"))
    assert len(truth) == 15
    assert len({(row["made_by"], row["seed"]) for row in truth.values()}) == 15
    for name in ("plate_good.png", "plate_defect.png"):
        pixels, mask = plate(truth[name]["seed"], truth[name]["defect"])
        assert np.array_equal(np.asarray(Image.open(demo.folder / name)), pixels)
        assert truth[name]["label"] == int(mask.any())
    x0, y0, x1, y1 = truth["plate_defect.png"]["box"]
    assert mask[y0:y1, x0:x1].sum() == mask.sum() == truth["plate_defect.png"]["pixels"]
    row = truth["cover_defect.ply"]
    points, labels = solid(row["seed"], row["defect"])
    header, body = (demo.folder / "cover_defect.ply").read_bytes().split(b"end_header\n")
    assert b"element vertex 40000" in header
    assert np.allclose(np.frombuffer(body, "<f4").reshape(-1, 3), points, atol=1e-4)
    assert row["points"] == labels.sum()
    assert (points[labels] >= np.array(row["low"]) - 0.01).all()
    assert (points[labels] <= np.array(row["high"]) + 0.01).all()


def test_the_video_is_what_was_drawn_but_for_a_little_compression(demo):
    import av

    row = json.loads(demo.truth.read_text(encoding="utf-8"))["belt_defect.mp4"]
    frames, labels, masks = conveyor(row["seed"], row["defect"])
    with av.open(str(demo.folder / "belt_defect.mp4")) as container:
        read = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
        assert container.streams.video[0].average_rate == 25
    assert read.shape == frames.shape
    assert np.abs(read[::5].astype(int) - frames[::5].astype(int)).mean() < 3
    seen = np.flatnonzero(labels)
    assert row["interval"] == [seen[0] / 25, seen[-1] / 25]
    x0, y0, x1, y1 = row["box"]
    assert masks[row["frame"], y0:y1, x0:x1].sum() == masks[row["frame"]].sum() > 0


def test_writing_again_gives_the_same_bytes(demo, tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "REFERENCES", {"plate": 1, "cover": 1})
    again = write_demo_parts(tmp_path)
    for name in ("references/plate_1.png", "references/cover_1.ply", "sheet.yaml"):
        assert (again.folder / name).read_bytes() == (demo.folder / name).read_bytes()


def test_another_seed_shares_no_part(demo, tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "REFERENCES", {"plate": 1, "cover": 1})
    other = write_demo_parts(tmp_path, seed=1)
    for name in ("references/plate_1.png", "references/cover_1.ply"):
        assert (other.folder / name).read_bytes() != (demo.folder / name).read_bytes()


def test_a_file_in_the_place_of_the_folder_is_named(tmp_path):
    (tmp_path / "taken").write_text("x")
    with pytest.raises(UsageError, match="taken is a file: name a folder"):
        write_demo_parts(tmp_path / "taken")


def test_without_pyav_nothing_is_written_and_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingExtra, match=r"Writing MP4 needs the module 'av': pip install 'looktwice\[video\]'"):
        write_demo_parts(tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_an_odd_side_of_a_video_is_refused(tmp_path: Path):
    pytest.importorskip("av")
    with pytest.raises(UsageError, match="the sides of an MP4 must be even, got 5 x 8"):
        parts.write_mp4(tmp_path / "odd.mp4", np.zeros((2, 5, 8, 3), np.uint8), 25)


def test_mpeg_4_is_written_where_h264_is_missing(tmp_path, monkeypatch):
    av = pytest.importorskip("av")
    monkeypatch.setattr(av, "codecs_available", {"mpeg4"})
    frames = conveyor(0, **SHORT)[0]
    parts.write_mp4(tmp_path / "plain.mp4", frames, 10)
    with av.open(str(tmp_path / "plain.mp4")) as container:
        assert container.streams.video[0].codec_context.name == "mpeg4"
        read = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    assert np.abs(read.astype(int) - frames.astype(int)).mean() < 3
