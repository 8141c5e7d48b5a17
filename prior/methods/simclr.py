"""SimCLR: contrast between two views of an image, without reports (Chen et al., arXiv 2002.05709)."""

from collections.abc import Mapping
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from prior.encoders.image import ImageEncoder, ImageEncoderConfig
from prior.encoders.text import TextEncoderConfig
from prior.errors import InputError
from prior.methods.base import Batch, ImageFeatures, Method, ReportFeatures, ReportTokens, Stage
from prior.methods.parsing import parse_settings
from prior.objectives.nt_xent import nt_xent

NO_TEXT = "method simclr reads no text; leave it out of tasks that need reports or prompts"


class SimclrSettings(BaseModel):
    """Settings of SimCLR; the paper's values are in brackets.

    The views are augmented as the images of every other method (`pretraining.augmentation`), which is weaker
    than the paper's crops of 8 % of the area, flips and colour distortion.

    Attributes:
        dim: width of the projection [128].
        temperature: divisor of the cosine similarity, not learned [0.1].
        standardise: centre and scale the channels of the last map over the batch [false].
        learning_rate: peak [0.3 per 256 images, with LARS].
        warmup_epochs: linear warm-up from zero [10 of 100 to 1000].
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    dim: int = Field(default=128, gt=0)
    temperature: float = Field(default=0.1, gt=0)
    standardise: bool = True
    learning_rate: float = Field(default=1e-3, gt=0)
    warmup_epochs: float = Field(default=0.2, ge=0)


class Simclr(Method):
    """Mean of the last map, two-layer projection, NT-Xent; the features are those before the projection.

    An image counts as one presentation, though its two views cost two passes. A batch of one gives zero.
    """

    needs = frozenset({"second_view"})

    def __init__(self, settings: SimclrSettings, image: ImageEncoderConfig) -> None:
        super().__init__()
        self.settings = settings
        self.image_encoder = ImageEncoder(image)
        channels = self.image_encoder.last_channels
        # From scratch, all images start with nearly the same features; centring them lets the contrast begin.
        self.standardise = nn.BatchNorm2d(channels, affine=False) if settings.standardise else nn.Identity()
        self.projection = nn.Sequential(
            nn.Linear(channels, channels), nn.ReLU(), nn.Linear(channels, settings.dim)
        )
        self.stages = [
            Stage(
                name="contrast",
                epochs=1.0,
                learning_rate=settings.learning_rate,
                warmup_epochs=settings.warmup_epochs,
                terms={"views": 1.0},
            )
        ]

    def encode_images(self, images: Tensor) -> ImageFeatures:
        """Return the unprojected features: pooled map and its positions."""
        last = self.standardise(self.image_encoder(images)[-1].float())
        height, width = last.shape[2:]
        return ImageFeatures(last.mean(dim=(2, 3)), last.flatten(2).transpose(1, 2), (height, width))

    def encode_reports(self, tokens: ReportTokens) -> ReportFeatures:
        """Refuse: there is no text encoder."""
        raise InputError(NO_TEXT)

    def losses(self, batch: Batch, stage: Stage) -> dict[str, Tensor]:
        """Contrast `images` with `second_view`; term `views`."""
        assert batch.second_view is not None, "promised by `needs`"
        # One pass for both views, so that batch norm cannot tell the first from the second.
        pooled = self.encode_images(torch.cat([batch.images, batch.second_view])).global_
        first, second = self.projection(pooled).chunk(2)
        return {"views": stage.terms["views"] * nt_xent(first, second, 1 / self.settings.temperature)}

    def scores(self, images: ImageFeatures, reports: ReportFeatures) -> dict[str, Tensor]:
        """Refuse: there is no text encoder."""
        raise InputError(NO_TEXT)


def build(settings: Mapping[str, Any], image: ImageEncoderConfig, text: TextEncoderConfig) -> Method:
    """Build SimCLR from `SimclrSettings` fields; `text` is not used.

    Raises:
        InputError: a setting is unknown or out of range.
    """
    return Simclr(parse_settings(SimclrSettings, settings, "simclr"), image)
