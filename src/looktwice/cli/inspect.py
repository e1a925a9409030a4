"""looktwice inspect: judge files and write a report."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from looktwice.cli import sheet_flags as flags
from looktwice.cli.console import DONE, FAILED, FOUND, one_line_errors, pairs, printable, results_table, track


def inspect(
    paths: Annotated[
        list[str], typer.Argument(help="Files, folders (searched), globs; '-' reads a list from standard input.")
    ],
    model: flags.Model = None,
    sheet: flags.Sheet = None,
    task: flags.Task = "",
    object: flags.Object = "",
    context: flags.Context = "",
    rule: flags.Rules = None,
    reference: flags.References = None,
    out: Annotated[Path, typer.Option(help="Folder for results, maps and the report.")] = Path("looktwice-results"),
    threshold: Annotated[float, typer.Option(min=0, max=1, help="Score from which a part is anomalous.")] = 0.5,
    calibration: Annotated[
        Path | None, typer.Option(help="File made by 'looktwice calibrate'; decides instead of the threshold.")
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Samples judged together; a crash loses at most these.")] = 1,
    format: Annotated[
        str, typer.Option(help="Reports to write, of: html, jsonl, coco, ply, mp4.")
    ] = "html,jsonl,ply,mp4",
    option: flags.Options = None,
    set: flags.Set = None,
    fps: Annotated[float | None, typer.Option(help="Video frames looked at per second.")] = None,
    count: Annotated[int | None, typer.Option(help="Video frames looked at, evenly spaced.")] = None,
    every: Annotated[int | None, typer.Option(help="Look at every n-th video frame.")] = None,
    modality: Annotated[str | None, typer.Option(help="Treat every path as image, point_cloud or video.")] = None,
    fail_on: Annotated[str | None, typer.Option(help="'anomaly': exit 1 when a part is anomalous.")] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object per sample on standard output.")] = False,
) -> None:
    """Inspect images, point clouds and videos; write a report.

    Every finished sample is on disk at once: after a crash the same command goes on where it stopped.
    Exit codes: 0 done, 1 anomalies found (with --fail-on anomaly), 2 usage, 3 some files failed.
    """
    with one_line_errors():
        from looktwice.calibration import Calibration
        from looktwice.errors import UsageError
        from looktwice.inspection import Inspection
        from looktwice.report import formats

        if fail_on not in (None, "anomaly"):
            raise UsageError(f"--fail-on takes 'anomaly', got '{fail_on}'")
        run = Inspection(
            _listed(paths),
            model,
            flags.spec_from(sheet, task, object, context, rule, reference),
            options=pairs(option or [], "--option"),
            out=out,
            threshold=threshold,
            calibration=Calibration.read(calibration) if calibration else None,
            batch=batch,
            settings=flags.settings_from(set, fps=fps, count=count, every=every),
            formats=formats(format),
            modality=modality,
            command=" ".join(["looktwice", *sys.argv[1:]]),
        )
        for message in run.messages:
            typer.echo(message, err=True)
        results = []
        for result in track(run, len(run)):
            results.append(result)
            if json:
                typer.echo(result.to_json())
        if not json:
            results_table(results)
            made = "report.html" if "html" in format else "results.jsonl"
            typer.echo(f"Report: {printable(str(out / made))}")
        raise typer.Exit(_exit_code(results, fail_on))


def _listed(paths: list[str]) -> list[str]:
    """Replace '-' by the lines of standard input."""
    listed: list[str] = []
    for path in paths:
        listed += [line.rstrip("\r\n") for line in sys.stdin if line.strip()] if path == "-" else [path]
    return listed


def _exit_code(results: list, fail_on: str | None) -> int:  # type: ignore[type-arg]
    if any(result.error for result in results):
        return FAILED
    return FOUND if fail_on and any(result.verdict == "anomalous" for result in results) else DONE
