"""From decoded photos to the images of a batch: in the worker that decoded them, or later on the training device.

On a CPU both are bit-equal. GPUs resize in floating point, where torch's CPU kernel rounds after each axis: values of a
photo differ by one grey level at most, one in six of them, and by several once colour jitter has stretched them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, Self

import torch
from torch import Tensor

# Antialiased resizing on a GPU keeps its weights in shared memory, which is full at some 90-fold shrinking (60-fold
# where a warp has 64 threads). What shrinks by more than this is resized by the worker.
MOST_SHRUNK = 32


class View(Protocol):
    """How an image is to be shown: everything that was drawn and decided, as plain numbers."""

    def prepared(self, image: Tensor) -> tuple[Tensor, Self]:
        """Return an image and a view that render to the same, with what is better done before the image travels."""
        ...

    def render(self, image: Tensor) -> Tensor:
        """Turn uint8 `(3, H, W)` into float32 `(3, S, S)`, on the image's device, without waiting for it."""
        ...


@dataclass(frozen=True)
class RawImages:
    """Decoded photos that are still to be rendered, in one piece, so that they travel at once.

    Attributes:
        pixels: uint8 `(P,)`, one photo after the other, each row by row and the three colours of a pixel together.
        sizes: (height, width) of each.
        views: how each is to be shown.
    """

    pixels: Tensor
    sizes: tuple[tuple[int, int], ...]
    views: tuple[View, ...]

    @classmethod
    def of(cls, images: Sequence[Tensor], views: Sequence[View]) -> Self:
        """Lay images, uint8 `(3, H, W)`, one after the other."""
        pixels = torch.cat([image.permute(1, 2, 0).flatten() for image in images])
        return cls(pixels, tuple((image.shape[-2], image.shape[-1]) for image in images), tuple(views))

    def to(self, device: torch.device, non_blocking: bool = False) -> Tensor:
        """Copy the photos to `device` and render them there.

        Returns:
            float32 `(N, 3, S, S)`.
        """
        pixels = self.pixels.to(device, non_blocking=non_blocking)
        photos = torch.split(pixels, [3 * height * width for height, width in self.sizes])
        return torch.stack(
            [
                # As `read_image` lays them out.
                view.render(photo.view(*size, 3).permute(2, 0, 1))
                for photo, size, view in zip(photos, self.sizes, self.views, strict=True)
            ]
        )

    def pin_memory(self) -> Self:
        """Return the same in page-locked memory; called by the DataLoader."""
        return replace(self, pixels=self.pixels.pin_memory())

    def __len__(self) -> int:
        """Return the number of photos."""
        return len(self.views)


def develop(image: Tensor, view: View, rendered: bool) -> tuple[Tensor, View | None]:
    """Return the rendered image, or the image as it is to travel and how it is to be shown."""
    return (view.render(image), None) if rendered else view.prepared(image)


def gather(images: Sequence[Tensor], views: Sequence[View | None]) -> Tensor | RawImages:
    """Make one batch of what `develop` returned."""
    waiting = [view for view in views if view is not None]
    return RawImages.of(images, waiting) if waiting else torch.stack(list(images))


def shrinks_too_much(old: tuple[int, int], new: tuple[int, int]) -> bool:
    """Whether a GPU cannot resize an image of (height, width) `old` to `new`."""
    return any(before > MOST_SHRUNK * after for before, after in zip(old, new, strict=True))
