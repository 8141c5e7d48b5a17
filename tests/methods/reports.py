"""Batches of ragged reports for the tests of methods."""

import torch

from prior.methods.base import Batch, ReportTokens

CLS, SEP = 2, 3
RAGGED = [[[5, 6], [7, 8, 9]], [[10]], [], [[11], [12, 13], [14], [15], [16, 17], [18]]]

Reports = list[list[list[int]]]


def pack(reports: Reports, padding: int = 0) -> ReportTokens:
    """Reports as lists of sentences of ids, packed as the tokenizer does, with `padding` columns to spare."""
    length = 2 + padding + max(sum(map(len, report)) for report in reports)
    ids = torch.zeros(len(reports), length, dtype=torch.long)
    sentence = torch.full_like(ids, -1)
    mask = torch.zeros_like(ids, dtype=torch.bool)
    for b, report in enumerate(reports):
        row = [(CLS, -1), *((word, s) for s, words in enumerate(report) for word in words), (SEP, -1)]
        ids[b, : len(row)] = torch.tensor([word for word, _ in row])
        sentence[b, : len(row)] = torch.tensor([s for _, s in row])
        mask[b, : len(row)] = True
    counts = torch.tensor([len(report) for report in reports])
    return ReportTokens(ids=ids, mask=mask, sentence=sentence, n_sentences=counts)


def pairs(reports: Reports, padding: int = 0) -> Batch:
    """Reports with an image each, always the same ones."""
    images = torch.rand(len(reports), 1, 32, 32, generator=torch.Generator().manual_seed(0))
    return Batch(images=images, **pack(reports, padding).tensors())


def permute(batch: Batch, order: torch.Tensor) -> Batch:
    """The same pairs in another order."""
    return Batch(**{name: tensor[order] for name, tensor in batch.tensors().items()})
