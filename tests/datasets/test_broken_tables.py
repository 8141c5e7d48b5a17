"""Wrong tables, cells and masks of the readers that `test_broken_trees` leaves out, with exact messages."""

import gzip
from pathlib import Path

import pandas as pd
import pytest

from prior.datasets import load_reader
from tests.datasets.archives import archive
from tests.datasets.damage import (
    TWICE,
    VALUE,
    after,
    cell,
    check,
    climbs,
    column,
    halve,
    latin1,
    mask_of_another_size,
    no_csv,
    refused,
    remove,
    repeat_line,
    resized,
    unpack,
    wrong,
)

pytestmark = [
    pytest.mark.filterwarnings("ignore:Invalid value for VR AS"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:pycocotools"),
]
Broken = dict[str, tuple[object, str]]
META, SPLIT, CHEXPERT = (f"mimic-cxr-2.0.0-{name}.csv" for name in ("metadata", "split", "chexpert"))
MIMIC: Broken = {
    "no table": (
        remove(f"{META}.gz"),
        f"ROOT/{META} (or .csv.gz) is missing; dataset mimic_cxr needs it: copy it into the raw folder",
    ),
    "wrong column": (
        after(unpack(META), cell(META, "ViewPosition", "View", 1)),
        column(META, "ViewPosition"),
    ),
    "no patient": (
        after(unpack(META), cell(META, "subject_id", "")),
        wrong(META, "subject_id", VALUE, VALUE),
    ),
    "patient climbs out": (
        after(unpack(META), cell(META, "subject_id", "../../1")),
        f"ROOT/{META}, line 3, column 'subject_id': a value is not made of digits; correct this cell",
    ),
    "image climbs out": (
        after(unpack(META), cell(META, "dicom_id", "../a")),
        climbs(META, "files/p*/p*/s*/../a.jpg"),
    ),
    "image twice": (after(unpack(META), repeat_line(META)), wrong(META, "dicom_id", "'*'", TWICE, 4)),
    "time": (
        after(unpack(META), cell(META, "StudyTime", "noon")),
        wrong(META, "StudyTime", "'noon'", "a number"),
    ),
    "side": (
        after(unpack(SPLIT), cell(SPLIT, "split", "dev")),
        wrong(SPLIT, "split", "'dev'", "one of test, train, validate"),
    ),
    "label": (
        after(unpack(CHEXPERT), cell(CHEXPERT, "Edema", "2")),
        wrong(CHEXPERT, "Edema", "'2'", "one of 1, 0, -1 or blank"),
    ),
    "study twice": (
        after(unpack(CHEXPERT), repeat_line(CHEXPERT)),
        wrong(CHEXPERT, "study_id", "'*'", TWICE, 4),
    ),
    "latin-1": (after(unpack(META), latin1(META)), no_csv(META)),
    "cut gzip": (halve(f"{META}.gz"), no_csv(f"{META}.gz")),
    "no report": (
        lambda root: [path.unlink() for path in root.rglob("*.txt")],
        "ROOT/* holds no report (pXX/pS/sT.txt); unpack mimic-cxr-reports.zip there",
    ),
}
TRAIN = "CheXpert-v1.0-small/train.csv"
CHEX: Broken = {
    "no table": (remove(TRAIN), "ROOT/train.csv is missing; unpack CheXpert-v1.0-small there"),
    "wrong column": (cell(TRAIN, "Sex", "Gender", 1), column(TRAIN, "Sex")),
    "no path": (cell(TRAIN, "Path", ""), wrong(TRAIN, "Path", "empty", VALUE)),
    "short path": (
        cell(TRAIN, "Path", "a.jpg"),
        f"ROOT/{TRAIN}, line 3, column 'Path': expected .../patientNNNNN/studyN/file.jpg",
    ),
    "climbs out": (
        cell(TRAIN, "Path", "CheXpert-v1.0-small/train/../study1/a.jpg"),
        climbs(TRAIN, "train/../study1/a.jpg"),
    ),
    "study without number": (
        cell(TRAIN, "Path", "CheXpert-v1.0-small/train/patient00001/study/a.jpg"),
        f"ROOT/{TRAIN}, line 3, column 'Path': expected .../patientNNNNN/studyN/file.jpg",
    ),
    "twice": (repeat_line(TRAIN), wrong(TRAIN, "Path", "'*'", TWICE, 4)),
    "age": (cell(TRAIN, "Age", "old"), wrong(TRAIN, "Age", "'old'", "a number")),
    "label": (cell(TRAIN, "Fracture", "yes"), wrong(TRAIN, "Fracture", "'yes'", "a number")),
    "view": (
        cell(TRAIN, "Frontal/Lateral", "Side"),
        wrong(TRAIN, "Frontal/Lateral", "'Side'", "one of Frontal, Lateral"),
    ),
    "latin-1": (latin1(TRAIN), no_csv(TRAIN)),
}
BOXED = "stage_2_train_labels.csv"
RSNA: Broken = {
    "no table": (remove(BOXED), f"ROOT/{BOXED} is missing; copy it into the raw folder"),
    "wrong column": (cell(BOXED, "Target", "target", 1), column(BOXED, "Target")),
    "no id": (cell(BOXED, "patientId", ""), wrong(BOXED, "patientId", "empty", VALUE)),
    "target": (cell(BOXED, "Target", "2"), wrong(BOXED, "Target", "'2'", "one of 0, 1")),
    "latin-1": (latin1(BOXED), no_csv(BOXED)),
    "box swapped": (
        lambda root: _swap(root / BOXED),
        f"ROOT/{BOXED}, line *: the box (x_min *) is empty or outside; correct or remove the row",
    ),
    "climbs out": (
        after(remove("nih_patient_map.csv"), cell(BOXED, "patientId", "../a")),
        climbs(BOXED, "stage_2_train_images/../a.dcm"),
    ),
    "match": (
        cell("nih_patient_map.csv", "nih_image", "a.png"),
        "ROOT/nih_patient_map.csv: 'a.png' is no NIH image name such as 00000061_012.png; correct it",
    ),
}


def _swap(path: Path) -> None:
    frame = pd.read_csv(path)
    frame["width"] = -frame["width"]
    frame.to_csv(path, index=False)


RLE, PNG = "train-rle.csv", "siim-acr-pneumothorax"
NO_SIIM = (
    "ROOT is no SIIM-ACR folder; expected train-rle.csv beside dicom-images-train/; stage_2_train.csv beside "
    "stage_2_images/; stage_1_train_images.csv beside png_images/ and png_masks/"
)
SIIM: Broken = {
    "no table": (remove(RLE), NO_SIIM),
    "wrong column": (cell(RLE, "ImageId", "id", 1), column(RLE, "ImageId")),
    "no id": (cell(RLE, "ImageId", ""), wrong(RLE, "ImageId", "empty", VALUE)),
    "no code": (cell(RLE, " EncodedPixels", ""), wrong(RLE, "EncodedPixels", "empty", VALUE)),
    "climbs out": (
        cell(RLE, "ImageId", "../a"),
        wrong(RLE, "ImageId", "'../a'", "the name of an image without folder and ending"),
    ),
    "mask of another size": (
        cell(RLE, " EncodedPixels", "0 9999"),
        f"ROOT/{RLE}, line 3, column 'EncodedPixels': the runs cover 9999 pixels, the image 64x64 has fewer",
    ),
    "odd code": (
        cell(RLE, " EncodedPixels", "1 2 3"),
        f"ROOT/{RLE}, line 3, column 'EncodedPixels': not pairs of offset and length (or -1 for no mask)",
    ),
    "latin-1": (latin1(RLE), no_csv(RLE)),
}
STAGE_2: Broken = {
    "no table": (remove("stage_2_train.csv"), NO_SIIM),
    "wrong column": (
        cell("stage_2_train.csv", "EncodedPixels", "rle", 1),
        column("stage_2_train.csv", "EncodedPixels"),
    ),
}
LISTED = f"{PNG}/stage_1_train_images.csv"
SIIM_PNG: Broken = {
    "no table": (remove(LISTED), NO_SIIM),
    "no test table": (
        remove(f"{PNG}/stage_1_test_images.csv"),
        f"ROOT/{PNG}/stage_1_test_images.csv is missing; copy it into the raw folder",
    ),
    "flag": (cell(LISTED, "has_pneumo", "yes"), wrong(LISTED, "has_pneumo", "'yes'", "one of 0, 1")),
    "twice": (repeat_line(LISTED), wrong(LISTED, "new_filename", "'*'", TWICE, 4)),
    "climbs out": (cell(LISTED, "new_filename", "../../a.png"), climbs(LISTED, "../../a.png")),
    "in both lists": (
        lambda root: (root / f"{PNG}/stage_1_test_images.csv").write_text((root / LISTED).read_text()),
        f"ROOT/{PNG}: image * is in both lists; use the lists as released",
    ),
    "no mask": (
        remove(f"{PNG}/png_masks/*_1_.png"),
        f"ROOT/{PNG}/png_masks/*.png does not exist; copy the mask or remove its row",
    ),
    "mask of another size": (
        mask_of_another_size(f"{PNG}/png_masks/*_1_.png"),
        resized(f"{PNG}/png_masks"),
    ),
}
OBJECTS: Broken = {
    "no table": (remove("train.csv"), "ROOT/train.csv is missing; copy it into the raw folder"),
    "wrong column": (cell("train.csv", "annotation", "shapes", 1), column("train.csv", "annotation")),
    "twice": (repeat_line("train.csv"), wrong("train.csv", "image_name", "'*'", TWICE, 4)),
    "climbs out": (
        cell("train.csv", "image_name", "../dev/a.jpg"),
        climbs("train.csv", "train/../dev/a.jpg"),
    ),
    "type": (
        cell("train.csv", "annotation", "7 1 2 3 4"),
        "ROOT/train.csv, line 3, column 'annotation': '7 1 2 3 4': type 7 is none of 0 (rectangle), "
        "1 (ellipse), 2 (polygon)",
    ),
    "corners swapped": (
        cell("train.csv", "annotation", "0 30 30 30 10"),
        "ROOT/train.csv, line 3, column 'annotation': '0 30 30 30 10' has no extent",
    ),
    "latin-1": (latin1("train.csv"), no_csv("train.csv")),
}
SMALL = "nih_chestxray14/labels.csv"
NIH_SMALL: Broken = {
    "no table": (remove(SMALL), f"ROOT/{SMALL} is missing; copy it into the raw folder"),
    "wrong column": (cell(SMALL, "Mass", "mass", 1), column(SMALL, "Mass")),
    "no patient": (cell(SMALL, "patient_id", ""), wrong(SMALL, "patient_id", VALUE, VALUE)),
    "twice": (repeat_line(SMALL), wrong(SMALL, "image", "'*'", TWICE, 4)),
    "climbs out": (cell(SMALL, "image", "../a.jpg"), climbs(SMALL, "../a.jpg")),
    "view": (cell(SMALL, "view", "LL"), wrong(SMALL, "view", "'LL'", "one of AP, PA")),
    "latin-1": (latin1(SMALL), no_csv(SMALL)),
}
PAIRS: Broken = NIH_SMALL | {
    "label": (cell(SMALL, "Mass", "3"), wrong(SMALL, "Mass", "'3'", "one of 1, 0, -1 or blank")),
    "no reports": (
        remove("open_i/*.tgz"),
        "ROOT/open_i/NLMCXR_reports.tgz is missing; copy the unmodified Open-i archive of reports there",
    ),
    "cut reports": (
        halve("open_i/*.tgz"),
        "ROOT/open_i/NLMCXR_reports.tgz cannot be read (*); download it again",
    ),
}
BOXES = "nih_chestxray14/boxes.csv"
LESION_BOXES: Broken = NIH_SMALL | {
    "box swapped": (
        cell(BOXES, "w", "-5"),
        f"ROOT/{BOXES}, line 3: the box (x_min *) is empty or outside; correct or remove the row",
    ),
    "box of whom": (
        cell(BOXES, "source", "me"),
        wrong(BOXES, "source", "'me'", "one of ChestX-Det, NIH_BBox_2017"),
    ),
}
DET: Broken = NIH_SMALL | {
    "no mask": (
        remove("nih_chestxray14/masks/*.png"),
        "ROOT/nih_chestxray14/masks/*.png does not exist; copy the mask or remove its row",
    ),
    "cut mask": (
        halve("nih_chestxray14/masks/*.png"),
        "ROOT/nih_chestxray14/masks/*.png: the image cannot be decoded (*); replace the file or remove its "
        "row",
    ),
    "mask of another size": (
        mask_of_another_size("nih_chestxray14/masks/*.png"),
        resized("nih_chestxray14/masks"),
    ),
    "mask climbs out": (
        cell("nih_chestxray14/masks.csv", "mask", "../a.png"),
        climbs("nih_chestxray14/masks.csv", "../a.png"),
    ),
}
KID = "kermany_pneumonia/labels.csv"
KERMANY: Broken = {
    "no table": (remove(KID), f"ROOT/{KID} is missing; copy it into the raw folder"),
    "wrong column": (cell(KID, "subtype", "kind", 1), column(KID, "subtype")),
    "kind": (
        cell(KID, "subtype", "fungus"),
        wrong(KID, "subtype", "'fungus'", "one of bacteria, normal, virus"),
    ),
    "no patient": (cell(KID, "patient_id", ""), wrong(KID, "patient_id", VALUE, VALUE)),
    "twice": (repeat_line(KID), wrong(KID, "image", "'*'", TWICE, 4)),
    "climbs out": (cell(KID, "image", "/etc/a.jpg"), climbs(KID, "/etc/a.jpg")),
    "mask climbs out": (cell(KID, "lung_mask", "../a.png"), climbs(KID, "../a.png")),
    "latin-1": (latin1(KID), no_csv(KID)),
}
LUNGS: Broken = KERMANY | {
    "no mask": (
        remove("kermany_pneumonia/lung_masks/*.png"),
        "ROOT/kermany_pneumonia/lung_masks/*.png does not exist; copy the mask or remove its row",
    ),
    "mask of another size": (
        mask_of_another_size("kermany_pneumonia/lung_masks/*.png"),
        resized("kermany_pneumonia/lung_masks"),
    ),
}
TABLES: dict[str, tuple[str, Broken]] = {
    "mimic_cxr": ("mimic_cxr", MIMIC),
    "chexpert": ("chexpert", CHEX),
    "rsna": ("rsna", RSNA),
    "siim": ("siim", SIIM),
    "siim stage_2": ("siim:stage_2", STAGE_2),
    "siim png": ("siim:png", SIIM_PNG),
    "object_cxr": ("object_cxr", OBJECTS),
    "nih_small": ("nih_small", PAIRS),
    "lesion_boxes": ("lesion_boxes", LESION_BOXES),
    "chestx_det": ("chestx_det", DET),
    "kermany": ("kermany", KERMANY),
    "kermany_lungs": ("kermany_lungs", LUNGS),
}


CASES = [(name, case) for name, (_, table) in TABLES.items() for case in table]


@pytest.mark.parametrize(("name", "case"), CASES)
def test_a_wrong_table_is_named_and_leaves_nothing(name, case, tmp_path):
    key, table = TABLES[name]
    change, expected = table[case]
    root = archive(key, tmp_path)
    change(root)
    check(refused(name.split(" ")[0], root, tmp_path / "out"), expected)
    assert not (tmp_path / "out").exists()


def as_floats(file: str, name: str):
    """Save ids as numbers with decimals, as pandas does where one is missing."""

    def change(root: Path) -> None:
        frame = pd.read_csv(root / file, dtype=str)
        frame[name] = frame[name] + ".0"
        frame.to_csv(root / file, index=False)

    return change


@pytest.mark.parametrize(
    ("name", "files", "columns"),
    [
        ("mimic_cxr", (META, CHEXPERT), ("subject_id", "study_id")),
        ("nih_small", (SMALL,), ("patient_id",)),
        ("lesion_boxes", (SMALL,), ("patient_id",)),
    ],
)
def test_float_ids_are_the_same_patients(name, files, columns, tmp_path):
    whole, root = load_reader(name).read(archive(name)), archive(name, tmp_path)
    for file in files:
        if not (root / file).is_file():
            unpack(file)(root)
        for name_ in columns:
            as_floats(file, name_)(root)
    floats = load_reader(name).read(root)
    assert floats.images.equals(whole.images)
    assert floats.labels.equals(whole.labels)


def test_times_without_leading_zeros_are_in_order(tmp_path):
    root = archive("mimic_cxr", tmp_path)
    unpack(META)(root)
    frame = pd.read_csv(root / META, dtype=str)
    patient = frame["subject_id"].value_counts().index[0]
    rows = frame.index[frame["subject_id"] == patient][:2]
    frame.loc[frame["subject_id"] == patient, "StudyDate"] = "21800101"
    frame.loc[rows, "StudyTime"] = ["101500.5", "95900.25"]
    frame.to_csv(root / META, index=False)
    order = load_reader("mimic_cxr").read(root).images["study_order"]
    assert order[rows[1]] < order[rows[0]]


@pytest.mark.parametrize(
    "name", ["mimic_cxr", "rsna", "siim", "object_cxr", "folder", "nih_chestxray14", "tbx11k"]
)
def test_endings_in_capitals(name, tmp_path):
    root = archive(name, tmp_path)
    for path in [path for path in root.rglob("*") if path.suffix in (".jpg", ".png", ".dcm")]:
        path.rename(path.with_suffix(path.suffix.upper()))
    raw = load_reader(name).read(root)
    assert all((raw.root / source).is_file() for source in raw.images["source"])
    plain = load_reader(name).read(archive(name))
    assert len(raw.images) == len(plain.images)
    assert (raw.masks is None) == (plain.masks is None)
    assert raw.masks is None or raw.masks.equals(plain.masks)


def test_a_table_may_be_compressed_or_begin_with_a_byte_order_mark(tmp_path):
    root = archive("folder", tmp_path)
    plain = load_reader("folder").read(root).images
    content = (root / "images.csv").read_bytes()
    (root / "images.csv").write_bytes(b"\xef\xbb\xbf" + content)
    assert load_reader("folder").read(root).images.equals(plain)
    (root / "images.csv").unlink()
    (root / "images.csv.gz").write_bytes(gzip.compress(content))
    assert load_reader("folder").read(root).images.equals(plain)


@pytest.mark.parametrize("text", [b"", b"FINDINGS:\n Caf\xe9 au lait.\n", b"\xff\xfe\x00"])
def test_an_empty_or_non_utf8_report_of_mimic(text, tmp_path):
    root = archive("mimic_cxr", tmp_path)
    path = next(iter(sorted(root.rglob("s*.txt"))))
    path.write_bytes(text)
    raw = load_reader("mimic_cxr").read(root)
    assert len(raw.reports) == len(load_reader("mimic_cxr").read(archive("mimic_cxr")).reports) - (not text)
    if not text:
        assert raw.dropped[0]["reason"] == "empty report"
