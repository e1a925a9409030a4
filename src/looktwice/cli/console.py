"""What all commands share: one line per failure, exit codes, progress for people and for pipes, tables.

Exit codes: 0 done, 1 done and something was found (only where asked for), 2 wrong usage, 3 some files failed,
130 interrupted.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from looktwice.records import Result

DONE, FOUND, USAGE, FAILED, INTERRUPTED, NO_READER = 0, 1, 2, 3, 130, 141
STYLES = {"anomalous": "bold red", "unsure": "yellow", "normal": "green", "failed": "bold magenta"}
SIGNS = {"anomalous": "▲", "unsure": "◆", "normal": "●", "failed": "✕"}


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn every expected error into one line on standard error and its exit code."""
    from looktwice.errors import LookTwiceError, StopRun

    try:
        yield
    except LookTwiceError as error:
        note(f"Error: {error}")
        raise typer.Exit(FAILED if isinstance(error, StopRun) else USAGE) from error
    except KeyboardInterrupt:
        note("Interrupted. What is finished is kept: run the same command again to go on.")
        raise typer.Exit(INTERRUPTED) from None
    except BrokenPipeError:  # "| head" has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains when it flushes
        raise typer.Exit(NO_READER) from None
    except OSError as error:
        note(f"Error: {error.strerror or error}{f': {error.filename}' if error.filename else ''}")
        raise typer.Exit(FAILED) from error


def note(text: str) -> None:
    """Print one line for a person on standard error."""
    typer.echo(printable(text.replace("\n", " ")), err=True)


def pairs(texts: Sequence[str], flag: str) -> dict[str, Any]:
    """Parse repeated KEY=VALUE flags; values are read as YAML, so 3, 0.5, true and [0, 1] mean what they say."""
    import yaml

    from looktwice.errors import UsageError

    found: dict[str, Any] = {}
    for text in texts:
        key, sign, value = text.partition("=")
        if not sign or not key.strip():
            raise UsageError(f"{flag} takes KEY=VALUE, got '{text}'")
        try:
            found[key.strip()] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise UsageError(f"{flag} {key}: '{value}' is no value: {error}") from error
    return found


# ---------------------------------------------------------------- progress


def track(
    results: Generator[Result, None, None], total: int, quiet: bool = False, spent: Callable[[], str] = str
) -> Generator[Result, None, None]:
    """Pass results through, showing progress and time left on standard error: a bar on a terminal, else lines.

    `spent` tells what the run has cost so far. Closing it closes `results` too: a stopped run then writes the report
    of what is there.
    """
    with closing(results):
        if quiet:
            yield from results
        elif sys.stderr.isatty():
            yield from _bar(results, total, spent)
        else:
            yield from _lines(results, total, spent)


def _bar(results: Iterable[Result], total: int, spent: Callable[[], str]) -> Iterator[Result]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    name = TextColumn("{task.description}", markup=False)  # a file may be called [red]
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), name)
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=total)
        for result in results:
            progress.update(task, advance=1, description=f"{_short(printable(result.path))} {spent()}")
            yield result


def _lines(results: Iterable[Result], total: int, spent: Callable[[], str]) -> Iterator[Result]:
    start = time.monotonic()
    for number, result in enumerate(results, 1):
        left = duration((time.monotonic() - start) / number * (total - number))
        score = "" if result.score is None else f" {result.score:.3f}"
        cost = f"; {spent()}" if spent() else ""
        note(f"[{number}/{total}] {verdict(result)}{score} {result.path} ({left} left{cost})")
        yield result


def duration(seconds: float) -> str:
    """Return seconds as a person says them.

    >>> duration(7.2), duration(90), duration(7300)
    ('7 s', '1 min 30 s', '2 h 1 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    return f"{whole // 60} min {whole % 60} s" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60} min"


def verdict(result: Result) -> str:
    """The verdict, or "failed"."""
    return "failed" if result.error else str(result.verdict)


def printable(text: str) -> str:
    r"""Return text from outside as text that cannot move the cursor or colour the terminal.

    >>> printable("a\x1b[2Jb")
    'a\\x1b[2Jb'
    """
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


def _short(text: str, width: int = 40) -> str:
    return text if len(text) <= width else "..." + text[3 - width :]


# ---------------------------------------------------------------- tables


def table(
    header: Sequence[str], rows: Iterable[Sequence[str]], styles: Callable[[Sequence[str]], str] | None = None
) -> None:
    """Print a table: drawn on a terminal, aligned by spaces into a pipe."""
    rows = list(rows)
    if not sys.stdout.isatty():
        widths = [max(len(cell) for cell in column) for column in zip(header, *rows, strict=True)]
        for row in (header, *rows):
            line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            typer.echo(line.rstrip())
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(*header, box=None, header_style="bold", pad_edge=False)
    for row in rows:
        drawn.add_row(*(Text(cell) for cell in row), style=styles(row) if styles else None)
    Console().print(drawn)


def results_table(results: Sequence[Result]) -> None:
    """Print one row per result, the folder all files lie in, and a line that counts the verdicts."""
    from looktwice.report.paths import below, shared_folder

    folder = shared_folder(result.path for result in results)
    rows = []
    for result in results:
        state = verdict(result)
        words = result.error.message if result.error else (result.regions[0].words if result.regions else "")
        score = "" if result.score is None else f"{result.score:.3f}"
        name, kind = printable(below(result.path, folder)), (result.modality or "").replace("_", " ")
        rows.append([f"{SIGNS[state]} {state}", score, kind, name, f"{result.seconds:.2f}", printable(_clip(words))])
    table(
        ["verdict", "score", "modality", "file", "s", "where and what"],
        rows,
        lambda row: STYLES.get(row[0].split()[-1], ""),
    )
    counts = {state: sum(verdict(r) == state for r in results) for state in SIGNS}
    where = f" in {printable(folder)}" if folder else ""
    typer.echo(f"{len(results)} inspected{where}: " + ", ".join(f"{n} {state}" for state, n in counts.items() if n))


def _clip(text: str, width: int = 110) -> str:
    return text if len(text) <= width else text[: width - 1].rsplit(" ", 1)[0] + " …"
