from itertools import pairwise

import pandas as pd
import pytest
from pyarrow.parquet import ParquetFile

from prior.data import schemas
from prior.data.schemas import columns, empty_table, parts_of, read_table, write_parts, write_table
from prior.errors import InputError


def labels(value):
    return pd.DataFrame({"image_id": ["a", "b"], "Edema": [1.0, value]})


def test_labels_round_trip(tmp_path):
    write_table(tmp_path, "labels", labels(float("nan")))
    back = read_table(tmp_path, "labels")
    assert back.columns.tolist() == ["image_id", "Edema"]
    assert back["Edema"].isna().tolist() == [False, True]


def test_a_label_outside_its_range_is_named(tmp_path):
    with pytest.raises(InputError, match=r"labels\.parquet: column 'Edema' in row 1: value 2"):
        write_table(tmp_path, "labels", labels(2.0))
    assert not list(tmp_path.iterdir())


def test_missing_file_and_missing_column(tmp_path):
    with pytest.raises(InputError, match=r"reports\.parquet is missing"):
        read_table(tmp_path, "reports")
    with pytest.raises(InputError, match="'text' is missing"):
        write_table(tmp_path, "reports", empty_table("reports").drop(columns="text"))


def test_no_text_in_messages(tmp_path):
    frame = pd.DataFrame({"study_id": ["s", "s"], "patient_id": ["p", "p"], "text": ["secret words", "x"]})
    with pytest.raises(InputError) as caught:
        write_table(tmp_path, "reports", frame.assign(findings=None, impression=None))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["images", "labels", "boxes", "masks", "reports", "sentences", "splits/strict"]
)
def test_empty_tables_have_their_columns(name):
    assert empty_table(name).columns.tolist() == columns(name)


def numbered(n):
    return pd.DataFrame({"image_id": [f"i{k}" for k in range(n)], "Edema": [float(k % 2) for k in range(n)]})


@pytest.mark.parametrize(
    "sizes", [(25,), (3, 3, 3, 3, 3, 3, 3, 3, 1), (10, 10, 5), (1, 24), (0, 25), (25, 0)]
)
def test_parts_of_any_size_give_the_same_file(tmp_path, monkeypatch, sizes):
    monkeypatch.setattr(schemas, "ROWS", 10)
    whole, starts = numbered(25), [sum(sizes[:k]) for k in range(len(sizes) + 1)]
    parts = [whole.iloc[a:b].reset_index(drop=True) for a, b in pairwise(starts)]
    path = write_parts(tmp_path / "parts", "labels", iter(parts))
    file = ParquetFile(path)
    assert [file.metadata.row_group(k).num_rows for k in range(file.num_row_groups)] == [10, 10, 5]
    write_table(tmp_path, "labels", whole)
    assert path.read_bytes() == (tmp_path / "labels.parquet").read_bytes()


@pytest.mark.parametrize(("rows", "expected"), [(0, [0]), (1, [1]), (10, [10]), (20, [10, 10])])
def test_row_groups_are_full_but_for_the_last(tmp_path, monkeypatch, rows, expected):
    monkeypatch.setattr(schemas, "ROWS", 10)
    file = ParquetFile(write_table(tmp_path, "labels", numbered(rows)))
    sizes = [file.metadata.row_group(k).num_rows for k in range(file.num_row_groups)]
    assert sizes == expected
    assert file.schema_arrow.names == ["image_id", "Edema"]


def test_a_bad_part_leaves_the_file_as_it_was(tmp_path, monkeypatch):
    monkeypatch.setattr(schemas, "ROWS", 10)
    before = write_table(tmp_path, "labels", numbered(3)).read_bytes()
    with pytest.raises(InputError, match=r"'Edema' in row 1: value 2"):
        write_parts(tmp_path, "labels", [numbered(25), labels(2.0)])
    assert [path.name for path in tmp_path.iterdir()] == ["labels.parquet"]
    assert (tmp_path / "labels.parquet").read_bytes() == before


def test_a_table_is_cut_into_parts_and_an_empty_one_keeps_its_columns(monkeypatch):
    monkeypatch.setattr(schemas, "PART", 4)
    parts = list(parts_of(numbered(9)))
    assert [part.index.tolist() for part in parts] == [[0, 1, 2, 3], [0, 1, 2, 3], [0]]
    assert pd.concat(parts, ignore_index=True).equals(numbered(9))
    (empty,) = parts_of(numbered(0))
    assert empty.columns.tolist() == ["image_id", "Edema"]
