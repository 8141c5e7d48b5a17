"""Which studies retrieval ranks: all test studies with a report, or those with one finding only."""

import hashlib
from collections.abc import Mapping, Sequence

import pandas as pd

from prior.data.prepared import PreparedDataset
from prior.datasets.chexpert import FIVE
from prior.datasets.chexpert_lists import Rule, gloria_rule, prior_rule
from prior.errors import InputError
from prior.protocols import Protocol
from prior.reports.normalise import normalised_text
from prior.tasks.base import Cell, test_images

EVERY = "all"
IDENTICAL = "identical normalised text"
# Rules by which 5x200 is drawn; on test studies they give pools of another name and size than the peers'.
RULES: dict[str, Rule] = {
    "one finding by GLoRIA's rule": gloria_rule,
    "one finding by PRIOR's rule": prior_rule,
}


def study_pool(
    data: PreparedDataset, protocol: Protocol, cell: Cell, reports: Mapping[str, Sequence[str]]
) -> pd.DataFrame:
    """Choose test studies with a report, one frontal image each, in the order of sha256(`<seed>:<study_id>`).

    `candidates: all` takes the first `pool` of them, a rule the first `per_class` of every class. Where the
    exact pair is the one of identical text, of studies with equal reports only the first is taken.

    Returns:
        `image_id`, `row`, `patient_id`, `study_id`, and `class` with a rule; ordered by image.

    Raises:
        InputError: a rule is stated and the labels lack one of its findings.
    """
    images = test_images(data, protocol, cell)[["image_id", "row", "patient_id", "study_id"]]
    images = images.merge(data.images[["image_id", "view"]], on="image_id", validate="one_to_one")
    usable = images[(images["view"] != "LATERAL") & images["study_id"].isin(list(reports))]
    studies = usable.sort_values("image_id").drop_duplicates("study_id").drop(columns="view")
    if protocol["candidates"] != EVERY:
        studies = _with_class(data, studies, protocol["candidates"])
    order = [hashlib.sha256(f"{cell.seed}:{study}".encode()).hexdigest() for study in studies["study_id"]]
    texts = [normalised_text(reports[study]) for study in studies["study_id"]]
    ordered = studies.assign(order=order, text=texts).sort_values("order")
    if protocol["relevant"] == IDENTICAL:
        ordered = ordered.drop_duplicates("text")
    if protocol["candidates"] == EVERY:
        chosen = ordered.head(protocol["pool"])
    else:
        chosen = ordered[ordered.groupby("class").cumcount() < protocol["per_class"]]
    return chosen.drop(columns=["order", "text"]).sort_values("image_id").reset_index(drop=True)


def _with_class(data: PreparedDataset, studies: pd.DataFrame, rule: str) -> pd.DataFrame:
    missing = [name for name in FIVE if name not in data.findings]
    if missing:
        raise InputError(
            f"{data.root}/labels.parquet has no {missing[0]}, which `candidates: {rule}` needs; choose a "
            "data set with CheXpert's findings"
        )
    labels = data.labels[data.labels["image_id"].isin(studies["image_id"])]
    classes = RULES[rule](labels).rename("class")
    return studies.merge(classes, left_on="image_id", right_index=True, validate="one_to_one")
