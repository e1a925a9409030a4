"""looktwice demo: six made parts, inspected: what the product does, in a minute."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from looktwice.cli.console import DONE, FAILED, FOUND, one_line_errors, printable, results_table, verdict
from looktwice.cli.inspect import carry_out


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the made parts, the results and the report.")] = Path(
        "out/demo"
    ),
    seed: Annotated[int, typer.Option(min=0, help="Another seed makes other parts.")] = 0,
) -> None:
    """Make a good and a defective image, point cloud and video, and inspect them with a few references.

    Exit codes: 0 all six verdicts are right, 1 one is wrong, 2 usage, 3 one could not be inspected.
    """
    with one_line_errors():
        from looktwice.data.procedural import write_demo_parts
        from looktwice.inspection import Inspection
        from looktwice.sheets import read_sheet

        start = time.monotonic()
        typer.echo(f"Making six parts in {printable(str(out / 'parts'))} ...", err=True)
        parts = write_demo_parts(out / "parts", seed)
        made = time.monotonic()
        paths = [path for pair in zip(parts.good, parts.defective, strict=True) for path in pair]
        run = Inspection(paths, "memory", read_sheet(parts.sheet), out=out, command="looktwice demo")
        results = carry_out(run)
        results_table(results)
        wanted = ["normal", "anomalous"] * (len(paths) // 2)
        right = sum(verdict(result) == want for result, want in zip(results, wanted, strict=True))
        typer.echo(
            f"{right} of {len(paths)} verdicts are right "
            f"(parts made in {made - start:.1f} s, inspected in {time.monotonic() - made:.1f} s)"
        )
        typer.echo(f"Report: {printable(str(out / 'report.html'))}")
        if run.problems or any(result.error for result in results):
            raise typer.Exit(FAILED)
        raise typer.Exit(DONE if right == len(paths) else FOUND)
