import numpy as np
import pandas as pd
import pytest
import torch

from prior.datasets import chexpert, nih_images
from prior.errors import InputError
from prior.protocols import load_protocol
from prior.tasks import prompts as prompt_files
from prior.tasks.base import Cell
from prior.tasks.prompt_scores import DIFFERENCE, softmax, z_score
from prior.tasks.prompts import drawn_prompts, load_prompts
from prior.tasks.zero_shot import check, evaluate
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


KNOBS = {
    "prompts": "toy",
    "drawn": None,
    "pooling": "mean of normalised embeddings",
    "similarity": "global",
    "normalisation": "none",
    "score": DIFFERENCE,
}


def run(model, data, tmp_path, **knobs):
    stated = protocol("zero_shot", **{**KNOBS, **knobs})
    return next(iter(evaluate(model, data, stated, [CELL], tmp_path)))[1]


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


@pytest.mark.parametrize("family", ["strict", "strict_small"])
def test_the_strict_prompts_have_three_phrasings_of_every_finding_on_each_side(family):
    prompts, sha256 = load_prompts(load_protocol(family, "zero_shot", "prompts")["prompts"])
    assert len(sha256) == 64
    assert len(prompts) == 22
    findings = {name.replace(" ", "_") for name in (*chexpert.FINDINGS, *nih_images.FINDINGS)}
    assert findings <= set(prompts)
    for sides in prompts.values():
        assert {side: len(set(texts)) for side, texts in sides.items()} == {"positive": 3, "negative": 3}
        assert not set(sides["positive"]) & set(sides["negative"])


@pytest.mark.parametrize("name", ["prior", "gloria", "medclip", "biovil"])
def test_prompts_of_peers_cover_the_five_classes_and_are_distinct(name):
    prompts, _ = load_prompts(name)
    five = {"Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural_Effusion"}
    assert five <= set(prompts)
    for sides in prompts.values():
        for texts in sides.values():
            assert len(set(texts)) == len(texts)
            assert all(text == " ".join(text.split()) for text in texts)
    assert all(bool(sides["negative"]) == (name == "biovil") for sides in prompts.values())


def test_parts_are_combined_and_drawn_by_seed(files):
    (files / "parts.yaml").write_text('Edema: {positive: {how: ["", mild], what: [edema, fluid]}}')
    prompts, _ = load_prompts("parts")
    assert prompts["Edema"] == {"positive": ["edema", "fluid", "mild edema", "mild fluid"], "negative": []}
    draws = [drawn_prompts(prompts, {"count": 2, "seed": seed})["Edema"]["positive"] for seed in range(40)]
    assert {len(set(draw)) for draw in draws} == {2}
    assert len({frozenset(draw) for draw in draws}) == 6
    assert sorted(drawn_prompts(prompts, {"count": 9, "seed": 0})["Edema"]["positive"]) == [
        "edema",
        "fluid",
        "mild edema",
        "mild fluid",
    ]
    assert drawn_prompts(prompts, None) == prompts


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [
        ("mean of normalised embeddings", [1, 0, 0.5**0.5]),
        ("mean of scores", [0.5**0.5, 0, 0.5]),
        ("maximum of scores", [0.5**0.5, 0, 1]),
    ],
)
def test_pooling_of_prompts(files, tmp_path, pooling, expected):
    data = dataset(tmp_path, {"Edema": [1.0, 0.0, 1.0]}, [])
    one_sided = {"score": "cosine to the positive", "pooling": pooling}
    result = run(bundle(tmp_path, IMAGES, WORDS), data, tmp_path, **one_sided)
    np.testing.assert_allclose(result.predictions["score"], expected, atol=1e-2)


def test_local_similarity_is_added_or_the_cell_omitted(files, tmp_path):
    data = dataset(tmp_path, {"Edema": [1.0, 0.0, 1.0]}, [])
    model = bundle(tmp_path, IMAGES, WORDS)
    knobs = {"score": "cosine to the positive", "pooling": "maximum of scores"}
    plain = run(model, data, tmp_path, **knobs).predictions["score"].to_numpy()
    local = {**knobs, "similarity": "global + half of local"}
    assert "no local similarity" in run(model, data, tmp_path, **local).info["omitted"]
    scores = model.towers.scores
    model.towers.scores = lambda images, reports: {
        **scores(images, reports),
        "local": scores(images, reports)["global"] * 4,
    }
    np.testing.assert_allclose(run(model, data, tmp_path, **local).predictions["score"], 3 * plain, atol=1e-6)


def test_the_best_prompt_is_that_of_the_best_sum(files, tmp_path):
    """GLoRIA's code adds both similarities of an image and a prompt, and then takes the largest."""
    data = dataset(tmp_path, {"Edema": [1.0, 0.0, 1.0]}, [])
    model = bundle(tmp_path, IMAGES, WORDS)
    # The global similarity prefers `wet`, the local one `damp`.
    model.towers.scores = lambda images, reports: {
        "global": torch.tensor([[1.0, 0.0]]).expand(len(images.global_), -1),
        "local": torch.tensor([[0.0, 0.8]]).expand(len(images.global_), -1),
    }
    stated = load_protocol("gloria", "zero_shot", "prompts_local").knobs
    knobs = {name: stated[name] for name in ("pooling", "similarity", "score")}
    frame = run(model, data, tmp_path, **knobs).predictions
    np.testing.assert_allclose(frame["score"], 0.5)


def test_normalisations_by_hand():
    scores = np.array([[1.0, 5.0], [3.0, 5.0]])
    np.testing.assert_allclose(z_score(scores), [[-1, 0], [1, 0]])
    np.testing.assert_allclose(softmax(scores).sum(axis=1), 1)
    np.testing.assert_allclose(softmax(scores)[0, 1], 1 / (1 + np.exp(-4)))


@pytest.mark.parametrize("learned", [None, 2.0])
def test_prior_scales_the_global_cosine_by_a_logarithm_before_its_softmax(files, tmp_path, learned):
    data = dataset(tmp_path, {"Edema": [1.0, 0.0, 1.0], "Fracture": [0.0, 1.0, 0.0]}, [])
    model = bundle(tmp_path, IMAGES, WORDS)
    cosines = model.towers.scores
    model.towers.scores = lambda images, reports: {
        **cosines(images, reports),
        "local": 2 * cosines(images, reports)["global"],
    }
    if learned is not None:
        model.towers.log_scale = torch.nn.Parameter(torch.tensor(learned))
    stated = load_protocol("prior", "zero_shot", "prompt_local").knobs
    names = ("pooling", "similarity", "normalisation", "global_scale", "score")
    frame = run(model, data, tmp_path, **{name: stated[name] for name in names}).predictions
    # Means over `wet, damp` and over `broken` of the cosines of the three images.
    cosine = np.array([[0.5**0.5, 0.0], [0.0, 1.0], [0.5, 0.0]])
    scale = np.log(100) if learned is None else learned
    expected = softmax(scale * cosine) + 0.5 * softmax(2 * cosine)
    np.testing.assert_allclose(frame["score"].to_numpy().reshape(3, 2), expected, atol=1e-2)


def test_a_difference_needs_negative_prompts(files, tmp_path):
    (files / "toy.yaml").write_text("Edema: {positive: [wet]}")
    data = dataset(tmp_path, {"Edema": [1.0, 0.0, 1.0]}, [])
    with pytest.raises(InputError, match="no negative phrasing for Edema"):
        run(bundle(tmp_path, IMAGES, WORDS), data, tmp_path)


def test_a_mean_of_embeddings_has_no_local_part():
    stated = load_protocol("prior", "zero_shot", "prompt_local")
    wrong = {**stated.knobs, "pooling": "mean of normalised embeddings"}
    check(stated)
    with pytest.raises(InputError, match='`pooling: "mean of normalised'):
        check(stated.model_copy(update={"knobs": wrong}))


def test_unknown_and_broken_prompt_files_are_named(files):
    with pytest.raises(InputError, match="choose one of toy"):
        load_prompts("none")
    (files / "bad.yaml").write_text("Edema: {negative: [wet]}")
    with pytest.raises(InputError, match=r"bad\.yaml: Edema needs phrasings"):
        load_prompts("bad")
