"""looktwice benchmark: predict, score, table, compare; published figures and recipes beside them."""

from __future__ import annotations

import json as json_module
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from looktwice.cli import sheet_flags as flags
from looktwice.cli.console import DONE, FAILED, one_line_errors, pairs, printable

if TYPE_CHECKING:
    from looktwice.benchmark.compare import Verdicts
    from looktwice.benchmark.plan import Shots
    from looktwice.benchmark.predict import Outcome

app = typer.Typer(
    name="benchmark",
    no_args_is_help=True,
    help="Run detectors over data sets and compare numbers: predict first, score second.",
)

Runs = Annotated[list[Path], typer.Argument(help="Folders that 'benchmark predict' wrote.")]
Workers = Annotated[int, typer.Option(min=1, help="Processes; the files are the same whatever their number.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Encoder = Annotated[
    str | None, typer.Option(help="For answers in words: hf:REPO, hf:FOLDER or python:MODULE:FUNCTION.")
]
Judge = Annotated[
    str | None, typer.Option(help="For answers in words: a chat model that gives 1 to 10, as openai:gpt-4o.")
]
JudgeOptions = Annotated[list[str] | None, typer.Option("--judge-option", help="KEY=VALUE for the judge; repeatable.")]
LINES_EVERY = 5.0  # seconds between lines of progress where there is no terminal


@app.command()
def predict(
    model: Annotated[str, typer.Option("-m", "--model", help="Detector, see 'looktwice models'.")],
    dataset: Annotated[str, typer.Option("-d", "--dataset", help="Data set, see 'looktwice datasets'.")],
    root: Annotated[Path, typer.Option(help="Folder that holds your copy; for 'folder' also a CSV.")],
    variant: Annotated[str | None, typer.Option(help="Which way to read the data set, where it has several.")] = None,
    split: Annotated[str, typer.Option(help="The part that is judged.")] = "test",
    shots: Annotated[str, typer.Option(help="References per category, such as 0,1,2,4 or full.")] = "0",
    seeds: Annotated[int, typer.Option(min=1, help="How many draws of the references.")] = 1,
    references: Annotated[
        str,
        typer.Option(help="Draw them from: train; test (then left out of it). Or as the data set names: own, similar."),
    ] = "train",
    categories: Annotated[str, typer.Option(help="Only these, such as bottle,cable.")] = "",
    limit: Annotated[int | None, typer.Option(min=2, help="At most so many samples a category, evenly spread.")] = None,
    task: Annotated[str, typer.Option(help="detect (scores and maps) or answer (questions).")] = "detect",
    question: Annotated[str, typer.Option(help="Asked about every sample, instead of the data set's own.")] = "",
    history: Annotated[
        bool | None,
        typer.Option(help="Ask a sample's questions as one dialogue. Default: not where there are options."),
    ] = None,
    shuffle: Annotated[bool, typer.Option("--shuffle", help="Options of a question in another, fixed order.")] = False,
    knowledge: Annotated[bool, typer.Option("--knowledge", help="Tell the data set's knowledge of the class.")] = False,
    maps: Annotated[str, typer.Option(help="How maps are kept: uint16, float32 (exact) or none.")] = "uint16",
    option: flags.Options = None,
    set: flags.Set = None,
    sheets: Annotated[
        Path | None, typer.Option(help="Inspection sheet for all categories, or folder with CATEGORY.yaml for each.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the run. Default: runs/MODEL-DATASET-HASH.")] = None,
    workers: Workers = 1,
    batch: Annotated[int, typer.Option(min=1, help="Samples judged together; a crash loses at most these.")] = 8,
    retry: Annotated[bool, typer.Option("--retry", help="Judge categories with failed samples again.")] = False,
) -> None:
    """Run a detector over a data set; write scores, maps and the recipe that made them.

    The same command goes on where a killed one stopped. Exit codes: 0 done, 2 usage, 3 some samples failed.
    """
    with one_line_errors():
        from looktwice.benchmark.plan import make_plan
        from looktwice.benchmark.predict import predict as carry_out

        plan = make_plan(
            model=model,
            dataset=dataset,
            options=pairs(option or [], "--option"),
            variant=variant,
            split=split,
            task=task,
            question=question,
            history=history,
            shuffle=shuffle,
            knowledge=knowledge,
            references=references,
            categories=_names(categories),
            shots=parse_shots(shots),
            seeds=seeds,
            limit=limit,
            maps=maps,
            settings=flags.settings_from(set),
        )
        with _progress() as progress:
            outcome = carry_out(
                plan, root, out, workers=workers, batch=batch, retry=retry, sheets=sheets, progress=progress
            )
        _print_outcome(outcome)
        raise typer.Exit(FAILED if outcome.failed else DONE)


@app.command()
def score(
    runs: Runs,
    workers: Workers = 1,
    partial: Annotated[bool, typer.Option("--partial", help="Score what there is of an unfinished run.")] = False,
    resamples: Annotated[int, typer.Option(min=1, help="Of the bootstrap behind intervals.")] = 1000,
    threshold: Annotated[
        float | None, typer.Option(min=0, max=1, help="Of maps: with IoU and Dice at this score.")
    ] = None,
    reading: Annotated[
        str, typer.Option(help="Of answers: strict, or published (as the authors' scripts read).")
    ] = "strict",
    encoder: Encoder = None,
    judge: Judge = None,
    judge_option: JudgeOptions = None,
) -> None:
    """Turn the files of runs into numbers: scores.json in each run. The model that was judged is not run."""
    with one_line_errors():
        from looktwice.benchmark.language import opened
        from looktwice.benchmark.report import render, tables
        from looktwice.benchmark.score import score as compute

        encode, chat, threads = opened(encoder, judge, pairs(judge_option or [], "--judge-option"))
        for run in runs:
            scores = compute(
                run,
                workers=workers,
                partial=partial,
                resamples=resamples,
                threshold=threshold,
                reading=reading,  # type: ignore[arg-type]  # checked there
                encode=encode,
                judge=chat,
                threads=threads,
            )
            typer.echo(render(tables([scores], published=False), "paper"))
            for one in scores["pooled"]:
                figures = ", ".join(f"{name} {100 * value:.1f}" for name, value in one["metrics"].items())
                shots = f"{one['shots']} references, seed {one['seed']}"
                typer.echo(f"All {one['samples']} pooled, normal positive, as published ({shots}): {figures}")
            typer.echo(f"Scores: {printable(str(run / 'scores.json'))}")


@app.command()
def table(
    runs: Runs,
    style: Annotated[str, typer.Option(help="paper, markdown, latex, csv or html.")] = "paper",
    metrics: Annotated[str, typer.Option(help="Only these, such as image_auroc,pro.")] = "",
    published: Annotated[bool, typer.Option(help="With the published figures of the data set.")] = True,
    paper: Annotated[str | None, typer.Option(help="Published figures only of papers whose name holds this.")] = None,
    summary: Annotated[bool, typer.Option("--summary", help="Without the tables by category.")] = False,
    defects: Annotated[bool, typer.Option("--defects", help="Also by kind of defect.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write to this file instead.")] = None,
) -> None:
    """Print tables of runs, with published figures beside ours and marked as published."""
    with one_line_errors():
        from looktwice.benchmark.report import render, tables
        from looktwice.benchmark.score import read_scores
        from looktwice.report.atomic import write_atomically

        scored = [read_scores(run) for run in runs]
        made = tables(
            scored,
            metrics=_names(metrics),
            published=published,
            paper=paper,
            categories=not summary,
            defects=defects,
        )
        text = render(made, style)
        if out is None:
            typer.echo(text, nl=False)
        else:
            typer.echo(f"Table: {printable(str(write_atomically(out, text)))}")


@app.command()
def plot(
    runs: Runs,
    out: Annotated[Path | None, typer.Option(help="Folder of the pictures. Default: the first run.")] = None,
) -> None:
    """Draw the ROC and PRO curves of runs as SVG: roc.svg and pro.svg."""
    with one_line_errors():
        from looktwice.benchmark.plots import write_plots

        for path in write_plots(runs, out or runs[0]):
            typer.echo(f"Plot: {printable(str(path))}")


@app.command()
def gallery(
    run: Annotated[Path, typer.Argument(help="Folder that 'benchmark predict' wrote.")],
    root: Annotated[Path | None, typer.Option(help="The copy of the data set, when it lies elsewhere now.")] = None,
    count: Annotated[int, typer.Option(min=1, help="Pictures of each kind, per category.")] = 6,
) -> None:
    """Show where a run was most right and most wrong: gallery.html, one file with its pictures in it."""
    with one_line_errors():
        from looktwice.benchmark.gallery import write_gallery
        from looktwice.benchmark.store import Run

        typer.echo(f"Gallery: {printable(str(write_gallery(Run(run), root, count)))}")


@app.command()
def compare(
    a: Annotated[Path, typer.Argument(help="A run.")],
    b: Annotated[Path, typer.Argument(help="Another run on the same data set, or the same one.")],
    metric: Annotated[
        str, typer.Option(help="image_auroc, image_ap, image_f1_max, aupimo; of answers accuracy, rouge_l.")
    ] = "image_auroc",
    shots_a: Annotated[str | None, typer.Option(help="Which shots of A, where it has several.")] = None,
    shots_b: Annotated[str | None, typer.Option(help="Which shots of B, where it has several.")] = None,
    resamples: Annotated[int, typer.Option(min=100, help="Draws of the bootstrap.")] = 1000,
    level: Annotated[float, typer.Option(min=0.5, max=0.999, help="Of the intervals.")] = 0.95,
    style: Annotated[str, typer.Option(help="paper, markdown, latex, csv or html.")] = "paper",
    json: Json = False,
) -> None:
    """Is A better than B, or is it noise? A paired bootstrap over the samples, per category and for the mean."""
    with one_line_errors():
        from looktwice.benchmark.compare import compare as against
        from looktwice.benchmark.report import render, verdict_table
        from looktwice.benchmark.store import Run

        found = against(
            Run(a),
            Run(b),
            metric=metric,
            shots_a=parse_shots(shots_a)[0] if shots_a else None,
            shots_b=parse_shots(shots_b)[0] if shots_b else None,
            resamples=resamples,
            level=level,
        )
        typer.echo(_verdicts_json(found) if json else render([verdict_table(found)], style), nl=json)


@app.command("published")
def show_published(
    system: Annotated[str | None, typer.Option(help="Only this system, such as vmad.")] = None,
    dataset: Annotated[str | None, typer.Option(help="Only this data set.")] = None,
    metric: Annotated[str | None, typer.Option(help="Only this metric, such as image_auroc.")] = None,
    paper: Annotated[str | None, typer.Option(help="Only papers whose name holds this.")] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV, the columns of the file.")] = False,
    json: Json = False,
) -> None:
    """Print published figures, exactly as printed, each with its paper, table and row."""
    with one_line_errors():
        from looktwice.benchmark.published import as_csv, as_rows, figures
        from looktwice.benchmark.report import figure_table, render

        found = figures(system, dataset, metric, paper)
        if json:
            typer.echo(json_module.dumps(as_rows(found), ensure_ascii=False, indent=1))
        elif csv:
            typer.echo(as_csv(found), nl=False)
        else:
            typer.echo(render([figure_table(found)], "markdown" if markdown else "paper"), nl=False)
            typer.echo(f"{len(found)} figures")


@app.command("recipes")
def show_recipes(json: Json = False) -> None:
    """List the recipes: protocols with the figures published for them."""
    with one_line_errors():
        from looktwice.benchmark.recipes import load_recipe, names
        from looktwice.cli.console import table as print_table
        from looktwice.detectors import DETECTORS, is_talker

        recipes = {name: load_recipe(name) for name in names()}
        if json:
            typer.echo(
                json_module.dumps(
                    {n: r.model_dump(mode="json") for n, r in recipes.items()}, ensure_ascii=False, indent=1
                )
            )
            return
        rows = [
            [
                name,
                one.protocol,
                one.model,
                "yes" if one.model in DETECTORS or is_talker(one.model) else "no",
                one.title,
            ]
            for name, one in recipes.items()
        ]
        print_table(["recipe", "protocol", "model", "can be run", "title"], rows)


@app.command()
def run(
    recipe: Annotated[str, typer.Argument(help="Name of a recipe ('benchmark recipes' lists them), or a TOML file.")],
    root: Annotated[
        list[str] | None, typer.Option(help="DATASET=DIR, your copy; repeatable. What has none is left out.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the runs. Default: runs/RECIPE.")] = None,
    option: flags.Options = None,
    limit: Annotated[int | None, typer.Option(min=2, help="At most so many samples a category: a trial.")] = None,
    workers: Workers = 1,
    encoder: Encoder = None,
    judge: Judge = None,
    judge_option: JudgeOptions = None,
    style: Annotated[str, typer.Option(help="paper, markdown, latex, csv or html.")] = "paper",
) -> None:
    """Carry out a recipe: predict, score, and put what was published beside what came out."""
    with one_line_errors():
        from looktwice.benchmark.language import opened
        from looktwice.benchmark.recipes import load_recipe, outcome, run_recipe, without_root
        from looktwice.benchmark.report import outcome_table, render, tables

        chosen = load_recipe(recipe)
        roots = {key: Path(str(value)) for key, value in pairs(root or [], "--root").items()}
        folder = out or Path("runs") / Path(recipe).stem
        for words in filter(None, [chosen.trained_on and f"wants weights trained on {chosen.trained_on}", chosen.note]):
            typer.echo(f"Note: {words}", err=True)
        if roots and (missing := without_root(chosen, roots)):
            typer.echo(f"Note: not judged, for want of --root: {', '.join(missing)}", err=True)
        encode, chat, threads = opened(encoder, judge, pairs(judge_option or [], "--judge-option"))
        with _progress() as progress:
            carried = list(
                run_recipe(
                    chosen,
                    roots,
                    folder,
                    options=pairs(option or [], "--option"),
                    limit=limit,
                    workers=workers,
                    progress=progress,
                    encode=encode,
                    judge=chat,
                    threads=threads,
                )
            )
        for learned in dict.fromkeys(one.learned for one in carried if one.learned):
            typer.echo(f"Note: judged are the classes not to learn from: {', '.join(learned)}", err=True)
        made = tables([one.scores for one in carried], published=False, categories=False)
        if chosen.expect:
            made.append(outcome_table(chosen.title, outcome(chosen, carried)))
        typer.echo(render(made, style), nl=False)
        typer.echo(f"Runs: {printable(str(folder))}", err=True)
        raise typer.Exit(FAILED if any(one.scores["samples"]["failed"] for one in carried) else DONE)


@app.command()
def split(
    dataset: Annotated[str, typer.Option("-d", "--dataset", help="Data set, see 'looktwice datasets'.")],
    root: Annotated[Path, typer.Option(help="Folder that holds your copy; for 'folder' also a CSV.")],
    train: Annotated[int, typer.Option(min=1, help="How many classes are learned from; the others are judged.")],
    seed: Annotated[int, typer.Option(min=0, help="Of the draw.")] = 0,
    variant: Annotated[str | None, typer.Option(help="Which way to read the data set, where it has several.")] = None,
    json: Json = False,
) -> None:
    """Split the classes of a data set at random: to learn from, and to judge (cross-category). No class is in both."""
    with one_line_errors():
        from looktwice.benchmark.plan import class_split
        from looktwice.benchmark.recipes import categories_of

        learned, judged = class_split(categories_of(dataset, root, variant), train, seed)
        if json:
            typer.echo(json_module.dumps({"train": learned, "test": judged}, ensure_ascii=False, indent=1))
        else:
            typer.echo(f"learn from  {','.join(learned)}")
            typer.echo(f"judge       {','.join(judged)}")


# ---------------------------------------------------------------- what is typed


def parse_shots(text: str) -> tuple[Shots, ...]:
    """Read "0,1,2,4" or "full"; raises UsageError."""
    from looktwice.errors import UsageError

    found: list[Shots] = []
    for piece in _names(text):
        if piece == "full":
            found.append("full")
        elif piece.isdecimal():
            found.append(int(piece))
        else:
            raise UsageError(f"--shots takes whole numbers or 'full', separated by commas, got '{piece}'")
    if not found:
        raise UsageError("--shots takes whole numbers or 'full', separated by commas, got nothing")
    return tuple(found)


def _names(text: str) -> tuple[str, ...]:
    return tuple(piece.strip() for piece in text.split(",") if piece.strip())


# ---------------------------------------------------------------- what is shown


def _print_outcome(outcome: Outcome) -> None:
    for message in outcome.messages:
        typer.echo(message, err=True)
    first = (
        next((row for unit in outcome.run.units for row in outcome.run.rows(unit) if row["error"]), None)
        if outcome.failed
        else None
    )
    typer.echo(f"{outcome.samples} samples judged, {outcome.failed} failed: {printable(str(outcome.run.folder))}")
    if first is not None:
        typer.echo(f"First failure: {printable(first['id'])}: {printable(first['error']['message'])}", err=True)


def _verdicts_json(found: Verdicts) -> str:
    import dataclasses

    rows = [
        {"category": one.category, "samples": one.samples, "finding": one.words, **dataclasses.asdict(one.result)}
        for one in found.rows
    ]
    return json_module.dumps(
        {"a": found.a, "b": found.b, "metric": found.metric, "rows": rows, "notes": found.notes},
        ensure_ascii=False,
        indent=1,
    )


@contextmanager
def _progress() -> Iterator[Callable[[int, int, str], None]]:
    """A bar with the time left on a terminal, else a line now and then."""
    if not sys.stderr.isatty():
        yield _Lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task: Any = bar.add_task("", total=None)
        yield lambda done, total, words: bar.update(task, completed=done, total=total, description=words)


class _Lines:
    """Progress as lines, with the time left from what this process has done."""

    def __init__(self) -> None:
        self.start = self.last = time.monotonic()
        self.first: int | None = None

    def __call__(self, done: int, total: int, words: str) -> None:
        now = time.monotonic()
        if self.first is None or done < self.first:
            self.start, self.first = now, done
        if now - self.last < LINES_EVERY and done < total:
            return
        self.last = now
        fresh = done - self.first
        left = f", {(now - self.start) / fresh * (total - done):.0f} s left" if fresh and done < total else ""
        typer.echo(f"[{done}/{total}] {words}{left}", err=True)
