"""Data cards: labels and their balance in each part of the split, sizes, and what the parts share."""

import textwrap
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from prior.data.files import read_json
from prior.results.panels import empty_figure, heading, subplots
from prior.results.style import MARKERS, NEUTRAL, PALETTE, figure_style, save

STATES = {"present": PALETTE[1], "absent": PALETTE[6], "uncertain": PALETTE[4], "missing": "#d0d0d0"}
LETTERS = 17  # of a caption, per inch
PARTS = {"train": PALETTE[0], "validation": PALETTE[6], "test": PALETTE[1]}


def _bars(
    axes: Axes, shares: Mapping[str, Mapping[str, float]], colours: Mapping[str, str], lines: int
) -> None:
    """A row per name, cut into its parts; `lines` rows have room, so that rows of two panels are alike."""
    names = list(shares)
    left = [0.0] * len(names)
    for part, colour in colours.items():
        widths = [shares[name].get(part, 0.0) for name in names]
        axes.barh(range(len(names)), widths, left=left, label=part, color=colour)
        left = [start + width for start, width in zip(left, widths, strict=True)]
    axes.set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
    axes.set_ylim(max(lines, len(names)) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)
    axes.legend(
        loc="lower left", bbox_to_anchor=(0, 1), ncols=4, fontsize=6.5, borderaxespad=0.2, handlelength=1.1,
        handletextpad=0.4, columnspacing=0.9,
    )  # fmt: skip


def prevalence(manifest: Mapping[str, Any], findings: Collection[str]) -> dict[str, dict[str, float]]:
    """Part of the first split → finding → % of its images in which the finding is present."""
    parts: Mapping[str, Any] = next(iter(manifest["splits"].values()), {})
    return {
        part: {name: 100 * parts[part]["positives"][name] / parts[part]["images"] for name in findings}
        for part in PARTS
        if "positives" in parts.get(part, {})
    }


def _marks(axes: Axes, shares: Mapping[str, Mapping[str, float]], lines: int) -> None:
    """A mark for each part of the split in every finding's row; rows are those of the panel beside it."""
    for (part, colour), marker in zip(PARTS.items(), MARKERS, strict=False):
        values = list(shares.get(part, {}).values())
        axes.plot(
            values, range(len(values)), linestyle="", marker=marker, markersize=4, color=colour, label=part,
            markeredgecolor="white", markeredgewidth=0.5,
        )  # fmt: skip
    axes.set_yticks(range(lines), [""] * lines)
    axes.set_ylim(lines - 0.4, -0.6)
    axes.set_xlim(left=0)
    axes.set_xlabel("present, % of the part")


def overlap_text(manifest: Mapping[str, Any]) -> str:
    """What the parts of each split have in common."""
    found = []
    for preset, kinds in manifest["leaks"].items():
        shared = [
            f"{count} {kind.replace('_', ' ')} ({pair})"
            for kind, pairs in kinds.items()
            for pair, count in pairs.items()
            if count
        ]
        none = "no patient, study, report, identical or alike image in two parts"
        found.append(f"Split {preset}: {', '.join(shared) or none}.")
        if preset in manifest["exposed"]:
            found.append(exposure_text(manifest["exposed"][preset]["test"]))
    for alone in manifest["sources"].get("confounded", []):
        found.append(
            f"Class is source: {100 * alone['share']:.0f} % of {alone['class'].replace('_', ' ')} comes from "
            f"{alone['source']}, of the rest {100 * alone['share_of_others']:.0f} %."
        )
    return "\n".join(found)


def exposure_text(exposed: Mapping[str, Mapping[str, Any]]) -> str:
    """How much of the test part shows patients of the training part."""
    shares = [
        f"{found['count']} of {found['of']} {kind.replace('_', ' ')} ({100 * found['share']:.0f} %)"
        for kind, found in exposed.items()
    ]
    return f"Tested although the patient is in training: {', '.join(shares)}."


def shared_text(dataset: str, leaks: Mapping[str, Any]) -> str:
    """What a data set's test images share with pre-training and with training images of other data sets."""
    lines = []
    for stage, rows in (("Pre-training", leaks["pretraining"]), ("Training", leaks["evaluations"])):
        for row in rows:
            kinds = ("patients", "studies", "identical_images", "near_duplicate_images")
            shared = [f"{row[kind]} {kind.replace('_', ' ')}" for kind in kinds if row[kind]]
            if row["test"]["dataset"] == dataset and shared:
                train = f"{row['train']['dataset']} ({row['train']['preset']})"
                lines.append(f"{stage} on {train} has of test {row['test']['preset']}: {', '.join(shared)}.")
    return "\n".join(lines)


def data_card(dataset: str, manifest: Mapping[str, Any], leaks: Mapping[str, Any], out: Path) -> None:
    """Draw one data set's card.

    Args:
        dataset: its name in the experiment.
        manifest: as preparation wrote it.
        leaks: what data sets share, as `prior leaks` wrote it.
        out: path without suffix.
    """
    counts, simulated = manifest["counts"], bool(manifest["simulated"])
    text = f"Data: {manifest['dataset']}"
    findings = {name: states for name, states in counts.get("findings", {}).items() if sum(states.values())}
    with figure_style():
        if not manifest["splits"]:
            save(empty_figure(text, simulated), out)
            return
        splits = {
            preset: {part: parts[part]["images"] for part in PARTS if part in parts}
            for preset, parts in manifest["splits"].items()
        }
        shares_of_parts = prevalence(manifest, findings) if findings else {}
        rows = max(len(findings), len(splits), 2)
        widths = [1.3, 0.8, 1] if shares_of_parts else [1.3, 1]
        size = (2.9 * sum(widths) + 1, 0.19 * rows + 1.7)
        figure, grid = subplots(1, len(widths), size, gridspec_kw={"width_ratios": widths})
        labels, parts = grid[0, 0], grid[0, -1]
        if findings:
            total = {name: sum(states.values()) for name, states in findings.items()}
            shares = {n: {state: 100 * c / total[n] for state, c in s.items()} for n, s in findings.items()}
            _bars(labels, shares, STATES, rows)
            labels.set_xlabel("% of the images")
            if shares_of_parts:
                _marks(grid[0, 1], shares_of_parts, rows)
        else:
            labels.set_axis_off()
            labels.text(0, 0.5, "no labels", color=NEUTRAL)
        _bars(parts, splits, PARTS, rows)
        parts.set_xlabel("images")
        people = "" if counts["patients"] is None else f", {counts['patients']} patients"
        sizes = f"{counts['images']} images{people}, {counts['reports']} reports, {counts['boxes']} boxes, "
        sizes += f"{counts['images_with_masks']} images with masks."
        lines = [sizes, *overlap_text(manifest).splitlines(), *shared_text(dataset, leaks).splitlines()]
        width = int(LETTERS * size[0])
        heading(figure, text, simulated, "\n".join(textwrap.fill(line, width) for line in lines))
        save(figure, out)


def data_cards(prepared: Path, datasets: list[str], out: Path) -> None:
    """Draw `data_<name>` of every data set.

    Args:
        prepared: `data/prepared`, which holds a folder with `manifest.json` for each of `datasets`; beside it
            lies `leaks.json`.
        datasets: their names.
        out: folder.
    """
    leaks = read_json(prepared.with_name("leaks.json"))
    for name in datasets:
        data_card(name, read_json(prepared / name / "manifest.json"), leaks, out / f"data_{name}")
