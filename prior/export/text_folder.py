"""The text encoder and its tokenizer as a folder of `transformers`."""

from pathlib import Path
from typing import Any

import torch
from tokenizers import Regex, Tokenizer
from tokenizers.normalizers import Replace, Sequence
from tokenizers.processors import TemplateProcessing

from prior.encoders.bundle import Bundle
from prior.encoders.text import TextEncoder
from prior.errors import InputError
from prior.export.prompts import FROZEN
from prior.reports.tokens import encode_texts
from prior.reports.wordpiece import CLS, MASK, PAD, SEP, UNK, token_id
from prior.tasks.prompts import load_prompts

# `prior.reports.normalise.clean_sentence` in the dialect of the tokenizer, where ^ begins every line.
ITEM = r"\A\s*(?:\(?\d{1,2}[.)](?=\s+\S|[A-Za-z])|[-*•]\s)\s*"
BLANK = r"_{2,}"
TOLERANCE = 1e-5


def write_text_encoder(bundle: Bundle, folder: Path) -> None:
    """Write a folder that transformers' `AutoModel` and `AutoTokenizer` load, and compare it with the bundle.

    Args:
        bundle: a bundle with text.
        folder: made if needed.

    Raises:
        InputError: the text encoder is no BERT, or transformers computes something else than the bundle.
    """
    # Any: every method with text has one, but `Method` does not declare it.
    method: Any = bundle.method()
    encoder = method.text_encoder
    if not isinstance(encoder, TextEncoder):
        raise InputError(
            f"{bundle.path}: the text encoder was imported and is no BERT; use the release's own files"
        )
    encoder.network.save_pretrained(folder)
    _fast_tokenizer(portable_tokenizer(bundle.tokenizer()), encoder.config.max_tokens).save_pretrained(folder)
    _require_equal(encoder, bundle.tokenizer(), folder)


def portable_tokenizer(tokenizer: Tokenizer) -> Tokenizer:
    """Return a tokenizer that cleans a sentence and adds [CLS] and [SEP] by itself, as training did."""
    own = Tokenizer.from_str(tokenizer.to_str())
    own.normalizer = Sequence([Replace(Regex(ITEM), ""), Replace(Regex(BLANK), "_"), own.normalizer])
    own.post_processor = TemplateProcessing(
        single=f"{CLS} $A {SEP}",
        pair=f"{CLS} $A $B {SEP}",
        special_tokens=[(name, token_id(own, name)) for name in (CLS, SEP)],
    )
    return own


def _fast_tokenizer(tokenizer: Tokenizer, max_tokens: int) -> Any:
    from transformers import PreTrainedTokenizerFast

    build: Any = PreTrainedTokenizerFast  # it has no annotations
    return build(
        tokenizer_object=tokenizer,
        model_max_length=max_tokens,
        model_input_names=["input_ids", "attention_mask"],
        pad_token=PAD,
        unk_token=UNK,
        cls_token=CLS,
        sep_token=SEP,
        mask_token=MASK,
    )


def _require_equal(encoder: TextEncoder, tokenizer: Tokenizer, folder: Path) -> None:
    from transformers import AutoModel, AutoTokenizer

    prompts, _ = load_prompts(FROZEN)
    texts = [text for sides in prompts.values() for text in (*sides["positive"], *sides["negative"])]
    arrays = encode_texts(tokenizer, [[text] for text in texts], max_tokens=encoder.config.max_tokens)
    ids, mask = torch.from_numpy(arrays["ids"]), torch.from_numpy(arrays["mask"])
    loaded: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    found = loaded(texts, padding=True, truncation=True, return_tensors="pt")
    model: Any = AutoModel.from_pretrained(folder, local_files_only=True, add_pooling_layer=False).eval()
    same = torch.equal(found["input_ids"], ids) and torch.equal(found["attention_mask"].bool(), mask)
    if same:
        with torch.inference_mode():
            expected, features = encoder.eval()(ids, mask), model(**found).last_hidden_state
        same = torch.allclose(features[mask], expected[mask], rtol=TOLERANCE, atol=TOLERANCE)
    if not same:
        raise InputError(
            "transformers computes other text features than the bundle; nothing was exported. Install the "
            "versions of requirements.lock"
        )
