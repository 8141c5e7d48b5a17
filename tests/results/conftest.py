"""Results of a small benchmark on random predictions, and the page that shows them."""

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from synthetic import write_all

from prior.data.files import write_json
from prior.metrics.score import score
from prior.results.collect import collect
from prior.results.page import page
from prior.results.plots import headline_figure
from prior.results.style import figure_style, method_style
from prior.results.view import load_view, methods_in_order

MANIFEST: dict[str, Any] = {
    "simulated": True,
    "content_hash": "0123456789abcdef",
    "counts": {"images": 300, "patients": 200, "reports": 0},
    "splits": {"strict": {"train": {"images": 200}, "test": {"images": 100}, "folds": [150, 150]}},
}
SETTINGS: dict[str, Any] = {
    "experiment": "tiny",
    "bundles": ["prior-described-s0"],
    "tasks": ["classification", "zero_shot", "retrieval", "segmentation", "detection"],
    "datasets": ["chexpert"],
    "params": {"pretraining": {"epochs": 8}},
    "protocols": [
        ["strict_small", "classification", "linear"],
        ["strict_small", "segmentation", "frozen"],
    ],
}


@pytest.fixture(scope="session")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results' folder, with `index.html`."""
    root = tmp_path_factory.mktemp("shown")
    stems = write_all(root, seeds=(0, 1), fractions=(0.01, 0.1), finetuned=("segmentation",))
    files = []
    for stem in stems:
        out = root / "scores" / stem.relative_to(root / "predictions")
        score(stem, out, n_resamples=50)
        files.append(Path(f"{out}.parquet"))
    results, prepared = root / "results", root / "data"
    collect(files, [Path(f"{stem}.json") for stem in stems], results, "tiny")
    view = load_view(results / "results.csv")
    (results / "plots").mkdir()
    with figure_style():
        styles = method_style(methods_in_order(view, encoders=True))
        headline_figure(view, styles, results / "plots" / "headline")
    write_json(prepared / "chexpert" / "manifest.json", MANIFEST)
    page(results, SETTINGS, prepared)
    return results
