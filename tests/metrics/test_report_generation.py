import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score

from prior.metrics.report_generation import clinical_f1, report_metrics
from prior.metrics.score import COLUMNS, cell_metrics
from prior.reports.labeller import FINDINGS


def frame(generated: list[str], reference: list[str], frequent: str = "no effusion .") -> pd.DataFrame:
    ids = [f"i{k}" for k in range(len(generated))]
    table = pd.DataFrame({"image_id": ids, "patient_id": ids, "study_id": ids, "generated": generated})
    return table.assign(reference=reference, frequent=frequent)


def value(table: pd.DataFrame, metric: str, finding: str = "") -> float:
    return float(report_metrics(table).compute(np.ones((1, len(table))))[metric, finding][0])


def test_clinical_f1_agrees_with_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    predicted, true = rng.random((2, 40, len(FINDINGS))) < 0.2
    predicted[:, 3] = true[:, 3] = False
    weights = rng.integers(0, 3, (5, 40)).astype(np.float32)
    found = clinical_f1(predicted, true, weights)
    for k, row in enumerate(weights.astype(int)):
        a, b = np.repeat(true, row, axis=0), np.repeat(predicted, row, axis=0)
        some = (a | b).any(axis=0)
        assert found["clinical_f1_micro", ""][k] == pytest.approx(f1_score(a, b, average="micro"))
        assert found["clinical_f1_macro", ""][k] == pytest.approx(
            f1_score(a[:, some], b[:, some], average="macro", zero_division=0)
        )
        assert found["clinical_f1_example", ""][k] == pytest.approx(
            f1_score(a, b, average="samples", zero_division=1)
        )
        each = f1_score(a, b, average=None, zero_division=np.nan)
        names = [found["clinical_f1", finding][k] for finding in FINDINGS]
        np.testing.assert_allclose(names, each)


def test_words_may_differ_where_the_finding_is_the_same() -> None:
    table = frame(["small effusion .", "no effusion ."], ["left pleural effusion .", "clear lungs ."])
    assert value(table, "clinical_f1_micro") == value(table, "clinical_f1_example") == 1
    assert value(table, "bleu_4") == 0


def test_denied_and_missed_findings_count_against() -> None:
    table = frame(["no effusion .", "edema ."], ["effusion .", "edema ."])
    # Hit: edema. Wrong: no finding where there is an effusion. Missed: effusion.
    assert value(table, "clinical_f1_micro") == pytest.approx(2 / 4)
    assert value(table, "clinical_f1_macro") == pytest.approx(1 / 3)
    assert value(table, "clinical_f1_example") == pytest.approx(1 / 2)
    assert value(table, "clinical_f1", "Pleural_Effusion") == 0
    assert np.isnan(value(table, "clinical_f1", "Fracture"))


def test_an_empty_generation_states_nothing_not_even_that_there_is_nothing() -> None:
    table = frame(["", ""], ["normal chest .", "effusion ."])
    for metric in ("clinical_f1_micro", "clinical_f1_macro", "clinical_f1_example", "bleu_1", "cider"):
        assert value(table, metric) == 0


def test_order_of_rows_does_not_matter_and_the_references_are_perfect() -> None:
    texts = ["effusion on the left side .", "heart is enlarged today .", "no focal consolidation seen ."]
    table = frame(texts, texts)
    turned = table.iloc[::-1]
    for metric in ("bleu_4", "rouge_l", "clinical_f1_micro"):
        assert value(table, metric) == value(turned, metric) == pytest.approx(1)
    assert value(table, "cider") == pytest.approx(10)


def test_counts_baseline_and_registration() -> None:
    table = frame(["a .", "b ."], ["effusion .", "no effusion ."])
    (metrics,) = cell_metrics("report_generation", table[COLUMNS["report_generation"]])
    assert metrics.n_test["Edema"] == metrics.n_test[""] == 2
    assert metrics.n_pos["Pleural_Effusion"] == metrics.n_pos["No_Finding"] == 1
    weights = np.ones((1, 2))
    assert metrics.baselines["frequent_report"](weights)["bleu_1", ""][0] == pytest.approx(5 / 6)
    assert metrics.compute(weights)["bleu_1", ""][0] < 0.5
