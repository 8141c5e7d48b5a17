"""Which layout a file has, from the names and shapes of its weights alone."""

import re
from collections import Counter
from collections.abc import Iterable

from prior.errors import InputError
from prior.importing.convolutional import RESNETS
from prior.importing.layout import Layout, Shapes
from prior.importing.transformers import TRANSFORMERS

# timm's own names, for the network that the user names: what `recognise` falls back on.
TIMM = Layout(
    name="timm",
    title="weights with timm's names",
    source="huggingface/pytorch-image-models",
    marks=(),
    mean=None,
    std=None,
)
LAYOUTS: dict[str, Layout] = {layout.name: layout for layout in (*RESNETS, *TRANSFORMERS, TIMM)}
AUTO = "auto"


def recognise(shapes: Shapes, encoder: str | None = None) -> Layout:
    """Return the layout of a file.

    Args:
        shapes: name → shape of every weight.
        encoder: timm's name of the network, if the user gave it; then weights that fit no release are taken
            for timm's.

    Raises:
        InputError: no layout fits, or several that only the user can tell apart.
    """
    fitting = [layout for layout in (*RESNETS, *TRANSFORMERS) if layout.fits(shapes)]
    if not fitting and encoder is not None:
        return TIMM
    if not fitting:
        raise InputError(
            f"these {len(shapes)} weights have none of the known layouts ({', '.join(LAYOUTS)}); their names "
            f"start with {beginnings(shapes)}. For timm's names give `encoder`; else rename them to one of "
            "the layouts in docs/import.md"
        )
    if len(fitting) > 1:
        names = " and ".join(layout.name for layout in fitting)
        raise InputError(f"layouts {names} have the same names; give `layout`")
    return fitting[0]


def chosen(shapes: Shapes, layout: str, encoder: str | None = None) -> Layout:
    """Return the layout named `layout`, or the recognised one for `auto`.

    Raises:
        InputError: it is unknown, the weights do not have it, or `timm` is asked for without `encoder`.
    """
    if layout == AUTO:
        return recognise(shapes, encoder)
    if layout not in LAYOUTS:
        raise InputError(f"layout {layout!r} is unknown; choose {AUTO} or one of {', '.join(LAYOUTS)}")
    found = LAYOUTS[layout]
    if found is TIMM and encoder is None:
        raise InputError("layout timm needs `encoder`, timm's name of the network")
    if not found.fits(shapes):
        raise InputError(
            f"these {len(shapes)} weights do not have layout {layout}, whose files hold "
            f"{', '.join(found.marks)}; their names start with {beginnings(shapes)}"
        )
    return found


def beginnings(names: Iterable[str], most: int = 6) -> str:
    """Name the most frequent beginnings of `names` (to the second dot), with their counts."""
    counts = Counter("".join(re.findall(r"[^.]*\.?", name)[:2]) for name in names)
    shown = [f"`{start}` ({count})" for start, count in counts.most_common(most)]
    return ", ".join([*shown, *(["…"] if len(counts) > most else [])])
