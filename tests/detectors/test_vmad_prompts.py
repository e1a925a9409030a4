import numpy as np
import pytest

from looktwice.detectors.vmad import prompts
from looktwice.records import Spec

SECTIONS = {
    "description": "The image shows a metal plate with a deep scratch in the upper left",
    "impact": "The scratch lets rust in.",
    "suggestion": "Grind the plate. Paint it again.",
}
PUBLISHED = (
    "Yes. The image shows a white ceramic electrical insulator with a damaged disc. This defect reduces insulation "
    "effectiveness and increases leakage risk. The most secure solution is to replace the damaged insulator. For minor "
    "damage, applying a temporary insulating coating is an alternative."
)


@pytest.mark.parametrize("kind", prompts.QUESTIONS)
def test_the_questions_of_a_pool_differ_and_name_the_thing(kind):
    asked = [prompts.question(kind, "red cap", i) for i in range(4)]
    assert len(set(asked)) == len(prompts.QUESTIONS[kind]) == 4
    assert all("red cap" in one and "{" not in one for one in asked)
    assert prompts.question(kind, "red cap", 4) == asked[0]
    assert "object" in prompts.question(kind)


def test_no_question_stands_in_two_pools():
    every = [one for pool in prompts.QUESTIONS.values() for one in pool]
    assert len(set(every)) == len(every)


def test_the_published_question_is_the_first_that_asks_for_a_suggestion():
    assert prompts.question("suggest", "electrical insulator") == (
        "Would you identify any irregularities present on the surface of electrical insulator? If so,please output the "
        "segmentation mask and suggest corrective actions for the defect."
    )


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        ("detect", {"description": SECTIONS["description"] + "."}),
        ("mask", {"description": SECTIONS["description"] + "."}),
        ("impact", {"description": SECTIONS["description"] + ".", "impact": SECTIONS["impact"]}),
        ("suggest", {**SECTIONS, "description": SECTIONS["description"] + "."}),
    ],
)
def test_an_answer_is_read_as_it_was_written(kind, wanted):
    written = prompts.answer(True, SECTIONS, kind, "<seg>")
    assert written.endswith("<seg>") == (kind != "detect")
    read = prompts.parse(written.replace("<seg>", "").strip(), kind)
    assert {name: getattr(read, name) for name in SECTIONS if getattr(read, name)} == wanted
    assert read.defect_type == "deep scratch"
    assert read.location == "upper left"


def test_the_published_answer_is_read():
    read = prompts.parse(PUBLISHED, "suggest")
    assert read.description == "The image shows a white ceramic electrical insulator with a damaged disc."
    assert read.defect_type == "damaged disc"
    assert read.impact.startswith("This defect reduces")
    assert read.suggestion.startswith("The most secure solution")
    assert read.suggestion.endswith("alternative.")
    assert read.raw == PUBLISHED


def test_a_normal_answer_has_a_description_and_nothing_else():
    written = prompts.answer(
        False, {**SECTIONS, "description": "The image shows a plate with a hole"}, "suggest", "<seg>"
    )
    assert written == "No, there is no anomaly. The image shows a plate with a hole. <seg>"
    read = prompts.parse(written.removesuffix(" <seg>"), "suggest")
    assert (read.description, read.defect_type, read.impact) == ("The image shows a plate with a hole.", "", "")


def test_a_named_defect_of_the_sheet_wins_over_the_description():
    text = "Yes. The image shows a cap with a problem: a hairline crack on the left."
    assert prompts.parse(text, "mask", ("crack", "hairline crack", "dent")).defect_type == "hairline crack"
    assert prompts.parse(text, "mask", ("dent",)).defect_type == "problem"


@pytest.mark.parametrize(
    ("text", "verdict"),
    [("Yes.", True), ("yes it is", True), ("NO, none", False), ("Nothing", None), ("", None), (" No", False)],
)
def test_the_verdict_is_the_first_word(text, verdict):
    assert prompts.verdict(text) is verdict


@pytest.mark.parametrize("text", ["", "Yes", "No.", "It is.", ". . .", "Yes, a dent"])
@pytest.mark.parametrize("kind", prompts.QUESTIONS)
def test_odd_answers_are_read_without_guessing(text, kind):
    read = prompts.parse(text, kind)
    assert read.raw == text
    assert read.impact == read.suggestion == ""
    assert read.description in ("", "It is.", ". . .", "a dent")


@pytest.mark.parametrize(("text", "kept"), [("Yes, it is.", "kept"), ("No: bent.", "broken"), ("Maybe", "not judged")])
def test_a_rule_is_judged_by_the_first_word(text, kept):
    found = prompts.judge_rule("r1", "Straight.", text)
    assert (found.id, found.text, found.verdict) == ("r1", "Straight.", kept)
    assert found.reason in ("it is.", ": bent.", "Maybe")


def test_the_sheet_becomes_sentences():
    spec = Spec(
        task="Find damage", object="cap", context="Seen from above.", rules=("No dents", "Red."), defects=("dent",)
    )
    assert prompts.sheet_words(spec) == (
        "Find damage. Seen from above. A normal cap keeps these rules: (r1) No dents. (r2) Red. Known defects: dent."
    )
    assert prompts.sheet_words(Spec()) == ""


@pytest.mark.parametrize(
    ("at", "words"),
    [((0, 0), "upper left"), ((4, 4), "centre"), ((8, 4), "lower centre"), ((4, 8), "right"), ((0, 4), "upper centre")],
)
def test_a_place_is_named_by_thirds(at, words):
    values = np.zeros((9, 9))
    values[at] = 1
    assert prompts.place_of(values) == words
    assert prompts.place_of(np.ones((3, 3))) == ""
