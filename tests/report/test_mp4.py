"""The MP4 writer: what is written is read back and looked at."""

import sys
from pathlib import Path

import av
import numpy as np
import pytest

from looktwice.errors import MissingExtra, UsageError
from looktwice.report.mp4 import ANOMALOUS, INK, NORMAL, PAPER, AnnotatedVideo, write_video

H, W = 240, 320
GREY = np.full((H, W, 3), 120, np.uint8)


def read(path: Path) -> tuple[np.ndarray, list[float], list[float]]:
    """(F, h, w, 3) frames, and for each when it begins and how long it is shown, seconds."""
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
        pixels = np.stack([frame.to_ndarray(format="rgb24") for frame in frames])
        return pixels, [frame.time for frame in frames], [float(frame.duration * frame.time_base) for frame in frames]


def boxes(path: Path) -> list[bytes]:
    content, names, at = path.read_bytes(), [], 0
    while at < len(content):
        names.append(content[at + 4 : at + 8])
        at += int.from_bytes(content[at : at + 4], "big")
    return names


@pytest.mark.parametrize("fps", [4.0, 25.0, 30000 / 1001])
def test_frames_come_back_at_their_rate_in_their_colours(tmp_path: Path, fps: float) -> None:
    colours = np.array(
        [(200, 40, 40), (40, 200, 40), (40, 40, 200), (250, 250, 250), (0, 0, 0), (90, 60, 30)], np.uint8
    )
    path = tmp_path / "a.mp4"
    notes = write_video(path, (np.broadcast_to(c, (48, 64, 3)) for c in colours), fps)
    pixels, times, lasting = read(path)
    assert notes == ("encoded as H.264 by libx264",)
    assert np.abs(pixels[:, 20, 30].astype(int) - colours).max() <= 4
    np.testing.assert_allclose(times, np.arange(6) / fps, atol=1e-4)
    np.testing.assert_allclose(lasting, 1 / fps, atol=1e-4)


def test_it_plays_in_browsers(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    write_video(path, [GREY] * 3, 4)
    with av.open(str(path)) as container:
        codec = container.streams.video[0].codec_context
        assert (codec.name, codec.pix_fmt, codec.colorspace) == ("h264", "yuv420p", 1)  # 1: BT.709
    names = boxes(path)
    assert names.index(b"moov") < names.index(b"mdat")  # playing begins before everything is there


def test_odd_sides_are_padded_and_said(tmp_path: Path) -> None:
    path = tmp_path / "odd.mp4"
    frame = np.random.default_rng(0).integers(0, 255, (47, 63, 1), np.uint8).repeat(3, 2)
    notes = write_video(path, [frame], 4)
    assert notes[1:] == ("padded from 63 x 47 to 64 x 48: sides must be even",)
    pixels = read(path)[0][0].astype(int)
    assert pixels.shape == (48, 64, 3)
    assert np.abs(pixels[:47, :63] - frame).mean() < 12


def test_without_libx264_it_says_which_codec_it_took(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(av, "codecs_available", {"mpeg4"})
    path = tmp_path / "a.mp4"
    notes = write_video(path, [GREY] * 4, 25)
    assert notes == ("encoded as MPEG-4 part 2 (no libx264 here): some browsers refuse it",)
    np.testing.assert_allclose(read(path)[1], np.arange(4) / 25)


def test_a_crash_leaves_neither_half_a_file_nor_a_trace(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"the old one")

    def frames():
        yield GREY
        raise RuntimeError("the camera fell")

    with pytest.raises(RuntimeError, match="the camera fell"):
        write_video(path, frames(), 4)
    assert path.read_bytes() == b"the old one"
    assert list(tmp_path.iterdir()) == [path]


def test_the_file_is_not_there_before_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.mp4"
    with AnnotatedVideo(path, (H, W), 4) as video:
        video.add(GREY, None, 0.1, 0.0, False)
        assert not path.exists()
    assert len(read(path)[0]) == 1
    assert list(path.parent.iterdir()) == [path]


def test_the_same_frames_give_the_same_bytes(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (5, 48, 64, 3), np.uint8)
    for name in ("a.mp4", "b.mp4"):
        write_video(tmp_path / name, noise, 4)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


@pytest.mark.parametrize(
    ("frames", "fps", "words"),
    [
        ([], 4, "no frame was given for a.mp4: a video needs at least one"),
        ([GREY], 0, "fps must lie above 0 and at most 60000, got 0"),
        ([GREY], float("nan"), "fps must lie above 0"),
        (
            [GREY, GREY[:20]],
            4,
            r"all frames of a video must have one size: expected \(240, 320, 3\), got \(20, 320, 3\)",
        ),
        ([GREY[..., 0]], 4, r"a frame must be \(H, W, 3\) uint8, got \(240, 320\) uint8"),
        ([GREY / 255], 4, r"a frame must be \(H, W, 3\) uint8, got \(240, 320, 3\) float64"),
    ],
)
def test_what_cannot_be_written_is_refused_in_words(tmp_path: Path, frames: list, fps: float, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        write_video(tmp_path / "a.mp4", frames, fps)
    assert list(tmp_path.iterdir()) == []


def test_without_pyav_the_error_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingExtra, match=r"Writing a.mp4 needs the module 'av': pip install 'looktwice\[video\]'"):
        write_video(tmp_path / "a.mp4", [GREY], 4)


# ---------------------------------------------------------------- the annotated video


def annotated(path: Path) -> tuple[np.ndarray, list[float], list[float]]:
    heat = np.zeros((H, W), np.float32)
    heat[100:140, 100:180] = 1
    with AnnotatedVideo(path, (H, W), 4) as video:
        video.add(GREY, None, 0.1, 0.0, False)
        video.add(GREY, np.zeros((H, W), np.float32), 0.2, 0.25, False)
        video.add(GREY, heat, 0.9, 0.5, True)
        video.add(GREY, None, 0.3, 2.0, False)  # a gap of 1.5 s
    return read(path)


def inside(page: np.ndarray) -> np.ndarray:
    """Cut the frame out of its border, as the layout of the page puts it: at the bottom, in the middle."""
    border = (page.shape[1] - W) // 2
    return page[-border - H : -border, border : border + W]


def test_each_frame_is_shown_for_its_true_duration(tmp_path: Path) -> None:
    _, times, lasting = annotated(tmp_path / "a.mp4")
    np.testing.assert_allclose(times, [0, 0.25, 0.5, 2.0])
    np.testing.assert_allclose(lasting, [0.25, 0.25, 1.5, 0.25])


def test_the_border_turns_when_it_goes_wrong(tmp_path: Path) -> None:
    pages, _, _ = annotated(tmp_path / "a.mp4")
    edges = pages[:, -2, 20:-20].mean(1)
    for edge, colour in zip(edges, (NORMAL, NORMAL, ANOMALOUS, NORMAL), strict=True):
        assert np.abs(edge - colour).max() < 12


def test_heat_lies_where_the_map_is_and_nowhere_else(tmp_path: Path) -> None:
    pages, _, _ = annotated(tmp_path / "a.mp4")
    calm, hot = inside(pages[1]).astype(int), inside(pages[2]).astype(int)
    assert np.abs(calm[4:-4, 4:-4] - 120).max() < 12  # beside the border its colour bleeds, as chroma is halved
    changed = np.abs(hot - 120).max(2) > 40
    assert changed[104:136, 104:176].all()
    changed[96:144, 96:184] = False
    assert not changed.any()


def test_the_caption_tells_time_score_and_verdict_and_the_bar_is_as_long_as_the_score(tmp_path: Path) -> None:
    pages, _, _ = annotated(tmp_path / "a.mp4")
    head = pages.shape[1] - H - (pages.shape[2] - W)
    captions = pages[:, : head // 2].astype(int)
    assert ((captions > 150).all(-1).sum((1, 2)) > 60).all()  # light letters
    assert np.abs(captions[:, 1, -40:] - PAPER).max() < 12  # on a dark ground
    assert not np.array_equal(captions[0] > 128, captions[1] > 128)  # another time, another text
    bar = pages[:, head - 5, 4:-4].astype(int)  # inside the bar: it is 3 high with a gap of 3 under it
    lengths = (np.abs(bar - INK).max(-1) < 60).mean(-1)
    np.testing.assert_allclose(lengths, [0.1, 0.2, 0.9, 0.3], atol=0.02)


@pytest.mark.parametrize("size", [(48, 64), (33, 17), (1, 1), (600, 200), (481, 641)])
def test_every_size_can_be_annotated(tmp_path: Path, size: tuple[int, int]) -> None:
    path = tmp_path / "a.mp4"
    with AnnotatedVideo(path, size, 4) as video:
        video.add(np.zeros((*size, 3), np.uint8), np.ones(size, np.float32), 1.0, 3600.0, True)
    pages, times, _ = read(path)
    assert pages.shape[2] >= 320  # wide enough for the caption
    assert all(side % 2 == 0 for side in pages.shape[1:3])
    assert times == [0.0]  # players begin at 0, the caption tells the true time


def annotate(path: Path, *arguments: object) -> None:
    with AnnotatedVideo(path, (H, W), 4) as video:
        video.add(GREY, None, 0.5, 0.0, False)
        video.add(*arguments)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((GREY[:9], None, 0.5, 1.0, True), r"expected frames of shape \(240, 320, 3\), got \(9, 320, 3\)"),
        ((GREY, None, 1.5, 1.0, True), r"score must lie in \[0, 1\], got 1.5"),
        ((GREY, None, 0.5, 0.0, True), "times must climb: got 0 s after 0 s"),
        ((GREY, None, 0.5, float("nan"), True), "times must climb: got nan s after 0 s"),
        ((GREY, np.full((H, W), 2.0, np.float32), 0.5, 1.0, True), r"must lie in \[0, 1\], got 2.0 to 2.0"),
    ],
)
def test_what_cannot_be_annotated_is_refused_in_words(tmp_path: Path, arguments: tuple, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        annotate(tmp_path / "a.mp4", *arguments)
    assert list(tmp_path.iterdir()) == []


def test_a_size_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"size must be \(height, width\) of at least one pixel, got \(0, 5\)"):
        AnnotatedVideo(tmp_path / "a.mp4", (0, 5), 4)
