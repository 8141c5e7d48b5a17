import math

import pytest
import torch

from prior.objectives.nt_xent import nt_xent


def slow(first, second, scale):
    """NT-Xent written out view by view in float64."""
    views = [view / view.norm() for view in [*first, *second]]
    count = len(first)
    terms = []
    for i, view in enumerate(views):
        others = torch.stack([scale * (view @ views[j]) for j in range(len(views)) if j != i])
        terms.append(others.exp().sum().log() - scale * (view @ views[(i + count) % (2 * count)]))
    return torch.stack(terms).mean()


@pytest.fixture
def views():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 5, 4, generator=generator, dtype=torch.float64)


def test_value_and_gradient_agree_with_the_slow_formula(views):
    fast, by_hand = views.clone().requires_grad_(), views.clone().requires_grad_()
    loss, expected = nt_xent(*fast, 7.0), slow(*by_hand, 7.0)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    loss.backward()
    expected.backward()
    torch.testing.assert_close(fast.grad, by_hand.grad, atol=1e-5, rtol=1e-4)


def test_order_of_images_and_of_views_changes_nothing(views):
    first, second = views
    order = torch.tensor([3, 0, 4, 1, 2])
    loss = nt_xent(first, second, 5.0)
    torch.testing.assert_close(nt_xent(second, first, 5.0), loss)
    torch.testing.assert_close(nt_xent(first[order], second[order], 5.0), loss)


def test_equal_images_are_told_apart_by_chance_only():
    same = torch.ones(6, 4)
    assert nt_xent(same, same, 5.0).item() == pytest.approx(math.log(11), rel=1e-5)


def test_a_batch_of_one_has_no_loss_and_no_gradient():
    view = torch.randn(1, 4, requires_grad=True)
    loss = nt_xent(view, torch.randn(1, 4), 10.0)
    loss.backward()
    assert loss.item() == 0
    assert (view.grad == 0).all()


def test_bf16_views_are_compared_in_float32():
    first, second = torch.randn(2, 6, 4).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = nt_xent(first, second, 50.0)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, nt_xent(first.float(), second.float(), 50.0))
