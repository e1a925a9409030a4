import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from sklearn.neighbors import NearestNeighbors

from looktwice.detectors.neighbours import BANK_BLOCK, QUERY_BLOCK, nearest


def rows(count, width, seed, offset=0.0):
    return (offset + np.random.default_rng(seed).standard_normal((count, width))).astype(np.float32)


@settings(deadline=None, max_examples=40)
@given(
    queries=st.integers(1, 60),
    bank=st.integers(1, 1300),
    width=st.integers(1, 12),
    seed=st.integers(0, 10_000),
    data=st.data(),
)
def test_the_k_nearest_are_those_of_all_distances(queries, bank, width, seed, data):
    k = data.draw(st.integers(1, min(bank, 9)))
    a, b = rows(queries, width, seed), rows(bank, width, seed + 1)
    distances, found = nearest(a, b, k)
    every = cdist(a, b)
    assert distances.shape == found.shape == (queries, k)
    assert distances.dtype == np.float32
    assert found.dtype == np.int64
    np.testing.assert_allclose(distances, np.sort(every, 1)[:, :k], rtol=1e-4, atol=2e-3)
    np.testing.assert_allclose(distances, np.take_along_axis(every, found, 1), rtol=1e-4, atol=1e-5)
    assert all(len(set(one)) == k for one in found.tolist())
    assert (np.diff(distances, axis=1) >= 0).all()


@pytest.mark.parametrize("k", [1, 4])
def test_it_agrees_with_scikit_learn_over_several_blocks(k):
    a, b = rows(QUERY_BLOCK + 300, 20, 0), rows(3 * BANK_BLOCK + 7, 20, 1)
    peer = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(b.astype(np.float64))
    wanted, at = peer.kneighbors(a.astype(np.float64))
    distances, found = nearest(a, b, k)
    np.testing.assert_allclose(distances, wanted, rtol=1e-5)
    assert (found == at).mean() > 0.999


@pytest.mark.parametrize("offset", [1e2, 1e4])
def test_data_far_from_the_origin_loses_nothing(offset):
    a, b = rows(200, 8, 2, offset), rows(900, 8, 3, offset)
    every = cdist(a.astype(np.float64), b.astype(np.float64))
    distances, found = nearest(a, b, 3)
    np.testing.assert_allclose(distances, np.sort(every, 1)[:, :3], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(distances, np.take_along_axis(every, found, 1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("k", [1, 2, 5])
def test_of_equal_distances_the_lower_row_wins(k):
    one = rows(1, 6, 4)
    bank = np.repeat(one, 3 * BANK_BLOCK, 0)
    bank[0] += 5
    distances, found = nearest(np.repeat(one, 4, 0), bank, k)
    assert found.tolist() == [list(range(1, k + 1))] * 4
    assert (distances < 1e-3).all()


def test_ties_on_either_side_of_the_cut_are_taken_in_order():
    bank = np.array([[3, 0], [0, 1], [1, 0], [0, -1], [-1, 0], [0, 3]], np.float32)
    distances, found = nearest(np.zeros((1, 2), np.float32), bank, 3)
    assert found.tolist() == [[1, 2, 3]]
    np.testing.assert_allclose(distances, 1, rtol=1e-6)


def test_a_row_of_the_bank_is_its_own_nearest():
    bank = rows(1000, 12, 5)
    distances, found = nearest(bank, bank)
    assert found[:, 0].tolist() == list(range(1000))
    assert not distances.any()


def test_no_queries_give_no_rows():
    distances, found = nearest(rows(0, 4, 0), rows(9, 4, 0), 2)
    assert distances.shape == found.shape == (0, 2)


@pytest.mark.parametrize("k", [0, -1, 6])
def test_k_out_of_range_names_the_range(k):
    with pytest.raises(ValueError, match=rf"k must be in 1\.\.5 \(rows of the bank\), got {k}"):
        nearest(rows(3, 4, 0), rows(5, 4, 1), k)


def test_widths_that_differ_are_named():
    with pytest.raises(ValueError, match="queries have 4 features, the bank has 5"):
        nearest(rows(3, 4, 0), rows(5, 5, 1))


def test_an_empty_bank_is_refused():
    with pytest.raises(ValueError, match="the bank is empty"):
        nearest(rows(3, 4, 0), rows(0, 4, 1))


def test_memory_is_bounded_by_the_blocks_not_by_the_product():
    a, b = rows(20_000, 4, 6), rows(6_000, 4, 7)  # all distances would be 480 MB
    nearest(a[:10], b)
    tracemalloc.start()
    nearest(a, b)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 << 20
