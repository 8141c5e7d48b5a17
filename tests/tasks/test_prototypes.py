"""The prototype task on a stub whose assignments are known."""

import math

import numpy as np
import pandas as pd
import pytest
import torch

from prior.errors import InputError
from prior.tasks.base import Cell
from prior.tasks.prototypes import atlas, entropy, evaluate
from tests.tasks.stub import StubBundle, bundle, dataset, protocol

CELL = Cell(None, 0)
# Assignment probabilities of a sentence by its only word, over four prototypes.
ASSIGNED = {
    "alpha": [0.7, 0.1, 0.1, 0.1],
    "beta": [0.1, 0.7, 0.1, 0.1],
    "gamma": [0.25, 0.24, 0.26, 0.25],
}


def model(tmp_path, n, has_bank=True):
    found = bundle(tmp_path, np.eye(n).tolist(), ASSIGNED)
    table = torch.full((found.words.get_vocab_size(), 4), -9.0)
    for word, share in ASSIGNED.items():
        table[found.words.token_to_id(word)] = torch.tensor(share).log()

    def prototype_logits(tokens):
        slots = max(1, int(tokens.n_sentences.max()))
        logits = torch.zeros(len(tokens.ids), slots, 4)
        for row in range(len(tokens.ids)):
            for token, sentence in zip(tokens.ids[row], tokens.sentence[row], strict=True):
                # The full stop belongs to its sentence and must not overwrite the word.
                if sentence >= 0 and table[token, 0] > -9:
                    logits[row, sentence] = table[token]
        return logits if has_bank else None

    found.towers.prototype_logits = prototype_logits
    return found


def run(tmp_path, data, stub):
    return next(iter(evaluate(stub, data, protocol("prototypes", nearest=3), [CELL], tmp_path)))[1]


def test_one_row_per_sentence_and_the_atlas_names_them(tmp_path):
    data = dataset(
        tmp_path, {"Edema": [1.0, 0.0, 0.0]}, [["alpha.", "\u200b", "beta."], ["alpha."], ["gamma."]]
    )
    result = run(tmp_path, data, model(tmp_path, 3))
    frame = result.predictions
    assert frame["image_id"].tolist() == ["i0000", "i0000", "i0001", "i0002"]
    # A zero-width space has no token: the tokenizer leaves it out, and positions stay those of the table.
    assert frame["position"].tolist() == [0, 2, 0, 0]
    assert frame["nearest"].tolist() == [0, 1, 0, 2]
    assert frame["n_prototypes"].unique().tolist() == [4]
    assert frame["entropy"][0] == pytest.approx(-(0.7 * math.log(0.7) + 0.3 * math.log(0.1)), rel=1e-5)
    assert result.info["n_sentences"] == 4
    found = result.examples
    assert found["prototype"].tolist() == [0, 1, 2, 3]
    assert found["frequency"].tolist() == [0.5, 0.25, 0.25, 0]
    assert np.isnan(found["entropy"]).tolist() == [False, False, False, True]
    # Nearest to prototype 0: alpha once, though two reports say it, then gamma, then beta.
    assert found["study_id"][0].tolist() == ["s0000", "s0002", "s0000"]
    assert found["position"][0].tolist() == [0, 0, 2]
    assert not any(value.dtype == object for value in found.values())


def test_missing_neighbours_are_marked(tmp_path):
    sentences = pd.DataFrame({"study_id": ["s"], "position": [7], "sentence": ["alpha."]})
    found = atlas(sentences, np.array([[0.2, 0.8]], dtype=np.float32), nearest=2)
    assert found["prototype"].tolist() == [1, 0]
    assert found["study_id"].tolist() == [["s", ""], ["s", ""]]
    assert found["position"].tolist() == [[7, -1], [7, -1]]


def test_sentences_beyond_the_encoder_s_length_are_not_read(tmp_path):
    data = dataset(tmp_path, {"Edema": [1.0]}, [["alpha."] * 20])
    frame = run(tmp_path, data, model(tmp_path, 1)).predictions
    assert frame["position"].tolist() == list(range(len(frame)))
    assert 5 <= len(frame) < 20


def test_entropy_of_certain_and_uniform_assignments():
    found = entropy(np.array([[1.0, 0, 0, 0], [0.25] * 4], dtype=np.float32))
    assert found.tolist() == [0, pytest.approx(math.log(4))]


def test_omitted_without_text_bank_or_reports(tmp_path):
    data = dataset(tmp_path, {"Edema": [1.0, 0.0]}, [["alpha."], []])
    assert "without text" in run(tmp_path, data, StubBundle(None)).info["omitted"]
    assert "no prototypes" in run(tmp_path, data, model(tmp_path, 2, has_bank=False)).info["omitted"]
    empty = dataset(tmp_path, {"Edema": [1.0, 0.0]}, [["\u200b"], []])
    assert "no test report" in run(tmp_path, empty, model(tmp_path, 2)).info["omitted"]
    (tmp_path / "sentences.parquet").unlink()
    with pytest.raises(InputError, match=r"sentences\.parquet is missing or empty"):
        run(tmp_path, dataset(tmp_path, {"Edema": [1.0]}, []), model(tmp_path, 1))
