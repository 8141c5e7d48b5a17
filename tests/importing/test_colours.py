"""Normalisation by colour inside the first convolution."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from prior.errors import InputError
from prior.importing.colours import fold_colours
from tests.importing.sources import IMAGENET

MEAN, STD = IMAGENET
GREY_MEAN, GREY_STD = sum(MEAN) / 3, sum(STD) / 3


def coloured(images):
    mean, std = (torch.tensor(value).view(1, -1, 1, 1) for value in (MEAN, STD))
    return (images - mean) / std


def grey(images):
    return ((images - GREY_MEAN) / GREY_STD).expand(-1, 3, -1, -1)


def images():
    return torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(0))


def test_a_bias_takes_the_constant_up():
    torch.manual_seed(0)
    conv = nn.Conv2d(3, 5, 4, 4)
    state = {f"patch_embed.proj.{name}": value for name, value in conv.state_dict().items()}
    found = fold_colours(state, "patch_embed.proj", MEAN, STD)
    same = F.conv2d(
        grey(images()), found["patch_embed.proj.weight"], found["patch_embed.proj.bias"], stride=4
    )
    torch.testing.assert_close(same, conv(coloured(images())), atol=1e-5, rtol=1e-5)


def test_batch_norm_takes_it_up_and_only_the_rim_differs():
    torch.manual_seed(0)
    conv, norm = nn.Conv2d(3, 5, 7, 2, 3, bias=False), nn.BatchNorm2d(5).eval()
    norm.running_mean.normal_()
    state = {"conv1.weight": conv.weight.detach(), "bn1.running_mean": norm.running_mean.clone()}
    found = fold_colours(state, "conv1", MEAN, STD)
    expected = norm(conv(coloured(images())))
    norm.running_mean.copy_(found["bn1.running_mean"])
    same = norm(F.conv2d(grey(images()), found["conv1.weight"], stride=2, padding=3))
    torch.testing.assert_close(same[..., 2:-2, 2:-2], expected[..., 2:-2, 2:-2], atol=1e-5, rtol=1e-5)
    assert not torch.allclose(same[..., 0, :], expected[..., 0, :], atol=1e-3)


def test_position_embeddings_take_it_up_but_for_the_class_token():
    torch.manual_seed(0)
    weight, positions = torch.randn(5, 3, 4, 4), torch.randn(1, 17, 5)
    state = {"patch_embed.proj.weight": weight, "pos_embed": positions, "cls_token": torch.zeros(1, 1, 5)}
    found = fold_colours(state, "patch_embed.proj", MEAN, STD)

    def tokens(image, kernel, embedding):
        return F.conv2d(image, kernel, stride=4).flatten(2).transpose(1, 2) + embedding[:, 1:]

    same = tokens(grey(images()), found["patch_embed.proj.weight"], found["pos_embed"])
    torch.testing.assert_close(same, tokens(coloured(images()), weight, positions), atol=1e-5, rtol=1e-5)
    assert torch.equal(found["pos_embed"][:, 0], positions[:, 0])
    assert torch.equal(state["pos_embed"], positions)


def test_one_mean_changes_nothing():
    state = {"conv1.weight": torch.randn(5, 3, 7, 7)}
    for mean, std in [((0.4,), (0.2,)), ((0.4,) * 3, (0.2,) * 3)]:
        assert fold_colours(state, "conv1", mean, std)["conv1.weight"] is state["conv1.weight"]


def test_without_a_place_for_the_constant_the_user_is_asked():
    with pytest.raises(InputError, match="give one grey `mean` and `std`"):
        fold_colours({"stem.weight": torch.randn(5, 3, 7, 7)}, "stem", MEAN, STD)
