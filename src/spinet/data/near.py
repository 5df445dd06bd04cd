"""Images that look alike: copies, other encodings of one image, neighbouring frames of a video."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from spinet.formats.images import to_rgb, without_pillow_limit

# Images are near duplicates when their thumbnails (of this side) correlate by this much: re-encoded and resized copies
# do by 0.99, neighboring video frames by 0.95, and two images of similar things by less than 0.9.
THUMBNAIL, NEAR = 32, 0.95
# Below this standard deviation of grey levels a thumbnail is too flat to be compared.
FLAT = 1.0
# JPEG files are decoded at about this size, which is several times faster; the correlation changes by less than 0.01.
DRAFT, MARGIN = (256, 256), 0.01
BLOCK = 2048

Thumbnail = NDArray[np.float16]


def thumbnail(grey: Image.Image) -> Thumbnail | None:
    """Return `(1024,)` values of mean 0 and length 1, whose products are correlations; None for a flat image."""
    values = np.asarray(grey.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX), dtype=np.float32).ravel()
    values = values - values.mean()
    if values.std() < FLAT:
        return None
    # Half precision is enough for a correlation, and a hundred thousand thumbnails are held in memory.
    small: Thumbnail = (values / np.linalg.norm(values)).astype(np.float16)
    return small


def near_blocks(thumbnails: Sequence[Thumbnail], limit: float = NEAR) -> Iterator[tuple[int, int, NDArray[np.bool_]]]:
    """Yield blocks of the upper triangle of the matrix that says which images look alike, with their first indices."""
    if not thumbnails:
        return
    whole = np.stack(thumbnails)
    # Block by block, because all pairs of a large dataset do not fit into memory.
    for top in range(0, len(whole), BLOCK):
        rows = whole[top : top + BLOCK].astype(np.float32)
        for left in range(top, len(whole), BLOCK):
            alike = rows @ whole[left : left + BLOCK].astype(np.float32).T >= limit
            yield top, left, np.triu(alike, 1) if left == top else alike


def near_groups(paths: Sequence[Path]) -> list[int]:
    """Return a number for each image file, the same for images that look alike, also by way of others.

    Files that cannot be read are groups of their own. The result is kept for the next call with the same files.
    """
    return list(_groups(tuple((path, *_version(path)) for path in paths)))


def _version(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_mtime_ns, found.st_size


@lru_cache(maxsize=4)
def _groups(files: tuple[tuple[Path, int, int], ...]) -> tuple[int, ...]:
    with without_pillow_limit(), ThreadPoolExecutor(2) as pool:
        found = list(pool.map(_read, (path for path, _, _ in files)))
    known = [number for number, small in enumerate(found) if small is not None]
    group = np.arange(len(known))
    for top, left, alike in near_blocks([small for small in found if small is not None], NEAR - MARGIN):
        rows, columns = alike.any(axis=1), slice(left, left + alike.shape[1])
        alike, places = alike[rows], top + np.flatnonzero(rows)
        while len(places):
            low = np.where(alike, group[columns], len(known)).min(axis=1)
            high = np.where(alike, group[columns], -1).max(axis=1)
            pairs = {(one, other) for edge in (low, high) for one, other in zip(group[places], edge, strict=True)}
            pairs = {(int(one), int(other)) for one, other in pairs if one != other}
            if not pairs:
                break
            group = _merged(group, pairs)
    numbers = np.arange(len(files))
    numbers[known] = np.asarray(known, dtype=np.int64)[group] if known else []
    return tuple(numbers.tolist())


def _merged(group: NDArray[np.int64], pairs: set[tuple[int, int]]) -> NDArray[np.int64]:
    """Join pairs of groups; each group keeps its lowest number."""
    parent = list(range(len(group)))

    def root(number: int) -> int:
        while parent[number] != number:
            parent[number] = parent[parent[number]]
            number = parent[number]
        return number

    for one, other in pairs:
        low, high = sorted((root(one), root(other)))
        parent[high] = low
    return np.array([root(number) for number in range(len(group))])[group]


def _read(path: Path) -> Thumbnail | None:
    try:
        with Image.open(path) as image:
            image.draft(None, DRAFT)
            return thumbnail(to_rgb(image).convert("L"))
    # As in `read_image`: a corrupt file may raise nearly anything, and is reported when it is read.
    except Exception:
        return None
