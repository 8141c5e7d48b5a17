"""Equal texts and the weights of sentences."""

import math
from collections import Counter

import torch

from prior.methods.identical_text import SentenceFrequency, number_texts, sentence_hashes
from tests.methods.reports import RAGGED, pack

REPORTS = [[[5, 6], [7], [5, 6]], [[5, 6], [8]], [], [[6, 5]], [[5, 6], [8]]]


def test_reports_are_identical_if_their_token_ids_are() -> None:
    expected = [[a == b for b in REPORTS] for a in REPORTS]
    numbers = number_texts(pack(REPORTS, padding=2))
    assert (numbers.unsqueeze(1) == numbers).tolist() == expected


def test_equal_sentences_have_equal_hashes_and_others_do_not() -> None:
    hashes, mask = sentence_hashes(pack(REPORTS))
    assert mask.sum(dim=1).tolist() == [len(report) for report in REPORTS]
    pairs = [
        (tuple(sentence), int(hashes[b, s]))
        for b, report in enumerate(REPORTS)
        for s, sentence in enumerate(report)
    ]
    assert len(set(pairs)) == len({sentence for sentence, _ in pairs}) == len({key for _, key in pairs})
    assert torch.equal(sentence_hashes(pack(REPORTS, padding=5))[0], hashes)


def test_weights_are_the_idf_of_the_counted_reports() -> None:
    frequency = SentenceFrequency(1 << 16)
    frequency.count(pack(REPORTS))
    frequency.count(pack(RAGGED))
    counted = [report for report in [*REPORTS, *RAGGED] if report]
    assert frequency.reports.item() == len(counted)
    holding = Counter(sentence for report in counted for sentence in {tuple(s) for s in report})
    weights = frequency.weights(pack(REPORTS))
    for b, report in enumerate(REPORTS):
        idf = [1 + math.log((1 + len(counted)) / (1 + holding[tuple(s)])) for s in report]
        expected = [value / sum(idf) for value in idf] + [0.0] * (3 - len(report))
        torch.testing.assert_close(weights[b], torch.tensor(expected))


def test_weights_are_equal_before_counting_and_survive_saving() -> None:
    frequency = SentenceFrequency(64)
    torch.testing.assert_close(frequency.weights(pack(REPORTS))[0], torch.full((3,), 1 / 3))
    frequency.count(pack(REPORTS))
    other = SentenceFrequency(64)
    other.load_state_dict(frequency.state_dict())
    assert torch.equal(other.weights(pack(REPORTS)), frequency.weights(pack(REPORTS)))
