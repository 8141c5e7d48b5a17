"""Settings of PRIOR and the stages that follow from them."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from prior.methods.base import Stage

Part = Literal["local", "bank", "image_reconstruction", "report_reconstruction"]

_LOCAL = {"local_image": 1.0, "local_text": 1.0}
_TERMS: dict[str, dict[str, float]] = {
    "alignment": {"global": 1.0, **_LOCAL},
    "prototypes": {"global": 1.0, **_LOCAL, "prototype": 10.0},
    "reconstruction": {
        "global": 10.0,
        **_LOCAL,
        "prototype": 10.0,
        "reconstruction": 1.0,
        "generation": 10.0,
        "divergence": 1.0,
        "global_prediction": 1.0,
    },
}
# A term is on if every part that lists it is: without a bank there are no assignments to compare.
_TERMS_OF_PART: dict[Part, tuple[str, ...]] = {
    "local": ("local_image", "local_text"),
    "bank": ("prototype", "divergence"),
    "image_reconstruction": ("reconstruction",),
    "report_reconstruction": ("generation", "divergence", "global_prediction"),
}


class PriorSettings(BaseModel):
    """Settings of PRIOR; the defaults train from scratch in minutes, the paper's values are in brackets.

    Attributes:
        variant: `described`, or `released` for what the public code computes (`prior_released.py`).
        parts: what is trained beside the global contrast, for ablations: alignment of regions and sentences,
            the prototype bank, either reconstruction. The stages and their lengths stay.
        width: width of all projected features [768].
        heads: attention heads of pools and report decoder [8; decoder 12]; must divide the width and the
            channels of the image encoder's last map.
        standardise: centre and scale the channels of the last map over the batch before every projection;
            training from scratch needs it [false].
        temperature: initial temperature of the global contrast, learnt, not clamped [0.01].
        local_temperature: that of the sentence contrast [0.01].
        prototypes: size of the bank [512].
        prototype_start: the latest `sentences` before the bank is used, or `normal` noise ['normal'].
        prototype_temperature: Gumbel-softmax temperature [0.9].
        slots: most sentences the report decoder can generate [16].
        report_decoder_layers: its depth [8].
        image_decoder_channels: channels after the first upsampling block [768].
        mask_ratio: share of image patches hidden from the reconstruction's encoder [not stated]; in the
            variant `released`, share of the channels that its dropout hides [0.5].
        mask_patch: side of a patch in pixels [not stated].
        epochs: length of the three stages, which the loop scales to the experiment's total [20, 30, 100].
        learning_rates: peaks [1e-5, 1e-5, 5e-6].
        warmup_epochs: linear warm-up, on the scale of `epochs` [1, 1, 5].
        warmup_from: rates at its first step [1e-7, 1e-7, 1e-8].
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    variant: Literal["described", "released"] = "described"
    parts: tuple[Part, ...] = ("local", "bank", "image_reconstruction", "report_reconstruction")
    width: int = Field(128, ge=2)
    heads: int = Field(8, ge=1, validate_default=True)
    standardise: bool = True
    temperature: float = Field(0.07, gt=0)
    local_temperature: float = Field(0.07, gt=0)
    prototypes: int = Field(512, ge=1)
    prototype_start: Literal["sentences", "normal"] = "sentences"
    prototype_temperature: float = Field(0.9, gt=0)
    slots: int = Field(16, ge=1)
    report_decoder_layers: int = Field(2, ge=1)
    image_decoder_channels: int = Field(32, ge=1)
    mask_ratio: float = Field(0.5, ge=0, le=1)
    mask_patch: int = Field(16, ge=1)
    epochs: tuple[float, float, float] = (5, 2, 1)
    learning_rates: tuple[float, float, float] = (5e-4, 5e-4, 5e-4)
    warmup_epochs: tuple[float, float, float] = (0.25, 0.25, 0.25)
    warmup_from: tuple[float, float, float] = (1e-5, 1e-5, 1e-5)

    @field_validator("heads")
    @classmethod
    def _divides_width(cls, heads: int, info: ValidationInfo) -> int:
        width = info.data.get("width", heads)
        if width % heads:
            raise ValueError(f"{heads} does not divide width {width}; choose heads that divide it")
        return heads

    @field_validator("epochs")
    @classmethod
    def _trains(cls, epochs: tuple[float, float, float]) -> tuple[float, float, float]:
        if not any(epochs):
            raise ValueError("all zero; give one stage at least")
        return epochs

    def stages(self) -> list[Stage]:
        """Return the stages that have epochs, in order of training, with the terms that are on."""
        off = {term for part, terms in _TERMS_OF_PART.items() if part not in self.parts for term in terms}
        return [
            Stage(
                name=name,
                epochs=self.epochs[i],
                learning_rate=self.learning_rates[i],
                warmup_epochs=self.warmup_epochs[i],
                warmup_from=self.warmup_from[i],
                terms={term: weight for term, weight in terms.items() if term not in off},
            )
            for i, (name, terms) in enumerate(_TERMS.items())
            if self.epochs[i] > 0
        ]
