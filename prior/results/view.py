"""The aggregated rows as readers see them: names in words, one order, baselines at every fraction."""

from pathlib import Path

import numpy as np
import pandas as pd

from prior.metrics.rows import (
    BASELINES,
    DIAGNOSTIC_TASKS,
    METHOD_COLUMNS,
    PRIMARY,
    SETTING_COLUMNS,
    TASK_TITLES,
    TEXT_COLUMNS,
    WITHOUT_ENCODER,
    aggregated,
    fraction_text,
    method_labels,
    primary,
    protocol_text,
    read_rows,
    setting_text,
)

SIMULATED = "SIMULATED DATA"
SIMULATED_NOTE = (
    "SIMULATED DATA: images and reports come from the phantom. The numbers test the pipeline; "
    "they are no evidence about patients and must not be compared with published ones."
)
METRIC_TITLES = {
    "auroc_macro": "AUROC, macro",
    "auroc": "AUROC",
    "auprc_macro": "AUPRC, macro",
    "auprc": "AUPRC",
    "brier": "Brier score",
    "ece": "Calibration error, 15 bins of equal mass",
    "f1": "F1 at the threshold of validation",
    "f1_macro": "F1 at the threshold of validation, macro",
    "accuracy": "Accuracy at the threshold of validation",
    "accuracy_macro": "Accuracy at the threshold of validation, macro",
    "accuracy_exclusive": "Accuracy, one class an image",
    "accuracy_5x200": "Accuracy, 5x200",
    "precision_macro_5x200": "Precision, macro, 5x200",
    "recall_macro_5x200": "Recall, macro, 5x200",
    "f1_macro_5x200": "F1, macro, 5x200",
    "kappa_5x200": "Cohen's kappa, 5x200",
    "dice_image_all": "Dice per image, all images",
    "dice_image_positive": "Dice per image, positive images",
    "dice_pooled": "Dice, pooled pixels",
    "dice_pooled_macro": "Dice, pooled pixels, mean of findings",
    "mdice_pooled": "Dice, mean of mask and background, pooled pixels",
    "iou_pooled": "IoU, pooled pixels",
    "specificity_image": "Negative images left empty",
    "map_40_75": "mAP, IoU .40–.75",
    "map_40_75_positive": "mAP, IoU .40–.75, images with a box",
    "map_40_75_mgca": "mAP, IoU .40–.75, images with a box and a prediction",
    "map_50_95": "mAP, IoU .50–.95",
    "ap_50": "AP, IoU .50",
    "froc": "FROC, mean sensitivity",
    "froc_shape": "FROC, mean sensitivity, hits in the shape",
    "pointing_game": "Pointing game",
    "cnr": "Contrast-to-noise ratio",
    "cnr_signed": "Contrast-to-noise ratio, signed",
    "miou": "IoU, mean over thresholds",
    "dead_prototypes": "Dead prototypes, share",
    "dead_prototypes_count": "Dead prototypes",
    "assignment_entropy": "Assignment entropy, nats",
    "used_perplexity": "Used perplexity",
    **{f"bleu_{order}": f"BLEU-{order}" for order in range(1, 5)},
    "rouge_l": "ROUGE-L",
    "meteor_exact_stem": "METEOR of words and stems, no synonyms",
    "cider": "CIDEr-D",
    "clinical_f1_micro": "Clinical F1 by rule labeller, micro",
    "clinical_f1_macro": "Clinical F1 by rule labeller, macro",
    "clinical_f1_example": "Clinical F1 by rule labeller, mean over reports",
    "clinical_f1": "Clinical F1 by rule labeller",
    "n_unfit": "Findings without both labels in training",
}
RETRIEVAL_TITLES = {"p_at": "Precision", "hit_at": "Hit", "r_at": "Recall of the exact pair"}
DIRECTION_TITLES = {"i2t": "image → report", "t2i": "report → image", "i2i": "image → image"}
ENOUGH_SEEDS = 3
METHOD_ORDER = ["chance", "predict nothing", "frequent report", "metadata only", "random"]


def metric_title(metric: str) -> str:
    """A metric's name in words."""
    if metric in METRIC_TITLES:
        return METRIC_TITLES[metric]
    name, _, direction = metric.rpartition("_")
    if direction not in DIRECTION_TITLES:
        return metric
    if name == "median_rank":
        return f"Median rank, {DIRECTION_TITLES[direction]}"
    kind, _, k = name.rpartition("_")
    return f"{RETRIEVAL_TITLES.get(kind, kind)} @ {k}, {DIRECTION_TITLES[direction]}"


def _with_seeds(rows: pd.DataFrame) -> pd.DataFrame:
    key = [*METHOD_COLUMNS, *SETTING_COLUMNS, "fraction", "finding", "metric"]
    cells = rows[rows["seed"].notna()]
    cells = cells.assign(unit=cells["pretrain_seed"].map(str) + "/" + cells["seed"].map(str))
    groups = cells.groupby(key, dropna=False)
    counts = groups.agg(
        n_seeds=("unit", "nunique"), n_pretrain_seeds=("pretrain_seed", "nunique")
    ).reset_index()
    return aggregated(rows).merge(counts, on=key, how="left")


def _with_equal_seeds(view: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """Add `equal_seeds`: whether two seeds of a cell have the same value of every metric, as if run once."""
    place = [*METHOD_COLUMNS, *SETTING_COLUMNS, "fraction"]
    once = [*place, "pretrain_seed", "fold", "seed"]
    cells = rows[rows["seed"].notna()].sort_values(["metric", "finding"])
    values = cells.groupby(once, dropna=False)["value"].agg(lambda found: str(list(found))).reset_index()
    equal = values.duplicated([name for name in values if name != "seed"], keep=False)
    flagged = values.loc[equal, place].drop_duplicates().assign(equal_seeds=True)
    merged = view.merge(flagged, on=place, how="left")
    return merged.assign(equal_seeds=merged["equal_seeds"].notna())


def _repeat_baselines(view: pd.DataFrame) -> pd.DataFrame:
    """Baselines use no labels; give them every fraction that their setting was run with."""
    place = [*SETTING_COLUMNS]
    baseline = view["method"].isin(BASELINES)
    fractions = view.loc[~baseline, [*place, "fraction"]].drop_duplicates()
    repeated = view[baseline].drop(columns="fraction").merge(fractions, on=place, how="inner")
    return pd.concat([view[~baseline], repeated[view.columns]], ignore_index=True)


def _with_marks(view: pd.DataFrame, best_csv: Path) -> pd.DataFrame:
    """Add `mark`: `best`, `not worse` or nothing, from what `collect` compared; only of macro metrics."""
    if not best_csv.exists():
        return view.assign(mark="")
    key = [*SETTING_COLUMNS, "fraction", "metric", *METHOD_COLUMNS]
    best = pd.read_csv(best_csv, dtype=dict.fromkeys(TEXT_COLUMNS, str)).assign(finding="")
    text = [name for name in key if name in TEXT_COLUMNS]
    best[text] = best[text].fillna("")
    if best.empty:
        return view.assign(mark="")
    merged = view.merge(best[[*key, "finding", "mark"]], on=[*key, "finding"], how="left")
    return merged.assign(mark=merged["mark"].fillna(""))


def load_view(results_csv: Path) -> pd.DataFrame:
    """Read `results.csv` into one row per method, setting, fraction, metric and finding.

    Returns:
        The aggregated rows with `label` (method in words), `setting_text` (data set, protocol, head) and
        `protocol_text`, `at` (fraction in words), `metric_title`, `n_seeds`, `n_pretrain_seeds`,
        `equal_seeds`, `baseline`, `encoder`, `mark` and `role` (`primary` or `exploratory`), ordered for
        display.
    """
    rows = read_rows(results_csv)
    view = _repeat_baselines(_with_equal_seeds(_with_seeds(rows), rows))
    view = _with_marks(view, results_csv.parent / "tables" / "best.csv")
    view["label"] = method_labels(view)
    records = [{str(k): v for k, v in row.items()} for row in view.to_dict("records")]
    view["setting_text"] = [setting_text(row) for row in records]
    view["protocol_text"] = [protocol_text(row) for row in records]
    view["at"] = view["fraction"].map(fraction_text)
    view["metric_title"] = view["metric"].map(metric_title)
    view["baseline"] = view["method"].isin(BASELINES)
    view["encoder"] = ~view["method"].isin(WITHOUT_ENCODER)
    leading = view.index.isin(headline(view).index)
    view["role"] = np.where(leading, "primary", "exploratory")
    rank = {label: place for place, label in enumerate(METHOD_ORDER)}
    view["rank"] = view["label"].map(rank).fillna(len(rank))
    view["place"] = view["task"].map({task: place for place, task in enumerate(PRIMARY)})
    order = ["place", "dataset", "frozen", "setting_text", "metric", "finding", "fraction", "rank", "label"]
    ascending = [name != "frozen" for name in order]
    return view.sort_values(order, ascending=ascending, kind="stable").reset_index(drop=True)


def headline(view: pd.DataFrame) -> pd.DataFrame:
    """The rows of `primary`, in the order of the tasks; baselines stand at 10 % too."""
    chosen = primary(view)
    chosen = chosen[~chosen["task"].isin(DIAGNOSTIC_TASKS)]
    order = {task: position for position, task in enumerate(PRIMARY)}
    return (
        chosen.assign(_order=chosen["task"].map(order))
        .sort_values("_order", kind="stable")
        .drop(columns="_order")
    )


def methods_in_order(view: pd.DataFrame, encoders: bool = False) -> list[str]:
    """Labels of the methods (or of the encoders alone): baselines, then `random`, then the others by name."""
    chosen = view[view["encoder"]] if encoders else view
    return list(chosen[["label", "rank"]].drop_duplicates().sort_values(["rank", "label"])["label"])


def title(text: str, simulated: bool) -> str:
    """Put the warning in front of `text` when the data are simulated."""
    return f"{SIMULATED} · {text}" if simulated else text


def protocol_note(chosen: pd.DataFrame) -> str:
    """Which protocol each task and data set was measured under; in a word where it is one for all.

    Args:
        chosen: rows with SETTING_COLUMNS, for instance of `headline`.
    """
    places = chosen.drop_duplicates(SETTING_COLUMNS).to_dict("records")
    names = {
        f"{TASK_TITLES[row['task']].lower()} on {row['dataset']}": protocol_text(row)
        for row in ({str(k): v for k, v in place.items()} for place in places)
    }
    if len(set(names.values())) < 2:
        return "".join(f"Protocol: {name}." for name in set(names.values()))
    return f"Protocols: {'; '.join(f'{place}: {name}' for place, name in names.items())}."


def checkpoint_note(view: pd.DataFrame) -> str:
    """Caption of a comparison whose methods have too few pre-training seeds; empty where they have enough."""
    counts = view.loc[view["encoder"], "n_pretrain_seeds"].dropna()
    if counts.empty or counts.min() >= ENOUGH_SEEDS:
        return ""
    fewest = int(counts.min())
    seeds = f"{fewest} pre-training seed{'' if fewest == 1 else 's'}"
    return f"This checkpoint, not this objective: {seeds} per method, fewer than {ENOUGH_SEEDS}."


def value_text(value: float, low: float, high: float) -> str:
    """`0.812 [0.790, 0.834]`, ranks with one decimal; an en dash where a metric is undefined."""
    if pd.isna(value):
        return "–"
    digits = 3 if abs(value) < 2 else 1
    text = f"{value:.{digits}f}"
    exact = pd.isna(low) or low == high
    return text if exact else f"{text} [{low:.{digits}f}, {high:.{digits}f}]"
