"""The files of a benchmark run: append only, whole after a crash at any moment, the same bytes for the same run.

    recipe.json                what was run; its hash covers everything that decides a number
    made.json                  when, where and how fast: the only file besides seconds.jsonl that differs between reruns
    units/NAME/samples.jsonl   one line a sample, in the order of the data set
    units/NAME/arrays.bin      maps and truth, back to back; lines say where
    units/NAME/seconds.jsonl   time a sample took
    scores.json, curves.json   written by scoring

A map in [0, 1] is kept in 16 bits, in steps of 1/65534: off by at most 7.7e-6; or, if asked, as float32 without loss.
Letters: h w pixels of a view, H W pixels of the original, N points.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from looktwice.errors import BadFile, UsageError
from looktwice.report.atomic import sync_folder, write_atomically
from looktwice.run_folder import settings_hash

RECIPE, MADE, SCORES, CURVES = "recipe.json", "made.json", "scores.json", "curves.json"
SAMPLES, ARRAYS, SECONDS, UNITS = "samples.jsonl", "arrays.bin", "seconds.jsonl", "units"
STEPS = 65534  # of a 16-bit map; 65535 stands for "no score"
MAP_ERROR = 0.5 / STEPS


class UnitPlan(BaseModel):
    """One unit as the recipe holds it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str  # of its folder
    category: str
    shots: int | Literal["full"]
    seed: int
    references: tuple[str, ...]  # ids of the data set
    references_sha256: str  # of their contents
    samples: int


# ---------------------------------------------------------------- arrays


def encode_map(values: np.ndarray, kind: str) -> bytes:
    """Pack scores in [0, 1] or NaN, of any shape; neighbours differ little, so differences are compressed."""
    if kind == "float32":
        whole = np.ascontiguousarray(values, "<f4").view("<u4").copy()
    else:
        unseen = np.isnan(values)
        whole = np.rint(np.where(unseen, 0, values) * STEPS).astype("<u2")
        whole[unseen] = STEPS + 1
    whole[..., 1:] -= whole[..., :-1].copy()  # wraps around, and back when read
    planes = whole.view(np.uint8).reshape(-1, whole.itemsize).T
    return zlib.compress(np.ascontiguousarray(planes).tobytes(), 1)


def decode_map(data: bytes, shape: Sequence[int], kind: str) -> np.ndarray:
    """Undo `encode_map`: float32 of the given shape, NaN where there was no score."""
    dtype = np.dtype("<u4" if kind == "float32" else "<u2")
    planes = np.frombuffer(zlib.decompress(data), np.uint8).reshape(dtype.itemsize, -1)
    steps = np.ascontiguousarray(planes.T).view(dtype).reshape(tuple(shape))
    whole = np.cumsum(steps, axis=-1, dtype=dtype)
    if kind == "float32":
        return whole.view("<f4").astype(np.float32, copy=False)
    values = whole.astype(np.float32) / np.float32(STEPS)
    values[whole == STEPS + 1] = np.nan
    return values


def encode_truth(mask: np.ndarray) -> bytes:
    """Pack a bool array of any shape; all False is nothing."""
    return zlib.compress(np.packbits(mask).tobytes(), 6) if mask.any() else b""


def decode_truth(data: bytes, shape: Sequence[int]) -> np.ndarray:
    """Undo `encode_truth`."""
    if not data:
        return np.zeros(tuple(shape), np.bool_)
    count = int(np.prod(shape))
    return np.unpackbits(np.frombuffer(zlib.decompress(data), np.uint8), count=count).astype(np.bool_).reshape(shape)


# ---------------------------------------------------------------- writing


@dataclass(frozen=True)
class Row:
    """What became of one sample: its line, without places in arrays.bin, and its packed arrays."""

    line: dict[str, Any]
    arrays: dict[str, bytes]  # "map", "truth"
    seconds: float


class UnitWriter:
    """Appends rows to one unit. Opening it keeps what is whole and drops the rest."""

    def __init__(self, folder: Path, ids: Sequence[str]) -> None:
        self.folder, self.ids = folder, ids
        folder.mkdir(parents=True, exist_ok=True)
        lines = _whole_lines(folder / SAMPLES)
        rows = [_parsed(line, folder / SAMPLES, number) for number, line in enumerate(lines, 1)]
        for row, expected in zip(rows, ids, strict=False):
            if row["id"] != expected:
                raise BadFile("unreadable", folder / SAMPLES, f"holds {row['id']} where {expected} belongs")
        if len(rows) > len(ids):
            raise BadFile("unreadable", folder / SAMPLES, f"holds {len(rows)} samples, {len(ids)} belong there")
        self.end = max(
            (row[key]["at"] + row[key]["bytes"] for row in rows for key in ("map", "truth") if row[key]), default=0
        )
        size = (folder / ARRAYS).stat().st_size if (folder / ARRAYS).exists() else 0
        if size < self.end:
            raise BadFile("unreadable", folder / ARRAYS, f"has {size} bytes, its lines speak of {self.end}")
        _cut(folder / SAMPLES, sum(len(line) + 1 for line in lines))
        _cut(folder / ARRAYS, self.end)
        seconds = _whole_lines(folder / SECONDS)[: len(rows)]
        _cut(folder / SECONDS, sum(len(line) + 1 for line in seconds))
        self.done = len(rows)
        self.failed = sum(row["error"] is not None for row in rows)

    def append(self, rows: Sequence[Row]) -> None:
        """Write rows and sync them: arrays before the lines that name them."""
        lines, blobs = [], []
        for row in rows:
            assert row.line["id"] == self.ids[self.done], "rows must come in the order of the unit"
            for key in ("map", "truth"):
                blob = row.arrays.get(key, b"")
                if row.line[key]:
                    row.line[key] |= {"at": self.end, "bytes": len(blob)}
                    blobs.append(blob)
                    self.end += len(blob)
            lines.append(_json_line(row.line))
            self.done += 1
            self.failed += row.line["error"] is not None
        _append(self.folder / ARRAYS, b"".join(blobs))
        _append(self.folder / SAMPLES, b"".join(lines))
        times = [{"id": row.line["id"], "seconds": round(row.seconds, 6)} for row in rows]
        _append(self.folder / SECONDS, b"".join(_json_line(one) for one in times))


def _json_line(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode() + b"\n"


def _append(path: Path, data: bytes) -> None:
    new = not path.exists()
    with path.open("ab") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    if new:
        sync_folder(path.parent)


def _whole_lines(path: Path) -> list[bytes]:
    """Lines that end; half a last line, as a killed run leaves it, is not one."""
    return path.read_bytes().split(b"\n")[:-1] if path.exists() else []


def _parsed(line: bytes, path: Path, number: int) -> dict[str, Any]:
    try:
        row = json.loads(line)
        return {"error": row["error"], "id": row["id"], "map": row["map"], "truth": row["truth"], **row}
    except (ValueError, TypeError, KeyError) as error:
        why = f"line {number} is damaged. Delete the folder {path.parent} to judge its samples again"
        raise BadFile("unreadable", path, why) from error


def _cut(path: Path, size: int) -> None:
    if path.exists() and path.stat().st_size > size:
        os.truncate(path, size)


# ---------------------------------------------------------------- a run


class Run:
    """A benchmark run on disk, to read."""

    def __init__(self, folder: Path | str) -> None:
        """Open a run; raises BadFile when there is none."""
        self.folder = Path(folder)
        self.recipe = read_recipe(self.folder)
        self.plan: dict[str, Any] = self.recipe["plan"]
        self.units = [UnitPlan.model_validate(unit) for unit in self.recipe["units"]]

    @property
    def hash(self) -> str:
        """Of everything that decides a number."""
        return str(self.recipe["hash"])

    @property
    def name(self) -> str:
        """The model, for tables."""
        options = " ".join(f"{key}={value}" for key, value in self.plan["options"].items())
        return f"{self.plan['model']} {options}".strip()

    def rows(self, unit: UnitPlan) -> list[dict[str, Any]]:
        """All whole lines of a unit."""
        path = self.folder / UNITS / unit.name / SAMPLES
        return [_parsed(line, path, number) for number, line in enumerate(_whole_lines(path), 1)]

    def unfinished(self) -> tuple[int, int]:
        """How many samples are there, and how many should be."""
        there = sum(len(_whole_lines(self.folder / UNITS / unit.name / SAMPLES)) for unit in self.units)
        return there, sum(unit.samples for unit in self.units)

    def map(self, unit: UnitPlan, row: Mapping[str, Any]) -> np.ndarray | None:
        """(h, w) or (N,) float32 scores, NaN where nothing was seen; None without a map."""
        packed = row["map"]
        return decode_map(self._bytes(unit, packed), packed["shape"], packed["kind"]) if packed else None

    def truth(self, unit: UnitPlan, row: Mapping[str, Any]) -> np.ndarray | None:
        """(H, W) or (N,) bool; None where the data set says nothing finer than the label."""
        packed = row["truth"]
        return decode_truth(self._bytes(unit, packed), packed["shape"]) if packed else None

    def _bytes(self, unit: UnitPlan, packed: Mapping[str, int]) -> bytes:
        path = self.folder / UNITS / unit.name / ARRAYS
        try:
            with path.open("rb") as stream:
                stream.seek(packed["at"])
                data = stream.read(packed["bytes"])
        except OSError as error:
            raise BadFile("missing_file", path, "the maps of this run are not there") from error
        if len(data) != packed["bytes"]:
            raise BadFile("unreadable", path, "is shorter than its lines say")
        return data


def read_recipe(folder: Path) -> dict[str, Any]:
    """The recipe of a run; raises BadFile."""
    path = folder / RECIPE
    if not folder.exists():
        raise BadFile("missing_file", folder, "no such run: looktwice benchmark predict makes one")
    if not path.exists():
        raise BadFile("missing_file", path, "this folder holds no benchmark run: looktwice benchmark predict makes one")
    try:
        recipe = json.loads(path.read_text(encoding="utf-8"))
        if recipe["hash"] != recipe_hash(recipe):
            raise BadFile("unreadable", path, "was changed by hand: its hash does not fit")
    except (ValueError, TypeError, KeyError) as error:
        raise BadFile("unreadable", path, f"not the recipe of a benchmark run: {error}") from error
    return dict(recipe)


def recipe_hash(recipe: Mapping[str, Any]) -> str:
    """SHA-256 of a recipe without its own hash."""
    return settings_hash({key: value for key, value in recipe.items() if key != "hash"})


def open_run(folder: Path, recipe: Mapping[str, Any]) -> bool:
    """Begin a run in `folder`, or find the same one there; returns whether it goes on with an earlier one.

    Raises UsageError when the folder holds another run, naming what differs.
    """
    whole = {**recipe, "hash": recipe_hash(recipe)}
    if (folder / RECIPE).exists():
        known = read_recipe(folder)
        if known["hash"] != whole["hash"]:
            raise UsageError(f"{folder} holds another run ({_changes(known, whole)}): choose another --out")
        return True
    if folder.exists() and (not folder.is_dir() or any(p for p in folder.iterdir() if p.name != LOCK)):
        raise UsageError(f"{folder} holds other files: choose another --out")
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / RECIPE, json.dumps(whole, indent=1, ensure_ascii=False) + "\n")
    return False


def _changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    found = []
    for group in ("plan", "config", "sheets", "files", "versions"):
        was, now = old.get(group, {}), new.get(group, {})
        for key in sorted({*was, *now}):
            before, after = was.get(key), now.get(key)
            if before != after and group == "files":
                found.append("the model's file" if key == "model" else f"the file of the option {key}")
            elif before != after and group == "sheets":
                found.append(f"the sheet of {key}")
            elif before != after:
                found.append(f"{key} {_short(before)} -> {_short(after)}")
    if old["data"] != new["data"]:
        found.append("the files of the data set")
    if old["units"] != new["units"] and not found:
        found.append("the references or the samples")
    return ", ".join(found)


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."


LOCK = ".lock"  # empty


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep a second process out of a run while the block lasts; the system lets go when the process dies.

    Windows has no such lock: there nothing is kept out.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / LOCK, os.O_CREAT | os.O_RDWR)
    except OSError as error:
        raise UsageError(f"cannot write to {folder}: {error.strerror}. Choose another --out") from error
    try:
        if os.name != "nt":
            import fcntl

            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise UsageError(
                    f"another process is at work on {folder}: wait for it, or choose another --out"
                ) from error
        yield
    finally:
        os.close(handle)  # the empty file stays: removing it would let two waiting processes in
