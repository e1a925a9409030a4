"""Which records are drawn: kinds and sources take turns, nothing twice before all once, the same for all processes."""

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from looktwice.errors import UsageError
from looktwice.training.instruct import ENDLESS, Source
from looktwice.training.sampling import Sampler


@dataclass(frozen=True)
class Names:
    """Records that are only names."""

    name: str
    count: int

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        return {"id": f"{self.name}{index}"}


def source(name, normal, other, turns=1):
    return Source(name, Names(f"{name}n", normal), Names(f"{name}o", other), turns)


def sampler(*sources, sampling="balanced", seed=0):
    return Sampler(sources or (source("a", 6, 9),), seed, sampling)


def names(draws):
    return [draw.record()["id"] for draw in draws]


def kinds(draws):
    return [draw.pool.name[-1] for draw in draws]


sizes = st.integers(1, 5)


@given(micro=st.integers(0, 50), batch=sizes, world=sizes, rank=sizes)
@settings(deadline=None, max_examples=50)
def test_each_pair_of_micro_steps_of_each_process_has_both_kinds(micro, batch, world, rank):
    drawn = [kinds(sampler().draws(micro + k, batch, rank % world, world)) for k in range(2)]
    both = drawn[0] + drawn[1]
    assert abs(both.count("n") - both.count("o")) == 0
    if batch > 1:
        assert set(drawn[0]) == {"n", "o"}


@given(batch=sizes, world=sizes)
@settings(deadline=None, max_examples=30)
def test_all_processes_together_draw_each_record_once_before_any_twice(batch, world):
    # 24 records of each kind; as many micro-steps as hold whole rounds of both
    whole = sampler(source("a", 24, 24))
    drawn = [draw for micro in range(48) for rank in range(world) for draw in whole.draws(micro, batch, rank, world)]
    for kind in "no":
        mine = sorted((draw for draw in drawn if draw.pool.name[-1] == kind), key=lambda draw: draw.number)
        found = names(mine)
        assert len(found) == 24 * batch * world
        for start in range(0, len(found), 24):
            assert len(set(found[start : start + 24])) == 24


def test_a_process_alone_and_two_with_half_the_batch_draw_the_same_records():
    one = [set(names(sampler().draws(micro, 4))) for micro in range(6)]
    two = [{*names(sampler().draws(m, 2, 0, 2)), *names(sampler().draws(m, 2, 1, 2))} for m in range(6)]
    assert one == two


def test_draws_do_not_depend_on_what_was_drawn_before():
    whole = sampler()
    later = [names(sampler().draws(micro, 3)) for micro in reversed(range(8))]
    assert [names(whole.draws(micro, 3)) for micro in range(8)] == later[::-1]


def test_each_round_has_an_order_of_its_own_and_each_seed():
    pool = source("a", 12, 12)
    rounds = [[name for m in range(6 * k, 6 * k + 6) for name in names(sampler(pool).draws(m, 4))] for k in range(2)]
    assert sorted(rounds[0]) == sorted(rounds[1])
    assert rounds[0] != rounds[1]
    assert names(sampler(pool, seed=1).draws(0, 4)) != names(sampler(pool).draws(0, 4))


def test_sources_take_turns_as_they_are_weighed():
    mixed = sampler(source("a", 10, 10, turns=3), source("b", 500, 1))
    drawn = [name[:2] for micro in range(40) for name in names(mixed.draws(micro, 2))]
    assert drawn.count("an") == 3 * drawn.count("bn") == 30
    assert drawn.count("ao") == 3 * drawn.count("bo") == 30


def test_endless_sources_are_drawn_in_their_order():
    made = sampler(source("a", ENDLESS, ENDLESS))
    assert names(made.draws(1, 4)) == ["an2", "ao2", "an3", "ao3"]
    assert len(made) == ENDLESS


def test_shuffled_draws_all_records_alike():
    mixed = sampler(source("a", 3, 9), sampling="shuffled")
    drawn = [name for micro in range(6) for name in names(mixed.draws(micro, 2))]
    assert sorted(drawn) == sorted([f"an{i}" for i in range(3)] + [f"ao{i}" for i in range(9)])


def test_in_place_of_a_broken_record_come_others_of_its_pool():
    (draw, _) = sampler().draws(0, 2)
    others = list(sampler().instead(draw))
    assert len(others) == 5
    assert {one.index for one in others} | {draw.index} == set(range(6))
    assert {one.number for one in others} == {draw.number}


@pytest.mark.parametrize(("normal", "other", "word"), [(0, 3, "known to be normal"), (3, 0, "anomalous")])
def test_one_kind_alone_cannot_be_balanced(normal, other, word):
    with pytest.raises(UsageError, match=f"no record of a is {word}: add data, or set sampling=shuffled"):
        sampler(source("a", normal, other))
    assert len(sampler(source("a", normal, other), sampling="shuffled").draws(0, 2)) == 2
