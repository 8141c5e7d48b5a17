"""Real DICOM files (secondary capture of a chest film, uncompressed or as the datasets have them: 8 bit)."""

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom import config
from pydicom.dataelem import DataElement
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, JPEGBaseline8Bit, SecondaryCaptureImageStorage

from prior.data.files import atomic_path


def write_dicom(
    path: Path,
    image: NDArray[np.uint8],
    uids: tuple[str, str, str],
    patient: str,
    sex: str,
    age: int,
    view: str,
) -> None:
    """Write a gray 8-bit film as JPEG-compressed DICOM, the encoding of the RSNA and SIIM files.

    Args:
        path: file to write.
        image: uint8 [H, W]; Rows and Columns are its shape.
        uids: study, series and instance UID.
        patient: PatientID.
        sex: M or F.
        age: years.
        view: AP or PA.
    """
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = UID(uids[2])
    meta.TransferSyntaxUID = JPEGBaseline8Bit
    data = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = SecondaryCaptureImageStorage, UID(uids[2])
    data.StudyInstanceUID, data.SeriesInstanceUID = UID(uids[0]), UID(uids[1])
    data.StudyDate = data.ContentDate = "19010101"
    data.StudyTime = data.ContentTime = "000000.00"
    data.AccessionNumber = data.StudyID = data.ReferringPhysicianName = ""
    data.Modality, data.ConversionType, data.BodyPartExamined = "CR", "WSD", "CHEST"
    data.SeriesDescription, data.ViewPosition = f"view: {view}", view
    data.PatientName = data.PatientID = patient
    data.PatientBirthDate, data.PatientSex = "", sex
    # The real files hold bare years, which the standard forbids; readers must live with it.
    data["PatientAge"] = DataElement("PatientAge", "AS", str(age), validation_mode=config.IGNORE)
    data.SeriesNumber = data.InstanceNumber = "1"
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.Rows, data.Columns = image.shape
    data.PixelSpacing = [f"{350 / image.shape[0]:.5f}"] * 2
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 8, 8, 7, 0
    data.LossyImageCompression, data.LossyImageCompressionMethod = "01", "ISO_10918_1"
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="JPEG", quality=92)
    data.PixelData = encapsulate([buffer.getvalue()])
    data["PixelData"].is_undefined_length = True
    with atomic_path(path) as temporary:
        data.save_as(temporary, enforce_file_format=True)
