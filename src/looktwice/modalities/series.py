"""Time series: a CSV with a column of times and columns of numbers, drawn as lines over time.

What comes out is a picture of the plot (a Sample of the modality image): one strip per column, all over one time axis,
each with its own range. Every value is part of a line, so no spike falls between pixels. A note says which pixel
columns stand for which times; that is the way back.

A CSV is taken for a series when the name of its first column means time and it does not hold x, y and z, which would
make it a cloud. Asked to be a series, any table of numbers is one; without a column of times its rows are numbered.
Letters: N rows, K columns drawn, H W pixels.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image as pillow
from PIL import ImageDraw, ImageFont

from looktwice.errors import BadFile
from looktwice.modalities import sample_id, sha256_of
from looktwice.modalities.image import Image
from looktwice.records import ImageData, Sample, Views
from looktwice.settings import Settings

TIME = re.compile(r"(?:(?:date)?time|timestamp|date|t|s|secs?|seconds?|ms)(?:[ _](?:s|secs?|seconds?|ms|utc))?")
HEAD = 1 << 16  # bytes that decide whether a table is a series
MOST_VALUES = 20_000_000
LARGEST = 1e300  # beyond it nothing can be drawn to scale
MOST_COLUMNS = 16  # strips that can be told apart
WIDTH, HEIGHT = 1024, 512
STRIP = 96  # pixels, least height of a strip
LEFT, RIGHT, BOTTOM = 84, 16, 44  # margins around the strips, pixels
TITLE = 22  # above each strip, for its name
TEXT = 14  # size of letters, pixels
NAME = 40  # letters of a name that are drawn
# Colours that people with any colour vision tell apart (Okabe & Ito).
COLORS = ((0, 114, 178), (213, 94, 0), (0, 158, 115), (204, 121, 167), (86, 180, 233), (230, 159, 0), (0, 0, 0))
INK, PALE = (30, 30, 30), (222, 222, 222)


class Table(NamedTuple):
    """A series as read: times (N,), values (N, K) with NaN where there is none, and what they are called."""

    times: np.ndarray
    values: np.ndarray
    time: str
    names: tuple[str, ...]
    notes: tuple[str, ...]


class Series:
    """The time series modality: loads a table as the picture of its plot."""

    name = "series"
    suffixes = (".csv",)

    def recognises(self, path: Path) -> bool:
        """Whether this existing file is a CSV whose first column is named as times, and no cloud; never raises."""
        try:
            if not path.is_file() or path.suffix.lower() not in self.suffixes:
                return False
            with path.open("rb") as stream:
                head = stream.read(HEAD)
            rows = _rows(_decoded(head.rpartition(b"\n")[0] if len(head) == HEAD else head))
        except Exception:  # asked about any file at all; what is wrong is said when it is loaded
            return False
        names = [_plain(name) for name in rows[0]] if rows else []
        return len(names) > 1 and _is_time(names[0]) and not {"x", "y", "z"} <= set(names)

    def load(self, path: Path, settings: Settings) -> Sample:
        """Read a table and draw it; raises BadFile (missing_file, unreadable, empty, too_large)."""
        table = read_table(path)
        notes = (*table.notes, _way_back(table))
        data = ImageData(pixels=draw(table))
        return Sample(id=sample_id(path), path=path, modality="image", data=data, sha256=sha256_of(path), notes=notes)

    def views(self, sample: Sample, settings: Settings) -> Iterator[Views]:
        """Yield the one view of the plot, as for any picture."""
        return Image().views(sample, settings)


# ---------------------------------------------------------------- reading


def read_table(path: Path) -> Table:
    """Read a CSV of comma, semicolon or tab; beside semicolons a comma is the decimal point.

    Cells without a number are gaps, columns without any number are left out; both are noted. Raises BadFile.
    """
    if not path.is_file():
        raise BadFile("missing_file" if not path.exists() else "unsupported", path, "not a file with a table")
    try:
        rows = _rows(_decoded(path.read_bytes()))
    except OSError as error:
        raise BadFile("unreadable", path, error.strerror or str(error)) from error
    except (csv.Error, ValueError) as error:
        raise BadFile("unreadable", path, f"not a table as text: {error}") from error
    if not rows:
        raise BadFile("empty", path, "the table has no row")
    named = _is_time(_plain(rows[0][0])) or all(_number(cell) is None for cell in rows[0] if cell)
    names = [cell.strip() or f"column {i}" for i, cell in enumerate(rows[0], 1)]
    if not named:
        names = [f"column {i}" for i in range(1, len(rows[0]) + 1)]
    body = rows[1:] if named else rows
    if not body:
        raise BadFile("empty", path, "the table has a header and no row below it")
    return _table(path, names, body)


def _table(path: Path, names: list[str], body: Sequence[Sequence[str]]) -> Table:
    if len(body) * len(names) > MOST_VALUES:
        raise BadFile(
            "too_large", path, f"{len(body) * len(names):,} cells, the most is {MOST_VALUES:,}: thin the rows"
        )
    wrong = next((i for i, row in enumerate(body) if len(row) != len(names)), None)
    if wrong is not None:
        why = f"row {wrong + 1} has {len(body[wrong])} cells, the first line has {len(names)}: is it cut off?"
        raise BadFile("unreadable", path, why)
    timed = _is_time(_plain(names[0]))
    times = _times(path, [row[0] for row in body]) if timed else np.arange(len(body), dtype=float)
    first = 1 if timed else 0
    cells = np.array([[_value(cell) for cell in row[first:]] for row in body], float).reshape(len(body), -1)
    kept = np.isfinite(cells).any(0)
    drawn = [name for name, keep in zip(names[first:], kept, strict=True) if keep]
    if not drawn:
        raise BadFile("empty", path, "no column beside the times holds a number")
    if len(drawn) > MOST_COLUMNS:
        why = f"{len(drawn)} columns of numbers, at most {MOST_COLUMNS} are drawn: keep fewer"
        raise BadFile("too_large", path, why)
    notes = []
    if left := [name for name, keep in zip(names[first:], kept, strict=True) if not keep]:
        notes.append(f"left out, as they hold no numbers: {', '.join(left)}")
    values = cells[:, kept]
    if gaps := int((~np.isfinite(values)).sum()):
        notes.append(f"{gaps} of {values.size} values are missing or no finite numbers: gaps in the lines")
    return Table(times, values, names[0] if timed else "row", tuple(drawn), tuple(notes))


def _decoded(data: bytes) -> str:
    if b"\0" in data:
        raise ValueError("it holds binary data")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")  # only names can hold letters


def _rows(text: str) -> list[list[str]]:
    """Cells of all rows that are not blank, with a point for a decimal comma."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = next((one for one in ";\t," if one in first), ",")
    rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) if any(map(str.strip, row))]
    return [[cell.strip().replace(",", ".") for cell in row] for row in rows] if delimiter == ";" else rows


def _plain(name: str) -> str:
    """A name without its unit in brackets, lower case."""
    return re.sub(r"\s*[\[(][^\])]*[\])]", "", name).strip(" \"'").lower()


def _is_time(name: str) -> bool:
    return TIME.fullmatch(name) is not None


def _number(cell: str) -> float | None:
    try:
        return None if "_" in cell else float(cell)
    except ValueError:
        return None


def _value(cell: str) -> float:
    found = _number(cell)
    return math.nan if found is None or not abs(found) < LARGEST else found


def _times(path: Path, cells: Sequence[str]) -> np.ndarray:
    """(N,) numbers as they stand, or seconds from the first of dates as ISO 8601 writes them; never falling."""
    found = [_number(cell) for cell in cells]
    if all(one is None for one in found):
        found = _dates(cells)
    for i, one in enumerate(found):
        if one is None or not abs(one) < LARGEST:
            why = f"row {i + 1}: {cells[i]!r} is no time: give numbers, or dates as 2024-01-31T12:00"
            raise BadFile("unreadable", path, why)
    times = np.array(found, float)
    if (fall := np.flatnonzero(np.diff(times) < 0)).size:
        why = f"row {int(fall[0]) + 2}: the time falls, to {cells[fall[0] + 1]}: sort the rows"
        raise BadFile("unreadable", path, why)
    return times


def _dates(cells: Sequence[str]) -> list[float | None]:
    made: list[datetime | None] = []
    for cell in cells:
        try:
            made.append(datetime.fromisoformat(cell.strip()))
        except ValueError:
            made.append(None)
    start = next((one for one in made if one is not None), None)
    try:
        return [None if one is None or start is None else (one - start).total_seconds() for one in made]
    except TypeError:  # with a time zone and without
        return [None] * len(made)


# ---------------------------------------------------------------- drawing


class Axis(NamedTuple):
    """Where values lie on the picture: `low` at pixel `first`, `high` at pixel `last`."""

    low: float
    high: float
    first: float
    last: float

    def at(self, values: np.ndarray) -> np.ndarray:
        """Pixels of values; halves are subtracted, so that no difference overflows."""
        share = (values / 2 - self.low / 2) / (self.high / 2 - self.low / 2)
        return np.asarray(self.first + share * (self.last - self.first))

    def marked(self, most: int) -> list[tuple[str, float]]:
        """Round values on the axis, as text, and their pixels."""
        values = ticks(self.low, self.high, most)
        return list(zip(map(_written(values), values), self.at(np.array(values)).tolist(), strict=True))


def draw(table: Table) -> np.ndarray:
    """Draw a table as (H, WIDTH, 3) uint8: one strip per column, with its range, over one time axis."""
    count = len(table.names)
    height = max(STRIP, (HEIGHT - BOTTOM) // count - TITLE)
    bottom = count * (TITLE + height)
    picture = pillow.new("RGB", (WIDTH, bottom + BOTTOM), "white")
    ink = ImageDraw.Draw(picture)
    font = ImageFont.load_default(TEXT)
    axis = Axis(*_span(table.times), LEFT, WIDTH - RIGHT)
    for tick, x in axis.marked(8):
        ink.line((x, TITLE, x, bottom), fill=PALE)
        ink.text((x, bottom + 5), tick, fill=INK, font=font, anchor="ma")
    ink.text((WIDTH // 2, bottom + BOTTOM - 4), _short(table.time), fill=INK, font=font, anchor="mb")
    columns = axis.at(table.times)
    for i, name in enumerate(table.names):
        top, color = TITLE + i * (TITLE + height), COLORS[i % len(COLORS)]
        ink.text((LEFT, top - 4), _short(name), fill=color, font=font, anchor="lb")
        _strip(ink, font, columns, table.values[:, i], top, height, color)
    return np.asarray(picture)


def _strip(
    ink: ImageDraw.ImageDraw,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    columns: np.ndarray,
    values: np.ndarray,
    top: int,
    height: int,
    color: tuple[int, int, int],
) -> None:
    """Draw one column: pixel columns (N,) and values (N,)."""
    axis = Axis(*_span(values[np.isfinite(values)]), top + height - 7, top + 6)
    for tick, y in axis.marked(4):
        ink.line((LEFT, y, WIDTH - RIGHT, y), fill=PALE)
        ink.text((LEFT - 6, y), tick, fill=INK, font=font, anchor="rm")
    ink.rectangle((LEFT, top, WIDTH - RIGHT, top + height - 1), outline=INK)
    for line in _unbroken(np.stack([columns, axis.at(values)], 1)):
        if len(line) == 1:
            x, y = line[0]
            ink.ellipse((x - 1.5, y - 1.5, x + 1.5, y + 1.5), fill=color)
        else:
            ink.line([(float(x), float(y)) for x, y in line], fill=color, width=2)


def _unbroken(points: np.ndarray) -> Iterator[np.ndarray]:
    """Stretches of points (M, 2) without a gap."""
    there = np.isfinite(points[:, 1])
    starts = np.flatnonzero(there & ~np.append(False, there[:-1]))
    ends = np.flatnonzero(there & ~np.append(there[1:], False)) + 1
    for start, end in zip(starts, ends, strict=True):
        yield points[start:end]


def _span(values: np.ndarray) -> tuple[float, float]:
    """Lowest and highest; a little apart where all are equal."""
    low, high = float(values.min()), float(values.max())
    if high / 2 - low / 2 == 0:
        apart = abs(low) / 20 or 0.5
        return low - apart, high + apart
    return low, high


def ticks(low: float, high: float, most: int = 8) -> list[float]:
    """Round numbers in a range, at most `most`: steps of 1, 2 or 5 times a power of ten.

    >>> ticks(0.0, 12.5)
    [0.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0]
    """
    rough = (high / most - low / most) or 1.0
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * one for one in (1, 2, 5, 10) if power * one >= rough)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [float(f"{i * step:.15g}") for i in range(first, min(last, first + most) + 1)]


def _written(values: Sequence[float]) -> Callable[[float], str]:
    """How to write values that differ by their step: with as many digits as it takes, as far as there is room."""
    step = values[1] - values[0] if len(values) > 1 else 1.0
    digits = max(0, -math.floor(math.log10(step) + 1e-9)) if step > 0 else 9
    if digits <= 4 and all(abs(value) < 1e6 for value in values):
        return lambda value: f"{value:.{digits}f}"
    return lambda value: f"{value:.4g}"


def _short(name: str) -> str:
    shown = "".join(c if c.isprintable() else " " for c in name)
    return shown if len(shown) <= NAME else f"{shown[: NAME - 3]}..."


def _way_back(table: Table) -> str:
    start, end = _span(table.times)
    return (
        f"{len(table.names)} columns of {len(table.times)} rows drawn over {_short(table.time)}: "
        f"pixel column {LEFT} is {start:g}, pixel column {WIDTH - RIGHT} is {end:g}"
    )
