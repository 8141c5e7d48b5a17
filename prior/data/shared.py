"""What the training and test images of different data sets share, where several show films of one archive."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from prior.data.files import read_json, write_json
from prior.data.hashes import Copies, find_copies, signatures
from prior.data.keys import choose_preset, patient_keys
from prior.data.leaks import first_of, is_strict
from prior.data.schemas import read_table
from prior.errors import InputError

KINDS = {
    "patients": "patient",
    "studies": "study",
    "identical_images": "pixels",
}


@dataclass(frozen=True)
class Use:
    """One use of a data set: in pre-training, or in evaluations by one split preset.

    Attributes:
        dataset: folder below `data/prepared`.
        preset: its split preset.
        folded: whether evaluations go over folds, so that every image is trained and tested on.
    """

    dataset: str
    preset: str
    folded: bool = False


def shared_between_datasets(settings: Mapping[str, Any], prepared: Path, out: Path) -> None:
    """Write what pre-training and evaluations share across data sets, in the split of the first seed.

    Args:
        settings: `datasets`; `pretraining` (dataset, preset); `evaluations` (dataset, `split` as a protocol
            states it, folds).
        prepared: `data/prepared`, with manifest, images, hashes and splits of every data set.
        out: JSON file with `pretraining` and `evaluations`: rows of `train` and `test` (data set and
            preset), with the shared patients and studies and the test images: `test_images` of all,
            `identical_images`, `near_duplicate_images` (exact copies count as near ones too).

    Raises:
        InputError: patients of the test side of a `strict` preset are in pre-training, or one of the data
            sets was not prepared.
    """
    images = _read_images(prepared, settings["datasets"])
    copies = find_copies(signatures(images["perceptual"]))
    pretraining = Use(settings["pretraining"]["dataset"], settings["pretraining"]["preset"])
    uses = list(dict.fromkeys(_use(evaluation, prepared) for evaluation in settings["evaluations"]))
    train, test = Sides(images, prepared, "train"), Sides(images, prepared, "test")
    seen = [_compare(images, copies, pretraining, use, train(pretraining), test(use)) for use in uses]
    for use in uses:
        _require_unseen(images, pretraining, use, train(pretraining), test(use))
    rows = [
        _compare(images, copies, one, other, train(one), test(other))
        for one in uses
        for other in uses
        if one.dataset != other.dataset
    ]
    write_json(out, {"pretraining": seen, "evaluations": [row for row in rows if _shares(row)]})


def _use(evaluation: Mapping[str, Any], prepared: Path) -> Use:
    folder, folded = prepared / evaluation["dataset"], evaluation["folds"] is not None
    name = str(read_json(folder / "manifest.json")["dataset"])
    preset = choose_preset(evaluation["split"], name, folded, folder / "splits")
    return Use(evaluation["dataset"], preset, folded)


def _read_images(prepared: Path, datasets: Sequence[str]) -> pd.DataFrame:
    """Return dataset, image_id, patient, study, pixels and perceptual of the images of all data sets."""
    parts = []
    for dataset in datasets:
        folder = prepared / dataset
        manifest = read_json(folder / "manifest.json")
        records, hashes = read_table(folder, "images"), read_table(folder, "hashes")
        family, name = manifest["patient_family"], manifest["dataset"]
        table = pd.DataFrame(
            {
                "dataset": dataset,
                "image_id": records["image_id"],
                "patient": patient_keys(records, family, name),
                "study": (family or name) + ":" + records["study_id"],
            }
        )
        parts.append(table.merge(hashes, on="image_id", validate="one_to_one"))
    return pd.concat(parts, ignore_index=True)


class Sides:
    """Marks the images of one side of a split among the images of all data sets."""

    def __init__(self, images: pd.DataFrame, prepared: Path, side: str) -> None:
        self.images, self.prepared, self.side = images, prepared, side
        self._found: dict[Use, NDArray[np.bool_]] = {}

    def __call__(self, use: Use) -> NDArray[np.bool_]:
        """Return bool [n]."""
        if use not in self._found:
            table = read_table(self.prepared / use.dataset, f"splits/{use.preset}")
            table = table[table["seed"] == table["seed"].min()]
            chosen = table if use.folded else table[table["split"] == self.side]
            own = self.images["dataset"] == use.dataset
            self._found[use] = (own & self.images["image_id"].isin(chosen["image_id"])).to_numpy(bool)
        return self._found[use]


def _compare(
    images: pd.DataFrame,
    copies: Copies,
    left: Use,
    right: Use,
    train: NDArray[np.bool_],
    test: NDArray[np.bool_],
) -> dict[str, Any]:
    tested = images[test]
    shared = {kind: tested[column].isin(images.loc[train, column]) for kind, column in KINDS.items()}
    return {
        "train": {"dataset": left.dataset, "preset": left.preset},
        "test": {"dataset": right.dataset, "preset": right.preset},
        "test_images": len(tested),
        "patients": int(tested.loc[shared["patients"], "patient"].nunique()),
        "studies": int(tested.loc[shared["studies"], "study"].nunique()),
        "identical_images": int(shared["identical_images"].sum()),
        "near_duplicate_images": int(copies.among(train, test).sum()),
    }


def _shares(row: Mapping[str, Any]) -> bool:
    return any(row[kind] for kind in (*KINDS, "near_duplicate_images"))


def _require_unseen(
    images: pd.DataFrame, left: Use, right: Use, train: NDArray[np.bool_], test: NDArray[np.bool_]
) -> None:
    """Stop if pre-training has patients of the test side of a strict preset."""
    tested = images[test]
    seen = tested[tested["patient"].isin(images.loc[train, "patient"])]
    if is_strict(right.preset) and len(seen):
        raise InputError(
            f"pre-training on {left.dataset} ({left.preset}, train) has {seen['patient'].nunique()} of "
            f"{tested['patient'].nunique()} test patients of {right.dataset} ({right.preset}), with test "
            f"images {first_of(seen['image_id'].tolist())}; pre-train on a preset that leaves them out "
            "(strict, strict-pretrain), or evaluate by one that is not called strict"
        )
