"""From a detector's answer to a Result: verdict, regions, measured words, and the files a person can look at.

One function per modality; the way back onto pixels, points and frames happens here. Nothing here runs a model.
Letters: V views, H W pixels of the original, h w pixels of a view, N points, F frames.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from looktwice import __version__
from looktwice.calibration import Calibration
from looktwice.errors import MissingExtra
from looktwice.records import (
    Curve,
    Failure,
    PointCloudData,
    Prediction,
    Region,
    Result,
    RuleFinding,
    Sample,
    Spec,
    Verdict,
    VideoData,
    Views,
    resize_map,
)
from looktwice.regions import Found, Place, cloud_regions, intervals, picture_regions
from looktwice.report.atomic import atomic_stream, write_atomically
from looktwice.report.mp4 import AnnotatedVideo
from looktwice.report.overlay import blend, draw_regions
from looktwice.report.ply import write_ply
from looktwice.report.sheet import contact_sheet, regions_on_sheet, sheet_maps, write_boxes
from looktwice.words import Words, describe_cloud, describe_picture, describe_video

KEY_FRAMES = 6  # on the sheet of a video
PEAKS = 20  # anomalous stretches whose peak frame is kept while a video streams by
JPEG = {"quality": 90, "subsampling": 0}


@dataclass(frozen=True)
class Judge:
    """How a score becomes a verdict."""

    threshold: float = 0.5
    calibration: Calibration | None = None

    def verdict(self, score: float, modality: str) -> tuple[Verdict, float, float | None]:
        """Return the verdict, the threshold it goes by, and the p-value where there is a calibration."""
        if self.calibration is None:
            return ("anomalous" if score >= self.threshold else "normal"), self.threshold, None
        verdict, p_value = self.calibration.judge(score, modality)
        return verdict, min(1.0, self.calibration.threshold(modality)), p_value


@dataclass
class Desk:
    """Where and how findings are written; without a folder they stay in memory."""

    model: str
    spec: Spec
    judge: Judge
    settings_hash: str
    folder: Path | None = None
    formats: tuple[str, ...] = ()
    references: dict[str, str] = field(default_factory=dict)  # modality -> picture of a reference, relative

    def fail(self, id: str, path: str, modality: Any, error: Exception, kind: str, sha256: str = "") -> Result:
        """Return the Result of a sample that could not be inspected."""
        return Result(
            id=id,
            path=path,
            modality=modality,
            model=self.model,
            error=Failure(kind=kind, message=str(error)),
            sha256=sha256,
            settings_hash=self.settings_hash,
            version=__version__,
        )

    def image(self, sample: Sample, views: Views, prediction: Prediction, path: str) -> Result:
        """Judge a picture."""
        verdict, threshold, p_value = self.judge.verdict(prediction.score, "image")
        maps = _maps(views, prediction)
        original = views.scatter(maps)
        level = _level(original, threshold, verdict)
        places = picture_regions(original, level) if verdict != "normal" else Found[Place]()
        expected = None if prediction.expected is None else prediction.expected[0]
        pixels = np.asarray(sample.data.pixels)  # type: ignore[union-attr]
        words = describe_picture(pixels, places, verdict, prediction.score, threshold, expected)
        regions = _regions(places, words)
        files = {}
        if self.folder is not None:
            files["map"] = self._png16(f"maps/{sample.id}.png", original)
            scale = (views.images.shape[2] / pixels.shape[1], views.images.shape[1] / pixels.shape[0])
            files |= self._pictures(sample, views.images[0], maps[0], regions, scale)
            if expected is not None:
                files["expected"] = self._jpeg(f"expected/{sample.id}.jpg", expected)
        return self._result(
            sample, prediction, path, verdict, threshold, p_value, regions=regions, words=words.overall, files=files
        )

    def cloud(self, sample: Sample, views: Views, prediction: Prediction, path: str) -> Result:
        """Judge a point cloud."""
        assert isinstance(sample.data, PointCloudData)
        verdict, threshold, p_value = self.judge.verdict(prediction.score, "point_cloud")
        maps = _maps(views, prediction)
        scores = views.scatter(maps)
        level = _level(scores, threshold, verdict)
        points = np.asarray(sample.data.points)
        patches = cloud_regions(points, scores, level) if verdict != "normal" else Found()
        words = describe_cloud(sample.data, scores, views, patches, verdict, prediction.score, threshold)
        regions = []
        for number, (patch, text, where) in enumerate(zip(patches, words.regions, words.where, strict=True), 1):
            name = f"points/{sample.id}-{number}.npy" if self.folder is not None else None
            if name:
                self._npy(name, patch.points)
            regions.append(
                Region(score=patch.score, words=text, where=where, area=patch.area, share=patch.share, points=name)
            )
        files = {}
        if self.folder is not None:
            files["map"] = self._npy(f"maps/{sample.id}.npy", scores)
            sheet, _ = contact_sheet(views.images, views.names)
            files |= self._pictures(sample, sheet, sheet_maps(maps), (), (1.0, 1.0))
            if prediction.expected is not None:
                expected, _ = contact_sheet(prediction.expected, views.names)
                files["expected"] = self._jpeg(f"expected/{sample.id}.jpg", expected)
            if "ply" in self.formats:
                files["ply"] = f"clouds/{sample.id}.ply"
                write_ply(self.folder / files["ply"], points, scores, np.asarray(sample.data.valid))
        return self._result(
            sample, prediction, path, verdict, threshold, p_value, regions=regions, words=words.overall, files=files
        )

    def video(self, sample: Sample, stream: Iterator[tuple[Views, Prediction]], path: str) -> Result:
        """Judge a video chunk by chunk; memory does not grow with its length."""
        assert isinstance(sample.data, VideoData)
        scores: list[float] = []
        predictions: list[Prediction] = []
        frames = _KeyFrames(self._border("video"))
        written = _FrameFiles(self, sample)
        try:
            for views, prediction in stream:
                maps = _maps(views, prediction)
                each = _view_scores(views, prediction)
                for i, score in enumerate(each):
                    position = len(scores)
                    scores.append(score)
                    frames.see(position, views.images[i], maps[i], score)
                    written.add(position, views.images[i], maps[i], score, self._border("video"))
                # the map is large and on disk by now; score, words and seconds are all that is still needed
                predictions.append(prediction.model_copy(update={"anomaly_map": None, "expected": None}))
        except BaseException:
            written.close(complete=False)
            raise
        written.close(complete=True)
        return self._video_result(sample, sample.data, predictions, scores, frames, written, path)

    def _video_result(
        self,
        sample: Sample,
        video: VideoData,
        predictions: Sequence[Prediction],
        scores: list[float],
        frames: _KeyFrames,
        written: _FrameFiles,
        path: str,
    ) -> Result:
        times = np.asarray(video.times)[: len(scores)]
        best = max(predictions, key=lambda p: p.score)
        whole = best.model_copy(update={"seconds": sum(p.seconds for p in predictions)})
        verdict, threshold, p_value = self.judge.verdict(whole.score, "video")
        level = min(threshold, max(scores))
        found = intervals(times, np.array(scores), level, video.duration) if verdict != "normal" else []
        found = sorted(found, key=lambda one: -one.peak_score)[:PEAKS]
        found.sort(key=lambda one: one.start)
        peaks = [self._places(frames.map_at(one.peak), video.size, level) for one in found]
        words = describe_video(
            times, np.array(scores), found, video.duration, peaks, video.size, verdict, whole.score, threshold
        )
        regions = [
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
        files = dict(written.files)
        if self.folder is not None:
            files |= self._key_frame_files(sample, video, frames, [one.peak for one in found], regions)
        return self._result(
            sample, whole, path, verdict, threshold, p_value,
            regions=regions, words=words.overall, files=files, notes=written.notes,
            curve=Curve(times=tuple(times.tolist()), scores=tuple(scores)),
        )  # fmt: skip

    def _key_frame_files(
        self, sample: Sample, video: VideoData, frames: _KeyFrames, peaks: Sequence[int], regions: Sequence[Region]
    ) -> dict[str, str]:
        assert self.folder is not None
        chosen = frames.choose(peaks)
        images = np.stack([frames.kept[i].image for i in chosen])
        maps = np.stack([frames.kept[i].map for i in chosen]).astype(np.float32)
        sheet, placements = contact_sheet(images, [f"t = {video.times[i]:.2f} s" for i in chosen])
        moved = regions_on_sheet(regions, [int(video.frames[i]) for i in chosen], placements, video.size)
        files = self._pictures(sample, sheet, sheet_maps(maps), moved, (1.0, 1.0))
        files["boxes"] = f"boxes/{sample.id}.json"
        write_boxes(self.folder / files["boxes"], moved, (sheet.shape[0], sheet.shape[1]))
        return files

    def _border(self, modality: str) -> float:
        if self.judge.calibration is None:
            return self.judge.threshold
        return min(1.0, self.judge.calibration.threshold(modality))

    @staticmethod
    def _places(values: np.ndarray | None, size: tuple[int, int], level: float) -> Found[Place]:
        if values is None:
            return Found()
        original = resize_map(values.astype(np.float32), size)
        return picture_regions(original, _level(original, level, "anomalous"))

    def _pictures(
        self,
        sample: Sample,
        picture: np.ndarray,
        values: np.ndarray,
        regions: Sequence[Region],
        scale: tuple[float, float],
    ) -> dict[str, str]:
        """Write what was looked at, its heat and both together; the reference is one file per run."""
        files = {
            "picture": self._jpeg(f"pictures/{sample.id}.jpg", picture),
            "heat": self._png8(f"heat/{sample.id}.png", values),
            "overlay": self._jpeg(f"overlays/{sample.id}.jpg", draw_regions(blend(picture, values), regions, scale)),
        }
        if sample.modality in self.references:
            files["reference"] = self.references[sample.modality]
        return files

    def _result(
        self,
        sample: Sample,
        prediction: Prediction,
        path: str,
        verdict: Verdict,
        threshold: float,
        p_value: float | None,
        *,
        notes: Sequence[str] = (),
        **found: Any,
    ) -> Result:
        return Result(
            id=sample.id,
            path=path,
            modality=sample.modality,
            model=self.model,
            score=prediction.score,
            verdict=verdict,
            threshold=threshold,
            p_value=p_value,
            explanation=prediction.explanation,
            rules=self._rules(prediction),
            seconds=prediction.seconds,
            notes=(*sample.notes, *notes),
            evidence=prediction.evidence,
            size=sample.size,
            sha256=sample.sha256,
            settings_hash=self.settings_hash,
            version=__version__,
            **found,
        )

    def _rules(self, prediction: Prediction) -> tuple[RuleFinding, ...]:
        judged = prediction.explanation.rules if prediction.explanation else {}
        unread = f"{self.model} measures pictures and cannot read rules"
        return tuple(
            judged.get(rule.id, RuleFinding(id=rule.id, text=rule.text, verdict="not judged", reason=unread))
            for rule in self.spec.rules
        )

    def _jpeg(self, name: str, pixels: np.ndarray) -> str:
        return self._image(name, Image.fromarray(np.ascontiguousarray(pixels)), "JPEG", **JPEG)

    def _png8(self, name: str, values: np.ndarray) -> str:
        grey = np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)
        return self._image(name, Image.fromarray(grey), "PNG", compress_level=1)

    def _png16(self, name: str, values: np.ndarray) -> str:
        grey = np.rint(np.clip(values, 0, 1) * 65535).astype(np.uint16)
        return self._image(name, Image.fromarray(grey), "PNG", compress_level=1)

    def _image(self, name: str, picture: Image.Image, kind: str, **options: Any) -> str:
        assert self.folder is not None
        content = io.BytesIO()
        picture.save(content, kind, **options)
        write_atomically(self.folder / name, content.getvalue())
        return name

    def _npy(self, name: str, values: np.ndarray) -> str:
        assert self.folder is not None
        with atomic_stream(self.folder / name) as stream:
            np.save(stream, values, allow_pickle=False)
        return name


@dataclass(frozen=True)
class _Frame:
    image: np.ndarray  # (h, w, 3) uint8
    map: np.ndarray  # (h, w) float16: half the memory, and only drawn or cut at a level
    score: float


class _KeyFrames:
    """The few frames of a video worth keeping while it streams by: each stretch's peak, the highest, the first."""

    def __init__(self, border: float) -> None:
        self.border = border
        self.kept: dict[int, _Frame] = {}
        self._run: int | None = None  # position of the open stretch's peak
        self._peaks: list[int] = []
        self._highest: int | None = None

    def see(self, position: int, image: np.ndarray, values: np.ndarray, score: float) -> None:
        """Look at the next frame."""
        frame = _Frame(image, values.astype(np.float16), score)
        if score >= self.border:
            if self._run is None:
                self._peaks.append(position)
                self._run = position
                self.kept[position] = frame
            elif score > self.kept[self._run].score:
                self._peaks[-1] = self._run = position
                self.kept[position] = frame
        else:
            self._run = None
        if self._highest is None or score > self.kept[self._highest].score:
            self._highest = position
            self.kept[position] = frame
        if position == 0:
            self.kept[0] = frame
        self._forget()

    def _forget(self) -> None:
        if len(self._peaks) > PEAKS:
            weakest = min(self._peaks[:-1], key=lambda i: self.kept[i].score)
            self._peaks.remove(weakest)
        wanted = {0, self._highest, *self._peaks}
        self.kept = {i: frame for i, frame in self.kept.items() if i in wanted}

    def map_at(self, position: int) -> np.ndarray | None:
        """Return the map of a peak frame, if it is among those kept."""
        return self.kept[position].map if position in self.kept else None

    def choose(self, peaks: Sequence[int]) -> list[int]:
        """Positions for the key-frame sheet, in order of time: the strongest peaks, the highest, the first."""
        strongest = sorted((p for p in peaks if p in self.kept), key=lambda i: -self.kept[i].score)
        first = [i for i in (*strongest[: KEY_FRAMES - 1], self._highest, 0) if i is not None]
        return sorted(dict.fromkeys(first[:KEY_FRAMES]))


class _FrameFiles:
    """What is written while a video streams by: a map per frame and the annotated MP4."""

    def __init__(self, desk: Desk, sample: Sample) -> None:
        assert isinstance(sample.data, VideoData)
        self.desk, self.sample, self.video = desk, sample, sample.data
        self.files: dict[str, str] = {}
        self.notes: tuple[str, ...] = ()
        self._mp4: AnnotatedVideo | None = None
        self._wanted = desk.folder is not None and "mp4" in desk.formats

    def add(self, position: int, image: np.ndarray, values: np.ndarray, score: float, border: float) -> None:
        """Write one frame's map at original size, and its annotated picture."""
        if self.desk.folder is None:
            return
        self.files["map"] = f"maps/{self.sample.id}"
        name = f"maps/{self.sample.id}/{int(self.video.frames[position]):06d}.png"
        self.desk._png8(name, resize_map(values, self.video.size))
        if self._wanted and self._mp4 is None:
            self._open(image.shape[:2])
        if self._mp4 is not None:
            self._mp4.add(image, values, score, float(self.video.times[position]), score >= border)

    def _open(self, size: tuple[int, ...]) -> None:
        assert self.desk.folder is not None
        name = f"videos/{self.sample.id}.mp4"
        fps = len(self.video.times) / max(self.video.duration, 1e-3)
        (self.desk.folder / "videos").mkdir(exist_ok=True)
        try:
            self._mp4 = AnnotatedVideo(self.desk.folder / name, (size[0], size[1]), fps).__enter__()
        except MissingExtra as error:  # an animated GIF is read without PyAV, an MP4 not written
            self._wanted, self.notes = False, (f"no annotated MP4: {error}",)
            return
        self.files["mp4"] = name

    def close(self, complete: bool) -> None:
        """Finish the MP4, or drop it."""
        if self._mp4 is None:
            return
        error = None if complete else RuntimeError("incomplete")
        self._mp4.__exit__(type(error) if error else None, error, None)
        if complete:
            self.notes = (*self.notes, *self._mp4.notes)


def _maps(views: Views, prediction: Prediction) -> np.ndarray:
    """The map of each view; a detector without one says the same of every pixel that shows the thing."""
    if prediction.anomaly_map is not None:
        return np.asarray(prediction.anomaly_map)
    shown = np.ones(views.images.shape[:3], bool) if views.shown is None else np.asarray(views.shown)
    scores = np.array(_view_scores(views, prediction), np.float32)
    return np.asarray(shown * scores[:, None, None], np.float32)


def _view_scores(views: Views, prediction: Prediction) -> Sequence[float]:
    return prediction.view_scores or [prediction.score] * len(views.images)


def _level(values: np.ndarray, threshold: float, verdict: str) -> float:
    """Where a map is cut into regions: the threshold, or, where the map stays below it, near its own maximum."""
    if verdict == "normal" or not np.isfinite(values).any():
        return threshold
    highest = float(np.nanmax(values))
    return threshold if highest >= threshold or highest <= 0 else 0.9 * highest


def _regions(places: Found[Place], words: Words) -> list[Region]:
    return [
        Region(score=place.score, words=text, where=where, box=place.box, area=place.area, share=place.share)
        for place, text, where in zip(places, words.regions, words.where, strict=True)
    ]


def path_text(path: Path) -> str:
    """A path as text for JSON; bytes that are no UTF-8 are written as escapes."""
    return os.fsencode(path).decode("utf-8", "backslashreplace").replace(os.sep, "/")
