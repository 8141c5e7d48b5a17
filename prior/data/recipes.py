"""How peers draw their splits: by image or by row of a table, with fixed states of a random generator."""

from collections.abc import Collection

import numpy as np
import pandas as pd
from numpy.typing import NDArray

# By image, in the order of the ids (grouping RSNA's boxes by image leaves GLoRIA and MGCA in it): share held
# out, scikit-learn's state, whether positives are spread evenly. 70/15/15 is GLoRIA's and MGCA's
# classification of RSNA, 60/20/20 MGCA's detection and segmentation, the stratified one BenchX's.
BY_IMAGE = {
    "random-70-15-15": (0.3, 0, False),
    "random-60-20-20": (0.4, 0, False),
    "stratified-70-15-15": (0.3, 42, True),
}
# MGCA: a fifth of COVIDx's training list, a tenth of Object-CXR's, and 5,000 images of CheXpert's, are the
# validation set.
COVIDX, COVIDX_SHARE = "covidx-80-20", 0.2
OBJECTS, OBJECTS_SHARE = "object-90-10-image", 0.1
CHEXPERT_LEAKY, CHEXPERT_IMAGES = "chexpert-5000-leaky", 5000
# GLoRIA and MGCA: rows of SIIM's table, of which an image with several masks has several.
ROWS_LEAKY, ROWS_HELD_OUT = "siim-rows-70-15-15-leaky", 0.3
CHEXPERT_VALID, CHEXPERT_TEST = "chexpert-valid202", "chexpert-test500"

DRAWN = (*BY_IMAGE, COVIDX)
LEAKY = (*(f"{recipe}-leaky" for recipe in DRAWN), CHEXPERT_LEAKY, ROWS_LEAKY)
NAMED = (CHEXPERT_VALID, CHEXPERT_TEST)
# Official sides that a preset needs beside a training list.
NEEDED = {
    **dict.fromkeys((CHEXPERT_LEAKY, CHEXPERT_VALID, OBJECTS), "validation"),
    **dict.fromkeys((CHEXPERT_TEST, f"{COVIDX}-leaky", f"{COVIDX}-image"), "test"),
}


def hold_out(
    rows: NDArray[np.int64], share: float, state: int, positive: NDArray[np.bool_] | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows that stay and those held out, as scikit-learn shuffles them with `state`."""
    # Only these recipes need scikit-learn, and preparation starts in every job.
    from sklearn.model_selection import train_test_split

    groups = None if positive is None else positive[rows]
    kept, out = train_test_split(rows, test_size=share, random_state=state, stratify=groups)
    return kept, out


def by_image(positive: NDArray[np.bool_], held_out: float, state: int, stratified: bool) -> NDArray[np.str_]:
    """Split n rows as peers do: hold a share out and halve it; the first half is the test set.

    Args:
        positive: bool [n].
        held_out: share.
        state: of the generator.
        stratified: spread positives evenly.
    """
    groups = positive if stratified else None
    _, rest = hold_out(np.arange(len(positive)), held_out, state, groups)
    test, validation = hold_out(rest, 0.5, state, groups)
    split = np.full(len(positive), "train", dtype="<U10")
    split[test], split[validation] = "test", "validation"
    return split


def by_table_rows(rows: pd.Series) -> pd.DataFrame:
    """Split the rows of a table 70/15/15 with state 0; an image with several rows may be on several sides.

    Args:
        rows: image_id of every row of the table, in its order.

    Returns:
        image_id, split; once for each side that an image is on.
    """
    sides = by_image(np.zeros(len(rows), dtype=bool), ROWS_HELD_OUT, 0, stratified=False)
    placed = pd.DataFrame({"image_id": rows.to_numpy(), "split": sides})
    return placed.drop_duplicates(ignore_index=True)


def within_official(preset: str, official: pd.Series) -> pd.Series:
    """Draw the validation set from the official training list and keep the official test set.

    Args:
        preset: `covidx-80-20-*`, or `chexpert-5000-leaky` or `object-90-10-image`, whose test set is the
            official validation list.
        official: side of each image in the official lists.

    Returns:
        train, validation, test or missing.
    """
    if preset == CHEXPERT_LEAKY:
        pool = np.flatnonzero(official == "train")
        # A short list must keep training images; the released one has forty times as many.
        count = min(CHEXPERT_IMAGES, len(pool) // 10)
        drawn = pool[np.random.RandomState(0).choice(len(pool), count, replace=False)]
        split = official.where(official == "train").mask(official == "validation", "test")
    elif preset == OBJECTS:
        split = official.where(official == "train").mask(official == "validation", "test")
        _, drawn = hold_out(np.flatnonzero(split == "train"), OBJECTS_SHARE, 0)
    else:
        # Our reader takes its validation set out of a training list without one.
        split = official.mask(official == "validation", "train")
        _, drawn = hold_out(np.flatnonzero(split == "train"), COVIDX_SHARE, 0)
    split.iloc[drawn] = "validation"
    return split


def fits(preset: str, dataset: str) -> bool:
    """Whether a recipe for one data set is for this one."""
    own = [name for name in (*NEEDED, ROWS_LEAKY) if name == preset]
    return not own or dataset.startswith(preset.partition("-")[0])


def needed_side(preset: str, official: Collection[str]) -> str | None:
    """Return the official side that a recipe needs and the dataset has not, if any."""
    needed = NEEDED.get(preset)
    return needed if needed is not None and needed not in official else None
