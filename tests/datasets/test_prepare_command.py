"""`prior prepare <dataset> --root <download>`, as users call it: without workflow, params.yaml, network."""

import json
import os
import signal
import socket
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

from prior import params
from prior.cli import app
from prior.data.prepare import prepare
from prior.data.prepared import PreparedDataset
from prior.errors import InputError
from prior.graph import Graph
from tests.datasets import trees
from tests.datasets.archives import archive

pytestmark = pytest.mark.filterwarnings("ignore:Invalid value for VR AS")
PROJECT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-c", "from prior.cli import main; main()", "prepare"]


@pytest.fixture(autouse=True)
def no_network(monkeypatch, tmp_path):
    def refuse(*arguments):
        raise AssertionError("preparing must not use the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.chdir(tmp_path)


def run(*arguments) -> str:
    result = CliRunner().invoke(app, ["prepare", *map(str, arguments)])
    if result.exception:
        raise result.exception
    return result.output


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("nih_chestxray14", ["files     60 png", "labels    15: ", "split     official: train"]),
        ("vindr_cxr", ["files     60 dicom", "no patient key", "views     PA 60"]),
        ("covidx", ["layout    list version 9A", "files     60 jpg"]),
        ("tbx11k", ["layout    boxes from json", "boxes     "]),
        ("covid_rural", ["masks     ", "split     strict: train"]),
        ("folder", ["layout    images.csv with boxes.csv", "reports   60"]),
        ("iu_xray", ["layout    csv files", "LATERAL"]),
        ("kermany_release", ["jpeg", "Pneumonia"]),
    ],
)
def test_a_download_is_recognised_and_prepared(name, lines):
    output = run(name, "--root", archive(name), "--size", 32)
    assert output.startswith(f"reader    {name} (")
    assert all(line in output for line in lines), output
    data = PreparedDataset(Path("data/prepared") / name)
    assert data.manifest["simulated"] is True
    assert f"images    {len(data.images)} of {len(data.images)}, 32 px" in output
    assert data.pixels(32).shape == (len(data.images), 32, 32)


def test_the_command_and_the_job_of_the_workflow_give_equal_files(tmp_path):
    root = archive("nih_chestxray14")
    run("nih_chestxray14", "--root", root, "--out", tmp_path / "a", "--size", 16)
    settings = {"reader": "nih_chestxray14", "root": str(root), "size": 16, "fit": "pad"}
    settings |= {"presets": None, "simulated": True, "max_unreadable": 0}
    run("--settings", json.dumps(settings), "--out", tmp_path / "b/manifest.json")
    files = [path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file()]
    assert len(files) > 5
    assert all((tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes() for file in files)


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_an_archive_is_unpacked_once(kind, tmp_path):
    root = archive("covid_rural")
    packed = tmp_path / f"download.{kind}"
    files = [path for path in sorted(root.rglob("*")) if path.is_file()]
    if kind == "zip":
        with zipfile.ZipFile(packed, "w") as members:
            for path in files:
                members.write(path, path.relative_to(root))
    else:
        with tarfile.open(packed, "w:gz") as members:
            members.add(root, ".")
    first = run("covid_rural", "--root", packed, "--out", tmp_path / "a", "--size", 16)
    assert "60 jpg; 60 are there" in first
    packed.write_bytes(b"not read again")
    second = run("covid_rural", "--root", packed, "--out", tmp_path / "b", "--size", 16)
    assert first.replace("/a (", "/b (") == second


def hostile_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as members:
        members.writestr("images.csv", "path\n")
        members.writestr("../outside.csv", "path\n")


def hostile_tar(path: Path) -> None:
    link = tarfile.TarInfo("images")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc"
    with tarfile.open(path, "w") as members:
        members.addfile(link)


def climbing_tar(path: Path) -> None:
    with tarfile.open(path, "w") as members:
        members.addfile(tarfile.TarInfo("../outside.csv"))


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        ("a.zip", hostile_zip, "member '../outside.csv' leads out of the folder; download it again"),
        ("a.tar", climbing_tar, "member '../outside.csv' leads out of the folder; download it again"),
        ("a.tgz", hostile_tar, "cannot be unpacked .*link to an absolute path.*; download it again"),
        ("a.zip", lambda path: path.write_bytes(b"PK"), "cannot be unpacked .*; download it again"),
        ("a.rar", lambda path: path.write_bytes(b"x"), "is neither a folder nor an archive"),
    ],
)
def test_a_wrong_archive_is_one_message_and_leaves_nothing(name, make, message, tmp_path):
    packed = tmp_path / "in" / name
    packed.parent.mkdir()
    make(packed)
    with pytest.raises(InputError, match=message):
        run("folder", "--root", packed)
    assert sorted(path.name for path in tmp_path.rglob("*")) == sorted([name, "in"])


def test_one_error_in_place_of_records(tmp_path):
    root = archive("folder", tmp_path)
    (root / "scans/P0000/V00000.jpg").write_bytes(b"no image")
    done = subprocess.run(
        [*COMMAND, "folder", "--root", root, "--out", "out"], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: 1 of 60 images will not open (allowed: 0)")
    assert "Traceback" not in done.stderr
    assert not list(Path("out").glob("*.parquet")) + list(Path("out").glob("*.npy"))
    output = run("folder", "--root", root, "--out", "out", "--max-unreadable", 1)
    assert "left out  1: image will not open: it is no image (such as scans/P0000/V00000.jpg)" in output


def test_the_workflow_leaves_out_as_many_images_as_its_settings_allow(tmp_path):
    root = archive("folder", tmp_path)
    (root / "scans/P0000/V00000.jpg").write_bytes(b"no image")
    config = yaml.safe_load((PROJECT / "params.yaml").read_text())
    entry = {"reader": "folder", "root": str(root), "presets": ["strict"]}
    jobs = []
    for settings in (entry, entry | {"max_unreadable": 1}):
        config["datasets"]["ours"] = settings
        jobs.append(json.dumps(Graph(params.validate(config), PROJECT).prepare_settings("ours")))
    out = tmp_path / "made/manifest.json"
    with pytest.raises(InputError, match=r"1 of 60 images will not open \(allowed: 0\)"):
        run("--settings", jobs[0], "--out", out)
    run("--settings", jobs[1], "--out", out)
    assert [item["count"] for item in PreparedDataset(tmp_path / "made").manifest["dropped"]] == [1]


@pytest.mark.parametrize("arguments", [[], ["folder"], ["--root", "."], ["folder", "--settings", "{}"]])
def test_wrong_use_is_said(arguments):
    with pytest.raises(InputError, match=r"prior prepare chexpert|--settings is for the workflow"):
        run(*arguments)


def test_a_killed_run_goes_on_where_it_stopped(tmp_path):
    root, pixels = tmp_path / "raw", np.random.default_rng(0).integers(0, 255, (900, 900), dtype=np.uint8)
    root.mkdir()
    Image.fromarray(pixels).save(root / "0.png")
    for number in range(1, 320):
        os.link(root / "0.png", root / f"{number}.png")
    trees.write_csv(root / "images.csv", ["path"], [[f"{number}.png"] for number in range(320)])
    command = [*COMMAND, "folder", "--root", str(root), "--out", "out", "--size", "16"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while len(list(Path("out").glob(".partial-*/images-*.json"))) < 2:
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    kept = {path: path.stat().st_mtime_ns for path in Path("out").glob(".partial-*/images-*.json")}
    assert 2 <= len(kept) < 10
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert f"images: {len(kept)} of 10 parts are there from an earlier run" in done.stderr
    manifest = json.loads(Path("out/manifest.json").read_text())
    assert manifest == prepare("folder", root, tmp_path / "whole", 16)
    assert not list(Path("out").glob(".*"))
