import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision.transforms.v2 import RandomResizedCrop

from spinet.data.class_transforms import (
    ClassEvalTransform,
    ClassTrainTransform,
    Window,
    center_window,
    random_window,
)
from spinet.data.transforms import IMAGE_MEAN, IMAGE_STD
from spinet.errors import SpinetError

AREA, RATIO = (0.08, 1.0), (3 / 4, 4 / 3)


def photo(height: int, width: int) -> torch.Tensor:
    return torch.randint(0, 256, (height, width, 3), dtype=torch.uint8).permute(2, 0, 1)


def unnormalised(image: torch.Tensor) -> torch.Tensor:
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (IMAGE_MEAN, IMAGE_STD))
    return (image * std + mean) * 255


@pytest.mark.parametrize(
    ("size", "window"),
    [
        ((256, 256), (16, 16, 224, 224)),
        ((256, 512), (16, 144, 224, 224)),
        # 0.875 x 101 = 88.375, and (101 - 88) / 2 = 6.5: both are rounded down.
        ((101, 200), (6, 56, 88, 88)),
        ((1, 9), (0, 4, 1, 1)),
    ],
)
def test_the_centre_is_a_square_of_seven_eighths_of_the_short_side(size, window):
    assert center_window(*size) == window


def test_evaluation_shows_the_centre_and_nothing_beside_it():
    image = torch.zeros(3, 256, 320, dtype=torch.uint8)
    image[:, 16:240, 48:272] = 200

    shown = unnormalised(ClassEvalTransform(224)(image))

    torch.testing.assert_close(shown, torch.full((3, 224, 224), 200.0))


def test_what_is_shrunk_is_averaged():
    stripes = torch.zeros(3, 256, 256, dtype=torch.uint8)
    stripes[:, :, ::2] = 200

    shown = unnormalised(ClassEvalTransform(28)(stripes))

    assert ((shown - 100).abs() < 10).all()


@pytest.mark.slow
@given(
    height=st.integers(1, 600),
    width=st.integers(1, 600),
    draws=st.lists(st.lists(st.floats(0, 1, exclude_max=True), min_size=4, max_size=4), min_size=10, max_size=10),
)
def test_a_random_window_lies_inside_and_has_the_area_and_ratio_allowed(height, width, draws):
    window = random_window(height, width, AREA, RATIO, draws)

    top, left, rows, columns = window
    assert top >= 0
    assert left >= 0
    assert rows >= 1
    assert columns >= 1
    assert top + rows <= height
    assert left + columns <= width
    if window != center_window(height, width):
        # Rounding moves each side by half a pixel at most.
        assert (rows + 0.5) * (columns + 0.5) >= AREA[0] * height * width
        assert (rows - 0.5) * (columns - 0.5) <= AREA[1] * height * width
        assert RATIO[0] * (rows - 0.5) - 0.5 <= columns <= RATIO[1] * (rows + 0.5) + 0.5


def test_the_first_try_that_fits_counts():
    # Of a 100 x 100 image: all of its area as a 115 x 87 window does not fit; a quarter of it as a square does.
    everything, quarter = [1.0, 0.0, 0.0, 0.0], [(0.25 - 0.08) / 0.92, 0.5, 0.999, 0.0]

    assert random_window(100, 100, AREA, RATIO, [everything, quarter]) == Window(50, 0, 50, 50)


def test_without_a_try_that_fits_the_centre_is_taken():
    assert random_window(10, 1000, (1, 1), (1, 1), [[0.5] * 4] * 10) == center_window(10, 1000)


@pytest.mark.slow
def test_windows_are_as_large_and_as_wide_as_torchvisions_on_average():
    torch.manual_seed(0)
    ours = [random_window(300, 400, AREA, RATIO, torch.rand(10, 4).tolist()) for _ in range(3000)]
    crop = RandomResizedCrop(8, scale=AREA, ratio=RATIO)
    theirs = [crop.make_params([torch.zeros(3, 300, 400)]) for _ in range(3000)]

    for ours_of, theirs_of in ((lambda w: w.height, "height"), (lambda w: w.width, "width"), (lambda w: w.top, "top")):
        mean = sum(map(ours_of, ours)) / 3000
        assert mean == pytest.approx(sum(params[theirs_of] for params in theirs) / 3000, rel=0.05)


def test_half_of_the_images_are_mirrored():
    image = torch.arange(64, dtype=torch.uint8).expand(3, 64, 64)
    torch.manual_seed(0)

    shown = [ClassTrainTransform(32, crop_area=(1, 1), crop_ratio=(1, 1))(image) for _ in range(200)]

    mirrored = sum(bool(view[0, 0, 0] > view[0, 0, -1]) for view in shown)
    assert 70 < mirrored < 130


def test_without_the_flip_the_crops_stay_as_they_were():
    image = photo(60, 80)
    views = []
    for flip in (True, False):
        torch.manual_seed(4)
        views += [[ClassTrainTransform(32, horizontal_flip=flip)(image) for _ in range(6)]]

    same = [torch.equal(first, second) for first, second in zip(*views, strict=True)]
    mirrored = [torch.equal(first.flip(-1), second) for first, second in zip(*views, strict=True)]

    assert all(a or b for a, b in zip(same, mirrored, strict=True))
    assert any(mirrored)


def test_half_of_the_images_are_turned_upside_down_if_that_is_asked_for_and_nothing_else_changes():
    image = photo(60, 80)
    pairs = []
    for seed in range(40):
        views = []
        for flip in (False, True):
            torch.manual_seed(seed)
            views.append(ClassTrainTransform(16, colour_jitter=0.4, vertical_flip=flip)(image))
        pairs.append(views)

    same = [torch.equal(plain, flipped) for plain, flipped in pairs]
    turned = [torch.equal(plain.flip(-2), flipped) for plain, flipped in pairs]

    assert all(a != b for a, b in zip(same, turned, strict=True))
    assert 10 < sum(turned) < 30


@pytest.mark.parametrize("size", [(1, 1), (3, 500), (40, 30)])
def test_every_image_becomes_the_square(size):
    for transform in (ClassTrainTransform(16), ClassEvalTransform(16)):
        shown = transform(photo(*size))

        assert shown.shape == (3, 16, 16)
        assert shown.dtype == torch.float32


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"image_size": 0}, "image_size is 0"),
        ({"image_size": 8, "crop_area": (0, 1)}, "crop_area is .0, 1.; must be"),
        ({"image_size": 8, "crop_area": (0.5, 1.5)}, "crop_area is"),
        ({"image_size": 8, "crop_ratio": (2, 1)}, "crop_ratio is .2, 1.; must be"),
        ({"image_size": 8, "crop_ratio": (1, math.inf)}, "crop_ratio is"),
    ],
)
def test_numbers_out_of_range_are_refused(options, sentence):
    with pytest.raises(SpinetError, match=sentence):
        ClassTrainTransform(**options)
