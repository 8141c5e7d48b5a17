"""Tables that pandas would read without a word, and wrongly."""

import gzip

import numpy as np
import pandas as pd
import pytest

from prior.datasets.base import read_csv, to_ages, to_numbers
from prior.errors import InputError


def table(tmp_path, content: str, name="t.csv"):
    path = tmp_path / name
    data = content.encode()
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return path


BROKEN = {
    "first row longer": (
        "a,b\n1,2,3\n4,5\n",
        "PATH cannot be read as csv (line 2 has more cells than the header has names); replace the file",
    ),
    "all rows longer": (
        "a,b\n1,2,\n4,5,6\n",
        "PATH cannot be read as csv (line 3 has more cells than the header has names); replace the file",
    ),
    "later row longer": (
        "a,b\n1,2\n4,5,6\n",
        "PATH cannot be read as csv (Error tokenizing data. C error: Expected 2 fields in line 3, saw 3\n); "
        "replace the file",
    ),
    "one name twice": (
        "a, b,b \n1,2,3\n",
        "PATH cannot be read as csv (two columns are called 'b'); replace the file",
    ),
    "cut within a row": (
        "a,b\n1,2\n4",
        "PATH cannot be read as csv (it ends within a row); replace the file",
    ),
    "cut within a quoted cell": (
        'a,b\n1,2\n4,"5',
        "PATH cannot be read as csv (Error tokenizing data. C error: EOF inside string starting at row 2); "
        "replace the file",
    ),
    "empty": ("", "PATH cannot be read as csv (No columns to parse from file); replace the file"),
    "header only": ("a,b\n", "PATH has no rows; replace the file"),
    "other column": (
        "a,c\n1,2\n",
        "PATH has no column 'b' (found: a, c); use the file as released, or rename the column",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_table_that_would_be_misread_is_refused(case, tmp_path):
    content, message = BROKEN[case]
    path = table(tmp_path, content)
    with pytest.raises(InputError) as caught:
        read_csv(path, ["a", "b"])
    assert str(caught.value).replace(str(path), "PATH") == message


@pytest.mark.parametrize(
    "content",
    [
        "a,b\n1,2\n,5",
        "a,b\n1,2,\n,5,\n",
        "a,b,,\n1,2,,\n,5,,\n",
        "a,b,,\n1,2,,\n,5",
        "\ufeff a , b\r\n 1 , 2\r\n,5\r\n",
    ],
)
def test_blanks_and_commas_at_the_end_are_harmless(content, tmp_path):
    frame = read_csv(table(tmp_path, content), ["a", "b"])
    assert frame[["a", "b"]].fillna("").to_numpy().tolist() == [["1", "2"], ["", "5"]]


def test_a_last_row_with_line_breaks_in_a_cell_is_whole(tmp_path):
    frame = read_csv(table(tmp_path, 'a,b\n1,2\n3,"FINDINGS:\nclear, no effusion\n"'), ["a", "b"])
    assert frame["b"].tolist() == ["2", "FINDINGS:\nclear, no effusion"]


def test_a_compressed_table_needs_no_end_of_line(tmp_path):
    assert read_csv(table(tmp_path, "a,b\n1,2", "t.csv.gz"), ["a", "b"])["b"].tolist() == ["2"]


@pytest.mark.parametrize("value", ["inf", "-inf", "1e400", "nan", "0x10", "1,5", "١"])
def test_only_finite_decimal_numbers_are_numbers(value, tmp_path):
    frame = pd.DataFrame({"a": ["1", np.nan, value]})
    with pytest.raises(InputError) as caught:
        to_numbers(frame, ["a"], tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}, line 4, column 'a': {value!r} is not a number; correct this cell"
    )


@pytest.mark.parametrize("value", ["-1", "131", "1957"])
def test_ages_are_years(value, tmp_path):
    assert to_ages(pd.DataFrame({"age": ["0", "130", np.nan]}), "age", tmp_path)[:2].tolist() == [0, 130]
    with pytest.raises(InputError) as caught:
        to_ages(pd.DataFrame({"age": [value]}), "age", tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}, line 2, column 'age': '{value}' is not an age in years, 0 to 130; correct this cell"
    )
