"""A prepared dataset as the tasks see it: tables, image store, splits and label fractions."""

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from prior.data.files import read_json
from prior.data.geometry import placement
from prior.data.keys import FOLDS, take_fraction
from prior.data.schemas import OPTIONAL_TABLES, empty_table, read_table
from prior.data.store import open_store
from prior.errors import InputError

VALIDATION_FLOOR = 32


class PreparedDataset:
    """Read-only view of `data/prepared/<dataset>`.

    Args:
        root: the folder; it must hold `manifest.json`.

    Raises:
        InputError: the folder was not prepared.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        path = root / "manifest.json"
        if not path.is_file():
            raise InputError(f"{path} is missing; run `prior prepare` for dataset {root.name} first")
        self.manifest: dict[str, Any] = read_json(path)
        self._splits: dict[str, pd.DataFrame] = {}

    @property
    def name(self) -> str:
        """Name of the dataset."""
        return str(self.manifest["dataset"])

    @cached_property
    def images(self) -> pd.DataFrame:
        """All readable images; `row` indexes the stores."""
        return read_table(self.root, "images")

    @cached_property
    def labels(self) -> pd.DataFrame:
        """Findings of the images: 1, 0, -1 or missing."""
        return self._table("labels")

    @cached_property
    def boxes(self) -> pd.DataFrame:
        """Boxes in original pixels."""
        return self._table("boxes")

    @cached_property
    def masks(self) -> pd.DataFrame:
        """Masks as COCO compressed RLE of the original size."""
        return self._table("masks")

    @cached_property
    def reports(self) -> pd.DataFrame:
        """Reports by study."""
        return self._table("reports")

    @cached_property
    def sentences(self) -> pd.DataFrame:
        """Sentences of the reports."""
        return self._table("sentences")

    @property
    def findings(self) -> list[str]:
        """Names of the label columns."""
        return [str(name) for name in self.labels.columns if name != "image_id"]

    def pixels(self, size: int, fit: str = "pad") -> NDArray[np.uint8]:
        """Return the image store, uint8 [N, size, size], memory-mapped."""
        return open_store(self.root / f"images_{size}_{fit}.npy")

    def mask_pixels(self, size: int, fit: str = "pad") -> NDArray[np.uint8]:
        """Return the union of the masks, uint8 {0, 1} [N, size, size]; zeros where there are none."""
        path = self.root / f"masks_{size}_{fit}.npy"
        if path.is_file():
            return open_store(path)
        rows = int(self.manifest["counts"]["store_rows"])
        return np.broadcast_to(np.zeros((), dtype=np.uint8), (rows, size, size))

    def geometry(self, size: int, fit: str = "pad") -> pd.DataFrame:
        """Return image_id, scale_x, scale_y, pad_x, pad_y with x_store = x * scale_x + pad_x."""
        shapes = self.images[["height", "width"]].to_numpy()
        places = [placement(int(height), int(width), size, fit) for height, width in shapes]
        return pd.DataFrame(
            {
                "image_id": self.images["image_id"],
                "scale_x": np.array([place.width for place in places]) / shapes[:, 1],
                "scale_y": np.array([place.height for place in places]) / shapes[:, 0],
                "pad_x": np.array([place.pad_x for place in places], dtype=float),
                "pad_y": np.array([place.pad_y for place in places], dtype=float),
            }
        )

    def store_boxes(self, size: int, fit: str = "pad") -> pd.DataFrame:
        """Return the boxes in pixels of the store."""
        boxes = self.boxes.merge(self.geometry(size, fit), on="image_id", how="left")
        for axis in ("x", "y"):
            for side in ("min", "max"):
                name = f"{axis}_{side}"
                boxes[name] = boxes[name] * boxes[f"scale_{axis}"] + boxes[f"pad_{axis}"]
        return boxes[["image_id", "label", "x_min", "y_min", "x_max", "y_max"]]

    def split(self, preset: str, seed: int) -> pd.DataFrame:
        """Return image_id, row, patient_id, study_id, split, fold, rank of one preset and seed.

        Raises:
            InputError: the preset or seed was not prepared.
        """
        if preset not in self._splits:
            self._splits[preset] = read_table(self.root, f"splits/{preset}")
        table = self._splits[preset]
        chosen = table[table["seed"] == seed]
        if chosen.empty:
            raise InputError(
                f"{self.root}/splits/{preset}.parquet has no seed {seed} (seeds: "
                f"{sorted(int(value) for value in table['seed'].unique())}); add it to the seeds to prepare"
            )
        columns = ["image_id", "row", "patient_id", "study_id"]
        joined = chosen.merge(self.images[columns], on="image_id", how="inner", validate="many_to_one")
        return joined[[*columns, "split", "fold", "rank"]].reset_index(drop=True)

    def select(
        self, preset: str, seed: int, split: str, fraction: float = 1.0, fold: int | None = None
    ) -> pd.DataFrame:
        """Return one side of a split, ordered by rank (test: by image_id).

        Args:
            preset: split preset.
            seed: which ranking.
            split: train, validation or test.
            fraction: share of the ranked images of train or validation; validation keeps at least 32.
            fold: with a fold preset, images of this fold are test, of the next one validation.
        """
        table = self.split(preset, seed)
        if fold is not None:
            if not table["fold"].ge(0).any() or not 0 <= fold < FOLDS:
                raise InputError(f"splits/{preset} of {self.name} has no fold {fold}; use strict-5fold")
            table["split"] = _split_of_folds(table["fold"], fold)
        side = table[table["split"] == split]
        if split == "test":
            return side.sort_values("image_id").reset_index(drop=True)
        count = take_fraction(len(side), fraction, VALIDATION_FLOOR if split == "validation" else 1)
        return side.sort_values("rank").head(count).reset_index(drop=True)

    def _table(self, name: str) -> pd.DataFrame:
        if name in OPTIONAL_TABLES and not (self.root / f"{name}.parquet").is_file():
            return empty_table(name)
        return read_table(self.root, name)


def _split_of_folds(folds: pd.Series, test: int) -> pd.Series:
    validation = (test + 1) % FOLDS
    names = dict.fromkeys(range(FOLDS), "train") | {test: "test", validation: "validation"}
    return folds.map(names)
