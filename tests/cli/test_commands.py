"""The other commands, and what all share: quick start, listings, schemas, reports, calibration, the demo."""

import json
import subprocess
import sys
import time
from pathlib import Path

import jsonschema
import pytest
from fake_detectors import Dark, picture, pictures
from typer.testing import CliRunner

from looktwice import detectors
from looktwice.cli.console import duration, printable
from looktwice.cli.main import app

LOOKTWICE = [sys.executable, "-c", "from looktwice.cli.main import run; run()"]


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def cli(*arguments, **options):
    return CliRunner().invoke(app, list(map(str, arguments)), **options)


# ---------------------------------------------------------------- quick start

HEAVY = ["numpy", "scipy", "PIL", "jinja2", "yaml", "av", "trimesh", "tifffile", "torch", "transformers", "openai"]


@pytest.mark.parametrize(
    "arguments", [["--help"], ["inspect", "--help"], ["models"], ["models", "--json"], ["schema", "--help"]]
)
def test_help_and_listings_load_nothing_heavy(arguments):
    code = (
        "import sys\nfrom looktwice.cli.main import run\nsys.argv[0] = 'looktwice'\n"
        "try:\n    run()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        f"print('LOADED', [name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "LOADED []"


def test_help_answers_in_half_a_second():
    def seconds():
        start = time.perf_counter()
        subprocess.run([*LOOKTWICE, "--help"], capture_output=True, check=True)
        return time.perf_counter() - start

    assert min(seconds() for _ in range(4)) < 0.5


def test_every_command_has_its_help():
    listed = cli("--help").stdout
    for command in ("inspect", "ask", "check", "calibrate", "report", "models", "demo", "schema", "datasets"):
        assert command in listed
        assert cli(command, "--help").exit_code == 0


def test_the_version_is_printed():
    from looktwice import __version__

    assert cli("--version").stdout == f"looktwice {__version__}\n"


# ---------------------------------------------------------------- models and schemas


def test_models_lists_each_with_what_it_needs():
    head, *rows = cli("models").stdout.splitlines()
    assert head.split() == ["name", "modalities", "shots", "localises", "explains", "weights", "paper"]
    assert [row.split()[0] for row in rows] == list(detectors.CARDS)
    assert "few-shot" in rows[0]
    assert "none needed" in rows[0]


@pytest.mark.parametrize("name", list(detectors.DETECTORS))
def test_one_model_is_shown_with_its_options(name):
    shown = cli("models", name).stdout
    assert shown.startswith(f"{name}: {detectors.CARDS[name].summary}")
    for option in detectors.DETECTORS.load(name).Config.model_fields:
        assert f"    {option}=" in shown
    assert json.loads(cli("models", name, "--json").stdout)["name"] == name


def test_models_as_json_is_a_list_of_all():
    rows = json.loads(cli("models", "--json").stdout)
    assert [row["name"] for row in rows] == list(detectors.CARDS)
    assert all(isinstance(row["weights_present"], bool) for row in rows)


def test_an_unknown_model_or_schema_is_named_with_the_nearest():
    done = cli("models", "memry")
    assert (done.exit_code, done.stderr) == (
        2,
        "Error: Unknown model 'memry'. Did you mean 'memory'? All names: looktwice models\n",
    )
    done = cli("schema", "sheets")
    assert (done.exit_code, done.stderr) == (
        2,
        "Error: Unknown schema 'sheets'. Did you mean 'sheet'? Known: sheet, result.\n",
    )


@pytest.mark.parametrize("name", ["sheet", "result"])
def test_the_published_schemas_are_schemas(name):
    jsonschema.Draft202012Validator.check_schema(json.loads(cli("schema", name).stdout))


# ---------------------------------------------------------------- report


def inspected():
    pictures(Path("parts"), 2)
    for one in Path("parts").iterdir():
        picture(one, size=64)
    assert cli("inspect", "parts", "--out", "out", "--task", "Find stains.").exit_code == 0


def test_reports_are_written_again_from_the_results_alone():
    inspected()
    first = Path("out/report.html").read_bytes()
    Path("out/report.html").unlink()
    for one in Path("parts").iterdir():
        one.unlink()
    done = cli("report", "out", "--format", "html,coco")
    assert (done.exit_code, done.stdout) == (0, "Report: out/report.html\nReport: out/coco.json\n")
    assert Path("out/report.html").read_bytes() == first
    assert len(json.loads(Path("out/coco.json").read_text("utf-8"))["images"]) == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere"], "Error: nowhere is not a results folder: it has no run.json\n"),
        (["out", "--format", "htlm"], "Error: Unknown format 'htlm'. Did you mean 'html'? Known: "),
        (
            ["out", "--format", "html,ply"],
            "Error: ply is written while a sample is inspected, not afterwards. Known here",
        ),
    ],
)
def test_a_report_that_cannot_be_is_refused(arguments, words):
    Path("out").mkdir()
    done = cli("report", *arguments)
    assert done.exit_code == 2
    assert done.stderr.startswith(words)


def test_a_report_that_fails_is_said(monkeypatch):
    import looktwice.report.html as html

    inspected()
    monkeypatch.setattr(html, "write_html", lambda *_, **__: 1 / 0)
    done = cli("report", "out")
    assert done.exit_code == 3
    assert "Error: the html report could not be written: ZeroDivisionError: division by zero" in done.stderr


# ---------------------------------------------------------------- check and calibrate


def fake_model(monkeypatch):
    """Every name of a model is the detector that looks for what is dark."""
    monkeypatch.setattr(detectors, "load", lambda name, **options: Dark())


def sheet(text):
    Path("sheet.yaml").write_text(text)
    return "sheet.yaml"


def test_check_runs_the_tests_of_a_sheet(monkeypatch):
    fake_model(monkeypatch)
    picture(Path("r.png"), seed=9)
    pictures(Path("good"), 2)
    picture(Path("bad/0.png"), spot=True)
    picture(Path("bad/1.png"), grey=220)
    path = sheet(
        "task: Find dark spots.\nobject: plate\nrules:\n- id: spots\n  text: There is no dark spot on it.\n"
        "references: [r.png]\ntests:\n  must_pass: [good]\n  must_fail: [bad]\n"
    )
    plain = cli("check", path)
    assert plain.exit_code == 0
    done = cli("check", path, "--run")
    assert done.exit_code == 1
    rows = [line.split()[:3] for line in done.stdout.splitlines() if line.startswith(("ok", "WRONG"))]
    assert rows == [["ok", "normal", "normal"]] * 2 + [
        ["ok", "anomalous", "anomalous"],
        ["WRONG", "anomalous", "normal"],
    ]
    assert "3 of 4 tests as expected" in done.stdout
    as_json = json.loads(cli("check", path, "--run", "--json").stdout)
    assert [test["right"] for test in as_json["tests"]] == [True, True, True, False]


def test_check_says_where_a_sheet_is_wrong():
    done = cli("check", sheet("task: look\nruels: []\n"), "--run")
    assert done.exit_code == 1
    assert "sheet.yaml:2: error: unknown key 'ruels'" in done.stdout
    assert "tests not run: mend the errors first" in done.stdout


def test_check_says_that_a_sheet_names_no_tests(monkeypatch):
    fake_model(monkeypatch)
    picture(Path("r.png"))
    done = cli("check", sheet("task: Find dark spots.\nobject: plate\nreferences: [r.png]\n"), "--run")
    assert "the sheet names no tests: add 'tests:' with must_pass and must_fail" in done.stdout


def test_calibrate_writes_what_inspect_takes(monkeypatch):
    fake_model(monkeypatch)
    pictures(Path("normal"), 19)
    picture(Path("x.png"), spot=True)
    done = cli("calibrate", "-m", "selfsim", "--normal", "normal", "--alpha", "0.1", "-o", "cal.json")
    assert done.exit_code == 0
    assert "image: at most 10 % of normal parts are called anomalous (split-conformal, 19 normal parts)" in done.stdout
    assert "Calibration: cal.json" in done.stdout
    judged = cli("inspect", "x.png", "normal/00.png", "-m", "selfsim", "--calibration", "cal.json", "--json")
    bad, good = [json.loads(line) for line in judged.stdout.splitlines()]
    assert (bad["verdict"], good["verdict"]) == ("anomalous", "normal")
    both = cli("inspect", "x.png", "-m", "selfsim", "--calibration", "cal.json", "--threshold", "0.5")
    assert (both.exit_code, both.stderr) == (2, "Error: give a threshold or a calibration: both decide the verdict\n")


def test_calibrate_refuses_too_few_parts_before_any_work():
    pictures(Path("normal"), 3)
    done = cli("calibrate", "--normal", "normal", "-o", "cal.json")
    assert done.exit_code == 2
    assert done.stderr.startswith("Error: alpha 0.01 needs at least 99 normal parts that are not references, got 3")
    assert not Path("cal.json").exists()
    assert not Path("cal.run").exists()


# ---------------------------------------------------------------- demo


def test_the_demo_counts_right_verdicts_and_its_exit_code_tells(monkeypatch):
    fake_model(monkeypatch)
    done = cli("demo", "--out", "out")
    assert done.exit_code == 1
    assert "3 of 6 verdicts are right" in done.stdout
    assert "Report: out/report.html" in done.stdout
    assert Path("out/report.html").exists()
    assert len(Path("out/results.jsonl").read_text("utf-8").splitlines()) == 6


# ---------------------------------------------------------------- words


def test_what_is_printed_cannot_act_on_a_terminal():
    assert printable("ä画 b\t\n\x07\u202e\udcff") == "ä画 b\\x09\\x0a\\x07\\x202e\\xdcff"


def test_durations_are_said_as_people_say_them():
    assert [duration(s) for s in (0.2, 59.4, 59.6, 3599, 3600)] == [
        "0 s",
        "59 s",
        "1 min 0 s",
        "59 min 59 s",
        "1 h 0 min",
    ]
