"""Attention pools of releases under the names of `ImportedPair`."""

from collections.abc import Mapping

from timm.layers.pos_embed import resample_abs_pos_embed
from torch import Tensor

from prior.errors import InputError
from prior.importing.encoder import recognised
from prior.importing.layout import Layout

POOL_NAMES = {"q_proj": "query", "k_proj": "key", "v_proj": "value", "c_proj": "output"}


def weight_of(file: Mapping[str, Tensor], name: str, layout: Layout) -> Tensor:
    """Return the weight `name`.

    Raises:
        InputError: the file lacks it.
    """
    if name not in file:
        raise InputError(f"{recognised(layout)} its text side lacks the weight {name}")
    return file[name]


def attention_pool(
    file: Mapping[str, Tensor], prefix: str, target: str, regions: int, layout: Layout
) -> dict[str, Tensor]:
    """Return the weights of PRIOR's attention pool, with its positions on `regions` regions if there are any.

    Raises:
        InputError: the file lacks one.
    """
    state = {
        f"{target}.{ours}.{part}": weight_of(file, f"{prefix}.{theirs}.{part}", layout)
        for theirs, ours in POOL_NAMES.items()
        for part in ("weight", "bias")
    }
    if regions:
        positions = weight_of(file, f"{prefix}.positional_embedding", layout)
        side = round(regions**0.5)
        state[f"{target}.positions"] = resample_abs_pos_embed(positions[None], [side, side])[0]
    return state


def average_query_pool(
    file: Mapping[str, Tensor], prefix: str, target: str, layout: Layout
) -> dict[str, Tensor]:
    """Return the weights of LoVT's pool, torch's attention with query, key and value in one matrix.

    Raises:
        InputError: the file lacks one.
    """
    state = {
        f"{target}.output.{part}": weight_of(file, f"{prefix}.out_proj.{part}", layout)
        for part in ("weight", "bias")
    }
    for part in ("weight", "bias"):
        rows = weight_of(file, f"{prefix}.in_proj_{part}", layout).chunk(3)
        state |= {f"{target}.{n}.{part}": r for n, r in zip(("query", "key", "value"), rows, strict=True)}
    return state
