import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pycocotools import mask as coco

from prior.cli import simulate as command
from prior.data.prepare import prepare
from prior.data.prepared import PreparedDataset
from prior.datasets import load_reader, nih_images
from prior.digest import code_digest
from prior.errors import InputError
from prior.phantom.archives import simulate_archive
from prior.phantom.findings import KINDS
from prior.phantom.simulate import simulate
from prior.phantom.writers import SIMULATORS
from tests.datasets.archives import COUNT, SEED, SIZE, archive

pytestmark = [
    pytest.mark.filterwarnings("ignore:Invalid value for VR AS"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:pycocotools"),
]
SIDES = ["x_min", "y_min", "x_max", "y_max"]
SAME = ("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pneumonia", "Pneumothorax")


def truth(name: str) -> pd.DataFrame:
    return pd.read_parquet(archive(name).parent / f"{name}_truth" / "findings.parquet")


def findings(name: str) -> dict[str, set[str]]:
    found = truth(name)
    return {str(image): set(part["finding"]) for image, part in found.groupby("image_id")}


def shared_boxes(boxes: pd.DataFrame, name: str) -> set[tuple[object, ...]]:
    keys = {tuple(row) for row in boxes[["image_id", *SIDES]].round(3).itertuples(index=False)}
    return keys & {tuple(row) for row in truth(name)[["image_id", *SIDES]].round(3).itertuples(index=False)}


# One study has two films (iu_xray), or only some are shown, or some have no report (nih_small).
OTHER_COUNTS = {"iu_xray", "ms_cxr", "kermany_release", "kermany", "kermany_lungs", "chestx_det"}
OTHER_COUNTS |= {"lesion_boxes", "nih_small", "nih_boxes"}


@pytest.mark.parametrize("name", SIMULATORS)
def test_the_tree_is_prepared_without_a_leak(name: str, tmp_path: Path) -> None:
    manifest = prepare(name.partition(":")[0], archive(name), tmp_path, 16, simulated=True)
    dropped = sum(item["count"] for item in manifest["dropped"])
    assert name in OTHER_COUNTS or manifest["counts"]["frontal_images"] + dropped == COUNT
    assert manifest["boxes_clipped"] == 0
    for preset, leaks in manifest["leaks"].items():
        if preset.startswith("strict") and not preset.endswith("-image"):
            assert not any(leaks["patients"].values())
    sides = set(PreparedDataset(tmp_path).split(next(iter(manifest["splits"])), 0)["split"])
    assert sides == {"train", "validation", "test"} or manifest["counts"]["images"] < 30


def test_workers_and_repetition_do_not_matter(tmp_path: Path) -> None:
    for name, workers in (("one", 1), ("two", 2)):
        simulate_archive("folder", tmp_path / name / "folder", 34, 5, SIZE, workers)

    def tree(root: Path) -> dict[str, str]:
        files = [path for path in sorted(root.rglob("*")) if path.is_file()]
        return {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}

    assert tree(tmp_path / "one") == tree(tmp_path / "two")


def test_nih_labels_boxes_and_lists() -> None:
    raw = load_reader("nih_chestxray14").read(archive("nih_chestxray14"))
    labels = raw.labels.set_index("image_id")
    known = findings("nih_chestxray14")
    for image, row in labels.iterrows():
        there = known.get(str(image), set())
        assert {name for name in SAME if row[name] == 1} == there & set(SAME)
        assert (row["Effusion"] == 1) == ("Pleural_Effusion" in there)
        assert (row["Nodule"] == 1 or row["Mass"] == 1) == ("Lung_Lesion" in there)
        assert (row["No_Finding"] == 1) == (not there - {"Fracture", "Support_Devices"})
    unique = raw.boxes[["image_id", *SIDES]].round(3).drop_duplicates()
    assert len(shared_boxes(raw.boxes, "nih_chestxray14")) == len(unique) > 5
    assert set(raw.boxes["label"]) <= set(nih_images.FINDINGS)
    sides = raw.images.groupby("patient_id")["official_split"].nunique()
    assert sides.max() == 1
    assert set(raw.images["official_split"]) == {"train", "validation", "test"}
    assert set(raw.images.loc[raw.images["image_id"].isin(raw.boxes["image_id"]), "official_split"]) == {
        "test"
    }


def test_nih_and_rsna_show_the_same_patients(tmp_path: Path) -> None:
    simulate("rsna", tmp_path / "rsna", COUNT, SEED, SIZE, 1)
    rsna = load_reader("rsna").read(tmp_path / "rsna")
    nih = load_reader("nih_chestxray14").read(archive("nih_chestxray14"))
    covid = load_reader("covidx").read(archive("covidx"))
    assert (rsna.patient_family, nih.patient_family, covid.patient_family) == ("nih", "nih", "nih")
    assert set(rsna.images["patient_id"]) <= set(nih.images["patient_id"])
    of_rsna = covid.images.loc[covid.images["site"] == "rsna", "patient_id"]
    assert len(of_rsna) > 10
    assert set(of_rsna) <= set(nih.images["patient_id"])


def test_vindr_readers_agree_on_the_truth() -> None:
    raw = load_reader("vindr_cxr").read(archive("vindr_cxr"))
    known = findings("vindr_cxr")
    severity = truth("vindr_cxr").groupby(["image_id", "finding"])["severity"].max()
    labels = raw.labels.set_index("image_id")
    for image, row in labels.iterrows():
        there = known.get(str(image), set())
        assert {name for name in SAME if row[name] == 1} == there & set(SAME)
        assert (row["No_finding"] == 1) <= (not there & set(SAME) or severity[image].max() < 0.3)
    test = raw.images.loc[raw.images["official_split"] == "test", "image_id"]
    assert len(test) > 3
    exact = raw.boxes[raw.boxes["image_id"].isin(test)]
    unique = exact[["image_id", *SIDES]].drop_duplicates()
    assert len(shared_boxes(exact, "vindr_cxr")) == len(unique) > 0
    train = raw.boxes[~raw.boxes["image_id"].isin(test)].merge(truth("vindr_cxr"), on="image_id")
    near = sum(np.abs(train[f"{side}_x"] - train[f"{side}_y"]) for side in SIDES)
    assert near.groupby([train["image_id"], train["x_min_x"], train["y_min_x"]]).min().max() <= 1


def test_vindr_inverted_films_come_out_upright(tmp_path: Path) -> None:
    prepare("vindr_cxr", archive("vindr_cxr"), tmp_path, 32)
    data = PreparedDataset(tmp_path)
    store = data.pixels(32)
    border = [float(np.r_[image[0], image[:, 0], image[:, -1]].mean()) for image in store]
    middle = [float(image[10:22, 14:18].mean()) for image in store]
    assert np.mean(np.array(middle) > np.array(border)) > 0.95
    assert set(data.images["sex"]) == {"F", "M"}
    assert data.images["age"].between(18, 90).all()


def test_covidx_classes_and_confound() -> None:
    raw = load_reader("covidx").read(archive("covidx"))
    known = findings("covidx")
    for image, row in raw.labels.set_index("image_id").iterrows():
        opaque = bool(known.get(str(image), set()) & {"Pneumonia", "Consolidation"})
        assert (row["Pneumonia"] + row["COVID_19"] == 1) == opaque == (row["Normal"] == 0)
    assert "version 9A" in raw.layout
    notes = raw.notes["class_by_source"]
    assert raw.notes["misspelt_sources"]["rnsa"] > 0
    assert "COVID-19" not in notes["images"]["rsna"]
    assert notes["accuracy_from_source_alone"] >= notes["accuracy_of_commonest_class"]


@pytest.mark.parametrize("form", ["json", "xml"])
def test_tbx11k_boxes_of_both_forms(form: str, tmp_path: Path) -> None:
    root = archive("tbx11k", tmp_path)
    if form == "xml":
        for path in (root / "TBX11K" / "annotations" / "json").iterdir():
            path.unlink()
        path.parent.rmdir()
    raw = load_reader("tbx11k").read(root)
    assert form in raw.layout
    unique = raw.boxes[["image_id", *SIDES]].round(3).drop_duplicates()
    assert len(shared_boxes(raw.boxes, "tbx11k")) == len(unique) > 5
    known = findings("tbx11k")
    for image, row in raw.labels.set_index("image_id").iterrows():
        there = known.get(str(image), set())
        assert row["Active_Tuberculosis"] == float("Consolidation" in there)
        assert row["Latent_Tuberculosis"] == float("Lung_Lesion" in there)
        assert row["No_Finding"] == float(not there)
    assert set(raw.images["official_split"]) == {"train", "validation"}
    assert {item["reason"] for item in raw.dropped} == {"test image without label"}


def test_covid_rural_masks_are_the_true_ones() -> None:
    raw = load_reader("covid_rural").read(archive("covid_rural"))
    opaque = truth("covid_rural")
    opaque = opaque[opaque["finding"].isin(["Pneumonia", "Consolidation", "Edema"])]
    assert len(raw.masks) == opaque["image_id"].nunique() > 5
    for image, rle in zip(raw.masks["image_id"], raw.masks["rle"], strict=True):
        parts = [
            {"size": [SIZE, SIZE], "counts": part.encode()}
            for part in opaque.loc[opaque["image_id"] == image, "rle"]
        ]
        mine = coco.decode({"size": [SIZE, SIZE], "counts": rle.encode()})
        assert np.array_equal(mine, coco.decode(coco.merge(parts)))


def test_folder_labels_boxes_and_reports(tmp_path: Path) -> None:
    raw = load_reader("folder").read(archive("folder"))
    known = findings("folder")
    kinds = [name for name in raw.labels.columns if name != "image_id"]
    assert set(kinds) == set(KINDS)
    for image, row in raw.labels.set_index("image_id").iterrows():
        assert {name for name in kinds if row[name] == 1} == known.get(str(image), set())
    assert len(shared_boxes(raw.boxes, "folder")) == len(raw.boxes.drop_duplicates()) > 5
    prepare("folder", archive("folder"), tmp_path, 16)
    reports = PreparedDataset(tmp_path).reports
    assert len(reports) == COUNT
    assert reports["findings"].notna().mean() > 0.5


def test_wrong_numbers_and_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"unknown dataset 'nih'; choose one of .*nih_chestxray14"):
        simulate_archive("nih", tmp_path, 3, 0, 64, 1)
    with pytest.raises(InputError, match="image_size is 8; give at least 64"):
        simulate_archive("folder", tmp_path, 3, 0, 8, 1)
    assert not list(tmp_path.iterdir())


def test_the_command_finds_the_writer(tmp_path: Path) -> None:
    settings = {"reader": "tbx11k", "images": 3, "seed": 0, "image_size": 64}
    command(json.dumps(settings), tmp_path / "raw" / "simulation.json")
    assert json.loads((tmp_path / "raw" / "simulation.json").read_text())["counts"]["images"] == 3
    writer = code_digest("prior.phantom.simulate", SIMULATORS["tbx11k"])
    assert writer != code_digest("prior.phantom.simulate", SIMULATORS["folder"])


def test_the_stamp_says_simulated() -> None:
    for name in SIMULATORS:
        stamp = json.loads((archive(name) / "simulation.json").read_text())
        assert stamp["simulated"] is True
        assert stamp["dataset"] == name
