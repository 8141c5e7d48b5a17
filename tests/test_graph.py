from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from prior import params
from prior.errors import InputError
from prior.graph import Graph
from prior.methods import METHODS, WITHOUT_TEXT
from prior.results.examples import DRAW
from prior.results.names import EXAMPLE_TASKS, report_flags
from prior.rules import Rules

PROJECT = Path(__file__).parents[1]


def graph(*overlays: str) -> Graph:
    paths = [PROJECT / f"workflow/experiments/{name}.yaml" for name in overlays]
    return Graph(params.load(PROJECT / "params.yaml", *paths), PROJECT)


def test_methods_without_text_have_no_jobs_of_tasks_that_read_text() -> None:
    default = graph()
    jobs = [job for task in ("zero_shot", "retrieval", "grounding") for job in default.jobs(task)]
    reading = [name for name in default.params.methods if name not in WITHOUT_TEXT]
    assert {job.rsplit("/", 1)[1].split("-")[0] for job in jobs} == set(reading)
    assert "supervised" not in reading


def test_only_methods_with_prototypes_have_their_job_and_it_waits_for_the_sentences() -> None:
    assert graph("all_methods").jobs("prototypes") == [
        "prototypes/mimic_cxr/strict_small-bank/mgca-default-s0",
        "prototypes/mimic_cxr/strict_small-bank/prior-described-s0",
    ]
    wildcards = SimpleNamespace(
        task="prototypes", dataset="mimic_cxr", setting="strict_small-bank", bundle="x"
    )
    assert Rules(graph()).sentences(wildcards) == ["data/prepared/mimic_cxr/sentences.parquet"]


def test_an_overlay_uses_only_the_data_sets_that_it_names() -> None:
    assert set(graph("real_small").datasets) == {
        "nih_small",
        "kermany",
        "kermany_lungs",
        "chestx_det",
        "lesion_boxes",
    }


def test_settings_hold_what_the_job_depends_on_and_nothing_of_other_methods() -> None:
    first = graph()
    settings = first.pretrain_settings("convirt-default-s0")
    assert settings["method"] == "convirt"
    assert settings["seed"] == 0
    assert "prior" not in str(settings)
    assert "seeds" not in settings


def test_a_row_that_trains_longer_says_so_and_leaves_the_others_alone() -> None:
    found = graph("all_methods")
    assert found.pretrain_settings("convirt-longer-s0")["epochs"] == 13
    shared = found.pretrain_settings("convirt-default-s0")
    assert shared["epochs"] == found.params.pretraining.epochs
    assert shared == graph().pretrain_settings("convirt-default-s0")


def test_processes_of_data_jobs_follow_the_size_of_the_data() -> None:
    def threads(of: Graph, dataset: str) -> int:
        return Rules(of).data_threads(SimpleNamespace(dataset=dataset))

    assert threads(graph(), "mimic_cxr") == 2
    assert threads(graph("smoke"), "mimic_cxr") == 1
    assert threads(graph("real_small"), "nih_small") > 2


def test_leaks_are_sought_in_all_data_sets_with_the_splits_of_their_protocols() -> None:
    found = graph()
    settings = found.leak_settings()
    assert settings["datasets"] == found.datasets
    assert settings["pretraining"] == {"dataset": "mimic_cxr", "preset": "official"}
    assert len(settings["evaluations"]) == len(found.evaluations)
    retrieval = next(e for e in settings["evaluations"] if e["dataset"] == "mimic_cxr")
    assert retrieval["split"]["mimic_cxr"] == "official"
    assert retrieval["folds"] is None
    assert "data/leaks.json" in found.data_files()


def test_every_default_file_lies_below_an_output_of_dvc() -> None:
    stages = yaml.safe_load((PROJECT / "dvc.yaml").read_text())["stages"]
    outputs = [
        next(iter(out)) for stage in stages.values() for out in stage["outs"] + stage.get("metrics", [])
    ]
    default = graph()
    files = default.data_files() + default.model_files() + default.score_files() + default.result_files()
    assert [
        file for file in files if not any(file == out or file.startswith(f"{out}/") for out in outputs)
    ] == []


def test_a_real_root_must_exist(tmp_path: Path) -> None:
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text("data_root: /nowhere\ndatasets: {chexpert: {root: chexpert}}\n")
    real = Graph(params.load(PROJECT / "params.yaml", overlay), PROJECT)
    with pytest.raises(InputError, match=r"datasets\.chexpert\.root.*/nowhere/chexpert does not exist"):
        real.check_roots()


def test_code_digests_differ_between_methods_but_not_between_seeds() -> None:
    default = graph()
    assert default.code("pretrain", "convirt-default-s0") != default.code("pretrain", "prior-described-s0")
    assert default.code("evaluate", "detection") != default.code("evaluate", "classification")


def test_the_ablations_have_a_bundle_each_and_differ_from_their_method_in_one_way() -> None:
    ablations = graph("ablations")
    assert len(ablations.bundles) == len(ablations.params.methods)
    assert set(ablations.tasks()) == set(graph().tasks()) - {"grounding", "prototypes"}
    for settings, _ in ablations.bundles.values():
        differs = {*settings.settings} - {"variant", "epochs"}
        assert settings.method != "prior" or settings.settings["epochs"] == [1, 1, 1]
        ways = [settings.shuffle_pairs, settings.reports == "labels", settings.variant == "released", differs]
        assert sum(map(bool, ways)) <= 1
        assert differs <= {"parts"}
    fractions = {fraction for evaluation in ablations.params.evaluations for fraction in evaluation.fractions}
    assert fractions == {0.1}


def test_the_overlay_all_methods_runs_every_registered_method() -> None:
    bundles = graph("all_methods").bundles.values()
    assert {settings.method for settings, _ in bundles} == set(METHODS) - {"imagenet", "imported"}
    jobs = graph("all_methods").jobs("zero_shot")
    longer = 1
    assert len(jobs) == len(set(METHODS) - WITHOUT_TEXT) + longer


def test_result_files_follow_the_bundles(tmp_path: Path) -> None:
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text("methods: [convirt, convirt_shuffled]\n")
    variants = Graph(params.load(PROJECT / "params.yaml", overlay), PROJECT)
    default = graph()
    assert not default.has_variants()
    files = default.result_files()
    assert "results/tables/ranks.csv" in files
    assert not [file for file in files if "ablations" in file]
    assert "results/plots/pretraining_prior-described.svg" in files
    assert not [file for file in files if "pretraining_random" in file]
    assert "results/plots/examples_retrieval_mimic_cxr_strict_small-pairs.png" in files
    assert len(files) == len(set(files))
    assert variants.has_variants()
    assert {"results/tables/ablations.csv", "results/tables/ablations.md"} <= set(variants.result_files())


def test_files_that_read_predictions_again_are_results(tmp_path: Path) -> None:
    default = graph()
    files = default.result_files()
    assert {
        "results/tables/subgroups.csv",
        "results/tables/subgroups.md",
        "results/tables/papers.tex",
    } <= set(files)
    maps = "results/plots/embeddings_classification_chexpert_strict_small-linear"
    assert [file for file in files if "embeddings" in file] == [f"{maps}.svg", f"{maps}.png"]
    assert {job.rpartition("/")[0] for job in default.embedding_jobs()} == {
        "classification/chexpert/strict_small-linear"
    }
    assert default.subgroup_settings()["resamples"] == default.params.statistics.resamples
    overlay = tmp_path / "overlay.yaml"
    place = "task: retrieval, dataset: mimic_cxr, protocol: strict_small, setting: pairs"
    overlay.write_text(f"evaluations: [{{{place}, fractions: [], seeds: [0]}}]\n")
    assert Graph(params.load(PROJECT / "params.yaml", overlay), PROJECT).embedding_files() == []


def test_published_figures_are_settings_of_real_results_only(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for content in ("a", "b"):
        monkeypatch.setattr("prior.graph.PUBLISHED", SimpleNamespace(read_bytes=content.encode))
        found.append([graph(*names).table_settings()["published"] for names in ((), ("real_small",))])
    (simulated, real), (same, other) = found
    assert simulated == same
    assert real != other


def test_every_table_and_figure_has_a_caption_in_the_report() -> None:
    files = [file.removeprefix("results/") for file in graph("ablations").result_files()]
    flags = [report_flags(file) for file in files if file.startswith(("tables/", "plots/"))]
    captions = {flag["caption"] for flag in flags}
    assert all((PROJECT / "workflow" / "rules" / caption).is_file() for caption in captions)
    written = {path.stem for path in (PROJECT / "workflow" / "report").glob("*.rst")}
    assert {Path(caption).stem for caption in captions} == written - {"workflow", "page", "numbers"}
    assert report_flags("plots/task_zero_shot.svg")["subcategory"] == "Tasks"
    assert report_flags("tables/zero_shot.md")["labels"] == {"table": "zero shot", "format": "md"}


def test_every_task_with_pictures_is_drawn() -> None:
    assert set(DRAW) == EXAMPLE_TASKS


def with_imagenet(project: Path, weights: str | None) -> Graph:
    config = yaml.safe_load((PROJECT / "params.yaml").read_text())
    config["methods"] = ["random", "imagenet"]
    config["method_settings"]["imagenet"]["settings"]["weights"] = weights
    return Graph(params.validate(config), project)


def test_imagenet_is_off_by_default_and_needs_weights_at_hand(tmp_path: Path) -> None:
    graph().check_weights()
    (tmp_path / "resnet.pth").touch()
    (tmp_path / "resnet.bin").touch()
    at_hand = with_imagenet(tmp_path, "resnet.pth")
    at_hand.check_weights()
    settings = at_hand.pretrain_settings("imagenet-timm-s0")["settings"]
    assert settings == {"weights": str(tmp_path / "resnet.pth")}
    with_imagenet(tmp_path, "hub").check_weights()
    for weights, words in [
        (None, "null"),
        ("none.pth", "not an existing"),
        ("resnet.bin", "not an existing"),
    ]:
        with pytest.raises(InputError, match=rf"method_settings\.imagenet\.settings\.weights.*{words}.*hub"):
            with_imagenet(tmp_path, weights).check_weights()
