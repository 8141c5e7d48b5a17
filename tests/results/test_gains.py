import pandas as pd

from prior.results.gains import gains_over

COLUMNS = {
    "task": "segmentation",
    "dataset": "siim",
    "protocol": "strict_small",
    "setting": "frozen",
    "metric": "dice_pooled",
    "fraction": 0.1,
    "frozen": True,
    "head": "unet",
}
METHODS = {"method": "prior", "variant": "described", "pretraining_data": "", "reference": "random"}


def test_a_reference_that_did_not_run_leaves_an_empty_table() -> None:
    differences = pd.DataFrame([{**COLUMNS, **METHODS, "difference": 0.2}])
    assert gains_over(differences, ["convirt"]).empty
    found = gains_over(differences, ["random"]).iloc[0]
    assert (found["panel"], found["at"], found["value"]) == ("Segmentation · siim", "10 %", 0.2)


def test_protocols_of_one_data_set_are_columns_of_their_own() -> None:
    other = {"protocol": "mgca", "setting": "frozen_siim"}
    rows = [{**COLUMNS, **METHODS, "difference": 0.2}, {**COLUMNS, **METHODS, **other, "difference": 0.3}]
    found = gains_over(pd.DataFrame(rows), ["random"])
    assert list(found["at"]) == ["10 % strict_small", "10 % mgca frozen_siim"]
