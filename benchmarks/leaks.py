"""Copies and leaks on the phantom: distances of hashes, speed of the search, and what presets share.

Run: python benchmarks/leaks.py --images 1000. `--real` adds the distances on a folder of radiographs named
<patient>_<number>.jpg, as NIH names its films.
"""

import argparse
import io
import resource
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from prior.data.hashes import BASIS, BITS, SIDE, ZIGZAG, find_copies, perceptual_hash, signatures
from prior.data.prepare import prepare
from prior.phantom.film import take_film
from prior.phantom.hospital import generator, plan
from prior.phantom.radiograph import SCANNERS
from prior.phantom.simulate import simulate

Film = NDArray[np.uint8]
PRESETS = {
    "rsna": ["strict", "random-70-15-15-leaky", "random-60-20-20-leaky", "stratified-70-15-15-leaky"],
    "siim": ["strict", "random-70-15-15-leaky", "siim-rows-70-15-15-leaky"],
    "chexpert": ["strict", "chexpert-valid202", "chexpert-5000-leaky"],
    "mimic_cxr": ["official", "strict"],
}


def rewritten(film: Film) -> Iterator[tuple[str, Film]]:
    """Yield the same film as others would distribute it."""
    image, (height, width) = Image.fromarray(film), film.shape
    for quality in (75, 30):
        stream = io.BytesIO()
        image.save(stream, "JPEG", quality=quality)
        yield f"JPEG, quality {quality}", np.asarray(Image.open(stream))
    yield "half the size", np.asarray(image.resize((width // 2, height // 2), Image.Resampling.BILINEAR))
    yield (
        "three quarters of the size",
        np.asarray(image.resize((width * 3 // 4, height * 3 // 4), Image.Resampling.BICUBIC)),
    )
    yield "gamma 0.8", (255 * (film / 255.0) ** 0.8).astype(np.uint8)
    yield "narrower window", np.clip((film.astype(float) - 20) * 1.15, 0, 255).astype(np.uint8)


def bits(films: Sequence[Film]) -> NDArray[np.uint8]:
    """Return the hashes as 0/1 [n, 256]."""
    words = signatures(pd.Series([perceptual_hash(film) for film in films])).astype(">u8")
    return np.unpackbits(words.view(np.uint8), axis=1)


def distances(name: str, films: Sequence[Film], owners: Sequence[object]) -> None:
    """Print the least distances of different films, and the largest of one film written again."""
    own = bits(films)
    signed = 2.0 * own - 1
    apart = ((BITS - signed @ signed.T) / 2)[np.triu_indices(len(own), 1)]
    first, second = np.triu_indices(len(own), 1)
    same = np.asarray(owners)[first] == np.asarray(owners)[second]
    for kind, chosen in (("follow-ups of a patient", apart[same]), ("different patients", apart[~same])):
        cells = [f"{value:.0f}" for value in (chosen.min(), *np.percentile(chosen, [1, 50]))]
        print(f"| {name} | {kind}, {len(chosen):,} pairs | {' | '.join(cells)} | |")
    versions = [dict(rewritten(film)) for film in films]
    for kind in versions[0]:
        moved = (bits([version[kind] for version in versions]) != own).sum(axis=1)
        cells = [f"{value:.0f}" for value in (moved.min(), *np.percentile(moved, [1, 50]), moved.max())]
        print(f"| {name} | {kind} | {' | '.join(cells)} |")


def phantom(count: int) -> tuple[list[Film], list[object]]:
    films, owners = [], []
    for study in plan("mimic_cxr", count, 0):
        rng = generator(0, "mimic_cxr", 1, study.index)
        film = take_film(study.body, study.pose, study.findings, SCANNERS["mimic_cxr"], 128, rng)
        films.append(film.image)
        owners.append(study.patient)
    return films, owners


def search(films: Sequence[Film], count: int) -> None:
    """Time the search among `count` hashes whose bits hang together as those of `films`; 1 % are copies."""
    small = [np.asarray(Image.fromarray(f).resize((SIDE, SIDE), Image.Resampling.BOX), float) for f in films]
    found = np.array([(BASIS @ film @ BASIS.T).ravel()[ZIGZAG] for film in small])
    spread = np.linalg.cholesky(np.cov(found.T) + np.diag(1e-3 * found.var(axis=0)))
    rng = np.random.default_rng(0)
    drawn = [
        np.packbits(
            rng.standard_normal((min(20_000, count - start), BITS)) @ spread.T + found.mean(0) > 0, axis=1
        )
        for start in range(0, count, 20_000)
    ]
    hashes, copied = np.concatenate(drawn), count // 100
    hashes[-copied:] = hashes[:copied]
    for row in range(count - copied, count):
        for bit in rng.choice(BITS, 4, replace=False):
            hashes[row, bit // 8] ^= 128 >> (bit % 8)
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    copies = find_copies(hashes.view(">u8").astype(np.uint64))
    more = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    seconds = time.process_time() - start
    print(
        f"\n{count:,} hashes: {seconds:.1f} s of one core, {more:.0f} MiB more; {len(copies.pairs):,} pairs, "
    )
    print(f"{copied:,} of them made by changing 4 bits of a hash")


def presets(count: int, folder: Path) -> None:
    """Print what the sides of the phantom's presets share."""
    for reader, names in PRESETS.items():
        simulate(reader, folder / reader, count, 0, 128, 1)
        manifest = prepare(reader, folder / reader, folder / f"{reader}_prepared", 96, presets=names)
        for name in names:
            leaks = manifest["leaks"][name]
            shared = [
                leaks[kind]["train-test"]
                for kind in ("patients", "identical_images", "near_duplicate_images")
            ]
            held_out = manifest["exposed"].get(name, {})
            shares = [
                f"{found['count']} of {found['of']} ({100 * found['share']:.0f} %)"
                for side in ("test", "validation")
                for kind, found in held_out.get(side, {}).items()
                if kind != "images"
            ]
            cells = [*map(str, shared), *(shares or [""] * 4)]
            print(f"| {reader} | `{name}` | {' | '.join(cells)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--preset-images", type=int, default=400)
    parser.add_argument("--hashes", type=int, default=377_110)
    parser.add_argument("--real", type=Path)
    given = parser.parse_args()
    print("| films | | least | 1 % | median | most |\n|---|---|---|---|---|---|")
    films, owners = phantom(given.images)
    distances("phantom", films, owners)
    if given.real:
        paths = sorted(given.real.glob("*.jpg"))
        films = [np.asarray(Image.open(path).convert("L")) for path in paths]
        distances("real", films, [path.name.partition("_")[0] for path in paths])
    start = time.process_time()
    for film in films:
        perceptual_hash(film)
    each = (time.process_time() - start) / len(films)
    print(f"\nhash of a film of {films[0].shape[0]} x {films[0].shape[1]} px: {1000 * each:.2f} ms")
    search(films, given.hashes)
    print("\n| data | preset | patients | identical | alike | test patients | positive test images | "
          "validation patients | positive validation images |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        presets(given.preset_images, Path(folder))


if __name__ == "__main__":
    main()
