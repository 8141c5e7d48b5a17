"""Networks with the module names of public code, and the files that their trainers wrote."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import timm
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

SIDE = 64
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
GREY = ((0.5,), (0.25,))


@dataclass
class Source:
    """The last map that a network makes of normalised images, and its weights under the release's names."""

    weights: dict[str, Tensor]
    last_map: Callable[[Tensor], Tensor]
    encoder: str
    mean: tuple[float, ...] = GREY[0]
    std: tuple[float, ...] = GREY[1]
    channels: int = 3
    side: int = SIDE


def randomised(network: nn.Module) -> nn.Module:
    """Random statistics of batch norms, too, so that no two weights can be exchanged unseen."""
    torch.manual_seed(0)
    for name, value in network.state_dict().items():
        if name.endswith("running_mean"):
            value.normal_(0, 0.1)
        elif name.endswith(("running_var", "gamma", "lambda1")):
            value.uniform_(0.5, 1.5)
        elif value.ndim == 1 and value.is_floating_point():
            value.add_(0.1 * torch.randn_like(value))
        elif "token" in name or "pos_embed" in name:
            value.normal_(0, 0.5)
    return network.eval()


@cache
def resnet(channels: int = 3) -> nn.Module:
    network = torchvision.models.resnet18()
    network.conv1 = nn.Conv2d(channels, 64, 7, 2, 3, bias=False)
    return randomised(network)


@cache
def bottlenecks() -> nn.Module:
    """timm's resnet26."""
    return randomised(torchvision.models.ResNet(torchvision.models.resnet.Bottleneck, [2, 2, 2, 2]))


@cache
def densenet(channels: int) -> nn.Module:
    network = torchvision.models.densenet121()
    network.features.conv0 = nn.Conv2d(channels, 64, 7, 2, 3, bias=False)
    return randomised(network)


@cache
def vit(name: str = "test_vit", side: int = SIDE) -> nn.Module:
    return randomised(timm.create_model(name, img_size=side, num_classes=3))


def resnet_map(network: nn.Module, stages: int = 4) -> Callable[[Tensor], Tensor]:
    def last_map(x: Tensor) -> Tensor:
        x = network.maxpool(network.relu(network.bn1(network.conv1(x))))
        for stage in range(1, stages + 1):
            x = getattr(network, f"layer{stage}")(x)
        return x

    return last_map


def tokens_map(tokens: Tensor, prefix: int = 1) -> Tensor:
    """[B, prefix + h w, D] → [B, D, h, w]."""
    side = round((tokens.shape[1] - prefix) ** 0.5)
    return tokens[:, prefix:].transpose(1, 2).unflatten(2, (side, side))


def vit_map(network: nn.Module) -> Callable[[Tensor], Tensor]:
    return lambda x: tokens_map(network.forward_features(x))


def prefixed(prefix: str, state: dict[str, Tensor], *without: str) -> dict[str, Tensor]:
    return {prefix + name: value for name, value in state.items() if not name.startswith(without or ("?",))}


def parts(*names: str) -> dict[str, Tensor]:
    """Weights of other parts."""
    return {name: torch.zeros(2, 2) for name in names}


class ClipBlock(nn.Module):
    """Names of CLIP's residual attention block."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mlp = nn.ModuleDict({"c_fc": nn.Linear(width, 4 * width), "c_proj": nn.Linear(4 * width, width)})

    def forward(self, x: Tensor) -> Tensor:
        y = self.ln_1(x)
        x = x + self.attn(y, y, y, need_weights=False)[0]
        return x + self.mlp["c_proj"](F.gelu(self.mlp["c_fc"](self.ln_2(x))))


class ClipTower(nn.Module):
    """Names of CLIP's image tower; GELU as in timm's small model, CLIP's own has another one."""

    def __init__(self, width: int, depth: int, heads: int, patch: int, side: int) -> None:
        super().__init__()
        self.class_embedding = nn.Parameter(torch.randn(width))
        self.positional_embedding = nn.Parameter(torch.randn((side // patch) ** 2 + 1, width))
        self.conv1 = nn.Conv2d(3, width, patch, patch, bias=False)
        self.ln_pre, self.ln_post = nn.LayerNorm(width), nn.LayerNorm(width)
        self.transformer = nn.ModuleDict(
            {"resblocks": nn.Sequential(*(ClipBlock(width, heads) for _ in range(depth)))}
        )
        self.proj = nn.Parameter(torch.randn(width, 4))

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_embedding.expand(len(x), 1, -1), x], dim=1) + self.positional_embedding
        return self.ln_post(self.transformer["resblocks"](self.ln_pre(x)))


@cache
def clip_tower() -> nn.Module:
    return randomised(ClipTower(256, 10, 4, 16, SIDE))


@cache
def torchvision_vit() -> nn.Module:
    """test_vit of timm with torchvision's names."""
    network = torchvision.models.VisionTransformer(SIDE, 16, 6, 2, 64, 192)
    return randomised(network)


def _torchvision_vit_map(x: Tensor) -> Tensor:
    network = torchvision_vit()
    tokens = network._process_input(x)
    tokens = torch.cat([network.class_token.expand(len(x), -1, -1), tokens], dim=1)
    return tokens_map(network.encoder(tokens))


def on_resnet(prefix: str, *others: str, channels: int = 3, without: tuple[str, ...] = ("fc.",)) -> Source:
    network = resnet(channels)
    weights = {**prefixed(prefix, network.state_dict(), *without), **parts(*others)}
    return Source(weights, resnet_map(network), "resnet18", channels=channels)


def on_vit(prefix: str, *others: str) -> Source:
    network = vit()
    weights = {**prefixed(prefix, network.state_dict(), "head."), **parts(*others)}
    return Source(weights, vit_map(network), "test_vit")


def _three_stages(prefix: str, sequential: bool, *others: str) -> Source:
    network = bottlenecks()
    state = network.state_dict()
    kept = {name: value for name, value in state.items() if not name.startswith(("layer4.", "fc."))}
    if sequential:
        places = {"conv1": "0", "bn1": "1", "layer1": "4", "layer2": "5", "layer3": "6"}
        kept = {places[n.split(".")[0]] + n[n.index(".") :]: value for n, value in kept.items()}
    weights = {**prefixed(prefix, kept), **parts(*others)}
    return Source(weights, resnet_map(network, 3), "resnet26")


def _dense(channels: int, *others: str) -> Source:
    network = densenet(channels)
    weights = {**prefixed("", network.state_dict(), "classifier."), **parts(*others)}
    return Source(weights, lambda x: network.features(x).relu(), "densenet121", channels=channels)


def _colours(source: Source, colours: tuple[tuple[float, ...], tuple[float, ...]]) -> Source:
    source.mean, source.std = colours
    return source


def _kad(layer4: bool) -> Source:
    seventh = ("res_features.7.0.conv1.weight",) if layer4 else ()
    others = ("res_features.0.weight", "res_features.6.0.conv1.weight", *seventh, "res_l1.weight")
    if layer4:
        return on_resnet("resnet.", "resnet.fc.weight", *others)
    return _three_stages("resnet.", False, "resnet.fc.weight", "resnet.layer4.0.conv1.weight", *others)


def _clip(*others: str) -> Source:
    network = clip_tower()
    weights = {
        **prefixed("visual.", network.state_dict()),
        **parts("transformer.x", "token_embedding.weight"),
    }
    weights |= parts("positional_embedding", "ln_final.weight", "text_projection", "logit_scale", *others)
    return Source(weights, lambda x: tokens_map(network(x)), "vit_xsmall_patch16_clip_224")


def _dinov2() -> Source:
    network = vit("vit_small_patch14_dinov2", 56)
    weights = {**prefixed("", network.state_dict(), "head."), **parts("mask_token")}
    return _colours(Source(weights, vit_map(network), "vit_small_patch14_dinov2", side=56), IMAGENET)


def _torchvision_vit() -> Source:
    state = torchvision_vit().state_dict()
    return _colours(Source(dict(state), _torchvision_vit_map, "test_vit"), IMAGENET)


# Layout → its source. Those whose files transformers writes have tests of their own.
SOURCES: dict[str, Callable[[], Source]] = {
    "prior_encoder": lambda: on_resnet("", channels=1),
    "prior_model": lambda: on_resnet(
        "image_encoder.encoder.",
        *("image_encoder.atten_pool.k_proj.weight", "text_encoder.model.pooler.dense.weight", "logit_scale"),
        *("sentence_bank.embed.weight", "prototype_queries", "local_cross_attention.q.weight"),
        *("global_text_attention.k.weight", "local_image_projection.weight", "predictor.0.weight"),
        *("sentence_decoder.decoder.x", "image_decoder.up.0.weight", "local_logit_scale", "item_gather.x"),
        channels=1,
    ),
    "lovt": lambda: on_resnet(
        "model_a.encoder.feature_extractor.backbone_layers.",
        *("model_a.encoder.global_aggregator.x", "model_a.project_local.0.weight", "model_b.encoder.x"),
        *("ll_attention.query.weight", "lweights_a.x", "loss_module.x", "val_metrics.x"),
    ),
    "mgca_resnet": lambda: on_resnet(
        "img_encoder_q.model.",
        *("img_encoder_q.global_embed.head.0.weight", "img_encoder_q.local_embed.head.0.weight"),
        *("text_encoder_q.model.embeddings.x", "patch_local_atten_layer.in_proj_weight"),
        *("word_local_atten_layer.in_proj_weight", "prototype_layer.weight"),
    ),
    "convirt_mgca": lambda: on_resnet(
        "img_encoder.model.",
        *("img_encoder.global_embed.head.0.weight", "img_encoder.local_embed.head.0.weight"),
        "text_encoder.model.embeddings.x",
    ),
    "gloria": lambda: on_resnet(
        "gloria.img_encoder.model.",
        *("gloria.img_encoder.global_embedder.weight", "gloria.img_encoder.local_embedder.weight"),
        "gloria.text_encoder.model.embeddings.x",
    ),
    "medclip_resnet": lambda: on_resnet(
        "vision_model.model.", "vision_model.model.fc.weight", "text_model.model.x", "logit_scale"
    ),
    "biovil": lambda: on_resnet("encoder.encoder.", "projector.model.0.weight", without=()),
    "biovil_t": lambda: on_resnet(
        "encoder.encoder.",
        *("encoder.backbone_to_vit.weight", "encoder.vit_pooler.blocks.0.x", "encoder.missing_previous_emb"),
        "projector.model.0.weight",
        without=(),
    ),
    "medklip": lambda: _three_stages(
        "res_features.",
        True,
        *("res_l1.weight", "res_l2.weight", "decoder.layers.0.x", "classifier.weight", "cl_fc.weight"),
        "disease_embedding_layer.weight",
    ),
    "kad": lambda: _kad(True),
    "kad_224": lambda: _kad(False),
    "cxr_clip_resnet": lambda: on_resnet(
        "image_encoder.resnet.", "text_encoder.x", "image_projection.x", "text_projection.x", "logit_scale"
    ),
    "torchxrayvision_densenet": lambda: _dense(1, "classifier.weight", "op_threshs"),
    "torchxrayvision_resnet": lambda: on_resnet("", channels=1, without=()),
    "torchvision_resnet": lambda: on_resnet("", without=()),
    "torchvision_densenet": lambda: _dense(3, "classifier.weight"),
    "mgca_vit": lambda: on_vit(
        "img_encoder_q.model.", "img_encoder_q.global_embed.head.0.weight", "text_encoder_q.x"
    ),
    "convirt_mgca_vit": lambda: on_vit(
        "img_encoder.model.", "img_encoder.global_embed.head.0.weight", "text_encoder.x"
    ),
    "chexzero": lambda: _clip(),
    "clip": lambda: _colours(_clip("input_resolution"), CLIP),
    "biomedclip": lambda: _colours(
        on_vit("visual.trunk.", "visual.head.proj.weight", "text.transformer.x", "logit_scale"), CLIP
    ),
    "mrm": lambda: on_vit(
        "", "decoder_embed.weight", "decoder_blocks.0.x", "mask_token", "bert_mlp.weight", "bert_encoder.x"
    ),
    "carzero": lambda: on_vit(
        "CARZero.img_encoder.model.", "CARZero.text_encoder.model.x", "CARZero.fusion_module.x"
    ),
    "dinov2": _dinov2,
    "torchvision_vit": _torchvision_vit,
}
