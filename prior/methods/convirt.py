"""ConVIRT: contrast between an image and one sentence of its report (Zhang et al., arXiv 2010.00747)."""

from collections.abc import Mapping
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional

from prior.encoders.image import ImageEncoder, ImageEncoderConfig
from prior.encoders.text import TextEncoder, TextEncoderConfig
from prior.methods.base import Batch, ImageFeatures, Method, ReportFeatures, ReportTokens, Stage
from prior.methods.parsing import parse_settings
from prior.methods.sentences import pick_sentence, repeat_per_sentence
from prior.objectives.contrastive import info_nce
from prior.objectives.gather import draw_rows


class ConvirtSettings(BaseModel):
    """Settings of ConVIRT; the defaults of the loss are the paper's.

    Attributes:
        dim: width of the shared space (512 in the paper).
        temperature: divisor of the cosine similarity, not learned.
        draws: sentences drawn per report and step (1 in the paper); their losses are averaged over one pass
            of the images, which leaves the expectation as it is and lowers its variance.
        standardise: centre and scale the channels of the last map over the batch before the projection;
            from scratch all images start with nearly equal features, and the contrast could not begin
            (false in the paper).
        image_weight: weight of image to report; report to image has the rest.
        learning_rate: peak (1e-4 in the paper, with pre-trained encoders).
        warmup_epochs: linear warm-up from zero.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    dim: int = Field(default=128, gt=0)
    temperature: float = Field(default=0.1, gt=0)
    draws: int = Field(default=3, ge=1)
    standardise: bool = True
    image_weight: float = Field(default=0.75, ge=0, le=1)
    learning_rate: float = Field(default=1e-3, gt=0)
    warmup_epochs: float = Field(default=0.2, ge=0)


class Convirt(Method):
    """ResNet + BERT, max pooling over a sentence's tokens, two-layer projections, InfoNCE both ways.

    A report without sentences is read as its special tokens alone. The embedding of a whole report is the
    mean of its sentences' unit embeddings, each sentence being read by itself as in training.
    """

    def __init__(self, settings: ConvirtSettings, image: ImageEncoderConfig, text: TextEncoderConfig) -> None:
        super().__init__()
        self.settings = settings
        self.image_encoder = ImageEncoder(image)
        self.text_encoder = TextEncoder(text)
        channels = self.image_encoder.last_channels
        self.standardise = nn.BatchNorm2d(channels, affine=False) if settings.standardise else nn.Identity()
        self.image_projection = _projection(channels, settings.dim)
        self.text_projection = _projection(text.width, settings.dim)
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
        last = self._map(images)
        local = self.image_projection(last.flatten(2).transpose(1, 2))
        height, width = last.shape[2:]
        return ImageFeatures(self.image_projection(last.mean(dim=(2, 3))), local, (height, width))

    def encode_reports(self, tokens: ReportTokens) -> ReportFeatures:
        """Embed every sentence by itself, and a report as the mean of its sentences."""
        rows, counts = repeat_per_sentence(tokens)
        embedded = functional.normalize(self._embed(rows).float(), dim=-1)
        mask = torch.arange(int(counts.max()), device=counts.device) < counts.unsqueeze(1)
        sentences = embedded.new_zeros(*mask.shape, embedded.shape[-1])
        sentences[mask] = embedded
        global_ = sentences.sum(dim=1) / counts.unsqueeze(1)
        local = self.text_projection(self.text_encoder(tokens.ids, tokens.mask))
        return ReportFeatures(global_, sentences, mask, local, tokens.mask)

    def losses(self, batch: Batch, stage: Stage) -> dict[str, Tensor]:
        """Contrast images with random sentences: terms `image_to_report` and `report_to_image`."""
        images = self.image_projection(self._map(batch.images).mean(dim=(2, 3)))
        draws = self._draw_sentences(batch)
        scale = 1 / self.settings.temperature
        to_report = torch.stack([info_nce(images, sentences, scale) for sentences in draws]).mean()
        to_image = torch.stack([info_nce(sentences, images, scale) for sentences in draws]).mean()
        return {
            "image_to_report": stage.terms["image_to_report"] * to_report,
            "report_to_image": stage.terms["report_to_image"] * to_image,
        }

    def scores(self, images: ImageFeatures, reports: ReportFeatures) -> dict[str, Tensor]:
        """Return the cosine of the global embeddings."""
        u = functional.normalize(images.global_.float(), dim=-1)
        return {"global": u @ functional.normalize(reports.global_.float(), dim=-1).T}

    def _map(self, images: Tensor) -> Tensor:
        """Return the standardised last map, [B, C, h, w]."""
        last: Tensor = self.standardise(self.image_encoder(images)[-1].float())
        return last

    def _draw_sentences(self, tokens: ReportTokens) -> Tensor:
        """Embed random sentences of every report, [draws, B, D]; one pass of the text encoder for all."""
        draws, count, device = self.settings.draws, len(tokens.ids), tokens.ids.device
        repeated = ReportTokens(
            ids=tokens.ids.repeat(draws, 1),
            mask=tokens.mask.repeat(draws, 1),
            sentence=tokens.sentence.repeat(draws, 1),
            n_sentences=tokens.n_sentences.repeat(draws),
        )
        draw = draw_rows(lambda rows: torch.rand(draws, rows, device=device).T, count, device)
        chosen = (draw.T.flatten() * repeated.n_sentences).long()
        return self._embed(pick_sentence(repeated, chosen)).view(draws, count, -1)

    def _embed(self, tokens: ReportTokens) -> Tensor:
        features = self.text_encoder(tokens.ids, tokens.mask)
        pooled = features.masked_fill(~tokens.mask.unsqueeze(-1), -torch.inf).amax(dim=1)
        projected: Tensor = self.text_projection(pooled)
        return projected


def _projection(width: int, dim: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, dim), nn.ReLU(), nn.Linear(dim, dim))


def build(settings: Mapping[str, Any], image: ImageEncoderConfig, text: TextEncoderConfig) -> Method:
    """Build ConVIRT from `ConvirtSettings` fields.

    Raises:
        InputError: a setting is unknown or out of range.
    """
    return Convirt(parse_settings(ConvirtSettings, settings, "convirt"), image, text)
