import contextlib
import errno
import io
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from spinet.errors import SpinetError
from spinet.formats import images
from spinet.formats.images import ImageError, read_image


def saved(path: Path, array: np.ndarray, mode: str | None = None, **options: object) -> Path:
    image = Image.fromarray(array)
    (image.convert(mode) if mode else image).save(path, **options)
    return path


def with_orientation(path: Path, orientation: int) -> Path:
    """A 6 x 4 image whose stored top left pixel is white."""
    array = np.zeros((4, 6, 3), dtype=np.uint8)
    array[0, 0] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(path, array, exif=exif)


@pytest.fixture
def colours() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)


def test_an_rgb_image_keeps_its_pixels(tmp_path, colours):
    image = read_image(saved(tmp_path / "a.png", colours))

    assert image.dtype == torch.uint8
    assert image.shape == (3, 5, 7)
    assert np.array_equal(image.permute(1, 2, 0).numpy(), colours)


def test_a_grayscale_image_becomes_three_equal_channels(tmp_path, colours):
    image = read_image(saved(tmp_path / "a.png", colours[..., 0]))

    assert np.array_equal(image.numpy(), np.broadcast_to(colours[..., 0], (3, 5, 7)))


def test_a_palette_image_gets_the_colours_of_its_palette(tmp_path):
    array = np.zeros((4, 4, 3), dtype=np.uint8)
    array[:2] = (204, 0, 51)

    image = read_image(saved(tmp_path / "a.gif", array, mode="P"))

    assert image[:, 0, 0].tolist() == [204, 0, 51]
    assert image[:, 3, 3].tolist() == [0, 0, 0]


def test_a_transparent_pixel_shows_white_and_an_opaque_one_its_colour(tmp_path):
    array = np.full((2, 2, 4), 100, dtype=np.uint8)
    array[..., 3] = [[0, 255], [255, 255]]

    image = read_image(saved(tmp_path / "a.png", array))

    assert image[:, 0, 0].tolist() == [255, 255, 255]
    assert image[:, 1, 1].tolist() == [100, 100, 100]


def test_a_palette_with_a_transparent_colour_shows_white_there(tmp_path):
    palette = Image.fromarray(np.array([[0, 1]], dtype=np.uint8)).convert("P")
    palette.save(tmp_path / "a.png", transparency=bytes([0, 255]))

    assert read_image(tmp_path / "a.png")[:, 0, 0].tolist() == [255, 255, 255]


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_16_bit_grey_is_scaled_and_not_clipped(tmp_path, suffix):
    array = np.array([[0, 257 * 100, 65535]], dtype=np.uint16)

    image = read_image(saved(tmp_path / f"a.{suffix}", array))

    assert image[0].tolist() == [[0, 100, 255]]


def test_a_cmyk_jpeg_has_the_colours_that_were_saved(tmp_path):
    array = np.zeros((16, 16, 3), dtype=np.uint8)
    array[:] = (250, 20, 40)

    image = read_image(saved(tmp_path / "a.jpg", array, mode="CMYK", quality=95))

    assert (image[:, 8, 8].int() - torch.tensor([250, 20, 40])).abs().max() < 8


def test_an_animation_gives_its_first_frame(tmp_path):
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])

    assert read_image(tmp_path / "a.gif")[:, 0, 0].tolist() == [255, 0, 0]


def test_floating_point_pixels_are_refused_by_name(tmp_path):
    with pytest.raises(SpinetError, match=r"a\.tiff.*neither 8 nor 16 bits"):
        read_image(saved(tmp_path / "a.tiff", np.zeros((2, 2), dtype=np.float32)))


@pytest.mark.parametrize(
    ("orientation", "corner"), [(1, (0, 0)), (2, (0, 5)), (3, (3, 5)), (4, (3, 0)), (6, (0, 3)), (8, (5, 0))]
)
def test_without_a_size_the_exif_rotation_is_applied(tmp_path, orientation, corner):
    image = read_image(with_orientation(tmp_path / "a.png", orientation))

    assert image.shape[1:] == ((6, 4) if orientation >= 5 else (4, 6))
    assert (image[0] == 255).nonzero().tolist() == [list(corner)]


def test_the_exif_rotation_is_applied_when_the_rotated_size_is_the_annotated_one(tmp_path):
    assert read_image(with_orientation(tmp_path / "a.png", 6), size=(4, 6)).shape == (3, 6, 4)


def test_the_exif_rotation_is_left_out_when_only_the_raw_size_is_the_annotated_one(tmp_path):
    image = read_image(with_orientation(tmp_path / "a.png", 6), size=(6, 4))

    assert image.shape == (3, 4, 6)
    assert image[0, 0, 0] == 255


def test_a_half_turn_which_fits_both_ways_is_applied(tmp_path):
    assert read_image(with_orientation(tmp_path / "a.png", 3), size=(6, 4))[0, 3, 5] == 255


def test_another_size_than_the_annotated_one_is_an_error_with_both_sizes(tmp_path, colours):
    with pytest.raises(SpinetError, match=r"a\.png is 7 x 5 pixels .* annotations say 8 x 5"):
        read_image(saved(tmp_path / "a.png", colours), size=(8, 5))


def test_broken_exif_data_does_not_hide_a_good_image(tmp_path, colours):
    path = saved(tmp_path / "a.jpg", colours, exif=b"Exif\x00\x00MM\x00\x2a\xff\xff\xff\xff\x00\x01")

    assert read_image(path).shape == (3, 5, 7)


@pytest.mark.parametrize(
    ("content", "reason"), [(b"", "empty"), (b"not an image", "not an image"), (b"\x89PNG\r\n\x1a\n", "")]
)
def test_a_file_that_is_no_image_is_an_error_that_names_it(tmp_path, content, reason):
    (tmp_path / "bad.jpg").write_bytes(content)

    with pytest.raises(SpinetError, match=rf"bad\.jpg.*{reason}"):
        read_image(tmp_path / "bad.jpg")


def test_a_missing_file_and_a_folder_are_errors_that_name_them(tmp_path):
    with pytest.raises(SpinetError, match=r"gone\.jpg: there is no such file"):
        read_image(tmp_path / "gone.jpg")
    with pytest.raises(SpinetError, match="it is a folder"):
        read_image(tmp_path)


@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "TIFF", "GIF", "BMP", "WEBP"])
def test_a_file_cut_off_anywhere_is_an_error_that_names_it(tmp_path, format_name):
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, format_name)
    whole = buffer.getvalue()

    for length in range(1, len(whole) * 3 // 4, max(len(whole) // 25, 1)):
        (tmp_path / "cut.img").write_bytes(whole[:length])
        with pytest.raises(SpinetError, match=r"cut\.img"):
            read_image(tmp_path / "cut.img")


def test_random_damage_gives_an_image_or_the_sentence_but_no_other_error(tmp_path, colours):
    buffer = io.BytesIO()
    Image.fromarray(np.tile(colours, (8, 8, 1))).save(buffer, "JPEG", exif=Image.Exif())
    rng = np.random.default_rng(0)
    for _ in range(100):
        damaged = np.frombuffer(buffer.getvalue(), dtype=np.uint8).copy()
        damaged[rng.integers(2, len(damaged), 5)] = rng.integers(0, 256, 5)
        (tmp_path / "bad.jpg").write_bytes(damaged.tobytes())
        with contextlib.suppress(SpinetError):
            assert read_image(tmp_path / "bad.jpg").shape[0] == 3


def test_an_image_above_pillows_limit_is_read_without_a_warning(tmp_path, monkeypatch, colours):
    path = saved(tmp_path / "a.png", colours)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_image(path).shape == (3, 5, 7)
    assert Image.MAX_IMAGE_PIXELS == 10


def test_an_image_above_our_limit_is_an_error_that_names_it(tmp_path, monkeypatch, colours):
    path = saved(tmp_path / "a.png", colours)
    monkeypatch.setattr(images, "MAX_PIXELS", 34)

    with pytest.raises(SpinetError, match=r"a\.png has 7 x 5 pixels; must be at most 34"):
        read_image(path)


@pytest.mark.parametrize(
    ("error", "of_the_image"),
    [
        (OSError("image file is truncated"), True),
        (SyntaxError("broken PNG file"), True),
        (OSError(errno.EACCES, "Permission denied"), True),
        (OSError(errno.EIO, "Input/output error"), False),
        (OSError(errno.EMFILE, "Too many open files"), False),
        (OSError(errno.ESTALE, "Stale file handle"), False),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), False),
        (MemoryError(), False),
    ],
)
def test_a_fault_of_the_machine_is_not_taken_for_one_of_the_image(tmp_path, colours, monkeypatch, error, of_the_image):
    path = saved(tmp_path / "a.png", colours)

    def fail(_):
        raise error

    monkeypatch.setattr(Image, "open", fail)
    with pytest.raises(SpinetError, match=r"^could not read the image .*a\.png: ") as caught:
        read_image(path)
    assert isinstance(caught.value, ImageError) == of_the_image
