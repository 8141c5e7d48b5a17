"""Figures and tables as the markup of the page."""

import base64
import html
import io
import re
import zlib
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from PIL import Image

from prior.metrics.rows import BASELINES
from prior.results.marks import BEST, NOT_WORSE, read_cell
from prior.results.style import GRID, INK, SHARES

BASELINE_LABELS = {name.replace("_", " ") for name in BASELINES}
PICTURE_WIDTH = 800
"""Pixels: more than a column of the page has on a phone, and enough for a sharp one on a desk."""
PICTURE_QUALITY = 50
CELL = re.compile(r"^(\S+(?= \[)|[\d.]+(?= [±(])) ([\[±(].*)$")
"""A value, and behind it an interval, its half width or a rank."""
NUMBER = re.compile(r"^(< )?[-–.\d]*$")
# Matplotlib writes six decimals of a point; labels of the figures have at most three.
FINE = re.compile(r"(\.\d\d)\d\d+")
METADATA = re.compile(r"<metadata>.*?</metadata>|\n *(?=<)", re.DOTALL)
UNUSED_ID = re.compile(r' id="[A-Za-z2.]+_\d+"')
STYLE = re.compile(r' style="([^"]*)"')
USED_ID = re.compile(r'((?:id="|#))(?=[a-z][0-9a-f]{10}\b)')


def inline_figure(stem: Path, name: str) -> str:
    """The smaller one of `<stem>.svg` and `<stem>.png` as markup.

    Line drawings are smaller, and sharper, as SVG; radiographs as pictures.

    Args:
        stem: path without suffix.
        name: what it shows, for readers who do not see it.
    """
    drawing, picture = (make(stem, name) for make in (vector_figure, raster_figure))
    return drawing if len(STYLE.sub("", drawing)) <= len(picture) else picture


def vector_figure(stem: Path, name: str) -> str:
    """`<stem>.svg` as markup whose ink follows the reader's colour scheme."""
    markup = stem.with_suffix(".svg").read_text(encoding="utf-8")
    markup = UNUSED_ID.sub("", METADATA.sub("", markup[markup.index("<svg") :]))
    # Equal shapes of several figures have equal ids, and one that is hidden draws nothing for the others.
    markup = USED_ID.sub(rf"\g<1>f{zlib.crc32(stem.name.encode()):x}", FINE.sub(r"\1", markup))
    markup = markup.replace("<svg ", f'<svg role="img" aria-label="{html.escape(name)}" ', 1)
    for number, colour in enumerate(SHARES):
        markup = markup.replace(colour, f"var(--share-{number})")
    return markup.replace(INK, "currentColor").replace(GRID, "var(--line)")


def raster_figure(stem: Path, name: str) -> str:
    """`<stem>.png`, made small, as a WebP data address."""
    with Image.open(stem.with_suffix(".png")) as picture:
        small = picture.convert("RGB")
    small.thumbnail((PICTURE_WIDTH, 10 * PICTURE_WIDTH), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, "WEBP", quality=PICTURE_QUALITY, method=6)
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<img alt="{html.escape(name)}" src="data:image/webp;base64,{data}">'


def share_styles(figures: Sequence[str]) -> tuple[list[str], str]:
    """Name the styles of all figures once: they are more than a third of a figure, and few are distinct.

    Args:
        figures: markup.

    Returns:
        The markup with classes in place of style attributes, and these classes as CSS.
    """
    numbers: dict[str, int] = {}

    def named(found: re.Match[str]) -> str:
        return f' class="s{numbers.setdefault(found[1], len(numbers))}"'

    shared = [STYLE.sub(named, markup) for markup in figures]
    return shared, "\n".join(f".s{number}{{{style}}}" for style, number in numbers.items())


def _cell(text: str, row: object = "") -> str:
    """A cell; where the leaderboard's `row` is known, it opens that row's runs."""
    cell = read_cell(text)
    found = CELL.match(cell.value)
    value, bounds = (found[1], found[2]) if found else (cell.value, "")
    numeric = bool(found) or bool(NUMBER.match(cell.value))
    inner = html.escape(value)
    inner = f"<strong>{inner}</strong>" if cell.mark == BEST else inner
    inner += "<sup>†</sup>" if cell.mark == NOT_WORSE else ""
    inner += f"<sup>{cell.sign}</sup>" if cell.sign else ""
    inner += f' <span class="interval">{html.escape(bounds)}</span>' if bounds else ""
    if row != "":
        inner = f'<button type="button" class="open" data-row="{row}">{inner}</button>'
    inner += "".join(f'<div class="interval">{html.escape(line)}</div>' for line in cell.lines)
    inner += f'<div class="published">{html.escape(cell.published)}</div>' if cell.published else ""
    order = value.removeprefix("< ").replace("–", "") if numeric else ""
    kind = "" if numeric else ' class="text"'
    return f'<td{kind} data-order="{order}">{inner}</td>' if numeric else f"<td{kind}>{inner}</td>"


def _numeric(frame: pd.DataFrame, name: object) -> bool:
    texts = [read_cell(text).value for text in frame[name].fillna("").astype(str)]
    return all(CELL.match(text) or NUMBER.match(text) for text in texts)


def html_table(frame: pd.DataFrame, first: str, rows: pd.DataFrame | None = None) -> str:
    """A sortable table whose baselines are set apart.

    Args:
        frame: text; the index is the first column.
        first: name of the first column.
        rows: for each cell its row of the leaderboard, empty where there is none.
    """
    kinds = ["" if _numeric(frame, name) else ' class="text"' for name in frame.columns]
    names = [first, *frame.columns]
    head = "".join(
        f'<th scope="col"{kind}>{html.escape(str(name)).replace(" · ", "<br>")}</th>'
        for kind, name in zip([' class="text"', *kinds], names, strict=True)
    )
    lines = []
    for place, (name, texts) in enumerate(frame.fillna("").astype(str).iterrows()):
        kind = ' class="baseline"' if name in BASELINE_LABELS else ""
        links = [""] * len(texts) if rows is None else list(rows.iloc[place])
        cells = "".join(_cell(text, link) for text, link in zip(texts, links, strict=True))
        lines.append(f'<tr{kind}><th scope="row">{html.escape(str(name))}</th>{cells}</tr>')
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"
