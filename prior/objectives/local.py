"""Local alignment of image regions and sentences inside each pair (PRIOR, arXiv 2307.12577)."""

import torch
from torch import Tensor
from torch.nn import functional as F

from prior.objectives.masking import masked_mean, mean_over_reports


def sigmoid_attention(
    queries: Tensor, keys: Tensor, values: Tensor, key_mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Attend without normalising over the keys, A = sigmoid(Q K^T / sqrt(D)), context = A V.

    A query that nothing matches may thus have weights near zero everywhere.

    Args:
        queries: [B, N, D].
        keys: [B, M, D].
        values: [B, M, D].
        key_mask: [B, M] bool, false at padding, which gets weight zero.

    Returns:
        Context [B, N, D] and weights [B, N, M].
    """
    weights = torch.sigmoid(queries @ keys.transpose(1, 2) * queries.shape[-1] ** -0.5)
    if key_mask is not None:
        weights = weights.masked_fill(~key_mask.unsqueeze(1), 0.0)
    return weights @ values, weights


def local_image_loss(
    tokens: Tensor, contexts: Tensor, predicted_tokens: Tensor, predicted_contexts: Tensor, present: Tensor
) -> Tensor:
    """Pull each region and its text context together, without negatives (SimSiam form).

    -1/2 mean_regions [cos(p(x), sg(c)) + cos(p(c), sg(x))], averaged over the pairs whose report has a
    sentence; in [-1, 1]. Overlapping receptive fields make the image's other regions unsuitable as negatives.

    Args:
        tokens: regions x, [B, R, D].
        contexts: text context c of each region, [B, R, D].
        predicted_tokens: p(x), [B, R, D].
        predicted_contexts: p(c), [B, R, D].
        present: [B] bool, true where the report has a sentence.

    Returns:
        Scalar; zero where no report has a sentence.
    """
    forward = F.cosine_similarity(predicted_tokens.float(), contexts.detach().float(), dim=-1)
    backward = F.cosine_similarity(predicted_contexts.float(), tokens.detach().float(), dim=-1)
    return -0.5 * masked_mean(forward + backward, present)


def local_text_loss(sentences: Tensor, contexts: Tensor, mask: Tensor, scale: Tensor) -> Tensor:
    """Contrast the sentences of one report with their image contexts, symmetric InfoNCE inside the report.

    Negatives come from the same report only: normal sentences recur across patients. A report of one sentence
    has no negative and contributes zero; one without sentences is left out of the mean.

    Args:
        sentences: [B, S, D].
        contexts: image context of each sentence, [B, S, D].
        mask: [B, S] bool.
        scale: inverse temperature, scalar.

    Returns:
        Scalar, mean over sentences within a report, then over reports, of both directions' mean.
    """
    with torch.autocast(sentences.device.type, enabled=False):
        a = F.normalize(sentences.float(), dim=-1)
        b = F.normalize(contexts.float(), dim=-1)
        logits = scale.float() * a @ b.transpose(1, 2)
        pairs = mask.unsqueeze(2) & mask.unsqueeze(1)
        # A finite filling keeps rows of padding free of NaN; they are dropped from the mean below.
        logits = logits.masked_fill(~pairs, torch.finfo(logits.dtype).min)
        forward = logits.log_softmax(dim=2).diagonal(dim1=1, dim2=2)
        backward = logits.log_softmax(dim=1).diagonal(dim1=1, dim2=2)
        return -0.5 * mean_over_reports(forward + backward, mask)
