import numpy as np
import pandas as pd
import pytest

from prior.errors import InputError
from prior.reports.tokens import ReportTokens
from prior.training.pairs import find_pairs


def tokens(studies, empty=()):
    rows = [([2, 3], [-1, -1]) if s in empty else ([2, 9, 3], [-1, 0, -1]) for s in studies]
    return ReportTokens.from_rows(rows, list(studies), 0)


def images(*studies):
    return pd.DataFrame(
        {
            "image_id": [f"i{k}" for k in range(len(studies))],
            "row": np.arange(len(studies)) + 10,
            "patient_id": [f"p{s}" for s in studies],
            "study_id": list(studies),
        }
    )


def test_every_study_comes_once_per_epoch_with_one_of_its_images():
    train = images("b", "a", "a", "c", "d", "none", "empty")
    pairs = find_pairs(train, tokens([*"abcdz", "empty"], empty=["empty"]), 0, False, "x")
    assert pairs.studies.tolist() == ["a", "b", "c", "d"]
    row_of_a = set()
    for epoch in range(20):
        batches = list(pairs.batches(0, epoch, 3))
        assert [len(rows) for rows, _ in batches] == [2, 2]
        rows = np.concatenate([rows for rows, _ in batches])
        reports = np.concatenate([reports for _, reports in batches])
        shown = dict(zip(reports.tolist(), rows.tolist(), strict=True))
        row_of_a.add(shown.pop("a"))
        assert shown == {"b": 10, "c": 13, "d": 14}
    assert row_of_a == {11, 12}


def test_order_depends_on_seed_and_epoch_alone():
    pairs = find_pairs(images(*"abcdefgh"), tokens("abcdefgh"), 0, False, "x")

    def order(seed, epoch):
        return [study for _, studies in pairs.batches(seed, epoch, 4) for study in studies]

    assert order(0, 1) == order(0, 1)
    assert order(0, 1) != order(0, 2)
    assert order(0, 1) != order(1, 1)


def test_the_shuffled_control_keeps_no_pair_and_loses_no_report():
    pairs = find_pairs(images(*"abcdefgh"), tokens("abcdefgh"), 5, True, "x")
    assert sorted(pairs.reports) == sorted(pairs.studies)
    assert not (pairs.reports == pairs.studies).any()


def test_too_few_pairs_are_refused():
    with pytest.raises(InputError, match="rsna, preset strict: 1 training studies"):
        find_pairs(images("a", "b"), tokens("a"), 0, False, "rsna, preset strict")
