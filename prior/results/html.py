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
from prior.results.style import GRID, INK, SHARES, WIDTH

BASELINE_LABELS = {name.replace("_", " ") for name in BASELINES}
PICTURE_WIDTH = 900
PICTURE_QUALITY = 55
CELL = re.compile(r"^(\S+) (\[.*\])$")
NUMBER = re.compile(r"^(< )?[-–.\d]*$")
# Matplotlib writes six decimals of a point; labels of the figures have at most three.
FINE = re.compile(r"(\.\d\d)\d\d+")
METADATA = re.compile(r"<metadata>.*?</metadata>|\n *(?=<)", re.DOTALL)
UNUSED_ID = re.compile(r' id="[A-Za-z2.]+_\d+"')
DRAWN_WIDTH = re.compile(r'<svg [^>]*width="([\d.]+)pt"')
STYLE = re.compile(r' style="([^"]*)"')
USED_ID = re.compile(r'((?:id="|#))(?=[a-z][0-9a-f]{10}\b)')


def inline_figure(path: Path, name: str) -> str:
    """SVG as markup whose ink follows the reader's colour scheme; PNG, made small, as a WebP data address.

    Args:
        path: the picture.
        name: what it shows, for readers who do not see it.
    """
    words = html.escape(name)
    if path.suffix == ".svg":
        markup = path.read_text(encoding="utf-8")
        markup = UNUSED_ID.sub("", METADATA.sub("", markup[markup.index("<svg") :]))
        # Equal shapes of several figures have equal ids, and one that is hidden draws nothing for the others.
        markup = USED_ID.sub(rf"\g<1>f{zlib.crc32(path.stem.encode()):x}", FINE.sub(r"\1", markup))
        narrow = (width := DRAWN_WIDTH.search(markup)) and float(width[1]) <= 72 * WIDTH + 1
        kind = ' class="column"' if narrow else ""
        markup = markup.replace("<svg ", f'<svg role="img" aria-label="{words}"{kind} ', 1)
        for number, colour in enumerate(SHARES):
            markup = markup.replace(colour, f"var(--share-{number})")
        return markup.replace(INK, "currentColor").replace(GRID, "var(--line)")
    with Image.open(path) as picture:
        small = picture.convert("RGB")
    small.thumbnail((PICTURE_WIDTH, 10 * PICTURE_WIDTH))
    buffer = io.BytesIO()
    small.save(buffer, "WEBP", quality=PICTURE_QUALITY)
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<img alt="{words}" src="data:image/webp;base64,{data}">'


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
