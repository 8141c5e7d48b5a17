"""SimCLR and supervised pre-training: methods that read no reports."""

import math

import pytest
import torch

from prior.encoders.image import ImageEncoderConfig
from prior.encoders.text import TextEncoderConfig
from prior.errors import InputError
from prior.methods import simclr, supervised
from prior.methods.base import Batch
from prior.objectives.multilabel import multilabel_loss
from prior.objectives.nt_xent import nt_xent

IMAGE = ImageEncoderConfig(name="test_resnet", input_size=32)
TEXT = TextEncoderConfig(vocab_size=20, width=16, layers=1, heads=2, max_tokens=16)
FINDINGS = ["edema", "fracture"]
LABELS = torch.tensor([[1, 0], [0, math.nan], [math.nan, math.nan], [0, 1]])
MODULES = {"simclr": (simclr, {"dim": 8}), "supervised": (supervised, {"findings": FINDINGS})}


def batch(size=4):
    generator = torch.Generator().manual_seed(0)
    images, second = torch.rand(2, size, 1, 32, 32, generator=generator)
    ids = torch.full((size, 2), 2)
    reports = {"ids": ids, "mask": ids > 0, "sentence": ids - 3, "n_sentences": ids[:, 0] * 0}
    return Batch(images=images, second_view=second, labels=LABELS[:size], **reports)


def method(name, **settings):
    module, own = MODULES[name]
    torch.manual_seed(0)
    return module.build({**own, **settings}, IMAGE, TEXT)


@pytest.mark.parametrize("name", MODULES)
def test_losses_are_named_and_reach_every_weight(name):
    model = method(name)
    losses = model.losses(batch(), model.stages[0])
    assert losses.keys() == model.stages[0].terms.keys()
    sum(losses.values()).backward()
    assert all(torch.isfinite(value) and value > 0 for value in losses.values())
    assert [n for n, p in model.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("standardise", [True, False])
def test_a_batch_of_one_is_defined(name, standardise):
    model = method(name, standardise=standardise)
    losses = model.losses(batch(1), model.stages[0])
    sum(losses.values()).backward()
    assert all(torch.isfinite(value) for value in losses.values())
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())
    assert name != "simclr" or losses["views"] == 0


@pytest.mark.parametrize("name", MODULES)
def test_images_are_encoded_and_reports_refused(name):
    model = method(name).eval()
    features = model.encode_images(torch.rand(3, 1, 32, 32))
    channels = model.image_encoder.last_channels
    assert features.global_.shape == (3, channels)
    assert features.local.shape == (3, features.grid[0] * features.grid[1], channels)
    torch.testing.assert_close(features.local.mean(dim=1), features.global_)
    with pytest.raises(InputError, match=f"{name} reads no text"):
        model.encode_reports(batch())
    with pytest.raises(InputError, match=f"{name} reads no text"):
        model.scores(features, None)


@pytest.mark.parametrize("name", MODULES)
def test_a_few_steps_lower_the_loss(name):
    model = method(name)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    data, totals = batch(), []
    for _ in range(5):
        total = sum(model.losses(data, model.stages[0]).values())
        totals.append(total.item())
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
    assert totals[-1] < totals[0]


def test_simclr_contrasts_the_projected_views():
    model = method("simclr", temperature=0.2).eval()
    data = batch()
    first, second = (
        model.projection(model.encode_images(v).global_) for v in (data.images, data.second_view)
    )
    torch.testing.assert_close(model.losses(data, model.stages[0])["views"], nt_xent(first, second, 5.0))


def test_supervised_classifies_the_pooled_map():
    model = method("supervised").eval()
    data = batch()
    logits = model.classifier(model.encode_images(data.images).global_)
    assert logits.shape == (4, 2)
    loss = model.losses(data, model.stages[0])["labels"]
    torch.testing.assert_close(loss, multilabel_loss(logits, data.labels))


@pytest.mark.parametrize(
    ("name", "settings", "key"),
    [
        ("simclr", {"dim": 0}, "dim"),
        ("simclr", {"flip": True}, "flip"),
        ("supervised", {"findings": []}, "findings"),
        ("supervised", {"findings": "all"}, "findings"),
        ("supervised", {"classes": 2}, "classes"),
    ],
)
def test_wrong_settings_are_named(name, settings, key):
    with pytest.raises(InputError, match=f"{name}: {key}"):
        method(name, **settings)
