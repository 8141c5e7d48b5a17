"""AGA: adaptive grouping of patches by words and of words by patches (arXiv 2507.23402).

No code and no formula of the paper could be read. This is the variant `reconstructed`, from its summary
(papers.md 4.5) and its ancestor SPARC (arXiv 2401.09865). One stage of

    global + token_groups + region_groups + group_contrast:

- global: symmetric InfoNCE of image and report;
- token_groups (IGA of words): every word collects the patches that pass its learnt threshold, and finds its
  group among the groups of the other words of its report;
- region_groups (IGA of patches): the same with the roles swapped and a gate of its own;
- group_contrast (BCGA): symmetric InfoNCE over the batch between the mean visual group and the mean language
  group of each pair.

Choices where the sources are silent: words, patches and groups are compared by their cosine, and groups are
means of unit vectors; the words are all tokens but the special ones; a gate is a two-layer MLP whose last
layer starts at zero, hence at the threshold 0.5; the best match always belongs to the group; words with equal
ids share the target equally; both directions of a contrast are averaged; the two batch contrasts have a
learnt temperature each, not clamped; in them, identical reports are not positives of each other.
"""

from collections.abc import Mapping
from typing import Any, Literal

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
from prior.methods.pooling import linear
from prior.methods.present import contrast_present, mean_of_real
from prior.objectives.adaptive_groups import collect_groups, group_alignment, group_weights

_BLOCK_ENTRIES = 1 << 24


class AgaSettings(BaseModel):
    """Settings of AGA, sized for a laptop; the paper's values are not known.

    Attributes:
        variant: `reconstructed`.
        width: width of all projected features.
        standardise: centre and scale the channels of the last map over the batch before every projection;
            training from scratch needs it.
        temperature: initial temperature of both batch contrasts, each learnt on its own, not clamped.
        group_temperature: temperature of the contrasts inside a pair, not learnt.
        gate_temperature: width of the gates' gradient.
        learning_rate: peak.
        warmup_epochs: linear warm-up from zero.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    variant: Literal["reconstructed"] = "reconstructed"
    width: int = Field(128, ge=1)
    standardise: bool = True
    temperature: float = Field(0.07, gt=0)
    group_temperature: float = Field(0.07, gt=0)
    gate_temperature: float = Field(0.05, gt=0)
    learning_rate: float = Field(1e-3, gt=0)
    warmup_epochs: float = Field(0.2, ge=0)


class Aga(Method):
    """AGA as reconstructed; `losses` gives the terms listed at the head of this file.

    Reports without sentences have no words and stay out of every term. A batch of one has no negatives: its
    batch contrasts are zero.
    """

    def __init__(self, settings: AgaSettings, image: ImageEncoderConfig, text: TextEncoderConfig) -> None:
        super().__init__()
        width = settings.width
        self.settings = settings
        self.image_encoder = ImageEncoder(image)
        self.text_encoder = TextEncoder(text)
        channels = self.image_encoder.last_channels
        self.standardise = nn.BatchNorm2d(channels, affine=False) if settings.standardise else nn.Identity()
        self.global_projection = linear(channels, width)
        self.region_projection = linear(channels, width)
        self.token_projection = linear(self.text_encoder.width, width)
        self.report_projection = linear(width, width)
        self.token_gate, self.region_gate = _gate(width), _gate(width)
        self.log_scale = nn.Parameter(-torch.tensor(settings.temperature).log())
        self.group_log_scale = nn.Parameter(-torch.tensor(settings.temperature).log())
        terms = ("global", "token_groups", "region_groups", "group_contrast")
        self.stages = [
            Stage(
                name="grouping",
                epochs=1.0,
                learning_rate=settings.learning_rate,
                warmup_epochs=settings.warmup_epochs,
                terms=dict.fromkeys(terms, 1.0),
            )
        ]

    def encode_images(self, images: Tensor) -> ImageFeatures:
        """Project the mean of the last map and each of its positions."""
        last = self.standardise(self.image_encoder(images)[-1].float())
        return ImageFeatures(
            global_=self.global_projection(last.mean(dim=(2, 3))),
            local=self.region_projection(last.flatten(2).transpose(1, 2)),
            grid=(last.shape[2], last.shape[3]),
        )

    def encode_reports(self, tokens: ReportTokens) -> ReportFeatures:
        """Encode token ids; `token_mask` leaves out the special tokens, which no group may hold."""
        features = self.token_projection(self.text_encoder(tokens.ids, tokens.mask)).float()
        sentences, mask = sentence_means(features, tokens.sentence, tokens.n_sentences)
        return ReportFeatures(
            global_=self.report_projection(mean_of_real(features, tokens.mask)),
            sentences=sentences,
            mask=mask,
            tokens=features,
            token_mask=tokens.mask & (tokens.sentence >= 0),
        )

    def losses(self, batch: Batch, stage: Stage) -> dict[str, Tensor]:
        """Return `global`, `token_groups`, `region_groups` and `group_contrast`, weighted."""
        images, reports = self.encode_images(batch.images), self.encode_reports(batch)
        regions, tokens, words = images.local, reports.tokens, reports.token_mask
        present = words.any(dim=1)
        real = present.unsqueeze(1).expand(regions.shape[:2])
        width, temperature = self.settings.gate_temperature, self.settings.group_temperature
        visual = collect_groups(tokens, regions, self._thresholds(self.token_gate, tokens), None, width)
        language = collect_groups(regions, tokens, self._thresholds(self.region_gate, regions), words, width)
        scale, group_scale = self.log_scale.exp(), self.group_log_scale.exp()
        mean_visual, mean_language = mean_of_real(visual, words), mean_of_real(language, real)
        losses = {
            "global": contrast_present(images.global_, reports.global_, present, scale),
            "token_groups": group_alignment(tokens, visual, words, temperature, batch.ids),
            "region_groups": group_alignment(regions, language, real, temperature),
            "group_contrast": contrast_present(mean_visual, mean_language, present, group_scale),
        }
        return {name: weight * losses[name] for name, weight in stage.terms.items()}

    def scores(self, images: ImageFeatures, reports: ReportFeatures) -> dict[str, Tensor]:
        """Return `global`, cosine of image and report, and `local`, how similar words are to their groups.

        `local` is the mean over a report's words of the weighted mean cosine with the patches that the word
        collects from the image; zero for a report without words.
        """
        u, v = F.normalize(images.global_.float(), dim=-1), F.normalize(reports.global_.float(), dim=-1)
        regions = F.normalize(images.local.float(), dim=-1)
        tokens, words = F.normalize(reports.tokens.float(), dim=-1), reports.token_mask
        thresholds = self._thresholds(self.token_gate, reports.tokens)
        share = words / words.sum(dim=1, keepdim=True).clamp(min=1)
        # All images against all reports would not fit the memory of a large test set.
        block = max(1, _BLOCK_ENTRIES // (regions.shape[1] * words.numel()))
        rows = []
        for part in torch.split(regions, block):
            similarity = torch.einsum("tld,ird->itlr", tokens, part)
            rows.append(((group_weights(similarity, thresholds) * similarity).sum(dim=3) * share).sum(dim=2))
        return {"global": u @ v.T, "local": torch.cat(rows)}

    def heat_maps(self, images: ImageFeatures, reports: ReportFeatures) -> Tensor:
        """Return the weights with which the phrase's words collect the regions, averaged, [B, R]."""
        regions = F.normalize(images.local.float(), dim=-1)
        tokens = F.normalize(reports.tokens.float(), dim=-1)
        thresholds = self._thresholds(self.token_gate, reports.tokens)
        weights = group_weights(tokens @ regions.transpose(1, 2), thresholds)
        return mean_of_real(weights, reports.token_mask)

    @staticmethod
    def _thresholds(gate: nn.Module, features: Tensor) -> Tensor:
        logits: Tensor = gate(features)
        return torch.sigmoid(logits.float()).squeeze(-1)


def _gate(width: int) -> nn.Sequential:
    last = nn.Linear(width, 1)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(nn.Linear(width, width), nn.ReLU(), last)


def build(settings: Mapping[str, Any], image: ImageEncoderConfig, text: TextEncoderConfig) -> Method:
    """Build AGA from `AgaSettings` fields.

    Raises:
        InputError: a setting is unknown or out of range.
    """
    return Aga(parse_settings(AgaSettings, settings, "aga"), image, text)
