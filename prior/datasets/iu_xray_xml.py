"""The XML reports of the Indiana University collection, from their folder or straight from the archive."""

import re
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pandas as pd

from prior.datasets.raw_files import parse_xml
from prior.errors import InputError

FOLDERS = ("ecgen-radiology", "reports", "open_i/ecgen-radiology")
ARCHIVES = ("NLMCXR_reports.tgz", "open_i/NLMCXR_reports.tgz")
NUMBER = re.compile("[0-9]+")
LARGEST = 4_000_000  # bytes; the largest real report has some thousands


def find_reports(root: Path) -> Path | None:
    """Return the folder or the archive of XML reports in `root`, or None."""
    folders = [root / name for name in FOLDERS if (root / name).is_dir() and any((root / name).glob("*.xml"))]
    archives = [root / name for name in ARCHIVES if (root / name).is_file()]
    return next(iter([*folders, *archives]), None)


def read_reports(root: Path) -> tuple[Path, pd.DataFrame, pd.DataFrame]:
    """Read all reports, complete or not, in the order of their numbers.

    Returns:
        Where they were found; uid (digits), findings, impression (empty if there is none), major and
        automatic (lists of tags in lower case); and uid and name of every image that a report names.

    Raises:
        InputError: a report is damaged, has no or another's number, or there are none.
    """
    where = find_reports(root)
    if where is None:
        raise InputError(f"{root / FOLDERS[0]}/ is missing; unpack NLMCXR_reports.tgz there")
    files = _from_folder(where) if where.is_dir() else from_archive(where)
    studies: list[dict[str, Any]] = []
    images: list[tuple[str, str]] = []
    seen: dict[str, str] = {}
    for name, data in files:
        study, names = _parse(parse_xml(data, name), name)
        uid = study["uid"]
        if uid in seen:
            raise InputError(f"{name}: report CXR{uid} is also in {seen[uid]}; remove one of the two")
        seen[uid] = name
        studies.append(study)
        images += [(uid, image) for image in names]
    if not studies:
        raise InputError(f"{where} holds no XML report; download it again")
    order = sorted(range(len(studies)), key=lambda row: (len(studies[row]["uid"]), studies[row]["uid"]))
    return where, pd.DataFrame([studies[row] for row in order]), pd.DataFrame(images, columns=["uid", "name"])


def _from_folder(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.glob("*.xml")):
        try:
            if path.stat().st_size > LARGEST:
                raise InputError(f"{path} has more than {LARGEST:,} bytes, which is no report; replace it")
            data = path.read_bytes()
        except OSError as error:
            raise InputError(f"{path} cannot be read ({error.strerror}); replace it") from None
        yield str(path), data


def from_archive(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield name and bytes of the XML files of an archive.

    They are read in memory: nothing is unpacked, so their paths cannot lead anywhere.

    Raises:
        InputError: the archive is damaged or a file too large.
    """
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                stream = archive.extractfile(member) if member.name.endswith(".xml") else None
                if stream is None:
                    continue
                if member.size > LARGEST:
                    raise InputError(f"{path}: {member.name} has more than {LARGEST:,} bytes; replace it")
                yield f"{path}: {member.name}", stream.read()
    except (OSError, tarfile.TarError, EOFError, ValueError, zlib.error) as error:
        raise InputError(f"{path} cannot be read ({error}); download it again") from None


def _parse(tree: ElementTree.Element, name: str) -> tuple[dict[str, Any], list[str]]:
    element = tree.find("uId")
    uid = "" if element is None else element.get("id", "").removeprefix("CXR")
    if not NUMBER.fullmatch(uid):
        raise InputError(f"{name} has no uId such as CXR1; use the report as released")
    parts = {part.get("Label", ""): (part.text or "").strip() for part in tree.iter("AbstractText")}
    study = {
        "uid": uid,
        "findings": parts.get("FINDINGS", ""),
        "impression": parts.get("IMPRESSION", ""),
        "major": _tags(tree, "major"),
        "automatic": _tags(tree, "automatic"),
    }
    names = [image.get("id", "") for image in tree.iter("parentImage")]
    if not all(names):
        raise InputError(f"{name} has a parentImage without id; use the report as released")
    return study, names


def _tags(tree: ElementTree.Element, kind: str) -> list[str]:
    return [tag.text.strip().lower() for tag in tree.iter(kind) if tag.text]
