"""Published figures: the file, its checks, conflicts, tables, and their place beside measured cells."""

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parent))
from small_table import frame

from prior.errors import InputError
from prior.methods import METHODS
from prior.metrics.rows import read_rows
from prior.results import beside
from prior.results.beside import (
    against_published,
    beside_published,
    published_report,
    span,
    with_published,
)
from prior.results.page import page
from prior.results.published import conflicts, families, load_published, lookup
from prior.results.published_figure import Published, Source
from prior.results.published_tables import published_markdown, published_metric_title
from prior.results.tables import tables

REAL = {"simulated": False, "protocol": "mgca", "dataset": "rsna"}
COLUMNS = [{"fraction": 0.1}, {"fraction": 1.0}]
BLOCK: dict[str, Any] = {
    **{"source": "paper", "table": "Table 1", "confidence": {"others": "M", "mgca": "H"}},
    **{"task": "segmentation", "dataset": "siim", "family": "mgca", "setting": "frozen"},
    **{"metric": "dice_image_all", "scale": 100, "columns": COLUMNS},
    "values": {"mgca (ViT)": "65.4 / 69.6", "random": "- / 54.3"},
}


def write(path: Path, **changes: Any) -> Path:
    block = {**BLOCK, **changes}
    content = {
        "sources": {"paper": {"title": "P", "id": "x"}, "other": {"title": "O", "id": "y"}},
        "families": {"mgca": "frozen"},
        "blocks": [{key: value for key, value in block.items() if value is not None}],
    }
    path.write_text(yaml.safe_dump(content, allow_unicode=True))
    return path


def figure(**changes: Any) -> Published:
    content = {
        **{"method": "convirt", "task": "classification", "dataset": "rsna", "family": "mgca"},
        **{"setting": "linear", "fraction": 0.1, "metric": "auroc_macro", "printed": "75", "scale": 100},
        **{"source": Source(title="P", id="x"), "table": "1", "confidence": "H"},
    }
    return Published.model_validate({**content, **changes})


def test_a_block_becomes_one_entry_per_cell(tmp_path: Path) -> None:
    first, second, third = load_published(write(tmp_path / "p.yaml"))
    assert (first.method, first.variant, first.fraction, first.value) == ("mgca", "ViT", 0.1, 0.654)
    assert (second.fraction, second.confidence) == (1.0, "H")
    assert (third.method, third.variant, third.fraction, third.confidence) == ("random", "", 1.0, "M")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"metric": None},
            r"block 1 \(paper, Table 1\), row `mgca \(ViT\)`: column 1: metric: Field required",
        ),
        ({"task": "reading"}, r"row `mgca \(ViT\)`: column 1: task: .*'reading'"),
        ({"columns": [{"fraction": 10}, {"fraction": 1.0}]}, "column 1: fraction: .*10"),
        ({"columns": [{"fraction": 0.1}]}, r"row `mgca \(ViT\)`: values: 2 cells for 1 columns"),
        ({"values": {"random": "- / 5,4"}}, "row `random`: column 2: printed: .*5,4"),
        ({"values": {"Random!": "1 / 2"}}, "row `Random!`: values: a row is named"),
        ({"values": {"random": "1±.1 / 2"}}, "row `random`: column 1: spread: "),
        ({"scale": 1}, "column 1: scale: 65.4 is no share"),
        ({"inferred": ["fractoin"]}, "column 1: inferred: `fractoin` is no key"),
        ({"fold": 1}, "column 1: fold: Extra inputs"),
        ({"family": "mcga"}, "family: `mcga` is not below `families`"),
        ({"source": "nobody"}, r"block 1 \(nobody, Table 1\): source: `nobody`"),
        ({"confidence": {"mgca": "H"}}, "confidence: a mapping needs `others`"),
        ({"confidence": "sure"}, r"block 1 \(paper, Table 1\): .*'sure'"),
        ({"values": None}, r"block 1 \(paper, Table 1\): values: Field required"),
        ({"columns": [{"fraction": 1.0}] * 2}, r"row `mgca \(ViT\)`: values: the same cell"),
    ],
)
def test_a_mistake_is_one_message_with_entry_and_key(tmp_path: Path, changes: Any, message: str) -> None:
    path = write(tmp_path / "p.yaml", **changes)
    with pytest.raises(InputError, match=message) as caught:
        load_published(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_row_that_is_given_twice_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "p.yaml")
    path.write_text(path.read_text().replace("    random:", "    random: 1 / 2\n    random:"))
    with pytest.raises(InputError, match="`random` twice"):
        load_published(path)


@pytest.mark.parametrize(
    ("cell", "method", "variant", "source", "printed", "confidence"),
    [
        (("detection", "rsna", "prior", 1.0, "map_40_75"), "prior", "", "wizwand", "25.2", "M"),
        (("classification", "siim", "mgca", 0.1, "auroc_macro"), "prior", "", "EGMA", "89.72", "M"),
        (("zero_shot", "chexpert", "egma", None, "accuracy_5x200"), "prior", "", "EGMA", "34.90", "M"),
        (("retrieval", "mimic_5x200", "medcta", None, "p_at_10_i2t"), "prior", "", "MedCTA", "36.55", "M"),
        (("detection", "rsna", "lovt", 0.01, "map_40_75"), "lovt", "30 % of MIMIC", "LoVT", "7.7±1.0", "H"),
        (("segmentation", "covid_rural", "lovt", 1.0, "dice_pooled"), "lovt", "", "LoVT", "51.2±2.5", "H"),
        (("detection", "object_cxr", "lovt", 1.0, "froc"), "pixelpro", "", "LoVT", "65.0±.5", "H"),
        (
            ("segmentation", "nih_boxes", "lovt", 1.0, "dice_pooled_macro"),
            "convirt",
            "",
            "LoVT",
            "18.6±.1",
            "H",
        ),
        (("classification", "rsna", "convirt", 0.01, "auroc_macro"), "convirt", "", "ConVIRT", "90.7", "M"),
        (("segmentation", "siim", "mgca", 0.01, "dice_image_all"), "g2d", "with decoder", "G2D", "65.6", "H"),
        (("detection", "object_cxr", "mgca", 0.1, "map_40_75_mgca"), "mgca", "", "G2D", "12.1", "M"),
        (("classification", "covidx", "mgca", 0.1, "accuracy_exclusive"), "asg", "ViT", "ASG", "87.0", "H"),
        (("classification", "nih_chestxray14", "maco", 0.1, "auroc_macro"), "maco", "", "MaCo", "83.8", "H"),
        (("classification", "siim", "benchx", 0.01, "f1_macro"), "m_flag", "", "BenchX", "47.1±.3", "M"),
        (("segmentation", "tbx11k", "benchx", 1.0, "mdice_pooled"), "mrm", "", "BenchX", "87.85±.47", "M"),
        (("report_generation", "iu_xray", "benchx", 1.0, "bleu_4"), "gloria", "", "BenchX", ".170", "M"),
        (("all", "all", "benchx", None, "mean_rank"), "mrm", "", "BenchX", "2.00", "M"),
        (
            ("segmentation", "siim", "radzero", 0.01, "dice_positive_images"),
            "mgca",
            "",
            "RadZero",
            ".144",
            "H",
        ),
        (("zero_shot", "chexpert", "mavl", None, "auroc_macro"), "chexzero", "", "MAVL", "87.90", "H"),
    ],
)
def test_figures_of_every_kind_are_found(
    cell: Any, method: str, variant: str, source: str, printed: str, confidence: str
) -> None:
    found = [f for f in lookup(*cell) if (f.method, f.variant, f.source.title) == (method, variant, source)]
    assert (printed, confidence) in [(f.printed, f.confidence) for f in found]


def test_names_are_ours_where_they_are_ours() -> None:
    figures = load_published()
    assert {"random", "imagenet", "convirt", "clip", "gloria", "lovt", "mgca", "prior", "simclr"} <= {
        f.method for f in figures if f.method in METHODS
    }
    assert {f.family for f in figures} == set(families())
    assert not {f.metric for f in figures if published_metric_title(f.metric) == f.metric}


def test_conflicts_are_cells_that_papers_print_differently() -> None:
    found = {group[0].cell[:7]: {(f.source.title, f.printed) for f in group} for group in conflicts()}
    rsna = ("classification", "rsna", "mgca")
    assert found["mrm", "", *rsna, 0.01, "auroc_macro"] == {("G2D", "91.3"), ("ASG", "87.2")}
    assert found["convirt", "", *rsna, 1.0, "auroc_macro"] == {("EGMA", "88.60"), ("G2D", "81.3")}
    assert ("G2D", "86.2") in found["medklip", "", "classification", "chexpert", "mgca", 0.01, "auroc_macro"]
    # Copied rows agree as far as they are printed; other families are other cells.
    assert ("gloria", "", *rsna, 1.0, "auroc_macro") not in found
    assert not any(key[4] == "lovt" for key in found)


def test_figures_agree_as_far_as_the_coarser_is_printed() -> None:
    other = Source(title="O", id="y")
    assert not conflicts([figure(printed="87.66"), figure(printed="87.7", source=other)])
    assert not conflicts([figure(printed="88.6"), figure(printed="88.60", source=other)])
    assert conflicts([figure(printed="87.66"), figure(printed="87.6", source=other)])
    assert not conflicts([figure(printed="87.66"), figure(printed="80", table="2")])


def test_the_document_is_the_output_of_the_command() -> None:
    document = Path(__file__).parents[2] / "docs" / "published.md"
    assert document.read_text(encoding="utf-8") == published_markdown()


def test_every_figure_stands_in_the_document() -> None:
    text = published_markdown()
    shown = re.findall(r"(?<=\| )[\d.]+(?:±[\d.]+)?(?: ≠)? +(?=\|)", text)
    assert len(shown) == len(load_published())


def test_tables_of_one_task_and_data_set() -> None:
    text = published_markdown("segmentation", "siim")
    assert "## Segmentation" in text
    assert "## Detection" not in text
    assert "49.7 " in text
    assert "rsna · mgca" not in text
    disputed = published_markdown("classification", "rsna")
    assert "91.3 ≠" in disputed
    assert "91.3 (G2D), 87.2 (ASG)" in disputed
    with pytest.raises(
        InputError, match=r"nothing is published for `detection` and `chexpert`; .* object_cxr, rsna"
    ):
        published_markdown("detection", "chexpert")


def test_published_figures_are_grey_beside_real_cells_of_the_same_cell_only() -> None:
    rows = frame(
        REAL, REAL | {"protocol": "strict"}, REAL | {"finding": "Pneumonia"}, REAL | {"frozen": False}
    )
    shown = with_published(rows, [figure(), figure(printed="76")])
    texts = shown["published"].tolist()
    assert "color: #767676" in texts[0]
    assert "≠ 0.75 P; 0.76 P" in texts[0]
    assert texts[1:] == ["", "", ""]


def as_real(shown: Path, root: Path) -> Path:
    """A copy of simulated results that says that they are real, and of another protocol family."""
    shutil.copytree(shown / "tables", root / "tables", ignore=shutil.ignore_patterns("*.md", "*.tex"))
    for name in ("runs.csv", "omitted.csv"):
        shutil.copy(shown / name, root / name)
    table = read_rows(shown / "results.csv").assign(simulated=False)
    table.loc[table["task"] == "segmentation", "protocol"] = "mgca"
    table.to_csv(root / "results.csv", index=False)
    return root


def test_tables_and_page_show_published_figures_of_real_cells(
    shown: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = {"task": "segmentation", "dataset": "siim", "setting": "frozen", "metric": "dice_pooled"}
    figures = (figure(**cell, printed="61.3±1.2", spread="sd"), figure(**cell, fraction=0.01, printed="9"))
    monkeypatch.setattr(beside, "load_published", lambda: figures)
    results = as_real(shown, tmp_path)
    tables(results, ["segmentation", "detection"])
    page(results)
    text = (results / "tables" / "segmentation.md").read_text()
    assert text.count("0.613 ± 0.012 P</span>") == 1
    assert text.count("<br><span") == 1
    assert beside.PUBLISHED_NOTE in text
    assert r"\textcolor{gray}{0.613 $\pm$ 0.012 P}" in (results / "tables" / "segmentation.tex").read_text()
    assert "xcolor" not in (results / "tables" / "detection.tex").read_text()
    for name in ("segmentation.csv", "headline.csv", "protocols.csv"):
        assert "0.613" not in (results / "tables" / name).read_text()
    shown_page = (results / "index.html").read_text()
    # The primary cell stands in the overview, in its task, and side by side with other protocols.
    assert shown_page.count('<div class="published">0.613 ± 0.012 P</div>') == 3
    data = json.loads(shown_page.split('id="leaderboard-data">')[1].split("</script>")[0])
    assert list(data["published"].values()) == ["0.613 ± 0.012 P"]


def test_no_table_and_no_page_shows_them_beside_simulated_cells(
    shown: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even where one row of many is simulated, and every key of the others fits."""
    cell = {"task": "segmentation", "dataset": "siim", "setting": "frozen", "metric": "dice_pooled"}
    monkeypatch.setattr(beside, "load_published", lambda: (figure(**cell, printed="61.3"),))
    results = as_real(shown, tmp_path)
    table = read_rows(results / "results.csv")
    table.loc[table["task"] == "detection", "simulated"] = True
    table.to_csv(results / "results.csv", index=False)
    tables(results, ["segmentation"])
    page(results)
    written = [
        *(results / "tables").glob("*.md"),
        *(results / "tables").glob("*.tex"),
        results / "index.html",
    ]
    assert not any("0.613" in path.read_text() for path in written)
    assert (beside_published(read_rows(shown / "results.csv"))["published"] == "").all()


@pytest.mark.parametrize("function", [with_published, against_published, published_report])
def test_simulated_rows_are_refused(function: Any) -> None:
    with pytest.raises(InputError, match=r"1 rows were measured on simulated data \(siim\)"):
        function(frame(REAL, {"dataset": "siim", "protocol": "mgca"}))


def test_spans_by_hand() -> None:
    other = Source(title="O", id="y")
    interval = span([figure(printed="14.9±1.7", spread="ci95")])
    assert (interval.low, interval.high) == pytest.approx((0.1315, 0.1665))
    assert interval.kind == "interval"
    deviation = span([figure(printed="80.0±1.0", spread="sd")])
    assert (deviation.low, deviation.high) == pytest.approx((0.8 - 0.0201, 0.8 + 0.0201), abs=1e-5)
    several = span([figure(printed="87.6"), figure(printed="88.6", source=other)])
    assert (several.low, several.high) == pytest.approx((0.8755, 0.8865))
    assert several.kind == "range"
    assert span([figure()]).kind == "one figure"


def test_measured_cells_are_inside_or_outside() -> None:
    figures = [figure(printed="80.0±2.0", spread="ci95"), figure(method="prior", printed="60")]
    rows = frame(
        REAL | {"value": 0.815, "ci_low": 0.8, "ci_high": 0.83},
        REAL | {"method": "prior", "value": 0.7, "ci_low": 0.65, "ci_high": 0.75},
        REAL | {"method": "prior", "variant": "described", "value": 0.62, "ci_low": 0.59, "ci_high": 0.65},
        REAL | {"method": "random", "value": 0.5},
    )
    found = against_published(rows, figures)
    assert found["verdict"].tolist() == ["inside", "outside", "outside, intervals overlap"]
    text = published_report(rows, figures)
    assert text.startswith("1 of 3 measured cells lie inside")
    assert "[0.7795, 0.8205], interval" in text
    nothing = published_report(frame(REAL | {"protocol": "strict"}), figures)
    assert "Measured families: strict; published: mgca" in nothing
