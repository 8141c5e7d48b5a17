import numpy as np
import pandas as pd
import pytest

from prior.errors import InputError
from prior.tasks import prompts as prompt_files
from prior.tasks.base import Cell
from prior.tasks.prompts import load_prompts
from prior.tasks.zero_shot import evaluate
from tests.tasks.stub import StubBundle, bundle, dataset, protocol

CELL = Cell(None, 0)
PROMPTS = """
Edema: {positive: [wet, damp], negative: [dry]}
Fracture: {positive: [broken], negative: [whole]}
"""
WORDS = {"wet": [1, 0, 0], "damp": [0, 2, 0], "dry": [0, 0, 1], "broken": [0, 0, 1], "whole": [1, 0, 0]}
IMAGES = [[1.0, 1.0, 0.0], [0.0, 0.0, 3.0], [1.0, 0.0, 0.0]]


@pytest.fixture
def files(tmp_path, monkeypatch):
    (tmp_path / "toy.yaml").write_text(PROMPTS)
    monkeypatch.setattr(prompt_files, "FOLDER", tmp_path)
    return tmp_path


def run(model, data, tmp_path):
    return next(iter(evaluate(model, data, protocol("zero_shot", prompts="toy"), [CELL], tmp_path)))[1]


def test_scores_are_differences_of_cosines_to_mean_prompts(files, tmp_path):
    findings = {"Edema": [1.0, 0.0, -1.0], "Fracture": [0.0, 1.0, np.nan], "Hernia": [0.0, 0.0, 0.0]}
    data = dataset(tmp_path, findings, [])
    result = run(bundle(tmp_path, IMAGES, WORDS), data, tmp_path)
    frame = result.predictions.set_index(["finding", "image_id"])
    edema, fracture = frame.loc["Edema"], frame.loc["Fracture"]
    np.testing.assert_allclose(edema["score"], [1, -1], atol=1e-2)
    assert edema["label"].tolist() == [1, 0]
    np.testing.assert_allclose(fracture["score"], [-(0.5**0.5), 1, -1], atol=1e-2)
    assert fracture["label"].tolist() == [0, 1, 0]
    assert result.info["without_prompts"] == ["Hernia"]
    assert len(result.info["prompts_sha256"]) == 64


def test_the_subset_is_scored_by_positive_prompts_alone(files, tmp_path):
    data = dataset(tmp_path, {"Edema": [1.0, 0.0, 1.0]}, [])
    (tmp_path / "subsets").mkdir()
    subset = pd.DataFrame({"image_id": ["i0000", "i0001"], "class": ["Edema", "Fracture"]})
    subset.to_parquet(tmp_path / "subsets" / "5x200.parquet")
    frame = run(bundle(tmp_path, IMAGES, WORDS), data, tmp_path).predictions
    table = frame[frame["finding"].str.startswith("5x200:")].pivot(index="image_id", columns="finding")
    np.testing.assert_allclose(table["score"], [[1, 0], [0, 1]], atol=1e-2)
    assert table["label"].to_numpy().tolist() == [[1, 0], [0, 1]]


def test_no_rows_without_text(files, tmp_path):
    data = dataset(tmp_path, {"Edema": [1.0, 0.0]}, [])
    assert run(StubBundle(None), data, tmp_path).predictions is None


def test_findings_without_prompts_are_named(files, tmp_path):
    data = dataset(tmp_path, {"Hernia": [1.0, 0.0, 0.0]}, [])
    with pytest.raises(InputError, match="no phrasing for any finding"):
        run(bundle(tmp_path, IMAGES, WORDS), data, tmp_path)


def test_the_strict_prompts_have_three_phrasings_on_each_side():
    prompts, sha256 = load_prompts("strict")
    assert len(sha256) == 64
    assert len(prompts) == 20
    for sides in prompts.values():
        assert {side: len(set(texts)) for side, texts in sides.items()} == {"positive": 3, "negative": 3}
        assert not set(sides["positive"]) & set(sides["negative"])


def test_unknown_and_broken_prompt_files_are_named(files):
    with pytest.raises(InputError, match="choose one of toy"):
        load_prompts("none")
    (files / "bad.yaml").write_text("Edema: {positive: [wet]}")
    with pytest.raises(InputError, match=r"bad\.yaml: Edema needs phrasings"):
        load_prompts("bad")
