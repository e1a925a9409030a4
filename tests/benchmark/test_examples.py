"""The examples in the docstrings run."""

from __future__ import annotations

import doctest

from looktwice.benchmark import plan, predict


def test_the_examples_run() -> None:
    found = [doctest.testmod(module) for module in (plan, predict)]
    assert sum(one.failed for one in found) == 0
    assert sum(one.attempted for one in found) >= 2
