import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from spinet.data.class_transforms import ClassEvalTransform, ClassTrainTransform
from spinet.data.device_augment import DrawnTransform, RawImages
from spinet.data.transforms import EvalTransform, TrainTransform

CPU = torch.device("cpu")
SIDES = st.integers(1, 130)


def photo(height: int, width: int, seed: int = 0) -> torch.Tensor:
    # Channels last in memory, as read_image gives it.
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (height, width, 3), dtype=torch.uint8, generator=generator).permute(2, 0, 1)


def view_of(kind: str, size: tuple[int, int], **options: object) -> DrawnTransform:
    """A view of an image of this size by the training of a detector or a classifier, with all that can be drawn."""
    options = {"vertical_flip": True, "colour_jitter": 0.5} | options
    if kind == "detector":
        placement, _, _ = TrainTransform(24, **options).place(size, torch.zeros(0, 4))
        return placement
    return ClassTrainTransform(24, **options).place(size)


@pytest.mark.slow
@settings(max_examples=120)
@given(
    sizes=st.lists(st.tuples(SIDES, SIDES), min_size=1, max_size=4),
    seed=st.integers(0, 1000),
    kind=st.sampled_from(["detector", "classifier"]),
    colours=st.sampled_from([0.0, 0.5]),
)
def test_photos_rendered_together_later_are_bit_equal_to_those_rendered_at_once(sizes, seed, kind, colours):
    torch.manual_seed(seed)
    photos = [photo(*size, seed) for size in sizes]
    views = [view_of(kind, size, colour_jitter=colours) for size in sizes]

    at_once = torch.stack([view.apply(image) for image, view in zip(photos, views, strict=True)])
    later = RawImages.of(*zip(*[view.reduce(image) for image, view in zip(photos, views, strict=True)], strict=True))

    assert torch.equal(later.to(CPU), at_once)
    assert torch.equal(pickle.loads(pickle.dumps(later)).to(CPU), at_once)


@pytest.mark.parametrize("kind", ["detector", "classifier"])
def test_rendering_draws_nothing_and_leaves_the_photo_as_it_was(kind):
    image = photo(50, 70)
    view = view_of(kind, (50, 70))
    before = torch.get_rng_state()

    view.apply(image)
    view.reduce(image)

    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(image, photo(50, 70))


@pytest.mark.parametrize("kind", ["detector", "classifier"])
def test_all_of_the_rendering_happens_where_the_image_is(kind):
    # The meta device has no pixels, and refuses to be mixed with the CPU as a GPU does.
    rendered = view_of(kind, (50, 70)).apply(photo(50, 70).to("meta"))

    assert rendered.device.type == "meta"
    assert rendered.shape == (3, 24, 24)


def test_a_classifiers_photos_travel_as_the_part_that_is_seen():
    view = view_of("classifier", (100, 120), crop_area=(0.25, 0.25), crop_ratio=(1, 1))

    part, _ = view.reduce(photo(100, 120))

    assert part.shape == (3, 55, 55)


@pytest.mark.parametrize(("size", "travels"), [((32 * 24, 320), True), ((33 * 24, 330), False)])
def test_a_photo_that_a_gpu_could_not_shrink_travels_shrunk(size, travels):
    image = photo(*size)
    transform = TrainTransform(24, scale_jitter=(1, 1), vertical_flip=True)
    for _ in range(4):
        view, _, _ = transform.place(size, torch.zeros(0, 4))

        travelling, rest = view.reduce(image)

        assert (travelling.shape[-2:] == size) == travels
        assert travels or travelling.shape[-2] == 24
        assert torch.equal(rest.apply(travelling), view.apply(image))


def test_a_part_that_a_gpu_could_not_shrink_travels_shrunk():
    image = photo(800, 800)
    view = view_of("classifier", (800, 800), crop_area=(1, 1), crop_ratio=(1, 1))

    part, rest = view.reduce(image)

    assert part.shape == (3, 24, 24)
    assert torch.equal(rest.apply(part), view.apply(image))


class ResizedOn(TorchDispatchMode):
    """Notes on which devices images are resized."""

    def __init__(self):
        super().__init__()
        self.devices = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if "upsample" in str(func):
            self.devices.append(args[0].device.type)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("transform", [EvalTransform(24), ClassEvalTransform(24)])
@pytest.mark.parametrize(("side", "where"), [(30 * 24, "meta"), (40 * 24, "cpu")])
def test_a_photo_to_be_predicted_is_resized_on_the_device_unless_a_gpu_could_not(transform, side, where):
    with ResizedOn() as noted:
        found = transform(photo(side, side), torch.device("meta"))

    assert noted.devices == [where]
    assert (found if isinstance(found, torch.Tensor) else found[0]).device.type == "meta"
