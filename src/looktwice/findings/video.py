"""Findings about a video, frame by frame as it streams by: memory does not grow with its length.

Letters: F chosen frames, H W pixels of the original, h w pixels of a view.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from looktwice.errors import MissingExtra
from looktwice.findings.answers import Answers, cut_level, maps_of, view_scores
from looktwice.findings.desk import Desk
from looktwice.records import Curve, Prediction, Region, Result, Sample, VideoData, resize_map
from looktwice.regions import Found, Interval, Place, intervals, picture_regions
from looktwice.report.mp4 import AnnotatedVideo
from looktwice.report.sheet import contact_sheet, regions_on_sheet, sheet_maps, write_boxes
from looktwice.words import Words, describe_video

KEY_FRAMES = 6  # on the sheet of a video
PEAKS = 20  # anomalous stretches whose peak frame is kept while a video streams by


def judge_video(desk: Desk, sample: Sample, answers: Answers, path: str) -> Result:
    """Judge a video chunk by chunk; raises OSError when a file cannot be written, and what `answers` raises."""
    assert isinstance(sample.data, VideoData)
    threshold = desk.judge.threshold("video")
    seen = _Seen(KeyFrames(threshold), [], [])
    written = _FrameFiles(desk, sample, sample.data)
    try:
        for views, prediction in answers:
            maps = maps_of(views, prediction)
            for image, values, score in zip(views.images, maps, view_scores(views, prediction), strict=True):
                seen.frames.see(len(seen.scores), image, values, score)
                written.add(len(seen.scores), image, values, score, score >= threshold)
                seen.scores.append(score)
            # the maps are large and on disk by now; score, words and seconds are all that is still needed
            seen.answers.append(prediction.model_copy(update={"anomaly_map": None, "expected": None}))
    except BaseException:
        written.drop()
        raise
    written.finish()
    return _result(desk, sample, sample.data, seen, written, path)


@dataclass
class _Seen:
    """What is kept of a video that has streamed by."""

    frames: KeyFrames
    scores: list[float]  # (F,)
    answers: list[Prediction]  # one per chunk, without maps


def _result(desk: Desk, sample: Sample, video: VideoData, seen: _Seen, written: _FrameFiles, path: str) -> Result:
    times, scores = np.asarray(video.times)[: len(seen.scores)], np.array(seen.scores)
    best = max(seen.answers, key=lambda answer: answer.score)
    whole = best.model_copy(update={"seconds": sum(answer.seconds for answer in seen.answers)})
    judged = verdict, threshold, _ = desk.judge.verdict(whole.score, "video")
    level = min(threshold, float(scores.max()))
    found = _strongest(intervals(times, scores, level, video.duration)) if verdict != "normal" else []
    peaks = [_places(seen.frames.map_at(one.peak), video.size, level) for one in found]
    words = describe_video(times, scores, found, video.duration, peaks, video.size, verdict, whole.score, threshold)
    regions = _regions(video, found, peaks, words)
    files = dict(written.files)
    if desk.folder is not None:
        files |= _key_frame_files(desk, sample, video, seen.frames, [one.peak for one in found], regions)
    curve = Curve(times=tuple(times.tolist()), scores=tuple(seen.scores))
    return desk.result(
        sample, whole, path, judged,
        regions=regions, words=words.overall, files=files, notes=written.notes, curve=curve,
    )  # fmt: skip


def _strongest(found: list[Interval]) -> list[Interval]:
    """The PEAKS strongest, in order of time."""
    return sorted(sorted(found, key=lambda one: -one.peak_score)[:PEAKS], key=lambda one: one.start)


def _places(values: np.ndarray | None, size: tuple[int, int], level: float) -> Found[Place]:
    """Where in its frame (H, W) a peak is."""
    if values is None:
        return Found()
    original = resize_map(values.astype(np.float32), size)
    return picture_regions(original, cut_level(original, level, "anomalous"))


def _regions(video: VideoData, found: Sequence[Interval], peaks: Sequence[Found[Place]], words: Words) -> list[Region]:
    return [
        Region(
            score=one.peak_score,
            words=text,
            where=where,
            interval=(one.start, one.end),
            frame=int(video.frames[one.peak]),
            box=places[0].box if len(places) else None,
            area=places[0].area if len(places) else None,
            share=places[0].share if len(places) else None,
        )
        for one, places, text, where in zip(found, peaks, words.regions, words.where, strict=True)
    ]


def _key_frame_files(
    desk: Desk, sample: Sample, video: VideoData, frames: KeyFrames, peaks: Sequence[int], regions: Sequence[Region]
) -> dict[str, str]:
    assert desk.folder is not None
    chosen = frames.choose(peaks)
    images = np.stack([frames.kept[i].image for i in chosen])
    maps = np.stack([frames.kept[i].map for i in chosen]).astype(np.float32)
    sheet, placements = contact_sheet(images, [f"t = {video.times[i]:.2f} s" for i in chosen])
    moved = regions_on_sheet(regions, [int(video.frames[i]) for i in chosen], placements, video.size)
    files = desk.pictures(sample, sheet, sheet_maps(maps), moved)
    files["boxes"] = f"boxes/{sample.id}.json"
    write_boxes(desk.folder / files["boxes"], moved, (sheet.shape[0], sheet.shape[1]))
    return files


# ---------------------------------------------------------------- what is kept while frames go by


@dataclass(frozen=True)
class _Frame:
    image: np.ndarray  # (h, w, 3) uint8
    map: np.ndarray  # (h, w) float16: half the memory, and only drawn or cut at a level
    score: float


class KeyFrames:
    """The few frames worth keeping while a video streams by: each stretch's peak, the highest, the first."""

    def __init__(self, border: float) -> None:
        self.border = border
        self.kept: dict[int, _Frame] = {}
        self._run: int | None = None  # position of the open stretch's peak
        self._peaks: list[int] = []
        self._highest: int | None = None

    def see(self, position: int, image: np.ndarray, values: np.ndarray, score: float) -> None:
        """Look at the next frame."""
        wanted = position == 0
        if score < self.border:
            self._run = None
        elif self._run is None:
            self._peaks.append(position)
            self._run, wanted = position, True
        elif score > self.kept[self._run].score:
            self._peaks[-1] = self._run = position
            wanted = True
        if self._highest is None or score > self.kept[self._highest].score:
            self._highest, wanted = position, True
        if wanted:  # a copy: a view would keep the whole chunk alive
            self.kept[position] = _Frame(image.copy(), values.astype(np.float16), score)
            self._forget()

    def _forget(self) -> None:
        if len(self._peaks) > PEAKS:
            weakest = min(self._peaks[:-1], key=lambda i: self.kept[i].score)
            self._peaks.remove(weakest)
        wanted = {0, self._highest, *self._peaks}
        self.kept = {i: frame for i, frame in self.kept.items() if i in wanted}

    def map_at(self, position: int) -> np.ndarray | None:
        """Return the map (h, w) of a peak frame, if it is among those kept."""
        return self.kept[position].map if position in self.kept else None

    def choose(self, peaks: Sequence[int]) -> list[int]:
        """Positions for the key-frame sheet, in order of time: the strongest peaks, the highest, the first."""
        strongest = sorted((p for p in peaks if p in self.kept), key=lambda i: -self.kept[i].score)
        first = [i for i in (*strongest[: KEY_FRAMES - 1], self._highest, 0) if i is not None]
        return sorted(list(dict.fromkeys(first))[:KEY_FRAMES])


class _FrameFiles:
    """What is written while a video streams by: a map per frame and the annotated MP4."""

    def __init__(self, desk: Desk, sample: Sample, video: VideoData) -> None:
        self.desk, self.sample, self.video = desk, sample, video
        self.files: dict[str, str] = {}
        self.notes: tuple[str, ...] = ()
        self._mp4: AnnotatedVideo | None = None
        self._wanted = "mp4" in desk.formats
        self._time = -np.inf  # seconds, of the last frame in the MP4
        if desk.folder is not None:  # frames of an earlier content of this file are no frames of this one
            shutil.rmtree(desk.folder / "maps" / sample.id, ignore_errors=True)

    def add(self, position: int, image: np.ndarray, values: np.ndarray, score: float, anomalous: bool) -> None:
        """Write one frame's map at original size, and its annotated picture."""
        if self.desk.folder is None:
            return
        self.files["map"] = f"maps/{self.sample.id}"
        name = f"maps/{self.sample.id}/{int(self.video.frames[position]):06d}.png"
        self.desk.png8(name, resize_map(values, self.video.size))
        if self._wanted and self._mp4 is None:
            self._open((image.shape[0], image.shape[1]))
        time = float(self.video.times[position])
        if self._mp4 is not None and time > self._time:  # of frames with one time a player shows one
            self._mp4.add(image, values, score, time, anomalous)
            self._time = time

    def _open(self, size: tuple[int, int]) -> None:
        assert self.desk.folder is not None
        name = f"videos/{self.sample.id}.mp4"
        fps = len(self.video.times) / max(self.video.duration, 1e-3)
        try:
            self._mp4 = AnnotatedVideo(self.desk.folder / name, size, fps).__enter__()
        except MissingExtra as error:  # an animated GIF is read without PyAV, an MP4 not written
            self._wanted, self.notes = False, (f"no annotated MP4: {error}",)
            return
        self.files["mp4"] = name

    def finish(self) -> None:
        """Put the MP4 into its place."""
        if self._mp4 is not None:
            self._mp4.__exit__(None, None, None)
            self.notes = (*self.notes, *self._mp4.notes)

    def drop(self) -> None:
        """Leave no half MP4 behind."""
        if self._mp4 is not None:
            error = RuntimeError("incomplete")
            self._mp4.__exit__(type(error), error, None)
