"""Comparing: the same draws for both, and no finding where there is nothing to find."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmark.made import bright, lids, mvtec
from looktwice.benchmark.compare import compare
from looktwice.benchmark.measures import OverCategories
from looktwice.benchmark.plan import make_plan
from looktwice.benchmark.predict import predict
from looktwice.benchmark.store import Run, UnitPlan, _json_line
from looktwice.errors import UnknownName, UsageError
from looktwice.metrics import auroc, paired_bootstrap


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Run, Run]:
    root = mvtec(tmp_path / "data")
    made = []
    for number, power in enumerate((1.0, 0.5)):
        plan = make_plan(
            model="fake", dataset="mvtec_ad", categories=("bottle", "cable"), shots=(1, 2), seeds=2,
            options={"power": power},
        )  # fmt: skip
        made.append(predict(plan, root, tmp_path / str(number), load=bright).run)
    return made[0], made[1]


def rewrite(run: Run, change: dict[str, float]) -> None:
    """Replace the scores of all units by a rule of the label."""
    for unit in run.units:
        rows = run.rows(unit)
        for i, row in enumerate(rows):
            row["score"] = float(
                np.clip(change["base"] + change["gain"] * row["label"] + change["noise"] * (i % 3), 0, 1)
            )
        path = run.folder / "units" / unit.name / "samples.jsonl"
        path.write_bytes(b"".join(_json_line(row) for row in rows))


def test_a_clear_difference_is_found_and_named_from_the_side_of_a(runs: tuple[Run, Run]) -> None:
    rewrite(runs[0], {"base": 0.2, "gain": 0.5, "noise": 0.05})
    rewrite(runs[1], {"base": 0.7, "gain": -0.5, "noise": 0.05})
    found = compare(*runs, shots_a=1, shots_b=1, resamples=200)
    assert [row.category for row in found.rows] == ["bottle", "cable", ""]
    assert [row.words for row in found.rows] == ["better"] * 3
    assert found.rows[-1].result.difference == 1.0
    back = compare(runs[1], runs[0], shots_a=1, shots_b=1, resamples=200)
    assert [row.words for row in back.rows] == ["worse"] * 3
    assert any("2 categories looked at one by one" in note for note in found.notes)


def test_a_run_does_not_differ_from_itself(runs: tuple[Run, Run]) -> None:
    for row in compare(runs[0], runs[0], shots_a=1, shots_b=1, resamples=100).rows:
        assert row.result.difference == row.result.low == row.result.high == 0
        assert row.result.p_value == 1
        assert row.words == "no difference shown at this sample size"


def test_a_category_is_compared_as_the_plain_paired_bootstrap_does(runs: tuple[Run, Run]) -> None:
    rewrite(runs[1], {"base": 0.3, "gain": 0.02, "noise": 0.05})
    row = compare(*runs, shots_a=1, shots_b=2, resamples=100).rows[0]
    scores = []
    for run, shots in zip(runs, (1, 2), strict=True):
        units: list[UnitPlan] = [u for u in run.units if (u.category, u.shots) == ("bottle", shots)]
        scores.append(np.array([[r["score"] for r in run.rows(u)] for u in units]).T)
    labels = np.array([r["label"] for r in runs[0].rows(runs[0].units[0])])
    order = np.argsort(labels, kind="stable")

    def mean_auroc(values: np.ndarray, truth: np.ndarray) -> float:
        return float(np.mean([auroc(column, truth) for column in values.T]))

    wanted = paired_bootstrap(scores[0][order], scores[1][order], mean_auroc, labels[order], 100)
    assert row.result == wanted


def test_the_mean_weighs_categories_alike_however_large() -> None:
    strata = np.array([0] * 50 + [1] * 50 + [2] * 2 + [3] * 2)
    scores = np.where(np.isin(strata, (1,)), 1.0, 0.0)  # the large one is perfect, the small one ties
    assert OverCategories("image_auroc", strata)(scores, strata) == 0.75


def test_runs_that_cannot_be_compared_say_why(runs: tuple[Run, Run], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has 1, 2 shots: say which with --shots-a"):
        compare(*runs)
    with pytest.raises(UsageError, match="has 1, 2 shots, not 4"):
        compare(*runs, shots_a=4, shots_b=1)
    with pytest.raises(UnknownName, match="Did you mean 'image_auroc'"):
        compare(*runs, metric="image_auc", shots_a=1, shots_b=1)
    lids(tmp_path / "lids")
    other = predict(make_plan(model="fake", dataset="folder"), tmp_path / "lids", tmp_path / "o", load=bright).run
    with pytest.raises(UsageError, match="differ in their dataset: mvtec_ad and folder"):
        compare(runs[0], other, shots_a=1)
