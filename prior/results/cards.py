"""Data cards: labels and their balance in each part of the split, sizes, and what the parts share."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from matplotlib import pyplot
from matplotlib.axes import Axes

from prior.data.files import read_json
from prior.results.panels import caption_text, empty_figure, heading
from prior.results.style import MARKERS, NEUTRAL, PALETTE, WIDTH, figure_style, save

STATES = {"present": PALETTE[1], "absent": PALETTE[6], "uncertain": PALETTE[4], "missing": "#d0d0d0"}
LINE = 0.135
"""Inches of a finding's or a split's row."""
CAPTION_LINE = 0.1
AROUND = 1.7
"""Inches that the title, keys and axes take."""
PARTS = {"train": PALETTE[0], "validation": PALETTE[6], "test": PALETTE[1]}


def _bars(axes: Axes, shares: Mapping[str, Mapping[str, float]], colours: Mapping[str, str]) -> None:
    """A row per name, cut into its parts."""
    names = list(shares)
    left = [0.0] * len(names)
    for part, colour in colours.items():
        widths = [shares[name].get(part, 0.0) for name in names]
        axes.barh(range(len(names)), widths, left=left, label=part, color=colour)
        left = [start + width for start, width in zip(left, widths, strict=True)]
    axes.set_yticks(range(len(names)), [name.replace("_", " ") for name in names], fontsize=6)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)


def _key(axes: Axes, columns: int) -> None:
    """What the colours of a panel stand for, above it."""
    axes.legend(
        loc="lower left", bbox_to_anchor=(0, 1), ncols=columns, fontsize=6, borderaxespad=0.2,
        handlelength=1.0, handletextpad=0.3, columnspacing=0.8, labelspacing=0.2, borderpad=0.1,
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
            values, range(len(values)), linestyle="", marker=marker, markersize=3.2, color=colour, label=part,
            markeredgecolor="white", markeredgewidth=0.4,
        )  # fmt: skip
    axes.set_yticks(range(lines), [""] * lines)
    axes.set_ylim(lines - 0.4, -0.6)
    axes.set_xlim(left=0)
    axes.locator_params(axis="x", nbins=4)
    axes.set_xlabel("present, % of the part", fontsize=6)


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
        above = ["labels", "balance" if shares_of_parts else "labels"]
        heights = [max(len(findings), 1), len(splits)]
        ratios = {"width_ratios": [1.25, 1], "height_ratios": heights}
        people = "" if counts["patients"] is None else f", {counts['patients']} patients"
        sizes = f"{counts['images']} images{people}, {counts['reports']} reports, {counts['boxes']} boxes, "
        sizes += f"{counts['images_with_masks']} images with masks."
        words = [sizes, *overlap_text(manifest).splitlines(), *shared_text(dataset, leaks).splitlines()]
        caption = caption_text("\n".join(words), WIDTH)
        size = (WIDTH, LINE * sum(heights) + CAPTION_LINE * (caption.count("\n") + 1) + AROUND)
        mosaic: list[Any] = [above, ["splits", "splits"]]
        figure, panels = pyplot.subplot_mosaic(mosaic, figsize=size, layout="constrained", gridspec_kw=ratios)
        labels, parts = panels["labels"], panels["splits"]
        if findings:
            total = {name: sum(states.values()) for name, states in findings.items()}
            shares = {n: {state: 100 * c / total[n] for state, c in s.items()} for n, s in findings.items()}
            _bars(labels, shares, STATES)
            _key(labels, 2)
            labels.set_xlabel("% of the images")
            if shares_of_parts:
                _marks(panels["balance"], shares_of_parts, len(findings))
                _key(panels["balance"], 2)
        else:
            labels.set_axis_off()
            labels.text(0, 0.5, "no labels", color=NEUTRAL)
        _bars(parts, splits, PARTS)
        _key(parts, 3)
        parts.set_xlabel("images")
        heading(figure, text, simulated, caption)
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
