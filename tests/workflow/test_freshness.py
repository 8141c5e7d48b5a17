"""What reruns when, with real Snakemake and DVC: each row of the table in docs/workflow.md is a test.

The tests share one recorded repository and run in order; each leaves it recorded and committed.
"""

from pathlib import Path

import pytest
import yaml

from tests.workflow.conftest import Repository

pytestmark = pytest.mark.workflow

ALL = ("snakemake", "all_benchmarks")
REPRO = ("dvc", "repro")
RESULTS = ["collect", "page", "plots", "tables"]


def test_nothing_to_do_after_dvc_repro(recorded: Repository) -> None:
    assert recorded.jobs(*ALL) == []
    assert recorded.jobs(*REPRO) == []


def test_an_evaluation_setting_reruns_its_evaluations_only(recorded: Repository) -> None:
    recorded.git("checkout", "-qb", "resamples")
    recorded.params({"statistics": {"resamples": 120}})
    assert recorded.jobs(*REPRO) == sorted(["score"] * 3 + ["subgroups", *RESULTS])
    assert recorded.jobs(*ALL) == []
    recorded.commit("resamples")


def test_a_method_setting_reruns_that_method_and_dvc_then_records_without_work(recorded: Repository) -> None:
    recorded.params({"method_settings": {"convirt": {"settings": {"temperature": 0.09}}}})
    jobs = recorded.jobs(*ALL)
    assert jobs == sorted(["pretrain", *["evaluate", "score"] * 2, "embedding_maps", "subgroups", *RESULTS])
    assert recorded.jobs(*REPRO) == []
    recorded.commit("temperature")


def test_switching_branches_brings_back_results_and_memory(recorded: Repository) -> None:
    recorded.git("checkout", "-q", "main")
    recorded.run("dvc", "checkout", "-q")
    assert recorded.jobs(*ALL) == []
    assert recorded.jobs(*REPRO) == []


def test_comments_and_docstrings_rerun_nothing(recorded: Repository) -> None:
    trainer = recorded.root / "prior/training/pretrain.py"
    trainer.write_text(trainer.read_text() + "\n# a remark\n")
    assert recorded.jobs(*REPRO) == []
    recorded.git("checkout", "-q", "prior")


def test_a_deleted_score_is_made_again_alone(recorded: Repository) -> None:
    next((recorded.root / "scores/retrieval").rglob("*.npz")).unlink()
    jobs = recorded.jobs(*REPRO)
    assert jobs.count("score") == 1
    assert set(jobs) <= {"score", *RESULTS}
    recorded.commit("score again")
    recorded.run("dvc", "push", "-q")


def test_a_fresh_clone_with_pulled_outputs_has_nothing_to_do(recorded: Repository, tmp_path: Path) -> None:
    clone = recorded.clone(tmp_path / "clone")
    clone.run("dvc", "pull", "-q")
    assert clone.jobs(*ALL) == []
    assert clone.jobs(*REPRO) == []


def test_a_fresh_clone_without_a_remote_computes_the_same_metrics(
    recorded: Repository, tmp_path: Path
) -> None:
    clone = recorded.clone(tmp_path / "clone")
    assert "pretrain" in clone.jobs(*ALL)
    assert clone.jobs(*REPRO) == []
    for name in ("metrics.json", "results.csv"):
        assert (clone.root / "results" / name).read_bytes() == (recorded.root / "results" / name).read_bytes()


def test_metrics_diff_shows_what_a_branch_changed(recorded: Repository) -> None:
    assert "retrieval" in recorded.run("dvc", "metrics", "diff", "main", "resamples", "--md", "--all")


def test_an_added_evaluation_is_run_at_once_and_nothing_is_trained(recorded: Repository) -> None:
    _add_evaluation(recorded, "zero_shot", "prompts")
    jobs = recorded.jobs(*ALL)
    assert {"leaks", "check_data"} <= set(jobs)
    assert jobs.count("evaluate") == jobs.count("score") == 1
    assert "pretrain" not in jobs
    assert recorded.jobs(*ALL) == []


def test_an_added_evaluation_hides_no_changed_method(recorded: Repository) -> None:
    _add_evaluation(recorded, "classification", "finetune")
    recorded.params({"method_settings": {"convirt": {"settings": {"temperature": 0.11}}}})
    jobs = recorded.jobs(*ALL)
    assert jobs.count("pretrain") == 1
    assert jobs.count("evaluate") == 5  # of convirt all four, of random the added one
    assert recorded.jobs(*ALL) == []


def _add_evaluation(recorded: Repository, task: str, setting: str) -> None:
    settings = yaml.safe_load((recorded.root / "params.yaml").read_text())
    place = {"task": task, "dataset": "chexpert", "protocol": "strict_small", "setting": setting}
    fractions = [0.1] if setting == "finetune" else []
    added = {**place, "fractions": fractions, "seeds": [0]}
    recorded.params({"evaluations": [*settings["evaluations"], added]})
