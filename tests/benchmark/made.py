"""Small data sets on disk and detectors of ten lines for the tests of the benchmark."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from PIL import Image
from pydantic import BaseModel

from looktwice.errors import BadFile, LookTwiceError
from looktwice.records import Explanation, Prediction, Spec, Views
from looktwice.settings import Settings

sys.path.append(str(Path(__file__).parents[1] / "data"))
import miniatures

__all__ = [
    "Bright",
    "Choosy",
    "Refused",
    "Talker",
    "Told",
    "Trying",
    "bright",
    "choosy",
    "files_of",
    "lids",
    "miniatures",
    "mvtec",
    "picture",
    "talker",
    "told",
]

SIZE = (40, 48)


def picture(path: Path, seed: int, defect: bool = False) -> np.ndarray:
    """Grey noise, with a bright block when defective; returns the mask."""
    pixels = np.random.default_rng(seed).integers(60, 120, (*SIZE, 3)).astype(np.uint8)
    mask = np.zeros(SIZE, np.bool_)
    if defect:
        row, column = 4 + seed % 20, 6 + seed * 7 % 30
        mask[row : row + 8, column : column + 6] = True
        pixels[mask] = 100 + 20 * (seed % 8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return mask


def mvtec(
    root: Path, categories: Sequence[str] = ("bottle", "cable"), train: int = 5, good: int = 4, bad: int = 5
) -> Path:
    """The layout of MVTec AD."""
    for number, category in enumerate(categories):
        base = root / category
        for i in range(train):
            picture(base / f"train/good/{i:03d}.png", 1000 * number + i)
        for i in range(good):
            picture(base / f"test/good/{i:03d}.png", 1000 * number + 100 + i)
        for i in range(bad):
            mask = picture(base / f"test/broken/{i:03d}.png", 1000 * number + 200 + i, defect=True)
            miniatures.save_mask(base / f"ground_truth/broken/{i:03d}_mask.png", mask)
    return root


def lids(root: Path, good: int = 6, bad: int = 6) -> Path:
    """Anybody's own data: good, bad, masks."""
    for i in range(good):
        picture(root / f"good/{i}.png", i)
    for i in range(bad):
        mask = picture(root / f"bad/dent/{i + 50}.png", i + 50, defect=True)
        miniatures.save_mask(root / f"masks/{i + 50}.png", mask)
    return root


def files_of(run: Path) -> dict[str, bytes]:
    """All files of a run that must be the same for the same run."""
    found = {p.relative_to(run).as_posix(): p.read_bytes() for p in sorted(run.rglob("*")) if p.is_file()}
    return {name: data for name, data in found.items() if name != "made.json" and not name.endswith("seconds.jsonl")}


class Config(BaseModel):
    """Options of the fakes."""

    power: float = 1.0


class Bright:
    """A detector for which bright is anomalous; references shift the border."""

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or Config()
        self.level = 0.0

    def fit(self, spec: Spec, settings: Settings | None = None) -> Bright:
        fitted = type(self)(self.config)
        fitted.level = sum(len(str(r)) % 7 for r in spec.references) / 1000
        return fitted

    def predict(self, batch: Sequence[Views]) -> list[Prediction]:
        return [self._one(views) for views in batch]

    def _one(self, views: Views) -> Prediction:
        maps = ((views.images.mean(-1) / 255) ** self.config.power).astype(np.float32)
        return Prediction(score=min(1.0, float(maps.max()) + self.level), anomaly_map=maps, seconds=0.01)


class Choosy(Bright):
    """Refuses one picture, and with it every batch that holds it."""

    def predict(self, batch: Sequence[Views]) -> list[Prediction]:
        if any(views.images[0, 0, 0, 0] == 255 for views in batch):
            raise ValueError("I do not like this one")
        return super().predict(batch)


class Talker(Bright):
    """Answers: yes to bright pictures, A to choices."""

    def look(self, views: Views) -> Look:
        return Look(views)


class Look:
    """One thing that was looked at."""

    def __init__(self, views: Views) -> None:
        self.views = views
        self.asked = 0

    def ask(self, question: str) -> str:
        self.asked += 1
        if "letter" in question:
            return "A"
        if "how many" in question:
            return f"{self.asked} asked, {len(self.views.images)} shown"
        return "Yes, a dent." if self.views.images.mean() > 127 else "No."


class Refused(LookTwiceError):
    """What a talker says that was given a wrong key."""

    kind = "talker_refused_key"


class Trying(Bright):
    """Judges each of a batch or says why not; `batches` counts what it was asked."""

    batches: ClassVar[list[int]] = []
    error: LookTwiceError = BadFile("unreadable", "it", "I cannot say")

    def attempt(self, batch: Sequence[Views]) -> list[Prediction | LookTwiceError]:
        self.batches.append(len(batch))
        return [self.error if views.images[0, 0, 0, 0] == 255 else self._one(views) for views in batch]

    def predict(self, batch: Sequence[Views]) -> list[Prediction]:
        raise AssertionError("attempt is there to be asked")


class Told(Bright):
    """Repeats what it was told of the thing."""

    def fit(self, spec: Spec, settings: Settings | None = None) -> Told:
        fitted = Told(self.config)
        fitted.words = spec.object
        return fitted

    def predict(self, batch: Sequence[Views]) -> list[Prediction]:
        explanation = Explanation(description=self.words)
        return [one.model_copy(update={"explanation": explanation}) for one in super().predict(batch)]


def told(name: str, **options: Any) -> Told:
    """In place of detectors.load."""
    return Told(Config(**options))


def bright(name: str, **options: Any) -> Bright:
    """In place of detectors.load."""
    return Bright(Config(**options))


def choosy(name: str, **options: Any) -> Choosy:
    """In place of detectors.load."""
    return Choosy(Config(**options))


def talker(name: str, **options: Any) -> Talker:
    """In place of detectors.load."""
    return Talker(Config(**options))
