"""The command line: one file per command. Help and listings load neither NumPy nor a network."""

from __future__ import annotations

import io
import logging
import os
import sys
from typing import Annotated

import typer

from looktwice import __version__
from looktwice.cli import benchmark, datasets
from looktwice.cli.ask import ask
from looktwice.cli.calibrate import calibrate
from looktwice.cli.check import check
from looktwice.cli.demo import demo
from looktwice.cli.generate import generate
from looktwice.cli.inspect import inspect
from looktwice.cli.models import models
from looktwice.cli.report import report
from looktwice.cli.schema import schema
from looktwice.cli.train import train

app = typer.Typer(
    name="looktwice",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Inspect images, point clouds and videos: whether something is wrong, where, and why.",
)
for command in (inspect, ask, check, calibrate, report, models, demo, generate, train, schema):
    app.command()(command)
app.add_typer(datasets.app, name="datasets")
app.add_typer(benchmark.app, name="benchmark")


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"looktwice {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Inspect images, point clouds and videos: whether something is wrong, where, and why."""
    logging.getLogger("looktwice.inspection").addHandler(logging.NullHandler())  # the commands say it themselves


def run() -> None:
    """Entry point of the `looktwice` command."""
    # views and poses are judged side by side already; threads of the matrix library on top wait for each other
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that knows no ▲ shows ? instead of stopping the run
            stream.reconfigure(errors="replace")
    app()
