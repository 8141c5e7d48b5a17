"""Reading single sentences out of a batch of reports, without a loop over the batch."""

import torch
from torch import Tensor

from prior.methods.base import ReportTokens


def pick_sentence(tokens: ReportTokens, chosen: Tensor) -> ReportTokens:
    """Keep one sentence per report, between the report's special tokens.

    Args:
        tokens: reports, [B, L].
        chosen: [B], index of the sentence to keep; a report without it keeps its special tokens.

    Returns:
        [B, L'] with L' the longest kept row; order is preserved and padding is on the right.
    """
    special = tokens.mask & (tokens.sentence < 0)
    keep = special | (tokens.sentence == chosen.unsqueeze(1))
    length = max(1, int(keep.sum(dim=1).max()))
    order = torch.argsort(keep.int(), dim=1, descending=True, stable=True)[:, :length]
    mask = keep.gather(1, order)
    sentence = torch.where(special, -1, 0).gather(1, order)
    return ReportTokens(
        ids=tokens.ids.gather(1, order).masked_fill(~mask, 0),
        mask=mask,
        sentence=sentence.masked_fill(~mask, -1),
        n_sentences=(sentence == 0).logical_and(mask).any(dim=1).long(),
    )


def repeat_per_sentence(tokens: ReportTokens) -> tuple[ReportTokens, Tensor]:
    """Turn every sentence of every report into a row of its own.

    Args:
        tokens: reports, [B, L].

    Returns:
        Rows in the order of reports and sentences, and the number of rows of each report [B]: its number of
        sentences, or one row of special tokens where it has none.
    """
    counts = tokens.n_sentences.clamp(min=1)
    report = torch.repeat_interleave(torch.arange(len(counts), device=counts.device), counts)
    first = counts.cumsum(0) - counts
    position = torch.arange(len(report), device=counts.device) - first[report]
    rows = ReportTokens(
        ids=tokens.ids[report],
        mask=tokens.mask[report],
        sentence=tokens.sentence[report],
        n_sentences=tokens.n_sentences[report],
    )
    return pick_sentence(rows, position), counts
