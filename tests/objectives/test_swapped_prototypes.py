"""Sinkhorn codes and swapped prediction against formulas written out with loops."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from prior.objectives.swapped_prototypes import sinkhorn_codes, swapped_prototype_loss

B, K, D = 5, 7, 4
LOSS = (0.2, 0.05, 3)


def _inputs() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    sizes = ((B, D), (B, D), (K, D))
    v, t, c = (torch.randn(*size, generator=generator).requires_grad_() for size in sizes)
    return v, t, c


def _slow_codes(scores: list[list[float]], epsilon: float, iterations: int) -> list[list[float]]:
    plan = [[math.exp(s / epsilon) for s in row] for row in scores]
    samples, prototypes = len(plan), len(plan[0])
    for _ in range(iterations):
        for k in range(prototypes):
            mass = sum(row[k] for row in plan)
            for row in plan:
                row[k] /= mass * prototypes
        for row in plan:
            mass = sum(row)
            row[:] = [p / (mass * samples) for p in row]
    return [[p * samples for p in row] for row in plan]


def _slow(v: Tensor, t: Tensor, c: Tensor, temperature: float, epsilon: float, iterations: int) -> Tensor:
    v, t, c = ([row / row.norm() for row in x.double()] for x in (v, t, c))
    z_v = [[row @ p for p in c] for row in v]
    z_t = [[row @ p for p in c] for row in t]
    total = torch.zeros((), dtype=torch.float64)
    for codes_of, predicted in ((z_v, z_t), (z_t, z_v)):
        codes = _slow_codes([[z.item() for z in row] for row in codes_of], epsilon, iterations)
        for code, row in zip(codes, predicted, strict=True):
            norm = torch.stack([(z / temperature).exp() for z in row]).sum().log()
            for q, z in zip(code, row, strict=True):
                total = total - q * (z / temperature - norm)
    return total / (2 * B)


@settings(max_examples=30)
@given(st.integers(1, 8), st.integers(1, 12), st.integers(1, 4), st.integers(0, 1000))
def test_codes_equal_the_slow_scaling(samples: int, prototypes: int, iterations: int, seed: int) -> None:
    scores = torch.rand(samples, prototypes, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    codes = sinkhorn_codes(scores, 0.1, iterations)
    expected = torch.tensor(_slow_codes(scores.double().tolist(), 0.1, iterations))
    torch.testing.assert_close(codes, expected.float(), atol=1e-5, rtol=1e-3)
    torch.testing.assert_close(codes.sum(dim=1), torch.ones(samples))


@pytest.mark.parametrize(("samples", "prototypes"), [(12, 5), (5, 12), (6, 6)])
def test_both_marginals_are_met_with_enough_iterations(samples: int, prototypes: int) -> None:
    torch.manual_seed(0)
    scores = torch.rand(samples, prototypes) * 2 - 1
    codes = sinkhorn_codes(scores, 0.2, 300)
    torch.testing.assert_close(codes.sum(dim=1), torch.ones(samples))
    share = torch.full((prototypes,), samples / prototypes)
    torch.testing.assert_close(codes.sum(dim=0), share, atol=1e-3, rtol=1e-3)
    few = sinkhorn_codes(scores, 0.2, 3).sum(dim=0)
    none = (scores / 0.2).softmax(dim=1).sum(dim=0)
    assert (few - share).abs().max() < (none - share).abs().max()


def test_small_epsilons_do_not_overflow() -> None:
    codes = sinkhorn_codes(torch.tensor([[1.0, -1.0], [-1.0, 1.0]]), 1e-3, 3)
    torch.testing.assert_close(codes, torch.eye(2))


def test_codes_follow_a_permutation() -> None:
    scores = torch.randn(B, K, generator=torch.Generator().manual_seed(1))
    rows, columns = torch.randperm(B), torch.randperm(K)
    moved = sinkhorn_codes(scores[rows][:, columns], 0.3, 3)
    torch.testing.assert_close(moved, sinkhorn_codes(scores, 0.3, 3)[rows][:, columns])


def test_a_batch_of_one_is_shared_evenly() -> None:
    scores = torch.randn(1, K, requires_grad=True)
    codes = sinkhorn_codes(scores, 0.05, 3)
    torch.testing.assert_close(codes, torch.full((1, K), 1 / K))
    assert not codes.requires_grad


def test_value_and_gradients_equal_the_slow_formula() -> None:
    v, t, c = _inputs()
    fast, slow = swapped_prototype_loss(v, t, c, *LOSS), _slow(v, t, c, *LOSS)
    assert fast.item() == pytest.approx(slow.item(), rel=1e-4)
    ours = torch.autograd.grad(fast, [v, t, c])
    for a, b in zip(ours, torch.autograd.grad(slow, [v, t, c]), strict=True):
        torch.testing.assert_close(a, b.float(), atol=2e-5, rtol=1e-3)


def test_order_sides_and_lengths_do_not_matter() -> None:
    v, t, c = _inputs()
    loss = swapped_prototype_loss(v, t, c, *LOSS)
    rows, columns = torch.randperm(B), torch.randperm(K)
    torch.testing.assert_close(swapped_prototype_loss(v[rows], t[rows], c[columns], *LOSS), loss)
    torch.testing.assert_close(swapped_prototype_loss(t, v, c, *LOSS), loss)
    torch.testing.assert_close(swapped_prototype_loss(3 * v, 0.5 * t, 2 * c, *LOSS), loss)


@pytest.mark.parametrize("samples", [1, 3])
def test_duplicates_and_a_batch_of_one_have_finite_gradients(samples: int) -> None:
    v, t, c = _inputs()
    loss = swapped_prototype_loss(v[:1].expand(samples, D), t[:1].expand(samples, D), c, *LOSS)
    assert all(torch.isfinite(g).all() for g in torch.autograd.grad(loss, [v, t, c]))


def test_autocast_does_not_change_the_value() -> None:
    v, t, c = _inputs()
    v, t = v.bfloat16(), t.bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = swapped_prototype_loss(v, t, c, *LOSS)
    torch.testing.assert_close(loss, swapped_prototype_loss(v.float(), t.float(), c, *LOSS))
