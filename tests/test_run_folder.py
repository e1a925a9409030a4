"""A results folder on disk: what is finished stays, whatever happens in between."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from looktwice.errors import BadFile, UsageError
from looktwice.records import Failure, Region, Result
from looktwice.report import jsonl
from looktwice.run_folder import RunFolder, own_names, settings_hash, write_reports

SETTINGS = {"model": "memory", "verdict": {"threshold": 0.5, "words": "score of at least 0.5"}}


def result(path, sha256="1", score=0.3, **more):
    return Result(id=Path(path).stem, path=path, modality="image", model="memory", score=score, verdict="normal",
                  sha256=sha256, **more)  # fmt: skip


def failed(path):
    return Result(id="x", path=path, modality=None, model="memory", error=Failure(kind="unreadable", message="broken"))


def opened(folder, **settings):
    one = RunFolder(folder, {**SETTINGS, **settings})
    one.unlock()
    return one


def paths_in(folder):
    return [one.path for one in jsonl.read(folder / "results.jsonl")]


def test_the_hash_of_settings_does_not_depend_on_their_order():
    assert settings_hash({"a": 1, "b": [2]}) == settings_hash({"b": [2], "a": 1})
    assert settings_hash({"a": 1}) != settings_hash({"a": 2})


def test_what_was_kept_is_done_for_the_same_content_only(tmp_path):
    folder = opened(tmp_path)
    folder.keep(result("a.png", "1"))
    again = opened(tmp_path)
    assert again.knows("a.png")
    assert again.done("a.png", "1") == result("a.png", "1")
    assert again.done("a.png", "2") is None
    assert again.done("b.png", "1") is None
    assert not again.knows("b.png")


def test_a_failure_is_kept_but_not_done(tmp_path):
    folder = opened(tmp_path)
    folder.keep(failed("a.png"))
    again = opened(tmp_path)
    assert not again.knows("a.png")
    assert again.done("a.png", "") is None
    assert paths_in(tmp_path) == ["a.png"]


def test_a_replaced_line_stays_until_tidying_and_the_latest_counts(tmp_path):
    folder = opened(tmp_path)
    for one in (result("a.png", "1"), result("b.png"), result("a.png", "2")):
        folder.keep(one)
    assert paths_in(tmp_path) == ["a.png", "b.png", "a.png"]
    again = opened(tmp_path)  # killed before it could tidy
    assert again.done("a.png", "2") is not None
    assert again.done("a.png", "1") is None
    again.tidy()
    assert paths_in(tmp_path) == ["b.png", "a.png"]


def test_half_a_last_line_is_dropped_and_said(tmp_path):
    folder = opened(tmp_path)
    folder.keep(result("a.png"))
    whole = (tmp_path / "results.jsonl").read_bytes()
    (tmp_path / "results.jsonl").write_bytes(whole + whole[:40])
    again = opened(tmp_path)
    assert "dropped half a last line (40 bytes)" in again.messages[0]
    assert (tmp_path / "results.jsonl").read_bytes() == whole


def test_a_damaged_line_in_the_middle_is_refused_by_its_number(tmp_path):
    folder = opened(tmp_path)
    folder.keep(result("a.png"))
    line = (tmp_path / "results.jsonl").read_bytes()
    (tmp_path / "results.jsonl").write_bytes(b"nonsense\n" + line)
    with pytest.raises(BadFile, match="line 1 is not a result"):
        opened(tmp_path)
    assert (tmp_path / "results.jsonl").read_bytes() == b"nonsense\n" + line


def test_files_that_a_killed_run_was_writing_are_removed(tmp_path):
    opened(tmp_path)
    for name in (".looktwice-1.tmp", "maps/.looktwice-2.tmp", "maps/film/.looktwice-3.tmp"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("half")
    opened(tmp_path)
    assert list(tmp_path.rglob("*.tmp")) == []


def test_a_result_counts_only_with_all_its_files(tmp_path):
    folder = opened(tmp_path)
    region = Region(score=0.5, words="", where="", points="points/a-1.npy")
    for name in ("maps/a.png", "points/a-1.npy"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("something")
    folder.keep(result("a.png", files={"map": "maps/a.png"}, regions=(region,)))
    assert folder.done("a.png", "1") is not None
    (tmp_path / "points/a-1.npy").write_text("")  # as after a power cut
    assert folder.done("a.png", "1") is None
    (tmp_path / "points/a-1.npy").unlink()
    assert folder.done("a.png", "1") is None


def test_a_replaced_result_takes_its_files_with_it_but_nothing_else(tmp_path):
    out = tmp_path / "out"
    folder = opened(out)
    for name in ("maps/a.png", "maps/both.png", "references/r.jpg"):
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).write_text("")
    (tmp_path / "precious.txt").write_text("")
    names = {"map": "maps/a.png", "heat": "maps/both.png", "reference": "references/r.jpg", "ply": "../precious.txt"}
    folder.keep(result("a.png", "1", files={**names, "mp4": "."}))
    folder.keep(result("a.png", "2", files={"heat": "maps/both.png"}))
    assert not (out / "maps/a.png").exists()
    assert (out / "maps/both.png").exists()
    assert (out / "references/r.jpg").exists()
    assert (tmp_path / "precious.txt").exists()
    assert (out / "results.jsonl").exists()


# ---------------------------------------------------------------- other settings


def test_other_settings_set_the_run_aside_and_name_the_change(tmp_path):
    opened(tmp_path).keep(result("a.png"))
    (tmp_path / "maps").mkdir()
    (tmp_path / "mine.txt").write_text("keep me here")
    new = opened(tmp_path, model="selfsim")
    place = tmp_path / "earlier" / settings_hash(SETTINGS)[:8]
    assert new.messages == [
        f"settings changed (model memory -> selfsim): a new run begins, the earlier one is kept in {place}"
    ]
    assert paths_in(place) == ["a.png"]
    assert (place / "maps").is_dir()
    assert sorted(p.name for p in tmp_path.iterdir() if not p.name.startswith(".")) == [
        "earlier",
        "mine.txt",
        "run.json",
    ]


def test_back_and_forth_keeps_every_run(tmp_path):
    for count, model in enumerate(("a", "b", "a", "b", "a")):
        opened(tmp_path, model=model).keep(result(f"{count}.png"))
    kept = sorted((p.name.partition("-")[2], paths_in(p)) for p in (tmp_path / "earlier").iterdir())
    assert kept == [("", ["0.png"]), ("", ["1.png"]), ("2", ["2.png"]), ("2", ["3.png"])]
    assert paths_in(tmp_path) == ["4.png"]


def test_a_crash_while_setting_aside_is_carried_on(tmp_path, monkeypatch):
    opened(tmp_path).keep(result("a.png"))
    (tmp_path / "maps").mkdir()
    real = os.replace

    def crash(source, target):
        if Path(source).name == "maps":
            raise KeyboardInterrupt
        real(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", crash)
        with pytest.raises(KeyboardInterrupt):
            opened(tmp_path, model="selfsim")
    opened(tmp_path, model="selfsim")
    (place,) = (tmp_path / "earlier").iterdir()
    assert sorted(p.name for p in place.iterdir()) == ["maps", "results.jsonl", "run.json"]


def test_results_without_a_description_are_another_run(tmp_path):
    jsonl.append(tmp_path / "results.jsonl", result("a.png"))
    new = opened(tmp_path)
    assert new.messages == [
        f"results of an unknown run are kept in {tmp_path / 'earlier' / 'unknown'}: a new run begins"
    ]
    assert not new.knows("a.png")


@pytest.mark.parametrize("text", ["{half", "[1, 2]", '{"name": "my own run"}'])
def test_a_run_json_of_someone_else_is_left_alone(tmp_path, text):
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(BadFile, match=r"run\.json: not a run description.*hoose another --out"):
        opened(tmp_path)
    assert (tmp_path / "run.json").read_text() == text
    assert own_names(tmp_path) == frozenset()


def test_words_that_change_no_result_are_no_new_run(tmp_path):
    RunFolder(tmp_path, SETTINGS, {"made": {"Command": "one"}}).unlock()
    again = RunFolder(tmp_path, SETTINGS, {"made": {"Command": "two"}})
    assert again.messages == []
    assert json.loads((tmp_path / "run.json").read_text())["made"] == {"Command": "two"}


# ---------------------------------------------------------------- one writer


def test_another_process_is_refused_until_the_first_ends_even_when_killed(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from looktwice.run_folder import RunFolder\n"
        "folder = RunFolder(Path(sys.argv[1]), {'a': 1}); print('locked', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "locked\n"
        with pytest.raises(UsageError, match="another run is writing to"):
            RunFolder(tmp_path, {"a": 1})
        other.kill()
    RunFolder(tmp_path, {"a": 1}).unlock()


def test_the_results_folder_knows_its_own_names(tmp_path):
    assert own_names(tmp_path) == frozenset()
    opened(tmp_path)
    assert {"maps", "earlier", "results.jsonl", "report.html"} <= own_names(tmp_path)


# ---------------------------------------------------------------- reports


def test_reports_come_from_what_is_on_disk_ordered_by_path(tmp_path):
    shown = {"made": {"Model": "memory"}, "references": ["good/1.png"]}
    folder = RunFolder(tmp_path, {**SETTINGS, "sheet": {"task": "Find scratches.", "rules": []}}, shown)
    for one in (result("b.png"), failed("c.png"), result("a.png", score=0.3), result("b.png", score=0.2)):
        folder.keep(one)
    written, problems = write_reports(tmp_path, ("html", "coco", "ply"))
    assert (written, problems) == ([tmp_path / "report.html", tmp_path / "coco.json"], [])
    page = (tmp_path / "report.html").read_text("utf-8")
    assert "3 samples inspected" in page
    assert "Find scratches." in page
    assert "good/1.png" in page
    assert page.index("a.png") < page.index("b.png")


def test_a_folder_without_a_run_has_no_report(tmp_path):
    with pytest.raises(UsageError, match=r"is not a results folder: it has no run\.json"):
        write_reports(tmp_path, ("html",))
    opened(tmp_path)
    with pytest.raises(BadFile, match="inspect something first"):
        write_reports(tmp_path, ("html",))
