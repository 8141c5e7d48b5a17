"""From a download to verified records: say what was recognised, prepare it, say what came out."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from prior.data.manifest import count_records
from prior.data.prepare import frontal, prepare
from prior.data.unpack import unpacked
from prior.datasets.base import RawDataset
from prior.datasets.published_counts import beside_published

SHOWN = 6


def take_in(
    dataset: str, root: Path, out: Path, size: int, fit: str, workers: int, max_unreadable: int
) -> dict[str, Any]:
    """Prepare the download `root` of `dataset` into `out` and print what was recognised and what came out.

    Args:
        dataset: reader.
        root: raw folder, or an archive of it.
        out: prepared folder.
        size: side of the store in pixels.
        fit: `pad` or `stretch`.
        workers: processes.
        max_unreadable: images that may be missing or fail to decode.

    Returns:
        The manifest.

    Raises:
        InputError: anything wrong with the download.
    """

    def tell(raw: RawDataset) -> None:
        print("\n".join(recognised(dataset, raw)), flush=True)

    folder = unpacked(root)
    manifest = prepare(
        dataset,
        folder,
        out,
        size,
        (fit,),
        simulated=(folder / "simulation.json").is_file(),
        workers=workers,
        max_unreadable=max_unreadable,
        on_read=tell,
    )
    print("\n".join(delivered(manifest, pd.read_parquet(out / "images.parquet", columns=["view"]), out)))
    return manifest


def recognised(reader: str, raw: RawDataset) -> list[str]:
    """Return lines on what a reader found, before any image is decoded."""
    counts = count_records(raw, int(frontal(raw).sum()))
    sizes = [
        path.stat().st_size
        for path in (raw.root / source for source in raw.images["source"])
        if path.is_file()
    ]
    endings = raw.images["source"].str.rsplit(".", n=1).str[-1].str.lower().value_counts()
    kinds = ", ".join(f"{count:,} {ending}" for ending, count in endings.items())
    key = f"{counts['patients']:,}" if raw.patient_family else "no patient key: presets end in -image"
    lines = {
        "reader": f"{reader} ({raw.root})",
        "layout": raw.layout,
        "counts": beside_published(raw),
        "files": f"{kinds}; {len(sizes):,} are there, {sum(sizes) / 1e6:,.1f} MB",
        "patients": key,
        "studies": f"{counts['studies']:,}",
        "views": _views(raw.images["view"], "in the files, if at all"),
        "labels": _labels(counts.get("findings", {})),
        "boxes": _marks(counts, "boxes"),
        "masks": _marks(counts, "masks"),
        "reports": f"{counts['reports']:,}" if counts["reports"] else "none",
    }
    return [f"{name:9} {text}" for name, text in lines.items() if text is not None]


def delivered(manifest: dict[str, Any], images: pd.DataFrame, out: Path) -> list[str]:
    """Return lines on a prepared folder."""
    lines = [
        f"{'images':9} {manifest['counts']['images']:,} of {manifest['counts']['store_rows']:,}, "
        f"{manifest['size']} px; views: {_views(images['view'], 'not stated')}"
    ]
    for item in manifest["dropped"]:
        lines.append(f"{'left out':9} {item['count']:,}: {item['reason']} (such as {item['examples'][0]})")
    for preset, sides in manifest["splits"].items():
        parts = [
            f"{side} {sides[side]['images']:,}" for side in ("train", "validation", "test") if side in sides
        ]
        lines.append(f"{'split':9} {preset}: {', '.join(parts)}")
    return [*lines, f"{'written':9} {out} (manifest.json says the rest)"]


def _views(views: pd.Series, none: str) -> str:
    counts = views.value_counts()
    parts = [f"{view} {count:,}" for view, count in counts.items()]
    unknown = int(views.isna().sum())
    if unknown:
        parts.append(f"unknown {unknown:,}" if parts else none)
    return ", ".join(parts)


def _labels(findings: dict[str, dict[str, int]]) -> str:
    if not findings:
        return "none"
    return f"{len(findings)}: " + _cut(
        [f"{name} {count['present']:,}" for name, count in sorted(findings.items(), key=_most)]
    )


def _most(item: tuple[str, dict[str, int]]) -> int:
    return -item[1]["present"]


def _cut(parts: Sequence[str]) -> str:
    return ", ".join(parts[:SHOWN]) + (", ..." if len(parts) > SHOWN else "")


def _marks(counts: dict[str, Any], table: str) -> str:
    return f"{counts[table]:,} on {counts[f'images_with_{table}']:,} images" if counts[table] else "none"
