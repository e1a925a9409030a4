"""A results folder: what is finished stays finished, and the same command again goes on where it stopped.

Layout: run.json (what this run is), results.jsonl (one line per sample, appended and synced), the files that the
lines name, the reports, and earlier/HASH/ with runs whose settings were others.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from looktwice.errors import BadFile, UsageError
from looktwice.records import Result, Spec
from looktwice.report import RUN_FORMATS, jsonl, run_report
from looktwice.report.atomic import write_atomically
from looktwice.report.paths import inside

RESULTS, RUN, EARLIER, LOCK = "results.jsonl", "run.json", "earlier", ".looktwice.lock"
REPORTS = ("report.html", "coco.json")
FOLDERS = (
    "maps", "pictures", "heat", "overlays", "expected", "references", "clouds", "points", "videos", "boxes",
)  # fmt: skip
OWN = (RESULTS, *REPORTS, *FOLDERS, RUN)
SHARED = "references/"  # files that many results name


def settings_hash(settings: Mapping[str, Any]) -> str:
    """SHA-256 of settings as canonical JSON: the same settings give the same hash on every machine."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


class RunFolder:
    """One run on disk. Opening it resumes a run of the same settings and sets another one aside.

    settings: everything that can change a result, as JSON. shown: what reports say beside the results: `made` (how
    the run was made, words by heading) and `references` (their paths). Raises UsageError when the folder cannot be
    written or another process writes to it, BadFile when what is in it is damaged.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], shown: Mapping[str, Any] | None = None) -> None:
        self.folder = folder
        self.hash = settings_hash(settings)
        self.messages: list[str] = []  # what opening had to decide, for a person
        self._stored: dict[str, Result] = {}  # the latest by path, also those that failed
        self._stale = False  # whether results.jsonl holds lines that later ones replace
        self._unlock: weakref.finalize[[int], Any] | None = None
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self.lock()
            self._open(dict(settings), dict(shown or {}))
        except OSError as error:
            self.unlock()
            why = "is a file" if isinstance(error, FileExistsError) else error.strerror or str(error)
            raise UsageError(f"cannot write results to {folder}: {why}. Choose another --out") from error
        except BaseException:
            self.unlock()
            raise

    @property
    def results(self) -> Path:
        """The file with one line per sample."""
        return self.folder / RESULTS

    def knows(self, path: str) -> bool:
        """Whether any content of this path was inspected by this run; then its hash decides."""
        return path in self._stored and self._stored[path].error is None

    def done(self, path: str, sha256: str) -> Result | None:
        """Return the stored result of a file with this very content, if all the files it names are there."""
        stored = self._stored.get(path)
        if stored is None or stored.error is not None or stored.sha256 != sha256:
            return None
        return stored if all(_is_whole(self.folder / name) for name in _named(stored)) else None

    def keep(self, result: Result) -> None:
        """Append one result and sync it; it replaces an earlier one of this path. Raises OSError, BadFile."""
        jsonl.append(self.results, result)
        before = self._stored.get(result.path)
        self._stored[result.path] = result
        if before is not None:
            self._stale = True
            self._remove(set(_named(before)) - set(_named(result)))

    def tidy(self) -> None:
        """Drop the lines of results.jsonl that later ones replace; raises OSError, BadFile."""
        if self._stale:
            jsonl.keep_latest(self.results)
            self._stale = False

    def lock(self) -> None:
        """Refuse to write where another process writes; a lock ends with its process, also when it is killed."""
        if self._unlock is not None and self._unlock.alive:
            return
        handle = os.open(self.folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
        if not _lock(handle):
            os.close(handle)
            raise UsageError(f"another run is writing to {self.folder}: wait until it ends, or choose another --out")
        self._unlock = weakref.finalize(self, os.close, handle)

    def unlock(self) -> None:
        """Let others write here."""
        if self._unlock is not None:
            self._unlock()

    def _open(self, settings: dict[str, Any], shown: dict[str, Any]) -> None:
        known = self._known()
        if known is not None and known.get("settings_hash") != self.hash:
            self._set_aside(known, settings)
        elif known is not None:
            self._resume()
        run = {"settings_hash": self.hash, "settings": settings, **shown}
        if run != known:
            write_atomically(self.folder / RUN, json.dumps(run, indent=1, sort_keys=True) + "\n")

    def _known(self) -> dict[str, Any] | None:
        """What run.json says; an empty answer for results without it, which then count as another run's."""
        try:
            return read_run(self.folder)
        except FileNotFoundError:
            return {} if self.results.exists() else None

    def _resume(self) -> None:
        for left in _half_written(self.folder):
            left.unlink(missing_ok=True)
        if not self.results.exists():
            return
        repaired = jsonl.repair(self.results)
        if repaired:
            self.messages.append(repaired)
        lines = jsonl.read(self.results)
        self._stored = {result.path: result for result in lines}
        self._stale = len(self._stored) < len(lines)
        failed = sum(result.error is not None for result in self._stored.values())
        again = f", {failed} that failed are tried again" if failed else ""
        if self._stored:
            self.messages.append(
                f"going on with the run in {self.folder}: {len(self._stored) - failed} finished before{again}"
            )

    def _set_aside(self, known: dict[str, Any], settings: dict[str, Any]) -> None:
        """Move another run's files to earlier/HASH: nothing computed is lost or mixed."""
        place = self._place_for(str(known.get("settings_hash") or "unknown")[:8])
        place.mkdir(parents=True, exist_ok=True)
        for name in OWN:  # run.json is the last: until then a crash leaves the old run recognisable as old
            if os.path.lexists(self.folder / name):
                os.replace(self.folder / name, place / name)
        if known:
            changed = _changes(known.get("settings", {}), settings)
            self.messages.append(f"settings changed ({changed}): a new run begins, the earlier one is kept in {place}")
        else:
            self.messages.append(f"results of an unknown run are kept in {place}: a new run begins")

    def _place_for(self, name: str) -> Path:
        """A folder that holds no whole run; one with half of it, left by a crash, gets the other half."""
        numbered = (name if count == 1 else f"{name}-{count}" for count in range(1, sys.maxsize))
        places = (self.folder / EARLIER / one for one in numbered)
        both = self.results.exists()
        return next(p for p in places if not (p / RUN).exists() and not (both and (p / RESULTS).exists()))

    def _remove(self, names: set[str]) -> None:
        for name in names:
            place = inside(self.folder, name)
            if place is None or name.startswith(SHARED) or place == self.folder.resolve():
                continue
            with suppress(OSError):  # a file too many does no harm
                shutil.rmtree(place) if place.is_dir() else place.unlink()


def read_run(folder: Path) -> dict[str, Any]:
    """Return what run.json of a results folder says; raises FileNotFoundError without one, BadFile when damaged."""
    path = folder / RUN
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        why = f"not a run description: {error}. Move it away, or choose another --out"
        raise BadFile("unreadable", path, why) from error
    if not isinstance(known, dict) or "settings_hash" not in known:
        raise BadFile("unreadable", path, "not a run description of looktwice. Choose another --out")
    return known


def own_names(folder: Path | str) -> frozenset[str]:
    """Names in a folder that are results, not things to inspect; none where it is no results folder."""
    with suppress(OSError, BadFile):
        read_run(Path(folder))
        return frozenset((*OWN, EARLIER))
    return frozenset()


def write_reports(folder: Path, formats: Sequence[str]) -> tuple[list[Path], list[str]]:
    """Write the run-level formats among `formats` from what is in a results folder, ordered by path.

    Returns the files written and what went wrong, in words: a report that fails takes nothing with it. Raises
    UsageError where there is no run, BadFile where results.jsonl is missing or damaged.
    """
    try:
        run = read_run(folder)
    except FileNotFoundError:
        raise UsageError(f"{folder} is not a results folder: it has no {RUN}") from None
    latest = {result.path: result for result in jsonl.read(folder / RESULTS)}
    results = [latest[path] for path in sorted(latest)]
    spec = _spec(run)
    written, problems = [], []
    for name in formats:
        if name not in RUN_FORMATS:
            continue
        try:
            written.append(run_report(name)(folder, results, spec, run.get("made", {})))
        except Exception as error:
            why = (
                error.strerror if isinstance(error, OSError) and error.strerror else f"{type(error).__name__}: {error}"
            )
            problems.append(
                f"the {name} report could not be written: {why}. All results are in {folder / RESULTS}; "
                f"to write it again: looktwice report {folder}"
            )
    return written, problems


def _spec(run: Mapping[str, Any]) -> Spec | None:
    """The inspection sheet as far as run.json tells; its references by name."""
    try:
        return Spec(**{**run["settings"]["sheet"], "references": tuple(run.get("references", ()))})
    except (KeyError, TypeError, ValidationError):
        return None


def _named(result: Result) -> Iterator[str]:
    """Every file that a result names."""
    yield from result.files.values()
    yield from (region.points for region in result.regions if region.points is not None)


def _is_whole(path: Path) -> bool:
    """Whether a file is there with something in it: a power cut may leave it empty."""
    return path.is_dir() or (path.is_file() and path.stat().st_size > 0)


def _half_written(folder: Path) -> Iterator[Path]:
    """Files that a killed run was writing."""
    yield from folder.glob(".looktwice-*.tmp")
    for name in FOLDERS:
        yield from (folder / name).rglob(".looktwice-*.tmp")


def _changes(old: Mapping[str, Any], new: Mapping[str, Any], most: int = 4) -> str:
    """Name what differs: "model memory -> selfsim, settings.video.fps None -> 2"."""
    before, after = dict(_leaves(old)), dict(_leaves(new))
    found = []
    for key in sorted(before.keys() | after.keys()):
        a, b = before.get(key), after.get(key)
        if a == b or key == "verdict.words":
            continue
        short = all(isinstance(v, (str, int, float, type(None))) and len(str(v)) <= 40 for v in (a, b))
        found.append(f"{key} {a} -> {b}" if short else key)
    more = f" and {len(found) - most} more" if len(found) > most else ""
    return ", ".join(found[:most]) + more or "unknown"


def _leaves(value: Mapping[str, Any], at: str = "") -> Iterator[tuple[str, Any]]:
    for key, one in value.items():
        if isinstance(one, Mapping) and one:
            yield from _leaves(one, f"{at}{key}.")
        else:
            yield f"{at}{key}", one


if sys.platform == "win32":
    import msvcrt

    def _lock(handle: int) -> bool:
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _lock(handle: int) -> bool:
        """False when another process holds it; a file system that knows no locks refuses nobody."""
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            return True
        return True
