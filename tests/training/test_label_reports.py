import math
from types import SimpleNamespace

import pandas as pd
import pytest

from prior.data.files import write_json
from prior.errors import InputError
from prior.reports.tokens import train_tokenizer
from prior.training.label_reports import label_reports

IMAGES = pd.DataFrame({"image_id": ["a", "b", "c", "e"], "study_id": ["s1", "s2", "s2", "s4"]})


def data(**columns):
    labels = pd.DataFrame({"image_id": ["a", "b", "c", "d"], **columns})
    return SimpleNamespace(name="toy", labels=labels, findings=list(columns))


NAN = math.nan
TOY = {
    "Lung_Lesion": [1.0, NAN, 0.0, 1.0],
    "Edema": [-1.0, -1.0, 1.0, 1.0],
    "Fracture": [0.0, 0.0, -1.0, 1.0],
    "Mass": [NAN, 0.0, 0.0, 1.0],
}


@pytest.fixture
def root(tmp_path):
    sentences = ["There is no lung lesion.", "There may be edema.", "There is a mass or fracture."]
    train_tokenizer(sentences, 200, tmp_path / "tokenizer.json")
    write_json(tmp_path / "manifest.json", {"max_tokens": 40})
    return tmp_path


def read(tokens, study, root):
    from prior.reports.tokens import load_tokenizer

    batch = tokens.batch([study])
    tokenizer = load_tokenizer(root / "tokenizer.json")
    ids, sentence = batch["ids"][0], batch["sentence"][0]
    return [tokenizer.decode(ids[sentence == s].tolist()) for s in range(batch["n_sentences"][0])]


def test_a_report_states_the_labels_of_its_study_and_nothing_else(root):
    tokens = label_reports(data(**TOY), IMAGES, ["s2", "s1", "s3", "s4"], root)
    assert tokens.study_id.tolist() == ["s2", "s1", "s3", "s4"]
    assert read(tokens, "s1", root) == [
        "there is lung lesion.",
        "there may be edema.",
        "there is no fracture.",
    ]
    # Two images: present wins over uncertain, and uncertain over absent.
    assert read(tokens, "s2", root) == [
        "there is no lung lesion.",
        "there is edema.",
        "there may be fracture.",
        "there is no mass.",
    ]


def test_a_study_without_labels_keeps_no_sentence(root):
    tokens = label_reports(data(**TOY), IMAGES, ["s1", "s4", "s3"], root)
    batch = tokens.batch(["s1", "s4", "s3"])
    assert batch["n_sentences"].tolist() == [3, 0, 0]
    assert batch["mask"].sum(axis=1).tolist()[1:] == [2, 2]


def test_a_report_keeps_to_the_limit_of_tokens(root):
    write_json(root / "manifest.json", {"max_tokens": 6})
    tokens = label_reports(data(**TOY), IMAGES, ["s1"], root)
    assert len(tokens.ids) == 6


def test_data_without_labels_are_refused(root):
    with pytest.raises(InputError, match="reports: labels replaces reports by labels, but toy has none"):
        label_reports(data(), IMAGES, ["s1"], root)
