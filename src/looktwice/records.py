"""The records that cross borders: frozen, checked once when made, JSON in and out without loss.

Letters: V views, H W pixels of the original, h w pixels of a view, N points, F frames.
Arrays travel in JSON as {"dtype", "shape", "data"} with base64 data, bit for bit.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema, model_validator

from looktwice.errors import UsageError, did_you_mean

ModalityName = Literal["image", "point_cloud", "video"]
Verdict = Literal["normal", "anomalous", "unsure"]
RuleVerdict = Literal["kept", "broken", "not visible", "not judged"]


def _decode_array(value: Any) -> np.ndarray:
    if isinstance(value, Mapping):
        dtype = np.dtype(value["dtype"])
        if dtype.hasobject:
            raise ValueError("arrays of Python objects are not allowed")
        value = np.frombuffer(base64.b64decode(value["data"]), dtype=dtype).reshape(value["shape"])
    if not isinstance(value, np.ndarray):
        raise ValueError(f"expected a NumPy array, got {type(value).__name__}")
    frozen = value.view()
    frozen.flags.writeable = False
    return frozen


def _encode_array(value: np.ndarray) -> dict[str, Any]:
    data = base64.b64encode(np.ascontiguousarray(value).tobytes()).decode("ascii")
    return {"dtype": value.dtype.str, "shape": list(value.shape), "data": data}


Array = Annotated[
    npt.NDArray[Any],
    BeforeValidator(_decode_array),
    PlainSerializer(_encode_array, when_used="json"),
    WithJsonSchema(
        {
            "type": "object",
            "properties": {
                "dtype": {"type": "string"},
                "shape": {"type": "array", "items": {"type": "integer"}},
                "data": {"type": "string", "contentEncoding": "base64"},
            },
            "required": ["dtype", "shape", "data"],
        }
    ),
]


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return (
            isinstance(a, np.ndarray)
            and isinstance(b, np.ndarray)
            and a.dtype == b.dtype
            and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
        )
    return bool(a == b)


class Record(BaseModel):
    """Base of all records."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    def to_json(self) -> str:
        """Return the record as one line of JSON, arrays included."""
        return self.model_dump_json()

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote; raises pydantic.ValidationError on anything else."""
        return cls.model_validate_json(text)

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        return all(_same(getattr(self, name), getattr(other, name)) for name in type(self).model_fields)

    __hash__ = None  # type: ignore[assignment]  # records hold arrays


def _expect(array: np.ndarray, what: str, shape: tuple[int | None, ...], dtype: type | str) -> None:
    wanted = tuple("any" if s is None else s for s in shape)
    fits = array.ndim == len(shape) and all(s in (None, got) for s, got in zip(shape, array.shape, strict=True))
    if not fits or array.dtype != np.dtype(dtype):
        raise ValueError(
            f"{what} must be {np.dtype(dtype)} of shape {wanted}, got {array.dtype} of shape {array.shape}"
        )


# ---------------------------------------------------------------- what one thing to inspect is


class ImageData(Record):
    """One picture as 8-bit RGB at its original size."""

    kind: Literal["image"] = "image"
    pixels: Array  # (H, W, 3) uint8

    @model_validator(mode="after")
    def _check(self) -> Self:
        _expect(self.pixels, "pixels", (None, None, 3), np.uint8)
        if 0 in self.pixels.shape:
            raise ValueError(f"a picture must have at least one pixel, got {self.pixels.shape}")
        return self


class PointCloudData(Record):
    """One cloud. Invalid points (NaN, or (0, 0, 0) in an organised cloud) stay in place, marked in `valid`."""

    kind: Literal["point_cloud"] = "point_cloud"
    points: Array  # (N, 3) float64, in the units of the file; invalid points are (0, 0, 0)
    valid: Array  # (N,) bool
    colors: Array | None = None  # (N, 3) uint8
    grid: tuple[int, int] | None = None  # (rows, columns) of an organised cloud, N = rows * columns

    @model_validator(mode="after")
    def _check(self) -> Self:
        _expect(self.points, "points", (None, 3), np.float64)
        _expect(self.valid, "valid", (len(self.points),), np.bool_)
        if self.colors is not None:
            _expect(self.colors, "colors", (len(self.points), 3), np.uint8)
        if self.grid is not None and self.grid[0] * self.grid[1] != len(self.points):
            raise ValueError(f"grid {self.grid} does not hold {len(self.points)} points")
        if not self.valid.any():
            raise ValueError("a cloud must have at least one valid point")
        return self


class VideoData(Record):
    """A plan of which frames to look at; the frames themselves are streamed when views are made."""

    kind: Literal["video"] = "video"
    frames: Array  # (F,) int64, index of each chosen frame in the file
    times: Array  # (F,) float64, seconds from the start of the video
    size: tuple[int, int]  # (H, W) of the original frames
    total: int  # frames in the file that can be read
    duration: float  # seconds that can be read
    files: tuple[str, ...] | None = None  # the pictures, for a folder of frames

    @model_validator(mode="after")
    def _check(self) -> Self:
        _expect(self.frames, "frames", (None,), np.int64)
        _expect(self.times, "times", (len(self.frames),), np.float64)
        if len(self.frames) == 0:
            raise ValueError("a video must have at least one frame to look at")
        if (np.diff(self.frames) <= 0).any() or (np.diff(self.times) < 0).any():
            raise ValueError("frames and times must increase")
        return self


class Truth(Record):
    """What is known about a sample, for evaluation only: no detector is shown it."""

    label: Literal[0, 1]  # 1 = anomalous
    mask: Array | None = None  # bool: (H, W) for a picture, (N,) for a cloud, (F,) for a video
    defect_type: str | None = None
    answer: str | None = None


class Sample(Record):
    """One thing to inspect, loaded and checked."""

    id: str
    path: Path
    modality: ModalityName
    data: Annotated[ImageData | PointCloudData | VideoData, Field(discriminator="kind")]
    sha256: str = ""  # of the file's bytes; of the array's bytes for a sample made in memory
    notes: tuple[str, ...] = ()  # what loading had to decide ("alpha composited on white")
    truth: Truth | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.data.kind != self.modality:
            raise ValueError(f"modality is {self.modality} but the data is {self.data.kind}")
        return self

    @property
    def size(self) -> tuple[int, ...]:
        """(H, W) of a picture or video, (N,) of a cloud."""
        if isinstance(self.data, ImageData):
            return self.data.pixels.shape[0], self.data.pixels.shape[1]
        if isinstance(self.data, PointCloudData):
            return (len(self.data.points),)
        return self.data.size


# ---------------------------------------------------------------- the way back


class ToPixels(Record):
    """The one view is the whole picture, scaled."""

    kind: Literal["pixels"] = "pixels"
    size: tuple[int, int]  # (H, W) of the original

    def scatter(self, maps: np.ndarray) -> np.ndarray:
        """(1, h, w) -> (H, W) float32, bilinear."""
        return resize_map(maps[0], self.size)


class ToPoints(Record):
    """Each view sees some points: `pixel[v, n]` is the flat pixel of view v that shows point n, or -1."""

    kind: Literal["points"] = "points"
    pixel: Array  # (V, N) int32

    @model_validator(mode="after")
    def _check(self) -> Self:
        _expect(self.pixel, "pixel", (None, None), np.int32)
        return self

    def scatter(self, maps: np.ndarray) -> np.ndarray:
        """(V, h, w) -> (N,) float32: the highest score of the views that see the point.

        An anomaly seen from one side is an anomaly. A point that no view sees is NaN: unseen, not normal.
        """
        best = np.full(self.pixel.shape[1], -np.inf, np.float32)
        for view, pixel in zip(maps, self.pixel, strict=True):
            seen = pixel >= 0
            np.maximum.at(best, np.nonzero(seen)[0], view.reshape(-1)[pixel[seen]].astype(np.float32))
        best[np.isneginf(best)] = np.nan
        return best


class ToFrames(Record):
    """Each view is one frame, scaled."""

    kind: Literal["frames"] = "frames"
    frames: Array  # (V,) int64, index in the file
    times: Array  # (V,) float64, seconds
    size: tuple[int, int]  # (H, W) of the original frames

    @model_validator(mode="after")
    def _check(self) -> Self:
        _expect(self.frames, "frames", (None,), np.int64)
        _expect(self.times, "times", (len(self.frames),), np.float64)
        return self

    def scatter(self, maps: np.ndarray) -> np.ndarray:
        """(V, h, w) -> (V, H, W) float32, bilinear."""
        return np.stack([resize_map(one, self.size) for one in maps])


def resize_map(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bilinear resize of a float map (h, w) to (H, W), half-pixel centres; the same size is a copy."""
    if values.shape == tuple(size):
        return values.astype(np.float32)
    picture = Image.fromarray(np.ascontiguousarray(values, np.float32))
    return np.asarray(picture.resize((size[1], size[0]), Image.Resampling.BILINEAR))


class Views(Record):
    """What a detector looks at: 2-D pictures with names, and the way back to what they came from.

    A long video comes as several Views, one after the other, all with the same `context`.
    """

    images: Array  # (V, h, w, 3) uint8
    names: tuple[str, ...]  # "image", "top", "t=1.20 s"
    way: Annotated[ToPixels | ToPoints | ToFrames, Field(discriminator="kind")]
    shown: Array | None = None  # (V, h, w) bool: where the thing is; None means everywhere
    context: Array | None = None  # (C, h, w, 3) uint8: other pictures of the same thing
    posed: bool = True  # a view of the same name shows the same pose of every sample; not so for frames

    @model_validator(mode="after")
    def _check(self) -> Self:
        _expect(self.images, "images", (None, None, None, 3), np.uint8)
        if 0 in self.images.shape:
            raise ValueError(f"views must hold at least one picture of one pixel, got {self.images.shape}")
        if len(self.names) != len(self.images):
            raise ValueError(f"{len(self.images)} views have {len(self.names)} names")
        if self.shown is not None:
            _expect(self.shown, "shown", self.images.shape[:3], np.bool_)
        if self.context is not None:
            _expect(self.context, "context", (None, *self.images.shape[1:]), np.uint8)
        return self

    def scatter(self, maps: np.ndarray) -> np.ndarray:
        """Carry (V, h, w) scores back: to (H, W) pixels, (N,) points (NaN = unseen) or (V, H, W) frames."""
        if maps.shape != self.images.shape[:3]:
            raise UsageError(f"expected maps of shape {self.images.shape[:3]}, got {maps.shape}")
        return self.way.scatter(maps)


# ---------------------------------------------------------------- what a detector says


class RuleFinding(Record):
    """What became of one normality rule."""

    id: str
    text: str
    verdict: RuleVerdict
    reason: str = ""


class Explanation(Record):
    """The reasons in words, from a system that can talk."""

    description: str = ""
    defect_type: str = ""
    location: str = ""
    impact: str = ""
    suggestion: str = ""
    rules: dict[str, RuleFinding] = {}
    confidence: float | None = Field(None, ge=0, le=1)  # as the system states it
    unstable: tuple[str, ...] = ()  # names of the fields above that changed when it was asked again
    raw: str = ""  # untrusted model text, as it came


class Prediction(Record):
    """One detector's answer about one Views."""

    score: float = Field(ge=0, le=1)  # 0.5 is the detector's own border between normal and anomalous
    anomaly_map: Array | None = None  # (V, h, w) float32 in [0, 1], frame of the views
    view_scores: tuple[float, ...] | None = None  # (V,) score of each view on its own
    expected: Array | None = None  # (V, h, w, 3) uint8: what normal looks like here, in the frame of the views
    explanation: Explanation | None = None
    evidence: dict[str, float | str] = {}  # named parts of the decision, such as {"registered": "shift ..."}
    seconds: float = Field(0.0, ge=0)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.anomaly_map is not None:
            _expect(self.anomaly_map, "anomaly_map", (None, None, None), np.float32)
            if not np.isfinite(self.anomaly_map).all():
                raise ValueError("anomaly_map holds values that are not finite")
            if self.anomaly_map.size and (self.anomaly_map.min() < 0 or self.anomaly_map.max() > 1):
                raise ValueError("anomaly_map must lie in [0, 1]")
        return self


# ---------------------------------------------------------------- what is kept of an inspection


class Region(Record):
    """One anomalous place: a box in a picture, some points of a cloud, or a stretch of time."""

    score: float = Field(ge=0, le=1)
    words: str
    where: str  # "upper left", "top side, centre", "1.20 s to 2.40 s"
    box: tuple[int, int, int, int] | None = None  # x0, y0, x1, y1 in original pixels, x1 and y1 outside
    area: int | None = None  # original pixels, or points
    share: float | None = Field(None, ge=0, le=1)  # of the picture, or of the seen points
    points: str | None = None  # .npy file of point indices, relative to the results
    interval: tuple[float, float] | None = None  # seconds
    frame: int | None = None  # of a video: the frame the box belongs to


class Curve(Record):
    """The score of a video over time."""

    times: tuple[float, ...]  # seconds
    scores: tuple[float, ...]  # in [0, 1]


class Failure(Record):
    """Why one sample could not be inspected."""

    kind: str
    message: str


class Result(Record):
    """One line of results.jsonl."""

    id: str
    path: str
    modality: ModalityName | None  # None only where the file could not even be recognised
    model: str
    score: float | None = Field(None, ge=0, le=1)
    verdict: Verdict | None = None
    threshold: float | None = None
    p_value: float | None = None  # with a calibration: share of normal parts at least this anomalous
    regions: tuple[Region, ...] = ()
    words: str = ""
    explanation: Explanation | None = None
    rules: tuple[RuleFinding, ...] = ()
    curve: Curve | None = None
    files: dict[str, str] = {}  # relative to the folder of results.jsonl, "/" between folders
    seconds: float = Field(0.0, ge=0)
    error: Failure | None = None
    notes: tuple[str, ...] = ()  # what loading and registration decided
    evidence: dict[str, float | str] = {}
    size: tuple[int, ...] | None = None  # (H, W) or (N,)
    sha256: str = ""  # of the inspected file
    settings_hash: str = ""  # of everything else that can change the result
    version: str = ""  # of this package

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.error is None) == (self.verdict is None):
            raise ValueError("a result has either a verdict or an error")
        return self


# ---------------------------------------------------------------- what the expert knows


class Rule(Record):
    """One normality rule."""

    id: str = Field(min_length=1)
    text: str = Field(min_length=1)


class Expectation(Record):
    """Samples that must pass or must fail: the tests of an inspection sheet."""

    must_pass: tuple[str, ...] = ()
    must_fail: tuple[str, ...] = ()


class Spec(Record):
    """The expert's knowledge: one Spec drives every system.

    `references` are paths or globs, relative to the sheet they were read from, or loaded Samples.
    """

    task: str = ""
    object: str = ""
    context: str = ""
    rules: tuple[Rule, ...] = ()
    references: tuple[Sample | str, ...] = ()
    defects: tuple[str, ...] = ()
    tests: Expectation = Expectation()

    @model_validator(mode="before")
    @classmethod
    def _shape(cls, value: Any) -> Any:
        """Refuse unknown keys with the near match; number plain-text rules r1, r2 ..."""
        if not isinstance(value, Mapping):
            return value
        for key in value:
            if key not in cls.model_fields:
                raise ValueError(f"unknown key '{key}'.{did_you_mean(str(key), cls.model_fields)}")
        rules = value.get("rules")
        if isinstance(rules, (list, tuple)):
            numbered = [
                {"id": f"r{i}", "text": rule} if isinstance(rule, str) else rule for i, rule in enumerate(rules, 1)
            ]
            value = {**value, "rules": numbered}
        if isinstance(value.get("references"), (str, Path, Sample)):
            value = {**value, "references": (value["references"],)}
        if isinstance(value.get("references"), (list, tuple)):
            plain = tuple(str(r) if isinstance(r, Path) else r for r in value["references"])
            value = {**value, "references": plain}
        return value

    @model_validator(mode="after")
    def _unique_rules(self) -> Self:
        ids = [rule.id for rule in self.rules]
        twice = sorted({i for i in ids if ids.count(i) > 1})
        if twice:
            raise ValueError(f"rule ids must differ, {', '.join(twice)} stands twice")
        return self
