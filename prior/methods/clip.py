"""CLIP on whole reports: ConVIRT's encoders, contrast of Radford et al. (arXiv 2103.00020)."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field
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
from prior.methods.parsing import parse_settings
from prior.objectives.contrastive import info_nce

_LARGEST_LOG_SCALE = math.log(100)


class ClipSettings(BaseModel):
    """Settings of CLIP; the defaults train from scratch in minutes.

    In brackets: CLIP's own values, then those of the `CLIP*` row of LoVT's tables where its released
    configuration has others.

    Attributes:
        dim: width of the shared space [512].
        standardise: centre and scale the channels of the last map over the batch before every projection;
            training from scratch needs it [false].
        temperature: divisor of the cosine similarity, at the start where it is learned [0.07; 0.1].
        learn_temperature: train it, its inverse being kept at or below 100 [true; false].
        image_weight: weight of image to report; report to image has the rest [0.5; 0.75].
        learning_rate: peak [5e-4 at batches of 32,768; 1e-4 with pre-trained encoders].
        warmup_epochs: linear warm-up from zero [2,000 steps; none].
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    dim: int = Field(default=128, gt=0)
    standardise: bool = True
    temperature: float = Field(default=0.07, ge=0.01)
    learn_temperature: bool = True
    image_weight: float = Field(default=0.5, ge=0, le=1)
    learning_rate: float = Field(default=1e-3, gt=0)
    warmup_epochs: float = Field(default=0.2, ge=0)


class Clip(Method):
    """ResNet + BERT, max pooling over all tokens of the report, two-layer projections, InfoNCE both ways.

    It differs from ConVIRT in what it reads: the whole report in one pass, in training and afterwards. A
    report without sentences is read as its special tokens alone. LoVT's released `CLIP*` reads one random
    sentence, pools the image by attention and has batch norm in its projections.
    """

    def __init__(self, settings: ClipSettings, image: ImageEncoderConfig, text: TextEncoderConfig) -> None:
        super().__init__()
        self.settings = settings
        self.image_encoder = ImageEncoder(image)
        self.text_encoder = TextEncoder(text)
        channels = self.image_encoder.last_channels
        # From scratch, all images start with nearly the same features; centring them lets the contrast begin.
        self.standardise = nn.BatchNorm2d(channels, affine=False) if settings.standardise else nn.Identity()
        self.image_projection = _projection(channels, settings.dim)
        self.text_projection = _projection(self.text_encoder.width, settings.dim)
        log_scale = -torch.tensor(settings.temperature).log()
        self.log_scale = nn.Parameter(log_scale, requires_grad=settings.learn_temperature)
        weights = {"image_to_report": settings.image_weight, "report_to_image": 1 - settings.image_weight}
        self.stages = [
            Stage(
                name="contrast",
                epochs=1.0,
                learning_rate=settings.learning_rate,
                warmup_epochs=settings.warmup_epochs,
                terms=weights,
            )
        ]

    def encode_images(self, images: Tensor) -> ImageFeatures:
        """Project the pooled map and each of its positions."""
        last = self.standardise(self.image_encoder(images)[-1].float())
        local = self.image_projection(last.flatten(2).transpose(1, 2))
        height, width = last.shape[2:]
        return ImageFeatures(self.image_projection(last.mean(dim=(2, 3))), local, (height, width))

    def encode_reports(self, tokens: ReportTokens) -> ReportFeatures:
        """Embed every report in one pass; a sentence is the mean of its projected tokens."""
        features = self.text_encoder(tokens.ids, tokens.mask)
        words = self.text_projection(features)
        sentences, mask = sentence_means(words, tokens.sentence, tokens.n_sentences)
        return ReportFeatures(self._pool(features, tokens.mask), sentences, mask, words, tokens.mask)

    def losses(self, batch: Batch, stage: Stage) -> dict[str, Tensor]:
        """Contrast images with their reports; terms `image_to_report` and `report_to_image`."""
        last = self.standardise(self.image_encoder(batch.images)[-1].float())
        images = self.image_projection(last.mean(dim=(2, 3)))
        reports = self._pool(self.text_encoder(batch.ids, batch.mask), batch.mask)
        # Clamping the parameter, not its use, keeps a gradient that can lead it back.
        with torch.no_grad():
            self.log_scale.clamp_(max=_LARGEST_LOG_SCALE)
        scale = self.log_scale.exp()
        return {
            "image_to_report": stage.terms["image_to_report"] * info_nce(images, reports, scale),
            "report_to_image": stage.terms["report_to_image"] * info_nce(reports, images, scale),
        }

    def scores(self, images: ImageFeatures, reports: ReportFeatures) -> dict[str, Tensor]:
        """Return `global`, the cosine of the embeddings."""
        u = F.normalize(images.global_.float(), dim=-1)
        return {"global": u @ F.normalize(reports.global_.float(), dim=-1).T}

    def _pool(self, features: Tensor, mask: Tensor) -> Tensor:
        pooled: Tensor = features.masked_fill(~mask.unsqueeze(2), -torch.inf).amax(dim=1)
        return self.text_projection(pooled)


def _projection(width: int, dim: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, dim), nn.ReLU(), nn.Linear(dim, dim))


def build(settings: Mapping[str, Any], image: ImageEncoderConfig, text: TextEncoderConfig) -> Method:
    """Build CLIP from `ClipSettings` fields.

    Raises:
        InputError: a setting is unknown or out of range.
    """
    return Clip(parse_settings(ClipSettings, settings, "clip"), image, text)
