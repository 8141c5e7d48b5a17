import math

import pytest
import torch

from prior.objectives.multilabel import multilabel_loss

NAN = math.nan
LABELS = [[1, 0, NAN], [NAN, NAN, NAN], [0, 1, 1], [0, NAN, 1]]


def slow(logits, labels):
    """Log-likelihood of the known labels, one by one in float64."""
    terms = []
    for row, known in zip(logits, labels, strict=True):
        for logit, label in zip(row, known, strict=True):
            if not math.isnan(label):
                chance = 1 / (1 + (-logit).exp())
                terms.append(-(chance if label else 1 - chance).log())
    return torch.stack(terms).mean()


def test_value_and_gradient_agree_with_the_slow_formula():
    torch.manual_seed(0)
    values = torch.randn(4, 3, dtype=torch.float64)
    fast, by_hand = values.clone().requires_grad_(), values.clone().requires_grad_()
    loss, expected = multilabel_loss(fast, torch.tensor(LABELS)), slow(by_hand, LABELS)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    loss.backward()
    expected.backward()
    torch.testing.assert_close(fast.grad, by_hand.grad, atol=1e-6, rtol=1e-5)
    assert (fast.grad[1] == 0).all()


def test_order_of_images_and_findings_changes_nothing():
    torch.manual_seed(0)
    logits, labels = torch.randn(4, 3), torch.tensor(LABELS)
    rows, columns = torch.tensor([2, 0, 3, 1]), torch.tensor([2, 0, 1])
    moved = multilabel_loss(logits[rows][:, columns], labels[rows][:, columns])
    torch.testing.assert_close(moved, multilabel_loss(logits, labels))


def test_no_known_label_gives_zero():
    logits = torch.randn(2, 3, requires_grad=True)
    loss = multilabel_loss(logits, torch.full((2, 3), NAN))
    loss.backward()
    assert loss.item() == 0
    assert (logits.grad == 0).all()


def test_extreme_logits_stay_finite():
    logits = torch.tensor([[1e4, -1e4]], requires_grad=True)
    loss = multilabel_loss(logits, torch.tensor([[0.0, 1.0]]))
    loss.backward()
    assert loss.item() == pytest.approx(1e4)
    assert torch.isfinite(logits.grad).all()
