import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from looktwice.detectors.coreset import BLOCK, Coreset


def filled(limit, blocks):
    coreset = Coreset(limit)
    for tag, block in enumerate(blocks):
        coreset.add(block, tag)
        assert len(coreset.rows) <= limit
        assert len(coreset.tags) == len(coreset.others) == len(coreset.rows)
    return coreset


@settings(deadline=None, max_examples=40)
@given(
    limit=st.integers(1, 60),
    sizes=st.lists(st.integers(0, 150), min_size=1, max_size=5),
    width=st.integers(1, 5),
    seed=st.integers(0, 10_000),
    doubled=st.booleans(),
)
def test_it_keeps_within_the_limit_and_every_row_near_a_kept_one(limit, sizes, width, seed, doubled):
    rng = np.random.default_rng(seed)
    blocks = [rng.standard_normal((size, width)).astype(np.float32) for size in sizes]
    if doubled:
        blocks = [np.concatenate([block, block]) for block in blocks]
    coreset = filled(limit, blocks)
    rows = np.concatenate(blocks)
    assert coreset.seen == len(rows)
    if len(rows):
        assert cdist(rows, coreset.rows).min(1).max() <= 2 * coreset.radius * (1 + 1e-3) + 1e-5
        assert cdist(coreset.rows, rows).min(1).max() == 0  # kept rows are rows that were given


def test_up_to_the_limit_nothing_is_dropped():
    blocks = [np.random.default_rng(i).standard_normal((50, 3)).astype(np.float32) for i in range(2)]
    coreset = filled(100, blocks)
    assert np.array_equal(coreset.rows, np.concatenate(blocks))
    assert coreset.tags.tolist() == [0] * 50 + [1] * 50
    assert coreset.radius == 0


def test_many_rows_over_several_blocks_are_thinned():
    rows = np.random.default_rng(0).random((3 * BLOCK + 5, 3)).astype(np.float32)
    coreset = filled(300, [rows])
    assert 20 < len(coreset.rows) <= 300
    assert cdist(rows, coreset.rows).min(1).max() <= 2 * coreset.radius * (1 + 1e-3)


def test_kept_rows_lie_apart():
    rows = np.random.default_rng(1).random((4000, 2)).astype(np.float32)
    coreset = filled(200, [rows])
    apart = cdist(coreset.rows, coreset.rows) + np.diag(np.full(len(coreset.rows), np.inf))
    assert apart.min() > coreset.radius * (1 - 1e-3)


def test_rows_all_alike_end_as_few():
    coreset = filled(10, [np.full((500, 4), 7.0, np.float32)])
    assert 1 <= len(coreset.rows) <= 10
    assert (coreset.rows == 7).all()


def test_far_from_the_origin_it_thins_the_same():
    rows = (np.random.default_rng(2).integers(0, 4096, (3000, 2)) / 4096).astype(np.float32)
    near, far = filled(150, [rows]), filled(150, [rows + np.float32(1024)])  # exact in float32
    assert far.radius == pytest.approx(near.radius, rel=1e-2)
    assert abs(len(near.rows) - len(far.rows)) <= 0.1 * len(near.rows)


def test_the_same_rows_give_the_same_coreset():
    blocks = [np.random.default_rng(i).standard_normal((700, 6)).astype(np.float32) for i in range(3)]
    a, b = filled(100, blocks), filled(100, blocks)
    assert a.rows.tobytes() == b.rows.tobytes()
    assert np.array_equal(a.tags, b.tags)
    assert np.array_equal(a.others, b.others)
    assert a.radius == b.radius


def test_what_one_source_alone_knows_is_gone_without_it():
    a = np.zeros((5, 2), np.float32) + np.arange(5, dtype=np.float32)[:, None]
    coreset = filled(100, [a, a + 100])
    assert np.array_equal(coreset.without(0), a + 100)
    assert np.array_equal(coreset.without(1), a)
    assert len(coreset.without(7)) == 10


def test_a_row_that_stands_for_two_sources_stays_without_either():
    rows = np.random.default_rng(3).random((600, 2)).astype(np.float32)
    coreset = filled(50, [rows, rows])
    for tag in (0, 1):
        rest = coreset.without(tag)
        assert cdist(rows, rest).min(1).max() <= 2 * coreset.radius * (1 + 1e-3)


@pytest.mark.parametrize("limit", [0, -3])
def test_a_limit_below_one_is_refused(limit):
    with pytest.raises(ValueError, match=f"limit must be at least 1, got {limit}"):
        Coreset(limit)
