"""Whether pre-training saw a downstream test set: counted by patient, else told by the archive of both.

Of an encoder that others released, its corpora are known at best (`prior.importing.contamination`).
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from prior.data.files import read_json
from prior.data.keys import patient_keys
from prior.errors import InputError
from prior.importing.contamination import DATASETS, MARK_NOTES, MARKS, Mark, archive_of, contamination
from prior.provenance import hash_patients

OTHERS = "none: other patients of the same archive"
CONTAMINATION_NOTES = {
    "‡": "‡: pre-training saw patients of this test set, or may have; `contamination` says what it saw "
    f"({'; '.join(f'{mark}: {note}' for mark, note in MARK_NOTES.items())}).",
    "§": "§: another data set, but films of the archive that pre-training used; no patient is shared.",
}
IMAGES_ALONE = ("simclr",)
"""Methods that use neither reports nor labels of their pairs."""


def archive(manifest: Mapping[str, Any]) -> str:
    """The hospital archive that a data set's films come from: its patient family, or its own name."""
    return str(manifest.get("patient_family") or archive_of(str(manifest["dataset"])))


def mark_of(contamination: str) -> str:
    """The mark alone: `none`, `unknown`, `patients`, `images` or `labels`; empty where nothing was said."""
    return contamination.partition(":")[0]


def strongest(contaminations: Iterable[str]) -> str:
    """The text of the strongest mark, in the order of MARKS."""
    return max(contaminations, key=lambda text: ("", *MARKS).index(mark_of(text)))


def _seen_mark(bundle: Mapping[str, Any], dataset: str) -> Mark:
    """What is seen of a test set some of whose patients are in pre-training."""
    own = str(bundle["pretraining_data"])
    used = ["images"] if bundle["method"] in IMAGES_ALONE else ["images", "reports"]
    if own == dataset:
        return "images" if used == ["images"] else "labels"
    if own not in DATASETS or dataset not in DATASETS or archive_of(own) != archive_of(dataset):
        return "patients"
    return contamination([{"corpus": own, "used": used}], dataset)


def describe(
    bundle: Mapping[str, Any], manifest: Mapping[str, Any], tested: Iterable[str], pairs: str, preset: str
) -> str:
    """Say what pre-training has in common with a test set: one of MARKS, and what it rests on.

    Args:
        bundle: description of the encoder, with `pretraining_data` and `trained_on`.
        manifest: of the data set that is tested on.
        tested: patient keys of the test images; of images where patients are not known.
        pairs: archive of the pre-training data.
        preset: split preset of the evaluation.
    """
    name = str(manifest["dataset"])
    if bundle["method"] == "imported":
        mark = contamination(bundle["settings"]["trained_on"], name, preset)
        return mark if mark == "none" else f"{mark}: {MARK_NOTES[mark]}"
    if not bundle.get("pretraining_data"):
        return "none"
    hashes = hash_patients(tested)
    seen = len(set(hashes) & set(bundle.get("trained_on") or []))
    if seen:
        return f"{_seen_mark(bundle, name)}: {seen} of {len(hashes)} test patients in pre-training"
    own = archive(manifest)
    if own != pairs:
        return "none"
    if not manifest.get("patient_family") or not bundle.get("trained_on"):
        return f"unknown: test patients cannot be told from those of the same archive ({own})"
    return "none" if name == bundle["pretraining_data"] else f"{OTHERS}: {own}"


def sign(contamination: str) -> str:
    """The sign that tables put behind a value; empty where there is nothing to say."""
    if mark_of(contamination) not in ("", "none"):
        return "‡"
    return "§" if contamination.startswith(OTHERS) else ""


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
        pairs = archives.get(trained, archive_of(trained))
        run = "/".join(path.with_suffix("").parts[-4:])
        found[run] = describe(bundle, manifests(name), keys, pairs, presets.get(run, ""))
    return found


def _keys(folder: Path, manifest: Mapping[str, Any]) -> pd.Series:
    """Image → patient key."""
    images = pd.read_parquet(folder / "images.parquet", columns=["image_id", "patient_id"]).astype(str)
    keys = patient_keys(images, manifest.get("patient_family"), str(manifest["dataset"]))
    return keys.set_axis(images["image_id"])
