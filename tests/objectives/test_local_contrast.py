"""LoVT's local losses against per-sample formulas written out with loops."""

import math

import pytest
import torch
from torch import Tensor

from prior.objectives.local_contrast import local_contrast, spatial_positives

B, N, D = 4, 6, 5
COUNTS = [6, 1, 0, 4]
MASK = torch.arange(N) < torch.tensor(COUNTS).unsqueeze(1)


def _inputs() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(B, N, D, generator=generator).requires_grad_() for _ in range(2))
    weights = torch.rand(B, N, generator=generator).requires_grad_()
    return x, y, spatial_positives((2, 3), 0.5, 1.0), weights


def _slow(x: Tensor, y: Tensor, positives: Tensor, counts: list[int], weights: Tensor, t: float) -> Tensor:
    x, y, weights = x.double(), y.double(), weights.detach().double()
    samples = []
    for b, n in enumerate(counts):
        total = torch.zeros((), dtype=torch.float64)
        for k in range(n):
            scores = [x[b, k] @ y[b, j] / (x[b, k].norm() * y[b, j].norm() * t) for j in range(n)]
            mass = sum(float(positives[k, j]) for j in range(n))
            drawn = sum(float(positives[k, j]) / mass * scores[j] for j in range(n))
            loss = torch.stack([s.exp() for s in scores]).sum().log() - drawn
            total = total + weights[b, k] / weights[b, :n].sum() * loss
        if n:
            samples.append(total)
    return torch.stack(samples).mean()


def test_positives_equal_the_formula_and_stay_near() -> None:
    near = spatial_positives((3, 4), 0.5, 2.0)
    for k in range(12):
        distances = [math.dist(divmod(k, 4), divmod(j, 4)) / 5 for j in range(12)]
        row = [math.exp(-2 * d) if d <= 0.5 else 0.0 for d in distances]
        torch.testing.assert_close(near[k], torch.tensor(row) / sum(row))
    assert torch.equal(spatial_positives((3, 4), 0.0, 1.0), torch.eye(12))


def test_a_place_exactly_at_the_radius_is_a_positive() -> None:
    """Offset (3, 3) is half the diagonal of a 6 x 6 grid; rounded distances would decide by chance."""
    near = spatial_positives((6, 6), 0.5, 1.0)
    assert near[0, 3 * 6 + 3] > 0
    assert near[0, 3 * 6 + 4] == 0


@pytest.mark.parametrize("identity", [False, True])
def test_value_and_gradients_equal_the_slow_formula_both_ways(identity: bool) -> None:
    x, y, positives, weights = _inputs()
    positives = torch.eye(N) if identity else positives
    for items, contexts in ((x, y), (y, x)):
        fast = local_contrast(items, contexts, positives, MASK, weights, 0.3)
        slow = _slow(items, contexts, positives, COUNTS, weights, 0.3)
        assert fast.item() == pytest.approx(slow.item(), rel=1e-5)
        ours = torch.autograd.grad(fast, [x, y])
        for a, b in zip(ours, torch.autograd.grad(slow, [x, y]), strict=True):
            torch.testing.assert_close(a, b.float(), atol=1e-5, rtol=1e-4)


def test_weights_get_no_gradient() -> None:
    x, y, positives, weights = _inputs()
    loss = local_contrast(x, y, positives, MASK, weights, 0.3)
    assert torch.autograd.grad(loss, weights, allow_unused=True) == (None,)


@pytest.mark.parametrize("counts", [[0, 0], [1, 1]])
def test_nothing_and_single_items_give_zero_with_finite_gradients(counts: list[int]) -> None:
    x, y, _, weights = _inputs()
    mask = torch.arange(N) < torch.tensor(counts).unsqueeze(1)
    loss = local_contrast(x[:2], y[:2], torch.eye(N), mask, weights[:2], 0.3)
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert all(torch.isfinite(g).all() for g in torch.autograd.grad(loss, [x, y]))


def test_order_and_padding_do_not_matter() -> None:
    x, y, _, w = _inputs()
    eye = torch.eye(N)
    loss = local_contrast(x, y, eye, MASK, w, 0.3)
    batch, order = torch.tensor([2, 0, 3, 1]), torch.randperm(N)
    torch.testing.assert_close(local_contrast(x[batch], y[batch], eye, MASK[batch], w[batch], 0.3), loss)
    shuffled = local_contrast(x[:, order], y[:, order], eye, MASK[:, order], w[:, order], 0.3)
    torch.testing.assert_close(shuffled, loss)
    dirty, more = x.masked_fill(~MASK.unsqueeze(2), 9.0), torch.randn(B, 3, D)
    x2, y2 = torch.cat([dirty, more], dim=1), torch.cat([y, more], dim=1)
    mask, w2 = torch.nn.functional.pad(MASK, (0, 3)), torch.nn.functional.pad(w, (0, 3), value=1.0)
    torch.testing.assert_close(local_contrast(x2, y2, torch.eye(N + 3), mask, w2, 0.3), loss)


def test_autocast_does_not_change_the_value() -> None:
    x, y, positives, w = _inputs()
    x, y = x.bfloat16(), y.bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = local_contrast(x, y, positives, MASK, w, 0.3)
    torch.testing.assert_close(loss, local_contrast(x.float(), y.float(), positives, MASK, w, 0.3))
