"""From an image of any size to the square float tensor a model takes, with its boxes.

The paper's code normalises first, then resizes, crops and pads. Here resizing comes first, because on uint8
it is several times faster on a CPU; normalising is linear, so only the rounding to whole grey levels differs.
The padding is laid around the normalised image and so is still zero, the mean colour.
"""

from dataclasses import dataclass
from typing import NamedTuple, Self

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional

from spinet.data.colours import Colours, change_colours, check_strength, draw_colours
from spinet.data.rendering import shrinks_too_much
from spinet.errors import SpinetError

IMAGE_MEAN = (0.485, 0.456, 0.406)
IMAGE_STD = (0.229, 0.224, 0.225)


class Placement(NamedTuple):
    """Where an augmentation puts an image: what renders it, and finds in it what lies in a box of the result.

    Attributes:
        size: (height, width) of the image.
        flipped: whether it is mirrored left to right, and top to bottom.
        resized: (height, width) that it gets after the flips.
        corner: (left, top) of the crop in the resized image.
        colours: what becomes of its colours.
        side: of the square output, in pixels.
    """

    size: tuple[int, int]
    flipped: tuple[bool, bool]
    resized: tuple[int, int]
    corner: tuple[int, int]
    colours: Colours | None
    side: int

    @property
    def scale(self) -> Tensor:
        """Return the exact (x, y) scale, `(2,)`."""
        return _scale(self.size, self.resized)

    def forward(self, boxes: Tensor) -> Tensor:
        """Return boxes of the image, XYXY `(N, 4)`, as they lie in the result: cut to the crop, empty outside it."""
        for axis, flipped in enumerate(self.flipped):
            if flipped:
                boxes = _mirror(boxes, axis, self.size[1 - axis])
        boxes = boxes * self.scale.repeat(2) - torch.tensor(self.corner * 2)
        limit = [min(self.resized[1 - axis] - self.corner[axis], self.side) for axis in (0, 1)]
        return boxes.clamp(min=0).minimum(torch.tensor(limit * 2))

    def back(self, boxes: Tensor) -> Tensor:
        """Return boxes of the result as float64 boxes of the image, XYXY `(M, 4)`."""
        found = (boxes.double() + torch.tensor(self.corner * 2)) / self.scale.double().repeat(2)
        for axis, flipped in enumerate(self.flipped):
            if flipped:
                found = _mirror(found, axis, self.size[1 - axis])
        return found

    def flip(self, masks: Tensor) -> Tensor:
        """Mirror what was cut out of the image, `(M, B, B)`, as the image is mirrored."""
        return masks.flip([-1 - axis for axis, flipped in enumerate(self.flipped) if flipped])

    def prepared(self, image: Tensor) -> tuple[Tensor, Self]:
        """See `View`: an image far too large is resized."""
        if not shrinks_too_much(self.size, self.resized):
            return image, self
        return self._fit(image), self._replace(size=self.resized, flipped=(False, False))

    def render(self, image: Tensor) -> Tensor:
        """See `View`."""
        left, top = self.corner
        part = self._fit(image)[:, top : top + self.side, left : left + self.side]
        return normalise_and_pad(change_colours(part, self.colours), self.side)

    def _fit(self, image: Tensor) -> Tensor:
        for axis, flipped in enumerate(self.flipped):
            if flipped:
                image = image.flip(-1 - axis)
        return _resize(image, self.resized)


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
        placement, boxes, kept = self.place((image.shape[-2], image.shape[-1]), boxes)
        return placement.render(image), boxes, labels[kept]

    def place(self, size: tuple[int, int], boxes: Tensor) -> tuple[Placement, Tensor, Tensor]:
        """Decide what a call would do to an image of which only the size is known.

        Args:
            size: (height, width) of the image.
            boxes: float32 `(N, 4)`, XYXY in pixels of the image.

        Returns:
            What renders the image, the boxes that are in the crop, `(M, 4)` in its pixels, and which those are,
            bool `(N,)`.
        """
        # Always five draws, so that switching a flip off leaves the other draws as they were.
        jitter, x_draw, y_draw, horizontal_draw, vertical_draw = torch.rand(5).tolist()
        flipped = (self.horizontal_flip and horizontal_draw < 0.5, self.vertical_flip and vertical_draw < 0.5)
        low, high = self.scale_jitter
        resized = _multiplied(size, self.image_size * (low + (high - low) * jitter) / max(size))
        left = int(x_draw * max(resized[1] - self.image_size, 0))
        top = int(y_draw * max(resized[0] - self.image_size, 0))
        colours = draw_colours(self.colour_jitter)
        placement = Placement(size, flipped, resized, (left, top), colours, self.image_size)
        boxes = placement.forward(boxes)
        kept = (boxes[:, 2:] > boxes[:, :2]).all(dim=1)
        return placement, boxes[kept], kept


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
        for size in shape_of(self.image_size):
            _check_size(size)

    def __call__(self, image: Tensor, device: torch.device | None = None) -> tuple[Tensor, Tensor]:
        """Transform one image.

        Args:
            image: uint8 `(3, H, W)`.
            device: where; an image that a GPU could not shrink goes there resized. Where the image is if None.

        Returns:
            float32 `(3, S, S)` and the scale `(2,)` as (x, y): a box of the output divided by (x, y, x, y) is
            a box of the input.
        """
        size = (image.shape[-2], image.shape[-1])
        fitted = fit(size, shape_of(self.image_size))
        place = device or image.device
        if not shrinks_too_much(size, fitted):
            image = image.to(place)
        return normalise_and_pad(_resize(image, fitted).to(place), self.image_size), _scale(size, fitted)


def shape_of(image_size: int | tuple[int, int]) -> tuple[int, int]:
    """Return height and width of what is given by the side of a square, or as they are."""
    return (image_size, image_size) if isinstance(image_size, int) else image_size


def fit(size: tuple[int, int], shape: tuple[int, int]) -> tuple[int, int]:
    """Return (height, width) of an image of `size` when it is made as large as fits into `shape`.

    >>> fit((720, 1280), (640, 640)), fit((720, 1280), (180, 640))
    ((360, 640), (180, 320))
    """
    return _multiplied(size, min(shape[0] / size[0], shape[1] / size[1]))


def normalise_and_pad(image: Tensor, size: int | tuple[int, int]) -> Tensor:
    """Turn uint8 `(3, H, W)` into the upper left part of float32 `(3, S, S)`; around it is the mean colour."""
    padded = torch.zeros(3, *shape_of(size), device=image.device)
    # A copy that blocks would wait for all that the device has still to do.
    mean, std = (
        (255 * torch.tensor(values).view(3, 1, 1)).to(image.device, non_blocking=True)
        for values in (IMAGE_MEAN, IMAGE_STD)
    )
    padded[:, : image.shape[-2], : image.shape[-1]].copy_(image).sub_(mean).div_(std)
    return padded


def _check_size(image_size: int) -> None:
    if image_size < 1:
        raise SpinetError(f"image_size is {image_size}; allowed is any whole number of pixels from 1")


def _mirror(boxes: Tensor, axis: int, length: int) -> Tensor:
    mirrored = boxes.clone()
    mirrored[:, axis] = length - boxes[:, axis + 2]
    mirrored[:, axis + 2] = length - boxes[:, axis]
    return mirrored


def _multiplied(size: tuple[int, int], factor: float) -> tuple[int, int]:
    """Return (height, width) times a factor, in whole pixels."""
    return max(round(size[0] * factor), 1), max(round(size[1] * factor), 1)


def _scale(size: tuple[int, int], resized: tuple[int, int]) -> Tensor:
    """Return the exact (x, y) scale after rounding to whole pixels."""
    return torch.tensor([resized[1] / size[1], resized[0] / size[0]])


def _resize(image: Tensor, size: tuple[int, int]) -> Tensor:
    resized: Tensor = functional.resize(image, list(size), antialias=True)
    return resized
