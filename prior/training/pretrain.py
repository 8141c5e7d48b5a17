"""Pre-training stage: prepared images and tokenised reports in, one bundle out."""

import csv
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from prior.data.augment import Augmentation, augment
from prior.data.batches import load_images
from prior.data.files import atomic_path, digest, read_json, write_json
from prior.data.keys import patient_keys
from prior.data.prepared import PreparedDataset
from prior.encoders.bundle import BundleInfo, save_bundle
from prior.errors import InputError
from prior.methods.base import Batch, Method
from prior.objectives.gather import processes
from prior.provenance import RunClock, hash_patients, run_manifest
from prior.reports.tokens import ReportTokens
from prior.training.distributed import is_first, own_part, process_group
from prior.training.initial import derive_seed, prepare_method
from prior.training.label_reports import label_reports
from prior.training.labels import name_findings, training_labels
from prior.training.loop import LogRow, Training
from prior.training.pairs import TrainingPairs, find_pairs
from prior.training.precision import choose_device, resolve_precision
from prior.training.schedule import share_epochs
from prior.training.settings import PretrainSettings

LOG = logging.getLogger(__name__)


def pretrain(
    settings: Mapping[str, Any], data_root: Path, tokens_root: Path, out: Path, work: Path, code: str = ""
) -> None:
    """Train one method and write its bundle, its two logs and `run.json` to the folder `out`.

    A run that was stopped goes on after its last finished epoch and ends with the same weights. A method
    without stages leaves its initial weights. Started by `torchrun`, the processes share every batch, and the
    first one writes; another number of processes does not go on with the work of a stopped run.

    Args:
        settings: see `PretrainSettings`.
        data_root: prepared dataset.
        tokens_root: its tokens.
        out: bundle folder.
        work: folder for unfinished work; this training uses the subfolder named after all its inputs.
        code: digest of the code; part of that name, so that changed code starts afresh.

    Raises:
        InputError: a setting, the data or a loss does not allow to train.
    """
    with process_group():
        _pretrain(settings, data_root, tokens_root, out, work, code)


def _pretrain(
    settings: Mapping[str, Any], data_root: Path, tokens_root: Path, out: Path, work: Path, code: str
) -> None:
    clock = RunClock()
    chosen = PretrainSettings.parse(settings)
    data = PreparedDataset(data_root)
    chosen = name_findings(chosen, data)
    method, info = prepare_method(chosen, tokens_root)
    training = None
    if method.stages:
        info, training = _prepare_training(chosen, method, info, data, tokens_root, work, code)
        torch.manual_seed(derive_seed(chosen.seed, "noise"))
        training.run(method)
    if not is_first():
        return
    tokenizer = None if info.text is None else tokens_root / "tokenizer.json"
    save_bundle(out, method, info, tokenizer)
    names = ["stage", "epoch", "step", "learning_rate", "total"]
    _write_log(out / "training.csv", names, training.rows if training else [])
    names = ["step", "images_per_second", "peak_memory_mib"]
    _write_log(out / "throughput.csv", names, training.speeds if training else [])
    write_json(out / "run.json", run_manifest(clock, **_throughput(training)))
    if training:
        training.checkpoint.unlink(missing_ok=True)


def _prepare_training(
    chosen: PretrainSettings,
    method: Method,
    info: BundleInfo,
    data: PreparedDataset,
    tokens_root: Path,
    work: Path,
    code: str,
) -> tuple[BundleInfo, Training]:
    device = choose_device()
    precision = resolve_precision(chosen.precision, device)
    where = f"{data.root}, preset {chosen.preset}"
    tokens = ReportTokens.load(tokens_root / "tokens.npz")
    train = data.select(chosen.preset, 0, "train")
    pairs = find_pairs(train, tokens, chosen.seed, chosen.shuffle_pairs, where)
    if chosen.reports == "labels":
        tokens = label_reports(data, train, pairs.studies.tolist(), tokens_root)
    hashes = {
        "prepared": str(data.manifest["content_hash"]),
        "tokens": digest(read_json(tokens_root / "manifest.json")),
    }
    inputs = {"settings": chosen.model_dump(mode="json"), "precision": precision, "code": code, **hashes}
    key = digest({**inputs, "processes": processes()})
    epochs = share_epochs(method.stages, chosen.epochs)
    info = info.model_copy(
        update={
            "pretraining_data": data.name,
            "preset": chosen.preset,
            "simulated": bool(data.manifest["simulated"]),
            "shuffle_pairs": chosen.shuffle_pairs,
            "reports": chosen.reports,
            "training": chosen.model_dump(
                mode="json", include={"epochs", "batch_size", "weight_decay", "augmentation", "image"}
            ),
            "precision": precision,
            "n_pretrain_pairs": len(pairs),
            "samples_seen": len(pairs) * chosen.epochs,
            "trained_on": _patients(pairs, data),
            "data": {**info.data, **hashes},
        }
    )
    batches = _Batches(chosen, data, tokens, pairs, device, method)
    plan = list(zip(method.stages, epochs, strict=True))
    steps = pairs.steps(chosen.batch_size)
    smallest = len(pairs) // steps
    if smallest < processes():
        raise InputError(
            f"{where}: the smallest batch has {smallest} pairs, too few for {processes()} processes; start "
            "fewer, or raise pretraining.batch_size"
        )
    LOG.info("%d pairs, %d steps per epoch, %s on %s", len(pairs), steps, precision, device)
    training = Training(plan, batches, steps, chosen.weight_decay, precision, device, work / key)
    return info, training


class _Batches:
    """Augmented batches of an epoch; called by the loop."""

    def __init__(
        self,
        chosen: PretrainSettings,
        data: PreparedDataset,
        tokens: ReportTokens,
        pairs: TrainingPairs,
        device: torch.device,
        method: Method,
    ) -> None:
        self.chosen = chosen
        self.device = str(device)
        self.strengths = _strengths(chosen)
        self.pixels = data.pixels(chosen.image.size, chosen.image.fit)
        self.tokens = tokens
        self.pairs = pairs
        self.second_view = "second_view" in method.needs
        self.labels = None
        if "labels" in method.needs:
            self.labels = training_labels(data, pairs.images, method.findings, chosen.method)

    def __call__(self, epoch: int) -> Iterator[Batch]:
        generator = self._generator(f"augmentation {epoch}")
        # Its own generator: the first view stays the one that all other methods see.
        second = self._generator(f"second view {epoch}")
        for rows, studies in self.pairs.batches(self.chosen.seed, epoch, self.chosen.batch_size):
            own = own_part(len(rows))
            images = load_images(self.pixels, rows[own], self.device)
            # Padded as the whole batch, so that noise per token is that of the whole batch, too.
            padded = self.tokens.batch(studies)
            reports = {name: torch.from_numpy(array[own]) for name, array in padded.items()}
            batch = Batch(images=augment(images, generator, self.strengths, len(rows), own), **reports)
            if self.second_view:
                batch.second_view = augment(images, second, self.strengths, len(rows), own)
            if self.labels is not None:
                batch.labels = torch.tensor(self.labels.loc[rows[own]].to_numpy())
            yield batch

    def _generator(self, purpose: str) -> torch.Generator:
        return torch.Generator().manual_seed(derive_seed(self.chosen.seed, purpose))


def _strengths(chosen: PretrainSettings) -> Augmentation:
    given = chosen.augmentation
    return Augmentation(
        crop=(given.crop, 1.0),
        rotation=given.rotation,
        brightness=given.brightness,
        contrast=given.contrast,
    )


def _patients(pairs: TrainingPairs, data: PreparedDataset) -> list[str]:
    family = data.manifest.get("patient_family")
    if family is None:
        return []
    keys = patient_keys(pairs.images, family, data.name).unique()
    return hash_patients(keys)


def _throughput(training: Training | None) -> dict[str, Any]:
    if training is None or not training.seconds:
        return {}
    return {
        "device": str(training.device),
        "images_per_second": round(training.samples / training.seconds, 2),
        "training_seconds": round(training.seconds, 2),
        "processes": processes(),
    }


def _write_log(path: Path, first: Sequence[str], rows: Sequence[LogRow]) -> None:
    names = list(dict.fromkeys([*first, *(name for row in rows for name in row)]))
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)
