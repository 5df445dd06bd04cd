"""From an image of any size to the square float tensor that a classifier takes.

As in tensorflow/tpu, models/official/detection/dataloader/classification_parser.py, with three departures:
resizing comes before normalising, on uint8, as for detectors; it averages over what it shrinks (antialiasing); and the
random parts are drawn as torchvision's RandomResizedCrop draws them, area and logarithm of the ratio uniform, where
TensorFlow's `sample_distorted_bounding_box` draws ratio and height.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple, Self

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional

from spinet.data.colours import Colours, change_colours, check_strength, draw_colours
from spinet.data.rendering import shrinks_too_much
from spinet.data.transforms import EvalTransform, normalise_and_pad
from spinet.errors import SpinetError

# Side of the centre crop as a share of the image's short side: 224 / 256.
CENTRE = 0.875
TRIES = 10


class Window(NamedTuple):
    """A part of an image, in whole pixels."""

    top: int
    left: int
    height: int
    width: int


class ClassView(NamedTuple):
    """What an augmentation does to an image.

    Attributes:
        window: the part that is seen.
        mirrored: left to right, after the resizing.
        colours: what becomes of its colours then.
        turned: upside down, last.
        side: of the square output, in pixels.
    """

    window: Window
    mirrored: bool
    colours: Colours | None
    turned: bool
    side: int

    def prepared(self, image: Tensor) -> tuple[Tensor, Self]:
        """See `View`: only the part that is seen goes on, resized if it is far too large."""
        part = functional.crop(image, *self.window)
        if shrinks_too_much(self.window[2:], (self.side, self.side)):
            part = _resized(part, Window(0, 0, *self.window[2:]), self.side)
        return part, self._replace(window=Window(0, 0, part.shape[-2], part.shape[-1]))

    def render(self, image: Tensor) -> Tensor:
        """See `View`."""
        part = _resized(image, self.window, self.side)
        part = change_colours(part.flip(-1) if self.mirrored else part, self.colours)
        return normalise_and_pad(part.flip(-2) if self.turned else part, self.side)


@dataclass(frozen=True)
class ClassTrainTransform:
    """Crop a random part, resize it to the square, mirror half of them, normalise.

    A part has a random share of the image's area and a random ratio of width to height, and lies anywhere. Of ten
    draws the first that fits into the image counts; if none does, the centre crop of evaluation is taken. Randomness
    comes from torch's global generator only.

    Attributes:
        image_size: side of the square output, in pixels.
        crop_area: smallest and largest share of the area, uniform.
        crop_ratio: smallest and largest width divided by height, log-uniform.
        horizontal_flip: mirror half of the images left to right.
        colour_jitter: largest relative change of brightness, contrast and saturation; 0 as in the papers.
        vertical_flip: mirror half of the images top to bottom.

    Raises:
        SpinetError: a number that is out of range.
    """

    image_size: int
    crop_area: tuple[float, float] = (0.08, 1.0)
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)
    horizontal_flip: bool = True
    colour_jitter: float = 0.0
    vertical_flip: bool = False

    def __post_init__(self) -> None:
        EvalTransform(self.image_size)
        check_strength(self.colour_jitter)
        low, high = self.crop_area
        if not 0 < low <= high <= 1:
            raise SpinetError(f"crop_area is {self.crop_area}; allowed is (low, high) with 0 < low <= high <= 1")
        low, high = self.crop_ratio
        if not 0 < low <= high < math.inf:
            raise SpinetError(f"crop_ratio is {self.crop_ratio}; allowed is (low, high) with 0 < low <= high")

    def __call__(self, image: Tensor) -> Tensor:
        """Transform one image, uint8 `(3, H, W)`, to float32 `(3, S, S)`."""
        return self.view(image.shape[-2], image.shape[-1]).render(image)

    def view(self, height: int, width: int) -> ClassView:
        """Decide what a call would do to an image of which only the size is known."""
        # Always as many draws, so that switching the flip off leaves the crops as they were.
        draws = torch.rand(TRIES, 4)
        mirrored = float(torch.rand(1)) < 0.5
        window = random_window(height, width, self.crop_area, self.crop_ratio, draws.tolist())
        colours = draw_colours(self.colour_jitter)
        # Drawn last, so that the views without it are those of before there was one.
        turned = float(torch.rand(1)) < 0.5
        return ClassView(
            window, self.horizontal_flip and mirrored, colours, self.vertical_flip and turned, self.image_size
        )


@dataclass(frozen=True)
class ClassEvalTransform:
    """Crop the centre, a square of 0.875 of the short side, resize it, normalise; nothing random.

    Raises:
        SpinetError: the size is not positive.
    """

    image_size: int

    def __post_init__(self) -> None:
        EvalTransform(self.image_size)

    def __call__(self, image: Tensor, device: torch.device | None = None) -> Tensor:
        """Transform one image, uint8 `(3, H, W)`, to float32 `(3, S, S)`; `device` as for `EvalTransform`."""
        window, place = centre_window(image.shape[-2], image.shape[-1]), device or image.device
        if not shrinks_too_much(window[2:], (self.image_size, self.image_size)):
            image = image.to(place)
        return normalise_and_pad(_resized(image, window, self.image_size).to(place), self.image_size)


def centre_window(height: int, width: int) -> Window:
    """Return the square in the centre whose side is 0.875 of the short side, rounded down as in the reference.

    >>> centre_window(256, 320)
    Window(top=16, left=48, height=224, width=224)
    """
    side = max(int(CENTRE * min(height, width)), 1)
    return Window((height - side) // 2, (width - side) // 2, side, side)


def random_window(
    height: int,
    width: int,
    area: tuple[float, float],
    ratio: tuple[float, float],
    draws: list[list[float]],
) -> Window:
    """Return a part of an image.

    Args:
        height: of the image.
        width: of the image.
        area: smallest and largest share of the area.
        ratio: smallest and largest width divided by height.
        draws: for each try four numbers in [0, 1): of area, ratio, top and left.
    """
    low, high = math.log(ratio[0]), math.log(ratio[1])
    for area_draw, ratio_draw, top_draw, left_draw in draws:
        pixels = height * width * (area[0] + (area[1] - area[0]) * area_draw)
        shape = math.exp(low + (high - low) * ratio_draw)
        rows, columns = round(math.sqrt(pixels / shape)), round(math.sqrt(pixels * shape))
        if 0 < rows <= height and 0 < columns <= width:
            top, left = int(top_draw * (height - rows + 1)), int(left_draw * (width - columns + 1))
            return Window(top, left, rows, columns)
    return centre_window(height, width)


def _resized(image: Tensor, window: Window, size: int) -> Tensor:
    part: Tensor = functional.resized_crop(image, *window, [size, size], antialias=True)
    return part
