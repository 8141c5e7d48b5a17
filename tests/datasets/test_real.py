import os
from pathlib import Path

import pytest

from prior.data.prepare import prepare
from prior.data.prepared import PreparedDataset

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif("PRIOR_REAL" not in os.environ, reason="PRIOR_REAL names no folder of real data"),
]
COUNTS = {
    "nih_small": {"images": 1000, "patients": 682, "reports": 1000},
    "kermany": {"images": 1163, "patients": 812},
    "kermany_lungs": {"images": 1073, "images_with_masks": 1073},
    "chestx_det": {"images": 120, "masks": 201, "images_with_masks": 95},
    "lesion_boxes": {"images": 152, "images_with_boxes": 127},
}


@pytest.mark.parametrize("name", COUNTS)
def test_real_folder(name, tmp_path):
    manifest = prepare(name, Path(os.environ["PRIOR_REAL"]), tmp_path, 32, workers=2)
    assert manifest["counts"].items() >= COUNTS[name].items()
    for leaks in manifest["leaks"].values():
        assert not any(count for kind in leaks.values() for count in kind.values())


def test_pretraining_keeps_clear_of_lesion_images(tmp_path):
    root = Path(os.environ["PRIOR_REAL"])
    prepare("nih_small", root, tmp_path / "a", 16, presets=("strict-pretrain",))
    prepare("lesion_boxes", root, tmp_path / "b", 16)
    pairs, lesions = PreparedDataset(tmp_path / "a"), PreparedDataset(tmp_path / "b")
    trained = set(pairs.select("strict-pretrain", 0, "train")["patient_id"])
    assert not trained & set(lesions.images["patient_id"])
