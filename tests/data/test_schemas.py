import pandas as pd
import pytest

from prior.data.schemas import columns, empty_table, read_table, write_table
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
