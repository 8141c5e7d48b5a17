"""What the sides of a split share (patients, studies, copies, reports), and what gives a class away."""

import hashlib
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pyarrow.parquet import ParquetFile

from prior.data.hashes import Copies
from prior.data.lookup import positions
from prior.data.schemas import PART, SPLITS
from prior.errors import InputError

Counts = dict[str, dict[str, int]]
ALIASES = {"rnsa": "rsna"}
"""Sources that a release misspells in part."""
LISTED_BY_PATIENT = "lovt"
ALONE, ELSEWHERE, FEW = 0.95, 0.5, 10
NO_FINDING = "none of these"


def leak_report(
    split: pd.DataFrame,
    images: pd.DataFrame,
    hashes: pd.DataFrame,
    copies: Copies,
    texts: pd.DataFrame | None,
) -> Counts:
    """Count what each pair of sides of one preset has in common.

    Args:
        split: rows of `splits/<preset>` of one seed.
        images: the records.
        hashes: of the decoded images, `pixels`, row by row as in `images`.
        copies: of the images, row by row.
        texts: study_id and `words`, a hash of the normalised report text; None if there are no reports.

    Returns:
        `patients`, `studies`, `identical_images`, `identical_reports`: number of shared values per pair of
        sides ("train-test": 0 ...); `near_duplicate_images`: images of the second side that are an image of
        the first one, or look like it.
    """
    sides = _sides(split, images["image_id"])
    near = {f"{a}-{b}": int(copies.among(sides[a], sides[b]).sum()) for a, b in combinations(SPLITS, 2)}
    return {
        "patients": _shared(_codes(images["patient_id"]), sides),
        "studies": _shared(_codes(images["study_id"]), sides),
        "identical_images": _shared(_codes(hashes["pixels"]), sides),
        "identical_reports": _shared(_wordings(images["study_id"], texts), sides),
        "near_duplicate_images": near,
    }


def _sides(split: pd.DataFrame, image_ids: pd.Series) -> dict[str, NDArray[np.bool_]]:
    """Say which images are on which side; one may be on several."""
    return {side: positions(image_ids, split.loc[split["split"] == side, "image_id"]) >= 0 for side in SPLITS}


def _wordings(studies: pd.Series, texts: pd.DataFrame | None) -> NDArray[np.int64]:
    """Number the wording of the report of each image [n], -1 where there is none."""
    if texts is None or texts.empty:
        return np.full(len(studies), -1)
    at = positions(studies, texts["study_id"])
    return np.where(at >= 0, _codes(texts["words"])[at], -1)


def _codes(values: pd.Series) -> NDArray[np.int64]:
    """Number the different values; a missing one is -1."""
    return pd.factorize(values)[0]


def _shared(codes: NDArray[np.int64], sides: dict[str, NDArray[np.bool_]]) -> dict[str, int]:
    found = {side: np.unique(codes[members & (codes >= 0)]) for side, members in sides.items()}
    return {f"{a}-{b}": len(np.intersect1d(found[a], found[b])) for a, b in combinations(SPLITS, 2)}


def exposure(split: pd.DataFrame, images: pd.DataFrame, labels: pd.DataFrame | None) -> dict[str, Any]:
    """Count the held-out patients that are in training, and the positive images of such patients.

    Args:
        split: rows of `splits/<preset>` of one seed.
        images: the records, with patients.
        labels: image_id and findings, None if there are none.

    Returns:
        For `test` and `validation`: `patients`, `images` and, with labels, `positive_images`: `count` whose
        patient is in training, `of` all, `share`.
    """
    rows = split[["image_id", "split"]].merge(images[["image_id", "patient_id"]], on="image_id")
    if labels is not None:
        positive = labels.set_index("image_id").eq(1).any(axis=1)
        rows["positive"] = rows["image_id"].isin(positive.index[positive])
    rows["seen"] = rows["patient_id"].isin(rows.loc[rows["split"] == "train", "patient_id"])
    return {side: _seen(rows[rows["split"] == side]) for side in ("test", "validation")}


def _seen(held_out: pd.DataFrame) -> dict[str, Any]:
    seen = held_out["seen"]
    counts = {
        "patients": (held_out.loc[seen, "patient_id"].nunique(), held_out["patient_id"].nunique()),
        "images": (int(seen.sum()), len(held_out)),
    }
    if "positive" in held_out:
        counts["positive_images"] = (
            int((seen & held_out["positive"]).sum()),
            int(held_out["positive"].sum()),
        )
    return {
        kind: {"count": count, "of": of, "share": round(count / of, 4) if of else 0.0}
        for kind, (count, of) in counts.items()
    }


def sources_of_classes(labels: pd.DataFrame, images: pd.DataFrame) -> dict[str, Any]:
    """Say from which sources the images of each class come, and which class one source (almost) alone gives.

    Such a class can be told by the look of its source: in COVIDx, normal films are RSNA's.

    Args:
        labels: image_id and findings; an image without any of them is of the class `none of these`.
        images: image_id and `site`, the source, spelled as released.

    Returns:
        `images`: class -> source -> number. `confounded`: class, source, `share` of the class that comes from
        it (95 % or more) and `share_of_others`, of all other images (half or less). Classes of fewer than
        ten images are not judged.
    """
    site = images.set_index("image_id")["site"].replace(ALIASES).dropna()
    present = labels.set_index("image_id").eq(1).reindex(site.index, fill_value=False)
    classes = {str(name): present[name] for name in present} | {NO_FINDING: ~present.any(axis=1)}
    counts: dict[str, dict[str, int]] = {}
    confounded = []
    for name, members in classes.items():
        own, others = site[members].value_counts(), site[~members].value_counts()
        if own.empty:
            continue
        counts[name] = {str(source): int(count) for source, count in sorted(own.items())}
        source, share = str(own.index[0]), float(own.iloc[0] / own.sum())
        elsewhere = float(others.get(source, 0) / others.sum()) if len(others) else 1.0
        if own.sum() >= FEW and share >= ALONE and elsewhere <= ELSEWHERE:
            found = {"share": round(share, 4), "share_of_others": round(elsewhere, 4)}
            confounded.append({"class": name, "source": source, **found})
    return {"images": counts, "confounded": confounded}


def require_disjoint(split: pd.DataFrame, images: pd.DataFrame, preset: str, dataset: str) -> None:
    """Stop if a preset that promises patient-disjoint sides shares a patient or study.

    Args:
        split: rows of `splits/<preset>` of one seed.
        images: the records.
        preset: its name.
        dataset: for the message.

    Raises:
        InputError: a `strict` preset (not `-image`) leaks; the message names the first images of both sides.
    """
    if not is_strict(preset) and preset != LISTED_BY_PATIENT:
        return
    remedy = (
        "these lists leak: choose lovt-leaky"
        if preset == LISTED_BY_PATIENT
        else "a study must belong to one patient and a patient to one side: correct the ids in the raw tables"
    )
    sides = _sides(split, images["image_id"])
    for column, kind in (("patient_id", "patients"), ("study_id", "studies")):
        for pair, count in _shared(_codes(images[column]), sides).items():
            if count:
                a, b = pair.split("-")
                left, right = images[sides[a]], images[sides[b]]
                shared = min(set(left[column]) & set(right[column]))
                first = [side.loc[side[column] == shared, "image_id"].iloc[0] for side in (left, right)]
                raise InputError(
                    f"splits/{preset} of {dataset}: {count} {kind} occur on both sides of {pair}, the "
                    f"first with images {first[0]} and {first[1]}; {remedy}"
                )


def is_strict(preset: str) -> bool:
    """Whether a preset promises that no patient is on two sides."""
    return preset.startswith("strict") and not preset.endswith("-image")


def first_of(values: Sequence[str], count: int = 3) -> str:
    """Return the first values for a message, and that there are more."""
    return ", ".join(values[:count]) + (", ..." if len(values) > count else "")


def normalised_texts(path: Path) -> pd.DataFrame:
    """Return study_id and `words`, a hash of the report in lower case with single blanks.

    Args:
        path: table `reports`, of which a part is held at a time.
    """
    reports = ParquetFile(path, pre_buffer=False, buffer_size=1 << 20)  # else the file is held
    parts = [
        pd.DataFrame({"study_id": part["study_id"].to_pandas(), "words": _hashes(part["text"].to_pylist())})
        for part in reports.iter_batches(PART, columns=["study_id", "text"])
    ]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame({"study_id": [], "words": []})


def _hashes(texts: Sequence[str]) -> NDArray[np.uint64]:
    # 64 bits: of a million reports, two different ones fall together in one of forty million corpora.
    short = b"".join(hashlib.sha256(" ".join(text.lower().split()).encode()).digest()[:8] for text in texts)
    return np.frombuffer(short, dtype=np.uint64)
