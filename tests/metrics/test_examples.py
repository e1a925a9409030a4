"""The examples in the docstrings run."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from pathlib import Path

import pytest

import looktwice.metrics

MODULES = sorted(found.name for found in pkgutil.iter_modules(looktwice.metrics.__path__, "looktwice.metrics."))


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_each_module_run(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_every_metric_shows_an_example() -> None:
    for name in looktwice.metrics.__all__:
        one = getattr(looktwice.metrics, name)
        results = {"Comparison", "ClassMeans", "GptScore", "Interval", "MmadTable", "PixelScores", "YesNo"}
        if name not in results | {"gpt_score", "mmad_accuracy", "sentence_similarity", "mean_rouge_l"}:
            assert ">>>" in one.__doc__, name


def test_the_examples_of_the_docs_page_run() -> None:
    page = Path(__file__).parents[2] / "docs" / "metrics.md"
    results = doctest.testfile(str(page), module_relative=False, encoding="utf-8")
    assert results.failed == 0
    assert results.attempted > 10
