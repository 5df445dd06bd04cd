"""Random changes of brightness, contrast and saturation."""

from typing import NamedTuple

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional

from spinet.errors import SpinetError


class Colours(NamedTuple):
    """Color jitter factors."""

    brightness: float
    contrast: float
    saturation: float


def check_strength(colour_jitter: float) -> None:
    """Raise a SpinetError unless `colour_jitter` is from 0 to 1."""
    if not 0 <= colour_jitter <= 1:
        raise SpinetError(f"colour_jitter is {colour_jitter}; must be from 0 to 1")


def draw_colours(strength: float) -> Colours | None:
    """Draw factors uniformly from 1 - strength to 1 + strength with torch's global generator; none for 0."""
    if strength == 0:
        return None
    return Colours(*(1 + strength * (2 * torch.rand(3) - 1)).tolist())


def change_colours(image: Tensor, colours: Colours | None) -> Tensor:
    """Adjust brightness, contrast and saturation, in this order, of an image, uint8 `(3, H, W)`."""
    if colours is None:
        return image
    image = functional.adjust_brightness(image, colours.brightness)
    image = functional.adjust_contrast(image, colours.contrast)
    changed: Tensor = functional.adjust_saturation(image, colours.saturation)
    return changed
