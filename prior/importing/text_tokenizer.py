"""The tokenizer that a release's text encoder was trained with; checkpoints do not hold it."""

import json
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from tokenizers.normalizers import Lowercase, Sequence

from prior.errors import InputError
from prior.reports.wordpiece import CLS, MASK, PAD, SEP, UNK, load_tokenizer

FILES = ("tokenizer.json", "vocab.txt")
# CLIP's names for the ends of a text.
ENDS = {"<|startoftext|>": CLS, "<|endoftext|>": SEP}


def tokenizer_for(given: str, vocab_size: int) -> Tokenizer:
    """Read a tokenizer for a text encoder with `vocab_size` words.

    Texts are put into lower case first, which every layout's release does: in its own code, or by the
    default of transformers' tokenizer for the cased vocabulary of Bio_ClinicalBERT, which states no case
    (EmilyAlsentzer/clinicalBERT, issue 26).

    Args:
        given: `tokenizer.json` or `vocab.txt`, a folder that holds one of them, or a name of the hub.
        vocab_size: rows of the embedding.

    Raises:
        InputError: there is none, it cannot be read, or its vocabulary is not that of the encoder.
    """
    path = _path(given)
    tokenizer = _clip(path) if _is_clip(path) else load_tokenizer(path)
    size = tokenizer.get_vocab_size()
    if size != vocab_size:
        raise InputError(
            f"tokenizer {path} has {size} words, the text encoder {vocab_size}; give the tokenizer that the "
            "release was trained with (docs/import.md)"
        )
    if tokenizer.token_to_id(PAD) is None:
        # Behind the vocabulary; no text encodes to them.
        tokenizer.add_special_tokens([PAD, UNK, MASK])
    own = tokenizer.normalizer
    tokenizer.normalizer = Lowercase() if own is None else Sequence([Lowercase(), own])
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _path(given: str) -> Path:
    path = Path(given)
    if path.is_file():
        return path
    if path.is_dir():
        for name in FILES:
            if (path / name).is_file():
                return path / name
        raise InputError(f"tokenizer {path} holds neither {' nor '.join(FILES)}")
    return _from_hub(given)


def _from_hub(name: str) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, HFValidationError

    why: Exception | None = None
    for file in FILES:
        try:
            return Path(hf_hub_download(name, file))
        except (EntryNotFoundError, HfHubHTTPError, HFValidationError, OSError) as error:
            why = error
    raise InputError(
        f"tokenizer {name} is neither a file or folder nor a hub name that can be read ({why}); give the "
        f"folder with its {' or '.join(FILES)}"
    )


def _content(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _is_clip(path: Path) -> bool:
    if path.suffix != ".json":
        return False
    model = _content(path).get("model")
    return isinstance(model, dict) and set(ENDS) <= set(model.get("vocab") or ())


def _clip(path: Path) -> Tokenizer:
    """Read CLIP's tokenizer, the ends of a text under the names of BERT's."""
    content = _content(path)
    model = content["model"]
    model["vocab"] = {ENDS.get(token, token): number for token, number in model["vocab"].items()}
    model["unk_token"] = ENDS.get(model.get("unk_token"), model.get("unk_token"))
    for token in content.get("added_tokens") or ():
        token["content"] = ENDS.get(token["content"], token["content"])
    content["post_processor"] = None
    try:
        return Tokenizer.from_str(json.dumps(content))
    except Exception as error:  # the library raises bare Exception for malformed files
        raise InputError(f"tokenizer {path} is no tokenizer file ({error}); download it again") from None
