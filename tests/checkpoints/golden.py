"""Outputs of published code, stored with repository, commit and seed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).parents[1] / "golden"
TOLERANCE = 1e-5  # largest absolute difference to the published code, float32


def arrays(name: str) -> dict[str, np.ndarray]:
    with np.load(FOLDER / name) as stored:
        found = {key: stored[key] for key in stored.files}
    source = json.loads(str(found.pop("source")))
    assert len(source["commit"]) == 40, f"{name} must say which commit it was made with"
    return found


def table(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / name).read_text("utf-8"))
    assert len(found["commit"]) == 40, f"{name} must say which commit it was made with"
    return found


def close(ours: Any, theirs: np.ndarray) -> None:
    values = ours.detach().numpy() if hasattr(ours, "detach") else np.asarray(ours)
    assert values.shape == theirs.shape
    if theirs.size:
        assert np.abs(values - theirs).max() < TOLERANCE
