"""looktwice report: write the reports of a results folder again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from looktwice.cli.console import DONE, FAILED, note, one_line_errors, printable


def report(
    folder: Annotated[Path, typer.Argument(help="Results folder of 'looktwice inspect'.")],
    format: Annotated[str, typer.Option(help="Reports to write, of: html, coco.")] = "html",
) -> None:
    """Write the reports of a results folder again from its results.jsonl; no model runs.

    Exit codes: 0 done, 2 usage, 3 a report could not be written.
    """
    with one_line_errors():
        from looktwice.errors import UsageError
        from looktwice.report import RUN_FORMATS, formats
        from looktwice.run_folder import write_reports

        names = formats(format)
        if others := [name for name in names if name not in RUN_FORMATS]:
            raise UsageError(
                f"{', '.join(others)} is written while a sample is inspected, not afterwards. "
                f"Known here: {', '.join(RUN_FORMATS)}."
            )
        written, problems = write_reports(folder, names)
        for path in written:
            typer.echo(f"Report: {printable(str(path))}")
        for problem in problems:
            note(f"Error: {problem}")
        raise typer.Exit(FAILED if problems else DONE)
