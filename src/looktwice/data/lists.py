"""Reading the list files of data sets: CSV and JSON with the line in every complaint, and LLaVA dialogues.

Letters: none.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from looktwice.data.dataset import Tree
from looktwice.data.items import Turn, refuse
from looktwice.errors import BadFile


def read_text(tree: Tree, file: Path) -> str:
    """The text of a list file, UTF-8 with or without a mark; raises BadFile."""
    refuse(file)
    tree.used.add(file)
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadFile("unreadable", file, f"not UTF-8 text: {error}") from error


def read_csv(tree: Tree, file: Path, columns: tuple[str, ...]) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield (line, row) of a CSV with a header; blanks around names and values are dropped.

    Raises BadFile naming the missing columns, or the line with too few or too many values.
    """
    text = read_text(tree, file)
    first = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    header: list[str] | None = None
    try:
        for values in reader:
            values = [value.strip() for value in values]
            if not any(values):
                continue
            if header is None:
                header = [name.lower() for name in values]
                _check_header(file, header, columns)
            elif len(values) != len(header):
                why = f"line {reader.line_num}: {len(values)} values for {len(header)} columns ({', '.join(header)})"
                raise BadFile("unreadable", file, why)
            else:
                yield reader.line_num, dict(zip(header, values, strict=True))
    except csv.Error as error:
        raise BadFile("unreadable", file, f"line {reader.line_num}: {error}") from error
    if header is None:
        raise BadFile("empty", file, f"no header: the first line must name {', '.join(columns)}")


def _check_header(file: Path, header: list[str], columns: tuple[str, ...]) -> None:
    missing = [name for name in columns if name not in header]
    if missing:
        why = f"the first line must name the columns {', '.join(columns)}; it lacks {', '.join(missing)}"
        raise BadFile("unsupported", file, f"{why} and has {', '.join(header)}")
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise BadFile("unsupported", file, f"the column {', '.join(twice)} stands twice in the first line")


def read_lines(tree: Tree, file: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield (line, words) of a text file with blanks between values, however many."""
    for number, line in enumerate(read_text(tree, file).splitlines(), 1):
        if line.strip():
            yield number, line.split()


def read_json(tree: Tree, file: Path) -> Any:
    """The content of a .json file, or the list of lines of a .jsonl file; raises BadFile with the line."""
    text = read_text(tree, file)
    if file.suffix.lower() != ".jsonl":
        return _parsed(file, text, 0)
    return [_parsed(file, line, i) for i, line in enumerate(text.split("\n")) if line.strip()]


def _parsed(file: Path, text: str, before: int) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise BadFile("unreadable", file, f"line {before + error.lineno}: not JSON: {error.msg}") from error


def records(tree: Tree, file: Path, *keys: str) -> list[dict[str, Any]]:
    """A JSON list of objects that all have `keys`; raises BadFile with the number of the record (from 1)."""
    found = read_json(tree, file)
    if not isinstance(found, list):
        raise BadFile("unsupported", file, f"expected a list of records, got {_kind(found)}")
    for number, one in enumerate(found, 1):
        check_record(file, f"record {number}", one, keys)
    return found


def check_record(file: Path, what: str, one: Any, keys: tuple[str, ...]) -> None:
    """Raise BadFile unless `one` is an object with all `keys`."""
    if not isinstance(one, dict):
        raise BadFile("unsupported", file, f"{what} is {_kind(one)}, not an object")
    missing = [key for key in keys if key not in one]
    if missing:
        raise BadFile("unsupported", file, f"{what} lacks {', '.join(missing)}")


def _kind(value: Any) -> str:
    kinds = {dict: "an object", list: "a list", str: "a text", int: "a number", float: "a number", bool: "true/false"}
    return kinds.get(type(value), "null")


def as_texts(value: Any) -> tuple[str, ...]:
    """A text, a list of texts or null as a tuple of texts."""
    if value is None or value == "":
        return ()
    return tuple(str(one) for one in value) if isinstance(value, list) else (str(value),)


ROLES = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant"}


def dialogue(file: Path, what: str, conversations: Any) -> tuple[Turn, ...]:
    """The turns of a LLaVA record, image tags taken out; raises BadFile when they do not alternate."""
    if not isinstance(conversations, list) or not conversations:
        raise BadFile("unsupported", file, f"{what}: conversations must be a list with at least one turn")
    turns = []
    for number, one in enumerate(conversations):
        check_record(file, f"{what}, turn {number + 1}", one, ("from", "value"))
        role = ROLES.get(str(one["from"]), "")
        if role != ("user", "assistant")[number % 2]:
            expected = ("human", "gpt")[number % 2]
            raise BadFile("unsupported", file, f"{what}, turn {number + 1} is from '{one['from']}', not {expected}")
        text = str(one["value"]).replace("<image>", "").strip()
        turns.append(Turn("user" if role == "user" else "assistant", text))
    return tuple(turns)
