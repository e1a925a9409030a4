"""looktwice datasets: what data sets are known, and whether a copy of one is whole. Nothing is ever downloaded."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from looktwice.cli.console import one_line_errors
from looktwice.data import DATASETS, load_dataset

if TYPE_CHECKING:
    from looktwice.data.checking import Report
    from looktwice.data.dataset import Count, DataSet

app = typer.Typer(name="datasets", help="List the known data sets, or check a copy of one.")

Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
COLUMNS = ("name", "title", "modality", "classes", "published size", "truth", "licence", "get it from")


@app.callback(invoke_without_command=True)
def listing(
    context: typer.Context,
    as_json: Json = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the table as Markdown.")] = False,
) -> None:
    """List the known data sets: what they hold, their licence and where to get them."""
    if context.invoked_subcommand is None:
        show(as_json, markdown)


@app.command("list")
def show(
    as_json: Json = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the table as Markdown.")] = False,
) -> None:
    """List the known data sets: what they hold, their licence and where to get them."""
    datasets = [load_dataset(name) for name in DATASETS]
    if as_json:
        typer.echo(json.dumps([facts(dataset) for dataset in datasets], ensure_ascii=False, indent=2))
    elif markdown:
        typer.echo(markdown_table(datasets))
    else:
        _print_table(datasets)


@app.command("check")
def check_copy(
    name: Annotated[str, typer.Argument(help="Name of the data set: see looktwice datasets.")],
    root: Annotated[Path, typer.Argument(help="Folder that holds your copy; for `folder` also a CSV.")],
    variant: Annotated[str | None, typer.Option(help="Which list or label rule, where a set has several.")] = None,
    deep: Annotated[bool, typer.Option("--deep", help="Decode every file and read every mask; slow.")] = False,
    as_json: Json = False,
) -> None:
    """Compare a copy with the published counts and name what is missing or odd. Exit 0 clean, 1 not, 2 usage."""
    with one_line_errors():
        from looktwice.data.checking import check

        report = check(load_dataset(name), root, variant=variant, deep=deep)
    if as_json:
        typer.echo(json.dumps({**dataclasses.asdict(report), "clean": report.clean}, ensure_ascii=False, indent=2))
    else:
        _print_report(report)
    raise typer.Exit(0 if report.clean else 1)


def _print_report(report: Report) -> None:
    for category, split, normal, anomalous, unlabelled in report.found:
        more = f" + {unlabelled} without a label" if unlabelled else ""
        typer.echo(f"{category}/{split}: {normal} normal + {anomalous} anomalous{more}")
    for finding in report.findings:
        typer.echo(f"{finding.kind}  {finding.where}: {finding.message}")
    off = len(report.findings)
    verdict = "clean" if report.clean else "1 thing is off" if off == 1 else f"{off} things are off"
    typer.echo(f"{report.name} in {report.root}: {report.items} items, {verdict}")


# ---------------------------------------------------------------- the listing


def facts(dataset: DataSet) -> dict[str, Any]:
    """What is known of a data set, for JSON."""
    return {
        "name": dataset.name,
        "title": dataset.title,
        "modality": dataset.modality,
        "categories": {category: dataset.display_name(category) for category in dataset.categories},
        "splits": list(dataset.all_splits),
        "variants": [variant for variant in dataset.variants if variant],
        "truth": dataset.truth,
        "licence": dataset.licence,
        "owner": dataset.owner,
        "page": dataset.page,
        "size": size(dataset),
        "counts": {variant: [dataclasses.asdict(c) for c in counts] for variant, counts in dataset.counts.items()},
        "notes": list(dataset.notes),
    }


def size(dataset: DataSet) -> str:
    """The published size in words; "reported" where a number was not re-counted."""
    if dataset.size:
        return dataset.size
    counts = [count for count in dataset.expected() if not count.defect and count.category != "*"]
    words = [
        _sums(split, dataset, [count for count in counts if count.split == split])
        for split in dict.fromkeys(count.split for count in counts)
    ]
    questions = next((count.questions for count in counts if count.questions), None)
    return "; ".join([*words, *([f"{questions:,} questions"] if questions else [])])


def _sums(split: str, dataset: DataSet, counts: list[Count]) -> str:
    things = {"image": "pictures", "point_cloud": "clouds", "video": "videos"}[dataset.modality]
    sums = [sum(getattr(count, part) or 0 for count in counts) for part in ("normal", "anomalous", "total")]
    parts = [f"{n:,} {name}" for n, name in zip(sums, ("normal", "anomalous", things), strict=True) if n]
    mark = "" if all(count.verified for count in counts) else " (reported)"
    return f"{split} {' + '.join(parts)}{mark}".strip()


def _row(dataset: DataSet) -> tuple[str, ...]:
    number = dataset.category_count or len(dataset.categories)
    return (
        dataset.name,
        dataset.title,
        dataset.modality.replace("_", " "),
        str(number) if number else "any",
        size(dataset),
        dataset.truth,
        dataset.licence,
        f"{dataset.owner}, {dataset.page}",
    )


def markdown_table(datasets: list[DataSet]) -> str:
    """The listing as a Markdown table."""
    rows = [COLUMNS, ("---",) * len(COLUMNS), *(_row(dataset) for dataset in datasets)]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _print_table(datasets: list[DataSet]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if Console().is_terminal else 240)
    table = Table(box=None, pad_edge=False)
    for column in COLUMNS:
        table.add_column(column, overflow="fold", no_wrap=column == "name")
    for dataset in datasets:
        table.add_row(*_row(dataset))
    console.print(table)
    console.print("Nothing is downloaded: get a set from its owner, then run looktwice datasets check NAME ROOT.")
