"""Readers of raw folders: one module per dataset, the only places that know a raw format."""

import importlib
from pathlib import Path
from typing import Protocol, cast

from prior.datasets.base import RawDataset
from prior.errors import InputError

READERS: dict[str, str] = {
    "mimic_cxr": "prior.datasets.mimic_cxr",
    "mimic_cxr_dicom": "prior.datasets.mimic_cxr_dicom",
    "ms_cxr": "prior.datasets.ms_cxr",
    "iu_xray": "prior.datasets.iu_xray",
    "chexpert": "prior.datasets.chexpert",
    "chexpert_plus": "prior.datasets.chexpert_plus",
    "chexpert_5x200_gloria": "prior.datasets.chexpert_5x200_gloria",
    "chexpert_5x200_mgca": "prior.datasets.chexpert_5x200_mgca",
    "chexpert_5x200_prior": "prior.datasets.chexpert_5x200_prior",
    "chexpert_8x200": "prior.datasets.chexpert_8x200",
    "rsna": "prior.datasets.rsna",
    "siim": "prior.datasets.siim",
    "object_cxr": "prior.datasets.object_cxr",
    "chestx_det_release": "prior.datasets.chestx_det_release",
    "kermany_release": "prior.datasets.kermany_release",
    "nih_small": "prior.datasets.nih_small",
    "kermany": "prior.datasets.kermany",
    "kermany_lungs": "prior.datasets.kermany_lungs",
    "chestx_det": "prior.datasets.chestx_det",
    "lesion_boxes": "prior.datasets.lesion_boxes",
    "nih_chestxray14": "prior.datasets.nih_chestxray14",
    "nih_boxes": "prior.datasets.nih_boxes",
    "vindr_cxr": "prior.datasets.vindr_cxr",
    "covidx": "prior.datasets.covidx",
    "tbx11k": "prior.datasets.tbx11k",
    "covid_rural": "prior.datasets.covid_rural",
    "folder": "prior.datasets.folder",
}


class Reader(Protocol):
    """What a module of this package offers."""

    def read(self, root: Path) -> RawDataset:
        """Read the raw folder `root` without decoding an image."""
        ...


def load_reader(name: str) -> Reader:
    """Import the reader `name`.

    Raises:
        InputError: no dataset has that name.
    """
    if name not in READERS:
        raise InputError(f"dataset {name!r} is unknown; choose one of {', '.join(READERS)}")
    return cast(Reader, importlib.import_module(READERS[name]))
