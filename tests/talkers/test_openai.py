"""The openai talker against a real server on loopback, through the real client."""

from __future__ import annotations

import asyncio
import base64
import io
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
from PIL import Image

from looktwice import talkers
from looktwice.errors import MissingExtra, UsageError
from looktwice.talkers import openai
from looktwice.talkers.openai import Config, OpenAI
from looktwice.talkers.parallel import Pace
from looktwice.talkers.protocol import Asking, Picture, Reply, TalkerError, Turn
from looktwice.talkers.wire import data_url
from talkers.server import (
    TalkServer,
    cut_off,
    drips,
    echoes_key,
    fails,
    floods,
    refuses,
    says,
    sends,
    waits,
)

KEY = "sk-test-0123456789abcdef"
SCHEMA = {"type": "object", "properties": {"verdict": {"type": "string"}}}
YES_NO = Asking(choices=("Yes", "No"))


def user(*parts: str | Picture) -> list[Turn]:
    return [Turn("user", parts)]


def picture(height: int = 8, width: int = 12, seed: int = 0) -> Picture:
    return Picture(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def talker(server: TalkServer, **options) -> OpenAI:
    made = talkers.load("openai:m", **{"base_url": server.url, "backoff": 0.01, **options})
    assert isinstance(made, OpenAI)
    return made


def ask(server: TalkServer, how: Asking | None = None, **options) -> Reply | TalkerError:
    (answer,) = talker(server, **options).chat([user("Is it broken?")], how or Asking())
    return answer


def trouble(answer: Reply | TalkerError) -> TalkerError:
    assert isinstance(answer, TalkerError), answer
    return answer


# ---------------------------------------------------------------- what is sent


def test_texts_and_pictures_arrive_in_order_pixel_for_pixel(server: TalkServer) -> None:
    shown = picture()
    dialogue = [
        Turn("system", ("You inspect.", "Be brief.")),
        Turn("user", ("Reference:", shown, "Part:", picture(seed=1))),
        Turn("assistant", ("Yes",)),
        Turn("user", ("Why?",)),
    ]
    talker(server).chat([dialogue], Asking(max_tokens=77, temperature=0.5, seed=3))
    (got,) = server.received
    assert {name: got.body[name] for name in ("model", "max_tokens", "temperature", "seed")} == {
        "model": "m", "max_tokens": 77, "temperature": 0.5, "seed": 3,
    }  # fmt: skip
    assert [message["role"] for message in got.body["messages"]] == ["system", "user", "assistant", "user"]
    assert got.body["messages"][0]["content"] == "You inspect.\nBe brief."
    kinds = [part["type"] for part in got.body["messages"][1]["content"]]
    assert kinds == ["text", "image_url", "text", "image_url"]
    assert got.body["messages"][3]["content"] == "Why?"
    assert not {"response_format", "logprobs", "stream"} & got.body.keys()
    head, _, data = got.pictures[0].partition(",")
    assert head == "data:image/png;base64"
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))), shown.pixels)


def test_schema_choices_detail_and_extra_fields_are_sent(server: TalkServer) -> None:
    one = talker(server, detail="low", extra={"reasoning_effort": "low"})
    how = Asking(schema=MappingProxyType(SCHEMA), choices=("Yes", "No"))
    one.chat([user("?", picture())], how)
    body = server.received[0].body
    assert body["response_format"]["json_schema"] == {"name": "answer", "schema": SCHEMA, "strict": True}
    assert (body["logprobs"], body["top_logprobs"]) == (True, 20)
    assert body["messages"][0]["content"][1]["image_url"]["detail"] == "low"
    assert body["reasoning_effort"] == "low"


def test_a_large_picture_is_reduced_and_a_heavy_one_sent_as_jpeg() -> None:
    def opened(shown: Picture, side: int) -> Image.Image:
        return Image.open(io.BytesIO(base64.b64decode(data_url(shown, side).partition(",")[2])))

    assert opened(picture(100, 300), 150).size == (150, 50)
    assert opened(picture(1, 300), 30).size == (30, 1)
    heavy = picture(1300, 1300)
    assert opened(heavy, 2048).format == "JPEG"
    assert opened(heavy, 640).format == "PNG"
    assert data_url(heavy, 2048) == data_url(picture(1300, 1300), 2048)


def test_a_reference_is_encoded_once(server: TalkServer, monkeypatch: pytest.MonkeyPatch) -> None:
    encoded = []
    monkeypatch.setattr(openai, "data_url", lambda shown, side: encoded.append(shown) or data_url(shown, side))
    reference = picture()
    one = talker(server, concurrency=1)
    one.chat([user("Good:", reference, "Part:", picture(seed=i)) for i in range(1, 4)], Asking())
    one.chat([user("Good:", reference)], Asking())
    assert len(encoded) == 4
    assert len({request.pictures[0] for request in server.received}) == 1


def test_text_that_is_no_unicode_is_sent_all_the_same(server: TalkServer) -> None:
    bad = os.fsdecode(b"part\xff.png")
    (answer,) = talker(server).chat([user(bad, picture())], Asking())
    assert isinstance(answer, Reply)
    assert server.received[0].text.startswith("part?.png")


# ---------------------------------------------------------------- what comes back


def test_an_answer_is_read_with_its_tokens(server: TalkServer) -> None:
    server.always = says("No.", tokens=(123, 4))
    answer = ask(server)
    assert isinstance(answer, Reply)
    assert (answer.text, answer.finish, answer.cached, answer.choices) == ("No.", "stop", False, None)
    assert (answer.usage.tokens_in, answer.usage.tokens_out) == (123, 4)


def test_what_was_thought_and_not_said_counts_as_said(server: TalkServer) -> None:
    usage = {"prompt_tokens": 100, "completion_tokens": 5, "total_tokens": 150}
    server.always = sends({"choices": [{"message": {"content": "No"}}], "usage": usage})
    answer = ask(server)
    assert isinstance(answer, Reply)
    assert (answer.usage.tokens_in, answer.usage.tokens_out) == (100, 50)


@pytest.mark.parametrize(
    ("behaviour", "text", "finish"),
    [
        (says("long", finish="length"), "long", "length"),
        (says(None, refusal="I cannot help."), "I cannot help.", "refusal"),
        (says("", finish="content_filter"), "", "refusal"),
        (fails(400, "filtered", code="content_filter"), "filtered", "refusal"),
        (says('Sure! ```json\n{"verdict": "normal"}\n```'), 'Sure! ```json\n{"verdict": "normal"}\n```', "stop"),
        (sends({"choices": [{"message": {"content": [{"type": "text", "text": "a"}]}}]}), "a", "stop"),
        (sends(b'{"choices": [{"message": {"content": "\\ud800"}}], "usage": null}'), "?", "stop"),
    ],
)
def test_every_way_to_finish_is_told(server: TalkServer, behaviour, text: str, finish: str) -> None:
    server.always = behaviour
    answer = ask(server)
    assert isinstance(answer, Reply)
    assert (answer.text, answer.finish) == (text, finish)


def test_a_huge_answer_is_cut_and_a_flood_given_up(server: TalkServer) -> None:
    server.then(says("x" * 1_000_000), floods(17_000_000))
    answer = ask(server)
    assert isinstance(answer, Reply)
    assert (len(answer.text), answer.finish) == (200_000, "length")
    assert "longer than 16,000,000 bytes" in str(trouble(ask(server)))
    assert len(server.received) == 2


# ---------------------------------------------------------------- probabilities of the first word


@pytest.mark.parametrize(
    ("top", "expected"),
    [
        ([{"Yes": 0.5, " yes": 0.2, "YES": 0.05, "No": 0.2, "Maybe": 0.05}], 0.75 / 0.95),
        ([{"\n": 0.9, "Yes": 0.1}, {"Yes": 0.3, " no": 0.6}], 0.3 / 0.9),  # after a line feed
        ([{'"Yes': 0.6, "No": 0.2}], 0.75),  # in quotes
        ([{"Yes": 1.0}], 1.0),
    ],
)
def test_all_cases_and_spaces_of_a_word_count_for_it(server: TalkServer, top, expected: float) -> None:
    server.always = says("Yes", top=top)
    answer = ask(server, YES_NO)
    assert isinstance(answer, Reply)
    assert answer.choices is not None
    assert answer.choices == pytest.approx({"Yes": expected, "No": 1 - expected})


def test_the_beginning_of_a_word_counts_only_when_it_says_enough(server: TalkServer) -> None:
    server.always = says("anomalous", top=[{"anom": 0.6, "Normal": 0.2, "A": 0.2}])
    answer = ask(server, Asking(choices=("anomalous", "normal")))
    assert isinstance(answer, Reply)
    assert answer.choices == pytest.approx({"anomalous": 0.75, "normal": 0.25})


@pytest.mark.parametrize("top", [None, [], [{"The": 1.0}], [{"\n": 1.0}]])
def test_without_probabilities_of_the_words_nothing_is_told(server: TalkServer, top) -> None:
    server.always = says("The part ...", top=top)
    answer = ask(server, YES_NO)
    assert isinstance(answer, Reply)
    assert answer.choices is None


# ---------------------------------------------------------------- servers that take less


def test_a_refused_schema_is_left_out_and_that_is_said_once(
    server: TalkServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.always = refuses("response_format", then=says("{}"))
    one = talker(server, concurrency=1)
    with caplog.at_level(logging.WARNING, "looktwice.talkers"):
        answers = one.chat([user("a"), user("b"), user("c")], Asking(schema=SCHEMA))
    assert [answer.text for answer in answers if isinstance(answer, Reply)] == ["{}"] * 3
    assert ["response_format" in one.body for one in server.received] == [True, False, False, False]
    (said,) = caplog.messages
    assert "m at http://127.0.0.1" in said
    assert "does not take response_format, it is left out from now on" in said


@pytest.mark.parametrize("message", ["json_schema is not supported", "bad request"])
def test_a_schema_is_dropped_also_where_the_server_is_vague(server: TalkServer, message: str) -> None:
    server.always = refuses("response_format", message=message)
    assert isinstance(ask(server, Asking(schema=SCHEMA)), Reply)


def test_a_newer_model_gets_its_own_name_for_the_length_and_no_temperature(server: TalkServer) -> None:
    server.always = refuses("max_tokens", "temperature")
    assert isinstance(ask(server, Asking(max_tokens=9)), Reply)
    body = server.received[-1].body
    assert body["max_completion_tokens"] == 9
    assert not {"max_tokens", "temperature"} & body.keys()


def test_without_logprobs_on_the_server_choices_are_none(server: TalkServer) -> None:
    server.always = refuses("logprobs")
    answer = ask(server, YES_NO)
    assert isinstance(answer, Reply)
    assert answer.choices is None


def test_what_is_refused_anyway_is_not_blamed_on_the_schema(server: TalkServer) -> None:
    server.then(*[fails(400, "prompt too long")] * 2)
    one = talker(server)
    (answer,) = one.chat([user("?")], Asking(schema=SCHEMA))
    assert trouble(answer).kind == "talker_bad_request"
    assert "prompt too long" in str(answer)
    one.chat([user("?")], Asking(schema=SCHEMA))
    assert "response_format" in server.received[-1].body


# ---------------------------------------------------------------- failures, and asking again


@pytest.mark.parametrize(
    ("behaviour", "kind", "words"),
    [
        (fails(429, "slow down"), "talker_rate_limited", "too many requests (429: slow down) (tried 3 times)"),
        (fails(500, "oh"), "talker_failed", "the server failed (500: oh) (tried 3 times)"),
        (fails(503), "talker_failed", "the server failed (503"),
        (cut_off(), "talker_failed", "the answer was cut off"),
        (sends(b"<html>hello"), "talker_failed", "not what the chat protocol says: '<html>hello'"),
        (sends(b'{"choices": []}'), "talker_failed", "not what the chat protocol says"),
        (sends(b"[" * 100_000), "talker_failed", "not what the chat protocol says"),
        (sends(b"null"), "talker_failed", "not what the chat protocol says"),
        (sends({"choices": [{"message": {"content": 7}}]}), "talker_failed", "not what the chat protocol says"),
        (sends({"error": {"message": "inside"}}), "talker_failed", "inside"),
    ],
)
def test_what_may_pass_is_tried_again_and_then_told(server: TalkServer, behaviour, kind: str, words: str) -> None:
    server.always = behaviour
    error = trouble(ask(server, retries=2))
    assert error.kind == kind
    assert words in str(error)
    assert len(server.received) == 3
    server.reset()
    server.then(behaviour, behaviour)
    assert isinstance(ask(server, retries=2), Reply)


@pytest.mark.parametrize(
    ("behaviour", "kind", "words"),
    [
        (fails(401, "no"), "talker_refused_key", "a key is wanted (401: no). Set OPENAI_API_KEY"),
        (fails(403, "no"), "talker_refused_key", "403"),
        (fails(404, "no model m"), "talker_bad_request", "no model m"),
        (fails(413, "too large"), "talker_bad_request", "too large"),
        (fails(429, "no money", code="insufficient_quota"), "talker_rate_limited", "no money"),
        (fails(429, headers={"Retry-After": "3600"}), "talker_rate_limited", "asks to wait 3600 s, longer than"),
    ],
)
def test_what_will_not_pass_is_told_at_once(server: TalkServer, behaviour, kind: str, words: str) -> None:
    server.always = behaviour
    error = trouble(ask(server))
    assert (error.kind, len(server.received)) == (kind, 1)
    assert words in str(error)


@pytest.mark.parametrize("behaviour", [waits(3.0), drips(3.0)])
def test_a_late_answer_is_given_up(server: TalkServer, behaviour) -> None:
    server.always = behaviour
    start = time.monotonic()
    error = trouble(ask(server, timeout=0.2, retries=1))
    assert error.kind == "talker_timeout"
    assert "no answer within 0.2 s" in str(error)
    assert len(server.received) == 2
    assert time.monotonic() - start < 2.5


def test_a_server_that_is_not_there_is_named(server: TalkServer) -> None:
    one = talkers.load("openai:m", base_url="http://127.0.0.1:9/v1", retries=1, backoff=0.01)
    (answer,) = one.chat([user("?")], Asking())
    assert trouble(answer).kind == "talker_unreachable"
    assert "m at http://127.0.0.1:9/v1: cannot be reached" in str(answer)
    assert "Is the server running" in str(answer)


def test_a_forgotten_v1_is_suggested(server: TalkServer) -> None:
    assert "Does base_url lack /v1?" in str(ask(server, base_url=server.url.removesuffix("/v1")))


@pytest.mark.parametrize(
    "header",
    [
        {"Retry-After": "0.4"},
        {"retry-after-ms": "400"},
        {"Retry-After": format_datetime(datetime.now(UTC) + timedelta(days=-1), usegmt=True), "retry-after-ms": "400"},
    ],
)
def test_a_server_that_asks_to_wait_is_obeyed(server: TalkServer, header) -> None:
    server.then(fails(429, headers=header))
    assert isinstance(ask(server), Reply)
    first, second = server.received
    assert second.at - first.at >= 0.4


def test_a_date_to_wait_for_is_understood(server: TalkServer) -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    server.always = fails(429, headers={"Retry-After": later})
    assert "asks to wait 3" in str(trouble(ask(server)))
    server.reset()
    server.then(fails(429, headers={"Retry-After": "soon"}), fails(429, headers={"Retry-After": "nan"}))
    assert isinstance(ask(server), Reply)


def test_waits_grow_and_are_the_same_in_every_run(server: TalkServer) -> None:
    one = talker(server, backoff=1.0)
    body = {"messages": [{"role": "user", "content": "a"}]}
    waits = [one._backoff(tries, body) for tries in range(9)]
    assert waits == [talker(server, backoff=1.0)._backoff(tries, body) for tries in range(9)]
    assert all(0.5 * 2**i <= wait <= 2**i for i, wait in enumerate(waits[:6]))
    assert max(waits) <= 60
    assert one._backoff(0, {"messages": []}) != waits[0]


# ---------------------------------------------------------------- many at once


def test_many_are_asked_at_once_up_to_the_limit_and_come_back_in_order(server: TalkServer) -> None:
    async def behave(received):
        while server.most_at_once < 3:
            await asyncio.sleep(0.01)
        return await waits(0.02 * (3 - int(received.text) % 3), says(f"no {received.text}"))(received)

    server.always = behave
    answers = talker(server, concurrency=3).chat([user(str(i)) for i in range(12)], Asking())
    assert [answer.text for answer in answers if isinstance(answer, Reply)] == [f"no {i}" for i in range(12)]
    assert server.most_at_once == 3


def test_one_failing_dialogue_takes_no_other_with_it(server: TalkServer) -> None:
    async def behave(received):
        return await (fails(400, "not this one") if received.text == "2" else says("fine"))(received)

    server.always = behave
    answers = talker(server).chat([user(str(i)) for i in range(5)], Asking())
    assert [isinstance(answer, Reply) for answer in answers] == [True, True, False, True, True]


def test_a_rate_limit_slows_all_threads_not_one(server: TalkServer) -> None:
    told: list[float] = []

    async def refuse(received):
        while server.at_once < 4:
            await asyncio.sleep(0.01)
        told.append(time.monotonic())
        return await fails(429, headers={"Retry-After": "1"})(received)

    server.always = waits(0.03)
    server.then(refuse, waits(0.5), waits(0.5), waits(0.5))
    answers = talker(server, concurrency=4).chat([user(str(i)) for i in range(12)], Asking())
    assert all(isinstance(answer, Reply) for answer in answers)
    assert [one for one in server.received if told[0] < one.at < told[0] + 1] == []
    assert len(server.received) == 13


def test_a_rate_limit_halves_how_many_go_at_once_and_good_answers_give_them_back() -> None:
    def free(pace: Pace) -> int:
        with ExitStack() as held:
            for count in range(9):
                if pace._wait() > 0:
                    return count
                held.enter_context(pace.turn(threading.Event()))
        return 9

    pace = Pace(5)
    assert free(pace) == 5
    pace.hold(0)
    assert free(pace) == 2
    pace.hold(0)
    pace.hold(0)
    assert free(pace) == 1
    for _ in range(9):
        pace.ease()
    assert free(pace) == 5
    pace.hold(60)
    pace.hold(0)
    assert free(pace) == 0


def test_an_interrupt_ends_at_once_though_answers_are_under_way(server: TalkServer) -> None:
    server.always = waits(20.0)
    code = (
        "from looktwice import talkers; from looktwice.talkers.protocol import Asking, Turn\n"
        f"one = talkers.load('openai:m', base_url={server.url!r})\n"
        "one.chat([[Turn('user', (str(i),))] for i in range(8)], Asking())\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE)
    while len(server.received) < 4 and process.poll() is None:
        time.sleep(0.02)
    start = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=15)
    assert b"KeyboardInterrupt" in said
    assert time.monotonic() - start < 10
    assert len(server.received) == 4


@pytest.mark.parametrize("failure", [fails(429, headers={"Retry-After": "0.4"}), fails(500)])
def test_a_stopped_batch_asks_nothing_more(server: TalkServer, failure) -> None:
    async def behave(received):
        while len(server.received) < 3:
            await asyncio.sleep(0.01)
        return await (waits(0.1) if received.text == "0" else failure)(received)

    server.always = behave
    stream = talker(server, concurrency=3, backoff=0.4).stream((user(str(i)) for i in range(50)), Asking())
    assert next(stream)[0] == 0
    stream.close()
    asked = len(server.received)
    time.sleep(0.8)
    assert len(server.received) == asked == 3


# ---------------------------------------------------------------- keys and options


@pytest.mark.parametrize("key", [KEY, "any.other/key=="])
def test_the_key_is_sent_and_shown_nowhere(
    server: TalkServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, key: str
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", f" {key}\n")
    seen = ""
    with caplog.at_level(logging.DEBUG):
        for status in (401, 400, 429, 500):
            server.always = echoes_key(status)
            one = talker(server, retries=1)
            (answer,) = one.chat([user("?")], Asking(schema=SCHEMA))
            error = trouble(answer)
            seen += f"{error} {error!r} {error.__cause__} {error.__context__} {one} {one!r} {one.name} {one.identity}"
        server.always = sends(f"{'x' * 90}{key}".encode())
        seen += str(trouble(ask(server, retries=0)))
    assert server.received[0].headers["authorization"] == f"Bearer {key}"
    assert "Incorrect key [key]" in seen
    for part in (key, key[:9], "sk-proj", "wxyz"):
        assert part not in seen
        assert part not in caplog.text


def test_another_variable_may_hold_the_key(server: TalkServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OTHER_KEY", "other")
    for options, sent in (({"key_env": "OTHER_KEY"}, "other"), ({"key_env": ""}, "none"), ({}, KEY)):
        ask(server, **options)
        assert server.received[-1].headers["authorization"] == f"Bearer {sent}"
    server.always = fails(401)
    assert "the key in OTHER_KEY is refused" in str(ask(server, key_env="OTHER_KEY"))


def test_openai_itself_wants_a_key(server: TalkServer, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="OPENAI_API_KEY is not set: export the key"):
        OpenAI("gpt-4o")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-\N{HORIZONTAL ELLIPSIS}")
    with pytest.raises(UsageError, match="OPENAI_API_KEY holds characters that no key has") as caught:
        OpenAI("gpt-4o")
    assert "sk-" not in str(caught.value)


def test_the_environment_may_name_the_server(server: TalkServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    assert isinstance(OpenAI("m").chat([user("?")], Asking())[0], Reply)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"base_url": "localhost:8000"}, "must look like http://localhost:8000/v1, got 'localhost:8000'"),
        ({"base_url": "http://[::1"}, "must look like"),
        ({"base_url": "http://a:b"}, "must look like"),
        ({"base_url": "https://me:secret@host/v1"}, "keys come from the environment only"),
        ({"base_url": "https://host/v1?key=secret"}, "keys come from the environment only"),
        ({"concurrency": 0}, "option 'concurrency': Input should be greater than or equal to 1"),
        ({"detail": "max"}, "option 'detail': Input should be 'auto', 'low' or 'high'"),
        ({"tiemout": 3}, "option 'tiemout'.* Its options: base_url, key_env, detail"),
    ],
)
def test_an_option_that_cannot_be_used_is_named(options, words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        OpenAI("m", **options)
    assert "secret" not in str(caught.value)


def test_without_the_client_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(MissingExtra, match=r"Talking to m needs the module 'openai': pip install 'looktwice\[chat\]'"):
        OpenAI("m", base_url="http://127.0.0.1:9/v1")


def test_the_module_loads_without_the_client() -> None:
    code = "import sys, looktwice.talkers.opening, looktwice.talkers.openai; print('openai' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


def test_the_page_shows_the_options_of_the_code() -> None:
    page = (Path(__file__).parents[2] / "docs" / "talkers.md").read_text("utf-8")
    for name, field in Config.model_fields.items():
        default = "none" if field.default is None else field.default
        assert f"| `{name}` | `{default}` | {field.description} |" in page


def test_no_thread_is_left_behind(server: TalkServer) -> None:
    talker(server).chat([user(str(i)) for i in range(6)], Asking())
    time.sleep(0.05)
    before = threading.active_count()
    for _ in range(3):
        talker(server).chat([user(str(i)) for i in range(6)], Asking())
    time.sleep(0.05)
    assert threading.active_count() <= before
