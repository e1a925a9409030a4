"""Videos as plans of frames: files that PyAV reads, animated GIFs, and folders of pictures.

Loading reads the whole video once, without colour conversion, and keeps only times: a plan promises no frame that
cannot be decoded. Viewing decodes again, one frame after the other, so memory does not grow with the length.
Decoding uses one thread: the frames are then the same on every machine, and damage is told at the packet it is in.

Damage: a decoder patches broken pictures up and goes on, and what it makes up looks like a defect. So a damaged
frame is left out, and with it all that follow up to the next key frame, because they are built on it. Frames are
counted over those that are left, in the order they are shown; times count from the first of them.

Letters: F chosen frames, C context frames, H W pixels of the original, h w pixels of a view.
"""

from __future__ import annotations

import itertools
import re
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import GifImagePlugin
from PIL import Image as pillow

from looktwice.errors import BadFile, need
from looktwice.modalities import sample_id, sha256_of
from looktwice.modalities.image import Image, read_picture, scale_down
from looktwice.records import Sample, ToFrames, VideoData, Views
from looktwice.settings import DEFAULT_FPS, ImageSettings, Settings, VideoSettings

# The containers we promise. Without such a list FFmpeg also opens play lists, which can name other files and hosts.
FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi"
FORMAT_NAMES = "MP4, MOV, AVI, MKV or WebM"
KEYS_PER_CONTEXT = 4  # so many key frames lie at most an eighth of the spacing from where they should
SLACK = 1e-3  # seconds: MKV and WebM round their times to milliseconds
FOLDER_SUFFIX, FOLDER_FPS = ".frames", 25.0
GIF_PAUSE = 0.1  # seconds that browsers show a GIF frame whose duration is 0
LFS = b"version https://git-lfs"
EBML = b"\x1aE\xdf\xa3"  # how MKV and WebM begin


class Video:
    """The video modality: one file or folder, many frames, viewed chunk by chunk."""

    name = "video"
    suffixes = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".gif")

    def recognises(self, path: Path) -> bool:
        """Whether a path is a video by its ending; a GIF only when it moves, a folder only when named `*.frames`."""
        suffix = path.suffix.lower()
        if path.is_dir():
            return suffix == FOLDER_SUFFIX
        if suffix == ".gif":
            return _moves(path)
        return suffix in self.suffixes

    def load(self, path: Path, settings: Settings) -> Sample:
        """Plan which frames to look at; keeps none of them. Any folder with pictures will do.

        Raises BadFile (missing_file, unreadable, empty, too_large, unsupported), and MissingExtra without PyAV.
        """
        _check_bytes(path)
        survey = _survey(path, settings)
        frames = choose_frames(survey.times, survey.end, settings.video)
        notes = list(survey.notes)
        if settings.video.count is not None and len(frames) < settings.video.count:
            notes.append(f"{settings.video.count} frames were asked for, {len(frames)} different ones are there")
        data = VideoData(
            frames=frames,
            times=survey.times[frames],
            size=survey.size,
            total=len(survey.times),
            duration=survey.end,
            files=survey.files,
        )
        digest = sha256_of(path)
        return Sample(id=sample_id(path), path=path, modality="video", data=data, sha256=digest, notes=tuple(notes))

    def views(self, sample: Sample, settings: Settings) -> Iterator[Views]:
        """Yield the chosen frames, `video.chunk` at a time, scaled down to `video.max_side`; each with its time.

        Where there are several chunks, all carry the same `context`: up to `video.context` evenly spaced frames of
        the whole video. They are chosen frames; or the nearest key frames, where a file has enough of them, since
        these can be decoded alone. Raises BadFile when the file changed since it was loaded.
        """
        data, video = sample.data, settings.video
        if not isinstance(data, VideoData):
            raise TypeError(f"{sample.id} is a {sample.modality}, not a video")
        context = None
        if video.context > 0 and video.chunk < len(data.frames):
            context = _context(sample, data, settings)
        pictures = _pictures(sample, data, data.frames, settings)
        for start in range(0, len(data.frames), video.chunk):
            part = slice(start, start + video.chunk)
            frames, times = data.frames[part], data.times[part]
            images = _stacked(pictures, len(frames))
            names = tuple(f"t={time:.2f} s" for time in times)
            way = ToFrames(frames=frames, times=times, size=data.size)
            yield Views(images=images, names=names, way=way, context=context, posed=False)


def choose_frames(times: np.ndarray, end: float, settings: VideoSettings) -> np.ndarray:
    """Return the indices of the frames to look at, (F,) int64, ascending; the first frame is always among them.

    times (n,) float64 seconds, not falling, from 0; end: when the last frame leaves the screen, seconds. With `fps`
    the frames on screen at 0, 1/fps, 2/fps ...; with `count` those on screen at evenly spaced moments from the
    first frame to the last; with `every` each n-th frame. A frame is never taken twice.
    """
    n = len(times)
    if settings.every is not None:
        return np.arange(0, n, settings.every, dtype=np.int64)
    if settings.count is not None:
        if settings.count >= n:
            return np.arange(n, dtype=np.int64)
        moments = np.linspace(times[0], times[-1], settings.count)
        return np.unique(np.searchsorted(times, moments + SLACK, side="right") - 1).astype(np.int64)
    fps = settings.fps or DEFAULT_FPS
    ticks = np.ceil((np.append(times, end) - SLACK) * fps)  # the number of the first tick each frame can be seen at
    taken = ticks[1:] > ticks[:-1]
    taken[0] = True
    return np.flatnonzero(taken).astype(np.int64)


class _Survey(NamedTuple):
    """What one pass over a video found."""

    times: np.ndarray  # (n,) float64, seconds from the first frame, of every frame that can be read
    end: float  # seconds: when the last frame leaves the screen
    size: tuple[int, int]  # (H, W), upright
    notes: tuple[str, ...]
    files: tuple[str, ...] | None = None


def _survey(path: Path, settings: Settings) -> _Survey:
    if path.is_dir():
        return _survey_folder(path, settings)
    return _survey_gif(path, settings.image) if _is_gif(path) else _survey_file(path, settings.image)


def _pictures(sample: Sample, data: VideoData, frames: np.ndarray, settings: Settings) -> Iterator[np.ndarray]:
    """Yield the given frames (ascending), each (h, w, 3) uint8; raises BadFile when one is gone."""
    if data.files is not None:
        chosen = _folder_pictures(sample.path, [data.files[i] for i in frames], data.size, settings.image)
    elif _is_gif(sample.path):
        chosen = _picked(_gif_pictures(sample.path, settings.image), frames)
    else:
        chosen = _file_pictures(sample.path, frames, _fitted(data.size, settings.video.max_side))
    given = 0
    for pixels in chosen:
        given += 1
        yield scale_down(pixels, settings.video.max_side)
    if given < len(frames):
        why = f"frame {frames[given]} is gone: the file changed since it was loaded. Load it again"
        raise BadFile("unreadable", sample.path, why)


def _context(sample: Sample, data: VideoData, settings: Settings) -> np.ndarray:
    """(C, h, w, 3) uint8."""
    video = settings.video
    if data.files is None and not _is_gif(sample.path):
        keys = list(_key_pictures(sample.path, video.context, _fitted(data.size, video.max_side)))
        if keys:
            return np.stack(keys)
    spread = np.unique(np.linspace(0, len(data.frames) - 1, video.context).round().astype(np.int64))
    return np.stack(list(_pictures(sample, data, data.frames[spread], settings)))


def _stacked(pictures: Iterator[np.ndarray], count: int) -> np.ndarray:
    """Take the next `count` pictures into one array, (count, h, w, 3), without holding them twice."""
    first = next(pictures)
    images = np.empty((count, *first.shape), np.uint8)
    images[0] = first
    for image in images[1:]:
        image[...] = next(pictures)
    return images


def _picked(pictures: Iterator[Any], frames: np.ndarray) -> Iterator[Any]:
    """Yield those at the given positions (ascending), and read no further than the last."""
    wanted = iter(frames)
    target = next(wanted, None)
    if target is None:
        return
    for index, picture in enumerate(pictures):
        if index == target:
            yield picture
            target = next(wanted, None)
            if target is None:
                return


def _check_bytes(path: Path) -> None:
    """Refuse what needs no decoder to be seen as no video."""
    if not path.exists():
        raise BadFile("missing_file", path, "no such file")
    if path.is_dir():
        return
    if not path.is_file():
        raise BadFile("unsupported", path, "is not a regular file")
    try:
        head = _head(path)
    except OSError as error:
        raise BadFile("unreadable", path, f"cannot be opened: {error.strerror}") from error
    if not head:
        raise BadFile("empty", path, "the file has no bytes: copy it again")
    if head.startswith(LFS):
        why = "is a Git LFS pointer, not the video itself: run 'git lfs pull' to fetch the real file"
        raise BadFile("unreadable", path, why)


def _head(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(64)


def _check_budget(path: Path, height: int, width: int, settings: ImageSettings) -> None:
    if height * width > settings.max_pixels:
        size = f"frames of {width} x {height} = {height * width / 1e6:.6g} megapixels"
        why = f"{size} are over the budget of {settings.max_pixels / 1e6:.6g}: raise image.max_pixels or scale it down"
        raise BadFile("too_large", path, why)


def _broken_off(read: float, seconds: float, frames: int, of: str) -> str:
    return f"the file breaks off after {read:.2f} s of {seconds:.2f} s: {frames} of {of} frames can be read"


def _scaled_note(count: int, size: tuple[int, int]) -> str:
    return f"scaled to the size of the first frame, {size[1]} x {size[0]}: {_frames(count)} of another size"


def _frames(count: int) -> str:
    return "1 frame" if count == 1 else f"{count} frames"


# ---------------------------------------------------------------- files that PyAV reads


def _survey_file(path: Path, settings: ImageSettings) -> _Survey:
    with _opened(path) as (container, stream):
        _check_budget(path, stream.codec_context.height, stream.codec_context.width, settings)
        reading, clock = _Reading(container, stream), _Clock(stream)
        first, others = None, 0
        for frame in reading:
            clock.tick(frame)
            if first is None:
                first = frame
                _check_budget(path, frame.height, frame.width, settings)
            others += (frame.height, frame.width) != (first.height, first.width)
        if first is None:
            raise _nothing_in(path, reading)
        times, end = clock.read()
        size = _upright_size(first)
        notes = [*_stream_notes(container), *_frame_notes(first, stream), *clock.notes()]
        if others:
            notes.append(_scaled_note(others, size))
        notes += _hole_notes(times) + _damage_notes(reading, clock, times, end)
    return _Survey(times, end, size, tuple(notes))


def _file_pictures(path: Path, frames: np.ndarray, size: tuple[int, int]) -> Iterator[np.ndarray]:
    """Yield frames of a file as (h, w, 3) uint8, upright and of the size (h, w) asked for."""
    with _opened(path) as (container, stream):
        draw = _Drawing(size)
        for frame in _picked(iter(_Reading(container, stream)), frames):
            yield draw(frame)


def _key_pictures(path: Path, count: int, size: tuple[int, int]) -> Iterator[np.ndarray]:
    """Yield `count` key frames nearest to even spacing, (h, w, 3) uint8; none where key frames are too few for that."""
    with _opened(path) as (container, stream):
        stamps = np.unique([p.pts for p in _Reading(container, stream).packets_in() if _stands_alone(p)])
    if len(stamps) < KEYS_PER_CONTEXT * count:
        return
    even = np.linspace(stamps[0], stamps[-1], count)
    chosen = {int(stamps[np.abs(stamps - moment).argmin()]) for moment in even}
    with _opened(path) as (container, stream):
        draw, reading = _Drawing(size), _Reading(container, stream)
        for packet in reading.packets_in():
            if packet.pts in chosen and _stands_alone(packet):
                yield from map(draw, reading.alone(packet))


def _stands_alone(packet: Any) -> bool:
    return packet.is_keyframe and not packet.is_discard and packet.pts is not None


class _Drawing:
    """Turns decoded frames into (h, w, 3) uint8, upright and of one size."""

    def __init__(self, size: tuple[int, int]) -> None:
        self.size = size
        self.turn: _Turn | None = None
        self.reformatter = need("av.video.reformatter", "video", "Reading videos").VideoReformatter()

    def __call__(self, frame: Any) -> np.ndarray:
        if self.turn is None:  # once: side data and frame hold each other, so a frame asked for it is freed late
            self.turn = _turn_of(frame) or NO_TURN
        turn = self.turn
        width, height = self.size if turn.swap else self.size[::-1]
        # area averaging, as for pictures, in one step with the colours: 7 times faster than one after the other
        how = "AREA" if width < frame.width or height < frame.height else "BILINEAR"
        rgb = self.reformatter.reformat(frame, width, height, "rgb24", interpolation=how, threads=1)
        return _turned(rgb.to_ndarray(), turn)


def _fitted(size: tuple[int, int], max_side: int) -> tuple[int, int]:
    """(H, W) -> (h, w) with a longest side of at most `max_side`, rounded as `scale_down` does."""
    longest = max(size)
    if longest <= max_side:
        return size
    return max(1, round(size[0] * max_side / longest)), max(1, round(size[1] * max_side / longest))


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, Any]]:
    """Open a file and its first video stream, set to decode exactly; raises BadFile."""
    av = need("av", "video", f"Reading {path.name}")
    options = {"format_whitelist": FORMATS, "protocol_whitelist": "file"}
    try:
        container = av.open(f"file:{path}", options=options, metadata_errors="replace")
    except av.FFmpegError as error:
        raise _no_video(path, error) from error
    with container:
        yield container, _stream_of(path, container)


def _no_video(path: Path, error: Any) -> BadFile:
    boxes = _boxes(path)
    if boxes and "moov" not in boxes:
        why = "its index (moov) is missing: the recording was not finished or the file was cut. Copy or record it again"
        return BadFile("unreadable", path, why)
    if boxes:
        return BadFile("unreadable", path, f"its index (moov) is damaged: {error.strerror}. Copy it again")
    head = _head(path)
    if head.startswith(EBML) or (head.startswith(b"RIFF") and head[8:12] == b"AVI "):
        return BadFile("unreadable", path, "is cut or damaged before its first frame: copy it again")
    return BadFile("unreadable", path, f"not a video: its content is not {FORMAT_NAMES}")


def _boxes(path: Path) -> list[str]:
    """Return the names of the outer boxes of an MP4 or MOV file; none if it is not one."""
    names: list[str] = []
    with path.open("rb") as stream:
        while len(names) < 1000:
            head = stream.read(16)
            name = head[4:8].decode("latin-1")
            if len(head) < 8 or (not names and name not in ("ftyp", "mdat", "moov", "wide", "free", "skip")):
                break
            names.append(name)
            size = int.from_bytes(head[:4], "big")
            size = int.from_bytes(head[8:16], "big") if size == 1 else size
            if size < 8:  # 0: up to the end of the file
                break
            stream.seek(size - len(head), 1)
    return names


def _stream_of(path: Path, container: Any) -> Any:
    stream = next(iter(_moving_streams(container)), None)
    if not container.streams:
        raise BadFile("empty", path, "it holds neither pictures nor sound: record or copy it again")
    if stream is None:
        sound = "it holds sound only" if container.streams.audio else "it holds no pictures that move"
        raise BadFile("unsupported", path, f"no video stream: {sound}")
    codec = stream.codec_context
    if codec is None:
        why = "its video is encrypted, or packed by a codec that FFmpeg does not know: save it as H.264 in MP4"
        raise BadFile("unsupported", path, why)
    stream.thread_type = "NONE"
    codec.thread_count = 1
    codec.options = {"err_detect": "crccheck+explode"}  # say what is damaged, do not patch it up in silence
    return stream


def _moving_streams(container: Any) -> list[Any]:
    """Return the video streams without cover pictures."""
    return [s for s in container.streams.video if not s.disposition & type(s.disposition).attached_pic]


class _Reading:
    """One pass over the whole frames of a stream, in the order they are shown; remembers what was left out."""

    def __init__(self, container: Any, stream: Any) -> None:
        self.container = container
        self.stream = stream
        self.packets = 0
        self.lost: list[float] = []  # seconds by the clock of the file, one for each packet left out
        self._error = need("av", "video", "Reading videos").FFmpegError
        self._waiting = False  # for a key frame, after damage

    def __iter__(self) -> Iterator[Any]:
        for packet in self.packets_in():
            self.packets += 1
            if self._waiting and not packet.is_keyframe:
                self._lose(packet)
            else:
                yield from self._decoded(packet)
        if not self._waiting:
            yield from self._held()

    def alone(self, packet: Any) -> list[Any]:
        """Decode a key frame without its neighbours: one frame, or none where it is damaged."""
        frames = [*self._decoded(packet), *self._held()]
        self.stream.codec_context.flush_buffers()
        return frames[:1]

    def packets_in(self) -> Iterator[Any]:
        """Yield the packets of the stream, up to where the container breaks."""
        packets = self.container.demux(self.stream)
        while True:
            try:
                packet = next(packets, None)
            except self._error:  # the container is broken from here on
                return
            if packet is None:
                return
            if packet.size:
                yield packet

    def _decoded(self, packet: Any) -> Iterator[Any]:
        self._waiting = False
        try:
            frames = None if packet.is_corrupt else self.stream.codec_context.decode(packet)
        except self._error:
            frames = None
        if frames is None:
            yield from self._held()  # frames that came before, but are shown after
            self._give_up(packet)
            return
        for frame in frames:
            if frame.is_corrupt:
                self._give_up(packet)
                return
            yield frame

    def _held(self) -> Iterator[Any]:
        """Yield the frames that the decoder still holds back to bring them into order."""
        try:
            frames = self.stream.codec_context.decode(None)
        except self._error:
            return
        for frame in frames:
            if frame.is_corrupt:
                self.lost.append(_seconds(frame.pts, self.stream.time_base) or 0.0)
                return
            yield frame

    def _give_up(self, packet: Any) -> None:
        self._lose(packet)
        self._waiting = True
        self.stream.codec_context.flush_buffers()

    def _lose(self, packet: Any) -> None:
        stamp = packet.dts if packet.pts is None else packet.pts
        self.lost.append(_seconds(stamp, self.stream.time_base) or 0.0)


class _Clock:
    """When each frame of a stream is shown; fills in what the file does not say."""

    def __init__(self, stream: Any) -> None:
        self.base = stream.time_base
        self.step = 1 / float(stream.average_rate or stream.guessed_rate or FOLDER_FPS)
        self.stamps = array("d")  # seconds by the clock of the file, never falling
        self.made_up = 0
        self.last = 0.0  # seconds that the latest frame is shown, 0 where the file does not say

    def tick(self, frame: Any) -> None:
        """Take the time of the next frame."""
        stamp = _seconds(frame.pts, self.base)
        if stamp is None or (self.stamps and stamp < self.stamps[-1]):
            self.made_up += 1
            stamp = self.stamps[-1] + self.step if self.stamps else 0.0
        self.stamps.append(stamp)
        self.last = _seconds(frame.duration, self.base) or 0.0

    def read(self) -> tuple[np.ndarray, float]:
        """Return (n,) float64 seconds from the first frame, and when the last one leaves the screen."""
        times = np.array(self.stamps) - self.stamps[0]
        usual = float(np.median(np.diff(times))) if len(times) > 1 else self.step
        return times, float(times[-1]) + (self.last or usual)

    def notes(self) -> list[str]:
        notes = []
        if abs(self.stamps[0]) >= 0.1:
            notes.append(f"the clock of the file begins at {self.stamps[0]:.2f} s: times count from the first frame")
        if self.made_up:
            rate = f"{1 / self.step:.6g} frames per second"
            notes.append(f"no usable timestamp, derived from {rate}: {_frames(self.made_up)} of {len(self.stamps)}")
        return notes


def _seconds(stamp: int | None, base: Any) -> float | None:
    return None if stamp is None else stamp * base.numerator / base.denominator


class _Turn(NamedTuple):
    """How to turn a stored frame upright: swap rows and columns, then flip rows, then flip columns."""

    swap: bool
    rows: bool
    columns: bool


NO_TURN = _Turn(False, False, False)


def _turn_of(frame: Any) -> _Turn | None:
    """Read the display matrix of a frame; None where it is no quarter turn."""
    side_data = frame.side_data.get("DISPLAYMATRIX")
    if side_data is None:
        return NO_TURN
    xx, xy, _, yx, yy = (int(v) for v in np.frombuffer(bytes(side_data), np.int32)[:5])  # 16.16 fixed point
    if xx and yy and not (xy or yx):
        return _Turn(False, yy < 0, xx < 0)
    if xy and yx and not (xx or yy):
        return _Turn(True, xy < 0, yx < 0)
    return None


def _turned(pixels: np.ndarray, turn: _Turn) -> np.ndarray:
    """(H, W, 3) -> upright (H, W, 3)."""
    upright = pixels.swapaxes(0, 1) if turn.swap else pixels
    upright = upright[:: -1 if turn.rows else 1, :: -1 if turn.columns else 1]
    return np.ascontiguousarray(upright)


def _upright_size(frame: Any) -> tuple[int, int]:
    swap = (_turn_of(frame) or NO_TURN).swap
    return (frame.width, frame.height) if swap else (frame.height, frame.width)


def _stream_notes(container: Any) -> list[str]:
    several = len(_moving_streams(container))
    return [f"{several} video streams: the first is looked at"] if several > 1 else []


def _frame_notes(frame: Any, stream: Any) -> list[str]:
    """Say what the first frame tells about all of them."""
    notes = []
    turn, aspect, parts = _turn_of(frame), stream.sample_aspect_ratio, frame.format.components
    if turn is None:
        notes.append("turned by an angle that is no quarter turn: frames are shown as stored")
    elif turn != NO_TURN:
        notes.append("display matrix: turned upright")
    if aspect and aspect != 1:
        shape = f"{aspect.numerator}:{aspect.denominator}"
        notes.append(f"pixels are not square ({shape}, width to height): frames are shown as stored")
    if max(part.bits for part in parts) > 8:
        notes.append(f"{max(part.bits for part in parts)} bits per colour: reduced to 8")
    if any(part.is_alpha for part in parts):
        notes.append("transparency is ignored")
    if frame.interlaced_frame:
        notes.append("interlaced: both fields of a frame are shown woven together")
    return notes


def _nothing_in(path: Path, reading: _Reading) -> BadFile:
    if not reading.packets:
        return BadFile("empty", path, "its video stream holds no frame: record or copy it again")
    why = f"none of its {_frames(reading.packets)} can be decoded: it is damaged or encrypted. Copy it again"
    return BadFile("unreadable", path, why)


def _hole_notes(times: np.ndarray) -> list[str]:
    """Name the stretches without a new frame: a still picture, or packets that are gone without a trace."""
    gaps = np.diff(times)
    if not len(gaps):
        return []
    holes = np.flatnonzero(gaps > max(8 * float(np.median(gaps)), 0.5))
    said = ", ".join(f"from {times[i]:.2f} s to {times[i + 1]:.2f} s" for i in holes[:3])
    more = f" and {len(holes) - 3} more times" if len(holes) > 3 else ""
    return [f"no new frame {said}{more}"] if said else []


def _damage_notes(reading: _Reading, clock: _Clock, times: np.ndarray, end: float) -> list[str]:
    """Say what is missing inside and at the end; all times count from the first frame."""
    notes = []
    first = min(reading.lost, default=np.inf) - clock.stamps[0]
    if first < times[-1]:
        missing = _frames(max(reading.packets - len(times), 1))
        at = f"the first at {max(first, 0):.2f} s"
        notes.append(f"damaged, or built on a damaged frame, and left out: {missing}, {at}")
    promised = _promised(reading, clock)
    if promised is not None and end < promised[0] - max(2 * clock.step, 0.1):
        notes.append(_broken_off(end, promised[0], len(times), promised[1]))
    return notes


def _promised(reading: _Reading, clock: _Clock) -> tuple[float, str] | None:
    """Return the seconds and, in words, the number of frames the file speaks of; None if it is silent or whole."""
    container, stream = reading.container, reading.stream
    rate = float(stream.average_rate or stream.guessed_rate or 0)
    if stream.frames and rate:  # MP4, MOV, AVI count; where cuts hide frames the packets are still there
        whole = reading.packets >= stream.frames and not reading.lost
        return None if whole else (stream.frames / rate, str(stream.frames))
    finish = _clock_seconds(stream.metadata.get("DURATION", ""))
    if finish is None and container.duration and len(container.streams) == 1:  # else it may be that of the sound
        finish = container.duration / 1e6
    if finish is None:
        return None
    seconds = finish - max(clock.stamps[0], 0.0)  # MKV and WebM name the end, not the length
    return seconds, f"about {round(seconds * rate)}" if rate else "more"


def _clock_seconds(text: str) -> float | None:
    """Read "00:01:02.5" as 62.5."""
    parts = re.fullmatch(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)", text)
    return int(parts[1]) * 3600 + int(parts[2]) * 60 + float(parts[3]) if parts else None


# ---------------------------------------------------------------- animated GIF


def _is_gif(path: Path) -> bool:
    return _head(path).startswith(b"GIF8")


def _moves(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            return bool(GifImagePlugin.GifImageFile(stream, "").is_animated)
    except Exception:  # a broken one is left to the pictures, which say what is wrong with it
        return False


def _gif_frames(path: Path, settings: ImageSettings) -> Iterator[GifImagePlugin.GifImageFile]:
    """Yield the one open picture, standing at each frame in turn; raises BadFile, and what Pillow raises on damage."""
    with path.open("rb") as stream:
        try:
            # not pillow.open: its limit of pixels is one for the whole process, ours is one per call
            picture = GifImagePlugin.GifImageFile(stream, "")
        except Exception as error:
            raise BadFile("unreadable", path, f"its GIF head is damaged: {error}. Copy it again") from error
        _check_budget(path, picture.height, picture.width, settings)
        index = 0
        while True:
            try:
                picture.seek(index)
            except EOFError:
                return
            picture.load()
            yield picture
            index += 1


def _survey_gif(path: Path, settings: ImageSettings) -> _Survey:
    pauses: list[float] = []
    sizes: list[tuple[int, int]] = []
    through, problem = 0, None
    try:
        for picture in _gif_frames(path, settings):
            pauses.append(picture.info.get("duration", 0) / 1000)
            sizes.append((picture.height, picture.width))
            through += picture.convert("RGBA").getchannel("A").histogram()[255] < picture.width * picture.height
    except BadFile:
        raise
    except Exception as error:  # Pillow's decoder raises nearly anything on damaged bytes
        problem = error
    if not pauses:
        why = f"no frame of this GIF can be read: {problem}" if problem else "the GIF holds no frame"
        raise BadFile("unreadable" if problem else "empty", path, f"{why}. Copy it again")
    shown = np.array([pause or GIF_PAUSE for pause in pauses])
    ends = np.cumsum(shown)
    notes = []
    if 0 in pauses:
        notes.append(f"no duration, shown {GIF_PAUSE:g} s as in browsers: {_frames(pauses.count(0))}")
    if through:
        notes.append(f"transparent pixels composited on RGB {settings.background}: {_frames(through)}")
    if others := sum(size != sizes[0] for size in sizes):
        notes.append(_scaled_note(others, sizes[0]))
    if problem or not _has_gif_trailer(path):
        notes.append(f"the file breaks off after {ends[-1]:.2f} s: {_frames(len(pauses))} can be read")
    return _Survey(np.append(0.0, ends[:-1]), float(ends[-1]), sizes[0], tuple(notes))


def _has_gif_trailer(path: Path) -> bool:
    with path.open("rb") as stream:
        stream.seek(max(0, path.stat().st_size - 64))
        return stream.read().rstrip(b"\0").endswith(b";")


def _gif_pictures(path: Path, settings: ImageSettings) -> Iterator[np.ndarray]:
    """Yield every frame as (H, W, 3) uint8, composited on the background where transparent."""
    size = None
    for picture in _gif_frames(path, settings):
        size = size or (picture.height, picture.width)
        rgba = picture.convert("RGBA")
        flat = pillow.new("RGB", rgba.size, settings.background)
        flat.paste(rgba, mask=rgba.getchannel("A"))
        yield _resized(np.asarray(flat), size)


def _resized(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    if pixels.shape[:2] == size:
        return pixels
    return np.asarray(pillow.fromarray(pixels).resize(size[::-1], pillow.Resampling.BILINEAR))


# ---------------------------------------------------------------- folders of pictures


def _survey_folder(path: Path, settings: Settings) -> _Survey:
    """Choose first, then read the chosen pictures only; where one is broken, choose anew without it."""
    every = _pictures_in(path)
    fps, notes = _folder_fps(path)
    at = {name: index / fps for index, name in enumerate(every)}
    left, sizes, broken = every, {}, []
    while left:
        times = np.array([at[name] for name in left]) - at[left[0]]
        end = float(times[-1] + 1 / fps)
        unseen = [left[i] for i in choose_frames(times, end, settings.video) if left[i] not in sizes]
        if not unseen:
            break
        for name in unseen:
            try:
                sizes[name] = read_picture(path / name, settings.image)[0].shape[:2]
            except BadFile as error:
                broken.append(f"{name}: {error.why}")
        left = [name for name in left if name in sizes or name not in unseen]
    if not left:
        raise BadFile("unreadable", path, f"none of its {len(every)} pictures can be read, such as {broken[0]}")
    size = sizes[left[0]]
    if broken:
        more = f" and {len(broken) - 3} more" if len(broken) > 3 else ""
        notes.append(f"left out as it cannot be read: {'; '.join(broken[:3])}{more}")
    if others := sum(one != size for one in sizes.values()):
        notes.append(_scaled_note(others, size))
    return _Survey(times, end, size, tuple(notes), tuple(left))


def _pictures_in(path: Path) -> list[str]:
    """Return the names of the pictures of a folder in their natural order: 2 before 10."""
    try:
        names = [p.name for p in path.iterdir() if p.suffix.lower() in Image.suffixes and p.is_file()]
    except OSError as error:
        raise BadFile("unreadable", path, f"the folder cannot be opened: {error.strerror}") from error
    names = [name for name in names if not name.startswith(".")]
    if not names:
        raise BadFile("empty", path, f"no picture in this folder. Known endings: {', '.join(Image.suffixes)}")
    return sorted(names, key=lambda name: (_natural(name), name))


def _natural(name: str) -> list[str | int]:
    parts = re.split(r"([0-9]+)", name)
    return [int(part) if odd else part.lower() for odd, part in zip(itertools.cycle((False, True)), parts)]


def _folder_fps(path: Path) -> tuple[float, list[str]]:
    file = path / "fps.txt"
    if not file.is_file():
        return FOLDER_FPS, [f"no fps.txt in the folder: {FOLDER_FPS:g} frames per second are assumed"]
    text = file.read_text("utf-8", errors="replace").strip()
    try:
        fps = float(text)
    except ValueError:
        fps = float("nan")
    if not 0 < fps < float("inf"):
        raise BadFile("unreadable", file, f"must hold one number of frames per second above 0, got {text[:40]!r}")
    return fps, []


def _folder_pictures(
    path: Path, names: list[str], size: tuple[int, int], settings: ImageSettings
) -> Iterator[np.ndarray]:
    for name in names:
        yield _resized(read_picture(path / name, settings)[0], size)
