"""Matching, generation, prototypes and reconstruction against independent formulas."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csr_array
from scipy.sparse.csgraph import min_weight_full_bipartite_matching
from torch import Tensor

from prior.objectives import matching
from prior.objectives.generation import gather_matched_slots, generation_loss
from prior.objectives.masking import masked_mean
from prior.objectives.matching import match
from prior.objectives.prototypes import (
    assignment_divergence,
    mix_prototypes,
    prototype_logits,
    prototype_loss,
)
from prior.objectives.reconstruction import reconstruction_loss, sample_patch_mask

COUNTS = [3, 1, 0, 4]
B, S, K, D = 4, 4, 5, 6


def _mask() -> Tensor:
    return torch.arange(S) < torch.tensor(COUNTS).unsqueeze(1)


@settings(max_examples=40)
@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 6), st.integers(0, 10_000))
def test_matching_equals_scipy_per_sample(batch: int, targets: int, slots: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    cost = rng.normal(size=(batch, targets, slots))
    mask = rng.random((batch, targets)) < 0.7
    found = match(torch.tensor(cost), torch.tensor(mask)).numpy()
    assert (found[~mask] == -1).all()
    for b in range(batch):
        rows = cost[b][mask[b]]
        chosen = found[b][mask[b]]
        matched = chosen >= 0
        assert len(set(chosen[matched])) == matched.sum() == min(len(rows), slots)
        best = rows[linear_sum_assignment(rows)].sum()
        assert rows[matched, chosen[matched]].sum() == pytest.approx(best, abs=1e-5)


def test_a_batch_is_matched_in_one_call(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def counted(graph: csr_array) -> tuple[np.ndarray, np.ndarray]:
        calls.append(graph)
        return min_weight_full_bipartite_matching(graph)

    monkeypatch.setattr(matching, "min_weight_full_bipartite_matching", counted)
    match(torch.rand(9, 3, 4), torch.ones(9, 3, dtype=torch.bool))
    assert len(calls) == 1


def test_permuted_targets_are_recovered_exactly() -> None:
    """In the release's direction of the assignment next to none comes back (papers.md D2)."""
    slots = torch.randn(3, 16, D)
    order = torch.stack([torch.randperm(16) for _ in range(3)])
    targets = slots.gather(1, order.unsqueeze(-1).expand(-1, -1, D))
    gathered, matched = gather_matched_slots(slots, targets, torch.ones(3, 16, dtype=torch.bool))
    assert matched.all()
    assert torch.equal(gathered, targets)


def test_generation_loss_equals_the_formula_and_leaves_the_targets_alone() -> None:
    slots, targets = torch.randn(B, K, D, requires_grad=True), torch.randn(B, S, D, requires_grad=True)
    gathered, matched = gather_matched_slots(slots, targets, _mask())
    loss = generation_loss(gathered, targets, matched)
    terms = []
    for b, count in enumerate(COUNTS):
        cost = (targets[b, :count, None] - slots[b, None]).abs().mean(dim=2)
        rows, columns = linear_sum_assignment(cost.detach().numpy())
        difference = targets[b, rows].detach() - slots[b, columns]
        terms += list(difference.abs().mean(dim=1))
    slow = torch.stack(terms).mean()
    assert torch.allclose(loss, slow)
    gradient, target_gradient = torch.autograd.grad(loss, [slots, targets], allow_unused=True)
    assert torch.allclose(gradient, torch.autograd.grad(slow, slots)[0])
    assert target_gradient is None


def test_neither_the_order_of_reports_nor_that_of_slots_and_sentences_changes_a_term() -> None:
    slots, targets, logits = torch.randn(B, K, D), torch.randn(B, S, D), torch.randn(2, B, S, 7)
    bank = torch.randn(7, D)

    def terms(slots: Tensor, targets: Tensor, logits: Tensor, mask: Tensor) -> Tensor:
        gathered, matched = gather_matched_slots(slots, targets, mask)
        quantised = mix_prototypes(prototype_logits(targets, bank), bank, 0.9, noise=False)
        losses = [generation_loss(gathered, targets, matched), prototype_loss(quantised, targets, mask)]
        return torch.stack([*losses, assignment_divergence(*logits, mask)])

    expected = terms(slots, targets, logits, _mask())
    reports, places, order = torch.randperm(B), torch.randperm(K), torch.randperm(S)
    moved = terms(slots[reports], targets[reports], logits[:, reports], _mask()[reports])
    torch.testing.assert_close(moved, expected)
    turned = terms(slots[:, places], targets[:, order], logits[:, :, order], _mask()[:, order])
    torch.testing.assert_close(turned, expected)
    dirty = torch.where(_mask().unsqueeze(2), targets, torch.full_like(targets, 99.0))
    torch.testing.assert_close(terms(slots, dirty, logits, _mask()), expected)


def test_more_sentences_than_slots_leaves_the_rest_out() -> None:
    slots, targets = torch.randn(1, 2, D), torch.randn(1, S, D)
    _, matched = gather_matched_slots(slots, targets, torch.ones(1, S, dtype=torch.bool))
    assert matched.sum() == 2


def test_prototypes_equal_the_formula() -> None:
    bank, x = torch.randn(7, D, requires_grad=True), torch.randn(B, S, D, requires_grad=True)
    q = mix_prototypes(prototype_logits(x, bank), bank, 0.9, noise=False)
    terms = []
    for b, count in enumerate(COUNTS):
        for s in range(count):
            weights = torch.exp(bank @ x[b, s] / 0.9)
            terms.append(((weights / weights.sum()) @ bank - x[b, s]).abs().mean())
    slow = torch.stack(terms).mean()
    loss = prototype_loss(q, x, _mask())
    assert torch.allclose(loss, slow, atol=1e-6)
    for a, b_ in zip(torch.autograd.grad(loss, [bank, x]), torch.autograd.grad(slow, [bank, x]), strict=True):
        assert torch.allclose(a, b_, atol=1e-5)


def test_noise_is_gumbel_and_seeded() -> None:
    bank, logits = torch.eye(3), torch.tensor([1.0, 0.0, -1.0]).expand(20_000, 3)
    torch.manual_seed(0)
    weights = mix_prototypes(logits, bank, 0.05, noise=True)
    torch.manual_seed(0)
    assert torch.equal(weights, mix_prototypes(logits, bank, 0.05, noise=True))
    # At a low temperature Gumbel-softmax draws from softmax(logits).
    assert torch.allclose(weights.mean(dim=0), logits[0].softmax(0), atol=0.02)


def test_divergence_equals_the_formula_and_detaches_its_target() -> None:
    true, generated = torch.randn(B, S, 5, requires_grad=True), torch.randn(B, S, 5, requires_grad=True)
    terms = []
    for b, count in enumerate(COUNTS):
        for s in range(count):
            p, q = true[b, s].softmax(0), generated[b, s].softmax(0)
            terms.append((p * (p / q).log()).sum())
    slow = torch.stack(terms).mean()
    loss = assignment_divergence(true, generated, _mask())
    assert torch.allclose(loss, slow, atol=1e-6)
    gradient, target_gradient = torch.autograd.grad(loss, [generated, true], allow_unused=True)
    assert target_gradient is None
    assert torch.allclose(gradient, torch.autograd.grad(slow, generated)[0], atol=1e-6)
    assert assignment_divergence(true, true, _mask()).item() == pytest.approx(0, abs=1e-6)


def test_patch_mask_hides_whole_patches_and_their_exact_share() -> None:
    torch.manual_seed(0)
    hidden = sample_patch_mask(6, (32, 48), 16, 0.5, torch.device("cpu"))
    assert hidden.shape == (6, 1, 32, 48)
    grid = hidden.view(6, 2, 16, 3, 16).permute(0, 1, 3, 2, 4).reshape(6, 6, 256)
    assert torch.equal(grid.all(dim=2), grid.any(dim=2))
    assert (grid.all(dim=2).sum(dim=1) == 3).all()
    assert len({tuple(row.tolist()) for row in grid.all(dim=2)}) > 1
    assert sample_patch_mask(1, (20, 20), 16, 1.0, torch.device("cpu")).all()


def test_reconstruction_loss_is_the_mean_absolute_error() -> None:
    a, b = torch.randn(2, 1, 4, 4, requires_grad=True), torch.randn(2, 1, 4, 4)
    slow = sum(abs(float(x) - float(y)) for x, y in zip(a.flatten(), b.flatten(), strict=True)) / a.numel()
    loss = reconstruction_loss(a, b)
    assert loss.item() == pytest.approx(slow, abs=1e-6)
    torch.testing.assert_close(torch.autograd.grad(loss, a)[0], (a - b).sign() / a.numel())
    torch.testing.assert_close(reconstruction_loss(a.flip(0), b.flip(0)), loss)


def test_mean_over_nothing_is_zero() -> None:
    values = torch.randn(2, 3, 4, requires_grad=True)
    loss = masked_mean(values, torch.zeros(2, 3, dtype=torch.bool))
    torch.autograd.backward(loss)
    assert loss.item() == 0
    assert values.grad is not None
    assert (values.grad == 0).all()
