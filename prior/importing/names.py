"""From the module names of public code to timm's: patterns and replacements, applied one after the other.

torchvision's ResNets and DenseNets and the networks that others took from timm need none. Separate queries,
keys and values get the names `attn.q`, `attn.k` and `attn.v`, which `joined` makes one.
"""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

Rules = tuple[tuple[str, str], ...]

# A ResNet whose children were put in a row: 2 is the ReLU and 3 the pooling, which have no weights.
SEQUENTIAL_RESNET: Rules = (
    (r"^0\.", "conv1."),
    (r"^1\.", "bn1."),
    *((rf"^{stage + 3}\.", f"layer{stage}.") for stage in range(1, 5)),
)

OPENAI_CLIP: Rules = (
    (r"^class_embedding$", "cls_token"),
    (r"^positional_embedding$", "pos_embed"),
    (r"^conv1\.", "patch_embed.proj."),
    (r"^ln_pre\.", "norm_pre."),
    (r"^ln_post\.", "norm."),
    (r"^transformer\.resblocks\.", "blocks."),
    (r"\.ln_([12])\.", r".norm\1."),
    (r"\.attn\.in_proj_", ".attn.qkv."),
    (r"\.attn\.out_proj\.", ".attn.proj."),
    (r"\.mlp\.c_fc\.", ".mlp.fc1."),
    (r"\.mlp\.c_proj\.", ".mlp.fc2."),
)

# CLIP's text transformer to that of transformers; queries, keys and values are split by `split`.
OPENAI_CLIP_TEXT: Rules = (
    (r"^token_embedding\.", "embeddings.token_embedding."),
    (r"^positional_embedding$", "embeddings.position_embedding.weight"),
    (r"^ln_final\.", "final_layer_norm."),
    (r"^transformer\.resblocks\.", "encoder.layers."),
    (r"\.ln_([12])\.", r".layer_norm\1."),
    (r"\.attn\.in_proj_(weight|bias)$", r".self_attn.qkv_proj.\1"),
    (r"\.attn\.out_proj\.", ".self_attn.out_proj."),
    (r"\.mlp\.c_fc\.", ".mlp.fc1."),
    (r"\.mlp\.c_proj\.", ".mlp.fc2."),
)

TORCHVISION_VIT: Rules = (
    (r"^class_token$", "cls_token"),
    (r"^encoder\.pos_embedding$", "pos_embed"),
    (r"^conv_proj\.", "patch_embed.proj."),
    (r"^encoder\.ln\.", "norm."),
    (r"^encoder\.layers\.encoder_layer_", "blocks."),
    (r"\.ln_([12])\.", r".norm\1."),
    (r"\.self_attention\.in_proj_", ".attn.qkv."),
    (r"\.self_attention\.out_proj\.", ".attn.proj."),
    (r"\.mlp\.(?:linear_1|0)\.", ".mlp.fc1."),
    (r"\.mlp\.(?:linear_2|3)\.", ".mlp.fc2."),
)

# transformers' DINOv2, as its files are; version 5 renames the weights when it reads them.
TRANSFORMERS_DINOV2: Rules = (
    (r"^embeddings\.cls_token$", "cls_token"),
    (r"^embeddings\.position_embeddings$", "pos_embed"),
    (r"^embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
    (r"^layernorm\.", "norm."),
    (r"^encoder\.layer\.", "blocks."),
    (r"\.attention\.attention\.(?:(q)uery|(k)ey|(v)alue)\.", r".attn.\1\2\3."),
    (r"\.attention\.output\.dense\.", ".attn.proj."),
    (r"\.layer_scale([12])\.lambda1$", r".ls\1.gamma"),
)

# transformers' Swin, likewise. It halves the map at the end of a stage, timm at the start of the next.
TRANSFORMERS_SWIN: Rules = (
    (r"^embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
    (r"^embeddings\.norm\.", "patch_embed.norm."),
    (r"^layernorm\.", "norm."),
    *((rf"^encoder\.layers\.{k}\.downsample\.", f"layers.{k + 1}.downsample.") for k in range(3)),
    (r"^encoder\.layers\.", "layers."),
    (r"\.layernorm_before\.", ".norm1."),
    (r"\.layernorm_after\.", ".norm2."),
    (r"\.attention\.self\.(?:(q)uery|(k)ey|(v)alue)\.", r".attn.\1\2\3."),
    (r"\.attention\.self\.relative_position_bias_table$", ".attn.relative_position_bias_table"),
    (r"\.attention\.output\.dense\.", ".attn.proj."),
    (r"\.intermediate\.dense\.", ".mlp.fc1."),
    (r"\.output\.dense\.", ".mlp.fc2."),
)


def renamed(state: Mapping[str, Tensor], rules: Rules) -> dict[str, Tensor]:
    """Return `state` under timm's names, with queries, keys and values joined and embeddings [1, N, D]."""
    found: dict[str, Tensor] = {}
    for name, value in state.items():
        name = by_rules(name, rules)
        if name in ("cls_token", "pos_embed"):
            value = value.reshape(1, -1, value.shape[-1])
        found[name] = value
    return joined(found)


def by_rules(name: str, rules: Rules) -> str:
    """Apply `rules` to one name."""
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name


def split(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Part `self_attn.qkv_proj` along its outputs into `q_proj`, `k_proj` and `v_proj`."""
    found: dict[str, Tensor] = {}
    for name, value in state.items():
        if ".self_attn.qkv_proj." not in name:
            found[name] = value
            continue
        for part, rows in zip("qkv", value.chunk(3), strict=True):
            found[name.replace("qkv_proj", f"{part}_proj")] = rows
    return found


def joined(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Join `attn.q`, `attn.k` and `attn.v` along their outputs, in this order, to `attn.qkv`."""
    parts = {
        name: [name.replace(".attn.q.", f".attn.{part}.") for part in "qkv"]
        for name in state
        if ".attn.q." in name
    }
    whole = {name: names for name, names in parts.items() if all(part in state for part in names)}
    used = {part for names in whole.values() for part in names}
    found = {name: value for name, value in state.items() if name not in used}
    for name, names in whole.items():
        found[name.replace(".attn.q.", ".attn.qkv.")] = torch.cat([state[part] for part in names])
    return found
