"""Run one bundle on one task, dataset and protocol: every cell, resumably, into one table."""

import logging
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from prior.data.files import atomic_path, digest, read_json, write_json
from prior.data.prepared import PreparedDataset
from prior.encoders.bundle import Bundle, load_bundle
from prior.errors import InputError
from prior.protocols import Protocol, load_protocol
from prior.tasks import DENSE_TASKS, TASKS
from prior.tasks.base import Cell, CellResult, check_place, split_preset
from prior.tasks.features import Features, cached_features

log = logging.getLogger(__name__)
KEYS = ["fraction", "seed", "fold"]


def run_evaluation(
    bundle_path: Path,
    task: str,
    data_root: Path,
    family: str,
    setting: str,
    fractions: Sequence[float],
    seeds: Sequence[int],
    out_stem: Path,
    work: Path,
    cache: Path,
    folds: int | None = None,
    code: str = "",
) -> dict[str, Any]:
    """Evaluate all cells and write `<out_stem>.parquet` and `<out_stem>.json`.

    Finished cells lie in a folder of `work` that is named after everything they depend on but the lists of
    fractions and seeds, so an interrupted run continues and a further seed computes only itself.

    Args:
        bundle_path: folder of the bundle.
        task: name in `TASKS`.
        data_root: folder of the prepared dataset.
        family: protocol family.
        setting: setting of the task in that family.
        fractions: shares of the labels; empty where no labels are used.
        seeds: repetitions; the first is the one that hyperparameters are searched on.
        out_stem: path of the outputs without suffix.
        work: folder of unfinished work of all jobs.
        cache: folder of the features that frozen protocols share.
        folds: number of folds, None for a single split.
        code: digest of the code, so that other code does not reuse its cells.

    Returns:
        `cells`, `computed`, `omitted` and `seconds`, for the log and for `runs.csv`.

    Raises:
        InputError: unknown task or protocol, a knob that the task does not implement, fractions that do not
            fit the task, or what the task raises.
    """
    if task not in TASKS:
        raise InputError(f"task `{task}` is unknown; choose one of {', '.join(TASKS)}")
    protocol = load_protocol(family, task, setting).model_copy(update={"first_seed": seeds[0]})
    _check_knobs(protocol)
    cells = all_cells(protocol, fractions, seeds, folds)
    bundle, data = load_bundle(bundle_path), PreparedDataset(data_root)
    check_place(data, protocol, cells)
    folder = work / _identity(bundle, data, protocol, code)
    start = time.monotonic()
    computed = _compute(bundle, data, protocol, cells, folder, cache)
    _write(out_stem, bundle, data, protocol, cells, folder)
    refused = sum("omitted" in read_json(folder / f"{cell.name}.json") for cell in cells)
    seconds = round(time.monotonic() - start, 2)
    return {"cells": len(cells), "computed": computed, "omitted": refused, "seconds": seconds}


def _check_knobs(protocol: Protocol) -> None:
    """Stop before any work if the task does not do what the protocol states."""
    import_module(TASKS[protocol.task]).check(protocol)


def all_cells(
    protocol: Protocol, fractions: Sequence[float], seeds: Sequence[int], folds: int | None
) -> list[Cell]:
    """List the cells, seeds innermost; a protocol without labels has one cell per fold.

    At fraction 1 no draw of labels differs, so the protocol may keep fewer seeds there.

    Raises:
        InputError: fractions for a protocol that uses no labels, or none for one that does.
    """
    name = f"{protocol.task} {protocol.setting}"
    each_fold = [None] if folds is None else list(range(folds))
    if protocol["uses_labels"] != bool(fractions):
        remedy = "list at least one" if protocol["uses_labels"] else "leave the list empty"
        raise InputError(f"fractions of {name} are {list(fractions)}; {remedy}")
    if not protocol["uses_labels"]:
        return [Cell(None, seeds[0], fold) for fold in each_fold]
    at_all = seeds[: protocol["seeds_at_all_labels"]]
    return [
        Cell(f, seed, fold) for f in fractions for fold in each_fold for seed in (at_all if f == 1 else seeds)
    ]


def _identity(bundle: Bundle, data: PreparedDataset, protocol: Protocol, code: str) -> str:
    return digest(
        {
            "bundle": bundle.info.files,
            "image": bundle.info.image.model_dump(mode="json"),
            "data": [data.name, data.manifest["content_hash"]],
            "protocol": protocol.model_dump(mode="json"),
            "code": code,
        }
    )


def _compute(
    bundle: Bundle,
    data: PreparedDataset,
    protocol: Protocol,
    cells: Sequence[Cell],
    folder: Path,
    cache: Path,
) -> int:
    pending = [cell for cell in cells if not (folder / f"{cell.name}.json").exists()]
    if not pending:
        return 0
    start = time.monotonic()
    evaluate = import_module(TASKS[protocol.task]).evaluate
    given = {"features": _features(bundle, data, protocol, cache)} if protocol["uses_labels"] else {}
    for cell, result in evaluate(bundle, data, protocol, pending, folder, **given):
        _save_cell(folder, cell, result)
        log.info("%s %s: %.1f s", protocol.task, cell.name, time.monotonic() - start)
        start = time.monotonic()
    return len(pending)


def _features(bundle: Bundle, data: PreparedDataset, protocol: Protocol, cache: Path) -> Features | None:
    without = protocol.knobs.get("augmentation") or protocol.knobs.get("feature") == "metadata"
    if not protocol["frozen"] or without:
        return None
    return cached_features(cache, bundle, data, protocol.task in DENSE_TASKS, protocol["fit"])


def _save_cell(folder: Path, cell: Cell, result: CellResult) -> None:
    if result.predictions is not None:
        keys = {
            "fraction": np.nan if cell.fraction is None else cell.fraction,
            "seed": cell.seed,
            "fold": -1 if cell.fold is None else cell.fold,
        }
        frame = result.predictions.assign(**keys)
        columns = [*KEYS, *result.predictions.columns]
        with atomic_path(folder / f"{cell.name}.parquet") as path:
            frame[columns].astype({"fraction": float}).to_parquet(path, index=False)
    if result.examples:
        with atomic_path(folder / f"{cell.name}.npz") as path:
            np.savez_compressed(path, allow_pickle=False, **result.examples)
    # Last, because the JSON file says that the cell is finished.
    write_json(folder / f"{cell.name}.json", {**asdict(cell), **result.info})


def _head(protocol: Protocol) -> str:
    """Name the head, and how many stages learn with it if not all: rows of both must not be averaged."""
    stages = protocol.knobs.get("tuned_stages", "all")
    name: str = protocol["head_name"]
    return name if protocol["frozen"] or stages == "all" else f"{name}-tuned-{stages}"


def _write_examples(out_stem: Path, cells: Sequence[Cell], folder: Path) -> None:
    """Keep the examples of one cell, at 10 % of the labels where there is one."""
    kept = [folder / f"{cell.name}.npz" for cell in sorted(cells, key=lambda cell: cell.fraction != 0.1)]
    kept = [path for path in kept if path.exists()]
    if kept:
        with atomic_path(out_stem.with_name(out_stem.name + ".examples.npz")) as path:
            shutil.copyfile(kept[0], path)


def _write(
    out_stem: Path,
    bundle: Bundle,
    data: PreparedDataset,
    protocol: Protocol,
    cells: Sequence[Cell],
    folder: Path,
) -> None:
    tables = [folder / f"{cell.name}.parquet" for cell in cells]
    frames = [pd.read_parquet(path) for path in tables if path.exists()]
    empty = pd.DataFrame(columns=[*KEYS, "image_id", "patient_id"])
    with atomic_path(out_stem.with_name(out_stem.name + ".parquet")) as path:
        (pd.concat(frames, ignore_index=True) if frames else empty).to_parquet(path, index=False)
    _write_examples(out_stem, cells, folder)
    record = {
        "bundle": {"name": bundle.name, **bundle.info.model_dump(mode="json")},
        "task": protocol.task,
        "dataset": data.name,
        "simulated": bool(data.manifest["simulated"]),
        "protocol": protocol.family,
        "setting": protocol.setting,
        "split": split_preset(data, protocol, cells[0]),
        "frozen": protocol["frozen"],
        "head": _head(protocol),
        "knobs": protocol.knobs,
        "cells": [read_json(folder / f"{cell.name}.json") for cell in cells],
    }
    write_json(out_stem.with_name(out_stem.name + ".json"), record)
