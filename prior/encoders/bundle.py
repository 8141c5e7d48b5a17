"""Bundles: what pre-training leaves behind and all that a downstream task ever sees."""

import hashlib
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from prior.data.files import atomic_path, read_json, write_json
from prior.encoders.image import ImageEncoder, ImageEncoderConfig
from prior.encoders.text import TextEncoderConfig
from prior.errors import InputError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from prior.methods.base import Method

IMAGE_WEIGHTS = "image_encoder.safetensors"
ALL_WEIGHTS = "model.safetensors"
TOKENIZER = "tokenizer.json"
INFO = "bundle.json"


class BundleInfo(BaseModel):
    """Content of `bundle.json`: the same inputs give the same file.

    Attributes:
        method: name in `prior.methods.METHODS`.
        variant: label of the rows; the variant of a method that has several is among its settings.
        settings: the method's own settings.
        image: architecture and normalisation of the image encoder.
        text: architecture of the text encoder, None where there is no text.
        pretrain_seed: seed of weights, order, augmentation and noise.
        pretraining_data: dataset name, empty if nothing was trained.
        preset: split preset whose training part was used.
        simulated: the images and reports come from the phantom.
        shuffle_pairs: control in which reports were dealt to the wrong images.
        reports: `written`, or `labels` in the control whose reports state labels only.
        training: settings of the loop.
        precision: number format that was used.
        n_pretrain_pairs: studies with image and report.
        samples_seen: image–report presentations.
        parameters: number of weights of the image encoder (`image`) and of the whole model (`all`).
        trained_on: `prior.provenance.patient_hash` of every training patient, sorted; empty if unknown.
        data: content hashes of what was read.
        files: sha256 of the weight and tokenizer files.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: str
    variant: str
    settings: dict[str, Any]
    image: ImageEncoderConfig
    text: TextEncoderConfig | None
    pretrain_seed: int
    pretraining_data: str = ""
    preset: str = ""
    simulated: bool = False
    shuffle_pairs: bool = False
    reports: str = "written"
    training: dict[str, Any] = {}
    precision: str = "fp32"
    n_pretrain_pairs: int = 0
    samples_seen: int = 0
    parameters: dict[str, int] = {}
    trained_on: list[str] = []
    data: dict[str, str] = {}
    files: dict[str, str] = {}


class Bundle:
    """A bundle folder whose description has been read; weights are read on demand.

    Attributes:
        path: the folder.
        info: its description.
    """

    def __init__(self, path: Path, info: BundleInfo) -> None:
        self.path = path
        self.info = info

    @property
    def name(self) -> str:
        """Name of the folder, `<method>-<variant>-s<seed>`."""
        return self.path.name

    @property
    def has_text(self) -> bool:
        """Whether the bundle can score images against reports or prompts."""
        return self.info.text is not None

    def image_encoder(self) -> ImageEncoder:
        """Return the image encoder in evaluation mode.

        Raises:
            InputError: the weights are missing, altered, or do not fit the architecture.
        """
        with torch.random.fork_rng(devices=[]):
            encoder = ImageEncoder(self.info.image)
        _load(encoder.network, self._weights(IMAGE_WEIGHTS), self.path / IMAGE_WEIGHTS)
        return encoder.eval()

    def method(self) -> "Method | None":
        """Return the whole model in evaluation mode, None where there is no text.

        Raises:
            InputError: the weights are missing, altered, or do not fit the architecture.
        """
        if self.info.text is None:
            return None
        with torch.random.fork_rng(devices=[]):
            method = build_method(self.info)
        _load(method, self._weights(ALL_WEIGHTS), self.path / ALL_WEIGHTS)
        return method.eval()

    def tokenizer(self) -> "Tokenizer":
        """Return the tokenizer that the text encoder was trained with."""
        from prior.reports.tokens import load_tokenizer

        return load_tokenizer(self._checked(TOKENIZER))

    def _weights(self, file: str) -> dict[str, Tensor]:
        path = self._checked(file)
        try:
            return load_file(path)
        except SafetensorError as error:
            raise InputError(f"{path} is no safetensors file ({error}); pre-train again") from None

    def _checked(self, file: str) -> Path:
        path = self.path / file
        expected = self.info.files.get(file)
        if expected is None or not path.is_file():
            raise InputError(f"{path} is missing or not listed in {self.path / INFO}; pre-train again")
        if _sha256(path) != expected:
            raise InputError(f"{path} is not the file that {self.path / INFO} describes; pre-train again")
        return path


def build_method(info: BundleInfo) -> "Method":
    """Build the untrained method that `info` describes."""
    from prior.methods import METHODS

    if info.method not in METHODS:
        raise InputError(f"unknown method {info.method!r}; known: {', '.join(sorted(METHODS))}")
    text = info.text or TextEncoderConfig(vocab_size=1)
    method: Method = import_module(METHODS[info.method]).build(info.settings, info.image, text)
    return method


def save_bundle(path: Path, method: "Method", info: BundleInfo, tokenizer_path: Path | None) -> BundleInfo:
    """Write the folder `path`; `bundle.json` comes last, so a folder with it is whole.

    Args:
        path: folder.
        method: trained model.
        info: description; `files` and `parameters` are filled in here.
        tokenizer_path: copied to `tokenizer.json`; None where there is no text.

    Returns:
        The completed description.
    """
    path.mkdir(parents=True, exist_ok=True)
    _save(method.image_encoder.network, path / IMAGE_WEIGHTS)
    _save(method, path / ALL_WEIGHTS)
    files = [IMAGE_WEIGHTS, ALL_WEIGHTS]
    if tokenizer_path is not None:
        with atomic_path(path / TOKENIZER) as temporary:
            temporary.write_bytes(tokenizer_path.read_bytes())
        files.append(TOKENIZER)
    counts = {"image": _count(method.image_encoder), "all": _count(method)}
    hashes = {file: _sha256(path / file) for file in files}
    info = info.model_copy(update={"files": hashes, "parameters": counts})
    write_json(path / INFO, info.model_dump(mode="json"))
    return info


def load_bundle(path: Path) -> Bundle:
    """Read the description of the bundle folder `path`.

    Raises:
        InputError: there is no bundle, or its description is not valid.
    """
    try:
        info = BundleInfo.model_validate(read_json(path / INFO))
    except FileNotFoundError:
        raise InputError(f"{path / INFO} is missing; run the pre-training that makes this bundle") from None
    except (ValidationError, ValueError) as error:
        raise InputError(f"{path / INFO} is not valid ({error}); pre-train again") from None
    return Bundle(path, info)


def _save(module: nn.Module, path: Path) -> None:
    # Clones: safetensors refuses tensors that share memory, and channels-last ones.
    tensors = {name: t.detach().cpu().contiguous().clone() for name, t in module.state_dict().items()}
    with atomic_path(path) as temporary:
        save_file(tensors, temporary)


def _load(module: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    try:
        module.load_state_dict(tensors, strict=True)
    except RuntimeError as error:
        raise InputError(f"{path} does not fit the architecture in {path.parent / INFO}: {error}") from None


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
