"""Imported pairs in the jobs that read text."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn import functional as F

from prior.data.prepared import PreparedDataset
from prior.data.schemas import write_table
from prior.encoders.bundle import load_bundle
from prior.importing.settings import ImportSettings
from prior.importing.stage import import_bundle
from prior.results.contamination import describe
from prior.tasks import grounding, retrieval, zero_shot
from prior.tasks import prompts as prompt_files
from prior.tasks.base import Cell
from tests.importing.pairs import PAIRS
from tests.importing.towers import WORDS
from tests.tasks.stub import dataset, protocol

CELL = Cell(None, 0)
PROMPTS = "Pleural_Effusion: {positive: [small effusion, large effusion], negative: [no effusion]}\n"
KNOBS = {"drawn": None, "normalisation": "none", "prompts": "toy"}


@pytest.fixture(scope="module", params=["mgca_resnet", "biomedclip"])
def layout(request):
    return request.param


@pytest.fixture(scope="module")
def bundle(layout, tmp_path_factory):
    folder = tmp_path_factory.mktemp(layout)
    pair = PAIRS[layout]()
    torch.save(pair.weights, folder / "released.pth")
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    said = {"checkpoint": str(folder / "released.pth"), "tokenizer": str(folder), "encoder": pair.encoder}
    import_bundle(ImportSettings(**said, mean=0.5, std=0.25), folder / "bundle", layout, 64, 0)
    return load_bundle(folder / "bundle")


@pytest.fixture
def data(tmp_path, monkeypatch):
    (tmp_path / "toy.yaml").write_text(PROMPTS)
    monkeypatch.setattr(prompt_files, "FOLDER", tmp_path)
    reports = [["Small effusion."], ["No effusion."], ["The heart is large."]]
    dataset(tmp_path, {"Pleural_Effusion": [1.0, 0.0, 0.0]}, reports)
    boxes = [("i0000", "Pleural_Effusion", 0.0, 0.0, 2.0, 4.0)]
    columns = ["image_id", "label", "x_min", "y_min", "x_max", "y_max"]
    write_table(tmp_path, "boxes", pd.DataFrame(boxes, columns=columns))
    pixels = np.random.default_rng(0).integers(0, 256, (3, 64, 64), dtype=np.uint8)
    np.save(tmp_path / "images_64_pad.npy", pixels)
    return PreparedDataset(tmp_path)


def first(task, bundle, data, **knobs):
    stated = protocol(task.__name__.rpartition(".")[2], **knobs)
    return next(iter(task.evaluate(bundle, data, stated, [CELL], data.root)))[1]


def test_zero_shot_scores_are_those_of_the_release(layout, bundle, data):
    score = {"pooling": "mean of scores", "score": "cosine to the positive"}
    found = first(zero_shot, bundle, data, **KNOBS, **score, similarity="global").predictions
    pair = PAIRS[layout]()
    pixels = torch.from_numpy(np.load(data.root / "images_64_pad.npy")).float()[:, None] / 255
    with torch.inference_mode():
        images = F.normalize(pair.image(((pixels - 0.5) / 0.25).expand(-1, 3, -1, -1)))
        ids = [[2, WORDS.index(word), WORDS.index("effusion"), 3] for word in ("small", "large")]
        texts = F.normalize(torch.cat([pair.text(torch.tensor(row)) for row in ids]))
    expected = (images @ texts.T).mean(dim=1).numpy()
    np.testing.assert_allclose(found.set_index("image_id")["score"].sort_index(), expected, atol=2e-2)
    local = first(zero_shot, bundle, data, **KNOBS, **score, similarity="local")
    assert "no local similarity" in str(local.info)


def test_retrieval_ranks_its_reports(bundle, data):
    knobs = {"candidates": "all", "pool": 1000, "relevant": "identical normalised text", "ks": [1, 5, 10]}
    found = first(retrieval, bundle, data, **knobs)
    assert len(found.predictions) == 6
    assert found.predictions["rank"].between(1, 3).all()


def test_grounding_where_regions_met_the_texts(layout, bundle, data):
    found = first(grounding, bundle, data, prompts="toy", thresholds=[0.5])
    if layout == "biomedclip":
        assert "relates no regions to phrases" in str(found.info)
    else:
        assert found.predictions["image_id"].tolist() == ["i0000"]


def test_rows_that_read_text_carry_the_mark(bundle):
    described = bundle.info.model_dump(mode="json")
    expected = {"mgca_resnet": "labels", "biomedclip": "none"}
    found = describe(described, {"dataset": "mimic_cxr"}, [], "", "")
    assert found.partition(":")[0] == expected[bundle.info.variant]
