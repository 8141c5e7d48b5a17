"""What `dvc metrics diff`, `dvc params diff` and `dvc plots diff` say of two commits, by DVC itself."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from small_table import frame

from prior.results.collect import headline_metrics

PROJECT = Path(__file__).parents[2]
ENVIRONMENT = os.environ | {"DVC_NO_ANALYTICS": "1"}


def say(folder: Path, *command: str) -> str:
    return subprocess.run(
        command, cwd=folder, env=ENVIRONMENT, check=True, capture_output=True, text=True
    ).stdout


def dvc(folder: Path, *command: str) -> str:
    return say(folder, sys.executable, "-m", "dvc", *command)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A commit, and above it a working tree in which a result, a setting and a picture have changed."""
    folder = tmp_path_factory.mktemp("repository")
    plots = yaml.safe_load((PROJECT / "dvc.yaml").read_text())["plots"]
    named = {"metrics": ["results/metrics.json"], "params": ["params.yaml"], "plots": plots[:1]}
    (folder / "results" / "plots").mkdir(parents=True)
    (folder / "dvc.yaml").write_text(yaml.safe_dump(named))
    say(folder, "git", "init", "--quiet")
    dvc(folder, "init", "--quiet")
    for epochs, value in ((8, 0.75), (9, 0.8)):
        metrics = headline_metrics(frame({"value": value}, {"method": "random", "value": 0.6}))
        (folder / "results" / "metrics.json").write_text(json.dumps(metrics))
        (folder / "params.yaml").write_text(yaml.safe_dump({"pretraining": {"epochs": epochs, "seeds": [0]}}))
        shutil.copy(PROJECT / plots[epochs - 8], folder / plots[0])
        if epochs == 8:
            author = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
            say(folder, "git", "add", "--all")
            say(folder, "git", *author, "commit", "--quiet", "-m", "first")
    return folder


def test_metrics_that_changed_are_named_by_what_they_are_of(repository: Path) -> None:
    found = json.loads(dvc(repository, "metrics", "diff", "--json"))["results/metrics.json"]
    name = "classification.chexpert.strict_small-linear.auroc_macro@10%.convirt"
    assert found == {name: {"old": 0.75, "new": 0.8, "diff": pytest.approx(0.05)}}
    lines = dvc(repository, "metrics", "diff", "--no-path", "--md").strip().split("\n")
    assert len(lines) == 3
    assert name in lines[-1]


def test_parameters_that_changed_are_named(repository: Path) -> None:
    lines = dvc(repository, "params", "diff", "--no-path", "--md").strip().split("\n")
    assert [cell.strip() for cell in lines[-1].strip("|").split("|")] == ["pretraining.epochs", "8", "9"]
    assert len(lines) == 3


def test_pictures_stand_side_by_side(repository: Path) -> None:
    dvc(repository, "plots", "diff", "--out", "shown")
    pictures = {path.name for path in (repository / "shown" / "static").iterdir()}
    assert len(pictures) == 2
    assert "<img" in (repository / "shown" / "index.html").read_text()
