"""The native feature: class tokens and attention pools, and encoders that have neither."""

import hashlib
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from prior.data.files import read_json, write_json
from prior.encoders.bundle import load_bundle
from prior.tasks.native import native_features, pooled_by
from prior.tasks.run import run_evaluation
from tests.tasks.fixtures import make_bundle

PLACE = ("strict", "linear_native", (1.0,), (0,))


@pytest.fixture
def vit(tmp_path):
    """A bundle of a small ViT with a class token at 32 px."""
    path = make_bundle(tmp_path / "vit-default-s0")
    network = timm.create_model("test_vit", img_size=32, in_chans=1, num_classes=0)
    weights = path / "image_encoder.safetensors"
    save_file({name: value.contiguous() for name, value in network.state_dict().items()}, weights)
    info = read_json(path / "bundle.json")
    info["image"] |= {"name": "test_vit", "output_stride": 16}
    info["files"] = {weights.name: hashlib.sha256(weights.read_bytes()).hexdigest()}
    write_json(path / "bundle.json", info)
    return path, network.eval()


def test_a_class_token_is_the_networks_own_pooled_feature(vit):
    path, network = vit
    pixels = np.random.default_rng(0).integers(0, 256, (70, 32, 32)).astype(np.uint8)
    bundle = load_bundle(path)
    image = bundle.info.image
    with torch.inference_mode():
        images = (torch.from_numpy(pixels).unsqueeze(1) / 255 - image.mean) / image.std
        expected = network.forward_head(network.forward_features(images), pre_logits=True)
    np.testing.assert_allclose(native_features(bundle, pixels), expected, atol=1e-5)


class Pooling(nn.Module):
    """A method whose pool takes the largest region of the last map, and which then projects."""

    def __init__(self, encoder):
        super().__init__()
        self.image_encoder = encoder
        self.image_pool = nn.Sequential(nn.AdaptiveMaxPool2d(1), nn.Flatten())
        self.projection = nn.Linear(encoder.last_channels, 2)

    def encode_images(self, images):
        return self.projection(self.image_pool(self.image_encoder(images)[-1]))


def test_an_attention_pool_is_that_of_the_method(tiny):
    plain = load_bundle(tiny["bundle"])
    pixels = np.random.default_rng(0).integers(0, 256, (70, 32, 32)).astype(np.uint8)
    method = Pooling(plain.image_encoder()).eval()
    bundle = SimpleNamespace(image_encoder=plain.image_encoder, method=lambda: method)
    with torch.inference_mode():
        last = plain.image_encoder()(torch.from_numpy(pixels).unsqueeze(1) / 255)[-1]
    np.testing.assert_allclose(native_features(bundle, pixels), last.amax(dim=(2, 3)), atol=1e-5)


def test_a_pool_is_read_before_the_projection():
    pool, projection = nn.Linear(3, 2), nn.Linear(2, 4)
    entries = torch.ones(5, 3)
    assert pooled_by(pool, lambda: projection(pool(entries))).equal(pool(entries))
    several = nn.Identity()
    assert pooled_by(several, lambda: several((entries, entries + 1))).equal(entries)
    assert not several._forward_hooks


def test_cells_of_both_kinds_of_encoder(vit, tiny, tmp_path):
    for bundle, kept in ((vit[0], True), (tiny["bundle"], False)):
        stem = tmp_path / bundle.name
        places = (stem, tmp_path / "work", tmp_path / "cache")
        run_evaluation(bundle, "classification", tiny["data"], *PLACE, *places)
        cell = read_json(stem.with_name(f"{stem.name}.json"))["cells"][0]
        assert ("omitted" not in cell) == kept
        assert (len(pd.read_parquet(f"{stem}.parquet")) > 0) == kept
