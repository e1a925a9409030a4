"""Reports: files people look at, written from results; no report runs a model.

A format for a whole run is a function `(folder, results, spec, made) -> Path` in a file of its own and a line in
RUN_FORMATS; `made` says how the run was made, as words to show. The formats in SAMPLE_FORMATS are written sample by
sample while the run goes on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from looktwice.errors import UsageError
from looktwice.records import Result, Spec
from looktwice.registry import Registry


class RunReport(Protocol):
    """Writes one file about a whole run into `folder` and returns its path."""

    def __call__(self, folder: Path, results: Sequence[Result], spec: Spec | None, made: Mapping[str, str]) -> Path:
        """Write it; raises OSError."""


RUN_FORMATS: dict[str, str] = {
    "html": "looktwice.report.html:write_html",
    "coco": "looktwice.report.coco:write_run",
}
SAMPLE_FORMATS: dict[str, str] = {
    "jsonl": "looktwice.report.jsonl:append",
    "ply": "looktwice.report.ply:write_ply",
    "mp4": "looktwice.report.mp4:AnnotatedVideo",
}
FORMATS = Registry("format", {**RUN_FORMATS, **SAMPLE_FORMATS})


def formats(text: str) -> tuple[str, ...]:
    """Split what a user asked for, "html,jsonl", into names, each once; raises UnknownName, UsageError.

    >>> formats("html, coco,html")
    ('html', 'coco')
    """
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not names:
        raise UsageError(f"no format given. Known: {', '.join(FORMATS)}.")
    for name in names:
        FORMATS.target(name)
    return names


def run_report(name: str) -> RunReport:
    """Return the writer of a run-level format; raises UnknownName."""
    writer: RunReport = Registry("run format", RUN_FORMATS).load(name)
    return writer
