"""Downloads that are still packed: zip and tar archives, unpacked beside themselves."""

import shutil
import tarfile
import zipfile
import zlib
from pathlib import Path

from prior.datasets.cells import stays_inside
from prior.errors import InputError

ENDINGS = (".zip", ".tar.gz", ".tgz", ".tar")


def unpacked(root: Path) -> Path:
    """Return `root`, or the folder beside it that holds its members if it is an archive.

    The folder has the name of the archive without its ending. If it is there already, it is used as it is; an
    interrupted unpacking leaves none.

    Raises:
        InputError: the archive is damaged, larger than the free disk, or a member leads out of the folder.
    """
    if not root.is_file():
        return root
    ending = next((ending for ending in ENDINGS if root.name.lower().endswith(ending)), None)
    if ending is None:
        raise InputError(
            f"{root} is neither a folder nor an archive ({', '.join(ENDINGS)}); give the raw folder"
        )
    target = root.with_name(root.name[: -len(ending)])
    if target.is_dir():
        return target
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        (_unzip if ending == ".zip" else _untar)(root, partial)
        partial.rename(target)
    except (
        OSError,
        EOFError,
        ValueError,
        RuntimeError,
        zlib.error,
        zipfile.BadZipFile,
        tarfile.TarError,
    ) as error:
        raise InputError(f"{root} cannot be unpacked ({error}); download it again") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return target


def _unzip(archive: Path, folder: Path) -> None:
    with zipfile.ZipFile(archive) as members:
        _require_sound(archive, [(member.filename, member.file_size) for member in members.infolist()])
        members.extractall(folder)


def _untar(archive: Path, folder: Path) -> None:
    with tarfile.open(archive) as members:
        listed = members.getmembers()
        _require_sound(archive, [(member.name, member.size) for member in listed])
        members.extractall(folder, members=listed, filter="data")


def _require_sound(archive: Path, members: list[tuple[str, int]]) -> None:
    for name, _ in members:
        if name not in (".", "./") and not stays_inside(name):
            raise InputError(f"{archive}: member {name!r} leads out of the folder; download it again")
    needed, free = sum(size for _, size in members), shutil.disk_usage(archive.parent).free
    if needed > free:
        raise InputError(
            f"{archive} unpacks to {needed / 1e9:,.1f} GB, {free / 1e9:,.1f} GB are free; make room beside it"
        )
