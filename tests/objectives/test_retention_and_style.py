"""MIRROR's objectives against formulas written out per sample."""

import math

import pytest
import torch
from torch.nn.functional import pad

from prior.objectives.retention import hide_tokens, retention_loss
from prior.objectives.style import assignment_entropy, cluster_divergence, style_divergence

COUNTS = [3, 1, 0, 4]
PRESENT = torch.tensor([True, True, False, True])


def random(*shape, seed=0):
    values = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return values.requires_grad_()


def agree(fast, slow, inputs):
    """Compare values and gradients; the fast side computes in float32."""
    assert fast.item() == pytest.approx(slow.item(), rel=1e-5)
    for a, b in zip(torch.autograd.grad(fast, inputs), torch.autograd.grad(slow, inputs), strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-4)


def ragged():
    return torch.arange(4) < torch.tensor(COUNTS).unsqueeze(1)


def test_the_same_share_of_real_tokens_is_hidden_in_every_sample():
    torch.manual_seed(0)
    mask = torch.arange(10) < torch.tensor([10, 4, 1, 0]).unsqueeze(1)
    seen = torch.zeros(4, 10)
    for _ in range(200):
        hidden = hide_tokens(mask, 0.75)
        assert not (hidden & ~mask).any()
        assert hidden.sum(dim=1).tolist() == [8, 3, 1, 0]
        seen += hidden
    torch.testing.assert_close(seen[0] / 200, torch.full((10,), 0.8), atol=0.12, rtol=0)
    assert torch.equal(hide_tokens(mask, 1.0), mask)
    assert not hide_tokens(mask, 0.0).any()


def test_retention_is_the_error_at_hidden_tokens_with_detached_targets():
    predicted, tokens, hidden = random(4, 4, 5), random(4, 4, 5, seed=1), ragged()
    terms = []
    for b, count in enumerate(COUNTS):
        errors = [((predicted[b, n] - tokens[b, n].detach()) ** 2).mean() for n in range(count)]
        terms += [sum(errors) / count] if count else []
    loss = retention_loss(predicted, tokens, hidden)
    agree(loss, torch.stack(terms).mean(), [predicted])
    assert torch.autograd.grad(loss, tokens, allow_unused=True) == (None,)
    longer = [pad(t, (0, 0, 0, 3), value=9.0) for t in (predicted, tokens)]
    torch.testing.assert_close(retention_loss(*longer, pad(hidden, (0, 3))), loss)
    assert retention_loss(predicted, tokens, torch.zeros_like(hidden)).item() == 0


def test_retention_ignores_the_order_of_samples_and_of_tokens():
    predicted, tokens, hidden = random(4, 4, 5), random(4, 4, 5, seed=1), ragged()
    loss = retention_loss(predicted, tokens, hidden)
    for index in (torch.tensor([2, 0, 3, 1]), (slice(None), torch.tensor([3, 1, 0, 2]))):
        torch.testing.assert_close(retention_loss(predicted[index], tokens[index], hidden[index]), loss)


def test_style_divergence_is_the_gaussian_one():
    mean, log_variance = random(4, 3), random(4, 3, seed=1)
    standard = torch.distributions.Normal(torch.zeros(3).double(), torch.ones(3).double())
    terms = []
    for b in [0, 1, 3]:
        code = torch.distributions.Normal(mean[b], (log_variance[b] / 2).exp())
        terms.append(torch.distributions.kl_divergence(code, standard).sum())
    loss = style_divergence(mean, log_variance, PRESENT)
    agree(loss, torch.stack(terms).mean(), [mean, log_variance])
    assert style_divergence(torch.zeros(2, 3), torch.zeros(2, 3), PRESENT[:2]).item() == 0


def test_cluster_divergence_is_the_mean_of_both_directions():
    left, right = random(4, 6), random(4, 6, seed=1)
    terms = []
    for b in [0, 1, 3]:
        p, q = left[b].exp() / left[b].exp().sum(), right[b].exp() / right[b].exp().sum()
        terms.append(((p * (p / q).log()).sum() + (q * (q / p).log()).sum()) / 2)
    loss = cluster_divergence(left, right, PRESENT)
    agree(loss, torch.stack(terms).mean(), [left, right])
    torch.testing.assert_close(cluster_divergence(right, left, PRESENT), loss)
    order = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(cluster_divergence(left[order], right[order], PRESENT[order]), loss)
    assert cluster_divergence(left, left, PRESENT).item() == 0
    far = torch.tensor([[1e4, 0.0]]), torch.tensor([[0.0, 1e4]])
    assert torch.isfinite(cluster_divergence(*far, PRESENT[:1]))


def test_entropy_tells_uniform_from_sharp_assignments():
    logits = random(4, 6)
    terms = []
    for b in [0, 1, 3]:
        p = logits[b].softmax(0)
        terms.append(-sum(x * math.log(x) for x in p.tolist()))
    assert assignment_entropy(logits, PRESENT).item() == pytest.approx(sum(terms) / 3, rel=1e-5)
    assert assignment_entropy(torch.zeros(4, 6), PRESENT).item() == pytest.approx(math.log(6))
    assert assignment_entropy(torch.eye(6)[:4] * 1e4, PRESENT).item() == 0


@pytest.mark.parametrize("loss", [style_divergence, cluster_divergence])
def test_no_sample_gives_zero(loss):
    left, right = random(2, 3), random(2, 3, seed=1)
    total = loss(left, right, torch.tensor([False, False]))
    assert total.item() == 0
    assert all((g == 0).all() for g in torch.autograd.grad(total, [left, right]))
