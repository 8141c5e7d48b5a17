import numpy as np
import pandas as pd
import pytest

from prior.data.lookup import positions, ranks


@pytest.mark.parametrize("dtype", ["str", object])
def test_ids_are_found_where_they_first_stand(dtype):
    among = pd.Series(["b", "a", "b", "ä"], dtype=dtype)
    assert positions(pd.Series(["ä", "c", "b", "b"], dtype=dtype), among).tolist() == [3, -1, 0, 0]
    assert positions(among[:0], among).tolist() == []
    assert positions(among, among[:0]).tolist() == [-1] * 4


def test_ids_are_found_in_parts_of_tables():
    parts = pd.concat([pd.Series(["x", "y"]), pd.Series(["z"])], ignore_index=True)
    assert positions(parts, parts[::-1].reset_index(drop=True)).tolist() == [2, 1, 0]


def test_ranks_are_those_of_sorted_text():
    ids = pd.Series(["i10", "i9", "I9", "é", "", "i1"])
    expected = {name: place for place, name in enumerate(sorted(ids))}
    assert ranks(ids).tolist() == [expected[name] for name in ids]
    assert np.argsort(ranks(ids)).tolist() == np.argsort(ids.to_numpy(dtype=str)).tolist()
