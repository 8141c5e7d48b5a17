import math

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from prior.objectives.contrastive import info_nce, symmetric_info_nce
from prior.objectives.nt_xent import nt_xent
from prior.objectives.observations import observation_contrast
from prior.objectives.word_region import word_region_loss


def slow(queries, keys, scale):
    """InfoNCE written out sample by sample with Python floats."""

    def cosine(a, b):
        return sum(x * y for x, y in zip(a, b, strict=True)) / math.sqrt(
            sum(x * x for x in a) * sum(y * y for y in b)
        )

    total = 0.0
    for i, query in enumerate(queries):
        logits = [scale * cosine(query, key) for key in keys]
        total += math.log(sum(math.exp(logit) for logit in logits)) - logits[i]
    return total / len(queries)


@pytest.mark.parametrize("block", [1, 3, 1024])
def test_value_and_gradient_agree_with_the_slow_formula(block):
    torch.manual_seed(0)
    images, reports = torch.randn(5, 4), torch.randn(5, 4)
    images.requires_grad_()
    scale = torch.tensor(7.0, requires_grad=True)
    loss = symmetric_info_nce(images, reports, scale, 0.75, 0.25, block)
    loss.backward()

    def by_hand(values, s):
        return 0.75 * slow(values, reports.tolist(), s) + 0.25 * slow(reports.tolist(), values, s)

    assert loss.item() == pytest.approx(by_hand(images.tolist(), 7.0), rel=1e-5)
    step = 1e-5
    for i in range(5):
        for j in range(4):
            up, down = images.tolist(), images.tolist()
            up[i][j] += step
            down[i][j] -= step
            numeric = (by_hand(up, 7.0) - by_hand(down, 7.0)) / (2 * step)
            assert images.grad[i, j].item() == pytest.approx(numeric, abs=2e-5)
    numeric = (by_hand(images.tolist(), 7.0 + step) - by_hand(images.tolist(), 7.0 - step)) / (2 * step)
    assert scale.grad.item() == pytest.approx(numeric, abs=2e-5)


def test_permuting_pairs_changes_nothing():
    torch.manual_seed(0)
    images, reports = torch.randn(6, 4), torch.randn(6, 4)
    order = torch.randperm(6)
    torch.testing.assert_close(info_nce(images[order], reports[order], 5.0), info_nce(images, reports, 5.0))


def test_a_batch_of_one_has_no_loss():
    assert info_nce(torch.randn(1, 4), torch.randn(1, 4), 5.0).item() == 0


def test_bf16_features_are_compared_in_float32():
    torch.manual_seed(0)
    images, reports = torch.randn(6, 4).bfloat16(), torch.randn(6, 4).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = info_nce(images, reports, 50.0)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, info_nce(images.float(), reports.float(), 50.0))


class Sizes(TorchDispatchMode):
    """Notes the size of every tensor that is made."""

    def __init__(self):
        super().__init__()
        self.noted = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor):
            self.noted.append(result.numel())
        return result


@pytest.mark.parametrize("objective", [info_nce, nt_xent])
def test_memory_grows_with_the_block_and_not_with_the_square_of_the_batch(objective):
    first, second = torch.randn(2, 128, 2, requires_grad=True)
    with Sizes() as sizes:
        objective(first, second, 5.0, block=4).backward()
    # NT-Xent has two views of each image in its columns. The largest tensor is kept in no other form.
    assert max(sizes.noted) == 4 * (128 if objective is info_nce else 256)


def test_local_contrasts_over_the_batch_do_not_grow_with_its_square_either():
    first, second = torch.randn(2, 64, 2, 2, requires_grad=True)
    real, scale = torch.ones(64, 2, dtype=torch.bool), torch.tensor(5.0)
    with Sizes() as sizes:
        word_region_loss(first, real, second, 4.0, 5.0, 5.0, block_entries=1, block=4).backward()
        observation_contrast(first, second, real / 2, torch.arange(64), 0.1, scale, block=4).backward()
    # 4 images, 64 reports, 2 observations times 2 sentences each.
    assert max(sizes.noted) == 4 * 64 * 4


def test_blocks_of_nt_xent_change_nothing():
    torch.manual_seed(0)
    values = []
    for block in (2, 1024):
        first, second = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
        loss = nt_xent(first, second, 5.0, block)
        values.append((loss, *torch.autograd.grad(loss, (first, second))))
    for one, other in zip(*values, strict=True):
        torch.testing.assert_close(one, other)


def test_an_empty_batch_gives_zero_with_gradients():
    images = torch.randn(0, 4, requires_grad=True)
    loss = info_nce(images, torch.randn(0, 4), 5.0)
    loss.backward()
    assert loss.item() == 0
    assert images.grad.shape == (0, 4)
