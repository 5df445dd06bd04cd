import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spinet.data.transforms import IMAGE_MEAN, IMAGE_STD, EvalTransform, TrainTransform
from spinet.errors import SpinetError


def photo(height: int, width: int) -> torch.Tensor:
    # Channels last in memory, as read_image gives it.
    return torch.full((height, width, 3), 255, dtype=torch.uint8).permute(2, 0, 1)


def unit_image(**options: object) -> TrainTransform:
    """A transform that neither scales nor crops a 64 x 64 image."""
    return TrainTransform(64, **({"scale_jitter": (1, 1), "horizontal_flip": False} | options))


def fully_flipped(image: torch.Tensor, boxes: torch.Tensor, **flips: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Transform with the first seed under which a flip happens."""
    for seed in range(50):
        torch.manual_seed(seed)
        result, moved, _ = unit_image(**flips)(image, boxes, torch.zeros(len(boxes), dtype=torch.int64))
        if not torch.equal(moved, boxes):
            return result, moved
    raise AssertionError("no seed flipped")


def test_white_becomes_the_normalised_value_and_padding_is_zero():
    image, scale = EvalTransform(64)(photo(20, 40))

    assert image.shape == (3, 64, 64)
    assert image.dtype == torch.float32
    assert scale.tolist() == pytest.approx([1.6, 1.6])
    expected = (1 - torch.tensor(IMAGE_MEAN)) / torch.tensor(IMAGE_STD)
    torch.testing.assert_close(image[:, 31, 63], expected)
    assert (image[:, 32:] == 0).all()


def test_an_image_of_the_right_size_is_normalised_and_nothing_else():
    pixels = torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8)

    image, scale = EvalTransform(64)(pixels)

    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (IMAGE_MEAN, IMAGE_STD))
    torch.testing.assert_close(image, (pixels / 255 - mean) / std)
    assert scale.tolist() == [1, 1]


def test_the_scale_is_that_of_the_rounded_size():
    _, scale = EvalTransform(100)(photo(333, 1000))

    assert scale.tolist() == pytest.approx([0.1, 33 / 333])


def test_a_sliver_keeps_one_pixel():
    image, scale = EvalTransform(32)(photo(1, 1000))

    assert (image[:, 0] != 0).all()
    assert scale[1] == 1


def test_a_horizontal_flip_moves_pixels_and_boxes_together():
    image = torch.zeros(3, 64, 64, dtype=torch.uint8)
    image[:, 10:20, 5:30] = 255

    result, boxes = fully_flipped(image, torch.tensor([[5.0, 10, 30, 20]]), horizontal_flip=True)

    assert boxes.tolist() == [[34, 10, 59, 20]]
    inside = result[0] > result[0].min()
    assert inside.nonzero().amin(0).tolist() == [10, 34]
    assert inside.nonzero().amax(0).tolist() == [19, 58]


def test_a_vertical_flip_moves_boxes():
    _, boxes = fully_flipped(photo(64, 64), torch.tensor([[5.0, 10, 30, 20]]), vertical_flip=True)

    assert boxes.tolist() == [[5, 44, 30, 54]]


def test_without_flips_and_jitter_nothing_is_random():
    boxes, labels = torch.tensor([[5.0, 10, 30, 20]]), torch.tensor([3])

    image, moved, kept = unit_image()(photo(64, 64), boxes, labels)

    assert torch.equal(moved, boxes)
    assert torch.equal(kept, labels)
    assert torch.equal(image, EvalTransform(64)(photo(64, 64))[0])


def test_the_long_side_takes_every_scale_of_the_jitter():
    torch.manual_seed(0)
    transform = TrainTransform(64, scale_jitter=(0.25, 0.75))

    widths = [
        int((transform(photo(10, 40), torch.zeros(0, 4), torch.zeros(0))[0][0, 0] != 0).sum()) for _ in range(200)
    ]

    assert 16 <= min(widths) <= 18
    assert 46 <= max(widths) <= 48


def test_a_crop_removes_the_objects_outside_it_and_their_labels():
    torch.manual_seed(0)
    corners = torch.tensor([[0.0, 0, 4, 4], [60, 0, 64, 4], [0, 60, 4, 64], [60, 60, 64, 64], [30, 30, 34, 34]])
    transform = TrainTransform(64, scale_jitter=(2, 2), horizontal_flip=False)

    for _ in range(20):
        _, boxes, labels = transform(photo(64, 64), corners, torch.arange(5))

        assert len(boxes) == len(labels)
        assert len(labels) <= 3
        assert 4 in labels.tolist()


def test_the_same_seed_gives_the_same_result():
    boxes, labels = torch.tensor([[5.0, 10, 30, 20]]), torch.tensor([3])
    pixels = torch.randint(0, 256, (3, 50, 60), dtype=torch.uint8)
    results = []

    for _ in range(2):
        torch.manual_seed(5)
        results.append(TrainTransform(64)(pixels, boxes, labels))

    assert all(torch.equal(first, second) for first, second in zip(*results, strict=True))


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(
    height=st.integers(1, 200),
    width=st.integers(1, 200),
    seed=st.integers(0, 1000),
    count=st.integers(0, 6),
    flips=st.booleans(),
)
def test_boxes_stay_inside_the_picture_and_are_never_empty(height, width, seed, count, flips):
    torch.manual_seed(seed)
    sides = torch.tensor([width, height, width, height])
    corners = torch.rand(count, 2, 2).sort(dim=1).values.reshape(count, 4) * sides
    transform = TrainTransform(48, horizontal_flip=flips, vertical_flip=flips)

    image, boxes, labels = transform(photo(height, width), corners, torch.arange(count))

    shown = image[0] != 0
    limit = torch.tensor([shown.any(0).sum(), shown.any(1).sum()])
    assert (boxes >= 0).all()
    assert (boxes.view(-1, 2) <= limit).all()
    assert (boxes[:, 2:] > boxes[:, :2]).all()
    assert boxes.shape == (len(labels), 4)


@settings(max_examples=100, deadline=None)
@given(height=st.integers(1, 300), width=st.integers(1, 300), size=st.integers(8, 128))
def test_dividing_by_the_scale_leads_back_to_the_whole_image(height, width, size):
    image, scale = EvalTransform(size)(photo(height, width))

    shown = image[0] != 0
    extent = torch.stack([shown.any(0).sum(), shown.any(1).sum()])
    torch.testing.assert_close(extent / scale, torch.tensor([width, height], dtype=torch.float32))
    assert extent.max() == size


@pytest.mark.parametrize("jitter", [(0, 1), (2, 1), (-1, 1), (1, float("inf")), (float("nan"), 1)])
def test_a_jitter_that_makes_no_sense_is_an_error(jitter):
    with pytest.raises(SpinetError, match="scale_jitter is"):
        TrainTransform(64, scale_jitter=jitter)


@pytest.mark.parametrize("transform", [TrainTransform, EvalTransform])
def test_a_size_below_one_pixel_is_an_error(transform):
    with pytest.raises(SpinetError, match="image_size is 0"):
        transform(0)
