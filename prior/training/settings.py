"""Settings of one pre-training, checked before any work."""

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from prior.errors import InputError
from prior.training.precision import Precision


class StoreSettings(BaseModel):
    """Which image store is read."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    size: int = Field(ge=16)
    fit: str = "pad"


class AugmentationSettings(BaseModel):
    """Strengths of `prior.data.augment.Augmentation`; `crop` is the smallest share of area kept."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    crop: float = Field(default=0.8, gt=0, le=1)
    rotation: float = Field(default=10.0, ge=0, le=180)
    brightness: float = Field(default=0.2, ge=0, lt=1)
    contrast: float = Field(default=0.2, ge=0, lt=1)


class PretrainSettings(BaseModel):
    """Everything that decides the weights, apart from data and code.

    Attributes:
        method: name in `prior.methods.METHODS`.
        variant: label of the bundle; chooses the variant too where a method has several and `settings` names
            none.
        settings: the method's own.
        seed: of initial weights, order, augmentation and noise.
        preset: split preset; its training part is used.
        shuffle_pairs: control: deal the reports to other studies.
        reports: `written`, or the control `labels`: sentences that state the labels of each study.
        image: image store.
        image_encoder: `ImageEncoderConfig` but for the input size.
        text_encoder: `TextEncoderConfig` but for vocabulary and length.
        epochs: presentations of every pair, shared by the method's stages.
        batch_size: largest batch.
        weight_decay: AdamW's.
        precision: `auto` takes bfloat16 where the hardware has it.
        augmentation: strengths.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    method: str
    variant: str
    settings: dict[str, Any] = {}
    seed: int = Field(ge=0)
    preset: str
    shuffle_pairs: bool = False
    reports: Literal["written", "labels"] = "written"
    image: StoreSettings
    image_encoder: dict[str, Any] = {}
    text_encoder: dict[str, Any] = {}
    epochs: int = Field(ge=1)
    batch_size: int = Field(ge=2)
    weight_decay: float = Field(default=1e-6, ge=0)
    precision: Precision = "auto"
    augmentation: AugmentationSettings = AugmentationSettings()

    @classmethod
    def parse(cls, settings: Mapping[str, Any]) -> Self:
        """Check `settings`.

        Raises:
            InputError: names every key that is wrong.
        """
        try:
            return cls.model_validate(dict(settings))
        except ValidationError as error:
            problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            raise InputError(f"pre-training settings: {problems}; correct them in params.yaml") from None
