"""Perceptual hashes of radiographs, and the search for copies: one film re-encoded, resized or rewritten.

A hash is the signs of 256 coefficients of the cosine transform of the film at 32 x 32 pixels, lowest
frequencies first; the six lowest are left out, since they say how a chest film is lit, not which one it is
(the idea is that of pHash: Zauner 2010, "Implementation and benchmarking of perceptual image hash
functions"). The first 64 bits propose pairs and all 256 decide: 64 alone cannot tell films of a hundred
thousand chests apart.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

SIDE = 32
SKIPPED, BITS, KEY_BITS = 6, 256, 64
# docs/leaks.md has the distances of copies, of follow-ups and of strangers that these were chosen by.
KEY_DISTANCE, DISTANCE = 4, 12
FLAT = 1e-6

Signatures = NDArray[np.uint64]


def _basis() -> NDArray[np.float64]:
    """Return the rows of the cosine transform, [frequency, pixel]."""
    frequency, pixel = np.mgrid[:SIDE, :SIDE]
    return np.cos(np.pi * (2 * pixel + 1) * frequency / (2 * SIDE))


def _zigzag() -> NDArray[np.int64]:
    """Return the flat positions of the hashed coefficients, by sum of both frequencies."""
    row, column = (axis.ravel() for axis in np.mgrid[:SIDE, :SIDE])
    return np.lexsort((row, row + column))[SKIPPED : SKIPPED + BITS]


BASIS, ZIGZAG = _basis(), _zigzag()


def perceptual_hash(pixels: NDArray[np.uint8]) -> str:
    """Return the hash of a decoded image [h, w] of any size as 64 hex digits."""
    small = Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BOX)
    coefficients = BASIS @ np.asarray(small, dtype=np.float64) @ BASIS.T
    # An image without detail has rounding errors for coefficients; they must not become bits.
    return np.packbits(coefficients.ravel()[ZIGZAG] > FLAT).tobytes().hex()


def signatures(hashes: pd.Series) -> Signatures:
    """Return hashes as uint64 [n, 4]; the first column is the key."""
    words = np.frombuffer(bytes.fromhex("".join(hashes)), dtype=">u8")
    return words.astype(np.uint64).reshape(-1, BITS // 64)


@dataclass(frozen=True)
class Copies:
    """Which images of a list look alike.

    Attributes:
        group: int [n]; images with equal hashes have the same number.
        pairs: int [p, 2]; groups whose hashes are close.
    """

    group: NDArray[np.int64]
    pairs: NDArray[np.int64]

    def among(self, left: NDArray[np.bool_], right: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Mark the images of `right` [n] that have a copy in `left` [n], be it the same image."""
        seen = np.zeros(self.group.max(initial=-1) + 1, dtype=bool)
        seen[self.group[left]] = True
        near = seen.copy()
        near[self.pairs[seen[self.pairs[:, 0]], 1]] = True
        near[self.pairs[seen[self.pairs[:, 1]], 0]] = True
        return right & near[self.group]


def find_copies(found: Signatures) -> Copies:
    """Find all pairs of n images whose hashes are close, in memory that grows with n.

    Two keys that differ in at most four of 64 bits agree in one of five bands, so only images that share a
    band are compared.

    Args:
        found: uint64 [n, 4], see `signatures`.
    """
    unique, group = np.unique(found, axis=0, return_inverse=True)
    close = [_confirmed(unique, first, second) for first, second in _candidates(unique[:, 0])]
    pairs = np.concatenate([np.empty((0, 2), dtype=np.int64), *close])
    return Copies(group.reshape(-1), np.unique(pairs, axis=0))


def _candidates(keys: NDArray[np.uint64]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield positions of keys that share a band and differ in at most `KEY_DISTANCE` bits."""
    bits = np.unpackbits(keys.astype(">u8").view(np.uint8).reshape(-1, 8), axis=1)
    bands = KEY_DISTANCE + 1
    for band in range(bands):
        # Every fifth bit: low frequencies vary less than high ones, and no band may hold only those.
        packed = np.packbits(bits[:, band::bands], axis=1)
        value = packed[:, 0].astype(np.int64) << 8 | packed[:, 1]
        order = np.argsort(value, kind="stable")
        value, sorted_keys = value[order], keys[order]
        first = np.arange(len(keys))
        for step in range(1, len(keys)):
            first = first[: np.searchsorted(first, len(keys) - step)]
            first = first[value[first] == value[first + step]]
            if not len(first):
                break
            near = np.bitwise_count(sorted_keys[first] ^ sorted_keys[first + step]) <= KEY_DISTANCE
            yield order[first[near]], order[first[near] + step]


def _confirmed(unique: Signatures, first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the pairs [p, 2] whose whole hashes are close, lower position first."""
    distance = np.bitwise_count(unique[first] ^ unique[second]).sum(axis=1, dtype=np.int64)
    kept = np.stack([first, second], axis=1)[distance <= DISTANCE]
    return np.sort(kept, axis=1)
