"""The workflow of GitHub Actions calls only what exists, with no more rights than it needs."""

import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from prior.cli import app

PROJECT = Path(__file__).parents[2]
TEXT = (PROJECT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
WORKFLOW: dict[Any, Any] = yaml.safe_load(TEXT)
STEPS = [(name, step) for name, job in WORKFLOW["jobs"].items() for step in job["steps"]]
RUNS = [step["run"] for _, step in STEPS if "run" in step]
MAKEFILE = (PROJECT / "Makefile").read_text(encoding="utf-8")


def called(program: str) -> list[list[str]]:
    """Arguments of every call of `program` in a `run` of the workflow."""
    pattern = rf"(?:^|[;&|!]|\bif) *{re.escape(program)}\b([^;&|>\n]*)"
    return [shlex.split(found) for run in RUNS for found in re.findall(pattern, run, re.MULTILINE)]


def test_make_targets_exist_with_their_overlays() -> None:
    targets = [name for arguments in called("make") for name in arguments]
    assert {"environment", "smoke"} <= set(targets)
    for target in targets:
        recipe = re.search(rf"^{target}:.*\n((?:\t.*\n?)*)", MAKEFILE, re.MULTILINE)
        assert recipe, target
        for overlay in re.findall(r"workflow/experiments/\S+", recipe[1]):
            assert (PROJECT / overlay).is_file(), overlay


def test_scripts_exist_and_can_be_run() -> None:
    scripts = [run for run in RUNS if run.startswith(".ci/")]
    assert scripts
    assert all(os.access(PROJECT / script, os.X_OK) for script in scripts)


@pytest.mark.parametrize("run", [*RUNS, (PROJECT / ".ci" / "run").read_text(encoding="utf-8")])
def test_every_run_is_valid_bash(run: str) -> None:
    checked = subprocess.run(["bash", "-n"], input=run, text=True, capture_output=True)
    assert not checked.stderr


def test_every_command_is_known() -> None:
    """The first word of every line and of every part of one; what is not of the shell is checked above."""
    shell = {"if", "then", "fi", "{", "}", "!", ".", "echo", "cat"}
    words = [
        word
        for run in RUNS
        for part in re.split(r"[;\n]|\bif !", run)
        if (word := next(iter(part.replace("{", "").replace("}", "").split()), ""))
    ]
    assert {"make", "prior", ".ci/run"} <= set(words)
    assert {*words} <= shell | {"make", "prior", ".ci/run", ">"}


def test_prior_subcommands_and_their_options_exist() -> None:
    command = typer.main.get_command(app)
    calls = called("prior")
    assert ["compare", "--against", "$AGAINST"] in calls
    for name, *arguments in calls:
        known = command.commands[name]  # type: ignore[attr-defined]
        options = {option for parameter in known.params for option in parameter.opts}
        assert {argument for argument in arguments if argument.startswith("--")} <= options


def test_the_page_that_is_kept_is_where_smoke_writes_it() -> None:
    experiment = yaml.safe_load((PROJECT / "workflow" / "experiments" / "smoke.yaml").read_text())[
        "experiment"
    ]
    kept = [step["with"]["path"] for _, step in STEPS if "upload-artifact" in step.get("uses", "")]
    assert f"runs/{experiment}/results" in kept
    uploaded = {step["with"]["name"] for _, step in STEPS if "upload-artifact" in step.get("uses", "")}
    fetched = {step["with"]["name"] for _, step in STEPS if "download-artifact" in step.get("uses", "")}
    assert fetched <= uploaded


@pytest.mark.parametrize("action", [step["uses"] for _, step in STEPS if "uses" in step])
def test_actions_are_githubs_own_at_a_major_version(action: str) -> None:
    assert re.fullmatch(r"actions/[a-z-]+@v\d+", action)


def test_only_the_job_that_runs_no_code_of_the_pull_request_may_write() -> None:
    assert WORKFLOW["permissions"] == {"contents": "read"}
    writing = {name: job["permissions"] for name, job in WORKFLOW["jobs"].items() if "permissions" in job}
    assert writing == {"comment": {"pull-requests": "write"}}
    assert not [
        step for name, step in STEPS if name == "comment" and ("run" in step or "checkout" in step["uses"])
    ]
    condition = WORKFLOW["jobs"]["comment"]["if"]
    assert "head.repo.full_name == github.repository" in condition


def test_forks_are_safe() -> None:
    triggers = WORKFLOW[True]  # YAML reads the key `on` as a truth value.
    assert set(triggers) == {"push", "pull_request"}
    assert "secrets." not in TEXT
    # What a pull request names (a branch, a title) reaches a shell only through the environment.
    assert not [run for run in RUNS if "${{" in run]
    for _, step in STEPS:
        if step.get("uses", "").startswith("actions/checkout"):
            assert step["with"]["persist-credentials"] is False
    assert any("GITHUB_STEP_SUMMARY" in run for run in RUNS)


def test_the_base_of_the_comparison_is_fetched() -> None:
    (job,) = {name for name, step in STEPS if "prior compare" in step.get("run", "")}
    depths = [
        step["with"].get("fetch-depth")
        for name, step in STEPS
        if name == job and "checkout" in step.get("uses", "")
    ]
    assert depths == [0]
