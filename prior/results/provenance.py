"""What made the results, for the page: protocols and their sources, data, code, libraries and machines."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from prior.data.files import read_json
from prior.metrics.rows import TASK_TITLES
from prior.protocols import load_protocol, load_sources
from prior.results.leaderboard import machine_text

FOLDS = "folds"
"""Beside its parts, a split with folds has the images of each."""
Knobs = dict[str, tuple[str, str]]
"""Name → value and source, both as text."""


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return str(yaml.safe_dump(value, default_flow_style=True, width=10_000)).removesuffix("...\n").strip()


def _knobs(family: str, task: str, setting: str) -> Knobs:
    values, sources = load_protocol(family, task, setting).knobs, load_sources(family, task, setting)
    return {name: (_text(value), sources[name]) for name, value in values.items()}


def knob_tables(protocols: Sequence[Sequence[str]]) -> dict[str, pd.DataFrame]:
    """Every knob with value and source: those that all settings of a family share, then each setting's own.

    Args:
        protocols: family, task and setting of each evaluation.
    """
    stated = {(family, task, setting): _knobs(family, task, setting) for family, task, setting in protocols}
    found: dict[str, pd.DataFrame] = {}
    for family in dict.fromkeys(place[0] for place in stated):
        members = {place: knobs for place, knobs in stated.items() if place[0] == family}
        shared = dict(set.intersection(*(set(knobs.items()) for knobs in members.values())))
        first = next(iter(members.values()))
        found[f"{family} · all tasks"] = _knob_frame({name: first[name] for name in first if name in shared})
        for (_, task, setting), knobs in members.items():
            own = {name: knob for name, knob in knobs.items() if name not in shared}
            if own:
                found[f"{family} · {TASK_TITLES[task]} · {setting}"] = _knob_frame(own)
    return found


def _knob_frame(knobs: Knobs) -> pd.DataFrame:
    values, sources = [value for value, _ in knobs.values()], [source for _, source in knobs.values()]
    return pd.DataFrame({"value": values, "source": sources}, index=list(knobs))


def data_table(prepared: Path, datasets: Sequence[str]) -> pd.DataFrame:
    """Counts, splits and the hash of every data set, from its manifest; one that is not here is left out."""
    found = {}
    for name in datasets:
        path = prepared / name / "manifest.json"
        if not path.is_file():
            continue
        manifest = read_json(path)
        splits = [
            f"{preset}: "
            + ", ".join(f"{part} {parts[part]['images']}" for part in sorted(parts) if part != FOLDS)
            for preset, parts in manifest["splits"].items()
        ]
        found[name] = {
            "kind": "simulated" if manifest["simulated"] else "real",
            "images": str(manifest["counts"]["images"]),
            "patients": str(manifest["counts"]["patients"] or "unknown"),
            "reports": str(manifest["counts"]["reports"]),
            "images of each split": "; ".join(splits),
            "hash of the content": manifest["content_hash"],
        }
    return pd.DataFrame.from_dict(found, orient="index")


def _counted(values: Sequence[str]) -> str:
    counts = Counter(value for value in values if value)
    return "; ".join(f"{value} ({count} runs)" for value, count in counts.most_common())


def facts(settings: Mapping[str, Any], runs: pd.DataFrame) -> dict[str, str]:
    """Experiment, commits, machines and library versions of all runs, with how many runs had each."""
    versions: dict[str, list[str]] = {}
    for text in runs["versions"].dropna():
        for name, version in json.loads(text).items():
            versions.setdefault(name, []).append(str(version))
    return {
        "experiment": str(settings.get("experiment", "")),
        "bundles": ", ".join(settings.get("bundles", [])),
        "commits": _counted([str(commit)[:10] for commit in runs["commit"].dropna()]),
        "machines": _counted([machine_text(str(text)) for text in runs["hardware"].fillna("")]),
        "run time, added up": f"{runs['seconds'].sum() / 3600:.1f} h",
        **{f"version of {name}": _counted(found) for name, found in sorted(versions.items())},
    }


def run_table(runs: pd.DataFrame) -> pd.DataFrame:
    """Every run with its time, commit and machine."""
    machines = [machine_text(str(text)) for text in runs["hardware"].fillna("")]
    shown = pd.DataFrame({"seconds": runs["seconds"].map("{:.1f}".format), "machine": machines})
    shown["commit"] = [str(commit)[:10] for commit in runs["commit"].fillna("")]
    return shown.set_axis(runs["run"])


def parameters_text(params: Mapping[str, Any]) -> str:
    """The parameters in use as YAML."""
    return str(yaml.safe_dump(dict(params), sort_keys=False, allow_unicode=True, width=100))
