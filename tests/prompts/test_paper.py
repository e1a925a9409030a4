"""The published prompts, byte for byte, and the published way of reading answers.

Golden: prompts, replies and cases of the two repositories named in the file, made by running their code.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest

from looktwice.prompts.paper import Paper, ladder, parse_lenient, parse_reference
from looktwice.prompts.style import Brief, told
from looktwice.prompts.templates import Templates
from looktwice.records import Spec

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "customizable_vlm.json").read_text("utf-8"))
CASES = GOLDEN["cases"]
OBJECTS = {
    "Industrial-AD/Case1": "bottle",
    "Industrial-AD/Case2": "candle",
    "Industrial-AD/Case3": "PCB",
    "PCD-AD/Case1": "bagel",
    "PCD-AD/Case2": "peach",
    "PCD-AD/Case3": "rope",
}
STYLE = Paper(Templates())


def opening(spec: Spec, parts=("task", "class", "rules", "reference"), **brief) -> str:
    return STYLE.opening(Brief(told(spec, parts), parts, **brief))


# ---------------------------------------------------------------- prompts


@pytest.mark.parametrize("category", GOLDEN["prompts sha256"])
def test_with_an_object_alone_the_whole_prompt_is_that_of_the_published_code(category):
    prompt = opening(Spec(object=category), references=1)
    assert hashlib.sha256(prompt.encode()).hexdigest() == GOLDEN["prompts sha256"][category]


@pytest.mark.parametrize("case", OBJECTS)
def test_the_ladder_is_that_of_the_published_cases(case):
    published, object = CASES[case], OBJECTS[case]
    standard = published["zero-shot-prompt"]["with human expertise"].partition("specific reason. ")[2]
    wording = "depth" if case.startswith("PCD") else "image"
    for shots, one_shot in (("zero-shot-prompt", False), ("one-shot-prompt", True)):
        rungs = published[shots]
        assert ladder(one_shot=one_shot, wording=wording) == rungs["naive"]
        assert ladder(object, one_shot=one_shot, wording=wording) == rungs["with class_information"]
        # a doubled space in the published one-shot cases, which the published code does not have
        expertise = rungs["with human expertise"].replace("given  about", "given about")
        assert ladder(object, (standard,), one_shot=one_shot, wording=wording) == expertise


def test_a_standard_in_a_few_words_and_defects_make_the_published_sentences():
    bottle = CASES["Industrial-AD/Case1"]["zero-shot-prompt"]["with human expertise"]
    rules, defects = ("clear and identifiable bottles",), ("broken parts", "contaminations")
    assert ladder("bottle", rules, defects) == bottle
    spec = Spec(object="bottle", rules=rules, defects=defects)
    assert opening(spec).partition("\n\n")[0] == bottle


@pytest.mark.parametrize("case", [case for case in CASES if case.startswith("Logical")])
def test_logical_rules_are_listed_as_published(case):
    zero, one = (CASES[case][f"{shots} prompt"] for shots in ("zero-shot", "one-shot"))
    object = re.search("given about (.+?) should", zero)[1]
    rules = re.findall(r"\d\. (.+?[.;])(?= \d\. | Please)", zero)
    assert len(rules) == 2
    assert ladder(object, tuple(rules), wording="logical") == zero
    assert ladder(object, tuple(rules), wording="logical", one_shot=True) == one


@pytest.mark.parametrize("case", ["Industrial-AL/Case1", "Medical-AL/MOOD2020/Case1"])
def test_marks_are_introduced_as_published(case):
    wording = "medical" if case.startswith("Medical") else "image"
    assert ladder("bottle", (), wording=wording, located=True) == CASES[case]["prompt"]


@pytest.mark.parametrize(
    ("case", "object", "classes"),
    [
        ("Medical-AD/Chest X-ray", ("chest x-ray", "Chest X-ray"), ("pneumonia",)),
        ("Medical-AD/Head CT", ("Head CT", "Head CT"), ("hemorrhage",)),
        (
            "Medical-AD/Retina OCT",
            ("Retina OCT", "Retina OCT"),
            ("drusen", "diabetic macular edema", "choroidal neovascularization"),
        ),
    ],
)
def test_medical_pictures_are_asked_about_as_published(case, object, classes):
    zero, one = (
        {name: re.sub(" +", " ", text) for name, text in CASES[case][f"{shots}-prompt"].items()}
        for shots in ("zero-shot", "one-shot")
    )
    assert ladder(wording="medical") == zero["naive"]
    assert ladder(object[0], (), classes, wording="medical") == zero["with human expertise"]
    assert ladder(wording="medical", one_shot=True) == one["naive"]
    assert ladder(object[1], None, one_shot=True, wording="medical") == one["with class_information"]
    assert ladder(object[1], (), classes, wording="medical", one_shot=True) == one["with human expertise"]


@pytest.mark.parametrize(
    ("parts", "asked"),
    [
        (("task",), ladder()),
        (("task", "class"), ladder("lid")),
        (("task", "rules"), ladder(rules=("flat",))),
        (("task", "class", "rules"), ladder("lid", ("flat",))),
    ],
)
def test_each_rung_is_chosen_by_the_parts_that_are_told(parts, asked):
    spec = Spec(task="mine", object="lid", context="mine too", rules=["flat"])
    assert opening(spec, parts).partition("\n\n")[0] == asked


def test_clouds_are_rendered_depth_images_and_references_select_the_one_shot_column():
    assert opening(Spec(), kind="points").startswith("Please determine whether the rendered depth image contains")
    assert opening(Spec(), references=1).startswith("The first image is normal.")


def test_the_form_of_the_answer_is_asked_for_unless_another_question_follows():
    brief = Brief(Spec(object="lid"))
    assert "correctness" in STYLE.opening(brief)
    assert "correctness" not in STYLE.opening(brief, formatted=False)


def test_a_template_of_ones_own_is_taken_whole(tmp_path):
    (tmp_path / "ad_prompt.txt").write_text("Is this !<INPUT 0>! fine? Reasoning and correctness as JSON.")
    style = Paper(Templates(tmp_path))
    brief = Brief(Spec(object="lid", rules=["flat"]))
    assert style.opening(brief) == "Is this lid fine? Reasoning and correctness as JSON."


def test_another_language_is_asked_for_at_the_end():
    assert Paper(Templates(), "German").opening(Brief(Spec())).endswith("stay in English.")


# ---------------------------------------------------------------- answers


@pytest.mark.parametrize("row", GOLDEN["replies"], ids=lambda row: repr(row["reply"])[:40])
@pytest.mark.parametrize("reading", ["reference", "reference-internvl"])
def test_replies_are_read_as_the_published_code_reads_them(row, reading):
    answer, published = parse_reference(row["reply"], reading), row[reading]
    if published is None or published["correctness"] not in (0, 1, "0", "1"):
        assert answer is None  # also what the published code keeps, but cannot score
        return
    assert answer.verdict == ("normal" if int(published["correctness"]) else "anomalous")
    if isinstance(published["reasoning"], str):
        assert answer.description == published["reasoning"].strip()


@pytest.mark.parametrize(
    ("reply", "verdict"),
    [
        ('{"reasoning": "fine", "correctness": 1}', "normal"),
        ('```json\n{\n "reasoning": "a \\"b\\" c",\n "correctness": 0\n}\n```', "anomalous"),
        ("{'reasoning': 'fine', 'correctness': 1,}", "normal"),
        ('Sure! {"reasoning": "x", "correctness": "0"} Bye', "anomalous"),
        ('"reasoning": a crack, correctness: 0', "anomalous"),
        ('"correctness" = 1', "normal"),
        ("Yes, there is a crack.", "anomalous"),
        ("No.", "normal"),
        ("", None),
        ("I am sorry, I cannot tell.", None),
        ('{"reasoning": "x", "correctness": 0.5}', None),
        ("correctness: 0 or correctness: 1", None),
        ("Yes or no, hard to say", None),
        ("There is no crack.", None),
    ],
)
def test_lenient_reading_repairs_but_never_guesses(reply, verdict):
    answer = parse_lenient(reply)
    assert (None if answer is None else answer.verdict) == verdict


def test_the_way_of_reading_is_chosen():
    pretty = '{\n"reasoning": "fine",\n"correctness": 1}'
    brief = Brief(Spec())
    assert STYLE.parse(pretty, brief).verdict == "normal"
    assert Paper(Templates(), reading="reference").parse(pretty, brief) is None
    assert Paper(Templates(), reading="reference-internvl").parse(pretty, brief).verdict == "normal"
    assert STYLE.repair()
    assert Paper(Templates(), reading="reference").repair() == ""
