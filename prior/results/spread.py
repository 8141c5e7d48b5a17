"""How far a number moves with the protocol, the encoder being the same, and how far with the encoder."""

import pandas as pd

from prior.metrics.rows import PRIMARY, TASK_TITLES
from prior.results.contamination import mark_of
from prior.results.view import metric_title
from prior.results.wide import CONTAMINATION, protocol_rows

HEADING = "How far the protocol alone moves each number"
OWN = "every protocol's own metric"
SPREAD_NOTE = (
    f"{HEADING}: over the encoders that every protocol of a row has, the mean of the largest minus the "
    "smallest number of one encoder under these protocols; and over the protocols, the same of the encoders "
    "under one. Lowest and highest are means of these encoders; each protocol keeps its own images, "
    f"threshold and seeds. `{OWN}` is what its papers print."
)


def spread(view: pd.DataFrame) -> pd.DataFrame:
    """Task, data set, share of the labels and metric → how far protocols and encoders move the number.

    A row needs two protocols and an encoder that was measured under all of them. Only larger-is-better
    metrics lead a protocol, so that differences are of one sign.

    Args:
        view: aggregated rows, of `load_view`.

    Returns:
        Text, one row each; no rows if nothing was measured under two protocols.
    """
    rows = protocol_rows(view)
    rows = rows[rows["encoder"]]
    found = []
    for (task, dataset, share), place in rows.groupby(["task", "dataset", "at"], sort=False):
        for kind, chosen in (("leading", place[place["leading"]]), ("own", place[place["own"]])):
            if kind == "own" and chosen["leading"].all():
                continue
            wide = _block(chosen)
            if wide.columns.get_level_values("protocol").nunique() < 2 or wide.empty:
                continue
            metric = metric_title(PRIMARY[str(task)]) if kind == "leading" else OWN
            here = chosen[chosen["label"].isin(wide.index)]
            found.append(
                {
                    "number": f"{TASK_TITLES[str(task)]} · {dataset} · {share} · {metric}",
                    "protocols": str(wide.shape[1]),
                    "encoders": ", ".join(wide.index),
                    **_ends(wide, str(dataset), kind == "own"),
                    "by protocol": f"{(wide.max(axis=1) - wide.min(axis=1)).mean():.3f}",
                    "by encoder": f"{(wide.max() - wide.min()).mean():.3f}" if len(wide) > 1 else "",
                    CONTAMINATION: ", ".join(
                        sorted({mark_of(text) for text in here["contamination"]} - {""})
                    ),
                }
            )
    return pd.DataFrame(found)


def _block(rows: pd.DataFrame) -> pd.DataFrame:
    """Encoders as rows and settings as columns, without gaps; a setting of one encoder is left out first."""
    names = ["protocol", "setting_text", "metric"]
    wide = rows.pivot_table("value", "label", names, aggfunc="first", sort=False)
    shared = wide.notna().sum() > 1
    return (wide.loc[:, shared] if shared.any() else wide).dropna()


def _ends(wide: pd.DataFrame, dataset: str, with_metric: bool) -> dict[str, str]:
    """Return the settings whose mean over the encoders is lowest and highest, with it."""
    means = wide.mean().to_numpy(float)
    settings, metrics = (wide.columns.get_level_values(name) for name in ("setting_text", "metric"))
    found = {}
    for end, k in (("lowest", int(means.argmin())), ("highest", int(means.argmax()))):
        setting, metric = str(settings[k]).removeprefix(f"{dataset}, "), metric_title(str(metrics[k]))
        found[end] = f"{means[k]:.3f} ({setting}{f', {metric}' if with_metric else ''})"
    return found
