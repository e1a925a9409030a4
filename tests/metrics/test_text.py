"""Text metrics: ROUGE-L against values of the published package and a plain table; fake encoders and judges."""

from __future__ import annotations

import math
import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from looktwice.metrics import gpt_score, mean_rouge_l, parse_gpt_score, rouge_l, sentence_similarity
from looktwice.metrics.text import GPT_SCORE_PROMPT

WORDS = st.lists(st.sampled_from(["a", "b", "c", "d", "e"]), max_size=12)

# made with rouge-score 0.1.2: RougeScorer(["rougeL"], use_stemmer=False).score(reference, answer)["rougeL"].fmeasure
PUBLISHED = [
    ("a deep crack at the rim", "There is a crack near the rim.", 0.6153846153846153),
    (
        "The PCB has a bent pin in the lower-left corner.",
        "One pin in the lower left corner of the PCB is bent.",
        0.5217391304347826,
    ),
    ("No defect.", "The capsule has a scratch of 2.5 mm.", 0.0),
    ("it's scratched", "It's a scratch", 0.5714285714285715),
    ("crack crack crack", "crack", 0.5),
    ("Käse größe crack", "kase grosse crack", 0.25),
    ("", "crack", 0),
    ("the the a the the", "the a the a the a", 0.7272727272727272),
]


@pytest.mark.parametrize(("answer", "reference", "expected"), PUBLISHED)
def test_rouge_l_equals_the_published_package(answer: str, reference: str, expected: float) -> None:
    assert rouge_l(answer, reference) == pytest.approx(expected, abs=1e-12)


@settings(deadline=None, max_examples=100)
@given(WORDS, WORDS)
def test_rouge_l_equals_the_plain_table(answer: list[str], reference: list[str]) -> None:
    table = np.zeros((len(answer) + 1, len(reference) + 1), int)
    for i, said in enumerate(answer):
        for j, wanted in enumerate(reference):
            table[i + 1, j + 1] = table[i, j] + 1 if said == wanted else max(table[i, j + 1], table[i + 1, j])
    common, total = int(table[-1, -1]), len(answer) + len(reference)
    expected = 2 * common / total if common else 0.0
    assert rouge_l(" ".join(answer), " ".join(reference)) == pytest.approx(expected, abs=1e-12)


def test_words_are_not_stemmed_and_case_does_not_count() -> None:
    assert rouge_l("Cracked", "crack") == 0
    assert rouge_l("CRACK!", "crack") == 1


def test_empty_text_scores_zero_and_no_items_have_no_mean() -> None:
    assert rouge_l("", "") == rouge_l("...", "crack") == 0
    assert mean_rouge_l(["crack", ""], ["crack", "crack"]) == 0.5
    assert math.isnan(mean_rouge_l([], []))


def letters(texts: list[str]) -> np.ndarray:
    return np.array([[text.count(letter) for letter in "abc"] for text in texts], float)


def test_similarity_is_the_cosine_of_whatever_the_encoder_gives() -> None:
    got = sentence_similarity(["aab", "a", "zz"], ["aab", "b", "a"], letters)
    np.testing.assert_allclose(got, [1, 0, math.nan])
    assert sentence_similarity([], [], letters).shape == (0,)


def test_an_encoder_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"encode must return \(2, D\) for as many texts, got \(3,\)"):
        sentence_similarity(["a"], ["b"], lambda texts: np.zeros(3))


def test_answers_without_references_are_refused() -> None:
    for call in (
        lambda: mean_rouge_l(["a"], []),
        lambda: sentence_similarity(["a"], [], letters),
        lambda: gpt_score(["a"], [], str),
    ):
        with pytest.raises(ValueError, match="1 answers have 0 references: give one per answer"):
            call()


def test_the_judge_sees_question_reference_and_answer_and_unread_replies_are_counted() -> None:
    seen: list[str] = []
    replies = iter(["Score: 8", "I cannot tell", "Score: 3"])

    def chat(prompt: str) -> str:
        seen.append(prompt)
        return next(replies)

    got = gpt_score(["a {crack}", "b", "c"], ["x", "y", "z"], chat, questions=["Where?", "What?", "Why?"])
    assert got.scores == (8, None, 3)
    assert (got.mean, got.unparsed, got.replies[1], got.prompt) == (5.5, 1, "I cannot tell", GPT_SCORE_PROMPT)
    for part in ("Question: Where?", "Reference answer: x", "Inspector's answer: a {crack}"):
        assert part in seen[0]
    assert "{" not in seen[0].replace("{crack}", "")
    assert math.isnan(gpt_score(["a"], ["b"], lambda prompt: "no").mean)


@pytest.mark.parametrize(
    ("reply", "score"),
    [
        ("7", 7),
        (" 10 \n", 10),
        ("7/10.", 7),
        ("**Score: 9**", 9),
        ("**Score:** 4/10", 4),
        ("The score is 6. It names the crack.", 6),
        ("Score: 5\nAgain, score: 5", 5),
        ("Score: 5\nScore: 6", None),
        ("Score: 0", None),
        ("Score: 11", None),
        ("Score: -3", None),
        ("Score: 7.5", None),
        ("Score: 70/100", None),
        ("I see 3 scratches", None),
        ("", None),
    ],
)
def test_a_score_is_read_or_nothing_is(reply: str, score: int | None) -> None:
    assert parse_gpt_score(reply) == score


def test_several_prompts_under_way_keep_their_order() -> None:
    inside, most = 0, 0
    lock = threading.Lock()

    def chat(prompt: str) -> str:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        time.sleep(0.02)
        with lock:
            inside -= 1
        return "Score: " + prompt.partition("Inspector's answer: ")[2].split("\n")[0]

    answers = [str(1 + k % 10) for k in range(24)]
    got = gpt_score(answers, answers, chat, threads=4)
    assert got.scores == tuple(map(int, answers))
    assert 1 < most <= 4
    with pytest.raises(ValueError, match="threads must be at least 1, got 0"):
        gpt_score(["a"], ["b"], chat, threads=0)


def test_what_the_judge_raises_is_raised() -> None:
    def chat(prompt: str) -> str:
        raise ConnectionError("no line")

    with pytest.raises(ConnectionError, match="no line"):
        gpt_score(["a"], ["b"], chat)
