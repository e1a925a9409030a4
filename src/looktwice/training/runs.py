"""Runs of a system by its name: one, several stages one after another, or a grid of variants and seeds.

Letters: none.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from looktwice.errors import UsageError
from looktwice.registry import Registry
from looktwice.training.config import TrainConfig, read_config
from looktwice.training.instruct import open_sources
from looktwice.training.journal import EVALUATIONS, SKIPPED, read_lines
from looktwice.training.loop import DONE, MODEL, Evaluate, Outcome, Progress, run

TRAINABLES = Registry(
    "trainable system",
    {"vmad": "looktwice.training.vmad:VmadTraining", "lisa": "looktwice.training.vmad:VmadTraining"},
)
JUDGED_BY = {"vmad": "vmad", "lisa": "vmad"}  # the detector that opens what was trained

OnStep = Callable[[Progress], None]


def train(
    system: str,
    config: TrainConfig | Mapping[str, Any] | Path | str,
    out: Path | str,
    *,
    data: Sequence[str] = (),
    test: Sequence[str] = (),
    resume: bool = False,
    changes: Mapping[str, Any] | None = None,
    on_step: OnStep | None = None,
) -> Outcome:
    """Train a system of `TRAINABLES` into the folder `out`; OUT/model is what its detector opens.

    config: values, a YAML file, or a name of `packaged()`; `data`, `test` and `changes` (keys with dots reach into
    sections) replace what it says. Stages go into OUT/stage-1, OUT/stage-2 ... and each starts from the one before.
    With `resume` a run that is there goes on, exactly as if it had not been stopped. Raises what `run` raises, and
    UnknownName, UsageError, BadCheckpoint, BadFile for what cannot be read.
    """
    given = {"data": tuple(data), "test": tuple(test)}
    chosen = read_config(config).changed({**{k: v for k, v in given.items() if v}, **(changes or {})})
    TRAINABLES.target(system)
    stages, home = chosen.staged(), Path(out)
    if len(stages) == 1:
        return _stage(system, stages[0], home, resume, on_step)
    outcome: Outcome | None = None
    for number, stage in enumerate(stages, 1):
        if outcome is not None:
            stage = stage.changed({"model.start": str(outcome.model)})
        named = _named(on_step, f"{number} of {len(stages)}")
        # a stage that is finished is not begun again: going on is all that can be meant by the second folder
        outcome = _stage(system, stage, home / f"stage-{number}", resume, named)
    assert outcome is not None
    return outcome


def _named(on_step: OnStep | None, stage: str) -> OnStep | None:
    if on_step is None:
        return None
    return lambda progress: on_step(dataclasses.replace(progress, stage=stage))


def _stage(system: str, config: TrainConfig, out: Path, resume: bool, on_step: OnStep | None) -> Outcome:
    """One run, or what is known of it where it is finished."""
    if resume and (out / DONE).is_file():
        return _finished(out)
    from looktwice.training.judging import judge, records_of  # brings transformers, which the loop does not need

    sources = open_sources(config.data)
    judged = records_of(open_sources(config.test), config.eval_count) if config.test else []
    trainable = TRAINABLES.load(system).make(config.model, sources, config.seed)

    def evaluate(folder: Path, step: int) -> Mapping[str, float]:
        return judge(JUDGED_BY[system], folder, judged)

    hook: Evaluate | None = evaluate if judged else None
    return run(trainable, sources, config, out, name=system, resume=resume, evaluate=hook, on_step=on_step)


def _finished(out: Path) -> Outcome:
    done = json.loads((out / DONE).read_text("utf-8"))
    skipped = {line["id"]: line["why"] for line in read_lines(out / SKIPPED)}
    return Outcome(out / MODEL, done["steps"], done["losses"], done["figures"], skipped, 0.0)


def evaluations(out: Path | str) -> list[dict[str, Any]]:
    """What the test data said while a run went on: {"step", figures by name}, the first before it began."""
    return read_lines(Path(out) / EVALUATIONS)


# ---------------------------------------------------------------- grids


@dataclass(frozen=True)
class Row:
    """One variant with one seed."""

    variant: str
    seed: int
    outcome: Outcome


def grid(
    system: str,
    config: TrainConfig | Mapping[str, Any] | Path | str,
    out: Path | str,
    *,
    seeds: Sequence[int] = (0,),
    resume: bool = False,
    on_step: Callable[[str, Progress], None] | None = None,
    **options: Any,
) -> list[Row]:
    """Train the variants of a system's ablation, each with every seed, into OUT/VARIANT-SEED; `options` as of `train`.

    A finished run is not begun again with `resume`. Raises UsageError without test data: there would be nothing to
    compare.
    """
    variants: Mapping[str, Mapping[str, Any]] = TRAINABLES.load(system).ABLATION
    changes = dict(options.pop("changes", None) or {})
    if not (options.get("test") or read_config(config).test):
        raise UsageError("a grid compares figures of test data: name some with test")
    rows = []
    for seed in seeds:
        for variant, fields in variants.items():
            name = f"{variant}-{seed}"
            each = {**changes, "seed": seed, **{f"model.config.{key}": value for key, value in fields.items()}}
            told = None if on_step is None else _for_variant(on_step, name)
            outcome = train(system, config, Path(out) / name, resume=resume, changes=each, on_step=told, **options)
            rows.append(Row(variant, seed, outcome))
    return rows


def _for_variant(on_step: Callable[[str, Progress], None], name: str) -> OnStep:
    return lambda progress: on_step(name, progress)


def table(rows: Sequence[Row], names: Sequence[str] = ()) -> str:
    """A Markdown table in %: a row a variant, a column a figure (all, or `names`), mean ± deviation over seeds."""
    known = list(rows[0].outcome.figures) if rows else []
    names = [name for name in names or known if name in known]
    lines = [f"| variant | seeds | {' | '.join(names)} |", "| --- " * (len(names) + 2) + "|"]
    for variant in dict.fromkeys(row.variant for row in rows):
        mine = [row for row in rows if row.variant == variant]
        cells = [_cell([row.outcome.figures.get(name, float("nan")) for row in mine]) for name in names]
        lines.append(f"| {variant} | {len(mine)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(values: Sequence[float]) -> str:
    mean = f"{100 * np.mean(values):.1f}"
    return f"{mean} ± {100 * np.std(values, ddof=1):.1f}" if len(values) > 1 else mean
