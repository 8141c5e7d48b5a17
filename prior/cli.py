"""The subcommands: one per arrow of the flow. Snakemake calls them; each can be called by hand."""

import gc
import json
import logging
import sys
from pathlib import Path
from typing import Annotated

import typer

from prior.errors import InputError

app = typer.Typer(
    help="Benchmark of image encoders that were pre-trained on radiology reports.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Settings = Annotated[
    str, typer.Option(help="Canonical JSON of all settings of the job, as in the rule's params.")
]
Out = Annotated[Path, typer.Option(help="The file to write; its siblings belong to the same job.")]
Folder = Annotated[Path, typer.Option(help="Folder to write to.")]
Workers = Annotated[int, typer.Option(min=1, help="Processes.")]
Code = Annotated[str, typer.Option(help="Digest of the job's code; other code does not resume its work.")]
BundleFile = Annotated[Path, typer.Option(help="bundle.json of the bundle.")]
Manifest = Annotated[Path, typer.Option(help="manifest.json of the prepared data set.")]
Files = Annotated[list[Path], typer.Argument(help="Input files.")]
BundleFolder = Annotated[
    Path, typer.Argument(help="Folder of a bundle, such as models/convirt-default-s0.", show_default=False)
]


CELLS, FEATURES = Path(".work/cells"), Path(".work/features")

protocol_app = typer.Typer(help="What a protocol says.", no_args_is_help=True)
app.add_typer(protocol_app, name="protocol")


@protocol_app.command("list")
def list_protocols() -> None:
    """List every family with its tasks and settings."""
    from prior.protocols.show import families, settings

    for family in families():
        for task, setting in settings(family):
            print(family, task, setting)


@protocol_app.command("show")
def show_protocol(
    family: Annotated[str, typer.Argument(help="Protocol family, for instance strict_small.")],
    task: Annotated[str, typer.Argument(help="Task, for instance segmentation.")],
    setting: Annotated[str | None, typer.Argument(help="One setting; all by default.")] = None,
) -> None:
    """Print every knob with its value and the source of the value."""
    from prior.protocols.show import show

    print(show(family, task, setting))


@app.command()
def simulate(settings: Settings, out: Out, workers: Workers = 1) -> None:
    """Write the raw folder of a simulated data set, in the real one's format."""
    from prior.phantom.archives import simulate_archive
    from prior.phantom.simulate import simulate as simulate_hospital
    from prior.phantom.writers import SIMULATORS

    given = json.loads(settings)
    run = simulate_archive if given["reader"] in SIMULATORS else simulate_hospital
    run(given["reader"], out.parent, given["images"], given["seed"], given["image_size"], workers)


@app.command()
def prepare(
    dataset: Annotated[str | None, typer.Argument(help="Reader, such as chexpert or folder.")] = None,
    root: Annotated[Path | None, typer.Option(help="What was downloaded: a folder, .zip or .tar.gz.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder to make.", show_default="data/prepared/<dataset>")
    ] = None,
    workers: Workers = 1,
    size: Annotated[int, typer.Option(min=8, help="Side of the stored images.")] = 224,
    fit: Annotated[str, typer.Option(help="pad or stretch.")] = "pad",
    max_unreadable: Annotated[
        int, typer.Option(min=0, help="Images that may be missing or corrupt; they are listed and left out.")
    ] = 0,
    settings: Annotated[
        str | None, typer.Option(help="Canonical JSON of the workflow's job; --out is its manifest.json.")
    ] = None,
) -> None:
    """Turn a download into verified records, an image store, splits and a manifest, or say what is wrong."""
    if settings is None:
        if dataset is None or root is None:
            raise InputError("give a data set and its folder, such as `prior prepare chexpert --root FOLDER`")
        from prior.data.intake import take_in

        take_in(dataset, root, out or Path("data/prepared", dataset), size, fit, workers, max_unreadable)
        return
    if out is None or dataset is not None or root is not None:
        raise InputError(
            "--settings is for the workflow: it needs --out and takes neither data set nor --root"
        )
    from prior.data.prepare import prepare as run

    given = json.loads(settings)
    run(
        given["reader"],
        Path(given["root"]),
        out.parent,
        size=given["size"],
        fits=(given["fit"],),
        presets=given["presets"],
        simulated=given["simulated"],
        workers=workers,
        max_unreadable=given["max_unreadable"],
    )


@app.command()
def leaks(settings: Settings, out: Out) -> None:
    """Count what training and test images of different data sets share; patients in strict are an error."""
    from prior.data.shared import shared_between_datasets

    shared_between_datasets(json.loads(settings), Path("data/prepared"), out)


@app.command("check-data")
def check_data(manifests: Files, out: Out) -> None:
    """Confirm that every data set was prepared; pre-training waits for this."""
    from prior.data.files import read_json, write_json

    write_json(out, {manifest.parent.name: bool(read_json(manifest)) for manifest in manifests})


@app.command("split-sentences")
def split_sentences(
    out: Annotated[Path, typer.Argument(help="sentences.parquet to write.")], workers: Workers = 1
) -> None:
    """Split the reports of a prepared data set into sentences."""
    from prior.reports.sentences import split_sentences_stage

    split_sentences_stage(out.parent, workers)


@app.command()
def tokenize(
    settings: Settings, prepared: Annotated[Path, typer.Option(help="sentences.parquet")], out: Out
) -> None:
    """Train a tokenizer on training reports (or read one) and store token ids."""
    from prior.reports.tokens import tokenize as run

    given = json.loads(settings)
    run(
        prepared.parent,
        out.parent,
        preset=given["preset"],
        vocab_size=given["vocab_size"],
        max_sentences=given["max_sentences"],
        max_tokens=given["max_tokens"],
        tokenizer_path=Path(given["tokenizer"]) if given["tokenizer"] else None,
    )


@app.command()
def pretrain(
    settings: Settings,
    data: Annotated[Path, typer.Option(help="manifest.json of the prepared pairs.")],
    tokens: Annotated[Path, typer.Option(help="manifest.json of their tokens.")],
    out: Out,
    code: Code = "",
) -> None:
    """Pre-train one method, or import what others trained, and leave its bundle."""
    given = json.loads(settings)
    if given["method"] == "imported":
        from prior.importing.stage import import_stage

        import_stage(given, out.parent)
        return
    from prior.training.pretrain import pretrain as run

    run(given, data.parent, tokens.parent, out.parent, CELLS, code)


@app.command("import")
def import_checkpoint(
    checkpoint: Annotated[Path, typer.Argument(help="Weights of others: safetensors or torch.save.")],
    out: Annotated[Path, typer.Option(help="Bundle folder to make, such as models/mgca.")],
    layout: Annotated[str, typer.Option(help="How its weights are named, see docs/import.md.")] = "auto",
    encoder: Annotated[
        str | None, typer.Option(help="timm's name of the network, where the weights do not tell it.")
    ] = None,
    size: Annotated[
        int | None, typer.Option(min=16, help="Side of the images.", show_default="as it was trained")
    ] = None,
    tokenizer: Annotated[
        str | None, typer.Option(help="Its file, folder or hub name; with it, the text side comes too.")
    ] = None,
    text_checkpoint: Annotated[
        Path | None, typer.Option(help="File of the text side, where the release has one of its own.")
    ] = None,
) -> None:
    """Turn a checkpoint into a bundle, and say what was recognised."""
    from prior.importing.stage import import_file

    import_file(checkpoint, out, layout, encoder, size, tokenizer, text_checkpoint)


@app.command()
def evaluate(settings: Settings, bundle: BundleFile, data: Manifest, out: Out, code: Code = "") -> None:
    """Evaluate a bundle on one task and data set, and store the predictions of every cell."""
    from prior.data.files import write_json
    from prior.provenance import RunClock, run_manifest
    from prior.tasks.run import run_evaluation

    given = json.loads(settings)
    clock = RunClock()
    done = run_evaluation(
        bundle.parent,
        given["task"],
        data.parent,
        given["protocol"],
        given["setting"],
        given["fractions"],
        given["seeds"],
        out.with_suffix(""),
        CELLS,
        FEATURES,
        folds=given["folds"],
        code=code,
    )
    write_json(out.with_suffix(".run.json"), run_manifest(clock, **done))


@app.command()
def score(
    settings: Settings, predictions: Annotated[Path, typer.Option(help="The predictions, Parquet.")], out: Out
) -> None:
    """Compute metrics and their patient resamples from stored predictions."""
    from prior.metrics.score import score as run

    run(predictions.with_suffix(""), out.with_suffix(""), json.loads(settings)["resamples"])


@app.command()
def collect(settings: Settings, scores: Files, out: Out) -> None:
    """Gather all scores in one long table, with intervals and paired differences."""
    from prior.results.collect import collect as run

    cells = [Path("predictions", *path.with_suffix(".json").parts[1:]) for path in scores]
    given = json.loads(settings)
    run(scores, cells, out.parent, given["experiment"], given["ablations"], Path("data/prepared"))


@app.command()
def subgroups(settings: Settings, out: Out) -> None:
    """Compute the primary metrics by sex, age and view, and the largest gaps."""
    from prior.results.subgroups import subgroups as run

    given = json.loads(settings)
    stems = [Path("predictions", job) for job in given["jobs"]]
    run(stems, Path("data/prepared"), out, given["resamples"])


@app.command()
def schema() -> None:
    """Print the schema of params.yaml, as kept in workflow/schemas/."""
    import yaml

    from prior.params import schema as make

    print("# Generated by `prior schema > workflow/schemas/params.schema.yaml`; a test keeps it current.")
    print(yaml.safe_dump(make(), sort_keys=False), end="")


@app.command()
def tables(settings: Settings, out: Folder) -> None:
    """Write the tables as Markdown, CSV and LaTeX."""
    from prior.results.tables import tables as run

    given = json.loads(settings)
    run(out.parent, given["tasks"], given["ablations"], given["lovt18"])


@app.command()
def plots(settings: Settings, out: Folder) -> None:
    """Draw the plots and the example pictures as SVG and PNG."""
    from concurrent.futures import ProcessPoolExecutor

    from prior.results.cards import data_cards
    from prior.results.examples import examples
    from prior.results.plots import clear
    from prior.results.plots import plots as run
    from prior.results.roc import roc_figures

    given, prepared = json.loads(settings), Path("data/prepared")
    stems = [Path("predictions", job) for job in given["jobs"]]
    training = [Path("models", name, "training.csv") for name in given["trained"]]
    clear(out)
    with ProcessPoolExecutor(2) as pool:
        drawn = [
            pool.submit(run, out.parent, training, given["tasks"]),
            pool.submit(examples, stems, prepared, given["simulated"], out),
            pool.submit(roc_figures, stems, given["simulated"], out),
            pool.submit(data_cards, prepared, given["datasets"], out),
        ]
    for figures in drawn:
        figures.result()


@app.command("embedding-maps")
def embedding_maps(settings: Settings, out: Folder) -> None:
    """Draw the test images of every classified data set as the encoders see them, coloured by finding."""
    from prior.results.embeddings import embedding_maps as run

    given = json.loads(settings)
    stems = [Path("predictions", job) for job in given["jobs"]]
    run(stems, Path("models"), Path("data/prepared"), FEATURES, given["simulated"], out)


@app.command()
def page(settings: Settings, out: Out) -> None:
    """Write the self-contained page."""
    from prior.results.page import page as run

    run(out.parent, json.loads(settings), Path("data/prepared"))


@app.command()
def published(
    task: Annotated[str | None, typer.Option(help="Only this task.")] = None,
    dataset: Annotated[str | None, typer.Option(help="Only this data set.")] = None,
) -> None:
    """Print what papers report, as Markdown; it is never mixed with what was measured here."""
    from prior.results.published_tables import published_markdown

    print(published_markdown(task, dataset), end="")


@app.command()
def compare(
    old: Annotated[str | None, typer.Argument(help="Revision, results.csv, or a folder with one.")] = None,
    new: Annotated[str | None, typer.Argument(help="The other side.")] = None,
    against: Annotated[
        str | None, typer.Option(help="Old side; the new one is what is given, or the working results.")
    ] = None,
    published: Annotated[bool, typer.Option("--published", help="Compare with what papers report.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of Markdown.")] = False,
) -> None:
    """Print what changed between two results, and whether beyond the noise."""
    from prior.results.change_report import compare as run

    print(run([old, new], against, published, as_json))


@app.command()
def export(
    bundle: BundleFolder,
    out: Annotated[Path, typer.Option(help="Folder to make.")],
    results: Annotated[
        Path | None,
        typer.Option(
            help="Table of measurements for the model card.", show_default="results/results.csv, if any"
        ),
    ] = None,
) -> None:
    """Write a bundle for timm, transformers and ONNX runtimes, with a model card."""
    from prior.export.export import export as run

    run(bundle, out, results)


@app.command()
def embed(
    bundle: BundleFolder,
    images: Annotated[list[Path], typer.Argument(help="PNG, JPEG or DICOM files, or folders of them.")],
    out: Annotated[
        Path | None, typer.Option(help=".jsonl or .parquet file to write.", show_default="print JSON lines")
    ] = None,
) -> None:
    """Write one embedding per image."""
    from prior.export.embed import embed as run

    run(bundle, images, out)


@app.command("zero-shot")
def zero_shot(
    image: Annotated[Path, typer.Argument(help="PNG, JPEG or DICOM file.")],
    bundle: Annotated[Path, typer.Option(help="Folder of a bundle that was trained on reports.")],
    prompts: Annotated[str, typer.Option(help="YAML file of prompts, or findings separated by commas.")],
    picture: Annotated[
        Path | None, typer.Option(help="Draw the heat map of every finding to this .png or .svg.")
    ] = None,
) -> None:
    """Score findings on one image by prompts, without training."""
    from prior.export.zero_shot import zero_shot as run

    print(json.dumps(run(image, bundle, prompts, picture), indent=1))


def main() -> None:
    """Run the command line; show an `InputError` as one message without a traceback."""
    # Imports of torch make a million lasting objects: looking for garbage among them costs a second per job.
    gc.set_threshold(100_000, 50, 1000)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    logging.getLogger("prior").setLevel(logging.INFO)
    try:
        app()
    except InputError as error:
        sys.exit(f"error: {error}")
