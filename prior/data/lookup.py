"""Rows of one table by the ids of another, without an object per id: a corpus has hundreds of thousands."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray


def positions(ids: pd.Series, among: pd.Series) -> NDArray[np.int64]:
    """Return where each of `ids` [n] first stands in `among`, -1 where it does not."""
    found = pc.index_in(_arrow(ids), value_set=_arrow(among))
    return np.asarray(pc.fill_null(found, -1).to_numpy(), dtype=np.int64)


def ranks(ids: pd.Series) -> NDArray[np.int64]:
    """Return the place [n] of each id in alphabetical order."""
    order = pc.array_sort_indices(_arrow(ids)).to_numpy()
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    return place


def _arrow(ids: pd.Series) -> pa.Array:
    found = pa.array(ids, type=pa.large_string())
    return found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found
