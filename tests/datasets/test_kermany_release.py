import shutil

import pytest

from prior.data.prepare import prepare
from prior.data.prepared import PreparedDataset
from prior.datasets import load_reader
from prior.phantom.archives import simulate_archive
from prior.phantom.writers.kermany_release import STREAM
from tests.datasets.simulated import cases, refusal

COUNT, SEED, SIZE = 50, 2, 64
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:pycocotools")


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    root = tmp_path_factory.mktemp("raw") / "kermany_release"
    simulate_archive("kermany_release", root, COUNT, SEED, SIZE, 1)
    return root


@pytest.fixture
def root(raw, tmp_path):
    return shutil.copytree(raw, tmp_path / "raw")


def test_labels_are_the_folders_and_names(raw, tmp_path):
    manifest = prepare("kermany_release", raw, tmp_path / "out", 16)
    data = PreparedDataset(tmp_path / "out")
    found = data.labels.merge(data.images[["image_id", "patient_id"]], on="image_id")
    kinds = [{f.kind for f in study.findings} for study, _, _ in cases("rsna", COUNT, SEED + STREAM, SIZE)]
    bacterial = sum("Consolidation" in found_ for found_ in kinds)
    viral = sum("Pneumonia" in found_ and "Consolidation" not in found_ for found_ in kinds)
    normal = sum(not found_ for found_ in kinds)
    assert len(found) == bacterial + viral + normal
    assert found["Pneumonia"].sum() == bacterial + viral
    assert found["Bacterial_Pneumonia"].sum() == bacterial
    assert found["Bacterial_Pneumonia"].isna().sum() == normal
    assert manifest["layout"] == "chest_xray: test, train"
    assert {"strict", "official"} <= set(manifest["splits"])


def test_a_number_on_both_sides_is_one_patient(root):
    folder = root / "chest_xray" / "train" / "PNEUMONIA"
    path = next(folder.iterdir())
    person = path.name.split("_")[0]
    other = root / "chest_xray" / "test" / "PNEUMONIA" / f"{person}_virus_999.JPEG"
    other.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(path, other)
    (folder / ".DS_Store").write_bytes(b"x")
    images = load_reader("kermany_release").read(root).images
    assert set(images.loc[images["patient_id"] == person, "official_split"]) == {"train", "test"}
    assert f"test_{person}_virus_999" in set(images["image_id"])


def test_kaggles_doubled_folder_is_found(root):
    (root / "again").mkdir()
    (root / "chest_xray").rename(root / "again" / "chest_xray")
    (root / "again").rename(root / "chest_xray")
    assert load_reader("kermany_release").read(root).layout.startswith("chest_xray/chest_xray: ")


def test_broken_trees_are_refused_with_one_message(root, tmp_path):
    path = next((root / "chest_xray" / "train" / "NORMAL").iterdir())
    path.rename(path.with_name("scan.jpeg"))
    assert refusal("kermany_release", root, tmp_path / "out") == (
        "ROOT/chest_xray/train/NORMAL/scan.jpeg: the name tells no patient (expected one such "
        "as IM-0115-0001); "
        "use the files as released"
    )
    shutil.rmtree(root / "chest_xray" / "train" / "PNEUMONIA")
    assert refusal("kermany_release", root, tmp_path / "out") == (
        "ROOT/chest_xray/train/PNEUMONIA/ is missing; unpack chest_xray.zip there"
    )
