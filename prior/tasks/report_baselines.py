"""Reports without a decoder: that of the nearest training image, and the most frequent one."""

from collections import Counter
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from prior.errors import InputError
from prior.tasks.features import Features


def most_frequent(texts: pd.Series) -> str:
    """Return the text that occurs most often, of equally frequent ones the first in the alphabet."""
    counts = Counter(texts)
    return min(counts, key=lambda text: (-counts[text], text))


def nearest_reports(
    features: Features | None, every: pd.DataFrame, train: pd.DataFrame, test: pd.DataFrame
) -> list[str]:
    """Return the report of the training image most similar to each test image.

    Similarity is the cosine of pooled features, z-scored over all training images without their reports.

    Args:
        features: cached features of the frozen encoder.
        every: all training images with `row`.
        train: training studies with `row` and `text`; of equally similar ones the first counts.
        test: test studies with `row`.

    Raises:
        InputError: there are no cached features.
    """
    if features is None:
        raise InputError("the nearest report needs the cached features of a frozen protocol")
    reference = np.asarray(features.pooled[every["row"].to_numpy()], dtype=np.float64)
    mean, std = reference.mean(axis=0), reference.std(axis=0)

    def unit(images: pd.DataFrame) -> NDArray[np.float64]:
        z: Any = (features.pooled[images["row"].to_numpy()] - mean) / np.where(std > 0, std, 1.0)
        return np.asarray(z / np.maximum(np.linalg.norm(z, axis=1, keepdims=True), 1e-12))

    nearest = (unit(test) @ unit(train).T).argmax(axis=1)
    return train["text"].to_numpy(dtype=object)[nearest].tolist()
