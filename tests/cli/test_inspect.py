"""`looktwice inspect` as a person and as a program uses it: exit codes, output, resume after a kill."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from fake_detectors import cloud, frames, picture
from PIL import Image
from typer.testing import CliRunner

from looktwice.cli.main import app
from looktwice.report.jsonl import result_schema

LOOKTWICE = [sys.executable, "-c", "from looktwice.cli.main import run; run()"]


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def cli(*arguments, **options):
    return CliRunner().invoke(app, ["inspect", *map(str, arguments)], **options)


def shell(*arguments, **options):
    return subprocess.run([*LOOKTWICE, *arguments], capture_output=True, text=True, timeout=60, **options)


def parts():
    picture(Path("parts/good.png"), size=64)
    picture(Path("parts/bad.png"), spot=True, size=64)


# ---------------------------------------------------------------- exit codes


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["parts"], 0),
        (["parts", "--fail-on", "anomaly", "--threshold", "1"], 0),
        (["parts", "--fail-on", "anomaly", "--threshold", "0"], 1),
        (["parts", "--threshold", "0"], 0),
        (["parts", "no.png"], 3),
        (["parts", "no.png", "--fail-on", "anomaly", "--threshold", "0"], 3),
        (["parts", "--threshold", "2"], 2),
        ([], 2),
    ],
)
def test_the_exit_code_says_what_happened(arguments, code):
    parts()
    assert cli(*arguments).exit_code == code


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-m", "selfsmi"], "Error: Unknown model 'selfsmi'. Did you mean 'selfsim'? All names: looktwice models"),
        (["-m", "memory"], "Error: memory needs references: name normal samples with --reference or in a sheet, or"),
        (["--fail-on", "defect"], "Error: --fail-on takes 'anomaly', got 'defect'"),
        (["--format", "html,cocoo"], "Error: Unknown format 'cocoo'. Did you mean 'coco'? Known: html, coco, jsonl"),
        (["--format", ","], "Error: no format given. Known: html, coco"),
        (["--option", "size"], "Error: --option takes KEY=VALUE, got 'size'"),
        (["--option", "sise=3"], "Error: selfsim option 'sise': Extra inputs are not permitted. Its options: size, "),
        (["--option", "size=[1"], "Error: --option size: '[1' is no value: "),
        (["--set", "image.max_pixel=5"], "Error: Unknown setting 'image.max_pixel'. Did you mean 'image.max_pixels'?"),
        (["--set", "image.max_pixels=0"], "Error: setting image.max_pixels: Input should be greater than or equal to"),
        (["--fps", "2", "--count", "3"], "Error: setting video: Value error, give at most one of fps, count and every"),
        (["--modality", "picture"], "Error: Unknown modality 'picture'. "),
        (["--sheet", "no.yaml"], "Error: no.yaml: no such inspection sheet"),
        (["--reference", "no.png"], "Error: no such file: 'no.png'"),
        (["--calibration", "no.json"], "Error: no.json: no such file. Make one: looktwice calibrate"),
        (["--out", "parts/good.png"], "Error: cannot write results to parts/good.png: is a file. Choose another --out"),
    ],
)
def test_a_wrong_call_is_one_line_that_says_what_is_allowed(arguments, words):
    parts()
    done = cli("parts", *arguments)
    assert done.exit_code == 2
    assert done.stdout == ""
    assert done.stderr.startswith(words)
    assert done.stderr.count("\n") == 1


def test_a_control_character_in_a_name_never_reaches_the_terminal():
    name = "\x1b[2J\x1b[31mred\u202egnp.png"
    picture(Path(name), size=64)
    done = cli(name, "no\x1b[2J.png", "--format", "html")
    assert done.exit_code == 3
    refused = cli(name, "--reference", "no\x1b[2J.png")
    assert refused.exit_code == 2
    for text in (done.output, refused.output):
        assert "\x1b" not in text
        assert "\u202e" not in text
    assert "\\x1b[2J\\x1b[31mred\\x202egnp.png" in done.output


# ---------------------------------------------------------------- what is printed


def test_json_is_one_object_per_line_and_nothing_else():
    parts()
    cloud(Path("parts/ball.xyz"))
    frames(Path("parts/film.frames"), 3)
    Path("parts/broken.png").write_text("nonsense")
    done = cli("parts", "no.png", "--json", "--out", "out", "--set", "point_cloud.size=64")
    assert done.exit_code == 3
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["path"] for row in rows] == [
        "parts/bad.png", "parts/ball.xyz", "parts/broken.png", "parts/film.frames", "parts/good.png", "no.png",
    ]  # fmt: skip
    assert done.stdout == Path("out/results.jsonl").read_text("utf-8")
    assert "[6/6] failed no.png (0 s left)" in done.stderr
    schema = result_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    for row in rows:
        jsonschema.validate(row, schema)
        assert all((Path("out") / name).exists() for name in row["files"].values())


def test_json_is_utf8_whatever_the_terminal_speaks():
    picture(Path("画像.png"), size=64)
    done = subprocess.run(
        [*LOOKTWICE, "inspect", "画像.png", "--json"],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "cp1252"},
    )
    assert done.returncode == 0
    assert json.loads(done.stdout.decode("utf-8"))["path"] == "画像.png"


def test_a_terminal_that_knows_no_signs_does_not_stop_the_run():
    picture(Path("画像.png"), size=64)
    done = subprocess.run(
        [*LOOKTWICE, "inspect", "画像.png"], capture_output=True, env={**os.environ, "PYTHONIOENCODING": "cp1252"}
    )
    assert done.returncode == 0
    assert b"? normal" in done.stdout


def test_a_table_in_a_pipe_is_aligned_and_counts():
    parts()
    done = cli("parts", "no.png")
    head, *rows, counts, report = done.stdout.splitlines()
    assert head.split() == ["verdict", "score", "modality", "file", "s", "where", "and", "what"]
    column = head.index("file")
    assert [row[column:].split()[0] for row in rows] == ["parts/bad.png", "parts/good.png", "no.png"]
    assert rows[2].endswith("no such file")
    assert re.fullmatch(r"3 inspected: .*1 failed", counts)
    assert report == "Report: looktwice-results/report.html"
    line = r"\[1/3\] anomalous 0\.\d{3} parts/bad\.png \(\d+ s left\)"
    assert re.fullmatch(line, done.stderr.splitlines()[0])


def test_files_of_one_folder_are_shown_below_it():
    parts()
    done = cli("parts")
    assert "2 inspected in parts: " in done.stdout
    assert " bad.png " in done.stdout


def test_a_bar_is_drawn_on_a_terminal_and_a_markup_like_name_breaks_nothing():
    picture(Path("z[red]x[/blue].png"), size=64)
    parts()
    main, other = pty.openpty()
    with subprocess.Popen(
        [*LOOKTWICE, "inspect", ".", "--json"],
        stdout=subprocess.PIPE,
        stderr=other,
        env={**os.environ, "TERM": "xterm"},
    ) as process:
        assert process.stdout is not None
        out = process.stdout.read()
        assert process.wait(60) == 0
    os.close(other)
    seen = b""
    while True:
        try:
            block = os.read(main, 65536)
        except OSError:  # how Linux says that the other end is closed
            break
        if not block:
            break
        seen += block
    os.close(main)
    assert "━".encode() in seen
    assert b"3/3" in seen
    assert b"z[red]x[/blue].png" in seen
    assert len(out.splitlines()) == 3


def test_a_reader_that_leaves_is_no_traceback():
    for i in range(6):
        picture(Path(f"parts/{i}.png"), size=64)
    done = subprocess.run(
        ["bash", "-c", '"$@" | head -n 1; exit "${PIPESTATUS[0]}"', "-", *LOOKTWICE, "inspect", "parts", "--json"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert len(done.stdout.splitlines()) == 1
    assert "Traceback" not in done.stderr
    assert done.returncode in (0, 141)


# ---------------------------------------------------------------- lists


def test_a_list_comes_from_standard_input_with_blank_lines_and_missing_files():
    parts()
    picture(Path(" odd name.png"), size=64)
    listed = "parts/good.png\r\n\n  \nno.png\n odd name.png\nparts/good.png\n"
    done = cli("-", "--json", input=listed)
    assert done.exit_code == 3
    assert [json.loads(line)["path"] for line in done.stdout.splitlines()] == [
        "parts/good.png", "no.png", " odd name.png",
    ]  # fmt: skip


def test_an_empty_list_is_a_wrong_call():
    done = cli("-", input="\n\n")
    assert (done.exit_code, done.stderr) == (2, "Error: nothing to inspect: the list on standard input is empty\n")


def test_a_name_with_a_dash_comes_after_two_dashes():
    picture(Path("-m.png"), size=64)
    assert cli("--json", "--", "-m.png").exit_code == 0
    assert cli("-", "--json", input="-m.png\n").exit_code == 0


# ---------------------------------------------------------------- stopped and resumed


def many(count=40, size=160):
    rng = np.random.default_rng(0)
    for i in range(count):
        pixels = rng.integers(100, 200, (size, size, 3), np.uint8)
        Path("many").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(f"many/{i:02d}.png")
    return count


def stopped_midway(how):
    """Start a run, send it a signal when its second line is on disk; returns (exit code, lines kept, stderr)."""
    with subprocess.Popen(
        [*LOOKTWICE, "inspect", "many", "--out", "out"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as run:
        for _ in range(3000):
            if Path("out/results.jsonl").exists() and Path("out/results.jsonl").read_bytes().count(b"\n") >= 2:
                break
            time.sleep(0.01)
        run.send_signal(how)
        _, err = run.communicate(timeout=60)
    kept = Path("out/results.jsonl").read_bytes().splitlines(keepends=True)
    return run.returncode, kept, err.decode()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_is_stopped_goes_on_with_each_sample_exactly_once(how):
    count = many()
    code, kept, err = stopped_midway(how)
    assert 1 <= len(kept) < count
    if how == signal.SIGINT:
        assert code == 130
        assert "Interrupted. What is finished is kept: run the same command again to go on." in err
        assert f"{len(kept)} sample" in Path("out/report.html").read_text("utf-8")
    whole = [line for line in kept if line.endswith(b"\n")]
    done = cli("many", "--out", "out")
    assert done.exit_code == 0
    assert f"going on with the run in out: {len(whole)} finished before" in done.stderr
    after = Path("out/results.jsonl").read_bytes().splitlines(keepends=True)
    assert after[: len(whole)] == whole
    assert [json.loads(line)["path"] for line in after] == [f"many/{i:02d}.png" for i in range(count)]
    assert list(Path("out").rglob("*.tmp")) == []


def test_a_disk_that_takes_no_more_ends_the_run_with_a_sentence_and_the_results():
    picture(Path("parts/0.png"), size=64)
    noise = np.random.default_rng(0).integers(0, 255, (1500, 1500, 3), np.uint8)
    Image.fromarray(noise).save("parts/1.png")
    limit = 'ulimit -f 600; exec "$@"'  # kilobytes per file
    run = ["bash", "-c", limit, "-", *LOOKTWICE, "inspect", "parts", "--out", "out"]
    done = subprocess.run(run, capture_output=True, text=True, timeout=60)
    assert done.returncode == 3
    assert done.stderr.splitlines()[-1] == (
        "Error: cannot write to out: File too large. What is finished is kept in out/results.jsonl: "
        "free some space and run the same command again"
    )
    (line,) = Path("out/results.jsonl").read_text("utf-8").splitlines()
    assert json.loads(line)["path"] == "parts/0.png"
    assert "1 sample inspected" in Path("out/report.html").read_text("utf-8")


def test_changed_settings_are_said_and_the_same_ones_too():
    parts()
    cli("parts")
    assert "going on with the run in looktwice-results: 2 finished before" in cli("parts").stderr
    changed = cli("parts", "--threshold", "0.7").stderr
    assert "settings changed (verdict.threshold 0.5 -> 0.7): a new run begins, the earlier one is kept in" in changed


def test_a_report_that_cannot_be_written_is_said_and_the_exit_code_tells(monkeypatch):
    import looktwice.report.html as html

    parts()
    monkeypatch.setattr(html, "write_html", lambda *_, **__: 1 / 0)
    done = cli("parts")
    assert done.exit_code == 3
    assert "Warning: the html report could not be written: ZeroDivisionError" in done.stderr
    assert done.stderr.count("could not be written") == 1


# ---------------------------------------------------------------- the sheet by flags


def test_the_sheet_can_be_given_by_flags_and_reaches_the_report():
    parts()
    flags = ["--task", "Find stains.", "--object", "plate", "--context", "lit from above", "--rule", "no stain",
             "--rule", "edge: straight edges", "--reference", "parts/good.png"]  # fmt: skip
    done = cli("parts/bad.png", "--json", *flags)
    assert done.exit_code == 0
    row = json.loads(done.stdout)
    assert row["model"] == "memory"
    assert [(rule["id"], rule["verdict"]) for rule in row["rules"]] == [("r1", "not judged"), ("edge", "not judged")]
    page = Path("looktwice-results/report.html").read_text("utf-8")
    for words in ("Find stains.", "lit from above", "straight edges", "parts/good.png", "looktwice "):
        assert words in page
