"""Losses, heads and thresholds of segmentation."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from segmentation_models_pytorch.losses import DiceLoss

from prior.data.augment import Augmentation, augment
from prior.protocols import Protocol
from prior.tasks.mask_heads import HEADS, LinearHead, UPerNetHead
from prior.tasks.mask_losses import focal_and_log_dice, soft_dice
from prior.tasks.mask_threshold import threshold_half
from prior.tasks.segmentation import warped_masks

KNOBS = {"decoder_channels": [8, 8, 8, 8], "head_map": "last", "head_width": 8}
RESNET, VIT = ([4, 8, 8, 16], [4, 8, 16, 32]), ([8, 8, 8, 8], [16, 16, 16, 16])


def logits_and_target(seed, empty=False):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, 3, 4, generator=generator, requires_grad=True)
    target = (torch.rand(2, 3, 4, generator=generator) < 0.4).float()
    return logits, target * 0 if empty else target


@settings(max_examples=10)
@given(st.integers(0, 2**20))
def test_soft_dice_is_that_of_segmentation_models(seed):
    logits, target = logits_and_target(seed)
    reference = DiceLoss("binary", from_logits=True)
    assert soft_dice(logits, target).item() == pytest.approx(
        reference(logits[:, None], target[:, None]).item()
    )
    ours, theirs = (
        torch.autograd.grad(loss, logits)[0]
        for loss in (soft_dice(logits, target), reference(logits[:, None], target[:, None]))
    )
    assert torch.allclose(ours, theirs, atol=1e-6)


def test_soft_dice_asks_nothing_of_a_batch_without_a_mask():
    logits, target = logits_and_target(0, empty=True)
    loss = soft_dice(logits, target)
    assert loss == 0
    assert (torch.autograd.grad(loss, logits)[0] == 0).all()


@pytest.mark.parametrize("empty", [False, True])
def test_focal_and_log_dice_pixel_by_pixel(empty):
    logits, target = logits_and_target(1, empty)
    focal, overlap, size = 0.0, 0.0, 0.0
    for z, y in zip(logits.detach().flatten().tolist(), target.flatten().tolist(), strict=True):
        p = 1 / (1 + math.exp(-z))
        chance = p if y else 1 - p
        focal -= (1 - chance) ** 2 * math.log(chance) / target.numel()
        overlap, size = overlap + p * y, size + p + y
    expected = 10 * focal - math.log((2 * overlap + 1) / (size + 1))
    loss = focal_and_log_dice(logits, target)
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    assert torch.autograd.grad(loss, logits)[0].isfinite().all()


def test_focal_and_log_dice_of_a_perfect_prediction_is_zero():
    target = torch.tensor([[[1.0, 0.0]]])
    assert focal_and_log_dice(40 * target - 20, target).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("shape", [RESNET, VIT])
def test_heads_start_at_the_prevalence_and_use_all_their_weights(name, shape):
    channels, strides = shape
    protocol = Protocol(family="toy", task="segmentation", setting="frozen", knobs=KNOBS)
    torch.manual_seed(0)
    head = HEADS[name](channels, strides, protocol, 0.2)
    maps = [torch.rand(2, c, 64 // s, 64 // s) for c, s in zip(channels, strides, strict=True)]
    head(maps, 64).square().sum().backward()
    assert all(p.grad is not None for p in head.parameters())
    torch.nn.init.zeros_(head.logits.weight)
    probability = head.eval()(maps, 64).sigmoid()
    assert probability.shape == (2, 64, 64)
    assert torch.allclose(probability, torch.tensor(0.2), atol=1e-6)


def test_linear_head_is_a_weighted_sum_of_one_map():
    head = LinearHead([2, 3, 3], [8, 16, 16], "last", 0.5)
    with torch.no_grad():
        head.logits.weight.copy_(torch.tensor([1.0, -1.0, 2.0]).view(1, 3, 1, 1))
    last = torch.rand(1, 3, 2, 2)
    out = head([torch.rand(1, 2, 4, 4), torch.rand(1, 3, 2, 2), last], 2)
    assert torch.allclose(out, last[:, 0] - last[:, 1] + 2 * last[:, 2], atol=1e-6)
    assert LinearHead([2, 3, 3, 4], [8, 16, 16, 32], 16, 0.5).index == 2


def test_upernet_spreads_maps_of_one_stride():
    assert UPerNetHead(*VIT, 8, 0.1).scales == [4.0, 2.0, 1.0, 0.5]
    assert UPerNetHead(*RESNET, 8, 0.1).scales == [1.0] * 4


@pytest.mark.parametrize("side", [4, 5, 7])
def test_dpt_takes_any_grid_of_a_vit(side):
    channels, strides = [8] * 4, [14] * 4
    protocol = Protocol(family="toy", task="segmentation", setting="frozen", knobs=KNOBS)
    head = HEADS["dpt"](channels, strides, protocol, 0.2)
    assert head([torch.rand(2, 8, side, side)] * 4, 14 * side).shape == (2, 14 * side, 14 * side)


def test_setr_reads_the_last_map_alone_and_doubles_it():
    protocol = Protocol(family="toy", task="segmentation", setting="frozen", knobs=KNOBS)
    head = HEADS["setr"](*VIT, protocol, 0.2).eval()
    last = torch.rand(1, 8, 4, 4)
    others = [[torch.rand(1, 8, 4, 4)] * 3 for _ in range(2)]
    assert head([*others[0], last], 64).equal(head([*others[1], last], 64))


def test_half_is_a_threshold_with_its_dice():
    probability = np.array([0.5, 0.9, 0.1, 0.4], np.float32)
    assert threshold_half(probability, np.array([True, False, False, True])) == (0.5, 0.5)
    assert math.isnan(threshold_half(probability, np.zeros(4, bool))[1])


def test_masks_move_with_their_images():
    masks = torch.zeros(3, 32, 32)
    masks[:, 8:20, 10:24] = 1
    strengths = Augmentation(crop=(0.7, 1.0), rotation=20.0, brightness=0.0, contrast=0.0)
    generator = torch.Generator().manual_seed(3)
    moved = warped_masks(masks, generator, strengths)
    images = augment(masks[:, None], generator, strengths)[:, 0]
    assert set(moved.unique().tolist()) == {0.0, 1.0}
    assert not moved.equal(masks)
    assert ((images > 0.5) == (moved > 0.5)).float().mean() > 0.999
