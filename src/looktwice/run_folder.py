"""A results folder: what is finished stays finished, and the same command again goes on where it stopped.

Layout: run.json (what this run is), results.jsonl (one line per sample, appended and synced), the files that the
lines name, and earlier/HASH/ with runs whose settings were others.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from looktwice.errors import BadFile, UsageError
from looktwice.records import Result
from looktwice.report import jsonl
from looktwice.report.atomic import write_atomically

RESULTS, RUN, EARLIER = "results.jsonl", "run.json", "earlier"


def settings_hash(settings: Mapping[str, Any]) -> str:
    """SHA-256 of settings as canonical JSON: the same settings give the same hash on every machine."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


class RunFolder:
    """One run on disk. Opening it resumes a run of the same settings and sets another one aside."""

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self.folder = folder
        self.hash = settings_hash(settings)
        self.messages: list[str] = []  # what opening had to decide, for a person
        self._done: dict[str, Result] = {}  # by path
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._open(dict(settings))
        except (FileExistsError, NotADirectoryError, PermissionError) as error:
            raise UsageError(f"cannot write results to {folder}: {error.strerror}. Choose another --out") from error

    @property
    def results(self) -> Path:
        """The file with one line per sample."""
        return self.folder / RESULTS

    def finished(self, path: str) -> bool:
        """Whether any content of this path was inspected by this run; then its hash decides."""
        return path in self._done

    def done(self, path: str, sha256: str) -> Result | None:
        """Return the stored result of a file with this very content."""
        stored = self._done.get(path)
        return stored if stored is not None and stored.sha256 == sha256 else None

    def keep(self, result: Result) -> None:
        """Append one result and sync it; raises OSError when the disk does not take it."""
        jsonl.append(self.results, result)
        if result.error is None:
            self._done[result.path] = result

    def _open(self, settings: dict[str, Any]) -> None:
        known = self._known()
        if known is not None and known.get("settings_hash") != self.hash:
            self._set_aside(known, settings)
            known = None
        if known is None:
            text = json.dumps({"settings_hash": self.hash, "settings": settings}, indent=1, sort_keys=True)
            write_atomically(self.folder / RUN, text + "\n")
        if self.results.exists():
            self._resume()

    def _known(self) -> dict[str, Any] | None:
        """What run.json says; an empty answer for results without it, which then count as another run's."""
        try:
            known = json.loads((self.folder / RUN).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {} if self.results.exists() else None
        except (OSError, ValueError) as error:
            raise BadFile(
                "unreadable", self.folder / RUN, f"not a run description: {error}. Choose another --out"
            ) from error
        return known if isinstance(known, dict) else {}

    def _resume(self) -> None:
        repaired = jsonl.repair(self.results)
        if repaired:
            self.messages.append(repaired)
        stored = jsonl.read(self.results)
        latest = {result.path: result for result in stored}
        kept = [result for result in latest.values() if result.error is None]
        if len(kept) < len(stored):  # failed or superseded lines are tried again
            write_atomically(self.results, "".join(result.to_json() + "\n" for result in kept))
        self._done = {result.path: result for result in kept}
        if kept:
            self.messages.append(f"going on with the run in {self.folder}: {len(kept)} finished before")

    def _set_aside(self, known: dict[str, Any], settings: dict[str, Any]) -> None:
        """Move another run's files to earlier/HASH: nothing computed is lost or mixed."""
        name = str(known.get("settings_hash") or "unknown")[:8]
        place = self.folder / EARLIER / name
        count = 1
        while place.exists():
            count += 1
            place = self.folder / EARLIER / f"{name}-{count}"
        place.mkdir(parents=True)
        # run.json goes last: until then a crash leaves the old run recognisable as old
        entries = sorted(self.folder.iterdir(), key=lambda p: (p.name == RUN, p.name))
        for entry in entries:
            if entry.name in OWN:
                os.replace(entry, place / entry.name)
        changed = _changes(known.get("settings", {}), settings)
        self.messages.append(f"settings changed ({changed}): new run; the earlier one is kept in {place}")


OWN = (
    RESULTS, RUN, "report.html", "coco.json", "maps", "pictures", "heat", "overlays", "expected", "references",
    "clouds", "points", "videos", "boxes",
)  # fmt: skip


def _changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Name what differs: "threshold 0.5 -> 0.6, model memory -> selfsim"."""
    found = []
    for key in sorted(set(old) | set(new)):
        a, b = old.get(key), new.get(key)
        if a != b:
            short = all(isinstance(v, (str, int, float, type(None))) and len(str(v)) <= 40 for v in (a, b))
            found.append(f"{key} {a} -> {b}" if short else key)
    return ", ".join(found) or "unknown"
