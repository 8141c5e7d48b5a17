"""PLACE's alignment losses against per-sample formulas written out with loops."""

import math

import pytest
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional as F

from prior.objectives.observations import (
    observation_contrast,
    observation_similarity,
    pair_loss,
    query_usage,
)
from prior.objectives.positives import uniform_cross_entropy

B, K, S, D = 5, 3, 4, 6
COUNTS = [4, 1, 0, 3, 2]
# Reports 1 and 4 have the same text.
TEXTS = [0, 1, 2, 3, 1]
MASK = torch.arange(S) < torch.tensor(COUNTS).unsqueeze(1)


def _random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).requires_grad_()


def _weights() -> Tensor:
    raw = torch.rand(B, S, generator=torch.Generator().manual_seed(9)) * MASK
    return raw / raw.sum(dim=1, keepdim=True).clamp(min=1e-9)


def _same(fast: Tensor, slow: Tensor, leaves: list[Tensor]) -> None:
    torch.testing.assert_close(fast.double(), slow.double(), atol=1e-5, rtol=1e-5)
    theirs = torch.autograd.grad(slow, leaves, materialize_grads=True)
    for a, b in zip(torch.autograd.grad(fast, leaves, materialize_grads=True), theirs, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


def _slow_similarity(o: Tensor, t: Tensor, w: Tensor, temperature: float) -> Tensor:
    o, t, w = o.double(), t.double(), w.double()
    rows = []
    for b in range(len(o)):
        row = []
        for c in range(len(t)):
            total = torch.zeros((), dtype=torch.float64)
            for j in range(COUNTS[c]):
                cosines = torch.stack([F.cosine_similarity(o[b, k], t[c, j], dim=0) for k in range(K)])
                total = total + w[c, j] * temperature * (cosines / temperature).exp().mean().log()
            row.append(total)
        rows.append(torch.stack(row))
    return torch.stack(rows)


@pytest.mark.parametrize("block_entries", [1, 2 * K * B * S, 1 << 26])
def test_similarity_equals_the_formula_whatever_the_block(block_entries: int) -> None:
    o, t = _random(B, K, D), _random(B, S, D, seed=1)
    fast = observation_similarity(o, t, _weights(), 0.1, block_entries)
    slow = _slow_similarity(o, t, _weights(), 0.1)
    probe = _random(B, B, seed=2).detach()
    torch.testing.assert_close(fast.double(), slow, atol=1e-5, rtol=1e-5)
    assert fast.abs().max() <= 1 + 1e-6
    _same((fast * probe).sum(), (slow * probe.double()).sum(), [o, t])


@pytest.mark.parametrize("block", [1, 2, 1024])
def test_contrast_equals_the_formula_with_soft_targets(block: int) -> None:
    o, t, scale = _random(B, K, D), _random(B, S, D, seed=1), torch.tensor(3.0, requires_grad=True)
    fast = observation_contrast(o, t, _weights(), torch.tensor(TEXTS), 0.1, scale, block)
    s = _slow_similarity(o, t, _weights(), 0.1)
    real = [b for b in range(B) if COUNTS[b]]
    total = torch.zeros((), dtype=torch.float64)
    for matrix in (s, s.T):
        for b in real:
            logits = scale.double() * torch.stack([matrix[b, c] for c in real])
            same = [i for i, c in enumerate(real) if TEXTS[c] == TEXTS[b]]
            total = total - sum(logits.log_softmax(0)[i] for i in same) / len(same) / len(real)
    _same(fast, total / 2, [o, t, scale])


def test_contrast_is_smallest_where_duplicates_share_the_similarity() -> None:
    """With one-hot targets two equal reports would push each other away."""
    texts = torch.tensor([0, 1, 2, 1])
    o = torch.eye(3)[texts].unsqueeze(1).requires_grad_()
    t = o.detach().clone().requires_grad_()
    loss = observation_contrast(o, t, torch.ones(4, 1), texts, 0.1, torch.tensor(100.0))
    assert loss.item() == pytest.approx((2 / 4) * math.log(2), abs=1e-5)
    for gradient in torch.autograd.grad(loss, [o, t]):
        assert gradient.abs().max() < 1e-5


def test_pair_loss_equals_the_formula() -> None:
    """The value is 1 - <o, t>; either side receives half of its gradient, as the stop-gradients ask."""
    o, t = _random(B, K, D), _random(B, S, D, seed=1)
    terms = []
    for b, count in enumerate(COUNTS):
        if not count:
            continue
        x, y = F.normalize(o[b].double(), dim=1), F.normalize(t[b, :count].double(), dim=1)
        rows, columns = linear_sum_assignment((-(y @ x.T)).detach().numpy())
        for j, k in zip(rows, columns, strict=True):
            terms.append(1 - (x[k] @ y[j].detach() + x[k].detach() @ y[j]) / 2)
    assert len(terms) == 3 + 1 + 3 + 2
    _same(pair_loss(o, t, MASK), torch.stack(terms).mean(), [o, t])


def test_order_and_padding_do_not_matter() -> None:
    o, t, w = _random(B, K, D).detach(), _random(B, S, D, seed=1).detach(), _weights()
    s, pairs = observation_similarity(o, t, w, 0.1), pair_loss(o, t, MASK)
    sentence_order, query_order = torch.randperm(S), torch.randperm(K)
    torch.testing.assert_close(observation_similarity(o, t[:, sentence_order], w[:, sentence_order], 0.1), s)
    torch.testing.assert_close(observation_similarity(o[:, query_order], t, w, 0.1), s)
    torch.testing.assert_close(
        pair_loss(o[:, query_order], t[:, sentence_order], MASK[:, sentence_order]), pairs
    )
    dirty = torch.where(MASK.unsqueeze(2), t, torch.full_like(t, 99.0))
    wide, wide_w, wide_mask = F.pad(dirty, (0, 0, 0, 3), value=7.0), F.pad(w, (0, 3)), F.pad(MASK, (0, 3))
    torch.testing.assert_close(observation_similarity(o, wide, wide_w, 0.1), s)
    torch.testing.assert_close(pair_loss(o, wide, wide_mask), pairs)
    batch = torch.randperm(B)
    torch.testing.assert_close(observation_similarity(o[batch], t[batch], w[batch], 0.1), s[batch][:, batch])
    texts, scale = torch.tensor(TEXTS), torch.tensor(9.0)
    contrast = observation_contrast(o, t, w, texts, 0.1, scale)
    for other in (
        observation_contrast(o[batch], t[batch], w[batch], texts[batch], 0.1, scale),
        observation_contrast(
            o[:, query_order], t[:, sentence_order], w[:, sentence_order], texts, 0.1, scale
        ),
        observation_contrast(o, wide, wide_w, texts, 0.1, scale),
    ):
        torch.testing.assert_close(other, contrast)


@pytest.mark.parametrize("counts", [[0, 0], [1], [0]])
def test_empty_reports_and_a_batch_of_one_give_finite_gradients(counts: list[int]) -> None:
    n = len(counts)
    o, t = _random(n, K, D), _random(n, S, D, seed=1)
    mask = torch.arange(S) < torch.tensor(counts).unsqueeze(1)
    weights = mask / mask.sum(dim=1, keepdim=True).clamp(min=1)
    sentences = t * mask.unsqueeze(2)
    contrast = observation_contrast(o, sentences, weights, torch.arange(n), 0.1, torch.tensor(14.0))
    assert contrast.item() == 0
    torch.autograd.backward(contrast + pair_loss(o, sentences, mask))
    assert o.grad is not None
    assert t.grad is not None
    assert torch.isfinite(o.grad).all()
    assert torch.isfinite(t.grad).all()
    assert (t.grad[~mask] == 0).all()


def test_usage_counts_the_nearest_query_of_every_real_sentence() -> None:
    o = torch.eye(4)[:3].expand(2, 3, 4)
    t = torch.tensor([[[5.0, 1, 0, 0], [0, 0, 0, 1]], [[1, 0, 9, 0], [3, 0, 1, 0]]])
    mask = torch.tensor([[True, False], [True, True]])
    assert query_usage(o, t, mask).tolist() == [2, 0, 1]
    assert query_usage(o, t, torch.zeros_like(mask)).tolist() == [0, 0, 0]


def test_rows_without_positives_or_columns_are_zero() -> None:
    logits = _random(2, 3, 3)
    nothing = torch.zeros(2, 1, 3, dtype=torch.bool)
    loss = uniform_cross_entropy(logits, torch.ones(2, 3, 3, dtype=torch.bool), nothing)
    assert (loss == 0).all()
    assert (torch.autograd.grad(loss.sum(), logits)[0] == 0).all()


def test_losses_are_float32_under_autocast() -> None:
    o, t = _random(B, K, D).detach(), _random(B, S, D, seed=1).detach()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        s = observation_similarity(o, t, _weights(), 0.1)
        pairs = pair_loss(o, t, MASK)
    assert s.dtype == pairs.dtype == torch.float32
    torch.testing.assert_close(s, observation_similarity(o, t, _weights(), 0.1))
    torch.testing.assert_close(pairs, pair_loss(o, t, MASK))
