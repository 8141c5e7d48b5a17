"""Which reports of a batch have the same text, and how common a sentence is in the training reports.

Texts are compared by their token ids, which the tokenizer makes from normalised text.
"""

import torch
from torch import Tensor, nn

from prior.methods.base import ReportTokens
from prior.objectives.gather import gather

_PRIME = (1 << 31) - 1
_BASE = 1_000_003


def number_texts(tokens: ReportTokens) -> Tensor:
    """Return [B] int64, equal where two reports have exactly the same token ids.

    Where the batch is split over processes, equal texts have equal numbers in all of them.
    """
    # Zero stands for padding, here and in what `gather` pads with.
    ids, first = gather((tokens.ids + 1).masked_fill(~tokens.mask, 0))
    _, text = torch.unique(ids, dim=0, return_inverse=True)
    return text[first : first + len(tokens.ids)]


def sentence_hashes(tokens: ReportTokens) -> tuple[Tensor, Tensor]:
    """Hash the token ids of every sentence, in order: a polynomial modulo 2^31 - 1, the same on all devices.

    Args:
        tokens: reports, [B, L].

    Returns:
        Hashes [B, S] int64 in [0, 2^31 - 1), with S = max(1, largest sentence count), zero at empty slots;
        and [B, S] bool, true at real sentences.
    """
    slots = max(1, int(tokens.n_sentences.max()))
    index = torch.arange(slots, device=tokens.ids.device)
    member = (tokens.sentence.unsqueeze(1) == index.view(1, -1, 1)) & tokens.mask.unsqueeze(1)
    powers, power = [], 1
    for _ in range(tokens.ids.shape[1]):
        powers.append(power)
        power = power * _BASE % _PRIME
    place = (member.long().cumsum(dim=2) - 1).clamp(min=0)
    products = (tokens.ids + 1).unsqueeze(1) * torch.tensor(powers, device=place.device)[place] % _PRIME
    return products.masked_fill(~member, 0).sum(dim=2) % _PRIME, member.any(dim=2)


class SentenceFrequency(nn.Module):
    """Running document frequency of sentences, and the inverse-document-frequency weights it gives.

    A method sees batches and never the corpus, so the reports are counted as they pass in training: a report
    that comes again counts again, which leaves the frequencies as they are. The counts are buffers of fixed
    size, indexed by a hash of the sentence's token ids; they are stored with the network's weights, so that a
    resumed training goes on alike and a test report is weighed by training reports only. Sentences that share
    a bucket share a count, hence a rare sentence may weigh a little less than it should.

    Attributes:
        counts: reports that held a sentence of each bucket, [buckets] int64.
        reports: reports counted.

    Args:
        buckets: number of counts.
    """

    counts: Tensor
    reports: Tensor

    def __init__(self, buckets: int) -> None:
        super().__init__()
        self.register_buffer("counts", torch.zeros(buckets, dtype=torch.int64))
        self.register_buffer("reports", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def count(self, tokens: ReportTokens) -> None:
        """Count a batch of training reports [B, L], with the rows of all processes.

        A sentence that a report repeats counts once; a report without sentences is not counted.
        """
        own_hashes, own_mask = sentence_hashes(tokens)
        hashes, mask = gather(own_hashes)[0], gather(own_mask)[0]
        buckets = len(self.counts)
        rows = torch.arange(len(mask), device=mask.device).unsqueeze(1)
        once = torch.unique((rows * buckets + hashes % buckets)[mask]) % buckets
        self.counts.index_add_(0, once, torch.ones_like(once))
        self.reports += mask.any(dim=1).sum()

    def weights(self, tokens: ReportTokens) -> Tensor:
        """Return w proportional to idf = 1 + log((1 + reports) / (1 + count)), sum 1 over a report.

        Args:
            tokens: reports, [B, L].

        Returns:
            [B, S] float32, zero at empty slots. Before anything is counted all sentences weigh the same.
        """
        hashes, mask = sentence_hashes(tokens)
        counts = self.counts[hashes % len(self.counts)]
        idf = (1 + ((1 + self.reports) / (1 + counts)).log()).masked_fill(~mask, 0.0)
        return idf / idf.sum(dim=1, keepdim=True).clamp(min=1)
