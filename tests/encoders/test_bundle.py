import json

import pytest
import torch

from prior.encoders.bundle import BundleInfo, load_bundle, save_bundle
from prior.encoders.image import ImageEncoderConfig
from prior.encoders.text import TextEncoderConfig
from prior.errors import InputError
from prior.methods import convirt, random

IMAGE = ImageEncoderConfig(name="test_resnet", input_size=32)
TEXT = TextEncoderConfig(vocab_size=30, width=16, layers=1, heads=2, max_tokens=12)


def save(path, method, name="convirt", text=TEXT, tokenizer=None):
    settings = {"dim": 8} if name == "convirt" else {}
    info = BundleInfo(
        method=name, variant="default", settings=settings, image=IMAGE, text=text, pretrain_seed=0
    )
    return save_bundle(path, method, info, tokenizer)


def test_round_trip(tmp_path):
    method = convirt.build({"dim": 8}, IMAGE, TEXT).eval()
    saved = save(tmp_path / "convirt-default-s0", method)
    bundle = load_bundle(tmp_path / "convirt-default-s0")
    assert bundle.info == saved
    assert bundle.name == "convirt-default-s0"
    assert bundle.has_text
    images = torch.rand(2, 1, 32, 32)
    before = torch.get_rng_state()
    loaded = bundle.method()
    assert torch.equal(before, torch.get_rng_state())
    with torch.inference_mode():
        expected = method.encode_images(images)
        assert torch.equal(loaded.encode_images(images).global_, expected.global_)
        assert torch.equal(bundle.image_encoder()(images)[-1], method.image_encoder(images)[-1])


def test_channels_last_gives_the_same_files(tmp_path):
    method = convirt.build({"dim": 8}, IMAGE, TEXT)
    first = save(tmp_path / "a", method)
    second = save(tmp_path / "b", method.to(memory_format=torch.channels_last))
    assert first == second
    assert (tmp_path / "a/bundle.json").read_bytes() == (tmp_path / "b/bundle.json").read_bytes()


def test_random_has_no_text(tmp_path):
    save(tmp_path / "random-default-s0", random.build({}, IMAGE, TEXT), "random", text=None)
    bundle = load_bundle(tmp_path / "random-default-s0")
    assert not bundle.has_text
    assert bundle.method() is None
    assert bundle.image_encoder()(torch.rand(1, 1, 32, 32))[-1].shape == (1, 96, 2, 2)


def test_altered_and_missing_files_are_named(tmp_path):
    path = tmp_path / "random-default-s0"
    save(path, random.build({}, IMAGE, TEXT), "random", text=None)
    bundle = load_bundle(path)
    weights = path / "image_encoder.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(InputError, match="is not the file"):
        bundle.image_encoder()
    weights.unlink()
    with pytest.raises(InputError, match=r"image_encoder\.safetensors is missing"):
        bundle.image_encoder()


def test_weights_that_do_not_fit_are_refused(tmp_path):
    path = tmp_path / "random-default-s0"
    save(path, random.build({}, IMAGE, TEXT), "random", text=None)
    info = json.loads((path / "bundle.json").read_text())
    info["image"]["name"] = "resnet18"
    (path / "bundle.json").write_text(json.dumps(info))
    with pytest.raises(InputError, match="does not fit the architecture"):
        load_bundle(path).image_encoder()


def test_bad_descriptions_are_refused(tmp_path):
    with pytest.raises(InputError, match="is missing"):
        load_bundle(tmp_path)
    (tmp_path / "bundle.json").write_text("{}")
    with pytest.raises(InputError, match="is not valid"):
        load_bundle(tmp_path)
