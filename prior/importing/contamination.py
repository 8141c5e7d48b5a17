"""Which evaluation data an outside encoder may have seen: one table of data sets, one function.

Nothing here needs torch. Which corpora a release was trained on is part of its layout, or of the settings.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Used = Literal["images", "labels", "reports"]
Part = Literal["all", "train"]
Mark = Literal["none", "unknown", "patients", "images", "labels"]

# Weakest first. What is certain of one corpus outweighs what is not known of another.
MARKS: tuple[Mark, ...] = ("none", "unknown", "patients", "images", "labels")
MARK_NOTES: dict[Mark, str] = {
    "none": "pre-training shared no patient with this data set",
    "unknown": "what pre-training saw is not known, or cannot be searched",
    "patients": "pre-training may have seen other films of the same patients",
    "images": "pre-training saw films of this data set",
    "labels": "pre-training saw films of this data set with its labels, or the reports behind them",
}


@dataclass(frozen=True)
class Corpus:
    """Data that a release was trained on.

    Attributes:
        name: name in `DATASETS`.
        used: what was used of it; the images always are.
        part: `train` where the official test patients were left out, else `all`.
    """

    name: str
    used: tuple[Used, ...] = ("images",)
    part: Part = "all"

    def record(self) -> dict[str, Any]:
        """Return the entry of `trained_on` in `bundle.json`."""
        return {"corpus": self.name, "used": list(self.used), "part": self.part}


@dataclass(frozen=True)
class Films:
    """Whose films a data set shows.

    Attributes:
        archive: hospital archive, or a name of its own; data sets of one archive share patients.
        release: whose labels, or reports behind the labels, it has.
        whole: it holds all films of its archive that any data set shows.
        open_web: its films can be seen on open web pages or in articles, so that a crawl may hold them.
        holds: data sets of which it has films.
    """

    archive: str
    release: str
    whole: bool = False
    open_web: bool = False
    holds: tuple[str, ...] = ()


DATASETS: dict[str, Films] = {
    "mimic_cxr": Films("mimic", "mimic_cxr", whole=True),
    "mimic_cxr_dicom": Films("mimic", "mimic_cxr", whole=True),
    # Boxes of its own, drawn for sentences of the reports.
    "ms_cxr": Films("mimic", "ms_cxr"),
    "chexpert": Films("chexpert", "chexpert", whole=True),
    "chexpert_plus": Films("chexpert", "chexpert", whole=True),
    "chexpert_5x200_gloria": Films("chexpert", "chexpert"),
    "chexpert_5x200_mgca": Films("chexpert", "chexpert"),
    "chexpert_5x200_prior": Films("chexpert", "chexpert"),
    "chexpert_8x200": Films("chexpert", "chexpert_8x200"),
    "nih_chestxray14": Films("nih", "nih", whole=True),
    "nih_boxes": Films("nih", "nih"),
    "nih_small": Films("nih", "nih"),
    # Drawn from NIH ChestX-ray14 and read again.
    "rsna": Films("nih", "rsna"),
    "siim": Films("nih", "siim"),
    "chestx_det": Films("nih", "chestx_det"),
    "chestx_det_release": Films("nih", "chestx_det"),
    "lesion_boxes": Films("nih", "chestx_det"),
    # Compiled from RSNA (thus NIH), articles and web pages.
    "covidx": Films("nih", "covidx", open_web=True, holds=("rsna",)),
    "iu_xray": Films("iu_xray", "iu_xray", whole=True, open_web=True),
    "vindr_cxr": Films("vindr", "vindr", whole=True),
    "object_cxr": Films("object_cxr", "object_cxr", whole=True),
    "tbx11k": Films("tbx11k", "tbx11k", whole=True),
    "covid_rural": Films("covid_rural", "covid_rural", whole=True),
    "kermany": Films("kermany", "kermany", whole=True),
    "kermany_release": Films("kermany", "kermany", whole=True),
    "kermany_lungs": Films("kermany", "kermany_lungs"),
    # Trained on by others, not evaluated on here.
    "padchest": Films("padchest", "padchest", whole=True),
    "brax": Films("brax", "brax", whole=True),
    # No films at all.
    "imagenet": Films("imagenet", "imagenet", whole=True),
}
# Crawls of web pages and of articles: nobody can say which films they hold.
CRAWLS = ("web", "pubmed_central")
CORPORA = (*DATASETS, *CRAWLS)
# Presets whose test patients are those of the release's own lists.
OFFICIAL = ("official", "official-image")


def contamination(trained_on: Sequence[Mapping[str, Any]], dataset: str, preset: str = "") -> Mark:
    """Return the mark of every row of one bundle on one data set.

    Args:
        trained_on: `settings["trained_on"]` of the bundle: mappings with `corpus`, `used` and `part`; empty
            where it is not known.
        dataset: name of the evaluation data set, as in its manifest.
        preset: split preset of the evaluation, if known: official test patients are held out of the official
            training part.

    Returns:
        The strongest mark of any corpus, in the order of `MARKS`.
    """
    if not trained_on or dataset not in DATASETS:
        return "unknown"
    marks = [_mark(entry, DATASETS[dataset], preset) for entry in trained_on]
    return max(marks, key=MARKS.index)


def archive_of(dataset: str) -> str:
    """Return the hospital archive that a data set's films come from; one that is not known has its own."""
    return DATASETS[dataset].archive if dataset in DATASETS else dataset


def _mark(entry: Mapping[str, Any], tested: Films, preset: str) -> Mark:
    name = entry["corpus"]
    if name in CRAWLS:
        return "unknown" if tested.open_web else "none"
    if name not in DATASETS:
        return "unknown"
    trained = DATASETS[name]
    if trained.archive != tested.archive:
        return "none"
    if trained.release == tested.release:
        if entry.get("part", "all") == "train" and preset in OFFICIAL:
            return "none"
        return "labels" if {"labels", "reports"} & set(entry["used"]) else "images"
    # Two selections from one archive may have no film in common, but no list says that they have no patient.
    return "images" if trained.whole or tested.whole or name in tested.holds else "patients"
