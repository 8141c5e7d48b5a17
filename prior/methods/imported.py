"""Encoders that others trained; `prior.importing` reads their files and makes the bundle."""

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from prior.encoders.image import ImageEncoderConfig
from prior.encoders.text import TextEncoderConfig
from prior.errors import InputError
from prior.methods.base import Method
from prior.methods.imported_pair import ImportedPair, PairSettings
from prior.methods.parsing import parse_settings
from prior.methods.random import RandomMethod


class ImportedSettings(BaseModel):
    """What the bundle says of its origin.

    Attributes:
        layout: how the weights were named in the file.
        source: whose names these are.
        licence: of the repository or hub page that released them.
        trained_on: corpora, as `prior.importing.contamination` reads them; empty if not known.
        pair: how both embeddings are made; None where the text encoder was not imported.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    layout: str
    source: str
    licence: str
    trained_on: list[dict[str, Any]]
    pair: PairSettings | None = None


class Imported(RandomMethod):
    """Holds an image encoder and nothing else, as `random`; its weights come from a file."""

    name: ClassVar[str] = "imported"


def build(settings: Mapping[str, Any], image: ImageEncoderConfig, text: TextEncoderConfig) -> Method:
    """Build the method for the weights of a bundle; `text` is not used where there is no text encoder.

    Raises:
        InputError: the settings are not those of a bundle: a checkpoint is imported, not pre-trained.
    """
    if "checkpoint" in settings:
        raise InputError("method imported trains nothing; `prior import` turns its checkpoint into a bundle")
    pair = parse_settings(ImportedSettings, settings, "imported").pair
    return Imported(image) if pair is None else ImportedPair(pair, image, text)
