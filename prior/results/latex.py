"""Tables of text as LaTeX, with pandas' Styler; they need `booktabs`, and `xcolor` for published figures."""

from collections.abc import Sequence

import pandas as pd

from prior.results.marks import BEST, NOT_WORSE, read_cell

LETTERS = str.maketrans(
    {
        **{letter: f"\\{letter}" for letter in "&%$#_{}"},
        **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
        **{"−": "$-$", "<": "$<$", ">": "$>$", "≥": r"$\geq$", "≤": r"$\leq$", "→": r"$\rightarrow$"},
        **{"Δ": r"$\Delta$", "·": r"$\cdot$", "†": r"$^\dagger$", "–": "--"},
        **{"‡": r"$^\ddagger$", "§": r"$^\S$", "±": r"$\pm$", "≠": r"$\neq$"},
    }
)
PACKAGE, GREY_PACKAGE = r"% \usepackage{booktabs}", r"% \usepackage{xcolor}"


def latex_text(text: str) -> str:
    """Plain text with what LaTeX reads as commands, or has no letter for, replaced."""
    return text.translate(LETTERS)


def _cell(text: object) -> str:
    cell = read_cell(str(text))
    shown = latex_text("; ".join([cell.value, *cell.lines]))
    shown = {BEST: rf"\textbf{{{shown}}}", NOT_WORSE: rf"{shown}$^\dagger$"}.get(cell.mark, shown)
    shown += latex_text(cell.sign)
    return rf"{shown} \textcolor{{gray}}{{{latex_text(cell.published)}}}" if cell.published else shown


def _heading(name: object) -> str:
    """A column's name, with a line for each of its parts."""
    lines = [latex_text(part) for part in str(name).split(" · ")]
    return lines[0] if len(lines) == 1 else r"\shortstack[r]{" + r" \\ ".join(lines) + "}"


def latex_table(frame: pd.DataFrame, caption: str) -> str:
    """One floating table of all columns of `frame`, which hold text; its index is left out."""
    styled = frame.fillna("").astype(str).style.hide(axis="index").format(_cell)
    return styled.format_index(_heading, axis="columns").to_latex(
        hrules=True,
        column_format="l" + "r" * (frame.shape[1] - 1),
        caption=latex_text(caption),
        position="htbp",
        position_float="centering",
    )


def latex_document(tables: Sequence[tuple[str, pd.DataFrame]], notes: Sequence[str]) -> str:
    """All tables (caption and columns) below the notes, which are comments; another file reads it in."""
    texts = [latex_table(frame, caption) for caption, frame in tables]
    packages = [PACKAGE, *([GREY_PACKAGE] if any(r"\textcolor" in text for text in texts) else [])]
    comments = [f"% {line}" for note in notes for line in note.splitlines()]
    return "\n".join([*packages, *comments, "", *texts])
