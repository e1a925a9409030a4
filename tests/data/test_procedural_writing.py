"""Data sets written by `looktwice generate`: read back by the loaders, resumed, and never over other people's files."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from looktwice.cli.generate import generate
from looktwice.data import load_dataset
from looktwice.data.checking import check
from looktwice.data.items import load_item
from looktwice.data.procedural import Order, Scene, family, write_data_set, writing
from looktwice.errors import MissingExtra, UnknownName, UsageError

IMAGES = Order(categories=("gear", "woven", "pill"), count=12, size=64)


def digest(folder: Path) -> dict[str, str]:
    """Every file below a folder by its content."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def mvtec(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "mvtec"
    assert write_data_set(folder, IMAGES) == 36
    return folder


# ---------------------------------------------------------------- read back


def test_the_mvtec_layout_is_whole_for_the_folder_loader(mvtec):
    dataset = load_dataset("folder")
    report = check(dataset, mvtec, deep=True)
    assert report.findings == ()
    assert report.items == 36
    rows = {(category, split): (normal, bad) for category, split, normal, bad, _ in report.found}
    assert rows["gear", "train"] == (6, 0)
    assert rows["gear", "test"] == (2, 4)


def test_pictures_and_masks_come_back_as_they_were_made(mvtec):
    items = list(load_dataset("folder").items(mvtec, split="test"))
    bad = next(item for item in items if item.label == 1 and item.category == "gear")
    number = int(bad.path.stem)
    scene = family("gear", writing._seed(IMAGES, "gear", 0)).defective(number, size=64)
    sample = load_item(bad)
    assert np.array_equal(sample.data.pixels, scene.image)
    assert np.array_equal(sample.truth.mask, scene.mask)
    assert bad.defect_type == scene.defect_type


def test_words_lie_beside_the_mvtec_layout(mvtec):
    records = json.loads((mvtec / "words.json").read_text("utf-8"))
    assert len(records) == 36
    for record in records:
        assert (mvtec / record["image"]).is_file()
        assert (record["mask"] is None) != record["anomalous"]
        assert record["sections"]["description"]
        assert bool(record["sections"]["impact"]) == record["anomalous"]
    assert any(record["near_miss"] for record in records)


def test_the_riad_layout_splits_by_category_and_carries_dialogues(tmp_path):
    write_data_set(tmp_path / "riad", Order(layout="riad", categories=("nut", "woven", "pill"), count=6, size=64))
    items = list(load_dataset("riad").items(tmp_path / "riad"))
    assert len(items) == 18
    splits = {item.category: {one.split for one in items if one.category == item.category} for item in items}
    assert splits == {"nut": {"train"}, "woven": {"train"}, "pill": {"test"}}
    for item in items:
        assert item.turns
        assert item.turns[1].text.startswith("Yes" if item.label else "No")
    tested = [item for item in items if item.split == "test"]
    assert all(item.truth is not None for item in tested)
    assert {load_item(item).truth.label for item in tested} == {0, 1}


def test_the_instruct_layout_is_read_as_dialogues_with_masks_and_sections(tmp_path):
    order = Order(layout="instruct", categories=("gear", "woven"), count=4, size=64)
    write_data_set(tmp_path / "set", order)
    dataset = load_dataset("anomaly_instruct")
    assert check(dataset, tmp_path / "set").findings == ()
    items = list(dataset.items(tmp_path / "set"))
    assert [item.category for item in items] == ["gear"] * 4 + ["woven"] * 4
    assert all(item.path.is_file() for item in items)
    record = json.loads((tmp_path / "set" / "gear.json").read_text("utf-8"))[1]
    assert {"id", "image", "mask", "anomalous", "object", "defect_type", "conversations", "sections"} <= record.keys()
    assert record["anomalous"]
    assert (tmp_path / "set" / record["mask"]).is_file()
    first, second = record["conversations"][:2]
    assert first["from"] == "human"
    assert first["value"].startswith("<image>\n")
    assert second["value"].startswith("Yes")
    assert sum("<image>" in turn["value"] for turn in record["conversations"]) == 1
    assert {rule["verdict"] for rule in record["rules"]} <= {"kept", "broken"}


def test_clouds_are_read_with_a_label_for_every_point(tmp_path):
    write_data_set(tmp_path / "clouds", Order(kind="clouds", categories=("ring",), count=4))
    dataset = load_dataset("folder")
    assert check(dataset, tmp_path / "clouds", deep=True).findings == ()
    items = list(dataset.items(tmp_path / "clouds"))
    bad = next(item for item in items if item.label == 1)
    sample = load_item(bad)
    assert sample.modality == "point_cloud"
    assert sample.truth.mask.shape == (writing.POINTS,)
    assert 0 < sample.truth.mask.sum() < writing.POINTS


def test_videos_are_read_with_a_label_for_every_frame(tmp_path):
    pytest.importorskip("av")
    write_data_set(tmp_path / "videos", Order(kind="videos", categories=("press",), count=4, size=96))
    dataset = load_dataset("folder")
    assert check(dataset, tmp_path / "videos", deep=True).findings == ()
    bad = next(item for item in dataset.items(tmp_path / "videos") if item.label == 1)
    sample = load_item(bad)
    assert sample.modality == "video"
    assert sample.truth.mask.any()
    assert bad.defect_type in ("stoppage", "missing_part", "intruder", "wrong_order")


# ---------------------------------------------------------------- the same again


def test_more_processes_write_the_same_bytes(mvtec, tmp_path):
    write_data_set(tmp_path / "two", IMAGES, workers=2)
    assert digest(tmp_path / "two") == digest(mvtec)


def test_a_larger_count_keeps_the_training_pictures_of_the_first(mvtec, tmp_path):
    write_data_set(tmp_path / "more", Order(categories=("gear",), count=16, size=64))
    small, large = digest(mvtec), digest(tmp_path / "more")
    shared = [name for name in small if name.startswith("gear/train") and name in large]
    assert len(shared) == 6
    assert all(small[name] == large[name] for name in shared)


class Killed(Exception):
    """Stands for a power cut."""


def test_a_stopped_run_goes_on_and_ends_as_if_nothing_had_happened(mvtec, tmp_path, monkeypatch):
    folder = tmp_path / "stopped"

    def stop(finished, total):
        if finished == 10:
            raise Killed

    with pytest.raises(Killed):
        write_data_set(folder, IMAGES, progress=stop)
    assert not (folder / "words.json").exists()
    with (folder / writing.DONE).open("ab") as done:
        done.write(b'{"half a li')  # the process died while it wrote
    made: list[Scene] = []
    real = writing._write_image

    def counted(task, scene, split):
        made.append(scene)
        return real(task, scene, split)

    monkeypatch.setattr(writing, "_write_image", counted)
    write_data_set(folder, IMAGES)
    assert len(made) == 26
    assert digest(folder) == digest(mvtec)


def test_a_finished_set_is_not_made_again(mvtec, monkeypatch):
    before = digest(mvtec)
    monkeypatch.setattr(writing, "_make", lambda task: pytest.fail("nothing is left to make"))
    assert write_data_set(mvtec, IMAGES) == 36
    assert digest(mvtec) == before


def test_a_file_that_could_not_be_written_leaves_no_half_of_it(tmp_path, monkeypatch):
    def full(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writing.os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        writing._replace(tmp_path / "a.png", b"x")
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------- what is refused


def test_a_foreign_folder_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(UsageError, match="is not empty and was not made by looktwice generate: choose another folder"):
        write_data_set(tmp_path, IMAGES)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_file_in_the_place_of_the_folder_is_named(tmp_path):
    (tmp_path / "taken").write_text("x")
    with pytest.raises(UsageError, match="taken is a file: name a folder"):
        write_data_set(tmp_path / "taken", IMAGES)


def test_a_set_of_another_order_is_not_mixed_with_this_one(mvtec):
    other = Order(categories=IMAGES.categories, count=12, size=96, seed=1)
    with pytest.raises(UsageError, match=r"with other settings \(seed, size\): choose another folder"):
        write_data_set(mvtec, other)


def test_a_damaged_note_is_named(tmp_path):
    (tmp_path / writing.MADE).write_text("{")
    with pytest.raises(UsageError, match=r"looktwice-made.json is damaged"):
        write_data_set(tmp_path, IMAGES)


@pytest.mark.parametrize(
    ("order", "error", "words"),
    [
        (Order(kind="image"), UnknownName, "Unknown kind of data 'image'. Did you mean 'images'"),
        (Order(kind="clouds", layout="riad"), UsageError, "layout of clouds must be mvtec, got 'riad'"),
        (Order(layout="coco"), UsageError, "layout of images must be mvtec or riad or instruct, got 'coco'"),
        (Order(categories=("gaer",)), UnknownName, "Unknown category of images 'gaer'. Did you mean 'gear'"),
        (Order(level="x"), UsageError, "level must be one of easy, medium, hard, got 'x'"),
        (Order(count=0), UsageError, "count must be at least 1 and seed at least 0, got 0 and 0"),
        (Order(kind="videos", size=64), UsageError, "size of videos must be even and 96 to 512 pixels, got 64"),
        (Order(size=65), UsageError, "size of images must be even and 64 to 512 pixels, got 65"),
    ],
)
def test_an_order_that_cannot_be_met_is_refused_before_anything_is_written(order, error, words, tmp_path):
    with pytest.raises(error) as caught:
        write_data_set(tmp_path / "new", order)
    assert words in str(caught.value)
    assert not (tmp_path / "new").exists()


def test_without_pyav_no_video_is_begun(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingExtra, match=r"Writing MP4 needs the module 'av': pip install 'looktwice\[video\]'"):
        write_data_set(tmp_path / "new", Order(kind="videos"))
    assert not (tmp_path / "new").exists()


# ---------------------------------------------------------------- the command


@pytest.fixture
def cli():
    app = typer.Typer()
    app.command()(generate)
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_command_makes_a_set_and_says_so(cli, tmp_path):
    out = tmp_path / "set"
    done = cli(out, "--categories", "gear, pill", "--count", 4, "--size", 64, "--seed", 3)
    assert done.exit_code == 0
    assert done.stdout == f"8 images in {out}\n"
    assert "[8/8]" in done.stderr
    assert (out / "pill" / "train" / "good" / "00000.png").is_file()
    again = cli(out, "--categories", "gear,pill", "--count", 4, "--size", 64, "--seed", 3, "--quiet")
    assert again.exit_code == 0
    assert again.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--categories", "gaer"), "Error: Unknown category of images 'gaer'. Did you mean 'gear'"),
        (("--kind", "sounds"), "Error: Unknown kind of data 'sounds'"),
        (("--size", "20"), "Error: size of images must be even and 64 to 512 pixels, got 20"),
    ],
)
def test_the_command_names_what_is_wrong_in_one_line(cli, tmp_path, arguments, words):
    done = cli(tmp_path / "set", *arguments)
    assert done.exit_code == 2
    assert done.stderr.startswith(words)
    assert done.stderr.count("\n") == 1
