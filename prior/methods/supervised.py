"""Supervised pre-training on the findings of the pre-training data set: what labels give without reports."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from prior.encoders.image import ImageEncoder, ImageEncoderConfig
from prior.encoders.text import TextEncoderConfig
from prior.errors import InputError
from prior.methods.base import Batch, ImageFeatures, Method, ReportFeatures, ReportTokens, Stage
from prior.methods.parsing import parse_settings
from prior.methods.pooling import linear
from prior.objectives.multilabel import multilabel_loss

NO_TEXT = "method supervised reads no text; leave it out of tasks that need reports or prompts"


class SupervisedSettings(BaseModel):
    """Settings of the supervised baseline.

    Attributes:
        findings: names of label columns, one output each. In params.yaml `all` stands for every column of the
            pre-training data set; the bundle records the names.
        standardise: centre and scale the channels of the last map over the batch.
        learning_rate: peak.
        warmup_epochs: linear warm-up from zero.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    findings: tuple[str, ...] = Field(min_length=1)
    standardise: bool = True
    learning_rate: float = Field(default=1e-3, gt=0)
    warmup_epochs: float = Field(default=0.2, ge=0)


class Supervised(Method):
    """Mean of the last map and one linear output per finding, binary cross entropy.

    A finding that an image's labels do not mention is absent, an uncertain one is left out.
    """

    needs = frozenset({"labels"})

    def __init__(self, settings: SupervisedSettings, image: ImageEncoderConfig) -> None:
        super().__init__()
        self.settings = settings
        self.findings = settings.findings
        self.image_encoder = ImageEncoder(image)
        channels = self.image_encoder.last_channels
        self.standardise = nn.BatchNorm2d(channels, affine=False) if settings.standardise else nn.Identity()
        self.classifier = linear(channels, len(settings.findings))
        self.stages = [
            Stage(
                name="supervised",
                epochs=1.0,
                learning_rate=settings.learning_rate,
                warmup_epochs=settings.warmup_epochs,
                terms={"labels": 1.0},
            )
        ]

    def encode_images(self, images: Tensor) -> ImageFeatures:
        """Return the features before the classifier: pooled map and its positions."""
        last = self.standardise(self.image_encoder(images)[-1].float())
        height, width = last.shape[2:]
        return ImageFeatures(last.mean(dim=(2, 3)), last.flatten(2).transpose(1, 2), (height, width))

    def encode_reports(self, tokens: ReportTokens) -> ReportFeatures:
        """Refuse: there is no text encoder."""
        raise InputError(NO_TEXT)

    def losses(self, batch: Batch, stage: Stage) -> dict[str, Tensor]:
        """Classify `images` by `labels`; term `labels`."""
        assert batch.labels is not None, "promised by `needs`"
        logits = self.classifier(self.encode_images(batch.images).global_)
        return {"labels": stage.terms["labels"] * multilabel_loss(logits, batch.labels)}

    def scores(self, images: ImageFeatures, reports: ReportFeatures) -> dict[str, Tensor]:
        """Refuse: there is no text encoder."""
        raise InputError(NO_TEXT)


def build(settings: Mapping[str, Any], image: ImageEncoderConfig, text: TextEncoderConfig) -> Method:
    """Build the supervised baseline from `SupervisedSettings` fields; `text` is not used.

    Raises:
        InputError: a setting is missing, unknown or out of range.
    """
    return Supervised(parse_settings(SupervisedSettings, settings, "supervised"), image)
