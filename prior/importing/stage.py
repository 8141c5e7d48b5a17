"""From a checkpoint to a bundle: what `prior import` and the pre-training of method `imported` do."""

import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from prior.data.files import write_json, write_text
from prior.encoders.bundle import TOKENIZER, BundleInfo, save_bundle
from prior.errors import InputError
from prior.importing.encoder import ImportedEncoder, import_encoder
from prior.importing.layout import Layout
from prior.importing.reading import read_checkpoint
from prior.importing.recognise import AUTO, chosen
from prior.importing.settings import ImportSettings
from prior.importing.text_layout import TEXT_LAYOUTS
from prior.importing.text_side import ImportedText, import_text
from prior.importing.text_tokenizer import tokenizer_for
from prior.methods.imported import Imported
from prior.methods.parsing import parse_settings
from prior.provenance import RunClock, run_manifest
from prior.reports.wordpiece import save_tokenizer

LOG = logging.getLogger(__name__)
NAME = "imported"


def import_stage(settings: Mapping[str, Any], out: Path) -> None:
    """Make the bundle that an entry of `method_settings` describes.

    Args:
        settings: `variant`, `seed`, `image` (size) and `settings`, see `ImportSettings`.
        out: bundle folder.

    Raises:
        InputError: names the file and what is wrong with it, or the setting.
    """
    given = parse_settings(ImportSettings, settings["settings"], NAME)
    import_bundle(given, out, settings["variant"], settings["image"]["size"], settings["seed"])


def import_file(
    path: Path,
    out: Path,
    layout: str = AUTO,
    encoder: str | None = None,
    size: int | None = None,
    tokenizer: str | None = None,
    text_checkpoint: Path | None = None,
) -> None:
    """Make a bundle of the checkpoint `path` by hand; the name of the folder `out` labels its rows.

    Raises:
        InputError: as `import_bundle`.
    """
    said = {"checkpoint": str(path), "layout": layout, "encoder": encoder, "tokenizer": tokenizer}
    text = None if text_checkpoint is None else str(text_checkpoint)
    given = parse_settings(ImportSettings, {**said, "text_checkpoint": text}, NAME)
    import_bundle(given, out, out.name, size, 0)


def import_bundle(given: ImportSettings, out: Path, variant: str, size: int | None, seed: int) -> None:
    """Read the checkpoint, recognise its layout and write the bundle, with an empty training log.

    Args:
        given: what the user says of the file.
        out: bundle folder.
        variant: label of the rows.
        size: side of the input in pixels; None takes the size that the release was trained on.
        seed: number in the name of the bundle.

    Raises:
        InputError: the file cannot be read, its layout is unknown or its weights do not fit.
    """
    clock = RunClock()
    path = Path(given.checkpoint)
    weights = read_checkpoint(path)
    own = None if given.text_checkpoint is None else read_checkpoint(Path(given.text_checkpoint))
    try:
        shapes = {name: tuple(value.shape) for name, value in weights.items()}
        layout = chosen(shapes, given.layout, given.encoder)
        found = import_encoder(weights, layout, given, size or layout.size)
        text = None if given.tokenizer is None else import_text(weights, layout, found.encoder, own)
    except InputError as error:
        raise InputError(f"checkpoint {path}: {error}") from None
    corpora = given.corpora()
    trained_on = [corpus.record() for corpus in layout.trained_on] if corpora is None else corpora
    facts = {
        "layout": layout.name,
        "source": layout.source,
        "licence": layout.licence,
        "trained_on": trained_on,
    }
    data = {"checkpoint": _sha256(path)}
    if given.text_checkpoint is not None:
        data["text_checkpoint"] = _sha256(Path(given.text_checkpoint))
    info = BundleInfo(
        method=NAME,
        variant=variant,
        settings=facts if text is None else {**facts, "pair": text.settings.model_dump()},
        image=found.encoder.config,
        text=None if text is None else text.config,
        pretrain_seed=seed,
        pretraining_data="+".join(corpus["corpus"] for corpus in trained_on),
        data=data,
    )
    LOG.info("%s", summary(path, layout, found, text))
    if given.tokenizer is None or text is None:
        method = Imported(found.encoder.config)
        method.image_encoder = found.encoder
        save_bundle(out, method, info, None)
    else:
        tokenizer = tokenizer_for(given.tokenizer, text.config.vocab_size)
        with TemporaryDirectory() as folder:
            save_tokenizer(tokenizer, Path(folder) / TOKENIZER)
            save_bundle(out, text.method, info, Path(folder) / TOKENIZER)
    write_text(out / "training.csv", "stage,epoch,step,learning_rate,total\n")
    write_json(out / "run.json", run_manifest(clock))


def summary(path: Path, layout: Layout, found: ImportedEncoder, text: ImportedText | None) -> str:
    """Say in one line what was recognised, taken and left out."""
    config = found.encoder.config
    others = ", ".join(f"{part} {count}" for part, count in found.left_out.most_common())
    return (
        f"{path}: recognised as {layout.name}, {layout.title} (names of {layout.source}): {found.taken} "
        f"weights of {config.name} at {config.input_size} px, trained at {layout.size} px; "
        f"{found.left_out.total()} left out{f' ({others})' if others else ''}; {_text(layout, text)}; "
        f"licence: {layout.licence}" + (f"; {layout.note}" if layout.note else "")
    )


def _text(layout: Layout, text: ImportedText | None) -> str:
    if text is None:
        more = ", `tokenizer` adds the text side" if layout.name in TEXT_LAYOUTS else ""
        return f"image encoder alone{more}"
    config = text.config
    return (
        f"of the text side {text.taken} weights, {config.layers} layers of width {config.width}, "
        f"{config.vocab_size} words, at most {config.max_tokens} tokens"
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
