import re
import resource
import zlib
from functools import partial

import gdcm
import numpy as np
import pydicom
import pytest
from PIL import Image

from prior.data.pixels import image_shape, load_pixels
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


def compress(path, syntax):
    """Rewrite a DICOM file in another transfer syntax of gdcm."""
    reader = gdcm.ImageReader()
    reader.SetFileName(str(path))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, syntax)))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(path))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()


LOSSLESS = [
    "JPEGLosslessProcess14",
    "JPEGLosslessProcess14_1",
    "JPEGLSLossless",
    "JPEG2000Lossless",
    "RLELossless",
]


@pytest.mark.parametrize("syntax", LOSSLESS)
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_compressed_dicom_equals_the_plain_one(tmp_path, syntax, bits, photometric):
    pixels = np.arange(48 * 64).reshape(48, 64)
    pixels = pixels.astype(np.uint16) * 20 if bits == 16 else (pixels % 251).astype(np.uint8)
    for name in ("plain", "packed"):
        write_dicom(tmp_path / f"{name}.dcm", pixels, PhotometricInterpretation=photometric)
    compress(tmp_path / "packed.dcm", syntax)
    assert pydicom.dcmread(tmp_path / "packed.dcm").file_meta.TransferSyntaxUID.is_compressed
    plain, packed = (load_pixels(tmp_path / f"{name}.dcm").pixels for name in ("plain", "packed"))
    assert (plain == packed).all()
    assert len(np.unique(plain)) > 200


@pytest.mark.parametrize("syntax", ["JPEGBaselineProcess1", "JPEGLSNearLossless", "JPEG2000"])
def test_lossy_dicom_is_close_to_the_plain_one(tmp_path, syntax):
    pixels = np.tile(np.linspace(0, 255, 64).astype(np.uint8), (48, 1))
    write_dicom(tmp_path / "a.dcm", pixels)
    compress(tmp_path / "a.dcm", syntax)
    out = load_pixels(tmp_path / "a.dcm").pixels
    assert np.abs(out.astype(int) - pixels).max() < 20
    assert np.corrcoef(out.ravel(), pixels.ravel())[0, 1] > 0.99


@pytest.mark.parametrize("syntax", LOSSLESS[:3])
def test_a_cut_compressed_film_names_itself(tmp_path, syntax):
    write_dicom(tmp_path / "a.dcm", picture(0, 64, 64).astype(np.uint16) * 16)
    compress(tmp_path / "a.dcm", syntax)
    content = (tmp_path / "a.dcm").read_bytes()
    (tmp_path / "a.dcm").write_bytes(content[: len(content) * 2 // 3])
    with pytest.raises(InputError, match=r"a\.dcm: the image cannot be decoded"):
        load_pixels(tmp_path / "a.dcm")


def test_a_window_without_values_is_no_window(tmp_path):
    ramp = np.linspace(0, 4000, 64).reshape(8, 8).astype(np.uint16)
    write_dicom(tmp_path / "a.dcm", ramp)
    write_dicom(tmp_path / "b.dcm", ramp, WindowCenter=None, WindowWidth=None)
    assert (load_pixels(tmp_path / "a.dcm").pixels == load_pixels(tmp_path / "b.dcm").pixels).all()


def test_the_first_of_several_windows_and_the_rescaled_values_count(tmp_path):
    ramp = np.linspace(0, 4000, 40 * 32).reshape(40, 32).astype(np.uint16)
    tags = {"RescaleSlope": 2, "RescaleIntercept": -1000}
    write_dicom(tmp_path / "a.dcm", ramp, WindowCenter=[3000, 0], WindowWidth=[1000, 10], **tags)
    out = load_pixels(tmp_path / "a.dcm").pixels
    assert (out[ramp < 1740] == 0).all()
    assert (out[ramp > 2260] == 255).all()


def test_signed_values(tmp_path):
    ramp = np.linspace(-1000, 1000, 64).reshape(8, 8).astype(np.int16)
    write_dicom(tmp_path / "a.dcm", ramp, PixelRepresentation=1)
    out = load_pixels(tmp_path / "a.dcm").pixels
    assert (np.diff(out.ravel().astype(int)) >= 0).all()
    assert (out.min(), out.max()) == (0, 255)


def declare_dicom(path, **tags):
    write_dicom(path, picture(0).astype(np.uint16), **tags)


def declare_png(path):
    Image.fromarray(picture(0)).save(path)
    content = bytearray(path.read_bytes())
    content[16:24] = (40_000).to_bytes(4, "big") * 2
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    path.write_bytes(content)


def declare_jpeg(path):
    Image.fromarray(picture(0)).save(path)
    content = bytearray(path.read_bytes())
    start = content.index(b"\xff\xc0")
    content[start + 5 : start + 9] = (40_000).to_bytes(2, "big") * 2
    path.write_bytes(content)


def declare_inside_dicom(path):
    """A JPEG of 40,000 x 40,000 in a file that says 48 x 48."""
    write_dicom(path, picture(0, 48, 48))
    compress(path, "JPEGBaselineProcess1")
    content = bytearray(path.read_bytes())
    start = content.index(b"\xff\xc0")
    content[start + 5 : start + 9] = (40_000).to_bytes(2, "big") * 2
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "make", "reason"),
    [
        ("a.png", declare_png, "it declares more than 200,000,000 pixels"),
        ("a.jpg", declare_jpeg, "it declares more than 200,000,000 pixels"),
        (
            "a.dcm",
            partial(declare_dicom, Rows=40_000, Columns=40_000),
            "it declares more than 200,000,000 pixels",
        ),
        ("a.dcm", declare_inside_dicom, "*exceeds limit of 200000000 pixels*"),
        ("a.dcm", partial(declare_dicom, NumberOfFrames=2_000_000_000), "expected one grey frame"),
        ("a.dcm", partial(declare_dicom, SamplesPerPixel=3), "expected one grey frame"),
        ("a.dcm", partial(declare_dicom, Rows=0), "it declares 0 x 32 pixels"),
        ("a.dcm", partial(declare_dicom, RescaleSlope="1e308", RescaleIntercept="0"), "*finite*"),
    ],
)
def test_what_is_declared_is_checked_before_decoding(tmp_path, name, make, reason):
    path = tmp_path / name
    make(path)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError) as caught:
        load_pixels(path, 32)
    message = f"{path}: the image cannot be decoded ({reason}); replace the file or remove its row"
    assert re.fullmatch(re.escape(message).replace(r"\*", ".*"), str(caught.value)), caught.value
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB


def test_a_deflated_data_set_is_not_unpacked(tmp_path):
    write_dicom(tmp_path / "a.dcm", picture(0))
    data = pydicom.dcmread(tmp_path / "a.dcm")
    data.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    data.save_as(tmp_path / "a.dcm")
    with pytest.raises(InputError, match="a deflated data set can unpack to any size"):
        load_pixels(tmp_path / "a.dcm")


def test_the_shape_of_a_header_and_none_for_what_will_not_open(tmp_path):
    write_dicom(tmp_path / "a.DCM", picture(0, 48, 40))
    Image.fromarray(picture(0, 48, 40)).save(tmp_path / "a.PNG")
    assert image_shape(tmp_path / "a.DCM") == image_shape(tmp_path / "a.PNG") == (48, 40)
    (tmp_path / "b.dcm").write_bytes(b"x")
    assert image_shape(tmp_path / "b.dcm") is None
    assert image_shape(tmp_path / "missing.png") is None
