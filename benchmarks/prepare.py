"""Preparation at scale. Run: python benchmarks/prepare.py [--images 20000] [--size 224] [--side 256]

Writes a folder of JPEG files that are copies of a few simulated films (every file is a file of its own and is
decoded), prepares it with the reader `folder` at a tenth of the count and at the count, and prints images per
second and core, the largest memory, and the disk; then what that means for the 377,110 images
of MIMIC-CXR, whose files have about 2544 x 3056 pixels: `--side 2760` gives films of as many. Everything lies
in a temporary folder that is removed.
"""

import argparse
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from prior.phantom.film import take_film
from prior.phantom.hospital import generator, plan
from prior.phantom.radiograph import SCANNERS

FILMS, MIMIC = 4, 377_110


def write_films(folder: Path, side: int) -> list[Path]:
    paths = []
    for study in plan("mimic_cxr", FILMS, 0):
        rng = generator(0, "mimic_cxr", 1, study.index)
        film = take_film(study.body, study.pose, study.findings, SCANNERS["mimic_cxr"], min(side, 1024), rng)
        grain = np.random.default_rng(study.index).normal(0, 4, (side, side))
        picture = np.asarray(Image.fromarray(film.image).resize((side, side)), dtype=float) + grain
        paths.append(folder / f"film{study.index}.jpg")
        Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8)).save(paths[-1], quality=95)
    return paths


def write_tree(root: Path, count: int, films: list[Path]) -> int:
    lines, written = ["path,patient_id,Edema"], 0
    for number in range(count):
        path = root / f"{number // 1000:03d}" / f"{number:06d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        film = films[number % len(films)]
        shutil.copyfile(film, path)
        written += film.stat().st_size
        lines.append(f"{path.relative_to(root)},P{number // 2:06d},{number % 3 % 2}")
    (root / "images.csv").write_text("\n".join(lines) + "\n")
    return written


def measure(root: Path, out: Path, size: int) -> tuple[float, float, float]:
    """Return wall seconds, CPU seconds and peak memory (MB) of one preparation by one process."""
    code = (
        "import resource, sys; from pathlib import Path; from prior.data.prepare import prepare\n"
        f"prepare('folder', Path({str(root)!r}), Path({str(out)!r}), {size})\n"
        "print(max(resource.getrusage(who).ru_maxrss for who in "
        "(resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 1024)"
    )
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - start, used, float(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--side", type=int, default=256)
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # so that the folder goes then, too
    print(
        "| images | pixels a side | wall, s | CPU, s | images/s/core | peak memory, MB | raw, MB | made, MB |"
    )
    print("|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        films = write_films(folder, given.side)
        for count in (given.images // 10, given.images):
            root, out = folder / f"raw{count}", folder / f"out{count}"
            raw = write_tree(root, count, films)
            wall, used, peak = measure(root, out, given.size)
            made = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
            print(
                f"| {count:,} | {given.side} | {wall:.1f} | {used:.1f} | {count / used:.0f} | {peak:.0f} | "
                f"{raw / 1e6:,.0f} | {made / 1e6:,.0f} |",
                flush=True,
            )
            shutil.rmtree(root)
            shutil.rmtree(out)
    print(
        f"\nMIMIC-CXR, {MIMIC:,} images: {MIMIC / (count / used) / 3600:.1f} core hours, "
        f"{MIMIC * made / count / 1e9:.1f} GB made"
    )


if __name__ == "__main__":
    main()
