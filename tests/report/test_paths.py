"""Paths shown short, the newest lines of a run, and lists that fold."""

import doctest
import os
import re

import pytest

from looktwice.records import Region, Result, RuleFinding
from looktwice.report import html, jsonl, paths
from looktwice.report.atomic import write_atomically
from looktwice.report.paths import below, shared_folder
from report.made import image_result


@pytest.mark.parametrize("module", [html, paths])
def test_the_examples_run(module):
    done = doctest.testmod(module)
    assert done.attempted > 0
    assert done.failed == 0


@pytest.mark.parametrize(
    ("files", "folder"),
    [
        ([], ""),
        (["a.png"], ""),
        (["parts/a.png"], "parts"),
        (["parts/a.png", "parts/left/b.png"], "parts"),
        (["parts_1/a.png", "parts_2/b.png"], ""),
        (["/x/y/a.png", "/x/z/b.png"], "/x"),
        (["/x/a.png", "x/a.png"], ""),
        (["../a.png", "../b/c.png"], ".."),
    ],
)
def test_the_folder_all_files_share_is_found_and_taken_off(files, folder):
    assert shared_folder(files) == folder
    assert [f"{folder}/{below(one, folder)}" if folder else below(one, folder) for one in files] == files


def line(path, sha256):
    return Result(id="x", path=path, modality="image", model="m", score=0, verdict="normal", sha256=sha256)


def test_only_the_latest_line_of_a_path_stays_with_its_bytes(tmp_path):
    file = tmp_path / "results.jsonl"
    for one in (line("a", "1"), line("b", "1"), line("a", "2")):
        jsonl.append(file, one)
    before = file.read_bytes().splitlines(keepends=True)
    assert jsonl.keep_latest(file) == 1
    assert file.read_bytes() == before[1] + before[2]
    assert jsonl.keep_latest(file) == 0
    file.write_bytes(file.read_bytes() + before[0][:30])
    jsonl.keep_latest(file)
    assert [one.sha256 for one in jsonl.read(file)] == ["1", "2"]


def test_a_file_that_is_not_synced_is_whole_or_not_there_too(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _: 1 / 0)
    assert write_atomically(tmp_path / "a", b"whole", sync=False).read_bytes() == b"whole"
    monkeypatch.setattr(os, "replace", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_atomically(tmp_path / "b", b"half", sync=False)
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def page(folder, **changed):
    one = image_result(folder).model_copy(update=changed)
    return html.write_html(folder, [one], None, {}).read_text("utf-8")


def test_regions_beyond_the_fifth_fold(tmp_path):
    regions = tuple(Region(score=0.9, words=f"Place {i}.", where="centre", box=(i, i, i + 9, i + 9)) for i in range(12))
    shown = page(tmp_path, regions=regions)
    assert "7 more regions" in shown
    assert shown.index("Place 4.") < shown.index("7 more regions") < shown.index("Place 5.")
    assert [int(n) for n in re.findall(r'data-region="(\d+)"', shown)] == list(range(1, 13))
    assert "more regions" not in page(tmp_path, regions=regions[:5])


def test_rules_that_nobody_judged_fold_into_one_line(tmp_path):
    rules = tuple(RuleFinding(id=f"r{i}", text="t", verdict="not judged", reason="cannot read") for i in range(3))
    broken = RuleFinding(id="x", text="open holes", verdict="broken", reason="one is closed")
    shown = page(tmp_path, rules=(*rules, broken), explanation=None)
    assert "3 rules were not judged: <bdi>cannot read</bdi>" in shown
    assert shown.count("cannot read") == 1
    assert shown.index("one is closed") < shown.index("3 rules were not judged")
    assert "not judged" not in page(tmp_path, rules=(broken,), explanation=None)
