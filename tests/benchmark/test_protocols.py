"""Three published protocols from end to end, on miniatures, with a scripted talker whose right score is known."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmark.made import miniatures
from looktwice.benchmark.predict import shuffled
from looktwice.cli.benchmark import app
from looktwice.data.items import Question

runner = CliRunner()


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def ran(*arguments: object, code: int = 0) -> str:
    result = runner.invoke(app, [str(one) for one in arguments])
    assert result.exit_code == code, f"{result.output}\n{result.exception!r}"
    return str(result.stdout)


def predicted(dataset: str, script: str, *flags: object, code: int = 0) -> dict:
    Path("talk.yaml").write_text(script)
    options = ("--option", "talker=fake:talk.yaml")
    ran(
        "predict",
        "-m",
        "customizable-vlm",
        "-d",
        dataset,
        "--root",
        "data",
        *options,
        *flags,
        "--out",
        "run",
        code=code,
    )
    return {"out": ran("score", "run"), **json.loads(Path("run/scores.json").read_text())}


def answers() -> list[dict]:
    files = Path("run/units").glob("*/samples.jsonl")
    lines = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    return [answer for line in lines for answer in line["answers"]]


# ---------------------------------------------------------------- the list of Customizable-VLM

PAPER = ("--option", "style=paper", "--option", "reading=reference", "--option", "score=answer")


def boxes(root: Path) -> None:
    """Two bottles, a good and a broken one, and two cables; the talker sees no difference but the name."""
    miniatures._customizable_vlm(root)
    file = root / "datasets/MVTecAD/vlm_for_ad_dataset.json"
    records = json.loads(file.read_text())
    for one in list(records):
        other = {key: str(value).replace("bottle", "cable") if key != "label" else value for key, value in one.items()}
        for key in ("defect_img_path", "good_img_path"):
            miniatures.picture(root / other[key])
        records.append(other)
    miniatures.save_mask(root / "datasets/MVTecAD/cable/ground_truth/broken_large/000_mask.png", miniatures.block())
    file.write_text(json.dumps(records))


def test_the_list_is_scored_as_its_script_does(tmp_path: Path) -> None:
    boxes(tmp_path / "data")
    script = """\
- {when: the bottle is normal, reply: '{"reasoning": "broken", "correctness": 0}'}
- {when: the cable is normal, reply: '{"reasoning": "whole", "correctness": 1}'}
"""
    found = predicted("customizable_vlm", script, *PAPER, "--references", "own", "--shots", 1)
    # 0 means a defect: both bottles are called broken, both cables whole; half of each is right
    (pooled,) = found["pooled"]
    assert pooled["samples"] == 4
    assert pooled["metrics"] == {"accuracy": 0.5, "image_auroc": 0.5, "image_ap": 0.5}
    assert "All 4 pooled, normal positive, as published (1 references, seed 0): accuracy 50.0" in found["out"]


def test_a_talker_that_is_right_has_the_full_score_and_an_unreadable_answer_is_in_none(tmp_path: Path) -> None:
    boxes(tmp_path / "data")
    file = tmp_path / "data/datasets/MVTecAD/vlm_for_ad_dataset.json"
    whole = [one for one in json.loads(file.read_text()) if (one["object_type"] == "cable") == (one["label"] == 1)]
    file.write_text(json.dumps(whole))  # a broken bottle and a good cable
    script = """\
- {when: the bottle is normal, reply: '{"reasoning": "broken", "correctness": 0}'}
- {when: the cable is normal, reply: '{"reasoning": "whole", "correctness": 1}'}
"""
    found = predicted("customizable_vlm", script, *PAPER, "--references", "own", "--shots", 1)
    assert found["pooled"][0]["metrics"] == {"accuracy": 1.0, "image_auroc": 1.0, "image_ap": 1.0}
    odd = script.replace('{"reasoning": "whole", "correctness": 1}', "It is fine.")
    Path("run").rename("before")
    found = predicted("customizable_vlm", odd, *PAPER, "--references", "own", "--shots", 1, code=3)
    assert (found["pooled"][0]["samples"], found["samples"]["failed"]) == (1, 1)


# ---------------------------------------------------------------- MMAD

MMAD = """\
- {when: 'A: Yes.', reply: A}
- {when: 'B: Yes.', reply: The answer is B.}
"""


@pytest.mark.parametrize("shots", [0, 1])
@pytest.mark.parametrize("shuffle", [(), ("--shuffle",)])
def test_a_talker_that_always_says_yes_is_right_where_yes_is_right(
    tmp_path: Path, shots: int, shuffle: tuple[str, ...]
) -> None:
    miniatures._mmad(tmp_path / "data")
    shown = ("--references", "own", "--shots", 1) if shots else ()
    found = predicted("mmad", MMAD, "--task", "answer", *shown, *shuffle)
    assert found["mmad"][0]["shots"] == shots
    assert found["mmad"][0]["accuracy"]["VisA"]["Anomaly Detection"] == 100
    assert all(answer["reference"] == answer["answer"][-2:].strip("s ").strip(".") for answer in answers())
    letters = {answer["reference"] for answer in answers()}
    assert letters == ({"A", "B"} if shuffle else {"A"})


def test_the_knowledge_of_the_class_is_told_before_the_question(tmp_path: Path) -> None:
    miniatures._mmad(tmp_path / "data")
    script = "- {when: A tile cracks when it falls., reply: A}\n- {reply: B}\n"
    flags = ("--task", "answer", "--knowledge")
    found = predicted("mmad", script, *flags, "--categories", "DS-MVTec/tile")
    assert [answer["answer"] for answer in answers()] == ["A"]
    assert found["samples"]["failed"] == 0
    Path("run").rename("before")
    found = predicted("mmad", script, *flags, "--categories", "VisA/candle", code=3)  # nothing is known of candles
    assert found["samples"]["failed"] == 2


def test_shuffled_options_keep_the_right_answer() -> None:
    options = tuple(zip("ABCD", ("a crack", "a hole", "a dent", "none"), strict=True))
    orders = set()
    for number in range(40):
        question = Question(f"What is wrong with part {number}?", "C", options)
        moved = shuffled(question, "picture")
        assert dict(moved.options)[moved.answer] == "a dent"
        assert sorted(words for _, words in moved.options) == sorted(words for _, words in options)
        assert moved == shuffled(question, "picture")
        orders.add(moved.answer)
    assert orders == set("ABCD")


# ---------------------------------------------------------------- VisA-D&R


def test_detection_of_visa_dr_counts_yes_and_no(tmp_path: Path) -> None:
    miniatures._visa_dr(tmp_path / "data")
    question = "Are there any defects for the object in the image? Please reply with 'Yes' or 'No'."
    flags = ("--task", "answer", "--split", "detection", "--question", question)
    found = predicted("visa_dr", "- {when: Are there any defects, reply: 'Yes, there is one.'}\n", *flags)
    for one in found["categories"]:
        labels = one["samples"]
        share = labels["anomalous"] / (labels["anomalous"] + labels["normal"])
        assert one["metrics"]["accuracy"] == pytest.approx(share)
        assert one["metrics"]["recall"] == pytest.approx(1.0)


def test_reasoning_of_visa_dr_is_a_dialogue_scored_against_the_reference(tmp_path: Path) -> None:
    miniatures._visa_dr(tmp_path / "data")
    flags = ("--task", "answer", "--split", "reasoning")
    predicted("visa_dr", "- {reply: something else}\n", *flags)
    references = {answer["question"]: answer["reference"] for answer in answers()}
    assert all(references.values())
    script = "\n".join(json.dumps({"when": question, "reply": answer}) for question, answer in references.items())
    Path("run").rename("before")
    found = predicted("visa_dr", "[" + ",".join(script.splitlines()) + "]", *flags)
    assert [one["metrics"]["rouge_l"] for one in found["categories"]] == [pytest.approx(1.0)] * len(found["categories"])
