"""Reading any image file as 8-bit RGB, in the orientation of its annotations."""

import threading
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import ExifTags, Image, UnidentifiedImageError

from spinet.errors import SpinetError, is_machine_fault
from spinet.formats.findings import Finding, is_systematic, of, such_as

MAX_PIXELS = 500_000_000

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_pillow_limit = threading.Lock()


class ImageError(SpinetError):
    """An image file cannot be used, and would be as bad on any machine: others can be read without it.

    Attributes:
        reason: why, without the name of the file.
    """

    def __init__(self, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason or message


def read_image(path: str | Path, size: tuple[int, int] | None = None) -> torch.Tensor:
    """Read an image file of any mode as RGB.

    Grey becomes three equal channels, transparency white, 16-bit values are divided by 257, and of an animation the
    first frame is taken. The EXIF rotation is applied, unless only the unrotated image has the annotated size.

    Args:
        path: a file of any format that Pillow reads.
        size: (width, height) in the annotations, if there are any.

    Returns:
        uint8 `(3, H, W)`.

    Raises:
        ImageError: the file is missing, corrupt, not an image, above 500 megapixels, or has another size.
        SpinetError: the disk or the memory failed.
    """
    path = Path(path)
    with _opened(path) as image:
        if image.width * image.height > MAX_PIXELS:
            reason = f"has {image.width} x {image.height} pixels; must be at most {MAX_PIXELS:,}"
            raise ImageError(f"the image {path} {reason}", f"it {reason}")
        rgb = to_rgb(_upright(image, size, path))
        # A permuted view, hence channels-last, on which uint8 resizing is fastest.
        return torch.from_numpy(np.array(rgb)).permute(2, 0, 1)


def header_of(path: Path) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the stored and the upright (width, height) of an image file; only its header is read."""
    with _opened(path) as image:
        return image.size, upright_size(image)


def image_size(path: Path) -> tuple[int, int]:
    """Return the upright (width, height) of an image file; only its header is read."""
    return header_of(path)[1]


def readable_sizes(
    paths: Iterable[Path], known: Mapping[Path, tuple[int, int]], split: str, total: int
) -> tuple[dict[Path, tuple[int, int]], list[Finding]]:
    """Return the upright (width, height) of each image, from its header where it is not known, and a finding.

    Images that cannot be read are left out, and the finding says so.

    Raises:
        SpinetError: these are many of the `total` images of the split.
    """
    sizes: dict[Path, tuple[int, int]] = {}
    faults: dict[Path, str] = {}
    for path in paths:
        try:
            sizes[path] = known.get(path) or image_size(path)
        except ImageError as error:
            faults[path] = error.reason
    return sizes, broken_images(faults, total, split)


def broken_images(faults: Mapping[Path, str], total: int, split: str) -> list[Finding]:
    """Return a warning about images of a split that are left out for a reason, if there are any.

    Raises:
        SpinetError: these are many.
    """
    if not faults:
        return []
    path, reason = next(iter(faults.items()))
    text = f"{split}: {of(len(faults), total)} images cannot be read, {such_as(path)}: {reason}; replace or delete them"
    if is_systematic(len(faults), total):
        raise SpinetError(text)
    return [Finding("warning", "broken images", f"{text}: they are left out")]


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """Open an image file; errors until it is closed become a SpinetError."""
    try:
        with without_pillow_limit(), Image.open(path) as image:
            yield image
    except SpinetError:
        raise
    # Pillow's decoders raise nearly anything for a corrupt file: SyntaxError, struct.error, ...
    except Exception as error:
        reason = fault_of(path, error)
        text = f"could not read the image {path}: {reason}; expected an intact image file that Pillow can read"
        if is_machine_fault(error):
            raise SpinetError(text) from error
        raise ImageError(text, reason) from error


@contextmanager
def without_pillow_limit() -> Iterator[None]:
    """Lift Pillow's own size limit (89 megapixels warn, 179 fail) and silence its warnings about metadata."""
    with _pillow_limit, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _upright(image: Image.Image, size: tuple[int, int] | None, path: Path) -> Image.Image:
    """Apply the EXIF orientation if that agrees with the annotated size."""
    shown = upright_size(image)
    if size is None or size == shown:
        return upright(image)
    if size == image.size:
        return image
    reason = f"is {shown[0]} x {shown[1]} pixels (width x height) but its annotations say {size[0]} x {size[1]}"
    raise ImageError(f"the image {path} {reason}", f"it {reason}")


def upright(image: Image.Image) -> Image.Image:
    """Return an image turned as its EXIF orientation says."""
    turn = _UPRIGHT.get(orientation(image))
    return image if turn is None else image.transpose(turn)


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Return (width, height) after the EXIF rotation."""
    # Orientations 5 to 8 include a quarter turn.
    return (image.height, image.width) if orientation(image) in (5, 6, 7, 8) else image.size


def orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 for an upright image or one without it."""
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    # Corrupt EXIF data in an otherwise intact image; Pillow raises SyntaxError, struct.error, TypeError, ...
    except Exception:
        return 1


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert any mode to RGB, as described in `read_image`."""
    if image.mode.startswith(("I", "F")):
        return _eight_bit(image).convert("RGB")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


def _eight_bit(image: Image.Image) -> Image.Image:
    """Scale 16-bit grey to 8 bits; Pillow's own conversion clips at 255."""
    values = np.asarray(image)
    if image.mode == "F" or values.min() < 0 or values.max() > 65535:
        raise ValueError(f"its pixels (Pillow mode {image.mode}) are neither 8 nor 16 bits")
    return Image.fromarray(((values.astype(np.uint32) + 128) // 257).astype(np.uint8))


def fault_of(path: Path, error: Exception) -> str:
    """Return why Pillow could not read a file."""
    if not path.exists():
        return "there is no such file"
    if path.is_dir():
        return "it is a folder"
    if path.stat().st_size == 0:
        return "the file is empty"
    if isinstance(error, UnidentifiedImageError):
        return "not an image, or a format that Pillow does not support"
    return str(error) or type(error).__name__
