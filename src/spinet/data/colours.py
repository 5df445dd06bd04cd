"""Random changes of brightness, contrast and saturation."""

from typing import NamedTuple

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional

from spinet.errors import SpinetError


class Colours(NamedTuple):
    """Factors by which the colours of an image change."""

    brightness: float
    contrast: float
    saturation: float


def check_strength(colour_jitter: float) -> None:
    """Raise a SpinetError unless the strength is one that `draw_colours` takes."""
    if not 0 <= colour_jitter <= 1:
        raise SpinetError(f"colour_jitter is {colour_jitter}; allowed is a number from 0 to 1")


def draw_colours(strength: float) -> Colours | None:
    """Draw factors, uniform in 1 - strength to 1 + strength, from torch's global generator; for 0 draw none."""
    if strength == 0:
        return None
    return Colours(*(1 + strength * (2 * torch.rand(3) - 1)).tolist())


def change_colours(image: Tensor, colours: Colours | None) -> Tensor:
    """Change brightness, contrast and saturation, in this order, of an image, uint8 `(3, H, W)`."""
    if colours is None:
        return image
    image = functional.adjust_brightness(image, colours.brightness)
    image = functional.adjust_contrast(image, colours.contrast)
    changed: Tensor = functional.adjust_saturation(image, colours.saturation)
    return changed
