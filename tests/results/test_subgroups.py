"""Subgroups: values and gaps against slow formulas, which groups are compared, and every task."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score
from synthetic import FINDINGS, refuse, write_all, write_predictions

from prior.metrics.intervals import interval, patient_resamples
from prior.results import subgroups as module
from prior.results.compared import subgroup_tables
from prior.results.subgroups import comparable, image_groups, subgroups


def records(root: Path, stem: Path, **columns: object) -> pd.DataFrame:
    """Write `images.parquet` of a prediction file's data set; what is not given is not known."""
    frame = pd.read_parquet(f"{stem}.parquet", columns=["image_id"]).drop_duplicates()
    table = frame.assign(sex=None, age=np.nan, view=None, site=None).assign(**columns).reset_index(drop=True)
    folder = root / "data" / stem.parts[-3]
    folder.mkdir(parents=True, exist_ok=True)
    table.to_parquet(folder / "images.parquet")
    return table


def test_groups_by_hand() -> None:
    images = pd.DataFrame(
        {
            "image_id": list("abcde"),
            "sex": ["F", None, "M", "M", "F"],
            "age": [39.9, 40.0, 80.0, np.nan, 0.0],
            "view": ["AP", "PA", "AP", "AP", None],
            "site": None,
        }
    )
    found = image_groups(images)
    assert found["age"].fillna("").tolist() == ["under 40", "40–59", "80 and over", "", "under 40"]
    assert found["sex"].fillna("").tolist() == ["F", "", "M", "M", "F"]
    assert found["site"].isna().all()
    assert found.index.tolist() == list("abcde")


def test_small_groups_and_rare_findings_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FEWEST_IMAGES", 3)
    monkeypatch.setattr(module, "FEWEST_OF_A_LABEL", 1)
    images = list("abcdefg")
    label = {"x": [0, 1, 1, 0, 1, 0, 1], "y": [0, 1, 1, 0, 0, 0, 1]}
    frame = pd.concat(
        [pd.DataFrame({"image_id": images, "finding": f, "label": v}) for f, v in label.items()]
    )
    frame = frame.reset_index(drop=True)
    group = frame["image_id"].map(dict(zip(images, ["F", "F", "F", "M", "M", "M", "?"], strict=True)))
    found = comparable(frame, group)
    assert {name: set(rows["finding"]) for name, rows in found.items()} == {"F": {"x"}, "M": {"x"}}
    assert found["M"]["image_id"].tolist() == ["d", "e", "f"]
    monkeypatch.setattr(module, "FEWEST_IMAGES", 4)
    assert comparable(frame, group) == {}
    ages = frame["image_id"].map(dict(zip(images, ["60–79"] * 4 + ["under 40"] * 3, strict=True)))
    monkeypatch.setattr(module, "FEWEST_IMAGES", 3)
    assert list(comparable(frame, ages)) == ["under 40", "60–79"]


def macro(frame: pd.DataFrame, weight: pd.Series) -> float:
    """Mean over findings of scikit-learn's AUROC, each row as often as its weight says."""
    values = []
    for _, rows in frame.groupby("finding"):
        repeated = rows.loc[rows.index.repeat(weight[rows.index])]
        if repeated["label"].nunique() == 2:
            values.append(roc_auc_score(repeated["label"], repeated["score"]))
    return float(np.mean(values))


def test_values_and_gap_against_slow_formulas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FEWEST_IMAGES", 20)
    monkeypatch.setattr(module, "FEWEST_OF_A_LABEL", 3)
    seeds, count = (0, 1), 30
    stem = write_predictions(tmp_path, "classification", "prior", (0.1, 1.0), seeds)
    frame = pd.read_parquet(f"{stem}.parquet").query("fraction == 0.1")
    images = records(tmp_path, stem, sex=np.where(np.arange(100) % 3 == 0, "F", "M"))
    subgroups([stem], tmp_path / "data", tmp_path / "out.csv", count)
    table = pd.read_csv(tmp_path / "out.csv")
    assert set(table["attribute"]) == {"sex"}
    assert set(table["fraction"]) == {0.1}
    sex = images.set_index("image_id")["sex"]
    tested = frame.query("seed == 0").drop_duplicates("image_id").set_index("image_id")["patient_id"]
    order = [image for name in "FM" for image in sorted(sex.index[sex == name])]
    positive = frame[frame["label"] == 1]["image_id"]
    source = "chexpert|strict|0|sex"
    draws = patient_resamples(tested[order].to_numpy(str), np.isin(order, positive), count, source)
    means, replicates = {}, {}
    for name in "FM":
        for seed in seeds:
            rows = frame[(frame["seed"] == seed) & (frame["image_id"].map(sex) == name)]
            means[name, seed] = macro(rows, pd.Series(1, rows.index))
            each = []
            for counts in draws.counts:
                weight = pd.Series(dict(zip(order, counts[draws.patient], strict=True)))
                each.append(macro(rows, rows["image_id"].map(weight)))
            replicates[name, seed] = np.array(each)
    for name in "FM":
        row = table[(table["group"] == name) & table["against"].isna()].iloc[0]
        of_seeds = np.array([means[name, seed] for seed in seeds])
        averaged = np.mean([replicates[name, seed] for seed in seeds], axis=0)
        expected = interval(float(of_seeds.mean()), averaged, of_seeds)
        assert row[["value", "ci_low", "ci_high"]].tolist() == pytest.approx(
            [expected.mean, expected.low, expected.high], abs=2e-6
        )
        assert (row["n_test"], row["n_findings"]) == ((sex == name).sum(), len(FINDINGS))
    best, worst = sorted("FM", key=lambda name: -sum(means[name, seed] for seed in seeds))
    of_seeds = np.array([means[best, seed] - means[worst, seed] for seed in seeds])
    averaged = np.mean([replicates[best, seed] - replicates[worst, seed] for seed in seeds], axis=0)
    expected = interval(float(of_seeds.mean()), averaged, of_seeds)
    gap = table[table["against"].notna()].iloc[0]
    assert (gap["group"], gap["against"]) == (best, worst)
    assert gap[["value", "ci_low", "ci_high", "p"]].tolist() == pytest.approx(
        [expected.mean, expected.low, expected.high, expected.p], abs=2e-6
    )


@pytest.mark.parametrize(("task", "fraction"), [("zero_shot", None), ("classification", 0.1)])
def test_refused_cells_have_no_subgroups(tmp_path: Path, task: str, fraction: float | None) -> None:
    stem = write_predictions(tmp_path, task, "prior", (fraction,), (0,))
    n = pd.read_parquet(f"{stem}.parquet", columns=["image_id"])["image_id"].nunique()
    records(tmp_path, stem, sex=np.where(np.arange(n) % 2, "F", "M"))
    refuse(stem)
    subgroups([stem], tmp_path / "data", tmp_path / "out.csv", 10)
    assert pd.read_csv(tmp_path / "out.csv").empty


def test_every_task_has_subgroups_and_tuned_encoders_have_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FEWEST_IMAGES", 10)
    monkeypatch.setattr(module, "FEWEST_OF_A_LABEL", 2)
    stems = write_all(tmp_path, seeds=(0, 1), fractions=(0.1,), finetuned=("segmentation",))
    datasets = {stem.parts[-3]: stem for stem in reversed(stems)}
    for stem in datasets.values():
        n = pd.read_parquet(f"{stem}.parquet", columns=["image_id"])["image_id"].nunique()
        records(tmp_path, stem, sex=np.where(np.arange(n) % 2, "F", "M"), age=np.arange(n) % 90.0)
    contents = []
    for _ in range(2):
        subgroups(stems, tmp_path / "data", tmp_path / "out.csv", 50)
        contents.append((tmp_path / "out.csv").read_bytes())
    assert contents[0] == contents[1]
    table = pd.read_csv(tmp_path / "out.csv")
    places = table.groupby("task")["attribute"].agg(set).to_dict()
    tasks = ("classification", "zero_shot", "retrieval", "segmentation", "detection")
    assert places == {task: {"sex", "age"} for task in tasks}
    assert table["frozen"].all()
    gaps = table[table["against"].notna()]
    assert (gaps["value"] >= 0).all()
    assert len(gaps) == table.groupby(["task", "attribute", "method"]).ngroups
    shown = subgroup_tables(table)
    frame = shown["segmentation", "Segmentation · siim, strict_small, unet head, frozen encoder · "
                  "Dice, pooled pixels · by sex"]  # fmt: skip
    assert list(frame.columns) == ["method", "F · 60 images", "M · 60 images", "largest gap"]
    assert frame["method"].tolist() == ["random", "convirt", "prior"]
    assert all("<br>F − M" in text or "<br>M − F" in text for text in frame["largest gap"])


def test_without_known_groups_there_is_a_table_without_rows(tmp_path: Path) -> None:
    stem = write_predictions(tmp_path, "segmentation", "prior", (0.1,), (0,))
    records(tmp_path, stem)
    subgroups([stem], tmp_path / "data", tmp_path / "out.csv", 50)
    table = pd.read_csv(tmp_path / "out.csv")
    assert list(table.columns) == module.COLUMNS
    assert subgroup_tables(table) == {}
