"""Names of the files below `results/` that the rules declare, from what an experiment consists of."""

from collections.abc import Iterable
from pathlib import PurePath
from typing import Any

COLLECTED = [
    *("results.csv", "runs.csv", "omitted.csv", "metrics.json"),
    *("tables/differences.csv", "tables/best.csv", "tables/ranks.csv", "tables/choices.csv"),
]
SUBGROUPS = "tables/subgroups.csv"
FIGURES = {
    "task": ("Tasks", "tasks"),
    "roc": ("ROC and calibration", "roc"),
    "embeddings": ("Embeddings", "embeddings"),
    "examples": ("Cases", "examples"),
    "data": ("Data", "data"),
    "pretraining": ("Pre-training", "losses"),
}
"""First word of a figure's name → its part of Snakemake's report, and its caption in `workflow/report/`."""
EXAMPLE_TASKS = {"segmentation", "detection", "retrieval", "grounding", "prototypes"}
"""Tasks whose cases are drawn."""


def has_curves(task: str, setting: str) -> bool:
    """Whether an evaluation scores findings with an encoder, so that it has a ROC curve.

    Args:
        task: downstream task.
        setting: `<protocol>-<setting>`.
    """
    return task in ("classification", "zero_shot") and not setting.endswith("-metadata")


def embedding_places(jobs: Iterable[str]) -> list[tuple[str, str]]:
    """Data set and `<protocol>-<setting>` of the first evaluation that classifies each with an encoder.

    Args:
        jobs: `<task>/<dataset>/<protocol>-<setting>/<bundle>`.
    """
    places: dict[str, str] = {}
    for task, dataset, setting, _ in (job.split("/") for job in jobs):
        if task == "classification" and has_curves(task, setting):
            places.setdefault(dataset, setting)
    return list(places.items())


def embedding_files(jobs: Iterable[str]) -> list[str]:
    """Maps of the test images of each data set that is classified."""
    return [
        f"plots/embeddings_classification_{dataset}_{setting}.{suffix}"
        for dataset, setting in embedding_places(jobs)
        for suffix in ("svg", "png")
    ]


def collected_files(with_ablations: bool) -> list[str]:
    """What is computed from all scores: the long table, and comparisons that need the resamples."""
    return [*COLLECTED, *(["tables/ablations.csv"] if with_ablations else [])]


def table_files(tasks: Iterable[str], with_ablations: bool, with_lovt18: bool = False) -> list[str]:
    """Tables for readers: all as Markdown and LaTeX, and as CSV where no other stage has left one."""
    compared = ["differences", "ranks", "subgroups", *(["ablations"] if with_ablations else [])]
    written = ["headline", "protocols", "papers", *tasks, *(["lovt18"] if with_lovt18 else [])]
    files = [f"tables/{name}.{suffix}" for name in [*compared, *written] for suffix in ("md", "tex")]
    return [*files, *(f"tables/{name}.csv" for name in written)]


def plot_files(
    trained: Iterable[str], tasks: Iterable[str], jobs: Iterable[str], datasets: Iterable[str]
) -> list[str]:
    """Plots and example pictures.

    Args:
        trained: bundles that have losses to show; pre-training seeds share a figure.
        tasks: downstream tasks.
        jobs: `<task>/<dataset>/<protocol>-<setting>/<bundle>`.
        datasets: data sets in use, each with a card.
    """
    evaluations = dict.fromkeys(tuple(job.split("/")[:3]) for job in jobs)
    names = [
        *("headline", "gains", "forest", "gain_map", "ranks", "seeds"),
        *dict.fromkeys(f"pretraining_{bundle.rpartition('-s')[0]}" for bundle in trained),
        *(f"task_{task}" for task in tasks),
        *("_".join(["roc", *place]) for place in evaluations if has_curves(place[0], place[2])),
        *("_".join(["examples", *place]) for place in evaluations if place[0] in EXAMPLE_TASKS),
        *(f"data_{name}" for name in datasets),
    ]
    return [f"plots/{name}.{suffix}" for name in names for suffix in ("svg", "png")]


def report_flags(file: str) -> dict[str, Any]:
    """Where Snakemake's report shows a file, under which words, and the caption beside it.

    Args:
        file: a table or figure below `results/`.

    Returns:
        Arguments of Snakemake's `report`; the caption's path starts from `workflow/rules/`.
    """
    path = PurePath(file)
    if path.parts[0] == "tables":
        kind = path.stem if path.stem in ("subgroups", "papers") else "tables"
        labels = {"table": path.stem.replace("_", " "), "format": path.suffix.removeprefix(".")}
        return {"category": "Tables", "caption": f"../report/{kind}.rst", "labels": labels}
    part, caption = FIGURES.get(path.stem.split("_")[0], ("Overview", "plots"))
    labels = {"figure": path.stem.replace("_", " ")}
    return {
        "category": "Figures",
        "subcategory": part,
        "caption": f"../report/{caption}.rst",
        "labels": labels,
    }
