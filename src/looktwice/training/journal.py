"""What a run writes while it goes on: losses.jsonl, skipped.jsonl, evaluations.jsonl, and the same for TensorBoard.

A run that goes on behind a checkpoint first forgets the lines after it, so that each update stands there once.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter

from looktwice.report.atomic import write_atomically

LOSSES, EVALUATIONS, SKIPPED, BOARD = "losses.jsonl", "evaluations.jsonl", "skipped.jsonl", "tensorboard"


class Journal:
    """The files of one run, from update `step` on."""

    def __init__(self, out: Path, step: int) -> None:
        self.out = out
        for name in (LOSSES, EVALUATIONS):
            keep_lines(out / name, lambda line: line["step"] <= step)
        keep_lines(out / SKIPPED, lambda line: True)
        self.skipped = {line["id"]: line["why"] for line in read_lines(out / SKIPPED)}
        self._board = SummaryWriter(str(out / BOARD), purge_step=step + 1)

    def losses(self, step: int, values: Mapping[str, float]) -> None:
        """Keep the losses and the rate of an update."""
        self._keep(LOSSES, "train", step, values)

    def evaluation(self, step: int, values: Mapping[str, float]) -> None:
        """Keep what the test data said."""
        self._keep(EVALUATIONS, "test", step, values)

    def skip(self, name: str, why: str) -> bool:
        """Keep that a record was skipped; return whether this is new."""
        if name in self.skipped:
            return False
        self.skipped[name] = why
        append_line(self.out / SKIPPED, {"id": name, "why": why})
        return True

    def close(self) -> None:
        """Write what is not yet written."""
        self._board.close()

    def _keep(self, file: str, group: str, step: int, values: Mapping[str, float]) -> None:
        append_line(self.out / file, {"step": step, **values})
        for name, value in values.items():
            self._board.add_scalar(f"{group}/{name}", value, step)


def append_line(path: Path, content: Mapping[str, Any]) -> None:
    """Add one line of JSON."""
    with path.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(content, ensure_ascii=False) + "\n")


def read_lines(path: Path) -> list[dict[str, Any]]:
    """All whole lines; half a line that a killed run left at the end is no line."""
    if not path.is_file():
        return []
    whole = path.read_bytes()
    return [json.loads(line) for line in whole[: whole.rfind(b"\n") + 1].splitlines()]


def keep_lines(path: Path, wanted: Callable[[Mapping[str, Any]], bool]) -> None:
    """Drop the lines that are not wanted, and half a line at the end."""
    if path.is_file():
        kept = [line for line in read_lines(path) if wanted(line)]
        write_atomically(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in kept))
