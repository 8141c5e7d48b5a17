"""Tables of text as LaTeX, with pandas' Styler; `booktabs` is the only package that they need."""

from collections.abc import Sequence

import pandas as pd

from prior.results.marks import BEST, NOT_WORSE, unmarked

LETTERS = str.maketrans(
    {
        **{letter: f"\\{letter}" for letter in "&%$#_{}"},
        **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
        **{"−": "$-$", "<": "$<$", ">": "$>$", "≥": r"$\geq$", "≤": r"$\leq$", "→": r"$\rightarrow$"},
        **{"Δ": r"$\Delta$", "·": r"$\cdot$", "†": r"$^\dagger$", "–": "--"},
    }
)
PACKAGE = r"% \usepackage{booktabs}"


def latex_text(text: str) -> str:
    """Plain text with what LaTeX reads as commands, or has no letter for, replaced."""
    return text.translate(LETTERS)


def _cell(text: object) -> str:
    plain, mark = unmarked(str(text))
    shown = latex_text(plain.replace("<br>", "; "))
    return {BEST: rf"\textbf{{{shown}}}", NOT_WORSE: rf"{shown}$^\dagger$"}.get(mark, shown)


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
    comments = [PACKAGE, *(f"% {line}" for note in notes for line in note.splitlines())]
    return "\n".join([*comments, "", *(latex_table(frame, caption) for caption, frame in tables)])
