"""Splits by hash that keep patients apart, the recipes of peers, and ranks, behind nested label fractions."""

import hashlib
from collections.abc import Collection, Iterator, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from prior.data import recipes
from prior.data.keys import bucket, fold_of, split_of
from prior.data.lookup import positions, ranks
from prior.errors import InputError

PRESETS = ("strict", "strict-image", "strict-5fold", "strict-5fold-image", "strict-pretrain")
OFFICIAL = ("official", "official-image")
OFFICIAL_VALIDATION = ("official-validation", "official-validation-image")
# By patient, 60/20/20, another split for every seed (PRIOR's supervised classification has five).
SEEDED = ("seeded-60-20-20", "seeded-60-20-20-image")
# Lists that peers published; their fractions are the first rows.
LISTED = ("lovt", "lovt-leaky", "lovt-image")
ALL_PRESETS = (
    *(*PRESETS, *OFFICIAL, *OFFICIAL_VALIDATION, *SEEDED, *recipes.LEAKY, *recipes.NAMED, *LISTED),
    *(f"{recipe}-image" for recipe in recipes.DRAWN),
    recipes.OBJECTS,
)


def check_preset(preset: str, family: str | None, official: Collection[str], dataset: str) -> None:
    """Stop if `preset` does not exist or promises something that this dataset cannot keep.

    Args:
        preset: its name.
        family: prefix of the patient keys, None if there are none.
        official: sides that the official lists of the dataset name.
        dataset: for the message.

    Raises:
        InputError: unknown preset, no official list, or `-image` not as the patient key demands.
    """
    if preset not in ALL_PRESETS:
        raise InputError(f"split preset {preset!r} is unknown; choose one of {', '.join(ALL_PRESETS)}")
    if not recipes.fits(preset, dataset):
        raise InputError(f"split preset {preset!r} is not for dataset {dataset}; choose strict")
    needed = "test" if preset in OFFICIAL else "validation" if preset in OFFICIAL_VALIDATION else None
    missing = recipes.needed_side(preset, official) or (needed if needed not in official else None)
    if missing is not None:
        instead = "strict" if family is not None else "strict-image"
        raise InputError(
            f"split preset {preset!r}: dataset {dataset} has no official {missing} list; choose {instead}"
        )
    # Rows of one image on two sides leak whatever is known of patients.
    if preset == recipes.ROWS_LEAKY:
        return
    if family is None and not preset.endswith("-image"):
        raise InputError(
            f"split preset {preset!r}: dataset {dataset} has no patient key, so images cannot be split by "
            f"patient, nor leaks be counted; choose {_counterpart(preset, '-image')}"
        )
    if family is not None and preset.endswith("-image"):
        raise InputError(
            f"split preset {preset!r}: dataset {dataset} has patient keys; choose {_counterpart(preset, '')}"
        )


def _counterpart(preset: str, ending: str) -> str:
    """Return the preset that does the same with patient keys (no ending), or without (`-image`)."""
    stem = preset.removesuffix("-image").removesuffix("-leaky")
    wanted = [f"{stem}{ending}"] if ending else [stem, f"{stem}-leaky"]
    return next((name for name in wanted if name in ALL_PRESETS), f"strict{ending}")


def default_presets(family: str | None, official: Collection[str]) -> tuple[str, ...]:
    """Return the presets that a dataset can keep when none is asked for."""
    ending = "" if family is not None else "-image"
    names = [f"strict{ending}", f"strict-5fold{ending}"]
    return tuple([*names, f"official{ending}"] if "test" in official else names)


def make_split(
    preset: str,
    images: pd.DataFrame,
    labels: pd.DataFrame,
    keys: pd.Series,
    held_out: pd.Series,
    seeds: Sequence[int],
    placed: pd.DataFrame | None = None,
) -> Iterator[pd.DataFrame]:
    """Split the frontal `images` and rank them for every seed.

    Args:
        preset: how images are assigned.
        images: image_id, official_split and the rest of the records, only those that take part.
        labels: image_id and findings; rare positives come early in the ranks.
        keys: patient key of each image.
        held_out: True for patients that `strict-pretrain` leaves out.
        seeds: one ranking each.
        placed: image_id and split where tables say the sides; an image may be on several.

    Yields:
        Rows of `splits/<preset>` of one seed: image_id, seed, split, fold, rank.
    """
    if placed is not None:
        chosen = positions(placed["image_id"], images["image_id"])
        placed, chosen = placed[chosen >= 0].reset_index(drop=True), chosen[chosen >= 0]
        images, keys = images.iloc[chosen].reset_index(drop=True), keys.iloc[chosen].reset_index(drop=True)
    if preset in recipes.LEAKY:
        # What leaks is drawn by image too: patients are not kept together in the small fractions.
        keys = images["image_id"]
    positive = _positives(images["image_id"], labels)
    places = ranks(images["image_id"])
    buckets = _buckets(keys)
    folded = preset.startswith("strict-5fold")
    for seed in seeds:
        split = _assign(preset, images, keys, buckets, positive, seed) if placed is None else placed["split"]
        if preset == "strict-pretrain":
            split = split.mask(held_out.to_numpy(dtype=bool) & (split != "test"))
        keep = split.notna().to_numpy(dtype=bool)
        base = pd.DataFrame(
            {
                "image_id": images["image_id"].array[keep],
                "key": keys.array[keep],
                "split": split.array[keep],
                "fold": buckets.map(fold_of).to_numpy()[keep] if folded else -1,
            }
        )
        if preset in LISTED:
            yield _rank_as_listed(base, seed)
        else:
            yield _rank(base, places[keep], positive[keep], preset, seed, folded)


def _buckets(keys: pd.Series, prefix: str = "") -> pd.Series:
    codes, unique = pd.factorize(keys)
    found = np.fromiter((bucket(prefix + key) for key in unique), dtype=np.int64, count=len(unique))
    return pd.Series(found[codes], index=keys.index)


def _assign(
    preset: str,
    images: pd.DataFrame,
    keys: pd.Series,
    buckets: pd.Series,
    positive: NDArray[np.bool_],
    seed: int,
) -> pd.Series:
    recipe = preset.removesuffix("-leaky").removesuffix("-image")
    if recipe in recipes.BY_IMAGE:
        order = np.argsort(ranks(images["image_id"]))
        drawn = recipes.by_image(np.any(positive[order], axis=1), *recipes.BY_IMAGE[recipe])
        return pd.Series(drawn, index=images.index[order], dtype=object).sort_index()
    if recipe == recipes.COVIDX or preset in (recipes.CHEXPERT_LEAKY, recipes.OBJECTS):
        return recipes.within_official(preset, images["official_split"])
    if preset in SEEDED:
        seeded = _buckets(keys, f"{recipe}:{seed}:")
        return seeded.map(lambda b: "test" if b < 20 else "validation" if b < 40 else "train")
    hashed = buckets.map(split_of)
    if preset not in (*OFFICIAL, *OFFICIAL_VALIDATION, *recipes.NAMED):
        return hashed
    official = images["official_split"]
    if preset in OFFICIAL:
        return official
    # an official list is the test set; the official training list is split by hash
    tested = "test" if preset == recipes.CHEXPERT_TEST else "validation"
    training = hashed.where(buckets >= 20, "train")
    return training.where(official == "train").mask(official == tested, "test")


def _positives(image_ids: pd.Series, labels: pd.DataFrame) -> NDArray[np.bool_]:
    """Return [n, findings]: which image is positive for which finding."""
    at = positions(image_ids, labels["image_id"])
    positive = np.zeros((len(at), labels.shape[1] - 1), dtype=bool)
    for column, name in enumerate(name for name in labels.columns if name != "image_id"):
        # position -1, an image without labels, takes the last value
        positive[:, column] = np.append((labels[name] == 1).to_numpy(dtype=bool), False)[at]
    return positive


def _rank(
    base: pd.DataFrame,
    places: NDArray[np.int64],
    positive: NDArray[np.bool_],
    preset: str,
    seed: int,
    folded: bool,
) -> pd.DataFrame:
    codes, unique = pd.factorize(base["key"])
    hashes = (hashlib.sha256(f"{preset}:{seed}:{key}".encode()).digest() for key in unique)
    turns = np.argsort(np.argsort(np.fromiter(hashes, dtype="S32", count=len(unique))))[codes]
    rank = np.full(len(base), np.nan)
    sides = ("train", "validation")
    groups = [base["split"].notna()] if folded else [base["split"] == name for name in sides]
    for members in groups:
        index = np.flatnonzero(members.to_numpy(dtype=bool))
        if len(index):
            order = _positives_first(index[np.lexsort((places[index], turns[index]))], positive)
            rank[order] = np.arange(len(order)) / len(order)
    return base.assign(seed=seed, rank=rank)[["image_id", "seed", "split", "fold", "rank"]]


def _rank_as_listed(base: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Rank by the order of the rows, the same for every seed."""
    groups = base.groupby("split")["image_id"]
    rank = (groups.cumcount() / groups.transform("size")).where(base["split"] != "test")
    return base.assign(seed=seed, rank=rank)[["image_id", "seed", "split", "fold", "rank"]]


def _positives_first(order: NDArray[np.int64], positive: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Move the first positive image of every finding to the front; all others keep their order.

    Rarest findings choose first, so an image that covers several findings is moved once.
    """
    counts = positive[order].sum(axis=0)
    covered = np.zeros(positive.shape[1], dtype=bool)
    chosen: list[int] = []
    for finding in np.argsort(counts, kind="stable"):
        if counts[finding] and not covered[finding]:
            chosen.append(int(np.argmax(positive[order, finding])))
            covered |= positive[order[chosen[-1]]]
    front = np.sort(np.asarray(chosen, dtype=np.int64))
    rest = np.setdiff1d(np.arange(len(order)), front)
    moved: NDArray[np.int64] = order[np.concatenate([front, rest])]
    return moved
