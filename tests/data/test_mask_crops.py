import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as reference
from torch.nn import functional
from torchvision.models.detection.roi_heads import paste_masks_in_image

from spinet.data.mask_crops import crop_masks, paste_masks
from spinet.data.masks import Rle, decode_columns

SEEDS = st.integers(0, 1000)


def encoded(mask: torch.Tensor) -> bytes:
    return reference.encode(np.asfortranarray(mask.numpy().astype(np.uint8)))["counts"]


def decoded(rle: Rle) -> torch.Tensor:
    height, width = rle["size"]
    return torch.from_numpy(decode_columns(rle["counts"], height, width, 0, width)).T


def some_box(generator: torch.Generator, height: int, width: int) -> torch.Tensor:
    corners = torch.rand(2, 2, generator=generator).sort(dim=0).values
    return (corners * torch.tensor([width, height])).flatten()


@given(left=st.integers(0, 30), top=st.integers(0, 20), width=st.integers(1, 10), height=st.integers(1, 10), seed=SEEDS)
def test_the_mask_of_a_rectangle_fills_its_box_and_every_box_inside(left, top, width, height, seed):
    mask = torch.zeros(30, 40)
    mask[top : top + height, left : left + width] = 1
    whole = torch.tensor([left, top, left + width, top + height], dtype=torch.float32)
    part = some_box(torch.Generator().manual_seed(seed), height, width) + whole[:2].repeat(2)

    crops = crop_masks([encoded(mask)] * 2, torch.stack([whole, part]), 30, 40)

    assert crops.shape == (2, 112, 112)
    assert crops.dtype == torch.uint8
    assert crops.min() == 1


def test_a_crop_shows_where_in_the_box_the_object_is():
    mask = torch.zeros(30, 40)
    mask[10:20, 5:15] = 1

    [crop] = crop_masks([encoded(mask)], torch.tensor([[5.0, 0, 25, 20]]), 30, 40, side=8)

    expected = torch.zeros(8, 8, dtype=torch.uint8)
    expected[4:, :4] = 1
    assert torch.equal(crop, expected)


@given(seed=SEEDS, factor=st.integers(1, 4))
def test_a_cell_belongs_to_the_object_if_more_than_half_of_its_pixels_do(seed, factor):
    generator = torch.Generator().manual_seed(seed)
    mask = (torch.rand(40, 48, generator=generator) < 0.5).float()
    side = 4
    left, top = torch.randint(0, 48 - side * factor, (1,), generator=generator), 7
    box = torch.tensor([[left, top, left + side * factor, top + side * factor]], dtype=torch.float32)

    [crop] = crop_masks([encoded(mask)], box, 40, 48, side=side)

    window = mask[top : top + side * factor, left : left + side * factor]
    assert torch.equal(crop, (functional.avg_pool2d(window[None], factor)[0] > 0.5).to(torch.uint8))


def test_a_cell_smaller_than_a_pixel_is_as_the_pixel_is():
    mask = (torch.rand(10, 12, generator=torch.Generator().manual_seed(0)) < 0.5).float()

    [crop] = crop_masks([encoded(mask)], torch.tensor([[2.0, 3, 9, 10]]), 10, 12, side=112)

    assert torch.equal(crop, mask[3:10, 2:9].repeat_interleave(16, 0).repeat_interleave(16, 1).to(torch.uint8))


def test_a_box_without_a_pixel_of_the_object_and_a_sliver_of_a_box_have_crops():
    mask = torch.zeros(10, 10)
    mask[:, :5] = 1
    boxes = torch.tensor([[6.0, 0, 10, 10], [0, 0, 1e-4, 1e-4], [9.9999, 9.9999, 10, 10]])

    crops = crop_masks([encoded(mask)] * 3, boxes, 10, 10)

    assert [crop.float().mean().item() for crop in crops] == [0, 1, 0]
    assert crop_masks([], torch.zeros(0, 4), 10, 10).shape == (0, 112, 112)


@pytest.mark.slow
@given(seed=SEEDS, cells=st.sampled_from([1, 7, 28]))
def test_pasting_interpolates_at_the_centres_of_pixels_with_nothing_outside(seed, cells):
    generator = torch.Generator().manual_seed(seed)
    height, width = 30, 40
    # Boxes that reach out of the image too.
    boxes = torch.stack([some_box(generator, 2 * height, 2 * width) - 10 for _ in range(3)])
    masks = torch.rand(3, cells, cells, generator=generator)

    pasted = paste_masks(masks, boxes, height, width)

    for mask, box, rle in zip(masks, boxes.double(), pasted, strict=True):
        x = (torch.arange(width) + 0.5 - box[0]) / (box[2] - box[0]) * 2 - 1
        y = (torch.arange(height) + 0.5 - box[1]) / (box[3] - box[1]) * 2 - 1
        grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)
        expected = functional.grid_sample(mask.double()[None, None], grid[None].double(), align_corners=False)[0, 0]
        sure = (expected - 0.5).abs() > 1e-4
        assert torch.equal(decoded(rle).bool()[sure], (expected > 0.5)[sure])


def test_pasted_masks_agree_with_torchvisions_but_for_its_whole_pixels():
    generator = torch.Generator().manual_seed(0)
    y, x = torch.meshgrid(torch.linspace(-1, 1, 28), torch.linspace(-1, 1, 28), indexing="ij")
    masks = torch.sigmoid(8 * (0.8 - torch.stack([x**2 + y**2, x.abs() + y.abs(), (x - 0.2) ** 2 + y**2])))
    boxes = torch.stack([torch.tensor([20.0, 30, 120, 100]) + 20 * torch.rand(4, generator=generator) for _ in masks])

    ours = torch.stack([decoded(rle) for rle in paste_masks(masks, boxes, 140, 160)]).bool()

    theirs = paste_masks_in_image(masks[:, None], boxes, (140, 160))[:, 0] > 0.5
    overlap = (ours & theirs).sum((1, 2)) / (ours | theirs).sum((1, 2))
    assert overlap.min() > 0.95


@given(seed=SEEDS)
def test_a_pasted_crop_of_a_round_object_is_the_object(seed):
    generator = torch.Generator().manual_seed(seed)
    centre, radius = 20 + 20 * torch.rand(2, generator=generator), 6 + 10 * torch.rand(1, generator=generator)
    y, x = torch.meshgrid(torch.arange(60) + 0.5, torch.arange(70) + 0.5, indexing="ij")
    mask = ((x - centre[0]) ** 2 + (y - centre[1]) ** 2 < radius**2).float()
    box = torch.cat([centre - radius, centre + radius])[None]

    crop = crop_masks([encoded(mask)], box, 60, 70)
    [rle] = paste_masks(functional.avg_pool2d(crop.float(), 4), box, 60, 70)

    again = decoded(rle).bool()
    assert (again & mask.bool()).sum() / (again | mask.bool()).sum() > 0.93


@pytest.mark.parametrize("box", [[5, 5, 5, 9], [50, 50, 60, 60], [-9, -9, -1, -1], [8, 8, 5, 5]])
def test_a_box_without_area_or_outside_the_image_pastes_an_empty_mask(box):
    [rle] = paste_masks(torch.ones(1, 28, 28), torch.tensor([box], dtype=torch.float32), 30, 40)

    assert reference.area(rle) == 0


def test_a_sure_mask_fills_its_box_up_to_rounded_corners():
    [rle] = paste_masks(torch.ones(1, 28, 28), torch.tensor([[4.0, 6, 32, 20]]), 30, 40)

    mask = decoded(rle)
    assert reference.toBbox(rle).tolist() == [4, 6, 28, 14]
    assert mask.sum() >= 28 * 14 - 12


def test_half_precision_is_no_obstacle():
    masks = torch.rand(2, 28, 28, generator=torch.Generator().manual_seed(0)).bfloat16()
    boxes = torch.tensor([[1.0, 2, 30, 25], [3, 4, 9, 9]])

    assert paste_masks(masks, boxes, 30, 40) == paste_masks(masks.float(), boxes, 30, 40)
