"""What a leak between patients is worth on the phantom. Run: python benchmarks/leak_demo.py

Every film is scored once by five-fold cross-validation, with the folds of `strict-5fold` (by patient) and
with the same rule applied to images, so that other films of a tested patient are trained on. Both arms test
the same films and train on four fifths of them. Features: the 60 first principal components (fitted without
labels on all films, in both arms) of the film's amplitude spectrum, which does not depend on where the
patient stands. Probes: the mean of the three nearest training films, and a ridge regression.

Targets: the thirteen findings; `over 58 years`; and `coin`, a label that is tossed once per patient and has
nothing to do with the film: whatever is scored on it above .5 is the leak. The interval is that of the
difference over resamples of the patients.
"""

import argparse
import time

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from sklearn.neighbors import KNeighborsRegressor

from prior.data.keys import FOLDS, bucket, fold_of
from prior.metrics.classification import auroc
from prior.phantom.film import take_film
from prior.phantom.findings import KINDS
from prior.phantom.hospital import generator, plan
from prior.phantom.radiograph import SCANNERS

HOSPITAL, SIZE, COMPONENTS, OLD = "mimic_cxr", 64, 60, 58
Floats = NDArray[np.float64]


def films(count: int, seed: int) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """Images [n, SIZE, SIZE], targets [n, findings + 2] and patients [n]."""
    images, targets, patients = [], [], []
    for study in plan(HOSPITAL, count, seed):
        rng = generator(seed, HOSPITAL, 1, study.index)
        images.append(take_film(study.body, study.pose, study.findings, SCANNERS[HOSPITAL], SIZE, rng).image)
        seen = {finding.kind for finding in study.findings}
        coin = bucket(f"coin:{study.patient}") % 2
        targets.append([*(kind in seen for kind in KINDS), study.body.age > OLD, coin])
        patients.append(study.patient)
    return np.array(images, float), np.array(targets, float), np.array(patients)


def spectrum(images: Floats) -> Floats:
    """Whitened principal components [n, COMPONENTS] of the low frequencies' log amplitudes."""
    window = np.hanning(SIZE)[:, None] * np.hanning(SIZE)
    centred = (images - images.mean((1, 2), keepdims=True)) * window
    low = np.log1p(np.abs(np.fft.rfft2(centred)))[:, np.r_[0:16, SIZE - 16 : SIZE], :16]
    pca = PCA(COMPONENTS, whiten=True, random_state=0)
    return np.asarray(pca.fit_transform(low.reshape(len(images), -1)))


def cross_validated(features: Floats, targets: Floats, folds: NDArray[np.int64], nearest: bool) -> Floats:
    """Scores [n, targets] of every film by a probe that was fitted on the other folds."""
    scores = np.zeros_like(targets)
    for fold in range(FOLDS):
        train = folds != fold
        probe = KNeighborsRegressor(3, weights="distance") if nearest else Ridge(30.0)
        scores[~train] = probe.fit(features[train], targets[train]).predict(features[~train])
    return scores


def areas(scores: Floats, targets: Floats, weights: Floats) -> Floats:
    """AUROC [resamples, 3]: mean of the findings, age, coin."""
    each = np.stack([auroc(s, t > 0, weights) for s, t in zip(scores.T, targets.T, strict=True)], 1)
    return np.stack([each[:, : len(KINDS)].mean(1), each[:, -2], each[:, -1]], 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--films", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resamples", type=int, default=500)
    given = parser.parse_args()
    start = time.process_time()
    images, targets, patients = films(given.films, given.seed)
    features = spectrum(images)
    by_patient = np.array([fold_of(bucket(f"mimic:{patient}")) for patient in patients])
    by_image = np.array([fold_of(bucket(f"image:{index}")) for index in range(len(patients))])
    people, rows = np.unique(patients, return_inverse=True)
    drawn = np.random.default_rng(given.seed).multinomial(
        len(people), np.full(len(people), 1 / len(people)), given.resamples
    )
    weights = np.concatenate([np.ones((1, len(rows))), drawn[:, rows].astype(float)])
    shared = np.mean([np.isin(p, patients[by_image != f]) for p, f in zip(patients, by_image, strict=True)])
    print(f"{len(rows)} films of {len(people)} patients; by image, {shared:.0%} of the tested films have")
    print("another film of their patient in training\n")
    print("| probe | target | by patient | by image (leaky) | inflation [95 %] |\n|---|---|---|---|---|")
    for nearest in (True, False):
        strict, leaky = (
            areas(cross_validated(features, targets, folds, nearest), targets, weights)
            for folds in (by_patient, by_image)
        )
        for column, target in enumerate(("findings, macro", f"over {OLD} years", "coin per patient")):
            gain = leaky[:, column] - strict[:, column]
            low, high = np.quantile(gain[1:], (0.025, 0.975))
            name = "3 nearest films" if nearest else "ridge"
            print(f"| {name} | {target} | {strict[0, column]:.3f} | {leaky[0, column]:.3f} "
                  f"| {gain[0]:+.3f} [{low:+.3f}, {high:+.3f}] |")  # fmt: skip
    print(f"\n{time.process_time() - start:.0f} s of CPU time")


if __name__ == "__main__":
    main()
