"""How far a probe carries from one simulated data set to another. Run: python benchmarks/transfer.py

After a run of the default experiment: the frozen features of one bundle, the linear probe of `strict_small`
(logistic regression, C = 0.01) for the finding that two data sets share, fitted on the training films of each
and tested on the test films of both. `data set` is the same probe asked which of the two a film comes from.
AUROC with the 95 % interval of 1,000 resamples of the test films.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from prior.data.prepared import PreparedDataset
from prior.encoders.bundle import load_bundle
from prior.metrics.classification import auroc
from prior.tasks.features import cached_features

PAIRS = (("chexpert", "siim", "Pneumothorax"), ("chexpert", "rsna", "Pneumonia"))
Floats = NDArray[np.float64]
Side = tuple[Floats, Floats]


def read(name: str, finding: str, part: str, bundle: Path) -> Side:
    """Features [n, C] and labels [n] of one part; what is not mentioned is absent, doubt is left out."""
    data = PreparedDataset(Path("data/prepared") / name)
    features = cached_features(Path(".work/features"), load_bundle(bundle), data, levels=False, fit="pad")
    images = data.select("strict", 0, part)
    labels = pd.read_parquet(data.root / "labels.parquet").set_index("image_id")[finding]
    label = labels.reindex(images["image_id"]).fillna(0).to_numpy()
    kept = label >= 0
    return features.pooled[images["row"].to_numpy()[kept]].astype(float), label[kept]


def probe(train: Side, test: Side, resamples: int = 1000) -> str:
    """AUROC of a probe of `train` on `test`, with its interval."""
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000)).fit(*train)
    scores, truth = model.decision_function(test[0]), test[1] > 0
    drawn = np.random.default_rng(0).multinomial(len(truth), np.full(len(truth), 1 / len(truth)), resamples)
    values = auroc(scores, truth, np.concatenate([np.ones((1, len(truth))), drawn]).astype(float))
    low, high = np.quantile(values[1:], [0.025, 0.975])
    return f"{values[0]:.3f} [{low:.3f}, {high:.3f}]"


def joined(left: Side, right: Side) -> Side:
    """Films of both, labelled by the data set."""
    return np.concatenate([left[0], right[0]]), np.repeat([0.0, 1.0], [len(left[0]), len(right[0])])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, default=Path("models/convirt-default-s0"))
    given = parser.parse_args()
    print("| probe for | fitted on | tested on the same | tested on | AUROC there |\n|---|---|---|---|---|")
    for first, second, finding in PAIRS:
        train = {name: read(name, finding, "train", given.bundle) for name in (first, second)}
        test = {name: read(name, finding, "test", given.bundle) for name in (first, second)}
        for here, there in ((first, second), (second, first)):
            cells = (probe(train[here], test[here]), there, probe(train[here], test[there]))
            print(f"| {finding} | {here} | " + " | ".join(cells) + " |")
        told = probe(joined(*train.values()), joined(*test.values()))
        print(f"| data set | {first} and {second} | {told} | | |")


if __name__ == "__main__":
    main()
