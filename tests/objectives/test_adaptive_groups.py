"""AGA's grouping and its alignment inside a pair against per-sample formulas written out with loops."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from prior.objectives.adaptive_groups import collect_groups, group_alignment, group_weights

B, N, M, D = 4, 5, 6, 8
COUNTS = [5, 1, 0, 3]
MASK = torch.arange(N) < torch.tensor(COUNTS).unsqueeze(1)
IDS = torch.tensor([[7, 8, 7, 9, 7], [7, 0, 0, 0, 0], [0, 0, 0, 0, 0], [4, 4, 5, 0, 0]])


def _random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).requires_grad_()


def _thresholds(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(5)).requires_grad_()


def _same(fast: Tensor, slow: Tensor, leaves: list[Tensor]) -> None:
    torch.testing.assert_close(fast.double(), slow.double(), atol=1e-5, rtol=1e-5)
    theirs = torch.autograd.grad(slow, leaves, materialize_grads=True)
    for a, b in zip(torch.autograd.grad(fast, leaves, materialize_grads=True), theirs, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


def _slow_group(query: Tensor, keys: Tensor, threshold: Tensor) -> Tensor:
    """One query's group of its real keys, with the gate's gradient written as hard + soft - sg(soft)."""
    cosines = [F.cosine_similarity(query, key, dim=0) for key in keys]
    low, high = min(cosines), max(cosines)
    weights = []
    for cosine in cosines:
        share = (cosine - low) / (high - low) if len(cosines) > 1 else torch.ones_like(cosine)
        soft = 1 / (1 + torch.exp(-(share - threshold) / 0.05))
        gate = (1.0 if share > threshold else 0.0) + soft - soft.detach()
        weights.append(gate * share)
    total = sum(weights)
    return sum((w / total * F.normalize(k, dim=0) for w, k in zip(weights, keys, strict=True)), 0 * query)


def test_groups_of_patches_equal_the_formula() -> None:
    q, k, theta = _random(B, N, D), _random(B, M, D, seed=1), _thresholds(B, N)
    probe = _random(B, N, D, seed=2).detach()
    slow = torch.stack(
        [
            torch.stack(
                [_slow_group(q[b, i].double(), k[b].double(), theta[b, i].double()) for i in range(N)]
            )
            for b in range(B)
        ]
    )
    fast = collect_groups(q, k, theta)
    torch.testing.assert_close(fast.double(), slow, atol=1e-5, rtol=1e-5)
    _same((fast * probe).sum(), (slow * probe).sum(), [q, k, theta])


def test_groups_of_words_equal_the_formula_and_leave_padding_out() -> None:
    q, k, theta = _random(B, M, D), _random(B, N, D, seed=1), _thresholds(B, M)
    probe = _random(B, M, D, seed=2).detach()
    total = torch.zeros((), dtype=torch.float64)
    for b, count in enumerate(COUNTS):
        for i in range(M if count else 0):
            group = _slow_group(q[b, i].double(), k[b, :count].double(), theta[b, i].double())
            total = total + (group * probe[b, i]).sum()
    fast = collect_groups(q, k, theta, MASK)
    assert (fast[2] == 0).all()
    _same((fast * probe).sum(), total, [q, k, theta])


def test_the_gate_drops_what_is_below_the_threshold_and_keeps_the_best() -> None:
    similarity = torch.tensor([[[-0.2, 0.0, 0.4, 0.8]]])
    half = group_weights(similarity, torch.tensor([[0.5]]))
    torch.testing.assert_close(half, torch.tensor([[[0.0, 0.0, 0.6, 1.0]]]) / 1.6)
    closed = group_weights(similarity, torch.tensor([[1.0]]))
    torch.testing.assert_close(closed, torch.tensor([[[0.0, 0.0, 0.0, 1.0]]]))
    equal = group_weights(torch.full((1, 1, 4), 0.3), torch.tensor([[0.5]]))
    torch.testing.assert_close(equal, torch.full((1, 1, 4), 0.25))


def test_weights_sum_to_one_over_real_keys() -> None:
    similarity = torch.tanh(_random(B, M, N).detach())
    weights = group_weights(similarity, _thresholds(B, M).detach(), MASK)
    torch.testing.assert_close(weights.sum(dim=2)[MASK.any(dim=1)], torch.ones(3, M))
    assert (weights.masked_select(~MASK.unsqueeze(1)) == 0).all()


@pytest.mark.parametrize("kinds", [None, IDS])
def test_alignment_equals_the_formula(kinds: Tensor | None) -> None:
    t, g = _random(B, N, D), _random(B, N, D, seed=1)
    total, samples = torch.zeros((), dtype=torch.float64), 0
    for b, count in enumerate(COUNTS):
        if not count:
            continue
        samples += 1
        logits = torch.stack(
            [
                torch.stack([F.cosine_similarity(x, y, dim=0) / 0.07 for y in g[b, :count].double()])
                for x in t[b, :count].double()
            ]
        )
        for matrix in (logits, logits.T):
            for i in range(count):
                right = [
                    k for k in range(count) if k == i or (kinds is not None and kinds[b, k] == kinds[b, i])
                ]
                shares = matrix[i].log_softmax(0)
                total = total - sum(shares[k] for k in right) / len(right) / count / 2
    _same(group_alignment(t, g, MASK, 0.07, kinds), total / samples, [t, g])


def test_order_and_padding_do_not_matter() -> None:
    t, k, theta = _random(B, N, D).detach(), _random(B, M, D, seed=1).detach(), _thresholds(B, N).detach()
    groups = collect_groups(t, k, theta)
    loss = group_alignment(t, groups, MASK, 0.07, IDS)
    torch.testing.assert_close(collect_groups(t, k[:, torch.randperm(M)], theta), groups)
    order = torch.randperm(N)
    shuffled = group_alignment(t[:, order], groups[:, order], MASK[:, order], 0.07, IDS[:, order])
    torch.testing.assert_close(shuffled, loss)
    batch = torch.randperm(B)
    torch.testing.assert_close(group_alignment(t[batch], groups[batch], MASK[batch], 0.07, IDS[batch]), loss)
    wide = [F.pad(x, (0, 0, 0, 2), value=3.0) for x in (t, groups)]
    padded = group_alignment(*wide, F.pad(MASK, (0, 2)), 0.07, F.pad(IDS, (0, 2), value=7))
    torch.testing.assert_close(padded, loss)
    language = collect_groups(k, t, torch.full((B, M), 0.5), MASK)
    again = collect_groups(k, wide[0], torch.full((B, M), 0.5), F.pad(MASK, (0, 2)))
    torch.testing.assert_close(again, language)


@pytest.mark.parametrize("count", [0, 1])
def test_one_word_or_none_gives_zero_with_finite_gradients(count: int) -> None:
    t, k = _random(1, N, D), _random(1, M, D, seed=1)
    mask = torch.arange(N).unsqueeze(0) < count
    visual = collect_groups(t, k, torch.full((1, N), 0.5))
    language = collect_groups(k, t, torch.full((1, M), 0.5), mask)
    words = group_alignment(t, visual, mask, 0.07)
    assert words.item() == 0
    patches = group_alignment(k, language, mask.any(dim=1, keepdim=True).expand(1, M), 0.07)
    assert patches.item() == 0 if count == 0 else patches.item() >= math.log(M) / 2
    torch.autograd.backward(words + patches)
    for leaf in (t, k):
        assert leaf.grad is not None
        assert torch.isfinite(leaf.grad).all()


def test_groups_are_float32_under_autocast() -> None:
    t, k, theta = _random(B, N, D).detach(), _random(B, M, D, seed=1).detach(), _thresholds(B, N).detach()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        groups = collect_groups(t, k, theta)
        loss = group_alignment(t, groups, MASK, 0.07)
    assert groups.dtype == loss.dtype == torch.float32
    torch.testing.assert_close(loss, group_alignment(t, collect_groups(t, k, theta), MASK, 0.07))
