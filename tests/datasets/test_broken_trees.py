"""Every way in which a raw tree of these readers can be wrong, its message, and that nothing remains."""

import json
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from tests.datasets.archives import archive
from tests.datasets.damage import (
    cell,
    check,
    halve,
    in_every_row,
    latin1,
    line_of,
    missing,
    refused,
    remove,
    repeat_line,
    text,
    unopened,
)

pytestmark = pytest.mark.filterwarnings("ignore:Invalid value for VR AS")


def coco(change_content):
    def change(root: Path) -> None:
        path = root / "TBX11K/annotations/json/TBX11K_train.json"
        content = json.loads(path.read_text())
        change_content(content)
        path.write_text(json.dumps(content))

    return change


ENTRY, BBOX = "Data_Entry_2017.csv", "BBox_List_2017.csv"
NIH_WORDS = (
    "some of Atelectasis|Cardiomegaly|Consolidation|Edema|Effusion|Emphysema|Fibrosis|Hernia|Infiltration|"
    "Mass|Nodule|Pleural_Thickening|Pneumonia|Pneumothorax|No_Finding (No Finding alone)"
)
NIH = {
    "no table": (remove(ENTRY), f"ROOT/{ENTRY} is missing; copy it into the raw folder"),
    "wrong column": (
        cell(ENTRY, "View Position", "View", line=1),
        f"ROOT/{ENTRY} has no column 'View Position' (found: *); use the file as released, or "
        "rename the column",
    ),
    "no sex": (
        cell(ENTRY, "Patient Gender", "Gender", line=1),
        f"ROOT/{ENTRY} has no column 'Patient Gender' or 'Patient Sex'; use the file as released",
    ),
    "climbs out": (
        cell(ENTRY, "Image Index", "../00000001_000.png"),
        f"ROOT/{ENTRY}, line 3, column 'Image Index': '../00000001_000.png' is not a name such as "
        "00000001_000.png; correct this cell",
    ),
    "twice": (
        repeat_line(ENTRY),
        f"ROOT/{ENTRY}, line 4, column 'Image Index': '*' is not a value that no earlier row has; "
        "correct this cell",
    ),
    "unknown finding": (
        cell(ENTRY, "Finding Labels", "Mass|Flu"),
        f"ROOT/{ENTRY}, line 3, column 'Finding Labels': 'Mass|Flu' is not {NIH_WORDS}; correct this cell",
    ),
    "finding and none": (
        cell(ENTRY, "Finding Labels", "Mass|No Finding"),
        f"ROOT/{ENTRY}, line 3, column 'Finding Labels': 'Mass|No Finding' is not {NIH_WORDS}; "
        "correct this cell",
    ),
    "age": (
        cell(ENTRY, "Patient Age", "old"),
        f"ROOT/{ENTRY}, line 3, column 'Patient Age': a value is not an age such as 058Y, 011M or 58; "
        "correct this cell",
    ),
    "other patient": (
        cell(ENTRY, "Patient ID", "999"),
        f"ROOT/{ENTRY}, line 3, column 'Patient ID': a value is not the patient that the name of the image "
        "starts with; correct this cell",
    ),
    "latin-1": (latin1(ENTRY), f"ROOT/{ENTRY} cannot be read as csv (*codec*); replace the file"),
    "box swapped": (
        cell(BBOX, "h]", "-9"),
        f"ROOT/{BBOX}, line 3: the box (x_min *) is empty or outside; correct or remove the row",
    ),
    "box label": (
        cell(BBOX, "Finding Label", "Cough"),
        f"ROOT/{BBOX}, line 3, column 'Finding Label': 'Cough' is not one of *; correct this cell",
    ),
    "no image": (
        remove("images_003/images/*.png"),
        missing("images/00000003_000.png", 60),
    ),
    "image twice": (
        lambda root: Image.new("L", (9, 9)).save(root / "images_001" / "00000003_000.png"),
        "ROOT: images_003/images/00000003_000.png and images_001/00000003_000.png have the same name; "
        "remove one of them",
    ),
    "one list": (
        remove("test_list.txt"),
        "ROOT/test_list.txt is missing beside train_val_list.txt; copy it there or remove the other",
    ),
    "both lists": (
        lambda root: (root / "train_val_list.txt").write_text((root / "test_list.txt").read_text()),
        "ROOT: *.png is in both official lists; use the lists as released",
    ),
    "list in latin-1": (
        latin1("test_list.txt"),
        "ROOT/test_list.txt is no list of image names (*codec*); replace the file",
    ),
    "truncated": (
        halve("images_003/images/*.png"),
        unopened("images_003/images/00000003_000.png"),
    ),
}
FIRST = "scans/P0000/V00000.jpg"
FOLDER = {
    "no table": (remove("images.csv"), "ROOT/images.csv is missing; copy it into the raw folder"),
    "wrong column": (
        cell("images.csv", "path", "file", line=1),
        "ROOT/images.csv has no column 'path' (found: *); use the file as released, or rename the column",
    ),
    "no path": (
        cell("images.csv", "path", "", line=2),
        "ROOT/images.csv, line 2, column 'path': empty is not a value; correct this cell",
    ),
    "no such image": (
        cell("images.csv", "path", "scans/ghost.png", line=2),
        missing("scans/ghost.png", 60),
    ),
    "climbs out": (
        cell("images.csv", "path", "../other.png", line=2),
        "ROOT/images.csv, line 2, column 'path': '../other.png' is not a path below ROOT; correct this cell",
    ),
    "absolute": (
        cell("images.csv", "path", "/scans/a.png", line=2),
        "ROOT/images.csv, line 2, column 'path': '/scans/a.png' is not a path below ROOT; correct this cell",
    ),
    "no image": (
        cell("images.csv", "path", "notes.txt", line=2),
        "ROOT/images.csv, line 2, column 'path': 'notes.txt' is not an image (.png, .jpg, "
        ".jpeg, .dcm, .dicom); "
        "correct this cell",
    ),
    "twice": (
        repeat_line("images.csv", line=2),
        f"ROOT/images.csv, line 3, column 'path': '{FIRST}' is not an image that no earlier "
        "row has (with suffix "
        "left out and _ for /); correct this cell",
    ),
    "patient missing": (
        cell("images.csv", "patient_id", "", line=2),
        "ROOT/images.csv, line 2, column 'patient_id': a value is not a value; correct this cell",
    ),
    "study of two patients": (
        cell("images.csv", "study_id", "V00000", line=60),
        "ROOT/images.csv, line 60, column 'patient_id': a value is not what an earlier row of "
        "the same study_id "
        "says; correct this cell",
    ),
    "view": (
        cell("images.csv", "view", "front", line=2),
        "ROOT/images.csv, line 2, column 'view': 'front' is not one of AP, PA, LATERAL, OTHER or blank; "
        "correct this cell",
    ),
    "sex": (
        cell("images.csv", "sex", "X", line=2),
        "ROOT/images.csv, line 2, column 'sex': 'X' is not one of F, FEMALE, M, MALE or "
        "blank; correct this cell",
    ),
    "age": (
        cell("images.csv", "age", "1957", line=2),
        "ROOT/images.csv, line 2, column 'age': '1957' is not an age in years, 0 to 130; correct this cell",
    ),
    "label": (
        cell("images.csv", "Edema", "2", line=2),
        "ROOT/images.csv, line 2, column 'Edema': '2' is not one of 1, 0, -1 or blank; correct this cell",
    ),
    "label in words": (
        cell("images.csv", "Edema", "yes", line=2),
        "ROOT/images.csv, line 2, column 'Edema': 'yes' is not a number; correct this cell",
    ),
    "latin-1": (latin1("images.csv"), "ROOT/images.csv cannot be read as csv (*); replace the file"),
    "box of no image": (
        cell("boxes.csv", "path", "ghost.png", line=2),
        "ROOT/boxes.csv, line 2, column 'path': 'ghost.png' is not an image of images.csv; correct this cell",
    ),
    "box swapped": (
        cell("boxes.csv", "x_max", "0", line=2),
        "ROOT/boxes.csv, line 2: the box (x_min *, x_max 0.0, *) is empty or outside; correct "
        "or remove the row",
    ),
    "truncated": (
        halve(FIRST),
        unopened(FIRST),
    ),
}


def image_in_both_tables(root: Path) -> None:
    tables = root / "annotations"
    test = pd.read_csv(tables / "image_labels_test.csv")
    old = test.loc[0, "image_id"]
    new = pd.read_csv(tables / "image_labels_train.csv").loc[0, "image_id"]
    for name in ("image_labels_test.csv", "annotations_test.csv"):
        (tables / name).write_text((tables / name).read_text().replace(old, new))
    (root / "test" / f"{old}.dicom").rename(root / "test" / f"{new}.dicom")


LABELS, MARKS = "annotations/image_labels_train.csv", "annotations/annotations_train.csv"
VINDR = {
    "no table": (
        lambda root: [path.unlink() for path in (root / "annotations").glob("image_labels_*")],
        "ROOT/annotations/image_labels_train.csv is missing; copy the tables of VinDr-CXR there",
    ),
    "no boxes": (remove(MARKS), f"ROOT/{MARKS} is missing; copy it into the raw folder"),
    "wrong column": (
        cell(LABELS, "Nodule/Mass", "Nodule", line=1),
        f"ROOT/{LABELS} has no column 'Nodule/Mass' (found: *); use the file as released",
    ),
    "label": (
        cell(LABELS, "Edema", "2"),
        f"ROOT/{LABELS}, line 3, column 'Edema': '2' is not one of 0, 0.0, 1, 1.0; correct this cell",
    ),
    "reader twice": (
        repeat_line(LABELS),
        f"ROOT/{LABELS}, line 4, column 'rad_id': 'R2' is not a reader that no earlier row of the image has; "
        "correct this cell",
    ),
    "no image": (
        remove("train/*.dicom"),
        missing("train/*.dicom"),
    ),
    "box of no image": (
        cell(MARKS, "image_id", "../ghost"),
        f"ROOT/{MARKS}, line 3, column 'image_id': '../ghost' is not an image of image_labels_train.csv; "
        "correct this cell",
    ),
    "box class": (
        cell(MARKS, "class_name", "Cough"),
        f"ROOT/{MARKS}, line 3, column 'class_name': 'Cough' is not one of *; correct this cell",
    ),
    "climbs out": (
        cell(LABELS, "image_id", "../../ghost"),
        f"ROOT/{LABELS}, line 3, column 'image_id': '../../ghost' is not the name of an image without folder "
        "and ending; correct this cell",
    ),
    "in both tables": (
        image_in_both_tables,
        "ROOT/annotations: image * is in both label tables; remove it from one of them",
    ),
    "box swapped": (
        in_every_row(MARKS, "x_max", "0"),
        f"ROOT/{MARKS}, line *: the box (x_min *, x_max 0.0, *) is empty or outside; "
        "correct or remove the row",
    ),
    "latin-1": (latin1(LABELS), f"ROOT/{LABELS} cannot be read as csv (*); replace the file"),
    "truncated": (
        halve("train/*.dicom"),
        unopened("train/*.dicom"),
    ),
}
LIST = "train_COVIDx9A.txt"
COVIDX = {
    "no list": (
        remove(LIST),
        f"ROOT/{LIST} (or of another version, or train.txt) is missing; copy the lists of one version there",
    ),
    "no test list": (
        remove("test_COVIDx9A.txt"),
        f"ROOT/test_COVIDx9A.txt is missing beside {LIST}; copy it there",
    ),
    "two versions": (
        lambda root: (root / "train_COVIDx6.txt").write_text("1 a.png positive cohen\n"),
        f"ROOT holds lists of several versions (train_COVIDx6.txt, {LIST}); leave those of one version",
    ),
    "too few fields": (
        line_of(LIST, 3, "a.png normal"),
        f"ROOT/{LIST}, line 3: expected patient, file, class (one of normal, pneumonia, COVID-19, positive, "
        "negative) and source; correct or remove the line",
    ),
    "climbs out": (
        line_of(LIST, 3, "1 ../a.png normal cohen"),
        f"ROOT/{LIST}, line 3: '../a.png' is not the name of a file in the folder of its list; "
        "correct or remove the line",
    ),
    "classes of two versions": (
        text(LIST, "normal", "negative"),
        f"ROOT/{LIST} and its neighbours mix the classes of two versions (COVID-19, negative, "
        "normal, pneumonia); "
        "use the lists of one version",
    ),
    "two classes": (
        lambda root: (root / LIST).write_text("8 x.jpg normal cohen\n8 x.jpg pneumonia cohen\n"),
        f"ROOT/{LIST}, line 2: x.jpg has another class than in an earlier line; correct or remove the line",
    ),
    "no image": (
        remove("train/*.jpg"),
        missing("train/*.jpg"),
    ),
    "latin-1": (latin1(LIST), f"ROOT/{LIST} is no text (*codec*); replace the file"),
    "empty": (
        lambda root: (root / LIST).write_text("\n"),
        f"ROOT/{LIST} has no lines; replace the file",
    ),
    "truncated": (
        halve("train/*.jpg"),
        unopened("train/*.jpg"),
    ),
}
JSON = "TBX11K/annotations/json/TBX11K_train.json"
TBX = {
    "no json": (remove(JSON), f"ROOT/{JSON} is missing; copy the annotations of TBX11K there"),
    "cut json": (halve(JSON), f"ROOT/{JSON} cannot be read as JSON (*); replace the file"),
    "no bbox": (
        coco(lambda content: content["annotations"][0].pop("bbox")),
        f"ROOT/{JSON} is no COCO file (KeyError('bbox')); use the file as released",
    ),
    "image twice": (
        coco(lambda content: content["images"].append(content["images"][0])),
        f"ROOT/{JSON} is no COCO file (ValueError('two images have the same id')); use the file as released",
    ),
    "box of no image": (
        coco(lambda content: content["annotations"][1].update(image_id=9999)),
        f"ROOT/{JSON}, annotations[1]: image_id 9999 is in no entry of images; correct or remove it",
    ),
    "box swapped": (
        coco(lambda content: content["annotations"][1].update(bbox=[9, 9, -4, 5])),
        f"ROOT/{JSON}, annotations[1]: the box (x_min 9, y_min 9, x_max 5, y_max 14) is empty or outside; "
        "correct or remove it",
    ),
    "three numbers": (
        coco(lambda content: content["annotations"][1].update(bbox=[9, 9, 4])),
        f"ROOT/{JSON}, annotations[1]: bbox has 3 numbers instead of 4; correct it",
    ),
    "class": (
        coco(lambda content: content["categories"][0].update(name="Flu")),
        f"ROOT/{JSON}, annotations[*]: class 'Flu' is none of ActiveTuberculosis, "
        "ObsoletePulmonaryTuberculosis, "
        "PulmonaryTuberculosis; correct it",
    ),
    "climbs out": (
        coco(lambda content: content["images"][0].update(file_name="tb/../../a.png")),
        f"ROOT/{JSON}: 'tb/../../a.png' is not below health, sick, tb; use the file as released",
    ),
    "no image": (
        coco(lambda content: content["images"][0].update(file_name="tb/ghost.png")),
        missing("TBX11K/imgs/tb/ghost.png"),
    ),
    "latin-1": (latin1(JSON), f"ROOT/{JSON} is not UTF-8 (byte *); replace the file"),
    "in both lists": (
        lambda root: (root / JSON).write_text((root / JSON.replace("train", "val")).read_text()),
        "ROOT/TBX11K: *.png is listed twice; use the lists as released",
    ),
    "truncated": (
        halve("TBX11K/imgs/sick/*.png"),
        unopened("TBX11K/imgs/sick/*.png", many=True),
    ),
}
ANNOTATED = "covid_rural_annot"
RURAL = {
    "no images": (
        lambda root: (root / ANNOTATED / "jpgs").rename(root / ANNOTATED / "jpg"),
        f"ROOT/{ANNOTATED}/jpgs holds no image; unpack {ANNOTATED} there",
    ),
    "name": (
        lambda root: next((root / ANNOTATED / "jpgs").iterdir()).rename(root / ANNOTATED / "jpgs/a.jpg"),
        f"ROOT/{ANNOTATED}/jpgs/a.jpg is not named COVID-19-AR-<patient>_MM-DD-YYYY-XR; restore its name or "
        "remove it",
    ),
    "no mask": (
        remove(f"{ANNOTATED}/pngs_masks/*.png"),
        f"ROOT/{ANNOTATED}/pngs_masks/*.png does not exist; copy the mask or remove its image",
    ),
    "mask of no image": (
        remove(f"{ANNOTATED}/jpgs/*.jpg"),
        f"ROOT/{ANNOTATED}/pngs_masks/*.png is the mask of no image; copy the image or remove it",
    ),
    "mask of another size": (
        lambda root: Image.new("L", (9, 8)).save(next((root / ANNOTATED / "pngs_masks").iterdir())),
        f"ROOT/{ANNOTATED}/pngs_masks/*.png has 8x9 pixels, its image 64x64; replace the mask or remove both",
    ),
    "cut mask": (
        lambda root: next((root / ANNOTATED / "pngs_masks").iterdir()).write_bytes(b"\x89PNG"),
        f"ROOT/{ANNOTATED}/pngs_masks/*.png: the image cannot be decoded (*); replace the file "
        "or remove its row",
    ),
    "truncated": (
        halve(f"{ANNOTATED}/jpgs/*.jpg"),
        unopened(f"{ANNOTATED}/jpgs/*.jpg"),
    ),
}
TABLES = {
    "nih_chestxray14": NIH,
    "folder": FOLDER,
    "vindr_cxr": VINDR,
    "covidx": COVIDX,
    "tbx11k": TBX,
    "covid_rural": RURAL,
}


@pytest.mark.parametrize(("name", "case"), [(name, case) for name, table in TABLES.items() for case in table])
def test_a_broken_tree_is_named_and_leaves_nothing(name: str, case: str, tmp_path: Path) -> None:
    change, expected = TABLES[name][case]
    root = archive(name, tmp_path)
    change(root)
    check(refused(name, root, tmp_path / "out"), expected)
