"""Grounding and prototypes from prediction files to the page, and what their pictures may show."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).parent))
import synthetic

from prior.data.files import write_json
from prior.metrics.rows import read_rows
from prior.metrics.score import score
from prior.results.atlas import HIDDEN, nearest_sentences, prototype_atlas
from prior.results.collect import collect
from prior.results.examples import examples
from prior.results.page import page
from prior.results.plots import plots
from prior.results.tables import tables

TEXT = "The heart is enormous."


def maps(strength: float, seed: int, n: int = 40) -> pd.DataFrame:
    world = np.random.default_rng(6)
    area = world.uniform(0.02, 0.3, n)
    hit = (world.random(n) < 0.3 * strength).astype(float)
    frame = synthetic._images(world, "siim", n).assign(finding="Pneumothorax", hit=hit, area=area)
    return frame.assign(cnr=world.normal(strength, 1, n), miou=area * strength)


def bank(strength: float, seed: int, n: int = 60) -> pd.DataFrame:
    world = np.random.default_rng(7)
    frame = synthetic._images(world, "mimic_cxr", n)
    return frame.assign(position=0, nearest=world.integers(0, 9, n), entropy=1.0, n_prototypes=16)


def prepared(root: Path, simulated: bool) -> Path:
    folder = root / "data/prepared/mimic_cxr"
    folder.mkdir(parents=True, exist_ok=True)
    table = pd.DataFrame({"study_id": ["s0", "s1"], "position": [3, 0], "sentence": [TEXT, "Other."]})
    table.to_parquet(folder / "sentences.parquet")
    write_json(folder / "manifest.json", {"simulated": simulated})
    return folder


def write_atlas(stem: Path) -> Path:
    arrays = {
        "prototype": np.array([2, 0, 1]),
        "frequency": np.array([0.75, 0.25, 0.0]),
        "entropy": np.array([0.5, 1.0, np.nan]),
        "study_id": np.array([["s0", "s1"], ["s1", ""], ["", ""]]),
        "position": np.array([[3, 0], [0, -1], [-1, -1]]),
    }
    np.savez(f"{stem}.examples.npz", **arrays)
    return Path(f"{stem}.examples.npz")


def test_text_is_looked_up_of_simulated_reports_only(tmp_path: Path) -> None:
    study, position = np.array([["s0", "s1"], ["s1", ""]]), np.array([[3, 0], [0, -1]])
    folder = prepared(tmp_path, simulated=True)
    assert nearest_sentences(folder, study, position) == [[TEXT, "Other."], ["Other."]]
    prepared(tmp_path, simulated=False)
    assert nearest_sentences(folder, study, position) == [[], []]
    (folder / "manifest.json").unlink()
    assert nearest_sentences(folder, study, position) == [[], []]


@pytest.mark.parametrize("simulated", [True, False])
def test_the_atlas_shows_no_real_text_and_no_id(tmp_path: Path, simulated: bool) -> None:
    folder, out = prepared(tmp_path, simulated), tmp_path / "atlas"
    prototype_atlas({"prior": write_atlas(tmp_path / "x")}, folder, simulated, out)
    drawn = Path(f"{out}.svg").read_text()
    assert (TEXT in drawn) == simulated
    assert (HIDDEN in drawn) == (not simulated)
    assert ("SIMULATED DATA" in drawn) == simulated
    assert "s0" not in drawn
    assert "prior: 1 of 3 prototypes" in drawn


def test_from_predictions_to_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stems = []
    for task, dataset, setting, make, methods in (
        ("grounding", "siim", "phrases", maps, ("convirt", "prior")),
        ("grounding", "rsna", "phrases", maps, ("convirt", "prior")),
        ("prototypes", "mimic_cxr", "bank", bank, ("prior",)),
    ):
        monkeypatch.setitem(synthetic.TASKS, task, (dataset, setting, make))
        stems += [synthetic.write_predictions(tmp_path, task, method, (None,), (0,)) for method in methods]
    scores = []
    for stem in stems:
        out = tmp_path / "scores" / stem.relative_to(tmp_path / "predictions")
        score(stem, out, n_resamples=100)
        scores.append(Path(f"{out}.parquet"))
    results = tmp_path / "results"
    collect(scores, [Path(f"{stem}.json") for stem in stems], results)
    table = read_rows(results / "results.csv")
    chance = table.query("method == 'chance' and seed != seed and metric == 'pointing_game'")
    assert chance["value"].tolist() == pytest.approx([maps(1, 0)["area"].mean()] * 2, abs=1e-6)
    tasks = ["grounding", "prototypes"]
    tables(results, tasks)
    headline = (results / "tables/headline.md").read_text()
    assert all(name in headline for name in ("Pointing game", "siim", "rsna"))
    assert "Prototype" not in headline
    assert "Dead prototypes, share" in (results / "tables/prototypes.md").read_text()
    plots(results, [], tasks)
    picture = (results / "plots/task_grounding.svg").read_text()
    assert all(name in picture for name in ("Pointing game", "siim, strict_small", "rsna, strict_small"))
    truth = np.zeros((2, 8, 8), dtype=bool)
    truth[:, 2:5, 2:5] = True
    for stem in stems:
        if "grounding" in stem.parts:
            images = np.full((2, 8, 8), 90, dtype=np.uint8)
            np.savez(f"{stem}.examples.npz", images=images, heat=truth.astype(np.float16), truth=truth)
        else:
            write_atlas(stem)
    prepared(tmp_path, simulated=True)
    examples(stems, tmp_path / "data/prepared", True, results / "plots")
    page(results)
    text = (results / "index.html").read_text()
    assert text.count("examples grounding") == 2
    assert text.count("examples prototypes") == 1
