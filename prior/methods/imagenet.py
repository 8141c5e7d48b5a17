"""Image weights from timm (ImageNet's, as a rule), untouched: what a task gains without any radiograph."""

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from prior.encoders.image import ImageEncoderConfig
from prior.encoders.text import TextEncoderConfig
from prior.methods.base import Method
from prior.methods.parsing import parse_settings
from prior.methods.random import RandomMethod


class ImagenetSettings(BaseModel):
    """Where the weights are.

    Attributes:
        weights: .safetensors or .pth file with timm's names for `pretraining.image_encoder.name`, or `hub` to
            let timm download its own; nothing is downloaded otherwise. The pre-training stage puts them in
            place, and a bundle, which holds them, has null here.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    weights: str | None = None


class Imagenet(RandomMethod):
    """Holds an image encoder and nothing else, as `random`; it starts from weights of its own.

    The images are normalised as for every other method, not with ImageNet's colours; with one input channel
    the filters of the first convolution are summed over theirs.
    """

    name: ClassVar[str] = "imagenet"

    def __init__(self, settings: ImagenetSettings, image: ImageEncoderConfig) -> None:
        super().__init__(image)
        self.weights = settings.weights


def build(settings: Mapping[str, Any], image: ImageEncoderConfig, text: TextEncoderConfig) -> Method:
    """Build the method from `ImagenetSettings` fields; `text` is not used.

    Raises:
        InputError: a setting is unknown.
    """
    return Imagenet(parse_settings(ImagenetSettings, settings, "imagenet"), image)
