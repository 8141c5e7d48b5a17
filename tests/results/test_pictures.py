"""ROC curves, calibration, single seeds and data cards: what is drawn, by hand on small inputs."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from synthetic import refuse, write_predictions

from prior.data.files import write_json
from prior.metrics.classification import auroc
from prior.metrics.rows import read_rows
from prior.results.cards import data_card, data_cards, overlap_text, prevalence, shared_text
from prior.results.names import has_curves
from prior.results.roc import GRID_POINTS, curve_arrays, reliability, roc, roc_figures
from prior.results.seeds import seed_values

SHARED = {"patients": {"train-test": 2, "train-validation": 0}, "studies": {"train-test": 0}}


def test_roc_by_hand() -> None:
    score, truth = np.array([0.9, 0.8, 0.7, 0.1]), np.array([True, False, True, False])
    curve = roc(score, truth)
    grid = np.linspace(0, 1, GRID_POINTS)
    assert curve[[0, 25, 50, 100]].tolist() == [0.5, 0.5, 1.0, 1.0]
    assert (np.diff(curve) >= 0).all()
    assert roc(np.zeros(4), truth) == pytest.approx(grid)


def test_the_area_below_the_curve_is_the_auroc() -> None:
    generator = np.random.default_rng(0)
    truth = generator.random(2000) < 0.3
    score = truth + generator.normal(size=2000)
    (expected,) = auroc(score, truth, np.ones((1, 2000)))
    assert np.trapezoid(roc(score, truth), dx=1 / (GRID_POINTS - 1)) == pytest.approx(expected, abs=0.01)


def test_calibration_by_hand() -> None:
    score = np.array([0.4, 0.1, 0.9, 0.2])
    predicted, observed = reliability(score, np.array([True, False, True, False]), bins=2)
    assert predicted == pytest.approx([0.15, 0.65])
    assert observed == pytest.approx([0.0, 1.0])


def test_cells_and_findings_are_averaged_and_findings_without_positives_left_out() -> None:
    frame = pd.DataFrame(
        {
            "finding": ["a", "a", "b", "b"] * 2,
            "score": [0.9, 0.1, 0.5, 0.6, 0.1, 0.9, 0.5, 0.6],
            "truth": [True, False, False, False] * 2,
            "seed": [0] * 4 + [1] * 4,
            "fold": -1,
        }
    )
    found = curve_arrays(frame, probabilities=False)
    assert set(found) == {"roc"}
    assert found["roc"][[0, 50, 100]].tolist() == [0.5, 0.5, 1.0]


def test_figures_of_stored_predictions_are_stable(tmp_path: Path) -> None:
    stems = [
        write_predictions(tmp_path, "classification", method, (0.1,), (0, 1))
        for method in ("random", "prior")
    ]
    stems.append(write_predictions(tmp_path, "zero_shot", "prior", (None,), (0,)))
    contents = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        roc_figures(stems, True, tmp_path / name)
        contents.append({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()})
    assert contents[0] == contents[1]
    text = contents[0]["roc_classification_chexpert_strict_small-linear.svg"].decode()
    assert all(word in text for word in ("SIMULATED DATA", "random", "prior", "Calibration"))
    assert "Calibration" not in contents[0]["roc_zero_shot_chexpert_strict_small-prompts.svg"].decode()
    assert not has_curves("classification", "strict_small-metadata")


def test_a_method_of_which_every_cell_was_refused_has_no_curve(tmp_path: Path) -> None:
    stems = [
        write_predictions(tmp_path, "classification", method, (0.1,), (0,)) for method in ("random", "prior")
    ]
    refuse(stems[1])
    roc_figures(stems, True, tmp_path)
    (drawn,) = tmp_path.glob("*.svg")
    assert "random" in drawn.read_text()
    assert ">prior<" not in drawn.read_text()
    refuse(stems[0])
    roc_figures(stems, True, tmp_path)
    assert "random" not in drawn.read_text()


def test_seeds_are_those_of_the_long_table(shown: Path) -> None:
    values = seed_values(read_rows(shown / "results.csv"))
    assert set(values["label"]) == {"random", "convirt", "prior"}
    table = pd.read_csv(shown / "results.csv")
    chosen = table.query(
        "method == 'prior' and metric == 'dice_pooled' and fraction == 0.1 and frozen and seed == 1"
    )
    row = values.query("label == 'prior' and task == 'segmentation' and seed == 1")
    assert row["value"].item() == pytest.approx(chosen["value"].item())


SEEN = {
    "train": {"dataset": "plus", "preset": "official"},
    "test": {"dataset": "chexpert", "preset": "strict"},
    "test_images": 9, "patients": 3, "studies": 0, "identical_images": 0, "near_duplicate_images": 1,
}  # fmt: skip


def test_data_cards_count_what_a_leaky_split_has_in_training_and_which_class_is_a_source() -> None:
    share = {"count": 2, "of": 3, "share": 0.6667}
    alone = {"class": "Normal", "source": "rsna", "share": 1.0, "share_of_others": 0.252}
    manifest = {
        "leaks": {"random-leaky": {}},
        "exposed": {"random-leaky": {"test": {"patients": share, "positive_images": share}}},
        "sources": {"confounded": [alone]},
    }
    lines = overlap_text(manifest).split("\n")
    assert lines[1].endswith("in training: 2 of 3 patients (67 %), 2 of 3 positive images (67 %).")
    assert lines[2] == "Class is source: 100 % of Normal comes from rsna, of the rest 25 %."


def test_data_cards_say_what_is_shared(tmp_path: Path) -> None:
    manifest = {
        "dataset": "chexpert",
        "simulated": True,
        "counts": {
            "images": 10, "patients": None, "reports": 0, "boxes": 0, "images_with_masks": 0,
            "findings": {"Edema": {"present": 4, "absent": 5, "uncertain": 1, "missing": 0}},
        },
        "splits": {"strict": {"train": {"images": 7}, "test": {"images": 3}, "folds": [4, 6]}},
        "leaks": {"strict": SHARED},
        "exposed": {},
        "sources": {},
    }  # fmt: skip
    assert overlap_text(manifest) == "Split strict: 2 patients (train-test)."
    assert "no patient, study" in overlap_text(
        {**manifest, "leaks": {"strict": {"patients": {"train-test": 0}}}}
    )
    write_json(tmp_path / "prepared" / "chexpert" / "manifest.json", manifest)
    write_json(tmp_path / "leaks.json", {"pretraining": [SEEN], "evaluations": []})
    data_cards(tmp_path / "prepared", ["chexpert"], tmp_path)
    text = (tmp_path / "data_chexpert.svg").read_text()
    assert all(word in text for word in ("SIMULATED DATA", "Edema", "strict", "2 patients (train-test)"))
    line = "Pre-training on plus (official) has of test strict: 3 patients, 1 near duplicate images."
    assert shared_text("chexpert", {"pretraining": [SEEN], "evaluations": []}) == line
    assert "Pre-training on plus (official)" in text
    assert "present, % of the part" not in text
    for part, positives in (("train", 3), ("test", 1)):
        manifest["splits"]["strict"][part]["positives"] = {"Edema": positives}  # type: ignore[index]
    assert prevalence(manifest, ["Edema"]) == {
        "train": {"Edema": pytest.approx(300 / 7)},
        "test": {"Edema": pytest.approx(100 / 3)},
    }
    data_card("chexpert", manifest, {"pretraining": [], "evaluations": []}, tmp_path / "balanced")
    assert "present, % of the part" in (tmp_path / "balanced.svg").read_text()
