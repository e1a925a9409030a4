"""Scoring: equal to the metrics on the maps themselves, bounded in memory, n/a where nothing is defined."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.made import bright, lids, miniatures, mvtec, talker
from looktwice.benchmark.measures import METRICS, NormalCeiling, thinned_curve
from looktwice.benchmark.plan import make_plan
from looktwice.benchmark.predict import predict
from looktwice.benchmark.report import tables
from looktwice.benchmark.score import read_scores, score
from looktwice.benchmark.store import Run, _json_line
from looktwice.data import load_dataset
from looktwice.data.items import load_item
from looktwice.errors import UsageError
from looktwice.metrics import aupimo, auroc, average_precision, bootstrap, dice, f1_max, iou, pixel_metrics

TWO = ("bottle", "cable")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mvtec(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def run(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "run"
    plan = make_plan(
        model="fake", dataset="mvtec_ad", categories=TWO, shots=(1, 2), seeds=2, maps="float32", options={"power": 2.0}
    )
    predict(plan, root, out, load=bright)
    return out


def by_hand(root: Path, category: str) -> dict[str, float]:
    """The figures of the fake with power 2, from the pictures."""
    samples = [load_item(item) for item in load_dataset("mvtec_ad").items(root, split="test", categories=[category])]
    maps = [((s.data.pixels.mean(-1) / 255) ** 2).astype(np.float32) for s in samples]
    masks = [s.truth.mask for s in samples]
    labels = [s.truth.label for s in samples]
    scores = [float(one.max()) for one in maps]
    exact, tight = pixel_metrics(maps, masks), pixel_metrics(maps, masks, 0.05)
    return {
        "image_auroc": auroc(scores, labels),
        "image_ap": average_precision(scores, labels),
        "image_f1_max": f1_max(scores, labels)[0],
        "pixel_auroc": exact["auroc"],
        "pixel_ap": exact["ap"],
        "pixel_f1_max": exact["f1_max"],
        "pro": exact["pro"],
        "pro_05": tight["pro"],
        "aupimo": float(np.nanmean(aupimo(maps, masks))),
    }


def test_every_figure_equals_the_metric_on_the_maps_themselves(root: Path, run: Path) -> None:
    scores = score(run, resamples=50)
    for one in scores["categories"]:
        wanted = by_hand(root, one["category"])
        assert set(one["metrics"]) == set(wanted)
        for name, value in wanted.items():
            allowed = one["bounds"].get(name, 0) + 1e-9
            assert abs(one["metrics"][name] - value) <= allowed, name
            assert allowed < 5e-3  # the pictures are tiny


def test_means_deviations_and_intervals_are_those_of_their_definition(run: Path) -> None:
    scores = score(run, resamples=50)
    for row in scores["summary"]:
        if row["category"] == "":
            for name, figure in row["metrics"].items():
                draws = [one["metrics"][name] for one in scores["means"] if one["shots"] == row["shots"]]
                each = [one["metrics"][name] for one in scores["categories"] if one["shots"] == row["shots"]]
                assert figure["mean"] == pytest.approx(np.mean(each))
                assert figure["deviation"] == pytest.approx(np.std(draws, ddof=1))
    one, opened = scores["categories"][0], Run(run)
    rows = opened.rows(opened.units[0])
    wanted = bootstrap([r["score"] for r in rows], auroc, [r["label"] for r in rows], 50)
    assert one["intervals"]["image_auroc"] == [wanted.low, wanted.high]
    assert all(0 <= low <= high <= 1 for draw in scores["means"] for low, high in draw["intervals"].values())


def test_scoring_reads_the_run_alone_and_gives_the_same_bytes_again(run: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    shutil.copytree(run, alone)
    (alone / "made.json").unlink()  # with it goes the last word on where the data is
    score(alone, resamples=50)
    first = (alone / "scores.json").read_bytes(), (alone / "curves.json").read_bytes()
    score(alone, resamples=50, workers=2)
    assert ((alone / "scores.json").read_bytes(), (alone / "curves.json").read_bytes()) == first
    assert str(tmp_path).encode() not in first[0]
    assert read_scores(alone) == score(alone, resamples=50)


def test_scores_of_an_earlier_form_are_made_anew(run: Path) -> None:
    wanted = score(run)
    stored = json.loads((run / "scores.json").read_text())
    (run / "scores.json").write_text(json.dumps({"run": stored["run"], "samples": stored["samples"]}))
    assert read_scores(run) == wanted


def test_curves_rise_from_corner_to_corner(run: Path) -> None:
    score(run, resamples=10)
    for curves in json.loads((run / "curves.json").read_text()).values():
        roc, pro = np.array(curves["roc"]), np.array(curves["pro"])
        assert roc[0].tolist() == [0, 0]
        assert roc[-1].tolist() == [1, 1]
        assert pro[-1, 0] == 0.3
        for curve in (roc, pro):
            assert (np.diff(curve, axis=0) >= 0).all()


def test_a_long_curve_is_thinned_and_keeps_its_ends() -> None:
    x = np.linspace(0, 1, 5000)
    points = thinned_curve(x, np.sqrt(x), 100)
    assert len(points) <= 100
    assert (points[0], points[-1]) == ([0, 0], [1, 1])
    assert max(abs(b - math.sqrt(a)) for a, b in points) < 1e-4


# ---------------------------------------------------------------- AUPIMO in bounded memory


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10**6), st.integers(1, 5), st.sampled_from([3, 200, 10**6]))
def test_the_ceiling_of_normal_images_gives_the_same_aupimo(seed: int, normal: int, levels: int) -> None:
    rng = np.random.default_rng(seed)
    sizes = [(150, 160), (40, 300)]
    maps = [rng.integers(0, levels, sizes[i % 2]) / levels for i in range(normal + 2)]
    masks = [np.zeros(one.shape, np.bool_) for one in maps]
    for one, mask in zip(maps[-2:], masks[-2:], strict=True):
        mask[5:15, 5:15] = True
        one[mask] += rng.random() * 0.2
    ceiling = NormalCeiling(normal)
    for one in maps[:normal]:
        ceiling.add(one)
    found = [ceiling.area(one[mask]) for one, mask in zip(maps[-2:], masks[-2:], strict=True)]
    np.testing.assert_allclose(found, aupimo(maps, masks)[-2:], atol=1e-9)


def test_the_ceiling_keeps_few_scores() -> None:
    rng = np.random.default_rng(0)
    ceiling = NormalCeiling(50)
    for _ in range(50):
        ceiling.add(rng.random((200, 200)))
    assert len(ceiling.scores) < 2 * 1e-4 * 50 * 200 * 200 + 2


# ---------------------------------------------------------------- what is not defined


def undefined(scores: dict[str, Any]) -> set[str]:
    return {name for name, value in scores["categories"][0]["metrics"].items() if math.isnan(value)}


def test_all_normal_is_not_available_and_never_zero(tmp_path: Path) -> None:
    root = mvtec(tmp_path / "data", ("bottle",), bad=0)
    predict(make_plan(model="fake", dataset="mvtec_ad", categories=("bottle",)), root, tmp_path / "run", load=bright)
    scores = score(tmp_path / "run")
    assert undefined(scores) == set(scores["categories"][0]["metrics"])
    stored = json.loads((tmp_path / "run/scores.json").read_text())
    assert set(stored["categories"][0]["metrics"].values()) == {None}
    assert scores["means"][0]["left_out"]["image_auroc"] == ["bottle"]
    assert math.isnan(read_scores(tmp_path / "run")["summary"][0]["metrics"]["pro"]["mean"])


def test_all_anomalous_has_no_figures_of_samples(tmp_path: Path) -> None:
    root = mvtec(tmp_path / "data", ("bottle",), good=0)
    predict(make_plan(model="fake", dataset="mvtec_ad", categories=("bottle",)), root, tmp_path / "run", load=bright)
    assert undefined(score(tmp_path / "run")) == {"image_auroc", "image_ap", "image_f1_max", "aupimo"}


def test_without_masks_there_are_no_figures_of_pixels(tmp_path: Path) -> None:
    lids(tmp_path / "data")
    shutil.rmtree(tmp_path / "data/masks")
    predict(make_plan(model="fake", dataset="folder"), tmp_path / "data", tmp_path / "run", load=bright)
    scores = score(tmp_path / "run")
    assert undefined(scores) == set(METRICS) & {
        "pixel_auroc", "pixel_ap", "pixel_f1_max", "pro", "pro_05", "aupimo",
    }  # fmt: skip
    assert scores["categories"][0]["samples"]["anomalous_without_mask"] == 6


def test_without_maps_there_are_no_columns_of_pixels(root: Path, tmp_path: Path) -> None:
    plan = make_plan(model="fake", dataset="mvtec_ad", categories=TWO, maps="none")
    predict(plan, root, tmp_path / "run", load=bright)
    one = score(tmp_path / "run", resamples=10)["categories"][0]
    assert set(one["metrics"]) == {"image_auroc", "image_ap", "image_f1_max"}
    assert "anomalous_without_mask" not in one["samples"]


def test_a_mean_says_which_categories_it_lacks(tmp_path: Path) -> None:
    root = mvtec(tmp_path / "data", ("bottle",))
    mvtec(root, ("cable",), bad=0)
    predict(make_plan(model="fake", dataset="mvtec_ad", categories=TWO), root, tmp_path / "run", load=bright)
    scores = score(tmp_path / "run")
    bottle, mean = scores["categories"][0]["metrics"], scores["means"][0]
    assert mean["left_out"]["image_auroc"] == ["cable"]
    assert mean["metrics"]["image_auroc"] == bottle["image_auroc"]


def test_an_unfinished_run_is_not_scored_by_mistake(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    predict(make_plan(model="fake", dataset="mvtec_ad", categories=TWO), root, out, load=bright)
    shutil.rmtree(next((out / "units").glob("0001*")))
    with pytest.raises(UsageError, match=r"not finished \(9 of 18 samples\)"):
        score(out)
    assert score(out, partial=True)["samples"] == {"there": 9, "planned": 18, "failed": 0}


# ---------------------------------------------------------------- clouds, videos, answers


def test_clouds_are_scored_at_their_valid_points(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = ["path,label,mask"]
    for name, label in (("a", 0), ("b", 1)):
        points = rng.random((400, 3)) * 10
        points[:20] = np.nan
        marks = np.zeros(400, np.int64)
        marks[30:90] = label
        np.save(tmp_path / f"{name}.npy", points)
        (tmp_path / f"{name}.txt").write_text("\n".join(map(str, marks)))
        rows.append(f"{name}.npy,{label},{name}.txt")
    (tmp_path / "list.csv").write_text("\n".join(rows) + "\n")
    predict(make_plan(model="fake", dataset="folder"), tmp_path / "list.csv", tmp_path / "run", load=bright)
    opened = Run(tmp_path / "run")
    row = opened.rows(opened.units[0])[1]
    assert row["error"] is None
    assert opened.map(opened.units[0], row).shape == (380,)
    assert opened.truth(opened.units[0], row).sum() == 60
    metrics = score(tmp_path / "run")["categories"][0]["metrics"]
    assert 0 <= metrics["point_auroc"] <= 1
    assert 0 <= metrics["o_pro"] <= 1
    both = [opened.map(opened.units[0], one) for one in opened.rows(opened.units[0])]
    truth = [opened.truth(opened.units[0], one) for one in opened.rows(opened.units[0])]
    pooled = [np.concatenate(part) for part in (both, truth)]
    assert metrics["point_ap"] == pytest.approx(average_precision(np.nan_to_num(pooled[0], nan=-1), pooled[1]))
    assert "pixel_auroc" not in metrics


def test_videos_are_scored_frame_by_frame(tmp_path: Path) -> None:
    rows = ["path,label,mask"]
    for name, label in (("calm", 0), ("odd", 1)):
        miniatures.clip(tmp_path / f"{name}.mp4")  # every frame is brighter than the one before
        marks = [0, 0, 0, label, label, label]
        (tmp_path / f"{name}.txt").write_text("\n".join(map(str, marks)))
        rows.append(f"{name}.mp4,{label},{name}.txt")
    (tmp_path / "list.csv").write_text("\n".join(rows) + "\n")
    plan = make_plan(model="fake", dataset="folder", settings={"video": {"every": 1}})
    predict(plan, tmp_path / "list.csv", tmp_path / "run", load=bright)
    opened = Run(tmp_path / "run")
    frames = opened.rows(opened.units[0])[1]["frames"]
    assert len(frames["scores"]) == 6
    assert frames["labels"] == [0, 0, 0, 1, 1, 1]
    metrics = score(tmp_path / "run")["categories"][0]["metrics"]
    assert metrics["frame_auroc_macro"] == 0.0 or metrics["frame_auroc_macro"] == 0.5  # one score a clip: all tie
    assert 0 < metrics["frame_auroc"] <= 0.5
    assert metrics["frame_ap"] == pytest.approx(3 / 12)  # all frames tie


def test_yes_or_no_is_scored_against_the_label(tmp_path: Path) -> None:
    miniatures._visa_dr(tmp_path / "data")
    for name, grey in (("Normal/0001", 20), ("Anomaly/007", 220)):
        path = tmp_path / f"data/VisA/candle/Data/Images/{name}.JPG"
        miniatures.Image.fromarray(np.full((16, 24, 3), grey, np.uint8)).save(path)
    plan = make_plan(
        model="fake", dataset="visa_dr", split="detection", task="answer", question="Any defect? Yes or No."
    )
    predict(plan, tmp_path / "data", tmp_path / "run", load=talker)
    metrics = score(tmp_path / "run")["means"][0]["metrics"]
    assert metrics == {"accuracy": 1.0, "precision": 1.0, "recall": 1.0, "f1": 1.0}


def test_answers_in_words_are_scored_against_the_reference(tmp_path: Path) -> None:
    miniatures._visa_dr(tmp_path / "data")
    plan = make_plan(model="fake", dataset="visa_dr", split="reasoning", task="answer")
    predict(plan, tmp_path / "data", tmp_path / "run", load=talker)
    opened = Run(tmp_path / "run")
    answers = opened.rows(opened.units[0])[0]["answers"]
    assert [one["question"] for one in answers] == ["Do you see any defects?", "Describe them.", "What could follow?"]
    found = score(tmp_path / "run", encode=lambda texts: np.ones((len(texts), 2)), judge=lambda prompt: "Score: 7")[
        "means"
    ][0]["metrics"]
    assert 0 <= found["rouge_l"] < 1
    assert found["sbert"] == pytest.approx(1)
    assert found["gpt_score"] == 7


def test_mmad_is_scored_by_its_sub_tasks(tmp_path: Path) -> None:
    miniatures._mmad(tmp_path / "data")
    plan = make_plan(model="fake", dataset="mmad", task="answer", references="own", shots=(1,))
    outcome = predict(plan, tmp_path / "data", tmp_path / "run", load=talker)
    assert outcome.failed == 0
    scores = score(tmp_path / "run")
    assert scores["mmad"][0]["accuracy"]["VisA"]["Anomaly Detection"] == 100.0  # the miniature's answers are all A
    assert scores["means"][0]["metrics"]["accuracy"] == 1.0


def test_the_sub_tasks_of_mmad_are_read_as_published_if_asked(tmp_path: Path) -> None:
    miniatures._mmad(tmp_path / "data")
    plan = make_plan(model="fake", dataset="mmad", task="answer", references="own", shots=(1,))
    predict(plan, tmp_path / "data", tmp_path / "run", load=talker)
    opened = Run(tmp_path / "run")
    for unit in opened.units:
        rows = opened.rows(unit)
        for row in rows:
            row["answers"][0]["answer"] = "B would be wrong, A dent is there"
        path = opened.folder / "units" / unit.name / "samples.jsonl"
        path.write_bytes(b"".join(_json_line(row) for row in rows))
    strict, published = score(opened), score(opened, reading="published")
    assert sum(strict["mmad"][0]["unparsed"].values()) == 4
    assert strict["mmad"][0]["accuracy"]["VisA"]["Anomaly Detection"] == 0.0
    assert sum(published["mmad"][0]["unparsed"].values()) == 0
    assert published["mmad"][0]["accuracy"]["VisA"]["Anomaly Detection"] == 100.0
    assert published["scoring"]["reading"] == "published"
    assert (strict["means"][0]["metrics"], published["means"][0]["metrics"]) == ({"accuracy": 0.0}, {"accuracy": 1.0})
    with pytest.raises(UsageError, match="reading must be strict or published, got 'loose'"):
        score(opened, reading="loose")


def test_a_sample_that_failed_counts_in_no_figure_of_answers(tmp_path: Path) -> None:
    for name, grey in (("good/1", 20), ("good/2", 220), ("bad/3", 220)):
        path = tmp_path / f"data/{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        miniatures.Image.fromarray(np.full((16, 24, 3), grey, np.uint8)).save(path)
    (tmp_path / "data/good/2.png").write_bytes(b"no picture")
    plan = make_plan(model="fake", dataset="folder", task="answer", question="Any defect? Yes or No.")
    assert predict(plan, tmp_path / "data", tmp_path / "run", load=talker).failed == 1
    scores = score(tmp_path / "run")
    assert scores["means"][0]["metrics"]["accuracy"] == 1.0
    assert scores["samples"]["failed"] == 1


def test_words_are_judged_by_whoever_is_named(tmp_path: Path) -> None:
    miniatures._visa_dr(tmp_path / "data")
    plan = make_plan(model="fake", dataset="visa_dr", split="reasoning", task="answer")
    predict(plan, tmp_path / "data", tmp_path / "run", load=talker)

    def judge(prompt: str) -> str:
        return "Score: 8" if "It may leak." in prompt else "I cannot say"

    found = score(tmp_path / "run", judge=judge, threads=3)
    assert found["means"][0]["metrics"]["gpt_score"] == 8
    assert found["categories"][0]["samples"]["unjudged"] == 2
    assert found["scoring"]["judge"].endswith("judge")
    assert found["scoring"]["encoder"] is None
    notes = tables([found])[0].notes
    assert any(note.endswith("judge; 2 of its replies could not be read and are left out") for note in notes)


# ---------------------------------------------------------------- what may be asked for besides


def test_overlap_at_a_threshold_is_that_of_the_metric(root: Path, run: Path) -> None:
    scores = score(run, threshold=0.15, resamples=10)
    items = list(load_dataset("mvtec_ad").items(root, split="test", categories=["bottle"]))
    samples = [load_item(item) for item in items]
    maps = [((s.data.pixels.mean(-1) / 255) ** 2).astype(np.float32) for s in samples]
    masks = [s.truth.mask for s in samples]
    found = scores["categories"][0]["metrics"]
    assert found["pixel_iou"] == pytest.approx(iou(maps, masks, 0.15))
    assert found["pixel_dice"] == pytest.approx(dice(maps, masks, 0.15))
    assert 0 < found["pixel_iou"] < found["pixel_dice"] < 1
    assert "pixel_iou" not in score(run, resamples=10)["categories"][0]["metrics"]
    with pytest.raises(UsageError, match=r"a threshold of maps lies in \[0, 1\], got 2"):
        score(run, threshold=2)


def test_each_kind_of_defect_is_told_apart(tmp_path: Path) -> None:
    root = mvtec(tmp_path / "data", ("bottle", "cable"))
    (root / "bottle/test/broken").rename(root / "bottle/test/cracked")
    plan = make_plan(model="fake", dataset="mvtec_ad", categories=TWO)
    predict(plan, root, tmp_path / "run", load=bright)
    scores = score(tmp_path / "run", resamples=10)
    for one, kind in zip(scores["categories"], ("cracked", "broken"), strict=True):
        assert one["defects"] == {kind: {"samples": 5, "image_auroc": one["metrics"]["image_auroc"]}}
    (table,) = [one for one in tables([scores], defects=True) if "by kind of defect" in one.title]
    assert [row[:3] for row in table.rows] == [("bottle", "cracked", "5"), ("cable", "broken", "5")]
    assert read_scores(tmp_path / "run")["categories"][0]["defects"] == scores["categories"][0]["defects"]


def test_the_curve_of_a_detector_that_is_wrong_about_everything_ends_in_the_corner(tmp_path: Path) -> None:
    root = mvtec(tmp_path / "data", ("bottle",))
    predict(make_plan(model="fake", dataset="mvtec_ad", categories=("bottle",)), root, tmp_path / "run", load=bright)
    opened = Run(tmp_path / "run")
    rows = opened.rows(opened.units[0])
    for row in rows:
        row["score"] = 0.9 - 0.5 * row["label"]
    (opened.folder / "units" / opened.units[0].name / "samples.jsonl").write_bytes(b"".join(map(_json_line, rows)))
    assert score(opened, resamples=10)["categories"][0]["metrics"]["image_auroc"] == 0
    (curves,) = json.loads((tmp_path / "run/curves.json").read_text()).values()
    assert curves["roc"] == [[0, 0], [1, 0], [1, 1]]


def test_a_model_that_cannot_talk_is_not_asked(tmp_path: Path) -> None:
    miniatures._mmad(tmp_path / "data")
    plan = make_plan(model="fake", dataset="mmad", task="answer")
    with pytest.raises(UsageError, match="fake cannot answer questions"):
        predict(plan, tmp_path / "data", tmp_path / "run", load=bright)
