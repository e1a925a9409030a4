"""Videos: every frame carries its number in its pixels, so that a frame in the wrong place is seen."""

import gc
import logging
import sys
import tracemalloc
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from looktwice.errors import BadFile, MissingExtra
from looktwice.modalities import load, modality_of, sha256_of
from looktwice.modalities.video import Video, _Clock, choose_frames
from looktwice.records import Sample, VideoData
from looktwice.report.mp4 import write_video
from looktwice.settings import ImageSettings, Settings, VideoSettings

H, W, BITS = 48, 64, 8
EVERY = VideoSettings(every=1)


def numbered(number: int, size: tuple[int, int] = (H, W)) -> np.ndarray:
    """(H, W, 3): the bits of the number as grey columns on a ground that moves."""
    height, width = size
    frame = np.full((height, width, 3), 70, np.uint8)
    frame[height // 2 :, :, 1] += (np.arange(width) * 3 + number * 5).astype(np.uint8) % 50
    for bit in range(BITS):
        column = slice(bit * width // BITS, (bit + 1) * width // BITS)
        frame[: height // 2, column] = 220 if number >> bit & 1 else 30
    return frame


def number_of(frame: np.ndarray) -> int:
    height, width = frame.shape[:2]
    columns = frame[2 : height // 2 - 2].mean((0, 2)).reshape(BITS, width // BITS).mean(1)
    return sum(1 << bit for bit, level in enumerate(columns) if level > 125)


def write(
    path: Path,
    count: int = 50,
    rate: int = 25,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    options: dict[str, str] | None = None,
    milliseconds: list[int] | None = None,
    sound: float = 0.0,
    prepare=lambda stream: None,
    container_options: dict[str, str] | None = None,
) -> Path:
    with av.open(str(path), "w", options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=rate, options=options or {})
        stream.width, stream.height, stream.pix_fmt = W, H, pix_fmt
        prepare(stream)
        voice = container.add_stream("aac" if path.suffix == ".mp4" else "libopus", rate=48000) if sound else None
        if milliseconds is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for index in range(count):
            frame = av.VideoFrame.from_ndarray(numbered(index), format="rgb24")
            if milliseconds is not None:
                frame.pts, frame.time_base = milliseconds[index], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if voice is not None:
            hum(container, voice, sound)
    return path


def hum(container, stream, seconds: float) -> None:
    for start in range(0, int(seconds * 48000), 960):
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 960), np.float32), format="flt", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 48000, start, Fraction(1, 48000)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def plan(path: Path, **video: object) -> Sample:
    return Video().load(path, Settings(video=VideoSettings(**video)))


def data_of(sample: Sample) -> VideoData:
    assert isinstance(sample.data, VideoData)
    return sample.data


def frames_of(sample: Sample, **video: object) -> np.ndarray:
    """All views of a sample in one array."""
    return np.concatenate([v.images for v in Video().views(sample, Settings(video=VideoSettings(**video)))])


def numbers_of(path: Path) -> list[int]:
    return [number_of(frame) for frame in frames_of(plan(path, every=1), every=1)]


def refusal(path: Path, **chosen: object) -> BadFile:
    with pytest.raises(BadFile) as caught:
        Video().load(path, Settings(**chosen))
    assert caught.value.path == str(path)
    return caught.value


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """50 frames at 25 per second, with B-frames."""
    return write(tmp_path_factory.mktemp("film") / "film.mp4", options={"bf": "3", "g": "10"})


# ---------------------------------------------------------------- time


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.mp4", "libx264"), ("a.mov", "libx264"), ("a.mkv", "libx264"), ("a.avi", "mpeg4"), ("a.webm", "libvpx"),
        ("b.webm", "libvpx-vp9"), ("b.mkv", "ffv1"), ("b.mp4", "libx265"), ("b.m4v", "mpeg4"),
    ],
)  # fmt: skip
def test_every_container_gives_its_frames_in_order_at_their_true_times(tmp_path: Path, name: str, codec: str) -> None:
    quiet = {"x265-params": "log-level=none"} if codec == "libx265" else {}
    path = write(tmp_path / name, count=30, codec=codec, options=quiet)
    sample = plan(path, every=1)
    assert modality_of(path).name == "video"
    np.testing.assert_allclose(data_of(sample).times, np.arange(30) / 25, atol=0.0006)  # MKV rounds to milliseconds
    assert data_of(sample).duration == pytest.approx(1.2, abs=0.002)
    assert data_of(sample).total == 30
    assert data_of(sample).size == (H, W)
    assert numbers_of(path) == list(range(30))
    assert sample.notes == ()
    assert sample.sha256 == sha256_of(path)


@pytest.mark.parametrize("name", ["v.mp4", "v.mkv"])
def test_a_variable_frame_rate_keeps_its_true_times(tmp_path: Path, name: str) -> None:
    stamps = [0, 40, 80, 500, 520, 700, 1300, 1310, 1900, 2000]
    sample = plan(write(tmp_path / name, count=10, milliseconds=stamps), every=1)
    np.testing.assert_allclose(data_of(sample).times, np.array(stamps) / 1000, atol=1e-6)
    assert numbers_of(sample.path) == list(range(10))


def test_a_clock_that_begins_late_counts_from_the_first_frame_and_says_so(tmp_path: Path) -> None:
    path = write(tmp_path / "late.mkv", count=5, milliseconds=[5000, 5040, 5080, 5120, 5160])
    sample = plan(path, every=1)
    np.testing.assert_allclose(data_of(sample).times, [0, 0.04, 0.08, 0.12, 0.16], atol=1e-6)
    assert sample.notes == ("the clock of the file begins at 5.00 s: times count from the first frame",)


def test_missing_and_falling_timestamps_are_derived_from_the_rate_and_counted() -> None:
    clock = _Clock(SimpleNamespace(time_base=Fraction(1, 100), average_rate=Fraction(10), guessed_rate=None))
    for pts in (0, None, 20, 5, 40):
        clock.tick(SimpleNamespace(pts=pts, duration=None))
    times, end = clock.read()
    np.testing.assert_allclose(times, [0, 0.1, 0.2, 0.3, 0.4])
    assert end == pytest.approx(0.5)
    assert clock.notes() == ["no usable timestamp, derived from 10 frames per second: 2 frames of 5"]


def test_a_long_still_is_told(tmp_path: Path) -> None:
    stamps = [40 * i for i in range(10)] + [2000 + 40 * i for i in range(10)]
    sample = plan(write(tmp_path / "still.mp4", count=20, milliseconds=stamps))
    assert sample.notes == ("no new frame from 0.36 s to 2.00 s",)


# ---------------------------------------------------------------- which frames


def test_the_default_is_four_frames_per_second(film: Path) -> None:
    data = data_of(plan(film))
    assert data.frames.tolist() == [0, 6, 12, 18, 25, 31, 37, 43]  # on screen at 0, 0.25, 0.5 ...
    np.testing.assert_allclose(data.times, data.frames / 25)


def test_count_goes_from_the_first_frame_to_the_last(film: Path) -> None:
    assert data_of(plan(film, count=5)).frames.tolist() == [0, 12, 24, 36, 49]
    assert data_of(plan(film, count=1)).frames.tolist() == [0]


def test_more_frames_than_there_are_gives_all_and_says_so(film: Path) -> None:
    sample = plan(film, count=1000)
    assert data_of(sample).frames.tolist() == list(range(50))
    assert sample.notes == ("1000 frames were asked for, 50 different ones are there",)


def test_every_takes_each_nth_frame(film: Path) -> None:
    assert data_of(plan(film, every=20)).frames.tolist() == [0, 20, 40]
    assert data_of(plan(film, every=1000)).frames.tolist() == [0]


def test_the_rate_of_the_file_takes_every_frame_in_spite_of_rounded_times() -> None:
    times = np.round(np.arange(300) / 30, 3)  # as MKV stores them
    assert choose_frames(times, 10.0, VideoSettings(fps=30)).tolist() == list(range(300))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(2, 900), min_size=1, max_size=60),
    st.floats(0.2, 2000),
)
def test_fps_takes_what_is_on_screen_at_each_tick(pauses: list[int], fps: float) -> None:
    times = np.cumsum([0, *pauses[:-1]]) / 1000
    end = times[-1] + pauses[-1] / 1000
    taken = set(choose_frames(times, end, VideoSettings(fps=fps)).tolist())
    slow, tick = {0}, 0
    while tick / fps < end - 1e-3:
        slow.add(max(i for i, time in enumerate(times) if time <= tick / fps + 1e-3))
        tick += 1
    edge = {i for i, time in enumerate(times) if abs((time - 1e-3) * fps - round((time - 1e-3) * fps)) < 1e-6}
    assert taken ^ slow <= edge | {i - 1 for i in edge}  # a tick that falls on an edge may round either way
    assert 0 in taken


@pytest.mark.parametrize("chunk", [1, 3, 7, 50, 99])
def test_chunks_join_to_the_same_frames_whatever_their_size(film: Path, chunk: int) -> None:
    sample = plan(film, every=2)
    views = list(Video().views(sample, Settings(video=VideoSettings(chunk=chunk))))
    assert all(len(v.images) == chunk for v in views[:-1])
    np.testing.assert_array_equal(np.concatenate([v.images for v in views]), frames_of(sample, chunk=25))


@settings(max_examples=12, deadline=None)
@given(
    sampling=st.one_of(
        st.builds(lambda v: {"fps": v}, st.floats(0.3, 60)),
        st.builds(lambda v: {"count": v}, st.integers(1, 60)),
        st.builds(lambda v: {"every": v}, st.integers(1, 60)),
    ),
    chunk=st.integers(1, 20),
)
def test_each_score_comes_back_to_the_frame_it_belongs_to(film: Path, sampling: dict, chunk: int) -> None:
    chosen = Settings(video=VideoSettings(**sampling, chunk=chunk, context=0))
    sample = Video().load(film, chosen)
    back: dict[int, float] = {}
    for views in Video().views(sample, chosen):
        seen = [number_of(image) for image in views.images]
        maps = np.stack([np.full(views.images.shape[1:3], n / 100, np.float32) for n in seen])
        scattered = views.scatter(maps)
        assert scattered.shape == (len(seen), H, W)
        back |= dict(zip(views.way.frames.tolist(), scattered.mean((1, 2)), strict=True))
        np.testing.assert_allclose(views.way.times, np.array(seen) / 25, atol=1e-6)
        assert views.names == tuple(f"t={n / 25:.2f} s" for n in seen)
    assert list(back) == data_of(sample).frames.tolist()
    for frame, score in back.items():
        assert score == pytest.approx(frame / 100, abs=1e-6)


def test_every_chunk_carries_the_same_evenly_spaced_context(film: Path) -> None:
    sample = plan(film, every=1)
    views = list(Video().views(sample, Settings(video=VideoSettings(chunk=16, context=8))))
    assert [number_of(frame) for frame in views[0].context] == [0, 7, 14, 21, 28, 35, 42, 49]
    assert len(views) == 4
    assert all(np.shares_memory(v.context, views[0].context) for v in views)


@pytest.mark.parametrize(("codec", "options"), [("libx264", {"g": "5", "sc_threshold": "0"}), ("ffv1", {})])
def test_with_many_key_frames_the_context_comes_from_them_pixel_by_pixel(
    tmp_path: Path, codec: str, options: dict[str, str]
) -> None:
    sample = plan(write(tmp_path / "keys.mkv", count=100, codec=codec, options=options), every=1)
    views = next(iter(Video().views(sample, Settings(video=VideoSettings(chunk=16, context=5)))))
    numbers = [number_of(frame) for frame in views.context]
    assert numbers[-1] >= 95
    np.testing.assert_allclose(numbers, np.linspace(0, numbers[-1], 5), atol=2.5)
    assert codec == "ffv1" or all(number % 5 == 0 for number in numbers)
    np.testing.assert_array_equal(views.context, frames_of(sample)[numbers])


def test_a_video_in_one_chunk_needs_no_context(film: Path) -> None:
    sample = plan(film, count=16)
    assert [v.context for v in Video().views(sample, Settings())] == [None]
    assert [v.context for v in Video().views(sample, Settings(video=VideoSettings(chunk=8, context=0)))] == [None, None]


# ---------------------------------------------------------------- pixels


def test_frames_are_scaled_down_to_the_longest_side_and_never_up(film: Path) -> None:
    sample = plan(film, count=3)
    assert frames_of(sample, max_side=32).shape == (3, 24, 32, 3)
    assert frames_of(sample, max_side=640).shape == (3, 48, 64, 3)


def test_scaling_averages_areas_so_that_a_speck_cannot_fall_between_samples(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for index in range(5):
        speck = np.full((H, W, 3), 20, np.uint8)
        y, x = rng.integers(0, H), rng.integers(0, W)
        speck[y, x] = 220
        path = tmp_path / f"{index}.mkv"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("ffv1", rate=25)
            stream.width, stream.height, stream.pix_fmt = W, H, "bgr0"
            container.mux(stream.encode(av.VideoFrame.from_ndarray(speck, format="rgb24")))
            container.mux(stream.encode(None))
        small = frames_of(plan(path), max_side=40)[0]
        assert small.shape == (30, 40, 3)
        light = (small.astype(float) - 20).sum() / 3 * (H * W) / (30 * 40)
        assert light == pytest.approx(200, rel=0.1)


@pytest.mark.parametrize(
    ("degrees", "flip", "corner"),
    [(0, False, (0, 0)), (90, False, (-1, 0)), (180, False, (-1, -1)), (-90, False, (0, -1)), (0, True, (0, -1)),
     (90, True, (-1, -1))],
)  # fmt: skip
def test_the_display_matrix_turns_frames_upright(tmp_path: Path, degrees: int, flip: bool, corner: tuple) -> None:
    marked = np.full((H, W, 3), 20, np.uint8)
    marked[: H // 2, : W // 2] = 240  # upper left as stored
    path = tmp_path / "turned.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = W, H, "yuv420p"
        if degrees or flip:
            stream.set_display_rotation(degrees, hflip=flip)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(marked, format="rgb24")))
        container.mux(stream.encode(None))
    sample = plan(path)
    shown = frames_of(sample)[0]
    size = (W, H) if degrees % 180 else (H, W)
    assert shown.shape == (*size, 3)
    assert sample.size == size
    light = [(y, x) for y in (0, -1) for x in (0, -1) if shown[y, x].mean() > 125]
    assert light == [corner]
    assert sample.notes == (("display matrix: turned upright",) if degrees or flip else ())


def test_pixels_that_are_not_square_and_deep_colours_are_told(tmp_path: Path) -> None:
    def wide(stream) -> None:
        stream.codec_context.sample_aspect_ratio = Fraction(16, 11)

    path = write(tmp_path / "wide.mp4", count=3, pix_fmt="yuv420p10le", prepare=wide)
    assert plan(path).notes == (
        "pixels are not square (16:11, width to height): frames are shown as stored",
        "10 bits per colour: reduced to 8",
    )


def test_a_frame_of_another_size_is_scaled_to_the_first_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "sizes.avi"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = W, H, "yuvj420p"
        for index, (height, width) in enumerate([(H, W), (H, W), (2 * H, 2 * W), (H, W)]):
            coder = av.CodecContext.create("mjpeg", "w")
            coder.width, coder.height, coder.pix_fmt, coder.time_base = width, height, "yuvj420p", Fraction(1, 25)
            frame = av.VideoFrame.from_ndarray(numbered(index, (height, width)), format="rgb24")
            frame = frame.reformat(format="yuvj420p")
            frame.pts = index
            for packet in coder.encode(frame) + coder.encode(None):
                packet.stream, packet.pts, packet.dts, packet.time_base = stream, index, index, Fraction(1, 25)
                container.mux(packet)
    sample = plan(path, every=1)
    assert sample.notes == ("scaled to the size of the first frame, 64 x 48: 1 frame of another size",)
    assert numbers_of(path) == [0, 1, 2, 3]


def test_memory_does_not_grow_with_the_length(tmp_path: Path) -> None:
    def peak(count: int) -> int:
        path = write(tmp_path / f"{count}.mp4", count=count, options={"preset": "ultrafast"})
        for _ in range(2):  # the first run fills caches
            gc.collect()
            tracemalloc.start()
            sample = Video().load(path, Settings(video=EVERY))
            seen = 0
            for views in Video().views(sample, Settings(video=EVERY)):
                seen += len(views.images)
            _, most = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            assert seen == count
        return most

    short, long = peak(100), peak(1000)
    assert long < 1.2 * short
    assert long < 1000 * H * W * 3 / 5  # far less than the frames


def test_decoded_frames_are_given_back_at_once(tmp_path: Path) -> None:
    path = tmp_path / "large.mp4"
    write_video(path, (numbered(index % 200, (480, 640)) for index in range(300)), 25)
    sample, process, grown = plan(path, every=1), psutil.Process(), []
    gc.disable()  # what only the collector frees would be seen here: the frames are 400 MB in all
    try:
        for _ in Video().views(sample, Settings(video=VideoSettings(chunk=8, context=0))):
            grown.append(process.memory_info().rss)
    finally:
        gc.enable()
    assert grown[-1] - grown[4] < 60e6


# ---------------------------------------------------------------- broken videos


def keeps_only_true_frames(whole: Path, broken: Path) -> Sample:
    """Each frame of the broken video must be, pixel by pixel, the frame of the whole one at that time."""
    true, left = plan(whole, every=1), plan(broken, every=1)
    at = {round(time, 3): frame for time, frame in zip(data_of(true).times, frames_of(true), strict=True)}
    frames = frames_of(left)
    assert len(frames) == len(data_of(left).frames) == data_of(left).total < data_of(true).total
    for time, frame in zip(data_of(left).times, frames, strict=True):
        np.testing.assert_array_equal(frame, at[round(time, 3)])
    return left


@pytest.mark.parametrize(
    ("name", "codec", "of"),
    [
        ("cut.mp4", "libx264", "100"), ("cut.mkv", "libx264", "about 100"), ("cut.avi", "mpeg4", "100"),
        ("cut.webm", "libvpx", "about 100"), ("cut2.mkv", "ffv1", "about 100"), ("cut2.avi", "mjpeg", "100"),
    ],
)  # fmt: skip
def test_a_file_cut_at_sixty_percent_gives_what_is_left_and_says_so(
    tmp_path: Path, name: str, codec: str, of: str
) -> None:
    front = {"movflags": "+faststart"} if name.endswith("mp4") else {}
    pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    path = write(
        tmp_path / f"whole-{name}",
        count=100,
        codec=codec,
        pix_fmt=pix_fmt,
        container_options=front,
        options={"g": "20"},
    )
    cut = tmp_path / name
    cut.write_bytes(path.read_bytes()[: int(path.stat().st_size * 0.6)])
    sample = keeps_only_true_frames(path, cut)
    data = data_of(sample)
    assert 10 < data.total < 90
    said = f"the file breaks off after {data.duration:.2f} s of 4.00 s: {data.total} of {of} frames can be read"
    assert sample.notes == (said,)


def test_a_tail_of_zeros_gives_what_is_left_and_says_so(tmp_path: Path) -> None:
    path = write(tmp_path / "whole.mp4", count=100, container_options={"movflags": "+faststart"}, options={"g": "20"})
    content = path.read_bytes()
    kept = int(len(content) * 0.6)
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(content[:kept] + bytes(len(content) - kept))
    sample = keeps_only_true_frames(path, broken)
    assert sample.notes[-1].startswith("the file breaks off after ")
    assert sample.notes[-1].endswith(f" s of 4.00 s: {data_of(sample).total} of 100 frames can be read")


def test_damage_in_the_middle_leaves_out_what_is_built_on_it(tmp_path: Path) -> None:
    path = write(tmp_path / "whole.mp4", count=100, options={"g": "10", "bf": "0", "sc_threshold": "0"})
    content = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        packet = next(p for p in container.demux(video=0) if p.pts * p.time_base == Fraction(54, 25))
        content[packet.pos : packet.pos + packet.size] = b"\xff" * packet.size
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(content)
    sample = keeps_only_true_frames(path, broken)
    assert numbers_of(broken) == [*range(54), *range(60, 100)]  # a key frame each 10
    assert data_of(sample).frames.tolist() == list(range(94))
    assert data_of(sample).times[54] == pytest.approx(60 / 25)
    said = "damaged, or built on a damaged frame, and left out: 6 frames, the first at 2.16 s"
    assert sample.notes == (said,)


def test_sound_that_outlasts_the_pictures_is_no_damage(tmp_path: Path) -> None:
    for name in ("a.mp4", "a.mkv"):
        sample = plan(write(tmp_path / name, count=25, sound=3.0))
        assert sample.notes == ()
        assert data_of(sample).duration == pytest.approx(1.0, abs=0.01)


def test_a_file_that_changes_after_loading_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mkv", count=50)
    sample = plan(path, every=1)
    write(path, count=20)
    with pytest.raises(BadFile, match="frame 20 is gone: the file changed since it was loaded") as caught:
        frames_of(sample, context=0)
    assert caught.value.kind == "unreadable"


def test_broken_files_print_and_log_nothing(
    tmp_path: Path, film: Path, capfd: pytest.CaptureFixture, caplog: pytest.LogCaptureFixture
) -> None:
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(film.read_bytes()[:-3000])
    (tmp_path / "text.mp4").write_text("no video" * 100)
    with caplog.at_level(logging.DEBUG):
        refusal(cut)
        refusal(tmp_path / "text.mp4")
        plan(film)
    assert capfd.readouterr() == ("", "")
    assert not caplog.records


# ---------------------------------------------------------------- what is no video


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none.mp4").kind == "missing_file"


@pytest.mark.parametrize(
    ("content", "kind", "words"),
    [
        (b"", "empty", "the file has no bytes"),
        (b"just some text, renamed\n" * 50, "unreadable", "not a video: its content is not MP4, MOV, AVI, MKV or WebM"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "unreadable", "Git LFS pointer.*git lfs pull"),
        (b"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nfilm.mp4\n#EXT-X-ENDLIST\n", "unreadable", "not a video"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "unreadable", "not a video"),
        (b"\x1aE\xdf\xa3" + bytes(60), "unreadable", "cut or damaged before its first frame"),
        (b"RIFF\0\0\0\0AVI LIST", "unreadable", "cut or damaged before its first frame"),
    ],
)
def test_what_is_no_video_is_refused_in_words(tmp_path: Path, content: bytes, kind: str, words: str) -> None:
    path = tmp_path / "bad.mp4"
    path.write_bytes(content)
    error = refusal(path)
    assert error.kind == kind
    with pytest.raises(BadFile, match=words):
        raise error


def test_an_mp4_without_its_index_says_what_is_missing(tmp_path: Path, film: Path) -> None:
    path = tmp_path / "unfinished.mp4"
    content = film.read_bytes()
    path.write_bytes(content[: content.index(b"moov") - 4])
    error = refusal(path)
    assert error.kind == "unreadable"
    assert "its index (moov) is missing: the recording was not finished or the file was cut" in error.why


def test_sound_only_is_unsupported(tmp_path: Path) -> None:
    path = tmp_path / "song.mp4"
    with av.open(str(path), "w") as container:
        hum(container, container.add_stream("aac", rate=48000), 0.5)
    error = refusal(path)
    assert (error.kind, error.why) == ("unsupported", "no video stream: it holds sound only")


@pytest.mark.parametrize("tag", [b"encv", b"zz09"])
def test_an_encrypted_or_unknown_codec_is_unsupported(tmp_path: Path, film: Path, tag: bytes) -> None:
    path = tmp_path / "odd.mp4"
    path.write_bytes(film.read_bytes().replace(b"avc1", tag))
    error = refusal(path)
    assert error.kind == "unsupported"
    assert "encrypted, or packed by a codec that FFmpeg does not know: save it as H.264 in MP4" in error.why


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("nothing.avi", "its video stream holds no frame: record or copy it again"),
        ("nothing.mp4", "it holds neither pictures nor sound: record or copy it again"),
    ],
)
def test_a_video_without_frames_is_empty(tmp_path: Path, name: str, why: str) -> None:
    path = tmp_path / name
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = W, H, "yuv420p"
        container.start_encoding()
    error = refusal(path)
    assert (error.kind, error.why) == ("empty", why)


def test_a_video_of_which_no_frame_decodes_is_unreadable(tmp_path: Path, film: Path) -> None:
    content = bytearray(film.read_bytes())
    start = content.index(b"mdat") + 4
    end = content.index(b"moov") - 4
    content[start:end] = bytes(end - start)
    path = tmp_path / "zeros.mp4"
    path.write_bytes(content)
    error = refusal(path)
    assert error.kind == "unreadable"
    assert "none of its 50 frames can be decoded: it is damaged or encrypted" in error.why


def test_frames_over_the_pixel_budget_are_refused(film: Path, tmp_path: Path) -> None:
    small = ImageSettings(max_pixels=1000)
    error = refusal(film, image=small)
    assert error.kind == "too_large"
    assert "frames of 64 x 48 = 0.003072 megapixels are over the budget of 0.001: raise image.max_pixels" in error.why
    assert refusal(gif(tmp_path / "a.gif", [40, 40]), image=small).kind == "too_large"


def test_without_pyav_the_error_names_the_extra(film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingExtra, match=r"Reading film.mp4 needs the module 'av': pip install 'looktwice\[video\]'"):
        plan(film)
    assert data_of(plan(gif(tmp_path / "a.gif", [40, 40]))).total == 2  # needs Pillow only


# ---------------------------------------------------------------- animated GIF


def gif(path: Path, milliseconds: list[int], mode: str = "RGB") -> Path:
    pictures = [Image.fromarray(numbered(i)).convert(mode) for i in range(len(milliseconds))]
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=milliseconds, loop=0)
    return path


def test_a_gif_keeps_the_duration_of_each_frame(tmp_path: Path) -> None:
    path = gif(tmp_path / "a.gif", [40, 500, 40, 1000, 20])
    sample = load(path, Settings(video=EVERY))
    assert sample.modality == "video"
    np.testing.assert_allclose(data_of(sample).times, [0, 0.04, 0.54, 0.58, 1.58])
    assert data_of(sample).duration == pytest.approx(1.6)
    assert data_of(sample).size == (H, W)
    assert numbers_of(path) == [0, 1, 2, 3, 4]
    assert sample.notes == ()


def test_a_gif_frame_without_duration_is_shown_as_browsers_do(tmp_path: Path) -> None:
    sample = plan(gif(tmp_path / "a.gif", [0, 40, 0]), every=1)
    np.testing.assert_allclose(data_of(sample).times, [0, 0.1, 0.14])
    assert sample.notes == ("no duration, shown 0.1 s as in browsers: 2 frames",)


def test_a_still_gif_is_a_picture(tmp_path: Path) -> None:
    path = gif(tmp_path / "a.gif", [40])
    assert modality_of(path).name == "image"
    assert data_of(plan(path)).total == 1  # but may be called a video


def test_a_transparent_gif_is_composited_on_the_background(tmp_path: Path) -> None:
    clear = Image.new("RGBA", (W, H), (0, 0, 0, 0))
    dots = [clear.copy(), clear.copy()]
    for index, dot in enumerate(dots):
        dot.paste((200, 0, 0, 255), (index * 20, 0, index * 20 + 10, 10))
    path = tmp_path / "clear.gif"
    dots[0].save(path, save_all=True, append_images=dots[1:], duration=40, disposal=2)
    chosen = Settings(image=ImageSettings(background=(0, 255, 0)), video=EVERY)
    sample = Video().load(path, chosen)
    images = next(iter(Video().views(sample, chosen))).images
    assert images[0, 40, 40].tolist() == images[1, 40, 40].tolist() == [0, 255, 0]
    assert images[0, 5, 5].tolist() == images[1, 5, 25].tolist() == [200, 0, 0]
    assert sample.notes == ("transparent pixels composited on RGB (0, 255, 0): 2 frames",)


def test_a_cut_gif_gives_what_is_left_and_says_so(tmp_path: Path) -> None:
    path = gif(tmp_path / "whole.gif", [40] * 20)
    cut = tmp_path / "cut.gif"
    cut.write_bytes(path.read_bytes()[: int(path.stat().st_size * 0.6)])
    sample = keeps_only_true_frames(path, cut)
    total = data_of(sample).total
    assert 8 < total < 16
    assert sample.notes == (f"the file breaks off after {total * 0.04:.2f} s: {total} frames can be read",)


def test_a_gif_without_a_readable_frame_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "head.gif"
    path.write_bytes(gif(tmp_path / "whole.gif", [40, 40]).read_bytes()[:30])
    assert refusal(path).kind in ("unreadable", "empty")
    path.write_bytes(b"GIF89a")
    assert refusal(path).kind == "unreadable"


# ---------------------------------------------------------------- folders of frames


def folder(path: Path, count: int, fps: str | None = "10") -> Path:
    path.mkdir()
    for index in range(count):
        Image.fromarray(numbered(index)).save(path / f"frame{index}.png")
    if fps is not None:
        (path / "fps.txt").write_text(fps)
    return path


def test_a_folder_of_frames_is_read_in_natural_order(tmp_path: Path) -> None:
    path = folder(tmp_path / "run.frames", 12)
    sample = load(path, Settings(video=EVERY))
    assert sample.modality == "video"
    assert data_of(sample).files == tuple(f"frame{i}.png" for i in range(12))
    assert numbers_of(path) == list(range(12))
    np.testing.assert_allclose(data_of(sample).times, np.arange(12) / 10)
    assert data_of(sample).duration == pytest.approx(1.2)
    assert sample.notes == ()
    assert sample.sha256 == sha256_of(path)


def test_only_a_folder_named_frames_is_taken_for_a_video_by_itself(tmp_path: Path) -> None:
    path = folder(tmp_path / "pictures", 3)
    assert not Video().recognises(path)
    assert data_of(load(path, modality_name="video")).total == 3


def test_a_folder_without_a_rate_is_taken_at_25_and_says_so(tmp_path: Path) -> None:
    sample = plan(folder(tmp_path / "run.frames", 3, fps=None), every=1)
    np.testing.assert_allclose(data_of(sample).times, [0, 0.04, 0.08])
    assert sample.notes == ("no fps.txt in the folder: 25 frames per second are assumed",)


@pytest.mark.parametrize("text", ["many", "0", "-5", "inf", ""])
def test_a_rate_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    path = folder(tmp_path / "run.frames", 2, fps=text)
    with pytest.raises(BadFile, match=r"fps\.txt: must hold one number of frames per second above 0, got") as caught:
        plan(path)
    assert caught.value.kind == "unreadable"


def test_a_broken_picture_is_left_out_and_the_others_keep_their_times(tmp_path: Path) -> None:
    path = folder(tmp_path / "run.frames", 6)
    (path / "frame2.png").write_bytes((path / "frame2.png").read_bytes()[:60])
    sample = plan(path, every=1)
    assert numbers_of(path) == [0, 1, 3, 4, 5]
    np.testing.assert_allclose(data_of(sample).times, [0, 0.1, 0.3, 0.4, 0.5])
    assert len(sample.notes) == 1
    assert sample.notes[0].startswith("left out as it cannot be read: frame2.png: ")


def test_a_picture_of_another_size_is_scaled_to_the_first(tmp_path: Path) -> None:
    path = folder(tmp_path / "run.frames", 4)
    Image.fromarray(numbered(2, (2 * H, 2 * W))).save(path / "frame2.png")
    sample = plan(path, every=1)
    assert sample.notes == ("scaled to the size of the first frame, 64 x 48: 1 frame of another size",)
    assert numbers_of(path) == [0, 1, 2, 3]


def test_a_folder_without_pictures_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "none.frames"
    path.mkdir()
    (path / "notes.txt").write_text("nothing here")
    (path / ".hidden.png").write_bytes(b"x")
    error = refusal(path)
    assert error.kind == "empty"
    assert "no picture in this folder. Known endings: .png, .jpg" in error.why


def test_a_folder_of_broken_pictures_is_unreadable(tmp_path: Path) -> None:
    path = folder(tmp_path / "run.frames", 3)
    for file in path.glob("*.png"):
        file.write_bytes(b"not a picture")
    error = refusal(path)
    assert error.kind == "unreadable"
    assert error.why.startswith("none of its 3 pictures can be read, such as frame0.png: ")
