"""What the Snakemake rules need of the graph, as functions of wildcards."""

from collections.abc import Callable
from typing import Any

from prior.graph import Graph, canonical

# Snakemake gives fewer where `--cores` has fewer.
REAL_DATA_THREADS = 16
WORTH_TWO = 1000


class Rules:
    """Settings, code digests and inputs of the rules of one experiment."""

    def __init__(self, graph: Graph):
        self.graph = graph

    def settings(self, stage: str) -> Callable[[Any], str]:
        """Canonical settings of a `stage` job."""
        graph = self.graph
        functions: dict[str, Callable[[Any], Any]] = {
            "simulate": lambda wildcards: graph.simulate_settings(wildcards.dataset),
            "prepare": lambda wildcards: graph.prepare_settings(wildcards.dataset),
            "leaks": lambda wildcards: graph.leak_settings(),
            "tokenize": lambda wildcards: graph.tokenize_settings(),
            "pretrain": lambda wildcards: graph.pretrain_settings(wildcards.bundle),
            "evaluate": lambda wildcards: graph.evaluate_settings(_stem(wildcards), wildcards.bundle),
            "score": lambda wildcards: graph.score_settings(),
            "results": lambda wildcards: graph.results_settings(),
            "subgroups": lambda wildcards: graph.subgroup_settings(),
            "embedding_maps": lambda wildcards: graph.embedding_settings(),
            "tables": lambda wildcards: graph.table_settings(),
            "page": lambda wildcards: graph.page_settings(),
        }
        return lambda wildcards: canonical(functions[stage](wildcards))

    def code(self, stage: str) -> Callable[[Any], str]:
        """Digest of the code that a `stage` job runs."""
        wildcard = {"simulate": "dataset", "prepare": "dataset", "pretrain": "bundle", "evaluate": "task"}
        return lambda wildcards: self.graph.code(stage, getattr(wildcards, wildcard.get(stage, ""), ""))

    def raw(self, wildcards: Any) -> list[str]:
        """The stamp of a simulated raw folder; nothing for a real one, which no rule makes."""
        simulated = self.graph.params.datasets[wildcards.dataset].root is None
        return [f"data/raw/{wildcards.dataset}/simulation.json"] if simulated else []

    def data_threads(self, wildcards: Any) -> int:
        """Processes that make or prepare a dataset; of few images each would cost more than it saves."""
        dataset = self.graph.params.datasets[wildcards.dataset]
        if dataset.root is not None:
            return REAL_DATA_THREADS
        return 2 if (dataset.images or 0) >= WORTH_TWO else 1

    def sentences(self, wildcards: Any) -> list[str]:
        """The sentences that retrieval and the prototype atlas read; the texts of 8x200 are in its list."""
        wanted = wildcards.task in ("retrieval", "prototypes") and wildcards.dataset != "chexpert_8x200"
        return [f"data/prepared/{wildcards.dataset}/sentences.parquet"] if wanted else []


def _stem(wildcards: Any) -> str:
    return f"{wildcards.task}/{wildcards.dataset}/{wildcards.setting}"
