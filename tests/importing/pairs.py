"""Both towers of releases with the module names and forward passes of their public code, in small."""

from collections.abc import Callable
from functools import cache

import torch
import transformers
from torch import Tensor, nn
from torch.nn import functional as F

from tests.importing.sources import clip_tower, randomised, resnet, resnet_map, vit
from tests.importing.towers import DIM, WIDTH, WORDS, Pair, bert, named, pooled, seeded, states, trunk


class GlobalEmbedding(nn.Module):
    """MGCA's."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        layers = nn.Linear(inputs, 80), nn.BatchNorm1d(80), nn.ReLU(), nn.Linear(80, DIM)
        self.head = nn.Sequential(*layers, nn.BatchNorm1d(DIM, affine=False))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x)


def mgca(image: str, text: str, with_vit: bool) -> Pair:
    network, name, width = (vit(), "test_vit", 64) if with_vit else (resnet(), "resnet18", 512)
    image_embed, text_embed = seeded(GlobalEmbedding(width), 2), seeded(GlobalEmbedding(WIDTH), 3)
    language = named(f"{text}.model", bert())
    # Its BERT has no token types and no pooler, but a cross-attention.
    types = language[f"{text}.model.embeddings.token_type_embeddings.weight"]
    words = f"{text}.model.embeddings.word_embeddings.weight"
    kept = {k: v for k, v in language.items() if ".pooler." not in k and "token_type" not in k}
    # The first type's embedding goes into the words: the sum is that of BERT.
    kept[words] = kept[words] + types[0]
    kept[f"{text}.model.encoder.layer.0.crossattention.self.query.weight"] = torch.zeros(2, 2)
    kept[f"{text}.model.embeddings.position_ids"] = torch.arange(512)[None]
    weights = {
        **trunk(network, f"{image}.model", "head." if with_vit else "fc."),
        **named(f"{image}.global_embed", image_embed),
        **named(f"{text}.global_embed", text_embed),
        **kept,
        f"{image}.local_embed.head.0.weight": torch.zeros(2, 2),
        f"{text}.local_embed.head.0.weight": torch.zeros(2, 2),
    }
    features = (lambda x: network.forward_features(x)[:, 0]) if with_vit else pooled(network)
    return Pair(
        weights,
        lambda x: image_embed(features(x)),
        lambda ids: text_embed(states(ids)[-1][:, 0]),
        name,
    )


def gloria() -> Pair:
    network, embedder = resnet(), seeded(nn.Linear(512, WIDTH), 2)
    weights = {
        **trunk(network, "gloria.img_encoder.model", "fc."),
        **named("gloria.img_encoder.global_embedder", embedder),
        "gloria.img_encoder.local_embedder.weight": torch.zeros(2, 2),
        **named("gloria.text_encoder.model", bert()),
    }

    def text(ids: Tensor) -> Tensor:
        layers = torch.stack(states(ids)[-4:])[:, 0]
        words: list[Tensor] = []
        for place, number in enumerate(ids.tolist()):
            piece = layers[:, place]
            if WORDS[number].startswith("##"):
                words[-1] = words[-1] + piece
            else:
                words.append(piece)
        padded = words + [torch.zeros(4, WIDTH)] * (97 - len(words))
        return torch.stack(padded, dim=1).mean(dim=1).sum(dim=0)[None]

    image = pooled(network)
    return Pair(weights, lambda x: embedder(image(x)), text, "resnet18")


def medclip() -> Pair:
    network, head = resnet(), seeded(nn.Linear(WIDTH, DIM, bias=False), 2)
    image = seeded(nn.Linear(512, DIM, bias=False), 3)
    weights = {
        **trunk(network, "vision_model.model", "fc."),
        **named("vision_model.model.fc", image),
        **named("text_model.model", bert()),
        **named("text_model.projection_head", head),
        "logit_scale": torch.tensor(1.0),
    }

    def text(ids: Tensor) -> Tensor:
        found = states(ids)
        layers = torch.stack([found[1], found[2], found[-1]])
        return head(layers.permute(1, 0, 2, 3).mean(2).mean(1))

    features = pooled(network)
    return Pair(weights, lambda x: image(features(x)), text, "resnet18")


@cache
def swin() -> nn.Module:
    torch.manual_seed(0)
    return transformers.SwinModel(transformers.SwinConfig()).eval()


def written(folder: str) -> dict[str, Tensor]:
    """Weights of the Swin under the names that transformers writes."""
    from safetensors.torch import load_file

    swin().save_pretrained(folder)
    return load_file(f"{folder}/model.safetensors")


def on_swin(layout: str, folder: str) -> Pair:
    image = seeded(nn.Linear(768, DIM, bias=layout == "cxr_clip_swin"), 4)
    if layout == "medclip_vit":
        prefix, head, other = "vision_model.model.", "vision_model.projection_head", medclip()
    else:
        prefix, head, other = "image_encoder.image_encoder.", "image_projection.projection", cxr_clip()
    text_side = {k: v for k, v in other.weights.items() if k.startswith(("text_", "logit"))}
    weights = {prefix + name: value for name, value in written(folder).items()} | text_side

    def embed(x: Tensor) -> Tensor:
        found = swin()(x)
        return image(found.pooler_output if layout == "medclip_vit" else found.last_hidden_state[:, 0])

    name = "swin_tiny_patch4_window7_224"
    return Pair(weights | named(head, image), embed, other.text, name, side=224)


def cxr_clip() -> Pair:
    network, features = resnet(), pooled(resnet())
    image, text = seeded(nn.Linear(512, DIM), 2), seeded(nn.Linear(WIDTH, DIM), 3)
    weights = {
        **trunk(network, "image_encoder.resnet", "fc."),
        **named("image_projection.projection", image),
        **named("text_encoder.text_encoder", bert()),
        **named("text_projection.projection", text),
        "logit_scale": torch.tensor(1.0),
    }
    return Pair(weights, lambda x: image(features(x)), lambda ids: text(states(ids)[-1][:, -1]), "resnet18")


def biovil(temporal: bool = False) -> Pair:
    network, last = resnet(), resnet_map(resnet())
    inputs = 2 * 40 if temporal else 512
    first, second = nn.Conv2d(inputs, DIM, 1, bias=False), nn.Conv2d(DIM, DIM, 1)
    projector = seeded(nn.Sequential(first, nn.BatchNorm2d(DIM), nn.ReLU(), second), 2)
    head = nn.ModuleDict(
        {
            "dense_to_hidden": nn.Linear(WIDTH, DIM),
            "LayerNorm": nn.LayerNorm(DIM, eps=1e-12),
            "dense_to_output": nn.Linear(DIM, DIM),
        }
    )
    seeded(head, 3)

    def text(ids: Tensor) -> Tensor:
        hidden = F.gelu(head["dense_to_hidden"](states(ids)[-1][:, 0]))
        return head["dense_to_output"](head["LayerNorm"](hidden))

    own = {
        **named("bert", bert()),
        **named("cls_projection_head", head),
        "cls.predictions.bias": torch.zeros(2),
    }
    weights = {**named("encoder.encoder", network), **named("projector.model", projector)}
    if not temporal:
        return Pair(weights, lambda x: projector(last(x)).mean(dim=(2, 3)), text, "resnet18", own=own)
    reduce, missing = seeded(nn.Conv2d(512, 40, 1, bias=False), 4), torch.randn(1, 40, 1, 1)
    weights |= named("encoder.backbone_to_vit", reduce)
    weights |= {"encoder.missing_previous_emb": missing, "encoder.vit_pooler.blocks.0.x": torch.zeros(2)}

    def embed(x: Tensor) -> Tensor:
        static = reduce(last(x))
        fused = torch.cat([static, missing.expand(len(x), -1, *static.shape[2:])], dim=1)
        return projector(fused).mean(dim=(2, 3))

    return Pair(weights, embed, text, "resnet18", own=own)


class Pool(nn.Module):
    """PRIOR's attention pools; the mean of the entries asks."""

    def __init__(self, width: int, entries: int = 0) -> None:
        super().__init__()
        if entries:
            self.positional_embedding = nn.Parameter(torch.zeros(entries + 1, width))
        self.k_proj, self.q_proj, self.v_proj, self.c_proj = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat([x.mean(dim=1, keepdim=True), x], dim=1)
        x = x + getattr(self, "positional_embedding", 0)
        query, key, value = (
            part(x).unflatten(2, (8, -1)) for part in (self.q_proj, self.k_proj, self.v_proj)
        )
        weights = (torch.einsum("bihd,bjhd->bhij", query, key) / query.shape[-1] ** 0.5).softmax(dim=-1)
        return self.c_proj(torch.einsum("bhij,bjhd->bihd", weights, value).flatten(2))[:, 0]


def prior_model() -> Pair:
    network, last = resnet(1), resnet_map(resnet(1))
    # 224 px as in the release.
    image_pool, report_pool = seeded(Pool(512, 49), 2), seeded(Pool(DIM), 3)
    image, local = seeded(nn.Linear(512, DIM), 4), seeded(nn.Linear(WIDTH, DIM), 5)
    bank = seeded(nn.Embedding(7, DIM), 6)
    weights = {
        **trunk(network, "image_encoder.encoder", "fc."),
        **named("image_encoder.atten_pool", image_pool),
        **named("text_encoder.encoder", bert()),
        **named("global_image_projection", image),
        **named("local_text_projection", local),
        **named("global_text_projection", nn.Linear(WIDTH, DIM)),
        **named("global_text_attention", report_pool),
        **named("sentence_bank.embed", bank),
        **{name: torch.zeros(1) for name in ("prototype_queries", "logit_scale", "local_logit_scale")},
    }

    def text(ids: Tensor) -> Tensor:
        tokens, sentences, start = local(states(ids)[-1][0]), [], 1
        for place in range(1, len(ids) - 1):
            if WORDS[ids[place]] == ".":
                sentences.append(tokens[start : place + 1].mean(dim=0))
                start = place + 1
        plain = torch.stack(sentences)
        mixed = torch.softmax(plain @ bank.weight.T / 0.9, dim=1) @ bank.weight
        return report_pool(mixed[None])

    def embed(x: Tensor) -> Tensor:
        return image(image_pool(last(x).flatten(2).transpose(1, 2)))

    return Pair(weights, embed, text, "resnet18", channels=1, side=224)


class Projection(nn.Module):
    """LoVT's."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.projection_before, self.norm = nn.Linear(inputs, 80), nn.BatchNorm1d(80)
        self.projection_after = nn.Linear(80, DIM)

    def forward(self, x: Tensor) -> Tensor:
        return self.projection_after(F.relu(self.norm(self.projection_before(x))))


def lovt() -> Pair:
    network, last = resnet(), resnet_map(resnet())
    image_pool = seeded(nn.MultiheadAttention(512, 8, batch_first=True), 2).eval()
    report_pool = seeded(nn.MultiheadAttention(WIDTH, 8, batch_first=True), 3).eval()
    image, report = seeded(Projection(512), 4), seeded(Projection(WIDTH), 5)
    weights = {
        **trunk(network, "model_a.encoder.feature_extractor.backbone_layers", "fc."),
        **named("model_a.encoder.global_aggregator.attention", image_pool),
        **named("model_a.project_global", image),
        **named("model_b.encoder.language_model", bert()),
        **named("model_b.encoder.global_aggregator.attention", report_pool),
        **named("model_b.project_global", report),
        **{f"model_{side}.project_local.norm.weight": torch.zeros(2) for side in "ab"},
        "ll_attention.key_projection.weight": torch.zeros(2, 2),
    }

    def pooled_by(pool: nn.Module, x: Tensor) -> Tensor:
        return pool(x.mean(dim=1, keepdim=True), x, x)[0][:, 0]

    def text(ids: Tensor) -> Tensor:
        tokens, sentences, start = states(ids)[-1][0], [], 1
        for place in range(1, len(ids) - 1):
            if WORDS[ids[place]] == ".":
                sentences.append(tokens[start : place + 1].amax(dim=0))
                start = place + 1
        return report(pooled_by(report_pool, torch.stack(sentences)[None]))

    def embed(x: Tensor) -> Tensor:
        return image(pooled_by(image_pool, last(x).flatten(2).transpose(1, 2)))

    return Pair(weights, embed, text, "resnet18")


def biomedclip() -> Pair:
    network = vit()
    proj = nn.Sequential(nn.Linear(WIDTH, 56, bias=False), nn.GELU(), nn.Linear(56, DIM, bias=False))
    image, text = seeded(nn.Linear(64, DIM, bias=False), 2), seeded(proj, 3)
    weights = {
        **trunk(network, "visual.trunk", "head."),
        **named("visual.head.proj", image),
        **{k: v for k, v in named("text.transformer", bert()).items() if ".pooler." not in k},
        **named("text.proj", text),
        "logit_scale": torch.tensor(1.0),
    }
    return Pair(
        weights,
        lambda x: image(network.forward_features(x)[:, 0]),
        lambda ids: text(states(ids)[-1][:, 0]),
        "test_vit",
    )


class ClipTextBlock(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(WIDTH, WIDTH // 64, batch_first=True)
        self.ln_1, self.ln_2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.mlp = nn.ModuleDict({"c_fc": nn.Linear(WIDTH, 4 * WIDTH), "c_proj": nn.Linear(4 * WIDTH, WIDTH)})

    def forward(self, x: Tensor) -> Tensor:
        later = torch.ones(x.shape[1], x.shape[1]).triu(1).bool()
        y = self.ln_1(x)
        x = x + self.attn(y, y, y, attn_mask=later, need_weights=False)[0]
        y = self.mlp["c_fc"](self.ln_2(x))
        return x + self.mlp["c_proj"](y * torch.sigmoid(1.702 * y))


def clip(words: int) -> Pair:
    tower = clip_tower()
    torch.manual_seed(4)
    blocks = nn.Sequential(*(ClipTextBlock() for _ in range(3)))
    embedding, norm = nn.Embedding(words, WIDTH), nn.LayerNorm(WIDTH)
    text = randomised(nn.ModuleDict({"blocks": blocks, "embedding": embedding, "norm": norm}))
    positions, matrix = torch.randn(77, WIDTH), torch.randn(WIDTH, 4)
    weights = {
        **named("visual", tower),
        **named("transformer.resblocks", blocks),
        **named("token_embedding", embedding),
        **named("ln_final", norm),
        "positional_embedding": positions,
        "text_projection": matrix,
        "logit_scale": torch.tensor(1.0),
    }

    def embed(ids: Tensor) -> Tensor:
        x = text["embedding"](ids[None]) + positions[: len(ids)]
        return text["norm"](text["blocks"](x))[:, -1] @ matrix

    return Pair(weights, lambda x: tower(x)[:, 0] @ tower.proj, embed, "vit_xsmall_patch16_clip_224")


PAIRS: dict[str, Callable[[], Pair]] = {
    "prior_model": prior_model,
    "lovt": lovt,
    "mgca_resnet": lambda: mgca("img_encoder_q", "text_encoder_q", False),
    "mgca_vit": lambda: mgca("img_encoder_q", "text_encoder_q", True),
    "convirt_mgca": lambda: mgca("img_encoder", "text_encoder", False),
    "convirt_mgca_vit": lambda: mgca("img_encoder", "text_encoder", True),
    "gloria": gloria,
    "medclip_resnet": medclip,
    "cxr_clip_resnet": cxr_clip,
    "biovil": biovil,
    "biovil_t": lambda: biovil(temporal=True),
    "biomedclip": biomedclip,
}
