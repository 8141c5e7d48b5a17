"""Raw trees whose files are each well-formed but contradict themselves or each other."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from prior.data.pixels import load_pixels
from prior.data.records import with_sections
from prior.datasets import load_reader
from prior.datasets.object_cxr import parse_annotation, shape_to_rle
from prior.errors import InputError
from tests.datasets.archives import archive
from tests.datasets.damage import TWICE, after, cell, check, refused, repeat_line, unpack, wrong
from tests.datasets.trees import picture, write_dicom

pytestmark = [
    pytest.mark.filterwarnings("ignore:Invalid value for VR AS"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:pycocotools"),
]


def table(file: str, edit):
    """Replace a csv by `edit` of its rows."""

    def change(root: Path) -> None:
        edit(pd.read_csv(root / file, dtype=str)).to_csv(root / file, index=False)

    return change


def document(file: str, edit):
    """Change a JSON file in place."""

    def change(root: Path) -> None:
        content = json.loads((root / file).read_text())
        edit(content)
        (root / file).write_text(json.dumps(content))

    return change


def redrawn(pattern: str, edit):
    """Replace the grey values of every image that matches."""

    def change(root: Path) -> None:
        for path in root.glob(pattern):
            with Image.open(path) as image:
                values = np.asarray(image.convert("L"))
            Image.fromarray(edit(values).astype(np.uint8)).save(path)

    return change


def again(frame: pd.DataFrame, row: int, **cells: str) -> pd.DataFrame:
    return pd.concat([frame, frame.iloc[[row]].assign(**cells)])


def first(frame: pd.DataFrame, column: str, value: str) -> int:
    return int(np.flatnonzero(frame[column] == value)[0])


def of_other_release(root: Path, name: str, column: str) -> None:
    unpack(name)(root)
    table(name, lambda frame: frame.assign(**{column: "9" + frame[column]}))(root)


def one_study(root: Path) -> None:
    name = "mimic-cxr-2.0.0-metadata.csv"
    unpack(name)(root)
    table(name, lambda frame: frame.assign(study_id=frame["study_id"].iloc[0]))(root)


def without_json(edit):
    """Make TBX11K one of VOC files, and change the first."""

    def change(root: Path) -> None:
        shutil.rmtree(root / "TBX11K/annotations/json")
        path = min((root / "TBX11K/annotations/xml").iterdir())
        path.write_text(edit(path.read_text()))

    return change


def only_json(edit):
    def change(root: Path) -> None:
        (root / "MS_CXR_Local_Alignment_v1.1.0.csv").unlink()
        document("MS_CXR_Local_Alignment_v1.1.0.json", edit)(root)

    return change


def copied(pattern: str, target):
    """Copy the first file that matches to `target(its path)`."""

    def change(root: Path) -> None:
        path = min(root.glob(pattern))
        target(path).parent.mkdir(exist_ok=True)
        shutil.copy(path, target(path))

    return change


TRAIN, BOXED, MATCH = "CheXpert-v1.0-small/train.csv", "stage_2_train_labels.csv", "nih_patient_map.csv"
SMALL, BOXES, MASKS = (f"nih_chestxray14/{name}.csv" for name in ("labels", "boxes", "masks"))
LUNGS, FILMS, PNG = "kermany_pneumonia/lung_masks", "dicom-images-train", "siim-acr-pneumothorax"
COCO, VOC = "TBX11K/annotations/json/TBX11K_train.json", "ROOT/TBX11K/annotations/xml/*.xml"
MS = "ROOT/MS_CXR_Local_Alignment_v1.1.0"
RELEASE = "names nothing of mimic-cxr-2.0.0-metadata.csv.gz; use tables of one release"
ONE_ID = "have one id (*); remove or rename one of the two"
NOTHING = "marks nothing (its brightest value is {}, expected 0 and 255); replace the mask or remove its row"
UNLISTED = "'images/ghost.jpg' is not an image of labels.csv; correct this cell"
CASES = {
    "labels of another release": (
        "mimic_cxr",
        lambda root: of_other_release(root, "mimic-cxr-2.0.0-chexpert.csv", "study_id"),
        f"ROOT/mimic-cxr-2.0.0-chexpert.csv {RELEASE}",
    ),
    "split of another release": (
        "mimic_cxr",
        lambda root: of_other_release(root, "mimic-cxr-2.0.0-split.csv", "dicom_id"),
        f"ROOT/mimic-cxr-2.0.0-split.csv {RELEASE}",
    ),
    "study of two patients": (
        "mimic_cxr",
        one_study,
        "ROOT: study * belongs to two patients; correct the tables",
    ),
    "path of another image": (
        "mimic_cxr_dicom",
        after(
            unpack("cxr-record-list.csv"),
            table(
                "cxr-record-list.csv", lambda frame: frame.assign(path=frame["path"].iloc[::-1].to_numpy())
            ),
        ),
        wrong(
            "cxr-record-list.csv", "path", "'*'", "files/pXX/pS/sT/<dicom_id>.dcm of the ids of its row", 2
        ),
    ),
    "two paths of an image": (
        "ms_cxr",
        table(
            "MS_CXR_Local_Alignment_v1.1.0.csv",
            lambda frame: again(frame, 0, path=frame["path"].iloc[0].replace("/s", "/s9")),
        ),
        f"{MS}.csv, line *, column 'path': '*' is not the path that an earlier row gives this image; "
        "correct this cell",
    ),
    "two images of an id": (
        "ms_cxr",
        only_json(lambda content: content["images"][1].update(id=content["images"][0]["id"])),
        f"{MS}.json: two entries of 'images' have the same id; use the file as released",
    ),
    "phrase without text": (
        "ms_cxr",
        only_json(lambda content: content["annotations"][1].update(label_text=None)),
        f"{MS}.json, annotation 1, column 'label_text': empty is not a value; correct this cell",
    ),
    "box of phrase swapped": (
        "ms_cxr",
        only_json(lambda content: content["annotations"][1].update(bbox=[9, 9, -5, 2])),
        f"{MS}.json, annotation 1: the box (x_min 9.0, y_min 9.0, x_max 4.0, y_max 11.0) is empty or "
        "outside; correct or remove the row",
    ),
    "age": (
        "chexpert",
        cell(TRAIN, "Age", "200"),
        wrong(TRAIN, "Age", "'200'", "an age in years, 0 to 130"),
    ),
    "image by two paths": (
        "chexpert",
        table(TRAIN, lambda frame: again(frame, 1, Path="Other/" + frame["Path"].iloc[1].split("/", 1)[1])),
        "ROOT/CheXpert-v1.0-small: train/*.jpg is listed twice (train_*); remove or rename one of the two",
    ),
    "study of thirty digits": (
        "chexpert",
        cell(TRAIN, "Path", f"C/train/patient00001/study{'9' * 30}/a.jpg"),
        f"ROOT/CheXpert-v1.0-small/train/patient00001/study{'9' * 30}/a.jpg is listed but does not exist "
        "(1 of * images are missing, 0 may be); copy the images or remove their rows",
    ),
    "report twice": (
        "chexpert_plus",
        repeat_line("df_chexpert_plus_240401.csv"),
        wrong("df_chexpert_plus_240401.csv", "path_to_image", "'*'", TWICE, 4),
    ),
    "box of a negative": (
        "rsna",
        table(BOXED, lambda frame: frame.assign(Target="0")),
        wrong(BOXED, "Target", "'0'", "1, though the row has a box", "*"),
    ),
    "positive and negative": (
        "rsna",
        table(
            BOXED,
            lambda frame: again(
                frame, first(frame, "Target", "1"), Target="0", x="", y="", width="", height=""
            ),
        ),
        wrong(BOXED, "Target", "'0'", "what an earlier row of the image says", "*"),
    ),
    "box without end": (
        "rsna",
        table(BOXED, lambda frame: frame.assign(width=frame["width"].where(frame["width"].isna(), "inf"))),
        wrong(BOXED, "width", "'inf'", "a number", "*"),
    ),
    "matched twice": (
        "rsna",
        table(MATCH, lambda frame: again(frame, 0, nih_image="00099999_000.png")),
        wrong(MATCH, "patientId", "'*'", TWICE, "*"),
    ),
    "matched to nothing": (
        "rsna",
        table(MATCH, lambda frame: frame.assign(error="99")),
        "ROOT gives no image of rsna: all are left out (no reliable match to an NIH patient); "
        "correct the tables",
    ),
    "lists of no film": (
        "chestx_det_release",
        lambda root: [(root / f"ChestX_Det_{side}.json").write_text("[]") for side in ("train", "test")],
        "ROOT gives no image of chestx_det_release: the lists name none; correct the tables",
    ),
    "mapped twice": (
        "rsna",
        lambda root: (root / "rsna-mappings.json").write_text(
            json.dumps([{"subset_img_id": "a", "img_id": f"0000006{k}_000.png"} for k in range(2)])
        ),
        "ROOT/rsna-mappings.json names an image twice; use the file as released",
    ),
    "digit that is none": (
        "rsna",
        cell(MATCH, "nih_image", "²_000.png"),
        f"ROOT/{MATCH}: '²_000.png' is no NIH image name such as 00000061_012.png; correct it",
    ),
    "runs and -1": (
        "siim",
        table("train-rle.csv", lambda frame: pd.concat([frame, frame.assign(**{" EncodedPixels": "-1"})])),
        wrong(
            "train-rle.csv",
            "EncodedPixels",
            "'-1'",
            "like that of an earlier row of the image, -1 or runs",
            "*",
        ),
    ),
    "runs of nothing": (
        "siim",
        cell("train-rle.csv", " EncodedPixels", "5 0 3 0", 2),
        "ROOT/train-rle.csv, line 2, column 'EncodedPixels': the runs mark no pixel; expected -1 for no mask",
    ),
    "film in two folders": (
        "siim",
        copied(f"{FILMS}/*/*/*.dcm", lambda path: path.parents[2].with_name("dicom-images-test") / path.name),
        f"ROOT: {FILMS}/*.dcm and dicom-images-test/*.dcm have the same name; remove one of them",
    ),
    "masks of 0 and 1": (
        "siim:png",
        redrawn(f"{PNG}/png_masks/*.png", lambda values: values > 127),
        f"ROOT/{PNG}/png_masks/*.png {NOTHING.format(1)}",
    ),
    "black lung mask": (
        "kermany_lungs",
        redrawn(f"{LUNGS}/*.png", lambda values: values * 0),
        f"ROOT/{LUNGS}/*.png {NOTHING.format(0)}",
    ),
    "size": (
        "kermany_lungs",
        cell("kermany_pneumonia/labels.csv", "h", "inf"),
        wrong("kermany_pneumonia/labels.csv", "h", "'inf'", "a number"),
    ),
    "lesion masks of 0 and 1": (
        "chestx_det",
        redrawn("nih_chestxray14/masks/*.png", lambda values: values > 127),
        f"ROOT/nih_chestxray14/masks/*.png {NOTHING.format(1)}",
    ),
    "mask of no image": (
        "chestx_det",
        cell(MASKS, "image", "images/ghost.jpg"),
        f"ROOT/{MASKS}, line 3, column 'image': {UNLISTED}",
    ),
    "box of no image": (
        "lesion_boxes",
        cell(BOXES, "image", "images/ghost.jpg"),
        f"ROOT/{BOXES}, line 3, column 'image': {UNLISTED}",
    ),
    "box of no class": ("lesion_boxes", cell(BOXES, "label", ""), wrong(BOXES, "label", "empty", "a value")),
    "lesion box swapped": (
        "chestx_det",
        cell(BOXES, "h", "-5"),
        f"ROOT/{BOXES}, line 3: the box (x_min *) is empty or outside; correct or remove the row",
    ),
    "age of NIH": (
        "nih_small",
        cell(SMALL, "age", "414"),
        wrong(SMALL, "age", "'414'", "an age in years, 0 to 130"),
    ),
    "list of other names": (
        "nih_chestxray14",
        lambda root: (root / "test_list.txt").write_text("00099999_000\n"),
        "ROOT/test_list.txt names no image of the table; use the list as released",
    ),
    "boxes of other images": (
        "nih_boxes",
        table("BBox_List_2017.csv", lambda frame: frame.assign(**{"Image Index": "00099999_000.png"})),
        "ROOT/BBox_List_2017.csv is missing or boxes no image of the table; put it there",
    ),
    "shape out of reach": (
        "object_cxr",
        cell("train.csv", "annotation", "0 0 0 900000000 900000000"),
        "ROOT/train.csv, line 3, column 'annotation': '0 0 0 900000000 900000000'... lies 100,000 pixels or "
        "more from the image",
    ),
    "image of two endings": (
        "object_cxr",
        after(
            copied("train/*.jpg", lambda path: path.with_suffix(".png")),
            table(
                "train.csv",
                lambda frame: again(frame, 0, image_name=frame["image_name"].iloc[0].replace("jpg", "png")),
            ),
        ),
        f"ROOT: train/*.jpg and train/*.png {ONE_ID}",
    ),
    "film and copy": (
        "covid_rural",
        copied("covid_rural_annot/jpgs/*.jpg", lambda path: path.with_suffix(".jpeg")),
        "ROOT: *.jpg and *.jpeg have the same name; remove one of them",
    ),
    "film of two kinds": (
        "tbx11k",
        after(
            copied("TBX11K/imgs/tb/*.png", lambda path: path.parents[1] / "health" / path.name),
            document(
                COCO,
                lambda content: content["images"].append(
                    {"id": 9999, "file_name": _first_of("tb", content).replace("tb/", "health/")}
                ),
            ),
        ),
        f"ROOT/TBX11K: imgs/*.png and imgs/health/*.png {ONE_ID}",
    ),
    "lists of nothing": (
        "tbx11k",
        lambda root: [
            path.write_text('{"images": [], "annotations": [], "categories": []}')
            for path in (root / COCO).parent.iterdir()
        ],
        "ROOT/TBX11K: the lists name no image; use the lists as released",
    ),
    "number without end": (
        "tbx11k",
        document(COCO, lambda content: content["annotations"][0].update(image_id=float("inf"))),
        f"ROOT/{COCO} is no COCO file (OverflowError(*)); use the file as released",
    ),
    "endless box": (
        "tbx11k",
        document(COCO, lambda content: content["annotations"][0].update(bbox=[1, 1, float("inf"), 3])),
        f"ROOT/{COCO}, annotations[0]: the box (x_min 1, y_min 1, x_max inf, y_max 4) is empty or outside; "
        "correct or remove it",
    ),
    "deep json": (
        "tbx11k",
        lambda root: (root / COCO).write_text("[" * 3000),
        f"ROOT/{COCO} cannot be read as JSON (*recursion*); replace the file",
    ),
    "document type": (
        "tbx11k",
        without_json(lambda text: '<!DOCTYPE a [<!ENTITY x SYSTEM "/etc/passwd">]><annotation/>'),
        f"{VOC} declares a document type (DOCTYPE), which no release has; replace it",
    ),
    "unknown encoding": (
        "tbx11k",
        without_json(lambda text: '<?xml version="1.0" encoding="foo"?><annotation/>'),
        f"{VOC} cannot be read as XML (unknown encoding: foo); download it again",
    ),
    "voc box swapped": (
        "tbx11k",
        without_json(lambda text: re.sub("xm(in|ax)", lambda m: "xmax" if m[1] == "in" else "xmin", text)),
        f"{VOC}: the box (x_min *) is empty or outside; correct or remove it",
    ),
    "column without name": (
        "folder",
        lambda root: pd.read_csv(root / "images.csv", dtype=str).to_csv(root / "images.csv"),
        "ROOT/images.csv: column 1 has no name; name the finding or remove the column",
    ),
    "finding twice": (
        "folder",
        table("images.csv", lambda frame: frame.assign(Lung_Opacity="1")),
        "ROOT/images.csv: column 'Lung_Opacity' names a finding that an earlier column has; remove one",
    ),
    "image of two studies": (
        "iu_xray/r2gen",
        document(
            "r2gen/annotation.json",
            lambda content: content["train"][1].update(image_path=content["train"][0]["image_path"]),
        ),
        "ROOT: images/*/0.png is listed twice (*); remove or rename one of the two",
    ),
    "number twice": (
        "iu_xray/r2gen",
        document(
            "r2gen/annotation.json",
            lambda content: content["test"].append(
                dict(content["train"][0], id=content["train"][0]["id"] + "x")
            ),
        ),
        "ROOT/annotation.json: id CXR*x occurs twice; use the file as released by R2Gen",
    ),
    "id of halves of characters": (
        "iu_xray/r2gen",
        document("r2gen/annotation.json", lambda content: content["train"][1].update(id="CXR\ud800")),
        "ROOT/annotation.json: id 'CXR?' is none such as CXR2384_IM-0942; correct it",
    ),
    "report that is a folder": (
        "iu_xray/open_i",
        lambda root: (root / "open_i/ecgen-radiology/zz.xml").mkdir(),
        "ROOT/ecgen-radiology/zz.xml cannot be read (Is a directory); replace it",
    ),
    "examination twice by another spelling": (
        "iu_xray",
        table("indiana_reports.csv", lambda frame: again(frame, 0, uid=frame["uid"].iloc[0] + ".0")),
        wrong("indiana_reports.csv", "uid", "'1'", TWICE, "*"),
    ),
}


def _first_of(kind: str, content) -> str:
    return min(item["file_name"] for item in content["images"] if item["file_name"].startswith(kind))


@pytest.mark.parametrize("case", CASES)
def test_a_contradiction_is_named_and_leaves_nothing(case, tmp_path):
    key, change, expected = CASES[case]
    tree, _, folder = key.partition("/")
    root = archive(tree, tmp_path)
    change(root)
    check(refused(tree.split(":")[0], root / folder, tmp_path / "out"), expected)
    assert not (tmp_path / "out").exists()


def test_a_study_has_one_report():
    reports = pd.DataFrame({"study_id": ["s1", "s2", "s1"], "text": ["Clear.", "Clear.", "Opacity."]})
    with pytest.raises(InputError) as caught:
        next(with_sections(reports, Path("raw")))
    assert str(caught.value) == "study s1 has two reports; remove one of them"


@pytest.mark.parametrize(("text", "other"), [("0 5 6 20 16", "0 20 16 5 6"), ("1 5 6 20 16", "1 5 16 20 6")])
def test_any_two_opposite_corners_are_one_shape(text, other):
    first, second = (shape_to_rle(parse_annotation(corners)[0], 30, 40) for corners in (text, other))
    assert first == second


def test_hidden_files_of_a_mac_are_no_images(tmp_path):
    root = archive("covid_rural", tmp_path)
    for path in [*root.glob("*/jpgs/*.jpg"), *root.glob("*/pngs_masks/*.png")]:
        path.with_name(f"._{path.name}").write_bytes(b"Mac OS X")
    found, plain = (load_reader("covid_rural").read(tree) for tree in (root, archive("covid_rural")))
    assert found.images.equals(plain.images)
    assert found.masks.equals(plain.masks)


@pytest.mark.parametrize(
    ("written", "view"),
    [("LL", "LATERAL"), ("RL", "LATERAL"), ("LATERAL ", "LATERAL"), ("PA", "PA"), ("", None)],
)
def test_views_of_a_users_dicom_files(written, view, tmp_path):
    write_dicom(tmp_path / "a.dcm", picture(1), ViewPosition=written)
    assert load_pixels(tmp_path / "a.dcm").header["view"] == view
