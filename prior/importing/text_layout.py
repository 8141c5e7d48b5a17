"""Where a release's file has its text encoder and projections, and how its code pools and projects."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from prior.importing.names import OPENAI_CLIP_TEXT, Rules

# Kind of a layer of a projection and, but for activations, its name in the file. `matrix` is a parameter
# [inputs, outputs] that is multiplied from the right.
Kind = Literal["linear", "matrix", "batch_norm", "layer_norm", "relu", "gelu"]
Head = tuple[tuple[Kind, str], ...]
LAST = (-1,)
LAST_FOUR = (-4, -3, -2, -1)


@dataclass(frozen=True, kw_only=True)
class TextLayout:
    """Names and facts of the text side of one release, read in its public code.

    Attributes:
        source: file of the release's repository that they rest on.
        trunk: prefix of the text encoder's weights.
        tower: its form, see `PairSettings`; so are the pools.
        rules: from the names behind `trunk` to those of transformers.
        unused: patterns, behind `trunk`, of weights that its forward pass for texts does not use.
        token_types: it adds embeddings of token types, of which a text has the first.
        hidden_states: outputs that are summed or averaged; the scale is lost in the cosine.
        pool: of the tokens.
        text_head: projection of the text; without layers, the pooled tokens are the embedding.
        image_pool: of the positions.
        image_head: projection of the image.
        appended: name of a parameter whose values are further channels that the second layer of `image_head`
            reads at every position.
        image_attention: prefix of the attention pool of an image.
        sentence_attention: prefix of the attention pool of sentences.
        prototypes: name of the prototypes of `sentences`.
        whole: prefixes of the projections, behind which every weight must be known.
        max_tokens: longest text that the release reads.
        own_file: the text side comes in a file of its own, the setting `text_checkpoint`.
        others: patterns of that file's weights that have no part in the embedding.
    """

    source: str
    trunk: str
    tower: Literal["bert", "clip"] = "bert"
    rules: Rules = ()
    unused: tuple[str, ...] = (r"pooler\.",)
    token_types: bool = True
    hidden_states: tuple[int, ...] = LAST
    pool: Literal["first", "last", "mean", "sentences", "average_query"]
    text_head: Head = ()
    image_pool: Literal["mean", "first", "projected", "attention", "average_query"]
    image_head: Head
    appended: str = ""
    image_attention: str = ""
    sentence_attention: str = ""
    prototypes: str = ""
    whole: tuple[str, ...] = ()
    max_tokens: int
    own_file: bool = False
    others: tuple[str, ...] = ()


def _mgca_head(prefix: str) -> Head:
    place = f"{prefix}.global_embed.head"
    return (
        ("linear", f"{place}.0"),
        ("batch_norm", f"{place}.1"),
        ("relu", ""),
        ("linear", f"{place}.3"),
        ("batch_norm", f"{place}.4"),
    )


def _mgca(image: str, text: str, image_pool: Literal["mean", "first"]) -> TextLayout:
    return TextLayout(
        source="HKU-MedAI/MGCA, mgca/models/backbones/encoder.py and med.py",
        trunk=f"{text}.model.",
        # Its layers hold a cross-attention that texts do not pass.
        unused=(r"encoder\.layer\.\d+\.crossattention\.",),
        token_types=False,
        pool="first",
        text_head=_mgca_head(text),
        image_pool=image_pool,
        image_head=_mgca_head(image),
        whole=(f"{image}.global_embed.", f"{text}.global_embed."),
        max_tokens=112,
    )


def _lovt_head(side: str) -> Head:
    place = f"{side}.project_global"
    return (
        ("linear", f"{place}.projection_before"),
        ("batch_norm", f"{place}.norm"),
        ("relu", ""),
        ("linear", f"{place}.projection_after"),
    )


def _medclip(image_head: str) -> TextLayout:
    return TextLayout(
        source="RyanWangZf/MedCLIP, medclip/modeling_medclip.py",
        trunk="text_model.model.",
        hidden_states=(1, 2, -1),
        pool="mean",
        text_head=(("linear", "text_model.projection_head"),),
        image_pool="mean",
        image_head=(("linear", image_head),),
        max_tokens=77,
    )


def _biovil(first: Head, appended: str = "") -> TextLayout:
    return TextLayout(
        source="microsoft/hi-ml, hi-ml-multimodal/src/health_multimodal/{image,text}/model",
        trunk="bert.",
        pool="first",
        text_head=(
            ("linear", "cls_projection_head.dense_to_hidden"),
            ("gelu", ""),
            ("layer_norm", "cls_projection_head.LayerNorm"),
            ("linear", "cls_projection_head.dense_to_output"),
        ),
        image_pool="projected",
        image_head=(
            *first,
            ("linear", "projector.model.0"),
            ("batch_norm", "projector.model.1"),
            ("relu", ""),
            ("linear", "projector.model.3"),
        ),
        appended=appended,
        whole=("projector.",),
        max_tokens=512,
        own_file=True,
        # The head of masked words.
        others=(r"cls\.",),
    )


def _cxr_clip(image_pool: Literal["mean", "first"]) -> TextLayout:
    return TextLayout(
        source="kakaobrain/cxr-clip, cxrclip/model/clip.py and configs/model (pooling `eos`, linear heads)",
        trunk="text_encoder.text_encoder.",
        pool="last",
        text_head=(("linear", "text_projection.projection"),),
        # Of a Swin, the first position is the upper left corner.
        image_pool=image_pool,
        image_head=(("linear", "image_projection.projection"),),
        whole=("text_projection.", "image_projection."),
        max_tokens=256,
    )


_CLIP = TextLayout(
    source="openai/CLIP, clip/model.py",
    trunk="",
    tower="clip",
    rules=OPENAI_CLIP_TEXT,
    unused=(r"visual\.", r"logit_scale$", r"(input_resolution|context_length|vocab_size)$"),
    pool="last",
    text_head=(("matrix", "text_projection"),),
    image_pool="first",
    image_head=(("matrix", "visual.proj"),),
    max_tokens=77,
)

# Layout → its text side; layouts without one give image encoders only.
TEXT_LAYOUTS: Mapping[str, TextLayout] = {
    "prior_model": TextLayout(
        source="QtacierP/PRIOR, codes/prior/models/prior.py and modules/{gather,spb,sentence_pool}.py",
        trunk="text_encoder.encoder.",
        pool="sentences",
        text_head=(("linear", "local_text_projection"),),
        image_pool="attention",
        image_head=(("linear", "global_image_projection"),),
        image_attention="image_encoder.atten_pool",
        sentence_attention="global_text_attention",
        prototypes="sentence_bank.embed.weight",
        max_tokens=256,
    ),
    "lovt": TextLayout(
        source="philip-mueller/lovt, src/models/{text,components,pretraining}, configs/experiment/LoVT_100",
        trunk="model_b.encoder.language_model.",
        pool="average_query",
        text_head=_lovt_head("model_b"),
        image_pool="average_query",
        image_head=_lovt_head("model_a"),
        image_attention="model_a.encoder.global_aggregator.attention",
        sentence_attention="model_b.encoder.global_aggregator.attention",
        whole=("model_a.project_global.", "model_b.project_global."),
        max_tokens=512,
    ),
    "mgca_resnet": _mgca("img_encoder_q", "text_encoder_q", "mean"),
    "mgca_vit": _mgca("img_encoder_q", "text_encoder_q", "first"),
    "convirt_mgca": _mgca("img_encoder", "text_encoder", "mean"),
    "convirt_mgca_vit": _mgca("img_encoder", "text_encoder", "first"),
    "gloria": TextLayout(
        source="marshuang80/gloria, gloria/models/{text,vision}_model.py and configs",
        trunk="gloria.text_encoder.model.",
        hidden_states=LAST_FOUR,
        # The mean over words that sum their pieces, padded to one length: in direction, the mean of pieces.
        pool="mean",
        image_pool="mean",
        image_head=(("linear", "gloria.img_encoder.global_embedder"),),
        max_tokens=97,
    ),
    "medclip_resnet": _medclip("vision_model.model.fc"),
    "medclip_vit": _medclip("vision_model.projection_head"),
    "cxr_clip_resnet": _cxr_clip("mean"),
    "cxr_clip_swin": _cxr_clip("first"),
    "biovil": _biovil(()),
    # Without an earlier image, half of what is projected is one learned vector.
    "biovil_t": _biovil((("linear", "encoder.backbone_to_vit"),), "encoder.missing_previous_emb"),
    "chexzero": _CLIP,
    "clip": _CLIP,
    "biomedclip": TextLayout(
        source="mlfoundations/open_clip, src/open_clip/hf_model.py; open_clip_config.json of the hub page",
        trunk="text.transformer.",
        pool="first",
        text_head=(("linear", "text.proj.0"), ("gelu", ""), ("linear", "text.proj.2")),
        image_pool="first",
        image_head=(("linear", "visual.head.proj"),),
        whole=("visual.head.", "text."),
        max_tokens=256,
    ),
}
