"""Answers on disk: one small file each, found by everything that was asked.

What an answer is found by: the talker (model, address, options that change answers), all texts, the pixels of all
pictures, and how to answer. The files hold answers only, no prompts, no pictures, no keys. Several processes may share
a folder; a file that is damaged is as good as none.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from looktwice.errors import UsageError
from looktwice.talkers.protocol import Asking, Picture, Reply, Turn, Usage

VERSION = 1  # of what goes into a key
log = logging.getLogger("looktwice.talkers")
_digests: WeakKeyDictionary[Picture, str] = WeakKeyDictionary()  # references are part of every question


def default_folder() -> Path:
    """Return $XDG_CACHE_HOME/looktwice/answers, or ~/.cache/looktwice/answers; raises UsageError without a home."""
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if not base.is_absolute():  # the XDG specification: a relative path counts as not set
        try:
            base = Path.home() / ".cache"
        except RuntimeError as error:
            raise UsageError("no home folder to keep answers in: set XDG_CACHE_HOME, or name a cache folder") from error
    return base / "looktwice" / "answers"


def key_of(identity: Mapping[str, Any] | str, dialogue: Sequence[Turn], how: Asking) -> str:
    """SHA-256 of all that an answer depends on."""
    asked = {
        "version": VERSION,
        "talker": identity,
        "dialogue": [[turn.role, [_part(part) for part in turn.parts]] for turn in dialogue],
        "how": {one.name: getattr(how, one.name) for one in fields(how)},
    }
    # the order of a schema's keys may change an answer, so it is kept; a mapping that is no dict becomes one
    return hashlib.sha256(json.dumps(asked, default=dict).encode()).hexdigest()


def _part(part: str | Picture) -> Any:
    if isinstance(part, str):
        return part
    if part not in _digests:
        pixels = hashlib.sha256(f"{part.pixels.shape} {part.pixels.dtype}".encode())
        pixels.update(part.pixels.tobytes())
        _digests[part] = pixels.hexdigest()
    return {"picture": _digests[part]}


class Answers:
    """A folder of answers. Raises UsageError when it cannot be written."""

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder).expanduser()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.folder):
                pass
        except OSError as error:
            why = error.strerror or error
            raise UsageError(f"cannot keep answers in {folder}: {why}. Name another cache folder, or none") from error

    def get(self, key: str) -> Reply | None:
        """Return a stored answer, None where there is none or it is damaged."""
        path = self._path(key)
        try:
            entry = json.loads(path.read_bytes())
            said = entry["reply"]
            if entry["key"] != key or entry["sha256"] != _checksum(said):
                raise ValueError("it holds something else than was written")
            return Reply(said["text"], said["finish"], Usage(dollars=0.0), said["choices"], cached=True)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
            log.warning("the stored answer %s is damaged (%s): it is asked again", path, error)
            return None

    def put(self, key: str, talker: str, reply: Reply) -> None:
        """Store an answer: whole or not at all. A full disk loses the file, not the answer."""
        choices = None if reply.choices is None else dict(reply.choices)
        said = {"text": reply.text, "finish": reply.finish, "choices": choices}
        entry = {"key": key, "talker": talker, "reply": said, "sha256": _checksum(said)}
        path = self._path(key)
        try:
            _write(path, json.dumps(entry))
        except OSError as error:
            log.warning("an answer could not be kept in %s: %s", self.folder, error.strerror or error)

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.json"  # no folder gets too many files


def _checksum(said: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def _write(path: Path, text: str) -> None:
    """Not synced: after a power cut an empty file is a damaged one, which is asked again."""
    path.parent.mkdir(exist_ok=True)
    handle, beside = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".tmp")  # only its owner may read it
    try:
        with os.fdopen(handle, "w", encoding="ascii") as stream:
            stream.write(text)
        os.replace(beside, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(beside)
        raise
