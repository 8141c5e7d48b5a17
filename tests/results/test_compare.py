"""`prior compare`: noise, what is listed, both kinds of sides, and clear errors."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from small_table import frame, write
from typer.testing import CliRunner

from prior.cli import app
from prior.errors import InputError
from prior.results.change_report import compare, sides
from prior.results.changes import ABSENT, changes, noise, parameter_changes
from prior.results.revisions import parse_results, read_side

ROW: dict[str, Any] = {}
OTHER = {"metric": "brier", "value": 0.2, "ci_low": 0.19, "ci_high": 0.21}
FINDING = {"finding": "Edema", "metric": "auroc", "value": 0.7, "ci_low": 0.6, "ci_high": 0.8}


def moved(row: dict[str, Any], by: float) -> dict[str, Any]:
    base = {"value": 0.75, "ci_low": 0.72, "ci_high": 0.78, **row}
    return {**base, **{name: base[name] + by for name in ("value", "ci_low", "ci_high")}}


def found(tmp_path: Path, old: list[dict[str, Any]], new: list[dict[str, Any]]) -> Any:
    return changes(read_side(str(write(tmp_path / "a", *old))), read_side(str(write(tmp_path / "b", *new))))


def text_of(
    tmp_path: Path, old: list[dict[str, Any]], new: list[dict[str, Any]], as_json: bool = False
) -> str:
    folders = [str(write(tmp_path / name, *rows)) for name, rows in (("a", old), ("b", new))]
    return compare(folders, None, published=False, json_wanted=as_json)


def test_noise_is_the_root_of_the_squared_half_widths() -> None:
    assert noise(0.0, 0.6, 0.2, 1.0) == pytest.approx(0.5)
    assert noise(0.5, 0.5, 0.5, 0.5) == 0
    assert math.isnan(noise(math.nan, 0.6, 0.2, 1.0))


@pytest.mark.parametrize(
    ("by", "verdict"),
    [(0.0, "equal"), (0.042, "within"), (-0.042, "within"), (0.043, "beyond"), (-0.043, "beyond")],
)
def test_a_change_is_beyond_the_noise_from_the_combined_half_width_on(
    tmp_path: Path, by: float, verdict: str
) -> None:
    # Half-widths .03 and .03: the noise is .0424.
    cells = found(tmp_path, [ROW], [moved(ROW, by)]).cells
    assert cells["verdict"].tolist() == [verdict]
    assert cells["change"].item() == pytest.approx(by)
    assert cells["noise"].item() == pytest.approx(0.03 * math.sqrt(2))


def test_exact_and_undefined_cells(tmp_path: Path) -> None:
    exact = {"method": "chance", "value": 0.5, "ci_low": 0.5, "ci_high": 0.5}
    undefined = {"method": "random", "value": None, "ci_low": None, "ci_high": None}
    appearing = {"method": "random", "value": 0.6, "ci_low": None, "ci_high": None}
    narrower = {"ci_low": 0.74}
    old, new = [exact, undefined, ROW], [moved(exact, 0.001), appearing, narrower]
    cells = found(tmp_path, old, new).cells.set_index("method")["verdict"]
    assert cells.to_dict() == {"chance": "beyond", "random": "unknown", "convirt": "interval only"}
    assert found(tmp_path, [undefined], [undefined]).cells["verdict"].tolist() == ["equal"]


def test_equal_results_are_one_line(tmp_path: Path) -> None:
    lines = text_of(tmp_path, [ROW, OTHER, FINDING], [ROW, OTHER, FINDING]).splitlines()
    assert lines[0].startswith("## SIMULATED DATA · default: ")
    assert "All 3 aggregated rows of both sides are equal." in lines
    assert len([line for line in lines if line]) == 3


def test_primary_cells_stand_first_and_findings_only_beyond_the_noise(tmp_path: Path) -> None:
    zero_shot = {"task": "zero_shot", "head": "", "fraction": None}
    old = [OTHER, FINDING, {**FINDING, "finding": "Nodule"}, zero_shot, ROW]
    new = [moved(OTHER, 0.1), moved(FINDING, 0.3), moved({**FINDING, "finding": "Nodule"}, 0.01)]
    text = text_of(tmp_path, old, [*new, moved(zero_shot, 0.01), moved(ROW, 0.05)])
    assert "Primary: 2 of 2 changed, 1 beyond the noise" in text
    assert "Exploratory: 1 of 1 changed, 1 beyond the noise" in text
    assert "By finding: 2 of 2 changed, 1 beyond the noise" in text
    places = [text.index(word) for word in ("| Classification", "| Zero-shot", "Brier", "· Edema")]
    assert places == sorted(places)
    assert "Nodule" not in text
    assert "0.750 | 0.800" in " ".join(text.split())
    assert "+0.050" in text
    assert "±0.042" in text


def test_rows_that_came_and_went_are_counted(tmp_path: Path) -> None:
    text = text_of(
        tmp_path, [ROW, {"method": "lovt"}], [ROW, {"method": "mgca"}, {**OTHER, "method": "mgca"}]
    )
    assert "2 new rows:\n\n- mgca: Classification, chexpert, strict_small, logistic head" in text
    assert "(2 rows)" in text
    assert "1 row gone:\n\n- lovt: " in text


def test_another_test_set_is_said(tmp_path: Path) -> None:
    assert "beyond**, other test set" in text_of(tmp_path, [ROW], [{**moved(ROW, 0.2), "n_test": 400}])


def test_json_has_every_changed_cell(tmp_path: Path) -> None:
    content = json.loads(text_of(tmp_path, [ROW, OTHER, FINDING], [moved(ROW, 0.1), OTHER], as_json=True))
    assert content["counts"]["primary"] == {
        "cells": 1,
        "changed": 1,
        "beyond": 1,
        "unknown": 0,
        "interval only": 0,
    }
    assert [cell["change"] for cell in content["cells"]] == [pytest.approx(0.1)]
    assert content["disappeared"][0]["finding"] == "Edema"
    assert (content["parameters"], content["simulated"]) == (None, True)


def test_parameters_are_named_by_key_and_evaluation() -> None:
    old = {
        "a": {"b": 1, "c": [1, 2]},
        "evaluations": [{"task": "t", "dataset": "d", "seeds": [0]}, {"task": "u"}],
    }
    new = {
        "a": {"b": 2, "c": [1, 2]},
        "evaluations": [{"task": "u"}, {"task": "t", "dataset": "d", "seeds": [1]}],
    }
    assert parameter_changes(old, new) == {"a.b": (1, 2), "evaluations.t/d.seeds": ([0], [1])}
    assert parameter_changes({"a": {"b": None}}, {"a": {}}) == {"a.b": (None, ABSENT)}
    assert parameter_changes({}, {"a": {"b": 1}}) == {"a": (ABSENT, {"b": 1})}


def test_parameters_beside_the_results_are_compared(tmp_path: Path) -> None:
    for name, epochs in (("a", 8), ("b", 9)):
        write(tmp_path / name / "results", ROW)
        (tmp_path / name / "params.yaml").write_text(f"pretraining: {{epochs: {epochs}}}\n")
    text = compare([str(tmp_path / "a"), str(tmp_path / "b" / "results")], None, False, False)
    assert "1 parameter changed:" in text
    assert "`pretraining.epochs` | 8" in " ".join(text.split())


LOCK = "stages: {{results: {{deps: [{{path: prior, md5: x.dir}}, {{path: data/prepared, md5: {}.dir}}]}}}}\n"
PARAMS = "phantom: {{seed: {}}}\ndatasets: {{rsna: {{images: 9, presets: [{}]}}}}\n"


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({}, None),
        ({"preset": "official"}, None),
        ({"data": "b"}, "another hash of the prepared data in `dvc.lock`."),
        ({"seed": 1}, "other parameters of the data (`phantom.seed`)."),
        ({"n_test": 400}, "another number of test images (chexpert)."),
        ({"seed": 1, "data": "b"}, "(`phantom.seed`); another hash of the prepared data in `dvc.lock`."),
    ],
)
def test_other_data_are_said_before_anything_else(
    tmp_path: Path, changed: dict[str, Any], said: str | None
) -> None:
    for name, given in (("a", {}), ("b", changed)):
        settings = {"seed": 0, "preset": "strict", "data": "a", "n_test": 500, **given}
        write(tmp_path / name / "results", {"n_test": settings["n_test"]})
        (tmp_path / name / "params.yaml").write_text(PARAMS.format(settings["seed"], settings["preset"]))
        (tmp_path / name / "dvc.lock").write_text(LOCK.format(settings["data"]))
    folders = [str(tmp_path / name) for name in ("a", "b")]
    heading, first, *_ = compare(folders, None, False, False).split("\n\n")
    assert heading.startswith("## ")
    assert first.startswith("**The two sides were measured on other data**") == (said is not None)
    assert said is None or said in first
    assert bool(json.loads(compare(folders, None, False, True))["other_data"]) == (said is not None)


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with two revisions of its results and a third in the working tree."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    project = tmp_path / "repository" / "project"
    write(project / "results", ROW)
    (project / "params.yaml").write_text("seed: 0\n")
    (project / "dvc.lock").write_text(LOCK.format("a"))
    git(project.parent, "init", "-q", "-b", "main")
    git(project.parent, "add", "-A")
    git(project.parent, "commit", "-qm", "one")
    write(project / "results", moved(ROW, 0.1))
    (project / "params.yaml").write_text("seed: 1\n")
    (project / "dvc.lock").write_text(LOCK.format("b"))
    git(project.parent, "commit", "-qam", "two")
    write(project / "results", moved(ROW, 0.01))
    monkeypatch.chdir(project)
    return project


def test_revisions_and_the_working_results(repository: Path) -> None:
    both = " ".join(compare(["main~1", "main"], None, False, False).split())
    assert "default: `main~1` → `main`" in both
    assert "| 0.750 | 0.850 | +0.100 | ±0.042 | **beyond**" in both
    assert "`seed` | 0 | 1 |" in both
    assert "measured on other data**: another hash of the prepared data" in both
    working = " ".join(compare([], "main", False, False).split())
    assert "default: `main` → `results`" in working
    assert "| 0.850 | 0.760 | -0.090 |" in working
    assert "other data" not in working
    old = " ".join(compare(["results/results.csv"], "main~1", False, False).split())
    assert "| 0.750 | 0.760 | +0.010 | ±0.042 | within" in old


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["nowhere", "results"], "`nowhere` is neither a file or folder nor a revision that Git knows here"),
        (["--help", "results"], "`--help` is neither"),
        (["main:params.yaml", "results"], "neither a file or folder nor a revision"),
        (["empty", "results"], "empty holds neither results.csv nor results/results.csv"),
        (["params.yaml", "results"], "params.yaml lacks the columns experiment, method"),
        (["main", "broken"], "fraction` holds something that is no number"),
        (["main", "unlike"], "main is of experiment `default`, unlike of `smoke`"),
        (
            ["main", "real"],
            r"main was measured on simulated data and the other side on real data \(chexpert\)",
        ),
        (["main", "elsewhere"], "main was measured on simulated data"),
        (["main", "twice"], "twice: two aggregated rows of convirt, classification, chexpert, auroc_macro"),
    ],
)
def test_wrong_sides_are_refused(repository: Path, given: list[str], message: str) -> None:
    (repository / "empty").mkdir()
    write(repository / "broken", {"fraction": "a tenth"})
    write(repository / "unlike", {"experiment": "smoke"})
    write(repository / "real", {"simulated": False})
    write(repository / "elsewhere", {"simulated": False, "dataset": "nih"})
    write(repository / "twice", ROW, ROW)
    with pytest.raises(InputError, match=message):
        compare(given, None, False, False)


def test_a_revision_without_results_is_refused(repository: Path) -> None:
    git(repository, "rm", "-qf", "results/results.csv")
    git(repository, "commit", "-qm", "none")
    with pytest.raises(InputError, match=r"revision HEAD has no results/results\.csv"):
        read_side("HEAD")


def test_which_sides_are_meant() -> None:
    assert sides(["a", "b"], None) == ("a", "b")
    assert sides([None, None], "main") == ("main", "results")
    assert sides(["x", None], "main") == ("main", "x")
    with pytest.raises(InputError, match="give two sides"):
        sides(["a", None], None)
    with pytest.raises(InputError, match="--against takes one side"):
        sides(["a", "b"], "main")


def test_the_command_prints_markdown_json_and_the_published_comparison(tmp_path: Path) -> None:
    folders = [str(write(tmp_path / name, row)) for name, row in (("a", ROW), ("b", moved(ROW, 0.2)))]
    runner = CliRunner()
    assert "**beyond**" in runner.invoke(app, ["compare", *folders]).stdout
    assert json.loads(runner.invoke(app, ["compare", *folders, "--json"]).stdout)["counts"]
    refused = runner.invoke(app, ["compare", "--published", folders[0]])
    assert isinstance(refused.exception, InputError)
    assert "simulated" in str(refused.exception)
    real = {"simulated": False, "protocol": "mgca", "value": 0.868}
    shown = runner.invoke(app, ["compare", "--published", str(write(tmp_path / "real", real))]).stdout
    assert shown.startswith("1 of 1 measured cells lie inside the published span.")
    assert "## Detection" in runner.invoke(app, ["published", "--task", "detection"]).stdout


def test_results_of_before_the_column_setting_are_read(tmp_path: Path) -> None:
    cell = {"seed": 0, "run": "classification/chexpert/strict_small-linear/convirt-default-s0"}
    new = frame({}, cell, {"task": "zero_shot", "setting": "prompts", "head": ""})
    old = parse_results(new.drop(columns="setting").to_csv(index=False), "old")
    assert old["setting"].tolist() == ["linear", "linear", ""]
