"""Tables for readers, in Markdown, CSV and LaTeX, from `results.csv` and what `collect` compared."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from prior.data.files import atomic_path, write_text
from prior.metrics.rows import PRIMARY, TASK_TITLES
from prior.results.beside import PUBLISHED_NOTE, beside_published
from prior.results.compared import ablation_tables, difference_tables, rank_tables, subgroup_tables
from prior.results.contamination import contamination_notes
from prior.results.latex import latex_document
from prior.results.lovt_table import (
    HEADING,
    NAME,
    NOTES,
    lovt_csv,
    lovt_rows,
    lovt_tables,
    read_omitted,
    refusals,
)
from prior.results.marks import MARK_NOTE
from prior.results.paper_forms import PAPER_NOTES, paper_csv, paper_forms, paper_tables
from prior.results.spread import HEADING as SPREAD_HEADING
from prior.results.spread import SPREAD_NOTE, spread
from prior.results.subgroups import COLUMNS, FEWEST_IMAGES, FEWEST_OF_A_LABEL
from prior.results.view import SIMULATED_NOTE, checkpoint_note, headline, load_view, title
from prior.results.wide import (
    headline_table,
    parts,
    protocol_rows,
    protocol_tables,
    task_tables,
    with_row_marks,
)

CSV_COLUMNS = [
    *("task", "setting_text", "metric", "role", "finding", "at", "label", "value", "ci_low", "ci_high"),
    *("mark", "n_seeds", "n_pretrain_seeds", "n_train", "n_test", "n_pos", "simulated", "contamination"),
]
INTERVAL_NOTE = "Mean [95 % interval over test patients and seeds]."
RANK_NOTE = (
    "Mean rank on the primary metrics (1 is best; data sets of one task are averaged first) "
    "[95 % of the ranks when test patients and seeds are drawn anew]."
)
SUBGROUP_NOTES = (
    f"Each metric on the images of one group alone, in groups of {FEWEST_IMAGES} images or more; macro "
    f"metrics over the findings of which every group has {FEWEST_OF_A_LABEL} images with each label. Largest "
    "gap: best minus worst group, over patients and seeds; as both are chosen on the same test set, its "
    "interval is too narrow where there are more than two groups.",
    "Exploratory: groups differ in age, view and disease together, and a gap says nothing about its cause.",
)
SIMULATED_GAPS = "Gaps between simulated patients say nothing about fairness."
ABLATION_NOTE = "Δ: paired difference to the full variant (first row)."


def _columns(wide: pd.DataFrame) -> list[pd.DataFrame]:
    """The parts of a table of methods, its index as the column `method`."""
    return [part.rename_axis("method").reset_index() for part in parts(wide)]


def markdown(frame: pd.DataFrame) -> str:
    """A table of text as Markdown."""
    return frame.to_markdown(index=False, disable_numparse=True)


def seed_notes(view: pd.DataFrame) -> list[str]:
    """What the interval is, how many seeds of both kinds, and what the comparison is therefore of."""
    measured = view[view["encoder"]]
    evaluations, pretrainings = (
        " or ".join(f"{n:.0f}" for n in sorted(set(counts.dropna()))) or "no"
        for counts in (
            measured["n_seeds"] / measured["n_pretrain_seeds"].clip(1),
            measured["n_pretrain_seeds"],
        )
    )
    seeds = f"Seeds: {pretrainings} of pre-training, {evaluations} of each evaluation."
    equal = view.loc[view["equal_seeds"], ["label", "setting_text", "at"]].drop_duplicates()
    cells = "; ".join(", ".join(cell) for cell in equal.itertuples(index=False))
    repeated = f"Equal in two seeds, so that the interval is too narrow: {cells}." if cells else ""
    return [f"{INTERVAL_NOTE} {seeds}", *filter(None, [checkpoint_note(view), repeated])]


def mark_notes(view: pd.DataFrame) -> list[str]:
    """What marks, signs and grey figures in the cells of `view` mean."""
    found = [MARK_NOTE] if (view["mark"] != "").any() else []
    found += contamination_notes(view["contamination"])
    return [*found, *([PUBLISHED_NOTE] if (view["published"] != "").any() else [])]


def notes(view: pd.DataFrame) -> list[str]:
    """Captions under a table: simulated or not, the notes on seeds, what the marks mean."""
    warning = [SIMULATED_NOTE] if view["simulated"].any() else []
    return [*warning, *seed_notes(view), *mark_notes(view)]


def subgroup_notes(simulated: bool) -> list[str]:
    """What a table of subgroups shows, and what it does not."""
    return [*SUBGROUP_NOTES, *([SIMULATED_GAPS] if simulated else [])]


def read_subgroups(tables: Path) -> pd.DataFrame:
    """Read `subgroups.csv` of a folder of tables; where there is none, a table without rows."""
    path = tables / "subgroups.csv"
    return pd.read_csv(path) if path.exists() else pd.DataFrame(columns=COLUMNS)


def _write_csv(frame: pd.DataFrame, path: Path, index: bool = False) -> None:
    with atomic_path(path) as temporary:
        frame.to_csv(temporary, index=index, lineterminator="\n", float_format="%.6g")


@dataclass(frozen=True)
class Document:
    """A file of tables: its name, its heading, notes, and the tables by their titles."""

    name: str
    heading: str
    notes: Sequence[str]
    tables: Mapping[str, Sequence[pd.DataFrame]]
    simulated: bool

    def write(self, out: Path) -> None:
        """Write `<name>.md` and `<name>.tex`; every title says so where the data are simulated."""
        lines = [f"# {title(self.heading, self.simulated)}", *self.notes]
        captioned: list[tuple[str, pd.DataFrame]] = []
        for name, frames in self.tables.items():
            lines += [f"## {title(name, self.simulated)}", *map(markdown, frames)]
            caption = title(f"{self.heading}. {name}", self.simulated)
            captioned += [(caption, frame) for frame in frames]
        nothing = [] if self.tables else ["Nothing to show."]
        write_text(out / f"{self.name}.md", "\n\n".join([*lines, *nothing]) + "\n")
        write_text(out / f"{self.name}.tex", latex_document(captioned, [*self.notes, *nothing]))


def _compared(view: pd.DataFrame, out: Path, with_ablations: bool) -> list[Document]:
    simulated, (seeds, *checkpoint) = bool(view["simulated"].any()), seed_notes(view)
    warning = [SIMULATED_NOTE] if simulated else []
    kinds = [
        ("differences", "Paired differences", [seeds, *checkpoint], difference_tables),
        ("ranks", "Mean ranks", [RANK_NOTE, *checkpoint], rank_tables),
    ]
    if with_ablations:
        lines = [ABLATION_NOTE, seeds, *checkpoint]
        kinds.append(("ablations", "Ablations, primary metrics", lines, ablation_tables))
    found = []
    for name, heading, lines, make in kinds:
        frames = with_row_marks(make(pd.read_csv(out / f"{name}.csv")), view)
        shown = {key: [frame] for key, frame in frames.items()}
        found.append(Document(name, heading, [*warning, *lines], shown, simulated))
    return found


def _subgroups(view: pd.DataFrame, out: Path) -> Document:
    simulated = bool(view["simulated"].any())
    warning = [SIMULATED_NOTE] if simulated else []
    lines = [*warning, *subgroup_notes(simulated), *filter(None, [checkpoint_note(view)])]
    frames = {name: frame for (_, name), frame in subgroup_tables(read_subgroups(out)).items()}
    found = {name: [frame] for name, frame in with_row_marks(frames, view).items()}
    return Document("subgroups", "Subgroups, primary metrics", lines, found, simulated)


def _papers(view: pd.DataFrame, out: Path) -> Document:
    simulated = bool(view["simulated"].any())
    warning = [SIMULATED_NOTE] if simulated else []
    forms = paper_forms(view, pd.read_csv(out / "ranks.csv"))
    _write_csv(paper_csv(forms), out / "papers.csv")
    found = {name: _columns(wide) for name, wide in paper_tables(forms).items()}
    lines = [*warning, *PAPER_NOTES, *seed_notes(view)[1:], *mark_notes(view.assign(published=""))]
    return Document("papers", "In the forms of papers", lines, found, simulated)


def _lovt18(view: pd.DataFrame, results: Path) -> Document:
    """LoVT's table; its `.csv` is written here too, as the Markdown is cut into parts."""
    omitted = read_omitted(results)
    rows = lovt_rows(view, omitted)
    _write_csv(lovt_csv(rows), results / "tables" / f"{NAME}.csv")
    measured = rows[rows["state"] == ""]
    found = {title: _columns(wide) for title, wide in lovt_tables(rows).items()}
    lines = [*notes(measured), *NOTES, *refusals(omitted)]
    return Document(NAME, HEADING, lines, found, bool(rows["simulated"].any()))


def _task(view: pd.DataFrame, task: str) -> Document:
    simulated = bool(view["simulated"].any())
    if view.empty:
        return Document(task, TASK_TITLES[task], ["Not evaluated."], {}, simulated)
    shown = task_tables(view, task)
    wide = {f"{setting} · {name}": _columns(frame) for (setting, name), frame in shown.items()}
    sizes = view[~view["baseline"] & (view["finding"] == "")].groupby("dataset")["n_test"].max()
    tested = ", ".join(f"{size:.0f} of {dataset}" for dataset, size in sizes.items())
    lines = [*notes(view), *([f"Test images: {tested}."] if tested else [])]
    return Document(task, TASK_TITLES[task], lines, wide, simulated)


def tables(
    results: Path,
    tasks: Sequence[str] = tuple(PRIMARY),
    with_ablations: bool = False,
    with_lovt18: bool = False,
) -> None:
    """Write `headline`, `protocols`, the comparisons and one table per task below `results/tables`.

    All get a `.md` and a `.tex`; `headline`, `protocols`, `papers` and the tasks also a `.csv`, which the
    comparisons have from `collect`, and `subgroups` from its own stage.

    Args:
        results: folder that `collect` wrote.
        tasks: tasks to write; one without rows gets a table that says so.
        with_ablations: whether `collect` wrote `ablations.csv`.
        with_lovt18: whether all of LoVT's tasks were run, which are then also written as one table.
    """
    view, out = beside_published(load_view(results / "results.csv")), results / "tables"
    simulated, lines = bool(view["simulated"].any()), notes(headline(view))
    text = "All tasks at 10 % of the labels, frozen encoders"
    first = {"Primary endpoints": _columns(headline_table(view))}
    moved = spread(view)
    protocols = {} if moved.empty else {SPREAD_HEADING: [moved]}
    protocols |= {name: _columns(frame) for name, frame in protocol_tables(view).items()}
    how = [] if moved.empty else [SPREAD_NOTE]
    documents = [
        Document("headline", text, lines, first, simulated),
        Document("protocols", "Protocols side by side", [*notes(view), *how], protocols, simulated),
        *_compared(view, out, with_ablations),
        _subgroups(view, out),
        _papers(view, out),
        *(_task(view[view["task"] == task], task) for task in tasks),
        *([_lovt18(view, results)] if with_lovt18 else []),
    ]
    for document in documents:
        document.write(out)
    _write_csv(headline_table(view, "plain"), out / "headline.csv", index=True)
    names = {"label": "method", "at": "labels", "setting_text": "setting"}
    compared = protocol_rows(view)[["protocol", *CSV_COLUMNS, "own"]]
    _write_csv(compared.rename(columns={**names, "own": "own_metric"}), out / "protocols.csv")
    for task in tasks:
        _write_csv(view.loc[view["task"] == task, CSV_COLUMNS].rename(columns=names), out / f"{task}.csv")
