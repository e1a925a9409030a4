"""looktwice benchmark, from the command line to the files."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmark.made import files_of, lids, miniatures, talker
from looktwice.benchmark.plan import make_plan
from looktwice.benchmark.predict import predict
from looktwice.cli.benchmark import app
from looktwice.data import load_dataset

runner = CliRunner()


def ran(*arguments: object, code: int = 0) -> tuple[str, str]:
    result = runner.invoke(app, [str(one) for one in arguments])
    assert result.exit_code == code, f"{result.output}\n{result.exception!r}"
    return result.stdout, result.stderr


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lids(tmp_path_factory.mktemp("lids") / "lids")


@pytest.fixture(scope="module")
def runs(own: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """memory with 1 and 2 references, and selfsim, on one's own data."""
    base = tmp_path_factory.mktemp("runs")
    flags = ("predict", "-d", "folder", "--root", own)
    out, err = ran(
        *flags, "-m", "memory", "--shots", "1,2", "--references", "test", "--out", base / "memory",
        "--option", "size=64", "--option", "bank=500",
    )  # fmt: skip
    assert "20 samples judged, 0 failed" in out
    assert "[20/20]" in err
    ran(*flags, "-m", "selfsim", "--option", "size=64", "--out", base / "selfsim")
    return base / "memory", base / "selfsim"


def test_predict_score_table_compare_plot_gallery_on_own_data(runs: tuple[Path, Path], own: Path) -> None:
    memory, selfsim = runs
    out, _ = ran("score", memory, selfsim)
    assert "memory" in out
    assert "Scores:" in out
    stored = json.loads((memory / "scores.json").read_text())
    assert {row["shots"] for row in stored["summary"]} == {1, 2}
    out, _ = ran("table", memory, selfsim, "--style", "markdown", "--metrics", "image_auroc,pro")
    assert "| system | source | image AUROC | PRO |" in out
    assert "references are drawn from the judged part and left out of it" in out
    out, _ = ran("compare", memory, selfsim, "--shots-a", 2, "--resamples", 100)
    assert "A = memory size=64 bank=500, 2 shots (memory); B = selfsim size=64, 0 shots (selfsim)" in out
    out, _ = ran("compare", memory, memory, "--shots-a", 1, "--shots-b", 2, "--resamples", 100, "--json")
    assert json.loads(out)["rows"][-1]["category"] == ""
    out, _ = ran("plot", memory, selfsim)
    assert (memory / "roc.svg").exists()
    out, _ = ran("gallery", selfsim, "--count", 1)
    assert (selfsim / "gallery.html").exists()
    out, _ = ran("table", memory, "--style", "html", "--out", memory / "table.html")
    assert "<caption>" in (memory / "table.html").read_text()


def test_a_miniature_of_mvtec_is_judged(tmp_path: Path) -> None:
    miniatures.build(load_dataset("mvtec_ad"), tmp_path / "mini")
    flags = (
        "predict", "-d", "mvtec_ad", "--root", tmp_path / "mini", "--categories", "bottle,tile", "--option", "size=64",
    )  # fmt: skip
    ran(*flags, "-m", "memory", "--shots", "full", "--out", tmp_path / "run")
    ran("score", tmp_path / "run")
    out, _ = ran("table", tmp_path / "run")
    assert "published" in out
    assert "bottle" in out
    before = files_of(tmp_path / "run")
    lines = next((tmp_path / "run/units").glob("0001*")) / "samples.jsonl"
    os.truncate(lines, lines.stat().st_size - 30)
    _, err = ran(*flags, "-m", "memory", "--shots", "full", "--out", tmp_path / "run", "--workers", 2)
    assert "going on with the run" in err
    assert files_of(tmp_path / "run") == before


def test_classes_are_split_to_learn_from_and_to_judge(tmp_path: Path) -> None:
    miniatures.build(load_dataset("mvtec_loco"), tmp_path / "mini")
    flags = ("split", "-d", "mvtec_loco", "--root", tmp_path / "mini", "--train", 3)
    out, _ = ran(*flags)
    learned, judged = (set(line.split()[-1].split(",")) for line in out.splitlines())
    assert (len(learned), len(judged), learned & judged) == (3, 2, set())
    out, _ = ran(*flags, "--json")
    assert json.loads(out) == {"train": sorted(learned), "test": sorted(judged)}
    ran("predict", "-m", "selfsim", "-d", "mvtec_loco", "--root", tmp_path / "mini", "--categories", ",".join(judged),
        "--option", "size=64", "--out", tmp_path / "run")  # fmt: skip
    ran("score", tmp_path / "run", "--threshold", 0.5)
    out, _ = ran("table", tmp_path / "run", "--summary", "--defects", "--no-published")
    assert "pixel IoU" in out
    assert "logical_anomalies" in out
    assert "mean" in out


def test_answers_are_scored_by_an_encoder_and_a_judge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    miniatures._visa_dr(tmp_path / "data")
    plan = make_plan(model="fake", dataset="visa_dr", split="reasoning", task="answer")
    predict(plan, tmp_path / "data", tmp_path / "run", load=talker)
    (tmp_path / "judge.yaml").write_text('default: "Score: 4"\n')
    (tmp_path / "words_of_mine.py").write_text("def ones(texts):\n    return [[1.0, 2.0]] * len(texts)\n")
    out, _ = ran("score", "run", "--encoder", "python:words_of_mine:ones", "--judge", "fake:judge.yaml")
    assert "GPT-score by fake:judge.yaml" in out
    assert "SBERT is the cosine of sentences encoded by python:words_of_mine:ones" in out
    metrics = json.loads((tmp_path / "run/scores.json").read_text())["means"][0]["metrics"]
    assert (metrics["gpt_score"], round(metrics["sbert"], 6)) == (4, 1)
    out, _ = ran("compare", "run", "run", "--metric", "rouge_l", "--resamples", 100)
    assert "no difference shown" in out


def test_a_bad_picture_is_counted_and_the_exit_code_says_so(tmp_path: Path) -> None:
    lids(tmp_path / "lids", 2, 2)
    (tmp_path / "lids/good/1.png").write_bytes(b"no picture")
    out, err = ran(
        "predict", "-m", "selfsim", "-d", "folder", "--root", tmp_path / "lids", "--out", tmp_path / "run", code=3
    )
    assert "4 samples judged, 1 failed" in out
    assert "First failure: good/1.png" in err


def test_the_default_folder_is_named_after_the_run(own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for size in (64, 65):
        ran("predict", "-m", "selfsim", "-d", "folder", "--root", own, "--limit", 2, "--option", f"size={size}")
    assert len([p.name for p in (tmp_path / "runs").iterdir() if p.name.startswith("selfsim-folder-")]) == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("predict -m memry -d folder --root .", "Did you mean 'memory'"),
        ("predict -m memory -d foldr --root .", "Did you mean 'folder'"),
        ("predict -m memory -d folder --root nowhere --shots 1", "nowhere: no such folder"),
        ("predict -m memory -d folder --root . --shots few", "--shots takes whole numbers or 'full'"),
        ("predict -m memory -d folder --root . --shots ,", "got nothing"),
        ("predict -m memory -d folder --root . --option sze=3", "Its options: size"),
        ("predict -m memory -d folder --root . --set image.max_sid=3", "Did you mean 'image.max_side'"),
        ("predict -m selfsim -d folder --root . --task sing", "task: Input should be 'detect' or 'answer'"),
        ("predict -m selfsim -d folder --root empty", "nothing of your own data in this folder"),
        ("score nowhere", "no such run: looktwice benchmark predict makes one"),
        ("table empty", "this folder holds no benchmark run"),
        ("published --system vmda", "Did you mean 'vmad'"),
        ("run vmad-table1-vmd", "Did you mean 'vmad-table1-vmad'"),
        ("run memory-full-mvtec_ad", "--root mvtec_ad=DIR"),
        ("compare nowhere nowhere", "no such run"),
        ("split -d mvtec_ad --root nowhere --train 3", "nowhere: no such folder"),
        ("score empty --judge opnai:gpt-4o", "Did you mean 'openai'"),
        ("score empty --encoder bert", "an encoder is hf:REPO, hf:FOLDER or python:MODULE:FUNCTION"),
        ("score empty --judge-option x", "--judge-option takes KEY=VALUE"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    arguments: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    _, err = ran(*arguments.split(), code=2)
    assert words in err
    assert err.startswith("Error: ")
    assert err.count("\n") == 1


def test_published_figures_are_printed_in_each_form() -> None:
    out, _ = ran("published", "--system", "vmad", "--dataset", "wfdd")
    assert out.endswith("4 figures\n")
    assert "95.3" in out
    out, _ = ran("published", "--metric", "pro", "--paper", "vmad", "--markdown")
    assert "| vmad | mvtec_ad |" in out
    out, _ = ran("published", "--dataset", "head_ct", "--csv")
    assert out.splitlines()[0].startswith("system,dataset,category,subset,metric,value")
    out, _ = ran("published", "--json")
    assert len(json.loads(out)) > 300


def test_recipes_are_listed_and_one_is_run(own: Path, tmp_path: Path) -> None:
    out, _ = ran("recipes")
    assert "vmad-table1-vmad" in out
    assert "memory-few-shot-folder" in out
    out, _ = ran("recipes", "--json")
    assert json.loads(out)["vmad-ablation-grid"]["grid"] == {"dssl": [False, True], "ltc": [False, True]}
    recipe = tmp_path / "mine.toml"
    recipe.write_text(
        'title = "mine"\nprotocol = "few-shot"\nmodel = "memory"\noptions = { size = 64, bank = 500 }\n'
        '[[run]]\ndataset = "folder"\nreferences = "test"\nshots = [1]\n'
        '[[expect]]\ndataset = "folder"\nmetric = "image_auroc"\nvalue = 50.0\nshots = 1\n'
    )
    out, _ = ran("run", recipe, "--root", f"folder={own}", "--limit", 4, "--out", tmp_path / "runs")
    assert "mine: does it reproduce?" in out
    assert "50 " in out


def test_a_recipe_whose_model_is_missing_answers_with_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tmp_path / "future.toml"
    recipe.write_text('title = "f"\nprotocol = "zero-shot"\nmodel = "m9"\nneeds = "m9"\n[[run]]\ndataset = "visa"\n')
    _, err = ran("run", recipe, "--root", f"visa={tmp_path}", code=2)
    assert err.startswith("Error: unknown model 'm9': the recipe 'f' needs it, this version has memory, selfsim")
