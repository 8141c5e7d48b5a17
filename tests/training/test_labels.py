import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from prior.errors import InputError
from prior.training.labels import training_labels

IMAGES = pd.DataFrame({"row": [7, 3, 5], "image_id": ["b", "a", "d"]})


def data(**columns):
    labels = pd.DataFrame({"image_id": ["a", "b", "c"], **columns})
    return SimpleNamespace(name="toy", labels=labels, findings=list(columns))


def test_missing_is_absent_and_uncertain_or_unread_is_left_out():
    toy = data(edema=[1.0, -1.0, 1.0], fracture=[math.nan, 0.0, 1.0])
    labels = training_labels(toy, IMAGES, ["fracture", "edema"], "m")
    nan = math.nan
    np.testing.assert_equal(labels.loc[[3, 5, 7]].to_numpy(), np.float32([[0, 1], [nan, nan], [0, nan]]))
    assert labels.to_numpy().dtype == np.float32


@pytest.mark.parametrize(
    ("toy", "words"),
    [
        (data(), "method m learns from labels, but toy has none"),
        (data(edema=[1.0, 0.0, 1.0]), "findings: fracture not in the labels of toy; choose from edema"),
        (data(edema=[-1.0, -1.0, 1.0], fracture=[-1.0, -1.0, 0.0]), "no training image of toy has a label"),
    ],
)
def test_data_that_cannot_teach_are_refused(toy, words):
    with pytest.raises(InputError, match=words):
        training_labels(toy, IMAGES, ["edema", "fracture"], "m")
