"""Settings of PLACE."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

Part = Literal["global", "observation", "pair", "correlation"]
WEIGHTS: dict[Part, float] = {"global": 1.0, "observation": 1.0, "pair": 0.5, "correlation": 1.0}


class PlaceSettings(BaseModel):
    """Settings of PLACE, sized for a laptop; the paper's values are not known.

    Attributes:
        variant: `reconstructed`.
        parts: the terms of the loss that are on, for ablations. Without `global` an image and a report are
            the means of their projected regions and tokens.
        width: width of all projected features.
        heads: attention heads of the blocks; must divide `width`.
        standardise: centre and scale the channels of the last map over the batch before every projection;
            training from scratch needs it.
        queries: observations per image, K.
        blocks: depth of the observation extractor.
        correlation_width: width of the features whose correlations are predicted.
        temperature: initial temperature of both batch contrasts, each learnt on its own, not clamped.
        maximum_temperature: temperature of the soft maximum over observations, not learnt.
        idf_buckets: number of counts behind the weights of the sentences.
        mask_ratio: share of the patches hidden from the tokens that predict the correlations; off by default.
        learning_rate: peak.
        warmup_epochs: linear warm-up from zero.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    variant: Literal["reconstructed"] = "reconstructed"
    parts: tuple[Part, ...] = Field(("global", "observation", "pair", "correlation"), min_length=1)
    width: int = Field(128, ge=1)
    heads: int = Field(8, ge=1, validate_default=True)
    standardise: bool = True
    queries: int = Field(16, ge=1)
    blocks: int = Field(2, ge=1)
    correlation_width: int = Field(128, ge=1)
    temperature: float = Field(0.07, gt=0)
    maximum_temperature: float = Field(0.1, gt=0)
    idf_buckets: int = Field(1 << 16, ge=1)
    mask_ratio: float = Field(0.0, ge=0, lt=1)
    learning_rate: float = Field(1e-3, gt=0)
    warmup_epochs: float = Field(0.2, ge=0)

    @field_validator("heads")
    @classmethod
    def _divides_width(cls, heads: int, info: ValidationInfo) -> int:
        width = info.data.get("width", heads)
        if width % heads:
            raise ValueError(f"{heads} does not divide width {width}")
        return heads
