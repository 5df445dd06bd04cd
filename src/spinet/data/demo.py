"""A small generated detection dataset: handwritten digits on photos, with exact boxes and masks."""

import hashlib
import json
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from spinet.data.digits import draw_picture
from spinet.data.images import read_image
from spinet.errors import SpinetError
from spinet.extras import import_extra

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

# Part of the folder name: raise it when the same arguments give different images.
VERSION = 1

# Photos in scikit-image's wheel; the splits share none.
PHOTOS = {
    "train": ("astronaut.png", "brick.png", "camera.png", "coffee.png", "grass.png", "ihc.png", "rocket.jpg"),
    "val": ("chelsea.png", "coins.png", "gravel.png", "motorcycle_left.png", "retina.jpg"),
}
INFO = {
    "description": "Digits of the UCI 'Optical Recognition of Handwritten Digits' data set (CC BY 4.0),"
    " which comes with scikit-learn, on photos that come with scikit-image."
}
TRAIN_FRACTION = 0.8

Digits = tuple[NDArray[np.uint8], NDArray[np.int64]]


@dataclass(frozen=True)
class _Plan:
    classes: int
    train_images: int
    val_images: int
    image_size: int
    object_sizes: tuple[int, int]
    objects_per_image: tuple[int, int]
    seed: int

    def __post_init__(self) -> None:
        if not 1 <= self.classes <= len(NAMES):
            raise SpinetError(f"classes is {self.classes}; must be from 1 to {len(NAMES)}")
        if self.train_images < 1 or self.val_images < 1:
            raise SpinetError(
                f"train_images is {self.train_images} and val_images {self.val_images}; must be at least 1"
            )
        if not 16 <= self.image_size <= 4096:
            raise SpinetError(f"image_size is {self.image_size}; must be from 16 to 4096 pixels")
        if not 8 <= self.object_sizes[0] <= self.object_sizes[1] <= self.image_size:
            raise SpinetError(
                f"object_sizes is {self.object_sizes}; must be (smallest, largest)"
                f" with 8 <= smallest <= largest <= image_size, which is {self.image_size}"
            )
        if not 0 <= self.objects_per_image[0] <= self.objects_per_image[1]:
            raise SpinetError(
                f"objects_per_image is {self.objects_per_image}; must be (fewest, most) with 0 <= fewest <= most"
            )

        if self.seed < 0:
            raise SpinetError(f"seed is {self.seed}; must be at least 0")

    @property
    def folder_name(self) -> str:
        digest = hashlib.sha256(json.dumps([VERSION, asdict(self)]).encode()).hexdigest()[:10]
        return f"digits{self.classes}-{self.image_size}px-{self.train_images}+{self.val_images}-{digest}"


def make_demo_dataset(
    root: str | Path,
    *,
    classes: int = 10,
    train_images: int = 800,
    val_images: int = 100,
    image_size: int = 128,
    object_sizes: tuple[int, int] = (16, 96),
    objects_per_image: tuple[int, int] = (1, 4),
    seed: int = 0,
) -> Path:
    """Generate a dataset in COCO format, or return the one generated before with the same arguments.

    Digits of random size and color, without overlap, on crops of photos; the splits share neither digits nor photos.
    Train without flips: a mirrored digit is not a digit.

    Args:
        root: parent of the dataset folder.
        classes: number of digits, 1 to 10; category ids are 1 to `classes`.
        train_images: number of training images.
        val_images: number of validation images.
        image_size: side of the square images, in pixels.
        object_sizes: smallest and largest long side of a box, in pixels, plus or minus two; log-uniform.
        objects_per_image: fewest and most objects; images without enough room have fewer.
        seed: of everything random.

    Returns:
        The dataset folder, for `CocoDataset`.

    Raises:
        SpinetError: an argument is out of range, scikit-learn or scikit-image is missing, or writing failed.
    """
    plan = _Plan(classes, train_images, val_images, image_size, object_sizes, objects_per_image, seed)
    root = Path(root)
    target = root / plan.folder_name
    if target.is_dir():
        return target
    digits, photo_folder = _sources()
    try:
        root.mkdir(parents=True, exist_ok=True)
        # Written under another name and renamed, so that a killed process leaves no partial dataset.
        with tempfile.TemporaryDirectory(prefix=".demo-", dir=root) as temporary:
            built = Path(temporary) / "dataset"
            for split in ("train", "val"):
                _write_split(built, split, plan, digits, photo_folder)
            # Of two concurrent processes the second keeps the result of the first.
            if not target.is_dir():
                built.rename(target)
    except OSError as error:
        if not target.is_dir():
            raise SpinetError(f"could not write the demo dataset {target}: {error.strerror}") from error
    return target


def _sources() -> tuple[Digits, Path]:
    """Return the digits as (images `(1797, 8, 8)`, classes `(1797,)`) and the folder of photos."""
    photos = import_extra("skimage.data", "demo", "the demo dataset")
    digits = import_extra("sklearn.datasets", "demo", "the demo dataset").load_digits()
    return ((digits.images * 15.9375).astype(np.uint8), digits.target), Path(photos.data_dir)


def _write_split(root: Path, split: str, plan: _Plan, digits: Digits, photo_folder: Path) -> None:
    rng = np.random.default_rng([plan.seed, split == "val"])
    pool = _digit_pool(split, plan, digits)
    photos = [Image.fromarray(read_image(photo_folder / name).permute(1, 2, 0).numpy()) for name in PHOTOS[split]]
    folder = root / split
    folder.mkdir(parents=True)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id in range(1, (plan.train_images if split == "train" else plan.val_images) + 1):
        pixels, objects = draw_picture(
            rng,
            pool,
            photos,
            size=plan.image_size,
            object_sizes=plan.object_sizes,
            objects_per_image=plan.objects_per_image,
        )
        name = f"{image_id:06d}.jpg"
        Image.fromarray(pixels).save(folder / name, quality=95, subsampling=0)
        images.append({"id": image_id, "file_name": name, "width": plan.image_size, "height": plan.image_size})
        for entry in objects:
            annotations.append({"id": len(annotations) + 1, "image_id": image_id, "iscrowd": 0} | entry)
    content = {
        "info": INFO,
        "images": images,
        "annotations": annotations,
        "categories": [{"id": digit + 1, "name": NAMES[digit]} for digit in range(plan.classes)],
    }
    file = root / "annotations" / f"instances_{split}.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(content, separators=(",", ":")))


def _digit_pool(split: str, plan: _Plan, digits: Digits) -> list[NDArray[np.uint8]]:
    """Return the digits of each class in a split, `(N, 8, 8)`."""
    images, classes = digits
    rng = np.random.default_rng([plan.seed, 2])
    pool = []
    for digit in range(plan.classes):
        shuffled = rng.permutation(images[classes == digit])
        cut = int(TRAIN_FRACTION * len(shuffled))
        pool.append(shuffled[:cut] if split == "train" else shuffled[cut:])
    return pool
