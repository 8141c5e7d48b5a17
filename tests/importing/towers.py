"""A small BERT with random weights, and what the releases in `pairs.py` are put together from."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
import transformers
from torch import Tensor, nn

from tests.importing.sources import resnet_map

WIDTH, DIM, LAYERS = 64, 48, 5
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "no", "small", "effusion", "pneumo", "##thorax", "."]
WORDS += ["heart", "is", "large", "##r", "on", "the", "left"]
REPORTS = [["Small effusion on the left.", "No pneumothorax."], ["The heart is larger."]]


@dataclass
class Pair:
    """A release's file, its embeddings [B, D] of normalised images and of one unpadded text [L] of ids."""

    weights: dict[str, Tensor]
    image: Callable[[Tensor], Tensor]
    text: Callable[[Tensor], Tensor]
    encoder: str
    channels: int = 3
    own: dict[str, Tensor] | None = None
    side: int = 64


@cache
def bert() -> nn.Module:
    """Random enough that its layers and tokens differ."""
    torch.manual_seed(1)
    sizes = {"hidden_size": WIDTH, "intermediate_size": 4 * WIDTH, "num_hidden_layers": LAYERS}
    config = transformers.BertConfig(
        vocab_size=len(WORDS), num_attention_heads=WIDTH // 64, initializer_range=0.3, **sizes
    )
    return transformers.BertModel(config).eval()


def states(ids: Tensor) -> tuple[Tensor, ...]:
    """All hidden states [1, L, D]."""
    return bert()(input_ids=ids[None], output_hidden_states=True).hidden_states


def named(prefix: str, module: nn.Module) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": value for name, value in module.state_dict().items()}


def pooled(network: nn.Module) -> Callable[[Tensor], Tensor]:
    last = resnet_map(network)
    return lambda x: last(x).mean(dim=(2, 3))


def trunk(network: nn.Module, prefix: str, classifier: str) -> dict[str, Tensor]:
    state = network.state_dict()
    return {f"{prefix}.{name}": value for name, value in state.items() if not name.startswith(classifier)}


def seeded(module: nn.Module, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.3)
    for name, value in module.named_buffers():
        if name.endswith("running_var"):
            value.uniform_(0.5, 1.5)
        elif name.endswith("running_mean"):
            value.normal_()
    return module.eval()
