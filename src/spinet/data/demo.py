"""A small generated detection dataset: handwritten digits on photos, with exact boxes and masks."""

import hashlib
import json
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from spinet.data.digits import Plan, draw_image
from spinet.errors import SpinetError, check_positive
from spinet.extras import import_extra
from spinet.formats.annotations import as_coco
from spinet.formats.images import read_image

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
    plan = Plan(classes, train_images, val_images, image_size, object_sizes, objects_per_image, seed)
    _check(plan)
    root = Path(root)
    digest = hashlib.sha256(json.dumps([VERSION, plan._asdict()]).encode()).hexdigest()[:10]
    target = root / f"digits{classes}-{image_size}px-{train_images}+{val_images}-{digest}"
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


def _check(plan: Plan) -> None:
    check_positive(train_images=plan.train_images, val_images=plan.val_images)
    (smallest, largest), (fewest, most) = plan.object_sizes, plan.objects_per_image
    for name, valid, rule in (
        ("classes", 1 <= plan.classes <= len(NAMES), f"from 1 to {len(NAMES)}"),
        ("image_size", 16 <= plan.image_size <= 4096, "from 16 to 4096 pixels"),
        (
            "object_sizes",
            8 <= smallest <= largest <= plan.image_size,
            f"(smallest, largest) with 8 <= smallest <= largest <= image_size, which is {plan.image_size}",
        ),
        ("objects_per_image", 0 <= fewest <= most, "(fewest, most) with 0 <= fewest <= most"),
        ("seed", plan.seed >= 0, "at least 0"),
    ):
        if not valid:
            raise SpinetError(f"{name} is {getattr(plan, name)}; must be {rule}")


def _sources() -> tuple[Digits, Path]:
    """Return the digits as (images `(1797, 8, 8)`, classes `(1797,)`) and the folder of photos."""
    photos = import_extra("skimage.data", "demo", "the demo dataset")
    digits = import_extra("sklearn.datasets", "demo", "the demo dataset").load_digits()
    return ((digits.images * 15.9375).astype(np.uint8), digits.target), Path(photos.data_dir)


def _write_split(root: Path, split: str, plan: Plan, digits: Digits, photo_folder: Path) -> None:
    rng = np.random.default_rng([plan.seed, split == "val"])
    pool = _digit_pool(split, plan, digits)
    photos = [Image.fromarray(read_image(photo_folder / name).permute(1, 2, 0).numpy()) for name in PHOTOS[split]]
    folder = root / split
    folder.mkdir(parents=True)
    images = []
    for image_id in range(1, (plan.train_images if split == "train" else plan.val_images) + 1):
        pixels, objects = draw_image(rng, pool, photos, plan)
        name = f"{image_id:06d}.jpg"
        Image.fromarray(pixels).save(folder / name, quality=95, subsampling=0)
        images.append((name, (plan.image_size, plan.image_size), objects))
    content = {"info": INFO, **as_coco(images, NAMES[: plan.classes])}
    file = root / "annotations" / f"instances_{split}.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(content, separators=(",", ":")))


def _digit_pool(split: str, plan: Plan, digits: Digits) -> list[NDArray[np.uint8]]:
    """Return the digits of each class in a split, `(N, 8, 8)`."""
    images, classes = digits
    rng = np.random.default_rng([plan.seed, 2])
    pool = []
    for digit in range(plan.classes):
        shuffled = rng.permutation(images[classes == digit])
        cut = int(TRAIN_FRACTION * len(shuffled))
        pool.append(shuffled[:cut] if split == "train" else shuffled[cut:])
    return pool
