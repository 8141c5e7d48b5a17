"""Data sets that show films of one archive, simulated as they are released."""

import pytest

from prior.data.files import read_json
from prior.data.prepare import prepare
from prior.data.shared import shared_between_datasets
from prior.errors import InputError
from tests.datasets.archives import archive

pytestmark = [
    pytest.mark.filterwarnings("ignore:Invalid value for VR AS"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:pycocotools"),
]
BY_IMAGE = "random-70-15-15-leaky"
PRESETS = {
    "nih_chestxray14": ["strict", "official"],
    "rsna": ["strict", BY_IMAGE],
    "covidx": ["strict"],
    "chestx_det": ["strict"],
    "mimic_cxr": ["strict", "official"],
    "ms_cxr": ["strict"],
}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prepared")
    for name, presets in PRESETS.items():
        prepare(name, archive(name), folder / name, 64, presets=presets, seeds=(0,))
    return folder


def leaks(prepared, pretraining, preset, *evaluations):
    settings = {
        "datasets": list(dict.fromkeys([pretraining, *(name for name, _ in evaluations)])),
        "pretraining": {"dataset": pretraining, "preset": preset},
        "evaluations": [
            {"dataset": name, "split": {"default": split}, "folds": None} for name, split in evaluations
        ],
    }
    shared_between_datasets(settings, prepared, prepared / "leaks.json")
    return read_json(prepared / "leaks.json")


@pytest.mark.parametrize("dataset", ["rsna", "covidx", "chestx_det"])
def test_strict_keeps_the_patients_of_nih_on_one_side_in_all_that_show_its_films(prepared, dataset):
    (row,) = leaks(prepared, "nih_chestxray14", "strict", (dataset, "strict"))["pretraining"]
    assert row["test_images"] > 0
    assert row["patients"] == row["near_duplicate_images"] == 0
    with pytest.raises(InputError, match=rf"test patients of {dataset} \(strict\)"):
        leaks(prepared, "nih_chestxray14", "official", (dataset, "strict"))


def test_ms_cxr_is_cut_from_mimic(prepared):
    (row,) = leaks(prepared, "mimic_cxr", "strict", ("ms_cxr", "strict"))["pretraining"]
    assert row["patients"] == row["studies"] == row["identical_images"] == 0
    with pytest.raises(InputError, match=r"test patients of ms_cxr \(strict\)"):
        leaks(prepared, "mimic_cxr", "official", ("ms_cxr", "strict"))


def test_films_of_another_data_set_are_found_by_patient_and_by_look(prepared):
    found = leaks(prepared, "nih_chestxray14", "strict", ("rsna", BY_IMAGE), ("covidx", "strict"))
    by_image = next(row for row in found["pretraining"] if row["test"]["dataset"] == "rsna")
    assert by_image["patients"] > 0
    assert by_image["near_duplicate_images"] > 0
    pairs = {(row["train"]["dataset"], row["test"]["dataset"]): row for row in found["evaluations"]}
    assert pairs["rsna", "covidx"]["patients"] > 0
