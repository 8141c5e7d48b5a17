"""From the weights of a checkpoint to both embeddings of a release: pools, projections and text encoder."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import ceil

import torch
from torch import Tensor

from prior.encoders.image import ImageEncoder
from prior.encoders.text import TextEncoderConfig
from prior.errors import InputError
from prior.importing.encoder import differences, recognised, some
from prior.importing.layout import Layout
from prior.importing.names import by_rules, split
from prior.importing.text_layout import TEXT_LAYOUTS, Head, TextLayout
from prior.importing.text_pools import attention_pool, average_query_pool, weight_of
from prior.methods.imported_pair import HeadLayer, ImportedPair, PairSettings

# Every BERT and CLIP of the layouts has heads of this width.
HEAD_WIDTH = 64
WORDS = {"bert": "embeddings.word_embeddings.weight", "clip": "embeddings.token_embedding.weight"}
POSITIONS = {"bert": "embeddings.position_embeddings.weight", "clip": "embeddings.position_embedding.weight"}
TOKEN_TYPES = "embeddings.token_type_embeddings.weight"
LAYER = {"bert": r"encoder\.layer\.(\d+)\.", "clip": r"encoder\.layers\.(\d+)\."}


@dataclass(frozen=True)
class ImportedText:
    """What an import found beside the image encoder.

    Attributes:
        method: both encoders, in evaluation mode.
        config: of the text encoder.
        settings: pools and projections.
        taken: weights of pools, projections and text encoder.
    """

    method: ImportedPair
    config: TextEncoderConfig
    settings: PairSettings
    taken: int


def text_layout(layout: Layout) -> TextLayout:
    """Return the text side of `layout`.

    Raises:
        InputError: it has none.
    """
    if layout.name not in TEXT_LAYOUTS:
        raise InputError(
            f"{recognised(layout)} no text side of it can be imported, docs/import.md says why; leave "
            f"`tokenizer` out. Layouts with one: {', '.join(TEXT_LAYOUTS)}"
        )
    return TEXT_LAYOUTS[layout.name]


def import_text(
    weights: Mapping[str, Tensor], layout: Layout, encoder: ImageEncoder, own: Mapping[str, Tensor] | None
) -> ImportedText:
    """Build both embeddings of a file that has `layout`.

    Args:
        weights: all weights of the file.
        layout: its layout.
        encoder: the image encoder that was imported from it.
        own: all weights of the file of the text side, where the release has one.

    Raises:
        InputError: the layout has no text side, or a weight of it is missing, left over or of another shape.
    """
    facts = text_layout(layout)
    if facts.own_file and own is None:
        raise InputError(
            f"{recognised(layout)} its text encoder comes in a file of its own; give it as `text_checkpoint`"
        )
    if own is not None and not facts.own_file:
        raise InputError(f"{recognised(layout)} its text encoder is in the same file; drop `text_checkpoint`")
    every = _folded({**weights, **(own or {})}, facts, layout)
    tower = _tower(weights if own is None else own, facts, layout)
    config = _config(tower, facts, layout)
    positions = POSITIONS[facts.tower]
    tower[positions] = tower[positions][: config.max_tokens]
    image_layers, image_head = _head(every, facts.image_head, "image_head", layout)
    text_layers, text_head = _head(every, facts.text_head, "text_head", layout)
    state = {f"text_encoder.network.{name}": value for name, value in tower.items()} | image_head | text_head
    used = {name for head in (facts.image_head, facts.text_head) for _, name in head if name}
    _check_whole(every, facts, used, layout)
    regions = prototypes = 0
    if facts.image_pool == "attention":
        regions = ceil(encoder.config.input_size / encoder.config.output_stride) ** 2
        state |= attention_pool(every, facts.image_attention, "image_pool", regions, layout)
    if facts.image_pool == "average_query":
        state |= average_query_pool(every, facts.image_attention, "image_pool", layout)
    if facts.pool == "average_query":
        state |= average_query_pool(every, facts.sentence_attention, "sentence_pool", layout)
    if facts.pool == "sentences":
        state |= attention_pool(every, facts.sentence_attention, "sentence_pool", 0, layout)
        state["prototypes"] = weight_of(every, facts.prototypes, layout)
        prototypes = len(state["prototypes"])
    settings = PairSettings(
        tower=facts.tower,
        hidden_states=list(facts.hidden_states),
        pool=facts.pool,
        image_pool=facts.image_pool,
        regions=regions,
        prototypes=prototypes,
        image_head=image_layers,
        text_head=text_layers,
    )
    with torch.random.fork_rng(devices=[]):
        method = ImportedPair(settings, encoder.config, config)
    method.image_encoder = encoder
    _load(method, state, layout)
    return ImportedText(method.eval(), config, settings, len(state))


def _tower(file: Mapping[str, Tensor], facts: TextLayout, layout: Layout) -> dict[str, Tensor]:
    """Return the weights of the text encoder under the names of transformers."""
    heads = tuple(name for _, name in (*facts.image_head, *facts.text_head) if name)
    if facts.own_file:
        unknown = [
            name
            for name in file
            if not name.startswith((facts.trunk, *heads)) and not _matches(name, facts.others)
        ]
        _refuse(unknown, "unexpected in its text file", layout)
    found = {
        name.removeprefix(facts.trunk): value
        for name, value in file.items()
        if name.startswith(facts.trunk) and not name.startswith(heads)
    }
    skipped = (*facts.unused, r"embeddings\.position_ids$")
    kept = {
        by_rules(name, facts.rules): value for name, value in found.items() if not _matches(name, skipped)
    }
    if WORDS[facts.tower] not in kept or POSITIONS[facts.tower] not in kept:
        raise InputError(
            f"{recognised(layout)} the file holds no text encoder (embeddings behind "
            f"`{facts.trunk}`); leave `tokenizer` out to import the image encoder alone"
        )
    if facts.tower == "bert" and not facts.token_types:
        width = kept[WORDS["bert"]].shape[1]
        kept.setdefault(TOKEN_TYPES, torch.zeros(2, width))
    return split(kept)


def _config(tower: Mapping[str, Tensor], facts: TextLayout, layout: Layout) -> TextEncoderConfig:
    vocab_size, width = tower[WORDS[facts.tower]].shape
    layers = {match[1] for match in (re.match(LAYER[facts.tower], name) for name in tower) if match}
    if not layers or width % HEAD_WIDTH:
        raise InputError(
            f"{recognised(layout)} its text encoder has {len(layers)} layers of width {width}; the width of "
            f"the known ones is a multiple of {HEAD_WIDTH}"
        )
    return TextEncoderConfig(
        vocab_size=vocab_size,
        width=width,
        layers=len(layers),
        heads=width // HEAD_WIDTH,
        max_tokens=min(facts.max_tokens, len(tower[POSITIONS[facts.tower]])),
    )


def _folded(file: Mapping[str, Tensor], facts: TextLayout, layout: Layout) -> Mapping[str, Tensor]:
    """Turn channels that are the same for every image into a bias of the layer that reads them."""
    if not facts.appended:
        return file
    (_, before), (_, reading) = facts.image_head[:2]
    constant = weight_of(file, facts.appended, layout).flatten()
    weight = weight_of(file, f"{reading}.weight", layout).flatten(1)
    own = len(weight_of(file, f"{before}.weight", layout))
    if weight.shape[1] != own + len(constant):
        raise InputError(
            f"{recognised(layout)} {reading}.weight reads {weight.shape[1]} channels, of which {before} "
            f"gives {own} and {facts.appended} {len(constant)}"
        )
    return {
        **file,
        f"{reading}.weight": weight[:, :own],
        f"{reading}.bias": file.get(f"{reading}.bias", 0) + weight[:, own:] @ constant,
    }


def _head(
    file: Mapping[str, Tensor], head: Head, target: str, layout: Layout
) -> tuple[list[HeadLayer], dict[str, Tensor]]:
    """Return the layers of a projection and their weights under the names of `ImportedPair`."""
    layers: list[HeadLayer] = []
    state: dict[str, Tensor] = {}
    for place, (kind, name) in enumerate(head):
        own = f"{target}.{place}."
        if kind in ("relu", "gelu"):
            layers.append(HeadLayer(kind=kind))
        elif kind == "linear" or kind == "matrix":
            # A convolution of one pixel is a linear map.
            weight = weight_of(file, name if kind == "matrix" else f"{name}.weight", layout).flatten(1)
            weight = weight.T if kind == "matrix" else weight
            bias = file.get(f"{name}.bias")
            state |= {f"{own}weight": weight} | ({} if bias is None else {f"{own}bias": bias})
            outputs, inputs = weight.shape
            layers.append(HeadLayer(kind="linear", inputs=inputs, outputs=outputs, weights=bias is not None))
        else:
            names = ["running_mean", "running_var"] if kind == "batch_norm" else ["weight", "bias"]
            affine = f"{name}.weight" in file
            names = list(dict.fromkeys([*names, *(["weight", "bias"] if affine else [])]))
            state |= {f"{own}{part}": weight_of(file, f"{name}.{part}", layout) for part in names}
            width = len(state[f"{own}{names[0]}"])
            layers.append(HeadLayer(kind=kind, inputs=width, outputs=width, weights=affine))
    return layers, state


def _check_whole(file: Mapping[str, Tensor], facts: TextLayout, used: Iterable[str], layout: Layout) -> None:
    """Refuse projections with layers that are not known."""
    known = tuple(f"{name}." for name in used)
    left = [
        name for name in file if name.startswith(facts.whole) and not name.startswith((*known, facts.trunk))
    ]
    _refuse(left, "unexpected in its projections", layout)


def _load(method: ImportedPair, state: dict[str, Tensor], layout: Layout) -> None:
    wanted = method.state_dict()
    for key, value in wanted.items():
        if key.startswith("image_encoder.") or key.endswith("num_batches_tracked"):
            state.setdefault(key, value)
    problems = differences(state, wanted)
    if problems:
        raise InputError(f"{recognised(layout)} its text side does not fit: {'; '.join(problems)}")
    method.load_state_dict(state, strict=True)


def _refuse(names: list[str], what: str, layout: Layout) -> None:
    if names:
        raise InputError(f"{recognised(layout)} {len(names)} weights {what}: {some(names)}")


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(re.match(pattern, name) for pattern in patterns)
