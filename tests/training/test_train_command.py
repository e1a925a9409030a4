"""looktwice train: what it prints, and how it ends."""

import json

import pytest
import typer
import yaml
from typer.testing import CliRunner

from looktwice import training
from looktwice.cli.train import train
from looktwice.training.loop import Outcome
from training.test_vmad import QUICK, SECTION

app = typer.Typer()
app.command()(train)


def ran(*arguments):
    result = CliRunner().invoke(app, [str(one) for one in arguments])
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def setting(tmp_path):
    path = tmp_path / "quick.yaml"
    values = {**QUICK, "data": list(QUICK["data"]), "model": SECTION, "steps": 2, "batch": 2}
    path.write_text(yaml.safe_dump(values))
    return path


def test_a_run_says_its_losses_and_where_the_model_is(tmp_path, setting):
    out = tmp_path / "out"
    code, printed, told = ran("vmad", "--config", setting, "--out", out, "--set", "lr=1e-4")
    assert code == 0, told
    assert "Losses: loss " in printed
    assert f"Model: {out / 'model'}" in printed
    assert "[2/2] loss " in told
    assert told.rstrip().endswith("0 s left")
    assert json.loads((out / "run.json").read_text())["config"]["lr"] == 1e-4
    code, printed, told = ran("vmad", "--config", setting, "--out", out, "--set", "lr=1e-4")
    assert (code, told) == (2, f"Error: {out} holds a run already: add --resume to go on with it, or choose another\n")
    code, printed, _ = ran("vmad", "--config", setting, "--out", out, "--set", "lr=1e-4", "--resume")
    assert code == 0
    assert f"Model: {out / 'model'}" in printed


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("vmda", "--config", "laptop"), "Unknown trainable system 'vmda'. Did you mean 'vmad'?"),
        (("vmad", "--config", "labtop"), "no configuration 'labtop'"),
        (("vmad", "--config", "laptop", "--data", "mvtec_ad:/nowhere"), "/nowhere: no such folder"),
        (("vmad", "--config", "laptop", "--set", "lr"), "--set takes KEY=VALUE, got 'lr'"),
        (("vmad", "--config", "laptop", "--set", "model.preset=desktop"), "model.preset: "),
        (("vmad", "--config", "laptop", "--seeds", "3"), "--seeds belongs to --grid"),
        (("vmad", "--config", "vmad-7b"), "nothing to train on: name data"),
    ],
)
def test_wrong_usage_is_one_line(tmp_path, arguments, words):
    code, _, told = ran(*arguments, "--out", tmp_path / "out")
    assert code == 2
    assert words in told
    assert told.count("\n") == 1


def test_what_was_skipped_is_said_at_the_end(tmp_path, monkeypatch):
    skipped = {f"record{i}": "no mask" for i in range(8)}
    outcome = Outcome(tmp_path / "out" / "model", 3, {"loss": 1.5}, {"image_auroc": 0.75}, skipped, 1.0)
    monkeypatch.setattr(training, "train", lambda *_, **__: outcome)
    code, printed, told = ran("vmad", "--config", "laptop", "--out", tmp_path / "out")
    assert code == 0
    assert "8 records could not be learnt from and were skipped" in told
    assert "record4: no mask" in told
    assert "record5" not in told
    assert "and 3 more, see" in told
    assert "Test: image_auroc 0.7500" in printed


def test_an_interrupted_run_ends_with_130(tmp_path, monkeypatch):
    def stopped(*_, **__):
        raise training.Stopped("stopped after update 3 of 6, which is kept: --resume goes on")

    monkeypatch.setattr(training, "train", stopped)
    code, _, told = ran("vmad", "--config", "laptop", "--out", tmp_path / "out")
    assert (code, told) == (130, "stopped after update 3 of 6, which is kept: --resume goes on\n")
