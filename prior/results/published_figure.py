"""A printed figure: one cell of a paper's table, with everything that says what it is of."""

import re
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

CELL = re.compile(r"(\d*\.?\d+)(?:±(\d*\.?\d+))?")
UNBOUNDED = ("mean_rank", "cider")

Name = Annotated[str, Field(pattern=r"^[a-z0-9_]+$")]
Mark = Literal["H", "M", "L"]
Task = Literal[
    "classification",
    "zero_shot",
    "retrieval",
    "segmentation",
    "detection",
    "grounding",
    "report_generation",
    "temporal_classification",
    "all",
]
Setting = Literal["linear", "frozen", "finetune", "zero_shot", "not_stated"]
Cell = tuple[str, str, str, str, str, float | None, str, str, str]
"""Method, variant, task, data set, family, fraction, metric, setting, detail."""


class Checked(BaseModel):
    """A part of the file that takes no other keys than its own."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Source(Checked):
    """A paper: its short title, and where it is found."""

    title: str
    id: str


class Published(Checked):
    """One printed figure.

    Attributes:
        method: as in `params.yaml` where it is one of ours.
        variant: what tells the row apart from the paper's plain one; empty for the plain one.
        family: protocol family; figures of different families are not comparable.
        setting: what is trained: a linear head, a head on a frozen encoder, everything, or nothing.
        fraction: share of the training labels; None where the task uses none.
        detail: what tells cells apart beyond the other keys.
        printed: the cell as it stands in the table, for instance `2.4±.5`.
        scale: 100 for percent, 1 for shares.
        spread: what the figure behind ± is; None where nothing is printed.
        confidence: H read in the source, M re-reported, L of unclear identity.
        inferred: keys that the source does not state.
    """

    method: Name
    variant: str = ""
    task: Task
    dataset: Name
    family: Name
    setting: Setting
    fraction: Annotated[float, Field(gt=0, le=1)] | None = None
    metric: Name
    detail: str = ""
    printed: Annotated[str, Field(pattern=rf"^{CELL.pattern}$")]
    scale: Literal[1, 100]
    spread: Literal["ci95", "sd"] | None = None
    source: Source
    table: str
    confidence: Mark
    inferred: tuple[str, ...] = ()
    note: str = ""

    @model_validator(mode="after")
    def _consistent(self) -> "Published":
        if "±" in self.printed and self.spread is None:
            raise ValueError(f"spread: `{self.printed}` has a ±; say whether it is ci95 or sd")
        unknown = sorted(set(self.inferred) - set(type(self).model_fields))
        if unknown:
            raise ValueError(f"inferred: `{unknown[0]}` is no key of an entry")
        if self.scale == 1 and self.metric not in UNBOUNDED and self.value > 1:
            raise ValueError(f"scale: {self.printed} is no share; percent have scale 100")
        return self

    @property
    def value(self) -> float:
        """The figure as we measure it, a share of one (ranks as they are)."""
        return float(self.printed.partition("±")[0]) / self.scale

    @property
    def half_width(self) -> float | None:
        """The figure behind ± on the scale of `value`."""
        after = self.printed.partition("±")[2]
        return float(after) / self.scale if after else None

    @property
    def rounding(self) -> float:
        """Half a unit of the last printed digit, on the scale of `value`."""
        decimals = self.printed.partition("±")[0].partition(".")[2]
        return float(0.5 * 10.0 ** -len(decimals) / self.scale)

    @property
    def cell(self) -> Cell:
        """What has to be equal for two figures to be about the same thing."""
        return (
            *(self.method, self.variant, self.task, self.dataset, self.family),
            *(self.fraction, self.metric, self.setting, self.detail),
        )

    @property
    def label(self) -> str:
        """Method and variant in words."""
        name = self.method.replace("_", " ")
        return f"{name} ({self.variant})" if self.variant else name
