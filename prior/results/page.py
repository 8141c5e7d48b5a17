"""One self-contained HTML page: headline, every task's figures and tables, examples, provenance."""

import base64
import html
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup
from PIL import Image

from prior.data.files import write_text
from prior.metrics.rows import BASELINES, PRIMARY, TASK_TITLES
from prior.results.compared import ablation_tables, difference_tables, rank_tables
from prior.results.style import GRID, INK
from prior.results.tables import (
    ABLATION_NOTE,
    RANK_NOTE,
    by_metric,
    headline_table,
    metrics_in_order,
    parts,
    pivot,
    seed_notes,
)
from prior.results.view import SIMULATED_NOTE, headline, load_view, metric_title, title

FOLDER = Path(__file__).parent
BASELINE_LABELS = {name.replace("_", " ") for name in BASELINES}
PICTURE_WIDTH = 900
PICTURE_QUALITY = 60
LARGEST_SVG = 100_000
"""Bytes from which a figure (pictures, or a figure of very many methods) is shown as a raster picture."""
CELL = re.compile(r"^(\S+) (\[.*\])$")
# Matplotlib writes six decimals of a point; labels of the figures have at most three.
FINE = re.compile(r"(\.\d\d)\d\d+")
METADATA = re.compile(r"<metadata>.*?</metadata>|\n *(?=<)", re.DOTALL)
NUMBER = re.compile(r"^(< )?[-–.\d]*$")


@dataclass
class Section:
    """A tab of the page: tables have `title` and `content` (HTML), figures `content` and `caption`."""

    key: str
    name: str
    title: str
    notes: list[str] = field(default_factory=list)
    figures: list[dict[str, str]] = field(default_factory=list)
    tables: list[dict[str, str]] = field(default_factory=list)


def inline_figure(path: Path) -> str:
    """SVG as markup whose ink follows the reader's colour scheme; PNG, made small, as a WebP data address."""
    if path.suffix == ".svg":
        markup = path.read_text(encoding="utf-8")
        markup = FINE.sub(r"\1", METADATA.sub("", markup[markup.index("<svg") :]))
        return markup.replace(INK, "currentColor").replace(GRID, "var(--line)")
    with Image.open(path) as picture:
        small = picture.convert("RGB")
    small.thumbnail((PICTURE_WIDTH, 10 * PICTURE_WIDTH))
    buffer = io.BytesIO()
    small.save(buffer, "WEBP", quality=PICTURE_QUALITY)
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<img alt="{html.escape(path.stem)}" src="data:image/webp;base64,{data}">'


def _cell(text: str) -> str:
    first, *more = text.split("<br>")
    if more:
        rest = "".join(f'<div class="interval">{html.escape(line)}</div>' for line in more)
        return _cell(first).removesuffix("</td>") + rest + "</td>"
    found = CELL.match(text)
    if found:
        value, bounds = html.escape(found[1]), html.escape(found[2])
        return f'<td data-value="{value}">{value} <span class="interval">{bounds}</span></td>'
    kind = "" if NUMBER.match(text) else ' class="text"'
    return f"<td{kind}>{html.escape(text)}</td>"


def html_table(frame: pd.DataFrame, first: str) -> str:
    """A sortable table; the index is the first column, named `first`; baselines are set apart."""
    worded = [
        not all(
            CELL.match(text) or NUMBER.match(text) or "<br>" in text
            for text in frame[name].fillna("").astype(str)
        )
        for name in frame.columns
    ]
    kinds = [' class="text"' if text else "" for text in [True, *worded]]
    names = [first, *frame.columns]
    head = "".join(
        f'<th scope="col"{kind}>{html.escape(str(name))}</th>'
        for kind, name in zip(kinds, names, strict=True)
    )
    lines = []
    for name, row in frame.iterrows():
        kind = ' class="baseline"' if name in BASELINE_LABELS else ""
        cells = "".join(_cell("" if pd.isna(value) else str(value)) for value in row)
        lines.append(f'<tr{kind}><th scope="row">{html.escape(str(name))}</th>{cells}</tr>')
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def _figures(folder: Path, names: Mapping[str, str]) -> list[dict[str, str]]:
    found = []
    for name, caption in names.items():
        path = folder / f"{name}.svg"
        if path.exists():
            # Losses are many figures: as SVG they would be half of the page.
            large = path.stat().st_size > LARGEST_SVG or name.startswith("pretraining")
            path = path.with_suffix(".png") if large else path
            found.append({"content": inline_figure(path), "caption": caption})
    return found


def _overview(view: pd.DataFrame, results: Path) -> Section:
    simulated = bool(view["simulated"].any())
    figures = {
        "headline": "Dot: mean over seeds; line: 95 % interval over patients and seeds; dashed: no encoder.",
        "gains": "Differences are paired over patients and seeds; a line that stays right of zero is a gain.",
        "gain_map": "All shares of the labels and fine-tuning; intervals are in the tables of the tasks.",
        "ranks": RANK_NOTE,
    }
    section = Section("overview", "Overview", title("Overview", simulated), seed_notes(headline(view)))
    section.figures = _figures(results / "plots", figures)
    section.tables.append(_table("Primary metrics", html_table(headline_table(view), "method"), simulated))
    for name, frame in rank_tables(pd.read_csv(results / "tables" / "ranks.csv")).items():
        content = html_table(frame.set_index("method"), "method")
        section.tables.append(_table(f"Mean ranks. {name}", content, simulated))
    return section


def _ablations(view: pd.DataFrame, results: Path) -> Section:
    simulated = bool(view["simulated"].any())
    notes = [ABLATION_NOTE, *seed_notes(headline(view))]
    section = Section("ablations", "Ablations", title("Ablations, primary metrics", simulated), notes)
    for name, frame in ablation_tables(pd.read_csv(results / "tables" / "ablations.csv")).items():
        section.tables.append(_table(name, html_table(frame.set_index("variant"), "variant"), simulated))
    return section


def _table(text: str, content: str, simulated: bool) -> dict[str, str]:
    return {"title": title(text, simulated), "content": content}


def _split(name: str, wide: pd.DataFrame, simulated: bool) -> list[dict[str, str]]:
    """A table of methods, in several where it has too many columns for a page."""
    return [_table(name, html_table(part, "method"), simulated) for part in parts(wide)]


def _task_tables(view: pd.DataFrame, task: str) -> list[dict[str, str]]:
    tables, simulated = [], bool(view["simulated"].any())
    for setting, group in view.groupby("setting", sort=False):
        macro, single = group[group["finding"] == ""], group[group["finding"] != ""]
        if macro["fraction"].isna().all():
            tables += _split(str(setting), by_metric(macro, task), simulated)
        else:
            for metric in metrics_in_order(macro, task):
                wide = pivot(macro[macro["metric"] == metric], "at")
                tables += _split(f"{metric_title(metric)} · {setting}", wide, simulated)
        for at, rows in single[single["metric"] == "auroc"].groupby("at", sort=False):
            tables += _split(f"AUROC by finding · {setting}, {at}", pivot(rows, "finding"), simulated)
    return tables


def _task(view: pd.DataFrame, differences: pd.DataFrame, task: str, plots: Path) -> Section:
    chosen = view[view["task"] == task]
    simulated = bool(chosen["simulated"].any())
    caption = "Dots: mean over seeds; lines: 95 % interval over test patients and seeds; dashed: no training."
    names = {f"task_{task}": caption}
    pictures = sorted(path.stem for path in plots.glob(f"examples_{task}_*.png"))
    names |= {name: name.removeprefix(f"examples_{task}_").replace("_", " ") for name in pictures}
    section = Section(task, TASK_TITLES[task], title(TASK_TITLES[task], simulated), seed_notes(chosen))
    section.figures = _figures(plots, names)
    section.tables = _task_tables(chosen, task)
    for name, frame in difference_tables(differences[differences["task"] == task]).items():
        content = html_table(frame.set_index("method"), "method")
        section.tables.append(_table(f"Paired differences. {name}", content, simulated))
    return section


def _provenance(view: pd.DataFrame, provenance: Mapping[str, Any], results: Path) -> Section:
    simulated = bool(view["simulated"].any())
    caption = "Named losses as optimised, smoothed, each on its own scale; a line per pre-training seed."
    names = sorted(path.stem for path in (results / "plots").glob("pretraining_*.svg"))
    figures = _figures(results / "plots", dict.fromkeys(names, caption))
    section = Section("provenance", "Runs", title("Pre-training and provenance", simulated), figures=figures)
    facts = pd.DataFrame({"value": {key: str(value) for key, value in provenance.items()}})
    if len(facts):
        section.tables.append(_table("Made with", html_table(facts, "what"), simulated))
    runs = pd.read_csv(results / "runs.csv")
    if len(runs):
        shown = runs.fillna("").set_index("run").rename(columns={"hardware": "machine"})
        section.tables.append(_table("Runs", html_table(shown, "run"), simulated))
    return section


def page(
    results: Path,
    provenance: Mapping[str, Any] | None = None,
    tasks: Sequence[str] = tuple(PRIMARY),
    with_ablations: bool = False,
) -> None:
    """Write `index.html`; it needs no network and no other file.

    Args:
        results: folder with what `collect` and `plots` wrote; figures that are missing are left out.
        provenance: facts to show (commit, parameters, versions), in this order.
        tasks: order of the tabs.
        with_ablations: whether `collect` wrote `ablations.csv`.
    """
    view = load_view(results / "results.csv")
    simulated = bool(view["simulated"].any())
    differences = pd.read_csv(results / "tables" / "differences.csv")
    present = [task for task in tasks if task in set(view["task"])]
    sections = [_overview(view, results)]
    sections += [_task(view, differences, task, results / "plots") for task in present]
    sections += [_ablations(view, results)] if with_ablations else []
    sections.append(_provenance(view, provenance or {}, results))
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER), autoescape=True, trim_blocks=True
    )
    assets = {name: _asset(name) for name in ("page.css", "page.js")}
    measured = view.loc[view["encoder"], "label"].nunique()
    text = environment.get_template("page.html.j2").render(
        heading=title("Image encoders pre-trained on radiology reports", simulated),
        simulated=simulated,
        simulated_note=SIMULATED_NOTE,
        summary=f"{measured} encoders, {view['task'].nunique()} downstream tasks, one long table of results.",
        sections=sections,
        css=assets["page.css"],
        javascript=assets["page.js"],
    )
    write_text(results / "index.html", text)


def _asset(name: str) -> Markup:
    return Markup((FOLDER / name).read_text(encoding="utf-8"))
