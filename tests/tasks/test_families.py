"""Protocol families: every setting runs, and nothing that it states is ignored."""

import ast
import json
import shutil
from importlib import import_module
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from prior.data.files import read_json, write_json
from prior.data.prepared import PreparedDataset
from prior.data.schemas import read_table, write_table
from prior.encoders.bundle import load_bundle
from prior.encoders.image import ImageEncoderConfig, build_image_encoder
from prior.errors import InputError
from prior.metrics.score import cell_metrics
from prior.protocols import load_protocol, load_sources
from prior.protocols.show import families, settings
from prior.tasks import TASKS, base
from prior.tasks import run as run_module
from prior.tasks.base import Cell
from prior.tasks.dense import dense_source
from prior.tasks.labels import label_matrix
from prior.tasks.linear_head import exclusive_cross_entropy
from prior.tasks.maps import tune_last_stages
from prior.tasks.run import run_evaluation
from tests.tasks.fixtures import make_data

TRAINED = ("classification", "segmentation", "detection")
SETTINGS = [(f, t, s) for f in families() for t, s in settings(f)]
# The tiny ResNet has no native feature; tests/tasks/test_native.py has encoders that do.
OURS = [
    (family, task, setting)
    for family, task, setting in SETTINGS
    if family != "strict_small" and task in TRAINED and setting != "linear_native"
]
DATASETS = ("rsna", "siim", "object_cxr", "chexpert", "covid_rural", "covidx", "nih_boxes")
FINDINGS = (
    *(
        "Pneumonia",
        "Pneumothorax",
        "Atelectasis",
        "Cardiomegaly",
        "Consolidation",
        "Edema",
        "Pleural_Effusion",
    ),
)
PRESETS = (
    *("strict", "seeded-60-20-20", "official-validation", "random-70-15-15-leaky", "random-60-20-20-image"),
    *("stratified-70-15-15-leaky", "strict-5fold", "official"),
)
SMALL = {
    "epochs": 1,
    "batch": 12,
    "steps": 2,
    "checks": 1,
    "decoder_channels": [8] * 4,
    "head_width": 8,
    "c_grid": [0.1],
}


@pytest.fixture(scope="module")
def places(tmp_path_factory) -> dict[str, Path]:
    """Prepared folder of every dataset that a family names: the same images, findings and splits."""
    root = tmp_path_factory.mktemp("families")
    first = make_data(root / "rsna", n=60)
    labels = read_table(first, "labels")
    write_table(first, "labels", labels[["image_id"]].assign(**dict.fromkeys(FINDINGS, labels["Effusion"])))
    split = read_table(first, "splits/strict")
    for preset in PRESETS:
        folds = np.arange(len(split)) % 5 if preset == "strict-5fold" else -1
        write_table(first, f"splits/{preset}", split.assign(fold=folds))
    for kind in ("images", "masks"):
        shutil.copy(first / f"{kind}_32_pad.npy", first / f"{kind}_32_stretch.npy")
    for name in DATASETS[1:]:
        shutil.copytree(first, root / name)
        write_json(root / name / "manifest.json", {**read_json(first / "manifest.json"), "dataset": name})
    present = labels["Effusion"] == 1
    four = np.arange(len(labels)) % 4 == 0
    classes = {"Normal": ~present, "Pneumonia": present & four, "COVID_19": present & ~four}
    table = pd.DataFrame({name: flag.astype(float) for name, flag in classes.items()})
    write_table(root / "covidx", "labels", table.assign(image_id=labels["image_id"])[["image_id", *classes]])
    return {name: root / name for name in DATASETS}


def small(protocol, rates=1):
    """The setting with few steps, so many learning rates and narrow heads; it holds at all fractions."""
    knobs = {name: SMALL.get(name, value) for name, value in protocol.knobs.items() if name != "fractions"}
    if "learning_rates" in knobs:
        knobs["learning_rates"] = knobs["learning_rates"][:rates]
    head = {"widths": [8, 8, 8], "width": 32, "convolutions": 1}
    if "head" in knobs:
        knobs["head"] = {name: head.get(name, value) for name, value in knobs["head"].items()}
    return protocol.model_copy(update={"knobs": knobs})


def evaluate(tiny, data, tmp_path, family, task, setting, fractions=(1.0,), folds=None):
    stem = tmp_path / "out"
    given = (
        tiny["bundle"],
        task,
        data,
        family,
        setting,
        fractions,
        [0],
        stem,
        tmp_path / "work",
        tiny["cache"],
    )
    run_evaluation(*given, folds=folds)
    return pd.read_parquet(f"{stem}.parquet"), json.loads(Path(f"{stem}.json").read_text())


@pytest.mark.parametrize(("family", "task", "setting"), OURS)
def test_a_tiny_cell_of_every_setting(tiny, places, tmp_path, monkeypatch, family, task, setting):
    monkeypatch.setattr(run_module, "load_protocol", lambda *names: small(load_protocol(*names)))
    dataset = load_protocol(family, task, setting).knobs.get("datasets", ["rsna"])[0]
    frame, record = evaluate(tiny, places[dataset], tmp_path, family, task, setting)
    assert "omitted" not in record["cells"][0]
    assert record["protocol"] == family
    assert record["head"].endswith("-tuned-1") == (setting == "finetune_last_stage")
    assert len(frame) > 0
    if task == "classification":
        assert frame["score"].between(0, 1).all()


def test_classes_that_exclude_each_other_share_one_probability(tiny, places, tmp_path, monkeypatch):
    monkeypatch.setattr(run_module, "load_protocol", lambda *names: small(load_protocol(*names)))
    names = ("mgca", "classification", "linear_covidx")
    frame, record = evaluate(tiny, places["covidx"], tmp_path, *names)
    np.testing.assert_allclose(frame.groupby("image_id")["score"].sum(), 1, atol=1e-6)
    assert (frame.groupby("image_id")["label"].sum() == 1).all()
    exclusive = cell_metrics("classification", frame, record["knobs"]["metrics"])[1]
    ones = np.ones((1, frame["image_id"].nunique()))
    assert 0 <= exclusive.compute(ones)["accuracy_exclusive", ""][0] <= 1
    two = tmp_path / "two" / "covidx"
    shutil.copytree(places["covidx"], two)
    write_table(two, "labels", read_table(two, "labels").drop(columns="Normal"))
    with pytest.raises(InputError, match="tells apart"):
        evaluate(tiny, two, tmp_path / "two", *names)


def test_cross_entropy_of_exclusive_classes_is_torchs():
    logits = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    classes = torch.tensor([0, 2, 1, 2, 0])
    target, known = torch.nn.functional.one_hot(classes, 3).float(), torch.ones(5, 3)
    expected = torch.nn.functional.cross_entropy(logits, classes)
    assert exclusive_cross_entropy(logits, target, known).item() == pytest.approx(expected.item())
    target[0, 1], known[1, 0] = 1, 0
    expected = torch.nn.functional.cross_entropy(logits[2:], classes[2:])
    assert exclusive_cross_entropy(logits, target, known).item() == pytest.approx(expected.item())


@pytest.mark.parametrize("setting", ["linear", "finetune"])
def test_c_or_rate_is_chosen_once_and_seeds_differ(tiny, places, tmp_path, monkeypatch, setting):
    """Of two seeds the first chooses for both; their draws of labels, and so their scores, differ."""
    monkeypatch.setattr(run_module, "load_protocol", lambda *names: small(load_protocol(*names), rates=2))
    stem = tmp_path / "out"
    places_and_names = (places["rsna"], "strict_small", setting, (0.5,), (0, 1), stem, tmp_path / "work")
    run_evaluation(tiny["bundle"], "classification", *places_and_names, tiny["cache"])
    frame, record = pd.read_parquet(f"{stem}.parquet"), read_json(Path(f"{stem}.json"))
    key = "c" if setting == "linear" else "learning_rate"
    assert len({cell["selected"][key] for cell in record["cells"]}) == 1
    assert len(list((tmp_path / "work").rglob("selection-*.json"))) == 1
    scores = [frame.loc[frame["seed"] == seed, "score"].to_numpy() for seed in (0, 1)]
    assert len(scores[0]) == len(scores[1])
    assert not np.array_equal(*scores)


def test_the_recipe_of_a_peer_is_taken_where_it_is_prepared(tiny, places, tmp_path, monkeypatch):
    monkeypatch.setattr(run_module, "load_protocol", lambda *names: small(load_protocol(*names)))
    place = Path(shutil.copytree(places["siim"], tmp_path / "siim"))
    asked = ("mgca", "segmentation", "frozen_siim")
    assert evaluate(tiny, place, tmp_path / "a", *asked)[1]["split"] == "random-70-15-15-leaky"
    split = read_table(place, "splits/strict")
    both = split[split["split"] == "train"].groupby("seed").head(3).assign(split="test", rank=np.nan)
    write_table(place, "splits/siim-rows-70-15-15-leaky", pd.concat([split, both], ignore_index=True))
    frame, record = evaluate(tiny, place, tmp_path / "b", *asked)
    assert record["split"] == record["cells"][0]["split"] == "siim-rows-70-15-15-leaky"
    assert set(both["image_id"]) <= set(frame["image_id"])


def test_folds_of_positives_cover_every_positive_once(tiny, places, tmp_path, monkeypatch):
    monkeypatch.setattr(run_module, "load_protocol", lambda *names: small(load_protocol(*names)))
    frame, record = evaluate(tiny, places["siim"], tmp_path, "prior", "segmentation", "finetune", folds=5)
    assert sorted(frame["image_id"]) == [f"i{k:04d}" for k in range(0, 60, 2)]
    assert {cell["split"] for cell in record["cells"]} == {"strict-5fold"}
    assert {cell["n_train"] for cell in record["cells"]} == {18}


def test_positives_only_is_every_side_and_all_is_unchanged(places):
    data, cell = PreparedDataset(places["rsna"]), Cell(0.5, 0)
    positives = load_protocol("prior", "detection", "finetune")
    everything = positives.model_copy(update={"knobs": {**positives.knobs, "images": "all"}})
    marked = set(data.boxes["image_id"])
    for side in (base.training_images, base.validation_images, base.test_images):
        chosen = side(data, positives, Cell(1.0, 0))["image_id"].tolist()
        both = side(data, everything, Cell(1.0, 0))["image_id"]
        assert chosen == [i for i in both if i in marked]
    assert len(base.training_images(data, positives, cell)) == 9
    assert len(base.training_images(data, everything, cell)) == 18


def test_a_share_of_validation_by_dataset(places):
    protocol = load_protocol("lovt", "segmentation", "rsna_seg_linear_100")
    knob = {"share": {"default": 1.0, "rsna": 0.5}, "floor": 1, "cap": None}
    protocol = protocol.model_copy(update={"knobs": {**protocol.knobs, "validation": knob}})
    sizes = {
        name: len(base.validation_images(PreparedDataset(places[name]), protocol, Cell(0.1, 0)))
        for name in ("rsna", "siim")
    }
    assert sizes == {"rsna": 3, "siim": 6}


@pytest.mark.parametrize(("family", "task", "setting"), SETTINGS)
def test_every_knob_has_a_source_and_is_known_to_the_task(family, task, setting):
    import_module(TASKS[task]).check(load_protocol(family, task, setting))
    assert all(source.strip() for source in load_sources(family, task, setting).values())


@pytest.mark.parametrize("task", TASKS)
def test_every_knob_that_a_task_says_it_reads_is_read(task):
    folder = Path(import_module("prior.tasks").__file__).parent
    code = "\n".join(path.read_text() for path in folder.glob("*.py"))
    read = import_module(TASKS[task]).READ
    for knob in set().union(*read.values()) if isinstance(read, dict) else read:
        assert f'protocol["{knob}"]' in code or f'protocol.knobs.get("{knob}")' in code, knob


@pytest.mark.parametrize("task", TASKS)
def test_an_unknown_knob_or_value_is_told_with_all_names(task):
    setting = next(setting for family, of, setting in SETTINGS if (family, of) == ("strict_small", task))
    protocol = load_protocol("strict_small", task, setting)
    for knobs, remedy in (({"mixup": 1}, "`fit`"), ({"fit": "crop"}, '"pad", "stretch"')):
        wrong = protocol.model_copy(update={"knobs": {**protocol.knobs, **knobs}})
        with pytest.raises(InputError) as error:
            import_module(TASKS[task]).check(wrong)
        told = str(error.value)
        assert f"strict_small.yaml: {task} {setting} states `{next(iter(knobs))}" in told
        assert remedy in told.split("choose one of")[1]


@pytest.mark.parametrize(
    ("task", "setting", "knob", "value", "implemented"),
    [
        (
            "segmentation",
            "frozen",
            "optimiser",
            "LAMB",
            '"AdamW", "Adam", "Adam with AMSGrad", "SGD with momentum"',
        ),
        ("segmentation", "frozen", "schedule", "step", '"cosine", "constant", "steps", "plateau"'),
        ("segmentation", "frozen", "head_name", "swin", '"unet", "linear", "fpn", "dpt", "setr", "upernet"'),
        ("segmentation", "frozen", "loss", "hinge", '"batch soft Dice"'),
        ("segmentation", "frozen", "threshold", 0.4, "0.5"),
        ("segmentation", "frozen", "images", "negatives", '"all", "positives only"'),
        ("segmentation", "frozen", "metrics", ["dice_pooled", "hausdorff"], '"dice_image_all"'),
        ("detection", "frozen", "head_name", "detr", '"fcos", "yolo"'),
        ("detection", "frozen", "augmentation", {"crop": [0.8, 1]}, "{}"),
        ("detection", "frozen", "loss", "cross-entropy + squared error of every level", '"focal'),
        ("detection", "frozen", "negatives", "none", '"images without boxes"'),
        ("classification", "linear", "uncertain", {"default": "maybe"}, '"present", "absent", "drop"'),
        ("classification", "finetune", "selection", "accuracy", '"macro AUROC", "validation loss"'),
        ("classification", "finetune", "feature", "metadata", '"mean of the last map"'),
        ("classification", "linear", "standardise", 256, "z-score"),
        ("classification", "finetune", "batch_norm", "none", '"frozen statistics", "batch statistics"'),
    ],
)
def test_what_is_not_implemented_is_refused(
    tiny, places, tmp_path, monkeypatch, task, setting, knob, value, implemented
):
    def load(*names):
        protocol = load_protocol(*names)
        return protocol.model_copy(update={"knobs": {**protocol.knobs, knob: value}})

    def no_training(*arguments):
        raise AssertionError("trained")

    monkeypatch.setattr(run_module, "load_protocol", load)
    for module in ("classification", "segmentation", "detection"):
        monkeypatch.setattr(f"prior.tasks.{module}.search", no_training)
    with pytest.raises(InputError) as error:
        evaluate(tiny, places["rsna"], tmp_path, "strict_small", task, setting)
    message = str(error.value)
    assert message.startswith(f"prior/protocols/strict_small.yaml: {task} {setting} states `{knob}: ")
    assert json.dumps(value) in message
    assert implemented in message.split("choose one of")[1]


def test_a_knob_that_no_one_reads_is_refused(tiny, places, tmp_path, monkeypatch):
    def load(*names):
        protocol = load_protocol(*names)
        return protocol.model_copy(update={"knobs": {**protocol.knobs, "mixup": 0.2}})

    monkeypatch.setattr(run_module, "load_protocol", load)
    with pytest.raises(InputError, match="states `mixup`, which detection does not read"):
        evaluate(tiny, places["rsna"], tmp_path, "strict_small", "detection", "frozen")


@pytest.mark.parametrize(
    ("dataset", "fraction", "folds", "message"),
    [
        ("siim", 0.01, None, "rsna_frozen_1 holds for rsna, not for siim"),
        ("rsna", 1.0, None, "rsna_frozen_1 holds for fractions .0.01., not for 1.0"),
        ("rsna", 0.01, 5, "names no `folds`"),
    ],
)
def test_a_setting_holds_where_it_says(tiny, places, tmp_path, dataset, fraction, folds, message):
    with pytest.raises(InputError, match=message):
        evaluate(
            tiny, places[dataset], tmp_path, "lovt", "detection", "rsna_frozen_1", [fraction], folds=folds
        )


def test_uncertain_labels_count_by_finding(places):
    data = PreparedDataset(places["chexpert"])
    data.labels.loc[:3, ["Edema", "Cardiomegaly"]] = -1.0
    protocol = load_protocol("mgca", "classification", "linear_chexpert")
    found = label_matrix(data, data.labels["image_id"].head(4), ["Cardiomegaly", "Edema"], protocol)
    assert found.tolist() == [[0.0, 1.0]] * 4


def test_a_frozen_encoder_behind_augmentation_does_not_learn(tiny, places):
    data, bundle = PreparedDataset(places["rsna"]), load_bundle(tiny["bundle"])
    source = dense_source(bundle, data, load_protocol("mgca", "segmentation", "frozen_rsna"), None)
    source.maps.train()
    assert not any(part.training for part in source.maps.encoder.modules())
    head = torch.nn.Linear(2, 1)
    groups = source.groups(head, 0.1, load_protocol("mgca", "segmentation", "frozen_rsna"))
    assert [[p.shape for p in g["params"]] for g in groups] == [[p.shape for p in head.parameters()]]


def test_the_head_may_go_first(tiny, places):
    data, bundle = PreparedDataset(places["rsna"]), load_bundle(tiny["bundle"])
    protocol = load_protocol("lovt", "detection", "rsna_finetune_100")
    encoder, head = dense_source(bundle, data, protocol, None).groups(torch.nn.Linear(2, 1), 0.2, protocol)
    assert (encoder["lr"], encoder["held"]) == (0.2, (100, 0.0))
    assert (head["lr"], head["held"]) == (0.2, (100, 0.001))


@pytest.mark.parametrize(("name", "learns"), [("test_resnet", "layer4."), ("test_vit", "blocks.5.")])
def test_only_the_last_stages_learn(name, learns):
    stride = 32 if name == "test_resnet" else 16
    size = 32 if name == "test_resnet" else 160
    encoder = build_image_encoder(
        ImageEncoderConfig(name=name, output_stride=stride, input_size=size), seed=0
    )
    tune_last_stages(encoder, 1)
    tuned = [n for n, p in encoder.network.named_parameters() if p.requires_grad]
    frozen = [n for n, p in encoder.network.named_parameters() if not p.requires_grad]
    assert any(n.startswith(learns) for n in tuned)
    assert not any(n.startswith(learns) for n in frozen)
    assert 0 < len(tuned) < len(frozen)
    with pytest.raises(InputError, match="which has"):
        tune_last_stages(encoder, len(encoder.channels))
    tune_last_stages(encoder, "all")


def test_the_test_side_is_read_in_one_place():
    """`test_images` and `subset_images` of prior/tasks/base.py do it, and 8x200, which trains nothing."""
    package = Path(import_module("prior").__file__).parent
    readers = [package / "tasks", package / "training", package / "methods", package / "encoders"]
    found = []
    for path in sorted(file for folder in readers for file in folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and node.value in ("test", "subsets"):
                found.append((path.name, node.value))
            if isinstance(node, ast.Attribute) and ast.unparse(node) in ("data.select", "data.split"):
                found.append((path.name, node.attr))
    assert sorted(found) == [
        ("base.py", "select"),
        ("base.py", "select"),
        ("base.py", "subsets"),
        ("base.py", "test"),
        ("pretrain.py", "select"),
    ]


SELECTING = [
    ("strict_small", "classification", "linear"),
    ("strict_small", "classification", "finetune"),
    ("strict_small", "segmentation", "frozen"),
    ("strict_small", "detection", "frozen"),
    ("lovt", "segmentation", "covid_linear"),
    ("prior", "classification", "finetune"),
]


@pytest.mark.parametrize(("family", "task", "setting"), SELECTING)
def test_selection_never_sees_a_test_image(tiny, places, tmp_path, monkeypatch, family, task, setting):
    """Rate, C, threshold and step are the same when every test image, label, mask and box is another."""
    monkeypatch.setattr(run_module, "load_protocol", lambda *names: small(load_protocol(*names), rates=2))
    dataset = load_protocol(family, task, setting).knobs.get("datasets", ["rsna"])[0]
    other = tmp_path / "other" / dataset
    shutil.copytree(places[dataset], other)
    data = PreparedDataset(other)
    preset = base.split_preset(data, load_protocol(family, task, setting), Cell(1.0, 0))
    test = data.select(preset, 0, "test")
    for kind in ("images", "masks"):
        store = np.load(other / f"{kind}_32_pad.npy")
        store[test["row"]] = 0
        np.save(other / f"{kind}_32_pad.npy", store)
    for name in ("boxes", "masks"):
        table = read_table(other, name)
        write_table(other, name, table[~table["image_id"].isin(test["image_id"])])
    labels = read_table(other, "labels").set_index("image_id")
    labels.loc[test["image_id"]] = 1 - labels.loc[test["image_id"]]
    write_table(other, "labels", labels.reset_index())
    manifest = read_json(other / "manifest.json")
    write_json(other / "manifest.json", {**manifest, "content_hash": "another"})
    frames, chosen = zip(
        *(
            evaluate(tiny, root, tmp_path / root.parent.name, family, task, setting)
            for root in (places[dataset], other)
        ),
        strict=True,
    )
    assert chosen[0]["cells"][0]["selected"] == chosen[1]["cells"][0]["selected"]
    assert not frames[0].equals(frames[1])


def test_every_seed_with_a_split_of_its_own_chooses_for_itself(places):
    data, cell = PreparedDataset(places["rsna"]), Cell(1.0, 3)
    own, shared = (load_protocol(*name) for name in [SELECTING[-1], SELECTING[0]])
    assert base.selection_cell(data, own, cell) == cell
    assert base.selection_cell(data, shared, cell) == Cell(1.0, 0)
