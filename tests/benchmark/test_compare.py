"""Comparing: the same draws for both, and no finding where there is nothing to find."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmark.made import bright, lids, miniatures, mvtec, talker
from looktwice.benchmark.compare import compare
from looktwice.benchmark.measures import OverCategories
from looktwice.benchmark.plan import make_plan
from looktwice.benchmark.predict import predict
from looktwice.benchmark.score import score
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


# ---------------------------------------------------------------- other figures than those of scores


def told(tmp_path: Path, rows: list[tuple[str, int]], name: str, dataset: str = "folder", **fields: object) -> Run:
    """A run of answers on pictures of these greys."""
    for file, grey in rows:
        path = tmp_path / "data" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((16, 24, 3), grey, np.uint8)).save(path)
    plan = make_plan(model="fake", dataset=dataset, task="answer", **fields)
    return predict(plan, tmp_path / "data", tmp_path / name, load=talker).run


def changed(run: Run, out: Path, answer: str, of: int) -> Run:
    """The same run with another answer about the first `of` samples."""
    shutil.copytree(run.folder, out)
    for unit in run.units:
        rows = run.rows(unit)
        for row in rows[:of]:
            row["answers"] = [{**one, "answer": answer} for one in row["answers"]]
        (out / "units" / unit.name / "samples.jsonl").write_bytes(b"".join(_json_line(row) for row in rows))
    return Run(out)


def test_answers_are_compared_by_their_accuracy(tmp_path: Path) -> None:
    rows = [(f"good/{i}.png", 20) for i in range(8)] + [(f"bad/{i + 8}.png", 220) for i in range(8)]
    right = told(tmp_path, rows, "right", question="Any defect?")
    wrong = changed(right, tmp_path / "wrong", "Hmm.", of=16)
    half = changed(right, tmp_path / "half", "Hmm.", of=1)
    found = compare(right, wrong, metric="accuracy", resamples=200)
    assert (found.rows[-1].result.a, found.rows[-1].result.b, found.rows[-1].words) == (1.0, 0.0, "better")
    found = compare(right, half, metric="accuracy", resamples=200)
    assert found.rows[-1].result.b == score(half)["means"][0]["metrics"]["accuracy"] == 15 / 16
    assert found.rows[-1].words == "no difference shown at this sample size"
    with pytest.raises(UsageError, match="nothing to compare"):
        compare(right, wrong)  # they have no scores


def test_all_questions_about_one_picture_are_drawn_together(tmp_path: Path) -> None:
    miniatures._mmad(tmp_path / "data")
    path = tmp_path / "data/mmad.json"
    content = json.loads(path.read_text())
    first = next(iter(content.values()))
    first["conversation"] += first["conversation"] * 3  # 4 of 7 questions are about one picture
    path.write_text(json.dumps(content))
    plan = make_plan(model="fake", dataset="mmad", task="answer")
    right = predict(plan, tmp_path / "data", tmp_path / "right", load=talker).run
    wrong = changed(right, tmp_path / "wrong", "B", of=1)
    found = compare(right, wrong, metric="accuracy", resamples=100)
    visa = next(row for row in found.rows if row.category == "VisA/candle")
    assert visa.samples == 2
    assert visa.result.b == next(
        one["metrics"]["accuracy"] for one in score(wrong)["categories"] if one["category"] == "VisA/candle"
    )
    assert visa.result.b == 1 / 5


def test_words_and_pixels_are_compared_by_the_figures_that_scoring_gives(runs: tuple[Run, Run], tmp_path: Path) -> None:
    for metric in ("aupimo",):
        found = compare(*runs, metric=metric, shots_a=1, shots_b=1, resamples=50)
        for run, side in zip(runs, ("a", "b"), strict=True):
            summary = score(run, resamples=10)["summary"]
            wanted = {row["category"]: row["metrics"][metric]["mean"] for row in summary if row["shots"] == 1}
            for row in found.rows:
                assert getattr(row.result, side) == pytest.approx(wanted[row.category])
    miniatures._visa_dr(tmp_path / "data")
    plan = make_plan(model="fake", dataset="visa_dr", split="reasoning", task="answer")
    said = predict(plan, tmp_path / "data", tmp_path / "said", load=talker).run
    other = changed(said, tmp_path / "other", "It may leak.", of=1)
    found = compare(other, said, metric="rouge_l", resamples=50)
    assert found.rows[-1].result.a == pytest.approx(score(other)["means"][0]["metrics"]["rouge_l"])
    assert found.rows[-1].result.difference > 0


def test_what_other_references_would_change_is_said(runs: tuple[Run, Run], tmp_path: Path) -> None:
    notes = compare(*runs, shots_a=1, shots_b=2, resamples=20).notes
    assert "A is the mean over 2 draws of references; the interval is over samples, not over draws" in notes
    root = mvtec(tmp_path / "again", ("bottle",))
    made = [
        predict(
            make_plan(model="fake", dataset="mvtec_ad", categories=("bottle",), shots=(shots,)), root,
            tmp_path / f"shots{shots}", load=bright,
        ).run
        for shots in (0, 1)
    ]  # fmt: skip
    notes = compare(*made, resamples=20).notes
    assert [note[:36] for note in notes] == ["B is one draw of references; the int"]
