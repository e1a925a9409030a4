"""Modalities: how one file becomes a Sample, a Sample becomes Views, and scores find their way back.

A modality never learns what a detector is. A new one is one file and one line in MODALITIES.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol, runtime_checkable

from looktwice.errors import BadFile
from looktwice.records import Sample, Views
from looktwice.registry import Registry
from looktwice.settings import Settings


class Modality(Protocol):
    """What every modality offers. Implementations hold no state."""

    name: str
    suffixes: tuple[str, ...]  # lower case, with the dot

    def recognises(self, path: Path) -> bool:
        """Whether this existing file (or folder) is of this modality; looks inside where the name is not enough."""

    def load(self, path: Path, settings: Settings) -> Sample:
        """Load and check one thing; raises BadFile, MissingExtra."""

    def views(self, sample: Sample, settings: Settings) -> Iterator[Views]:
        """Yield what a detector looks at: one Views, or, for a video, one after the other."""


@runtime_checkable
class Retaking(Protocol):
    """What a modality may offer besides: how the same thing might look the next time it is taken."""

    def retakes(self, sample: Sample, number: int, of: int, settings: Settings) -> Iterator[Views]:
        """Yield the retakes that fall to sample `number` of `of` normal samples."""


# In this order: the first that recognises a file takes it.
MODALITIES = Registry(
    "modality",
    {
        "series": "looktwice.modalities.series:Series",
        "point_cloud": "looktwice.modalities.point_cloud:PointCloud",
        "video": "looktwice.modalities.video:Video",
        "image": "looktwice.modalities.image:Image",
    },
)


def modality(name: str) -> Modality:
    """Return the modality called `name`; raises UnknownName."""
    made: Modality = MODALITIES.load(name)()
    return made


def modality_of(path: Path) -> Modality:
    """Return the modality of an existing file or folder of frames; raises BadFile when there is none."""
    if not path.exists():
        raise BadFile("missing_file", path, "no such file")
    for name in MODALITIES:
        one = modality(name)
        if one.recognises(path):
            return one
    known = sorted({s for name in MODALITIES for s in modality(name).suffixes})
    if path.suffix.lower() in known:
        raise BadFile("unsupported", path, f"ends in {path.suffix} but holds no picture, point cloud or video")
    raise BadFile("unsupported", path, f"not a picture, point cloud or video. Known endings: {', '.join(known)}")


def load(path: Path | str, settings: Settings | None = None, modality_name: str | None = None) -> Sample:
    """Load one file as a Sample, by its own modality or the one named; raises BadFile, MissingExtra."""
    path = Path(path)
    if not path.exists():
        raise BadFile("missing_file", path, "no such file")
    chosen = modality(modality_name) if modality_name else modality_of(path)
    return chosen.load(path, settings or Settings())


def views(sample: Sample, settings: Settings | None = None) -> Iterator[Views]:
    """Yield the Views of a sample."""
    return modality(sample.modality).views(sample, settings or Settings())


def retakes(sample: Sample, number: int, of: int, settings: Settings | None = None) -> Iterator[Views]:
    """Yield views of one normal sample (`number` of `of`, from 0) as it might look the next time; often nothing."""
    chosen = modality(sample.modality)
    if isinstance(chosen, Retaking):
        yield from chosen.retakes(sample, number, of, settings or Settings())


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes; of a folder: of its files' names and bytes, in sorted order."""
    digest = hashlib.sha256()
    for file in [path] if path.is_file() else sorted(p for p in path.iterdir() if p.is_file()):
        if file is not path:
            digest.update(file.name.encode() + b"\0")
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def sample_id(path: Path) -> str:
    """A readable, safe and stable name for the files written about `path`: its stem and 8 hex of its path."""
    stem = "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "_" for c in path.stem)[:60] or "sample"
    return f"{stem}-{hashlib.sha256(os.fsencode(path.as_posix())).hexdigest()[:8]}"
