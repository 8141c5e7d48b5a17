"""Text metrics: values by hand, and slow formulas that share no code with the metrics."""

import math

import numpy as np
import pytest
from sacrebleu.metrics import BLEU

from prior.metrics.text_overlap import bleu, bleu_counts, cider, meteor_exact_stem, rouge_l

WORDS = ["the", "lungs", "are", "clear", "no", "effusion", "small", "left", "heart", "is", "enlarged", "."]


def random_texts(seed: int, n: int = 12) -> tuple[list[str], list[str]]:
    rng = np.random.default_rng(seed)

    def text() -> str:
        return " ".join(rng.choice(WORDS, rng.integers(1, 15)))

    return [text() for _ in range(n)], [text() for _ in range(n)]


def ones(n: int) -> np.ndarray:
    return np.ones((1, n), dtype=np.float32)


def test_bleu_by_hand() -> None:
    counts = bleu_counts(["a b c d"], ["a b c e"])
    assert counts.tolist() == [[3, 2, 1, 0, 4, 3, 2, 1, 4, 4]]
    assert bleu(counts, ones(1), 1)[0] == pytest.approx(3 / 4)
    assert bleu(counts, ones(1), 2)[0] == pytest.approx(math.sqrt(3 / 4 * 2 / 3))
    assert bleu(counts, ones(1), 4)[0] == 0
    short = bleu_counts(["a b"], ["a b c d"])
    assert bleu(short, ones(1), 2)[0] == pytest.approx(math.exp(1 - 2))
    clipped = bleu_counts(["a a a"], ["a b c"])
    assert bleu(clipped, ones(1), 1)[0] == pytest.approx(1 / 3)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_pooled_bleu_is_sacrebleus_corpus_bleu_also_when_resampled(order: int) -> None:
    texts, references = random_texts(0)
    weights = np.random.default_rng(1).integers(0, 3, (4, len(texts))).astype(np.float32)
    found = bleu(bleu_counts(texts, references), weights, order)
    metric = BLEU(tokenize="none", smooth_method="none", max_ngram_order=order, force=True)
    for value, row in zip(found, weights.astype(int), strict=True):
        repeated = [k for k, count in enumerate(row) for _ in range(count)]
        score = metric.corpus_score([texts[k] for k in repeated], [[references[k] for k in repeated]])
        assert value == pytest.approx(score.score / 100)


def test_empty_generations_score_nothing_and_keep_the_others_finite() -> None:
    texts, references = ["", "no effusion ."], ["no effusion .", "no effusion ."]
    assert bleu(bleu_counts(texts, references), ones(2), 1)[0] == pytest.approx(math.exp(1 - 6 / 3))
    assert bleu(bleu_counts([""], ["a"]), ones(1), 1)[0] == 0
    for metric in (rouge_l, meteor_exact_stem, cider):
        assert metric(texts, references)[0] == 0


def common(a: tuple[str, ...], b: tuple[str, ...]) -> int:
    table = np.zeros((len(a) + 1, len(b) + 1), dtype=int)
    for i, x in enumerate(a, 1):
        for j, y in enumerate(b, 1):
            same = table[i - 1, j - 1] + 1
            table[i, j] = same if x == y else max(table[i - 1, j], table[i, j - 1])
    return int(table[-1, -1])


def test_rouge_l_is_the_f_of_the_longest_common_subsequence() -> None:
    assert rouge_l(["a c"], ["a b c d"])[0] == pytest.approx(2.44 * 1 * 0.5 / (0.5 + 1.44 * 1))
    texts, references = random_texts(2)
    for value, text, reference in zip(rouge_l(texts, references), texts, references, strict=True):
        a, b = tuple(text.split()), tuple(reference.split())
        precision, recall = common(a, b) / len(a), common(a, b) / len(b)
        bottom = recall + 1.44 * precision
        assert value == pytest.approx(2.44 * precision * recall / bottom if bottom else 0)


def test_meteor_by_hand() -> None:
    assert meteor_exact_stem(["a b c d"], ["a b c d"])[0] == pytest.approx(1 - 0.5 / 4**3)
    # Three matches in two chunks, precision 3/4, recall 3/5.
    mean = 0.75 * 0.6 / (0.9 * 0.75 + 0.1 * 0.6)
    assert meteor_exact_stem(["a b x c"], ["a b c y z"])[0] == pytest.approx(mean * (1 - 0.5 * (2 / 3) ** 3))
    assert meteor_exact_stem(["effusions"], ["effusion"])[0] == pytest.approx(0.5)
    assert meteor_exact_stem(["heart"], ["cardiac"])[0] == 0


def slow_cider(texts: list[str], references: list[str]) -> list[float]:
    def grams(text: str, n: int) -> list[tuple[str, ...]]:
        words = text.split()
        return list(zip(*(words[k:] for k in range(n)), strict=False))

    scores = []
    for text, reference in zip(texts, references, strict=True):
        cosines = []
        for n in (1, 2, 3, 4):
            axes = sorted({*grams(text, n), *grams(reference, n)})
            frequency = [sum(axis in grams(r, n) for r in references) for axis in axes]
            rarity = np.array([math.log(len(references) / max(1, f)) for f in frequency])
            a, b = (np.array([grams(t, n).count(x) for x in axes]) * rarity for t in (text, reference))
            size = np.linalg.norm(a) * np.linalg.norm(b)
            cosines.append(np.minimum(a, b) @ b / size if size else 0)
        gap = max(len(text.split()) - 1, 0) - max(len(reference.split()) - 1, 0)
        scores.append(10 * float(np.mean(cosines)) * math.exp(-(gap**2) / 72))
    return scores


def test_cider_is_the_slow_formula() -> None:
    texts, references = random_texts(3)
    assert cider(texts, references) == pytest.approx(slow_cider(texts, references))
    assert cider(references, references) == pytest.approx(slow_cider(references, references))


def test_cider_of_one_reference_is_zero_and_of_equal_texts_ten() -> None:
    assert cider(["a b c d"], ["a b c d"]).tolist() == [0]
    found = cider(["a b c d", "e f g h"], ["a b c d", "e f g h"])
    assert found == pytest.approx([10, 10])


def test_coco_caption_evaluation_gives_the_same_values() -> None:
    texts = [
        "the lungs are clear . no effusion .",
        "small left effusion . heart is enlarged .",
        "no effusion . the heart is normal .",
        "the heart is enlarged and there is a small left effusion .",
    ]
    references = [
        "lungs are clear . no pleural effusion .",
        "there is a small left effusion . the heart is enlarged .",
        "no effusion or pneumothorax . the heart is normal .",
        "no effusion .",
    ]
    # Computed with Cider, Rouge and Bleu of pycocoevalcap 1.2.
    np.testing.assert_allclose(
        cider(texts, references), [6.12213094, 4.65661027, 5.41194665, 0.02208947], atol=1e-7
    )
    np.testing.assert_allclose(
        rouge_l(texts, references), [0.875, 0.7721519, 0.87142857, 0.29901961], atol=1e-7
    )
    counts = bleu_counts(texts, references)
    found = [bleu(counts, ones(4), order)[0] for order in (1, 2, 3, 4)]
    np.testing.assert_allclose(found, [0.69444444, 0.625, 0.53538339, 0.45996032], atol=1e-7)
