"""Tables: ours and, marked as such, what was published; as plain text, Markdown, LaTeX, CSV or HTML.

A figure of several seeds is its mean ± sample deviation; one of a single seed has the bootstrap interval of image
AUROC behind it. What is not defined is n/a. Shares are printed in percent.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from looktwice.benchmark.compare import Verdicts, shots_words
from looktwice.benchmark.measures import METRICS, PLAIN, mean_of, title
from looktwice.benchmark.published import Figure, figures
from looktwice.data import load_dataset
from looktwice.errors import unknown_name
from looktwice.metrics.choices import AVERAGE, LETTERS, SUB_TASKS

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
    scored: Sequence[Mapping[str, Any]],
    *,
    metrics: Sequence[str] = (),
    published: bool = True,
    paper: str | None = None,
    categories: bool = True,
    defects: bool = False,
) -> list[Table]:
    """Tables of several scored runs (as `score` returns them): per data set a summary, then each run by category.

    metrics: only these, in this order. published: with the published figures of the data set; paper: only of papers
    whose name holds this. defects: also each run by kind of defect. A run on MMAD has the table of its sub-tasks
    besides. Raises UnknownName.
    """
    for name in metrics:
        title(name)
    found = []
    for dataset in dict.fromkeys(one["dataset"] for one in scored):
        runs = [one for one in scored if one["dataset"] == dataset]
        others = figures(dataset=dataset, paper=paper) if published else ()
        names = _columns(runs, others, metrics)
        found.append(_summary(dataset, runs, names, others))
        found += [one for run in runs for one in _sub_tasks(run, others)]
        for run in runs if categories else ():
            found += _by_category(dataset, run, [name for name in names if _has(run, name)], others)
        found += [one for run in runs if defects for one in _by_defect(dataset, run)]
    return found


def _columns(runs: Sequence[Mapping[str, Any]], others: Sequence[Figure], wanted: Sequence[str]) -> list[str]:
    """What any run has; and AP of unstated level, where a paper has that and we have one or the other."""
    names = [name for name in METRICS if any(_has(run, name) for run in runs)]
    if "image_ap" in names and any(one.metric == "ap" for one in others):
        names.append("ap")
    return [name for name in wanted if name in METRICS] if wanted else names


def _has(run: Mapping[str, Any], name: str) -> bool:
    return any(name in row["metrics"] for row in run["summary"])


def _summary(dataset: str, runs: Sequence[Mapping[str, Any]], names: Sequence[str], others: Sequence[Figure]) -> Table:
    rows, source, notes = [], [], []
    for run in runs:
        for row in run["summary"]:
            if row["category"] == "":
                who = f"{run['model']}, {shots_words(row['shots'])}"
                rows.append((who, OURS, *(_ours(run, row, name) for name in names)))
                source.append(OURS)
        notes += _notes(run)
    for who, values in _groups(others, ""):
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
    notes += _notes_on_answers(run)
    if samples["there"] < samples["planned"]:
        notes.append(f"{run['model']}: unfinished, {samples['there']} of {samples['planned']} samples")
    left = {name: names for draw in run["means"] for name, names in draw["left_out"].items()}
    for name, missing in left.items():
        if len(missing) < run["means"][0]["categories"]:
            notes.append(
                f"{run['model']}: {title(name)} is not defined for {', '.join(missing)}; the mean is over the rest"
            )
    return notes


def _notes_on_answers(run: Mapping[str, Any]) -> list[str]:
    """What must be known of figures made from words."""
    how, notes = run["scoring"], []
    units = [one["samples"] for one in run["categories"]]
    unread, unjudged = (sum(one.get(key, 0) for one in units) for key in ("unparsed", "unjudged"))
    if unread and how["reading"] == "strict":
        notes.append(f"{run['model']}: {unread} answers could not be read and count as wrong")
    if unread and how["reading"] == "published":
        notes.append(f"{run['model']}: {unread} answers could not be read")
    if run["plan"]["task"] == "answer" and how["reading"] == "published":
        notes.append(f"{run['model']}: answers are read as the published scripts do")
    if _has(run, "sbert"):
        notes.append(f"{run['model']}: SBERT is the cosine of sentences encoded by {how['encoder']}")
    if _has(run, "gpt_score"):
        left = f"; {unjudged} of its replies could not be read and are left out" if unjudged else ""
        notes.append(f"{run['model']}: GPT-score by {how['judge']}{left}")
    return notes


def _groups(others: Sequence[Figure], category: str) -> list[tuple[str, dict[str, Figure]]]:
    """Published rows: who with how many shots and where it stands -> figures by metric."""
    found: dict[str, dict[str, Figure]] = {}
    for one in others:
        if one.category == category and not one.subset:
            doubt = "" if one.status == "quoted" else f" ({one.status})"
            where = f"{_who(one)}, {shots_words(one.shots)}; {one.paper}, {one.table}{doubt}"
            found.setdefault(where, {})[one.metric] = one
    return list(found.items())


def _who(one: Figure) -> str:
    """The row as printed, with the system in front where the row does not name it ("w/o Q-Former", "VAND")."""
    plain = [re.sub(r"[^a-z0-9]", "", text.lower()) for text in (one.system, one.row)]
    return one.row if plain[0] in plain[1] else f"{one.system}: {one.row}"


def _by_category(dataset: str, run: Mapping[str, Any], names: Sequence[str], others: Sequence[Figure]) -> list[Table]:
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
            for who, values in _groups(others, row["category"]) if row["category"] else ():
                rows.append(
                    (f"{row['category']}: {who}", PUBLISHED, "", *(_printed(values.get(name)) for name in names))
                )
                source.append(PUBLISHED)
        header = ("category", "source", "normal + anomalous", *map(title, names))
        seeds = summary[0]["seeds"]
        words = f"{run['model']}, {shots_words(shots)}" + (f", {seeds} seeds" if seeds > 1 else "")
        found.append(Table(f"{load_dataset(dataset).title}: {words}, %", header, tuple(rows), tuple(source)))
    return found


def _sub_tasks(run: Mapping[str, Any], others: Sequence[Figure]) -> list[Table]:
    """MMAD's table: the sub-tasks of each set."""
    columns = (*SUB_TASKS, AVERAGE)
    found = []
    for draw in run["mmad"]:
        rows, source = [], []
        for name, row in draw["accuracy"].items():
            more = (_percent(draw[kind].get(name)) for kind in ("overkill", "miss"))
            rows.append((name, OURS, *(_percent(row.get(column)) for column in columns), *more))
            source.append(OURS)
        for who, values in _published_sub_tasks(others):
            rows.append((who, PUBLISHED, *(values.get(column, "") for column in columns), "", ""))
            source.append(PUBLISHED)
        seed = f", seed {draw['seed']}" if len(run["mmad"]) > 1 else ""
        words = f"MMAD: {run['model']}, {shots_words(draw['shots'])}{seed}, accuracy in %"
        notes = [
            "overkill: normal pictures called anomalous; miss: anomalous ones called normal; or answered unreadably"
        ]
        given = ", ".join(f"{letter} {count}" for letter, count in _letters(draw).items())
        notes.append(f"letters given: {given or 'none'}")
        found.append(
            Table(words, ("set", "source", *columns, "overkill", "miss"), tuple(rows), tuple(source), tuple(notes))
        )
    return found


def _letters(draw: Mapping[str, Any]) -> dict[str, int]:
    """How often each letter was given: shows a model that always says B."""
    counts = list(draw["answers"].values())
    return {letter: total for letter in LETTERS if (total := sum(given.get(letter, 0) for given in counts))}


def _published_sub_tasks(others: Sequence[Figure]) -> list[tuple[str, dict[str, str]]]:
    found: dict[str, dict[str, str]] = {}
    for one in others:
        if one.subset and not one.category:
            found.setdefault(f"{one.row}, {shots_words(one.shots)}; {one.table}", {})[one.subset] = one.value
    return list(found.items())


def _percent(value: float | None) -> str:
    return "" if value is None else NOT_DEFINED if math.isnan(value) else f"{value:.1f}"


def _by_defect(dataset: str, run: Mapping[str, Any]) -> list[Table]:
    """Image AUROC of each kind of defect against the normal samples; kinds of several categories have a mean."""
    found = []
    for shots in dict.fromkeys(row["shots"] for row in run["summary"]):
        units = [one for one in run["categories"] if one["shots"] == shots]
        values: dict[tuple[str, str], list[float]] = {}
        counts: dict[tuple[str, str], int] = {}
        for one in units:
            for kind, figure in one["defects"].items():
                values.setdefault((one["category"], kind), []).append(figure["image_auroc"])
                counts[one["category"], kind] = figure["samples"]
        rows = [(*key, str(counts[key]), _percent(100 * mean_of(each))) for key, each in values.items()]
        for kind in dict.fromkeys(kind for _, kind in values):
            each = [mean_of(own) for (_, other), own in values.items() if other == kind]
            if len(each) > 1:
                rows.append(("mean", kind, "", _percent(100 * mean_of(each))))
        if rows:
            words = f"{load_dataset(dataset).title}: {run['model']}, {shots_words(shots)}, by kind of defect, %"
            header = ("category", "defect", "samples", "image AUROC")
            found.append(Table(words, header, tuple(rows), (OURS,) * len(rows)))
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
    return f"{Decimal(one.value) * 100:f}".removesuffix(".00") if one.unit == "share" else one.printed


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
            *(one.system, one.dataset, one.category, one.subset, METRICS[one.metric], one.printed, one.unit, one.shots),
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
figure {{ display: inline-block; margin: .5rem 1rem .5rem 0; vertical-align: top; width: 22rem; max-width: 100%; }}
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
