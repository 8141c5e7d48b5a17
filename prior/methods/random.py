"""No pre-training: the initial image encoder, which every other method starts from."""

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from prior.encoders.image import ImageEncoder, ImageEncoderConfig
from prior.encoders.text import TextEncoderConfig
from prior.errors import InputError
from prior.methods.base import Batch, ImageFeatures, Method, ReportFeatures, ReportTokens, Stage

NO_TEXT = "method {} reads no text; leave it out of tasks that need reports or prompts"


class RandomMethod(Method):
    """Holds an image encoder and nothing else; it has no stages and reads no text."""

    name: ClassVar[str] = "random"

    def __init__(self, image: ImageEncoderConfig) -> None:
        super().__init__()
        self.image_encoder = ImageEncoder(image)
        self.stages: list[Stage] = []

    def encode_images(self, images: Tensor) -> ImageFeatures:
        """Return the unprojected features: pooled map and its positions."""
        last = self.image_encoder(images)[-1]
        return ImageFeatures(last.mean(dim=(2, 3)), last.flatten(2).transpose(1, 2), tuple(last.shape[2:]))

    def encode_reports(self, tokens: ReportTokens) -> ReportFeatures:
        """Refuse: there is no text encoder."""
        raise InputError(NO_TEXT.format(self.name))

    def losses(self, batch: Batch, stage: Stage) -> dict[str, Tensor]:
        """Return no terms."""
        return {}

    def scores(self, images: ImageFeatures, reports: ReportFeatures) -> dict[str, Tensor]:
        """Refuse: there is no text encoder."""
        raise InputError(NO_TEXT.format(self.name))


def build(settings: Mapping[str, Any], image: ImageEncoderConfig, text: TextEncoderConfig) -> Method:
    """Build the method; `settings` must be empty and `text` is not used."""
    if settings:
        raise InputError(f"method random takes no settings; remove {', '.join(sorted(settings))}")
    return RandomMethod(image)
