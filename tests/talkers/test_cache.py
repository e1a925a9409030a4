"""Answers on disk: found by content, whole or not there, and kept when the process is killed."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest

from looktwice.errors import UsageError
from looktwice.talkers.cache import Answers, default_folder, key_of
from looktwice.talkers.fake import Scripted
from looktwice.talkers.meter import Metered
from looktwice.talkers.opening import open_talker
from looktwice.talkers.protocol import Asking, Picture, Reply, TalkerError, Turn, Usage
from talkers.server import TalkServer, says, waits


def user(*parts: str | Picture) -> list[Turn]:
    return [Turn("user", parts)]


def shown(value: int = 0, shape: tuple[int, ...] = (4, 6, 3), label: str = "") -> Picture:
    return Picture(np.full(shape, value, np.uint8), label)


HOW = Asking(choices=("Yes", "No"), schema={"a": 1, "b": 2})
ASKED = [Turn("system", ("Be brief.",)), Turn("user", ("Part:", shown(), "Is it broken?"))]


def test_the_same_question_has_the_same_key_whatever_holds_it() -> None:
    again = [Turn("system", ("Be brief.",)), Turn("user", ("Part:", shown(label="another name"), "Is it broken?"))]
    how = replace(HOW, schema=MappingProxyType({"a": 1, "b": 2}))
    assert key_of("t", ASKED, HOW) == key_of("t", again, how)


@pytest.mark.parametrize(
    ("identity", "dialogue", "how"),
    [
        ("other", ASKED, HOW),
        ("t", ASKED[1:], HOW),
        ("t", [replace(ASKED[0], role="user"), ASKED[1]], HOW),
        ("t", [ASKED[0], Turn("user", ("Part:", shown(1), "Is it broken?"))], HOW),
        ("t", [ASKED[0], Turn("user", ("Part:", shown(shape=(6, 4, 3)), "Is it broken?"))], HOW),
        ("t", [ASKED[0], Turn("user", ("Part:", "Is it broken?", shown()))], HOW),
        ("t", [ASKED[0], Turn("user", ("Part:Is it", shown(), "broken?"))], HOW),
        ("t", ASKED, replace(HOW, max_tokens=3)),
        ("t", ASKED, replace(HOW, temperature=1.0)),
        ("t", ASKED, replace(HOW, seed=1)),
        ("t", ASKED, replace(HOW, choices=("No", "Yes"))),
        ("t", ASKED, replace(HOW, schema=None)),
        ("t", ASKED, replace(HOW, schema={"b": 2, "a": 1})),
    ],
)
def test_whatever_changes_an_answer_changes_its_key(identity: str, dialogue: Sequence[Turn], how: Asking) -> None:
    assert key_of(identity, dialogue, how) != key_of("t", ASKED, HOW)


def test_every_field_of_asking_is_in_the_key() -> None:
    changed = {"max_tokens": 1, "temperature": 2.0, "seed": 3, "schema": {"x": 1}, "choices": ("A",)}
    assert changed.keys() == Asking.__dataclass_fields__.keys()
    keys = {key_of("t", ASKED, replace(Asking(), **{name: value})) for name, value in changed.items()}
    assert len(keys | {key_of("t", ASKED, Asking())}) == 6


def test_an_answer_comes_back_as_it_was_and_costs_nothing(tmp_path: Path) -> None:
    answers = Answers(tmp_path)
    reply = Reply("näin \ud800\n", "length", Usage(9, 9, 9.0), {"Yes": 1 / 3, "No": 2 / 3})
    answers.put("ab12", "t", reply)
    assert answers.get("ab12") == replace(reply, usage=Usage(0, 0, 0.0), cached=True)
    assert answers.get("ab13") is None


def test_the_second_time_nothing_is_asked(tmp_path: Path) -> None:
    script = Scripted('[{reply: "No", choices: {Yes: 0.2, No: 0.8}}]')
    first = Metered(script, Answers(tmp_path)).chat([ASKED, user("b")], HOW)
    assert len(script.asked) == 2
    again = Metered(script, Answers(tmp_path)).chat([user("b"), ASKED, user("c")], HOW)
    assert len(script.asked) == 3
    assert [(reply.text, reply.cached) for reply in again] == [("No", True), ("No", True), ("No", False)]
    assert [reply.choices for reply in again] == [reply.choices for reply in first] + [first[0].choices]


def test_failures_are_not_kept(tmp_path: Path) -> None:
    script = Scripted("[{error: talker_timeout}]")
    for _ in range(2):
        (answer,) = Metered(script, Answers(tmp_path)).chat([ASKED], HOW)
        assert isinstance(answer, TalkerError)
    assert len(script.asked) == 2


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "",
        lambda text: text[: len(text) // 2],
        lambda text: text.replace("fine", "Fine"),
        lambda text: "[" * 100_000,
        lambda text: "null",
        lambda text: '{"reply": 3}',
        lambda text: text.replace('"key": "', '"key": "0'),
    ],
)
def test_a_damaged_answer_is_asked_again_and_replaced(tmp_path: Path, damage, caplog: pytest.LogCaptureFixture) -> None:
    script = Scripted("[{reply: fine}]")
    Metered(script, Answers(tmp_path)).chat([ASKED], HOW)
    (path,) = tmp_path.rglob("*.json")
    whole = path.read_text()
    path.write_text(damage(whole))
    with caplog.at_level(logging.WARNING, "looktwice.talkers"):
        (answer,) = Metered(script, Answers(tmp_path)).chat([ASKED], HOW)
    assert (answer.text, answer.cached) == ("fine", False)
    assert path.read_text() == whole
    assert "is damaged" in caplog.text
    assert len(script.asked) == 2


def test_a_full_disk_loses_the_file_and_not_the_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    one = Metered(Scripted("[{reply: fine}]"), Answers(tmp_path))

    def full(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    (answer,) = one.chat([ASKED], HOW)
    assert answer.text == "fine"
    assert "could not be kept" in caplog.text
    assert "No space left on device" in caplog.text
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"cannot keep answers in .*file: .* Name another cache folder, or none"):
        Answers(tmp_path / "file")


def test_files_hold_answers_only_and_only_their_owner_reads_them(tmp_path: Path) -> None:
    Metered(Scripted("[{reply: fine}]"), Answers(tmp_path)).chat([user("a secret question")], HOW)
    (path,) = tmp_path.rglob("*.json")
    assert set(json.loads(path.read_text())) == {"key", "talker", "reply", "sha256"}
    assert "secret" not in path.read_text()
    assert path.stat().st_mode & 0o077 == 0


def test_the_default_folder_follows_the_xdg_rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for value, base in ((str(tmp_path / "x"), tmp_path / "x"), ("", None), ("relative", None)):
        monkeypatch.setenv("XDG_CACHE_HOME", value)
        assert default_folder() == (base or tmp_path / "home/.cache") / "looktwice" / "answers"


def test_options_that_change_answers_are_part_of_what_they_are_found_by(server: TalkServer, tmp_path: Path) -> None:
    for options, asked in (({}, 1), ({"retries": 1, "timeout": 9}, 1), ({"detail": "low"}, 2), ({"max_side": 64}, 3)):
        open_talker("openai:m", base_url=server.url, cache=tmp_path, **options).chat([ASKED], HOW)
        assert len(server.received) == asked
    open_talker("openai:n", base_url=server.url, cache=tmp_path).chat([ASKED], HOW)
    open_talker("openai:m", base_url=f"{server.url}/../v1", cache=tmp_path).chat([ASKED], HOW)
    assert len(server.received) == 5


WORKER = """
import sys
from looktwice.talkers.opening import open_talker
from looktwice.talkers.protocol import Asking, Turn
one = open_talker("openai:m", base_url=sys.argv[1], cache=sys.argv[2], concurrency=2)
dialogues = [[Turn("user", (f"question {i}",))] for i in range(8)]
print(*[answer.text for answer in one.chat(dialogues, Asking())], sep="|")
"""


def test_a_killed_process_loses_at_most_what_was_under_way(server: TalkServer, tmp_path: Path) -> None:
    async def behave(received):
        late = int(received.text.split()[1]) >= 5
        return await (waits(30.0) if late else says(received.text))(received)

    server.always = behave
    process = subprocess.Popen([sys.executable, "-c", WORKER, server.url, str(tmp_path)])
    while len(server.received) < 7 and process.poll() is None:
        time.sleep(0.02)
    time.sleep(0.2)  # five are answered, two under way
    process.send_signal(signal.SIGKILL)
    process.wait(5)
    server.reset()
    one = open_talker("openai:m", base_url=server.url, cache=tmp_path)
    answers = one.chat([user(f"question {i}") for i in range(8)], Asking())
    assert sum(reply.cached for reply in answers) == 5
    assert sorted(received.text for received in server.received) == ["question 5", "question 6", "question 7"]


def test_two_processes_share_a_folder(server: TalkServer, tmp_path: Path) -> None:
    async def behave(received):
        return await says(received.text)(received)

    server.always = behave
    command = [sys.executable, "-c", WORKER, server.url, str(tmp_path)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    expected = "|".join(f"question {i}" for i in range(8)) + "\n"
    assert [process.communicate(timeout=60)[0] for process in both] == [expected] * 2
    assert len(list(tmp_path.rglob("*.json"))) == 8
    assert list(tmp_path.rglob("*.tmp")) == []
    asked = len(server.received)
    one = open_talker("openai:m", base_url=server.url, cache=tmp_path)
    assert all(reply.cached for reply in one.chat([user(f"question {i}") for i in range(8)], Asking()))
    assert len(server.received) == asked
