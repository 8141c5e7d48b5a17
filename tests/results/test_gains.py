import pandas as pd

from prior.results.gains import gains_over

COLUMNS = {
    "task": "segmentation",
    "dataset": "siim",
    "metric": "dice_pooled",
    "fraction": 0.1,
    "frozen": True,
    "protocol": "strict_small",
    "head": "unet",
}
METHODS = {"method": "prior", "variant": "described", "pretraining_data": "", "reference": "random"}


def test_a_reference_that_did_not_run_leaves_an_empty_table() -> None:
    differences = pd.DataFrame([{**COLUMNS, **METHODS, "difference": 0.2}])
    assert gains_over(differences, ["convirt"]).empty
    found = gains_over(differences, ["random"]).iloc[0]
    assert (found["panel"], found["at"], found["value"]) == ("Segmentation · siim", "10 %", 0.2)


def test_protocols_of_one_data_set_have_a_panel_each() -> None:
    one = {**COLUMNS, **METHODS, "difference": 0.2}
    other = {**one, "protocol": "lovt", "head": "linear"}
    tuned, elsewhere = {**one, "frozen": False}, {**one, "dataset": "rsna"}
    found = gains_over(pd.DataFrame([one, other, tuned, elsewhere]), ["random"])
    assert list(found["panel"]) == [
        "Segmentation · siim · strict_small, unet",
        "Segmentation · siim · lovt, linear",
        "Segmentation · siim · strict_small, unet",
        "Segmentation · rsna",
    ]
    assert list(gains_over(pd.DataFrame([one, tuned]), ["random"])["panel"]) == ["Segmentation · siim"] * 2
