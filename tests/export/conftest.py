from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from prior.encoders.bundle import BundleInfo, save_bundle
from prior.encoders.image import ImageEncoderConfig
from prior.encoders.text import TextEncoderConfig
from prior.methods import convirt, random
from prior.reports.tokens import train_tokenizer
from prior.tasks.prompts import load_prompts
from tests.datasets.trees import picture, write_dicom

IMAGE = ImageEncoderConfig(name="test_resnet", input_size=32)


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    torch.set_num_threads(1)


def _scatter(module):
    """Move the weights away from where training starts: maps and features of different inputs differ."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in (*module.parameters(), *module.buffers()):
            if tensor.is_floating_point():
                tensor += 0.1 * torch.rand(tensor.shape, generator=generator)
    return module


@pytest.fixture(scope="session")
def convirt_bundle(tmp_path_factory) -> Path:
    """A bundle with text, as a training on simulated data leaves it."""
    root = tmp_path_factory.mktemp("bundles")
    prompts, _ = load_prompts("strict_22")
    corpus = [text for sides in prompts.values() for texts in sides.values() for text in texts]
    tokenizer = train_tokenizer(corpus * 3, 300, root / "tokenizer.json")
    text = TextEncoderConfig(
        vocab_size=tokenizer.get_vocab_size(), width=16, layers=1, heads=2, max_tokens=24, dropout=0.1
    )
    torch.manual_seed(0)
    method = _scatter(convirt.build({"dim": 8}, IMAGE, text))
    info = BundleInfo(
        method="convirt",
        variant="default",
        settings={"dim": 8},
        image=IMAGE,
        text=text,
        pretrain_seed=0,
        pretraining_data="mimic_cxr",
        preset="official",
        simulated=True,
        training={"image": {"size": 32, "fit": "pad"}},
        n_pretrain_pairs=100,
        samples_seen=300,
        trained_on=["aa", "bb"],
    )
    save_bundle(root / "convirt-default-s0", method, info, root / "tokenizer.json")
    return root / "convirt-default-s0"


@pytest.fixture(scope="session")
def random_bundle(tmp_path_factory) -> Path:
    """A bundle without text."""
    path = tmp_path_factory.mktemp("bundles") / "random-default-s0"
    torch.manual_seed(1)
    method = _scatter(random.build({}, IMAGE, TextEncoderConfig(vocab_size=1)))
    info = BundleInfo(
        method="random", variant="default", settings={}, image=IMAGE, text=None, pretrain_seed=0
    )
    save_bundle(path, method, info, None)
    return path


@pytest.fixture(scope="session")
def images(tmp_path_factory) -> Path:
    """A folder with radiographs of all formats, one of them further down."""
    root = tmp_path_factory.mktemp("images")
    Image.fromarray(picture(0, 90, 70)).save(root / "b.png")
    Image.fromarray(picture(1, 300, 400)).save(root / "a.JPG", format="JPEG")
    ramp = np.linspace(0, 4000, 50 * 44).reshape(50, 44).astype(np.uint16)
    inverted = {"PhotometricInterpretation": "MONOCHROME1", "WindowCenter": 2000, "WindowWidth": 3000}
    write_dicom(root / "below" / "c.dcm", ramp, **inverted)
    (root / "notes.txt").write_text("no image")
    (root / "._b.png").write_bytes(b"left by a file manager")
    return root
