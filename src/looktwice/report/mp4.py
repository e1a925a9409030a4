"""Videos that people look at: H.264 in MP4 that plays in browsers, and the inspected video with its heat drawn in.

A file is whole or not there: it is written beside its place and moved into it at the end.

Letters: H W pixels of a frame, h w pixels of what is written.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from looktwice.errors import UsageError, need
from looktwice.report.atomic import sync_folder
from looktwice.report.overlay import blend

TICKS = 60_000  # per second: exact for 24, 25, 29.97, 30, 50 and 60; MPEG-4 part 2 allows no more than 65535
SMALLEST = 320  # pixels: smaller frames are enlarged, so that the caption can be read
NORMAL, ANOMALOUS = (0, 158, 115), (213, 94, 0)  # told apart by colour-blind eyes; the caption says it in words too
INK, PAPER, RAIL = (255, 255, 255), (24, 24, 24), (70, 70, 70)


def write_video(path: Path | str, frames: Iterable[np.ndarray], fps: float) -> tuple[str, ...]:
    """Write (H, W, 3) uint8 frames of one size at a constant rate; needs the extra `video`.

    Returns notes: which codec was used, and whether an odd size was padded by its last row or column, because
    H.264 for browsers needs even sides. Raises UsageError (no frame, wrong shape, rate not above 0), MissingExtra.
    """
    _check_rate(fps)
    notes: tuple[str, ...] = ()
    with _Encoder(Path(path), last=1 / fps) as encoder:
        for index, frame in enumerate(frames):
            encoder.add(frame, index / fps)
            notes = encoder.notes
    return notes


class AnnotatedVideo:
    """The inspected frames with heat, a coloured border and a caption, each shown for as long as it lasted.

    path: the MP4 to write. size: (H, W) of the frames. fps: of the sampled frames; the last one is shown for 1/fps.
    Use it as a context manager; on an exception inside nothing is left behind. `notes` tells the codec. Raises
    UsageError (no frame, wrong shape, times that do not climb, a map outside [0, 1]), MissingExtra.
    """

    def __init__(self, path: Path | str, size: tuple[int, int], fps: float) -> None:
        _check_rate(fps)
        if min(size) < 1:
            raise UsageError(f"size must be (height, width) of at least one pixel, got {size}")
        self.size = size
        self._canvas = _Canvas(size)
        self._encoder = _Encoder(Path(path), last=1 / fps)

    @property
    def notes(self) -> tuple[str, ...]:
        """What encoding had to decide."""
        return self._encoder.notes

    def __enter__(self) -> Self:
        self._encoder.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._encoder.__exit__(kind, error, trace)

    def add(
        self, frame: np.ndarray, anomaly_map: np.ndarray | None, score: float, time: float, anomalous: bool
    ) -> None:
        """Add one frame: (H, W, 3) uint8, its map (H, W) in [0, 1] or None, score in [0, 1], time in seconds."""
        if frame.shape != (*self.size, 3):
            raise UsageError(f"expected frames of shape {(*self.size, 3)}, got {frame.shape}")
        if not 0 <= score <= 1:
            raise UsageError(f"score must lie in [0, 1], got {score}")
        heated = frame if anomaly_map is None else blend(frame, anomaly_map)
        self._encoder.add(self._canvas.draw(heated, score, time, anomalous), time)


class _Canvas:
    """Where everything goes: the frame inside a border, the caption and a bar of the score above it."""

    def __init__(self, size: tuple[int, int]) -> None:
        height, width = size
        self.zoom = max(1, -(-SMALLEST // width))
        self.height, self.width = height * self.zoom, width * self.zoom
        self.border = max(4, self.width // 100)
        text = max(12, self.width // 40)
        self.font = ImageFont.load_default(text)
        self.bar = max(3, text // 4)
        self.head = text + text // 2 + 2 * self.bar  # caption, bar, and a gap as high as the bar
        full_width, full_height = self.width + 2 * self.border, self.height + 2 * self.border + self.head
        self.full = (full_width + full_width % 2, full_height + full_height % 2)  # even, as H.264 wants it

    def draw(self, frame: np.ndarray, score: float, time: float, anomalous: bool) -> np.ndarray:
        """(H, W, 3) -> (h, w, 3), uint8."""
        color = ANOMALOUS if anomalous else NORMAL
        page = Image.new("RGB", self.full, color)
        draw = ImageDraw.Draw(page)
        draw.rectangle((0, 0, self.full[0], self.head - 1), fill=PAPER)
        caption = f"{time:.2f} s   score {score:.2f}   {'anomalous' if anomalous else 'normal'}"
        top, bottom = self.head - 2 * self.bar, self.head - self.bar - 1
        draw.text((self.border, top // 2), caption, fill=INK, font=self.font, anchor="lm")
        draw.rectangle((self.border, top, self.border + self.width - 1, bottom), fill=RAIL)
        if length := round(self.width * score):
            draw.rectangle((self.border, top, self.border + length - 1, bottom), fill=INK)
        picture = Image.fromarray(np.ascontiguousarray(frame))
        if self.zoom > 1:
            picture = picture.resize((self.width, self.height), Image.Resampling.NEAREST)
        page.paste(picture, (self.border, self.head + self.border))
        return np.asarray(page)


class _Encoder:
    """Frames with times in, one whole MP4 out. Frames are coded in the order they are shown, for exact seeking."""

    def __init__(self, path: Path, last: float) -> None:
        self.path = path
        self.last = last  # seconds that the last frame is shown
        self.notes: tuple[str, ...] = ()
        self._av = need("av", "video", f"Writing {path.name}")
        self._beside = path.parent / f".looktwice-{secrets.token_hex(8)}.tmp"
        self._container: Any = None
        self._stream: Any = None
        self._shape: tuple[int, ...] = ()
        self._begin = 0.0  # seconds, of the first frame: players start there
        self._time = -np.inf  # seconds, of the frame before
        self._packet: Any = None  # the latest, held back: the last one is told how long it is shown

    def __enter__(self) -> Self:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._finish()
        finally:
            with suppress(self._av.FFmpegError):  # after _finish there is nothing left to close
                if self._container is not None:
                    self._container.close()
            self._beside.unlink(missing_ok=True)

    def add(self, frame: np.ndarray, time: float) -> None:
        """Add one frame (H, W, 3) uint8, shown from `time` seconds on."""
        if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8 or 0 in frame.shape:
            raise UsageError(f"a frame must be (H, W, 3) uint8, got {frame.shape} {frame.dtype}")
        if not (time > self._time and np.isfinite(time)):
            raise UsageError(f"times must climb: got {time:g} s after {self._time:g} s")
        if self._stream is None:
            self._start(frame.shape)
            self._begin = time
        if frame.shape != self._shape:
            raise UsageError(f"all frames of a video must have one size: expected {self._shape}, got {frame.shape}")
        self._time = time
        odd = ((0, frame.shape[0] % 2), (0, frame.shape[1] % 2), (0, 0))
        rgb = self._av.VideoFrame.from_ndarray(np.pad(frame, odd, mode="edge"), format="rgb24")
        picture = rgb.reformat(format="yuv420p", dst_colorspace="ITU709", threads=1)
        picture.pts, picture.time_base = round((time - self._begin) * TICKS), Fraction(1, TICKS)
        self._mux(self._stream.encode(picture))

    def _start(self, shape: tuple[int, ...]) -> None:
        height, width = shape[0] + shape[0] % 2, shape[1] + shape[1] % 2
        codec = "libx264" if "libx264" in self._av.codecs_available else "mpeg4"
        # the same bytes each time: not so with several threads, or with the look-ahead over macroblocks
        h264 = {"crf": "20", "preset": "veryfast", "threads": "1", "x264-params": "mbtree=0"}
        options = h264 if codec == "libx264" else {"qscale": "3", "threads": "1"}
        # the index in front: a browser can begin before it has the whole file
        self._container = self._av.open(str(self._beside), "w", format="mp4", options={"movflags": "+faststart"})
        rate = Fraction(1 / self.last).limit_denominator(1001)
        self._stream = self._container.add_stream(codec, rate=rate or 1, options=options)
        self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, "yuv420p"
        context = self._stream.codec_context
        context.time_base = Fraction(1, TICKS)
        context.max_b_frames, context.gop_size = 0, 12
        context.colorspace, context.color_primaries, context.color_trc, context.color_range = 1, 1, 1, 1  # BT.709
        self._shape = shape
        what = "H.264 by libx264" if codec == "libx264" else "MPEG-4 part 2 (no libx264 here): some browsers refuse it"
        self.notes = (f"encoded as {what}",)
        if (height, width) != shape[:2]:
            self.notes += (f"padded from {shape[1]} x {shape[0]} to {width} x {height}: sides must be even",)

    def _mux(self, packets: list[Any]) -> None:
        for packet in packets:
            if self._packet is not None:
                self._container.mux(self._packet)
            self._packet = packet

    def _finish(self) -> None:
        """Write what is held back and move the file into its place."""
        if self._stream is None:
            raise UsageError(f"no frame was given for {self.path.name}: a video needs at least one")
        self._mux(self._stream.encode(None))
        self._packet.duration = round(self.last / self._packet.time_base)
        self._container.mux(self._packet)
        self._container.close()
        with self._beside.open("rb+") as stream:
            os.fsync(stream.fileno())
        os.replace(self._beside, self.path)
        sync_folder(self.path.parent)


def _check_rate(fps: float) -> None:
    if not 0 < fps <= TICKS:
        raise UsageError(f"fps must lie above 0 and at most {TICKS}, got {fps}")
