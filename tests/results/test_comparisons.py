"""Mean ranks, ablations, captions and layout where there are many methods or variants."""

import numpy as np
import pandas as pd
import pytest

from prior.metrics.intervals import interval
from prior.results.ablations import ablations, full_variant
from prior.results.compared import ablation_tables, difference_tables, rank_tables
from prior.results.gains import gains_over
from prior.results.html import html_table
from prior.results.losses import smoothed
from prior.results.panels import dot_panel, subplots
from prior.results.ranks import mean_ranks, ranks
from prior.results.style import method_style
from prior.results.view import checkpoint_note
from prior.results.wide import parts

TASKS = {
    "classification": ("auroc_macro", 0.1),
    "segmentation": ("dice_pooled", 0.1),
    "zero_shot": ("auroc_macro", np.nan),
}
RESAMPLES = 200


def cells(
    values: dict[str, dict[str, float]], pretrainings: int = 1, seeds: int = 1, noise: float = 0.0
) -> tuple[pd.DataFrame, np.ndarray]:
    """Cell rows of `method-variant` → task → value, and replicates around them."""
    generator = np.random.default_rng(0)
    rows, replicates = [], []
    for name, tasks in values.items():
        method, _, variant = name.partition("-")
        for task, value in tasks.items():
            metric, fraction = TASKS[task]
            place = {"task": task, "dataset": "d", "protocol": "p", "setting": "frozen"}
            place |= {"split": "s", "head": "", "frozen": True}
            of_method = {"method": method, "variant": variant or "default", "pretraining_data": "x"}
            for pretraining in range(pretrainings):
                for seed in range(seeds):
                    shifted = value + 0.01 * pretraining + 0.001 * seed
                    row = {"metric": metric, "fraction": fraction, "finding": "", "value": shifted}
                    unit = {"seed": seed, "pretrain_seed": pretraining, "resamples": "k", "simulated": True}
                    rows.append({**place, **of_method, **row, **unit})
                    replicates.append(shifted + noise * generator.normal(size=RESAMPLES))
    return pd.DataFrame(rows), np.stack(replicates)


def test_mean_ranks_by_hand() -> None:
    first, second, other = (
        np.array([[0.9], [0.8], [0.8]]),
        np.array([[0.1], [0.3], [0.2]]),
        np.array([[3], [2], [1]]),
    )
    values = {("a", "x"): first, ("a", "y"): second, ("b", "x"): other.astype(float)}
    # Task a: ranks 1, 2.5, 2.5 and 3, 1, 2 are averaged before task b's 1, 2, 3 come in.
    np.testing.assert_allclose(mean_ranks(values)[:, 0], [(2 + 1) / 2, (1.75 + 2) / 2, (2.25 + 3) / 2])


def test_methods_without_text_are_ranked_over_the_tasks_that_they_have() -> None:
    labelled = {"classification": 0.5, "segmentation": 0.5}
    rows, replicates = cells(
        {
            "random": labelled,
            "convirt": {"classification": 0.7, "segmentation": 0.8, "zero_shot": 0.6},
            "prior": {"classification": 0.8, "segmentation": 0.7, "zero_shot": 0.7},
            "metadata_only": {"classification": 0.9},
        }
    )
    table = ranks(rows, replicates)
    found = {
        block: group.set_index("method")["mean_rank"].to_dict() for block, group in table.groupby("block")
    }
    assert found == {
        "All tasks, methods with text": {"prior": pytest.approx(4 / 3), "convirt": pytest.approx(5 / 3)},
        "Tasks that use labels, all methods": {"prior": 1.5, "convirt": 1.5, "random": 3.0},
    }
    assert (table["ci_low"] == table["mean_rank"]).all()
    tasks = table.groupby("block")["tasks"].first().to_list()
    assert tasks == ["classification segmentation zero_shot", "classification segmentation"]
    shown = rank_tables(table)
    title = "All tasks, methods with text: classification, zero-shot classification, segmentation"
    assert shown[title].iloc[0].to_list() == ["prior", "1.3 [1.3, 1.3]"]


def test_ranks_of_close_methods_are_uncertain_and_those_of_distant_ones_are_not() -> None:
    rows, replicates = cells(
        {"a": {"classification": 0.700}, "b": {"classification": 0.701}, "c": {"classification": 0.1}},
        noise=0.01,
    )
    table = ranks(rows, replicates).set_index("method")
    assert table.loc["b", ["ci_low", "ci_high"]].to_list() == [1, 2]
    assert table.loc["c", ["ci_low", "ci_high"]].to_list() == [3, 3]


def test_seeds_are_drawn_for_all_methods_alike() -> None:
    """Seed 1 is far better for both; only if one had it and the other not could their order change."""
    rows, replicates = cells({"a": {"classification": 0.5}, "b": {"classification": 0.51}}, seeds=2)
    rows.loc[rows["seed"] == 1, "value"] += 0.3
    replicates[rows["seed"] == 1] += 0.3
    assert ranks(rows, replicates)["ci_high"].to_list() == [1.0, 2.0]


def test_a_pretraining_seed_that_turns_the_order_widens_the_rank() -> None:
    rows, replicates = cells({"a": {"classification": 0.5}, "b": {"classification": 0.51}}, pretrainings=3)
    turned = ((rows["method"] == "a") & (rows["pretrain_seed"] == 2)).to_numpy()
    rows.loc[turned, "value"] += 0.02
    replicates[turned] += 0.02
    table = ranks(rows, replicates)
    assert table["n_pretrain_seeds"].to_list() == [3, 3]
    assert (table["ci_low"].to_list(), table["ci_high"].to_list()) == ([1, 1], [2, 2])


def test_ablations_stand_beside_the_full_variant() -> None:
    rows, replicates = cells(
        {
            "convirt": {"classification": 0.6},
            "prior-described": {"classification": 0.7, "zero_shot": 0.6},
            "prior-no_local": {"classification": 0.65, "zero_shot": 0.61},
            "imported-gloria": {"classification": 0.8},
            "imported-mgca": {"classification": 0.8},
        },
        seeds=2,
        noise=0.01,
    )
    table = ablations(rows, replicates)
    assert table["variant"].to_list() == ["described", "described", "no_local", "no_local"]
    full = table[table["full"]]
    assert full["difference"].isna().all()
    row = table[(table["variant"] == "no_local") & (table["task"] == "classification")].iloc[0]
    members = [
        replicates[(rows["variant"] == v).to_numpy() & (rows["task"] == "classification").to_numpy()].mean(
            axis=0
        )
        for v in ("no_local", "described")
    ]
    expected = interval(-0.05, members[0] - members[1], np.array([-0.05, -0.05]))
    assert row["difference"] == pytest.approx(-0.05)
    assert row["difference_low"] == pytest.approx(expected.low)
    shown = ablation_tables(table)
    assert list(shown) == ["prior"]
    assert shown["prior"]["variant"].to_list() == ["described", "no_local"]
    cell = shown["prior"].iloc[1, 1]
    assert cell.startswith("0.65")
    assert "<br>Δ -0.050 [" in cell
    assert '<div class="interval">Δ -0.050' in html_table(shown["prior"].set_index("variant"), "variant")


@pytest.mark.parametrize(
    ("variants", "full"),
    [
        (["global_only", "default"], "default"),
        (["no_cce", "reconstructed"], "reconstructed"),
        (["a", "b"], None),
    ],
)
def test_the_full_variant(variants: list[str], full: str | None) -> None:
    assert full_variant(variants) == full


@pytest.mark.parametrize(
    ("seeds", "words"), [(1, "1 pre-training seed per"), (2, "2 pre-training seeds per"), (3, "")]
)
def test_the_caption_goes_with_three_pretraining_seeds(seeds: int, words: str) -> None:
    view = pd.DataFrame({"encoder": [True, True, False], "n_pretrain_seeds": [seeds, 5, 0]})
    note = checkpoint_note(view)
    assert words in note
    assert bool(note) == (seeds < 3)


def test_wide_tables_are_cut_evenly() -> None:
    wide = pd.DataFrame(np.zeros((2, 14)), columns=range(14))
    assert [part.shape for part in parts(wide)] == [(2, 5), (2, 4), (2, 5)]
    assert [part.shape for part in parts(wide.iloc[:, :6])] == [(2, 6)]
    assert pd.concat(parts(wide), axis=1).columns.to_list() == list(range(14))


def test_absent_methods_are_not_called_omitted() -> None:
    rows = pd.DataFrame({"label": ["a"], "value": [0.5], "ci_low": [0.4], "ci_high": [0.6]})
    _, grid = subplots(1, 1, (2, 2))
    dot_panel(grid[0, 0], rows, method_style(["a", "b", "c"]), names=True, absent={"c": "omitted"})
    assert [text.get_text() for text in grid[0, 0].texts] == ["not applicable", "omitted"]


def test_smoothing_does_not_cross_stages() -> None:
    frame = pd.DataFrame({"stage": ["a"] * 300 + ["b"] * 301, "loss": [1.0] * 300 + [9.0] * 301})
    assert set(smoothed(frame, "loss")) == {1.0, 9.0}


def test_differences_of_many_methods_have_a_line_each() -> None:
    base = {"task": "segmentation", "dataset": "siim", "protocol": "p", "split": "s", "head": "unet"}
    base |= {
        "setting": "frozen",
        "frozen": True,
        "fraction": 0.1,
        "metric": "dice_pooled",
        "role": "primary",
        "simulated": True,
    }
    values = {"difference": 0.1, "ci_low": 0.05, "ci_high": 0.15, "p": 0.0001, "p_holm": 0.002}
    rows = [
        {
            **base,
            **values,
            "method": f"m{k}",
            "variant": "default",
            "pretraining_data": None,
            "reference": name,
        }
        for k in range(20)
        for name in ("random", "convirt")
    ]
    frame = pd.DataFrame(rows)
    (table,) = difference_tables(frame).values()
    assert list(table.columns) == [
        *("labels", "method", "− random", "p random", "− convirt", "p convirt", "p convirt (Holm)"),
    ]
    assert len(table) == 20
    assert table.iloc[0]["labels"] == "10 % (primary)"
    assert len(gains_over(frame, ["random", "chance"])) == 20
