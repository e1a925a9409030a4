"""looktwice check: lint an inspection sheet and run its tests."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from looktwice.cli import sheet_flags as flags
from looktwice.cli.console import DONE, FOUND, one_line_errors, pairs, printable, table, track, verdict

if TYPE_CHECKING:
    from looktwice.settings import Settings


def check(
    sheet: Annotated[Path, typer.Argument(help="Inspection sheet (YAML).")],
    run: Annotated[
        bool, typer.Option("--run", help="Also inspect the sheet's must_pass and must_fail samples.")
    ] = False,
    model: flags.Model = None,
    threshold: Annotated[float, typer.Option(min=0, max=1, help="Score from which a part is anomalous.")] = 0.5,
    option: flags.Options = None,
    set: flags.Set = None,
    json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Lint an inspection sheet; with --run, inspect its tests.

    Exit codes: 0 all well (warnings allowed), 1 errors in the sheet or a test with the wrong verdict, 2 usage.
    """
    with one_line_errors():
        from looktwice.sheets import lint

        settings = flags.settings_from(set)
        findings = lint(sheet, settings)
        bad = any(finding.level == "error" for finding in findings)
        tests = [] if bad or not run else _run(sheet, model, threshold, option, settings, json)
        if json:
            _as_json(findings, tests)
        else:
            for finding in findings:
                line = f":{finding.line}" if finding.line else ""
                typer.echo(f"{printable(str(sheet))}{line}: {finding.level}: {printable(finding.message)}")
            if not findings:
                typer.echo(f"{printable(str(sheet))}: no findings")
            if run and bad:
                typer.echo("tests not run: mend the errors first")
            elif run:
                _show(tests)
        raise typer.Exit(FOUND if bad or any(not right for *_, right in tests) else DONE)


def _run(
    sheet: Path, model: str | None, threshold: float, option: list[str] | None, settings: Settings, quiet: bool
) -> list[tuple[str, str, str, str, bool]]:
    """Inspect the sheet's tests -> rows of path, expected, verdict, score, right."""
    from looktwice.inspection import Inspection, find
    from looktwice.sheets import read_sheet

    spec = read_sheet(sheet)
    tests = [("normal", one.path) for one in find(spec.tests.must_pass)]
    tests += [("anomalous", one.path) for one in find(spec.tests.must_fail)]
    if not tests:
        return []
    options = pairs(option or [], "--option")
    run = Inspection([path for _, path in tests], model, spec, threshold=threshold, options=options, settings=settings)
    with closing(track(iter(run), len(run), quiet)) as tracked:
        results = {os.path.abspath(item.path): result for item, result in zip(run.items, tracked, strict=True)}
    rows = []
    for expected, path in tests:
        result = results[os.path.abspath(path)]
        found = verdict(result)
        score = result.error.message if result.error else f"{result.score:.3f}"
        rows.append((result.path, expected, found, score, found == expected))
    return rows


def _show(tests: list[tuple[str, str, str, str, bool]]) -> None:
    if not tests:
        typer.echo("the sheet names no tests: add 'tests:' with must_pass and must_fail")
        return
    rows = [["ok" if right else "WRONG", want, got, score, printable(path)] for path, want, got, score, right in tests]
    table(["test", "expected", "verdict", "score", "file"], rows, lambda row: "" if row[0] == "ok" else "bold red")
    typer.echo(f"{sum(right for *_, right in tests)} of {len(tests)} tests as expected")


def _as_json(findings: list, tests: list[tuple[str, str, str, str, bool]]) -> None:  # type: ignore[type-arg]
    import dataclasses
    import json

    names = ("path", "expected", "verdict", "score", "right")
    typer.echo(
        json.dumps(
            {
                "findings": [dataclasses.asdict(finding) for finding in findings],
                "tests": [dict(zip(names, test, strict=True)) for test in tests],
            },
            indent=1,
        )
    )
