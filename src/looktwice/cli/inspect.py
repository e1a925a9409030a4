"""looktwice inspect: judge files and write a report."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from looktwice.cli import sheet_flags as flags
from looktwice.cli.console import DONE, FAILED, FOUND, note, one_line_errors, pairs, printable, results_table, track

if TYPE_CHECKING:
    from looktwice.inspection import Inspection
    from looktwice.records import Result


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
    threshold: Annotated[
        float | None, typer.Option(min=0, max=1, help="Score from which a part is anomalous. Default: 0.5.")
    ] = None,
    calibration: Annotated[
        Path | None, typer.Option(help="File made by 'looktwice calibrate'; decides instead of the threshold.")
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Samples judged together; a crash loses at most these.")] = 1,
    format: Annotated[
        str, typer.Option(help="Reports to write, of: html, jsonl, coco, ply, mp4.")
    ] = "html,jsonl,ply,mp4",
    option: flags.Options = None,
    explain_with: flags.ExplainWith = None,
    talker_option: flags.TalkerOptions = None,
    base_url: flags.BaseUrl = None,
    language: flags.Language = None,
    verify: flags.Verify = False,
    budget: flags.Budget = None,
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
    Exit codes: 0 done, 1 anomalies found (with --fail-on anomaly), 2 usage, 3 some files failed, 130 interrupted.
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
            explain_with=explain_with,
            talking=flags.talking_from(base_url, language, verify, budget, talker_option),
            out=out,
            threshold=threshold,
            calibration=Calibration.read(calibration) if calibration else None,
            batch=batch,
            settings=flags.settings_from(set, fps=fps, count=count, every=every),
            formats=formats(format),
            modality=modality,
            command=shlex.join(["looktwice", *sys.argv[1:]]),
        )
        results = carry_out(run, json)
        if not json:
            results_table(results)
            made = "report.html" if "html" in run.formats else "results.jsonl"
            typer.echo(f"Report: {printable(str(out / made))}")
        raise typer.Exit(FAILED if run.problems else _exit_code(results, fail_on))


def carry_out(run: Inspection, json: bool = False) -> list[Result]:
    """Carry a run out with progress, saying what it had to decide; with `json` each result is a line at once."""
    for message in run.messages:
        note(message)
    results = []
    with closing(track(iter(run), len(run), spent=lambda: run.spent)) as tracked:
        for result in tracked:
            results.append(result)
            if json:
                typer.echo(result.to_json().encode())  # bytes: UTF-8 whatever the terminal speaks
    for problem in run.problems:
        note(f"Warning: {problem}")
    return results


def _listed(paths: list[str]) -> list[str]:
    """Replace '-' by the lines of standard input; raises UsageError when nothing is named."""
    from looktwice.errors import UsageError

    listed: list[str] = []
    for path in paths:
        if path == "-":
            lines = sys.stdin.buffer.read().split(b"\n")
            listed += [os.fsdecode(line.rstrip(b"\r")) for line in lines if line.strip()]
        else:
            listed.append(path)
    if not listed:
        raise UsageError("nothing to inspect: the list on standard input is empty")
    return listed


def _exit_code(results: Sequence[Result], fail_on: str | None) -> int:
    if any(result.error for result in results):
        return FAILED
    return FOUND if fail_on and any(result.verdict == "anomalous" for result in results) else DONE
