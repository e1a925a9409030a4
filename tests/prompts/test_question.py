"""The yes/no question, and the self-check's statements."""

from __future__ import annotations

import pytest

from looktwice.prompts import check, expert, question
from looktwice.prompts.answer import Answer, RuleAnswer
from looktwice.prompts.expert import Mark
from looktwice.prompts.templates import Templates
from looktwice.records import Spec

TEMPLATES = Templates()


def test_both_orders_ask_the_same_with_the_words_swapped():
    one, other = (question.render(TEMPLATES, order, "lid") for order in (0, 1))
    assert one.endswith("Yes or No.")
    assert one.replace("Yes or No", "No or Yes") == other
    assert "the part (lid)" in one


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Yes", True), ("yes, a crack", True), ("**No**", False), (" NO.", False), ("<think>Yes?</think>No", False),
        ("", None), ("Nope", None), ("Yesterday", None), ("Yes or No", None), ("No or yes?", None), ("Maybe", None),
        ("The answer is yes", None),
    ],
)  # fmt: skip
def test_an_answer_counts_by_its_first_word(text, said):
    assert question.parse(text) is said


SPEC = Spec(rules=[{"id": "a", "text": "Flat."}, {"id": "b", "text": "Clean."}, {"id": "c", "text": "Dry."}])
ANSWER = Answer(
    verdict="anomalous",
    description="There is a stain. It is dark!\nIs it oil? 1.5 mm wide",
    defect_type="stain",
    location="upper\nleft",
    impact="None.",
    suggestion="Wipe it.",
    rules={"a": RuleAnswer("kept"), "b": RuleAnswer("broken"), "c": RuleAnswer("not visible")},
)


def test_each_claim_is_one_statement_and_what_is_left_open_is_none():
    claims = check.statements(TEMPLATES, ANSWER, SPEC)
    assert [claim.name for claim in claims] == [
        "verdict", "defect_type", "location", "rules.a", "rules.b",
        "description: There is a stain.", "description: It is dark!", "description: Is it oil?",
        "description: 1.5 mm wide", "impact: None.",
    ]  # fmt: skip
    texts = [claim.text for claim in claims]
    assert texts[2] == "The defect is here: upper left"
    assert texts[3:5] == ["This rule is kept: Flat.", "This rule is broken: Clean."]
    assert not any("\n" in text for text in texts)
    assert check.statements(TEMPLATES, Answer(verdict="unsure"), SPEC) == ()
    assert [one.name for one in check.statements(TEMPLATES, Answer(verdict="normal"), Spec())] == ["verdict"]


def test_the_leading_wording_differs_from_the_neutral_in_a_doubt_only():
    claims = check.statements(TEMPLATES, ANSWER, SPEC)
    neutral, leading = (check.render(TEMPLATES, claims, wording) for wording in ("neutral", "leading"))
    assert "A colleague says that most of them are wrong." in leading
    assert leading.replace("A colleague says that most of them are wrong. ", "") == neutral
    assert "7. It is dark!" in neutral


@pytest.mark.parametrize(
    ("text", "judged"),
    [
        ('{"1": "true", "2": "false", "3": "cannot tell"}', (True, False, None)),
        ('```json\n{"1": true, "2": False, "3": null}\n```', (True, False, None)),
        ('{"2": "False."}', (None, False, None)),
        ('{"4": "true"}', None),
        ("all true", None),
        ("", None),
    ],
)
def test_judgements_are_read_by_number(text, judged):
    assert check.parse(text, 3) == judged


def test_marks_are_told_with_number_place_and_score():
    marks = (Mark(0, (0.0, 0.0, 0.2, 0.1), 0.9), Mark(1, (0.45, 0.45, 0.55, 0.55), 0.61))
    told = expert.render(TEMPLATES, "memory", 0.9, marks, ("top", "left"))
    assert '- mark 1: upper left of "top", 2 % of the picture, 0.90' in told
    assert '- mark 2: centre of "left", 1 % of the picture, 0.61' in told
    assert "it can be wrong" in told
    assert "marks no place" in expert.render(TEMPLATES, "memory", 0.1, (), ("top",))
