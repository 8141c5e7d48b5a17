"""The page's numbers are those of the long table; it is one file and says what made it."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from prior.metrics.rows import METHOD_COLUMNS, SETTING_COLUMNS, read_rows
from prior.protocols import load_sources
from prior.results.html import html_table, inline_figure, share_styles, vector_figure
from prior.results.leaderboard import machine_text
from prior.results.provenance import knob_tables
from prior.results.view import load_view, value_text


class Reader(HTMLParser):
    """Collects the JSON of the page, the text of every cell that opens runs, titles, and what is loaded."""

    def __init__(self) -> None:
        super().__init__()
        self.data, self.titles, self.loaded = "", [""], []
        self.opened: list[tuple[int, str]] = []
        self._inside = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.loaded += [given[name] for name in ("src", "href", "srcset", "xlink:href") if name in given]
        if tag == "script":
            self._inside = given.get("id") or "script"
        elif tag == "button" and "data-row" in given:
            self._inside = "button"
            self.opened.append((int(given["data-row"] or -1), ""))
        elif tag in ("h1", "h2", "h3", "title", "summary"):
            self._inside = "title"
            self.titles.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("script", "button", "h1", "h2", "h3", "title", "summary"):
            self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "leaderboard-data":
            self.data += data
        elif self._inside == "button":
            row, text = self.opened[-1]
            self.opened[-1] = row, text + data
        elif self._inside == "title":
            self.titles[-1] += data


def read(results: Path) -> Reader:
    reader = Reader()
    reader.feed((results / "index.html").read_text(encoding="utf-8"))
    return reader


def decoded(data: dict[str, Any]) -> list[dict[str, Any]]:
    rows = []
    for codes, numbers, differences, cells in data["rows"]:
        texts = {name: words[code] for (name, words), code in zip(data["texts"].items(), codes, strict=True)}
        rows.append({**texts, "numbers": numbers, "differences": differences, "cells": cells})
    return rows


def test_every_number_of_the_leaderboard_is_in_the_long_table(shown: Path) -> None:
    rows = decoded(json.loads(read(shown).data))
    view = load_view(shown / "results.csv")
    view = view[(view["finding"] == "") & (view["metric"] != "n_unfit")].reset_index(drop=True)
    assert len(rows) == len(view) > 50
    table = read_rows(shown / "results.csv")
    for row, expected in zip(rows, view.to_dict("records"), strict=True):
        assert row["method"] == expected["label"]
        same = (
            table[[*SETTING_COLUMNS, *METHOD_COLUMNS]]
            == [expected[k] for k in [*SETTING_COLUMNS, *METHOD_COLUMNS]]
        ).all(axis=1)
        same &= (table["metric"] == expected["metric"]) & (table["finding"] == "")
        if not expected["baseline"]:
            same &= table["fraction"].eq(expected["fraction"]) | table["fraction"].isna()
        mean, cells = table[same & table["seed"].isna()], table[same & table["seed"].notna()]
        numbers = mean[["value", "ci_low", "ci_high"]].iloc[0].tolist()
        assert row["numbers"][:3] == [None if pd.isna(number) else number for number in numbers]
        assert [cell[3] for cell in row["cells"]] == cells["value"].tolist()
        assert row["numbers"][3] == len(row["cells"])


def test_differences_beside_a_row_are_those_of_the_table(shown: Path) -> None:
    data = json.loads(read(shown).data)
    table = pd.read_csv(shown / "tables" / "differences.csv")
    found = sorted(difference[0] for row in decoded(data) for difference in row["differences"])
    assert found == sorted(table["difference"])


def test_a_cell_of_a_table_shows_the_row_that_it_opens(shown: Path) -> None:
    reader = read(shown)
    rows = decoded(json.loads(reader.data))
    assert len(reader.opened) > 50
    for row, text in reader.opened:
        value, low, high = (float("nan") if x is None else x for x in rows[row]["numbers"][:3])
        assert text.replace("†", "") == value_text(value, low, high)
        assert ("†" in text) == (rows[row]["mark"] == "not worse")


def test_runs_lead_to_their_records(shown: Path) -> None:
    data = json.loads(read(shown).data)
    runs = {run["run"]: run for run in data["runs"]}
    name = "classification/chexpert/strict_small-linear/prior-described-s0"
    assert runs[name]["parts"]["evaluation"] == {"seconds": 12.5, "commit": "abc", "machine": "2 cores"}
    assert any("seeds 0, 1: " in text for text in runs[name]["refused"])


def test_the_page_loads_nothing_and_every_title_says_simulated(shown: Path) -> None:
    reader = read(shown)
    assert (shown / "index.html").stat().st_size < 2 * 2**20
    assert all(address.startswith(("data:", "#")) for address in reader.loaded if address)
    titles = [text.strip() for text in reader.titles if text.strip()]
    assert len(titles) > 20
    assert all(text.startswith("SIMULATED DATA") for text in titles)


def test_protocols_and_provenance_are_shown(shown: Path) -> None:
    text = (shown / "index.html").read_text(encoding="utf-8")
    assert all(word in text for word in ("0123456789abcdef", "strict: test 100, train 200", "epochs: 8"))
    assert "searched on the first seed only" in text
    tables = knob_tables(
        [["strict_small", "classification", "linear"], ["strict_small", "retrieval", "pairs"]]
    )
    shared, own, _ = tables.values()
    sources = load_sources("strict_small", "classification", "linear")
    assert {**shared["source"], **own["source"]} == sources
    assert "split" in shared.index
    assert "optimiser" not in shared.index
    assert own.loc["c_folds", "value"] == "5"


def test_ids_of_two_figures_do_not_meet(tmp_path: Path) -> None:
    clip = '<clipPath id="p0123456789"/><g clip-path="url(#p0123456789)"/>'
    markup = f'<svg viewBox="0"><g id="figure_1">{clip}</g></svg>'
    texts = []
    for name in ("a", "b"):
        (tmp_path / f"{name}.svg").write_text(markup)
        texts.append(vector_figure(tmp_path / name, "words"))
        (found,) = re.findall(r'id="([^"]+)"', texts[-1])
        assert f"url(#{found})" in texts[-1]
    assert texts[0] != texts[1]
    assert 'aria-label="words"' in texts[0]


def test_the_smaller_one_of_drawing_and_picture_is_shown(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (60, 60, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    (tmp_path / "a.svg").write_text('<svg viewBox="0"/>')
    assert inline_figure(tmp_path / "a", "words").startswith('<svg role="img" aria-label="words"')
    (tmp_path / "a.svg").write_text(f'<svg viewBox="0"><path d="{"M 1 1" * 2000}"/></svg>')
    assert inline_figure(tmp_path / "a", "words").startswith('<img alt="words" src="data:image/webp;base64,')


def test_styles_are_named_once() -> None:
    figures = ['<path style="fill: red"/><use style="fill: blue"/>', '<path style="fill: red"/>']
    shared, css = share_styles(figures)
    assert shared == ['<path class="s0"/><use class="s1"/>', '<path class="s0"/>']
    assert css == ".s0{fill: red}\n.s1{fill: blue}"


def test_marks_and_order_of_cells() -> None:
    cells = ["**0.8 [0.7, 0.9]**", "0.7 [0.6, 0.8] †", "< .001", "–", "9.5 ± 2.1 (3)"]
    frame = pd.DataFrame({"x": cells}, index=list("abcde"))
    rows = pd.DataFrame({"x": ["0", "1", "", "", ""]}, index=list("abcde"))
    text = html_table(frame, "method", rows)
    assert '<button type="button" class="open" data-row="0"><strong>0.8</strong> ' in text
    assert "0.7<sup>†</sup>" in text
    assert re.findall(r'data-order="([^"]*)"', text) == ["0.8", "0.7", ".001", "", "9.5"]


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ('{"cpu": "C", "cores": 2, "machine": "x"}', "C, 2 cores"),
        ('{"gpu": "G"}', "G"),
        ("by hand", "by hand"),
        ("", ""),
    ],
)
def test_machines_in_words(record: str, words: str) -> None:
    assert machine_text(record) == words
