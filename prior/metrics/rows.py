"""The long table: its columns, which metric leads each task, and how rows are named for readers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

ROW_COLUMNS = [
    *("experiment", "method", "variant", "pretraining_data", "pretrain_seed", "n_pretrain_pairs"),
    *("samples_seen", "simulated", "contamination", "task", "dataset", "protocol", "setting", "split"),
    *("head", "frozen", "fraction", "seed", "fold", "finding", "subgroup", "metric", "value"),
    *("n_train", "n_test", "n_pos", "run"),
]
AGGREGATED_COLUMNS = [*ROW_COLUMNS, "ci_low", "ci_high"]
TEXT_COLUMNS = [
    *("experiment", "method", "variant", "pretraining_data", "contamination", "task", "dataset", "protocol"),
    *("setting", "split", "head", "finding", "subgroup", "metric", "run"),
]
FLAG_COLUMNS = ["simulated", "frozen"]
COUNT_COLUMNS = [
    *("pretrain_seed", "n_pretrain_pairs", "samples_seen", "seed", "fold", "n_train", "n_test", "n_pos"),
]
SETTING_COLUMNS = ["task", "dataset", "protocol", "setting", "split", "head", "frozen"]
METHOD_COLUMNS = ["method", "variant", "pretraining_data"]

PRIMARY = {
    "classification": "auroc_macro",
    "zero_shot": "auroc_macro",
    "retrieval": "r_at_10_i2t",
    "segmentation": "dice_pooled",
    "detection": "map_40_75",
    "grounding": "pointing_game",
    "prototypes": "dead_prototypes",
    "report_generation": "clinical_f1_micro",
}
PRIMARY_FRACTION = 0.1
# A task may run under several protocols and settings on one data set. The first of these that was run gives
# its primary endpoint: numbers of different protocols are no two values of one thing.
PROTOCOL_ORDER = ("strict", "strict_small")
SETTING_ORDER = ("frozen", "linear", "prompts", "pairs", "phrases", "bank")
# Settings that say no more than what head and tuning say.
PLAIN_SETTINGS = (*SETTING_ORDER, "metadata", "finetune", "nearest")
BASELINES = ("chance", "predict_nothing", "frequent_report")
# Trained, but without an encoder: a mark in the panel of its task, no method among the others.
WITHOUT_ENCODER = (*BASELINES, "metadata_only")
# What a method's own parts look like: shown, but nothing that methods are ranked by, and no headline.
DIAGNOSTIC_TASKS = ("prototypes",)
TASK_TITLES = {
    "classification": "Classification",
    "zero_shot": "Zero-shot classification",
    "retrieval": "Image–report retrieval",
    "segmentation": "Segmentation",
    "detection": "Detection",
    "grounding": "Phrase grounding",
    "prototypes": "Prototype bank",
    "report_generation": "Report generation",
}
UNTRAINED_TASKS = ("zero_shot", "retrieval", "grounding", "prototypes")
"""Tasks that fit nothing: they compare images with texts, or look into the method."""


def read_rows(path: Path) -> pd.DataFrame:
    """Read `results.csv` with text columns as text (empty, not missing) and flags as booleans."""
    frame = pd.read_csv(path, dtype=dict.fromkeys(TEXT_COLUMNS, str))
    frame[TEXT_COLUMNS] = frame[TEXT_COLUMNS].fillna("")
    for name in FLAG_COLUMNS:
        frame[name] = frame[name].astype(bool)
    return frame


def aggregated(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows that are means over seeds; cell rows name their seed."""
    return frame[frame["seed"].isna()]


def primary(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows of every task's leading metric with frozen encoders, at 10 % where labels are used.

    Of each task and data set only one protocol and setting, by PROTOCOL_ORDER and SETTING_ORDER and then by
    name. Give all rows that are shown together: of a part of them, another protocol may come first.
    """
    leading = frame["metric"] == frame["task"].map(PRIMARY)
    place = frame["fraction"].isna() | (frame["fraction"] == PRIMARY_FRACTION)
    chosen = frame[leading & place & (frame["finding"] == "") & frame["frozen"]]
    settings = chosen.loc[~chosen["method"].isin(WITHOUT_ENCODER), SETTING_COLUMNS].drop_duplicates()
    for name, order in (("protocol", PROTOCOL_ORDER), ("setting", SETTING_ORDER)):
        known = {text: position for position, text in enumerate(order)}
        settings[f"_{name}"] = settings[name].map(known).fillna(len(order))
    settings = settings.sort_values(["_protocol", "protocol", "_setting", "setting", "split", "head"])
    first = settings.drop_duplicates(["task", "dataset"]).set_index(SETTING_COLUMNS).index
    return chosen[chosen.set_index(SETTING_COLUMNS).index.isin(first)]


def method_labels(frame: pd.DataFrame) -> pd.Series:
    """A short name of each row's method; variant or data are added where the method alone is ambiguous."""
    label = frame["method"].str.replace("_", " ")
    plain = frame["variant"].isin(["", "default", "described"])
    label = label.where(plain, label + " (" + frame["variant"] + ")")
    named = ~frame["method"].isin(BASELINES) & (frame["pretraining_data"] != "")
    if frame.loc[named, "pretraining_data"].nunique() > 1:
        label = label.where(~named, label + " on " + frame["pretraining_data"])
    return label


def fraction_text(fraction: float) -> str:
    """`1 %`, `10 %`, `100 %`; `no labels` where a task uses none."""
    return "no labels" if pd.isna(fraction) else f"{100 * fraction:g} %"


def protocol_text(row: Mapping[str, Any]) -> str:
    """Protocol family, and the setting's name where head and tuning do not say it all."""
    setting = "" if row["setting"] in PLAIN_SETTINGS else row["setting"]
    return " ".join(part for part in (row["protocol"], setting) if part)


def setting_text(row: Mapping[str, Any]) -> str:
    """Data set, protocol, setting and what is trained, in words."""
    trained = row["task"] not in UNTRAINED_TASKS
    tuning = ("frozen encoder" if row["frozen"] else "fine-tuned encoder") if trained else ""
    parts = [row["dataset"], protocol_text(row), row["head"] and f"{row['head']} head", tuning]
    return ", ".join(part for part in parts if part)
