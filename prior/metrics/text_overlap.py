"""Overlap of generated texts with one reference each: BLEU, ROUGE-L, METEOR without synonyms, CIDEr-D.

Texts are words separated by spaces (`prior.reports.plain`); nothing is tokenised again. Counts, common
subsequences and alignments come from sacrebleu, rouge-score and nltk.
"""

from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from prior.metrics.arrays import Floats, Ints, ratio

ORDERS = 4
BETA = 1.2
SIGMA = 6.0

Grams = Counter[tuple[str, ...]]


def bleu_counts(texts: Sequence[str], references: Sequence[str]) -> Ints:
    """Count matches and totals of 1- to 4-grams and both lengths, per text, with sacrebleu.

    Returns:
        [n, 10]: clipped matches by order, n-grams of the text by order, words of the text and the reference.
    """
    from sacrebleu.metrics.bleu import BLEU

    metric = BLEU(tokenize="none", smooth_method="none", force=True)
    scores = [metric.corpus_score([t], [[r]]) for t, r in zip(texts, references, strict=True)]
    rows = [[*score.counts, *score.totals, score.sys_len, score.ref_len] for score in scores]
    return np.array(rows, dtype=np.int64).reshape(-1, 2 * ORDERS + 2)


def bleu(counts: Ints, weights: Floats, order: int) -> Floats:
    """Corpus BLEU of n-grams up to `order`, equal weights, brevity penalty, no smoothing.

    Papineni et al., ACL 2002.

    Args:
        counts: of `bleu_counts` [n, 10].
        weights: weight of each text in each resample [B, n].
        order: 1 to 4.

    Returns:
        One value in [0, 1] per resample [B]; 0 where an order has no match.
    """
    pooled = weights.astype(np.float64) @ counts
    precision = np.nan_to_num(ratio(pooled[:, :order], pooled[:, ORDERS : ORDERS + order]))
    length, wanted = pooled[:, -2], pooled[:, -1]
    with np.errstate(divide="ignore"):
        logs = np.log(precision).mean(axis=1)
        brevity = np.minimum(1 - wanted / np.maximum(length, 1e-12), 0)
    return np.asarray(np.exp(logs + brevity))


def rouge_l(texts: Sequence[str], references: Sequence[str]) -> Floats:
    """F of precision and recall of the longest common subsequence, β = 1.2 as in COCO's caption evaluation.

    Lin, ACL 2004; the subsequences are those of rouge-score. Returns [n].
    """
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rougeL"], tokenizer=_Words())
    scores = [scorer.score(r, t)["rougeL"] for t, r in zip(texts, references, strict=True)]
    precision = np.array([score.precision for score in scores], dtype=np.float64)
    recall = np.array([score.recall for score in scores], dtype=np.float64)
    return np.nan_to_num(ratio((1 + BETA**2) * precision * recall, recall + BETA**2 * precision))


class _Words:
    """rouge-score's interface of a tokenizer."""

    def tokenize(self, text: str) -> list[str]:
        """Return the words of `text`."""
        return text.split()


class _NoSynonyms:
    """Stands where nltk asks for WordNet, which no package ships."""

    def synsets(self, word: str) -> list[Any]:
        """Return no synonym."""
        return []


def meteor_exact_stem(texts: Sequence[str], references: Sequence[str]) -> Floats:
    """METEOR (Banerjee and Lavie, ACL workshop 2005) that matches words and Porter stems, but no synonyms.

    nltk's metric with its default α = .9, β = 3, γ = .5. It is lower than METEOR with WordNet and not the
    METEOR 1.5 of the papers, which weighs paraphrases. Returns [n].
    """
    from nltk.stem import PorterStemmer
    from nltk.translate.meteor_score import single_meteor_score

    stemmer = PorterStemmer()
    # Stemming the same words again takes most of the time.
    stemmer.stem = cache(stemmer.stem)
    scores = [
        single_meteor_score(r.split(), t.split(), stemmer=stemmer, wordnet=_NoSynonyms()) if t and r else 0.0
        for t, r in zip(texts, references, strict=True)
    ]
    return np.array(scores, dtype=np.float64)


def cider(texts: Sequence[str], references: Sequence[str]) -> Floats:
    """CIDEr-D, what COCO's caption evaluation calls CIDEr (Vedantam et al., CVPR 2015).

    Ten times the mean over n = 1 to 4 of the clipped cosine of tf-idf vectors, times exp(-d² / 72) with d the
    difference in length. Document frequencies are those of `references`, so a single reference scores 0.

    Returns:
        One value in [0, 10] per text [n].
    """
    true, written = [_grams(r) for r in references], [_grams(t) for t in texts]
    documents = Counter(gram for grams in true for gram in grams)
    rarity = {gram: float(np.log(len(true) / count)) for gram, count in documents.items()}
    unseen = float(np.log(max(len(true), 1)))

    def vector(grams: Grams, order: int) -> dict[tuple[str, ...], float]:
        return {g: n * rarity.get(g, unseen) for g, n in grams.items() if len(g) == order}

    def cosine(text: Grams, reference: Grams, order: int) -> float:
        a, b = vector(text, order), vector(reference, order)
        size = np.sqrt(sum(v * v for v in a.values()) * sum(v * v for v in b.values()))
        shared = sum(min(v, b[g]) * b[g] for g, v in a.items() if g in b)
        return float(shared / size) if size > 0 else 0.0

    def one(text: Grams, reference: Grams) -> float:
        gap = _bigrams(text) - _bigrams(reference)
        similar = sum(cosine(text, reference, order) for order in range(1, ORDERS + 1)) / ORDERS
        return 10 * similar * float(np.exp(-(gap**2) / (2 * SIGMA**2)))

    return np.array([one(t, r) for t, r in zip(written, true, strict=True)], dtype=np.float64)


def _bigrams(grams: Grams) -> int:
    """Return the number of bigrams, which COCO's code takes as the length of a text."""
    return sum(count for gram, count in grams.items() if len(gram) == 2)


def _grams(text: str) -> Grams:
    words = text.split()
    return Counter(
        tuple(words[i : i + order]) for order in range(1, ORDERS + 1) for i in range(len(words) - order + 1)
    )
