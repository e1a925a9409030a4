"""From patterns to files: what a file, a folder or a glob stands for, in an order that never changes."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from looktwice import modalities
from looktwice.errors import UsageError, did_you_mean


def expand(patterns: Sequence[str | Path], base: Path | None = None) -> list[Path]:
    """Return the samples that files, folders and globs stand for, in the given order, each sample once.

    A path that exists is taken as it is, even with * or [ in its name. A folder stands for the samples directly in
    it, sorted; a folder of frames (`*.frames`) is itself one sample. In a glob `**` crosses folders; its matches are
    sorted. Folders and globs leave out hidden files and files that are no picture, point cloud or video. `base` is
    what relative paths are relative to; None is the current folder. Raises UsageError for what stands for nothing.
    """
    found = Found()
    for pattern in patterns:
        found.add(match(str(pattern), base or Path()).paths)
    return found.paths


@dataclass
class Found:
    """Samples in order, each once, with the line of the sheet they were first named in."""

    paths: list[Path] = field(default_factory=list)
    lines: dict[str, int | None] = field(default_factory=dict)  # by real path

    def add(self, paths: Iterable[Path], line: int | None = None) -> list[Path]:
        """Add what is new; return what is not."""
        again = []
        for path in paths:
            if (real := os.path.realpath(path)) in self.lines:
                again.append(path)
            else:
                self.lines[real] = line
                self.paths.append(path)
        return again

    def line(self, path: Path) -> int | None:
        """The line a path was first named in."""
        return self.lines.get(os.path.realpath(path))


class Match(NamedTuple):
    """What one pattern stands for, and the files it met that are no samples."""

    paths: list[Path]
    left_out: list[Path]


def match(pattern: str, base: Path) -> Match:
    """Resolve one pattern; raises UsageError with the pattern when it stands for nothing."""
    if not pattern.strip() or "\0" in pattern:
        raise UsageError(f"a path must name a file, a folder or a glob, got {pattern!r}")
    path = base / pattern
    if os.path.isdir(path) and not _is_sample(path):
        return _in_folder(path, pattern)
    if os.path.exists(path):
        return Match([path], [])
    if not glob.has_magic(pattern):
        raise UsageError(f"no such file: '{pattern}'{_near(path)}")
    every = [base / name for name in glob.glob(pattern, root_dir=base, recursive=True)]
    found = _sift(one for one in every if one.is_file() or _is_sample(one))
    if not found.paths and found.left_out:
        raise UsageError(f"'{pattern}' matches no picture, point cloud or video, but {some(found.left_out)}")
    if not found.paths:
        hint = ", only folders: add /* to take the files in them" if every else f"{_near_folder(path)}"
        raise UsageError(f"'{pattern}' matches no file{hint}")
    return found


def _in_folder(folder: Path, pattern: str) -> Match:
    """A folder in a folder is one sample (frames) or not meant: folders are not searched."""
    try:
        inside = [one for one in folder.iterdir() if not one.name.startswith(".")]
    except OSError as error:
        raise UsageError(f"'{pattern}' cannot be listed: {error.strerror}") from error
    found = _sift(one for one in inside if one.is_file() or _is_sample(one))
    if not found.paths:
        folders = any(one.is_dir() for one in inside)
        hint = f". For those in its folders write '{pattern.rstrip('/')}/**'" if folders else ""
        raise UsageError(f"the folder '{pattern}' holds no picture, point cloud or video{hint}")
    return found


def _sift(paths: Iterable[Path]) -> Match:
    """Part samples from other files, sorted; what lies in a folder that is a sample itself belongs to that sample."""
    ordered = sorted(paths, key=lambda path: path.as_posix())
    folders = {path for path in ordered if path.is_dir()}
    found = Match([], [])
    for path in ordered:
        if not folders.intersection(path.parents):
            (found.paths if _is_sample(path) else found.left_out).append(path)
    return found


def _is_sample(path: Path) -> bool:
    return any(modalities.modality(name).recognises(path) for name in modalities.MODALITIES)


def _near(path: Path) -> str:
    """What may have been meant instead of a path that does not exist."""
    if "\\" in str(path) and os.sep == "/":
        return ". Write / between folders"
    try:
        return f".{near}" if (near := did_you_mean(path.name, sorted(os.listdir(path.parent)))) else ""
    except OSError:
        return _near_folder(path)


def _near_folder(path: Path) -> str:
    """The first folder on the way that does not exist, unless it may come from a wildcard."""
    for folder in reversed(path.parents):
        if glob.has_magic(str(folder)):
            return ""
        if not os.path.isdir(folder):
            return f": there is no folder {folder}"
    return ""


def some(paths: Sequence[Path], most: int = 3) -> str:
    """Name the first few files."""
    more = f" and {len(paths) - most} more" if len(paths) > most else ""
    return ", ".join(path.name for path in paths[:most]) + more
