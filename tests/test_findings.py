"""From answers to Results: the verdict, the places, and what is kept of a video."""

import numpy as np
import pytest

from looktwice.findings import Desk, Judge
from looktwice.findings.answers import cut_level, maps_of
from looktwice.findings.image import judge_image
from looktwice.findings.point_cloud import judge_cloud
from looktwice.findings.video import KEY_FRAMES, PEAKS, KeyFrames, judge_video
from looktwice.modalities import views as views_of
from looktwice.modalities.image import sample_from_array
from looktwice.modalities.point_cloud import cloud_from_array
from looktwice.records import Prediction, Sample, Spec, ToFrames, ToPixels, VideoData, Views
from looktwice.settings import Settings


def desk(threshold=0.5, folder=None, formats=()):
    return Desk("fake", Spec(), Judge(threshold), "hash", folder, formats)


def seen(values, size=None):
    """Views of one grey picture of the shape of the map."""
    image = np.full((1, *values.shape, 3), 128, np.uint8)
    return Views(images=image, names=("image",), way=ToPixels(size=size or values.shape))


def judged(values, score, threshold=0.5):
    values = np.asarray(values, np.float32)
    sample = sample_from_array(np.full((*values.shape, 3), 128, np.uint8))
    answer = Prediction(score=score, anomaly_map=values[None])
    return judge_image(desk(threshold), sample, [(seen(values), answer)], "a.png")


def spot(height=40, width=60, level=0.9):
    values = np.full((height, width), 0.1, np.float32)
    values[10:20, 30:50] = level
    return values


# ---------------------------------------------------------------- pictures


def test_the_score_at_the_threshold_is_anomalous_and_below_is_not():
    assert judged(spot(), 0.5).verdict == "anomalous"
    assert judged(spot(), np.nextafter(0.5, 0)).verdict == "normal"


def test_a_normal_picture_has_no_regions_however_high_its_map():
    assert judged(spot(), 0.4).regions == ()


def test_regions_are_cut_at_the_threshold():
    (region,) = judged(spot(), 0.9).regions
    assert (region.box, region.area, region.score) == ((30, 10, 50, 20), 200, pytest.approx(0.9))


def test_an_anomalous_picture_whose_map_stays_below_shows_its_highest_place():
    (region,) = judged(spot(level=0.4), 0.9).regions
    assert region.box == (30, 10, 50, 20)


def test_the_way_back_of_a_smaller_view_gives_boxes_in_original_pixels(tmp_path):
    values = spot()
    sample = sample_from_array(np.full((80, 120, 3), 128, np.uint8))
    answer = Prediction(score=0.9, anomaly_map=values[None])
    (region,) = judge_image(desk(), sample, [(seen(values, (80, 120)), answer)], "a.png").regions
    assert np.abs(np.array(region.box) - (60, 20, 100, 40)).max() <= 1


def test_a_detector_without_a_map_marks_the_whole_thing():
    values = np.zeros((4, 6), np.float32)
    assert (maps_of(seen(values), Prediction(score=0.75)) == 0.75).all()
    shown = np.zeros((1, 4, 6), bool)
    shown[0, :2] = True
    some = maps_of(seen(values).model_copy(update={"shown": shown}), Prediction(score=0.75))
    assert (some[shown] == 0.75).all()
    assert (some[~shown] == 0).all()


def test_the_level_follows_a_low_map_only_where_something_is_wrong():
    assert cut_level(np.array([0.2, 0.4]), 0.5, "normal") == 0.5
    assert cut_level(np.array([0.2, 0.6]), 0.5, "anomalous") == 0.5
    assert cut_level(np.array([0.2, 0.4]), 0.5, "unsure") == pytest.approx(0.36)
    assert cut_level(np.array([np.nan, np.nan]), 0.5, "anomalous") == 0.5
    assert cut_level(np.array([0.0, 0.0]), 0.5, "anomalous") == 0.5


# ---------------------------------------------------------------- clouds


def test_a_cloud_keeps_its_anomalous_points_in_a_file(tmp_path):
    points = np.random.default_rng(0).normal(size=(2000, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    sample = cloud_from_array(points, "ball")
    views = next(views_of(sample, Settings.model_validate({"point_cloud": {"size": 128}})))
    seen_points = np.asarray(views.way.pixel)
    maps = np.zeros(views.images.shape[:3], np.float32)
    cap = np.flatnonzero(points[:, 2] > 0.85)
    for view, pixel in enumerate(seen_points):
        maps[view].reshape(-1)[pixel[cap][pixel[cap] >= 0]] = 0.9
    answer = Prediction(score=0.9, anomaly_map=maps)
    result = judge_cloud(desk(folder=tmp_path, formats=("ply",)), sample, [(views, answer)], "ball.xyz")
    (region,) = result.regions
    found = np.load(tmp_path / region.points)
    assert set(cap) <= set(found)
    assert points[found, 2].min() > 0.75
    assert set(result.files) == {"map", "picture", "heat", "overlay", "ply"}
    assert all((tmp_path / name).exists() for name in result.files.values())


# ---------------------------------------------------------------- videos


def video(times, total=None, duration=None):
    times = np.asarray(times, float)
    data = VideoData(
        frames=np.arange(len(times)), times=times, size=(20, 30), total=total or len(times),
        duration=duration or float(times[-1]) + 1,
    )  # fmt: skip
    return Sample(id="film", path="film.mp4", modality="video", data=data)


def streamed(sample, scores, chunk=4):
    """One answer per chunk; the map of each frame is its score at one place."""
    for start in range(0, len(scores), chunk):
        part = scores[start : start + chunk]
        maps = np.zeros((len(part), 20, 30), np.float32)
        maps[:, 5:10, 5:15] = np.array(part)[:, None, None]
        frames = np.arange(start, start + len(part))
        way = ToFrames(frames=frames, times=sample.data.times[frames], size=(20, 30))
        images = np.full((len(part), 20, 30, 3), 90, np.uint8)
        names = tuple(f"t={t:.2f} s" for t in way.times)
        answer = Prediction(score=max(part), anomaly_map=maps, view_scores=tuple(part))
        yield Views(images=images, names=names, way=way, posed=False), answer


@pytest.mark.parametrize("chunk", [1, 3, 100])
def test_a_video_has_its_curve_and_its_stretches_in_any_chunks(chunk):
    scores = [0.1, 0.2, 0.8, 0.9, 0.1, 0.1, 0.1, 0.7, 0.1]
    sample = video(range(9))
    result = judge_video(desk(), sample, streamed(sample, scores, chunk), "film.mp4")
    assert result.curve.scores == tuple(scores)
    assert [(r.interval, r.frame, r.box) for r in result.regions] == [
        ((1.5, 3.5), 3, (5, 5, 15, 10)),
        ((6.5, 7.5), 7, (5, 5, 15, 10)),
    ]
    assert (result.score, result.verdict) == (0.9, "anomalous")


def test_a_normal_video_has_a_curve_and_no_stretches():
    sample = video(range(3))
    result = judge_video(desk(), sample, streamed(sample, [0.1, 0.2, 0.3]), "film.mp4")
    assert (result.verdict, result.regions, len(result.curve.times)) == ("normal", (), 3)


def test_frames_with_one_time_are_all_judged_and_the_mp4_shows_one_of_them(tmp_path):
    import av

    sample = video([0, 1, 1, 2])
    out = desk(folder=tmp_path, formats=("mp4",))
    result = judge_video(out, sample, streamed(sample, [0.1, 0.2, 0.8, 0.1]), "film.mp4")
    assert len(result.curve.scores) == 4
    with av.open(str(tmp_path / result.files["mp4"])) as container:
        assert sum(1 for _ in container.decode(video=0)) == 3


def test_memory_holds_few_frames_of_a_long_video():
    frames = KeyFrames(0.5)
    image = np.zeros((4, 4, 3), np.uint8)
    rng = np.random.default_rng(0)
    for position in range(3000):
        frames.see(position, image, np.zeros((4, 4)), float(rng.random()))
    assert len(frames.kept) <= PEAKS + 2
    assert len(frames.choose(list(frames.kept))) == KEY_FRAMES


def test_a_kept_frame_does_not_hold_its_chunk():
    frames = KeyFrames(0.5)
    chunk = np.zeros((50, 4, 4, 3), np.uint8)
    frames.see(0, chunk[0], np.zeros((4, 4)), 0.9)
    assert frames.kept[0].image.base is None


def test_the_peak_of_every_stretch_is_kept():
    frames = KeyFrames(0.5)
    scores = [0.1, 0.6, 0.9, 0.7, 0.2, 0.8, 0.6, 0.1]
    for position, score in enumerate(scores):
        frames.see(position, np.full((2, 2, 3), position, np.uint8), np.full((2, 2), score), score)
    assert sorted(frames.kept) == [0, 2, 5]
    assert frames.choose([2, 5]) == [0, 2, 5]
    assert int(frames.kept[5].image[0, 0, 0]) == 5


def test_of_very_many_stretches_the_strongest_are_told():
    scores = [0.0 if i % 3 else 0.5 + i / 1000 for i in range(200)]
    sample = video(range(200))
    result = judge_video(desk(), sample, streamed(sample, scores), "film.mp4")
    assert len(result.regions) == PEAKS
    assert min(r.score for r in result.regions) == pytest.approx(sorted(scores)[-PEAKS])
    assert [r.interval for r in result.regions] == sorted(r.interval for r in result.regions)
