import hashlib

import numpy as np
import pytest

from prior.errors import InputError
from prior.metrics.retrieval import retrieval_metrics
from prior.tasks.base import Cell
from prior.tasks.retrieval import evaluate
from tests.tasks.stub import StubBundle, bundle, dataset, protocol

CELL = Cell(None, 0)
WORDS = ("alpha", "beta", "gamma", "delta")


def run(model, data, tmp_path, pool=1000):
    return next(iter(evaluate(model, data, protocol("retrieval", pool=pool), [CELL], tmp_path)))[1]


def metrics_of(frame):
    values = retrieval_metrics(frame).compute(np.ones((1, len(frame))))
    return {key[0]: value[0] for key, value in values.items()}


def test_known_ranks_in_both_directions(tmp_path):
    findings = {"Edema": [1.0, 1.0, 0.0], "Fracture": [0.0, np.nan, 0.0]}
    data = dataset(tmp_path, findings, [["alpha."], ["beta."], ["gamma."]])
    images = [[1.0, 0.0, 0.0], [0.8, 0.6, 0.0], [0.0, 0.0, 1.0]]
    texts = dict(zip(WORDS, np.eye(3), strict=False))
    frame = run(bundle(tmp_path, images, texts), data, tmp_path).predictions
    forward = frame[frame["direction"] == "image_to_text"]
    assert forward["rank"].tolist() == [1, 2, 1]
    assert forward["n_relevant"].tolist() == [2, 2, 1]
    assert forward["r_1"].tolist() == [1, 0, 1]
    assert forward["hits_1"].tolist() == [1, 1, 1]
    np.testing.assert_allclose(forward["hits_5"], [2 / 3, 2 / 3, 1 / 3])
    backward = frame[frame["direction"] == "text_to_image"]
    assert backward["rank"].tolist() == [1, 1, 1]


def test_a_pool_holds_every_normalised_text_once(tmp_path):
    reports = [["1. Alpha."], ["alpha"], ["beta."], ["ALPHA"]]
    data = dataset(tmp_path, {"Edema": [1.0, 1.0, 0.0, 1.0]}, reports)
    images = [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]
    frame = run(bundle(tmp_path, images, {"alpha": [1, 0], "beta": [0, 1]}), data, tmp_path).predictions
    studies = data.images.set_index("image_id")["study_id"]
    order = {i: hashlib.sha256(f"0:{studies[i]}".encode()).hexdigest() for i in studies.index}
    first = min(("i0000", "i0001", "i0003"), key=order.get)
    assert sorted(frame["image_id"].unique()) == sorted([first, "i0002"])
    assert frame["rank"].tolist() == [1] * 4
    assert frame["pool"].tolist() == [2] * 4


def test_chance_is_k_of_n_where_reports_repeat(tmp_path):
    n = 60
    reports = [[f"{WORDS[i % 4]} {i % 24}."] for i in range(n)]
    distinct = 24
    data = dataset(tmp_path, {"Edema": [float(i % 2) for i in range(n)]}, reports)
    model = bundle(tmp_path, np.ones((n, 3)).tolist(), {word: [0.3, 0.1, 0.2] for word in WORDS})
    frame = run(model, data, tmp_path).predictions
    chance = retrieval_metrics(frame).baselines["chance"](np.ones((1, len(frame))))
    for k in (1, 5, 10):
        assert chance[f"r_at_{k}_i2t", ""][0] == pytest.approx(k / distinct)
        assert metrics_of(frame)[f"r_at_{k}_t2i"] == pytest.approx(k / distinct)


def test_a_constant_embedding_scores_chance(tmp_path):
    n = 40
    reports = [[f"{WORDS[i % 4]} {i}."] for i in range(n)]
    data = dataset(tmp_path, {"Edema": [float(i % 2) for i in range(n)]}, reports)
    model = bundle(tmp_path, np.ones((n, 3)).tolist(), {word: [0.3, 0.1, 0.2] for word in WORDS})
    frame = run(model, data, tmp_path).predictions
    values = metrics_of(frame)
    assert values["r_at_10_i2t"] == pytest.approx(10 / n)
    assert values["r_at_1_t2i"] == pytest.approx(1 / n)
    assert values["p_at_5_i2t"] == pytest.approx(0.5)
    assert values["median_rank_i2t"] == (n + 1) / 2
    chance = retrieval_metrics(frame).baselines["chance"](np.ones((1, len(frame))))
    for name, value in chance.items():
        assert values[name[0]] == pytest.approx(value[0]), name


def test_lateral_images_and_studies_without_report_stay_out(tmp_path):
    views = ["PA", "LATERAL", "AP", "AP"]
    data = dataset(tmp_path, {"Edema": [1.0] * 4}, [["alpha."], ["beta."], [], ["gamma."]], views)
    model = bundle(tmp_path, np.eye(4).tolist(), dict(zip(WORDS, np.eye(4).tolist(), strict=True)))
    result = run(model, data, tmp_path)
    assert sorted(result.predictions["image_id"].unique()) == ["i0000", "i0003"]
    assert run(model, data, tmp_path, pool=1).info["omitted"].startswith("1 test studies")


def test_without_text_or_reports(tmp_path):
    data = dataset(tmp_path, {"Edema": [1.0, 0.0]}, [])
    assert "without text" in run(StubBundle(None), data, tmp_path).info["omitted"]
    model = bundle(tmp_path, [[1.0], [1.0]], {"alpha": [1.0]})
    with pytest.raises(InputError, match=r"sentences\.parquet is missing or empty"):
        run(model, data, tmp_path)
