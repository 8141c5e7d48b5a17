import numpy as np
import pandas as pd
import pytest

from prior.data.files import read_json, write_json
from prior.data.schemas import write_table
from prior.errors import InputError
from prior.reports.normalise import clean_sentence, normalised_text
from prior.reports.tokens import ReportTokens, encode_texts, load_tokenizer, tokenize, train_tokenizer

WORDS = ["no acute disease.", "mild edema is seen.", "the heart is large."]


@pytest.fixture
def tokenizer(tmp_path):
    return train_tokenizer(WORDS * 20, 120, tmp_path / "tokenizer.json")


def test_clean_sentence_drops_what_is_no_language():
    assert clean_sentence(" 2. Compared to ____,\n  stable.") == "Compared to _, stable."
    assert clean_sentence("2.5 cm nodule") == "2.5 cm nodule"
    assert clean_sentence("- 1.5 cm nodule") == "1.5 cm nodule"


def test_normalised_text_makes_equal_reports_equal():
    assert normalised_text(["1. No edema.", "A 2.5 cm nodule!"]) == "no edema | a 2.5 cm nodule"
    assert normalised_text(["No edema", "a 2.5 cm  nodule."]) == normalised_text(
        ["1. No edema.", "A 2.5 cm nodule"]
    )
    assert normalised_text(["Edema.", "Nodule."]) != normalised_text(["Edema nodule."])


def test_encoding_marks_sentences_and_special_tokens(tokenizer):
    batch = encode_texts(tokenizer, [["1. No acute disease.", "Mild edema."], ["Edema."]])
    tokens = [tokenizer.id_to_token(i) for i in batch["ids"][0]]
    assert tokens == ["[CLS]", "no", "acute", "disease", ".", "mild", "edema", ".", "[SEP]"]
    assert batch["sentence"][0].tolist() == [-1, 0, 0, 0, 0, 1, 1, 1, -1]
    assert batch["sentence"][1].tolist() == [-1, 0, 0, -1, -1, -1, -1, -1, -1]
    assert batch["mask"].sum(axis=1).tolist() == [9, 4]
    assert batch["n_sentences"].tolist() == [2, 1]
    assert tokenizer.id_to_token(batch["ids"][1, -1]) == "[PAD]"


def test_truncation_keeps_the_last_special_token(tokenizer):
    batch = encode_texts(
        tokenizer, [["no acute disease.", "mild edema.", "large."]], max_sentences=2, max_tokens=6
    )
    assert tokenizer.id_to_token(batch["ids"][0, -1]) == "[SEP]"
    assert batch["sentence"][0].tolist() == [-1, 0, 0, 0, 0, -1]


def test_training_twice_gives_equal_files(tmp_path):
    for name in ("a", "b"):
        train_tokenizer(WORDS * 5, 90, tmp_path / f"{name}.json")
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


@pytest.mark.parametrize(("extra", "expected"), [("Edema", ["Edema"]), ("edema", ["edema"])])
def test_case_follows_the_vocabulary(tmp_path, extra, expected):
    vocabulary = tmp_path / "vocab.txt"
    vocabulary.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", extra]))
    assert load_tokenizer(vocabulary).encode("Edema").tokens == expected


def test_bad_tokenizers_are_named(tmp_path):
    (tmp_path / "vocab.txt").write_text("edema\nheart")
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(InputError, match=r"vocab\.txt lacks the special token"):
        load_tokenizer(tmp_path / "vocab.txt")
    with pytest.raises(InputError, match=r"broken\.json is no tokenizer file"):
        load_tokenizer(tmp_path / "broken.json")
    with pytest.raises(InputError, match="does not exist"):
        load_tokenizer(tmp_path / "none.json")


@pytest.fixture
def prepared(tmp_path):
    folder = tmp_path / "prepared"
    studies = [f"s{i}" for i in range(4)]
    images = {
        "image_id": [f"i{i}" for i in range(4)],
        "study_id": studies,
        "patient_id": studies,
        "study_order": 0,
        "view": "PA",
        "sex": None,
        "age": float("nan"),
        "site": None,
        "height": 8,
        "width": 8,
        "row": range(4),
        "source": "x",
    }
    write_table(folder, "images", pd.DataFrame(images))
    split = {"image_id": images["image_id"], "seed": 0, "fold": -1, "rank": [0.0, 0.5, 0.0, float("nan")]}
    write_table(
        folder, "splits/strict", pd.DataFrame(split).assign(split=["train", "train", "validation", "test"])
    )
    rows = [
        (study, p, s, t)
        for study, w in zip(studies, ["edema", "edema", "zygote", "quokka"], strict=True)
        for p, (s, t) in enumerate([("findings", f"Large {w}."), ("impression", f"{w} {w}.")])
    ]
    sentences = pd.DataFrame(rows, columns=["study_id", "position", "section", "sentence"])
    write_table(folder, "sentences", sentences.assign(start=0, end=5))
    write_json(folder / "manifest.json", {"simulated": True, "content_hash": "abc"})
    return folder


def test_the_vocabulary_comes_from_training_reports_only(prepared, tmp_path):
    out = tmp_path / "tokens"
    tokenize(prepared, out, "strict", 60, 8, 32)
    pieces = set("".join(load_tokenizer(out / "tokenizer.json").get_vocab()))
    assert "z" not in pieces
    assert "q" not in pieces
    tokens = ReportTokens.load(out / "tokens.npz")
    assert tokens.study_id.tolist() == ["s0", "s1", "s2", "s3"]
    assert "s3" in tokens
    manifest = read_json(out / "manifest.json")
    assert manifest["simulated"] is True
    assert manifest["reports"] == 4
    assert manifest["share_unknown"] > 0


def test_the_impression_comes_first_and_batches_follow_the_request(prepared, tmp_path):
    out = tmp_path / "tokens"
    tokenize(prepared, out, "strict", 60, 8, 32)
    tokenizer = load_tokenizer(out / "tokenizer.json")
    batch = ReportTokens.load(out / "tokens.npz").batch(["s1", "s0", "s1"])
    np.testing.assert_array_equal(batch["ids"][0], batch["ids"][2])
    assert tokenizer.decode(batch["ids"][0].tolist()) == "edema edema. large edema."
    with pytest.raises(InputError, match="No tokens for study"):
        ReportTokens.load(out / "tokens.npz").batch(["s9"])


def test_a_preset_that_does_not_exist_is_named(prepared, tmp_path):
    with pytest.raises(InputError, match=r"splits/official\.parquet does not exist"):
        tokenize(prepared, tmp_path / "tokens", "official", 60, 8, 32)
