import errno
import json
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from looktwice.errors import BadFile, UsageError
from looktwice.records import Result
from looktwice.report import jsonl
from looktwice.report.atomic import atomic_stream, write_atomically

from . import made


def test_every_kind_of_result_comes_back_as_it_went(tmp_path: Path) -> None:
    results = made.run(tmp_path)
    file = tmp_path / "new" / "results.jsonl"
    for result in results:
        jsonl.append(file, result)
    assert jsonl.read(file) == results
    assert file.read_bytes().count(b"\n") == len(results)


def test_real_lines_follow_the_published_schema(tmp_path: Path) -> None:
    schema = jsonl.result_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$id"] == "urn:looktwice:result:1"
    check = jsonschema.Draft202012Validator(schema)
    for result in made.run(tmp_path):
        check.validate(json.loads(result.to_json()))


@pytest.mark.parametrize(
    "change",
    [
        {"score": 1.5},
        {"verdict": "perhaps"},
        {"verdict": None},
        {"error": {"kind": "unreadable", "message": ""}},
        {"surprise": 1},
        {"regions": [{"score": 0.4}]},
    ],
)
def test_the_schema_refuses_what_the_record_refuses(tmp_path: Path, change: dict[str, object]) -> None:
    line = {**json.loads(made.image_result(tmp_path).to_json()), **change}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(jsonl.result_schema()).validate(line)
    with pytest.raises(ValueError, match="validation error"):
        Result.model_validate(line)


def test_the_schema_explains_every_field() -> None:
    fields = jsonl.result_schema()["properties"]
    assert set(fields) == set(jsonl.MEANING) == set(Result.model_fields)
    assert all(field["description"] for field in fields.values())


@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
@settings(deadline=None, max_examples=30)
def test_no_text_can_break_a_line(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    file = tmp_path_factory.mktemp("any") / "results.jsonl"
    result = made.failed_result().model_copy(update={"path": text, "words": text + "\u2028\r\n"})
    jsonl.append(file, result)
    jsonl.append(file, result)
    assert jsonl.read(file) == [result, result]


def test_a_torn_last_line_is_dropped_and_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "results.jsonl"
    result = made.failed_result("schön.png")
    jsonl.append(file, result)
    whole = file.read_bytes()
    for cut in range(1, len(whole) - 1):  # wherever the power went, within a character too
        file.write_bytes(whole + whole[:cut])
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            assert jsonl.read(file) == [result]
        assert f"left out half a last line ({cut} bytes)" in caplog.text


def test_a_last_line_that_only_lacks_its_end_is_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "results.jsonl"
    result = made.failed_result()
    file.write_text(result.to_json())
    assert jsonl.read(file) == [result]
    assert caplog.text == ""
    assert jsonl.repair(file) == f"{file}: ended its last line"
    jsonl.append(file, result)
    assert jsonl.read(file) == [result, result]


def test_repair_drops_the_torn_line_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "results.jsonl"
    result = made.failed_result()
    jsonl.append(file, result)
    whole = file.read_bytes()
    assert jsonl.repair(file) is None
    file.write_bytes(whole + b'{"id": "half')
    with pytest.raises(BadFile, match=r"ends in half a line, as after a crash. Call jsonl.repair first"):
        jsonl.append(file, result)
    assert jsonl.repair(file) == f"{file}: dropped half a last line (12 bytes), as a killed run leaves it"
    assert file.read_bytes() == whole
    jsonl.append(file, result)
    assert file.read_bytes() == whole * 2
    assert [p.name for p in tmp_path.iterdir()] == ["results.jsonl"]


def test_a_damaged_line_in_the_middle_is_named(tmp_path: Path) -> None:
    file = tmp_path / "results.jsonl"
    line = made.failed_result().to_json()
    file.write_text(f"{line}\n{line[:40]}\n{line}\n")
    for call in (jsonl.read, jsonl.repair):
        with pytest.raises(BadFile, match=r"line 2 is not a result: Invalid JSON.* Remove that line") as caught:
            call(file)
        assert caught.value.kind == "unreadable"
    file.write_text(f'{line}\n{{"id": "a"}}\n')  # whole, so nothing was torn: wrong even as the last line
    with pytest.raises(BadFile, match=r"line 2 is not a result: path: Field required"):
        jsonl.read(file)


def test_a_missing_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="no such file: inspect something first") as caught:
        jsonl.read(tmp_path / "results.jsonl")
    assert caught.value.kind == "missing_file"


def test_an_empty_file_holds_no_results(tmp_path: Path) -> None:
    file = tmp_path / "results.jsonl"
    file.write_bytes(b"")
    assert jsonl.read(file) == []
    assert jsonl.repair(file) is None


def test_a_full_disk_leaves_no_half_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "results.jsonl"
    result = made.failed_result()
    jsonl.append(file, result)
    before = file.read_bytes()
    write, calls = os.write, []

    def full(handle: int, data: bytes) -> int:
        calls.append(len(data))
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(handle, data[:20])  # a short write first

    monkeypatch.setattr(jsonl.os, "write", full)
    with pytest.raises(OSError, match="No space left"):
        jsonl.append(file, result)
    monkeypatch.undo()
    assert len(calls) == 2
    assert file.read_bytes() == before
    jsonl.append(file, result)
    assert jsonl.read(file) == [result, result]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_real_full_device_raises(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"No space left|Invalid argument"):
        jsonl.append("/dev/full", made.failed_result())


def test_short_writes_are_carried_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(jsonl.os, "write", lambda handle, data: write(handle, data[:7]))
    jsonl.append(tmp_path / "results.jsonl", made.failed_result())
    monkeypatch.undo()
    assert jsonl.read(tmp_path / "results.jsonl") == [made.failed_result()]


def test_a_line_and_its_folder_are_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[bool] = []  # for each call: was it a folder
    real = os.fsync

    def fsync(handle: int) -> None:
        synced.append(os.path.isdir(f"/proc/self/fd/{handle}") if os.path.isdir("/proc/self/fd") else False)
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    jsonl.append(tmp_path / "results.jsonl", made.failed_result())
    assert len(synced) == 2
    assert synced[0] is False
    jsonl.append(tmp_path / "results.jsonl", made.failed_result())
    assert len(synced) == 3  # the folder at creation only


def test_a_result_that_could_not_be_read_again_is_refused(tmp_path: Path) -> None:
    result = made.failed_result().model_copy(update={"evidence": {"distance": float("nan")}})
    with pytest.raises(UsageError, match=r"cannot be kept as JSON: evidence\.distance"):
        jsonl.append(tmp_path / "results.jsonl", result)
    assert not (tmp_path / "results.jsonl").exists()


@pytest.mark.skipif(os.name == "nt", reason="needs kill -9")
def test_kill_9_loses_no_line_that_was_appended(tmp_path: Path) -> None:
    file = tmp_path / "results.jsonl"
    code = (
        "import sys; from looktwice.records import Failure, Result; from looktwice.report import jsonl\n"
        "r = Result(id='a', path='a', modality=None, model='m', error=Failure(kind='empty', message='x' * 5000))\n"
        "while True: jsonl.append(sys.argv[1], r); print('done', flush=True)"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(file)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    told = 0
    with child.stdout:
        while told < 20 and child.stdout.readline():
            told += 1
        child.send_signal(signal.SIGKILL)
        told += len(child.stdout.readlines())
    assert child.wait() == -signal.SIGKILL
    assert told >= 20
    jsonl.repair(file)
    assert len(jsonl.read(file)) in (told, told + 1)  # the one that was on disk and not yet told


def test_a_file_is_whole_or_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "report.html"
    write_atomically(file, "ä")
    assert file.read_bytes() == "ä".encode()
    write_atomically(file, b"new")

    def stop_half_way() -> None:
        with atomic_stream(file) as stream:
            stream.write(b"half")
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        stop_half_way()
    assert file.read_bytes() == b"new"
    assert [p.name for p in file.parent.iterdir()] == ["report.html"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no file modes")
def test_a_written_file_can_be_read_by_others(tmp_path: Path) -> None:
    mask = os.umask(0o022)
    try:
        assert write_atomically(tmp_path / "a", "x").stat().st_mode & 0o777 == 0o644
    finally:
        os.umask(mask)
