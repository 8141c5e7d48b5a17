"""GLoRIA: global contrast and word-region contrast (Huang et al., ICCV 2021; papers.md 4.2)."""

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
from prior.methods.present import mean_of_real
from prior.methods.sentences import pick_sentence, repeat_per_sentence
from prior.objectives.contrastive import symmetric_info_nce
from prior.objectives.gather import draw_rows
from prior.objectives.word_region import region_attention, word_region_loss, word_region_scores


class GloriaSettings(BaseModel):
    """Settings of GLoRIA; the defaults train from scratch in minutes, the paper's values are in brackets.

    Attributes:
        dim: width of the shared space [768].
        text: what is read of a report at each step: one random `sentence`, or the whole `report` [sentence].
        standardise: centre and scale the channels of the last map over the batch before every projection;
            training from scratch needs it [false].
        attention_temperature: tau1, of a word's attention over regions; not learned, as the other two [0.25].
        word_temperature: tau2, of the sum over words [0.2].
        temperature: tau3, of both contrasts over the batch [0.1].
        global_weight: weight of the contrast of images and texts [1].
        local_weight: weight of the word-region contrast [1].
        learning_rate: peak [5e-5, with pre-trained encoders].
        warmup_epochs: linear warm-up from zero [none].
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    dim: int = Field(default=128, gt=0)
    text: Literal["sentence", "report"] = "sentence"
    standardise: bool = True
    attention_temperature: float = Field(default=0.25, gt=0)
    word_temperature: float = Field(default=0.2, gt=0)
    temperature: float = Field(default=0.1, gt=0)
    global_weight: float = Field(default=1.0, ge=0)
    local_weight: float = Field(default=1.0, ge=0)
    learning_rate: float = Field(default=1e-3, gt=0)
    warmup_epochs: float = Field(default=0.2, ge=0)


class Gloria(Method):
    """ResNet + BERT, linear projections, contrast of means and of words with the regions they attend to.

    Words are word pieces without the special tokens, regions are places of the last map, the text features
    are the last layer's, and a text is the mean of its tokens. The paper sums word pieces to words, sums the
    last four layers, and takes regions from the third ResNet stage, at stride 16. Pairs whose report has no
    sentence stay out of both terms.

    At inference a report is read as in training: with `text: report` in one pass, with `text: sentence` one
    sentence at a time, its embedding being the mean of the sentences' unit embeddings.
    """

    def __init__(self, settings: GloriaSettings, image: ImageEncoderConfig, text: TextEncoderConfig) -> None:
        super().__init__()
        self.settings = settings
        self.image_encoder = ImageEncoder(image)
        self.text_encoder = TextEncoder(text)
        channels, width = self.image_encoder.last_channels, self.text_encoder.width
        # From scratch, all images start with nearly the same features; centring them lets the contrast begin.
        self.standardise = nn.BatchNorm2d(channels, affine=False) if settings.standardise else nn.Identity()
        self.image_projection = nn.Linear(channels, settings.dim)
        self.region_projection = nn.Linear(channels, settings.dim, bias=False)
        self.report_projection = nn.Linear(width, settings.dim)
        self.word_projection = nn.Linear(width, settings.dim)
        self.stages = [
            Stage(
                name="contrast",
                epochs=1.0,
                learning_rate=settings.learning_rate,
                warmup_epochs=settings.warmup_epochs,
                terms={"global": settings.global_weight, "local": settings.local_weight},
            )
        ]

    def encode_images(self, images: Tensor) -> ImageFeatures:
        """Project the pooled map and each of its positions."""
        last = self.standardise(self.image_encoder(images)[-1].float())
        regions = self.region_projection(last.flatten(2).transpose(1, 2))
        height, width = last.shape[2:]
        return ImageFeatures(self.image_projection(last.mean(dim=(2, 3))), regions, (height, width))

    def encode_reports(self, tokens: ReportTokens) -> ReportFeatures:
        """Embed reports and their words; `token_mask` is true at words, so not at special tokens."""
        real = _real_words(tokens)
        if self.settings.text == "report":
            words, global_ = self._read(tokens)
            sentences, mask = sentence_means(words, tokens.sentence, tokens.n_sentences)
            return ReportFeatures(global_, sentences, mask, words, real)
        rows, counts = repeat_per_sentence(tokens)
        row_words, embedded = self._read(rows)
        embedded = F.normalize(embedded.float(), dim=-1)
        mask = torch.arange(int(counts.max()), device=counts.device) < counts.unsqueeze(1)
        sentences = embedded.new_zeros(*mask.shape, embedded.shape[-1])
        sentences[mask] = embedded
        words = row_words.new_zeros(*real.shape, row_words.shape[-1])
        # A report's words are in the order of its sentences, and so are the rows.
        words[real] = row_words[_real_words(rows)]
        return ReportFeatures(sentences.sum(dim=1) / counts.unsqueeze(1), sentences, mask, words, real)

    def losses(self, batch: Batch, stage: Stage) -> dict[str, Tensor]:
        """Contrast images with what is read of their reports; terms `global` and `local`."""
        images = self.encode_images(batch.images)
        tokens: ReportTokens = batch
        if self.settings.text == "sentence":
            device = batch.ids.device
            draw = draw_rows(lambda rows: torch.rand(rows, device=device), len(batch.ids), device)
            tokens = pick_sentence(batch, (draw * batch.n_sentences).long())
        words, reports = self._read(tokens)
        real = _real_words(tokens)
        present = real.any(dim=1)
        scale = 1 / self.settings.temperature
        local = word_region_loss(words, real, images.local, *self._scales(), scale)
        contrast = symmetric_info_nce(images.global_[present], reports[present], scale, 1.0, 1.0)
        return {
            "global": stage.terms["global"] * contrast,
            "local": stage.terms["local"] * local,
        }

    def scores(self, images: ImageFeatures, reports: ReportFeatures) -> dict[str, Tensor]:
        """Return `global`, cosine of image and report, and `local`, the score of the word-region contrast.

        `local` is the log-sum-exp over words that training compares; the paper's code takes the best word.
        """
        u = F.normalize(images.global_.float(), dim=-1)
        return {
            "global": u @ F.normalize(reports.global_.float(), dim=-1).T,
            "local": word_region_scores(reports.tokens, reports.token_mask, images.local, *self._scales()),
        }

    def heat_maps(self, images: ImageFeatures, reports: ReportFeatures) -> Tensor:
        """Return the attention of the phrase's words over the regions, averaged over words, [B, R].

        The words share out each region before they attend, so that a phrase of one word gives a flat map.
        """
        dots = images.local.float() @ reports.tokens.float().transpose(1, 2)
        attention = region_attention(dots, reports.token_mask.unsqueeze(1), self._scales()[0])
        return mean_of_real(attention.transpose(1, 2), reports.token_mask)

    def _read(self, tokens: ReportTokens) -> tuple[Tensor, Tensor]:
        features = self.text_encoder(tokens.ids, tokens.mask)
        total = features.masked_fill(~tokens.mask.unsqueeze(2), 0.0).sum(dim=1)
        mean = total / tokens.mask.sum(dim=1, keepdim=True).clamp(min=1)
        return self.word_projection(features), self.report_projection(mean)

    def _scales(self) -> tuple[float, float]:
        return 1 / self.settings.attention_temperature, 1 / self.settings.word_temperature


def _real_words(tokens: ReportTokens) -> Tensor:
    return tokens.mask & (tokens.sentence >= 0)


def build(settings: Mapping[str, Any], image: ImageEncoderConfig, text: TextEncoderConfig) -> Method:
    """Build GLoRIA from `GloriaSettings` fields.

    Raises:
        InputError: a setting is unknown or out of range.
    """
    return Gloria(parse_settings(GloriaSettings, settings, "gloria"), image, text)
