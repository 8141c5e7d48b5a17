"""How much the class token of a text encoder attends to each token."""

from typing import Any

import torch
from torch import Tensor

from prior.encoders.text import TextEncoder


def encode_with_class_attention(encoder: TextEncoder, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return token features and the class token's attention in the last layer, without dropout.

    The fused attention of the encoder does not keep its weights; one row of the last layer is computed anew
    from that layer's own query and key maps.

    Args:
        encoder: text encoder.
        ids: [B, L], the class token first.
        mask: [B, L] bool, true at real tokens.

    Returns:
        Features [B, L, W]; attention [B, L] float32, averaged over heads, without gradients, zero at padding
        and summing to 1.
    """
    network: Any = encoder.network
    read = network(input_ids=ids, attention_mask=mask.long(), output_hidden_states=True)
    layer = network.encoder.layer[-1].attention.self
    with torch.no_grad():
        entering = read.hidden_states[-2]
        query = layer.query(entering[:, 0]).unflatten(1, (layer.num_attention_heads, -1))
        keys = layer.key(entering).unflatten(2, (layer.num_attention_heads, -1))
        scores = torch.einsum("bhd,blhd->bhl", query, keys).float() * layer.scaling
        attention = scores.masked_fill(~mask.unsqueeze(1), -torch.inf).softmax(dim=2).mean(dim=1)
    features: Tensor = read.last_hidden_state
    return features, attention
