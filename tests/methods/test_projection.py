"""Batch norm that sees real rows only."""

import pytest
import torch
from torch.nn import functional as F

from prior.methods.projection import Projection, RowNorm, map_rows
from prior.methods.statistics import keep_running_statistics


def test_padding_enters_no_statistics() -> None:
    torch.manual_seed(0)
    projection = Projection(3, 8, 4, normalise_output=True)
    features, mask = torch.randn(4, 5, 3), torch.rand(4, 5) < 0.6
    projected = projection(features, mask)
    torch.testing.assert_close(projected[mask].mean(dim=0), torch.zeros(4), atol=1e-5, rtol=0)
    assert (projected[~mask] == 0).all()
    longer = F.pad(features.masked_fill(~mask.unsqueeze(2), 99.0), (0, 0, 0, 3), value=-99.0)
    wider = projection(longer, F.pad(mask, (0, 3)))
    torch.testing.assert_close(wider[:, :5], projected)
    torch.testing.assert_close(projection(features[mask]), projected[mask])


def test_statistics_are_those_of_batch_norm() -> None:
    rows, plain, ours = torch.randn(6, 3), torch.nn.BatchNorm1d(3), RowNorm(3)
    torch.testing.assert_close(ours(rows), plain(rows))
    torch.testing.assert_close(ours.running_var, plain.running_var)
    torch.testing.assert_close(ours.eval()(rows), plain.eval()(rows))


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_rows_use_the_running_statistics_and_keep_them(count: int) -> None:
    norm = RowNorm(3)
    norm(torch.randn(8, 3))
    before = {name: value.clone() for name, value in norm.state_dict().items()}
    row = torch.randn(count, 3, requires_grad=True)
    normalised = norm(row)
    assert all(torch.equal(value, before[name]) for name, value in norm.state_dict().items())
    torch.testing.assert_close(normalised, norm.eval()(row))
    gradient = torch.autograd.grad(normalised.sum(), row)[0]
    assert torch.isfinite(gradient).all()


def test_statistics_can_be_kept() -> None:
    norm = RowNorm(3)
    with keep_running_statistics(norm):
        norm(torch.randn(8, 3))
    assert torch.equal(norm.running_mean, torch.zeros(3))


def test_rows_keep_their_places() -> None:
    features, mask = torch.randn(2, 3, 2), torch.tensor([[True, False, True], [False, False, True]])
    mapped = map_rows(lambda rows: 2 * rows, features, mask)
    torch.testing.assert_close(mapped, 2 * features * mask.unsqueeze(2))
