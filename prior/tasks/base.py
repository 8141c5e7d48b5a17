"""What every downstream task receives and gives back, and which images a cell may use."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
from numpy.typing import NDArray

from prior.data.keys import choose_preset, take_fraction
from prior.data.prepared import PreparedDataset
from prior.errors import InputError
from prior.protocols import Protocol

# Values that every task implements, where a knob names one of a few.
CHOICES: dict[str, Collection[Any]] = {
    "uses_labels": [True, False],
    "views": ["frontal"],
    "fit": ["pad", "stretch"],
    "input_size": ["bundle"],
    "frozen": [True, False],
}
# Knobs whose numbers, lists and names every task reads.
READ = frozenset({"split", "datasets", "fractions"})
# The same for tasks that compare images with texts and train nothing.
UNTRAINED: dict[str, Collection[Any]] = {
    **CHOICES,
    "uses_labels": [False],
    "frozen": [True],
    "head_name": ["none"],
}
# What every task with labels reads besides.
LABELLED = frozenset({"refuse_below", "seeds_at_all_labels", "validation"})
# Of the images with a mask or box, fractions are taken; in test there are no others either.
POSITIVES_ONLY = "positives only"
# Values of `images` for tasks whose images can have a mask or box.
IMAGES = ("all", POSITIVES_ONLY)

# What a list of images lacks of what embeddings are made of and patients drawn by.
ROW = ["image_id", "patient_id", "row"]


@dataclass(frozen=True)
class Cell:
    """One repetition: a share of the labels, the seed of draw, head and order, and a fold if there are folds.

    Attributes:
        fraction: share of the training images, in (0, 1]; None where no labels are used.
        seed: repetition.
        fold: index of the test fold; None without cross-validation.
    """

    fraction: float | None
    seed: int
    fold: int | None = None

    @property
    def name(self) -> str:
        """Name that is unique within a job and safe as a file name."""
        fraction = "none" if self.fraction is None else f"{self.fraction:g}"
        fold = "" if self.fold is None else f"-k{self.fold}"
        return f"f{fraction}-s{self.seed}{fold}"


@dataclass(frozen=True)
class CellResult:
    """Predictions of a cell.

    Attributes:
        predictions: one task-specific row per prediction, or None if the cell was refused.
        info: sizes and what was selected; `omitted` gives the reason for a refusal.
        examples: arrays behind a picture of a few test cases, the same cases for every bundle.
    """

    predictions: pd.DataFrame | None
    info: dict[str, Any]
    examples: Mapping[str, NDArray[Any]] | None = None


def omitted(reason: str, **info: Any) -> CellResult:
    """Return the result of a cell that is refused for `reason`."""
    return CellResult(None, {**info, "omitted": reason})


def refusal(
    protocol: Protocol, n_train: int, n_pos: int | None = None, n_neg: int | None = None
) -> str | None:
    """Say why a cell is too small to mean anything, or None; counts that do not apply are None."""
    limit = protocol["refuse_below"]
    if n_train < limit["images"]:
        return f"{n_train} training images, fewer than {limit['images']}"
    if n_pos is not None and n_pos < limit["positives"]:
        return f"{n_pos} positive training images, fewer than {limit['positives']}"
    if n_neg is not None and n_neg < limit["negatives"]:
        return f"{n_neg} negative training images, fewer than {limit['negatives']}"
    return None


def cell_seed(data: PreparedDataset, protocol: Protocol, cell: Cell) -> int:
    """Return the one seed of everything random in a cell: equal for all bundles, so that they are paired."""
    parts = (protocol.task, data.name, protocol.family, protocol.setting, cell.name)
    return int(hashlib.sha256("|".join(parts).encode()).hexdigest()[:8], 16) % 2**31


def selection_cell(data: PreparedDataset, protocol: Protocol, cell: Cell) -> Cell:
    """Return the cell on which the hyperparameters of `cell` are chosen: the same on the first seed.

    Where every seed has a split of its own it is `cell` itself: the first seed's validation images may be
    test images of the others.
    """
    if split_preset(data, protocol, cell).startswith("seeded"):
        return cell
    return replace(cell, seed=protocol.first_seed)


def check_place(data: PreparedDataset, protocol: Protocol, cells: Sequence[Cell]) -> None:
    """Stop if a setting that holds for certain datasets or label fractions is used elsewhere.

    Raises:
        InputError: `datasets` or `fractions` of the protocol do not list the dataset or a cell's fraction.
    """
    where = f"prior/protocols/{protocol.family}.yaml: {protocol.task} {protocol.setting}"
    datasets = protocol.knobs.get("datasets")
    if datasets is not None and data.name not in datasets:
        raise InputError(
            f"{where} holds for {', '.join(datasets)}, not for {data.name}; choose another setting"
        )
    fractions = protocol.knobs.get("fractions")
    for cell in cells:
        if fractions is not None and cell.fraction not in fractions:
            raise InputError(
                f"{where} holds for fractions {fractions}, not for {cell.fraction}; change the evaluation"
            )


def split_preset(data: PreparedDataset, protocol: Protocol, cell: Cell) -> str:
    """Name the split that the protocol gives this dataset; `-image` where there is no patient key to leak.

    Raises:
        InputError: the cell has a fold, and the protocol no split into folds.
    """
    presets = protocol["split"]
    if cell.fold is not None and "folds" not in presets:
        raise InputError(
            f"prior/protocols/{protocol.family}.yaml: `split` of {protocol.task} {protocol.setting} names no "
            "`folds`; leave `folds` out of the evaluation"
        )
    return choose_preset(presets, data.name, cell.fold is not None, data.root / "splits")


def training_images(data: PreparedDataset, protocol: Protocol, cell: Cell) -> pd.DataFrame:
    """Return the labelled subset of a cell, ordered by rank, so that small fractions lie in larger ones."""
    return _images(data, protocol, cell, "train", 1.0 if cell.fraction is None else cell.fraction)


def unlabelled_training_images(data: PreparedDataset, protocol: Protocol, cell: Cell) -> pd.DataFrame:
    """Return every image of the training split, for statistics that use no labels."""
    return _images(data, protocol, cell, "train")


def validation_images(data: PreparedDataset, protocol: Protocol, cell: Cell) -> pd.DataFrame:
    """Return the validation images, cut with a floor and a cap.

    `share`, by dataset, says what part of them is used; without it, the same fraction as of training.
    """
    frame = _images(data, protocol, cell, "validation")
    knob = protocol["validation"]
    fraction = 1.0 if cell.fraction is None else cell.fraction
    if "share" in knob:
        fraction = knob["share"].get(data.name, knob["share"]["default"])
    count = take_fraction(len(frame), fraction, knob["floor"])
    return frame.head(min(count, knob["cap"] or count))


def test_images(data: PreparedDataset, protocol: Protocol, cell: Cell) -> pd.DataFrame:
    """Return the test images, the only place of the code that reads the test side of a split.

    Tasks ask for them after everything is selected.
    """
    return _images(data, protocol, cell, "test")


def read_subset(data: PreparedDataset, name: str) -> pd.DataFrame | None:
    """Return the list of a named selection (5x200, say) as it was prepared; None if the data have none."""
    path = data.root / "subsets" / f"{name}.parquet"
    return pd.read_parquet(path) if path.is_file() else None


def subset_images(data: PreparedDataset, name: str) -> pd.DataFrame | None:
    """Return the test images of a named selection with their `class`; None if the data have none."""
    table = read_subset(data, name)
    if table is None:
        return None
    return table.merge(data.images[ROW], on="image_id", validate="one_to_one")


def _images(
    data: PreparedDataset, protocol: Protocol, cell: Cell, split: str, fraction: float = 1.0
) -> pd.DataFrame:
    preset = split_preset(data, protocol, cell)
    if protocol.knobs.get("images") != POSITIVES_ONLY:
        return data.select(preset, cell.seed, split, fraction=fraction, fold=cell.fold)
    frame = data.select(preset, cell.seed, split, fold=cell.fold)
    frame = frame[frame["image_id"].isin({*data.masks["image_id"], *data.boxes["image_id"]})]
    return frame.head(take_fraction(len(frame), fraction)).reset_index(drop=True)
