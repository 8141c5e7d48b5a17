"""CheXpert v1.0, small or full size (Irvin et al. 2019), and the 5x200 selection of GLoRIA."""

import hashlib
from pathlib import Path

import pandas as pd

from prior.data.files import atomic_path
from prior.datasets import base, chexpert_studies
from prior.datasets.raw_files import require_inside
from prior.errors import InputError

FINDINGS = (
    "No Finding",
    "Enlarged Cardiomediastinum",
    "Cardiomegaly",
    "Lung Opacity",
    "Lung Lesion",
    "Edema",
    "Consolidation",
    "Pneumonia",
    "Atelectasis",
    "Pneumothorax",
    "Pleural Effusion",
    "Pleural Other",
    "Fracture",
    "Support Devices",
)
FIVE = ("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural_Effusion")
PER_CLASS = 200
COLUMNS = ["Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *FINDINGS]
LISTS = {"train.csv": "train", "valid.csv": "validation"}


def read(root: Path) -> base.RawDataset:
    """Read `train.csv` and, if there, `valid.csv` and the test set; `strict` splits patients of `train.csv`.

    Raises:
        InputError: a table, column, value or image file is missing or wrong.
    """
    base.require_folder(root, "chexpert", "CheXpert-v1.0-small (train.csv, valid.csv, train/, valid/)")
    folder = base.folder_with(root, "train.csv")
    if not (folder / "train.csv").is_file():
        raise InputError(f"{root / 'train.csv'} is missing; unpack CheXpert-v1.0-small there")
    tables = [
        (folder / name, base.read_csv(folder / name, COLUMNS), side)
        for name, side in LISTS.items()
        if (folder / name).is_file()
    ]
    tested = chexpert_studies.read_table(folder, FINDINGS)
    if tested is not None:
        tables.append((*tested, "test"))
    parts = [_read_list(folder, *table) for table in tables]
    images = pd.concat([part[0] for part in parts], ignore_index=True)
    labels = pd.concat([part[1] for part in parts], ignore_index=True)
    return base.RawDataset(
        name="chexpert",
        layout=f"{folder.name}: " + ", ".join(path.name for path, _, _ in tables),
        root=folder,
        images=images,
        labels=labels,
        patient_family="chexpert",
        strict_pool="train",
    )


def _read_list(folder: Path, path: Path, frame: pd.DataFrame, side: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    base.require_present(frame, "Path", path)
    base.require_unique(frame, "Path", path)
    base.require_values(frame, "Frontal/Lateral", ("Frontal", "Lateral"), path)
    source = frame["Path"].str.split("/").map(_relative)
    wrong = ~source.str.fullmatch(r".+/[^/]+/[^/]*[0-9][^/]*/[^/]+").fillna(False).astype(bool)
    if wrong.any():
        line = int(wrong.to_numpy().argmax()) + 2
        raise InputError(f"{path}, line {line}, column 'Path': expected .../patientNNNNN/studyN/file.jpg")
    require_inside(source, path)
    source = base.find_files(folder, source)
    parts = source.str.split("/")
    patient = parts.str[-3]
    lateral = frame["Frontal/Lateral"] == "Lateral"
    images = pd.DataFrame(
        {
            "image_id": source.str.rsplit(".", n=1).str[0].str.replace("/", "_"),
            "study_id": patient + "_" + parts.str[-2],
            "patient_id": patient,
            "study_order": base.study_order(
                patient, parts.str[-2].str.extract(r"([0-9]+)", expand=False).astype(float)
            ),
            "view": frame["AP/PA"].where(frame["AP/PA"].isin(("AP", "PA"))).mask(lateral, "LATERAL"),
            "sex": frame["Sex"].str[:1].where(frame["Sex"].isin(("Male", "Female"))),
            "age": base.to_ages(frame, "Age", path),
            "site": None,
            "source": source,
            "official_split": side,
        }
    )
    labels = base.to_labels(frame, FINDINGS, path)
    labels.insert(0, "image_id", images["image_id"])
    return images, labels


def _relative(parts: list[str]) -> str | None:
    """Drop the release's folder name: keep <list>/<patient>/<study>/<file>."""
    return "/".join(parts[-4:]) if len(parts) >= 4 else None


def select_5x200(labels: pd.DataFrame, candidates: pd.Series) -> pd.DataFrame:
    """Select up to 200 images per class under GLoRIA's rule.

    An image qualifies for a class if that finding is present and the twelve others except No Finding
    are absent or not mentioned; an uncertain label anywhere among them excludes it (GLoRIA,
    ICCV 2021; blank counts as absent). The order is that of sha256(`5x200:<image_id>`).

    Args:
        labels: image_id and the fourteen findings.
        candidates: image_ids that may be chosen.

    Returns:
        image_id, class.
    """
    pool = labels[labels["image_id"].isin(set(candidates))]
    findings = [name for name in pool.columns if name not in ("image_id", "No_Finding")]
    values = pool[findings].fillna(0.0)
    single = (values == 1).sum(axis=1).eq(1) & (values == -1).sum(axis=1).eq(0)
    chosen = []
    for name in FIVE:
        images = pool.loc[single & (values[name] == 1), "image_id"].tolist()
        images.sort(key=lambda image: hashlib.sha256(f"5x200:{image}".encode()).hexdigest())
        chosen.append(pd.DataFrame({"image_id": images[:PER_CLASS], "class": name}))
    return pd.concat(chosen, ignore_index=True).astype(str)


def write_subsets(out: Path, raw: base.RawDataset, strict: pd.DataFrame) -> list[Path]:
    """Write `subsets/5x200.parquet` from the test side of `strict`, so no training patient is in it."""
    if raw.labels is None:
        return []
    subset = select_5x200(raw.labels, strict.loc[strict["split"] == "test", "image_id"])
    raw.notes["5x200"] = {name: int((subset["class"] == name).sum()) for name in FIVE}
    path = out / "subsets" / "5x200.parquet"
    with atomic_path(path) as temporary:
        subset.to_parquet(temporary, index=False)
    return [path]
