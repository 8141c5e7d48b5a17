"""Every layout: a file with its names gives the source's features, and says what does not fit."""

import re

import pytest
import timm
import torch
import transformers
from safetensors.torch import load_file

from prior.errors import InputError
from prior.importing import names
from prior.importing.architecture import architecture
from prior.importing.contamination import CORPORA
from prior.importing.encoder import import_encoder
from prior.importing.recognise import LAYOUTS, chosen, recognise
from prior.importing.settings import ImportSettings
from tests.importing.sources import SIDE, SOURCES, Source, prefixed, tokens_map

# Same names, another normalisation and other corpora: only the user can tell.
TWINS = {"chexzero": "clip", "clip": "chexzero", "rad_dino": "dinov2_transformers"}


def shapes(weights):
    return {name: tuple(value.shape) for name, value in weights.items()}


def said(source, **others):
    return ImportSettings(checkpoint="file", **{"encoder": source.encoder, **others})


def normalised(source, images):
    mean, std = (torch.tensor(value).view(1, -1, 1, 1) for value in (source.mean, source.std))
    return ((images - mean) / std).expand(-1, source.channels, -1, -1)


def compare(layout, source, **others):
    """The last map of the imported encoder is the source's."""
    if len(source.mean) == 1:
        # Not the layout's: colours change the rim of a convolution's padding and have a test of their own.
        others |= {"mean": source.mean[0], "std": source.std[0]}
    found = import_encoder(source.weights, LAYOUTS[layout], said(source, **others), source.side)
    images = torch.rand(2, 1, source.side, source.side, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected, last = source.last_map(normalised(source, images)), found.encoder(images)[-1]
    assert found.encoder.config.in_channels == source.channels
    torch.testing.assert_close(last[:, : expected.shape[1]], expected, atol=2e-3, rtol=1e-3)
    assert not last[:, expected.shape[1] :].any()
    return found


@pytest.mark.parametrize("layout", SOURCES)
def test_features_are_those_of_the_source(layout):
    source = SOURCES[layout]()
    found = compare(layout, source)
    assert found.taken + found.left_out.total() == len(source.weights)


@pytest.mark.parametrize("layout", SOURCES)
def test_a_file_is_recognised_by_its_names(layout):
    weights = shapes(SOURCES[layout]().weights)
    if layout in TWINS:
        with pytest.raises(InputError, match=f"layouts (?=.*{layout})(?=.*{TWINS[layout]}).*give `layout`"):
            recognise(weights)
    else:
        assert recognise(weights) is LAYOUTS[layout]
    assert chosen(weights, layout) is LAYOUTS[layout]


def test_every_layout_is_tried():
    own = {"timm", "rad_dino", "dinov2_transformers", "medclip_vit", "cxr_clip_swin"}
    assert set(LAYOUTS) == set(SOURCES) | own
    for layout in LAYOUTS.values():
        assert {corpus.name for corpus in layout.trained_on} <= set(CORPORA)
        assert layout.mean is None or len(layout.mean) in (1, 3)
        assert layout.std is None or len(layout.std) == len(layout.mean)


def written(model, folder):
    """A model of transformers and the weights as it writes them."""
    model.eval().save_pretrained(folder)
    return model, load_file(folder / "model.safetensors")


@pytest.fixture(scope="module")
def dinov2(tmp_path_factory):
    config = transformers.Dinov2Config(
        hidden_size=384, num_attention_heads=6, image_size=56, patch_size=14, layerscale_value=0.7
    )
    torch.manual_seed(0)
    return written(transformers.Dinov2Model(config), tmp_path_factory.mktemp("dinov2"))


@pytest.fixture(scope="module")
def swin(tmp_path_factory):
    torch.manual_seed(0)
    return written(transformers.SwinModel(transformers.SwinConfig()), tmp_path_factory.mktemp("swin"))


@pytest.mark.parametrize("layout", ["rad_dino", "dinov2_transformers"])
def test_files_of_transformers_dinov2(layout, dinov2):
    model, weights = dinov2
    assert "encoder.layer.0.attention.attention.query.weight" in weights
    given = LAYOUTS[layout]
    source = Source(
        weights,
        lambda x: tokens_map(model(x).last_hidden_state),
        "vit_small_patch14_dinov2",
        given.mean,
        given.std,
        side=56,
    )
    compare(layout, source)
    assert architecture(shapes(names.renamed(weights, given.rules))) == source.encoder
    with pytest.raises(InputError, match="dinov2_transformers and rad_dino"):
        recognise(shapes(weights))


@pytest.mark.parametrize(
    ("layout", "prefix", "other"),
    [
        ("medclip_vit", "vision_model.model.", "vision_model.projection_head.weight"),
        ("cxr_clip_swin", "image_encoder.image_encoder.", "image_projection.projection.weight"),
    ],
)
def test_files_of_transformers_swin(layout, prefix, other, swin):
    model, weights = swin
    weights = prefixed(prefix, weights)
    assert f"{prefix}encoder.layers.0.blocks.0.attention.self.query.weight" in weights
    weights |= {f"{prefix}encoder.layers.0.blocks.0.attention.self.relative_position_index": torch.zeros(2)}
    assert recognise(shapes(weights)) is LAYOUTS[layout]
    source = Source(
        {**weights, other: torch.zeros(2, 2)},
        lambda x: model(x, output_hidden_states=True).reshaped_hidden_states[-1],
        "swin_tiny_patch4_window7_224",
        side=224,
    )
    found = compare(layout, source)
    assert found.encoder.strides == [4, 8, 16, 32]


@pytest.mark.parametrize(
    "name",
    [
        *("resnet18", "resnet34", "resnet50", "resnet101", "densenet121", "densenet169"),
        *("vit_base_patch16_224", "vit_large_patch16_224", "vit_base_patch32_clip_quickgelu_224"),
        *("vit_base_patch14_dinov2", "vit_small_patch14_dinov2", "swin_tiny_patch4_window7_224"),
    ],
)
def test_the_network_is_known_from_its_weights(name):
    with torch.device("meta"):
        weights = timm.create_model(name, num_classes=0).state_dict()
    assert architecture(shapes(weights)) == name


def test_three_stages_of_a_resnet_50_are_known():
    with torch.device("meta"):
        weights = shapes(timm.create_model("resnet50", num_classes=0).state_dict())
    three = {name: shape for name, shape in weights.items() if not name.startswith("layer4.")}
    assert architecture(three) == "resnet50"
    with pytest.raises(InputError, match="give `encoder`"):
        architecture({name: shape for name, shape in three.items() if not name.startswith("layer3.")})


def test_a_stage_that_is_the_identity_can_learn():
    source = SOURCES["medklip"]()
    encoder = compare("medklip", source).encoder
    assert encoder.strides[-1] == 16
    encoder(torch.rand(2, 1, 32, 32))[-1].square().mean().backward()
    assert encoder.network.layer4[0].bn3.weight.grad.any()


def test_position_embeddings_follow_the_input_size():
    source = SOURCES["mgca_vit"]()
    name = "img_encoder_q.model.pos_embed"
    ramp = torch.arange(4.0).repeat_interleave(4)[:, None].expand(16, 64)
    weights = {**source.weights, name: torch.cat([torch.full((1, 64), 9.0), ramp])[None]}
    larger = import_encoder(weights, LAYOUTS["mgca_vit"], said(source), 128).encoder
    assert larger(torch.rand(1, 1, 128, 128))[-1].shape == (1, 64, 8, 8)
    found = larger.network.pos_embed[0, :, 0].detach()
    # The class token's stays; a row of patches is twice as fine, its inner values half a step apart.
    assert found[0] == 9
    torch.testing.assert_close(found[1:].view(8, 8)[3:5, 0], torch.tensor([1.25, 1.75]), atol=0.05, rtol=0)


def wrong(source, change):
    weights = dict(source.weights)
    change(weights)
    return weights


NAME = "img_encoder_q.model.layer1.0.conv1.weight"
RECOGNISED = r"recognised as mgca_resnet, MGCA \(ResNet-50\): "


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda w: w.pop(NAME),
            r"it does not fit resnet18 .*: 1 weights missing: layer1\.0\.conv1\.weight; give",
        ),
        (
            lambda w: w.update({"img_encoder_q.model.layer9.x": torch.zeros(1)}),
            r"it does not fit resnet18 .*: 1 weights unexpected: layer9\.x; give",
        ),
        (
            lambda w: w.update({NAME: torch.zeros(3, 4, 5, 5)}),
            r"1 weights of another shape: layer1\.0\.conv1\.weight \(3, 4, 5, 5\) instead of \(64, 64,",
        ),
        (
            lambda w: w.update({"momentum.x": torch.zeros(1), "momentum.y": torch.zeros(1)}),
            r"2 weights are no known part of it, momentum\.x, momentum\.y; name their .* `left_out`",
        ),
    ],
)
def test_what_does_not_fit_is_named(change, words):
    source = SOURCES["mgca_resnet"]()
    weights = wrong(source, change)
    assert recognise(shapes(weights)).name == "mgca_resnet"
    with pytest.raises(InputError, match=RECOGNISED + ".*" + words):
        import_encoder(weights, LAYOUTS["mgca_resnet"], said(source), SIDE)


def test_the_user_can_leave_out_more():
    source = SOURCES["mgca_resnet"]()
    weights = {**source.weights, "momentum.x": torch.zeros(1)}
    found = import_encoder(weights, LAYOUTS["mgca_resnet"], said(source, left_out=["momentum."]), SIDE)
    assert found.left_out["momentum.x"] == 1


def test_unknown_names_are_shown():
    weights = {"net.stem.weight": (3, 3), "net.stem.bias": (3,), "tail": (1,)}
    with pytest.raises(
        InputError, match=r"3 weights have none .* start with `net\.stem\.` \(2\), `tail` \(1\)"
    ):
        recognise(weights)
    with pytest.raises(InputError, match="layout 'mcga' is unknown; choose auto or one of"):
        chosen(weights, "mcga")
    with pytest.raises(
        InputError, match=r"do not have layout gloria.*gloria\.img_encoder\.model\.conv1\.weight"
    ):
        chosen(weights, "gloria")
    with pytest.raises(InputError, match="needs `encoder`"):
        chosen(weights, "timm")


def test_patches_must_fill_the_image():
    source = SOURCES["mgca_vit"]()
    with pytest.raises(InputError, match=r"patches of 16 px do not fill 72 px; .* such as 224"):
        import_encoder(source.weights, LAYOUTS["mgca_vit"], said(source), 72)


def test_timms_names_with_its_classifier_and_normalisation():
    network = timm.create_model("test_resnet").eval()
    weights = dict(network.state_dict())
    layout = recognise(shapes(weights), "test_resnet")
    assert layout.name == "timm"
    given = ImportSettings(checkpoint="file", encoder="test_resnet", output_stride=16)
    found = import_encoder(weights, layout, given, 32)
    assert found.left_out == {"fc.weight": 1, "fc.bias": 1}
    cfg = network.pretrained_cfg
    assert found.encoder.config.mean == pytest.approx(sum(cfg["mean"]) / 3)
    assert found.encoder.strides[-1] == 16


def test_separate_queries_keys_and_values_are_joined_in_order():
    parts = {f"blocks.0.attn.{part}.bias": torch.full((2,), float(k)) for k, part in enumerate("vkq")}
    found = names.joined({**parts, "blocks.1.attn.q.bias": torch.zeros(2)})
    assert found["blocks.0.attn.qkv.bias"].tolist() == [2, 2, 1, 1, 0, 0]
    assert set(found) == {"blocks.0.attn.qkv.bias", "blocks.1.attn.q.bias"}


def test_patterns_are_regular_expressions_that_leave_the_trunk_alone():
    for layout in LAYOUTS.values():
        for pattern in layout.left_out:
            re.compile(pattern)
        if layout.trunk:
            assert not layout.leaves_out(f"{layout.trunk}layer1.0.conv1.weight")
            assert not layout.leaves_out(f"{layout.trunk}blocks.0.norm1.weight")
