"""How things are loaded and looked at: one frozen record per modality; every field has a unit and a range.

These values change results, so they are part of a run's settings hash.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, model_validator


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ImageSettings(_Frozen):
    """How one picture becomes 8-bit RGB."""

    max_pixels: int = Field(64_000_000, ge=1, description="pixel budget: larger pictures are refused by name")
    max_side: int = Field(2048, ge=32, description="longest side of the view shown to a detector, pixels")
    background: tuple[int, int, int] = Field((255, 255, 255), description="colour under transparent pixels, RGB 0..255")
    window: tuple[float, float] | None = Field(
        None, description="black and white point for 16-bit and float pictures; None: by the documented rule"
    )

    @model_validator(mode="after")
    def _ranges(self) -> ImageSettings:
        if any(not 0 <= c <= 255 for c in self.background):
            raise ValueError(f"background must be three values in 0..255, got {self.background}")
        if self.window is not None and not self.window[0] < self.window[1]:
            raise ValueError(f"window must be (low, high) with low < high, got {self.window}")
        return self


class PointCloudSettings(_Frozen):
    """How a cloud becomes rendered views."""

    views: int = Field(6, ge=1, le=64, description="how many directions an unorganised cloud is seen from")
    size: int = Field(448, ge=32, le=2048, description="side of a rendered view, pixels")
    max_points: int = Field(20_000_000, ge=1, description="point budget: larger clouds are refused by name")
    mesh_points: int = Field(200_000, ge=100, description="points sampled from a mesh without free vertices")
    seed: int = Field(0, ge=0, description="seed of the mesh sampling")


class VideoSettings(_Frozen):
    """Which frames of a video are looked at. At most one of fps, count, every may be set."""

    fps: float | None = Field(None, gt=0, description="frames per second of video time")
    count: int | None = Field(None, ge=1, description="this many frames, evenly spaced")
    every: int | None = Field(None, ge=1, description="every n-th frame")
    chunk: int = Field(16, ge=1, description="frames held in memory at once")
    context: int = Field(12, ge=0, description="evenly spaced frames shown with every chunk as its context")
    max_side: int = Field(640, ge=32, description="longest side of a frame shown to a detector, pixels")

    @model_validator(mode="after")
    def _one_sampling(self) -> VideoSettings:
        if sum(value is not None for value in (self.fps, self.count, self.every)) > 1:
            raise ValueError("give at most one of fps, count and every")
        return self


DEFAULT_FPS = 4.0  # of video time, when neither fps, count nor every is given


class Settings(_Frozen):
    """Everything about loading and viewing, for all modalities."""

    image: ImageSettings = ImageSettings()
    point_cloud: PointCloudSettings = PointCloudSettings()
    video: VideoSettings = VideoSettings()
