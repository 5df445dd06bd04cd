"""Augmentation whose random parameters are drawn first, and applied by a loader's worker or on the training device.

On a CPU both are bit-equal. GPUs resize in floating point, where torch's CPU kernel rounds after each axis: a sixth of
the values differ by one grey level, and by several once colour jitter has stretched them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, Self

import torch
from torch import Tensor

# Antialiased resizing on a GPU keeps its weights in shared memory, which overflows at about 90-fold shrinking (60-fold
# where a warp has 64 threads). Whatever shrinks by more than this is resized by the worker.
MAX_SHRINK = 32


class DrawnTransform(Protocol):
    """A random transform of one image whose parameters have been drawn."""

    def reduce(self, image: Tensor) -> tuple[Tensor, Self]:
        """Return a smaller image and a transform with the same result, to save work or memory on the device."""
        ...

    def apply(self, image: Tensor) -> Tensor:
        """Turn uint8 `(3, H, W)` into float32 `(3, S, S)` on the image's device, without synchronizing with it."""
        ...


@dataclass(frozen=True)
class RawImages:
    """Decoded images that are still to be transformed, in one buffer, so that a single copy moves them.

    Attributes:
        pixels: uint8 `(P,)`, one image after the other in HWC order.
        sizes: (height, width) of each.
        transforms: one per image.
    """

    pixels: Tensor
    sizes: tuple[tuple[int, int], ...]
    transforms: tuple[DrawnTransform, ...]

    @classmethod
    def of(cls, images: Sequence[Tensor], transforms: Sequence[DrawnTransform]) -> Self:
        """Concatenate images, uint8 `(3, H, W)`."""
        pixels = torch.cat([image.permute(1, 2, 0).flatten() for image in images])
        return cls(pixels, tuple((image.shape[-2], image.shape[-1]) for image in images), tuple(transforms))

    def to(self, device: torch.device, non_blocking: bool = False) -> Tensor:
        """Copy the images to `device` and transform them there.

        Returns:
            float32 `(N, 3, S, S)`.
        """
        pixels = self.pixels.to(device, non_blocking=non_blocking)
        images = torch.split(pixels, [3 * height * width for height, width in self.sizes])
        return torch.stack(
            [
                # Channels-last views, as `read_image` returns them.
                transform.apply(image.view(*size, 3).permute(2, 0, 1))
                for image, size, transform in zip(images, self.sizes, self.transforms, strict=True)
            ]
        )

    def pin_memory(self) -> Self:
        """Return the same in page-locked memory; called by the DataLoader."""
        return replace(self, pixels=self.pixels.pin_memory())

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.transforms)


def shrinks_too_much(old: tuple[int, int], new: tuple[int, int]) -> bool:
    """Whether a GPU cannot resize an image of (height, width) `old` to `new`."""
    return any(before > MAX_SHRINK * after for before, after in zip(old, new, strict=True))
