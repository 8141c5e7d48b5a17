"""WordPiece vocabularies: trained, read, and applied to reports given as lists of sentences."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.decoders import WordPiece as WordPieceDecoder
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.trainers import WordPieceTrainer

from prior.data.files import atomic_path
from prior.errors import InputError
from prior.reports.normalise import clean_sentence

PAD, UNK, CLS, SEP, MASK = SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_UPPER_PIECE = re.compile(r"(?:##)?[A-Za-z]*[A-Z][A-Za-z]*")


def train_tokenizer(sentences: Iterable[str], vocab_size: int, path: Path) -> Tokenizer:
    """Train a lower-case WordPiece vocabulary and write it as `tokenizer.json`.

    Args:
        sentences: Training sentences; give it those of training reports only.
        vocab_size: Upper bound on the number of tokens, the five special ones included.
        path: Where to write it.

    Returns:
        The tokenizer.
    """
    corpus = Counter(clean_sentence(sentence) for sentence in sentences)
    draft = _wordpiece(WordPiece(unk_token=UNK), lowercase=True)
    initial, inner = _alphabet(draft, corpus)
    # The trainer numbers pieces it meets in the order of a hash map, and breaks ties by number. Pieces that
    # are declared beforehand have fixed numbers, which makes the vocabulary a function of the corpus.
    trainer = WordPieceTrainer(
        vocab_size=vocab_size,
        special_tokens=[*SPECIALS, *(f"##{character}" for character in inner)],
        initial_alphabet=initial,
        show_progress=False,
    )
    draft.train_from_iterator(corpus.elements(), trainer)
    tokenizer = _wordpiece(WordPiece(draft.get_vocab(), unk_token=UNK), lowercase=True)
    save_tokenizer(tokenizer, path)
    return tokenizer


def _alphabet(tokenizer: Tokenizer, corpus: Iterable[str]) -> tuple[list[str], list[str]]:
    """Return the sorted characters of all words, and those that stand inside words."""
    characters: set[str] = set()
    inner: set[str] = set()
    for sentence in corpus:
        text = tokenizer.normalizer.normalize_str(sentence)
        for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(text):
            characters.update(word)
            inner.update(word[1:])
    return sorted(characters), sorted(inner)


def save_tokenizer(tokenizer: Tokenizer, path: Path) -> None:
    """Write `tokenizer` as JSON, atomically."""
    with atomic_path(path) as temporary:
        tokenizer.save(str(temporary))


def load_tokenizer(path: Path) -> Tokenizer:
    """Read a `tokenizer.json`, or a BERT `vocab.txt` (cased if it holds capital letters).

    Raises:
        InputError: The file is missing, unreadable, or lacks one of the special tokens.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist; name a tokenizer.json or a vocab.txt (text.tokenizer).")
    tokenizer = _from_json(path) if path.suffix == ".json" else _from_vocabulary(path)
    missing = [token for token in SPECIALS if tokenizer.token_to_id(token) is None]
    if missing:
        raise InputError(
            f"{path} lacks the special token(s) {', '.join(missing)}; use a BERT-style vocabulary."
        )
    return tokenizer


def token_id(tokenizer: Tokenizer, token: str) -> int:
    """Return the id of a special token that `load_tokenizer` has checked for."""
    found = tokenizer.token_to_id(token)
    if found is None:
        raise KeyError(token)
    return found


def _from_json(path: Path) -> Tokenizer:
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare Exception for malformed files
        raise InputError(
            f"{path} is no tokenizer file ({error}); write it again with `prior tokenize`."
        ) from None


def _from_vocabulary(path: Path) -> Tokenizer:
    try:
        pieces = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8 text; give one token per line.") from None
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    words = (piece for piece in pieces if piece not in SPECIALS)
    cased = any(_UPPER_PIECE.fullmatch(piece) for piece in words)
    return _wordpiece(WordPiece(vocabulary, unk_token=UNK), lowercase=not cased)


def _wordpiece(model: WordPiece, lowercase: bool) -> Tokenizer:
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.decoder = WordPieceDecoder()
    tokenizer.add_special_tokens([token for token in SPECIALS if tokenizer.token_to_id(token) is not None])
    return tokenizer


def encode_reports(
    tokenizer: Tokenizer,
    reports: Sequence[Sequence[str]],
    max_sentences: int | None = None,
    max_tokens: int | None = None,
) -> Iterator[tuple[list[int], list[int]]]:
    """Yield token ids and sentence indices of each report, given as a list of sentences.

    [CLS] comes first and [SEP] last (sentence index -1). A report that is too long loses its end but
    keeps [SEP]; sentences without any token take no index.
    """
    cls, sep = token_id(tokenizer, CLS), token_id(tokenizer, SEP)
    distinct = list(dict.fromkeys(sentence for report in reports for sentence in report[:max_sentences]))
    cleaned = [clean_sentence(sentence) for sentence in distinct]
    encodings = tokenizer.encode_batch(cleaned, add_special_tokens=False)
    pieces = {sentence: encoding.ids for sentence, encoding in zip(distinct, encodings, strict=True)}
    room = None if max_tokens is None else max_tokens - 2
    for report in reports:
        encoded = [ids for ids in (pieces[sentence] for sentence in report[:max_sentences]) if ids]
        ids = [token for sentence in encoded for token in sentence][:room]
        index = [number for number, sentence in enumerate(encoded) for _ in sentence][:room]
        yield [cls, *ids, sep], [-1, *index, -1]
