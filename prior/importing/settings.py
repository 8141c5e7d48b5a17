"""What a user may say about a checkpoint: `settings` of method `imported` in params.yaml."""

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from prior.importing.contamination import CORPORA, Part, Used
from prior.importing.recognise import AUTO


class TrainedOn(BaseModel):
    """One corpus; see `prior.importing.contamination.Corpus`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    corpus: str
    used: list[Used] = ["images"]
    part: Part = "all"

    @field_validator("corpus")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in CORPORA:
            raise ValueError(f"`{name}` is none of {', '.join(CORPORA)}")
        return name


class ImportSettings(BaseModel):
    """How to import a checkpoint.

    Attributes:
        checkpoint: the file.
        layout: name of its layout, or `auto`.
        encoder: timm's name of the network, where the weights do not tell or the layout is `timm`.
        output_stride: pixels per cell of the last map of a convolutional network, by dilation below 32.
        mean: grey mean that replaces the layout's.
        std: grey standard deviation, likewise.
        left_out: beginnings of further names that do not belong to the image encoder.
        trained_on: corpora that replace the layout's.
        tokenizer: file, folder or hub name; with it, the text side is imported too.
        text_checkpoint: the file of the text side, where the release has one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    checkpoint: str
    layout: str = AUTO
    encoder: str | None = None
    output_stride: int = Field(default=32, gt=0)
    mean: float | None = None
    std: float | None = Field(default=None, gt=0)
    left_out: list[str] = []
    trained_on: list[TrainedOn] | None = None
    tokenizer: str | None = None
    text_checkpoint: str | None = None

    @model_validator(mode="after")
    def _text_needs_a_tokenizer(self) -> Self:
        if self.text_checkpoint is not None and self.tokenizer is None:
            raise ValueError("`text_checkpoint` needs `tokenizer`")
        return self

    def corpora(self) -> list[dict[str, Any]] | None:
        """Return the user's `trained_on` as `bundle.json` holds it, None where the layout's counts."""
        return None if self.trained_on is None else [corpus.model_dump() for corpus in self.trained_on]
