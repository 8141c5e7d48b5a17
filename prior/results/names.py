"""Names of the files below `results/` that the rules declare, from what an experiment consists of."""

from collections.abc import Iterable

COLLECTED = [
    *("results.csv", "runs.csv", "omitted.csv", "metrics.json", "tables/differences.csv", "tables/ranks.csv"),
]
EXAMPLE_TASKS = {"segmentation", "retrieval", "grounding", "prototypes"}
"""Tasks that leave archives behind their predictions, from which pictures are drawn."""


def collected_files(with_ablations: bool) -> list[str]:
    """What is computed from all scores: the long table, and comparisons that need the resamples."""
    return [*COLLECTED, *(["tables/ablations.csv"] if with_ablations else [])]


def table_files(tasks: Iterable[str], with_ablations: bool) -> list[str]:
    """Tables for readers: comparisons as Markdown, the headline and every task also as CSV."""
    compared = ["differences", "ranks", *(["ablations"] if with_ablations else [])]
    both = [f"tables/{name}.{suffix}" for name in ["headline", *tasks] for suffix in ("md", "csv")]
    return [*(f"tables/{name}.md" for name in compared), *both]


def plot_files(trained: Iterable[str], tasks: Iterable[str], jobs: Iterable[str]) -> list[str]:
    """Plots and example pictures.

    Args:
        trained: bundles that have losses to show; pre-training seeds share a figure.
        tasks: downstream tasks.
        jobs: `<task>/<dataset>/<protocol>-<setting>/<bundle>`.
    """
    evaluations = dict.fromkeys(tuple(job.split("/")[:3]) for job in jobs)
    names = [
        *("headline", "gains", "gain_map", "ranks"),
        *dict.fromkeys(f"pretraining_{bundle.rpartition('-s')[0]}" for bundle in trained),
        *(f"task_{task}" for task in tasks),
        *("_".join(["examples", *place]) for place in evaluations if place[0] in EXAMPLE_TASKS),
    ]
    return [f"plots/{name}.{suffix}" for name in names for suffix in ("svg", "png")]
