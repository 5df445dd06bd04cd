import pytest
import torch
from torchvision.transforms.v2 import functional

from spinet.data.class_transforms import ClassTrainTransform
from spinet.data.colours import Colours, change_colours, draw_colours
from spinet.data.transforms import TrainTransform
from spinet.errors import SpinetError


def photo():
    return torch.randint(0, 256, (3, 40, 30), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_no_strength_changes_and_draws_nothing():
    before = torch.random.get_rng_state()
    assert draw_colours(0.0) is None
    assert torch.equal(change_colours(photo(), None), photo())
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_three_factors_are_uniform_around_one():
    torch.manual_seed(3)
    brightness, contrast, saturation = (1 + 0.4 * (2 * torch.rand(3) - 1)).tolist()
    assert all(0.6 <= factor <= 1.4 for factor in (brightness, contrast, saturation))

    torch.manual_seed(3)
    assert draw_colours(0.4) == (brightness, contrast, saturation)


def test_brightness_changes_first_then_contrast_then_saturation():
    expected = functional.adjust_contrast(functional.adjust_brightness(photo(), 1.2), 0.7)
    expected = functional.adjust_saturation(expected, 1.3)

    assert torch.equal(change_colours(photo(), Colours(1.2, 0.7, 1.3)), expected)


def test_boxes_and_crops_are_those_of_the_same_training_without_it():
    boxes, labels = torch.tensor([[3.0, 4.0, 20.0, 30.0]]), torch.tensor([1])
    results = []
    for strength in (0.0, 0.5):
        torch.manual_seed(1)
        results.append(TrainTransform(32, colour_jitter=strength)(photo(), boxes, labels))
    (plain, plain_boxes, _), (jittered, jittered_boxes, _) = results
    assert torch.equal(plain_boxes, jittered_boxes)
    assert not torch.equal(plain, jittered)
    # The padding keeps the mean colour.
    assert torch.equal(plain == 0, jittered == 0)


@pytest.mark.parametrize("transform", [TrainTransform, ClassTrainTransform])
def test_a_strength_beyond_one_is_refused(transform):
    with pytest.raises(SpinetError, match=r"colour_jitter is 1\.5; must be from 0 to 1"):
        transform(32, colour_jitter=1.5)
