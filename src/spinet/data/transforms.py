"""From an image of any size to the square float tensor that a detector takes, with its objects.

The papers' code normalizes first, then resizes, crops and pads. Here resizing comes first, because on uint8 it is
several times faster on a CPU; normalizing is linear, so only the rounding to whole grey levels differs. Padding is
added to the normalized image and so is still zero, the mean color.
"""

from dataclasses import dataclass
from itertools import compress
from typing import ClassVar, NamedTuple, Self

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional

from spinet.data.batch import Item
from spinet.data.coco import CocoDataset
from spinet.data.colours import Colours, change_colours, check_strength, draw_colours
from spinet.data.device_augment import shrinks_too_much
from spinet.data.mask_crops import crop_masks
from spinet.errors import check_positive, check_range

IMAGE_MEAN = (0.485, 0.456, 0.406)
IMAGE_STD = (0.229, 0.224, 0.225)


class Placement(NamedTuple):
    """Where an augmentation puts an image: a `DrawnTransform` that also maps boxes and masks.

    Attributes:
        size: (height, width) of the image.
        flipped: whether it is flipped left to right, and top to bottom.
        resized: (height, width) to resize it to after the flips.
        corner: (left, top) of the crop in the resized image.
        colours: color jitter.
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
        """Map boxes of the image, XYXY `(N, 4)`, to the output: clipped to the crop, empty outside it."""
        for axis, flipped in enumerate(self.flipped):
            if flipped:
                boxes = _mirror(boxes, axis, self.size[1 - axis])
        boxes = boxes * self.scale.repeat(2) - torch.tensor(self.corner * 2)
        limit = [min(self.resized[1 - axis] - self.corner[axis], self.side) for axis in (0, 1)]
        return boxes.clamp(min=0).minimum(torch.tensor(limit * 2))

    def back(self, boxes: Tensor) -> Tensor:
        """Map boxes of the output, XYXY `(M, 4)`, to float64 boxes of the image."""
        boxes = (boxes.double() + torch.tensor(self.corner * 2)) / self.scale.double().repeat(2)
        for axis, flipped in enumerate(self.flipped):
            if flipped:
                boxes = _mirror(boxes, axis, self.size[1 - axis])
        return boxes

    def flip(self, masks: Tensor) -> Tensor:
        """Flip crops of the image, `(M, B, B)`, as the image is flipped."""
        return masks.flip([-1 - axis for axis, flipped in enumerate(self.flipped) if flipped])

    def reduce(self, image: Tensor) -> tuple[Tensor, Self]:
        """See `DrawnTransform`: only an image that a GPU cannot shrink is resized."""
        if not shrinks_too_much(self.size, self.resized):
            return image, self
        return self._fit(image), self._replace(size=self.resized, flipped=(False, False))

    def apply(self, image: Tensor) -> Tensor:
        """See `DrawnTransform`."""
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
    """Flip, scale jitter, random crop, normalize, pad; randomness comes from torch's global generator only.

    The long side of the image becomes `image_size` times a factor drawn from `scale_jitter`. An image larger than the
    square is cropped at a random offset, a smaller one is padded at the bottom and right.

    Attributes:
        image_size: side of the square output, in pixels.
        scale_jitter: smallest and largest factor.
        horizontal_flip: flip half of the images left to right.
        vertical_flip: flip half of the images top to bottom.
        colour_jitter: largest relative change of brightness, contrast and saturation; 0 as in the papers.
        max_objects: objects per image beyond these are dropped, as in the papers' code.

    Raises:
        SpinetError: a size or factor is not positive, or the factors are in the wrong order.
    """

    image_size: int
    scale_jitter: tuple[float, float] = (0.5, 2.0)
    horizontal_flip: bool = True
    vertical_flip: bool = False
    colour_jitter: float = 0.0
    max_objects: int = 100

    def __post_init__(self) -> None:
        check_positive(image_size=self.image_size, max_objects=self.max_objects)
        check_strength(self.colour_jitter)
        check_range("scale_jitter", self.scale_jitter)

    def __call__(self, image: Tensor, boxes: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Transform an image, uint8 `(3, H, W)`, its boxes, float32 `(N, 4)` XYXY in its pixels, and labels `(N,)`.

        Returns float32 `(3, S, S)`, and the boxes `(M, 4)`, in its pixels, and labels `(M,)` inside the crop.
        """
        placement, boxes, kept = self.place((image.shape[-2], image.shape[-1]), boxes)
        return placement.apply(image), boxes, labels[kept]

    def item(self, dataset: CocoDataset, index: int) -> Item:
        """Draw the augmentation of an image and map its objects; the image itself is still to be transformed.

        An object keeps an empty mask when the crop shows only a corner of its box without mask pixels, as in the
        papers' code.
        """
        sample, limit = dataset.samples[index], self.max_objects
        size = (sample.height, sample.width)
        placement, boxes, kept = self.place(size, sample.boxes)
        targets = {"boxes": boxes[:limit], "labels": sample.labels[kept][:limit]}
        if sample.masks is not None:
            masks = list(compress(sample.masks, kept.tolist()))[:limit]
            targets["masks"] = placement.flip(crop_masks(masks, placement.back(boxes[:limit]), *size))
        return Item(dataset.image(index), targets, sample.number, size, transform=placement)

    def place(self, size: tuple[int, int], boxes: Tensor) -> tuple[Placement, Tensor, Tensor]:
        """Draw a transform for an image of (height, width) and its boxes, float32 `(N, 4)`, XYXY in pixels.

        Returns the transform, the boxes inside the crop, `(M, 4)` in its pixels, and which of the N those are, bool.
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
    """Resize to fit into `image_size`, normalize, pad at the bottom and right; nothing random.

    Attributes:
        image_size: side of the square output in pixels, or its (height, width), as exported files may have them.
    """

    image_size: int | tuple[int, int]
    max_objects: ClassVar[None] = None

    def __post_init__(self) -> None:
        for size in shape_of(self.image_size):
            check_positive(image_size=size)

    def __call__(self, image: Tensor, device: torch.device | None = None) -> tuple[Tensor, Tensor]:
        """Transform one image, uint8 `(3, H, W)`, on `device`; an image that a GPU cannot shrink is resized before.

        Returns float32 `(3, S, S)` and the scale `(2,)`, (x, y): output boxes divided by (x, y, x, y) are input boxes.
        """
        size = (image.shape[-2], image.shape[-1])
        fitted = fit(size, shape_of(self.image_size))
        device = device or image.device
        if not shrinks_too_much(size, fitted):
            image = image.to(device)
        return normalise_and_pad(_resize(image, fitted).to(device), self.image_size), _scale(size, fitted)

    def item(self, dataset: CocoDataset, index: int) -> Item:
        """Return a transformed image with all its objects."""
        sample = dataset.samples[index]
        size = (sample.height, sample.width)
        image, scale = self(dataset.image(index))
        targets = {"boxes": sample.boxes * scale.repeat(2), "labels": sample.labels}
        if sample.masks is not None:
            targets["masks"] = crop_masks(sample.masks, sample.boxes, *size)
        return Item(image, targets, sample.number, size, scale)


def shape_of(image_size: int | tuple[int, int]) -> tuple[int, int]:
    """Return (height, width) of a size that is either that or the side of a square."""
    return (image_size, image_size) if isinstance(image_size, int) else image_size


def fit(size: tuple[int, int], shape: tuple[int, int]) -> tuple[int, int]:
    """Return the largest (height, width) with the aspect ratio of `size` that fits into `shape`.

    >>> fit((720, 1280), (640, 640)), fit((720, 1280), (180, 640))
    ((360, 640), (180, 320))
    """
    return _multiplied(size, min(shape[0] / size[0], shape[1] / size[1]))


def normalise_and_pad(image: Tensor, size: int | tuple[int, int]) -> Tensor:
    """Normalize uint8 `(3, H, W)` into the top left of float32 `(3, S, S)`, padded with the mean color."""
    padded = torch.zeros(3, *shape_of(size), device=image.device)
    # A blocking copy would synchronize with the GPU.
    mean, std = (
        (255 * torch.tensor(values).view(3, 1, 1)).to(image.device, non_blocking=True)
        for values in (IMAGE_MEAN, IMAGE_STD)
    )
    padded[:, : image.shape[-2], : image.shape[-1]].copy_(image).sub_(mean).div_(std)
    return padded


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
