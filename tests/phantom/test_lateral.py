from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from prior.data.prepare import prepare
from prior.data.prepared import PreparedDataset
from prior.phantom.anatomy import draw_body, draw_pose
from prior.phantom.findings import Finding
from prior.phantom.hospital import plan
from prior.phantom.lateral import SHARE, lateral_of, take_lateral
from prior.phantom.radiograph import SCANNERS
from prior.phantom.simulate import simulate

SIZE, COUNT, SEED = 96, 40, 5
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:pycocotools")


def film(findings: list[Finding], seed: int = 3) -> np.ndarray:
    rng = np.random.default_rng(seed)
    body = draw_body(rng, "M", 55)
    pose = draw_pose(rng, "PA")
    return take_lateral(body, pose, findings, SCANNERS["mimic_cxr"], SIZE, rng)


def finding(kind: str, zone: str = "lower", severity: float = 0.8, side: str = "left") -> Finding:
    return Finding(kind, side, zone, severity, "", "", 11)


def change(kind: str, **how: object) -> np.ndarray:
    return film([finding(kind, **how)]).astype(float) - film([])


def test_equal_states_give_equal_films() -> None:
    assert film([]).shape == (SIZE, SIZE)
    assert film([]).dtype == np.uint8
    assert np.array_equal(film([]), film([]))


def test_chest_is_darker_than_belly_and_air_is_black() -> None:
    image = film([]).astype(float)
    assert image[:8, :8].mean() < image[35:50, 45:55].mean() < image[85:, 40:60].mean() - 40


def test_effusion_fills_the_base_at_the_back() -> None:
    added = change("Pleural_Effusion")
    lower, upper = added[60:75, 55:70], added[25:40, 45:60]
    assert lower.mean() > 15 > abs(upper.mean())


def test_large_heart_lies_in_front() -> None:
    added = change("Cardiomegaly", side="")
    front = added[45:70, 28:50]
    assert front.max() > 25
    assert front.mean() > 3 * abs(added[45:60, 67:75].mean())


@pytest.mark.parametrize("kind", ["Consolidation", "Pneumonia", "Lung_Opacity"])
def test_opacities_follow_their_zone(kind: str) -> None:
    rows = [np.average(np.arange(SIZE), weights=np.clip(change(kind, zone=z), 12, None).sum(1) - 12 * SIZE)
            for z in ("upper", "mid", "lower")]  # fmt: skip
    assert rows[0] < rows[1] < rows[2]


def test_only_upright_studies_have_one_and_nothing_else_changes() -> None:
    studies = list(plan("mimic_cxr", 150, 0))
    films = [lateral_of(study, "mimic_cxr", 64, 0) is not None for study in studies]
    upright = [study.pose.view == "PA" for study in studies]
    assert not any(has and not pa for has, pa in zip(films, upright, strict=True))
    assert abs(sum(films) / sum(upright) - SHARE) < 0.12


@pytest.mark.parametrize(("name", "preset"), [("mimic_cxr", "official"), ("chexpert", "strict")])
def test_frontal_films_are_as_many_as_asked_and_alone_in_splits(
    name: str, preset: str, tmp_path: Path
) -> None:
    simulate(name, tmp_path / name, COUNT, SEED, 64, 1)
    prepare(name, tmp_path / name, tmp_path / "out", 32, presets=[preset])
    data = PreparedDataset(tmp_path / "out")
    lateral = data.images["view"] == "LATERAL"
    assert 0 < lateral.sum() < COUNT / 2
    assert (~lateral).sum() == COUNT
    assert set(data.images.loc[lateral, "study_id"]) <= set(data.images.loc[~lateral, "study_id"])
    assert not set(data.images.loc[lateral, "image_id"]) & set(data.split(preset, 0)["image_id"])


def test_names_and_cells_of_lateral_films(tmp_path: Path) -> None:
    simulate("chexpert", tmp_path / "chexpert", COUNT, SEED, 64, 1)
    root = tmp_path / "chexpert"
    parts = [pd.read_csv(root / "CheXpert-v1.0-small" / f"{name}.csv") for name in ("train", "valid")]
    table = pd.concat(parts)
    lateral = table[table["Frontal/Lateral"] == "Lateral"]
    assert len(lateral) > 0
    assert lateral["Path"].str.endswith("view2_lateral.jpg").all()
    assert lateral["AP/PA"].isna().all()
    assert all((root / path).is_file() for path in lateral["Path"])
