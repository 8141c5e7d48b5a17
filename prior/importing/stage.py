"""From a checkpoint to a bundle: what `prior import` and the pre-training of method `imported` do."""

import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prior.data.files import write_json, write_text
from prior.encoders.bundle import BundleInfo, save_bundle
from prior.errors import InputError
from prior.importing.encoder import ImportedEncoder, import_encoder
from prior.importing.layout import Layout
from prior.importing.reading import read_checkpoint
from prior.importing.recognise import AUTO, chosen
from prior.importing.settings import ImportSettings
from prior.methods.imported import Imported
from prior.methods.parsing import parse_settings
from prior.provenance import RunClock, run_manifest

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
    path: Path, out: Path, layout: str = AUTO, encoder: str | None = None, size: int | None = None
) -> None:
    """Make a bundle of the checkpoint `path` by hand; the name of the folder `out` labels its rows."""
    given = ImportSettings(checkpoint=str(path), layout=layout, encoder=encoder)
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
    try:
        shapes = {name: tuple(value.shape) for name, value in weights.items()}
        layout = chosen(shapes, given.layout, given.encoder)
        found = import_encoder(weights, layout, given, size or layout.size)
    except InputError as error:
        raise InputError(f"checkpoint {path}: {error}") from None
    LOG.info("%s", summary(path, layout, found))
    corpora = given.corpora()
    trained_on = [corpus.record() for corpus in layout.trained_on] if corpora is None else corpora
    method = Imported(found.encoder.config)
    method.image_encoder = found.encoder
    info = BundleInfo(
        method=NAME,
        variant=variant,
        settings={
            "layout": layout.name,
            "source": layout.source,
            "licence": layout.licence,
            "trained_on": trained_on,
        },
        image=found.encoder.config,
        text=None,
        pretrain_seed=seed,
        pretraining_data="+".join(corpus["corpus"] for corpus in trained_on),
        data={"checkpoint": _sha256(path)},
    )
    save_bundle(out, method, info, None)
    write_text(out / "training.csv", "stage,epoch,step,learning_rate,total\n")
    write_json(out / "run.json", run_manifest(clock))


def summary(path: Path, layout: Layout, found: ImportedEncoder) -> str:
    """Say in one line what was recognised, taken and left out."""
    config = found.encoder.config
    others = ", ".join(f"{part} {count}" for part, count in found.left_out.most_common())
    return (
        f"{path}: recognised as {layout.name}, {layout.title} (names of {layout.source}): {found.taken} "
        f"weights of {config.name} at {config.input_size} px, trained at {layout.size} px; "
        f"{found.left_out.total()} left out{f' ({others})' if others else ''}; licence: {layout.licence}"
        + (f"; {layout.note}" if layout.note else "")
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
