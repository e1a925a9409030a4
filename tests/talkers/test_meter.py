"""What answers cost, and a budget that is never passed."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from looktwice import talkers
from looktwice.errors import UnknownName, UsageError
from looktwice.talkers.cache import Answers
from looktwice.talkers.fake import Scripted
from looktwice.talkers.meter import BudgetSpent, Metered, Spent
from looktwice.talkers.opening import open_talker
from looktwice.talkers.prices import FREE, GEMINI, OPENAI, Price, listed
from looktwice.talkers.protocol import Asking, Picture, Reply, TalkerError, Turn, Usage
from talkers.server import TalkServer, fails, says, waits

HOW = Asking(max_tokens=50)
PRICE = Price(1.0, 10.0, picture=1000)  # a token in costs a millionth of a dollar


def user(*parts: str | Picture) -> list[Turn]:
    return [Turn("user", parts)]


def costing(tokens_in: int, tokens_out: int) -> Scripted:
    return Scripted.of(lambda dialogue, how: Reply("fine", usage=Usage(tokens_in, tokens_out)))


def most(*parts: str | Picture) -> float:
    """What one question can cost: its bytes, 16 for the turn, its pictures, and the longest answer."""
    tokens = 16 + sum(1000 if isinstance(part, Picture) else len(part.encode()) for part in parts)
    return tokens * 1e-6 + HOW.max_tokens * 1e-5


# ---------------------------------------------------------------- counting


def test_tokens_dollars_and_failures_are_counted(tmp_path: Path) -> None:
    script = Scripted.of(
        lambda dialogue, how: (
            TalkerError("talker_bad_request", "no")
            if dialogue[-1].parts == ("bad",)
            else Reply("fine", usage=Usage(1000, 20))
        )
    )
    one = Metered(script, Answers(tmp_path), price=PRICE)
    answers = one.chat([user("a"), user("bad"), user("b")], HOW)
    assert [reply.usage.dollars for reply in answers if isinstance(reply, Reply)] == pytest.approx([0.0012, 0.0012])
    one.chat([user("a")], HOW)
    spent = one.spent
    assert (spent.requests, spent.cached, spent.failed) == (2, 1, 1)
    assert (spent.tokens_in, spent.tokens_out) == (2000, 40)
    assert spent.dollars == pytest.approx(0.0024)
    assert spent.words == "2 requests, 1 from the cache, 1 failed, 2,000 + 40 tokens, $0.0024"


def test_what_was_asked_before_is_free(tmp_path: Path) -> None:
    Metered(costing(1, 1), Answers(tmp_path), price=PRICE).chat([user("a")], HOW)
    one = Metered(costing(1, 1), Answers(tmp_path), budget=0.0, price=PRICE)
    (answer,) = one.chat([user("a")], HOW)
    assert (answer.cached, answer.usage) == (True, Usage(0, 0, 0.0))
    assert one.spent == Spent(cached=1, budget=0.0)


@pytest.mark.parametrize(
    ("spent", "words"),
    [
        (Spent(), "0 requests, 0 + 0 tokens"),
        (Spent(1, tokens_in=5, dollars=None), "1 request, 5 + 0 tokens, price not known"),
        (Spent(budget=2.5), "0 requests, 0 + 0 tokens, $0.0000 of $2.50"),
    ],
)
def test_the_line_for_people_says_what_is_known(spent: Spent, words: str) -> None:
    assert spent.words == words


def test_a_talker_without_a_price_costs_nothing() -> None:
    one = Metered(Scripted("[{reply: fine}]"), budget=0.0)
    (answer,) = one.chat([user("a")], HOW)
    assert answer.usage.dollars == 0.0
    assert one.spent.tokens_in > 0


def test_a_talker_that_cannot_tell_answers_as_they_come_is_metered_too() -> None:
    class Plain:
        name = "plain"
        batches: tuple[int, ...] = ()

        def chat(self, dialogues, how):
            self.batches += (len(dialogues),)
            return [Reply(str(i), usage=Usage(10, 1)) for i in range(len(dialogues))]

    plain = Plain()
    one = Metered(plain)
    assert [reply.text for reply in one.chat([user("a"), user("b")], HOW)] == ["0", "1"]
    assert one.chat([], HOW) == []
    assert plain.batches == (2,)
    assert one.spent.tokens_in == 20


# ---------------------------------------------------------------- budgets


def test_a_budget_stops_before_it_is_passed_and_keeps_what_was_answered(tmp_path: Path) -> None:
    script = costing(200, 50)  # 0.0007 dollars
    budget = 0.003
    one = Metered(script, Answers(tmp_path), budget=budget, price=PRICE)
    dialogues = [user(f"question {i}") for i in range(10)]
    with pytest.raises(BudgetSpent) as caught:
        one.chat(dialogues, HOW)
    assert caught.value.kind == "budget"
    assert str(caught.value) == (
        "the budget of $0.003 is used up: $0.0028 are spent (4 requests), and the next one can cost $0.0005. "
        "Answers so far are kept: the same command goes on from them."
    )
    assert one.spent.dollars == pytest.approx(0.0028)
    again = Metered(script, Answers(tmp_path), budget=0.01, price=PRICE)
    assert sum(reply.cached for reply in again.chat(dialogues, HOW)) == 4
    assert len(script.asked) == 10


def test_the_most_a_question_can_cost_is_its_bytes_pictures_and_longest_answer() -> None:
    parts = ("Prüfe", Picture(np.zeros((2, 2, 3), np.uint8)), "dies", Picture(np.zeros((9, 9, 3), np.uint8)))
    assert most(*parts) == pytest.approx((16 + 6 + 4 + 2000 + 500) * 1e-6)
    one = Metered(costing(1, 1), budget=most(*parts) + 1e-9, price=PRICE)
    assert one.chat([user(*parts)], HOW)
    one = Metered(costing(1, 1), budget=most(*parts) - 1e-9, price=PRICE)
    with pytest.raises(BudgetSpent):
        one.chat([user(*parts)], HOW)


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.tuples(st.integers(1, 400), st.integers(1, 50)), min_size=1, max_size=12),
    st.floats(0, 0.01),
)
def test_no_budget_is_ever_passed(costs: list[tuple[int, int]], budget: float) -> None:
    def say(dialogue, how):
        tokens_in, tokens_out = costs[int(dialogue[0].parts[0].split()[0])]
        return Reply("fine", usage=Usage(tokens_in, tokens_out))

    one = Metered(Scripted.of(say), budget=budget, price=PRICE)
    try:
        one.chat([user(f"{i} {'x' * 400}") for i in range(len(costs))], HOW)
    except BudgetSpent:
        assert one.spent.dollars + most("x" * 402) > budget
    assert one.spent.dollars <= budget


def test_requests_at_once_do_not_pass_the_budget_together(server: TalkServer) -> None:
    server.always = waits(0.03, says(tokens=(100, 50)))  # $0.0006 each
    text, budget = "x" * 100, 0.004
    one = open_talker("openai:m", base_url=server.url, cache=None, budget=budget, price_in=1, price_out=10)
    with pytest.raises(BudgetSpent, match="the budget of") as caught:
        one.chat([user(text)] * 30, HOW)
    assert "kept" not in str(caught.value)
    assert len(server.received) * 0.0006 <= budget
    assert one.spent.requests == len(server.received) == 6
    assert one.spent.dollars == pytest.approx(0.0036)
    assert server.most_at_once == 4
    with pytest.raises(BudgetSpent):
        one.chat([user(text)], HOW)
    assert len(server.received) == 6


def test_what_requests_leave_of_what_was_set_aside_allows_more(server: TalkServer) -> None:
    server.always = says(tokens=(50, 5))  # $0.0001, of at most $0.00052
    one = open_talker("openai:m", base_url=server.url, cache=None, budget=0.0012, price_in=1, price_out=10)
    assert len(one.chat([user("abcd")] * 5, HOW)) == 5
    assert server.most_at_once <= 2
    assert one.spent.dollars == pytest.approx(0.0005)


def test_a_server_that_does_not_count_is_charged_the_most(server: TalkServer) -> None:
    server.always = says(tokens=None)
    one = open_talker("openai:m", base_url=server.url, cache=None, price_in=1, price_out=10)
    one.chat([user("abcd")], HOW)
    assert one.spent.dollars == pytest.approx((4 + 16 + 500) * 1e-6)


@pytest.mark.parametrize(("status", "dollars"), [(500, 0.00052), (400, 0.0)])
def test_an_answer_that_may_be_billed_though_it_was_lost_is_charged(
    server: TalkServer, status: int, dollars: float
) -> None:
    server.always = fails(status)
    one = open_talker("openai:m", base_url=server.url, cache=None, retries=0, price_in=1, price_out=10)
    one.chat([user("abcd")], HOW)
    assert one.spent.dollars == pytest.approx(dollars)
    assert one.spent.failed == 1


def test_what_was_under_way_when_it_was_interrupted_is_charged() -> None:
    def say(dialogue, how):
        if dialogue[0].parts == ("b",):
            raise KeyboardInterrupt
        return Reply("fine", usage=Usage(100, 0))

    one = Metered(Scripted.of(say), budget=1.0, price=PRICE)
    with pytest.raises(KeyboardInterrupt):
        one.chat([user("a"), user("b"), user("c")], HOW)
    assert one.spent.dollars == pytest.approx(0.0001 + most("b"))
    assert (one.spent.requests, one.spent.failed) == (1, 1)


@pytest.mark.parametrize("budget", [-1.0, math.nan, math.inf])
def test_a_budget_is_a_number_of_dollars(budget: float) -> None:
    with pytest.raises(UsageError, match="a budget is a number of dollars from 0 up"):
        Metered(Scripted("[]"), budget=budget)


# ---------------------------------------------------------------- prices, and opening by name


def test_only_the_makers_own_server_has_list_prices() -> None:
    openai = "https://api.openai.com/v1/"
    assert listed("gpt-4o", openai) == listed("gpt-4o-2024-11-20", openai) == OPENAI["gpt-4o"]
    assert listed("gpt-4o-2024-05-13", openai) == Price(5.0, 15.0, 1536)
    assert listed("gpt-4o-mini-2024-07-18", openai) == OPENAI["gpt-4o-mini"]
    google = "https://generativelanguage.googleapis.com/v1beta/openai/"
    assert listed("gemini-2.5-flash", google) == GEMINI["gemini-2.5-flash"]
    for model, server in (("gpt-9", openai), ("gpt-4o", google), ("gpt-4o", "https://api.openai.com.evil.org/v1/")):
        assert listed(model, server) is None


def test_a_budget_without_a_price_is_refused_at_once(server: TalkServer) -> None:
    with pytest.raises(UsageError, match="a budget needs the price of openai:m, which is not known: give price_in"):
        open_talker("openai:m", base_url=server.url, budget=1.0)
    one = open_talker("openai:m", base_url=server.url)
    assert one.chat([user("a")], HOW)[0].usage.dollars is None
    assert one.spent.words == "1 request, 100 + 10 tokens, price not known"
    assert open_talker("openai:m", base_url=server.url, budget=0, price_in=0, price_out=0).chat([user("b")], HOW)


def test_a_list_price_is_used_unless_another_is_given(server: TalkServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-x")
    assert open_talker("openai:gpt-4o", budget=1.0).price == OPENAI["gpt-4o"]
    assert open_talker("openai:gpt-4o", price_in=7, price_out=8).price == Price(7, 8)
    assert open_talker("fake:[]").price == FREE


@pytest.mark.parametrize(
    ("name", "options", "error", "words"),
    [
        ("gpt-4o", {}, UsageError, "a talker is named KIND:MODEL, got 'gpt-4o'"),
        ("opnai:m", {}, UnknownName, "Unknown talker 'opnai'. Did you mean 'openai'"),
        ("fake:[]", {"base_url": "x"}, UsageError, "talker 'fake': .* 'base_url'. Its options: none"),
        ("fake:[]", {"price_in": 1}, UsageError, "give both price_in and price_out"),
        ("fake:[]", {"price_in": -1, "price_out": 1}, UsageError, "from 0 up, got -1 and 1"),
    ],
)
def test_what_cannot_be_opened_is_said(name: str, options, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        open_talker(name, **options)


def test_answers_are_kept_where_the_caller_says(server: TalkServer, tmp_path: Path) -> None:
    default = tmp_path / "xdg" / "looktwice" / "answers"  # XDG_CACHE_HOME of the tests
    for cache, folder in (("default", default), (tmp_path / "own", tmp_path / "own"), (None, None)):
        one = open_talker("openai:m", base_url=server.url, cache=cache)
        assert (one.answers.folder if one.answers else None) == folder
    assert open_talker("fake:[]").answers is None
    assert open_talker("fake:[]", cache=tmp_path / "own").answers is not None


def test_every_row_of_the_table_names_a_talker_that_loads_lazily() -> None:
    assert list(talkers.TALKERS) == ["openai", "hf", "fake"]
