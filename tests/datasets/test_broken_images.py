"""Missing, cut and over-large images of every reader: refused, or listed and left out if that is allowed."""

import io
import shutil
import zlib
from pathlib import Path

import pandas as pd
import pydicom
import pytest
from PIL import Image

from prior.data.pixels import TOO_LARGE, image_shape
from prior.data.prepare import prepare
from prior.data.prepared import PreparedDataset
from prior.datasets import READERS, load_reader
from prior.errors import InputError
from tests.datasets.archives import archive

pytestmark = [
    pytest.mark.filterwarnings("ignore:Invalid value for VR AS"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:pycocotools"),
]
TREES = {name: (name, ".") for name in READERS if "x200" not in name}
TREES |= {f"chexpert_5x200_{name}": ("chexpert", ".") for name in ("gloria", "mgca", "prior")}
TREES |= {f"iu_xray {layout}": ("iu_xray", layout) for layout in ("open_i", "r2gen")}
TREES |= {f"siim {layout}": (f"siim:{layout}", ".") for layout in ("stage_2", "png")}
TREES |= {f"covidx {layout}": (f"covidx:{layout}", ".") for layout in ("6", "9B", "CXR-4")}
UNLISTED = {"kermany_release", "covid_rural"}  # their images are those that are there
EDGE = 40_000


def tree(case: str, folder: Path) -> tuple[str, Path]:
    key, below = TREES[case]
    return case.split(" ")[0], Path(shutil.copytree(archive(key), folder / "raw")) / below


def declare_huge(path: Path) -> None:
    """Make the header of an image say 40,000 x 40,000, without a pixel more."""
    if path.suffix.lower() in (".dcm", ".dicom"):
        data = pydicom.dcmread(path)
        data.Rows = data.Columns = EDGE
        data.save_as(path)
        return
    buffer = io.BytesIO()
    Image.new("L", (8, 8)).save(buffer, format="PNG")
    content = bytearray(buffer.getvalue())
    content[16:24] = EDGE.to_bytes(4, "big") * 2
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    path.write_bytes(content)


def sources(name: str, root: Path) -> tuple[Path, list[str]]:
    raw = load_reader(name).read(root)
    return raw.root, raw.images["source"].tolist()


def leftovers(out: Path) -> list[Path]:
    found = [path for path in out.rglob("*") if path.is_file()] if out.exists() else []
    return [path for path in found if not path.parent.name.startswith(".partial-")]


@pytest.mark.parametrize("case", [case for case in TREES if case not in UNLISTED])
def test_a_missing_image_is_named_before_anything_is_decoded(case, tmp_path):
    name, root = tree(case, tmp_path)
    folder, listed = sources(name, root)
    (folder / listed[1]).unlink()
    with pytest.raises(InputError) as caught:
        prepare(name, root, tmp_path / "out", 16)
    place = load_reader(name).read(root).images["source"].iloc[1]
    assert str(caught.value) == (
        f"{folder / place} is listed but does not exist (1 of {len(listed)} images are missing, 0 may be); "
        "copy the images or remove their rows"
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("case", TREES)
def test_cut_and_huge_images_are_refused_or_listed_and_left_out(case, tmp_path):
    name, root = tree(case, tmp_path)
    folder, listed = sources(name, root)
    cut, huge = listed[1], listed[3]
    (folder / cut).write_bytes((folder / cut).read_bytes()[:90])
    declare_huge(folder / huge)
    assert image_shape(folder / huge) is None
    with pytest.raises(InputError) as caught:
        prepare(name, root, tmp_path / "out", 16, max_unreadable=1)
    assert str(caught.value).startswith(
        f"2 of {len(listed)} images will not open (allowed: 1); the first is {folder / cut}: "
        "the image cannot be decoded ("
    )
    assert leftovers(tmp_path / "out") == []
    manifest = prepare(name, root, tmp_path / "out", 16, max_unreadable=2)
    lost = {item["examples"][0]: item for item in manifest["dropped"] if "will not open" in item["reason"]}
    assert set(lost) == {cut, huge}
    assert lost[huge]["reason"] == f"image will not open: {TOO_LARGE}"
    data = PreparedDataset(tmp_path / "out")
    assert len(data.images) == len(listed) - 2
    known = set(data.images["image_id"])
    for table in (data.labels, data.boxes, data.masks):
        assert set(table["image_id"]) <= known
    assert set(pd.read_parquet(next((tmp_path / "out/splits").iterdir()))["image_id"]) <= known
