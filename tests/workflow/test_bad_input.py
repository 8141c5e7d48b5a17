"""Wrong input ends a run of the real graph before anything is trained, and costs nothing already made."""

from pathlib import Path
from typing import Any

import pytest

from tests.workflow.conftest import Repository, copy_of_project

pytestmark = pytest.mark.workflow

WRONG_SETTINGS: list[tuple[dict[str, Any], list[str]]] = [
    ({"methods": ["random", "convirtt"]}, ["methods", "`convirtt`", "convirt"]),
    (
        {"datasets": {"chexpert": {"root": "downloads/chexpert"}}},
        ["datasets.chexpert.root", "does not exist"],
    ),
    ({"image": {"size": 4}}, ["image.size", "greater than or equal to 16"]),
]


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    return copy_of_project(tmp_path_factory.mktemp("bad") / "main", "tiny")


@pytest.mark.parametrize(("change", "words"), WRONG_SETTINGS, ids=["method", "root", "size"])
def test_wrong_settings_stop_before_the_graph(
    repository: Repository, change: dict[str, Any], words: list[str]
) -> None:
    repository.params(change)
    said = repository.run("snakemake", "all_benchmarks", fails=True)
    repository.git("checkout", "-q", "params.yaml")
    assert all(word in said for word in words), said
    assert "Traceback" not in said


def test_a_fraction_of_zero_names_its_key(repository: Repository) -> None:
    path = repository.root / "params.yaml"
    path.write_text(path.read_text().replace("- 1.0", "- 0", 1))
    said = repository.run("snakemake", "all_benchmarks", fails=True)
    repository.git("checkout", "-q", "params.yaml")
    assert "evaluations.0.fractions.0" in said
    assert "greater than 0" in said


def test_a_broken_raw_file_stops_before_training_and_keeps_what_is_made(repository: Repository) -> None:
    repository.run("snakemake", "all_data")
    made = {
        path: path.read_bytes() for path in (repository.root / "data/prepared/mimic_cxr").glob("*.parquet")
    }
    raw = repository.root / "data/raw/chexpert"
    real = repository.root / "downloads"
    raw.rename(real)
    table = next(real.rglob("train.csv"))
    header, rest = table.read_text().split("\n", 1)
    table.write_text(header.replace("Edema", "Oedema") + "\n" + rest)
    repository.params({"datasets": {"chexpert": {"root": "downloads"}}})
    said = repository.run("snakemake", "all_benchmarks", fails=True)
    assert "Edema" in said
    assert str(Path("train.csv")) in said
    assert "Traceback" not in said.split("Logfile logs/prepare/chexpert.log")[1].split("====")[1]
    assert not (repository.root / "models").exists()
    assert made == {path: path.read_bytes() for path in made}
