"""Random changes of brightness, contrast and saturation."""

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional

from spinet.errors import SpinetError


def check_strength(colour_jitter: float) -> None:
    """Raise a SpinetError unless the strength is one that `jitter_colours` takes."""
    if not 0 <= colour_jitter <= 1:
        raise SpinetError(f"colour_jitter is {colour_jitter}; allowed is a number from 0 to 1")


def jitter_colours(image: Tensor, strength: float) -> Tensor:
    """Change brightness, contrast and saturation, in this order, by random factors; a strength of 0 draws nothing.

    Args:
        image: uint8 `(3, H, W)`.
        strength: the factors are uniform in 1 - strength to 1 + strength; from torch's global generator.
    """
    if strength == 0:
        return image
    brightness, contrast, saturation = (1 + strength * (2 * torch.rand(3) - 1)).tolist()
    image = functional.adjust_brightness(image, brightness)
    image = functional.adjust_contrast(image, contrast)
    changed: Tensor = functional.adjust_saturation(image, saturation)
    return changed
