import hashlib

import numpy as np
import pandas as pd
import pytest

from prior.datasets.chexpert import FIVE
from prior.errors import InputError
from prior.metrics.retrieval import retrieval_metrics
from prior.protocols import load_protocol
from prior.protocols.show import families, settings
from prior.tasks.base import Cell
from prior.tasks.retrieval import check, evaluate
from tests.tasks.stub import StubBundle, bundle, dataset, protocol

CELL = Cell(None, 0)
WORDS = ("alpha", "beta", "gamma", "delta")


PAIRS = {"candidates": "all", "pool": 1000, "relevant": "identical normalised text", "ks": [1, 5, 10]}
GLORIA = {**PAIRS, "candidates": "one finding by GLoRIA's rule", "per_class": 200}
SETTINGS = [(f, s) for f in families() for t, s in settings(f) if t == "retrieval"]


def run(model, data, tmp_path, **knobs):
    stated = protocol("retrieval", **{**PAIRS, **knobs})
    return next(iter(evaluate(model, data, stated, [CELL], tmp_path)))[1]


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


def five(**present):
    """Labels of the five findings and Fracture, absent where not given."""
    n = len(next(iter(present.values())))
    return {name: present.get(name, [0.0] * n) for name in (*FIVE, "Fracture")}


def test_images_of_one_finding_find_reports_of_the_same(tmp_path):
    labels = five(
        Edema=[1.0, 1.0, 0.0, 1.0, 1.0], Consolidation=[0.0, 0.0, 1.0, -1.0, 0.0], Fracture=[0, 0, 0, 0, 1.0]
    )
    data = dataset(tmp_path, labels, [["alpha."], ["beta."], ["gamma."], ["delta."], ["delta too."]])
    images = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.8], [0.0, 0.7, 0.6], [1, 1, 1], [1, 1, 1]]
    model = bundle(tmp_path, images, {**dict(zip(WORDS, np.eye(3), strict=False)), "delta": [1.0, 1.0, 1.0]})
    result = run(model, data, tmp_path, **GLORIA)
    forward = result.predictions[result.predictions["direction"] == "image_to_text"]
    # The fourth is uncertain of another class, the fifth has a further finding.
    assert forward["image_id"].tolist() == ["i0000", "i0001", "i0002"]
    assert forward["n_relevant"].tolist() == [2, 2, 1]
    assert forward["hits_1"].tolist() == [1, 1, 0]
    assert forward["hit_5"].tolist() == [1, 1, 1]
    assert result.info["per_class"] == {"Edema": 2, "Consolidation": 1}
    prior = run(model, data, tmp_path, **{**GLORIA, "candidates": "one finding by PRIOR's rule"}).predictions
    assert prior["n_relevant"].tolist() == [4, 4, 1, 4, 4] * 2


def test_a_class_gives_so_many_studies_and_repeats_stay_where_the_pair_is_the_own_report(tmp_path):
    labels = five(Edema=[1.0] * 6 + [0.0] * 3, Cardiomegaly=[0.0] * 6 + [1.0] * 3)
    data = dataset(tmp_path, labels, [["alpha."]] * 6 + [["beta one."], ["beta two."], ["beta three."]])
    model = bundle(tmp_path, np.ones((9, 2)).tolist(), {"alpha": [1.0, 0.0], "beta": [0.0, 1.0]})
    kept = run(model, data, tmp_path, **{**GLORIA, "per_class": 4, "relevant": "own report"})
    assert kept.info["per_class"] == {"Edema": 4, "Cardiomegaly": 3}
    each_once = run(model, data, tmp_path, **{**GLORIA, "per_class": 4})
    assert each_once.info["per_class"] == {"Cardiomegaly": 3, "Edema": 1}


def test_a_constant_embedding_scores_the_chance_of_unequal_classes(tmp_path):
    labels = five(Edema=[1.0] * 12 + [0.0] * 5, Atelectasis=[0.0] * 12 + [1.0] * 5)
    data = dataset(tmp_path, labels, [[f"alpha {i}."] for i in range(17)])
    model = bundle(tmp_path, np.ones((17, 2)).tolist(), {"alpha": [1.0, 0.0]})
    frame = run(model, data, tmp_path, **{**GLORIA, "ks": [1, 2, 5, 10]}).predictions
    values = metrics_of(frame)
    chance = retrieval_metrics(frame).baselines["chance"](np.ones((1, len(frame))))
    assert values["p_at_2_i2t"] == pytest.approx((12 * 12 + 5 * 5) / 17**2)
    assert {key[0] for key in chance} == set(values)
    for key, value in chance.items():
        assert values[key[0]] == pytest.approx(value[0]), key


def test_pools_that_classes_cannot_be_told_in(tmp_path):
    data = dataset(tmp_path, five(Edema=[1.0, 1.0]), [["alpha."], ["beta."]])
    model = bundle(tmp_path, np.eye(2).tolist(), {"alpha": [1.0, 0.0], "beta": [0.0, 1.0]})
    assert run(model, data, tmp_path, **GLORIA).info["omitted"] == "all 2 test studies have the finding Edema"
    none = dataset(tmp_path / "none", five(Edema=[0.0, 0.0]), [["alpha."], ["beta."]])
    assert run(model, none, tmp_path, **GLORIA).info["omitted"].startswith("0 test studies")
    other = dataset(tmp_path / "other", {"Edema": [1.0, 0.0]}, [["alpha."], ["beta."]])
    with pytest.raises(InputError, match="has no Atelectasis, which"):
        run(model, other, tmp_path, **GLORIA)


def test_queries_of_8x200(tmp_path):
    labels = {"Edema": [1.0, 1.0, 0.0, 1.0], "No_Finding": [0.0, 0.0, 1.0, np.nan]}
    data = dataset(tmp_path, labels, [])
    rows = [("candidate", f"i000{i}", None, None) for i in range(3)]
    rows += [("image_query", "i0003", "Edema", None), ("image_query", "i0001", "Edema", None)]
    rows += [("text_query", None, "Edema", "alpha"), ("text_query", None, "No Finding", "beta")]
    (tmp_path / "subsets").mkdir()
    table = pd.DataFrame(rows, columns=["role", "image_id", "class", "text"])
    table.to_parquet(tmp_path / "subsets" / "8x200.parquet")
    images = [[1.0, 0.0], [0.6, 0.8], [0.0, 1.0], [0.0, 1.0]]
    model = bundle(tmp_path, images, {"alpha": [1.0, 0.0], "beta": [0.0, 1.0]})
    frame = run(model, data, tmp_path, candidates="list of 8x200", ks=[1, 5, 10, 50]).predictions
    parts = dict(tuple(frame.groupby("direction")))
    assert parts["image_to_image"]["hits_1"].tolist() == [0, 0]
    # The second query is a candidate, but not its own.
    assert parts["image_to_image"]["pool"].tolist() == [3, 2]
    assert parts["image_to_image"]["n_relevant"].tolist() == [2, 1]
    assert parts["text_to_image"]["hits_1"].tolist() == [1, 1]
    assert parts["text_to_image"]["n_relevant"].tolist() == [2, 1]
    assert parts["image_to_text"]["hits_1"].tolist() == [1, 0, 1]
    values = metrics_of(frame)
    assert values["p_at_50_t2i"] == pytest.approx(0.5)
    assert {name.rsplit("_", 1)[1] for name in values} == {"i2i", "t2i", "i2t"}
    assert not [name for name in values if name.startswith(("r_at", "median"))]


def test_8x200_needs_its_list(tmp_path):
    data = dataset(tmp_path, {"Edema": [1.0]}, [])
    model = bundle(tmp_path, [[1.0]], {"alpha": [1.0]})
    with pytest.raises(InputError, match="add it to the presets"):
        run(model, data, tmp_path, candidates="list of 8x200")
    (tmp_path / "subsets").mkdir()
    rows = [("candidate", "i0000", None, None), ("image_query", "lost", "Edema", None)]
    table = pd.DataFrame(rows, columns=["role", "image_id", "class", "text"])
    table.to_parquet(tmp_path / "subsets" / "8x200.parquet")
    with pytest.raises(InputError, match="1 readable candidates, 0 readable image queries and 0 text"):
        run(model, data, tmp_path, candidates="list of 8x200")


@pytest.mark.parametrize(("family", "setting"), SETTINGS)
def test_every_setting_states_what_the_task_does(family, setting):
    stated = load_protocol(family, "retrieval", setting)
    check(stated)
    for wrong, remedy in (
        ({"class_relevant": "same view"}, "`class_relevant: "),
        ({"candidates": "some"}, "`candidates: "),
        ({"ks": [5, 10], "metrics": ["p_at_5"]}, r"lacks \[1\]"),
        ({"folds_of_pool": 3}, "`folds_of_pool`"),
    ):
        with pytest.raises(InputError, match=remedy):
            check(stated.model_copy(update={"knobs": {**stated.knobs, **wrong}}))
