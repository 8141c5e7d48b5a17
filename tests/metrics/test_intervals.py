import numpy as np
import pytest
from scipy.stats import t as student

from prior.metrics.intervals import holm, interval, patient_resamples


def test_resamples_depend_on_patients_and_source_only() -> None:
    patients = np.array(["b", "a", "a", "c", "d"])
    positive = np.array([True, False, True, False, False])
    first = patient_resamples(patients, positive, 300, "chexpert|strict|0")
    shuffled = patient_resamples(patients[::-1], positive[::-1], 300, "chexpert|strict|0")
    np.testing.assert_array_equal(first.counts, shuffled.counts)
    other = patient_resamples(patients, positive, 300, "chexpert|strict|1")
    assert first.key == shuffled.key != other.key
    assert (first.counts[:, :2].sum(axis=1) == 2).all()
    assert (first.counts[:, 2:].sum(axis=1) == 2).all()


def test_chunks_give_whole_patients() -> None:
    patients = np.array(["b", "a", "a"])
    resamples = patient_resamples(patients, np.zeros(3, bool), 10, "x")
    weights = np.concatenate(list(resamples.chunks(1_000_000)))
    assert weights.shape == (10, 3)
    np.testing.assert_array_equal(weights[:, 1], weights[:, 2])
    np.testing.assert_array_equal(weights[:, 0] + weights[:, 1], 2)


def test_interval_follows_the_formula() -> None:
    generator = np.random.default_rng(0)
    values = np.array([0.70, 0.72, 0.77])
    replicates = values[:, None] + generator.normal(0, 0.02, (1, 500)) + generator.normal(0, 0.01, (3, 500))
    sigma, s = replicates.mean(0).std(ddof=1), values.std(ddof=1)
    se = np.sqrt(sigma**2 + s**2 / 3)
    df = 2 * (1 + 3 * sigma**2 / s**2) ** 2
    found = interval(values.mean(), replicates.mean(axis=0), values)
    assert found.mean == pytest.approx(0.73)
    assert found.high - found.mean == pytest.approx(student.ppf(0.975, df) * se)
    assert found.p == pytest.approx(2 * student.sf(0.73 / se, df))


def test_two_kinds_of_seeds_add_their_variances() -> None:
    averaged = np.random.default_rng(0).normal(0.5, 0.02, 500)
    pretraining, downstream = np.array([0.45, 0.5, 0.55]), np.array([0.48, 0.49, 0.5, 0.51, 0.52])
    parts = pretraining.var(ddof=1) / 3, downstream.var(ddof=1) / 5
    variance = averaged.var(ddof=1) + sum(parts)
    df = variance**2 / (parts[0] ** 2 / 2 + parts[1] ** 2 / 4)
    found = interval(0.5, averaged, pretraining, downstream)
    assert found.high - 0.5 == pytest.approx(student.ppf(0.975, df) * np.sqrt(variance))
    assert found.n_seeds == 5
    one = interval(0.5, averaged, pretraining[:1], downstream)
    assert one == interval(0.5, averaged, downstream)


def test_one_seed_uses_the_bootstrap_alone() -> None:
    replicates = np.random.default_rng(0).normal(0.5, 0.1, 2000)
    found = interval(0.5, replicates, np.array([0.5]))
    assert found.high - 0.5 == pytest.approx(1.959964 * replicates.std(ddof=1), rel=1e-5)


def test_undefined_and_constant_values() -> None:
    undefined = interval(np.nan, np.full(5, np.nan), np.array([np.nan]))
    assert np.isnan(undefined.mean)
    assert np.isnan(undefined.low)
    constant = interval(0.5, np.full(5, 0.5), np.array([0.5]))
    assert (constant.low, constant.high, constant.p) == (0.5, 0.5, 0.0)


def test_holm() -> None:
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, np.nan]), [0.03, 0.06, 0.06, np.nan])
