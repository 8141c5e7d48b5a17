"""Word-region contrast of GLoRIA (Huang et al., ICCV 2021): words look for their regions in every image."""

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from prior.objectives.contrastive import in_blocks
from prior.objectives.gather import batch_mean, gather

_SMALLEST_SQUARE = 1e-8
_BLOCK_ENTRIES = 1 << 21


def word_region_scores(
    words: Tensor,
    mask: Tensor,
    regions: Tensor,
    attention_scale: float,
    word_scale: float,
    block_entries: int = _BLOCK_ENTRIES,
) -> Tensor:
    """Score every image against every report by its words and the regions they attend to.

    With region r of an image and word w of a report, d_rw = <r, w> (features as they come):

    a_wr = softmax_r(attention_scale softmax_w(d_rw)), c_w = sum_r a_wr r,
    S = log sum_w exp(word_scale cos(c_w, w));

    papers.md 4.2 and protocols.md 4.3. A longer report has more summands. Computed in float32. The contexts
    c_w are never formed: <c_w, w> = sum_r a_wr d_rw, and |c_w|^2 is a quadratic form in the products of the
    image's regions. Whatever does not fit `block_entries` is worked off in blocks of reports, which are
    recomputed in the backward pass.

    Args:
        words: [T, W, D].
        mask: [T, W] bool, true at real words.
        regions: [N, R, D].
        attention_scale: inverse temperature of the attention over regions (tau1; 4 in the paper's code).
        word_scale: inverse temperature of the sum over words (tau2; 5 in the paper's code).
        block_entries: most entries of a tensor [N, R, reports, W]; a block has at least one report.

    Returns:
        [N, T]; zero where a report has no word, which is what one word without a relation to the image gets.
    """
    reports = max(1, block_entries // max(1, regions.shape[0] * regions.shape[1] * words.shape[1]))
    with torch.autocast(regions.device.type, enabled=False):
        words, regions = words.float(), regions.float()
        products = regions @ regions.transpose(1, 2)
        scales = (attention_scale, word_scale)
        if len(words) <= reports:
            return _block(words, mask, regions, products, *scales)
        blocks = zip(torch.split(words, reports), torch.split(mask, reports), strict=True)
        columns: list[Tensor] = [
            checkpoint(_block, part, real, regions, products, *scales, use_reentrant=False)
            for part, real in blocks
        ]
        return torch.cat(columns, dim=1)


def region_attention(dots: Tensor, mask: Tensor, attention_scale: float) -> Tensor:
    """Attention a_wr of every word over the regions of an image, as in `word_region_scores`.

    Args:
        dots: d_rw, [N, R, ..., W].
        mask: bool that broadcasts against `dots`, true at real words.
        attention_scale: inverse temperature of the attention over regions.

    Returns:
        Like `dots`, summing to 1 over the regions (dimension 1).
    """
    share = dots.masked_fill(~mask, torch.finfo(dots.dtype).min).softmax(dim=-1)
    return (attention_scale * share).softmax(dim=1)


def _block(
    words: Tensor, mask: Tensor, regions: Tensor, products: Tensor, attention_scale: float, word_scale: float
) -> Tensor:
    lowest = torch.finfo(words.dtype).min
    dots = (regions @ words.flatten(0, 1).T).view(*regions.shape[:2], *mask.shape)
    attention = region_attention(dots, mask, attention_scale)
    square = (attention * (products @ attention.flatten(2)).view_as(attention)).sum(dim=1)
    # Regions can cancel in the context, and rounding can then make its square negative.
    context_norm = square.clamp(min=_SMALLEST_SQUARE).sqrt()
    word_norm = words.square().sum(dim=2).clamp(min=_SMALLEST_SQUARE).sqrt()
    cosine = (attention * dots).sum(dim=1) / (context_norm * word_norm)
    score = (word_scale * cosine).masked_fill(~mask, lowest).logsumexp(dim=2)
    return score.masked_fill(~mask.any(dim=1), 0.0)


def word_region_loss(
    words: Tensor,
    mask: Tensor,
    regions: Tensor,
    attention_scale: float,
    word_scale: float,
    scale: float,
    block_entries: int = _BLOCK_ENTRIES,
    block: int = 1024,
) -> Tensor:
    """Contrast the scores S of all images and reports, both directions over the batch.

    mean_i [ CE_j(scale S_ij, i) + CE_j(scale S_ji, i) ]; protocols.md 4.3. Pairs whose report has no word
    stay out, as queries and as negatives. A batch of one gives zero. Where the batch is split over processes,
    each scores its images against all reports, and the scores are gathered. A larger batch than `block` is
    scored once per direction, in blocks that are recomputed in the backward pass, so that memory grows with
    `block` times the batch, not with its square.

    Args:
        words: [B, W, D].
        mask: [B, W] bool, true at real words.
        regions: [B, R, D], image i belongs to report i.
        attention_scale: see `word_region_scores`.
        word_scale: see `word_region_scores`.
        scale: inverse temperature of the contrast (tau3; 10 in the paper's code).
        block_entries: see `word_region_scores`.
        block: rows of scores held at a time.

    Returns:
        Scalar; zero where no report has a word.
    """
    present = mask.any(dim=1)
    words, mask, regions = words[present], mask[present], regions[present]
    every_words, first = gather(words)
    every_mask, _ = gather(mask)
    own = torch.arange(first, first + len(words), device=words.device)
    settings = (attention_scale, word_scale, block_entries)

    def to_text(part: Tensor, wanted: Tensor) -> Tensor:
        scores = word_region_scores(every_words, every_mask, part, *settings)
        return F.cross_entropy(scale * scores, wanted, reduction="none")

    def to_image(part: Tensor, real: Tensor, wanted: Tensor) -> Tensor:
        scores = word_region_scores(part, real, every_regions, *settings)
        return F.cross_entropy(scale * scores.T, wanted, reduction="none")

    with torch.autocast(words.device.type, enabled=False):
        if len(every_words) <= block:
            scores = word_region_scores(every_words, every_mask, regions, *settings)
            every, _ = gather(scores)
            there = F.cross_entropy(scale * scores, own, reduction="none")
            back = F.cross_entropy(scale * every[:, own].T, own, reduction="none")
        else:
            every_regions, _ = gather(regions)
            there = in_blocks(to_text, block, regions, own)
            back = in_blocks(to_image, block, words, mask, own)
        return batch_mean(there + back)
