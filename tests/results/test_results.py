"""From prediction files to the page, on random predictions."""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from synthetic import write_all, write_pixels, write_predictions, write_training_log

from prior.errors import InputError
from prior.metrics.intervals import interval
from prior.metrics.rows import AGGREGATED_COLUMNS, read_rows
from prior.metrics.score import score
from prior.results.aggregate import Units, load_scores, paired_difference
from prior.results.collect import collect
from prior.results.examples import examples
from prior.results.page import page
from prior.results.plots import clear, curves, plots
from prior.results.style import figure_style
from prior.results.tables import seed_notes, tables
from prior.results.view import load_view

RESAMPLES = 100


def score_all(root: Path, stems: list[Path]) -> list[Path]:
    files = []
    for stem in stems:
        out = root / "scores" / stem.relative_to(root / "predictions")
        score(stem, out, n_resamples=RESAMPLES)
        files.append(Path(f"{out}.parquet"))
    return files


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("run")
    stems = write_all(root, seeds=(0, 1), fractions=(0.01, 0.1), finetuned=("segmentation",))
    files = score_all(root, stems)
    collect(files, [Path(f"{stem}.json") for stem in stems], root / "results", "tiny")
    return root


def test_rows_have_the_columns_and_aggregate_the_cells(run: Path) -> None:
    table = read_rows(run / "results" / "results.csv")
    assert list(table.columns) == AGGREGATED_COLUMNS
    assert table["simulated"].all()
    chosen = table[(table["method"] == "prior") & (table["task"] == "segmentation") & table["frozen"]]
    chosen = chosen[(chosen["metric"] == "dice_pooled") & (chosen["fraction"] == 0.1)]
    cells, mean = chosen[chosen["seed"].notna()], chosen[chosen["seed"].isna()]
    assert len(cells) == 2
    assert len(mean) == 1
    assert mean["value"].item() == pytest.approx(cells["value"].mean(), abs=2e-6)
    assert mean["ci_low"].item() < mean["value"].item() < mean["ci_high"].item()
    assert cells["ci_low"].isna().all()
    assert mean["run"].item() == ""


def test_baselines_are_kept_once(run: Path) -> None:
    table = read_rows(run / "results" / "results.csv")
    nothing = table[(table["method"] == "predict_nothing") & (table["metric"] == "dice_pooled")]
    assert len(nothing[nothing["seed"].isna()]) == 2
    assert (nothing["value"] == 0).all()
    chance = table[(table["method"] == "chance") & (table["metric"] == "accuracy_5x200")]
    assert chance["value"].unique().tolist() == [0.2]


def test_metrics_json_holds_what_methods_are_compared_by(run: Path) -> None:
    metrics = json.loads((run / "results" / "metrics.json").read_text())
    assert set(metrics) == {"classification", "zero_shot", "retrieval", "segmentation", "detection"}
    assert set(metrics["segmentation"]["siim"]) == {"strict_small-frozen"}
    (segmentation,) = metrics["segmentation"]["siim"].values()
    assert set(segmentation) == {"dice_pooled@10%"}
    assert set(segmentation["dice_pooled@10%"]) == {"random", "convirt", "prior"}
    assert set(metrics["zero_shot"]["chexpert"]["strict_small-prompts"]) == {"auroc_macro", "accuracy_5x200"}


def test_omitted_cells_and_runs_are_listed(run: Path) -> None:
    omitted = pd.read_csv(run / "results" / "omitted.csv")
    assert set(omitted["fraction"]) == {0.01}
    assert omitted["reason"].str.contains("fewer than 16").all()
    runs = pd.read_csv(run / "results" / "runs.csv")
    cells = read_rows(run / "results" / "results.csv").query("run != '' and method == 'prior'")
    assert set(cells["run"]) <= set(runs["run"])


def test_what_every_cell_chose_is_listed(run: Path) -> None:
    chosen = pd.read_csv(run / "results" / "tables" / "choices.csv")
    made = read_rows(run / "results" / "results.csv").query("task == 'segmentation' and run != ''")
    cells = ["method", "setting", "fraction", "seed"]
    encoders = made[~made["method"].isin(["predict_nothing"])]
    assert len(chosen) == len(encoders[cells].drop_duplicates())
    assert set(chosen["learning_rate"]) == {0.001}
    assert set(chosen["head_params"]) == {1234}
    assert chosen["at_grid_edge"].all()
    assert chosen["threshold"].isna().all()


def test_differences_are_paired_and_corrected(run: Path) -> None:
    table = pd.read_csv(run / "results" / "tables" / "differences.csv")
    primary = table[(table["role"] == "primary") & (table["task"] == "segmentation")]
    assert len(primary) == 4
    gain = primary[(primary["method"] == "prior") & (primary["reference"] == "random")]
    assert gain["ci_low"].item() > 0
    family = primary[primary["reference"] == "convirt"].set_index("method")
    assert set(family.index) == {"random", "prior"}
    smaller, larger = sorted(family["p"])
    assert sorted(family["p_holm"]) == pytest.approx([2 * smaller, max(larger, 2 * smaller)], abs=1e-5)
    unlabelled = table[(table["task"] == "zero_shot") & (table["reference"] == "chance")]
    assert set(unlabelled["method"]) == {"convirt", "prior"}
    rows = read_rows(run / "results" / "results.csv").query(
        "task == 'segmentation' and metric == 'dice_pooled' and fraction == 0.1 and frozen and seed != seed"
    )
    values = rows.set_index("method")["value"]
    assert gain["difference"].item() == pytest.approx(values["prior"] - values["random"], abs=1e-5)
    spread = rows.set_index("method")["ci_high"] - values
    assert gain["ci_high"].item() - gain["difference"].item() < spread["prior"] + spread["random"]


def test_resamples_are_the_same_for_all_methods(run: Path) -> None:
    rows, _ = load_scores(sorted((run / "scores").rglob("*.parquet")))
    keys = rows[rows["finding"] == ""].groupby(["task", "metric"])["resamples"].nunique()
    assert (keys == 1).all()


def test_scoring_twice_gives_equal_files(tmp_path: Path) -> None:
    stem = write_predictions(tmp_path, "retrieval", "prior", (None,), (0,))
    contents = []
    for name in ("a", "b"):
        score(stem, tmp_path / name / "x", n_resamples=RESAMPLES)
        contents.append([(tmp_path / name / f"x.{kind}").read_bytes() for kind in ("parquet", "npz")])
    assert contents[0] == contents[1]


def test_missing_column_and_key_are_named(tmp_path: Path) -> None:
    stem = write_predictions(tmp_path, "segmentation", "prior", (0.1,), (0,))
    pd.read_parquet(f"{stem}.parquet").drop(columns="fp").to_parquet(f"{stem}.parquet")
    with pytest.raises(InputError, match="column fp is missing"):
        score(stem, tmp_path / "out")
    write_predictions(tmp_path, "segmentation", "prior", (0.1,), (0,))
    info = json.loads(Path(f"{stem}.json").read_text())
    del info["simulated"]
    Path(f"{stem}.json").write_text(json.dumps(info))
    with pytest.raises(InputError, match="simulated"):
        score(stem, tmp_path / "out")


def test_all_cells_omitted_gives_an_empty_score_file(tmp_path: Path) -> None:
    stem = write_predictions(tmp_path, "segmentation", "prior", (0.1,), (0,))
    info = json.loads(Path(f"{stem}.json").read_text())
    info["cells"][0]["omitted"] = "too few"
    Path(f"{stem}.json").write_text(json.dumps(info))
    pd.DataFrame(columns=["fraction", "seed", "fold", "image_id"]).to_parquet(f"{stem}.parquet")
    other = write_predictions(tmp_path, "segmentation", "convirt", (0.1,), (0,))
    files = score_all(tmp_path, [stem, other])
    assert len(pd.read_parquet(files[0])) == 0
    collect(files, [Path(f"{s}.json") for s in (stem, other)], tmp_path / "results")
    assert len(pd.read_csv(tmp_path / "results" / "omitted.csv")) == 1


def units(values: dict[tuple[float, float], float], key: str = "k") -> Units:
    generator = np.random.default_rng(0)
    noise = generator.normal(0, 0.01, 50)
    return Units(values, {unit: value + noise for unit, value in values.items()}, (key,))


def test_intervals_cover_pretraining_and_downstream_seeds() -> None:
    several = units({(0, 0): 0.5, (0, 1): 0.7, (1, 0): 0.7, (1, 1): 0.9})
    found = several.interval()
    averaged = several.replicates[0, 0] + 0.2
    expected = interval(0.7, averaged, np.array([0.6, 0.8]), np.array([0.6, 0.8]))
    assert (found.mean, found.n_seeds) == (pytest.approx(0.7), 2)
    assert found.high == pytest.approx(expected.high)


def test_a_difference_pairs_seeds_that_both_have() -> None:
    several = units({(0, 0): 0.5, (0, 1): 0.7, (1, 0): 0.7, (1, 1): 0.9})
    one = units({(2, 0): 0.4, (2, 1): 0.6})
    found = paired_difference(several, one)
    # Downstream seeds cancel, so that only the two pre-training seeds spread.
    expected = interval(0.2, np.zeros(50), np.array([0.1, 0.3]), np.array([0.2, 0.2]))
    assert (found.mean, found.n_seeds) == (pytest.approx(0.2), 2)
    assert (found.low, found.high) == (pytest.approx(expected.low), pytest.approx(expected.high))
    backward = paired_difference(one, several)
    assert (backward.low, backward.high) == (pytest.approx(-found.high), pytest.approx(-found.low))
    with pytest.raises(InputError, match="different test patients"):
        paired_difference(several, units({(0, 0): 0.5}, key="other"))
    with pytest.raises(InputError, match="share no seed"):
        paired_difference(several, units({(0, 5): 0.5, (0, 6): 0.5}))


def test_tables_say_simulated_and_hold_the_values(run: Path) -> None:
    results = run / "results"
    tables(results)
    text = (results / "tables" / "segmentation.md").read_text()
    assert text.startswith("# SIMULATED DATA")
    assert "predict nothing" in text
    row = read_rows(results / "results.csv").query(
        "method == 'prior' and metric == 'dice_pooled' and fraction == 0.1 and frozen and seed != seed"
    )
    assert f"{row['value'].item():.3f} [{row['ci_low'].item():.3f}" in text
    headline = (results / "tables" / "headline.md").read_text()
    assert all(name in headline for name in ("chance", "random", "convirt", "prior", "Detection"))
    differences = (results / "tables" / "differences.md").read_text()
    assert "− convirt" in differences
    assert "p convirt (Holm)" in differences
    for text in (headline, differences, (results / "tables" / "ranks.md").read_text()):
        assert "This checkpoint, not this objective: 1 pre-training seed per method" in text


def test_every_row_counts_its_seeds_also_without_a_pretraining_seed(run: Path) -> None:
    view = load_view(run / "results" / "results.csv")
    assert (view["n_seeds"].dropna() >= 1).all()


def test_a_file_of_refused_cells_alone_changes_no_type(tmp_path: Path) -> None:
    refused, done = (
        write_predictions(tmp_path, "classification", method, (0.1,), (0,)) for method in ("prior", "random")
    )
    info = json.loads(Path(f"{refused}.json").read_text())
    cells = [{**cell, "omitted": "15 training images, fewer than 16"} for cell in info["cells"]]
    Path(f"{refused}.json").write_text(json.dumps({**info, "cells": cells}))
    pd.read_parquet(f"{refused}.parquet").iloc[:0].to_parquet(f"{refused}.parquet")
    files = score_all(tmp_path, [refused, done])
    empty, full = (pd.read_parquet(path) for path in files)
    assert len(empty) == 0 < len(full)
    pd.testing.assert_series_equal(empty.dtypes, full.dtypes)
    rows, replicates = load_scores(files)
    pd.testing.assert_series_equal(rows.dtypes, full.dtypes)
    assert "random" in set(rows["method"])
    assert len(rows) == len(replicates)
    assert load_scores(files[:1])[0].empty


def test_seeds_that_gave_the_same_are_named(run: Path, tmp_path: Path) -> None:
    view = load_view(run / "results" / "results.csv")
    assert not view["equal_seeds"].any()
    assert not any("Equal in two seeds" in note for note in seed_notes(view))
    rows = pd.read_csv(run / "results" / "results.csv")
    cell = (rows["method"] == "prior") & (rows["task"] == "segmentation") & rows["frozen"]
    cell &= (rows["fraction"] == 0.1) & rows["seed"].notna()
    second = rows[cell & (rows["seed"] == 1)].index
    rows.loc[second, "value"] = rows.loc[cell & (rows["seed"] == 0), "value"].to_numpy()
    rows.to_csv(tmp_path / "results.csv", index=False)
    view = load_view(tmp_path / "results.csv")
    flagged = view[view["equal_seeds"]]
    assert set(flagged["label"]) == {"prior"}
    assert set(flagged["task"]) == {"segmentation"}
    assert set(flagged["fraction"]) == {0.1}
    assert any(
        note.startswith("Equal in two seeds, so that the interval is too narrow: prior, siim")
        for note in seed_notes(view)
    )
    rows.loc[second[0], "value"] += 0.01
    rows.to_csv(tmp_path / "results.csv", index=False)
    assert not load_view(tmp_path / "results.csv")["equal_seeds"].any()


def write_examples(run: Path) -> list[Path]:
    stems = sorted(path.with_suffix("") for path in (run / "predictions").rglob("*.parquet"))
    generator = np.random.default_rng(0)
    images = generator.integers(0, 255, (4, 32, 32), dtype=np.uint8)
    truth = np.zeros((4, 32, 32), bool)
    truth[:2, 5:15, 5:15] = True
    for stem in stems:
        if stem.parts[-4] == "segmentation":
            arrays = {"images": images, "truth": truth, "predicted": np.roll(truth, 3, axis=2)}
            np.savez(f"{stem}.examples.npz", **arrays)
        if stem.parts[-4] == "retrieval":
            arrays = {
                "images": images[:1],
                "study_id": np.array(["s1"]),
                "top": np.array([["s0", "s1", "s2"]]),
            }
            np.savez(f"{stem}.examples.npz", **arrays)
    boxed = [stem for stem in stems if stem.parts[-4] == "detection"]
    write_pixels(
        run / "data" / "prepared" / "rsna", pd.read_parquet(f"{boxed[0]}.parquet")["image_id"].unique()
    )
    prepared = run / "data" / "prepared" / "mimic_cxr"
    prepared.mkdir(parents=True, exist_ok=True)
    ids = [f"i{k}" for k in range(3)]
    table = pd.DataFrame({"image_id": ids, "study_id": ["s0", "s1", "s2"]})
    table.to_parquet(prepared / "images.parquet")
    pd.DataFrame({"image_id": ids, "Edema": [1.0, 1.0, 0.0]}).to_parquet(prepared / "labels.parquet")
    return stems


def test_clearing_plots_leaves_the_maps_of_the_other_stage_also_half_drawn(tmp_path: Path) -> None:
    kept = ["embeddings_a.svg", ".embeddings_a.17.svg"]
    for name in [*kept, "ranks.svg", ".ranks.17.png"]:
        (tmp_path / name).touch()
    clear(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kept)


def test_plots_are_byte_stable_and_the_page_is_self_contained(run: Path) -> None:
    results = run / "results"
    log = write_training_log(run, "prior", ["global", "local"])
    (results / "plots").mkdir()
    (results / "plots" / "examples_of_yesterday.png").write_bytes(b"")
    of_another_stage = results / "plots" / "embeddings_classification_x.png"
    of_another_stage.write_bytes(b"")
    clear(results / "plots")
    assert [path.name for path in (results / "plots").iterdir()] == [of_another_stage.name]
    plots(results, [log])
    of_another_stage.unlink()
    first = {path.name: path.read_bytes() for path in (results / "plots").iterdir()}
    names = {"headline", "gains", "forest", "gain_map", "ranks", "seeds", "pretraining_prior-described"}
    tasks = {"classification", "zero_shot", "retrieval", "segmentation", "detection"}
    assert {name.split(".")[0] for name in first} == names | {f"task_{task}" for task in tasks}
    assert len(first) == 2 * 12
    assert all(b"SIMULATED DATA" in data for name, data in first.items() if name.endswith(".svg"))
    compared = [
        "headline.svg",
        "gains.svg",
        "forest.svg",
        "gain_map.svg",
        "seeds.svg",
        "ranks.svg",
        "task_detection.svg",
        "task_retrieval.svg",
    ]
    assert all(b"This checkpoint, not this objective" in first[name] for name in compared)
    with figure_style():
        curves(load_view(results / "results.csv"), "segmentation", results / "again")
    for suffix in (".svg", ".png"):
        assert (results / f"again{suffix}").read_bytes() == first[f"task_segmentation{suffix}"]
    examples(write_examples(run), run / "data" / "prepared", True, results / "plots")
    shown = {path.stem for path in (results / "plots").glob("examples_*.png")}
    assert shown == {
        "examples_retrieval_mimic_cxr_strict_small-pairs",
        "examples_detection_rsna_strict_small-frozen",
        "examples_segmentation_siim_strict_small-frozen",
        "examples_segmentation_siim_strict_small-finetune",
    }
    page(results)
    text = (results / "index.html").read_text()
    assert len(text.encode()) < 2 * 2**20
    assert text.count("<section") == 10
    assert 'src="http' not in text
    assert "<link" not in text
    assert "This checkpoint, not this objective" in text
    row = read_rows(results / "results.csv").query(
        "method == 'prior' and metric == 'map_40_75' and fraction == 0.1 and frozen and seed != seed"
    )
    assert f'data-order="{row["value"].item():.3f}"' in text


def test_one_method_without_reference_still_gives_every_file(tmp_path: Path) -> None:
    stem = write_predictions(tmp_path, "segmentation", "prior", (1.0,), (0,))
    results = tmp_path / "results"
    collect(score_all(tmp_path, [stem]), [Path(f"{stem}.json")], results)
    wanted = ["segmentation", "detection"]
    tables(results, wanted)
    assert "Not evaluated" in (results / "tables" / "detection.md").read_text()
    assert "Nothing to show" in (results / "tables" / "ranks.md").read_text()
    log = tmp_path / "models" / "prior-described-s0" / "training.csv"
    log.parent.mkdir(parents=True)
    log.write_text("stage,epoch,step\n")
    plots(results, [log], wanted)
    names = {path.stem for path in (results / "plots").glob("*.svg")}
    assert names == {
        *("headline", "gains", "forest", "gain_map", "ranks", "seeds", "pretraining_prior-described"),
        *("task_segmentation", "task_detection"),
    }
    page(results)


def test_a_task_without_archives_gets_a_picture_that_says_so(tmp_path: Path) -> None:
    stem = tmp_path / "predictions" / "retrieval" / "mimic_cxr" / "strict_small-pairs" / "prior-described-s0"
    examples([stem], tmp_path, True, tmp_path)
    text = (tmp_path / "examples_retrieval_mimic_cxr_strict_small-pairs.svg").read_text()
    assert "Nothing to show" in text


def test_nothing_to_collect_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no score files"):
        collect([], [], tmp_path)
