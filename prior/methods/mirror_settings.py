"""Settings of MIRROR."""

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator


class MirrorSettings(BaseModel):
    """Settings of MIRROR; the defaults train from scratch in minutes, the release's values are in brackets.

    Attributes:
        width: width of the shared space and of the decoders [512]; the style code has a quarter of it.
        heads: attention heads of the token decoders; must divide `width` [not stated].
        standardise: centre and scale the channels of the last map over the batch [false].
        temperature: initial temperature of the contrast, learnt, not clamped [0.07].
        hidden_ratio: share of regions and of words to hide [0.75].
        prototypes: number of style prototypes [3000].
        contrast_weight: weight of `contrast` [0.5].
        retention_weight: weight of either retention [0.15].
        style_weight: weight of either style divergence [0.1].
        cluster_weight: weight of `cluster` [0.1].
        learning_rate: peak.
        warmup_epochs: linear warm-up from zero.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    width: int = Field(default=128, ge=4)
    heads: int = Field(default=4, ge=1)
    standardise: bool = True
    temperature: float = Field(default=0.07, gt=0)
    hidden_ratio: float = Field(default=0.75, ge=0, le=1)
    prototypes: int = Field(default=3000, ge=1)
    contrast_weight: float = Field(default=0.5, ge=0)
    retention_weight: float = Field(default=0.15, ge=0)
    style_weight: float = Field(default=0.1, ge=0)
    cluster_weight: float = Field(default=0.1, ge=0)
    learning_rate: float = Field(default=1e-3, gt=0)
    warmup_epochs: float = Field(default=0.2, ge=0)

    @field_validator("heads")
    @classmethod
    def _divides_width(cls, heads: int, info: ValidationInfo) -> int:
        width = info.data.get("width", heads)
        if width % heads:
            raise ValueError(f"{heads} does not divide width {width}")
        return heads

    def terms(self) -> dict[str, float]:
        """Return the weight of every term."""
        return {
            "contrast": self.contrast_weight,
            "image_retention": self.retention_weight,
            "report_retention": self.retention_weight,
            "image_style": self.style_weight,
            "report_style": self.style_weight,
            "cluster": self.cluster_weight,
        }
