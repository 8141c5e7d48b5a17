"""Labels of the pre-training images, for methods that learn from them."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from prior.data.prepared import PreparedDataset
from prior.errors import InputError
from prior.training.settings import PretrainSettings


def name_findings(chosen: PretrainSettings, data: PreparedDataset) -> PretrainSettings:
    """Replace the method's setting `findings: all` by the names of all label columns of `data`.

    Raises:
        InputError: there are none.
    """
    if chosen.settings.get("findings") != "all":
        return chosen
    _check_labelled(chosen.method, data)
    return chosen.model_copy(update={"settings": {**chosen.settings, "findings": data.findings}})


def training_labels(
    data: PreparedDataset, images: pd.DataFrame, findings: Sequence[str], method: str
) -> pd.DataFrame:
    """Return float32 labels by store row: 1 present, 0 absent, NaN to be left out.

    A finding that is not mentioned is absent. Left out are uncertain findings, and images that the label
    table lacks: nobody read them for findings.

    Args:
        data: pre-training data set.
        images: training images (row, image_id).
        findings: label columns, in the order of the columns returned.
        method: names the method in messages.

    Raises:
        InputError: the data set lacks a finding, or no training image has a label.
    """
    _check_labelled(method, data)
    missing = [name for name in findings if name not in data.findings]
    if missing:
        raise InputError(
            f"settings of method {method}: findings: {', '.join(missing)} not in the labels of {data.name}; "
            f"choose from {', '.join(data.findings)}"
        )
    table = data.labels.set_index("image_id")[list(findings)].fillna(0.0).replace(-1.0, np.nan)
    labels = table.reindex(images["image_id"]).astype(np.float32).set_axis(images["row"], axis="index")
    if not labels.notna().to_numpy().any():
        raise InputError(f"no training image of {data.name} has a label; leave method {method} out")
    return labels


def _check_labelled(method: str, data: PreparedDataset) -> None:
    if not data.findings:
        raise InputError(
            f"method {method} learns from labels, but {data.name} has none; leave the method out or choose "
            "another pretraining.dataset"
        )
