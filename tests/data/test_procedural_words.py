"""What is said about made pictures: true of the mask and of the parts, well formed, and hardly ever the same twice."""

from __future__ import annotations

import re

import numpy as np
import pytest

from looktwice.data.procedural import CATEGORIES, NEAR_MISSES, family, stream
from looktwice.data.procedural.design import NAMED, colour_name
from looktwice.data.procedural.phrases import ADVICE, FILM_KINDS, IMPACT, KINDS, NAMES, NEAR_MISS_WORDS, RULES, USES
from looktwice.data.procedural.words import CELLS, cell_of, part_counts, places, size_word

ALL_CELLS = [cell for row in CELLS for cell in row]


@pytest.fixture(scope="module")
def told():
    made = stream(8, size=64, near_misses=0.4)
    return [made[i] for i in range(0, 900, 3)]


def texts(scene):
    yield from (scene.description, scene.impact, scene.recommendation)
    yield from (text for one in scene.questions for text in (one.question, one.answer))
    yield from (text for rule in scene.rules for text in (rule.text, rule.reason))


# ---------------------------------------------------------------- places


@pytest.mark.parametrize("row", range(3))
@pytest.mark.parametrize("column", range(3))
def test_a_cell_is_named_by_where_the_mask_lies(row, column):
    mask = np.zeros((90, 120), np.bool_)
    mask[row * 30 + 10 : row * 30 + 20, column * 40 + 15 : column * 40 + 25] = True
    assert places(mask) == (CELLS[row][column],)


def test_the_largest_piece_comes_first_and_specks_are_left_out():
    mask = np.zeros((90, 90), np.bool_)
    mask[70:85, 70:85] = True
    mask[5:13, 5:15] = True
    mask[45, 45] = True
    assert places(mask) == ("lower right", "upper left")
    assert places(np.zeros((9, 9), np.bool_)) == ()


def test_location_words_agree_with_the_mask(told):
    for scene in told:
        if not scene.anomalous:
            assert scene.where == ""
            continue
        assert scene.where == places(scene.mask)[0]
        said = [cell for cell in ALL_CELLS if re.search(rf"\b(at|in) the {cell}\b(?! (left|right))", scene.description)]
        assert said
        assert set(said) <= set(scene.words.cells)


def test_answers_about_a_cell_agree_with_the_mask(told):
    checked = 0
    for scene in told:
        question = next(one for one in scene.questions if one.kind == "cell")
        cell = max((cell for cell in ALL_CELLS if cell in question.question), key=len)
        row, column = next((r, c) for r in range(3) for c in range(3) if CELLS[r][c] == cell)
        height, width = scene.mask.shape
        rows, columns = np.nonzero(scene.mask)
        inside = any(cell_of(y, x, (height, width)) == cell for y, x in zip(rows, columns, strict=True))
        part = scene.mask[row * height // 3 : (row + 1) * height // 3, column * width // 3 : (column + 1) * width // 3]
        if inside == part.any():  # a pixel on the border of two cells belongs to either
            checked += 1
            assert question.answer.startswith("No," if inside else "Yes,")
    assert checked > 280


def test_sizes_agree_with_the_mask(told):
    for scene in told:
        if not scene.anomalous:
            continue
        answer = next(one.answer for one in scene.questions if one.kind == "size")
        share = float(scene.mask.mean())
        assert size_word(share) in answer
        number = re.search(r"([\d.]+) %", answer)
        assert number
        assert abs(float(number[1]) - 100 * share) <= 0.1


# ---------------------------------------------------------------- verdicts, parts, rules


def test_the_first_word_is_the_verdict_and_there_is_a_question_for_everything(told):
    for scene in told:
        kinds = [one.kind for one in scene.questions]
        first = scene.questions[0]
        assert first.kind == "detection"
        assert first.answer.startswith("Yes" if scene.anomalous else "No")
        assert scene.description in first.answer
        assert len(set(kinds)) == len(kinds)
        wanted = {"type", "location", "size", "impact", "recommendation"} if scene.anomalous else {"recommendation"}
        assert wanted <= set(kinds)
        assert bool(scene.impact) == scene.anomalous


def test_the_kind_of_defect_is_named(told):
    for scene in told:
        if scene.anomalous:
            kind = KINDS[scene.defect_type]
            answer = next(one.answer for one in scene.questions if one.kind == "type").lower()
            assert (scene.words.where in answer) if kind.sentence else (kind.nouns[0] in answer)


def test_a_defect_is_not_denied(told):
    for scene in told:
        other = next(one for one in scene.questions if one.kind == "other")
        asked = next(name for name, kind in KINDS.items() if re.search(rf"\b{kind.nouns[0]}\?", other.question))
        same = scene.anomalous and KINDS[asked].nouns[0] == KINDS[scene.defect_type].nouns[0]
        assert other.answer.startswith("Yes" if same else "No")


def test_parts_are_counted_right():
    checked = 0
    for seed in range(3):
        made = family("screwed_plate", seed)
        screws = next(name for name in ("screw", "rivet") if name in part_counts(made.design))
        many = sum(part.name == screws for part in made.design.parts)
        assert part_counts(made.design)[screws] == many
        for index in range(12):
            scene = made.defective(index, "missing_part", size=64)
            found = [one for one in scene.questions if one.kind == "count" and screws in one.question]
            if found and scene.subject == screws:
                assert found[0].answer.startswith(f"There are {many - 1} of ")
                checked += 1
            elif found:
                assert found[0].answer.endswith(", as there should be.")
    assert checked > 5


def test_a_rule_is_broken_by_its_kind_of_defect_only(told):
    broken = 0
    for scene in told:
        assert scene.rules
        assert len({finding.id for finding in scene.rules}) == len(scene.rules)
        for rule, finding in zip(scene.family.rules, scene.rules, strict=True):
            assert (finding.id, finding.text) == (rule.id, rule.text)
            expected = (
                scene.anomalous and KINDS[scene.defect_type].group == rule.group and rule.part in ("", scene.subject)
            )
            assert finding.verdict == ("broken" if expected else "kept")
            assert finding.reason
            broken += expected
    assert broken > 60


def test_rules_belong_to_the_family():
    made = family("gear", 3)
    assert made.good(0, 64).family.rules == made.good(5, 64).family.rules
    assert {rule.text for rule in made.rules} != {rule.text for rule in family("gear", 4).rules}


@pytest.mark.parametrize("kind", NEAR_MISSES)
def test_a_near_miss_is_explained(kind):
    scene = family("coating", 1).near_miss(0, 64, kind)
    assert NEAR_MISS_WORDS[kind].format(object=scene.object) in scene.description
    assert scene.questions[0].answer.startswith("No")


# ---------------------------------------------------------------- language


def test_hardly_two_records_are_alike(told):
    assert len({scene.words.answer for scene in told}) > 0.97 * len(told)
    bad = [scene for scene in told if scene.anomalous]
    assert len({scene.description for scene in bad}) == len(bad)


def test_sentences_are_well_formed(told):
    for scene in told:
        for text in texts(scene):
            if text:
                assert not re.search(r"[{}]|  |\.\.|,\.|\ba [aeiou]|\ban [^aeiou]", text), text
                assert text[0].isupper(), text
        for text in (scene.description, scene.impact, scene.recommendation):
            assert not text or text.endswith("."), text


def test_the_same_scene_is_always_told_alike():
    one, two = (stream(2, size=64)[5] for _ in range(2))
    assert one.words == two.words
    assert one.words is not two.words


def test_every_phrase_can_be_filled():
    words = {"object": "x", "subject": "y", "part": "z", "many": "three z", "where": "w"}
    groups = {kind.group for kind in KINDS.values()}
    assert groups == set(RULES) == set(IMPACT) == set(ADVICE)
    tables = [*IMPACT.values(), *ADVICE.values(), *USES.values(), *(text for pair in RULES.values() for text in pair)]
    sentences = [kind.sentence for kind in (*KINDS.values(), *FILM_KINDS.values())]
    for text in [*(text for table in tables for text in table), *sentences, *NEAR_MISS_WORDS.values()]:
        assert "{" not in text.format(**words)
    for table in tables:
        assert len(set(table)) == len(table) >= 2


def test_every_design_is_spoken_of():
    for category in CATEGORIES:
        design = family(category, 0).design
        assert design.use in USES
        assert family(category, 0).object in (design.name, *NAMES.get(design.name, ()))


def test_colours_have_their_names():
    assert {name: colour_name(rgb) for name, rgb in NAMED.items()} == {name: name for name in NAMED}
    assert colour_name((1, 1, 1)) == "white"
