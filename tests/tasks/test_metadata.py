import numpy as np
import pandas as pd

from prior.tasks.probe import metadata_features


def test_metadata_are_one_hot_with_a_flag_for_an_unknown_age() -> None:
    images = pd.DataFrame(
        {
            "row": [2, 0],
            "view": ["AP", None],
            "sex": ["F", "F"],
            "age": [40.0, np.nan],
            "study_order": [3, 1],
        }
    )
    found = metadata_features(images)
    assert found.shape == (3, 6)
    assert (found[1] == 0).all()
    np.testing.assert_array_equal(found[2], [1, 0, 1, 40, 0, 3])
    np.testing.assert_array_equal(found[0], [0, 1, 1, 40, 1, 1])


def test_metadata_of_a_dataset_without_any_are_constant() -> None:
    images = pd.DataFrame({"row": [0, 1], "view": [None, None], "sex": [None, None], "age": [np.nan] * 2})
    found = metadata_features(images.assign(study_order=[1, 1]))
    assert np.ptp(found, axis=0).max() == 0
