"""The overlay `smoke`: every task, and every protocol family at least once, with the real tools."""

import json

import pandas as pd
import pytest

from prior.tasks import TASKS
from tests.workflow.conftest import Repository, copy_of_project

pytestmark = pytest.mark.workflow


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    repository = copy_of_project(tmp_path_factory.mktemp("smoke") / "main", "smoke")
    repository.run("snakemake", "--cores", "8", "all_benchmarks")
    return repository


def test_every_task_has_rows_and_a_headline_where_the_tiny_data_allow_10_percent(smoke: Repository) -> None:
    metrics = json.loads((smoke.root / "results/metrics.json").read_text())
    labelled, unlabelled = (
        {"classification", "segmentation", "detection"},
        {"zero_shot", "retrieval", "grounding"},
    )
    assert set(metrics) == labelled | unlabelled | {"prototypes"}
    assert set(pd.read_csv(smoke.root / "results/results.csv")["task"]) == set(metrics) | {
        "report_generation"
    }


def test_every_row_says_that_it_is_simulated(smoke: Repository) -> None:
    rows = pd.read_csv(smoke.root / "results/results.csv", keep_default_na=False)
    assert set(rows["simulated"].astype(str)) == {"True"}
    assert set(rows["protocol"]) == {"strict_small", "strict", "lovt", "mgca", "prior", "benchx"}
    assert set(rows["task"]) == set(TASKS)


def test_the_page_is_self_contained_and_says_simulated(smoke: Repository) -> None:
    page = (smoke.root / "results/index.html").read_text()
    assert len(page) < 2 * 2**20
    assert "SIMULATED DATA" in page
    assert 'src="http' not in page
    assert 'href="http' not in page


def test_a_second_run_finds_nothing_to_do(smoke: Repository) -> None:
    assert smoke.jobs("snakemake", "--cores", "8", "all_benchmarks") == []
