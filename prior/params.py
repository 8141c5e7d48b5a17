"""Typed view of params.yaml: the only border where settings become arguments."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from prior.errors import InputError

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_]+$")]
Fraction = Annotated[float, Field(gt=0, le=1)]
Positive = Annotated[int, Field(gt=0)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Phantom(_Section):
    """The simulator: one seed for all data sets and the side of a raw radiograph in pixels."""

    seed: int = Field(ge=0)
    image_size: int = Field(ge=32, le=2048)


class Dataset(_Section):
    """One data set: its reader, its folder (`root: null` simulates `images` of them), its splits.

    `max_unreadable` images may be missing or fail to decode; they are listed and left out.
    """

    reader: Name
    root: str | None
    images: Positive | None = None
    presets: list[str] = Field(min_length=1)
    max_unreadable: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _size_of_simulation(self) -> "Dataset":
        if self.root is None and self.images is None:
            raise ValueError("root is null (simulate), so `images` must say how many to simulate")
        return self


class Image(_Section):
    """Image store: side in pixels, and whether the original is padded to a square or stretched."""

    size: int = Field(ge=16, le=1024)
    fit: Literal["pad", "stretch"]


class Text(_Section):
    """Tokenizer limits; `tokenizer` is a vocab.txt or tokenizer.json, null trains one on training reports."""

    tokenizer: str | None
    vocab_size: int = Field(ge=100)
    max_sentences: Positive
    max_tokens: int = Field(ge=8, le=512)


class Pretraining(_Section):
    """What all methods share, so that only the objective differs."""

    dataset: Name
    preset: str
    seeds: list[int] = Field(min_length=1)
    epochs: Positive
    batch_size: int = Field(ge=2)
    weight_decay: float = Field(ge=0)
    precision: Literal["auto", "bf16", "fp32"]
    augmentation: dict[str, float]
    image_encoder: dict[str, Any]
    text_encoder: dict[str, Any]


class MethodSettings(_Section):
    """One row of the benchmark: a method, a label, what its file takes as settings, and controls.

    `variant` labels bundle and rows, and chooses the variant of a method that has several, unless the
    settings name it (`prior.methods.settings_with_variant`). `shuffle_pairs` deals the reports to other
    studies; `reports: labels` replaces every report by sentences that state the study's labels. `epochs`
    replaces those that all methods share, for a row whose label says that it trained longer.
    """

    method: Name
    variant: Name
    shuffle_pairs: bool = False
    reports: Literal["written", "labels"] = "written"
    epochs: Annotated[int, Field(ge=1)] | None = None
    settings: dict[str, Any] = {}

    def bundle(self, seed: int) -> str:
        """Name of the bundle folder that pre-training with `seed` leaves."""
        return f"{self.method}-{self.variant}-s{seed}"


class Evaluation(_Section):
    """One task on one data set under one setting of a protocol.

    `fractions: []` means that no labels are used; `methods` names the only ones that take part.
    """

    task: Name
    dataset: Name
    protocol: Name
    setting: Name
    fractions: list[Fraction]
    seeds: list[Annotated[int, Field(ge=0)]] = Field(min_length=1)
    folds: Annotated[int, Field(ge=2)] | None = None
    methods: list[Name] | None = None

    @property
    def stem(self) -> str:
        """Folder of this evaluation below `predictions/` and `scores/`."""
        return f"{self.task}/{self.dataset}/{self.protocol}-{self.setting}"


class Statistics(_Section):
    """Patient resamples behind every interval."""

    resamples: int = Field(ge=100)


class Params(_Section):
    """The whole of params.yaml after overlays."""

    experiment: Name
    data_root: str | None
    phantom: Phantom
    datasets: dict[Name, Dataset]
    image: Image
    text: Text
    pretraining: Pretraining
    methods: list[Name] = Field(min_length=1)
    method_settings: dict[Name, MethodSettings]
    evaluations: list[Evaluation] = Field(min_length=1)
    statistics: Statistics

    @model_validator(mode="after")
    def _names_exist(self) -> "Params":
        problems = []
        for name in self.methods:
            if name not in self.method_settings:
                known = ", ".join(self.method_settings)
                problems.append(f"methods: unknown method `{name}`, method_settings has {known}")
        problems += self._shared_bundles()
        if self.pretraining.dataset not in self.datasets:
            problems.append(f"pretraining.dataset: `{self.pretraining.dataset}` is not in datasets")
        for index, evaluation in enumerate(self.evaluations):
            if evaluation.dataset not in self.datasets:
                problems.append(f"evaluations.{index}.dataset: `{evaluation.dataset}` is not in datasets")
        stems = [evaluation.stem for evaluation in self.evaluations]
        for stem in sorted({stem for stem in stems if stems.count(stem) > 1}):
            problems.append(f"evaluations: {stem} is listed twice; merge the fractions and seeds")
        problems += self._unregistered()
        if problems:
            raise ValueError("\n  ".join(problems))
        return self

    def _shared_bundles(self) -> list[str]:
        owners: dict[str, str] = {}
        problems = []
        for name in dict.fromkeys(self.methods):
            if name not in self.method_settings:
                continue
            settings = self.method_settings[name]
            label = f"{settings.method}-{settings.variant}"
            if label in owners:
                problems.append(
                    f"methods: `{owners[label]}` and `{name}` both make bundle {label}; "
                    "give one of them another variant"
                )
            owners.setdefault(label, name)
        return problems

    def _unregistered(self) -> list[str]:
        from prior.datasets import READERS
        from prior.methods import METHODS, settings_with_variant
        from prior.tasks import TASKS

        problems = []
        for name, dataset in self.datasets.items():
            if dataset.reader not in READERS:
                problems.append(f"datasets.{name}.reader: `{dataset.reader}` is none of {', '.join(READERS)}")
        for name in self.methods:
            settings = self.method_settings.get(name)
            if settings and settings.method not in METHODS:
                problems.append(
                    f"method_settings.{name}.method: `{settings.method}` is none of {', '.join(METHODS)}"
                )
            elif settings:
                try:
                    settings_with_variant(settings.method, settings.variant, settings.settings)
                except InputError as error:
                    problems.append(f"method_settings.{name}.variant: {error}")
        for index, evaluation in enumerate(self.evaluations):
            if evaluation.task not in TASKS:
                problems.append(
                    f"evaluations.{index}.task: `{evaluation.task}` is none of {', '.join(TASKS)}"
                )
        return problems


def validate(config: Mapping[str, Any], source: str = "params.yaml") -> Params:
    """Turn a merged configuration into `Params`.

    Raises:
        InputError: one message that lists everything that is wrong, each with its key.
    """
    try:
        return Params.model_validate(dict(config))
    except ValidationError as error:
        lines = []
        for problem in error.errors():
            key = ".".join(str(part) for part in problem["loc"])
            message = problem["msg"].removeprefix("Value error, ")
            given = f" (given: {problem['input']!r})" if problem["type"] != "missing" and key else ""
            lines.append(f"  {key + ': ' if key else ''}{message}{given}")
        raise InputError(f"{source} cannot be used:\n" + "\n".join(lines)) from None


def load(*paths: Path) -> Params:
    """Read params.yaml and overlays; mappings merge deeply and lists are replaced, as in Snakemake.

    Raises:
        InputError: a file is missing, is no YAML mapping, or the merged settings are invalid.
    """
    merged: dict[str, Any] = {}
    for path in paths:
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise InputError(f"{path} does not exist; run from the project's folder") from None
        except yaml.YAMLError as error:
            raise InputError(f"{path} is not valid YAML: {error}") from None
        if not isinstance(content, dict):
            raise InputError(f"{path} must hold a mapping at the top")
        _merge(merged, content)
    return validate(merged, " + ".join(str(path) for path in paths))


def _merge(base: dict[str, Any], overlay: Mapping[str, Any]) -> None:
    for key, value in overlay.items():
        if isinstance(value, Mapping) and isinstance(base.get(key), dict):
            _merge(base[key], value)
        else:
            base[key] = value


def schema() -> dict[str, Any]:
    """JSON schema of params.yaml, for `workflow/schemas/params.schema.yaml` and editors."""
    return Params.model_json_schema()
