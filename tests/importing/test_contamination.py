"""Marks of what an outside encoder may have seen."""

import subprocess
import sys

import pytest

from prior.datasets import READERS
from prior.importing.contamination import DATASETS, MARK_NOTES, MARKS, Corpus, contamination


def trained(*corpora):
    return [corpus.record() for corpus in corpora]


NATURAL = Corpus("imagenet", ("images", "labels"))
MIMIC = Corpus("mimic_cxr", ("images", "reports"))
MIMIC_TRAIN = Corpus("mimic_cxr", ("images", "reports"), "train")
NIH_LABELS = Corpus("nih_chestxray14", ("images", "labels"))


@pytest.mark.parametrize(
    ("corpora", "dataset", "mark"),
    [
        ((), "rsna", "unknown"),
        ((NATURAL,), "rsna", "none"),
        ((MIMIC,), "rsna", "none"),
        ((MIMIC,), "mimic_cxr", "labels"),
        ((Corpus("mimic_cxr"),), "mimic_cxr_dicom", "images"),
        ((MIMIC,), "ms_cxr", "images"),
        ((NIH_LABELS,), "rsna", "images"),
        ((NIH_LABELS,), "nih_small", "labels"),
        ((NIH_LABELS,), "covidx", "images"),
        ((Corpus("rsna", ("images", "labels")),), "rsna", "labels"),
        ((Corpus("rsna", ("images", "labels")),), "siim", "patients"),
        ((Corpus("rsna", ("images", "labels")),), "covidx", "images"),
        ((Corpus("rsna", ("images", "labels")),), "nih_chestxray14", "images"),
        ((Corpus("chexpert", ("images", "reports")),), "chexpert_5x200_prior", "labels"),
        ((Corpus("chexpert"),), "chexpert_8x200", "images"),
        ((Corpus("web"),), "chexpert", "none"),
        ((Corpus("web"),), "iu_xray", "unknown"),
        ((Corpus("pubmed_central", ("images", "reports")),), "covidx", "unknown"),
        ((MIMIC,), "folder", "unknown"),
        ((Corpus("web"), NIH_LABELS), "covidx", "images"),
        ((NATURAL, MIMIC, Corpus("chexpert", ("images", "labels"))), "chexpert", "labels"),
    ],
)
def test_the_strongest_mark_of_any_corpus_counts(corpora, dataset, mark):
    assert contamination(trained(*corpora), dataset) == mark


def test_official_test_patients_are_not_in_the_official_training_part():
    assert contamination(trained(MIMIC_TRAIN), "mimic_cxr", "official") == "none"
    assert contamination(trained(MIMIC_TRAIN), "mimic_cxr", "strict") == "labels"
    assert contamination(trained(MIMIC_TRAIN), "mimic_cxr") == "labels"
    assert contamination(trained(MIMIC), "mimic_cxr", "official") == "labels"


def test_every_reader_but_the_users_own_folder_has_its_films():
    assert set(READERS) - set(DATASETS) == {"folder"}
    assert set(MARK_NOTES) == set(MARKS)


def test_the_table_needs_no_torch():
    code = "import sys, prior.importing.contamination; print('torch' in sys.modules, 'pandas' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
