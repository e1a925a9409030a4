"""looktwice train: train a system on records of good and defective parts."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from looktwice.cli.console import INTERRUPTED, duration, note, one_line_errors, pairs, printable

if TYPE_CHECKING:
    from looktwice.training import Outcome, Progress

NAMED = 5  # skipped records that are named
LINES_EVERY = 5.0  # seconds between lines of progress where there is no terminal


def train(
    system: Annotated[str, typer.Argument(help="What is trained: vmad or lisa.")],
    config: Annotated[str, typer.Option(help="YAML file, or a name: laptop, vmad-7b, vmad-7b-fresh, lisa-7b.")],
    out: Annotated[Path, typer.Option(help="Folder of the run; OUT/model is what the detector opens.")],
    data: Annotated[
        list[str] | None,
        typer.Option(help="Instead of the configuration's: NAME:FOLDER, instruct:FILE, procedural:...; repeatable."),
    ] = None,
    test: Annotated[list[str] | None, typer.Option(help="Judged, never trained on; repeatable.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in OUT, exactly where it was.")] = False,
    set: Annotated[
        list[str] | None,
        typer.Option(help="KEY=VALUE of the configuration, such as model.config.dssl=false; repeatable."),
    ] = None,
    grid: Annotated[bool, typer.Option("--grid", help="Train the ablation: a run for each variant and seed.")] = False,
    seeds: Annotated[int, typer.Option(min=1, help="Of a grid: seeds 0, 1, ... of each variant.")] = 1,
) -> None:
    """Train a system; on several GPUs by `accelerate launch -m looktwice.cli.main train ...`.

    Checkpoints are written while it runs; --resume goes on from the newest, with the losses it would have had.
    Exit codes: 0 trained, 2 usage, 3 it cannot go on, 130 interrupted (a checkpoint is kept).
    """
    with one_line_errors():
        from looktwice.errors import UsageError, need

        if seeds > 1 and not grid:
            raise UsageError("--seeds belongs to --grid; another seed of one run is --set seed=1")
        need("torch", "torch", "Training")
        from looktwice import training

        told = _Told()
        options: dict[str, Any] = {
            "data": data or (),
            "test": test or (),
            "resume": resume,
            "changes": pairs(set or [], "--set"),
        }
        try:
            if grid:
                rows = training.grid(system, config, out, seeds=range(seeds), on_step=told.named, **options)
                if _first_process():
                    typer.echo(training.table(rows))
            else:
                outcome = training.train(system, config, out, on_step=told, **options)
                if _first_process():
                    _say(outcome)
        except training.Stopped as error:
            note(str(error))
            raise typer.Exit(INTERRUPTED) from error


class _Told:
    """Progress: a line that renews itself on a terminal, else one every few seconds."""

    def __init__(self) -> None:
        self.at = -LINES_EVERY

    def named(self, name: str, progress: Progress) -> None:
        self(progress, f"{name} ")

    def __call__(self, progress: Progress, name: str = "") -> None:
        stage = f"stage {progress.stage} " if progress.stage else ""
        losses = ", ".join(f"{key} {value:.4f}" for key, value in progress.losses.items())
        text = f"{name}{stage}[{progress.step}/{progress.steps}] {losses}; {duration(progress.left)} left"
        last, now = progress.step == progress.steps, time.monotonic()
        if sys.stderr.isatty():
            typer.echo(f"\r{text}\x1b[K", nl=last, err=True)
        elif last or now - self.at >= LINES_EVERY:
            note(text)
            self.at = now


def _say(outcome: Outcome) -> None:
    """What became of a run."""
    if outcome.skipped:
        note(f"Warning: {len(outcome.skipped)} records could not be learnt from and were skipped:")
        for name, why in list(outcome.skipped.items())[:NAMED]:
            note(f"  {name}: {why}")
        if len(outcome.skipped) > NAMED:
            note(f"  and {len(outcome.skipped) - NAMED} more, see {outcome.model.parent / 'skipped.jsonl'}")
    for title, figures in (("Losses", outcome.losses), ("Test", outcome.figures)):
        if figures:
            typer.echo(f"{title}: {_line(figures)}")
    typer.echo(f"Model: {printable(str(outcome.model))}")


def _line(figures: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.4f}" for name, value in figures.items())


def _first_process() -> bool:
    """Whether this is the one of a distributed run that speaks."""
    return os.environ.get("RANK", "0") == "0"
