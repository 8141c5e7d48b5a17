"""Text encoder: a BERT of any size, from scratch or from someone else's weights."""

from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from prior.errors import InputError


class TextEncoderConfig(BaseModel):
    """Everything that is needed to rebuild a text encoder.

    Attributes:
        vocab_size: size of the tokenizer's vocabulary.
        width: width D of the token features.
        layers: transformer layers.
        heads: attention heads; must divide `width`.
        max_tokens: longest report.
        dropout: of attention and of hidden features.
        inner_width: width inside of the feed-forward layers; null is four times `width`.
        activation: of the feed-forward layers, by transformers' name.
        norm_epsilon: of the layer norms.
        token_types: rows of the table of token types, of which the first is read.
        pretrained: folder (or hub name) of a BERT whose weights are the start; sets everything above but the
            vocabulary, the longest report and the dropout.
        frozen_layers: the embeddings and this many layers are not trained; 0 trains everything.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    vocab_size: int = Field(gt=0)
    width: int = Field(default=128, gt=0)
    layers: int = Field(default=2, ge=1)
    heads: int = Field(default=4, ge=1)
    max_tokens: int = Field(default=128, ge=2)
    dropout: float = Field(default=0.1, ge=0, lt=1)
    inner_width: int | None = Field(default=None, gt=0)
    activation: str = "gelu"
    norm_epsilon: float = Field(default=1e-12, gt=0)
    token_types: int = Field(default=2, ge=1)
    pretrained: str | None = None
    frozen_layers: int = Field(default=0, ge=0)


class TextEncoder(nn.Module):
    """Contextual token features.

    Attributes:
        config: how it was built; `pretrained` is not read here but in `build_text_encoder`.
        width: width D of the token features.

    Raises:
        InputError: the width is not divisible by the heads, or there are fewer layers than frozen ones.
    """

    def __init__(self, config: TextEncoderConfig) -> None:
        # Imported here: it takes a second, and image-only jobs never build a text encoder.
        from transformers import BertConfig, BertModel

        super().__init__()
        if config.width % config.heads:
            raise InputError(
                f"text_encoder.width {config.width} is not divisible by text_encoder.heads {config.heads}"
            )
        if config.frozen_layers > config.layers:
            raise InputError(
                f"text_encoder.frozen_layers is {config.frozen_layers}, but the encoder has {config.layers} "
                f"layers; set it to {config.layers} or less"
            )
        self.config = config
        self.width = config.width
        self.network = BertModel(
            BertConfig(
                vocab_size=config.vocab_size,
                hidden_size=config.width,
                num_hidden_layers=config.layers,
                num_attention_heads=config.heads,
                intermediate_size=config.inner_width or 4 * config.width,
                hidden_act=config.activation,
                layer_norm_eps=config.norm_epsilon,
                type_vocab_size=config.token_types,
                max_position_embeddings=config.max_tokens,
                hidden_dropout_prob=config.dropout,
                attention_probs_dropout_prob=config.dropout,
            ),
            add_pooling_layer=False,
        )
        if config.frozen_layers:
            frozen = [self.network.embeddings, *self.network.encoder.layer[: config.frozen_layers]]
            for module in frozen:
                module.requires_grad_(False)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Return token features [B, L, D] of `ids` [B, L] with `mask` [B, L] true at real tokens."""
        features: Tensor = self.network(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        return features


def resolve_text_config(config: TextEncoderConfig) -> TextEncoderConfig:
    """Take the architecture from the pre-trained model, if there is one.

    Raises:
        InputError: it cannot be read, is no BERT, is too short, or its vocabulary is not the tokenizer's.
    """
    if config.pretrained is None:
        return config
    from transformers import AutoConfig

    found = _from_pretrained(AutoConfig, config.pretrained)
    if found.model_type != "bert":
        raise InputError(
            f"text_encoder.pretrained {config.pretrained} is a model of type {found.model_type}; give a BERT"
        )
    if found.max_position_embeddings < config.max_tokens:
        raise InputError(
            f"text_encoder.pretrained {config.pretrained} reads {found.max_position_embeddings} tokens; set "
            "text.max_tokens to that or less"
        )
    if found.vocab_size != config.vocab_size:
        raise InputError(
            f"text_encoder.pretrained {config.pretrained} has {found.vocab_size} words, the tokenizer "
            f"{config.vocab_size}; set text.tokenizer to the vocab.txt of that model"
        )
    sizes = {
        "width": found.hidden_size,
        "layers": found.num_hidden_layers,
        "heads": found.num_attention_heads,
        "inner_width": found.intermediate_size,
        "activation": found.hidden_act,
        "norm_epsilon": found.layer_norm_eps,
        "token_types": found.type_vocab_size,
    }
    return config.model_copy(update=sizes)


def build_text_encoder(config: TextEncoderConfig, seed: int) -> TextEncoder:
    """Build an encoder whose initial weights depend on `seed` and the resolved `config` only.

    Raises:
        InputError: the weights of `config.pretrained` cannot be read or do not fit their own configuration.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = TextEncoder(config)
        if config.pretrained is not None:
            from transformers import AutoModel

            weights = _from_pretrained(AutoModel, config.pretrained).state_dict()
            positions = "embeddings.position_embeddings.weight"
            weights[positions] = weights[positions][: config.max_tokens]
            encoder.network.load_state_dict({name: weights[name] for name in encoder.network.state_dict()})
    return encoder


def _from_pretrained(loader: Any, source: str) -> Any:
    try:
        return loader.from_pretrained(source)
    except (OSError, ValueError, RuntimeError) as error:
        where = "folder" if Path(source).exists() else "path or hub name"
        raise InputError(f"text_encoder.pretrained: the {where} {source} cannot be read ({error})") from None
