"""MIRROR, adapted from slides and transcriptomics to images and reports (Wang et al., arXiv 2503.00374).

Alignment of both modalities, and beside it retention of what only one of them knows:

.5 contrast + .15 image_retention + .15 report_retention + .1 image_style + .1 report_style + .1 cluster

- contrast: symmetric InfoNCE of the projected means of regions and words, normalised after the projection;
- retention: most regions (words) are hidden behind the encoder and predicted from the others by one
  transformer block, mean squared error against the encoder's own, detached tokens;
- style: divergence of a Gaussian code from the standard normal; one perceptron for both modalities;
- cluster: symmetric divergence between both modalities' assignments to prototypes of the decoded code.

Formulas from the paper and a reading of its public code, which differ (target not detached, normalisation
before the projection); the variant `adapted` follows the paper.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
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
from prior.methods.mirror_settings import MirrorSettings
from prior.methods.parsing import parse_settings
from prior.methods.pooling import linear
from prior.methods.style_clusters import StyleClusters
from prior.methods.token_decoder import TokenDecoder
from prior.objectives.contrastive import symmetric_info_nce
from prior.objectives.retention import hide_tokens, retention_loss
from prior.objectives.style import assignment_entropy, cluster_divergence, style_divergence


class Mirror(Method):
    """MIRROR; `losses` gives the terms listed at the head of this file.

    A report is the set of its words: special tokens are read by the encoder and shown to the decoder, but
    neither hidden nor pooled. A report without words stays out of all terms but the image's own two. A batch
    of one has no negatives: its contrast is zero.
    """

    def __init__(self, settings: MirrorSettings, image: ImageEncoderConfig, text: TextEncoderConfig) -> None:
        super().__init__()
        self.settings = settings
        self.image_encoder = ImageEncoder(image)
        self.text_encoder = TextEncoder(text)
        width, channels, text_width = (
            settings.width,
            self.image_encoder.last_channels,
            self.text_encoder.width,
        )
        # From scratch, all images start with nearly the same features; centring them lets the contrast begin.
        self.standardise = nn.BatchNorm2d(channels, affine=False) if settings.standardise else nn.Identity()
        side = -(-image.input_size // self.image_encoder.strides[-1])
        self.image_projection = linear(channels, width)
        self.report_projection = linear(text_width, width)
        self.image_decoder = TokenDecoder(channels, width, settings.heads, positions=side * side)
        self.report_decoder = TokenDecoder(text_width, width, settings.heads, positions=text.max_tokens)
        self.image_style = linear(channels, width)
        self.report_style = linear(text_width, width)
        self.style = StyleClusters(width, settings.prototypes)
        self.log_scale = nn.Parameter(torch.tensor(-math.log(settings.temperature)))
        self.stages = [
            Stage(
                name="mirror",
                epochs=1.0,
                learning_rate=settings.learning_rate,
                warmup_epochs=settings.warmup_epochs,
                terms=settings.terms(),
            )
        ]

    def encode_images(self, images: Tensor) -> ImageFeatures:
        """Project the mean region and every region."""
        regions, grid = self._regions(images)
        return ImageFeatures(self.image_projection(regions.mean(dim=1)), self.image_projection(regions), grid)

    def encode_reports(self, tokens: ReportTokens) -> ReportFeatures:
        """Project the mean word, the mean word of every sentence, and every token."""
        features, words = self._words(tokens)
        sentences, mask = sentence_means(features, tokens.sentence, tokens.n_sentences)
        return ReportFeatures(
            global_=self.report_projection(_mean(features, words)),
            sentences=self.report_projection(sentences).masked_fill(~mask.unsqueeze(2), 0.0),
            mask=mask,
            tokens=self.report_projection(features),
            token_mask=tokens.mask,
        )

    def losses(self, batch: Batch, stage: Stage) -> dict[str, Tensor]:
        """Return the weighted terms; see the head of this file.

        Watched is the entropy in nats of both assignments: near log(prototypes) they are uniform, and a small
        `cluster` term means nothing.
        """
        regions, _ = self._regions(batch.images)
        features, words = self._words(batch)
        every, present = words.new_ones(regions.shape[:2]), words.any(dim=1)
        hidden_regions = hide_tokens(every, self.settings.hidden_ratio)
        hidden_words = hide_tokens(words, self.settings.hidden_ratio)
        image, report = regions.mean(dim=1), _mean(features, words)
        image_style = self.style(self.image_style(image))
        report_style = self.style(self.report_style(report))
        self.watched = {
            "image_entropy": assignment_entropy(image_style.logits, every[:, 0]),
            "report_entropy": assignment_entropy(report_style.logits, present),
        }
        losses = {
            "contrast": self._contrast(image[present], report[present]),
            "image_retention": retention_loss(
                self.image_decoder(regions, every, hidden_regions), regions, hidden_regions
            ),
            "report_retention": retention_loss(
                self.report_decoder(features, batch.mask, hidden_words), features, hidden_words
            ),
            "image_style": style_divergence(image_style.mean, image_style.log_variance, every[:, 0]),
            "report_style": style_divergence(report_style.mean, report_style.log_variance, present),
            "cluster": cluster_divergence(image_style.logits, report_style.logits, present),
        }
        return {name: weight * losses[name] for name, weight in stage.terms.items()}

    def scores(self, images: ImageFeatures, reports: ReportFeatures) -> dict[str, Tensor]:
        """Return the cosine of the global embeddings."""
        u = F.normalize(images.global_.float(), dim=-1)
        return {"global": u @ F.normalize(reports.global_.float(), dim=-1).T}

    def _regions(self, images: Tensor) -> tuple[Tensor, tuple[int, int]]:
        last = self.standardise(self.image_encoder(images)[-1].float())
        return last.flatten(2).transpose(1, 2), (last.shape[2], last.shape[3])

    def _words(self, tokens: ReportTokens) -> tuple[Tensor, Tensor]:
        return self.text_encoder(tokens.ids, tokens.mask), tokens.sentence >= 0

    def _contrast(self, image: Tensor, report: Tensor) -> Tensor:
        left, right = self.image_projection(image), self.report_projection(report)
        return symmetric_info_nce(left, right, self.log_scale.exp())


def _mean(features: Tensor, mask: Tensor) -> Tensor:
    """Average [B, L, D] over the true entries of mask [B, L]; zero where there are none."""
    total = features.masked_fill(~mask.unsqueeze(2), 0.0).sum(dim=1)
    return total / mask.sum(dim=1, keepdim=True).clamp(min=1)


def build(settings: Mapping[str, Any], image: ImageEncoderConfig, text: TextEncoderConfig) -> Method:
    """Build MIRROR from `MirrorSettings` fields.

    Raises:
        InputError: a setting is unknown or out of range.
    """
    return Mirror(parse_settings(MirrorSettings, settings, "mirror"), image, text)
