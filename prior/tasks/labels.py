"""Labels of a classification: which findings, and what uncertain and unmentioned ones count as."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from prior.data.prepared import PreparedDataset
from prior.errors import InputError
from prior.protocols import Protocol

VALUE = {"present": 1.0, "absent": 0.0, "drop": np.nan}


def finding_names(data: PreparedDataset, protocol: Protocol) -> list[str]:
    """Return the findings to classify, in the dataset's order.

    Raises:
        InputError: the dataset has none of them.
    """
    knob = protocol["findings"]
    names = [
        name
        for name in data.findings
        if (knob["only"] is None or name in knob["only"]) and name not in knob["exclude"]
    ]
    if not names:
        raise InputError(
            f"{data.root}/labels.parquet has no finding that protocol {protocol.family} classifies "
            f"(it has {', '.join(data.findings) or 'none'}); choose another dataset"
        )
    return names


def label_matrix(
    data: PreparedDataset, image_ids: pd.Series, findings: list[str], protocol: Protocol
) -> NDArray[np.float64]:
    """Return labels [images, findings]: 1, 0, or NaN where the protocol drops the label.

    `missing` and `uncertain` name what such a label counts as, for all findings or by finding and `default`.
    Images that the label table lacks are NaN throughout: nobody read them for findings.
    """
    table = data.labels.set_index("image_id")
    labels = table.reindex(image_ids)[findings].to_numpy(dtype=np.float64, copy=True)
    known = image_ids.isin(table.index).to_numpy()[:, None]
    missing, uncertain = np.isnan(labels), labels == -1
    labels = np.where(missing & known, _values(findings, protocol["missing"]), labels)
    return np.where(uncertain, _values(findings, protocol["uncertain"]), labels)


def _values(findings: list[str], knob: str | dict[str, str]) -> NDArray[np.float64]:
    """Return what such a label counts as, [findings]."""
    by_finding = {"default": knob} if isinstance(knob, str) else knob
    return np.array([VALUE[by_finding.get(name, by_finding["default"])] for name in findings])


def long_predictions(
    images: pd.DataFrame,
    findings: list[str],
    scores: NDArray[np.floating],
    labels: NDArray[np.float64],
    thresholds: NDArray[np.float64] | None = None,
) -> pd.DataFrame:
    """Return one row per image × finding with a label.

    Args:
        images: n images.
        findings: names.
        scores: [n, findings].
        labels: [n, findings], NaN where an image has no label.
        thresholds: [findings], from which score on a finding counts as present.
    """
    row, column = np.nonzero(~np.isnan(labels))
    frame = pd.DataFrame(
        {
            "image_id": images["image_id"].to_numpy()[row],
            "patient_id": images["patient_id"].to_numpy()[row],
            "finding": np.asarray(findings, dtype=object)[column],
            "score": scores[row, column].astype(np.float64),
            "label": labels[row, column].astype(np.int64),
        }
    )
    return frame if thresholds is None else frame.assign(threshold=thresholds[column])
