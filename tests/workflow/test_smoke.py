"""The overlay `smoke`: every task, and every protocol family at least once, with the real tools."""

import json
import re
from typing import Any

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
    families = {"strict_small", "strict", "lovt", "mgca", "prior", "benchx", "gloria", "medclip", "biovil"}
    assert set(rows["protocol"]) == families
    assert set(rows["task"]) == set(TASKS)


def test_the_page_is_self_contained_and_says_simulated(smoke: Repository) -> None:
    page = (smoke.root / "results/index.html").read_text()
    assert len(page) < 2 * 2**20
    assert "SIMULATED DATA" in page
    assert 'src="http' not in page
    assert 'href="http' not in page


def test_a_second_run_finds_nothing_to_do(smoke: Repository) -> None:
    assert smoke.jobs("snakemake", "--cores", "8", "all_benchmarks") == []


def parts_of_report(report: str) -> dict[str, Any]:
    """What Snakemake's report holds as JSON: its text, categories → files, and files → caption, content."""
    pattern = r'<script id="[\w-]+">\s*var (workflow_desc|categories|results) = '
    decode = json.JSONDecoder().raw_decode
    return {part[1]: decode(report, part.end())[0] for part in re.finditer(pattern, report)}


def test_snakemakes_report_has_captions_categories_and_results(smoke: Repository) -> None:
    smoke.run("snakemake", "all_benchmarks", "--report", "report.html")
    found = parts_of_report((smoke.root / "report.html").read_text(encoding="utf-8"))
    assert "One benchmark for image encoders" in found["workflow_desc"]
    assert set(found["categories"]) == {"Numbers", "Tables", "Figures", "Page"}
    parts = {"Overview", "Pre-training", "Tasks", "ROC and calibration", "Cases", "Data", "Embeddings"}
    assert set(found["categories"]["Figures"]) == parts
    results = found["results"]
    tables = [f"tables/{name}.md" for name in ("headline", "papers", "subgroups", *TASKS)]
    plots = [f"plots/{name}.svg" for name in ("headline", "gain_map", "ranks", *(f"task_{t}" for t in TASKS))]
    for name in ("results.csv", "index.html", *tables, *plots):
        assert results[f"results/{name}"]["data_uri"]
    # Every file has the caption that is written for it, as HTML, and every caption has a file.
    shown = {" ".join(re.sub("<[^>]+>", "", file["caption"]).split()) for file in results.values()}
    sources = {path for path in (smoke.root / "workflow/report").glob("*.rst") if path.stem != "workflow"}
    assert shown == {" ".join(path.read_text().replace("``", "").split()) for path in sources}
