"""Report generation: overlap of words, and clinical F1 by the rule labeller, all from stored texts.

BLEU is pooled over the corpus from counts per report; ROUGE-L, METEOR and CIDEr are means of values per
report; clinical F1 comes from the findings that the labeller reads in each report. So every metric is a
function of the reports' weights, and patients can be resampled.
"""

import numpy as np
import pandas as pd

from prior.metrics.arrays import Bools, Floats, mean_of_defined, ratio, weighted_mean
from prior.metrics.cell import CellMetrics, Compute, Key, unit_numbers, units
from prior.metrics.text_overlap import ORDERS, bleu, bleu_counts, cider, meteor_exact_stem, rouge_l
from prior.reports.labeller import FINDINGS, positive_matrix


def clinical_f1(predicted: Bools, true: Bools, weights: Floats) -> dict[Key, Floats]:
    """F1 of the findings that generated reports state against those of the references.

    Args:
        predicted: findings that the labeller reads as present or uncertain in each generated report [n, 14].
        true: the same for the references [n, 14].
        weights: weight of each report in each resample [B, n].

    Returns:
        `clinical_f1_micro`: over all reports and findings together; `clinical_f1_macro`: mean over the
        findings that occur on either side; `clinical_f1`: of each finding; `clinical_f1_example`: mean over
        reports, 1 where neither side states a finding.
    """
    hits = weights.astype(np.float64) @ (predicted & true)
    sizes = weights.astype(np.float64) @ (predicted.astype(np.int64) + true)
    each = [ratio(2 * hits[:, j], sizes[:, j]) for j in range(len(FINDINGS))]
    size = predicted.sum(axis=1) + true.sum(axis=1)
    example = np.where(size > 0, 2 * (predicted & true).sum(axis=1) / np.maximum(size, 1), 1.0)
    values: dict[Key, Floats] = {
        ("clinical_f1_micro", ""): ratio(2 * hits.sum(axis=1), sizes.sum(axis=1)),
        ("clinical_f1_macro", ""): mean_of_defined(each),
        ("clinical_f1_example", ""): weighted_mean(example, weights),
    }
    return values | {("clinical_f1", f): value for f, value in zip(FINDINGS, each, strict=True)}


def report_metrics(frame: pd.DataFrame) -> CellMetrics:
    """Metrics of one cell, with `frequent_report`: the commonest training report for every image.

    The document frequencies of CIDEr are those of this cell's references and stay so under resampling.

    Args:
        frame: one row per study with the plain words `generated`, `reference` and `frequent`.
    """
    table = units(frame)
    rows = frame.iloc[np.argsort(unit_numbers(frame["image_id"], table))]
    reference = rows["reference"].tolist()
    stated = positive_matrix(reference)

    def compute_of(texts: list[str]) -> Compute:
        counts = bleu_counts(texts, reference)
        means = {
            "rouge_l": rouge_l(texts, reference),
            "meteor_exact_stem": meteor_exact_stem(texts, reference),
            "cider": cider(texts, reference),
        }
        predicted = positive_matrix(texts)

        def compute(weights: Floats) -> dict[Key, Floats]:
            values = {(f"bleu_{order}", ""): bleu(counts, weights, order) for order in range(1, ORDERS + 1)}
            values |= {(name, ""): weighted_mean(each, weights) for name, each in means.items()}
            return values | clinical_f1(predicted, stated, weights)

        return compute

    n_pos = {finding: int(stated[:, j].sum()) for j, finding in enumerate(FINDINGS)}
    n_test = dict.fromkeys(["", *FINDINGS], len(table))
    return CellMetrics(
        table["patient_id"].to_numpy(str),
        np.ones(len(table), dtype=bool),
        compute_of(rows["generated"].tolist()),
        {"frequent_report": compute_of(rows["frequent"].tolist())},
        n_test,
        {"": len(table), **n_pos},
    )
