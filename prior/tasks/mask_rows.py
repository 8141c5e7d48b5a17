"""What is kept of predicted masks: pixel counts of every test image, or of every image and finding."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray


def union(masks: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return masks [n, H, W] as they are, and the union over findings of masks [n, K, H, W]."""
    return np.asarray(masks.any(axis=1)) if masks.ndim == 4 else masks


def pixel_rows(
    test: pd.DataFrame,
    predicted: NDArray[np.bool_],
    truth: NDArray[np.bool_],
    findings: Sequence[str] | None,
) -> pd.DataFrame:
    """Count pixels, one row per image, or per image and finding.

    Args:
        test: n images with `image_id` and `patient_id`.
        predicted: [n, H, W], or [n, K, H, W] with findings.
        truth: the same.
        findings: K of them; None where masks are of no finding.

    Returns:
        `tp`, `fp`, `fn`, `n_mask` (of the true mask), `n_pixels` (of the image), and `finding` if given.
    """
    if findings is None:
        return _pixels(test, predicted, truth)
    parts = [
        _pixels(test, predicted[:, k], truth[:, k]).assign(finding=finding)
        for k, finding in enumerate(findings)
    ]
    return pd.concat(parts, ignore_index=True)


def _pixels(test: pd.DataFrame, predicted: NDArray[np.bool_], truth: NDArray[np.bool_]) -> pd.DataFrame:
    tp = (predicted & truth).sum(axis=(1, 2))
    return pd.DataFrame(
        {
            "image_id": test["image_id"].to_numpy(),
            "patient_id": test["patient_id"].to_numpy(),
            "tp": tp,
            "fp": predicted.sum(axis=(1, 2)) - tp,
            "fn": truth.sum(axis=(1, 2)) - tp,
            "n_mask": truth.sum(axis=(1, 2)),
            "n_pixels": truth[0].size if len(truth) else 0,
        }
    )
