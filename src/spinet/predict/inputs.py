"""Images in any common form, as the uint8 RGB tensor that transforms take."""

from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from spinet.errors import SpinetError
from spinet.formats.images import MAX_PIXELS, read_image, to_rgb, upright

ImageLike = str | PathLike[str] | Image.Image | NDArray[Any] | Tensor


def as_image(image: ImageLike) -> Tensor:
    """Return an image as uint8 RGB `(3, H, W)`.

    Args:
        image: the path of an image file; a PIL image of any mode, whose EXIF orientation is applied; a NumPy array,
            uint8 RGB `(H, W, 3)`; or a tensor, uint8 or float from 0 to 1, RGB `(3, H, W)`. Whether an array holds
            BGR cannot be seen: convert it with `array[:, :, ::-1]` first.

    Raises:
        SpinetError: the file cannot be read, or the image has another shape, type or range, or no pixels.
    """
    if isinstance(image, str | PathLike):
        return read_image(Path(image))
    if isinstance(image, Image.Image):
        return _from_pil(image)
    if isinstance(image, np.ndarray):
        return _from_array(image)
    if isinstance(image, Tensor):
        return _from_tensor(image)
    raise SpinetError(
        f"an image of type {type(image).__name__} is not supported; pass a path, a PIL image, a NumPy array or a tensor"
    )


def _from_pil(image: Image.Image) -> Tensor:
    if image.width * image.height > MAX_PIXELS:
        raise SpinetError(f"the image has {image.width} x {image.height} pixels; at most {MAX_PIXELS:,} are supported")
    try:
        rgb = to_rgb(upright(image))
    except ValueError as error:
        raise SpinetError(f"the PIL image cannot be converted to RGB: {error}") from None
    return _checked(torch.from_numpy(np.array(rgb)).permute(2, 0, 1))


def _from_array(image: NDArray[Any]) -> Tensor:
    shape = image.shape
    if image.ndim != 3 or shape[2] != 3:
        hint = ""
        if image.ndim == 3 and shape[0] == 3:
            hint = "; this one looks like (3, H, W): use array.transpose(1, 2, 0)"
        elif image.ndim == 2 or shape[2:] in ((1,), (4,)):
            hint = "; Image.fromarray(array) of PIL takes grayscale and transparency"
        elif image.ndim == 4:
            hint = "; pass a batch as list(array)"
        raise SpinetError(f"a NumPy image must have shape (H, W, 3) in RGB order, not {shape}{hint}")
    if image.dtype != np.uint8:
        raise SpinetError(f"a NumPy image must be uint8 with values from 0 to 255, not {image.dtype}")
    # A copy: negative strides, as `array[:, :, ::-1]` has them, and read-only arrays are not for torch.
    return _checked(torch.from_numpy(image.copy()).permute(2, 0, 1))


def _from_tensor(image: Tensor) -> Tensor:
    image = image.detach().cpu()
    if image.ndim != 3 or image.shape[0] != 3:
        hint = ""
        if image.ndim == 3 and image.shape[2] == 3:
            hint = "; this one looks like (H, W, 3): use tensor.permute(2, 0, 1)"
        elif image.ndim == 4:
            hint = "; pass a batch as list(tensor)"
        raise SpinetError(f"an image tensor must have shape (3, H, W) in RGB order, not {tuple(image.shape)}{hint}")
    _checked(image)
    if image.dtype == torch.uint8:
        return image.clone()  # results keep the image, and callers reuse their buffers
    if not image.is_floating_point():
        raise SpinetError(f"an image tensor must be uint8, or float with values from 0 to 1, not {image.dtype}")
    low, high = image.aminmax()
    if not (low >= 0 and high <= 1):
        raise SpinetError(
            f"a float image tensor must have values from 0 to 1, not from {float(low):.3g} to {float(high):.3g}"
        )
    return (image.float() * 255).round().byte()


def _checked(image: Tensor) -> Tensor:
    if 0 in image.shape:
        raise SpinetError(f"an image of shape {tuple(image.shape)} has no pixels")
    return image
