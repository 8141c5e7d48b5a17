"""Expected ranks and hits under random tie-breaking, so that a constant embedding scores chance."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


def expected_rank(similarity: npt.NDArray[np.floating], relevant: Bools) -> Floats:
    """Expected 1-based rank of the best relevant candidate.

    With g candidates above the best relevant one, t tied with it and r of those relevant, the first of r
    among t in random order stands at (t + 1) / (r + 1) on average.

    Args:
        similarity: [queries, candidates].
        relevant: [queries, candidates], at least one per query.

    Returns:
        [queries].
    """
    best = np.where(relevant, similarity, -np.inf).max(axis=1, keepdims=True)
    tied = similarity == best
    above = (similarity > best).sum(axis=1)
    return np.asarray(above + (tied.sum(axis=1) + 1) / ((tied & relevant).sum(axis=1) + 1), dtype=np.float64)


def expected_hits(similarity: npt.NDArray[np.floating], relevant: Bools, k: int) -> tuple[Floats, Floats]:
    """Expected share of relevant candidates among the first k, and the probability of at least one.

    Args:
        similarity: [queries, candidates].
        relevant: [queries, candidates].
        k: Cut; a smaller pool is taken whole.

    Returns:
        Two arrays [queries].
    """
    k = min(k, similarity.shape[1])
    last = np.partition(similarity, -k, axis=1)[:, [-k]]
    above, tied = similarity > last, similarity == last
    sure = (above & relevant).sum(axis=1)
    draws, group, wanted = k - above.sum(axis=1), tied.sum(axis=1), (tied & relevant).sum(axis=1)
    share = (sure + wanted * draws / group) / k
    return share, np.where(sure > 0, 1.0, _any_drawn(draws, group, wanted, k))


def _any_drawn(
    draws: npt.NDArray[np.int_], group: npt.NDArray[np.int_], wanted: npt.NDArray[np.int_], k: int
) -> Floats:
    """Probability that `draws` (at most k) of `group` without replacement hold one of `wanted`."""
    none = np.ones(len(draws))
    for turn in range(k):
        left = np.maximum(group - turn, 1)
        none *= np.where(turn < draws, np.maximum(group - wanted - turn, 0) / left, 1.0)
    return 1 - none
