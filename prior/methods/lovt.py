"""LoVT: localised representations from image-report pairs (Müller et al., arXiv 2112.02889).

A global contrast of images and reports, and local contrasts inside each pair: regions against the text they
read, sentences against the image they read, both directions of both. Facts: papers.md 3.1 and 8.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional as F

from prior.encoders.image import ImageEncoder, ImageEncoderConfig
from prior.encoders.text import TextEncoder, TextEncoderConfig
from prior.errors import InputError
from prior.methods.base import Batch, ImageFeatures, Method, ReportFeatures, ReportTokens, Stage
from prior.methods.lovt_layers import AverageQueryPool, SharedCrossAttention, sentence_maxima
from prior.methods.parsing import parse_settings
from prior.methods.present import mean_of_real
from prior.methods.projection import Projection
from prior.methods.statistics import keep_running_statistics
from prior.objectives.contrastive import info_nce
from prior.objectives.local_contrast import local_contrast, spatial_positives


class LovtSettings(BaseModel):
    """Settings of LoVT; the defaults train from scratch in minutes, the paper's values are in brackets.

    Attributes:
        parts: what is trained, for ablations. Without `global` the pools would not learn: every item then
            weighs the same, and an image and a report are the means of their projected items.
        dim: width of the shared space [512].
        hidden: width of the projections' hidden layer [2048].
        heads: of the global pools [8]; must divide the last map's channels and the text encoder's width.
        standardise: centre and scale the channels of the last map over the batch before every projection;
            training from scratch needs it [false].
        temperature: divisor of the global cosine, not learned [0.1].
        local_temperature: divisor of the local cosines, not learned [0.3].
        image_weight: weight of image to report; report to image has the rest [0.75].
        local_weight: weight of each of the four local terms [0.375].
        positive_radius: largest distance of a region's positives, in diagonals of the grid [0.5].
        positive_decay: how fast their weight falls, per diagonal [1].
        learning_rate: peak [1e-4, with pre-trained encoders].
        warmup_epochs: linear warm-up from zero, as a share of the training [0].
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    parts: tuple[Literal["global", "local_image", "local_text"], ...] = Field(
        default=("global", "local_image", "local_text"), min_length=1
    )
    dim: int = Field(default=128, gt=0)
    hidden: int = Field(default=256, gt=0)
    heads: int = Field(default=8, ge=1)
    standardise: bool = True
    temperature: float = Field(default=0.1, gt=0)
    local_temperature: float = Field(default=0.3, gt=0)
    image_weight: float = Field(default=0.75, ge=0, le=1)
    local_weight: float = Field(default=0.375, ge=0)
    positive_radius: float = Field(default=0.5, ge=0)
    positive_decay: float = Field(default=1.0, ge=0)
    learning_rate: float = Field(default=1e-3, gt=0)
    warmup_epochs: float = Field(default=0.2, ge=0, le=1)

    def terms(self) -> dict[str, float]:
        """Return the weight of every term that is on."""
        terms: dict[str, float] = {}
        if "global" in self.parts:
            terms |= {"image_to_report": self.image_weight, "report_to_image": 1 - self.image_weight}
        if "local_image" in self.parts:
            terms |= dict.fromkeys(("region_to_context", "context_to_region"), self.local_weight)
        if "local_text" in self.parts:
            terms |= dict.fromkeys(("sentence_to_context", "context_to_sentence"), self.local_weight)
        return terms


class Lovt(Method):
    """Attention-pooled images and reports, max-pooled sentences, shared cross attention.

    A report without sentences stays out of every term and its features are zero. A sentence alone in its
    report has no negative and adds zero; so does a batch of one to the global terms.

    Args:
        settings: sizes, temperatures, weights and schedule.
        image: image encoder.
        text: text encoder.

    Raises:
        InputError: `heads` does not divide the channels of the last map or the text encoder's width.
    """

    def __init__(self, settings: LovtSettings, image: ImageEncoderConfig, text: TextEncoderConfig) -> None:
        super().__init__()
        self.settings = settings
        self.image_encoder = ImageEncoder(image)
        self.text_encoder = TextEncoder(text)
        channels, width = self.image_encoder.last_channels, self.text_encoder.width
        if channels % settings.heads or width % settings.heads:
            raise InputError(
                f"settings of method lovt: heads: {settings.heads} does not divide both the image encoder's "
                f"{channels} channels and the text encoder's width {width}; choose heads that do"
            )
        self.standardise = nn.BatchNorm2d(channels, affine=False) if settings.standardise else nn.Identity()
        self.whole, self.local = "global" in settings.parts, set(settings.parts) != {"global"}
        if self.whole:
            self.image_pool = AverageQueryPool(channels, settings.heads)
            self.report_pool = AverageQueryPool(width, settings.heads)
            self.image_projection = Projection(channels, settings.hidden, settings.dim)
        if self.local:
            self.region_projection = Projection(channels, settings.hidden, settings.dim)
        if self.whole:
            self.report_projection = Projection(width, settings.hidden, settings.dim)
        if self.local:
            self.sentence_projection = Projection(width, settings.hidden, settings.dim)
            self.cross_attention = SharedCrossAttention(settings.dim)
        self.stages = [
            Stage(
                name="alignment",
                epochs=1.0,
                learning_rate=settings.learning_rate,
                warmup_epochs=settings.warmup_epochs,
                terms=settings.terms(),
            )
        ]

    def encode_images(self, images: Tensor) -> ImageFeatures:
        """Project the pooled map and, for the local parts, each of its positions."""
        return self._encode_images(images)[0]

    def encode_reports(self, tokens: ReportTokens) -> ReportFeatures:
        """Project the pooled report and, for the local parts, each sentence, and each token like one."""
        reports, _ = self._encode_tokens(tokens)
        if not self.local:
            return reports
        # Training never projects tokens; their statistics must not enter those of the sentences.
        with keep_running_statistics(self.sentence_projection):
            return replace(reports, tokens=self.sentence_projection(reports.tokens, tokens.mask))

    def losses(self, batch: Batch, stage: Stage) -> dict[str, Tensor]:
        """Return the two global and four local terms; a `context` is what an item reads on the other side."""
        images, image_weights = self._encode_images(batch.images)
        reports, report_weights = self._encode_tokens(batch)
        losses = self._global_terms(images, reports) if self.whole else {}
        if self.local:
            losses |= self._local_terms(images, image_weights, reports, report_weights)
        return {name: weight * losses[name] for name, weight in stage.terms.items()}

    def scores(self, images: ImageFeatures, reports: ReportFeatures) -> dict[str, Tensor]:
        """Return the cosine of the global embeddings; zero for a report without sentences."""
        u = F.normalize(images.global_.float(), dim=-1)
        return {"global": u @ F.normalize(reports.global_.float(), dim=-1).T}

    def heat_maps(self, images: ImageFeatures, reports: ReportFeatures) -> Tensor | None:
        """Return the cross attention of the phrase's sentences over the regions, [B, R].

        None without local terms.
        """
        if not self.local:
            return None
        return self.cross_attention.maps(images.local, reports.sentences, reports.mask)

    def _global_terms(self, images: ImageFeatures, reports: ReportFeatures) -> dict[str, Tensor]:
        present = reports.mask.any(dim=1)
        return {
            "image_to_report": self._contrast(images.global_, reports.global_, present),
            "report_to_image": self._contrast(reports.global_, images.global_, present),
        }

    def _local_terms(
        self, images: ImageFeatures, image_weights: Tensor, reports: ReportFeatures, report_weights: Tensor
    ) -> dict[str, Tensor]:
        """Return all four; `stage.terms` chooses among them."""
        contexts = self.cross_attention(images.local, reports.sentences, reports.mask)
        settings, device = self.settings, images.local.device
        near = spatial_positives(images.grid, settings.positive_radius, settings.positive_decay).to(device)
        same = torch.eye(reports.mask.shape[1], device=device)
        read = reports.mask.any(dim=1, keepdim=True).expand(image_weights.shape)
        region_side = (near, read, image_weights, settings.local_temperature)
        sentence_side = (same, reports.mask, report_weights, settings.local_temperature)
        return {
            "region_to_context": local_contrast(images.local, contexts.of_regions, *region_side),
            "context_to_region": local_contrast(contexts.of_regions, images.local, *region_side),
            "sentence_to_context": local_contrast(reports.sentences, contexts.of_sentences, *sentence_side),
            "context_to_sentence": local_contrast(contexts.of_sentences, reports.sentences, *sentence_side),
        }

    def _encode_images(self, images: Tensor) -> tuple[ImageFeatures, Tensor]:
        """Return features and the weights [B, R] of the regions in the global pool."""
        last = self.standardise(self.image_encoder(images)[-1].float())
        regions = last.flatten(2).transpose(1, 2)
        whole = torch.ones(regions.shape[:2], dtype=torch.bool, device=regions.device)
        local = self.region_projection(regions) if self.local else regions
        if self.whole:
            pooled, weights = self.image_pool(regions, whole)
            global_ = self.image_projection(pooled)
        else:
            global_, weights = mean_of_real(local, whole), _equal_weights(whole)
        return ImageFeatures(global_=global_, local=local, grid=(last.shape[2], last.shape[3])), weights

    def _encode_tokens(self, tokens: ReportTokens) -> tuple[ReportFeatures, Tensor]:
        """Return features, the tokens among them not projected, and the weights [B, S] of the sentences."""
        features = self.text_encoder(tokens.ids, tokens.mask)
        maxima, mask = sentence_maxima(features, tokens.sentence, tokens.n_sentences)
        sentences = self.sentence_projection(maxima, mask) if self.local else maxima
        if self.whole:
            pooled, weights = self.report_pool(maxima, mask)
            global_ = self.report_projection(pooled, mask.any(dim=1))
        else:
            global_, weights = mean_of_real(sentences, mask), _equal_weights(mask)
        reports = ReportFeatures(
            global_=global_, sentences=sentences, mask=mask, tokens=features, token_mask=tokens.mask
        )
        return reports, weights

    def _contrast(self, queries: Tensor, keys: Tensor, present: Tensor) -> Tensor:
        return info_nce(queries[present], keys[present], 1 / self.settings.temperature)


def _equal_weights(mask: Tensor) -> Tensor:
    return mask / mask.sum(dim=1, keepdim=True).clamp(min=1)


def build(settings: Mapping[str, Any], image: ImageEncoderConfig, text: TextEncoderConfig) -> Method:
    """Build LoVT from `LovtSettings` fields.

    Raises:
        InputError: a setting is unknown or out of range.
    """
    return Lovt(parse_settings(LovtSettings, settings, "lovt"), image, text)
