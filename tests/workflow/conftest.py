"""A throw-away copy of the project in which real Snakemake and DVC runs are counted job by job."""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from prior.params import _merge

PROJECT = Path(__file__).parents[2]
FINISHED = re.compile(r"Finished jobid: \d+ \(Rule: (\w+)\)")
TARGETS = {"all", "all_data", "all_models", "all_scores", "all_benchmarks"}


@dataclass
class Repository:
    """A checkout with its own Git history, DVC cache and copy of the package."""

    root: Path

    def run(self, *command: str, fails: bool = False) -> str:
        environment = {**os.environ, "PYTHONPATH": str(self.root), "PYTHONDONTWRITEBYTECODE": "1"}
        environment.pop("DVC_STAGE", None)
        done = subprocess.run(
            command,
            cwd=self.root,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert (done.returncode != 0) == fails, done.stdout[-6000:]
        return done.stdout

    def jobs(self, *command: str) -> list[str]:
        """Run a command and return the rules of the jobs that it executed, targets left out."""
        return sorted(rule for rule in FINISHED.findall(self.run(*command)) if rule not in TARGETS)

    def git(self, *arguments: str) -> None:
        self.run("git", "-c", "user.name=t", "-c", "user.email=t@example.org", *arguments)

    def commit(self, message: str) -> None:
        self.git("add", "-A")
        self.git("commit", "-qm", message)

    def params(self, change: dict[str, Any]) -> None:
        path = self.root / "params.yaml"
        settings = yaml.safe_load(path.read_text())
        _merge(settings, change)
        path.write_text(yaml.safe_dump(settings, sort_keys=False))

    def clone(self, target: Path) -> "Repository":
        subprocess.run(["git", "clone", "-q", str(self.root), str(target)], check=True)
        return Repository(target)


def copy_of_project(target: Path, overlay: str) -> Repository:
    """Copy tracked and new files without results, with `overlay` merged into params.yaml as the default."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=PROJECT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    for name in filter(None, listed.split("\0")):
        if (
            name.startswith(("results/", "tests/", "docs/"))
            or name == "dvc.lock"
            or not (PROJECT / name).exists()
        ):
            continue
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PROJECT / name, target / name)
    repository = Repository(target)
    repository.params(yaml.safe_load((PROJECT / f"workflow/experiments/{overlay}.yaml").read_text()))
    repository.params({"experiment": "default"})
    repository.run("git", "init", "-q", "-b", "main")
    repository.commit("start")
    return repository


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """A copy in which `dvc repro` has run once from nothing, committed and pushed to a local DVC remote."""
    folder = tmp_path_factory.mktemp("workflow")
    repository = copy_of_project(folder / "main", "tiny")
    repository.run("dvc", "remote", "add", "-q", "-d", "store", str(folder / "store"))
    repository.run("dvc", "repro")
    repository.commit("recorded")
    repository.run("dvc", "push", "-q")
    return repository
