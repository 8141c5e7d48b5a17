import numpy as np
import pytest
from PIL import Image

from prior.data.pixels import load_pixels
from prior.errors import InputError
from tests.datasets.trees import picture, write_dicom


def test_monochrome1_is_inverted(tmp_path):
    pixels = picture(0)
    write_dicom(tmp_path / "a.dcm", pixels)
    write_dicom(tmp_path / "b.dcm", pixels, PhotometricInterpretation="MONOCHROME1")
    assert (load_pixels(tmp_path / "a.dcm").pixels == pixels).all()
    assert (load_pixels(tmp_path / "b.dcm").pixels == 255 - pixels).all()


def test_sixteen_bit_dicom_is_windowed(tmp_path):
    ramp = np.linspace(0, 4000, 40 * 32).reshape(40, 32).astype(np.uint16)
    write_dicom(tmp_path / "a.dcm", ramp, WindowCenter=2000, WindowWidth=1000)
    out = load_pixels(tmp_path / "a.dcm").pixels
    assert out.dtype == np.uint8
    assert (out[ramp < 1400] == 0).all()
    assert (out[ramp > 2600] == 255).all()


def test_sixteen_bit_png_uses_its_range(tmp_path):
    ramp = np.linspace(1000, 30000, 64).reshape(8, 8).astype(np.uint16)
    Image.fromarray(ramp).save(tmp_path / "a.png")
    out = load_pixels(tmp_path / "a.png").pixels
    assert (out.min(), out.max()) == (0, 255)


def test_a_large_jpeg_is_decoded_smaller_but_keeps_its_size(tmp_path):
    Image.fromarray(np.full((800, 600), 120, dtype=np.uint8)).save(tmp_path / "a.jpg")
    picture_ = load_pixels(tmp_path / "a.jpg", at_least=64)
    assert (picture_.height, picture_.width) == (800, 600)
    assert 64 <= min(picture_.pixels.shape) < 600


@pytest.mark.parametrize(
    ("age", "years"), [("051Y", 51.0), ("006M", 0.5), ("51", 51.0), ("151", None), ("", None)]
)
def test_header_facts(tmp_path, age, years):
    write_dicom(tmp_path / "a.dcm", picture(0), PatientAge=age, PatientSex="O", ViewPosition="PA")
    assert load_pixels(tmp_path / "a.dcm").header == {"view": "PA", "sex": None, "age": years}


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.dcm"])
def test_a_damaged_file_names_itself(tmp_path, name):
    (tmp_path / name).write_bytes(b"not an image")
    with pytest.raises(InputError, match=name):
        load_pixels(tmp_path / name)
