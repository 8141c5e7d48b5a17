"""From the weights of a checkpoint to an image encoder that every task can use."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isqrt
from statistics import fmean
from typing import Any

import timm
from timm.layers.pos_embed import resample_abs_pos_embed
from timm.layers.pos_embed_rel import resize_rel_pos_bias_table
from torch import Tensor, nn

from prior.encoders.image import ImageEncoder, ImageEncoderConfig, build_image_encoder
from prior.errors import InputError
from prior.importing.architecture import architecture, patch_size
from prior.importing.colours import fold_colours
from prior.importing.layout import Layout
from prior.importing.names import renamed
from prior.importing.settings import ImportSettings
from prior.importing.third_stage import with_identity


@dataclass(frozen=True)
class ImportedEncoder:
    """What an import found.

    Attributes:
        encoder: image encoder in evaluation mode.
        taken: weights of the file that the encoder holds.
        left_out: weights of other parts, by the beginning of their names.
    """

    encoder: ImageEncoder
    taken: int
    left_out: Counter[str]


def import_encoder(
    weights: Mapping[str, Tensor], layout: Layout, settings: ImportSettings, input_size: int
) -> ImportedEncoder:
    """Build the image encoder whose weights have `layout`.

    Position embeddings are resampled to `input_size`. Where colours were normalised differently, the
    difference goes into the first convolution, so that a grey mean and deviation do.

    Args:
        weights: all weights of the file.
        layout: its layout.
        settings: what the user wants otherwise.
        input_size: side of the input in pixels.

    Raises:
        InputError: a weight is missing, left over or of another shape, or the size does not fit the network.
    """
    trunk, left_out = _trunk(weights, layout, settings)
    taken = len(trunk)
    trunk = renamed(trunk, layout.rules)
    name = settings.encoder or architecture({key: tuple(value.shape) for key, value in trunk.items()})
    mean, std = _normalisation(name, layout, settings)
    config = _config(name, trunk, layout, settings, input_size)
    encoder = build_image_encoder(config.model_copy(update={"mean": fmean(mean), "std": fmean(std)}), 0)
    network: Any = encoder.network
    if layout.stages == 3:
        trunk = with_identity(trunk, network.state_dict())
    _check(trunk, network, layout, name)
    trunk = _resampled(trunk, network)
    network.load_state_dict(fold_colours(trunk, network.pretrained_cfg["first_conv"], mean, std), strict=True)
    return ImportedEncoder(encoder.eval(), taken, left_out)


def _trunk(
    weights: Mapping[str, Tensor], layout: Layout, settings: ImportSettings
) -> tuple[dict[str, Tensor], Counter[str]]:
    """Part the image encoder, with its prefix cut, from everything else that the layout knows."""
    trunk: dict[str, Tensor] = {}
    left_out: Counter[str] = Counter()
    unexpected = []
    heads = _classifiers(settings.encoder) if layout.name == "timm" else ()
    for name, value in weights.items():
        others = name.startswith((*settings.left_out, *heads))
        if others or layout.leaves_out(name):
            left_out[".".join(name.split(".")[:2])] += 1
        elif name.startswith(layout.trunk):
            trunk[name.removeprefix(layout.trunk)] = value
        else:
            unexpected.append(name)
    if unexpected:
        raise InputError(
            f"{recognised(layout)} {len(unexpected)} weights are no known part of it, {some(unexpected)}; "
            "name their beginnings in `left_out` if the image encoder does without them"
        )
    return trunk, left_out


def _classifiers(encoder: str | None) -> tuple[str, ...]:
    """Beginnings of the names of timm's classifiers."""
    cfg = timm.get_pretrained_cfg(encoder) if encoder else None
    given = cfg.classifier if cfg is not None and cfg.classifier else ()
    names = (given,) if isinstance(given, str) else given
    return tuple(f"{name}." for name in names)


def _config(
    name: str, trunk: Mapping[str, Tensor], layout: Layout, settings: ImportSettings, input_size: int
) -> ImageEncoderConfig:
    patch = patch_size({key: tuple(value.shape) for key, value in trunk.items()})
    if patch and input_size % patch:
        raise InputError(
            f"{recognised(layout)} patches of {patch} px do not fill {input_size} px; set the image size to "
            f"a multiple of {patch}, such as {patch * round(layout.size / patch)}"
        )
    stride = patch or (16 if layout.stages == 3 else settings.output_stride)
    cfg = timm.get_pretrained_cfg(name)
    first = trunk.get(f"{cfg.first_conv}.weight") if cfg is not None else None
    channels = 3 if first is None else first.shape[1]
    return ImageEncoderConfig(name=name, output_stride=stride, in_channels=channels, input_size=input_size)


def _normalisation(
    name: str, layout: Layout, settings: ImportSettings
) -> tuple[Sequence[float], Sequence[float]]:
    """Mean and deviation, one or one per colour: the user's, the layout's, or timm's for the network."""
    cfg = timm.get_pretrained_cfg(name)
    mean: Sequence[float] = layout.mean or (cfg.mean if cfg is not None else (0.5,))
    std: Sequence[float] = layout.std or (cfg.std if cfg is not None else (0.5,))
    return (
        mean if settings.mean is None else (settings.mean,),
        std if settings.std is None else (settings.std,),
    )


def _check(trunk: dict[str, Tensor], network: nn.Module, layout: Layout, name: str) -> None:
    """Compare names and shapes with the network's; fill in the counters that only training reads."""
    wanted = network.state_dict()
    for key, value in wanted.items():
        if key.endswith("num_batches_tracked"):
            trunk.setdefault(key, value)
    problems = differences(trunk, wanted, _resamples)
    if problems:
        raise InputError(
            f"{recognised(layout)} it does not fit {name} (timm's names): {'; '.join(problems)}; give "
            "`encoder` if the network is another one"
        )


def differences(
    found: Mapping[str, Tensor],
    wanted: Mapping[str, Tensor],
    fits: Callable[[str, Tensor, Tensor], bool] = lambda name, value, other: False,
) -> list[str]:
    """Say which weights are missing, unexpected or of another shape, unless `fits` says that it does."""
    shapes = [
        f"{key} {tuple(found[key].shape)} instead of {tuple(value.shape)}"
        for key, value in wanted.items()
        if key in found and found[key].shape != value.shape and not fits(key, found[key], value)
    ]
    missing = [key for key in wanted if key not in found]
    unexpected = [key for key in found if key not in wanted]
    return [
        f"{len(names)} weights {what}: {some(names)}"
        for what, names in [("missing", missing), ("unexpected", unexpected), ("of another shape", shapes)]
        if names
    ]


def _resamples(name: str, value: Tensor, wanted: Tensor) -> bool:
    """Whether `value` only is of another size: square position embeddings, relative positions."""
    if name == "pos_embed":
        squares = (value.shape[1], value.shape[1] - 1)
        return value.shape[2] == wanted.shape[2] and any(isqrt(n) ** 2 == n for n in squares)
    return name.endswith("relative_position_bias_table") and value.shape[1] == wanted.shape[1]


def _resampled(trunk: dict[str, Tensor], network: Any) -> dict[str, Tensor]:
    """Position embeddings [1, N, D] and tables of relative positions at the network's input size."""
    found = dict(trunk)
    for name, value in network.state_dict().items():
        if value.shape == trunk[name].shape:
            continue
        if name == "pos_embed":
            prefix = 0 if network.no_embed_class else network.num_prefix_tokens
            size = network.patch_embed.grid_size
            found[name] = resample_abs_pos_embed(trunk[name], list(size), num_prefix_tokens=prefix)
        else:
            window = network.get_submodule(name.removesuffix(".relative_position_bias_table")).window_size
            found[name] = resize_rel_pos_bias_table(trunk[name], window, value.shape)
    return found


def recognised(layout: Layout) -> str:
    """Begin a message about a file of this layout."""
    return f"recognised as {layout.name}, {layout.title}:"


def some(names: Sequence[str], most: int = 3) -> str:
    """Name the first of many."""
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")
