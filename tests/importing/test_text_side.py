"""Imported embeddings of images and texts are those of the release's forward pass."""

from types import SimpleNamespace

import pytest
import torch
from tokenizers import AddedToken, Tokenizer
from tokenizers.models import BPE
from tokenizers.normalizers import Lowercase
from tokenizers.pre_tokenizers import ByteLevel
from torch.nn import functional as F

from prior.errors import InputError
from prior.export.text_folder import write_text_encoder
from prior.importing.encoder import import_encoder
from prior.importing.recognise import LAYOUTS
from prior.importing.settings import ImportSettings
from prior.importing.text_layout import TEXT_LAYOUTS
from prior.importing.text_side import import_text
from prior.importing.text_tokenizer import ENDS, tokenizer_for
from prior.methods.base import ReportTokens
from prior.reports.tokens import encode_texts
from tests.importing.pairs import PAIRS, clip, on_swin
from tests.importing.towers import REPORTS, WORDS


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    return folder


def tokens(tokenizer, reports=REPORTS):
    arrays = encode_texts(tokenizer, reports)
    return ReportTokens(**{name: torch.from_numpy(array) for name, array in arrays.items()})


def imported(layout, pair, weights=None):
    weights = pair.weights if weights is None else weights
    # Colours have a test of their own.
    settings = ImportSettings(checkpoint="file", encoder=pair.encoder, mean=0.5, std=0.25)
    encoder = import_encoder(weights, LAYOUTS[layout], settings, pair.side).encoder
    return import_text(weights, LAYOUTS[layout], encoder, pair.own)


@torch.inference_mode()
def compare(layout, pair, tokenizer):
    found = imported(layout, pair).method
    images = torch.rand(3, 1, pair.side, pair.side, generator=torch.Generator().manual_seed(1))
    batch = tokens(tokenizer)
    assert not batch.mask.all()
    image, report = found.encode_images(images), found.encode_reports(batch)
    expected_image = pair.image(((images - 0.5) / 0.25).expand(-1, pair.channels, -1, -1))
    expected_text = torch.cat([pair.text(row[real]) for row, real in zip(batch.ids, batch.mask, strict=True)])
    for got, wanted in ((image.global_, expected_image), (report.global_, expected_text)):
        torch.testing.assert_close(F.normalize(got), F.normalize(wanted), atol=1e-4, rtol=1e-3)
    cosines = F.normalize(expected_image) @ F.normalize(expected_text).T
    torch.testing.assert_close(found.scores(image, report)["global"], cosines, atol=1e-4, rtol=1e-3)
    # Texts and images that cannot be told apart would agree with anything.
    for wanted in (expected_image, expected_text):
        assert F.normalize(wanted).std(dim=0).max() > 1e-3
    return found, image, report


@pytest.mark.parametrize("layout", PAIRS)
def test_embeddings_are_those_of_the_release(layout, vocabulary):
    compare(layout, PAIRS[layout](), tokenizer_for(str(vocabulary), len(WORDS)))


@pytest.mark.parametrize("layout", ["medclip_vit", "cxr_clip_swin"])
def test_embeddings_behind_a_swin(layout, vocabulary, tmp_path):
    compare(layout, on_swin(layout, str(tmp_path)), tokenizer_for(str(vocabulary), len(WORDS)))


@pytest.fixture(scope="module")
def clip_tokenizer(tmp_path_factory):
    """A tokenizer.json in the form of CLIP's: bytes, ends of words, its own names for the ends of a text."""
    path = tmp_path_factory.mktemp("clip") / "tokenizer.json"
    letters = [*ByteLevel.alphabet(), *(f"{letter}</w>" for letter in ByteLevel.alphabet())]
    vocabulary = {token: number for number, token in enumerate([*sorted(letters), *ENDS])}
    end = "<|endoftext|>"
    tokenizer = Tokenizer(BPE(vocabulary, [], unk_token=end, end_of_word_suffix="</w>"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = Lowercase(), ByteLevel(add_prefix_space=False)
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in ENDS])
    tokenizer.enable_truncation(5)
    tokenizer.save(str(path))
    return path, len(vocabulary)


@pytest.mark.parametrize("layout", ["chexzero", "clip"])
def test_embeddings_of_clip(layout, clip_tokenizer):
    path, size = clip_tokenizer
    tokenizer = tokenizer_for(str(path), size)
    ids = tokens(tokenizer).ids[0]
    assert tokenizer.id_to_token(int(ids[0])) == "[CLS]"
    assert ids.max() < size
    assert len(ids) > 20
    compare(layout, clip(size), tokenizer)


def test_a_text_encoder_of_clip_is_not_exported(clip_tokenizer, tmp_path):
    found = imported("clip", clip(clip_tokenizer[1]))
    bundle = SimpleNamespace(path=tmp_path, method=lambda: found.method)
    with pytest.raises(InputError, match="was imported and is no BERT"):
        write_text_encoder(bundle, tmp_path / "text_encoder")


def test_every_text_side_is_tried():
    assert set(TEXT_LAYOUTS) == {*PAIRS, "medclip_vit", "cxr_clip_swin", "chexzero", "clip"}


def test_maps_are_of_regions_that_met_the_texts(vocabulary):
    tokenizer = tokenizer_for(str(vocabulary), len(WORDS))
    found, image, report = compare("biovil", PAIRS["biovil"](), tokenizer)
    image.local, report.global_ = image.local[:2], report.global_[:2]
    expected = F.cosine_similarity(image.local, report.global_[:, None], dim=-1)
    torch.testing.assert_close(found.heat_maps(image, report), expected)
    found, image, report = compare("mgca_vit", PAIRS["mgca_vit"](), tokenizer)
    assert found.heat_maps(image, report) is None


def test_positions_of_the_pool_follow_the_input_size():
    pair = PAIRS["prior_model"]()
    pair.side = 100
    found = imported("prior_model", pair).method
    assert found.image_pool.positions.shape == (1 + 4 * 4, 512)
    with torch.inference_mode():
        assert found.encode_images(torch.rand(1, 1, 100, 100)).global_.isfinite().all()


def without(weights, name):
    return {key: value for key, value in weights.items() if key != name}


TOWER = "text_encoder_q.model."
LAYER = f"{TOWER}encoder.layer.0.output.dense.weight"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda w: without(w, LAYER),
            r"does not fit: 1 weights missing: text_encoder\.network\.encoder\.layer",
        ),
        (lambda w: w | {f"{TOWER}x": torch.zeros(1)}, r"1 weights unexpected: text_encoder\.network\.x"),
        (lambda w: w | {LAYER: torch.zeros(2, 2)}, r"of another shape: .*\(2, 2\) instead of \(64, 256\)"),
        (
            lambda w: w | {"text_encoder_q.global_embed.head.6.weight": torch.zeros(1)},
            r"1 weights unexpected in its projections: text_encoder_q\.global_embed\.head\.6\.weight",
        ),
        (
            lambda w: without(w, "text_encoder_q.global_embed.head.3.weight"),
            r"lacks the weight text_encoder_q\.global_embed\.head\.3\.weight",
        ),
        (
            lambda w: {key: value for key, value in w.items() if not key.startswith("text_encoder_q.")},
            r"the file holds no text encoder .*; leave `tokenizer` out",
        ),
    ],
)
def test_what_does_not_fit_is_named(change, words):
    pair = PAIRS["mgca_resnet"]()
    with pytest.raises(InputError, match=r"recognised as mgca_resnet, MGCA \(ResNet-50\): .*" + words):
        imported("mgca_resnet", pair, change(pair.weights))


def test_a_text_side_in_its_own_file():
    pair = PAIRS["biovil"]()
    own, pair.own = pair.own, None
    with pytest.raises(InputError, match="comes in a file of its own; give it as `text_checkpoint`"):
        imported("biovil", pair)
    pair.own = {**own, "momentum.x": torch.zeros(1)}
    with pytest.raises(InputError, match=r"1 weights unexpected in its text file: momentum\.x"):
        imported("biovil", pair)
    other = PAIRS["gloria"]()
    other.own = own
    with pytest.raises(InputError, match="is in the same file; drop `text_checkpoint`"):
        imported("gloria", other)


def test_what_stands_for_an_earlier_image_must_fit():
    pair = PAIRS["biovil_t"]()
    pair.weights["encoder.missing_previous_emb"] = torch.zeros(1, 7, 1, 1)
    words = (
        r"projector\.model\.0\.weight reads 80 channels, of which encoder\.backbone_to_vit gives 40 and .* 7"
    )
    with pytest.raises(InputError, match=words):
        imported("biovil_t", pair)


def test_texts_are_put_into_lower_case(vocabulary):
    tokenizer = tokenizer_for(str(vocabulary), len(WORDS))
    assert tokenizer.encode("NO Pneumothorax", add_special_tokens=False).tokens == [
        "no",
        "pneumo",
        "##thorax",
    ]


def test_a_tokenizer_of_another_release_is_refused(vocabulary, tmp_path):
    with pytest.raises(InputError, match=r"vocab\.txt has 18 words, the text encoder 28996"):
        tokenizer_for(str(vocabulary), 28996)
    with pytest.raises(InputError, match=r"holds neither tokenizer\.json nor vocab\.txt"):
        tokenizer_for(str(tmp_path), 18)
    with pytest.raises(InputError, match="neither a file or folder nor a hub name"):
        tokenizer_for(str(tmp_path / "none" / "x"), 18)
