"""results.jsonl: one Result per line, on disk before anyone is told, and readable after a crash at any moment."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from looktwice.errors import BadFile, UsageError
from looktwice.records import Result
from looktwice.report.atomic import sync_folder, write_atomically

log = logging.getLogger(__name__)

SCHEMA_ID = "urn:looktwice:result:1"
MEANING = {
    "id": "safe and stable name of the sample; its files are called so",
    "path": "the inspected file, as it was given",
    "modality": "image, point_cloud or video; null where the file could not be recognised",
    "model": "the detector that judged it",
    "score": "how anomalous, 0 to 1; null on error",
    "verdict": "normal, anomalous or unsure; null on error",
    "threshold": "the score from which on the verdict is anomalous; with a calibration: above it; null on error",
    "p_value": "with a calibration: share of normal parts at least this anomalous",
    "regions": "the anomalous places, numbered from 1 in every report",
    "words": "what was measured, in words",
    "explanation": "the reasons of a system that can talk; its text is untrusted",
    "rules": "what became of each rule of the inspection sheet",
    "curve": "score over time, for a video",
    "files": "written files by purpose, relative to the folder of results.jsonl, '/' between folders",
    "seconds": "time spent on this sample",
    "error": "why the sample could not be inspected; null when it was",
    "notes": "what loading and registration had to decide",
    "evidence": "named parts of the decision",
    "size": "(height, width) in pixels of a picture or video, (points,) of a cloud",
    "sha256": "of the inspected file",
    "settings_hash": "of everything else that can change the result",
    "version": "of the package that wrote the line",
}


def append(path: Path | str, result: Result) -> None:
    """Add one line and sync it to the disk; afterwards the line is whole or the file is as it was before.

    Raises OSError when it cannot be written (disk full), BadFile when the file ends in half a line: call `repair`.
    """
    line = result.to_json().encode("utf-8") + b"\n"
    _check_line(line)
    append_line(Path(path), line)


def append_line(path: Path, line: bytes) -> None:
    """Add one line of JSON as `append` does; raises as it does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = not path.exists()
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o666)
    try:
        before = os.fstat(handle).st_size
        if before and _last_byte(handle, before) != b"\n":
            raise BadFile("unreadable", path, "ends in half a line, as after a crash. Call jsonl.repair first")
        try:
            _write_all(handle, line)
            os.fsync(handle)
        except BaseException:  # also when interrupted: half a line must not stay
            os.ftruncate(handle, before)
            raise
    finally:
        os.close(handle)
    if new:
        sync_folder(path.parent)


def _check_line(line: bytes) -> None:
    """Refuse a Result whose line could not be read again (NaN among its evidence, say)."""
    try:
        Result.from_json(line.decode("utf-8"))
    except ValidationError as error:
        raise UsageError(f"this Result cannot be kept as JSON: {_first(error)}") from error


def _last_byte(handle: int, size: int) -> bytes:
    os.lseek(handle, size - 1, os.SEEK_SET)
    return os.read(handle, 1)


def _write_all(handle: int, data: bytes) -> None:
    """os.write may take less than it was given."""
    while data:
        data = data[os.write(handle, data) :]


def read(path: Path | str) -> list[Result]:
    """Return all results; half a last line, as a killed run leaves it, is left out and logged as a warning.

    Raises BadFile when the file is missing or a line before the last cannot be read; the error names the line.
    """
    results, torn = _parse(Path(path))
    if torn is not None:
        log.warning("%s: left out half a last line (%d bytes), as a killed run leaves it", path, len(torn))
    return results


def repair(path: Path | str) -> str | None:
    """Rewrite the file without half a last line, atomically; returns what was done, or None when it was whole.

    Raises BadFile as `read` does: a damaged line in the middle is not dropped in silence.
    """
    path = Path(path)
    _, torn = _parse(path)
    content = path.read_bytes()
    if torn is not None:
        write_atomically(path, content[: len(content) - len(torn)])
        return f"{path}: dropped half a last line ({len(torn)} bytes), as a killed run leaves it"
    if content and not content.endswith(b"\n"):
        write_atomically(path, content + b"\n")
        return f"{path}: ended its last line"
    return None


def keep_latest(path: Path | str) -> int:
    """Rewrite the file without lines that a later line of the same path replaces; returns how many those were.

    Lines that stay keep their bytes and their order. Raises BadFile as `read` does, OSError.
    """
    path = Path(path)
    results, torn = _parse(path)
    lines = [line for line in path.read_bytes().split(b"\n") if line.strip()]
    if torn is not None:
        lines.pop()
    last = {result.path: number for number, result in enumerate(results)}
    if len(last) < len(lines):
        write_atomically(path, b"".join(lines[number] + b"\n" for number in sorted(last.values())))
    return len(lines) - len(last)


def _parse(path: Path) -> tuple[list[Result], bytes | None]:
    """Return the results and the bytes of half a last line, or None. Blank lines hold nothing."""
    try:
        lines = path.read_bytes().split(b"\n")  # not splitlines: text may hold other line separators
    except FileNotFoundError:
        raise BadFile("missing_file", path, "no such file: inspect something first") from None
    except OSError as error:
        raise BadFile("unreadable", path, f"cannot be read: {error.strerror}") from error
    results: list[Result] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            results.append(Result.model_validate_json(line))
        except ValidationError as error:
            if number == len(lines):  # no line end after it
                return results, line
            why = f"line {number} is not a result: {_first(error)}. Remove that line, or start a new run"
            raise BadFile("unreadable", path, why) from error
    return results, None


def _first(error: ValidationError) -> str:
    """The first thing pydantic found wrong, in one line."""
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    return f"{place}: {first['msg']}" if place else str(first["msg"])


def result_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of one line of results.jsonl."""
    schema = Result.model_json_schema(mode="serialization")
    for name, field in schema["properties"].items():
        field["description"] = MEANING[name]
    judged = {"error": {"type": "null"}, "verdict": {"type": "string"}}
    failed = {"error": {"type": "object"}, "verdict": {"type": "null"}}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_ID,
        **schema,
        "title": "looktwice result",
        "description": "One inspected sample: one line of results.jsonl. It has either a verdict or an error.",
        "oneOf": [{"properties": judged}, {"properties": failed}],
    }
