import hashlib
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from prior.data.prepare import prepare
from prior.data.prepared import PreparedDataset
from prior.datasets import load_reader
from prior.datasets.chexpert import FINDINGS, FIVE
from prior.datasets.chexpert_5x200_mgca import draw
from prior.datasets.chexpert_5x200_prior import LIST, _read_list
from prior.datasets.chexpert_lists import gloria_rule, prior_rule
from tests.datasets import trees
from tests.datasets.simulated import refusal, rewrite

NAMES = [name.replace(" ", "_") for name in FINDINGS]
FORMS = ("chexpert_5x200_gloria", "chexpert_5x200_mgca", "chexpert_5x200_prior")


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    return trees.chexpert(tmp_path_factory.mktemp("raw"))


@pytest.fixture
def root(raw, tmp_path):
    return Path(shutil.copytree(raw, tmp_path / "raw"))


def rows(*changes):
    """Label rows i0, i1, ... that are 0 but for the given findings."""
    table = pd.DataFrame(0.0, index=range(len(changes)), columns=NAMES)
    for row, values in enumerate(changes):
        for name, value in values.items():
            table.loc[row, name] = value
    table.insert(0, "image_id", [f"i{row}" for row in range(len(changes))])
    return table


def test_the_two_rules_differ_where_findings_are_uncertain_or_accompanied():
    labels = rows(
        {"Edema": 1, "Fracture": np.nan},  # both
        {"Edema": -1},  # only PRIOR: counts as present
        {"Edema": 1, "Atelectasis": -1},  # neither: GLoRIA excludes it, for PRIOR these are two
        {"Cardiomegaly": -1, "Pleural_Effusion": 1},  # only PRIOR: uncertain cardiomegaly is absent
        {"Consolidation": 1, "Support_Devices": 1},  # only PRIOR: the other nine do not matter
        {"Atelectasis": 1, "No_Finding": 1},  # both
        {"Cardiomegaly": -1},  # neither
        {},  # neither
    )
    assert gloria_rule(labels).to_dict() == {"i0": "Edema", "i5": "Atelectasis"}
    assert prior_rule(labels).to_dict() == {
        "i0": "Edema", "i1": "Edema", "i3": "Pleural_Effusion", "i4": "Consolidation", "i5": "Atelectasis",
    }  # fmt: skip


def test_mgcas_draw_is_that_of_pandas():
    classes = pd.Series([FIVE[k % 5] for k in range(1500)], index=[f"i{k}" for k in range(1500)])
    expected = [
        image
        for name in FIVE
        for image in classes[classes == name].to_frame().sample(n=200, random_state=0).index
    ]
    assert draw(classes).index.tolist() == expected


@pytest.mark.parametrize("form", FORMS)
def test_a_form_keeps_training_images_and_writes_their_classes(form, raw, tmp_path):
    manifest = prepare(form, raw, tmp_path / form, 16)
    data = PreparedDataset(tmp_path / form)
    assert manifest["dataset"] == form
    assert manifest["layout"].endswith("selected by rule")
    assert data.images["image_id"].str.startswith("train_").all()
    classes = pd.read_parquet(tmp_path / form / "subsets" / "5x200.parquet").set_index("image_id")["class"]
    assert set(classes.index) == set(data.images["image_id"])
    labels = data.labels.set_index("image_id")
    assert all(labels.loc[image, name] == 1 for image, name in classes.items())
    # every fifth image of the tree has an uncertain device, which only GLoRIA's rule minds
    assert len(data.images) == (60 if form.endswith("prior") else 48)
    assert set(data.split("official", 0)["split"]) == {"test"}
    assert manifest["notes"]["chosen"] == manifest["notes"]["qualify"]


def prior_list(root, paths, classes):
    content = {
        str(row): {"image_path": path, "label": [int(name == kind) for name in FIVE]}
        for row, (path, kind) in enumerate(zip(paths, classes, strict=True))
    }
    (root / LIST).write_text(json.dumps(content))


def listed(number):
    return f"train/patient{number:05d}/study1/view1_frontal.jpg"


def test_published_lists_are_the_selection(root):
    prior_list(root, [listed(0), listed(1)], ["Cardiomegaly", "Edema"])
    (root / "chexpert_5x200.csv").write_text(f"Path\nCheXpert-v1.0/{listed(3)}\nCheXpert-v1.0/{listed(2)}\n")
    data = load_reader("chexpert_5x200_prior").read(root)
    sha256 = hashlib.sha256((root / LIST).read_bytes()).hexdigest()[:12]
    assert data.layout.endswith(f", {LIST} (sha256 {sha256})")
    assert data.images["patient_id"].tolist() == ["patient00000", "patient00001"]
    data = load_reader("chexpert_5x200_gloria").read(root)
    assert data.images["patient_id"].tolist() == ["patient00002", "patient00003"]


BROKEN = [
    (
        "gloria",
        lambda root: (root / "chexpert_5x200.csv").write_text(f"Path\nC/{listed(5)}\n"),
        f"ROOT/chexpert_5x200.csv names C/{listed(5)}, which is not in train.csv or does not "
        "qualify by the rule "
        "(1 of 1); this is the list of another selection",
    ),
    (
        "gloria",
        lambda root: (root / "chexpert_5x200.csv").write_text(f"Path\n../../{listed(1)}\n"),
        f"ROOT/chexpert_5x200.csv lists '../../{listed(1)}', which leads out of the raw folder; "
        "use the list as released",
    ),
    (
        "gloria",
        lambda root: (root / "chexpert_5x200.csv").write_text("Path\nview1.jpg\n"),
        "ROOT/chexpert_5x200.csv: 'view1.jpg' is not .../train/patientNNNNN/studyN/file.jpg; correct it",
    ),
    (
        "gloria",
        lambda root: (root / "chexpert_5x200.csv").write_text(f"Path\nC/{listed(1)}\nC/{listed(1)}\n"),
        f"ROOT/chexpert_5x200.csv, line 3, column 'Path': 'C/{listed(1)}' is not a value that no "
        "earlier row has; "
        "correct this cell",
    ),
    (
        "mgca",
        lambda root: (root / "CheXpert-v1.0-small" / "train.csv").unlink(),
        "ROOT/train.csv is missing; unpack CheXpert-v1.0-small there",
    ),
    (
        "prior",
        lambda root: (root / LIST).write_text("[]"),
        f"ROOT/{LIST}: expected an object of images by row number; use the file as released",
    ),
    (
        "prior",
        lambda root: prior_list(root, [listed(0)], ["nothing"]),
        f"ROOT/{LIST}: '{listed(0)}' has no one-hot label of five; use the file as released",
    ),
    (
        "prior",
        lambda root: prior_list(root, [listed(0), listed(0)], ["Edema", "Edema"]),
        f"ROOT/{LIST}: '{listed(0)}' occurs twice; use the file as released",
    ),
    (
        "prior",
        lambda root: prior_list(root, [listed(0)], ["Edema"]),
        f"ROOT/{LIST}: '{listed(0)}' has another class in train.csv; use the released files",
    ),
]


@pytest.mark.parametrize(("form", "damage", "message"), BROKEN)
def test_a_broken_list_is_refused_with_one_message(form, damage, message, root, tmp_path):
    damage(root)
    assert refusal(f"chexpert_5x200_{form}", root, tmp_path / "out") == message


@pytest.fixture
def retrieval(root):
    for folder in ("image-retrieval", "text-retrieval"):
        (root / folder).mkdir()
    candidates = "".join(f"CheXpert-v1.0-small/{listed(k)}\n" for k in range(20))
    (root / "image-retrieval" / "candidate.csv").write_text("Path\n" + candidates)
    (root / "image-retrieval" / "query.csv").write_text(
        f"Variable,Path\nEdema,CheXpert-v1.0-small/{listed(31)}\nNo Finding,CheXpert-v1.0-small/{listed(3)}\n"
    )
    (root / "text-retrieval" / "query.csv").write_text("Variable,Text\nEdema,Oedema of both lungs.\n")
    return root


def test_8x200_keeps_candidates_and_queries(retrieval, tmp_path):
    manifest = prepare("chexpert_8x200", retrieval, tmp_path / "out", 16)
    assert manifest["counts"]["images"] == 21
    assert manifest["notes"]["chosen"] == {"candidate": 20, "image_query": 2, "text_query": 1}
    assert manifest["notes"]["queries among the candidates"] == 1
    table = pd.read_parquet(tmp_path / "out" / "subsets" / "8x200.parquet")
    images = PreparedDataset(tmp_path / "out").images
    assert set(table["image_id"].dropna()) == set(images["image_id"])
    query = table[table["role"] == "image_query"]
    assert query["class"].tolist() == ["Edema", "No Finding"]
    assert table.loc[table["role"] == "text_query", "text"].tolist() == ["Oedema of both lungs."]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda root: (root / "text-retrieval" / "query.csv").unlink(),
            "ROOT/text-retrieval/query.csv is missing; copy it into the raw folder",
        ),
        (
            lambda root: rewrite(root / "image-retrieval" / "query.csv", "Edema", "Nodule"),
            "ROOT/image-retrieval/query.csv, line 2, column 'Variable': 'Nodule' is not one of Atelectasis, "
            "Cardiomegaly, Edema, Fracture, No Finding, Pleural Effusion, Pneumonia, Pneumothorax; "
            "correct this cell",
        ),
        (
            lambda root: rewrite(root / "image-retrieval" / "candidate.csv", "patient00004", "patient99999"),
            "ROOT/image-retrieval/candidate.csv names CheXpert-v1.0-small/train/patient99999/study1/"
            "view1_frontal.jpg, which is not in CheXpert's tables (1 of 20); use the tables as released",
        ),
    ],
)
def test_broken_8x200_lists_are_refused(damage, message, retrieval, tmp_path):
    damage(retrieval)
    assert refusal("chexpert_8x200", retrieval, tmp_path / "out") == message


@pytest.mark.skipif(
    "PRIOR_SPLITS" not in os.environ, reason="PRIOR_SPLITS names no folder of published lists"
)
def test_the_published_list_of_prior():
    file = Path(os.environ["PRIOR_SPLITS"]) / "prior" / LIST
    assert hashlib.sha256(file.read_bytes()).hexdigest().startswith("f0b4ecbe9297")
    listed_, classes = _read_list(file)
    assert listed_.paths.nunique() == 1000
    assert listed_.paths.str.split("/").str[1].nunique() == 967
    assert classes.value_counts().to_dict() == dict.fromkeys(FIVE, 200)
