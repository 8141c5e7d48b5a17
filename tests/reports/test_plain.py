import pandas as pd
import pytest

from prior.errors import InputError
from prior.reports.plain import plain_reports, plain_text


def test_words_and_stops_only() -> None:
    raw = " 1. Heart-size is NORMAL.\n 2. A 2.5 cm nodule, at ___; seen by Dr. ___.\n"
    assert plain_text(raw) == "heart size is normal . a 2.5 cm nodule at seen by dr ."


def test_sections_stand_in_order_and_missing_ones_are_left_out() -> None:
    assert plain_text("Clear lungs.", None, "Normal.") == "clear lungs . normal ."
    assert plain_text(None, "...") == ""


def test_rare_words_stay_and_studies_without_words_go() -> None:
    table = pd.DataFrame(
        {
            "study_id": ["a", "b", "c"],
            "findings": ["Xyzzy opacity.", None, "___."],
            "impression": [None, "Normal.", None],
        }
    )
    assert plain_reports(table, ["findings", "impression"]) == {"a": "xyzzy opacity .", "b": "normal ."}
    assert plain_reports(table, ["findings"]) == {"a": "xyzzy opacity ."}
    with pytest.raises(InputError, match="no section `history`"):
        plain_reports(table, ["history"])
