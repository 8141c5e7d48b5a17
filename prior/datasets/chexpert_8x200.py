"""CheXpert 8x200: retrieval of images by image or text (Zhang et al. 2020, the data release of ConVIRT)."""

from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from prior.data.files import atomic_path
from prior.datasets import base, chexpert
from prior.datasets.chexpert_lists import Published, image_ids, keep, read_paths
from prior.errors import InputError

CANDIDATES, QUERIES = "image-retrieval/candidate.csv", "image-retrieval/query.csv"
TEXTS = "text-retrieval/query.csv"
CLASSES = (
    "Atelectasis",
    "Cardiomegaly",
    "Edema",
    "Fracture",
    "No Finding",
    "Pleural Effusion",
    "Pneumonia",
    "Pneumothorax",
)


@dataclass
class Retrieval(base.RawDataset):
    """CheXpert with the queries: role, image_id, class and text, see `write_subsets`."""

    queries: pd.DataFrame = field(default_factory=pd.DataFrame)


def read(root: Path) -> Retrieval:
    """Read CheXpert and keep the candidates and the image queries.

    A candidate is relevant to a query if the query's class is one of its labels.

    Raises:
        InputError: CheXpert or a list is wrong, or a listed image is not in CheXpert.
    """
    base.require_folder(root, "chexpert_8x200", f"CheXpert with {CANDIDATES}, {QUERIES} and {TEXTS}")
    candidates, queries = read_paths(root / CANDIDATES), _read_queries(root / QUERIES)
    texts = _read_texts(root / TEXTS)
    raw = chexpert.read(root)
    known = set(raw.images["image_id"])
    for listed in (candidates, Published(root / QUERIES, queries["Path"])):
        lost = ~image_ids(listed).isin(known)
        if lost.any():
            raise InputError(
                f"{listed.file} names {listed.paths[lost].iloc[0]}, which is not in CheXpert's tables "
                f"({int(lost.sum())} of {len(lost)}); use the tables as released"
            )
    pool = pd.DataFrame({"role": "candidate", "image_id": image_ids(candidates)})
    table = pd.concat([pool, queries.drop(columns="Path"), texts], ignore_index=True)
    used = set(table["image_id"].dropna())
    return Retrieval(
        name="chexpert_8x200",
        layout=f"{raw.layout}, lists of ConVIRT's 8x200",
        root=raw.root,
        images=keep(raw.images, used).assign(official_split="test"),
        labels=None if raw.labels is None else keep(raw.labels, used),
        patient_family=raw.patient_family,
        notes={
            "cut from": "CheXpert's train.csv: an encoder trained on it has seen these patients",
            "chosen": {str(role): int(count) for role, count in table["role"].value_counts().items()},
            "queries among the candidates": len(set(queries["image_id"]) & set(pool["image_id"])),
        },
        queries=table[["role", "image_id", "class", "text"]],
    )


def _read_queries(path: Path) -> pd.DataFrame:
    frame = _classed(path, "Path")
    images = image_ids(Published(path, frame["Path"]))
    return pd.DataFrame(
        {"role": "image_query", "image_id": images, "class": frame["Variable"], "Path": frame["Path"]}
    )


def _read_texts(path: Path) -> pd.DataFrame:
    frame = _classed(path, "Text")
    return pd.DataFrame({"role": "text_query", "class": frame["Variable"], "text": frame["Text"]})


def _classed(path: Path, name: str) -> pd.DataFrame:
    """Read a table of queries: class (`Variable`) and column `name`."""
    frame = base.read_csv(path, ["Variable", name])
    for column in ("Variable", name):
        base.require_present(frame, column, path)
    base.require_values(frame, "Variable", CLASSES, path)
    return frame


def write_subsets(out: Path, raw: Retrieval, strict: pd.DataFrame) -> list[Path]:
    """Write `subsets/8x200.parquet`: role (candidate, image_query, text_query), image_id, class, text."""
    path = out / "subsets" / "8x200.parquet"
    with atomic_path(path) as temporary:
        raw.queries.to_parquet(temporary, index=False)
    return [path]
