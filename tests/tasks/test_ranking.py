import numpy as np
import pytest

from prior.tasks.ranking import expected_hits, expected_rank

SIMILARITY = np.array([[0.9, 0.5, 0.5, 0.1], [0.2, 0.2, 0.2, 0.2]])


def test_ranks_without_and_with_ties():
    relevant = np.array([[False, True, False, False], [True, False, False, True]])
    np.testing.assert_allclose(expected_rank(SIMILARITY, relevant), [1 + 3 / 2, 5 / 3])


def test_hits_share_the_places_that_a_tie_leaves():
    relevant = np.array([[True, True, False, False], [True, False, False, True]])
    share, any_hit = expected_hits(SIMILARITY, relevant, 2)
    np.testing.assert_allclose(share, [(1 + 0.5) / 2, 0.5])
    np.testing.assert_allclose(any_hit, [1, 1 - (2 * 1) / (4 * 3)])


def test_a_cut_beyond_the_pool_takes_all():
    share, any_hit = expected_hits(SIMILARITY, np.array([[True, False, False, False], [False] * 4]), 10)
    np.testing.assert_allclose(share, [0.25, 0])
    np.testing.assert_allclose(any_hit, [1, 0])


@pytest.mark.parametrize("k", [1, 3, 5])
def test_expectations_equal_the_mean_over_random_orders(k):
    generator = np.random.default_rng(0)
    similarity = generator.integers(0, 3, (1, 9)).astype(float)
    relevant = np.array([[True, False, True, False, False, True, False, False, False]])
    ranks, shares, hits = [], [], []
    for _ in range(4000):
        order = np.lexsort([generator.random(9), -similarity[0]])
        found = relevant[0][order]
        ranks.append(np.argmax(found) + 1)
        shares.append(found[:k].mean())
        hits.append(found[:k].any())
    share, any_hit = expected_hits(similarity, relevant, k)
    assert expected_rank(similarity, relevant)[0] == pytest.approx(np.mean(ranks), abs=0.1)
    assert share[0] == pytest.approx(np.mean(shares), abs=0.03)
    assert any_hit[0] == pytest.approx(np.mean(hits), abs=0.03)
