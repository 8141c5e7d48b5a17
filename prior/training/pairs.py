"""Which image and which report meet in which batch, as a function of the seed and the epoch alone."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from prior.errors import InputError
from prior.reports.tokens import ReportTokens


@dataclass(frozen=True)
class TrainingPairs:
    """Training studies that have an image and a report with at least one sentence.

    Attributes:
        images: sorted by study; columns `study` (position in `studies`), `row`, `patient_id`, `image_id`.
        studies: study id whose image is shown, [N].
        reports: study id whose report is shown beside it, [N]; differs from `studies` in the control only.
    """

    images: pd.DataFrame
    studies: NDArray[np.str_]
    reports: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.studies)

    def batches(
        self, seed: int, epoch: int, batch_size: int
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.str_]]]:
        """Yield store rows of images and study ids of their reports; every study comes once per epoch.

        A study with several images shows one of them, drawn anew in each epoch. Batches differ in size
        by one at most, so that there is no small last one.
        """
        rng = np.random.default_rng([seed, epoch])
        order = rng.permutation(len(self))
        image_of = self._draw_images(rng)
        for part in np.array_split(order, self.steps(batch_size)):
            yield image_of[part], self.reports[part]

    def steps(self, batch_size: int) -> int:
        """Number of batches of an epoch."""
        return -(-len(self) // batch_size)

    def _draw_images(self, rng: np.random.Generator) -> NDArray[np.int64]:
        drawn = self.images.assign(draw=rng.random(len(self.images)))
        first = drawn.sort_values(["study", "draw"], kind="stable").drop_duplicates("study")
        return first["row"].to_numpy(dtype=np.int64)


def find_pairs(
    train: pd.DataFrame, tokens: ReportTokens, seed: int, shuffle: bool, where: str
) -> TrainingPairs:
    """Match the training images with tokenised reports.

    Args:
        train: training part of a split (image_id, row, patient_id, study_id), frontal images only.
        tokens: reports.
        seed: of the shuffled control.
        shuffle: deal every report to another study, once and for all.
        where: names data and preset in the message.

    Raises:
        InputError: fewer than two studies have both.
    """
    has_sentences = np.maximum.reduceat(tokens.sentence, tokens.offsets[:-1]) >= 0
    readable = set(tokens.study_id[has_sentences])
    usable = train[train["study_id"].isin(readable)]
    studies = np.sort(usable["study_id"].unique().astype(np.str_))
    if len(studies) < 2:
        raise InputError(
            f"{where}: {len(studies)} training studies have both an image and a report with sentences; "
            "pre-training needs at least 2; choose another pretraining.dataset or preset"
        )
    position = pd.Series(np.arange(len(studies)), index=studies)
    images = usable.assign(study=usable["study_id"].map(position).astype(int))
    images = images.sort_values(["study", "image_id"])[["study", "row", "patient_id", "image_id"]]
    reports = _deal(studies, seed) if shuffle else studies
    return TrainingPairs(images.reset_index(drop=True), studies, reports)


def _deal(studies: NDArray[np.str_], seed: int) -> NDArray[np.str_]:
    cycle = np.random.default_rng([seed, len(studies)]).permutation(len(studies))
    reports = np.empty_like(studies)
    reports[cycle] = studies[np.roll(cycle, 1)]
    return reports
