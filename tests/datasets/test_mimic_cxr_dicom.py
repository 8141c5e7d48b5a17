import shutil

import numpy as np
import pandas as pd
import pydicom
import pytest

from prior.data.prepare import prepare
from prior.data.prepared import PreparedDataset
from prior.data.records import with_sections
from prior.datasets import load_reader
from prior.datasets.mimic_cxr import FINDINGS
from prior.errors import InputError
from prior.phantom.archives import simulate_archive
from tests.datasets.simulated import cases, refusal

COUNT, SEED, SIZE = 30, 2, 64
LIST = "cxr-record-list.csv.gz"
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:pycocotools")


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    root = tmp_path_factory.mktemp("raw") / "mimic_cxr_dicom"
    simulate_archive("mimic_cxr_dicom", root, COUNT, SEED, SIZE, 1)
    return root


@pytest.fixture
def root(raw, tmp_path):
    return shutil.copytree(raw, tmp_path / "raw")


def retag(path, **tags):
    data = pydicom.dcmread(path)
    for name, value in tags.items():
        setattr(data, name, value)
    data.save_as(path)


def test_films_and_reports_are_those_of_the_hospital(raw, tmp_path):
    manifest = prepare("mimic_cxr_dicom", raw, tmp_path / "out", SIZE)
    data = PreparedDataset(tmp_path / "out")
    assert manifest["layout"] == "MIMIC-CXR as DICOM, reports in mimic-cxr-reports/files"
    texts = data.reports.set_index("text")["study_id"]
    assert manifest["counts"]["frontal_images"] == COUNT < len(data.images)
    images = data.images[data.images["view"] != "LATERAL"].set_index("study_id")
    for study, film, report in cases("mimic_cxr", COUNT, SEED, SIZE):
        row = images.loc[[texts.loc[[report.text]].iloc[0]]].iloc[0]
        if (texts.index == report.text).sum() > 1:
            continue  # stored texts are shared by normal films
        assert row["view"] == study.pose.view
        shown = data.pixels(SIZE)[row["row"]].astype(int)
        low, high = film.image.min(), film.image.max()
        stretched = (film.image.astype(float) - low) / (high - low) * 255
        # a 12-bit film goes through its window and is stretched: one grey level of rounding each
        assert np.abs(shown - stretched).max() <= 2
    photometric = {pydicom.dcmread(path).PhotometricInterpretation for path in raw.rglob("*.dcm")}
    assert photometric == {"MONOCHROME1", "MONOCHROME2"}


def test_ids_are_those_of_the_jpeg_release(raw, tmp_path):
    simulate_archive("ms_cxr", tmp_path / "ms_cxr", COUNT, SEED, SIZE, 1)
    jpeg, dicom = load_reader("mimic_cxr").read(tmp_path / "ms_cxr"), load_reader("mimic_cxr_dicom").read(raw)
    columns = ["image_id", "study_id", "patient_id"]
    left, right = (
        data.images[columns].sort_values("image_id").reset_index(drop=True) for data in (jpeg, dicom)
    )
    assert left.equals(right)
    assert jpeg.patient_family == dicom.patient_family


def test_lateral_and_unknown_views_of_the_files_stay_out_of_splits(root, tmp_path):
    files = sorted(root.rglob("*.dcm"))
    for path, view in zip(files, ("LATERAL", "LL", "", "LPO", "PA"), strict=False):
        retag(path, ViewPosition=view)
    prepare("mimic_cxr_dicom", root, tmp_path / "out", 16)
    data = PreparedDataset(tmp_path / "out")
    views = data.images.set_index("image_id").loc[[path.stem for path in files[:5]], "view"].tolist()
    assert views == ["LATERAL", "LATERAL", "OTHER", "OTHER", "PA"]
    assert not set(data.split("strict", 0)["image_id"]) & {path.stem for path in files[:4]}


def tables(root):
    """Put MIMIC-CXR-JPG's tables beside the files."""
    records = pd.read_csv(root / LIST)
    ids = records[["dicom_id", "subject_id", "study_id"]]
    number = ids.groupby("study_id", sort=False).ngroup()
    facts = ids.assign(ViewPosition="LL", StudyDate=21500101, StudyTime=len(ids) - number)
    facts.to_csv(root / "mimic-cxr-2.0.0-metadata.csv.gz", index=False)
    ids.assign(split="validate").to_csv(root / "mimic-cxr-2.0.0-split.csv", index=False)
    labels = ids[["subject_id", "study_id"]].drop_duplicates().assign(**dict.fromkeys(FINDINGS, 0.0))
    labels.to_csv(root / "mimic-cxr-2.0.0-chexpert.csv.gz", index=False)


def test_tables_of_the_jpeg_release_add_labels_split_views_and_order(root):
    tables(root)
    data = load_reader("mimic_cxr_dicom").read(root)
    assert data.layout.endswith(", tables metadata, split, chexpert")
    assert set(data.images["view"]) == {"LATERAL"}
    assert set(data.images["official_split"]) == {"validation"}
    assert data.labels.drop(columns="image_id").eq(0).all(axis=None)
    records = pd.read_csv(root / LIST, dtype=str)
    patient = records["subject_id"].mode().iloc[0]
    studies = records.loc[records["subject_id"] == patient, "study_id"].unique()
    order = data.images.drop_duplicates("study_id").set_index("study_id").loc[studies]
    assert len(order) > 1
    assert order["study_order"].tolist() == list(range(len(order)))[::-1]


def test_ids_saved_as_floats_and_reports_beside_the_images(root, raw):
    table = pd.read_csv(root / LIST)
    table["subject_id"] = table["subject_id"].astype(float)
    table.to_csv(root / "cxr-record-list.csv", index=False)
    (root / LIST).unlink()
    for path in list((root / "mimic-cxr-reports").rglob("*.txt")):
        path.rename(root / path.relative_to(root / "mimic-cxr-reports"))
    shutil.rmtree(root / "mimic-cxr-reports")
    data, plain = load_reader("mimic_cxr_dicom").read(root), load_reader("mimic_cxr_dicom").read(raw)
    assert data.layout == "MIMIC-CXR as DICOM, reports in files"
    assert data.images.equals(plain.images)
    texts = [next(with_sections(raw.reports, raw.root)) for raw in (data, plain)]
    assert texts[0].equals(texts[1])


def test_missing_empty_and_foreign_reports(root):
    texts = sorted((root / "mimic-cxr-reports").rglob("*.txt"))
    texts[0].unlink()
    texts[1].write_text(" \n")
    texts[2].write_bytes(b"FINDINGS: caf\xe9 au lait.\n")
    data = load_reader("mimic_cxr_dicom").read(root)
    reasons = {item["source"]: item["reason"] for item in data.dropped}
    assert reasons == {
        texts[0].relative_to(root).as_posix(): "study without report file",
        texts[1].relative_to(root).as_posix(): "empty report",
    }
    study = texts[2].stem.removeprefix("s")
    texts = next(with_sections(data.reports, root)).set_index("study_id")["text"]
    assert texts[study] == "FINDINGS: caf\N{REPLACEMENT CHARACTER} au lait.\n"


def edit(root, column, value):
    table = pd.read_csv(root / LIST, dtype=str)
    table.loc[1, column] = value
    table.to_csv(root / LIST, index=False)


def count(root):
    return str(len(list(root.rglob("*.dcm"))))


def first(root, column):
    return pd.read_csv(root / LIST, dtype=str)[column].iloc[0]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda root: (root / LIST).unlink(),
            "ROOT/cxr-record-list.csv (or .csv.gz) is missing; dataset mimic_cxr_dicom needs it: "
            "copy it into the raw folder",
        ),
        (
            lambda root: edit(root, "dicom_id", first(root, "dicom_id")),
            f"ROOT/{LIST}, line 3, column 'dicom_id': '{{dicom_id}}' is not a value that no earlier row has; "
            "correct this cell",
        ),
        (
            lambda root: edit(root, "subject_id", "../../1"),
            f"ROOT/{LIST}, line 3, column 'subject_id': a value is not made of digits; correct this cell",
        ),
        (
            lambda root: edit(root, "path", "files/../../x.dcm"),
            f"ROOT/{LIST} lists 'files/../../x.dcm', which leads out of the raw folder; use the "
            "list as released",
        ),
        (
            lambda root: (root / first(root, "path")).unlink(),
            "ROOT/{path} is listed but does not exist (1 of {total} images are missing, 0 may be); "
            "copy the images or remove their rows",
        ),
        (
            lambda root: shutil.rmtree(root / "mimic-cxr-reports"),
            "ROOT/files holds no report (pXX/pS/sT.txt); unpack mimic-cxr-reports.zip there",
        ),
        (
            lambda root: (root / LIST).write_bytes(b"subject_id,study_id\n"),
            f"ROOT/{LIST} cannot be read as csv (Not a gzipped file (b'su')); replace the file",
        ),
    ],
)
def test_a_broken_tree_is_refused_with_one_message(damage, message, root, tmp_path):
    facts = {"dicom_id": first(root, "dicom_id"), "path": first(root, "path"), "total": count(root)}
    damage(root)
    expected = message
    for name, value in facts.items():
        expected = expected.replace("{" + name + "}", value)
    assert refusal("mimic_cxr_dicom", root, tmp_path / "out") == expected


def test_a_truncated_film_is_named_and_leaves_no_manifest(root, tmp_path):
    path = root / first(root, "path")
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputError, match=rf"1 of {count(root)} images will not open .*cannot be decoded"):
        prepare("mimic_cxr_dicom", root, tmp_path / "out", 16)
    assert not list((tmp_path / "out").glob("*.json"))
    assert not list((tmp_path / "out").glob("*.parquet"))
