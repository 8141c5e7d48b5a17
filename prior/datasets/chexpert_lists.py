"""Selections from CheXpert's training list for zero-shot and retrieval: what 5x200 and 8x200 share.

Papers mean different image sets by "CheXpert 5x200", so every rule is a dataset of its own name. All are cut
from `train.csv`: an encoder that was trained on CheXpert has seen them unless their patients were left out.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from prior.data.files import atomic_path
from prior.datasets import base, chexpert
from prior.datasets.published_lists import recognise, sha256_start
from prior.datasets.raw_files import require_inside
from prior.errors import InputError

POSITIVE_IF_UNCERTAIN = ("Atelectasis", "Edema", "Pleural_Effusion")
Rule = Callable[[pd.DataFrame], pd.Series]
Draw = Callable[[pd.Series], pd.Series]


class Published(NamedTuple):
    """A list that somebody published: its file and the paths of its images."""

    file: Path
    paths: pd.Series


def gloria_rule(labels: pd.DataFrame) -> pd.Series:
    """Return the class of the images that qualify under GLoRIA's rule (MGCA took it over), by image_id.

    One of five findings is present; the other four and eight further ones (all but No Finding) are absent or
    not mentioned. A single uncertain label among them excludes the image.
    """
    names = [name for name in labels.columns if name not in ("image_id", "No_Finding")]
    values = labels.set_index("image_id")[names].fillna(0.0)
    alone = (values == 1).sum(axis=1).eq(1) & (values == -1).sum(axis=1).eq(0)
    return _class_of(values[alone])


def prior_rule(labels: pd.DataFrame) -> pd.Series:
    """Return the class of the images that qualify under PRIOR's rule, by image_id.

    Uncertain Atelectasis, Edema and Pleural Effusion count as present, uncertain Cardiomegaly and
    Consolidation as absent; then exactly one of the five is present. The other nine do not matter.
    """
    values = labels.set_index("image_id")[list(chexpert.FIVE)].fillna(0.0)
    for name in chexpert.FIVE:
        values[name] = values[name].replace(-1.0, 1.0 if name in POSITIVE_IF_UNCERTAIN else 0.0)
    return _class_of(values[(values == 1).sum(axis=1).eq(1)])


def _class_of(values: pd.DataFrame) -> pd.Series:
    five = values[list(chexpert.FIVE)] == 1
    return five[five.any(axis=1)].idxmax(axis=1).astype(str)


def by_hash(classes: pd.Series) -> pd.Series:
    """Return the first 200 of each class in the order of sha256(`5x200:<image_id>`)."""
    key = classes.index.map(lambda image: hashlib.sha256(f"5x200:{image}".encode()).hexdigest())
    return _first(classes.iloc[key.argsort()])


def _first(classes: pd.Series) -> pd.Series:
    return classes[classes.groupby(classes).cumcount() < chexpert.PER_CLASS]


def read_selection(
    root: Path, name: str, rule: Rule, draw: Draw, listed: Published | None
) -> base.RawDataset:
    """Read CheXpert and keep the images of a selection.

    Args:
        root: CheXpert as for `chexpert`.
        name: of the dataset.
        rule: labels of the frontal training images -> class of those that qualify.
        draw: chooses among them, where no list does.
        listed: published list, None to draw.

    Raises:
        InputError: CheXpert or the list is wrong, or a listed image does not qualify.
    """
    raw = chexpert.read(root)
    if raw.labels is None:
        raise InputError(f"{root}: CheXpert has no labels; use train.csv as released")
    images = raw.images
    frontal = images[(images["official_split"] == "train") & (images["view"] != "LATERAL")]
    classes = rule(raw.labels[raw.labels["image_id"].isin(frontal["image_id"])])
    if classes.empty:
        raise InputError(
            f"{raw.root / 'train.csv'} has no image that qualifies for {name}; use the whole list"
        )
    chosen = draw(classes) if listed is None else classes[require_listed(listed, classes)]
    raw.images = keep(images, set(chosen.index)).assign(official_split="test")
    raw.labels = keep(raw.labels, set(chosen.index))
    raw.name, raw.strict_pool = name, None
    if listed is None:
        raw.layout += ", selected by rule"
    else:
        raw.layout += f", {listed.file.name} (sha256 {sha256_start(listed.file)})"
        raw.notes[listed.file.name] = recognise(listed.file, "chexpert", "test")
    raw.notes |= {
        "cut from": "CheXpert's train.csv: an encoder trained on it has seen these patients",
        "qualify": {str(kind): int(count) for kind, count in classes.value_counts(sort=False).items()},
        "chosen": {str(kind): int(count) for kind, count in chosen.value_counts(sort=False).items()},
    }
    return raw


def keep(frame: pd.DataFrame, image_ids: set[str]) -> pd.DataFrame:
    """Return the rows of some images."""
    return frame[frame["image_id"].isin(image_ids)].reset_index(drop=True)


def read_paths(file: Path) -> Published:
    """Return the column `Path` of a published csv."""
    frame = base.read_csv(file, ["Path"])
    base.require_present(frame, "Path", file)
    base.require_unique(frame, "Path", file)
    return Published(file, frame["Path"])


def image_ids(listed: Published) -> pd.Series:
    """Return the ids that `chexpert` gives to the images at `.../<list>/<patient>/<study>/<file>`.

    Raises:
        InputError: a path is shorter or leads out of the folder.
    """
    require_inside(listed.paths, listed.file)
    short = listed.paths.str.count("/") < 3
    if short.any():
        wrong = listed.paths[short].iloc[0]
        raise InputError(
            f"{listed.file}: {wrong!r} is not .../train/patientNNNNN/studyN/file.jpg; correct it"
        )
    return listed.paths.str.split("/").str[-4:].str.join("_").str.rsplit(".", n=1).str[0]


def require_listed(listed: Published, classes: pd.Series) -> list[str]:
    """Return the ids of listed images; an image that does not qualify is an InputError."""
    ids = image_ids(listed)
    wrong = ~ids.isin(classes.index)
    if wrong.any():
        raise InputError(
            f"{listed.file} names {listed.paths[wrong].iloc[0]}, which is not in train.csv or does not "
            f"qualify by the rule ({int(wrong.sum())} of {len(ids)}); this is the list of another selection"
        )
    return ids.tolist()


def write_classes(out: Path, raw: base.RawDataset, rule: Rule) -> list[Path]:
    """Write `subsets/5x200.parquet` (image_id, class), which zero-shot scores with exclusive classes."""
    if raw.labels is None:
        return []
    classes = rule(raw.labels)
    path = out / "subsets" / "5x200.parquet"
    with atomic_path(path) as temporary:
        pd.DataFrame({"image_id": classes.index, "class": classes.to_numpy()}).astype(str).to_parquet(
            temporary, index=False
        )
    return [path]
