"""Maps of the test images as frozen encoders see them, coloured by finding: t-SNE of the pooled features."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

from prior.data.files import read_json
from prior.data.prepared import PreparedDataset
from prior.metrics.arrays import Floats
from prior.results.cases import NAMES
from prior.results.examples import bundle_label
from prior.results.names import embedding_places
from prior.results.panels import empty_figure, heading, subplots
from prior.results.style import PALETTE, WIDTH, figure_style, save

MOST_IMAGES = 400
MOST_FINDINGS = 5
COMPONENTS = 20
PERPLEXITY = 30
"""Of t-SNE (van der Maaten and Hinton, 2008): about how many neighbours an image has."""
FEWEST_IMAGES = 5
ABSENT = "#c9c9c9"


def plane(features: Floats) -> Floats:
    """Lay features out in the plane, the same for the same input.

    Each feature is z-scored, so that none counts by its scale alone; principal components come before t-SNE.

    Args:
        features: [n, C].

    Returns:
        [n, 2].
    """
    std = features.std(axis=0)
    scaled = ((features - features.mean(axis=0)) / np.where(std > 0, std, 1.0)).astype(np.float64)
    size = min(COMPONENTS, *scaled.shape)
    # Sums over threads come out differently each time, and t-SNE makes much of little.
    with threadpool_limits(1):
        components = PCA(size, svd_solver="full").fit_transform(scaled)
        perplexity = min(PERPLEXITY, (len(features) - 1) / 3)
        model = TSNE(2, perplexity=perplexity, init="pca", random_state=0, method="exact", max_iter=500)
        return np.asarray(model.fit_transform(components), dtype=np.float64)


def image_truth(stem: Path) -> pd.DataFrame:
    """Labels of the test images in a classification's predictions.

    Args:
        stem: prediction file without suffix.

    Returns:
        Images (MOST_IMAGES at most, evenly chosen by name) × findings (the MOST_FINDINGS most frequent ones):
        whether one is present; unknown labels count as absent. Empty where all cells were refused.
    """
    frame = pd.read_parquet(f"{stem}.parquet")
    if "finding" not in frame:
        return pd.DataFrame()
    rows = frame.drop_duplicates(["image_id", "finding"])
    wide = rows.assign(present=rows["label"] == 1).pivot(
        index="image_id", columns="finding", values="present"
    )
    wide = wide.astype("boolean").fillna(False).astype(bool).sort_index()
    chosen = np.linspace(0, len(wide) - 1, min(MOST_IMAGES, len(wide))).round().astype(int)
    counts = wide.sum().sort_values(ascending=False, kind="stable")
    return wide.iloc[chosen][sorted(counts.index[:MOST_FINDINGS])]


def embedding_figure(
    maps: Mapping[str, Floats], truth: pd.DataFrame, text: str, simulated: bool, out: Path
) -> None:
    """Draw a row of panels for every method, a panel for every finding.

    Args:
        maps: method → [n, 2].
        truth: presence of findings, [n] images × findings.
        text: title.
        simulated: puts the warning into the title.
        out: path without suffix.
    """
    with figure_style():
        if not maps or truth.empty:
            save(empty_figure(text, simulated), out)
            return
        size = (WIDTH, (WIDTH - NAMES) / truth.shape[1] * len(maps) + 0.8)
        figure, grid = subplots(len(maps), truth.shape[1], size)
        for line, (method, places) in zip(grid, maps.items(), strict=True):
            for number, (axes, finding) in enumerate(zip(line, truth, strict=True)):
                present = truth[finding].to_numpy()
                for chosen, colour in ((~present, ABSENT), (present, PALETTE[number])):
                    axes.scatter(*places[chosen].T, s=1.2, color=colour, linewidths=0, rasterized=True)
                axes.set_xticks([])
                axes.set_yticks([])
            line[0].set_ylabel(method, rotation=0, ha="right", va="center")
        for axes, finding in zip(grid[0], truth, strict=True):
            axes.set_title(str(finding).replace("_", "\n"), fontsize=6)
        key = "Coloured: the finding is present; grey: it is absent or not labelled. Distances have no unit."
        heading(figure, text, simulated, key)
        save(figure, out)


def embedding_maps(
    stems: Sequence[Path], models: Path, prepared: Path, cache: Path, simulated: bool, out: Path
) -> None:
    """Draw `embeddings_classification_<dataset>_<protocol>-<setting>` of every data set that is classified.

    Features are those of the evaluations' cache, and are computed where it has none. Of several pre-training
    seeds the first is shown.

    Args:
        stems: prediction files of classification, `predictions/<task>/<dataset>/<setting>/<bundle>`.
        models: folder of the bundles.
        prepared: `data/prepared`.
        cache: `.work/features`.
        simulated: puts the warning into titles.
        out: folder.
    """
    for stale in out.glob("embeddings_*"):
        stale.unlink()
    for dataset, setting in embedding_places("/".join(stem.parts[-4:]) for stem in stems):
        chosen = [stem for stem in stems if stem.parts[-4:-1] == ("classification", dataset, setting)]
        methods = {bundle_label(stem.name): stem for stem in sorted(chosen, reverse=True)}
        ordered = sorted(methods, key=lambda method: (method != "random", method))
        truths = [image_truth(methods[method]) for method in ordered]
        truth = next((found for found in truths if len(found)), pd.DataFrame())
        data = PreparedDataset(prepared / dataset)
        rows = data.images.set_index("image_id")["row"].reindex(truth.index).to_numpy(np.int64)
        fit = read_json(Path(f"{chosen[0]}.json"))["knobs"]["fit"]
        mapped = ordered if len(rows) >= FEWEST_IMAGES else []
        maps = {m: plane(_pooled(models / methods[m].name, data, fit, cache)[rows]) for m in mapped}
        text = f"Test images of {dataset} as each encoder sees them: t-SNE of frozen features"
        embedding_figure(maps, truth, text, simulated, out / f"embeddings_classification_{dataset}_{setting}")


def _pooled(folder: Path, data: PreparedDataset, fit: str, cache: Path) -> Floats:
    """Spatial means of the last map of all images of a data set, [N, C]."""
    # Only here: everything else that makes results starts without torch.
    from prior.encoders.bundle import load_bundle
    from prior.tasks.features import cached_features

    return cached_features(cache, load_bundle(folder), data, levels=False, fit=fit).pooled
