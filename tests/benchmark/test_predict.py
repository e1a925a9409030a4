"""Predicting: the same files for the same run, whatever happens on the way."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
import types
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from benchmark.made import Refused, Trying, bright, choosy, files_of, lids, miniatures, mvtec, picture, talker, told
from looktwice import detectors, modalities
from looktwice.benchmark.plan import class_split, draw, make_plan, option_files, prepare, thinned, versions
from looktwice.benchmark.predict import Worker, default_folder, predict
from looktwice.benchmark.store import MAP_ERROR, Run, decode_map, decode_truth, encode_map, encode_truth
from looktwice.data import load_dataset
from looktwice.data.items import Item, Question, load_item
from looktwice.errors import BadFile, StopRun, UnknownName, UsageError
from looktwice.records import Prediction, Spec, resize_map

FEW = {"model": "fake", "dataset": "mvtec_ad", "categories": ("bottle", "cable"), "shots": (1, 2), "seeds": 2}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mvtec(tmp_path_factory.mktemp("mvtec"))


@pytest.fixture(scope="module")
def whole(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "whole"
    predict(make_plan(**FEW), root, out, batch=3, load=bright)
    return out


# ---------------------------------------------------------------- packing


@settings(deadline=None, max_examples=30)
@given(hnp.arrays(np.float32, hnp.array_shapes(min_dims=1, max_dims=2, max_side=9), elements=st.floats(0, 1, width=32)))
def test_a_map_comes_back_within_its_stated_error(values: np.ndarray) -> None:
    back = decode_map(encode_map(values, "uint16"), values.shape, "uint16")
    assert back.dtype == np.float32
    assert np.abs(back.astype(np.float64) - values).max() <= MAP_ERROR * 1.01
    exact = decode_map(encode_map(values, "float32"), values.shape, "float32")
    np.testing.assert_array_equal(exact, values)


@pytest.mark.parametrize("kind", ["uint16", "float32"])
def test_an_unseen_point_stays_unseen(kind: str) -> None:
    values = np.array([0.0, np.nan, 1.0, np.nan, 0.5], np.float32)
    back = decode_map(encode_map(values, kind), values.shape, kind)
    assert np.isnan(back).tolist() == [False, True, False, True, False]
    assert back[[0, 2]].tolist() == [0.0, 1.0]


@settings(deadline=None, max_examples=30)
@given(hnp.arrays(np.bool_, hnp.array_shapes(min_dims=1, max_dims=2, max_side=20)))
def test_truth_comes_back_exactly(mask: np.ndarray) -> None:
    np.testing.assert_array_equal(decode_truth(encode_truth(mask), mask.shape), mask)
    assert (encode_truth(mask) == b"") == (not mask.any())


# ---------------------------------------------------------------- what is drawn


def items(count: int) -> list[Item]:
    return [
        Item(id=f"{i:03d}", paths=(Path(f"{i}.png"),), modality="image", category="x", split="train", label=i % 2)
        for i in range(count)
    ]


def test_fewer_references_are_the_first_of_more_and_order_on_disk_is_nothing() -> None:
    pool = items(20)
    assert draw("bottle", pool, 0) == draw("bottle", pool[::-1], 0)
    assert draw("bottle", pool, 0) != draw("bottle", pool, 1)
    assert draw("bottle", pool, 0) != draw("cable", pool, 0)


def test_references_come_from_the_normal_part_of_the_training_pictures(root: Path) -> None:
    work = prepare(make_plan(**FEW), root, bright)
    assert [(u.category, u.shots, u.seed) for u in work.units][:5] == [
        ("bottle", 1, 0), ("bottle", 1, 1), ("bottle", 2, 0), ("bottle", 2, 1), ("cable", 1, 0),
    ]  # fmt: skip
    for unit in work.units:
        assert len(unit.references) == unit.shots
        assert all((item.split, item.label, item.category) == ("train", 0, unit.category) for item in unit.references)
    assert work.units[2].references[0] == work.units[0].references[0]


def test_references_of_the_judged_part_are_not_judged(tmp_path: Path) -> None:
    lids(tmp_path)
    work = prepare(
        make_plan(model="fake", dataset="folder", references="test", shots=(1, 2), seeds=2), tmp_path, bright
    )
    assert [len(unit.items) for unit in work.units] == [10] * 4
    for unit in work.units:
        assert not {item.id for item in unit.references} & {item.id for item in unit.items}


def test_a_limit_keeps_both_kinds() -> None:
    chosen = thinned(items(40), 6)
    assert len(chosen) == 6
    assert [item.label for item in chosen].count(1) == 3
    assert [item.id for item in chosen] == sorted(item.id for item in chosen)
    assert thinned(items(4), 9) == items(4)


@settings(deadline=None, max_examples=30)
@given(st.sets(st.text("abcxyz", min_size=1, max_size=4), min_size=2, max_size=24), st.data())
def test_a_class_split_shares_no_class_and_loses_none(names: set[str], data: st.DataObject) -> None:
    train = data.draw(st.integers(1, len(names) - 1))
    seed = data.draw(st.integers(0, 5))
    learned, judged = class_split(names, train, seed)
    assert len(learned) == train
    assert set(learned) | set(judged) == names
    assert not set(learned) & set(judged)
    assert class_split(sorted(names, reverse=True), train, seed) == (learned, judged)


def test_another_seed_is_another_class_split() -> None:
    names = load_dataset("mvtec_ad").categories
    assert len({class_split(names, 10, seed)[1] for seed in range(5)}) == 5
    with pytest.raises(UsageError, match="of 15 categories 1 to 14 can be learned from, got 15"):
        class_split(names, 15, 0)


# ---------------------------------------------------------------- what is written


def test_a_run_holds_every_sample_with_its_map_and_truth(root: Path, whole: Path) -> None:
    run = Run(whole)
    assert run.unfinished() == (72, 72)
    by_id = {item.id: item for item in load_dataset("mvtec_ad").items(root)}
    unit = run.units[0]
    rows = run.rows(unit)
    assert [row["id"] for row in rows] == [f"bottle/test/broken/{i:03d}.png" for i in range(5)] + [
        f"bottle/test/good/{i:03d}.png" for i in range(4)
    ]
    for row in rows:
        sample = load_item(by_id[row["id"]])
        assert row["path"] == row["id"]
        assert row["sha256"] == sample.sha256
        assert row["label"] == sample.truth.label
        truth, found = run.truth(unit, row), run.map(unit, row)
        np.testing.assert_array_equal(truth, sample.truth.mask)
        np.testing.assert_allclose(found, sample.data.pixels.mean(-1) / 255, atol=MAP_ERROR * 1.1)
        assert resize_map(found, tuple(row["size"])).shape == truth.shape


def test_the_recipe_says_what_was_run(whole: Path) -> None:
    recipe = json.loads((whole / "recipe.json").read_text())
    assert recipe["plan"]["shots"] == [1, 2]
    assert recipe["config"] == {"power": 1.0}
    assert set(recipe["versions"]) == {"looktwice", "python", "numpy", "scipy", "pillow", "pydantic"}
    assert len(recipe["units"]) == 8
    assert all(len(unit["references"]) == unit["shots"] for unit in recipe["units"])
    assert len({unit["references_sha256"] for unit in recipe["units"]}) == 8
    assert len(recipe["data"]["fingerprint"]) == 64


def test_the_same_run_twice_and_with_two_workers_gives_the_same_bytes(root: Path, whole: Path, tmp_path: Path) -> None:
    for number, options in enumerate(({"batch": 3}, {"batch": 2, "workers": 2}, {"batch": 1, "workers": 3})):
        out = tmp_path / str(number)
        predict(make_plan(**FEW), root, out, load=bright, **options)
        assert files_of(out) == files_of(whole)


def test_another_place_of_the_data_gives_the_same_bytes(root: Path, tmp_path: Path) -> None:
    moved = mvtec(tmp_path / "elsewhere")
    plan = make_plan(**{**FEW, "model": "selfsim", "shots": (0,), "limit": 2})
    predict(plan, moved, tmp_path / "moved")
    predict(plan, root, tmp_path / "here")
    assert files_of(tmp_path / "moved") == files_of(tmp_path / "here")


# ---------------------------------------------------------------- what goes wrong


@pytest.mark.parametrize("cut", [1, 60, 700, 2500])
def test_a_torn_run_goes_on_and_ends_in_the_same_bytes(root: Path, whole: Path, tmp_path: Path, cut: int) -> None:
    out = tmp_path / "run"
    predict(make_plan(**FEW), root, out, batch=3, load=bright)
    folder = out / "units/0001-bottle-1-1"
    os.truncate(folder / "samples.jsonl", (folder / "samples.jsonl").stat().st_size - cut)
    os.truncate(folder / "seconds.jsonl", 20)
    (out / "units/0005-cable-1-1/samples.jsonl").unlink()
    with (out / "units/0002-bottle-2-0/arrays.bin").open("ab") as stream:
        stream.write(b"half an array")
    outcome = predict(make_plan(**FEW), root, out, batch=3, load=bright)
    assert 54 <= outcome.earlier < 64
    assert outcome.messages[-1] == f"going on with the run in {out}: {outcome.earlier} finished before"
    assert files_of(out) == files_of(whole)


def test_a_finished_run_is_not_judged_again(root: Path, whole: Path) -> None:
    outcome = predict(make_plan(**FEW), root, whole, load=choosy_that_must_not_run)
    assert (outcome.samples, outcome.earlier, outcome.failed) == (72, 72, 0)


def choosy_that_must_not_run(name: str, **options: object) -> object:
    made = bright(name)
    made.fit = lambda *_: pytest.fail("fitted again")  # type: ignore[method-assign]
    return made


def test_a_killed_run_goes_on(tmp_path: Path) -> None:
    root = mvtec(tmp_path / "data", ("bottle",), good=30, bad=30)
    plan = {"model": "fake", "dataset": "mvtec_ad", "categories": ["bottle"], "shots": [1]}
    script = tmp_path / "slow.py"
    script.write_text(
        "import sys, time\n"
        f"sys.path.insert(0, {str(Path(__file__).parents[1])!r})\n"
        "from benchmark.made import Bright, bright\n"
        "from looktwice.benchmark.plan import make_plan\n"
        "from looktwice.benchmark.predict import predict\n"
        "def progress(done, total, words):\n"
        "    print(done, flush=True)\n"
        "    time.sleep(0.05)\n"
        "if __name__ == '__main__':\n"
        f"    predict(make_plan(**{plan!r}), {str(root)!r}, {str(tmp_path / 'killed')!r}, batch=2,\n"
        "            workers=int(sys.argv[1]), load=bright, progress=progress)\n"
    )
    for workers in ("1", "2"):
        process = subprocess.Popen([sys.executable, str(script), workers], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        for _ in range(4):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        process.stdout.close()
        there, wanted = Run(tmp_path / "killed").unfinished()
        assert 0 < there < wanted
    time.sleep(0.1)
    outcome = predict(make_plan(**plan), root, tmp_path / "killed", load=bright)
    assert outcome.earlier == there
    predict(make_plan(**plan), root, tmp_path / "whole", load=bright)
    assert files_of(tmp_path / "killed") == files_of(tmp_path / "whole")


def test_another_plan_in_the_same_folder_is_refused_and_says_why(root: Path, whole: Path) -> None:
    with pytest.raises(UsageError, match=r"holds another run \(shots \[1, 2\] -> \[1\].*choose another --out"):
        predict(make_plan(**{**FEW, "shots": (1,)}), root, whole, load=bright)


def test_another_copy_of_the_data_is_refused(whole: Path, tmp_path: Path) -> None:
    other = mvtec(tmp_path, good=5)
    with pytest.raises(UsageError, match=r"holds another run \(the files of the data set\)"):
        predict(make_plan(**FEW), other, whole, load=bright)


def test_a_folder_with_other_files_is_not_written_to(root: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.doc").write_text("precious")
    with pytest.raises(UsageError, match="holds other files"):
        predict(make_plan(**FEW), root, tmp_path, load=bright)


def test_a_full_disk_stops_the_run_and_keeps_what_is_finished(
    root: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = os.fsync, []

    def full(handle: int) -> None:
        calls.append(handle)
        if len(calls) > 40:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(handle)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StopRun, match=r"No space left on device\. What is finished is kept"):
        predict(make_plan(**FEW), root, tmp_path / "run", batch=3, load=bright)
    monkeypatch.undo()
    outcome = predict(make_plan(**FEW), root, tmp_path / "run", batch=3, load=bright)
    assert 0 < outcome.earlier < 72
    assert files_of(tmp_path / "run") == files_of(whole)


def test_two_processes_cannot_write_one_run(root: Path, tmp_path: Path) -> None:
    def nested(done: int, total: int, words: str) -> None:
        predict(make_plan(**FEW), root, tmp_path / "run", load=bright)

    with pytest.raises(UsageError, match="another process is at work"):
        predict(make_plan(**FEW), root, tmp_path / "run", load=bright, progress=nested)


def test_a_damaged_line_is_named(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    predict(make_plan(**FEW), root, out, load=bright)
    path = out / "units/0000-bottle-1-0/samples.jsonl"
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([lines[0], b"{broken", *lines[2:]]))
    with pytest.raises(BadFile, match=r"line 2 is damaged\. Delete the folder"):
        predict(make_plan(**FEW), root, out, load=bright)


def test_a_bad_file_is_a_row_with_its_error_and_is_counted(tmp_path: Path) -> None:
    root = mvtec(tmp_path / "data", ("bottle",))
    bad = root / "bottle/test/good/001.png"
    bad.write_bytes(b"not a picture at all")
    plan = make_plan(model="fake", dataset="mvtec_ad", categories=("bottle",))
    outcome = predict(plan, root, tmp_path / "run", load=bright)
    assert (outcome.samples, outcome.failed) == (9, 1)
    run = Run(tmp_path / "run")
    failed = next(row for row in run.rows(run.units[0]) if row["error"])
    assert failed["id"] == "bottle/test/good/001.png"
    assert failed["error"]["kind"] == "unreadable"
    assert str(root) not in failed["error"]["message"]
    assert failed["score"] is None
    picture(bad, 1)  # another file is another data set
    with pytest.raises(UsageError, match="the files of the data set"):
        predict(plan, root, tmp_path / "run", load=bright, retry=True)


def test_a_sample_that_fails_does_not_take_its_batch_along_and_can_be_tried_again(tmp_path: Path) -> None:
    root = mvtec(tmp_path / "data", ("bottle",))
    path = root / "bottle/test/good/002.png"
    pixels = np.full((40, 48, 3), 255, np.uint8)
    miniatures.Image.fromarray(pixels).save(path)
    plan = make_plan(model="fake", dataset="mvtec_ad", categories=("bottle",))
    outcome = predict(plan, root, tmp_path / "run", load=choosy)
    assert outcome.failed == 1
    row = next(row for row in outcome.run.rows(outcome.run.units[0]) if row["error"])
    assert row["error"] == {"kind": "internal", "message": "ValueError: I do not like this one"}
    again = predict(plan, root, tmp_path / "run", load=bright, retry=True)
    assert again.failed == 0


def test_a_category_that_is_asked_for_and_not_there_is_named(root: Path, tmp_path: Path) -> None:
    (tmp_path / "cable").mkdir()
    mvtec(tmp_path, ("bottle",))
    with pytest.raises(UsageError, match=r"no samples of the category 'cable' in the part 'test' .*: it has bottle"):
        prepare(make_plan(model="fake", dataset="mvtec_ad", categories=("cable",)), tmp_path, bright)
    with pytest.raises(UsageError, match=r"got 'candle' \(it belongs to visa\)"):
        prepare(make_plan(model="fake", dataset="mvtec_ad", categories=("candle",)), root, bright)


def test_categories_that_a_copy_lacks_are_said(root: Path) -> None:
    work = prepare(make_plan(model="fake", dataset="mvtec_ad"), root, bright)
    assert [unit.category for unit in work.units] == ["bottle", "cable"]
    assert work.messages[0].startswith("MVTec AD: nothing of capsule, carpet")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"shots": (9,)}, "bottle has 5 normal samples in its train part, 9 references are asked for"),
        ({"split": "validation"}, "Expected split of mvtec_ad to be one of train, test, got 'validation'"),
        ({"variant": "new"}, "Expected variant of mvtec_ad"),
        ({"shots": (-1,)}, "cannot be negative"),
        ({"shots": ()}, "at least one number of references"),
        ({"references": "somewhere"}, "references: Input should be 'train', 'test', 'own' or 'similar'"),
        ({"shots": ("full",), "references": "test"}, "cannot be drawn from the judged part"),
    ],
)
def test_a_plan_that_cannot_be_carried_out_says_why(root: Path, fields: dict, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        prepare(make_plan(**{**FEW, **fields}), root, bright)


def test_real_detectors_refuse_shots_they_cannot_use(root: Path) -> None:
    with pytest.raises(UsageError, match="memory compares with references and cannot do 0 shots"):
        prepare(make_plan(**{**FEW, "model": "memory", "shots": (0,)}), root)
    with pytest.raises(UsageError, match="selfsim uses no references: give --shots 0, not 1"):
        prepare(make_plan(**{**FEW, "model": "selfsim", "shots": (0, 1)}), root)
    with pytest.raises(UnknownName, match="Did you mean 'memory'"):
        prepare(make_plan(**{**FEW, "model": "memry"}), root)


def test_zero_shots_and_all_of_them_need_one_seed_only(root: Path) -> None:
    work = prepare(make_plan(**{**FEW, "shots": (0, "full"), "seeds": 3}), root, bright)
    assert [(unit.shots, unit.seed, len(unit.references)) for unit in work.units if unit.category == "bottle"] == [
        (0, 0, 0),
        ("full", 0, 5),
    ]
    assert work.messages[-1].startswith("nothing is drawn at random here")


def test_own_references_are_those_that_the_data_set_names(tmp_path: Path) -> None:
    lids(tmp_path)
    lines = ["path,label,reference", "good/0.png,normal,good/1.png|good/2.png", "bad/dent/50.png,anomalous,good/3.png"]
    (tmp_path / "list.csv").write_text("\n".join(lines) + "\n")
    seen = []

    def load(name: str, **options: object) -> object:
        made = bright(name)
        fit = made.fit
        made.fit = lambda spec, _=None: (seen.append(spec.references), fit(spec))[1]  # type: ignore[method-assign]
        return made

    plan = make_plan(model="fake", dataset="folder", references="own", shots=(1, "full"))
    outcome = predict(plan, tmp_path / "list.csv", tmp_path / "run", load=load)
    assert outcome.failed == 0
    assert [[Path(r).name for r in one] for one in seen] == [["1.png"], ["3.png"], ["1.png", "2.png"], ["3.png"]]


# ---------------------------------------------------------------- what is asked


def asked_of(root: Path, out: Path, **fields: object) -> list[list[str]]:
    outcome = predict(make_plan(model="fake", task="answer", **fields), root, out, load=talker)
    assert outcome.failed == 0
    rows = [row for unit in outcome.run.units for row in outcome.run.rows(unit)]
    return [[answer["answer"] for answer in row["answers"]] for row in rows]


def test_a_dialogue_keeps_what_was_said_and_options_are_asked_one_by_one(tmp_path: Path) -> None:
    rows = ["path,label,question,answer", "1.png,0,how many?,one"]
    picture(tmp_path / "1.png", 1)
    (tmp_path / "list.csv").write_text("\n".join(rows) + "\n")
    assert asked_of(tmp_path / "list.csv", tmp_path / "a", dataset="folder") == [["1 asked, 1 shown"]]
    options = (("A", "one"), ("B", "two"))
    several = [Question("how many?", "A", options), Question("how many so far?", "B", options)]
    views = next(modalities.views(modalities.load(tmp_path / "1.png")))
    for history, numbers in ((None, "11"), (True, "12"), (False, "11")):
        worker = Worker(make_plan(model="fake", dataset="folder", task="answer", history=history), talker)
        said = worker._said(worker.detector, views, several)
        assert [text[0] for text in said] == ["A", "A"]  # "letter" is in the text of options
        plain = [Question(one.text) for one in several]
        said = worker._said(worker.detector, views, plain)
        assert "".join(text[0] for text in said) == ("12" if history is None else numbers)


def test_of_a_dialogue_the_users_turns_are_asked_and_the_answers_are_references(tmp_path: Path) -> None:
    miniatures._anomaly_instruct(tmp_path / "data")
    plan = make_plan(model="fake", dataset="anomaly_instruct", split="train", task="answer")
    outcome = predict(plan, tmp_path / "data", tmp_path / "run", load=talker)
    rows = [row for unit in outcome.run.units for row in outcome.run.rows(unit)]
    assert [row["answers"][0]["question"] for row in rows] == ["Is the pot whole?"] * 2
    assert [row["answers"][0]["reference"] for row in rows] == ["No, it leaks."] * 2
    found = asked_of(tmp_path / "data", tmp_path / "b", dataset="anomaly_instruct", split="train", question="how many?")
    assert sorted(found) == [["1 asked, 1 shown"], ["1 asked, 2 shown"]]  # one is shown from two sides


def test_similar_references_are_not_the_random_ones(tmp_path: Path) -> None:
    miniatures._mmad(tmp_path / "data")
    content = json.loads((tmp_path / "data/mmad.json").read_text())
    for one in content.values():
        one["random_templates"] = []
    (tmp_path / "data/mmad.json").write_text(json.dumps(content))
    for references, failed in (("similar", 0), ("own", 4)):
        plan = make_plan(model="fake", dataset="mmad", task="answer", references=references, shots=(1,))
        outcome = predict(plan, tmp_path / "data", tmp_path / references, load=talker)
        assert (outcome.samples, outcome.failed) == (4, failed)


# ---------------------------------------------------------------- detectors that fail in their own way


def white(root: Path) -> None:
    """One picture that the fakes do not like."""
    pixels = np.full((40, 48, 3), 255, np.uint8)
    miniatures.Image.fromarray(pixels).save(root / "bottle/test/good/002.png")


def test_a_detector_that_can_fail_at_one_of_a_batch_is_asked_once(tmp_path: Path) -> None:
    root = mvtec(tmp_path / "data", ("bottle",))
    white(root)
    Trying.batches.clear()
    plan = make_plan(model="fake", dataset="mvtec_ad", categories=("bottle",))
    outcome = predict(plan, root, tmp_path / "run", batch=9, load=lambda name, **options: Trying())
    assert Trying.batches == [9]
    assert outcome.failed == 1
    row = next(row for row in outcome.run.rows(outcome.run.units[0]) if row["error"])
    assert row["error"] == {"kind": "unreadable", "message": "it: I cannot say"}


def test_what_every_further_sample_would_meet_stops_the_run_and_keeps_what_is_finished(tmp_path: Path) -> None:
    root = mvtec(tmp_path / "data", ("bottle",))
    white(root)
    plan = make_plan(model="fake", dataset="mvtec_ad", categories=("bottle",))

    def refusing(name: str, **options: object) -> Trying:
        made = Trying()
        made.fit = lambda *_: made  # type: ignore[method-assign]
        made.error = Refused("the key was refused")
        return made

    with pytest.raises(StopRun, match=r"the key was refused\. What is finished is kept: run the same command again"):
        predict(plan, root, tmp_path / "run", batch=3, load=refusing)
    assert 0 < Run(tmp_path / "run").unfinished()[0] < 9
    assert predict(plan, root, tmp_path / "run", batch=3, load=bright).failed == 0


def test_an_answer_that_does_not_fit_the_question_is_a_failure(tmp_path: Path) -> None:
    root = mvtec(tmp_path / "data", ("bottle",), good=1, bad=1)

    def loading(answer: object) -> object:
        def load(name: str, **options: object) -> object:
            made = bright(name)
            made.fit = lambda *_: made  # type: ignore[method-assign]
            made.predict = lambda batch: answer  # type: ignore[method-assign,return-value]
            return made

        return load

    plan = make_plan(model="fake", dataset="mvtec_ad", categories=("bottle",))
    wrong = Prediction(score=0.5, anomaly_map=np.zeros((1, 3, 3), np.float32))
    for number, (answer, words) in enumerate(
        (([], "gave 0 predictions for 1 samples"), ([wrong], "anomaly_map of shape"))
    ):
        outcome = predict(plan, root, tmp_path / str(number), load=loading(answer))
        assert outcome.failed == 2
        assert words in outcome.run.rows(outcome.run.units[0])[0]["error"]["message"]


# ---------------------------------------------------------------- what a run is known by


def test_other_weights_under_the_same_name_are_another_run(root: Path, tmp_path: Path) -> None:
    weights = tmp_path / "w.safetensors"

    def load(name: str, **options: object) -> object:
        return bright(name)

    plan = make_plan(**{**FEW, "options": {"weights": str(weights), "level": "0.5"}})
    weights.write_bytes(b"one")
    predict(plan, root, tmp_path / "run", load=load)
    assert list(json.loads((tmp_path / "run/recipe.json").read_text())["files"]) == ["weights"]
    weights.write_bytes(b"two")
    with pytest.raises(UsageError, match=r"another run \(the file of the option weights"):
        predict(plan, root, tmp_path / "run", load=load)


def test_a_large_file_is_known_by_its_size_and_parts_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("looktwice.benchmark.plan.WHOLE", 1000)
    monkeypatch.setattr("looktwice.benchmark.plan.SAMPLED", 100)
    path = tmp_path / "model.bin"
    rng = np.random.default_rng(0)
    data = bytearray(rng.integers(0, 256, 1600, np.uint8).tobytes())
    hashes = set()
    for change in (None, 0, 1599, 800):
        if change is not None:
            data[change] ^= 1
        path.write_bytes(bytes(data))
        hashes.add(option_files({"talker": f"hf:{path}"})["talker"])
        assert option_files({"talker": f"hf:{tmp_path}"}).keys() == {"talker"}
    assert len(hashes) == 4
    assert option_files({"weights": "nowhere.bin", "base_url": "http://x/y", "size": 3}) == {}


def test_the_versions_are_those_of_what_the_detector_is_made_with(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    core = {"looktwice", "python", "numpy", "scipy", "pillow", "pydantic"}
    assert set(versions(detectors.load("memory"))) == core  # though torch is loaded in this process
    layers, heavy = types.ModuleType("looktwice.layers"), types.ModuleType("looktwice.heavy")
    layers.Tensor = torch.Tensor  # type: ignore[attr-defined]
    heavy.layers = layers  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "looktwice.layers", layers)
    monkeypatch.setitem(sys.modules, "looktwice.heavy", heavy)
    kind = type("Heavy", (), {"__module__": "looktwice.heavy"})
    assert set(versions(kind())) == core | {"torch"}
    for called, more in (("hf:owner/name", {"torch", "transformers"}), ("openai:gpt-4o", set())):
        made = bright("fake")
        made.config = types.SimpleNamespace(talker=called)  # type: ignore[assignment]
        assert set(versions(made)) == core | more


def test_the_default_folder_of_a_talker_is_one_folder(root: Path) -> None:
    work = prepare(make_plan(**{**FEW, "model": "hf:owner/name"}), root, bright)
    assert default_folder(work).parent == Path("runs")
    assert default_folder(work).name.startswith("hf-owner-name-mvtec_ad-")


# ---------------------------------------------------------------- what is known of a category


def specs_of(root: Path, out: Path, sheets: Path | None) -> list[Spec]:
    seen: list[Spec] = []

    def load(name: str, **options: object) -> object:
        made = bright(name)
        fit = made.fit
        made.fit = lambda spec, settings=None: (seen.append(spec), fit(spec))[1]  # type: ignore[method-assign]
        return made

    predict(make_plan(**{**FEW, "shots": (1,), "seeds": 1}), root, out, sheets=sheets, load=load)
    return seen


def test_without_a_sheet_the_name_of_the_category_is_all_that_is_known(root: Path, tmp_path: Path) -> None:
    bottle, cable = specs_of(root, tmp_path / "run", None)
    assert (bottle.object, cable.object) == ("bottle", "cable")
    assert len(bottle.references) == 1
    assert (bottle.rules, bottle.context) == ((), "")
    assert "sheets" not in json.loads((tmp_path / "run/recipe.json").read_text())


def test_a_sheet_for_each_category_or_one_for_all_is_told_and_is_part_of_the_run(root: Path, tmp_path: Path) -> None:
    sheets = tmp_path / "sheets"
    sheets.mkdir()
    picture(sheets / "mine.png", 1)
    for name in ("bottle", "cable"):
        (sheets / f"{name}.yaml").write_text(
            f"task: Judge the {name}.\nobject: a {name} from above\nrules: [The {name} is whole.]\n"
            "references: mine.png\n"
        )
    bottle, cable = specs_of(root, tmp_path / "run", sheets)
    assert (bottle.task, cable.rules[0].text) == ("Judge the bottle.", "The cable is whole.")
    assert [Path(one).parts[-3:-1] for one in bottle.references] == [("train", "good")]  # drawn, not the sheet's own
    assert json.loads((tmp_path / "run/recipe.json").read_text())["sheets"]["cable"]["object"] == "a cable from above"
    (sheets / "cable.yaml").write_text("object: another cable\n")
    with pytest.raises(UsageError, match=r"holds another run \(the sheet of cable\)"):
        specs_of(root, tmp_path / "run", sheets)
    for one in specs_of(root, tmp_path / "one", sheets / "bottle.yaml"):
        assert one.object == "a bottle from above"
    (sheets / "cable.yaml").unlink()
    with pytest.raises(UsageError, match=r"no inspection sheet .*cable\.yaml: --sheets takes one, or a folder"):
        specs_of(root, tmp_path / "none", sheets)


def test_a_sheet_reaches_every_worker(root: Path, tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text("object: " + "very " * 30 + "long\n")
    for workers in (1, 2):
        plan = make_plan(**{**FEW, "shots": (1,), "seeds": 1})
        predict(plan, root, tmp_path / str(workers), sheets=tmp_path / "one.yaml", workers=workers, load=told)
    assert files_of(tmp_path / "1") == files_of(tmp_path / "2")
    row = Run(tmp_path / "1").rows(Run(tmp_path / "1").units[0])[0]
    assert row["explanation"]["description"].endswith("long")
