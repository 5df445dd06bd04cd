import itertools
import multiprocessing
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from class_folders import write_folders
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pycocotools import mask as mask_api

from spinet.data import loader
from spinet.data.batch import Batch
from spinet.data.class_data import ClassDataset
from spinet.data.class_transforms import ClassEvalTransform, ClassTrainTransform
from spinet.data.coco import CocoDataset
from spinet.data.device_augment import RawImages
from spinet.data.loader import eval_loader, train_loader
from spinet.data.mask_crops import crop_masks, paste_masks
from spinet.data.masks import decode_columns
from spinet.data.transforms import EvalTransform, TrainTransform
from spinet.data.unread import Unread
from spinet.errors import SpinetError

TRANSFORM = TrainTransform(32)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory, write_coco) -> CocoDataset:
    return CocoDataset(write_coco(tmp_path_factory.mktemp("coco")), "train")


@pytest.fixture(scope="module", params=["detection", "classification"])
def kind(request, dataset, tmp_path_factory) -> SimpleNamespace:
    """A dataset of each kind, with its transforms and the numbers of its images."""
    if request.param == "detection":
        return SimpleNamespace(
            dataset=dataset, train=TRANSFORM, eval=EvalTransform(32), ids=[1, 2, 3], augment=TrainTransform
        )
    classes = ClassDataset(write_folders(tmp_path_factory.mktemp("classes"), ("ant", "cat", "dog")), "train")
    train, evaluation = ClassTrainTransform(32), ClassEvalTransform(32)
    return SimpleNamespace(
        dataset=classes, train=train, eval=evaluation, ids=list(range(1, 10)), augment=ClassTrainTransform
    )


def batches(dataset, count: int, transform=TRANSFORM, **options: int) -> list[Batch]:
    options = {"batch_size": 2, "seed": 0} | options
    return list(itertools.islice(train_loader(dataset, transform, **options), count))


def of(kind: SimpleNamespace, count: int, **options: int) -> list[Batch]:
    return batches(kind.dataset, count, kind.train, **options)


def equal(first: list[Batch], second: list[Batch]) -> bool:
    return len(first) == len(second) and all(
        a.targets.keys() == b.targets.keys()
        and all(torch.equal(a.targets[name], b.targets[name]) for name in ({"boxes", "labels"} & a.targets.keys()))
        and torch.equal(a.images, b.images)
        and torch.equal(a.image_ids, b.image_ids)
        and torch.equal(a.sizes, b.sizes)
        for a, b in zip(first, second, strict=True)
    )


def test_a_batch_has_the_promised_shapes_and_types(dataset):
    (batch,) = batches(dataset, 1, batch_size=3)

    assert batch.images.shape == (3, 3, 32, 32)
    assert batch.images.dtype == torch.float32
    assert batch.targets["boxes"].shape[::2] == (3, 4)
    assert batch.targets["labels"].dtype == torch.int64
    assert sorted(batch.image_ids.tolist()) == [1, 2, 3]
    assert batch.scales.shape == (3, 2)
    assert batch.sizes.tolist() == [[30, 40]] * 3


@pytest.mark.parametrize("kind", ["classification"], indirect=True)
def test_a_batch_of_a_classifier_has_the_promised_shapes_and_types(kind):
    (batch,) = of(kind, 1, batch_size=4)

    assert batch.images.shape == (4, 3, 32, 32)
    assert batch.images.dtype == torch.float32
    assert batch.targets.keys() == {"labels"}
    assert batch.targets["labels"].dtype == torch.int64
    assert batch.scales.tolist() == [[1, 1]] * 4
    assert batch.sizes.tolist() == [[30, 40]] * 4


@pytest.mark.parametrize("kind", ["classification"], indirect=True)
def test_labels_are_those_of_the_images(kind):
    label_of = {sample.number: sample.label for sample in kind.dataset.samples}

    for batch in of(kind, 6, batch_size=4):
        assert batch.targets["labels"].tolist() == [label_of[image_id] for image_id in batch.image_ids.tolist()]


def test_padding_has_label_minus_one_and_zero_boxes(dataset):
    (batch,) = eval_loader(dataset, EvalTransform(40), batch_size=3)

    assert batch.targets["labels"].tolist() == [[0, -1], [-1, -1], [1, 0]]
    assert (batch.targets["boxes"][batch.targets["labels"] == -1] == 0).all()


@pytest.mark.parametrize(("objects", "room"), [(0, 1), (1, 1), (2, 2), (3, 4), (5, 8), (9, 10), (30, 10)])
def test_room_for_objects_is_a_power_of_two_up_to_the_limit(tmp_path, write_coco, objects, room):
    annotations = [{"id": k, "image_id": 10, "category_id": 3, "bbox": [k, 10, 5, 5]} for k in range(objects)]
    dataset = CocoDataset(write_coco(tmp_path, annotations=annotations), "train")
    still = TrainTransform(40, scale_jitter=(1, 1), horizontal_flip=False, max_objects=10)

    batch = next(train_loader(dataset, still, batch_size=3, seed=0))

    assert batch.targets["labels"].shape == (3, room)
    first = batch.targets["boxes"][batch.image_ids == 1][0]
    kept = min(objects, 10)
    assert first[:kept, 0].tolist() == list(range(kept))


def test_every_epoch_has_every_image_once_in_an_order_of_its_own(kind):
    count = len(kind.ids)
    stream = [int(batch.image_ids) for batch in of(kind, 10 * count, batch_size=1)]

    epochs = [tuple(stream[start : start + count]) for start in range(0, 10 * count, count)]
    assert all(sorted(epoch) == kind.ids for epoch in epochs)
    assert len(set(epochs)) > 1


def test_another_seed_gives_another_stream(kind):
    assert not equal(of(kind, 3, seed=0), of(kind, 3, seed=1))


def test_one_image_looks_different_in_every_epoch(kind):
    stream = of(kind, 3 * len(kind.ids), batch_size=1)

    looks = [batch.images for batch in stream if batch.image_ids == kind.ids[0]]

    assert not torch.equal(looks[0], looks[1])


@pytest.mark.slow
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=st.integers(0, 12), size=st.integers(1, 7), seed=st.integers(0, 2**40))
def test_a_stream_from_any_batch_is_the_tail_of_the_whole_stream(kind, first, size, seed):
    whole = of(kind, first + 2, batch_size=size, seed=seed)

    tail = of(kind, 2, batch_size=size, seed=seed, first_batch=first)

    assert equal(tail, whole[first:])


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(size=st.integers(1, 4), ranks=st.integers(2, 3))
def test_the_ranks_together_see_what_one_would_see(kind, size, ranks):
    alone = torch.cat([batch.images for batch in of(kind, 2, batch_size=size * ranks)])
    shares = [of(kind, 2, batch_size=size, rank=rank, world_size=ranks) for rank in range(ranks)]

    together = torch.cat([share[number].images for number in range(2) for share in shares])

    assert torch.equal(together, alone)


@pytest.mark.slow
def test_worker_processes_change_nothing(kind):
    assert equal(of(kind, 5, workers=2), of(kind, 5))
    loaders = [eval_loader(kind.dataset, kind.eval, batch_size=2, workers=count) for count in (0, 2)]
    assert equal(*map(list, loaders))


def test_the_streams_leave_torchs_global_generator_alone(kind):
    torch.manual_seed(3)
    before = torch.get_rng_state()

    of(kind, 2)
    list(eval_loader(kind.dataset, kind.eval, batch_size=2))

    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("world_size", [1, 2, 5, 11])
def test_evaluation_sees_every_image_once_over_all_ranks(kind, world_size):
    seen = [
        batch.image_ids.tolist()
        for rank in range(world_size)
        for batch in eval_loader(kind.dataset, kind.eval, batch_size=2, rank=rank, world_size=world_size)
    ]

    assert sorted(itertools.chain(*seen)) == kind.ids
    assert world_size > 1 or seen == [kind.ids[start : start + 2] for start in range(0, len(kind.ids), 2)]


def test_evaluation_can_be_run_again(kind):
    loader = eval_loader(kind.dataset, kind.eval, batch_size=2)

    assert equal(list(loader), list(loader))


def test_boxes_divided_by_the_scale_are_those_of_the_file(dataset):
    (batch,) = eval_loader(dataset, EvalTransform(64), batch_size=3)

    boxes = batch.targets["boxes"] / batch.scales.repeat(1, 2)[:, None]

    torch.testing.assert_close(boxes[2], dataset.samples[2].boxes)


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_an_error_in_a_worker_arrives_as_its_sentence_alone(tmp_path, write_coco, monkeypatch, workers):
    dataset = CocoDataset(write_coco(tmp_path), "train")

    def fail(path, size=None):
        raise SpinetError(f"could not read the image {path}: the disk fails")

    monkeypatch.setattr("spinet.data.dataset.read_image", fail)
    with pytest.raises(SpinetError, match=r"^could not read the image .*png: the disk fails$"):
        batches(dataset, 3, workers=workers)
    with pytest.raises(SpinetError, match=r"png: the disk fails$"):
        list(eval_loader(dataset, EvalTransform(32), batch_size=2, workers=workers))


BROKEN = {"empty": b"", "text": b"no image", "cut": None}


@pytest.fixture(params=BROKEN)
def faulty(request, tmp_path, kind) -> SimpleNamespace:
    """The kinds of datasets with one image that cannot be read, that of index 1."""
    root = shutil.copytree(kind.dataset.root, tmp_path / "faulty")
    dataset = type(kind.dataset)(root, "train")
    file = dataset.samples[1].path
    content = BROKEN[request.param]
    file.write_bytes(file.read_bytes()[:-2000] if content is None else content)
    return SimpleNamespace(**vars(kind) | {"dataset": dataset, "bad": dataset.samples[1].number})


def test_an_image_that_cannot_be_read_gives_its_place_to_the_next(faulty, kind):
    count = len(kind.ids)
    unread = Unread("train", count)

    stream = of(faulty, 3 * count, batch_size=1, unread=unread)

    whole = [int(batch.image_ids) for batch in of(kind, 3 * count, batch_size=1)]
    number = faulty.bad
    assert [int(batch.image_ids) for batch in stream] == [number + 1 if other == number else other for other in whole]
    [fault] = unread.faults.values()
    assert (fault.number, fault.file) == (number, "/".join(faulty.dataset.samples[1].path.parts[-2:]))
    assert fault.reason in unread.text()


def test_resuming_and_ranks_do_not_change_what_takes_the_place(faulty):
    whole = of(faulty, 6, batch_size=2)

    assert equal(of(faulty, 4, batch_size=2, first_batch=2), whole[2:])
    ranks = [of(faulty, 3, batch_size=2, rank=rank, world_size=2) for rank in range(2)]
    assert equal([batch for pair in zip(*ranks, strict=True) for batch in pair], whole)


@pytest.mark.slow
def test_worker_processes_put_the_same_image_in_its_place_and_count_it(faulty):
    unread = Unread("train", len(faulty.dataset))

    assert equal(of(faulty, 6, workers=2, unread=unread), of(faulty, 6))
    assert set(unread.faults) == {faulty.bad}


@pytest.mark.parametrize("size", [1, 2, 5])
def test_evaluation_leaves_out_an_image_that_cannot_be_read(faulty, size):
    unread = Unread("val", len(faulty.dataset))

    stream = eval_loader(faulty.dataset, faulty.eval, batch_size=size, unread=unread)

    seen = [number for batch in stream for number in batch.image_ids.tolist()]
    assert seen == [number for number in faulty.ids if number != faulty.bad]
    assert set(unread.faults) == {faulty.bad}
    assert len(unread.readable(faulty.dataset)) == len(faulty.ids) - 1


def test_more_than_a_few_images_that_cannot_be_read_are_refused(faulty):
    faulty.dataset.samples[-1].path.write_bytes(b"")
    total = len(faulty.ids)

    for stream in (
        train_loader(faulty.dataset, faulty.train, batch_size=1, seed=0),
        eval_loader(faulty.dataset, faulty.eval, batch_size=1),
    ):
        with pytest.raises(SpinetError, match=rf"^(train|val): 2 of {total} images cannot be read \(") as caught:
            list(itertools.islice(stream, 3 * total))
        assert "\n" not in str(caught.value)


def test_a_dataset_without_any_image_that_can_be_read_is_refused_at_the_first_batch(tmp_path, write_coco):
    dataset = CocoDataset(write_coco(tmp_path), "train")
    for sample in dataset.samples:
        sample.path.write_bytes(b"")

    with pytest.raises(SpinetError, match=r"^train: 2 of 3 images cannot be read .*: the file is empty; replace"):
        batches(dataset, 1, batch_size=1)


@pytest.mark.parametrize("argument", ["batch_size", "world_size"])
def test_a_number_below_one_is_an_error_at_once(kind, argument):
    with pytest.raises(SpinetError, match=f"{argument} is 0; must be at least 1"):
        train_loader(kind.dataset, kind.train, **({"batch_size": 1, "seed": 0} | {argument: 0}))


def test_a_limit_of_objects_below_one_is_an_error_at_once():
    with pytest.raises(SpinetError, match="max_objects is 0; must be at least 1"):
        TrainTransform(32, max_objects=0)


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_images_augmented_on_the_device_are_those_that_the_workers_would_make(kind, workers):
    transform = kind.augment(40, vertical_flip=True, colour_jitter=0.4)
    streams = [
        batches(kind.dataset, 6, transform, seed=1, workers=count, augment_on_device=later)
        for later, count in ((False, 0), (True, workers))
    ]

    for finished, raw in zip(*streams, strict=True):
        assert isinstance(raw.images, RawImages)
        assert equal([finished], [raw._replace(images=raw.images.to(torch.device("cpu")))])


def encoded(mask: torch.Tensor) -> bytes:
    return mask_api.encode(np.asfortranarray(mask.numpy()))["counts"]


@pytest.fixture(scope="module")
def shapes(tmp_path_factory, write_coco) -> CocoDataset:
    """Rectangles whose masks fill their boxes, and per image one object that fills the left half of its box only."""
    annotations = []
    for image in (10, 11, 12):
        rectangles = [[2, 3, 12, 9], [20, 5, 15, 20], [0, 0, 40, 30]]
        for x, y, w, h in rectangles:
            polygon = [x, y, x + w, y, x + w, y + h, x, y + h]
            annotations.append({"image_id": image, "category_id": 3, "bbox": [x, y, w, h], "segmentation": [polygon]})
        half = {"image_id": image, "category_id": 7, "bbox": [10, 10, 20, 10]}
        annotations.append(half | {"segmentation": [[10, 10, 20, 10, 20, 20, 10, 20]]})
    root = write_coco(tmp_path_factory.mktemp("shapes"), annotations=annotations)
    return CocoDataset(root, "train", masks=True)


def test_masks_come_with_their_boxes_and_change_nothing_else(shapes):
    plain = CocoDataset(shapes.root, "train")

    with_masks, without = batches(shapes, 6), batches(plain, 6)

    assert equal([batch._replace(targets=dict(list(batch.targets.items())[:2])) for batch in with_masks], without)
    assert all("masks" not in batch.targets for batch in without)
    for batch in with_masks:
        assert batch.targets["masks"].shape == (*batch.targets["labels"].shape, 112, 112)
        assert batch.targets["masks"].dtype == torch.uint8
        rectangles = batch.targets["labels"] == 0
        assert batch.targets["masks"][rectangles].min() == 1
        assert batch.targets["masks"][batch.targets["labels"] == -1].sum() == 0


def test_the_masks_of_an_evaluation_are_those_of_the_whole_objects(shapes):
    (batch,) = eval_loader(shapes, EvalTransform(64), batch_size=3)

    halves = batch.targets["masks"][batch.targets["labels"] == 1].float()
    assert halves[:, :, :56].min() == 1
    assert halves[:, :, 56:].max() == 0
    assert batch.targets["masks"][batch.targets["labels"] == 0].min() == 1


def test_the_objects_that_a_batch_has_no_room_for_have_no_masks(shapes):
    first, limited = batches(shapes, 4), batches(shapes, 4, TrainTransform(32, max_objects=2))

    for whole, part in zip(first, limited, strict=True):
        room = part.targets["labels"].shape[1]
        assert room <= 2
        assert torch.equal(part.targets["masks"], whole.targets["masks"][:, :room])


def test_a_batch_without_objects_has_room_for_a_mask(tmp_path, write_coco):
    dataset = CocoDataset(write_coco(tmp_path, annotations=[]), "train", masks=True)

    (batch,) = batches(dataset, 1)

    assert batch.targets["masks"].shape == (2, 1, 112, 112)


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_masks_and_raw_pixels_are_the_same_when_the_device_augments(shapes, workers):
    transform = TrainTransform(40, vertical_flip=True, colour_jitter=0.4)
    finished = batches(shapes, 6, transform, seed=1)
    later = batches(shapes, 6, transform, seed=1, workers=workers, augment_on_device=True)

    for done, raw in zip(finished, later, strict=True):
        assert raw.images.pixels.shape == (2 * 3 * 40 * 30,)
        assert len(raw.images) == 2
        assert equal([done], [raw._replace(images=raw.images.to(torch.device("cpu")))])
        assert torch.equal(done.targets["masks"], raw.targets["masks"])


def test_workers_bring_the_same_masks(shapes):
    here, there = batches(shapes, 3), batches(shapes, 3, workers=2)

    for first, second in zip(here, there, strict=True):
        assert torch.equal(first.targets["masks"], second.targets["masks"])


def test_an_object_of_whose_mask_the_crop_shows_nothing_stays_with_an_empty_mask(shapes):
    # Tripled and cut to a ninth, so that some crops show the right half of the object's box only.
    transform = TrainTransform(40, scale_jitter=(3, 3), horizontal_flip=False)
    stream = itertools.islice(train_loader(shapes, transform, batch_size=3, seed=0), 40)

    shares = [
        mask.float().mean().item() for batch in stream for mask in batch.targets["masks"][batch.targets["labels"] == 1]
    ]

    assert min(shares) == 0
    assert max(shares) > 0.5


@pytest.mark.slow
@settings(max_examples=60)
@given(seed=st.integers(0, 10_000), vertical=st.booleans())
def test_masks_are_flipped_and_cropped_as_the_image_is(seed, vertical):
    # The mask itself is the image. At a fixed scale of 1 pixels stay pixels, so that all is exact.
    generator = torch.Generator().manual_seed(seed)
    height, width = torch.randint(20, 70, (2,), generator=generator).tolist()
    mask = (torch.rand(height, width, generator=generator) < 0.5).to(torch.uint8)
    corners = (torch.rand(5, 2, 2, generator=generator).sort(dim=1).values * torch.tensor([width, height])).round()
    boxes = corners.flatten(1)[(corners[:, 1] > corners[:, 0]).all(1)]
    size = 32
    scale = max(height, width) / size
    transform = TrainTransform(size, scale_jitter=(scale, scale), vertical_flip=vertical)

    torch.manual_seed(seed)
    placement, moved, _ = transform.place((height, width), boxes)
    image = placement.apply(mask.expand(3, -1, -1) * 255)
    crops = placement.flip(crop_masks([encoded(mask)] * len(moved), placement.back(moved), height, width, side=112))

    shown = (image[0] > 0).to(torch.uint8)
    for crop, (left, top, right, bottom) in zip(crops, moved.round().int().tolist(), strict=True):
        columns, one_column = pixels_of_cells(left, right)
        rows, one_row = pixels_of_cells(top, bottom)
        assert torch.equal(crop[one_row][:, one_column], shown[rows][:, columns])


def pixels_of_cells(low: int, high: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The pixel that each of 112 cells lies in, for those which lie in one only."""
    length = high - low
    cells = torch.arange(112)
    first, last = cells * length // 112, ((cells + 1) * length - 1) // 112
    return low + first[first == last], first == last


@pytest.mark.parametrize("name", ["nuclei", "cocomini"])
@pytest.mark.slow
def test_real_masks_follow_their_objects_through_the_augmentation(real_photos, name):
    # Compared with the way that no loader can afford: the whole mask is resized and cropped like the image.
    dataset = CocoDataset(real_photos(name), "train", masks=True)
    transform = TrainTransform(128, vertical_flip=True)
    overlaps = []
    for index, sample in enumerate(dataset.samples[:6]):
        for mask, box in list(zip(sample.masks, sample.boxes, strict=True))[:8]:
            whole = torch.from_numpy(decode_columns(mask, sample.height, sample.width, 0, sample.width)).T
            torch.manual_seed(index)
            placement, moved, _ = transform.place((sample.height, sample.width), box[None])
            image = placement.apply(whole.expand(3, -1, -1) * 255)
            if len(moved) == 0 or (moved[0, 2:] - moved[0, :2]).min() < 8:
                continue
            size = (sample.height, sample.width)
            crop = placement.flip(crop_masks([mask], placement.back(moved), *size))
            [rle] = paste_masks(torch.nn.functional.avg_pool2d(crop.float(), 4), moved, 128, 128)
            ours = torch.from_numpy(decode_columns(rle["counts"], 128, 128, 0, 128)).T.bool()
            left, top, right, bottom = moved[0].round().int().tolist()
            theirs = torch.zeros(128, 128, dtype=torch.bool)
            theirs[top:bottom, left:right] = image[0, top:bottom, left:right] > 0.1
            if theirs.sum() > 50:
                overlaps.append(((ours & theirs).sum() / (ours | theirs).sum()).item())
    assert len(overlaps) > 10
    assert min(overlaps) > 0.6
    assert sum(overlaps) / len(overlaps) > 0.85


def test_loader_processes_that_something_still_refers_to_end_with_the_program(dataset):
    before = set(multiprocessing.active_children())
    iterator = iter(eval_loader(dataset, EvalTransform(32), batch_size=1, workers=2))
    next(iterator)
    started = set(multiprocessing.active_children()) - before

    # What `atexit` calls; `multiprocessing` would wait until each has handled SIGTERM, which they put off.
    loader._end_processes()

    assert len(started) == 2
    for process in started:
        process.join(20)
    assert not [process for process in started if process.is_alive()]
