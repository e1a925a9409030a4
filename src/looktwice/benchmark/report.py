"""Tables: ours and, marked as such, what was published; as plain text, Markdown, LaTeX, CSV or HTML.

A figure of several seeds is its mean ± sample deviation; one of a single seed has the bootstrap interval of image
AUROC behind it. What is not defined is n/a. Shares are printed in percent.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from looktwice.benchmark.compare import Verdicts, shots_words
from looktwice.benchmark.measures import METRICS, PLAIN, title
from looktwice.benchmark.published import Figure, figures
from looktwice.data import load_dataset
from looktwice.errors import unknown_name

OURS, PUBLISHED = "ours", "published"
NOT_DEFINED = "n/a"


@dataclass(frozen=True)
class Table:
    """A table of texts; `source` says of each row whether it is ours or published."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    source: tuple[str, ...]
    notes: tuple[str, ...] = ()


def tables(
    scored: Sequence[Mapping[str, Any]], *, metrics: Sequence[str] = (), published: bool = True, categories: bool = True
) -> list[Table]:
    """Tables of several scored runs (as `score` returns them): per data set a summary, then each run by category.

    metrics: only these, in this order. published: with the published figures of the data set. Raises UnknownName.
    """
    for name in metrics:
        title(name)
    found = []
    for dataset in dict.fromkeys(one["dataset"] for one in scored):
        runs = [one for one in scored if one["dataset"] == dataset]
        names = _columns(runs, dataset, metrics, published)
        found.append(_summary(dataset, runs, names, published))
        for run in runs if categories else ():
            found += _by_category(dataset, run, [name for name in names if _has(run, name)], published)
    return found


def _columns(runs: Sequence[Mapping[str, Any]], dataset: str, wanted: Sequence[str], published: bool) -> list[str]:
    """What any run has; and AP of unstated level, where a paper has that and we have one or the other."""
    names = [name for name in METRICS if any(_has(run, name) for run in runs)]
    if published and "image_ap" in names and any(one.metric == "ap" for one in _published(dataset)):
        names.append("ap")
    return [name for name in wanted if name in METRICS] if wanted else names


def _has(run: Mapping[str, Any], name: str) -> bool:
    return any(name in row["metrics"] for row in run["summary"])


def _published(dataset: str) -> list[Figure]:
    return list(figures(dataset=dataset))


def _summary(dataset: str, runs: Sequence[Mapping[str, Any]], names: Sequence[str], published: bool) -> Table:
    rows, source, notes = [], [], []
    for run in runs:
        for row in run["summary"]:
            if row["category"] == "":
                who = f"{run['model']}, {shots_words(row['shots'])}"
                rows.append((who, OURS, *(_ours(run, row, name) for name in names)))
                source.append(OURS)
        notes += _notes(run)
    for who, values in _groups(dataset, "") if published else ():
        if any(name in values for name in names):
            rows.append((who, PUBLISHED, *(_printed(values.get(name)) for name in names)))
            source.append(PUBLISHED)
    if PUBLISHED in source:
        notes.append("published: as its authors or the table named printed it, not run here")
    header = ("system", "source", *map(title, names))
    return Table(
        f"{load_dataset(dataset).title}: mean over categories, %",
        header,
        tuple(rows),
        tuple(source),
        tuple(dict.fromkeys(notes)),
    )


def _notes(run: Mapping[str, Any]) -> list[str]:
    samples, plan = run["samples"], run["plan"]
    notes = []
    if plan["references"] == "test" and any(row["shots"] != 0 for row in run["summary"]):
        notes.append(f"{run['model']}: references are drawn from the judged part and left out of it")
    if plan["references"] == "own":
        notes.append(f"{run['model']}: each sample is compared with the references that the data set names for it")
    if plan["limit"]:
        notes.append(f"{run['model']}: a trial on at most {plan['limit']} samples a category")
    if samples["failed"]:
        notes.append(f"{run['model']}: {samples['failed']} of {samples['there']} samples failed and count in no figure")
    if samples["there"] < samples["planned"]:
        notes.append(f"{run['model']}: unfinished, {samples['there']} of {samples['planned']} samples")
    left = {name: names for draw in run["means"] for name, names in draw["left_out"].items()}
    for name, missing in left.items():
        if len(missing) < run["means"][0]["categories"]:
            notes.append(
                f"{run['model']}: {title(name)} is not defined for {', '.join(missing)}; the mean is over the rest"
            )
    return notes


def _groups(dataset: str, category: str) -> list[tuple[str, dict[str, Figure]]]:
    """Published rows: who with how many shots and where it stands -> figures by metric."""
    found: dict[str, dict[str, Figure]] = {}
    for one in _published(dataset):
        if one.category == category and not one.subset:
            doubt = "" if one.status == "quoted" else f" ({one.status})"
            found.setdefault(f"{one.row}, {shots_words(one.shots)}; {one.paper}, {one.table}{doubt}", {})[
                one.metric
            ] = one
    return list(found.items())


def _by_category(dataset: str, run: Mapping[str, Any], names: Sequence[str], published: bool) -> list[Table]:
    found = []
    for shots in dict.fromkeys(row["shots"] for row in run["summary"]):
        rows, source = [], []
        summary = [row for row in run["summary"] if row["shots"] == shots]
        for row in summary:
            samples = [
                one["samples"]
                for one in run["categories"]
                if (one["category"], one["shots"]) == (row["category"], shots)
            ]
            counts = f"{samples[0]['normal']} + {samples[0]['anomalous']}" if samples else ""
            rows.append((row["category"] or "mean", OURS, counts, *(_ours(run, row, name) for name in names)))
            source.append(OURS)
            for who, values in _groups(dataset, row["category"]) if published and row["category"] else ():
                rows.append(
                    (f"{row['category']}: {who}", PUBLISHED, "", *(_printed(values.get(name)) for name in names))
                )
                source.append(PUBLISHED)
        header = ("category", "source", "normal + anomalous", *map(title, names))
        seeds = summary[0]["seeds"]
        words = f"{run['model']}, {shots_words(shots)}" + (f", {seeds} seeds" if seeds > 1 else "")
        found.append(Table(f"{load_dataset(dataset).title}: {words}, %", header, tuple(rows), tuple(source)))
    return found


def _ours(run: Mapping[str, Any], row: Mapping[str, Any], name: str) -> str:
    figure = row["metrics"].get(name)
    if figure is None:
        return ""
    scale = 1 if name in PLAIN else 100
    if math.isnan(figure["mean"]):
        return NOT_DEFINED
    text = f"{scale * figure['mean']:.1f}"
    if not math.isnan(figure["deviation"]):
        return f"{text} ± {scale * figure['deviation']:.1f}"
    interval = _interval(run, row, name)
    return f"{text} [{scale * interval[0]:.1f}, {scale * interval[1]:.1f}]" if interval else text


def _interval(run: Mapping[str, Any], row: Mapping[str, Any], name: str) -> Sequence[float] | None:
    if row["seeds"] != 1:
        return None
    for one in (*run["categories"], *run["means"]):
        if (one["shots"], one.get("category", "")) == (row["shots"], row["category"]):
            found: Sequence[float] | None = one["intervals"].get(name)
            return found
    return None


def _printed(one: Figure | None) -> str:
    """The digits of the paper, in percent where it prints shares."""
    if one is None:
        return ""
    return f"{Decimal(one.value) * 100:f}".removesuffix(".00") if one.unit == "share" else one.value


# ---------------------------------------------------------------- other tables


def verdict_table(verdicts: Verdicts) -> Table:
    """What comparing two runs found."""
    rows = []
    for one in verdicts.rows:
        r = one.result
        rows.append(
            (
                one.category or "mean",
                str(one.samples),
                f"{100 * r.a:.1f}",
                f"{100 * r.b:.1f}",
                f"{100 * r.difference:+.1f}",
                f"{100 * r.low:+.1f} to {100 * r.high:+.1f}",
                f"{r.p_value:.3f}",
                f"A is {one.words}" if r.significant else one.words,
            )
        )
    level = verdicts.rows[0].result.level
    header = ("category", "samples", "A", "B", "A - B", f"{level:.0%} interval", "p", "finding")
    words = f"{title(verdicts.metric)}, %: A = {verdicts.a}; B = {verdicts.b}"
    return Table(words, header, tuple(rows), (OURS,) * len(rows), verdicts.notes)


def figure_table(found: Sequence[Figure]) -> Table:
    """Published figures, one a row."""
    header = (
        "system",
        "data set",
        "category",
        "part",
        "metric",
        "value",
        "unit",
        "shots",
        "protocol",
        "where",
        "status",
    )
    rows = tuple(
        (
            *(one.system, one.dataset, one.category, one.subset, METRICS[one.metric], one.value, one.unit, one.shots),
            *(one.protocol, one.source, one.status),
        )
        for one in found
    )
    return Table("Published figures", header, rows, (PUBLISHED,) * len(rows))


def outcome_table(name: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    """A recipe's published figures beside ours."""
    cells = tuple(
        (
            " ".join(filter(None, [one["dataset"], one["category"], one["subset"]])),
            " ".join(f"{key}={value}" for key, value in one["options"].items()),
            shots_words(one["shots"]),
            title(one["metric"]),
            f"{one['published']:g}",
            NOT_DEFINED if one["ours"] is None else f"{one['ours']:.1f}",
            "" if one["ours"] is None else f"{one['ours'] - one['published']:+.1f}",
        )
        for one in rows
    )
    header = ("data set", "options", "shots", "metric", "published", "ours", "ours - published")
    return Table(f"{name}: does it reproduce?", header, cells, (OURS,) * len(cells))


# ---------------------------------------------------------------- styles


def as_paper(table: Table) -> str:
    """Aligned columns of plain text."""
    widths = [max(len(row[i]) for row in (table.header, *table.rows)) for i in range(len(table.header))]
    rows = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (table.header, *table.rows)
    ]
    line = "-" * max(map(len, rows))
    return "\n".join([table.title, line, rows[0], line, *rows[1:], line, *table.notes])


def as_markdown(table: Table) -> str:
    """A pipe table under a heading."""

    def row(cells: Sequence[str]) -> str:
        return (
            "| "
            + " | ".join(
                _one_line(cell).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;") for cell in cells
            )
            + " |"
        )

    body = [row(table.header), row(["---"] * len(table.header)), *(row(cells) for cells in table.rows)]
    return "\n".join([f"### {_one_line(table.title)}", "", *body, *(f"\n{note}" for note in table.notes)])


LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "⁺": r"$^+$", "⁻": r"$^-$",
}  # fmt: skip


def as_latex(table: Table) -> str:
    """A tabular with rules of the package booktabs; published rows in italics."""

    def text(cell: str) -> str:
        return "".join(LATEX.get(c, c) for c in _one_line(cell))

    rows = [
        " & ".join(rf"\textit{{{text(cell)}}}" if source == PUBLISHED and cell else text(cell) for cell in cells)
        + r" \\"
        for cells, source in zip(table.rows, table.source, strict=True)
    ]
    lines = [
        f"% {_one_line(table.title)}",
        rf"\begin{{tabular}}{{{'l' * len(table.header)}}}",
        r"\toprule",
        " & ".join(map(text, table.header)) + r" \\",
        r"\midrule",
        *rows,
        r"\bottomrule",
        r"\end{tabular}",
        *(f"% {_one_line(note)}" for note in table.notes),
    ]
    return "\n".join(lines)


def as_csv(table: Table) -> str:
    """Comma-separated cells as printed, header first."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerows([table.header, *table.rows])
    return stream.getvalue().rstrip("\n")


def as_html(table: Table) -> str:
    """A table element; every text is escaped."""
    from markupsafe import Markup

    def cells(tag: str, row: Sequence[str]) -> Markup:
        return Markup("").join(Markup("<{0}>{1}</{0}>").format(Markup(tag), cell) for cell in row)

    rows = [
        Markup('<tr class="{}">{}</tr>').format(source, cells("td", row))
        for row, source in zip(table.rows, table.source, strict=True)
    ]
    notes = [Markup("<p>{}</p>").format(note) for note in table.notes]
    return str(
        Markup("<table>\n<caption>{}</caption>\n<tr>{}</tr>\n{}\n</table>\n{}").format(
            table.title, cells("th", table.header), Markup("\n").join(rows), Markup("\n").join(notes)
        )
    )


STYLES: Mapping[str, Callable[[Table], str]] = {
    "paper": as_paper,
    "markdown": as_markdown,
    "latex": as_latex,
    "csv": as_csv,
    "html": as_html,
}

PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; color: #1c1c1c; }}
table {{ border-collapse: collapse; margin: 1rem 0; display: block; overflow-x: auto; }}
caption {{ text-align: left; font-weight: 600; padding: .4rem 0; }}
th, td {{ padding: .25rem .8rem .25rem 0; text-align: left; border-bottom: 1px solid #ddd; white-space: nowrap; }}
tr.published {{ font-style: italic; color: #555; }}
figure {{ display: inline-block; margin: .5rem 1rem .5rem 0; vertical-align: top; max-width: 22rem; }}
figure img {{ width: 100%; }}
figcaption {{ font-size: .85rem; overflow-wrap: anywhere; }}
svg {{ max-width: 36rem; width: 100%; }}
</style>
</head>
<body>
<h1>{title}</h1>
{body}
</body>
</html>
"""


def page(title: str, pieces: Sequence[str]) -> str:
    """A whole HTML page from escaped pieces; it needs no network and runs no script."""
    from markupsafe import escape

    return PAGE.format(title=escape(title), body="\n".join(pieces))


def render(found: Sequence[Table], style: str) -> str:
    """Tables in one style, an empty line between; HTML as a whole page. Raises UnknownName."""
    if style not in STYLES:
        raise unknown_name("style", style, STYLES)
    if style == "html":
        return page("Benchmark", [as_html(table) for table in found])
    return "\n\n".join(STYLES[style](table) for table in found) + "\n"


def _one_line(text: str) -> str:
    """Text of a file cannot break out of its cell."""
    return " ".join(text.split())
