import io
import json
import os
import shutil
import tarfile
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from prior.data.prepare import prepare
from prior.data.prepared import PreparedDataset
from prior.datasets import load_reader
from prior.datasets.iu_xray_xml import read_reports
from prior.datasets.open_i import read_open_i
from prior.errors import InputError
from prior.phantom.archives import simulate_archive
from prior.phantom.writers.iu_xray import EMPTY, STREAM, UNCODED
from tests.datasets.simulated import cases, refusal, rewrite

COUNT, SEED, SIZE = 24, 3, 64
LAYOUTS = ("open_i", ".", "r2gen")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:pycocotools")


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    root = tmp_path_factory.mktemp("raw") / "iu_xray"
    simulate_archive("iu_xray", root, COUNT, SEED, SIZE, 1)
    return root


@pytest.fixture
def root(request, raw, tmp_path):
    return Path(shutil.copytree(raw / request.param, tmp_path / "raw"))


@cache
def truth():
    """uid -> (findings, impression) as written, with MeSH kinds."""
    found = {}
    for study, _, report in cases("mimic_cxr", COUNT, SEED + STREAM, SIZE):
        texts = [
            " ".join(s.text for s in report.sentences if s.section == name).replace("___", "XXXX")
            for name in ("findings", "impression")
        ]
        empty = study.index % EMPTY == EMPTY - 1
        found[str(study.index + 1)] = (*(["", ""] if empty else texts), {f.kind for f in study.findings})
    return found


@pytest.mark.parametrize("layout", LAYOUTS)
def test_reports_are_the_written_ones(raw, layout):
    data = load_reader("iu_xray").read(raw / layout)
    told = {uid: pair[:2] for uid, pair in truth().items() if any(pair[:2])}
    if layout == "r2gen":
        told = {uid: (findings, "") for uid, (findings, _) in told.items() if findings}
    found = data.reports.set_index("study_id")
    assert set(found.index) == set(told)
    for uid, (findings, impression) in told.items():
        row = found.loc[uid]
        for name, text in (("findings", findings), ("impression", impression)):
            assert row[name] == text if text else pd.isna(row[name])
            assert text in row["text"]


def test_layouts_agree_and_say_what_they_are(raw):
    found = {layout: load_reader("iu_xray").read(raw / layout) for layout in LAYOUTS}
    assert [found[layout].layout for layout in LAYOUTS] == [
        "XML reports in ecgen-radiology",
        "csv files",
        "R2Gen annotation.json, split of annotation.json",
    ]
    xml, csv, r2gen = (found[layout] for layout in LAYOUTS)
    assert len(xml.images) == len(csv.images) == 2 * COUNT
    assert len(r2gen.images) == 2 * len(r2gen.reports)
    for name in ("study_id", "text"):
        assert xml.reports[name].tolist() == csv.reports[name].tolist()
    drop = {"columns": "image_id"}
    pd.testing.assert_frame_equal(
        xml.labels.drop(**drop).sort_values(list(xml.labels.columns[1:])).reset_index(drop=True),
        csv.labels.drop(**drop).sort_values(list(csv.labels.columns[1:])).reset_index(drop=True),
    )
    assert r2gen.labels is None
    assert csv.notes["views"] == "frontal and lateral as listed"
    assert xml.notes["views"] == r2gen.notes["views"] == "not stated"


def test_labels_are_the_headings_and_missing_where_not_indexed(raw):
    data = load_reader("iu_xray").read(raw)
    labels = data.labels.set_index(data.images["study_id"])
    for uid, (_, _, kinds) in truth().items():
        row = labels.loc[uid].iloc[0]
        if (int(uid) - 1) % UNCODED == UNCODED - 1:
            assert row.drop("image_id").isna().all()
            continue
        expected = {"Effusion": "Pleural_Effusion"}
        for name in ("Cardiomegaly", "Edema", "Consolidation", "Pneumonia", "Atelectasis", "Effusion"):
            assert row[name] == (expected.get(name, name) in kinds)
        assert row["No_Finding"] == (not kinds)


def test_empty_reports_are_listed(raw):
    dropped = load_reader("iu_xray").read(raw / "open_i").dropped
    assert {item["reason"] for item in dropped} == {"empty report"}
    assert [item["source"] for item in dropped] == [f"report {EMPTY}", f"report {2 * EMPTY}"]


def test_prepare_keeps_laterals_out_of_splits_and_the_official_sides(raw, tmp_path):
    manifest = prepare("iu_xray", raw, tmp_path / "csv", 16)
    data = PreparedDataset(tmp_path / "csv")
    assert manifest["counts"]["frontal_images"] == COUNT
    assert data.split("strict", 0)["image_id"].str.endswith("-1001").all()
    prepare("iu_xray", raw / "r2gen", tmp_path / "r2gen", 16)
    items = json.loads((raw / "r2gen" / "annotation.json").read_text())
    split = PreparedDataset(tmp_path / "r2gen").split("official", 0)
    for name, side in (("train", "train"), ("val", "validation"), ("test", "test")):
        expected = {item["id"].split("_")[0].removeprefix("CXR") for item in items[name]}
        assert set(split.loc[split["split"] == side, "study_id"]) == expected


@pytest.mark.parametrize("root", ["open_i", "."], indirect=True)
def test_r2gens_split_counts_in_any_layout(root, raw):
    shutil.copy(raw / "r2gen" / "annotation.json", root)
    data = load_reader("iu_xray").read(root)
    assert data.layout.endswith(", split of annotation.json")
    items = json.loads((root / "annotation.json").read_text())
    sides = data.images.drop_duplicates("study_id").set_index("study_id")["official_split"].dropna()
    for name, side in (("train", "train"), ("val", "validation"), ("test", "test")):
        numbers = {item["id"].split("_")[0].removeprefix("CXR") for item in items[name]}
        assert set(sides[sides == side].index) == numbers


@pytest.mark.parametrize("root", ["."], indirect=True)
def test_ids_saved_as_floats_and_upper_case_endings(root, raw):
    for name in ("indiana_reports.csv", "indiana_projections.csv"):
        table = pd.read_csv(root / name)
        table.assign(uid=table["uid"].astype(float)).to_csv(root / name, index=False)
    folder = root / "images" / "images_normalized"
    for path in list(folder.iterdir())[:4]:
        path.rename(path.with_suffix(".PNG"))
    data, plain = load_reader("iu_xray").read(root), load_reader("iu_xray").read(raw)
    assert data.images["study_id"].tolist() == plain.images["study_id"].tolist()
    assert data.images["image_id"].tolist() == plain.images["image_id"].tolist()
    assert data.images["source"].str.endswith(".PNG").sum() == 4


@pytest.mark.parametrize("root", ["open_i"], indirect=True)
def test_reports_are_read_from_the_archive_without_unpacking(root, raw):
    with tarfile.open(root / "NLMCXR_reports.tgz", "w:gz") as archive:
        for path in sorted((root / "ecgen-radiology").iterdir()):
            archive.add(path, arcname=f"../../outside/{path.name}")
    shutil.rmtree(root / "ecgen-radiology")
    data = load_reader("iu_xray").read(root)
    assert data.reports.equals(load_reader("iu_xray").read(raw / "open_i").reports)
    assert not (root.parent.parent / "outside").exists()


XML = "ROOT/ecgen-radiology/1.xml"
BROKEN = [
    (
        ".",
        lambda root: (root / "indiana_projections.csv").unlink(),
        "ROOT/indiana_projections.csv is missing; copy it into the raw folder",
    ),
    (
        ".",
        lambda root: rewrite(root / "indiana_reports.csv", "impression\n", "conclusion\n"),
        "ROOT/indiana_reports.csv has no column 'impression' (found: uid, MeSH, Problems, image, indication, "
        "comparison, findings, conclusion); use the file as released, or rename the column",
    ),
    (
        ".",
        lambda root: rewrite(root / "indiana_projections.csv", "Lateral", "Oblique"),
        "ROOT/indiana_projections.csv, line 3, column 'projection': 'Oblique' is not one of "
        "Frontal, Lateral; "
        "correct this cell",
    ),
    (
        ".",
        lambda root: rewrite(root / "indiana_reports.csv", "\n2,", "\n1,"),
        "ROOT/indiana_reports.csv, line 3, column 'uid': '1' is not a value that no earlier row has; "
        "correct this cell",
    ),
    (
        ".",
        lambda root: rewrite(root / "indiana_projections.csv", "1_IM-0001-1001", "../../1_IM-0001-1001"),
        "ROOT/indiana_projections.csv lists '../../1_IM-0001-1001.dcm.png', which leads out of "
        "the raw folder; "
        "use the list as released",
    ),
    (
        ".",
        lambda root: (root / "images/images_normalized/1_IM-0001-1001.dcm.png").unlink(),
        "ROOT/images/images_normalized/1_IM-0001-1001.dcm.png is listed but does not exist (1 of 48 images "
        "are missing, 0 may be); copy the images or remove their rows",
    ),
    (
        ".",
        lambda root: (root / "indiana_reports.csv").write_bytes(b"uid,MeSH\n1,caf\xe9 au lait\n"),
        "ROOT/indiana_reports.csv cannot be read as csv ('utf-8' codec can't decode byte 0xe9 "
        "in position 3: "
        "invalid continuation byte); replace the file",
    ),
    (
        "open_i",
        lambda root: rewrite(root / "ecgen-radiology/1.xml", "</eCitation>", ""),
        f"{XML} cannot be read as XML (no element found: line 2, column {{column}}); download it again",
    ),
    (
        "open_i",
        lambda root: rewrite(
            root / "ecgen-radiology/1.xml",
            "<eCitation>",
            '<!DOCTYPE e [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><eCitation>',
        ),
        f"{XML} declares a document type (DOCTYPE), which no release has; replace it",
    ),
    (
        "open_i",
        lambda root: rewrite(root / "ecgen-radiology/1.xml", 'id="CXR1"', 'id="one"'),
        f"{XML} has no uId such as CXR1; use the report as released",
    ),
    (
        "open_i",
        lambda root: rewrite(root / "ecgen-radiology/2.xml", 'id="CXR2"', 'id="CXR1"'),
        f"ROOT/ecgen-radiology/2.xml: report CXR1 is also in {XML}; remove one of the two",
    ),
    (
        "open_i",
        lambda root: rewrite(root / "ecgen-radiology/1.xml", 'id="CXR1_IM', 'id="../CXR1_IM'),
        "ROOT/ecgen-radiology lists '../CXR1_IM-0001-1001.png', which leads out of the raw folder; "
        "use the list as released",
    ),
    (
        "open_i",
        lambda root: (root / "ecgen-radiology/1.xml").write_bytes(b"<eCitation>caf\xe9</eCitation>"),
        f"{XML} cannot be read as XML (not well-formed (invalid token): line 1, column 14); "
        "download it again",
    ),
    (
        "r2gen",
        lambda root: (root / "annotation.json").write_text('{"train": [], "val": ['),
        "ROOT/annotation.json cannot be read as JSON (Expecting value: line 1 column 23 (char 22)); "
        "replace the file",
    ),
    (
        "r2gen",
        lambda root: (root / "annotation.json").write_bytes(b'{"train": "\xe9"}'),
        "ROOT/annotation.json is not UTF-8 (byte 11); replace the file",
    ),
    (
        "r2gen",
        lambda root: (root / "annotation.json").write_text('{"train": [], "val": []}'),
        "ROOT/annotation.json has no list 'test'; use the file as released by R2Gen",
    ),
    (
        "r2gen",
        lambda root: rewrite(root / "annotation.json", '"report"', '"text"'),
        "ROOT/annotation.json: entry 0 of 'test' has no 'report'; correct it",
    ),
    (
        "r2gen",
        lambda root: rewrite(root / "annotation.json", '"CXR1_IM-0001/0.png"', '"../0.png"'),
        "ROOT/annotation.json lists '../0.png', which leads out of the raw folder; use the list as released",
    ),
]


@pytest.mark.parametrize(("root", "damage", "message"), BROKEN, indirect=["root"])
def test_a_broken_tree_is_refused_with_one_message(root, damage, message, tmp_path):
    xml = root / "ecgen-radiology" / "1.xml"
    column = len(xml.read_text().splitlines()[1]) - len("</eCitation>") if xml.is_file() else 0
    damage(root)
    assert refusal("iu_xray", root, tmp_path / "out") == message.replace("{column}", str(column))


@pytest.mark.parametrize("root", ["r2gen"], indirect=True)
def test_an_id_on_two_sides_is_refused(root, tmp_path):
    path = root / "annotation.json"
    content = json.loads(path.read_text())
    content["test"].append(content["train"][0])
    path.write_text(json.dumps(content))
    name = content["train"][0]["id"]
    expected = f"ROOT/annotation.json: id {name} occurs twice; use the file as released by R2Gen"
    assert refusal("iu_xray", root, tmp_path / "out") == expected


def test_a_folder_of_something_else_says_what_is_expected(tmp_path):
    (tmp_path / "raw").mkdir()
    assert refusal("iu_xray", tmp_path / "raw", tmp_path / "out").startswith(
        "ROOT is no IU X-ray folder; expected ecgen-radiology/ or NLMCXR_reports.tgz beside NLMCXR_png/"
    )


def test_a_member_that_is_no_report_is_not_loaded(tmp_path):
    path = tmp_path / "NLMCXR_reports.tgz"
    with tarfile.open(path, "w:gz") as archive:
        member = tarfile.TarInfo("1.xml")
        member.size = 5_000_000
        archive.addfile(member, io.BytesIO(bytes(member.size)))
    with pytest.raises(InputError, match=r"1\.xml has more than 4,000,000 bytes"):
        read_reports(tmp_path)


@pytest.mark.real
@pytest.mark.skipif("PRIOR_REAL" not in os.environ, reason="PRIOR_REAL names no folder of real data")
def test_the_real_collection():
    root = Path(os.environ["PRIOR_REAL"])
    _, studies, images = read_reports(root)
    assert len(studies) == 3955
    assert len(images) == 7470
    assert (studies["findings"].eq("").sum(), studies["impression"].eq("").sum()) == (530, 34)
    complete = studies[studies["findings"].ne("") & studies["impression"].ne("")]
    other = read_open_i(root)
    assert len(other) == len(complete)
    assert set(other["findings"]) == set(complete["findings"])
    assert np.mean(["no indexing" in tags for tags in studies["major"]]) == pytest.approx(95 / 3955)
