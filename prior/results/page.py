"""One self-contained HTML page: headline, leaderboard, every task, protocols, and what made the results."""

import html
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup

from prior.data.files import write_text
from prior.metrics.rows import PRIMARY, TASK_TITLES
from prior.results.beside import beside_published
from prior.results.compared import ablation_tables, difference_tables, rank_tables, subgroup_tables
from prior.results.html import html_table, inline_figure, share_styles
from prior.results.leaderboard import leaderboard_rows, payload
from prior.results.lovt_table import HEADING, NOTES, lovt_rows, lovt_tables, read_omitted, refusals
from prior.results.paper_forms import PAPER_NOTES, paper_forms, paper_tables
from prior.results.provenance import data_table, facts, knob_tables, parameters_text, run_table
from prior.results.spread import HEADING as SPREAD_HEADING
from prior.results.spread import SPREAD_NOTE, spread
from prior.results.tables import (
    ABLATION_NOTE,
    RANK_NOTE,
    mark_notes,
    notes,
    read_subgroups,
    seed_notes,
    subgroup_notes,
)
from prior.results.view import SIMULATED_NOTE, headline, load_view, title
from prior.results.wide import headline_table, parts, pivot, protocol_tables, task_tables, with_row_marks

FOLDER = Path(__file__).parent
LIBRARY = "vendor/datatables.net-3.1.5/dataTables.min.js"
"""The table library (MIT, licence beside it); another version is another path, so the page is made anew."""
SHOWN_BY_FINDING = ("auroc",)
CAPTIONS = {
    "headline": "Dot: mean over seeds; line: 95 % interval over patients and seeds; dashed: no encoder.",
    "gains": "Differences are paired over patients and seeds; a line that stays right of zero is a gain.",
    "forest": "Paired over patients and seeds; hollow: not significant by Holm's rule over the methods.",
    "gain_map": "All shares of the labels and fine-tuning; intervals are in the tables of the tasks.",
    "ranks": RANK_NOTE,
    "seeds": "A mark for every seed (folds averaged); stroke: their mean.",
}
Groups = Mapping[tuple[str, str], pd.DataFrame]
"""Task and title → table, of `subgroup_tables`."""


@dataclass
class Section:
    """A tab: tables have `title`, `content` (HTML) and `folded`, figures `content` and `caption`."""

    key: str
    name: str
    title: str
    notes: list[str] = field(default_factory=list)
    figures: list[dict[str, str]] = field(default_factory=list)
    tables: list[dict[str, Any]] = field(default_factory=list)


def _figures(folder: Path, captions: Mapping[str, str], simulated: bool) -> list[dict[str, str]]:
    found = []
    for name, caption in captions.items():
        if (folder / f"{name}.svg").exists():
            words = title(name.replace("_", " "), simulated)
            found.append({"content": inline_figure(folder / name, words), "caption": caption})
    return found


def _table(text: str, content: str, simulated: bool, folded: bool = False) -> dict[str, Any]:
    return {"title": title(text, simulated), "content": content, "folded": folded}


def _split(name: str, wide: pd.DataFrame, rows: pd.DataFrame, simulated: bool) -> list[dict[str, Any]]:
    """A table of methods whose cells open their runs, in several where it has too many columns for a page."""
    pairs = zip(parts(wide), parts(rows), strict=True)
    return [_table(name, html_table(part, "method", links), simulated) for part, links in pairs]


def _overview(view: pd.DataFrame, results: Path) -> Section:
    simulated = bool(view["simulated"].any())
    lines = [*seed_notes(headline(view)), *mark_notes(headline(view))]
    section = Section("overview", "Overview", title("Overview", simulated), lines)
    section.tables += _split(
        "Primary endpoints", headline_table(view), headline_table(view, "row"), simulated
    )
    section.figures = _figures(results / "plots", CAPTIONS, simulated)
    ranks = with_row_marks(rank_tables(pd.read_csv(results / "tables" / "ranks.csv")), view)
    for name, frame in ranks.items():
        content = html_table(frame.set_index("method"), "method")
        section.tables.append(_table(f"Mean ranks. {name}", content, simulated))
    return section


def _ablations(view: pd.DataFrame, results: Path) -> Section:
    simulated = bool(view["simulated"].any())
    lines = [ABLATION_NOTE, *seed_notes(headline(view))]
    section = Section("ablations", "Ablations", title("Ablations, primary metrics", simulated), lines)
    frames = ablation_tables(pd.read_csv(results / "tables" / "ablations.csv"))
    for name, frame in with_row_marks(frames, view).items():
        section.tables.append(_table(name, html_table(frame.set_index("variant"), "variant"), simulated))
    return section


def _task(view: pd.DataFrame, differences: pd.DataFrame, task: str, plots: Path, groups: Groups) -> Section:
    chosen = view[view["task"] == task]
    simulated = bool(chosen["simulated"].any())
    caption = "Dots: mean over seeds; lines: 95 % interval over test patients and seeds; dashed: no training."
    captions = {f"task_{task}": caption}
    for kind in ("roc", "embeddings", "examples"):
        pictures = sorted(path.stem for path in plots.glob(f"{kind}_{task}_*.png"))
        captions |= {name: _place(name.removeprefix(f"{kind}_{task}_"), chosen) for name in pictures}
    lines = [line for line in notes(chosen) if line != SIMULATED_NOTE]
    section = Section(task, TASK_TITLES[task], title(TASK_TITLES[task], simulated), lines)
    section.figures = _figures(plots, captions, simulated)
    rows = task_tables(chosen, task, "row", SHOWN_BY_FINDING)
    for place, wide in task_tables(chosen, task, "cell", SHOWN_BY_FINDING).items():
        section.tables += _split(" · ".join(reversed(place)), wide, rows[place], simulated)
    frames = difference_tables(differences[differences["task"] == task])
    for name, frame in with_row_marks(frames, view).items():
        content = html_table(frame.set_index("method"), "method")
        section.tables.append(_table(f"Paired differences. {name}", content, simulated))
    own = {name: frame for (of_task, name), frame in groups.items() if of_task == task}
    for name, frame in with_row_marks(own, view).items():
        content = html_table(frame.set_index("method"), "method")
        section.tables.append(_table(f"Subgroups. {name}", content, simulated, folded=True))
    section.notes += [f"Subgroups (at the end). {' '.join(subgroup_notes(simulated))}"] if own else []
    return section


def _place(name: str, view: pd.DataFrame) -> str:
    """`siim_strict_small-frozen` → `siim, strict_small, frozen`."""
    for protocol in view["protocol"].unique():
        name = name.replace(f"_{protocol}-", f", {protocol}, ")
    return name


def papers_section(view: pd.DataFrame, results: Path, with_lovt18: bool) -> Section:
    """The cells in the forms of papers, and where all of LoVT's tasks were run, those in LoVT's."""
    simulated = bool(view["simulated"].any())
    lines = [*PAPER_NOTES, *mark_notes(view.assign(published=""))]
    section = Section("papers", "As in papers", title("In the forms of papers", simulated), lines)
    if with_lovt18:
        omitted = read_omitted(results)
        rows = lovt_rows(view, omitted)
        section.notes += [f"{HEADING}. {note}" for note in (*NOTES, *refusals(omitted))]
        links = pivot(rows, "column", "row")
        for name, wide in lovt_tables(rows).items():
            own = links.reindex(columns=wide.columns, fill_value="")
            section.tables += _split(f"{HEADING} · {name}", wide, own, simulated)
    forms = paper_forms(view, pd.read_csv(results / "tables" / "ranks.csv"))
    for name, wide in paper_tables(forms).items():
        # Percent are no text of the leaderboard; the same cells open their runs in the tabs of the tasks.
        section.tables += [_table(name, html_table(part, "method"), simulated) for part in parts(wide)]
    return section


def _protocols(view: pd.DataFrame, settings: Mapping[str, Any]) -> Section:
    simulated = bool(view["simulated"].any())
    lines = ["Every knob that an evaluation reads, its value, and where the value comes from."]
    rows, moved = protocol_tables(view, "row"), spread(view)
    lines += [] if moved.empty else [SPREAD_NOTE]
    section = Section("protocols", "Protocols", title("Protocols", simulated), lines)
    if not moved.empty:
        table = html_table(moved.set_index("number"), "number")
        section.tables.append(_table(SPREAD_HEADING, table, simulated))
    for name, frame in knob_tables(settings.get("protocols", [])).items():
        section.tables.append(_table(name, html_table(frame, "knob"), simulated, folded=True))
    for name, wide in protocol_tables(view).items():
        section.tables += _split(f"Side by side. {name}", wide, rows[name], simulated)
    return section


def _data(view: pd.DataFrame, settings: Mapping[str, Any], results: Path, prepared: Path) -> list[Section]:
    """Counts, splits, labels and hashes of the data sets whose manifests are at hand."""
    simulated, names = bool(view["simulated"].any()), settings.get("datasets", [])
    frame = data_table(prepared, names)
    if frame.empty:
        return []
    section = Section("data", "Data", title("Data", simulated))
    section.tables = [_table("Counts and hashes", html_table(frame, "data set"), simulated)]
    caption = (
        "Labels of all images; in which share of each part they are present; sizes; what two parts share."
    )
    cards = {f"data_{name}": caption for name in names}
    section.figures = _figures(results / "plots", cards, simulated)
    return [section]


def _provenance(view: pd.DataFrame, settings: Mapping[str, Any], results: Path) -> Section:
    simulated, plots = bool(view["simulated"].any()), results / "plots"
    caption = "Named losses as optimised, smoothed, each on its own scale; a line per pre-training seed."
    names = sorted(path.stem for path in plots.glob("pretraining_*.svg"))
    figures = _figures(plots, dict.fromkeys(names, caption), simulated)
    section = Section("provenance", "Runs", title("Pre-training and provenance", simulated), figures=figures)
    runs = pd.read_csv(results / "runs.csv")
    made = pd.DataFrame({"value": facts(settings, runs)})
    section.tables.append(_table("Made with", html_table(made, "what"), simulated))
    if settings.get("params"):
        text = f"<pre>{html.escape(parameters_text(settings['params']))}</pre>"
        section.tables.append(_table("Parameters", text, simulated, folded=True))
    if len(runs):
        content = html_table(run_table(runs), "run")
        section.tables.append(_table("All runs", content, simulated, folded=True))
    return section


def page(results: Path, settings: Mapping[str, Any] | None = None, prepared: Path | None = None) -> None:
    """Write `index.html`; it needs no network and no other file.

    Args:
        results: folder with what `collect` and `plots` wrote; figures that are missing are left out.
        settings: as `Graph.page_settings`; what is missing is not shown.
        prepared: `data/prepared`, of whose data sets the manifests are shown.
    """
    settings, prepared = settings or {}, prepared or Path("data/prepared")
    view = leaderboard_rows(beside_published(load_view(results / "results.csv")))
    simulated = bool(view["simulated"].any())
    differences = pd.read_csv(results / "tables" / "differences.csv")
    present = [task for task in settings.get("tasks", PRIMARY) if task in set(view["task"])]
    board = Section("leaderboard", "Leaderboard", title("Leaderboard", simulated), mark_notes(view))
    sections = [_overview(view, results), board]
    groups = subgroup_tables(read_subgroups(results / "tables"))
    sections += [_task(view, differences, task, results / "plots", groups) for task in present]
    sections += [_ablations(view, results)] if settings.get("ablations") else []
    sections += [papers_section(view, results, bool(settings.get("lovt18")))]
    sections += [_protocols(view, settings), *_data(view, settings, results, prepared)]
    sections += [_provenance(view, settings, results)]
    figures = [figure for section in sections for figure in section.figures]
    contents, styles = share_styles([figure["content"] for figure in figures])
    for figure, content in zip(figures, contents, strict=True):
        figure["content"] = content
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    measured = view.loc[view["encoder"], "label"].nunique()
    text = environment.get_template("page.html.j2").render(
        heading=title("Image encoders pre-trained on radiology reports", simulated),
        simulated=simulated,
        simulated_note=SIMULATED_NOTE,
        summary=_summary(measured, view),
        sections=sections,
        first=("overview", "data", "provenance"),
        data=_json(payload(view, results)),
        css=_asset("page.css") + Markup(styles),
        library=_asset(LIBRARY),
        javascript=_asset("page.js"),
    )
    write_text(results / "index.html", text)


def _summary(measured: int, view: pd.DataFrame) -> str:
    tasks = list(dict.fromkeys(TASK_TITLES[task].lower() for task in PRIMARY if task in set(view["task"])))
    return f"{measured} encoders, {len(tasks)} downstream tasks ({', '.join(tasks)}), one table of results."


def _json(content: dict[str, Any]) -> Markup:
    """JSON that may stand in a script element."""
    return Markup(json.dumps(content, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c"))


def _asset(name: str) -> Markup:
    return Markup((FOLDER / name).read_text(encoding="utf-8"))
