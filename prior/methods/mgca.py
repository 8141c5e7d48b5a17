"""MGCA: multi-granularity cross-modal alignment (Wang et al., arXiv 2210.06044).

Three alignments: of images and reports (instance), of regions and tokens inside a pair (token), and of the
prototypes that images and reports are assigned to (prototype). Facts: papers.md 4.3 and 8, protocols.md 4.3.
"""

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
from prior.methods.class_attention import encode_with_class_attention
from prior.methods.parsing import parse_settings
from prior.methods.present import mean_of_real
from prior.methods.projection import Projection
from prior.methods.sentences import repeat_per_sentence
from prior.objectives.contrastive import symmetric_info_nce
from prior.objectives.swapped_prototypes import swapped_prototype_loss
from prior.objectives.token_alignment import clipped_weights, token_alignment


class MgcaSettings(BaseModel):
    """Settings of MGCA; the defaults train from scratch in minutes, the paper's values are in brackets.

    Attributes:
        dim: width of the shared space [128].
        hidden: width of the projections' hidden layer [2048].
        standardise: centre and scale the channels of the last map over the batch before every projection;
            training from scratch needs it [false].
        temperature: divisor of the global cosine, not learned [0.07].
        token_temperature: divisor of the similarities of regions and tokens [0.1].
        clip: share of a report's tokens whose weight is clipped at either end [0.1].
        prototypes: number of prototypes [500].
        prototype_temperature: of the predicted assignments [0.2].
        sinkhorn_epsilon: entropy weight of the assignments [0.05].
        sinkhorn_iterations: of the assignments [3].
        frozen_epochs: epochs at the start of the training that leave the prototypes as they are [1 of 50].
        instance_weight: weight of the alignment of images and reports [1].
        token_weight: weight of the alignment of regions and tokens [1].
        prototype_weight: weight of the alignment of prototypes [1].
        learning_rate: peak [2e-5, with pre-trained encoders].
        warmup_epochs: linear warm-up from zero, as a share of the training [0.4].
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    dim: int = Field(default=128, gt=0)
    hidden: int = Field(default=256, gt=0)
    standardise: bool = True
    temperature: float = Field(default=0.07, gt=0)
    token_temperature: float = Field(default=0.1, gt=0)
    clip: float = Field(default=0.1, ge=0, le=0.5)
    prototypes: int = Field(default=500, ge=1)
    prototype_temperature: float = Field(default=0.2, gt=0)
    sinkhorn_epsilon: float = Field(default=0.05, gt=0)
    sinkhorn_iterations: int = Field(default=3, ge=1)
    frozen_epochs: int = Field(default=1, ge=0)
    instance_weight: float = Field(default=1.0, ge=0)
    token_weight: float = Field(default=1.0, ge=0)
    prototype_weight: float = Field(default=1.0, ge=0)
    learning_rate: float = Field(default=1e-3, gt=0)
    warmup_epochs: float = Field(default=0.2, ge=0, le=1)


class Mgca(Method):
    """Mean-pooled images, class token of the report, batch-normalised projections, a bank of prototypes.

    The tokens of a report are those of its sentences: special tokens have no features. A report without
    sentences stays out of every term and its features are zero. A batch of one has no negatives, so its
    instance term is zero, and its prototype codes are uniform.

    Args:
        settings: sizes, temperatures, weights and schedule.
        image: image encoder.
        text: text encoder.
    """

    def __init__(self, settings: MgcaSettings, image: ImageEncoderConfig, text: TextEncoderConfig) -> None:
        super().__init__()
        self.settings = settings
        self.image_encoder = ImageEncoder(image)
        self.text_encoder = TextEncoder(text)
        channels, width = self.image_encoder.last_channels, self.text_encoder.width
        sizes = (settings.hidden, settings.dim, True)
        self.standardise = nn.BatchNorm2d(channels, affine=False) if settings.standardise else nn.Identity()
        self.image_projection = Projection(channels, *sizes)
        self.region_projection = Projection(channels, *sizes)
        self.report_projection = Projection(width, *sizes)
        self.token_projection = Projection(width, *sizes)
        self.prototypes = nn.Parameter(F.normalize(torch.randn(settings.prototypes, settings.dim), dim=-1))
        self.stages = [
            Stage(
                name="alignment",
                epochs=1.0,
                learning_rate=settings.learning_rate,
                warmup_epochs=settings.warmup_epochs,
                terms={
                    "instance": settings.instance_weight,
                    "token": settings.token_weight,
                    "prototype": settings.prototype_weight,
                },
            )
        ]

    def encode_images(self, images: Tensor) -> ImageFeatures:
        """Project the pooled map and each of its positions."""
        last = self.standardise(self.image_encoder(images)[-1].float())
        return ImageFeatures(
            global_=self.image_projection(last.mean(dim=(2, 3))),
            local=self.region_projection(last.flatten(2).transpose(1, 2)),
            grid=(last.shape[2], last.shape[3]),
        )

    def encode_reports(self, tokens: ReportTokens) -> ReportFeatures:
        """Project the class token and the sentences' tokens; a sentence is the mean of its tokens."""
        return self._encode_reports(tokens)[0]

    def losses(self, batch: Batch, stage: Stage) -> dict[str, Tensor]:
        """Return the terms `instance`, `token` and `prototype`."""
        images = self.encode_images(batch.images)
        reports, attention = self._encode_reports(batch)
        present = reports.token_mask.any(dim=1)
        losses = self._global_terms(images.global_[present], reports.global_[present])
        losses["token"] = self._token_term(images, reports, attention)
        return {name: weight * losses[name] for name, weight in stage.terms.items()}

    def scores(self, images: ImageFeatures, reports: ReportFeatures) -> dict[str, Tensor]:
        """Return the cosine of the global embeddings; zero for a report without sentences."""
        u = F.normalize(images.global_.float(), dim=-1)
        return {"global": u @ F.normalize(reports.global_.float(), dim=-1).T}

    def heat_maps(self, images: ImageFeatures, reports: ReportFeatures) -> Tensor:
        """Return the attention of the phrase's tokens over the regions, averaged over tokens, [B, R]."""
        tokens = F.normalize(reports.tokens.float(), dim=-1)
        regions = F.normalize(images.local.float(), dim=-1)
        affinity = tokens @ regions.transpose(1, 2) / self.settings.token_temperature
        return mean_of_real(affinity.softmax(dim=2), reports.token_mask)

    def prototype_logits(self, tokens: ReportTokens) -> Tensor:
        """Return the logits of the predicted assignments, each sentence being read as a report of its own."""
        rows, counts = repeat_per_sentence(tokens)
        reports = F.normalize(self.encode_reports(rows).global_.float(), dim=-1)
        found = reports @ F.normalize(self.prototypes.float(), dim=-1).T / self.settings.prototype_temperature
        slots = torch.arange(int(counts.max()), device=counts.device) < counts.unsqueeze(1)
        logits = found.new_zeros(*slots.shape, found.shape[1])
        logits[slots] = found
        return logits

    def _encode_reports(self, tokens: ReportTokens) -> tuple[ReportFeatures, Tensor]:
        """Return features and the class token's attention [B, L] to each token."""
        features, attention = encode_with_class_attention(self.text_encoder, tokens.ids, tokens.mask)
        words = tokens.mask & (tokens.sentence >= 0)
        projected = self.token_projection(features, words)
        sentences, mask = sentence_means(projected, tokens.sentence, tokens.n_sentences)
        reports = ReportFeatures(
            global_=self.report_projection(features[:, 0], words.any(dim=1)),
            sentences=sentences,
            mask=mask,
            tokens=projected,
            token_mask=words,
        )
        return reports, attention

    def _global_terms(self, images: Tensor, reports: Tensor) -> dict[str, Tensor]:
        settings = self.settings
        frozen = self.training and self.epoch < settings.frozen_epochs
        return {
            "instance": symmetric_info_nce(images, reports, 1 / settings.temperature, 1.0, 1.0),
            "prototype": swapped_prototype_loss(
                images,
                reports,
                self.prototypes.detach() if frozen else self.prototypes,
                settings.prototype_temperature,
                settings.sinkhorn_epsilon,
                settings.sinkhorn_iterations,
            ),
        }

    def _token_term(self, images: ImageFeatures, reports: ReportFeatures, attention: Tensor) -> Tensor:
        temperature, words = self.settings.token_temperature, reports.token_mask
        regions = torch.ones(images.local.shape[:2], dtype=torch.bool, device=words.device)
        # A convolutional encoder has no class token whose attention could weigh the regions; that of a ViT,
        # which the release takes, is not read.
        equal = regions.float() / regions.shape[1]
        weights = clipped_weights(attention, words, self.settings.clip)
        of_regions = token_alignment(images.local, reports.tokens, regions, words, equal, temperature)
        of_tokens = token_alignment(reports.tokens, images.local, words, regions, weights, temperature)
        return of_regions + of_tokens


def build(settings: Mapping[str, Any], image: ImageEncoderConfig, text: TextEncoderConfig) -> Method:
    """Build MGCA from `MgcaSettings` fields.

    Raises:
        InputError: a setting is unknown or out of range.
    """
    return Mgca(parse_settings(MgcaSettings, settings, "mgca"), image, text)
