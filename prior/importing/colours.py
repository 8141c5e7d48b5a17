"""Normalisation by colour, put into the first convolution: a radiograph has one grey value."""

from collections.abc import Mapping, Sequence
from statistics import fmean

import torch
from torch import Tensor

from prior.errors import InputError

# Batch norm behind a first convolution without bias.
NORMS = {"conv1": "bn1", "features.conv0": "features.norm0", "conv_stem": "bn1", "conv1.0": "conv1.1"}


def fold_colours(
    state: Mapping[str, Tensor], conv: str, mean: Sequence[float], std: Sequence[float]
) -> dict[str, Tensor]:
    """Change `state` so that a grey image normalised by one mean and deviation gives the same features.

    These are m and s, the averages of mean m_c and deviation s_c over colours. With z = (x - m) / s, colour c
    of the old input is z s / s_c + (m - m_c) / s_c: a factor of the filters, and a constant per output
    channel. The constant goes into the bias, or else into what follows: the batch norm's running mean or the
    position embedding. Zero padding now stands for m instead of m_c, which changes the rim of a map a little.

    Args:
        state: weights with timm's names.
        conv: timm's name of the first convolution, weight [O, C, k, k].
        mean: of grey values in [0, 1], one or C.
        std: standard deviation, likewise.

    Returns:
        The weights under the same names.

    Raises:
        InputError: the constant has no place to go, or the first convolution is not known.
    """
    found = dict(state)
    if len(set(mean)) == 1 and len(set(std)) == 1:
        return found
    running_mean = f"{NORMS.get(conv)}.running_mean"
    if f"{conv}.weight" not in state or not {f"{conv}.bias", running_mean, "pos_embed"} & state.keys():
        raise InputError(
            "colours are normalised differently, and nothing behind the first convolution takes that up; "
            "give one grey `mean` and `std`"
        )
    grey_mean, grey_std = fmean(mean), fmean(std)
    weight = state[f"{conv}.weight"].double()
    means, stds = (torch.tensor(value, dtype=torch.float64).view(1, -1, 1, 1) for value in (mean, std))
    shift = (weight * (grey_mean - means) / stds).sum(dim=(1, 2, 3)).float()
    found[f"{conv}.weight"] = (weight * grey_std / stds).float()
    if f"{conv}.bias" in state:
        found[f"{conv}.bias"] = state[f"{conv}.bias"] + shift
    elif running_mean in state:
        found[running_mean] = state[running_mean] - shift
    else:
        positions = state["pos_embed"].clone()
        positions[:, 1 if "cls_token" in state else 0 :] += shift
        found["pos_embed"] = positions
    return found
