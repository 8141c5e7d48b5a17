import pytest
import torch

from prior.encoders.image import ImageEncoder, ImageEncoderConfig, build_image_encoder
from prior.errors import InputError
from prior.protocols import load_protocol
from prior.tasks.detector import Pyramid
from prior.tasks.mask_heads import UNetHead
from tests.methods import tiny
from tests.methods.reports import RAGGED


@pytest.mark.parametrize(
    ("settings", "strides", "sizes"),
    [
        ({"name": "resnet18"}, [4, 8, 16, 16], [24, 12, 6, 6]),
        ({"name": "resnet18", "output_stride": 32}, [4, 8, 16, 32], [24, 12, 6, 3]),
        ({"name": "vit_tiny_patch16_224", "in_channels": 3}, [16] * 4, [6] * 4),
        ({"name": "convnext_atto"}, [4, 8, 16, 16], [24, 12, 6, 6]),
    ],
)
def test_maps_have_the_announced_shape(settings, strides, sizes):
    encoder = build_image_encoder(ImageEncoderConfig(**settings), 0)
    maps = encoder(torch.rand(2, 1, 96, 96))
    assert encoder.strides == strides
    assert [m.shape for m in maps] == [(2, c, s, s) for c, s in zip(encoder.channels, sizes, strict=True)]
    assert encoder.pooled(torch.rand(2, 1, 96, 96)).shape == (2, encoder.last_channels)


def test_weights_have_timm_names():
    import timm

    ours = build_image_encoder(ImageEncoderConfig(), 0).network.state_dict()
    theirs = timm.create_model("resnet18", in_chans=1).state_dict()
    assert set(theirs) - set(ours) == {"fc.weight", "fc.bias"}
    assert set(ours) <= set(theirs)


def test_normalisation_happens_inside():
    config = ImageEncoderConfig(mean=0.5, std=0.25)
    encoder = build_image_encoder(config, 0).eval()
    plain = build_image_encoder(config.model_copy(update={"mean": 0.0, "std": 1.0}), 0).eval()
    images = torch.rand(2, 1, 32, 32)
    torch.testing.assert_close(encoder(images)[-1], plain((images - 0.5) / 0.25)[-1])


def test_initial_weights_depend_on_the_seed_alone():
    torch.manual_seed(1)
    first = build_image_encoder(ImageEncoderConfig(), 3).state_dict()
    torch.manual_seed(2)
    before = torch.get_rng_state()
    second = build_image_encoder(ImageEncoderConfig(), 3).state_dict()
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(first[name], second[name]) for name in first)
    other = build_image_encoder(ImageEncoderConfig(), 4).state_dict()
    assert not torch.equal(first["network.conv1.weight"], other["network.conv1.weight"])


def test_pretrained_weights_are_adapted_to_one_channel(tmp_path):
    import timm
    from safetensors.torch import save_file

    weights = timm.create_model("resnet18").state_dict()
    path = tmp_path / "resnet18.safetensors"
    save_file(weights, path)
    encoder = build_image_encoder(ImageEncoderConfig(pretrained=str(path)), 0)
    torch.testing.assert_close(encoder.network.conv1.weight, weights["conv1.weight"].sum(1, keepdim=True))
    assert torch.equal(encoder.network.layer4[0].conv1.weight, weights["layer4.0.conv1.weight"])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"name": "resnet_eighteen"}, "image_encoder.name"),
        ({"name": "vgg11"}, "output_stride"),
        ({"name": "vit_tiny_patch16_224", "output_stride": 8}, "set output_stride to 16"),
    ],
)
def test_impossible_encoders_name_the_key(settings, words):
    with pytest.raises(InputError, match=words):
        ImageEncoder(ImageEncoderConfig(**settings))


def test_missing_pretrained_weights_stop_before_work(tmp_path):
    with pytest.raises(InputError, match=r"image_encoder\.pretrained"):
        build_image_encoder(ImageEncoderConfig(pretrained=str(tmp_path / "no.safetensors")), 0)


VIT = ImageEncoderConfig(name="test_vit", input_size=64, in_channels=3)


def test_a_vit_ends_with_its_norm_and_trains_whole():
    encoder = build_image_encoder(VIT, 0)
    last = encoder(torch.rand(2, 1, 64, 64))[-1]
    torch.testing.assert_close(last.mean(dim=1), torch.zeros(2, 4, 4), atol=1e-4, rtol=0)
    last.square().mul(torch.rand_like(last)).mean().backward()
    assert [name for name, p in encoder.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize("name", ["test_vit", "test_resnet"])
def test_maps_serve_segmentation_and_detection(name):
    encoder = build_image_encoder(VIT.model_copy(update={"name": name}), 0)
    maps = encoder(torch.rand(2, 1, 64, 64))
    head = UNetHead(encoder.channels, [16] * len(maps), prevalence=0.1)
    assert head(maps, 64).shape == (2, 64, 64)
    knobs = load_protocol("strict_small", "detection", "frozen")["head"]
    pyramid = Pyramid(encoder.channels, encoder.strides, knobs["strides"], knobs["width"])
    sides = [64 // stride for stride in knobs["strides"]]
    assert [level.shape[2:] for level in pyramid(maps)] == [(side, side) for side in sides]


@pytest.mark.parametrize("method", tiny.TRAINED)
@pytest.mark.parametrize("channels", [1, 3])
def test_methods_train_on_a_vit(method, channels):
    model = tiny.build(method, VIT.model_copy(update={"input_size": 32, "in_channels": channels}))
    losses = model.losses(tiny.batch(RAGGED), model.stages[-1])
    sum(losses.values()).backward()
    assert all(loss.isfinite() for loss in losses.values())
    gradients = [p.grad for p in model.image_encoder.parameters()]
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert all(gradient.any() for gradient in gradients if gradient.ndim > 1)


def test_weights_with_other_names_or_shapes_are_refused(tmp_path):
    import timm
    from safetensors.torch import save_file

    weights = timm.create_model("test_resnet").state_dict()
    path = tmp_path / "weights.safetensors"
    config = ImageEncoderConfig(name="test_resnet", pretrained=str(path))
    missing = {name: value for name, value in weights.items() if name != "layer1.0.conv1.weight"}
    save_file(missing, path)
    with pytest.raises(InputError, match=r"differ in 1 weights, layer1\.0\.conv1\.weight among them"):
        build_image_encoder(config, 0)
    save_file({**weights, "layer1.0.conv1.weight": torch.zeros(1, 1, 3, 3)}, path)
    with pytest.raises(InputError, match="does not fit test_resnet"):
        build_image_encoder(config, 0)
    torch.save({"weights": print}, tmp_path / "code.pth")
    with pytest.raises(InputError, match="cannot be read"):
        build_image_encoder(config.model_copy(update={"pretrained": str(tmp_path / "code.pth")}), 0)
