"""MGCA's token alignment against per-sample formulas written out with loops."""

import numpy as np
import pytest
import torch
from torch import Tensor

from prior.objectives.token_alignment import clipped_weights, token_alignment

B, R, L, D = 4, 5, 6, 4
COUNTS = [6, 1, 0, 3]
WORDS = torch.arange(L) < torch.tensor(COUNTS).unsqueeze(1)
REGIONS = torch.ones(B, R, dtype=torch.bool)


def _inputs() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    words = torch.randn(B, L, D, generator=generator).requires_grad_()
    regions = torch.randn(B, R, D, generator=generator).requires_grad_()
    return words, regions, torch.rand(B, L, generator=generator)


def _unit(v: Tensor) -> Tensor:
    return v / v.norm()


def _slow(items: Tensor, others: Tensor, n: list[int], m: list[int], weights: Tensor, t: float) -> Tensor:
    items, others = items.double(), others.double()
    samples = []
    for b in range(B):
        if not (n[b] and m[b]):
            continue
        x = [_unit(items[b, k]) for k in range(n[b])]
        o = [_unit(others[b, r]) for r in range(m[b])]
        contexts = []
        for item in x:
            e = [(item @ other / t).exp() for other in o]
            contexts.append(_unit(torch.stack([a * other for a, other in zip(e, o, strict=True)]).sum(0)))
        total = torch.zeros((), dtype=torch.float64)
        for k in range(n[b]):
            own = x[k] @ contexts[k] / t
            row = torch.stack([(x[k] @ c / t).exp() for c in contexts]).sum().log()
            column = torch.stack([(i @ contexts[k] / t).exp() for i in x]).sum().log()
            total = total + float(weights[b, k]) * ((row - own) + (column - own)) / 2
        samples.append(total)
    return torch.stack(samples).mean()


def test_value_and_gradients_equal_the_slow_formula() -> None:
    words, regions, attention = _inputs()
    weights = clipped_weights(attention, WORDS, 0.1)
    equal = torch.full((B, R), 1 / R)
    for fast, slow in (
        (
            token_alignment(words, regions, WORDS, REGIONS, weights, 0.3),
            _slow(words, regions, COUNTS, [R] * B, weights, 0.3),
        ),
        (
            token_alignment(regions, words, REGIONS, WORDS, equal, 0.3),
            _slow(regions, words, [R] * B, COUNTS, equal, 0.3),
        ),
    ):
        assert fast.item() == pytest.approx(slow.item(), rel=1e-5)
        ours = torch.autograd.grad(fast, [words, regions])
        for a, b in zip(ours, torch.autograd.grad(slow, [words, regions]), strict=True):
            torch.testing.assert_close(a, b.float(), atol=2e-5, rtol=1e-3)


def test_weights_are_clipped_to_the_quantiles_of_each_report() -> None:
    attention = _inputs()[2].requires_grad_()
    weights = clipped_weights(attention, WORDS, 0.1)
    assert not weights.requires_grad
    for b, n in enumerate(COUNTS):
        own = attention[b, :n].detach().numpy()
        if n:
            own = own.clip(np.quantile(own, 0.1), np.quantile(own, 0.9))
            np.testing.assert_allclose(weights[b, :n], own / own.sum(), rtol=1e-5)
        assert (weights[b, n:] == 0).all()
    shares = clipped_weights(attention, WORDS, 0.0)
    torch.testing.assert_close(shares[0], attention[0].detach() / attention[0].detach().sum())
    assert not torch.equal(weights[0], shares[0])


@pytest.mark.parametrize("counts", [[0, 0], [1, 1]])
def test_empty_and_single_token_reports_are_defined(counts: list[int]) -> None:
    words, regions, attention = _inputs()
    mask = torch.arange(L) < torch.tensor(counts).unsqueeze(1)
    weights, equal = clipped_weights(attention[:2], mask, 0.1), torch.full((2, R), 1 / R)
    of_words = token_alignment(words[:2], regions[:2], mask, REGIONS[:2], weights, 0.1)
    of_regions = token_alignment(regions[:2], words[:2], REGIONS[:2], mask, equal, 0.1)
    assert of_words.item() == 0
    # All regions read the same token, so nothing tells their contexts apart.
    if any(counts):
        assert of_regions.item() > 0
    else:
        assert of_regions.item() == 0
    for g in torch.autograd.grad(of_words + of_regions, [words, regions]):
        assert torch.isfinite(g).all()


def test_order_and_padding_do_not_matter() -> None:
    words, regions, attention = _inputs()

    def both(w: Tensor, r: Tensor, a: Tensor, mask: Tensor) -> Tensor:
        seen, equal = torch.ones(r.shape[:2], dtype=torch.bool), torch.full(r.shape[:2], 1 / R)
        first = token_alignment(w, r, mask, seen, clipped_weights(a, mask, 0.1), 0.2)
        return torch.stack([first, token_alignment(r, w, seen, mask, equal, 0.2)])

    loss = both(words, regions, attention, WORDS)
    batch, order, places = torch.tensor([2, 0, 3, 1]), torch.randperm(L), torch.randperm(R)
    torch.testing.assert_close(both(words[batch], regions[batch], attention[batch], WORDS[batch]), loss)
    shuffled = both(words[:, order], regions[:, places], attention[:, order], WORDS[:, order])
    torch.testing.assert_close(shuffled, loss)
    padded = torch.cat([words.masked_fill(~WORDS.unsqueeze(2), 9.0), torch.randn(B, 3, D)], dim=1)
    a, mask = torch.nn.functional.pad(attention, (0, 3), value=1.0), torch.nn.functional.pad(WORDS, (0, 3))
    torch.testing.assert_close(both(padded, regions, a, mask), loss)


def test_autocast_does_not_change_the_value() -> None:
    words, regions, attention = _inputs()
    words, regions = words.bfloat16(), regions.bfloat16()
    weights = clipped_weights(attention, WORDS, 0.1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = token_alignment(words, regions, WORDS, REGIONS, weights, 0.1)
    expected = token_alignment(words.float(), regions.float(), WORDS, REGIONS, weights, 0.1)
    torch.testing.assert_close(loss, expected)
