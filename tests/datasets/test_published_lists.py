import os
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from prior.data.prepare import choose_presets, prepare
from prior.data.prepared import PreparedDataset
from prior.data.splits import make_split
from prior.datasets import load_reader, published_lists
from prior.errors import InputError
from tests.datasets import trees
from tests.datasets.archives import archive

FOLDERS = {
    "rsna": "RSNA-Pneunomia-Detection",
    "siim": "siim-acr-pneumothorax-segmentation",
    "object_cxr": "object-CXR",
    "nih_chestxray14": "NIH_CXR_pathology_detection",
    "nih_boxes": "NIH_CXR_pathology_detection",
}
LISTED = {"train": (5, 1, 8, 3, 2), "validation": (9, 6), "test": (4, 7, 10)}


def write_lists(root, name="image{:04d}", listed=LISTED):
    for side, numbers in listed.items():
        trees.write_csv(
            root / "lovt" / f"{side}.csv", ["ID", "boxes"], [[name.format(k), ""] for k in numbers]
        )
    return root


def known(monkeypatch, root, dataset="rsna"):
    paths = {side: root / "lovt" / f"{side}.csv" for side in LISTED}
    starts = {published_lists.sha256_start(path): ("list", dataset, side) for side, path in paths.items()}
    monkeypatch.setattr(published_lists, "KNOWN", starts)


def test_lists_are_sides_and_fractions_and_what_they_are_is_noted(tmp_path, monkeypatch):
    root = write_lists(trees.rsna(tmp_path / "raw"), listed=LISTED | {"test": (4, 7, 10, 99)})
    known(monkeypatch, root)
    manifest = prepare("rsna", root, tmp_path / "out", 16, presets=["lovt-leaky"])
    data = PreparedDataset(tmp_path / "out")
    train = [f"image{k:04d}" for k in LISTED["train"]]
    assert data.select("lovt-leaky", 0, "train")["image_id"].tolist() == train
    assert data.select("lovt-leaky", 1, "train", 0.4)["image_id"].tolist() == train[:2]
    assert data.select("lovt-leaky", 0, "test")["image_id"].tolist() == [
        "image0004",
        "image0007",
        "image0010",
    ]
    start = published_lists.sha256_start(root / "lovt" / "test.csv")
    assert (
        manifest["notes"]["published_lists"]["test.csv"]
        == f"list, test (sha256 {start}), 1 not in the records"
    )
    exposed = manifest["exposed"]["lovt-leaky"]["test"]
    # two images a patient: 4 with 5, 10 with 11, 7 with 6
    assert exposed["patients"] == {"count": 1, "of": 3, "share": 0.3333}


def test_a_list_of_other_origin_is_used_and_said_to_be_unknown(tmp_path):
    root = write_lists(trees.rsna(tmp_path / "raw"))
    manifest = prepare("rsna", root, tmp_path / "out", 16, presets=["lovt-leaky"])
    note = manifest["notes"]["published_lists"]["train.csv"]
    assert note.startswith("unknown (sha256 ")
    assert note.endswith("known for rsna: list of LoVT (philip-mueller/lovt), 0 not in the records")


def test_published_lists_of_another_side_or_dataset_are_refused(tmp_path, monkeypatch):
    root = write_lists(trees.rsna(tmp_path / "raw"))
    known(monkeypatch, root)
    (root / "lovt" / "test.csv").write_bytes((root / "lovt" / "train.csv").read_bytes())
    with pytest.raises(
        InputError, match=r"test\.csv is the train list for rsna, not that of test for rsna; give"
    ):
        prepare("rsna", root, tmp_path / "out", 16, presets=["lovt-leaky"])
    known(monkeypatch, write_lists(root), "siim")
    with pytest.raises(InputError, match="for siim, not that of train for rsna"):
        prepare("rsna", root, tmp_path / "out", 16, presets=["lovt-leaky"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda root: (root / "lovt" / "test.csv").unlink(), r"test\.csv is missing"),
        (lambda root: write_lists(root, "other{}"), r"train\.csv names no image of rsna"),
        (lambda root: write_lists(root, listed=LISTED | {"test": (4, 5)}), "image image0005 is listed twice"),
    ],
)
def test_lists_that_cannot_be_used_are_named(tmp_path, change, message):
    root = write_lists(trees.rsna(tmp_path / "raw"))
    change(root)
    with pytest.raises(InputError, match=message):
        prepare("rsna", root, tmp_path / "out", 16, presets=["lovt-leaky"])
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_lists_that_leak_may_not_be_called_otherwise(tmp_path):
    root = write_lists(trees.rsna(tmp_path / "raw"))
    with pytest.raises(InputError, match="these lists leak: choose lovt-leaky"):
        prepare("rsna", root, tmp_path / "out", 16, presets=["lovt"])


def test_object_cxr_is_listed_without_the_folder_of_its_images(tmp_path):
    listed = {"train": (1, 2, 3), "validation": (4,), "test": (5,)}
    root = write_lists(trees.object_cxr(tmp_path / "raw"), "{:05d}", listed)
    prepare("object_cxr", root, tmp_path / "out", 16, presets=["lovt-image"])
    chosen = PreparedDataset(tmp_path / "out").select("lovt-image", 0, "train")
    assert chosen["image_id"].tolist() == ["train_00001", "train_00002", "train_00003"]


def listed(name, tmp_path):
    """Copy a simulated release, and deal its images to lists by patient."""
    root = archive(name, tmp_path)
    images = load_reader(name).read(root).images
    side = images["patient_id"].rank(method="dense").astype(int) % len(LISTED)
    names = {kind: images.loc[side == k, "image_id"].tolist() for k, kind in enumerate(LISTED)}
    for kind, chosen in names.items():
        trees.write_csv(root / "lovt" / f"{kind}.csv", ["ID"], [[image] for image in chosen])
    return root, names


@pytest.mark.parametrize(("name", "release"), [("nih_boxes", "nih_chestxray14"), ("covid_rural", None)])
def test_lists_by_patient_are_known_to_all_readers_of_a_release(name, release, tmp_path, monkeypatch):
    root, names = listed(name, tmp_path)
    known(monkeypatch, root, release or name)
    manifest = prepare(name, root, tmp_path / "out", 16, presets=["lovt"])
    notes = manifest["notes"]["published_lists"]
    assert [note.split(" (")[0] for note in notes.values()] == [f"list, {side}" for side in LISTED]
    assert PreparedDataset(tmp_path / "out").select("lovt", 0, "train")["image_id"].tolist() == names["train"]


def test_rows_are_split_only_where_a_table_has_them(tmp_path):
    raw = replace(load_reader("siim").read(trees.siim(tmp_path / "raw")), table_rows=None, layout="PNG copy")
    with pytest.raises(InputError, match=r"siim \(PNG copy\) has no table .*choose random-70-15-15-image$"):
        choose_presets(raw, ["siim-rows-70-15-15-leaky"])


def test_rows_of_siims_table_put_images_on_several_sides(tmp_path):
    root = trees.siim(tmp_path / "raw", images=60)
    raw = load_reader("siim").read(root)
    assert raw.table_rows.tolist()[:4] == ["1.2.276.0", "1.2.276.0", "1.2.276.1", "1.2.276.2"]
    assert raw.notes["train-rle.csv"].startswith("unknown (sha256 ")
    manifest = prepare("siim", root, tmp_path / "out", 16, presets=["siim-rows-70-15-15-leaky"])
    data = PreparedDataset(tmp_path / "out")
    sides = [set(data.select("siim-rows-70-15-15-leaky", 0, side)["image_id"]) for side in LISTED]
    assert sum(map(len, sides)) > len(set().union(*sides)) > 55
    leaks = manifest["leaks"]["siim-rows-70-15-15-leaky"]["identical_images"]
    assert leaks["train-test"] == len(sides[0] & sides[2]) > 0
    exposed = manifest["exposed"]["siim-rows-70-15-15-leaky"]["test"]
    assert exposed["images"]["count"] == exposed["positive_images"]["count"] == leaks["train-test"]


def chexpert_with_test(root, table, rows):
    folder = trees.chexpert(root) / "CheXpert-v1.0-small"
    for name in (
        "patient64741/study1/view1_frontal",
        "patient64741/study1/view2_lateral",
        "patient64742/study1/view1_frontal",
    ):
        trees.write_image(folder / "test" / f"{name}.jpg", len(name))
    labels = [name for name in trees.CHEXPERT if name != "No Finding"]
    values = [[row, *("1.0" if name == "Edema" else "0.0" for name in labels)] for row in rows]
    trees.write_csv(folder / f"{table}.csv", ["Study" if table == "groundtruth" else "Path", *labels], values)
    return root


@pytest.mark.parametrize(
    ("table", "rows"),
    [
        ("groundtruth", ["CheXpert-v1.0/test/patient64741/study1", "CheXpert-v1.0/test/patient64742/study1"]),
        (
            "test_labels",
            [
                "test/patient64741/study1/view1_frontal.jpg",
                "test/patient64741/study1/view2_lateral.jpg",
                "test/patient64742/study1/view1_frontal.jpg",
            ],
        ),
    ],
)
def test_chexperts_test_set_is_read_by_study_or_by_image(tmp_path, table, rows):
    root = chexpert_with_test(tmp_path / "raw", table, rows)
    presets = ["chexpert-valid202", "chexpert-test500", "chexpert-5000-leaky", "strict"]
    manifest = prepare("chexpert", root, tmp_path / "out", 16, presets=presets)
    assert manifest["layout"] == f"CheXpert-v1.0-small: train.csv, valid.csv, {table}.csv"
    data = PreparedDataset(tmp_path / "out")
    tested = data.select("chexpert-test500", 0, "test")["image_id"].tolist()
    assert tested == ["test_patient64741_study1_view1_frontal", "test_patient64742_study1_view1_frontal"]
    labels = data.labels.set_index("image_id").loc[tested]
    assert labels["Edema"].tolist() == [1, 1]
    assert labels["No_Finding"].isna().all()
    assert (
        data.images.set_index("image_id").loc["test_patient64741_study1_view2_lateral", "view"] == "LATERAL"
    )
    assert len(data.select("chexpert-valid202", 0, "test")) == 4
    assert not data.split("strict", 0)["image_id"].str.startswith("test_").any()
    counts = manifest["splits"]["chexpert-5000-leaky"]
    assert (counts["validation"]["images"], counts["test"]["images"]) == (6, 4)


def test_a_study_without_image_is_named(tmp_path):
    rows = ["CheXpert-v1.0/test/patient64741/study1", "CheXpert-v1.0/test/patient99999/study1"]
    root = chexpert_with_test(tmp_path / "raw", "groundtruth", rows)
    with pytest.raises(
        InputError, match=r"lists study patient99999/study1, of which .*test has no image \(1 of 2"
    ):
        load_reader("chexpert").read(root)


@pytest.mark.skipif(
    "PRIOR_SPLITS" not in os.environ, reason="PRIOR_SPLITS names no folder of published lists"
)
@pytest.mark.parametrize("dataset", FOLDERS)
def test_the_lists_as_published_are_known(dataset):
    for side in published_lists.SIDES:
        path = Path(os.environ["PRIOR_SPLITS"]) / "lovt" / FOLDERS[dataset] / f"{side}.csv"
        assert published_lists.recognise(path, dataset, side).startswith(f"{published_lists.LOVT}, {side}")
        assert pd.read_csv(path)["ID"].is_unique


@pytest.mark.skipif(
    "PRIOR_SPLITS" not in os.environ, reason="PRIOR_SPLITS names no folder of published lists"
)
def test_mgcas_draw_of_rsna_meets_lovts_lists_as_measured_elsewhere():
    folder = Path(os.environ["PRIOR_SPLITS"]) / "lovt" / FOLDERS["rsna"]
    listed = {side: pd.read_csv(folder / f"{side}.csv")[["ID"]] for side in published_lists.SIDES}
    images = pd.concat(listed.values(), ignore_index=True).rename(columns={"ID": "image_id"})
    unseen = images["image_id"] == ""
    (split,) = make_split("random-60-20-20-image", images, images, images["image_id"], unseen, [0])
    train = split.loc[split["split"] == "train", "image_id"]
    # The same draw from the released csv, made with other code, shares 3,250 images with LoVT's test list;
    # another order of the images shares another number.
    assert len(images) == 26_684
    assert listed["test"]["ID"].isin(train).sum() == 3250
