"""Mean rank of every method over the tasks, with an interval from resampled patients and seeds."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from prior.metrics.arrays import Floats
from prior.metrics.rows import DIAGNOSTIC_TASKS, METHOD_COLUMNS, SETTING_COLUMNS, WITHOUT_ENCODER, primary
from prior.results.aggregate import Units
from prior.results.differences import Method, units_by_method

COLUMNS = [
    *("block", "tasks", *METHOD_COLUMNS, "mean_rank", "ci_low", "ci_high"),
    *("n_methods", "n_pretrain_seeds", "simulated"),
]
LEVEL = 0.95
Setting = tuple[Any, ...]
"""Values of SETTING_COLUMNS; the task comes first."""
Table = Mapping[Setting, Mapping[Method, Units]]


def _draws(seeds: Iterable[float], n_resamples: int, generator: np.random.Generator) -> dict[float, Floats]:
    """How often each seed is drawn, when as many are drawn as there are, with replacement [B]."""
    names = sorted(set(seeds))
    shares = np.full(len(names), 1 / len(names)) if names else np.ones(1)
    counts = generator.multinomial(len(names), shares, size=n_resamples)
    return {name: counts[:, place].astype(np.float64) for place, name in enumerate(names)}


def resampled(table: Table, n_resamples: int) -> dict[Setting, dict[Method, Floats]]:
    """Every value with patients and seeds drawn anew [B].

    Patients are drawn as in the replicates, so equally for all methods. A draw of downstream seeds holds for
    all methods of a setting, a draw of pre-training seeds for all settings, as they share the checkpoints. A
    method none of whose seeds is drawn keeps them all.
    """
    generator = np.random.default_rng(0)
    everything = [units for methods in table.values() for units in methods.values()]
    checkpoints = _draws((unit[0] for units in everything for unit in units.values), n_resamples, generator)
    found: dict[Setting, dict[Method, Floats]] = {}
    for setting, methods in table.items():
        cells = _draws((unit[1] for u in methods.values() for unit in u.values), n_resamples, generator)
        for method, units in methods.items():
            weights = np.stack([checkpoints[first] * cells[second] for first, second in units.values])
            weights = np.where(weights.sum(axis=0) > 0, weights, 1.0)
            replicates = np.stack([units.replicates[unit] for unit in units.values])
            found.setdefault(setting, {})[method] = (weights * replicates).sum(axis=0) / weights.sum(axis=0)
    return found


def mean_ranks(values: Mapping[Setting, Floats]) -> Floats:
    """Mean rank over tasks, 1 for the largest value; settings of one task are averaged first.

    Args:
        values: setting → [methods, B]; ties share their rank.

    Returns:
        [methods, B].
    """
    by_task: dict[str, list[Floats]] = {}
    for setting, columns in values.items():
        by_task.setdefault(setting[0], []).append(rankdata(-columns, axis=0))
    return np.asarray(np.mean([np.mean(ranks, axis=0) for ranks in by_task.values()], axis=0))


def _blocks(table: Table, unlabelled: set[Setting]) -> dict[str, tuple[list[Method], list[Setting]]]:
    """Title → methods, and the settings that all of these have: every method, and those with text."""
    everyone = sorted({method for methods in table.values() for method in methods})
    reading = sorted({method for setting in unlabelled for method in table[setting]})
    found = {}
    if reading != everyone:
        found["Tasks that use labels, all methods"] = everyone
    if reading:
        found["All tasks, methods with text" if found else "All tasks, all methods"] = reading
    return {
        title: (methods, [setting for setting, present in table.items() if set(methods) <= set(present)])
        for title, methods in found.items()
    }


def ranks(rows: pd.DataFrame, replicates: Floats) -> pd.DataFrame:
    """Bootstrapped mean ranks on the primary metrics.

    Methods without text lack tasks, and a mean over fewer tasks says something else; so there is one block
    of the tasks that every method has, and one of the methods that have every task.

    Args:
        rows: cell rows; the index points into `replicates`.
        replicates: [rows, B].

    Returns:
        A row per block and method with a percentile interval.
    """
    chosen = primary(rows)
    chosen = chosen[~chosen["method"].isin(WITHOUT_ENCODER) & ~chosen["task"].isin(DIAGNOSTIC_TASKS)]
    table = {
        setting: {
            method: units
            for method, units in units_by_method(group, replicates).items()
            if not np.isnan(list(units.values.values())).any()
        }
        for setting, group in chosen.groupby(SETTING_COLUMNS)
    }
    unlabelled = set(
        chosen.loc[chosen["fraction"].isna(), SETTING_COLUMNS].itertuples(index=False, name=None)
    )
    drawn = resampled(table, replicates.shape[1])
    found = []
    for title, (methods, settings) in _blocks(table, unlabelled).items():
        if len(methods) < 2 or not settings:
            continue
        full = {
            s: np.array([[np.mean(list(table[s][m].values.values()))] for m in methods]) for s in settings
        }
        spread = {s: np.stack([drawn[s][m] for m in methods]) for s in settings}
        defined = ~np.any([np.isnan(columns).any(axis=0) for columns in spread.values()], axis=0)
        resampled_ranks = mean_ranks({s: columns[:, defined] for s, columns in spread.items()})
        low, high = np.quantile(resampled_ranks, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=1)
        block = {"block": title, "tasks": " ".join(dict.fromkeys(s[0] for s in settings))}
        for place, method in enumerate(methods):
            seeds = min(len(table[setting][method].seed_means(0)) for setting in settings)
            found.append(
                {**block, **dict(zip(METHOD_COLUMNS, method, strict=True))}
                | {"mean_rank": mean_ranks(full)[place, 0], "ci_low": low[place], "ci_high": high[place]}
                | {"n_methods": len(methods), "n_pretrain_seeds": seeds}
            )
    table_of_ranks = pd.DataFrame(found, columns=COLUMNS).assign(simulated=bool(rows["simulated"].any()))
    return table_of_ranks.sort_values(
        ["block", "mean_rank", *METHOD_COLUMNS], kind="stable", ignore_index=True
    )
