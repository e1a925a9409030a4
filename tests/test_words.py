import re
import string

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from looktwice.errors import UsageError
from looktwice.records import PointCloudData, Region, ToPixels, ToPoints, Views
from looktwice.regions import Found, cloud_regions, intervals, picture_regions
from looktwice.words import (
    SENTENCES,
    describe_cloud,
    describe_picture,
    describe_video,
    number,
    percent,
    sureness,
    where_in,
)

FEW = settings(deadline=None, max_examples=40)
CELLS = [
    ["upper left", "upper centre", "upper right"],
    ["centre left", "centre", "centre right"],
    ["lower left", "lower centre", "lower right"],
]
H, W = 120, 180
Y, X = np.mgrid[:H, :W] + 0.5


def disc(x, y, radius):
    return np.hypot(X - x, Y - y) < radius


def bar(x, y, length, thickness, angle):
    """A bar that rises to the right by `angle` degrees."""
    turn = np.radians(angle)
    along, across = (X - x) * np.cos(turn) - (Y - y) * np.sin(turn), (X - x) * np.sin(turn) + (Y - y) * np.cos(turn)
    return (abs(along) < length / 2) & (abs(across) < thickness / 2)


def picture(mask=None, colour=(128, 128, 128), base=(128, 128, 128), grain=0.0, seed=0):
    rng = np.random.default_rng(seed)
    mask = np.zeros((H, W), bool) if mask is None else mask
    pixels = np.where(mask[..., None], np.array(colour, float), np.array(base, float)) + rng.normal(0, 2, (H, W, 1))
    pixels += np.where(mask, grain, 0)[..., None] * rng.normal(0, 1, (H, W, 1))
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)


def describe(mask, pixels=None, expected=None, verdict="anomalous", score=0.9, threshold=0.5, limit=20):
    pixels = picture(mask) if pixels is None else pixels
    found = picture_regions(np.where(mask, 0.9, 0).astype(np.float32), threshold, limit)
    words = describe_picture(pixels, found, verdict, score, threshold, expected)
    assert len(words.regions) == len(words.where) == len(found)
    for text in (words.overall, *words.regions):
        check_grammar(text)
    return words


def check_grammar(text):
    assert text[0].isupper() or text[0].isdigit()
    assert text.endswith(".")
    assert not re.search(r"  |\.\.| [.,;:]|[{}|]|nan|inf\b|\b1 (regions|points|specks|intervals)\b|\b0 regions\b", text)


def only(words):
    (text,) = words.regions
    return text


# ---------------------------------------------------------------- the table


def test_every_sentence_can_be_filled_in_and_is_written_once():
    for key, sentence in SENTENCES.items():
        assert sentence.strip() == sentence or key in ("between", "apart")
        assert "  " not in sentence
        names = [{name for _, name, _, _ in string.Formatter().parse(form) if name} for form in sentence.split("|")]
        assert all(names[0] - {"n"} == other - {"n"} for other in names)
    endings = [s for s in SENTENCES.values() if s.endswith(".")]
    assert len(endings) == len(set(endings))


# ---------------------------------------------------------------- how sure


@pytest.mark.parametrize(
    ("verdict", "score", "threshold", "sentence"),
    [
        ("anomalous", 0.83, 0.5, "Clearly anomalous: the score 0.83 is above the threshold 0.50."),
        ("anomalous", 0.6, 0.5, "Probably anomalous: the score 0.60 is above the threshold 0.50."),
        ("anomalous", 0.51, 0.5, "Barely anomalous: the score 0.51 is above the threshold 0.50."),
        ("anomalous", 0.5, 0.5, "Barely anomalous: the score 0.50 is at the threshold 0.50."),
        ("anomalous", 1.0, 1.0, "Barely anomalous: the score 1.00 is at the threshold 1.00."),
        ("normal", 0.31, 0.5, "No anomaly found: the score 0.31 is below the threshold 0.50 (clearly normal)."),
        ("normal", 0.45, 0.5, "No anomaly found: the score 0.45 is below the threshold 0.50 (probably normal)."),
        ("normal", 0.4999, 0.5, "No anomaly found: the score 0.4999 is below the threshold 0.5000 (barely normal)."),
        ("unsure", 0.48, 0.5, "Unsure: the score 0.48 is below the threshold 0.50. A person should look."),
        ("anomalous", 0.4, 0.5, "Judged anomalous although the score 0.40 is below the threshold 0.50."),
        ("normal", 0.6, 0.5, "Judged normal although the score 0.60 is above the threshold 0.50."),
        ("normal", 0.0, 1.5, "No anomaly found: the score 0.00 is below the threshold 1.50 (clearly normal)."),
        ("anomalous", 0.1, 0.0, "Probably anomalous: the score 0.10 is above the threshold 0.00."),
    ],
)
def test_the_verdict_says_how_sure_it_is(verdict, score, threshold, sentence):
    assert sureness(verdict, score, threshold) == sentence


@FEW
@given(st.floats(0, 1), st.floats(0, 1), st.sampled_from(["normal", "anomalous", "unsure"]))
def test_the_figures_read_as_the_words_say(score, threshold, verdict):
    text = sureness(verdict, score, threshold)
    check_grammar(text)
    own, relation, border = re.search(r"score (\S+) is (\w+) the threshold (\S+?)[. ]*(?:\(|A |$)", text).groups()
    assert {"above": float(own) > float(border), "below": float(own) < float(border), "at": own == border}[relation]


# ---------------------------------------------------------------- where


@FEW
@given(st.floats(5, W - 5), st.floats(5, H - 5), st.floats(2, 20))
def test_the_words_name_the_cell_of_the_centroid(x, y, radius):
    mask = disc(x, y, radius)
    words = describe(mask)
    ys, xs = np.nonzero(mask)
    cell = CELLS[int(3 * (ys.mean() + 0.5) / H)][int(3 * (xs.mean() + 0.5) / W)]
    assert words.where == (cell,)
    assert only(words).startswith(cell.capitalize() + ": ")
    assert f"picture: {cell}." in words.overall


def test_a_place_that_surrounds_its_centroid_is_around_it():
    ring = np.maximum(abs(X - 90), abs(Y - 60))
    words = describe((ring > 34) & (ring < 38))
    assert words.where == ("around the centre, spanning 63 % of the height",)


@pytest.mark.parametrize(
    ("box", "where"),
    [
        ((10, 50, 170, 60), "centre, spanning 89 % of the width"),
        ((10, 10, 20, 110), "centre left, spanning 83 % of the height"),
        ((0, 0, 180, 70), "upper centre, spanning 100 % of the width and 58 % of the height"),
        ((0, 0, 89, 59), "upper left"),
        ((0, 0, 180, 120), "the whole picture"),
    ],
)
def test_large_places_say_what_they_span(box, where):
    x0, y0, x1, y1 = box
    mask = np.zeros((H, W), bool)
    mask[y0:y1, x0:x1] = True
    if where == "upper left":
        mask[:40, :60] = True
    assert describe(mask).where == (where,)


# ---------------------------------------------------------------- size and shape


@FEW
@given(st.integers(0, W - 40), st.integers(0, H - 40), st.integers(1, 40), st.integers(1, 40))
def test_the_size_is_that_of_the_mask(x, y, width, height):
    mask = np.zeros((H, W), bool)
    mask[y : y + height, x : x + width] = True
    share = percent(width * height / (H * W))
    assert f", {width} x {height} px, {width * height} px in area ({share} of the picture), score 0.90." in only(
        describe(mask)
    )


@FEW
@given(st.floats(1, 10), st.integers(4, 10), st.sampled_from([0, 30, 45, 60, 90, 120, 135, 150]))
def test_elongated_is_said_exactly_beyond_its_ratio_and_with_its_direction(ratio, thickness, angle):
    length = min(ratio * thickness, 100)
    text = only(describe(bar(90, 60, length, thickness, angle)))
    names = {0: "horizontal", 90: "vertical", 30: "rising", 45: "rising", 60: "rising"}
    if length / thickness > 3.8:
        assert names.get(angle, "falling") in text
        assert "an elongated region (" in text
    elif length / thickness < 2.3:
        assert "elongated" not in text
        assert "a compact region" in text


def test_a_bar_three_times_as_long_as_wide_is_elongated_and_a_shorter_one_is_not():
    assert "(3 times as long as wide, horizontal)" in only(describe(bar(90, 60, 30, 10, 0)))
    assert "a compact region" in only(describe(bar(90, 60, 28, 10, 0)))


def test_a_ring_is_irregular_and_a_large_place_is_large():
    assert "an irregular region" in only(describe(disc(90, 60, 30) & ~disc(90, 60, 26)))
    mask = np.zeros((H, W), bool)
    mask[:, :60] = True
    assert "a large area, 60 x 120 px, 7200 px in area (33 % of the picture)" in only(describe(mask))


# ---------------------------------------------------------------- comparisons


@FEW
@given(st.integers(-90, 90), st.booleans(), st.integers(0, 1000))
def test_darker_is_said_exactly_when_drawn_darker_beyond_the_minimum(step, referenced, seed):
    mask = disc(60, 50, 15)
    expected = picture(seed=seed + 1) if referenced else None
    text = only(describe(mask, picture(mask, (128 + step,) * 3, seed=seed), expected))
    against = "the reference" if referenced else "its surroundings"
    if abs(step) >= 10:
        word = "darker" if step < 0 else "lighter"
        here, there = re.search(
            rf"Compared with {against} it is {word} \(brightness (\d+) against (\d+)\)\.", text
        ).groups()
        assert int(here) == pytest.approx(128 + step, abs=1)
        assert int(there) == pytest.approx(128, abs=1)
    elif abs(step) <= 6:
        assert text.endswith(f"No clear difference from {against} in brightness, colour or texture was measured.")


def test_colour_and_brightness_are_said_with_their_figures():
    mask = disc(60, 50, 15)
    text = only(describe(mask, picture(mask, (200, 60, 60))))
    assert re.search(
        r"darker \(brightness 10\d against 128\), and more red and more saturated "
        r"\(mean RGB (199|200) (59|60) (59|60) against 128 128 128\)\.$",
        text,
    )


def test_a_noise_patch_is_rougher_and_nothing_else():
    mask = disc(60, 50, 15)
    text = only(describe(mask, picture(mask, grain=25), picture(seed=5)))
    assert re.search(r"Compared with the reference it is rougher \(local contrast \d\d\.\d against [12]\.\d\)\.$", text)


def test_a_difference_of_the_whole_picture_is_not_one_of_the_region():
    good = picture()
    text = only(describe(disc(60, 50, 15), (good * 0.85).astype(np.uint8), good))
    assert text.endswith(
        "Beyond what differs all over the picture, "
        "no clear difference from the reference in brightness, colour or texture was measured."
    )


def test_a_thin_place_says_that_its_texture_is_not_judged():
    text = only(describe(bar(90, 60.5, 30, 1, 0)))
    assert "in brightness or colour was measured; the region is too small or too thin to judge its texture." in text


def test_a_region_of_everything_is_compared_with_no_surroundings():
    words = describe(np.ones((H, W), bool))
    assert only(words).startswith("The whole picture: a large area, 180 x 120 px")
    assert only(words).endswith("There are no surroundings to compare it with.")


def test_what_is_normal_here_need_not_be_a_reference():
    mask = disc(60, 50, 15)
    found = picture_regions(mask.astype(np.float32), 0.5)
    words = describe_picture(picture(mask, (60,) * 3), found, "anomalous", 1.0, 0.5, picture(), against="expected")
    assert "Compared with the expected picture it is darker" in only(words)


def test_a_picture_of_one_pixel_is_described():
    found = picture_regions(np.ones((1, 1), np.float32), 0.5)
    words = describe_picture(np.zeros((1, 1, 3), np.uint8), found, "anomalous", 1.0, 0.5)
    assert only(words) == (
        "The whole picture: a large area, 1 x 1 px, 1 px in area (100 % of the picture), score 1.00. "
        "There are no surroundings to compare it with."
    )


@pytest.mark.parametrize("shape", [(1, 7), (9, 1), (2, 2), (1, 400)])
def test_very_flat_pictures_are_described(shape):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
    for seed in range(5):
        found = picture_regions(np.random.default_rng(seed).random(shape, dtype=np.float32), 0.4)
        for text in describe_picture(pixels, found, "anomalous", 0.9, 0.4).regions:
            check_grammar(text)


@FEW
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_any_picture_gives_clean_sentences(seed, referenced):
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)
    found = picture_regions(rng.random((40, 50), dtype=np.float32), rng.random())
    words = describe_picture(pixels, found, "unsure", 0.5, 0.5, pixels[::-1] if referenced else None)
    for text in (words.overall, *words.regions):
        check_grammar(text)


# ---------------------------------------------------------------- how many


def test_no_region_one_region_and_many_are_counted_in_good_grammar():
    none, one, two = np.zeros((H, W), bool), disc(30, 20, 10), disc(30, 20, 10) | disc(150, 60, 8)
    assert describe(none, verdict="normal", score=0.31).overall == (
        "No anomaly found: the score 0.31 is below the threshold 0.50 (clearly normal). "
        "No place in the map reaches the threshold."
    )
    share = percent(one.sum() / (H * W))
    assert f" One region reaches the threshold; it covers {share} of the picture: upper left." in describe(one).overall
    share = percent(two.sum() / (H * W))
    assert (
        f" 2 regions reach the threshold; together they cover {share} of the picture: upper left; centre right."
        in describe(two).overall
    )


def test_many_regions_name_the_strongest_and_say_what_is_left_out():
    mask = np.zeros((H, W), bool)
    for i in range(8):
        mask[10 * i : 10 * i + 3, 10:14] = True
    mask[100:110, 150:170] = mask[115, 5] = True
    share = percent((200 + 8 * 12) / (H * W))
    assert (
        f"9 regions reach the threshold; together they cover {share} of the picture: the strongest is lower right. "
        "One speck is too small to count." in describe(mask).overall
    )
    share = percent(212 / (H * W))
    assert (
        "9 regions reach the threshold. The 2 strongest are described; together they cover "
        f"{share} of the picture: the strongest is lower right." in describe(mask, limit=2).overall
    )


def test_words_fit_the_record_of_a_region():
    mask = disc(60, 50, 15)
    (place,) = picture_regions(mask.astype(np.float32), 0.5)
    words = describe(mask)
    region = Region(
        score=place.score,
        words=words.regions[0],
        where=words.where[0],
        box=place.box,
        area=place.area,
        share=place.share,
    )
    assert Region.from_json(region.to_json()) == region


# ---------------------------------------------------------------- numbers


@FEW
@given(st.floats(0, 1) | st.floats(1e-6, 1e-3) | st.floats(0.99, 1))
def test_a_share_reads_as_what_it_is(share):
    text = percent(share)
    value = float(re.fullmatch(r"(?:under |over )?([\d.]+) %", text).group(1)) / 100
    if text.startswith("under"):
        assert 0 < share < value
    elif text.startswith("over"):
        assert 1 > share >= value - 0.0005
    else:
        assert abs(value - share) <= max(0.055 * share, 1e-12)
        assert (value == 0) == (share == 0)
        assert (value == 1) == (share == 1)


@pytest.mark.parametrize(
    ("value", "text"),
    [(12.3456, "12.3"), (1234.5, "1234"), (0.05, "0.05"), (2.0, "2"), (0, "0"), (-0.0, "0"), (1.234e-5, "1.23e-05")],
)
def test_lengths_have_three_digits(value, text):
    assert number(value) == text


# ---------------------------------------------------------------- point clouds

SIDE = 40


def cube_face(depth=0.0, jitter=0.01):
    """A solid block of points, its top face at z = 20 with a bump (or dent) of `depth`, and which points those are."""
    rng = np.random.default_rng(0)
    y, x = (grid.ravel() for grid in np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2)
    top, bottom = np.stack([x, y, np.full(x.size, 20.0)], 1), np.stack([x, y, np.full(x.size, -20.0)], 1)
    hot = np.hypot(x - 8, y - 9) < 5
    top[hot, 2] += depth
    points = np.concatenate([top, bottom]) + rng.normal(0, jitter, (2 * x.size, 3))
    return points, np.concatenate([hot, np.zeros(x.size, bool)])


def views_of(points, names=("top", "front")):
    """Two views of 100 x 100 px: the top face seen from above, y upwards, and the points with y < 0 from the front."""
    pixel = np.full((2, len(points)), -1, np.int32)
    column, row, level = (np.rint(50 + sign * points[:, axis]).astype(int) for sign, axis in ((1, 0), (-1, 1), (-1, 2)))
    upper, near = points[:, 2] > 0, points[:, 1] < 8
    pixel[0, upper] = (100 * row + column)[upper]
    pixel[1, near] = (100 * level + column)[near]
    return Views(images=np.zeros((2, 100, 100, 3), np.uint8), names=names, way=ToPoints(pixel=pixel))


def cloud_words(depth=0.0, valid=None, verdict="anomalous", hot=None, grid=None):
    points, drawn = cube_face(depth)
    hot = drawn if hot is None else hot
    views = views_of(points)
    scores = np.where((views.way.pixel >= 0).any(0), np.where(hot, 0.8, 0.1), np.nan).astype(np.float32)
    valid = np.ones(len(points), bool) if valid is None else valid
    scores[~valid] = np.nan
    cloud = PointCloudData(points=points, valid=valid, grid=grid)
    found = cloud_regions(points, scores, 0.5)
    words = describe_cloud(cloud, scores, views, found, verdict, 0.8 if hot.any() else 0.1, 0.5)
    for text in (words.overall, *words.regions):
        check_grammar(text)
    return words, points, scores, found


def test_a_patch_says_side_size_and_share():
    words, points, scores, found = cloud_words()
    assert words.where == ("top, upper right",)
    count, seen = found[0].area, np.isfinite(scores).sum()
    assert only(words).startswith(
        f"Top, upper right: {count} points ({percent(count / seen)} of the seen points), score 0.80. It measures "
    )
    x, y, z = (float(v) for v in re.search(r"measures (\S+) x (\S+) x (\S+) along", only(words)).groups())
    assert (x, y, z) == pytest.approx(found[0].extent, rel=0.01)
    relative = percent(max(found[0].extent) / np.ptp(points, axis=0).max())
    assert f"its longest side is {relative} of the object's longest side." in only(words)


def test_the_views_are_named_with_what_they_see():
    words, points, _, found = cloud_words()
    front = np.mean(points[found[0].points, 1] < 8)
    assert front < 0.5
    assert "It is seen from top (100 % of its points)." in only(words)
    low = cloud_words(hot=np.hypot(points[:, 0], points[:, 1] + 10) + 99 * (points[:, 2] < 0) < 5)[0]
    assert low.where == ("top, lower centre",)
    assert "It is seen from top (100 % of its points) and front (100 % of its points)." in only(low)


@pytest.mark.parametrize(("depth", "word"), [(1.5, "bump"), (-1.5, "dent"), (0.0, None)])
def test_bump_or_dent_is_said_as_drawn_or_left_out(depth, word):
    text = only(cloud_words(depth)[0])
    if word is None:
        assert "bump" not in text
        assert "dent" not in text
    else:
        offset = re.search(rf"It is a {word}: it .* the surface around it by (\S+) \(median\), (\S+) at most\.", text)
        assert [float(v) for v in offset.groups()] == pytest.approx([1.5, 1.5], abs=0.1)


def test_unseen_points_are_counted_and_invalid_ones_are_not():
    words, _, scores, _ = cloud_words()
    count = int(np.isnan(scores).sum())
    share = percent(count / len(scores))
    assert f"{count} points ({share} of all) were seen by no view and are not judged." in words.overall
    assert "seen by no view" not in cloud_words(valid=np.isfinite(scores))[0].overall


def test_a_cloud_without_a_patch_is_normal():
    words = cloud_words(hot=np.zeros(2 * SIDE * SIDE, bool), verdict="normal")[0]
    assert words.overall.startswith(
        "No anomaly found: the score 0.10 is below the threshold 0.50 (clearly normal). "
        "No place in the map reaches the threshold."
    )
    assert (words.regions, words.where) == ((), ())


def test_a_cloud_of_one_point_is_described():
    cloud = PointCloudData(points=np.ones((1, 3)), valid=np.ones(1, bool))
    views = Views(
        images=np.zeros((1, 8, 8, 3), np.uint8), names=("top",), way=ToPoints(pixel=np.full((1, 1), 9, np.int32))
    )
    scores = np.ones(1, np.float32)
    words = describe_cloud(cloud, scores, views, cloud_regions(cloud.points, scores, 0.5), "anomalous", 1.0, 0.5)
    assert only(words).startswith(
        "Top, centre: one point (100 % of the seen points), score 1.00. It measures 0 x 0 x 0"
    )


def test_views_that_are_not_of_a_cloud_are_refused_in_words():
    cloud = PointCloudData(points=np.ones((1, 3)), valid=np.ones(1, bool))
    views = Views(images=np.zeros((1, 8, 8, 3), np.uint8), names=("image",), way=ToPixels(size=(8, 8)))
    with pytest.raises(UsageError, match="views of a point cloud and 1 scores, got views of pixels"):
        describe_cloud(cloud, np.ones(1), views, Found(), "normal", 0.1, 0.5)


# ---------------------------------------------------------------- videos


def video_words(scores, places=None, duration=None, verdict="anomalous"):
    times, scores = np.arange(len(scores)) / 2, np.array(scores)
    duration = len(scores) / 2 if duration is None else duration
    found = intervals(times, scores, 0.5, duration)
    peaks = [Found() for _ in found] if places is None else places
    words = describe_video(times, scores, found, duration, peaks, (H, W), verdict, float(scores.max()), 0.5)
    for text in (words.overall, *words.regions):
        check_grammar(text)
    return words


def test_a_video_says_when_how_long_and_where_at_the_peak():
    mask = disc(30, 20, 10)
    place = picture_regions(mask.astype(np.float32), 0.5)
    words = video_words([0, 0, 0.7, 0.9, 0, 0, 0, 0], [place])
    share = percent(mask.sum() / (H * W))
    assert words.overall == (
        "Clearly anomalous: the score 0.90 is above the threshold 0.50. "
        "One interval reaches the threshold, 1.00 s or 25 % of the video: 0.75 s to 1.75 s. "
        "The highest score is 0.90 at 1.50 s."
    )
    assert words.where == ("0.75 s to 1.75 s",)
    assert words.regions == (
        "0.75 s to 1.75 s: 1.00 s long, with the highest score 0.90 at 1.50 s. "
        f"One region there: upper left (20 x 20 px, {share} of the frame).",
    )


def test_several_intervals_are_counted_together():
    words = video_words([0.9, 0, 0, 0.6, 0, 0, 0, 0.7])
    assert (
        "3 intervals reach the threshold, together 1.25 s or 31 % of the video: "
        "0.00 s to 0.25 s; 1.25 s to 1.75 s; 3.25 s to 3.75 s. The highest score is 0.90 at 0.00 s." in words.overall
    )
    assert words.regions[0].endswith("No place in that frame reaches the threshold.")


def test_many_intervals_name_the_strongest():
    words = video_words([0.6, 0, 0] * 7 + [0.8])
    assert "8 intervals reach the threshold" in words.overall
    assert ": the strongest is 10.25 s to 10.75 s." in words.overall


def test_many_places_at_the_peak_are_cut_and_said_so():
    mask = np.zeros((H, W), bool)
    for i in range(7):
        mask[10 * i : 10 * i + 3, 10:14] = True
    words = video_words([0, 0.9, 0], [picture_regions(mask.astype(np.float32), 0.5)])
    assert "7 regions there; the 5 strongest: upper left (4 x 3 px, 0.056 % of the frame); " in only(words)


def test_a_normal_video_has_no_interval():
    words = video_words([0.1, 0.2, 0.1], verdict="normal")
    assert words.overall.endswith("No frame reaches the threshold. The highest score is 0.20 at 0.50 s.")
    assert (words.regions, words.where) == ((), ())


def test_a_video_of_one_frame_is_anomalous_all_the_time():
    words = video_words([0.9], duration=2.0)
    assert "One interval reaches the threshold, 2.00 s or 100 % of the video: 0.00 s to 2.00 s." in words.overall
    assert video_words([0.9], duration=0.0).where == ("0.000 s to 0.000 s",)


def test_a_place_that_fills_the_frame_is_the_whole_frame():
    (place,) = picture_regions(np.ones((H, W), np.float32), 0.5)
    assert where_in(place, (H, W), "frame") == "the whole frame"


def test_bad_video_input_is_refused_in_words():
    times, scores = np.arange(3) / 2, np.array([0, 0.9, 0])
    found = intervals(times, scores, 0.5, 1.5)
    with pytest.raises(UsageError, match="places of 1 peak frames, got 0"):
        describe_video(times, scores, found, 1.5, [], (H, W), "anomalous", 0.9, 0.5)
    with pytest.raises(UsageError, match="at least one frame, got 0 times and 0 scores"):
        describe_video(times[:0], scores[:0], [], 0, [], (H, W), "normal", 0.0, 0.5)
