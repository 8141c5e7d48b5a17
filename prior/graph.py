"""The matrix of jobs: which files an experiment consists of, and which settings and code each job depends on.

The Snakefile asks this module and nothing else, so that the graph is one function of `Params`.
"""

import hashlib
import json
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

from prior.datasets import READERS
from prior.digest import code_digest
from prior.encoders.weights import HUB, check_weights
from prior.errors import InputError
from prior.methods import METHODS, WITHOUT_TEXT
from prior.params import Evaluation, MethodSettings, Params
from prior.protocols import Protocol, load_protocol, load_sources
from prior.protocols.show import settings as protocol_settings
from prior.results import names
from prior.tasks import TASKS


def canonical(value: Any) -> str:
    """Serialise settings so that equal settings give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


class Graph:
    """Files, settings and code digests of one experiment.

    Args:
        params: validated settings.
        project: folder of params.yaml, from which relative paths in it start.
    """

    def __init__(self, params: Params, project: Path):
        self.params = params
        self.project = project

    # files ----------------------------------------------------------------------------------------------

    @cached_property
    def bundles(self) -> dict[str, tuple[MethodSettings, int]]:
        """Bundle name → its method settings and pre-training seed, in the order of `methods`."""
        found: dict[str, tuple[MethodSettings, int]] = {}
        for name in self.params.methods:
            settings = self.params.method_settings[name]
            for seed in self.params.pretraining.seeds:
                found[settings.bundle(seed)] = (settings, seed)
        return found

    @cached_property
    def datasets(self) -> list[str]:
        """Data sets that pre-training or an evaluation uses; others in `datasets` are left alone."""
        used = [self.params.pretraining.dataset, *(e.dataset for e in self.params.evaluations)]
        return list(dict.fromkeys(used))

    @cached_property
    def evaluations(self) -> dict[str, Evaluation]:
        """Stem below `predictions/` → evaluation."""
        return {evaluation.stem: evaluation for evaluation in self.params.evaluations}

    def jobs(self, task: str | None = None) -> list[str]:
        """`<evaluation stem>/<bundle>` of every evaluation job, of one task if given."""
        return [
            f"{stem}/{bundle}"
            for stem, evaluation in self.evaluations.items()
            for bundle, (settings, _) in self.bundles.items()
            if task in (None, evaluation.task)
            and (evaluation.methods is None or settings.method in evaluation.methods)
            and (evaluation.task not in TEXT_TASKS or _reads_text(settings))
        ]

    def data_files(self) -> list[str]:
        """Every versioned file of the data phase that a rule declares."""
        size, fit = self.params.image.size, self.params.image.fit
        files = [
            f"data/prepared/{name}/{file}"
            for name in self.datasets
            for file in ["images.parquet", f"images_{size}_{fit}.npy", "manifest.json"]
        ]
        name = self.params.pretraining.dataset
        files.append(f"data/prepared/{name}/sentences.parquet")
        return files + [f"data/tokens/{name}/{file}" for file in TOKEN_FILES] + [LEAKS, "data/checked.json"]

    def model_files(self) -> list[str]:
        """Every versioned file of pre-training that a rule declares."""
        return [f"models/{bundle}/{file}" for bundle in self.bundles for file in BUNDLE_FILES]

    def score_files(self, task: str | None = None) -> list[str]:
        """Predictions and scores of all evaluation jobs, of one task if given."""
        kinds = [
            ("predictions", "parquet"),
            ("predictions", "json"),
            ("scores", "parquet"),
            ("scores", "npz"),
        ]
        return [f"{folder}/{job}.{suffix}" for job in self.jobs(task) for folder, suffix in kinds]

    # settings: each holds all that its job depends on, wildcards included ----------------------------------

    def simulate_settings(self, dataset: str) -> dict[str, Any]:
        """Arguments of the simulator for one data set."""
        settings = self.params.datasets[dataset]
        return {
            "dataset": dataset,
            "reader": settings.reader,
            "images": settings.images,
            **self.params.phantom.model_dump(),
        }

    def prepare_settings(self, dataset: str) -> dict[str, Any]:
        """Arguments of preparation for one data set; `root` is where the raw folder lies."""
        settings = self.params.datasets[dataset]
        root = f"data/raw/{dataset}" if settings.root is None else str(self.raw_root(dataset))
        return {
            "dataset": dataset,
            "reader": settings.reader,
            "root": root,
            "simulated": settings.root is None,
            "presets": settings.presets,
            "max_unreadable": settings.max_unreadable,
            **self.params.image.model_dump(),
        }

    def leak_settings(self) -> dict[str, Any]:
        """Which parts of the data sets are trained and tested on."""
        pretraining = self.params.pretraining
        evaluations = [
            {"dataset": found.dataset, "split": self.protocol(stem)["split"], "folds": found.folds}
            for stem, found in self.evaluations.items()
        ]
        return {
            "datasets": self.datasets,
            "pretraining": {"dataset": pretraining.dataset, "preset": pretraining.preset},
            "evaluations": evaluations,
        }

    def tokenize_settings(self) -> dict[str, Any]:
        """Arguments of tokenization of the pre-training reports."""
        text = self.params.text.model_dump()
        if text["tokenizer"] is not None:
            text["tokenizer"] = str(self.project / text["tokenizer"])
        return {
            "dataset": self.params.pretraining.dataset,
            "preset": self.params.pretraining.preset,
            **text,
        }

    def pretrain_settings(self, bundle: str) -> dict[str, Any]:
        """Arguments of one pre-training, or of the import of what others trained."""
        settings, seed = self.bundles[bundle]
        if settings.method == IMPORTED:
            return self._import_settings(bundle)
        shared = self.params.pretraining.model_dump(exclude={"seeds"})
        own = settings.model_dump()
        shared["epochs"] = own.pop("epochs") or shared["epochs"]
        for encoder in ("image_encoder", "text_encoder"):
            given = shared[encoder].get("pretrained")
            # A name that is no path here is left as it is: it may name a model of the hub.
            if given and (self.project / given).exists():
                shared[encoder] = {**shared[encoder], "pretrained": str(self.project / given)}
        weights = own["settings"].get("weights")
        if weights and weights != HUB:
            own["settings"] = {**own["settings"], "weights": str(self.project / weights)}
        return {
            **own,
            **shared,
            "seed": seed,
            "image": self.params.image.model_dump(),
            "text": self.params.text.model_dump(exclude={"tokenizer"}),
            "bundle": bundle,
        }

    def _import_settings(self, bundle: str) -> dict[str, Any]:
        """Arguments of one import; nothing that only trainings read, so that they do not make it stale."""
        settings, seed = self.bundles[bundle]
        own = settings.model_dump(include={"method", "variant", "settings"})
        files = {"checkpoint": str(self.project / str(own["settings"].get("checkpoint")))}
        text, tokenizer = (own["settings"].get(key) for key in ("text_checkpoint", "tokenizer"))
        if text:
            files["text_checkpoint"] = str(self.project / text)
        # A name that is no path here is left as it is: it may name a tokenizer of the hub.
        if tokenizer and (self.project / tokenizer).exists():
            files["tokenizer"] = str(self.project / tokenizer)
        return {
            **own,
            "settings": {**own["settings"], **files},
            "seed": seed,
            "image": self.params.image.model_dump(),
            "bundle": bundle,
        }

    def evaluate_settings(self, stem: str, bundle: str) -> dict[str, Any]:
        """Arguments of one evaluation job; the protocol's knobs are part of them."""
        return {
            **self.evaluations[stem].model_dump(exclude={"methods"}),
            "knobs": self.protocol(stem).knobs,
            "image": self.params.image.model_dump(),
            "bundle": bundle,
        }

    def score_settings(self) -> dict[str, Any]:
        """Arguments of the metrics and their patient resamples."""
        return self.params.statistics.model_dump()

    def results_settings(self) -> dict[str, Any]:
        """What the tables, plots and page name."""
        return {
            "experiment": self.params.experiment,
            "tasks": self.tasks(),
            "bundles": list(self.bundles),
            "trained": self.trained(),
            "ablations": self.has_variants(),
            "jobs": self.jobs(),
            "datasets": self.datasets,
            "simulated": any(self.params.datasets[name].root is None for name in self.datasets),
        }

    def table_settings(self) -> dict[str, Any]:
        """The same, and what is no code: metrics of the protocols, figures beside real results."""
        found = self.results_settings()
        text = b"" if found["simulated"] else PUBLISHED.read_bytes()
        metrics = {stem: self.protocol(stem).knobs.get("metrics") for stem in self.evaluations}
        found |= {"lovt18": self.has_lovt18(), "metrics": metrics}
        return {**found, "published": hashlib.sha256(text).hexdigest()[:16]}

    def subgroup_settings(self) -> dict[str, Any]:
        """Whose predictions are split by subgroup, and the resamples behind the intervals."""
        return {"jobs": self.jobs(), **self.score_settings()}

    def embedding_settings(self) -> dict[str, Any]:
        """Of which evaluations the test images are mapped."""
        return {"jobs": self.embedding_jobs(), "simulated": self.results_settings()["simulated"]}

    def page_settings(self) -> dict[str, Any]:
        """What the page shows beside the results: parameters in use, and the protocols (by their digest)."""
        params = self.params.model_dump(mode="json", exclude={"methods", "data_root"})
        params["datasets"] = {name: params["datasets"][name] for name in self.datasets}
        params["method_settings"] = {name: params["method_settings"][name] for name in self.params.methods}
        used = {(e.protocol, e.task, e.setting): None for e in self.evaluations.values()}
        stated = [[*place, load_protocol(*place).knobs, load_sources(*place)] for place in used]
        return {
            **self.table_settings(),
            "params": params,
            "protocols": [list(place) for place in used],
            "knobs": hashlib.sha256(canonical(stated).encode()).hexdigest()[:16],
        }

    def protocol(self, stem: str) -> Protocol:
        """The knobs of one evaluation."""
        evaluation = self.evaluations[stem]
        return load_protocol(evaluation.protocol, evaluation.task, evaluation.setting)

    def trained(self) -> list[str]:
        """Bundles that a pre-training made, and that have losses to show."""
        return [name for name, (settings, _) in self.bundles.items() if settings.method not in UNTRAINED]

    def has_variants(self) -> bool:
        """Whether a method runs in several variants, so that there is an ablation to tabulate."""
        own = [settings for settings, _ in self.bundles.values() if settings.method != IMPORTED]
        variants = {(settings.method, settings.variant) for settings in own}
        return len(variants) > len({method for method, _ in variants})

    def has_lovt18(self) -> bool:
        """Whether every setting of LoVT's family is evaluated, so that its table has no empty column."""
        run = {(e.task, e.setting) for e in self.evaluations.values() if e.protocol == "lovt"}
        return run == set(protocol_settings("lovt"))

    def result_files(self) -> list[str]:
        """Everything below `results/`, which Git keeps."""
        files = [*self.collected_files(), names.SUBGROUPS, *self.table_files(), *self.plot_files()]
        files += [*self.embedding_files(), "index.html"]
        return [f"results/{file}" for file in files]

    def collected_files(self) -> list[str]:
        """Outputs of `collect` below `results/`."""
        return names.collected_files(self.has_variants())

    def table_files(self) -> list[str]:
        """Tables below `results/`."""
        return names.table_files(self.tasks(), self.has_variants(), self.has_lovt18())

    def manifest_files(self) -> list[str]:
        """Manifests of the data sets in use, from which the page takes counts and hashes."""
        return [f"data/prepared/{name}/manifest.json" for name in self.datasets]

    def plot_files(self) -> list[str]:
        """Plots and example pictures below `results/`."""
        return names.plot_files(self.trained(), self.tasks(), self.jobs(), self.datasets)

    def embedding_jobs(self) -> list[str]:
        """Evaluations whose test images are mapped: of a data set that is classified, the first setting."""
        places = {"/".join(["classification", *place]) for place in names.embedding_places(self.jobs())}
        return [job for job in self.jobs() if job.rpartition("/")[0] in places]

    def embedding_files(self) -> list[str]:
        """Maps of test images below `results/`."""
        return names.embedding_files(self.jobs())

    def record_files(self) -> list[str]:
        """Manifests and image records of the data sets in use."""
        files = ("manifest.json", "images.parquet")
        return [f"data/prepared/{name}/{file}" for name in self.datasets for file in files]

    def tasks(self) -> list[str]:
        """Downstream tasks of the experiment, in the order of `evaluations`."""
        return list(dict.fromkeys(evaluation.task for evaluation in self.evaluations.values()))

    # code -------------------------------------------------------------------------------------------------

    def code(self, stage: str, name: str = "") -> str:
        """Code digest of a job: `name` is the data set, bundle or task that selects a registered module."""
        if stage == "pretrain" and self.bundles[name][0].method == IMPORTED:
            stage = "import"
        registered: dict[str, Callable[[], list[str]]] = {
            "simulate": lambda: [f"prior.phantom.writers.{self.params.datasets[name].reader}"],
            "prepare": lambda: [READERS[self.params.datasets[name].reader]],
            "pretrain": lambda: [METHODS[self.bundles[name][0].method]],
            "evaluate": lambda: [TASKS[name]],
        }
        modules = registered.get(stage, list)()
        return code_digest(*STAGE_MODULES[stage], *modules)

    # raw folders --------------------------------------------------------------------------------------------

    def raw_root(self, dataset: str) -> Path:
        """Folder of a real data set: `root` below `data_root` (if given), from the project's folder."""
        root = self.params.datasets[dataset].root
        if root is None:
            raise InputError(f"datasets.{dataset}.root is null: the data set is simulated")
        base = self.project / (self.params.data_root or ".")
        return (base / root).resolve()

    def check_weights(self) -> None:
        """Raise `InputError` where weights of the image encoder that a method starts from are not at hand."""
        pretrained = self.params.pretraining.image_encoder.get("pretrained")
        wanted = [("pretraining.image_encoder.pretrained", pretrained)] if pretrained else []
        for name in self.params.methods:
            settings = self.params.method_settings[name]
            if settings.method == "imagenet":
                wanted.append((f"method_settings.{name}.settings.weights", settings.settings.get("weights")))
            if settings.method == IMPORTED:
                self._check_checkpoint(name, "checkpoint", settings.settings.get("checkpoint"))
                if text := settings.settings.get("text_checkpoint"):
                    self._check_checkpoint(name, "text_checkpoint", text)
        for key, weights in wanted:
            if weights is None:
                raise InputError(
                    f"{key} is null: give a .safetensors or .pth file with timm's names, or `{HUB}` to let "
                    "timm download its own weights, or take the method out of `methods`"
                )
            if weights != HUB:
                check_weights(self.project / weights, key)

    def _check_checkpoint(self, name: str, key: str, checkpoint: Any) -> None:
        if not checkpoint or not (self.project / str(checkpoint)).is_file():
            raise InputError(
                f"method_settings.{name}.settings.{key}: {checkpoint} is not an existing file; give the "
                "released checkpoint (docs/import.md), or take the method out of `methods`"
            )

    def check_roots(self) -> None:
        """Raise `InputError` for a real data set whose folder does not exist."""
        for name in self.datasets:
            root = self.params.datasets[name].root
            if root is not None and not self.raw_root(name).is_dir():
                raise InputError(
                    f"datasets.{name}.root: the folder {self.raw_root(name)} does not exist; "
                    "give the folder that holds the raw download, or null to simulate"
                )


def _reads_text(settings: MethodSettings) -> bool:
    """Whether the bundle has a text encoder: of a release, where its tokenizer is given."""
    if settings.method == IMPORTED:
        return settings.settings.get("tokenizer") is not None
    return settings.method not in WITHOUT_TEXT


PUBLISHED = Path(names.__file__).with_name("published.yaml")
LEAKS = "data/leaks.json"
TOKEN_FILES = ["tokenizer.json", "tokens.npz", "manifest.json"]
BUNDLE_FILES = ["image_encoder.safetensors", "model.safetensors", "bundle.json", "training.csv"]
IMPORTED = "imported"
UNTRAINED = {"random", "imagenet", IMPORTED}
TEXT_TASKS = {"zero_shot", "retrieval", "grounding", "prototypes"}
STAGE_MODULES = {
    "simulate": ["prior.phantom.simulate"],
    "prepare": ["prior.data.prepare"],
    "leaks": ["prior.data.shared"],
    "split_sentences": ["prior.reports.sentences"],
    "tokenize": ["prior.reports.tokens"],
    "pretrain": ["prior.training.pretrain"],
    "import": ["prior.importing.stage"],
    "evaluate": ["prior.tasks.run"],
    "score": ["prior.metrics.score"],
    "collect": ["prior.results.collect"],
    "subgroups": ["prior.results.subgroups"],
    "embedding_maps": ["prior.results.embeddings"],
    "tables": ["prior.results.tables"],
    "plots": ["prior.results.plots", "prior.results.examples", "prior.results.roc", "prior.results.cards"],
    "page": ["prior.results.page"],
}
