"""LoVT's table (arXiv 2112.02889): its localized tasks side by side, filled with this experiment's cells.

A column is a setting of `prior/protocols/lovt.yaml`, and shows the metric that the setting states first.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from prior.metrics.rows import fraction_text
from prior.protocols import load_protocol
from prior.protocols.show import settings
from prior.results.wide import pivot

FAMILY, NAME, HEADING = "lovt", "lovt18", "LoVT's localized tasks"
TITLES = {
    **{"rsna": "RSNA", "covid_rural": "COVID Rural", "siim": "SIIM", "object_cxr": "Object-CXR"},
    **{"nih_boxes": "NIH", "yolo": "YOLOv3", "unet": "U-Net", "linear": "linear"},
    **{"map_40_75": "mAP", "froc": "FROC", "dice_pooled": "Dice", "dice_pooled_macro": "mean Dice"},
}
ORDER = ("rsna", "covid_rural", "siim", "object_cxr", "nih_boxes")
PARTS = ("RSNA", "COVID Rural, SIIM, Object-CXR, NIH, and the average of all")
AVERAGE = "average"
REFUSED, NOT_RUN, INCOMPLETE = "refused", "not run", "–"
PLACE = ["task", "dataset", "head", "frozen", "fraction", "metric"]
COLUMNS = [
    *("method", "lovt_task", *PLACE, "value", "ci_low", "ci_high", "mark", "state", "n_seeds"),
    *("n_pretrain_seeds", "n_train", "n_test", "n_pos", "split", "simulated", "contamination"),
]
NOTES = (
    "Columns are LoVT's tasks with its heads, shares of the labels, learning rates and metrics: mAP over IoU "
    ".40 to .75 on all images, FROC as mean sensitivity at seven rates of false alarms, Dice pooled over the "
    "pixels of the test set, on NIH the mean over eight findings. The average is the plain mean of all "
    "columns, of encoders that have them all; it mixes metrics and has no interval.",
)


@dataclass(frozen=True)
class LovtTask:
    """One of the tasks, as its setting states it; the attributes but `setting` are columns of a row."""

    setting: str
    task: str
    dataset: str
    head: str
    frozen: bool
    fraction: float
    metric: str

    @property
    def title(self) -> str:
        """Column head."""
        tuned = "frozen" if self.frozen else "fine-tuned"
        parts = [TITLES[self.dataset], TITLES[self.head], tuned, fraction_text(self.fraction)]
        return " · ".join([*parts, TITLES[self.metric]])


def lovt_tasks() -> list[LovtTask]:
    """All settings of the family as LoVT prints them: by data set, fine-tuned before frozen before linear."""
    found = []
    for task, setting in settings(FAMILY):
        knobs = load_protocol(FAMILY, task, setting).knobs
        (dataset,), (fraction,) = knobs["datasets"], knobs["fractions"]
        head = str(knobs["head_name"])
        metric = str(knobs["metrics"][0])
        found.append(LovtTask(setting, task, dataset, head, bool(knobs["frozen"]), float(fraction), metric))
    return sorted(found, key=lambda task: (ORDER.index(task.dataset), task.head == "linear", task.frozen))


def lovt_rows(view: pd.DataFrame, omitted: pd.DataFrame) -> pd.DataFrame:
    """One row per encoder or baseline and task; `state` is empty, `refused`, `not run` or, of baselines, `–`.

    Args:
        view: of `load_view`.
        omitted: `omitted.csv`.

    Returns:
        Rows of `view` with `column` (title of the task) and `lovt_task`, and rows without a value where a
        method has none.
    """
    ours = view[(view["protocol"] == FAMILY) & (view["finding"] == "")]
    names = ours.drop_duplicates("label").set_index("label")
    refused = _refused(ours, omitted)
    parts = []
    for task in lovt_tasks():
        wanted = {name: getattr(task, name) for name in PLACE}
        rows = ours[np.logical_and.reduce([ours[name] == value for name, value in wanted.items()])]
        rows = rows.assign(state="")
        lacking = [label for label in names.index if label not in set(rows["label"])]
        shared = names.loc[lacking].reset_index()[["label", "rank", "encoder", "baseline", "simulated"]]
        states = [
            INCOMPLETE
            if names.at[label, "baseline"]
            else REFUSED
            if (label, task.setting) in refused
            else NOT_RUN
            for label in lacking
        ]
        empty = shared.assign(**wanted, state=states, value=np.nan, ci_low=np.nan, ci_high=np.nan)
        part = pd.concat([rows, empty], ignore_index=True) if len(rows) else empty
        parts.append(part.assign(lovt_task=task.setting, column=task.title))
    found = pd.concat(parts, ignore_index=True)
    text = [name for name in ("mark", "contamination", "published", "split") if name in found]
    found[text] = found[text].fillna("")
    return found


def _refused(ours: pd.DataFrame, omitted: pd.DataFrame) -> set[tuple[str, str]]:
    """Label of the method and setting of every cell that was refused."""
    of_family = omitted[omitted["protocol"] == FAMILY]
    known = ours.drop_duplicates(["method", "variant"]).set_index(["method", "variant"])["label"]
    variants = of_family["variant"].fillna("")
    found = set()
    for method, variant, setting in zip(of_family["method"], variants, of_family["setting"], strict=True):
        label = known.get((method, variant))
        found.add((str(label), str(setting)))
    return found


def refusals(omitted: pd.DataFrame) -> list[str]:
    """A note that names each refused task and why; none where nothing was refused."""
    ours = omitted[omitted["protocol"] == FAMILY].drop_duplicates(["setting", "reason"])
    if ours.empty:
        return []
    reasons = "; ".join(f"{s}: {r}" for s, r in zip(ours["setting"], ours["reason"], strict=True))
    return [f"Refused, as smaller cells mean nothing: {reasons}."]


def lovt_tables(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Methods as rows and tasks as columns, in the two parts that LoVT prints, with the average.

    Args:
        rows: of `lovt_rows`.
    """
    titles = [task.title for task in lovt_tasks()]
    first = [task.title for task in lovt_tasks() if task.dataset == ORDER[0]]
    whole = pivot(rows, "column")
    wide, beside = whole[titles], whole.drop(columns=titles)
    by_place = rows.set_index(["label", "column"])
    states, values = (by_place[name].unstack("column").reindex_like(wide) for name in ("state", "value"))
    wide = wide.mask(states != "", states)
    means = values.astype(float).mean(axis=1, skipna=False)
    average = pd.Series([INCOMPLETE if pd.isna(mean) else f"{mean:.3f}" for mean in means], wide.index)
    parts = [wide[first], wide.drop(columns=first).assign(**{AVERAGE: average})]
    return {title: pd.concat([part, beside], axis=1) for title, part in zip(PARTS, parts, strict=True)}


def lovt_csv(rows: pd.DataFrame) -> pd.DataFrame:
    """The same as a long table, a line per method and task."""
    return rows.assign(method=rows["label"]).reindex(columns=COLUMNS)


def read_omitted(results: Path) -> pd.DataFrame:
    """Read `omitted.csv`, whose text may be missing."""
    text = ["method", "variant", "protocol", "setting", "reason"]
    frame = pd.read_csv(results / "omitted.csv", dtype=dict.fromkeys(text, str))
    frame[text] = frame[text].fillna("")
    return frame
