"""`prior export`: a bundle as files that timm, transformers and ONNX runtimes load without this package."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prior.data.files import write_text
from prior.errors import InputError
from prior.export.image_folder import write_image_encoder
from prior.export.inputs import open_bundle, require_absent
from prior.export.model_card import model_card
from prior.export.onnx_graph import require_packages, write_onnx
from prior.export.text_folder import write_text_encoder

RESULTS = Path("results/results.csv")


def export(bundle_path: Path, out: Path, results: Path | None = None) -> None:
    """Write the folder `out`, whole and checked, or nothing.

    It holds `image_encoder/` (timm), `image_encoder.onnx`, `text_encoder/` (transformers; where the bundle
    has text) and the model card `README.md`.

    Args:
        bundle_path: folder of the bundle.
        out: folder that does not exist yet.
        results: `results.csv` with the bundle's measurements; None takes `results/results.csv` if present.

    Raises:
        InputError: there is no bundle, `out` exists, `results` is missing, a package is not installed, or an
            exported file does not compute what the bundle computes.
    """
    require_packages()
    bundle = open_bundle(bundle_path)
    require_absent(out)
    if results is not None and not results.is_file():
        raise InputError(f"{results} does not exist; give the results.csv of the experiment, or leave it out")
    measured = results or (RESULTS if RESULTS.is_file() else None)
    encoder = bundle.image_encoder()
    with _atomic_folder(out) as folder:
        write_image_encoder(encoder, folder / "image_encoder")
        write_onnx(encoder, bundle, folder / "image_encoder.onnx")
        if bundle.has_text:
            write_text_encoder(bundle, folder / "text_encoder")
        card = folder / "README.md"
        write_text(card, model_card(bundle, encoder, measured))
        # safetensors makes files that only their owner can read.
        for weights in folder.rglob("*.safetensors"):
            shutil.copymode(card, weights)


@contextmanager
def _atomic_folder(out: Path) -> Iterator[Path]:
    """Yield a new folder beside `out`; rename it to `out` if the block succeeds, else remove it."""
    temporary = out.with_name(f".{out.name}.{os.getpid()}")
    temporary.mkdir(parents=True)
    try:
        yield temporary
        temporary.rename(out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
