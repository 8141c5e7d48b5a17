"""Whether pre-training saw a downstream test set: counted by patient, else told by the archive of both.

Of an encoder that others released, its corpora are known at best (`prior.importing.contamination`).
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from prior.data.files import read_json
from prior.data.splits import patient_keys
from prior.errors import InputError
from prior.importing.contamination import MARK_NOTES, contamination
from prior.provenance import hash_patients

ARCHIVES = {"rsna": "nih", "siim": "nih", "covidx": "nih"}
"""Data sets that were drawn, at least in part, from another archive; for those without patient keys."""
SEEN = "test patients in pre-training"
UNKNOWN = "test patients unknown"
OTHERS = "other patients of the same archive"
SIGNS = {SEEN: "‡", UNKNOWN: "‡", OTHERS: "§", "unknown": "‡", "patients": "‡", "images": "‡", "labels": "‡"}
CONTAMINATION_NOTES = {
    "‡": "‡: pre-training saw patients of this test set, or may have, as nothing says whose films these are.",
    "§": "§: another data set, but films of the archive that pre-training used; no patient is shared.",
}


def archive(manifest: Mapping[str, Any]) -> str:
    """The hospital archive that a data set's films come from: its patient family, or its own name."""
    name = str(manifest["dataset"])
    return str(manifest.get("patient_family") or ARCHIVES.get(name, name))


def describe(
    bundle: Mapping[str, Any], manifest: Mapping[str, Any], tested: Iterable[str], pairs: str, preset: str
) -> str:
    """Say what pre-training has in common with a test set; empty where that is nothing that a row has to say.

    Held-out patients of the pre-training data set itself are such a case: the row names both data sets.

    Args:
        bundle: description of the encoder, with `pretraining_data` and `trained_on`.
        manifest: of the data set that is tested on.
        tested: patient keys of the test images; of images where patients are not known.
        pairs: archive of the pre-training data.
        preset: split preset of the evaluation.
    """
    if bundle["method"] == "imported":
        mark = contamination(bundle["settings"]["trained_on"], str(manifest["dataset"]), preset)
        return "" if mark == "none" else f"{mark}: {MARK_NOTES[mark]}"
    if not bundle.get("pretraining_data"):
        return ""
    hashes = hash_patients(tested)
    seen = len(set(hashes) & set(bundle.get("trained_on") or []))
    if seen:
        return f"{SEEN}: {seen} of {len(hashes)}"
    own = archive(manifest)
    if own != pairs:
        return ""
    if not manifest.get("patient_family") or not bundle.get("trained_on"):
        return f"{UNKNOWN}: same archive ({own})"
    return "" if manifest["dataset"] == bundle["pretraining_data"] else f"{OTHERS}: {own}"


def sign(contamination: str) -> str:
    """The sign that tables put behind a value; empty for an empty text."""
    return SIGNS.get(contamination.partition(":")[0], "")


def contamination_notes(contaminations: Iterable[str]) -> list[str]:
    """What the signs of a table's rows mean."""
    used = {sign(text) for text in contaminations}
    return [note for mark, note in CONTAMINATION_NOTES.items() if mark in used]


def contaminations(predictions: Sequence[Path], prepared: Path, presets: Mapping[str, str]) -> dict[str, str]:
    """Evaluation, as rows name it in `run`, → what its encoder's pre-training shares with its test set.

    Args:
        predictions: `predictions/<task>/<dataset>/<protocol>-<setting>/<bundle>.json`, with their `.parquet`.
        prepared: `data/prepared`, with `manifest.json` and `images.parquet` of every data set.
        presets: evaluation, as rows name it, → its split preset.

    Raises:
        InputError: a data set is not prepared, or tested images are not among its records.
    """
    manifests = cache(lambda name: read_json(prepared / name / "manifest.json"))
    images = cache(lambda name: _keys(prepared / name, manifests(name)))
    archives = {
        str(found["dataset"]): archive(found)
        for found in (read_json(path) for path in sorted(prepared.glob("*/manifest.json")))
    }
    found = {}
    for path in predictions:
        name, bundle = path.parts[-3], read_json(path)["bundle"]
        tested = pd.read_parquet(path.with_suffix(".parquet"), columns=["image_id"])["image_id"].astype(str)
        keys = images(name).reindex(tested.unique())
        if keys.isna().any():
            raise InputError(
                f"{path}: {int(keys.isna().sum())} images are not among the records of {name}; evaluate again"
            )
        trained = str(bundle.get("pretraining_data") or "")
        pairs = archives.get(trained, ARCHIVES.get(trained, trained))
        run = "/".join(path.with_suffix("").parts[-4:])
        found[run] = describe(bundle, manifests(name), keys, pairs, presets.get(run, ""))
    return found


def _keys(folder: Path, manifest: Mapping[str, Any]) -> pd.Series:
    """Image → patient key."""
    images = pd.read_parquet(folder / "images.parquet", columns=["image_id", "patient_id"]).astype(str)
    keys = patient_keys(images, manifest.get("patient_family"), str(manifest["dataset"]))
    return keys.set_axis(images["image_id"])
