"""PRIOR's local losses against per-sample formulas written out with loops."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from prior.objectives.local import local_image_loss, local_text_loss, sigmoid_attention

B, R, S, D = 5, 6, 4, 8
COUNTS = [4, 1, 0, 3, 2]


def _mask() -> Tensor:
    return torch.arange(S) < torch.tensor(COUNTS).unsqueeze(1)


def _random(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator).float().requires_grad_()


def _same(fast: Tensor, slow: Tensor, leaves: list[Tensor]) -> None:
    assert torch.allclose(fast, slow, atol=1e-5)
    theirs = torch.autograd.grad(slow, leaves, materialize_grads=True)
    for a, b in zip(torch.autograd.grad(fast, leaves, materialize_grads=True), theirs, strict=True):
        assert torch.allclose(a, b, atol=1e-5)


def test_attention_is_an_unnormalised_sigmoid() -> None:
    queries, keys, values = _random(B, R, D), _random(B, S, D, seed=1), _random(B, S, D, seed=2)
    context, weights = sigmoid_attention(queries, keys, values, _mask())
    slow = torch.zeros(B, R, D)
    for b, count in enumerate(COUNTS):
        for r in range(R):
            for s in range(count):
                weight = 1 / (1 + math.exp(-(queries[b, r] @ keys[b, s]).item() / math.sqrt(D)))
                assert weights[b, r, s].item() == pytest.approx(weight, abs=1e-5)
                slow[b, r] += weight * values[b, s].detach()
    assert torch.allclose(context, slow, atol=1e-5)
    pairs = [(b, r, s) for b, count in enumerate(COUNTS) for r in range(R) for s in range(count)]
    again = sum(
        (torch.sigmoid(queries[b, r] @ keys[b, s] / math.sqrt(D)) * values[b, s].sum() for b, r, s in pairs),
        torch.zeros(()),
    )
    _same(context.sum(), again, [queries, keys, values])
    assert (weights[~_mask().unsqueeze(1).expand_as(weights)] == 0).all()


def test_image_loss_equals_the_formula() -> None:
    x, c, px, pc = (_random(B, R, D, seed=k) for k in range(4))
    total, reports = torch.zeros(()), 0
    for b, count in enumerate(COUNTS):
        if count == 0:
            continue
        reports += 1
        for r in range(R):
            forward = F.cosine_similarity(px[b, r], c[b, r].detach(), dim=0)
            backward = F.cosine_similarity(pc[b, r], x[b, r].detach(), dim=0)
            total = total - (forward + backward) / (2 * R)
    _same(local_image_loss(x, c, px, pc, _mask().any(dim=1)), total / reports, [x, c, px, pc])


def test_text_loss_equals_the_formula_on_ragged_reports() -> None:
    sentences, contexts = _random(B, S, D), _random(B, S, D, seed=1)
    scale = torch.tensor(3.0, requires_grad=True)
    total, reports = torch.zeros(()), 0
    for b, count in enumerate(COUNTS):
        if count == 0:
            continue
        reports += 1
        logits = torch.stack(
            [
                scale * F.cosine_similarity(sentences[b, i].expand(count, D), contexts[b, :count], dim=1)
                for i in range(count)
            ]
        )
        target = torch.arange(count)
        total = total + 0.5 * (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target))
    fast = local_text_loss(sentences, contexts, _mask(), scale)
    _same(fast, total / reports, [sentences, contexts, scale])


def test_single_sentence_and_empty_reports_give_zero_with_finite_gradients() -> None:
    for counts in ([1, 1], [0, 0]):
        sentences, contexts = _random(2, S, D), _random(2, S, D, seed=1)
        mask = torch.arange(S) < torch.tensor(counts).unsqueeze(1)
        loss = local_text_loss(sentences, contexts, mask, torch.tensor(14.0))
        torch.autograd.backward(loss)
        assert loss.item() == 0
        assert sentences.grad is not None
        assert (sentences.grad == 0).all()


def test_padding_and_order_do_not_matter() -> None:
    sentences, contexts, mask = _random(B, S, D), _random(B, S, D, seed=1), _mask()
    scale = torch.tensor(5.0)
    loss = local_text_loss(sentences, contexts, mask, scale)
    dirty = torch.where(mask.unsqueeze(2), sentences, torch.full_like(sentences, 99.0))
    assert torch.allclose(loss, local_text_loss(dirty, contexts, mask, scale))
    order = torch.randperm(S)
    assert torch.allclose(
        loss, local_text_loss(sentences[:, order], contexts[:, order], mask[:, order], scale)
    )
    batch = torch.randperm(B)
    assert torch.allclose(loss, local_text_loss(sentences[batch], contexts[batch], mask[batch], scale))
    image_side, present = [_random(B, R, D, seed=k) for k in range(4)], mask.any(dim=1)
    regions = torch.randperm(R)
    moved = local_image_loss(*(x[batch][:, regions] for x in image_side), present[batch])
    assert torch.allclose(local_image_loss(*image_side, present), moved)
