import shutil

import pandas as pd
import pytest

from prior.data.prepare import prepare
from prior.data.prepared import PreparedDataset
from prior.datasets import load_reader
from prior.phantom.archives import simulate_archive
from tests.datasets.simulated import cases, refusal, rewrite

COUNT, SEED, SIZE = 40, 2, 64
TABLE = "df_chexpert_plus_240401.csv"
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:pycocotools")


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    root = tmp_path_factory.mktemp("raw") / "chexpert_plus"
    simulate_archive("chexpert_plus", root, COUNT, SEED, SIZE, 1)
    return root


@pytest.fixture
def root(raw, tmp_path):
    return shutil.copytree(raw, tmp_path / "raw")


def test_every_image_has_the_report_of_its_study(raw, tmp_path):
    manifest = prepare("chexpert_plus", raw, tmp_path / "out", 16)
    data = PreparedDataset(tmp_path / "out")
    assert manifest["layout"] == f"CheXpert-v1.0-small: train.csv, valid.csv, reports of {TABLE}"
    reports = [report for _, _, report in cases("chexpert", COUNT, SEED, SIZE)]
    assert sorted(data.reports["text"]) == sorted(report.text.strip() for report in reports)
    by_text = data.reports.set_index("text")
    for report in {report.text: report for report in reports}.values():
        for section in ("findings", "impression"):
            text = " ".join(s.text for s in report.sentences if s.section == section)
            found = by_text.loc[[report.text.strip()], section].iloc[0]
            assert found == text if text else pd.isna(found)
    plain = load_reader("chexpert").read(raw)
    assert data.labels.shape[0] == len(plain.labels) > COUNT == (data.images["view"] != "LATERAL").sum()
    assert set(data.images["patient_id"]) == set(plain.images["patient_id"])


def test_views_share_one_report_and_unknown_or_empty_rows_are_listed(root):
    path = root / TABLE
    table = pd.read_csv(path)
    ghost = table.iloc[[0]].assign(path_to_image="train/patient99999/study1/view1_frontal.jpg")
    alone = table.index[~table["path_to_image"].str.rsplit("/", n=1).str[0].duplicated(keep=False)]
    empty, told = alone[:2]
    table.loc[empty, ["report", "section_findings", "section_impression"]] = None
    table.loc[told, "report"] = None
    pd.concat([table, ghost]).to_csv(path, index=False)
    data = load_reader("chexpert_plus").read(root)
    assert [(item["source"], item["reason"]) for item in data.dropped] == [
        (ghost["path_to_image"].iloc[0], "report of an image that CheXpert's tables lack"),
        (table.loc[empty, "path_to_image"], "empty report"),
    ]
    assert len(data.reports) == COUNT - 1
    parts = table.loc[told, "path_to_image"].split("/")
    text = data.reports.set_index("study_id").loc["_".join(parts[1:3]), "text"]
    sections = [table.loc[told, name] for name in ("section_findings", "section_impression")]
    assert text == "\n\n".join(part.strip() for part in sections if isinstance(part, str))


def second_view(root, report):
    """Give the first study of one film a second one; return its id."""
    train = root / "CheXpert-v1.0-small" / "train.csv"
    table, plus = pd.read_csv(train, dtype=str), pd.read_csv(root / TABLE, dtype=str)
    folders = table["Path"].str.rsplit("/", n=1).str[0]
    first = table[~folders.duplicated(keep=False)].iloc[[0]]
    image = first["Path"].iloc[0]
    other = image.replace("view1_frontal", "view2_lateral")
    shutil.copy(root / image, root / other)
    row = first.assign(**{"Path": other, "Frontal/Lateral": "Lateral"})
    pd.concat([table, row]).to_csv(train, index=False)
    line = plus[plus["path_to_image"] == image.split("/", 1)[1]]
    line = line.assign(path_to_image=other.split("/", 1)[1])
    plus = pd.concat([plus, line.assign(report=report) if report else line])
    plus.to_csv(root / TABLE, index=False)
    return "_".join(image.split("/")[2:4])


def test_two_views_of_a_study_have_one_report(root, tmp_path):
    second_view(root, None)
    assert len(load_reader("chexpert_plus").read(root).reports) == COUNT


def test_two_reports_of_a_study_are_refused(root, tmp_path):
    study = second_view(root, "Another text.")
    assert refusal("chexpert_plus", root, tmp_path / "out") == (
        f"ROOT/{TABLE}: the views of {study} have different reports; use the table as released"
    )


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda root: (root / TABLE).unlink(),
            "ROOT/df_chexpert_plus_*.csv* is missing; copy the table of CheXpert Plus there",
        ),
        (
            lambda root: rewrite(root / TABLE, "section_impression", "impression"),
            f"ROOT/{TABLE} has no column 'section_impression' (found: path_to_image, frontal_lateral, ap_pa, "
            "deid_patient_id, patient_report_date_order, report, section_findings, impression, "
            "age, sex, split); "
            "use the file as released, or rename the column",
        ),
        (
            lambda root: rewrite(root / TABLE, "train/patient", "../../train/patient"),
            f"ROOT/{TABLE} lists '../../{{first}}', which leads out of the raw folder; use the "
            "list as released",
        ),
        (
            lambda root: (root / TABLE).write_bytes(b"path_to_image\ncaf\xe9 au lait\n"),
            f"ROOT/{TABLE} cannot be read as csv ('utf-8' codec can't decode byte 0xe9 in position 3: "
            "invalid continuation byte); replace the file",
        ),
    ],
)
def test_a_broken_tree_is_refused_with_one_message(damage, message, root, tmp_path):
    first = pd.read_csv(root / TABLE)["path_to_image"].iloc[0]
    damage(root)
    assert refusal("chexpert_plus", root, tmp_path / "out") == message.replace("{first}", first)
