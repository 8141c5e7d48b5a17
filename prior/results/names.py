"""Names of the files below `results/` that the rules declare, from what an experiment consists of."""

from collections.abc import Iterable

COLLECTED = [
    *("results.csv", "runs.csv", "omitted.csv", "metrics.json"),
    *("tables/differences.csv", "tables/best.csv", "tables/ranks.csv"),
]
EXAMPLE_TASKS = {"segmentation", "retrieval", "grounding", "prototypes"}
"""Tasks that leave archives behind their predictions, from which pictures are drawn."""


def has_curves(task: str, setting: str) -> bool:
    """Whether an evaluation scores findings with an encoder, so that it has a ROC curve.

    Args:
        task: downstream task.
        setting: `<protocol>-<setting>`.
    """
    return task in ("classification", "zero_shot") and not setting.endswith("-metadata")


def collected_files(with_ablations: bool) -> list[str]:
    """What is computed from all scores: the long table, and comparisons that need the resamples."""
    return [*COLLECTED, *(["tables/ablations.csv"] if with_ablations else [])]


def table_files(tasks: Iterable[str], with_ablations: bool) -> list[str]:
    """Tables for readers: all as Markdown and LaTeX, and as CSV where `collect` has not left one."""
    compared = ["differences", "ranks", *(["ablations"] if with_ablations else [])]
    written = ["headline", "protocols", *tasks]
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
