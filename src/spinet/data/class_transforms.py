"""From an image of any size to the square float tensor that a classifier takes.

As in tensorflow/tpu, models/official/detection/dataloader/classification_parser.py, with three departures: images are
resized before they are normalized, on uint8, as for detectors; resizing is antialiased; and random crops are drawn like
torchvision's RandomResizedCrop, area and log ratio uniform, where TensorFlow's `sample_distorted_bounding_box` draws
ratio and height.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Self

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional

from spinet.data.batch import Item
from spinet.data.class_data import ClassDataset
from spinet.data.colours import Colours, change_colours, check_strength, draw_colours
from spinet.data.device_augment import shrinks_too_much
from spinet.data.transforms import normalise_and_pad
from spinet.errors import check_positive, check_range

# Side of the center crop divided by the image's short side: 224 / 256.
CENTER_FRACTION = 0.875
ATTEMPTS = 10


class Window(NamedTuple):
    """A crop of an image, in whole pixels."""

    top: int
    left: int
    height: int
    width: int


class ClassPlacement(NamedTuple):
    """The drawn augmentation of an image to classify, a `DrawnTransform`.

    Attributes:
        window: the crop.
        mirrored: flip left to right, after resizing.
        colours: color jitter, after that.
        turned: flip upside down, last.
        side: of the square output, in pixels.
    """

    window: Window
    mirrored: bool
    colours: Colours | None
    turned: bool
    side: int

    def reduce(self, image: Tensor) -> tuple[Tensor, Self]:
        """See `DrawnTransform`: crop, and resize what a GPU cannot shrink."""
        part = functional.crop(image, *self.window)
        if shrinks_too_much(self.window[2:], (self.side, self.side)):
            part = _resized(part, Window(0, 0, *self.window[2:]), self.side)
        return part, self._replace(window=Window(0, 0, part.shape[-2], part.shape[-1]))

    def apply(self, image: Tensor) -> Tensor:
        """See `DrawnTransform`."""
        part = _resized(image, self.window, self.side)
        part = change_colours(part.flip(-1) if self.mirrored else part, self.colours)
        return normalise_and_pad(part.flip(-2) if self.turned else part, self.side)


@dataclass(frozen=True)
class ClassTrainTransform:
    """Random resized crop, flip, color jitter, normalize; randomness comes from torch's global generator only.

    A crop has a random fraction of the image's area, a random aspect ratio and a random position. The first of ten
    draws that fits into the image is taken, or else the center crop of evaluation.

    Attributes:
        image_size: side of the square output, in pixels.
        crop_area: smallest and largest fraction of the area, uniform.
        crop_ratio: smallest and largest width divided by height, log-uniform.
        horizontal_flip: flip half of the images left to right.
        colour_jitter: largest relative change of brightness, contrast and saturation; 0 as in the papers.
        vertical_flip: flip half of the images top to bottom.

    Raises:
        SpinetError: a number is out of range.
    """

    image_size: int
    crop_area: tuple[float, float] = (0.08, 1.0)
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)
    horizontal_flip: bool = True
    colour_jitter: float = 0.0
    vertical_flip: bool = False

    max_objects: ClassVar[None] = None

    def __post_init__(self) -> None:
        check_positive(image_size=self.image_size)
        check_strength(self.colour_jitter)
        check_range("crop_area", self.crop_area, most=1)
        check_range("crop_ratio", self.crop_ratio)

    def __call__(self, image: Tensor) -> Tensor:
        """Transform one image, uint8 `(3, H, W)`, to float32 `(3, S, S)`."""
        return self.place((image.shape[-2], image.shape[-1])).apply(image)

    def item(self, dataset: ClassDataset, index: int) -> Item:
        """Draw the augmentation of an image; the image itself is still to be transformed."""
        sample, image = dataset.samples[index], dataset.image(index)
        size = (image.shape[-2], image.shape[-1])
        return Item(image, {"labels": torch.tensor(sample.label)}, sample.number, size, transform=self.place(size))

    def place(self, size: tuple[int, int]) -> ClassPlacement:
        """Draw a transform for an image of (height, width)."""
        # Always as many draws, so that switching a flip off leaves the crops as they were.
        draws = torch.rand(ATTEMPTS, 4)
        mirrored = float(torch.rand(1)) < 0.5
        window = random_window(*size, self.crop_area, self.crop_ratio, draws.tolist())
        colours = draw_colours(self.colour_jitter)
        # Drawn last, so that runs from before this option existed keep their draws.
        turned = float(torch.rand(1)) < 0.5
        return ClassPlacement(
            window, self.horizontal_flip and mirrored, colours, self.vertical_flip and turned, self.image_size
        )


@dataclass(frozen=True)
class ClassEvalTransform:
    """Crop the central square of 0.875 of the short side, resize it, normalize; nothing random."""

    image_size: int
    max_objects: ClassVar[None] = None

    def __post_init__(self) -> None:
        check_positive(image_size=self.image_size)

    def __call__(self, image: Tensor, device: torch.device | None = None) -> Tensor:
        """Transform one image, uint8 `(3, H, W)`, to float32 `(3, S, S)`; `device` as for `EvalTransform`."""
        window, device = center_window(image.shape[-2], image.shape[-1]), device or image.device
        if not shrinks_too_much(window[2:], (self.image_size, self.image_size)):
            image = image.to(device)
        return normalise_and_pad(_resized(image, window, self.image_size).to(device), self.image_size)

    def item(self, dataset: ClassDataset, index: int) -> Item:
        """Return a transformed image with its label."""
        sample, image = dataset.samples[index], dataset.image(index)
        targets = {"labels": torch.tensor(sample.label)}
        return Item(self(image), targets, sample.number, (image.shape[-2], image.shape[-1]))


def center_window(height: int, width: int) -> Window:
    """Return the central square whose side is 0.875 of the short side, rounded down as in the reference.

    >>> center_window(256, 320)
    Window(top=16, left=48, height=224, width=224)
    """
    side = max(int(CENTER_FRACTION * min(height, width)), 1)
    return Window((height - side) // 2, (width - side) // 2, side, side)


def random_window(
    height: int, width: int, area: tuple[float, float], ratio: tuple[float, float], draws: list[list[float]]
) -> Window:
    """Return a random crop of an image from ranges of its fraction of the area and of its width divided by height.

    `draws` has four numbers in [0, 1) per attempt: of area, ratio, top and left.
    """
    low, high = math.log(ratio[0]), math.log(ratio[1])
    for area_draw, ratio_draw, top_draw, left_draw in draws:
        pixels = height * width * (area[0] + (area[1] - area[0]) * area_draw)
        shape = math.exp(low + (high - low) * ratio_draw)
        rows, columns = round(math.sqrt(pixels / shape)), round(math.sqrt(pixels * shape))
        if 0 < rows <= height and 0 < columns <= width:
            top, left = int(top_draw * (height - rows + 1)), int(left_draw * (width - columns + 1))
            return Window(top, left, rows, columns)
    return center_window(height, width)


def _resized(image: Tensor, window: Window, size: int) -> Tensor:
    part: Tensor = functional.resized_crop(image, *window, [size, size], antialias=True)
    return part
