"""looktwice generate: make a data set of drawn parts, with masks and words, from a seed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from looktwice.cli.console import note, one_line_errors, printable


def generate(
    out: Annotated[Path, typer.Argument(help="Folder for the data set; a stopped run goes on where it stopped.")],
    kind: Annotated[str, typer.Option(help="images, clouds or videos.")] = "images",
    layout: Annotated[str, typer.Option(help="mvtec; images also riad or instruct.")] = "mvtec",
    categories: Annotated[str, typer.Option(help="Names with commas between them; all by default.")] = "all",
    count: Annotated[int, typer.Option(min=1, help="Items of each category.")] = 100,
    seed: Annotated[int, typer.Option(min=0, help="Another seed makes other parts.")] = 0,
    size: Annotated[int, typer.Option(help="Side of a picture, width of a video, 64 to 512 pixels.")] = 256,
    level: Annotated[str, typer.Option(help="How hard defects are to see: easy, medium or hard.")] = "hard",
    workers: Annotated[int, typer.Option(min=1, help="Processes; the data do not depend on it.")] = 1,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
) -> None:
    """Make a data set of drawn parts: good and defective ones, exact masks, descriptions and questions.

    Exit codes: 0 made, 2 usage, 3 a file could not be written, 130 interrupted.
    """
    with one_line_errors():
        from looktwice.data.procedural import Order, write_data_set

        names = () if categories == "all" else tuple(name.strip() for name in categories.split(",") if name.strip())
        order = Order(kind, layout, names, count, seed, size, level)
        made = write_data_set(out, order, workers, None if quiet else _progress)
        typer.echo(f"{made} {kind} in {printable(str(out))}")


def _progress(finished: int, total: int) -> None:
    """A line that renews itself on a terminal, else one for each tenth."""
    if sys.stderr.isatty():
        typer.echo(f"\r{finished}/{total}", nl=finished == total, err=True)
    elif finished == total or finished * 10 // total != (finished - 1) * 10 // total:
        note(f"[{finished}/{total}]")
