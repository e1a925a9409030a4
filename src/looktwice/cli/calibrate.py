"""looktwice calibrate: a threshold with a stated false-alarm rate, from normal parts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from looktwice.cli import sheet_flags as flags
from looktwice.cli.console import one_line_errors, pairs, printable, track


def calibrate(
    normal: Annotated[
        list[str], typer.Option(help="Normal parts that are not references: file, folder or glob; repeatable.")
    ],
    model: flags.Model = None,
    sheet: flags.Sheet = None,
    task: flags.Task = "",
    object: flags.Object = "",
    context: flags.Context = "",
    rule: flags.Rules = None,
    reference: flags.References = None,
    alpha: Annotated[float, typer.Option(help="Share of normal parts that may be called anomalous.")] = 0.01,
    output: Annotated[Path, typer.Option("-o", "--output", help="The calibration file to write.")] = Path(
        "calibration.json"
    ),
    option: flags.Options = None,
    set: flags.Set = None,
    fps: Annotated[float | None, typer.Option(help="Video frames looked at per second.")] = None,
    count: Annotated[int | None, typer.Option(help="Video frames looked at, evenly spaced.")] = None,
    every: Annotated[int | None, typer.Option(help="Look at every n-th video frame.")] = None,
) -> None:
    """Judge normal parts and write a calibration for 'looktwice inspect --calibration'.

    What is judged is kept in a folder beside the output: a stopped calibration goes on where it was, and its
    report shows which normal parts look odd.
    """
    with one_line_errors():
        from looktwice.inspection import calibrate_on

        spec = flags.spec_from(sheet, task, object, context, rule, reference)
        made = calibrate_on(
            normal,
            model,
            spec,
            alpha=alpha,
            options=pairs(option or [], "--option"),
            settings=flags.settings_from(set, fps=fps, count=count, every=every),
            out=output.with_suffix(".run"),
            watch=track,
        )
        made.save(output)
        for modality in made.scores:
            typer.echo(
                f"{modality.replace('_', ' ')}: {made.words(modality)}; threshold {made.threshold(modality):.3f}"
            )
        typer.echo(f"Calibration: {printable(str(output))}")
