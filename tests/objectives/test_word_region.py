"""GLoRIA's word-region contrast against the formula written out with loops and explicit contexts."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from prior.objectives.word_region import word_region_loss, word_region_scores

B, R, W, D = 5, 6, 4, 8
COUNTS = [4, 1, 0, 3, 2]
SCALES = (4.0, 5.0)


def _mask() -> Tensor:
    return torch.arange(W) < torch.tensor(COUNTS).unsqueeze(1)


def _random(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator).requires_grad_()


def _slow_score(words: Tensor, regions: Tensor) -> Tensor:
    """Score of one image and the real words [n, D] of one report."""
    total = words.new_zeros(())
    for k in range(len(words)):
        shares = []
        for region in regions:
            among_words = [torch.exp(region @ word) for word in words]
            shares.append(among_words[k] / torch.stack(among_words).sum())
        weights = torch.exp(SCALES[0] * torch.stack(shares))
        context = sum(
            (weight / weights.sum() * region for weight, region in zip(weights, regions, strict=True)),
            torch.zeros(D, dtype=torch.float64),
        )
        total = total + torch.exp(SCALES[1] * (context @ words[k]) / (context.norm() * words[k].norm()))
    return total.log()


def _slow_loss(words: Tensor, regions: Tensor, scale: float) -> Tensor:
    present = [b for b, count in enumerate(COUNTS) if count]
    scores = torch.stack(
        [torch.stack([_slow_score(words[t, : COUNTS[t]], regions[i]) for t in present]) for i in present]
    )
    terms = []
    for k in range(len(present)):
        terms.append(torch.logsumexp(scale * scores[k], dim=0) - scale * scores[k, k])
        terms.append(torch.logsumexp(scale * scores[:, k], dim=0) - scale * scores[k, k])
    return torch.stack(terms).sum() / len(present)


@pytest.mark.parametrize("block", [2, 1024])
@pytest.mark.parametrize("block_entries", [1, 2 * B * R * W, 1 << 22])
def test_loss_and_gradients_equal_the_formula_on_ragged_reports(block_entries: int, block: int) -> None:
    words, regions = _random(B, W, D), _random(B, R, D, seed=1)
    fast = word_region_loss(words, _mask(), regions, *SCALES, 2.0, block_entries, block)
    slow = _slow_loss(words, regions, 2.0)
    assert torch.allclose(fast.double(), slow, atol=1e-4)
    leaves = [words, regions]
    ours, theirs = torch.autograd.grad(fast, leaves), torch.autograd.grad(slow, leaves)
    for a, b in zip(ours, theirs, strict=True):
        assert b.abs().max() > 1e-2
        assert torch.allclose(a, b, atol=1e-4)


@pytest.mark.parametrize("block_entries", [1, 1 << 22])
def test_scores_of_other_numbers_of_images_equal_the_formula(block_entries: int) -> None:
    words, regions = _random(B, W, D), _random(3, R, D, seed=1)
    with torch.inference_mode():
        scores = word_region_scores(words, _mask(), regions, *SCALES, block_entries)
    assert scores.shape == (3, B)
    for i in range(3):
        for t, count in enumerate(COUNTS):
            expected = _slow_score(words[t, :count], regions[i]).item() if count else 0.0
            assert scores[i, t].item() == pytest.approx(expected, abs=1e-4)


def test_padding_and_the_order_of_words_and_regions_do_not_matter() -> None:
    words, regions, mask = _random(B, W, D), _random(B, R, D, seed=1), _mask()
    scores = word_region_scores(words, mask, regions, *SCALES)
    dirty = torch.where(mask.unsqueeze(2), words, torch.full_like(words, 99.0))
    wide = F.pad(dirty, (0, 0, 0, 3), value=-7.0)
    assert torch.allclose(scores, word_region_scores(wide, F.pad(mask, (0, 3)), regions, *SCALES), atol=1e-5)
    order, places = torch.randperm(W), torch.randperm(R)
    moved = word_region_scores(words[:, order], mask[:, order], regions[:, places], *SCALES)
    assert torch.allclose(scores, moved, atol=1e-5)
    wide_leaf = wide.detach().requires_grad_()
    word_region_loss(wide_leaf, F.pad(mask, (0, 3)), regions, *SCALES, 10.0).backward()
    assert wide_leaf.grad is not None
    assert (wide_leaf.grad[~F.pad(mask, (0, 3))] == 0).all()


def test_permuting_the_pairs_permutes_the_scores_and_leaves_the_loss() -> None:
    words, regions, mask = _random(B, W, D), _random(B, R, D, seed=1), _mask()
    order = torch.randperm(B)
    scores = word_region_scores(words, mask, regions, *SCALES)
    moved = word_region_scores(words[order], mask[order], regions[order], *SCALES)
    assert torch.allclose(moved, scores[order][:, order], atol=1e-5)
    loss = word_region_loss(words, mask, regions, *SCALES, 10.0)
    assert torch.allclose(loss, word_region_loss(words[order], mask[order], regions[order], *SCALES, 10.0))


def test_pairs_without_words_stay_out() -> None:
    words, regions, mask = _random(B, W, D), _random(B, R, D, seed=1), _mask()
    present = mask.any(dim=1)
    whole = word_region_loss(words, mask, regions, *SCALES, 10.0)
    rest = word_region_loss(words[present], mask[present], regions[present], *SCALES, 10.0)
    assert torch.allclose(whole, rest)


@pytest.mark.parametrize("counts", [[1], [4], [0], [0, 0], [1, 1]])
def test_small_batches_have_finite_gradients(counts: list[int]) -> None:
    words, regions = _random(len(counts), W, D), _random(len(counts), R, D, seed=1)
    # One word looks at all regions alike: here its context vanishes.
    centred = (regions - regions.mean(dim=1, keepdim=True)).detach().requires_grad_()
    mask = torch.arange(W) < torch.tensor(counts).unsqueeze(1)
    loss = word_region_loss(words, mask, centred, *SCALES, 10.0)
    torch.autograd.backward(loss)
    if sum(count > 0 for count in counts) < 2:
        assert loss.item() == 0
    for leaf in (words, centred):
        assert leaf.grad is not None
        assert torch.isfinite(leaf.grad).all()


def test_the_backward_pass_keeps_no_block() -> None:
    sizes = []

    def keep(tensor: Tensor) -> Tensor:
        sizes.append(tensor.numel())
        return tensor

    words, regions = _random(8, 32, D), _random(8, 16, D, seed=1)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        mask = torch.ones(8, 32, dtype=torch.bool)
        word_region_loss(words, mask, regions, *SCALES, 10.0, block_entries=8 * 16 * 32)
    assert max(sizes) < 8 * 16 * 32


def test_bf16_features_are_compared_in_float32() -> None:
    words, regions = _random(B, W, D).bfloat16(), _random(B, R, D, seed=1).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = word_region_loss(words, _mask(), regions, *SCALES, 10.0)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, word_region_loss(words.float(), _mask(), regions.float(), *SCALES, 10.0))
