"""From an image of any size to the square float tensor a model takes, with its boxes.

The paper's code normalises first, then resizes, crops and pads. Here resizing comes first, because on uint8
it is several times faster on a CPU; normalising is linear, so only the rounding to whole grey levels differs.
The padding is laid around the normalised image and so is still zero, the mean colour.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional

from spinet.data.colours import check_strength, jitter_colours
from spinet.errors import SpinetError

IMAGE_MEAN = (0.485, 0.456, 0.406)
IMAGE_STD = (0.229, 0.224, 0.225)


class Placement(NamedTuple):
    """Where an augmentation has put an image, so that what lies in a box of the result can be found in the image.

    Attributes:
        size: (height, width) of the image.
        flipped: whether it was mirrored left to right, and top to bottom.
        scale: `(2,)`, (x, y), after the flips.
        corner: `(2,)`, (x, y) in the scaled image of the crop's upper left corner.
        kept: bool `(N,)`, which objects are in the crop.
    """

    size: tuple[int, int]
    flipped: tuple[bool, bool]
    scale: Tensor
    corner: Tensor
    kept: Tensor

    def back(self, boxes: Tensor) -> Tensor:
        """Return boxes of the result as float64 boxes of the image, XYXY `(M, 4)`."""
        found = (boxes.double() + self.corner.repeat(2)) / self.scale.double().repeat(2)
        for axis, flipped in enumerate(self.flipped):
            if flipped:
                found = _mirror(found, axis, self.size[1 - axis])
        return found

    def flip(self, masks: Tensor) -> Tensor:
        """Mirror what was cut out of the image, `(M, B, B)`, as the image was mirrored."""
        return masks.flip([-1 - axis for axis, flipped in enumerate(self.flipped) if flipped])


@dataclass(frozen=True)
class TrainTransform:
    """Flip, scale jitter, random crop, normalise, pad; randomness comes from torch's global generator only.

    The long side of the image becomes `image_size` times a factor drawn from `scale_jitter`. What is larger
    than the square is cropped at a random offset, what is smaller is padded at the bottom and right.

    Attributes:
        image_size: side of the square output, in pixels.
        scale_jitter: smallest and largest factor.
        horizontal_flip: mirror half of the images left to right.
        vertical_flip: mirror half of the images top to bottom.
        colour_jitter: largest relative change of brightness, contrast and saturation; 0 as in the papers.

    Raises:
        SpinetError: a size or factor that is not positive, or factors in the wrong order.
    """

    image_size: int
    scale_jitter: tuple[float, float] = (0.5, 2.0)
    horizontal_flip: bool = True
    vertical_flip: bool = False
    colour_jitter: float = 0.0

    def __post_init__(self) -> None:
        _check_size(self.image_size)
        check_strength(self.colour_jitter)
        low, high = self.scale_jitter
        if not 0 < low <= high < float("inf"):
            raise SpinetError(f"scale_jitter is {self.scale_jitter}; allowed is (low, high) with 0 < low <= high")

    def __call__(self, image: Tensor, boxes: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Transform one image and its objects; objects outside the crop are removed.

        Args:
            image: uint8 `(3, H, W)`.
            boxes: float32 `(N, 4)`, XYXY in pixels of the image.
            labels: int64 `(N,)`.

        Returns:
            float32 `(3, S, S)`, boxes `(M, 4)` in its pixels, labels `(M,)`, with M <= N.
        """
        image, boxes, placement = self.place(image, boxes)
        return image, boxes, labels[placement.kept]

    def place(self, image: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor, Placement]:
        """Transform one image and its boxes as a call does, and tell where they went, for masks."""
        size = (image.shape[-2], image.shape[-1])
        # Always five draws, so that switching a flip off leaves the other draws as they were.
        jitter, x_draw, y_draw, horizontal_draw, vertical_draw = torch.rand(5).tolist()
        flipped = (self.horizontal_flip and horizontal_draw < 0.5, self.vertical_flip and vertical_draw < 0.5)
        if flipped[0]:
            image, boxes = image.flip(-1), _mirror(boxes, 0, image.shape[-1])
        if flipped[1]:
            image, boxes = image.flip(-2), _mirror(boxes, 1, image.shape[-2])

        low, high = self.scale_jitter
        length = self.image_size * (low + (high - low) * jitter)
        image, scale = _resize(image, length / max(image.shape[-2:]))
        left = int(x_draw * max(image.shape[-1] - self.image_size, 0))
        top = int(y_draw * max(image.shape[-2] - self.image_size, 0))
        image = image[:, top : top + self.image_size, left : left + self.image_size]
        image = jitter_colours(image, self.colour_jitter)

        boxes = boxes * scale.repeat(2) - torch.tensor([left, top, left, top])
        height, width = image.shape[-2:]
        boxes = boxes.clamp(min=0).minimum(torch.tensor([width, height, width, height]))
        kept = (boxes[:, 2:] > boxes[:, :2]).all(dim=1)
        placement = Placement(size, flipped, scale, torch.tensor([left, top]), kept)
        return _normalise_and_pad(image, self.image_size, self.image_size), boxes[kept], placement


@dataclass(frozen=True)
class EvalTransform:
    """As large as fits into `image_size`, normalise, pad at the bottom and right; nothing random.

    Attributes:
        image_size: side of the square output in pixels, or its (height, width), as exported files may have them.

    Raises:
        SpinetError: the size is not positive.
    """

    image_size: int | tuple[int, int]

    def __post_init__(self) -> None:
        for size in self.shape:
            _check_size(size)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the output."""
        return (self.image_size, self.image_size) if isinstance(self.image_size, int) else self.image_size

    def __call__(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Transform one image.

        Args:
            image: uint8 `(3, H, W)`.

        Returns:
            float32 `(3, S, S)` and the scale `(2,)` as (x, y): a box of the output divided by (x, y, x, y) is
            a box of the input.
        """
        image, scale = _resize(image, fitting_factor(image.shape[-2:], self.shape))
        return _normalise_and_pad(image, *self.shape), scale


def _check_size(image_size: int) -> None:
    if image_size < 1:
        raise SpinetError(f"image_size is {image_size}; allowed is any whole number of pixels from 1")


def _mirror(boxes: Tensor, axis: int, length: int) -> Tensor:
    mirrored = boxes.clone()
    mirrored[:, axis] = length - boxes[:, axis + 2]
    mirrored[:, axis + 2] = length - boxes[:, axis]
    return mirrored


def fitting_factor(size: Sequence[int], shape: tuple[int, int]) -> float:
    """Return by what an image of `size` (height, width) is multiplied to be as large as fits into `shape`.

    >>> fitting_factor((720, 1280), (640, 640)), fitting_factor((720, 1280), (180, 640))
    (0.5, 0.25)
    """
    return min(shape[0] / size[0], shape[1] / size[1])


def _resize(image: Tensor, factor: float) -> tuple[Tensor, Tensor]:
    """Return the resized image and the exact (x, y) scale after rounding to whole pixels."""
    height, width = image.shape[-2:]
    new_height, new_width = max(round(height * factor), 1), max(round(width * factor), 1)
    resized: Tensor = functional.resize(image, [new_height, new_width], antialias=True)
    return resized, torch.tensor([new_width / width, new_height / height])


def _normalise_and_pad(image: Tensor, height: int, width: int) -> Tensor:
    padded = torch.zeros(3, height, width)
    mean, std = (255 * torch.tensor(values).view(3, 1, 1) for values in (IMAGE_MEAN, IMAGE_STD))
    padded[:, : image.shape[-2], : image.shape[-1]].copy_(image).sub_(mean).div_(std)
    return padded
