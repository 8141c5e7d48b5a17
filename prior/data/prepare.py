"""Raw folder -> records, image store, splits, manifest."""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from prior.data import records, store
from prior.data.files import digest, digest_each, write_json
from prior.data.geometry import FITS
from prior.data.hashes import Copies, find_copies, signatures
from prior.data.keys import patient_keys
from prior.data.leaks import exposure, leak_report, normalised_texts, require_disjoint, sources_of_classes
from prior.data.manifest import count_records, count_split, file_hash, summarise_dropped
from prior.data.recipes import ROWS_LEAKY, by_table_rows
from prior.data.schemas import columns, parts_of, write_parts, write_table
from prior.data.splits import LISTED, check_preset, default_presets, make_split
from prior.datasets import load_reader
from prior.datasets.base import FRONTAL_VIEWS, RawDataset, require_keys
from prior.datasets.published_lists import read_lists
from prior.errors import InputError

DESCRIBED = ("splits", "leaks", "exposed")


def prepare(
    reader_name: str,
    root: Path,
    out: Path,
    size: int,
    fits: Sequence[str] = ("pad",),
    presets: Sequence[str] | None = None,
    simulated: bool = False,
    workers: int = 1,
    seeds: Sequence[int] = (0, 1, 2, 3, 4),
    max_unreadable: int = 0,
    on_read: Callable[[RawDataset], None] | None = None,
) -> dict[str, Any]:
    """Prepare one dataset; an interrupted run continues where it stopped.

    Args:
        reader_name: key of `prior.datasets.READERS`.
        root: raw folder.
        out: prepared folder.
        size: side of the store in pixels.
        fits: `pad`, `stretch` or both.
        presets: split presets, None for those that the dataset can keep.
        simulated: copied into the manifest.
        workers: processes that decode.
        seeds: one ranking of every split each.
        max_unreadable: images that may be missing or fail to decode; they are dropped and listed.
        on_read: called with what the reader recognised, before any image is decoded.

    Returns:
        The manifest, as written to `<out>/manifest.json`.

    Raises:
        InputError: anything wrong with the raw folder or the arguments.
    """
    if size < 8 or not fits or not set(fits) <= set(FITS):
        raise InputError(f"size {size}, fits {list(fits)}: the size must be 8 or more, fits some of {FITS}")
    # The allocator that arrow prefers keeps what its tables leave, and large ones come and go here.
    pa.set_memory_pool(pa.system_memory_pool())
    reader = load_reader(reader_name)
    raw = reader.read(root)
    records.compact(raw)
    if on_read is not None:
        on_read(raw)
    require_keys(raw)
    chosen = choose_presets(raw, presets)
    _require_images(raw, max_unreadable)
    work = _work_folder(raw, out, size, fits)
    facts = store.decode(
        raw.root,
        raw.images["source"].array,
        raw.load_pixels,
        size,
        {fit: work / f"images_{size}_{fit}.npy" for fit in fits},
        work,
        workers,
    )
    hashes, lost = records.keep_readable(raw, facts, max_unreadable)
    clipped = records.clip_boxes(raw)
    rows = len(facts)
    arrays = {"images": digest_each(value.as_py() for value in facts["sha256"])}
    del facts
    arrays |= records.draw_masks(raw, work, size, fits, workers, rows)
    paths = [*_write_tables(raw, work), write_parts(work, "hashes", parts_of(hashes))]
    copies = find_copies(signatures(hashes.pop("perceptual")))
    reports = None if raw.reports is None else normalised_texts(work / "reports.parquet")
    described = {}
    for preset in chosen:
        parts = _split(raw, preset, seeds)
        first = next(parts)
        described[preset] = _describe_split(raw, preset, first, hashes, copies, reports)
        paths.append(write_parts(work, f"splits/{preset}", chain([first], parts)))
        if preset == "strict" and hasattr(reader, "write_subsets"):
            paths += reader.write_subsets(work, raw, first)
    manifest: dict[str, Any] = {
        "dataset": raw.name,
        "layout": raw.layout,
        "simulated": simulated,
        "size": size,
        "fits": list(fits),
        "seeds": list(seeds),
        "patient_family": raw.patient_family,
        "counts": count_records(raw, int(frontal(raw).sum())) | {"store_rows": rows},
        "boxes_clipped": clipped,
        "notes": raw.notes,
        # images that were allowed to be lost are all named, what the tables leave out by examples
        "dropped": [*summarise_dropped(lost, most=None), *summarise_dropped(raw.dropped)],
        "sources": _sources(raw),
        **{kind: {p: d[kind] for p, d in described.items() if kind in d} for kind in DESCRIBED},
    }
    manifest["tables"] = {str(path.relative_to(work)): file_hash(path) for path in paths}
    manifest["arrays"] = arrays
    manifest["content_hash"] = digest([manifest["tables"], arrays, size, list(fits)])
    _publish(work, out, list(manifest["tables"]))
    write_json(out / "manifest.json", manifest)
    return manifest


def _require_images(raw: RawDataset, max_unreadable: int) -> None:
    """Stop before anything is decoded if more images are missing than may be."""
    # os.path answers False where a path cannot exist (a name that is too long); Path raises.
    lost = [source for source in raw.images["source"] if not os.path.isfile(raw.root / source)]
    if len(lost) > max_unreadable:
        raise InputError(
            f"{raw.root / lost[0]} is listed but does not exist ({len(lost)} of {len(raw.images)} images are "
            f"missing, {max_unreadable} may be); copy the images or remove their rows"
        )


def choose_presets(raw: RawDataset, presets: Sequence[str] | None) -> tuple[str, ...]:
    """Return the split presets to make, or stop if the dataset cannot keep one of them."""
    official = set(raw.images["official_split"].dropna()) if "official_split" in raw.images else set()
    chosen = tuple(presets) if presets else default_presets(raw.patient_family, official)
    for preset in chosen:
        check_preset(preset, raw.patient_family, official, raw.name)
        if preset == ROWS_LEAKY and raw.table_rows is None:
            instead = "random-70-15-15-" + ("image" if raw.patient_family is None else "leaky")
            raise InputError(
                f"split preset {preset!r}: {raw.name} ({raw.layout}) has no table with a row per mask; "
                f"choose {instead}"
            )
    return chosen


def _work_folder(raw: RawDataset, out: Path, size: int, fits: Sequence[str]) -> Path:
    """Return the folder of unfinished work, named after everything that decoding depends on."""
    files = (_version(raw.root / source, source) for source in raw.images["source"])
    return out / f".partial-{digest([raw.name, size, list(fits), digest_each(files), _annotations(raw)])}"


def _version(path: Path, source: str) -> tuple[str, int, int]:
    try:
        status = os.stat(path)
    except OSError:
        return source, -1, 0
    return source, status.st_size, status.st_mtime_ns


def _annotations(raw: RawDataset) -> str:
    """Identify the masks or boxes that the mask store is drawn from."""
    frame = raw.masks if raw.masks is not None else raw.boxes
    return "" if frame is None else digest_each(frame.astype(str).itertuples(index=False))


def _write_tables(raw: RawDataset, folder: Path) -> list[Path]:
    """Write the tables that the dataset has."""
    paths = [write_table(folder, "images", raw.images[columns("images")])]
    tables = {"labels": raw.labels, "boxes": raw.boxes, "masks": raw.masks}
    paths += [write_table(folder, name, frame) for name, frame in tables.items() if frame is not None]
    if raw.reports is not None:
        paths.append(write_parts(folder, "reports", records.with_sections(raw.reports, raw.root)))
    return paths


def frontal(raw: RawDataset) -> pd.Series:
    """Mark the images that take part in splits: frontal, or of a dataset that states no view."""
    return raw.images["view"].isin(FRONTAL_VIEWS) | raw.images["view"].isna()


def _split(raw: RawDataset, preset: str, seeds: Sequence[int]) -> Iterator[pd.DataFrame]:
    chosen = frontal(raw)
    if raw.strict_pool is not None and preset.startswith("strict"):
        chosen &= raw.images["official_split"] == raw.strict_pool
    needed = [name for name in ("image_id", "patient_id", "official_split") if name in raw.images]
    images = raw.images.loc[chosen, needed].reset_index(drop=True)
    keys = patient_keys(images, raw.patient_family, raw.name)
    labels = raw.labels if raw.labels is not None else images[["image_id"]]
    held_out = images["patient_id"].isin(raw.held_out)
    return make_split(preset, images, labels, keys, held_out, seeds, _placed(raw, preset))


def _placed(raw: RawDataset, preset: str) -> pd.DataFrame | None:
    """Return image_id and split where a table of the raw folder says it."""
    if preset in LISTED:
        return read_lists(raw)
    if preset == ROWS_LEAKY and raw.table_rows is not None:
        return by_table_rows(raw.table_rows)
    return None


def _describe_split(
    raw: RawDataset,
    preset: str,
    split: pd.DataFrame,
    hashes: pd.DataFrame,
    copies: Copies,
    reports: pd.DataFrame | None,
) -> dict[str, Any]:
    """Count the sides of one seed of a preset and what they share; a leak in a strict preset is an error."""
    require_disjoint(split, raw.images, preset, raw.name)
    described = {
        "splits": count_split(split, raw.images, raw.labels),
        "leaks": leak_report(split, raw.images, hashes, copies, reports),
    }
    if preset.endswith("-leaky"):
        described["exposed"] = exposure(split, raw.images, raw.labels)
    return described


def _sources(raw: RawDataset) -> dict[str, Any]:
    if raw.labels is None or raw.images["site"].isna().all():
        return {}
    return sources_of_classes(raw.labels, raw.images)


def _publish(work: Path, out: Path, tables: Sequence[str]) -> None:
    """Move what is finished into place, without leftovers of an earlier version or of this one's work."""
    (out / "manifest.json").unlink(missing_ok=True)
    old = [out / f"{name}.parquet" for name in ("labels", "boxes", "masks", "reports")]
    for stale in [*old, *out.glob("masks_*.npy"), *out.glob("splits/*.parquet")]:
        stale.unlink(missing_ok=True)
    for name in [*tables, *(path.name for path in work.glob("*.npy"))]:
        (out / name).parent.mkdir(exist_ok=True)
        os.replace(work / name, out / name)
    for folder in out.glob(".partial-*"):
        shutil.rmtree(folder)
