"""Image and text encoder that others trained, with their projections into one space.

How tokens and regions are pooled and projected is the release's; `prior.importing` reads it from the layout.
"""

from typing import Any, ClassVar, Literal, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from prior.encoders.image import ImageEncoder, ImageEncoderConfig
from prior.encoders.text import TextEncoder, TextEncoderConfig
from prior.methods.base import (
    Batch,
    ImageFeatures,
    Method,
    ReportFeatures,
    ReportTokens,
    Stage,
    sentence_means,
)
from prior.methods.lovt_layers import AverageQueryPool, sentence_maxima
from prior.methods.pooling import AttentionPool
from prior.objectives.prototypes import mix_prototypes, prototype_logits

POOL_HEADS = 8
# Of PRIOR's prototype bank, which its code keeps fixed.
BANK_TEMPERATURE = 0.9
# Of BERT, in whose release alone a projection holds a layer norm.
EPSILON = 1e-12


class HeadLayer(BaseModel):
    """One layer of a projection.

    Attributes:
        kind: what it is; `batch_norm` uses the stored statistics.
        inputs: width before it; 0 for activations.
        outputs: width behind a linear layer.
        weights: a linear layer has a bias, a norm has weights and biases.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["linear", "batch_norm", "layer_norm", "relu", "gelu"]
    inputs: int = 0
    outputs: int = 0
    weights: bool = True


class PairSettings(BaseModel):
    """How a release makes its two embeddings.

    Attributes:
        tower: `bert`, or `clip`, whose tokens see those before them only.
        hidden_states: outputs of the text encoder that are averaged; 0 is the embedding layer's, -1 the last.
        pool: of the tokens, before the projection: the `first` or `last` real one or the `mean` of the real
            ones; `sentences`: means of projected tokens, mixtures of prototypes, attention pool (PRIOR); or
            `average_query`: maxima of the tokens of each sentence, pool whose query is their mean (LoVT).
        image_pool: `mean` of the last map or the `first` of all positions, class token included, before the
            projection; `projected`: mean of the projected regions; `attention`: pool with positions, before;
            `average_query`: LoVT's pool, before.
        regions: number of regions whose positions the attention pool knows.
        prototypes: number of prototypes of `sentences`.
        image_head: projection of the image.
        text_head: projection of the text.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    tower: Literal["bert", "clip"] = "bert"
    hidden_states: list[int] = [-1]
    pool: Literal["first", "last", "mean", "sentences", "average_query"]
    image_pool: Literal["mean", "first", "projected", "attention", "average_query"]
    regions: int = Field(default=0, ge=0)
    prototypes: int = Field(default=0, ge=0)
    image_head: list[HeadLayer]
    text_head: list[HeadLayer]

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.image_pool == "attention") != (self.regions > 0):
            raise ValueError("`regions` belongs to the image pool `attention`")
        if (self.pool == "sentences") != (self.prototypes > 0):
            raise ValueError("`prototypes` belongs to the pool `sentences`")
        return self


class ClipText(nn.Module):
    """Text transformer of CLIP: features [B, L, D] behind the last norm."""

    def __init__(self, config: TextEncoderConfig) -> None:
        from transformers import CLIPTextConfig, CLIPTextModel

        super().__init__()
        self.vocab_size = config.vocab_size
        self.width = config.width
        self.network = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=config.vocab_size,
                hidden_size=config.width,
                intermediate_size=4 * config.width,
                num_hidden_layers=config.layers,
                num_attention_heads=config.heads,
                max_position_embeddings=config.max_tokens,
                hidden_act="quick_gelu",
            )
        )

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Return token features [B, L, D] of `ids` [B, L] with `mask` [B, L] true at real tokens."""
        # CLIP has no padding token: its number lies behind the vocabulary. No token looks ahead to it.
        known = ids.clamp(max=self.vocab_size - 1)
        features: Tensor = self.network(input_ids=known, attention_mask=mask.long()).last_hidden_state
        return features


class ImportedPair(Method):
    """Both encoders of a release; nothing is trained.

    A report is read in one pass, as a prompt is. There are no local similarities: releases define them
    differently, or on maps that the image encoder does not return.
    """

    name: ClassVar[str] = "imported"

    def __init__(self, settings: PairSettings, image: ImageEncoderConfig, text: TextEncoderConfig) -> None:
        super().__init__()
        self.settings = settings
        self.stages: list[Stage] = []
        self.image_encoder = ImageEncoder(image)
        self.text_encoder = ClipText(text) if settings.tower == "clip" else TextEncoder(text)
        self.image_head, self.text_head = _head(settings.image_head), _head(settings.text_head)
        if settings.image_pool == "attention":
            width = self.image_encoder.last_channels
            self.image_pool: nn.Module = AttentionPool(width, POOL_HEADS, settings.regions)
        if settings.image_pool == "average_query":
            self.image_pool = AverageQueryPool(self.image_encoder.last_channels, POOL_HEADS)
        if settings.pool == "average_query":
            self.sentence_pool: nn.Module = AverageQueryPool(self.text_encoder.width, POOL_HEADS)
        if settings.pool == "sentences":
            width = settings.text_head[-1].outputs
            self.prototypes = nn.Parameter(torch.zeros(settings.prototypes, width))
            self.sentence_pool = AttentionPool(width, POOL_HEADS)

    def encode_images(self, images: Tensor) -> ImageFeatures:
        """Pool and project the last features; regions are projected likewise where that is the release's."""
        positions, prefix, grid = self._positions(images)
        regions = positions[:, prefix:]
        if self.settings.image_pool == "attention":
            return ImageFeatures(self.image_head(self.image_pool(regions)), regions, grid)
        if self.settings.image_pool == "average_query":
            every = torch.ones(regions.shape[:2], dtype=torch.bool, device=regions.device)
            return ImageFeatures(self.image_head(self.image_pool(regions, every)[0]), regions, grid)
        local = self.image_head(regions.flatten(0, 1)).unflatten(0, regions.shape[:2])
        if self.settings.image_pool == "projected":
            return ImageFeatures(local.mean(dim=1), local, grid)
        pooled = positions[:, 0] if self.settings.image_pool == "first" else regions.mean(dim=1)
        return ImageFeatures(self.image_head(pooled), local, grid)

    def encode_reports(self, tokens: ReportTokens) -> ReportFeatures:
        """Pool and project the tokens of each report."""
        features = self._tokens(tokens)
        projected = self.text_head(features.flatten(0, 1)).unflatten(0, features.shape[:2])
        sentences, mask = sentence_means(projected, tokens.sentence, tokens.n_sentences)
        if self.settings.pool == "sentences":
            mixed = mix_prototypes(
                prototype_logits(sentences, self.prototypes), self.prototypes, BANK_TEMPERATURE, noise=False
            )
            sentences = mixed.masked_fill(~mask.unsqueeze(2), 0.0)
            global_ = self.sentence_pool(sentences, mask)
        elif self.settings.pool == "average_query":
            maxima, _ = sentence_maxima(features, tokens.sentence, tokens.n_sentences)
            global_ = self.text_head(self.sentence_pool(maxima, mask)[0])
        else:
            global_ = self.text_head(self._pooled(features, tokens.mask))
        return ReportFeatures(global_, sentences, mask, projected, tokens.mask)

    def losses(self, batch: Batch, stage: Stage) -> dict[str, Tensor]:
        """Return no terms."""
        return {}

    def scores(self, images: ImageFeatures, reports: ReportFeatures) -> dict[str, Tensor]:
        """Return the cosine of the global embeddings."""
        u = F.normalize(images.global_.float(), dim=-1)
        return {"global": u @ F.normalize(reports.global_.float(), dim=-1).T}

    def heat_maps(self, images: ImageFeatures, reports: ReportFeatures) -> Tensor | None:
        """Return the cosine of each region with the phrase; None where no mean of regions met the texts."""
        if self.settings.image_pool in ("first", "attention", "average_query"):
            return None
        return super().heat_maps(images, reports)

    def _positions(self, images: Tensor) -> tuple[Tensor, int, tuple[int, int]]:
        """Return all positions [B, N, C] of the last features, how many are no regions, and the grid."""
        config = self.image_encoder.config
        normalised = (images - config.mean) / config.std
        if config.in_channels > 1:
            normalised = normalised.expand(-1, config.in_channels, -1, -1)
        # Any: timm's networks have methods that torch's Module does not declare.
        network: Any = self.image_encoder.network
        features: Tensor = network.forward_features(normalised)
        if features.ndim == 3:
            prefix = int(network.num_prefix_tokens)
            side = round((features.shape[1] - prefix) ** 0.5)
            return features, prefix, (side, side)
        if getattr(network, "output_fmt", "NCHW") == "NHWC":
            features = features.permute(0, 3, 1, 2)
        height, width = features.shape[2:]
        return features.flatten(2).transpose(1, 2), 0, (height, width)

    def _tokens(self, tokens: ReportTokens) -> Tensor:
        """Return token features [B, L, D]: the last layer's, or the mean of several layers'."""
        chosen = self.settings.hidden_states
        if chosen == [-1]:
            last: Tensor = self.text_encoder(tokens.ids, tokens.mask)
            return last
        found = self.text_encoder.network(
            input_ids=tokens.ids, attention_mask=tokens.mask.long(), output_hidden_states=True
        ).hidden_states
        return torch.stack([found[layer] for layer in chosen]).mean(dim=0)

    def _pooled(self, features: Tensor, mask: Tensor) -> Tensor:
        if self.settings.pool == "first":
            return features[:, 0]
        if self.settings.pool == "last":
            return features[torch.arange(len(features), device=mask.device), mask.sum(dim=1) - 1]
        real = mask.unsqueeze(2)
        return features.masked_fill(~real, 0.0).sum(dim=1) / real.sum(dim=1)


def _head(layers: list[HeadLayer]) -> nn.Sequential:
    return nn.Sequential(*map(_layer, layers))


def _layer(layer: HeadLayer) -> nn.Module:
    if layer.kind == "linear":
        return nn.Linear(layer.inputs, layer.outputs, bias=layer.weights)
    if layer.kind == "batch_norm":
        return nn.BatchNorm1d(layer.inputs, affine=layer.weights)
    if layer.kind == "layer_norm":
        return nn.LayerNorm(layer.inputs, eps=EPSILON, elementwise_affine=layer.weights)
    return nn.ReLU() if layer.kind == "relu" else nn.GELU()
