"""Counted answers: yes or no, option letters, and the tables of MMAD in both modes."""

from __future__ import annotations

import copy
import math
import random

import pytest
from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score

from looktwice.metrics import mmad_accuracy, parse_choice, parse_yes_no, yes_no
from looktwice.metrics.choices import SUB_TASKS

# ---------------------------------------------------------------- yes or no


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Yes", True),
        ("yes, there is a scratch.", True),
        ("**No**.", False),
        ("NO: the part is intact", False),
        ('"Yes"', True),
        ("Answer: yes", True),
        ("The final answer is no.", False),
        ("I looked at the rim. Answer: No", False),
        ("Yes. Answer: no", True),
        ("Answer: yes. No, the answer is no.", True),
        ("I looked. Answer: yes. I looked again. Answer: no.", None),
        ("Yes or no? Hard to say.", None),
        ("Yes/No", None),
        ("No idea.", None),
        ("There is no defect.", None),
        ("Nothing to see", None),
        ("Yesterday it was fine", None),
        ("", None),
    ],
)
def test_yes_and_no_are_read_or_nothing_is(text: str, said: bool | None) -> None:
    assert parse_yes_no(text) is said


def test_the_published_rule_finds_yes_anywhere_and_calls_the_rest_no() -> None:
    answers = ["It says yes or no.", "There is no defect.", "Hmm", "Yesterday, no.", "YES"]
    assert [parse_yes_no(text, rule="substring") for text in answers] == [True, False, False, True, False]
    labels = [0, 0, 1, 1, 1]
    published, strict = yes_no(answers, labels, "substring"), yes_no(answers, labels)
    assert (published.accuracy, published.unparsed) == (2 / 5, 0)
    assert (strict.accuracy, strict.unparsed) == (1 / 5, 4)


def test_read_answers_equal_scikit_learn() -> None:
    generator = random.Random(0)
    said = [generator.random() < 0.6 for _ in range(50)]
    truth = [generator.random() < 0.4 for _ in range(50)]
    got = yes_no(["Yes." if answer else "No." for answer in said], truth)
    assert got.accuracy == pytest.approx(accuracy_score(truth, said))
    assert got.precision == pytest.approx(precision_score(truth, said))
    assert got.recall == pytest.approx(recall_score(truth, said))
    assert got.f1 == pytest.approx(f1_score(truth, said))
    assert (got.unparsed, got.items) == (0, 50)


def test_an_unread_answer_is_wrong_on_either_side_and_reported() -> None:
    got = yes_no(["Yes", "maybe", "No", "maybe", None], [1, 1, 0, 0, 0])
    assert got.accuracy == pytest.approx(2 / 5)
    assert got.precision == pytest.approx(1 / 3)  # two unread answers on normal items are false alarms
    assert got.recall == pytest.approx(1 / 2)
    assert got.unparsed == 3


def test_yes_no_without_a_class_or_an_item_is_defined() -> None:
    normal = yes_no(["No", "No"], [0, 0])
    assert normal.accuracy == 1
    assert all(map(math.isnan, (normal.precision, normal.recall, normal.f1)))
    silent = yes_no(["No"], [1])
    assert (silent.accuracy, silent.precision, silent.recall, silent.f1) == (0, 0, 0, 0)
    assert math.isnan(yes_no([], []).accuracy)
    with pytest.raises(ValueError, match="1 answers have 2 labels: give one per answer"):
        yes_no(["Yes"], [1, 0])


# ---------------------------------------------------------------- options


@pytest.mark.parametrize(
    ("reply", "strict", "last", "first"),
    [
        ("B", "B", "B", "B"),
        ("(B).", "B", "B", "B"),
        ("**C**", "C", "C", "C"),
        ("B. A crack along the rim", "B", "A", "B"),
        ("Answer: C.", "C", "C", "C"),
        ("The answer is (D), since it is bent.", "D", "D", "D"),
        ("Option A is wrong, the answer is B", None, "B", "A"),
        ("Option A is correct.", "A", "A", "A"),
        ("The answer is C because the rim is bent", "C", "C", "C"),
        ("Answer: A because of the crack", "A", "A", "A"),
        ("A crack runs along the rim", None, "A", "A"),
        ("The answer is A crack", None, "A", "A"),
        ("1. Answer: A.\n2. Answer: D.", None, "D", "A"),
        ("none", None, None, None),
        ("", None, None, None),
        ("F", None, None, None),
    ],
)
def test_a_letter_is_read_by_each_rule(reply: str, strict: str | None, last: str | None, first: str | None) -> None:
    assert parse_choice(reply) == strict
    assert parse_choice(reply, rule="last") == last
    assert parse_choice(reply, rule="first") == first


def test_the_text_of_an_option_stands_for_its_letter() -> None:
    options = {"A": "Yes.", "B": "No."}
    assert parse_choice("no", options) == "B"
    assert parse_choice("no", {"A": "No.", "B": "no"}) is None
    assert parse_choice("perhaps", options) is None


# ---------------------------------------------------------------- MMAD


def row(image: str, kind: str, truth: str, answer: str | None) -> dict[str, str | None]:
    return {"image": image, "question_type": kind, "correct_answer": truth, "gpt_answer": answer}


GOOD, BAD = "DS-MVTec/bottle/image/good/000.png", "DS-MVTec/bottle/image/broken/000.png"


def test_detection_is_the_mean_of_both_sides_and_object_types_are_one() -> None:
    table = mmad_accuracy(
        [row(GOOD, "Anomaly Detection", "B", "B")] * 3
        + [row(BAD, "Anomaly Detection", "A", "B")]
        + [row(BAD, "Object Structure", "A", "A"), row(BAD, "Object Details", "A", "C")]
    )
    own = table.accuracy["DS-MVTec"]
    assert own["Anomaly Detection"] == 50  # not 75: 100 on the normal images, 0 on the anomalous ones
    assert own["Object Analysis"] == 50
    assert math.isnan(own["Defect Analysis"])
    assert own["Average"] == 50
    assert (table.overkill["DS-MVTec"], table.miss["DS-MVTec"]) == (0, 100)
    assert table.answers["Anomaly Detection"] == {"B": 4}
    assert tuple(own) == (*SUB_TASKS, "Average")


def test_an_unread_answer_stays_in_the_count_and_is_reported() -> None:
    rows = [row(BAD, "Defect Analysis", "A", "A"), row(BAD, "Defect Analysis", "A", "I cannot tell")]
    table = mmad_accuracy(rows)
    assert table.accuracy["DS-MVTec"]["Defect Analysis"] == 50
    assert table.unparsed == {"DS-MVTec": 1}
    assert mmad_accuracy(rows, compat=True).accuracy["DS-MVTec"]["Defect Analysis"] == 100


def test_the_last_row_is_the_mean_over_the_sets() -> None:
    table = mmad_accuracy(
        [row(BAD, "Defect Analysis", "A", "A")] * 9 + [row("VisA/candle/test/bad/1.png", "Defect Analysis", "A", "B")]
    )
    assert table.accuracy["Average"]["Defect Analysis"] == 50
    assert table.accuracy["Average"]["Average"] == 50
    assert mmad_accuracy([]).accuracy == {}


def test_a_good_word_inside_a_folder_name_does_not_make_an_image_normal() -> None:
    rows = [row("GoodsAD/goods_box/test/torn/1.png", "Anomaly Detection", "A", "A")]
    assert mmad_accuracy(rows).miss["GoodsAD"] == 0
    assert mmad_accuracy(rows, compat=True).overkill["GoodsAD"] == 0


def as_published(rows: list[dict[str, str | None]]) -> dict[str, dict[str, float]]:
    """The published script's arithmetic, with its habit of removing rows from the list it walks over."""
    one = {"Object Structure": "Object Analysis", "Object Details": "Object Analysis"}
    sets = list(dict.fromkeys(str(r["image"]).split("/")[0] for r in rows))
    types = list(dict.fromkeys(one.get(str(r["question_type"]), str(r["question_type"])) for r in rows))
    walked, counted = copy.deepcopy(rows), []
    for r in walked:
        if r["correct_answer"] not in list("ABCDE") or r["gpt_answer"] not in list("ABCDE"):
            walked.remove(r)
            continue
        counted.append(r)

    def share(some: list[dict[str, str | None]]) -> float:
        return 100 * sum(r["correct_answer"] == r["gpt_answer"] for r in some) / len(some) if some else 0.0

    table: dict[str, dict[str, float]] = {}
    for name in sets:
        table[name] = {}
        for kind in types:
            wanted = ("Object Structure", "Object Details", kind) if kind == "Object Analysis" else (kind,)
            own = [r for r in counted if str(r["image"]).startswith(name + "/") and r["question_type"] in wanted]
            normal = [r for r in own if "good" in str(r["image"])]
            other = [r for r in own if "good" not in str(r["image"])]
            table[name][kind] = (share(normal) + share(other)) / 2 if kind == "Anomaly Detection" else share(own)
        table[name]["Average"] = sum(table[name].values()) / len(types)
    table["Average"] = {k: sum(table[n][k] for n in sets) / len(sets) for k in [*types, "Average"]}
    return table


@pytest.mark.parametrize("seed", range(6))
def test_compat_mode_equals_the_published_arithmetic(seed: int) -> None:
    generator = random.Random(seed)
    kinds = [*SUB_TASKS[:-1], "Object Structure", "Object Details"]
    rows = [
        row(
            generator.choice(["DS-MVTec", "VisA", "GoodsAD"])
            + generator.choice(["/a/good/", "/a/bad/"])
            + str(index % 7),
            generator.choice(kinds[: 3 + seed]),
            generator.choice("ABCD"),
            generator.choice(["A", "B", "C", "D", "E", "", "crack", None]),
        )
        for index in range(120)
    ]
    got, expected = mmad_accuracy(rows, compat=True).accuracy, as_published(rows)
    assert list(got) == list(expected)
    for name, cells in expected.items():
        assert got[name] == pytest.approx(cells, abs=1e-9), name


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"question_type": "Defect Analysi"},
            "Unknown MMAD question type 'Defect Analysi'. Did you mean 'Defect Analysis'",
        ),
        ({"correct_answer": "Z"}, "MMAD row 0: correct_answer must be one of A to E, got 'Z'"),
    ],
)
def test_a_wrong_row_is_named(change: dict[str, str], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        mmad_accuracy([{**row(BAD, "Defect Analysis", "A", "A"), **change}])
    with pytest.raises(ValueError, match="MMAD row 0 lacks 'image': it has gpt_answer"):
        mmad_accuracy([{"gpt_answer": "A"}])
