"""A scripted talker says what its file says, and a bad file is explained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from looktwice import talkers
from looktwice.errors import UsageError
from looktwice.talkers.fake import Scripted
from looktwice.talkers.protocol import Asking, Picture, Reply, TalkerError, Turn

PICTURE = Picture(np.zeros((4, 4, 3), np.uint8))
SCRIPT = """
- when: [part, "R1"]
  reply: both
- when: part
  pictures: 2
  reply: two pictures
- regex: '^Is .*\\?$'
  reply: {verdict: anomalous, rules: [R1]}
- when: sure
  choices: {Yes: 0.6, No: 0.2}
- when: late
  error: talker_timeout
- when: rude
  reply: I cannot say.
  finish: refusal
"""


def ask(script: str, *parts: str | Picture, how: Asking | None = None) -> Reply | TalkerError:
    (answer,) = Scripted(script).chat([[Turn("user", parts)]], how or Asking())
    return answer


@pytest.mark.parametrize(
    ("parts", "text", "finish"),
    [
        (("the part and", "rule R1"), "both", "stop"),
        (("the part", PICTURE, PICTURE), "two pictures", "stop"),
        (("Is it?",), '{"verdict": "anomalous", "rules": ["R1"]}', "stop"),
        (("are you sure",), "Yes", "stop"),
        (("be rude",), "I cannot say.", "refusal"),
    ],
)
def test_the_first_rule_that_fits_answers(parts, text: str, finish: str) -> None:
    answer = ask(SCRIPT, *parts)
    assert isinstance(answer, Reply)
    assert (answer.text, answer.finish) == (text, finish)


def test_only_the_last_user_turn_is_matched_and_all_pictures_are_counted() -> None:
    dialogue = [Turn("user", ("R1", PICTURE)), Turn("assistant", ("hm",)), Turn("user", ("part", PICTURE))]
    (answer,) = Scripted(SCRIPT).chat([dialogue], Asking())
    assert isinstance(answer, Reply)
    assert answer.text == "two pictures"


def test_probabilities_are_told_when_asked_for_in_the_order_and_case_asked() -> None:
    answer = ask(SCRIPT, "sure", how=Asking(choices=("no", "yes")))
    assert isinstance(answer, Reply)
    assert answer.choices == pytest.approx({"no": 0.25, "yes": 0.75})
    for how in (Asking(), Asking(choices=("A", "B"))):
        answer = ask(SCRIPT, "sure", how=how)
        assert isinstance(answer, Reply)
        assert answer.choices is None


def test_a_script_can_fail_on_purpose_and_without_a_rule_it_does() -> None:
    late, none = ask(SCRIPT, "late"), ask(SCRIPT, "hello", PICTURE)
    assert isinstance(late, TalkerError)
    assert late.kind == "talker_timeout"
    assert isinstance(none, TalkerError)
    assert str(none) == "no rule of the script fits (1 pictures): hello"


def test_a_file_is_named_and_its_default_answers_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "answers.yaml"
    path.write_text("rules:\n- {when: a, reply: A}\ndefault: rest\n")
    talker = talkers.load(f"fake:{path}")
    assert talker.name == f"fake:{path}"
    answers = talker.chat([[Turn("user", ("a",))], [Turn("user", ("b",))]], Asking())
    assert [answer.text for answer in answers if isinstance(answer, Reply)] == ["A", "rest"]


def test_it_remembers_what_it_was_asked_and_counts_the_same_every_time() -> None:
    talker = Scripted("[{reply: fine}]")
    how = Asking(max_tokens=3)
    first = talker.chat([[Turn("system", ("s",)), Turn("user", ("one", PICTURE, "two"))]], how)
    (asked,) = talker.asked
    assert (asked.text, asked.pictures, asked.how) == ("one\ntwo", (PICTURE,), how)
    again = Scripted("[{reply: fine}]").chat([asked.dialogue], how)
    assert first == again
    assert first[0].usage.tokens_in == 2 + 256


def test_a_function_can_be_the_script() -> None:
    talker = Scripted.of(lambda dialogue, how: f"{len(dialogue)} {how.seed}", name="fake:mine")
    (answer,) = talker.chat([[Turn("user", ("a",))]], Asking(seed=4))
    assert isinstance(answer, Reply)
    assert (answer.text, talker.name, talker.identity) == ("1 4", "fake:mine", "fake:mine")


def test_another_script_is_another_talker(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("[{reply: a}]")
    before = Scripted(str(path)).identity
    path.write_text("[{reply: b}]")
    assert Scripted(str(path)).identity != before


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("missing.yaml", "cannot read the script missing.yaml: No such file"),
        ("[{reply: a}, {when: b}]", r"the script, rules\.2: .*a rule says what to answer: reply, choices or error"),
        ("[{reply: a, wenn: b}]", r"rules\.1\.wenn: .* A script is a list of rules with when, regex, pictures"),
        ("[{reply: a, error: timeout}]", r"rules\.1\.error: Input should be 'talker_unreachable'"),
        ("[{reply: a, regex: '('}]", r"rules\.1\.regex: .*regular expression"),
        ("[{choices: {a: 0}}]", "choices are probabilities"),
        ("[{choices: {a: -1, b: 2}}]", "choices are probabilities"),
        ("[a", "the script is no YAML"),
        ("[3]", r"rules\.1"),
        ("{rules: 3}", "rules: Input should be a valid tuple"),
    ],
)
def test_a_bad_script_is_explained(script: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Scripted(script)


def test_an_empty_file_is_explained(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("")
    with pytest.raises(UsageError, match=r"a\.yaml, rules: Input should be a valid tuple"):
        Scripted(str(tmp_path / "a.yaml"))
