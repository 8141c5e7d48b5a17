"""The report decoder against slow formulas, and whole cells on a tiny dataset with reports."""

import json
import shutil
from itertools import product
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from prior.data.schemas import read_table, write_table
from prior.errors import InputError
from prior.metrics.report_generation import report_metrics
from prior.protocols import load_protocol
from prior.tasks import run as run_module
from prior.tasks.report_baselines import most_frequent, nearest_reports
from prior.tasks.report_decoder import EOS, PAD, SPECIALS, UNK, ReportDecoder, Vocabulary
from prior.tasks.report_generation import (
    ReportJob,
    _studies,
    with_second,
)
from prior.tasks.run import run_evaluation
from tests.tasks.fixtures import make_data

KNOBS = {"width": 16, "encoder_layers": 1, "decoder_layers": 1, "heads": 2, "dropout": 0.1}
LENGTH = 4


def decoder(words: int = 3, length: int = LENGTH, seed: int = 0) -> ReportDecoder:
    torch.manual_seed(seed)
    tokens = words + SPECIALS
    return ReportDecoder(5, torch.full((tokens,), 1 / tokens), length, 9, KNOBS).eval()


def maps(n: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, 5, 3, 3, generator=torch.Generator().manual_seed(seed))


def test_vocabulary_keeps_frequent_words_and_ends_reports():
    vocabulary = Vocabulary(["b a . a", "a b c ."], min_count=2)
    assert vocabulary.words == ["a", ".", "b"]
    ids = vocabulary.encode(["a c .", "", "b b b b b"], max_length=4)
    assert ids.tolist() == [[3, UNK, 4, EOS], [EOS, PAD, PAD, PAD], [5, 5, 5, EOS]]
    assert vocabulary.decode(ids) == ["a .", "", "b b b"]
    assert vocabulary.decode(torch.tensor([[3, EOS, 4], [4, 3, 3]])) == ["a", ". a a"]


def test_logits_see_earlier_words_and_the_map_but_neither_later_words_nor_padding():
    model, images = decoder(), maps(2)
    tokens = torch.tensor([[3, 4, 5, EOS], [4, EOS, PAD, PAD]])
    logits = model(images, tokens)
    alone = model(images[1:], tokens[1:, :2])
    torch.testing.assert_close(logits[1:, :2], alone)
    later = model(images, torch.tensor([[3, 4, 3, 3], [4, EOS, PAD, PAD]]))
    torch.testing.assert_close(logits[:, :3], later[:, :3])
    assert not torch.allclose(logits[:, 3], later[:, 3])
    assert not torch.allclose(logits[0, 0], logits[1, 0])


def exhaustive(model: ReportDecoder, image: torch.Tensor, words: int, penalty: float) -> list[int]:
    """Score every report that can be written: those that end, and those cut at the longest length."""
    choices = range(SPECIALS, SPECIALS + words)
    scored = []
    for length in range(1, LENGTH + 1):
        reports = [[*w, EOS] for w in product(choices, repeat=length - 1)]
        reports += [list(w) for w in product(choices, repeat=length) if length == LENGTH]
        images = image.expand(len(reports), -1, -1, -1)
        logs = model(images, torch.tensor(reports)).log_softmax(dim=-1)
        for report, log in zip(reports, logs, strict=True):
            total = sum(float(log[k, token]) for k, token in enumerate(report))
            scored.append((total / length**penalty, report))
    return max(scored)[1]


@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_a_beam_of_all_reports_finds_the_best_one(penalty):
    with torch.inference_mode():
        for seed in range(3):
            model, image = decoder(seed=seed), maps(1, seed)
            found = model.write(image, beams=130, length_penalty=penalty)[0].tolist()
            best = exhaustive(model, image[0], 3, penalty)
            assert found[: len(best)] == best
            assert set(found[len(best) :]) <= {PAD, EOS}


def test_reports_of_a_batch_are_those_of_single_images_and_repeat():
    model, images = decoder(words=12, length=10, seed=1), maps(6, 1)
    vocabulary = Vocabulary([" ".join("abcdefghijkl")], 1)
    with torch.no_grad():
        # Untrained, it repeats one word whatever it sees.
        for weight in model.network.model.decoder.layers.parameters():
            weight *= 4
        together = vocabulary.decode(model.write(images, 3, 1.0))
        again = vocabulary.decode(model.write(images, 3, 1.0))
        single = [vocabulary.decode(model.write(image[None], 3, 1.0))[0] for image in images]
    assert together == again == single
    assert len(set(together)) > 1


def test_special_tokens_are_never_written_and_length_is_bounded():
    model = decoder(words=12, length=7, seed=2)
    with torch.no_grad():
        model.network.final_logits_bias[:, [PAD, UNK]] = 50.0
        model.network.final_logits_bias[:, EOS] = -50.0
        found = model.write(maps(2), 2, 1.0)
    assert found.shape == (2, 7)
    assert (found >= SPECIALS).all()


class Maps(torch.nn.Module):
    channels, strides = [5], [1]

    def forward(self, rows, change=None):
        found = maps(20)[torch.tensor(rows)]
        return [found if change is None else change(found)]


def job(views: int = 1, **changes) -> ReportJob:
    source = SimpleNamespace(
        maps=Maps(), size=3, device=torch.device("cpu"), precision="fp32", groups=lambda *_: []
    )
    texts = ["no effusion .", "small effusion . edema .", "edema .", "no effusion . clear ."]
    train = pd.DataFrame({"row": range(4), "text": texts})
    held_out = pd.DataFrame({"row": [7, 8, 9], "text": ["no edema .", "clear .", "small unknown effusion ."]})
    knobs = load_protocol("strict_small", "report_generation", "frozen").knobs
    knobs = {**knobs, "decoder": KNOBS, "min_count": 1, "evaluation_batch": 2, **changes}
    if views == 2:
        knobs["studies"] = "two images a study, regions side by side"
        train, held_out = train.assign(second=[9, 8, 7, 6]), held_out.assign(second=[1, 2, 3])
    torch.manual_seed(0)
    made = ReportJob(source, train, held_out, 0.001, knobs)
    made.model.eval()
    return made


def slow_nll(made: ReportJob, row: int, text: str) -> list[torch.Tensor]:
    ids = [*(made.vocabulary._ids.get(word, UNK) for word in text.split()), EOS]
    return [
        -made.head(maps(20)[[row]], torch.tensor([ids[: k + 1]])).log_softmax(-1)[0, k, token]
        for k, token in enumerate(ids)
    ]


def test_loss_is_the_mean_over_tokens_in_value_and_gradient():
    made = job()
    loss = made.loss(np.array([1, 2, 0]), torch.Generator())
    texts = ["no effusion .", "small effusion . edema .", "edema ."]
    terms = [term for row, text in enumerate(texts) for term in slow_nll(made, row, text)]
    slow = torch.stack(terms).mean()
    torch.testing.assert_close(loss, slow)
    parameters = [p for p in made.head.parameters() if p.requires_grad]
    fast_gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
    slow_gradients = torch.autograd.grad(slow, parameters, allow_unused=True)
    for a, b in zip(fast_gradients, slow_gradients, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-4)


def test_validation_is_the_log_likelihood_a_token_over_uneven_batches():
    made = job()
    with torch.inference_mode():
        texts = {7: "no edema .", 8: "clear .", 9: "small unknown effusion ."}
        terms = [float(term) for row, text in texts.items() for term in slow_nll(made, row, text)]
        assert made.validate() == pytest.approx(-np.mean(terms), rel=1e-5)


def test_two_images_give_the_regions_of_both_in_order():
    made = job(views=2)
    found = made.last_maps(np.array([[1, 8], [2, 7]]))
    regions = found.flatten(2)
    for k, (first, second) in enumerate([(1, 8), (2, 7)]):
        torch.testing.assert_close(regions[k, :, :9], maps(20)[first].flatten(1))
        torch.testing.assert_close(regions[k, :, 9:], maps(20)[second].flatten(1))
    with torch.inference_mode():
        stacked = torch.cat([maps(20)[[0]], maps(20)[[9]]], dim=2)
        ids = made.head.write(stacked, made.beams, made.length_penalty)
        assert made.write(np.array([[0, 9]])) == made.vocabulary.decode(ids)


def test_the_second_image_is_the_next_of_the_study_or_the_only_one_again():
    images = pd.DataFrame(
        {"image_id": ["c", "b", "a", "d"], "study_id": ["s1", "s1", "s1", "s2"], "row": [5, 6, 7, 8]}
    )
    studies = pd.DataFrame({"image_id": ["a", "d"], "study_id": ["s1", "s2"], "row": [7, 8]})
    assert with_second(studies, images)["second"].tolist() == [6, 8]


def test_selection_by_bleu_reads_what_is_written():
    made = job(selection="validation BLEU-4")
    with torch.inference_mode():
        made.references = made.write(made.held_out)
        assert all(len(text.split()) >= 4 for text in made.references)
        assert made.validate() == pytest.approx(1.0)
        made.references = ["none of these words ."] * 3
        assert made.validate() == 0.0
    made.held_out = made.held_out[:0]
    assert np.isnan(made.validate())


def test_training_images_are_changed_and_validation_images_are_not():
    crop = {"crop": [0.5, 0.5], "rotation": 0.0, "brightness": 0.0, "contrast": 0.0}
    plain, changed = job(), job(augmentation=crop)
    chosen = np.array([0, 1])
    with torch.inference_mode():
        assert changed.validate() == plain.validate()
    losses = [changed.loss(chosen, torch.Generator().manual_seed(1)).item() for _ in range(2)]
    assert losses[0] == losses[1]
    assert losses[0] != pytest.approx(plain.loss(chosen, torch.Generator()).item(), rel=1e-4)


def test_one_image_a_study_and_the_order_of_the_draw():
    images = pd.DataFrame(
        {"image_id": ["d", "b", "a", "c"], "study_id": ["s2", "s1", "s2", "s3"], "row": range(4)}
    )
    found = _studies(images, {"s1": "one", "s2": "two"})
    assert found["image_id"].tolist() == ["b", "a"]
    assert found["text"].tolist() == ["one", "two"]


def test_frequent_report_and_nearest_report():
    assert most_frequent(pd.Series(["b", "a", "b", "a", "c"])) == "a"
    pooled = np.array([[1, 0], [0, 1], [3, 0.1], [0, 7], [-1, -1]], dtype=np.float32)
    every, test = pd.DataFrame({"row": [0, 1, 4]}), pd.DataFrame({"row": [2, 3]})
    train = pd.DataFrame({"row": [1, 0], "text": ["up", "right"]})
    assert nearest_reports(SimpleNamespace(pooled=pooled), every, train, test) == ["right", "up"]
    with pytest.raises(InputError, match="cached features"):
        nearest_reports(None, every, train, test)


@pytest.fixture(scope="module")
def reported(tmp_path_factory):
    """The tiny dataset; its reports say whether there is a square, one in ten with a word of its own."""
    root = make_data(tmp_path_factory.mktemp("reported") / "squares", n=120)
    rows = [
        (
            f"i{k:04d}",
            f"p{k // 2}",
            "x",
            ("Large effusion." if k % 2 == 0 else "No effusion.") + (f" Rare{k}." if k % 10 == 0 else ""),
            None if k % 3 else "Edema is possible.",
        )
        for k in range(120)
    ]
    columns = ["study_id", "patient_id", "text", "findings", "impression"]
    write_table(root, "reports", pd.DataFrame(rows[:-1], columns=columns))
    return root


@pytest.fixture
def quick(monkeypatch):
    steps = {"frozen": 60, "finetune": 2}

    def load(family, task, setting):
        protocol = load_protocol(family, task, setting)
        small = {"checks": 2, "learning_rates": [0.01], "max_length": 16, "decoder": KNOBS}
        if setting in steps:
            small["steps"] = steps[setting]
        knobs = {name: small.get(name, value) for name, value in protocol.knobs.items()}
        return protocol.model_copy(update={"knobs": knobs})

    monkeypatch.setattr(run_module, "load_protocol", load)


def evaluate(tiny, data, tmp_path, setting, fractions=(1.0,), name="out"):
    stem = tmp_path / name
    place = ("strict_small", setting, fractions, (0,), stem, tmp_path / f"work-{name}", tmp_path / "features")
    run_evaluation(tiny["bundle"], "report_generation", data, *place)
    return pd.read_parquet(f"{stem}.parquet"), json.loads((tmp_path / f"{name}.json").read_text())


@pytest.mark.parametrize("setting", ["frozen", "finetune", "nearest"])
def test_a_cell_writes_a_report_for_every_test_study_and_repeats(tiny, reported, tmp_path, quick, setting):
    frame, record = evaluate(tiny, reported, tmp_path, setting)
    if setting != "frozen":  # which trains longest, by the same code as `finetune`
        again, _ = evaluate(tiny, reported, tmp_path, setting, name="again")
        pd.testing.assert_frame_equal(frame, again)
    # The last study has no report.
    assert len(frame) == record["cells"][0]["n_test"] == 35
    assert record["cells"][0]["n_train"] == 72
    assert frame["image_id"].is_unique
    assert frame.loc[frame["study_id"] == "i0090", "reference"].item() == (
        "large effusion . rare90 . edema is possible ."
    )
    assert set(frame["frequent"]) == {"no effusion ."}
    if setting != "finetune":
        large = frame["reference"].str.startswith("large")
        assert frame["generated"].str.startswith("large").eq(large).mean() > 0.85
        score = report_metrics(frame).compute(np.ones((1, len(frame))))
        assert score["clinical_f1", "Pleural_Effusion"][0] > 0.8


def test_small_cells_are_refused_and_a_dataset_without_reports_is_told(tiny, reported, tmp_path, quick):
    frame, record = evaluate(tiny, reported, tmp_path, "frozen", [0.1])
    assert frame.empty
    assert record["cells"][0]["omitted"] == "7 training images, fewer than 16"
    with pytest.raises(InputError, match=r"reports\.parquet is missing or empty"):
        evaluate(tiny, tiny["data"], tmp_path, "nearest")


@pytest.fixture(scope="module")
def examinations(tmp_path_factory):
    """60 examinations of two images with R2Gen's lists; the split names the first image of each only."""
    root = make_data(tmp_path_factory.mktemp("examinations") / "iu_xray", n=120, preset="official")
    images = read_table(root, "images")
    numbers = [f"{k // 2}" for k in range(120)]
    write_table(root, "images", images.assign(study_id=numbers, patient_id=numbers))
    lists = read_table(root, "splits/official")
    write_table(root, "splits/official", lists[lists["image_id"].isin(images["image_id"][::2])])
    finding = "Rare{} words stand in a reference that is longer than what may be written here."
    table = pd.DataFrame({"study_id": numbers[::2], "patient_id": numbers[::2], "text": "x"})
    table["findings"] = [finding.format(number) for number in table["study_id"]]
    write_table(root, "reports", table.assign(impression="Not used."))
    return root


@pytest.mark.parametrize("setting", ["iu_xray", "mimic_cxr"])
def test_the_r2gen_settings_run_and_leave_references_alone(
    tiny, examinations, tmp_path, monkeypatch, setting
):
    small = {"decoder": KNOBS, "epochs": 1, "max_length": 6}

    def load(family, task, setting):
        protocol = load_protocol(family, task, setting)
        return protocol.model_copy(update={"knobs": {**protocol.knobs, **small}})

    monkeypatch.setattr(run_module, "load_protocol", load)
    data = examinations
    if setting == "mimic_cxr":
        data = shutil.copytree(examinations, tmp_path / "mimic_cxr")
        manifest = json.loads((data / "manifest.json").read_text())
        (data / "manifest.json").write_text(json.dumps({**manifest, "dataset": "mimic_cxr"}))
    place = (data, "benchx", setting, [1.0], [0], tmp_path / "out", tmp_path / "work", tmp_path / "features")
    run_evaluation(tiny["bundle"], "report_generation", *place)
    frame = pd.read_parquet(tmp_path / "out.parquet")
    assert len(frame) == 18
    for row in frame.itertuples():
        assert row.reference == (
            f"rare{row.study_id} words stand in a reference that is longer than what may be written here ."
        )
    assert frame["generated"].str.split().str.len().max() <= 6
    assert not frame["generated"].str.contains("rare").any()
