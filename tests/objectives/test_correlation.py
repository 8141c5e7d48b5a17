"""PLACE's patch correlations against per-pair formulas written out with loops."""

import pytest
import torch
from torch import Tensor

from prior.objectives.correlation import correlation_loss, feature_correlations, patch_correlations


def _random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).requires_grad_()


def _correlations(rows: list[Tensor]) -> list[list[Tensor]]:
    mean = torch.stack(rows).mean(dim=0)
    centred = [row - mean for row in rows]
    return [[(a @ b) / (a.norm() * b.norm()) for b in centred] for a in centred]


@pytest.mark.parametrize("cell", [16, 8])
def test_target_equals_the_formula(cell: int) -> None:
    height, width = 2, 3
    images = torch.rand(2, 1, height * cell, width * cell, generator=torch.Generator().manual_seed(0))
    found = patch_correlations(images, (height, width))
    for b in range(2):
        rows = []
        for i in range(height):
            for j in range(width):
                patch = images[b, 0, i * cell : (i + 1) * cell, j * cell : (j + 1) * cell].double()
                rows.append(patch.reshape(8, cell // 8, 8, cell // 8).mean(dim=(1, 3)).flatten())
        slow = torch.tensor([[float(x) for x in row] for row in _correlations(rows)])
        torch.testing.assert_close(found[b], slow, atol=1e-5, rtol=1e-5)


def test_loss_equals_the_formula_and_detaches_its_target() -> None:
    z, other = _random(3, 4, 5), _random(3, 4, 5, seed=1)
    target = feature_correlations(other)
    fast = correlation_loss(feature_correlations(z), target)
    terms = []
    for b in range(3):
        predicted = _correlations(list(z[b].double()))
        terms += [
            (predicted[i][j] - target[b, i, j].detach().double()) ** 2
            for i in range(4)
            for j in range(4)
            if i != j
        ]
    slow = torch.stack(terms).mean()
    torch.testing.assert_close(fast.double(), slow, atol=1e-6, rtol=1e-5)
    gradient, unused = torch.autograd.grad(fast, [z, other], allow_unused=True)
    assert unused is None
    torch.testing.assert_close(gradient, torch.autograd.grad(slow, z)[0], atol=1e-6, rtol=1e-4)


def test_brightness_and_contrast_of_an_image_do_not_change_its_target() -> None:
    images = torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    target = patch_correlations(images, (4, 4))
    torch.testing.assert_close(patch_correlations(0.3 * images + 0.2, (4, 4)), target, atol=1e-4, rtol=1e-4)
    order = torch.tensor([1, 0])
    torch.testing.assert_close(patch_correlations(images[order], (4, 4)), target[order])


@pytest.mark.parametrize(("size", "grid"), [(32, (1, 1)), (32, (2, 2)), (20, (3, 2))])
def test_blank_images_and_odd_grids_are_defined(size: int, grid: tuple[int, int]) -> None:
    target = patch_correlations(torch.full((2, 1, size, size), 0.3), grid)
    assert target.abs().max() < 0.01
    z = _random(2, grid[0] * grid[1], 3)
    loss = correlation_loss(feature_correlations(z), target)
    assert torch.isfinite(torch.autograd.grad(loss, z)[0]).all()
    if grid == (1, 1):
        assert loss.item() == 0


def test_permuting_the_patches_permutes_the_correlations() -> None:
    z, order = _random(2, 5, 3).detach(), torch.randperm(5)
    found = feature_correlations(z)
    torch.testing.assert_close(feature_correlations(z[:, order]), found[:, order][:, :, order])
