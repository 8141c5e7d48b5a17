import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import pytest
from pycocotools import mask as coco

from prior.errors import InputError
from prior.phantom.hospital import CODES, plan
from prior.phantom.simulate import simulate
from prior.phantom.writers.chexpert import _labels
from prior.phantom.writers.siim import encode

SIZE = 64
pytestmark = [
    pytest.mark.filterwarnings("ignore:Invalid value for VR AS"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:pycocotools"),
]


def tree(root: Path) -> dict[str, str]:
    return {
        str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(root.rglob("*"))
        if p.is_file()
    }


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("raw")
    for dataset in CODES:
        simulate(dataset, root / dataset, 30, 5, SIZE, 1)
    return root


def test_number_of_workers_does_not_matter(raw: Path, tmp_path: Path) -> None:
    simulate("object_cxr", tmp_path / "object_cxr", 34, 5, SIZE, 2)
    simulate("object_cxr", tmp_path / "again" / "object_cxr", 34, 5, SIZE, 1)
    assert tree(tmp_path / "object_cxr") == tree(tmp_path / "again" / "object_cxr")


def test_readers_have_no_truth_in_their_folder(raw: Path) -> None:
    for dataset in CODES:
        assert (raw / f"{dataset}_truth" / "findings.parquet").is_file()
        assert not list((raw / dataset).rglob("*truth*"))


def test_mimic_tree(raw: Path) -> None:
    root = raw / "mimic_cxr"
    metadata = pd.read_csv(root / "mimic-cxr-2.0.0-metadata.csv.gz")
    labels = pd.read_csv(root / "mimic-cxr-2.0.0-chexpert.csv.gz")
    split = pd.read_csv(root / "mimic-cxr-2.0.0-split.csv.gz")
    for row in metadata.itertuples():
        folder = root / "files" / f"p{str(row.subject_id)[:2]}" / f"p{row.subject_id}"
        assert (folder / f"s{row.study_id}" / f"{row.dicom_id}.jpg").is_file()
        assert "EXAMINATION" in (folder / f"s{row.study_id}.txt").read_text()
    assert set(split["split"]) <= {"train", "validate", "test"}
    assert split.groupby("subject_id")["split"].nunique().max() == 1
    assert labels.shape == (30, 16)
    assert set(np.unique(labels.iloc[:, 2:].to_numpy(float))[:-1]) <= {-1.0, 0.0, 1.0}


def test_chexpert_tables(raw: Path) -> None:
    root = raw / "chexpert"
    for part in ("train", "valid"):
        frame = pd.read_csv(root / "CheXpert-v1.0-small" / f"{part}.csv")
        assert list(frame.columns[:6]) == ["Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", "No Finding"]
        assert frame.shape[1] == 19
        assert all((root / path).is_file() for path in frame["Path"])


def test_chexpert_allows_a_5x200_selection() -> None:
    five = ["Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion"]
    rows = pd.DataFrame([_labels(s, False, 0) for s in plan("chexpert", 2400, 0)]).fillna(0.0)
    others = rows.drop(columns=["No Finding", *five])
    for name in five:
        rest = rows[[f for f in five if f != name]]
        assert ((rows[name] == 1) & (rest == 0).all(axis=1) & (others == 0).all(axis=1)).sum() >= 200


def test_rsna_boxes_lie_in_the_frame_of_the_dicom(raw: Path) -> None:
    labels = pd.read_csv(raw / "rsna" / "stage_2_train_labels.csv")
    classes = pd.read_csv(raw / "rsna" / "stage_2_detailed_class_info.csv")
    assert len(labels) == len(classes)
    assert labels["patientId"].nunique() == 30
    positive = labels[labels["Target"] == 1]
    assert len(positive) > 0
    assert labels[labels["Target"] == 0]["x"].isna().all()
    film = pydicom.dcmread(raw / "rsna" / "stage_2_train_images" / f"{positive['patientId'].iloc[0]}.dcm")
    assert 17 < int(film.PatientAge) < 91
    assert film.pixel_array.shape == (film.Rows, film.Columns) == (SIZE, SIZE)
    assert ((positive["x"] + positive["width"]) <= SIZE).all()
    assert ((positive["y"] + positive["height"]) <= SIZE).all()


def test_siim_run_lengths_decode_to_the_true_mask(raw: Path) -> None:
    table = pd.read_csv(raw / "siim" / "train-rle.csv")
    assert list(table.columns) == ["ImageId", " EncodedPixels"]
    truth = pd.read_parquet(raw / "siim_truth" / "findings.parquet")
    truth = truth[truth["finding"] == "Pneumothorax"].set_index("image_id")
    assert len(truth) > 0
    for image_id, row in truth.iterrows():
        union = np.zeros(SIZE * SIZE, bool)
        for code in table.loc[table["ImageId"] == image_id, " EncodedPixels"]:
            at = 0
            for offset, run in np.array(code.split(), int).reshape(-1, 2):
                union[at + offset : at + offset + run] = True
                at += offset + run
        exact = coco.decode({"size": [SIZE, SIZE], "counts": row["rle"].encode()}).astype(bool)
        assert np.array_equal(union.reshape(SIZE, SIZE).T, exact)


def test_encode_counts_from_the_end_of_the_last_run() -> None:
    mask = np.zeros((4, 3), bool)
    mask[1:3, 0] = mask[0, 2] = True
    assert encode(mask) == "1 2 5 1"


def test_object_cxr_annotations(raw: Path) -> None:
    rows = pd.concat([pd.read_csv(raw / "object_cxr" / f"{p}.csv") for p in ("train", "dev")])
    given = rows["annotation"].dropna()
    assert 5 <= len(given) <= 25
    for item in ";".join(given).split(";"):
        kind, *numbers = map(int, item.split())
        assert kind in (0, 1, 2)
        assert len(numbers) == 4 or (kind == 2 and len(numbers) % 2 == 0)
        assert min(numbers) >= 0
        assert max(numbers) < SIZE


def test_case_mix() -> None:
    share = {}
    for dataset, kinds in (("rsna", {"Pneumonia", "Consolidation"}), ("siim", {"Pneumothorax"})):
        studies = list(plan(dataset, 1500, 0))
        share[dataset] = np.mean([bool(kinds & {f.kind for f in s.findings}) for s in studies])
        assert max(s.order for s in studies) == 3
    assert 0.2 < share["rsna"] < 0.34
    assert 0.2 < share["siim"] < 0.34


def test_bad_settings_are_named() -> None:
    with pytest.raises(InputError, match="unknown dataset 'mimic'"):
        simulate("mimic", Path("x"), 3, 0, 128, 1)
    with pytest.raises(InputError, match="image_size"):
        simulate("siim", Path("x"), 3, 0, 8, 1)
