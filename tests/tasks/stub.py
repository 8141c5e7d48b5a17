"""A prepared dataset and a bundle small enough to know every answer by hand."""

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pandas as pd
import torch
from torch import nn

from prior.data.files import write_json
from prior.data.prepared import PreparedDataset
from prior.data.schemas import write_table
from prior.methods.base import ImageFeatures, ReportFeatures
from prior.protocols import Protocol
from prior.reports.tokens import train_tokenizer

COMMON = {"split": {"default": "official", "folds": "strict-5fold"}, "views": "frontal", "fit": "pad"}
LABELS = {"findings": {"only": None, "exclude": []}, "missing": "absent", "uncertain": "drop"}


def protocol(task, **knobs):
    return Protocol(family="strict", task=task, setting="test", knobs={**COMMON, **LABELS, **knobs})


def dataset(root, findings, reports, views=None):
    """Image i of study i shows the constant grey value i; all images are test images."""
    n = len(next(iter(findings.values())))
    ids = [f"i{i:04d}" for i in range(n)]
    images = pd.DataFrame({"image_id": ids, "study_id": [f"s{i:04d}" for i in range(n)], "row": range(n)})
    images = images.assign(
        patient_id=images["study_id"], study_order=0, view=views or "PA", sex=None, age=np.nan
    )
    write_table(root, "images", images.assign(site=None, height=4, width=4, source="x"))
    write_table(root, "labels", pd.DataFrame({"image_id": ids, **findings}))
    split = pd.DataFrame({"image_id": ids, "seed": 0, "split": "test", "fold": -1, "rank": np.nan})
    write_table(root, "splits/official", split)
    if reports:
        rows = [(f"s{i:04d}", p, "findings", s, 0, 1) for i, r in enumerate(reports) for p, s in enumerate(r)]
        columns = ["study_id", "position", "section", "sentence", "start", "end"]
        write_table(root, "sentences", pd.DataFrame(rows, columns=columns))
    np.save(root / "images_4_pad.npy", np.tile(np.arange(n, dtype=np.uint8)[:, None, None], (1, 4, 4)))
    write_json(root / "manifest.json", {"dataset": "chexpert", "content_hash": "x", "simulated": True})
    return PreparedDataset(root)


class Towers(nn.Module):
    """Looks embeddings up: images by grey value, texts by their first word."""

    def __init__(self, images, words, tokenizer):
        super().__init__()
        self.vectors = torch.tensor(images, dtype=torch.float32)
        self.words = {tokenizer.token_to_id(word): torch.tensor(v) for word, v in words.items()}

    def encode_images(self, images):
        rows = (images.float().mean(dim=(1, 2, 3)) * 255).round().long()
        return ImageFeatures(self.vectors[rows], self.vectors[rows].unsqueeze(1), (1, 1))

    def scores(self, images, reports):
        unit = [nn.functional.normalize(features.global_, dim=-1) for features in (images, reports)]
        return {"global": unit[0] @ unit[1].T}

    def encode_reports(self, tokens):
        global_ = torch.stack([self.words[int(row[1])] for row in tokens.ids]).float()
        return ReportFeatures(
            global_, global_.unsqueeze(1), tokens.mask[:, :1], global_.unsqueeze(1), tokens.mask[:, :1]
        )


@dataclass
class StubBundle:
    towers: Towers | None
    words: object = None

    name = "stub"
    info = SimpleNamespace(image=SimpleNamespace(input_size=4), text=SimpleNamespace(max_tokens=16))

    @property
    def has_text(self):
        return self.towers is not None

    def method(self):
        return self.towers

    def tokenizer(self):
        return self.words


def bundle(tmp_path, images, words):
    tokenizer = train_tokenizer(list(words) * 50, 500, tmp_path / "tokenizer.json")
    assert all(tokenizer.token_to_id(word) is not None for word in words)
    return StubBundle(Towers(images, words, tokenizer), tokenizer)
