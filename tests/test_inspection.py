"""The main job with small fake detectors: order, errors, batches, resume, and what a folder holds."""

import errno
import gc
import json
import os
import time
from pathlib import Path

import numpy as np
import pytest
from fake_detectors import Dark, cloud, darkness, frames, picture, pictures
from PIL import Image

from looktwice import detectors
from looktwice.calibration import Calibration
from looktwice.errors import BadFile, NoReferences, UnknownName, UsageError
from looktwice.findings import Desk
from looktwice.inspection import Inspection, StopRun, calibrate_on, find, inspect
from looktwice.records import Explanation, Prediction, Result, RuleFinding, Sample, Spec
from looktwice.report import jsonl
from looktwice.settings import Settings

QUICK = Settings.model_validate({"point_cloud": {"views": 2, "size": 64}})


def names(results):
    return [Path(result.path).name for result in results]


def lines(out):
    return (out / "results.jsonl").read_bytes().splitlines(keepends=True)


def run(paths, out=None, **options):
    options.setdefault("settings", QUICK)
    options.setdefault("model", Dark())
    return list(inspect(paths, out=out, **options))


# ---------------------------------------------------------------- one run


def test_results_come_in_the_order_given_with_verdicts_and_boxes(tmp_path):
    good, bad = picture(tmp_path / "b.png"), picture(tmp_path / "a.png", spot=True)
    first, second = run([good, bad])
    assert (first.verdict, second.verdict) == ("normal", "anomalous")
    assert (first.model, first.threshold, first.regions) == ("Dark", 0.5, ())
    assert [region.box for region in second.regions] == [(4, 4, 8, 8)]
    assert second.path == bad.as_posix()
    assert "upper left" in second.words.lower()
    assert second.seconds > 0


def test_mixed_modalities_and_bad_files_keep_their_order_in_any_batch(tmp_path):
    paths = [
        picture(tmp_path / "1.png"),
        picture(tmp_path / "2.png"),
        tmp_path / "3.png",
        cloud(tmp_path / "4.xyz"),
        picture(tmp_path / "5.png"),
        frames(tmp_path / "6.frames"),
        picture(tmp_path / "7.png"),
    ]
    alone = run(paths)
    assert [r.modality for r in alone] == ["image", "image", None, "point_cloud", "image", "video", "image"]
    for batch in (2, 3, 50):
        detector = Dark()
        out = tmp_path / f"out{batch}"
        together = run(paths, out, model=detector, batch=batch)
        assert names(together) == names(alone)
        assert [r.score for r in together] == [r.score for r in alone]
        assert names(jsonl.read(out / "results.jsonl")) == names(alone)
        assert max(detector.batches) == 2


def test_each_result_is_on_disk_before_it_is_handed_out(tmp_path):
    out = tmp_path / "out"
    for count, result in enumerate(inspect(pictures(tmp_path / "in", 4), Dark(), out=out), 1):
        kept = jsonl.read(out / "results.jsonl")
        assert len(kept) == count
        assert kept[-1] == result


def test_files_are_what_they_say(tmp_path):
    Image.fromarray(np.full((50, 3000, 3), 200, np.uint8)).save(tmp_path / "wide.png")
    out = tmp_path / "out"
    settings = QUICK.model_copy(update={"image": QUICK.image.model_copy(update={"max_side": 300})})
    wide, ball, film = run(
        [tmp_path / "wide.png", cloud(tmp_path / "ball.xyz"), frames(tmp_path / "film.frames", bad=(3,))],
        out, settings=settings,
    )  # fmt: skip
    for result in (wide, ball, film):
        assert all((out / name).exists() for name in result.files.values())
        with Image.open(out / result.files["picture"]) as one, Image.open(out / result.files["heat"]) as other:
            assert one.size == other.size
    with Image.open(out / wide.files["map"]) as one:
        assert one.size == (3000, 50)
        assert one.mode == "I;16"
    scores = np.load(out / ball.files["map"])
    assert scores.shape == (900,)
    for region in ball.regions:
        points = np.load(out / region.points)
        assert len(points) == region.area
        assert scores[points].max() == np.float32(region.score)
    maps = sorted((out / film.files["map"]).iterdir())
    assert [one.name for one in maps] == [f"{i:06d}.png" for i in film_frames(film)]
    with Image.open(maps[0]) as one:
        assert one.size == (32, 32)


def film_frames(result):
    """Of a folder of 25 frames per second looked at 4 times a second."""
    return [round(t * 25) for t in result.curve.times]


def test_the_ply_holds_the_score_of_every_point_and_the_mp4_plays(tmp_path):
    import av
    import trimesh

    out = tmp_path / "out"
    settings = QUICK.model_copy(update={"video": QUICK.video.model_copy(update={"every": 1})})
    ball, film = run([cloud(tmp_path / "b.xyz"), frames(tmp_path / "f.frames", bad=(4, 5))], out, settings=settings)
    cloud_file = trimesh.load(out / ball.files["ply"])
    assert len(cloud_file.vertices) == 900
    data = cloud_file.metadata["_ply_raw"]["vertex"]["data"]
    kept = np.load(out / ball.files["map"])
    assert np.array_equal(data["score"], np.nan_to_num(kept, nan=-1)) or np.array_equal(
        data["score"], kept, equal_nan=True
    )
    with av.open(str(out / film.files["mp4"])) as container:
        assert sum(1 for _ in container.decode(video=0)) == 8
    (region,) = film.regions
    assert region.interval == pytest.approx((3.5 / 25, 5.5 / 25), abs=0.021)
    assert len(film.curve.scores) == 8


def test_a_thousand_tiny_files_are_quick(tmp_path):
    for i in range(1000):
        picture(tmp_path / "in" / f"{i % 10}" / f"{i}.png", size=8, seed=i)
    start = time.monotonic()
    results = run(tmp_path / "in", batch=16)
    assert len(results) == 1000
    assert time.monotonic() - start < 12


def test_a_run_without_a_folder_leaves_nothing_behind(tmp_path, monkeypatch):
    pictures(tmp_path / "in", 2, bad=(1,))
    monkeypatch.chdir(tmp_path)
    results = run("in")
    assert [r.files for r in results] == [{}, {}]
    assert os.listdir(tmp_path) == ["in"]


def test_rules_nobody_judged_are_said_to_be_so_and_judged_ones_kept(tmp_path):
    spec = Spec(rules=("no stain", "four holes"))
    rule = RuleFinding(id="r2", text="four holes", verdict="broken", reason="three holes")

    def talks(views):
        return darkness(views).model_copy(update={"explanation": Explanation(rules={"r2": rule})})

    (result,) = run(picture(tmp_path / "a.png"), model=Dark(talks), spec=spec)
    assert [(r.id, r.verdict) for r in result.rules] == [("r1", "not judged"), ("r2", "broken")]


def test_two_runs_of_the_same_give_the_same_but_for_seconds(tmp_path):
    paths = [*pictures(tmp_path / "in", 2, bad=(1,)), cloud(tmp_path / "b.xyz"), frames(tmp_path / "f.frames")]

    def kept(out):
        run(paths, out)
        return [{**json.loads(line), "seconds": 0} for line in lines(out)]

    assert kept(tmp_path / "one") == kept(tmp_path / "two")
    files = sorted(p.relative_to(tmp_path / "one") for p in (tmp_path / "one").rglob("*") if p.is_file())
    other = sorted(p.relative_to(tmp_path / "two") for p in (tmp_path / "two").rglob("*") if p.is_file())
    assert files == other
    timed = {"results.jsonl", "report.html"}
    same = [f for f in files if f.name not in timed]
    assert [f for f in same if (tmp_path / "one" / f).read_bytes() != (tmp_path / "two" / f).read_bytes()] == []


def test_only_the_formats_asked_for_are_written(tmp_path):
    out = tmp_path / "out"
    (result,) = run(cloud(tmp_path / "b.xyz"), out, formats="coco")
    assert "ply" not in result.files
    assert (out / "coco.json").exists()
    assert not (out / "report.html").exists()


# ---------------------------------------------------------------- what a detector can do wrong


def answering(**changed):
    return lambda views: darkness(views).model_copy(update=changed)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda views: None, "Dark answered with NoneType, not with a Prediction"),
        (answering(anomaly_map=np.zeros((1, 5, 5), np.float32)), "gave anomaly_map of shape (1, 5, 5), the views need"),
        (answering(expected=np.zeros((1, 5, 5, 3), np.uint8)), "gave expected of shape (1, 5, 5, 3)"),
        (answering(view_scores=(0.1, 0.2)), "gave view_scores (0.1, 0.2), expected 1 numbers in [0, 1]"),
        (answering(view_scores=(float("nan"),)), "expected 1 numbers in [0, 1]"),
        (answering(evidence={"p": float("nan")}), "gave the evidence p = nan, it must be finite"),
        (lambda views: Prediction(score=float("nan")), "Dark failed: Input should be"),
        (
            lambda views: Prediction(score=1, anomaly_map=np.full(views.images.shape[:3], np.nan, np.float32)),
            "Dark failed: Value error, anomaly_map holds values that are not finite",
        ),
        (lambda views: 1 / 0, "Dark failed: ZeroDivisionError: division by zero"),
    ],
)
def test_a_wrong_answer_is_the_error_of_its_sample(tmp_path, answer, words):
    def fitting(views):
        return answer(views) if views.images.min() == 0 else darkness(views)

    paths = pictures(tmp_path / "in", 3, bad=(1,))
    for batch in (1, 3):
        first, second, third = run(paths, model=Dark(fitting), batch=batch)
        assert first.error is third.error is None
        assert second.error.kind == "detector"
        assert words in second.error.message
        assert "\n" not in second.error.message


def test_the_wrong_number_of_predictions_is_asked_again_one_by_one(tmp_path):
    class Short(Dark):
        def predict(self, batch):
            return super().predict(batch)[: 1 if len(batch) > 1 else None]

    assert [r.error for r in run(pictures(tmp_path, 3), model=Short(), batch=3)] == [None] * 3

    class Shorter(Dark):
        def predict(self, batch):
            return []

    (result,) = run(pictures(tmp_path, 1), model=Shorter())
    assert result.error.message == "Shorter gave 0 predictions for 1 samples"


def test_a_failing_sample_is_asked_once_alone_and_once_in_its_batch(tmp_path):
    detector = Dark(lambda views: 1 / 0)
    run(pictures(tmp_path, 1), model=detector)
    assert detector.batches == [1]
    detector = Dark(lambda views: 1 / 0)
    run(pictures(tmp_path, 2), model=detector, batch=2)
    assert detector.batches == [2, 1, 1]


def test_too_little_memory_for_one_part_leaves_the_others(tmp_path):
    def hungry(views):
        if views.images.min() == 0:
            raise MemoryError
        return darkness(views)

    results = run(pictures(tmp_path, 3, bad=(1,)), model=Dark(hungry), batch=3)
    assert [r.error and r.error.kind for r in results] == [None, "too_large", None]
    assert "not enough memory" in results[1].error.message


def test_a_video_whose_detector_fails_midway_leaves_no_half_mp4(tmp_path):
    def fails(views):
        if "t=0.24 s" in views.names:
            raise ValueError("frame 6 is odd")
        return darkness(views)

    settings = Settings.model_validate({"video": {"every": 1, "chunk": 2}})
    out = tmp_path / "out"
    first, second = run(
        [frames(tmp_path / "f.frames"), picture(tmp_path / "a.png")], out, model=Dark(fails), settings=settings
    )
    assert (first.error.kind, first.error.message) == ("detector", "Dark failed: ValueError: frame 6 is odd")
    assert second.error is None
    assert list((out / "videos").iterdir()) == []


def test_a_fit_that_fails_is_tried_once_and_said_of_every_sample(tmp_path):
    class Unfit(Dark):
        def fit(self, spec, settings=None):
            super().fit(spec)
            raise RuntimeError("no idea")

    detector = Unfit()
    results = run(pictures(tmp_path, 3), model=detector)
    assert {r.error.message for r in results} == {"Unfit could not learn from the sheet: RuntimeError: no idea"}
    assert len(detector.fitted) == 1


def test_an_error_of_our_own_names_its_place(tmp_path, monkeypatch):
    monkeypatch.setattr(Desk, "result", lambda *_, **__: 1 / 0)
    (result,) = run(picture(tmp_path / "a.png"))
    assert result.error.kind == "internal"
    assert result.error.message.startswith("ZeroDivisionError: division by zero (test_inspection.py, line ")


def test_references_reach_the_detector_by_their_modality(tmp_path):
    spec = Spec(references=(str(picture(tmp_path / "r.png")), str(cloud(tmp_path / "r.xyz"))))
    detector = Dark()
    out = tmp_path / "out"
    results = run(
        [picture(tmp_path / "a.png"), cloud(tmp_path / "a.xyz"), frames(tmp_path / "a.frames")],
        out, model=detector, spec=spec,
    )  # fmt: skip
    got = [[r.modality for r in fitted.references] for fitted in detector.fitted]
    assert got == [["image"], ["point_cloud"], []]
    assert [bool(r.files.get("reference")) for r in results] == [True, True, False]
    assert all(isinstance(r, Sample) for fitted in detector.fitted for r in fitted.references)


# ---------------------------------------------------------------- resume


def test_the_same_run_again_goes_on_and_says_so(tmp_path):
    paths, out = pictures(tmp_path / "in", 4, bad=(2,)), tmp_path / "out"
    taken = []
    for result in (first := iter(Inspection(paths, Dark(), out=out))):
        taken.append(result)
        if len(taken) == 2:
            break
    first.close()
    assert (out / "report.html").exists()  # of what there is
    before = lines(out)
    detector = Dark()
    again = Inspection(paths, detector, out=out)
    assert again.messages == [f"going on with the run in {out}: 2 finished before"]
    assert names(again) == [p.name for p in paths]
    assert sum(detector.batches) == 2
    assert lines(out)[:2] == before
    assert len(lines(out)) == 4
    third = Dark()
    assert list(Inspection(paths, third, out=out)) == list(Inspection(paths, third, out=out))
    assert third.batches == []


def test_an_interrupt_keeps_what_is_finished_and_writes_its_report(tmp_path):
    def interrupts(views):
        if views.images.min() == 0:
            raise KeyboardInterrupt
        return darkness(views)

    paths, out = pictures(tmp_path / "in", 4, bad=(2,)), tmp_path / "out"
    results = []
    with pytest.raises(KeyboardInterrupt):
        results.extend(inspect(paths, Dark(interrupts), out=out))
    assert len(results) == len(lines(out)) == 2
    assert "2 samples inspected" in (out / "report.html").read_text("utf-8")
    assert len(run(paths, out, settings=None)) == 4
    assert "4 samples inspected" in (out / "report.html").read_text("utf-8")


def test_a_changed_file_is_inspected_again_and_its_line_replaced(tmp_path):
    paths, out = pictures(tmp_path / "in", 3), tmp_path / "out"
    run(paths, out)
    before = lines(out)
    picture(paths[1], spot=True)
    results = run(paths, out)
    assert [r.verdict for r in results] == ["normal", "anomalous", "normal"]
    assert names(map(Result.from_json, (line.decode() for line in lines(out)))) == ["00.png", "02.png", "01.png"]
    assert lines(out)[:2] == [before[0], before[2]]


def test_files_of_an_earlier_content_do_not_stay(tmp_path):
    path, out = frames(tmp_path / "f.frames", 8), tmp_path / "out"
    settings = Settings.model_validate({"video": {"every": 1}, "point_cloud": {"views": 2, "size": 64}})
    (result,) = run(path, out, settings=settings)
    assert len(list((out / result.files["map"]).iterdir())) == 8
    for i in range(4, 8):
        (path / f"{i:03d}.png").unlink()
    run(path, out, settings=settings)
    assert len(list((out / result.files["map"]).iterdir())) == 4
    ball = cloud(tmp_path / "b.xyz")
    (result,) = run(ball, out, settings=settings)
    assert result.regions
    ball.write_text("nonsense")
    (result,) = run(ball, out, settings=settings, modality=None)
    assert result.error
    assert list((out / "points").iterdir()) == []


def test_a_result_whose_file_was_deleted_is_made_again(tmp_path):
    paths, out = pictures(tmp_path / "in", 2), tmp_path / "out"
    first = run(paths, out)
    (out / first[0].files["map"]).unlink()
    detector = Dark()
    run(paths, out, model=detector)
    assert detector.batches == [1]
    assert (out / first[0].files["map"]).exists()


def test_what_failed_is_tried_again(tmp_path):
    path, out = tmp_path / "late.png", tmp_path / "out"
    good = picture(tmp_path / "a.png")
    assert [r.error and r.error.kind for r in run([good, path], out)] == [None, "missing_file"]
    picture(path)
    again = Inspection([good, path], Dark(), out=out, settings=QUICK)
    assert again.messages == [f"going on with the run in {out}: 1 finished before, 1 that failed are tried again"]
    assert [r.error for r in again] == [None, None]
    assert names(jsonl.read(out / "results.jsonl")) == ["a.png", "late.png"]


def test_a_run_of_other_paths_into_the_same_folder_loses_nothing(tmp_path):
    one, two, out = picture(tmp_path / "1.png"), picture(tmp_path / "2.png"), tmp_path / "out"
    run([one, tmp_path / "no.png"], out)
    run(two, out)
    assert names(jsonl.read(out / "results.jsonl")) == ["1.png", "no.png", "2.png"]
    assert "3 samples inspected" in (out / "report.html").read_text("utf-8")


def test_changed_settings_begin_a_new_run_and_keep_the_old_one(tmp_path):
    paths, out = pictures(tmp_path / "in", 2), tmp_path / "out"
    run(paths, out)
    before = lines(out)
    settings_hash = json.loads((out / "run.json").read_text())["settings_hash"]
    new = Inspection(paths, Dark(), out=out, settings=QUICK, threshold=0.7)
    place = out / "earlier" / settings_hash[:8]
    (message,) = new.messages
    assert message == (
        f"settings changed (verdict.threshold 0.5 -> 0.7): a new run begins, the earlier one is kept in {place}"
    )
    assert not (out / "results.jsonl").exists()
    assert len(list(new)) == 2
    assert lines(place) == before
    assert all((place / name).exists() for line in before for name in json.loads(line)["files"].values())
    assert (place / "report.html").exists()


def test_an_option_spelled_out_as_its_default_is_no_change(tmp_path):
    paths, out = pictures(tmp_path / "in", 1), tmp_path / "out"
    list(inspect(paths, "selfsim", out=out))
    default = detectors.load("selfsim").config.margin
    assert "going on" in Inspection(paths, "selfsim", out=out, options={"margin": default}).messages[0]


def test_the_settings_of_a_detector_object_are_part_of_the_run(tmp_path):
    paths, out = pictures(tmp_path / "in", 1), tmp_path / "out"
    run(paths, out)
    assert "options.level 0.5 -> 0.6" in Inspection(paths, Dark(level=0.6), out=out, settings=QUICK).messages[0]


def test_iterating_a_second_time_gives_the_same_results(tmp_path):
    job = Inspection(pictures(tmp_path / "in", 3), Dark(), out=tmp_path / "out")
    assert len(job) == 3
    assert list(job) == list(job)


def test_a_dropped_generator_lets_the_folder_go(tmp_path):
    paths, out = pictures(tmp_path / "in", 3), tmp_path / "out"
    next(inspect(paths, Dark(), out=out))
    gc.collect()
    assert "1 finished before" in Inspection(paths, Dark(), out=out).messages[0]


# ---------------------------------------------------------------- the disk


def full_after(monkeypatch, module, name, count):
    """Let `module.name` work `count` times, then raise as a full disk does."""
    real, calls = getattr(module, name), []

    def write(*args, **kwargs):
        calls.append(1)
        if len(calls) > count:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*args, **kwargs)

    monkeypatch.setattr(module, name, write)


@pytest.mark.parametrize("what", ["a line", "a picture"])
def test_a_full_disk_stops_the_run_in_words_and_keeps_the_results(tmp_path, monkeypatch, what):
    import looktwice.findings.desk as desk

    paths, out = pictures(tmp_path / "in", 4), tmp_path / "out"
    with monkeypatch.context() as patch:
        full_after(patch, *((jsonl, "append", 2) if what == "a line" else (desk, "write_atomically", 2 * 4)))
        results = []
        with pytest.raises(StopRun) as stopped:
            results.extend(inspect(paths, Dark(), out=out))
    assert str(stopped.value) == (
        f"cannot write to {out}: No space left on device. What is finished is kept in {out / 'results.jsonl'}: "
        f"free some space and run the same command again"
    )
    assert len(results) == 2
    assert jsonl.read(out / "results.jsonl") == results
    assert len(run(paths, out, settings=None)) == 4


def test_a_full_disk_while_the_reference_is_drawn_stops_the_run_too(tmp_path, monkeypatch):
    import looktwice.findings.desk as desk

    full_after(monkeypatch, desk, "write_atomically", 0)
    spec = Spec(references=(str(picture(tmp_path / "r.png")),))
    with pytest.raises(StopRun, match="No space left"):
        run(picture(tmp_path / "a.png"), tmp_path / "out", spec=spec)


def test_a_full_disk_in_a_video_stops_the_run(tmp_path, monkeypatch):
    import looktwice.findings.desk as desk

    full_after(monkeypatch, desk, "write_atomically", 1)
    with pytest.raises(StopRun, match="No space left"):
        run(frames(tmp_path / "f.frames"), tmp_path / "out")


def test_an_encoder_that_complains_without_a_number_fails_one_sample(tmp_path, monkeypatch):
    real = Desk.jpeg

    def jpeg(self, name, pixels):
        if "01" in name:
            raise OSError("encoder error -2")
        return real(self, name, pixels)

    monkeypatch.setattr(Desk, "jpeg", jpeg)
    results = run(pictures(tmp_path / "in", 3), tmp_path / "out")
    assert [r.error and r.error.message for r in results] == [None, "cannot be read: encoder error -2", None]


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), RuntimeError("a template")])
def test_a_report_that_fails_loses_nothing_and_says_so(tmp_path, monkeypatch, caplog, error):
    import looktwice.report.html as html

    def fails(*_, **__):
        raise error

    monkeypatch.setattr(html, "write_html", fails)
    out = tmp_path / "out"
    job = Inspection(pictures(tmp_path / "in", 2), Dark(), out=out, formats="html,coco")
    assert len(list(job)) == 2
    (problem,) = job.problems
    assert caplog.messages == [problem]
    assert problem.startswith("the html report could not be written: ")
    assert problem.endswith(f"All results are in {out / 'results.jsonl'}; to write it again: looktwice report {out}")
    assert (out / "coco.json").exists()


def test_a_results_file_that_breaks_under_the_run_stops_it(tmp_path):
    paths, out = pictures(tmp_path / "in", 3), tmp_path / "out"
    job = iter(Inspection(paths, Dark(), out=out))
    next(job)
    with (out / "results.jsonl").open("ab") as stream:
        stream.write(b'{"half')
    with pytest.raises(StopRun, match="ends in half a line"):
        next(job)


def test_a_second_run_into_the_same_folder_is_refused_while_the_first_goes_on(tmp_path):
    paths, out = pictures(tmp_path / "in", 3), tmp_path / "out"
    job = iter(Inspection(paths, Dark(), out=out))
    next(job)
    with pytest.raises(UsageError, match=r"another run is writing to .*: wait until it ends, or choose another --out"):
        Inspection(paths, Dark(), out=out)
    assert len(list(job)) == 2
    Inspection(paths, Dark(), out=out)


# ---------------------------------------------------------------- what there is to inspect


def found(paths, modality=None):
    return [item.path.as_posix() for item in find([paths] if isinstance(paths, (str, Path)) else paths, modality)]


def test_folders_are_searched_in_sorted_order_without_hidden_and_unknown_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("p/b/2.png", "p/b/10.png", "p/a.png", "p/.hidden.png", "p/.git/x.png", "p/c/d/e/deep.png"):
        picture(Path(name))
    Path("p/notes.txt").write_text("hello")
    Path("p/readme.md").write_text("hello")
    frames(Path("p/f.frames"), 2)
    assert found("p") == ["p/a.png", "p/b/10.png", "p/b/2.png", "p/c/d/e/deep.png", "p/f.frames"]
    assert found("p/f.frames") == ["p/f.frames"]


def test_each_file_counts_once_however_it_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    picture(Path("p/a.png"))
    assert found(["p/a.png", "./p/a.png", "p", tmp_path / "p", "p/../p/a.png", "p/*.png"]) == ["p/a.png"]


def test_globs_are_expanded_and_files_with_such_names_taken_as_they_are(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("p/a1.png", "p/a2.png", "p/b[1].png", "p/q/a3.png"):
        picture(Path(name))
    assert found("p/a*.png") == ["p/a1.png", "p/a2.png"]
    assert found("p/**/*.png") == ["p/a1.png", "p/a2.png", "p/b[1].png", "p/q/a3.png"]
    assert found("p/b[1].png") == ["p/b[1].png"]
    Path("p/notes.md").write_text("hello")
    assert found("p/*") == ["p/a1.png", "p/a2.png", "p/b[1].png", "p/q/a3.png"]
    for pattern, why in (
        ("p/z*.png", "no file matches this pattern"),
        ("p/*.md", "what matches this pattern is no picture, point cloud or video"),
    ):
        (item,) = find([pattern])
        assert (item.error.kind, item.error.why) == ("missing_file", why)


def test_loops_of_links_end_and_links_to_folders_are_followed_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    picture(Path("p/a.png"))
    picture(Path("other/b.png"))
    os.symlink("..", "p/up")
    os.symlink("self", "p/self")
    os.symlink(tmp_path / "other", "p/link")
    os.symlink("nowhere.png", "p/z.png")
    items = find(["p"])
    assert [(i.path.as_posix(), i.error and i.error.kind) for i in items] == [
        ("p/a.png", None),
        ("p/link/b.png", None),
        ("p/z.png", "missing_file"),
    ]
    assert items[-1].error.why == "a link that leads to no file"
    (item,) = find(["p/self"])
    assert item.error.kind == "missing_file"


def test_a_folder_that_cannot_be_opened_is_an_error_of_its_own(tmp_path, monkeypatch):
    pictures(tmp_path / "p", 1)
    picture(tmp_path / "p" / "locked" / "a.png")
    real = os.listdir

    def listdir(path="."):
        if str(path).endswith("locked"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "listdir", listdir)
    results = run(tmp_path / "p")
    assert [r.error and (r.error.kind, r.error.message) for r in results] == [
        None,
        ("unreadable", "the folder cannot be opened: Permission denied"),
    ]


def test_a_file_that_cannot_be_opened_fails_alone(tmp_path, monkeypatch):
    from looktwice import modalities

    paths, out = pictures(tmp_path / "in", 2), tmp_path / "out"
    run(paths, out)

    def refuse(path):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(modalities, "sha256_of", refuse)
    assert {(r.error.kind, r.error.message) for r in run(paths, out)} == {
        ("unreadable", "cannot be read: Permission denied")
    }


def test_results_inside_the_inspected_folder_are_not_inspected(tmp_path):
    parts = tmp_path / "parts"
    paths = pictures(parts, 2)
    for out in (parts / "results", parts):
        assert len(run(parts, out)) == 2
        assert len(run(parts, out, threshold=0.6)) == 2
        assert names(run(parts, out, threshold=0.6)) == [p.name for p in paths]


def test_an_empty_folder_is_said_to_be_empty(tmp_path):
    (result,) = run(tmp_path)
    assert (result.error.kind, result.error.message) == ("empty", "the folder holds no picture, point cloud or video")


def test_as_video_a_folder_of_pictures_is_one_video_and_one_of_such_folders_several(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    frames(Path("clips/one"), 3)
    frames(Path("clips/two"), 3)
    assert found("clips/one", "video") == ["clips/one"]
    assert found("clips", "video") == ["clips/one", "clips/two"]
    assert [r.modality for r in run("clips", modality="video")] == ["video", "video"]
    assert [r.modality for r in run("clips/one")] == ["image"] * 3


def test_a_modality_asked_for_takes_only_its_files_out_of_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    picture(Path("p/a.png"))
    cloud(Path("p/b.xyz"))
    assert found("p", "image") == ["p/a.png"]
    assert found("p", "point_cloud") == ["p/b.xyz"]
    (item,) = find(["p"], "video")
    assert item.error is None or item.error.kind == "empty"


@pytest.mark.parametrize(
    "name",
    ["with space.png", "ünïcode-画像.png", "line\nbreak.png", "-m.png", "a'b\"c;$(x).png", "[red].png", "%41.png"],
)
def test_names_of_all_kinds_are_inspected_and_their_files_have_safe_names(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    picture(Path(name), spot=True)
    (result,) = run([name], "out")
    assert result.error is None
    assert result.path == name
    written = [p.name for p in Path("out").rglob("*") if p.is_file()]
    assert all(c.isascii() and (c.isalnum() or c in "-_.") for one in written for c in one)
    assert json.loads(Path("out/results.jsonl").read_text("utf-8"))["path"] == name


def test_a_name_that_is_no_text_is_refused_in_words_and_the_run_goes_on(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    picture(Path("a.png"))
    os.rename(b"a.png", b"\xff.png")
    picture(Path("z.png"))
    good, bad = run(".", "out")
    assert (good.path, good.error) == ("z.png", None)
    assert bad.path == "\\xff.png"
    assert (bad.error.kind, bad.error.message) == (
        "unsupported",
        "its name holds bytes that are not UTF-8: rename it",
    )


def test_the_same_stem_twice_gives_different_files(tmp_path):
    out = tmp_path / "out"
    one, two, three = run(
        [picture(tmp_path / f"{n}/part.{e}") for n, e in (("a", "png"), ("b", "png"), ("a", "bmp"))], out
    )
    assert len({one.id, two.id, three.id}) == 3
    assert not set(one.files.values()) & set(two.files.values())
    assert not set(one.files.values()) & set(three.files.values())


# ---------------------------------------------------------------- wrong calls


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"threshold": 1.5}, UsageError, r"threshold must be in \[0, 1\], got 1.5"),
        ({"threshold": float("nan")}, UsageError, r"threshold must be in \[0, 1\], got nan"),
        ({"batch": 0}, UsageError, "batch must be at least 1, got 0"),
        ({"model": "selfsmi"}, UnknownName, "Unknown model 'selfsmi'. Did you mean 'selfsim'"),
        ({"model": "memory"}, NoReferences, "memory needs references: name normal samples with --reference"),
        ({"model": "selfsim", "options": {"k": 1}}, UsageError, "selfsim option 'k'.*Its options: size"),
        ({"model": Dark(), "options": {"k": 1}}, UsageError, "set up Dark before it is given"),
        ({"modality": "picture"}, UnknownName, "Unknown modality 'picture'"),
        ({"formats": "htm"}, UnknownName, "Unknown format 'htm'. Did you mean 'html'"),
        ({"formats": ()}, UsageError, "no format given"),
        ({"spec": Spec(references=("nope/*.png",))}, UsageError, "matches no file"),
    ],
)
def test_a_wrong_call_is_refused_at_once(tmp_path, options, error, words):
    picture(tmp_path / "a.png")
    with pytest.raises(error, match=words):
        inspect(tmp_path / "a.png", out=tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_a_reference_that_cannot_be_read_is_refused_at_once(tmp_path):
    (tmp_path / "r.png").write_text("nonsense")
    with pytest.raises(BadFile, match=r"r\.png: not a picture") as error:
        inspect(tmp_path, Dark(), Spec(references=(str(tmp_path / "r.png"),)))
    assert error.value.kind == "unreadable"


def test_a_results_folder_that_is_a_file_is_refused(tmp_path):
    file = picture(tmp_path / "a.png")
    with pytest.raises(UsageError, match=r"cannot write results to .*a\.png: is a file. Choose another --out"):
        inspect(file, Dark(), out=file)


# ---------------------------------------------------------------- calibration


def test_a_calibration_decides_with_its_p_value_and_only_for_the_same_run(tmp_path):
    normal = pictures(tmp_path / "normal", 19)
    made = calibrate_on(normal, Dark(), alpha=0.1, settings=QUICK)
    assert isinstance(made, Calibration)
    good, bad = run([normal[0], picture(tmp_path / "x.png", spot=True)], calibration=made)
    assert bad.verdict == "anomalous"
    assert bad.p_value == pytest.approx(1 / 20)
    assert good.p_value > 0.1
    assert bad.threshold == made.threshold("image") == good.threshold
    (film,) = run(frames(tmp_path / "f.frames"), calibration=made)
    assert film.error.kind == "usage"
    assert "video" in film.error.message
    with pytest.raises(UsageError, match="the calibration was made with another sheet, other references, options"):
        inspect(normal, Dark(level=0.7), settings=QUICK, calibration=made)
    with pytest.raises(UsageError, match="made with the model Dark, this run uses selfsim"):
        inspect(normal, "selfsim", settings=QUICK, calibration=made)
    with pytest.raises(UsageError, match="give a threshold or a calibration"):
        inspect(normal, Dark(), settings=QUICK, calibration=made, threshold=0.5)


def test_too_few_normal_parts_are_refused_before_any_work(tmp_path):
    detector = Dark()
    with pytest.raises(UsageError, match=r"alpha 0\.01 needs at least 99 normal parts that are not references, got 3"):
        calibrate_on(pictures(tmp_path, 3), detector)
    assert detector.batches == []


def test_a_normal_part_that_cannot_be_read_or_is_a_reference_is_refused(tmp_path):
    normal = pictures(tmp_path / "n", 9)
    with pytest.raises(UsageError, match="1 of 10 normal parts cannot be judged, the first: no such file"):
        calibrate_on([*normal, tmp_path / "no.png"], Dark(), alpha=0.1)
    with pytest.raises(UsageError, match=r"00\.png stands also among the references"):
        calibrate_on(normal, Dark(), Spec(references=(str(normal[0]),)), alpha=0.1)
