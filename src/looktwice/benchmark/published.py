"""Published figures, exactly as they were printed, with where they stand; published.csv beside this file holds them.

Columns: system (a name of the model catalogue), dataset, category and subset (empty: the mean over classes), metric,
value and deviation as printed, unit (%, share, 1 to 10), shots, protocol, paper, table, row, status. Status "quoted":
read in the source or a text that quotes it; "recalled": not read again, to be checked before it is quoted; others say
what was read instead.
"""

from __future__ import annotations

import csv
import functools
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from importlib.resources import files

from looktwice.benchmark.measures import METRICS
from looktwice.data import DATASETS
from looktwice.detectors import DETECTORS
from looktwice.errors import unknown_name


@dataclass(frozen=True)
class Figure:
    """One number of one table."""

    system: str
    dataset: str
    category: str
    subset: str
    metric: str
    value: str
    deviation: str
    unit: str
    shots: str
    protocol: str
    paper: str
    table: str
    row: str
    status: str

    @property
    def share(self) -> float:
        """The value on our scale: a share of 1, or 1 to 10."""
        return float(self.value) / 100 if self.unit == "%" else float(self.value)

    @property
    def printed(self) -> str:
        """The value as printed, with its deviation."""
        return f"{self.value} ± {self.deviation}" if self.deviation else self.value

    @property
    def source(self) -> str:
        """Where it stands."""
        return f"{self.paper}, {self.table}, {self.row}"


@functools.cache
def all_figures() -> tuple[Figure, ...]:
    """Every published figure, in the order of the file."""
    text = (files("looktwice.benchmark") / "published.csv").read_text(encoding="utf-8")
    return tuple(Figure(**row) for row in csv.DictReader(text.splitlines()))


def figures(
    system: str | None = None, dataset: str | None = None, metric: str | None = None, paper: str | None = None
) -> Sequence[Figure]:
    """The figures of a system, data set, metric and paper (part of its name), none where none is known.

    Raises UnknownName for a name that neither the figures nor our own tables hold.
    """
    wanted = {"system": system, "dataset": dataset, "metric": metric}
    tables: Mapping[str, Iterable[str]] = {"system": DETECTORS, "dataset": DATASETS, "metric": METRICS}
    for key, value in wanted.items():
        known = dict.fromkeys([*(getattr(one, key) for one in all_figures()), *tables[key]])
        if value is not None and value not in known:
            raise unknown_name(f"{key.replace('dataset', 'data set')} of published figures", value, known)
    return [
        one
        for one in all_figures()
        if all(value is None or getattr(one, key) == value for key, value in wanted.items())
        and (paper is None or paper.lower() in one.paper.lower())
    ]


def as_rows(found: Sequence[Figure]) -> list[dict[str, str]]:
    """As plain rows, for CSV and JSON."""
    return [asdict(one) for one in found]


def as_csv(found: Sequence[Figure]) -> str:
    """As the file holds them, header first."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, [field.name for field in fields(Figure)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(as_rows(found))
    return stream.getvalue()
