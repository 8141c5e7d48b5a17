"""Whole cells of the five trained settings on a tiny dataset."""

import json

import numpy as np
import pandas as pd
import pytest

from prior.encoders.bundle import load_bundle
from prior.errors import InputError
from prior.protocols import load_protocol
from prior.tasks import run as run_module
from prior.tasks.run import all_cells, run_evaluation
from tests.tasks.fixtures import make_data

SETTINGS = [
    ("classification", "linear"),
    ("classification", "finetune"),
    ("segmentation", "frozen"),
    ("segmentation", "finetune"),
    ("detection", "frozen"),
    ("detection", "finetune"),
]


@pytest.fixture
def quick(monkeypatch):
    """Few steps, whatever the protocol says."""

    def load(family, task, setting):
        protocol = load_protocol(family, task, setting)
        few = {"steps": 2, "checks": 2}
        knobs = {name: few.get(name, value) for name, value in protocol.knobs.items()}
        return protocol.model_copy(update={"knobs": knobs})

    monkeypatch.setattr(run_module, "load_protocol", load)


def evaluate(tiny, tmp_path, task, setting, fractions=(1.0,), seeds=(0,), name="out"):
    stem = tmp_path / name
    summary = run_evaluation(
        tiny["bundle"],
        task,
        tiny["data"],
        "strict_small",
        setting,
        fractions,
        seeds,
        stem,
        tmp_path / "work",
        tiny["cache"],
    )
    return summary, pd.read_parquet(f"{stem}.parquet"), json.loads((tmp_path / f"{name}.json").read_text())


@pytest.mark.parametrize(("task", "setting"), SETTINGS)
def test_same_seed_repeats_bit_for_bit_and_finished_cells_are_kept(tiny, tmp_path, quick, task, setting):
    _, once, record = evaluate(tiny, tmp_path, task, setting, [0.5], [0, 1])
    for path in [*tmp_path.rglob("f0.5-s0.json"), *tmp_path.rglob("selection-*.json")]:
        path.unlink()
    summary, again, repeated = evaluate(tiny, tmp_path, task, setting, [0.5], [0, 1])
    assert summary["computed"] == 1
    pd.testing.assert_frame_equal(once, again)
    assert record == repeated
    assert list(once.columns[:3]) == ["fraction", "seed", "fold"]
    assert {"image_id", "patient_id"} <= set(once.columns)
    assert set(once["seed"]) == {0, 1}
    assert [c["n_train"] for c in record["cells"]] == [36, 36]


@pytest.mark.parametrize(("task", "setting"), SETTINGS)
def test_small_cells_are_refused_and_listed(tiny, tmp_path, quick, task, setting):
    _, frame, record = evaluate(tiny, tmp_path, task, setting, [0.1])
    assert frame.empty
    assert record["cells"][0]["omitted"] == "7 training images, fewer than 16"


def test_all_labels_take_fewer_seeds_than_a_draw_of_them():
    protocol = load_protocol("strict_small", "detection", "frozen")
    cells = all_cells(protocol, [0.1, 1.0], [0, 1, 2, 3, 4], None)
    assert [cell.seed for cell in cells if cell.fraction == 0.1] == [0, 1, 2, 3, 4]
    assert [cell.seed for cell in cells if cell.fraction == 1.0] == [0, 1, 2]


def test_finding_follows_the_square(tiny, tmp_path):
    _, frame, record = evaluate(tiny, tmp_path, "classification", "linear", [1.0], [0, 1])
    assert set(frame["finding"]) == {"Effusion", "Nodule"}
    effusion = frame[frame["finding"] == "Effusion"]
    assert (
        effusion.loc[effusion["label"] == 1, "score"].min()
        > effusion.loc[effusion["label"] == 0, "score"].max()
    )
    assert [cell["seed"] for cell in record["cells"]] == [0]
    assert record["simulated"]
    assert record["bundle"]["method"] == "random"


def test_square_is_segmented_from_frozen_maps(tiny, tmp_path):
    _, frame, record = evaluate(tiny, tmp_path, "segmentation", "frozen")
    dice = 2 * frame["tp"].sum() / (2 * frame["tp"] + frame["fp"] + frame["fn"]).sum()
    assert dice > 0.7
    assert (frame["n_mask"] == frame["tp"] + frame["fn"]).all()
    chosen = record["cells"][0]["selected"]
    assert 0.05 <= chosen["threshold"] <= 0.95
    assert chosen["head_params"] > 1000
    assert (frame["n_mask"] == 0).any()


def test_square_is_detected_from_frozen_maps(tiny, tmp_path):
    _, frame, _ = evaluate(tiny, tmp_path, "detection", "frozen")
    kinds = frame.groupby("kind").size()
    assert kinds["image"] == frame["image_id"].nunique() == 36
    assert kinds["truth"] == 18
    best = frame[frame["kind"] == "prediction"].sort_values("score").groupby("image_id").last()
    truth = frame[frame["kind"] == "truth"].set_index("image_id")
    assert best.loc[truth.index, "score"].mean() > 2 * best.drop(truth.index)["score"].mean()
    assert np.mean([_iou(best.loc[i], truth.loc[i]) for i in truth.index]) > 0.5


def _iou(a, b):
    width = min(a["x_max"], b["x_max"]) - max(a["x_min"], b["x_min"])
    height = min(a["y_max"], b["y_max"]) - max(a["y_min"], b["y_min"])
    overlap = max(width, 0) * max(height, 0)
    area = sum((c["x_max"] - c["x_min"]) * (c["y_max"] - c["y_min"]) for c in (a, b))
    return overlap / (area - overlap)


def test_all_refused_still_writes_a_table(tiny, tmp_path):
    data = make_data(tmp_path / "few", n=20)
    tiny = {**tiny, "data": data}
    _, frame, record = evaluate(tiny, tmp_path, "classification", "linear", [0.1])
    assert frame.empty
    assert "omitted" in record["cells"][0]
    assert record["split"] == "strict"


def test_bundle_is_not_changed_by_training(tiny, tmp_path, quick):
    before = {k: v.clone() for k, v in load_bundle(tiny["bundle"]).image_encoder().state_dict().items()}
    evaluate(tiny, tmp_path, "classification", "finetune", [0.5])
    after = load_bundle(tiny["bundle"]).image_encoder().state_dict()
    assert all(before[name].equal(after[name]) for name in before)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task": "grading"}, "task `grading` is unknown"),
        ({"family": "loose"}, "protocol `loose` is unknown"),
        ({"setting": "half"}, "no classification `half`"),
        ({"fractions": []}, "list at least one"),
        ({"fractions": [0.0]}, "not in"),
    ],
)
def test_bad_input_is_told(tiny, tmp_path, change, message):
    arguments = {
        "bundle_path": tiny["bundle"],
        "task": "classification",
        "data_root": tiny["data"],
        "family": "strict_small",
        "setting": "linear",
        "fractions": [1.0],
        "seeds": [0],
        "out_stem": tmp_path / "out",
        "work": tmp_path / "work",
        "cache": tiny["cache"],
    }
    with pytest.raises(InputError, match=message):
        run_evaluation(**{**arguments, **change})
    assert not (tmp_path / "out.parquet").exists()
