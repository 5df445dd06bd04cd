import itertools

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spinet.data.coco import CocoDataset
from spinet.data.loader import eval_loader, train_loader
from spinet.data.stream import Batch
from spinet.data.transforms import EvalTransform, TrainTransform
from spinet.errors import SpinetError

TRANSFORM = TrainTransform(32)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory, write_coco) -> CocoDataset:
    return CocoDataset(write_coco(tmp_path_factory.mktemp("coco")), "train")


def batches(dataset: CocoDataset, count: int, **options: int) -> list[Batch]:
    options = {"batch_size": 2, "seed": 0} | options
    return list(itertools.islice(train_loader(dataset, TRANSFORM, **options), count))


def equal(first: list[Batch], second: list[Batch]) -> bool:
    return len(first) == len(second) and all(
        torch.equal(a.images, b.images)
        and torch.equal(a.targets["boxes"], b.targets["boxes"])
        and torch.equal(a.targets["labels"], b.targets["labels"])
        and torch.equal(a.image_ids, b.image_ids)
        for a, b in zip(first, second, strict=True)
    )


def test_a_batch_has_the_promised_shapes_and_types(dataset):
    (batch,) = batches(dataset, 1, batch_size=3)

    assert batch.images.shape == (3, 3, 32, 32)
    assert batch.images.dtype == torch.float32
    assert batch.targets["boxes"].shape[::2] == (3, 4)
    assert batch.targets["labels"].dtype == torch.int64
    assert sorted(batch.image_ids.tolist()) == [10, 11, 12]
    assert batch.scales.shape == (3, 2)
    assert batch.sizes.tolist() == [[30, 40]] * 3


def test_padding_has_label_minus_one_and_zero_boxes(dataset):
    (batch,) = eval_loader(dataset, EvalTransform(40), batch_size=3)

    assert batch.targets["labels"].tolist() == [[0, -1], [-1, -1], [1, 0]]
    assert (batch.targets["boxes"][batch.targets["labels"] == -1] == 0).all()


@pytest.mark.parametrize(("objects", "room"), [(0, 1), (1, 1), (2, 2), (3, 4), (5, 8), (9, 10), (30, 10)])
def test_room_for_objects_is_a_power_of_two_up_to_the_limit(tmp_path, write_coco, objects, room):
    annotations = [{"id": k, "image_id": 10, "category_id": 3, "bbox": [k, 10, 5, 5]} for k in range(objects)]
    dataset = CocoDataset(write_coco(tmp_path, annotations=annotations), "train")
    still = TrainTransform(40, scale_jitter=(1, 1), horizontal_flip=False)

    batch = next(train_loader(dataset, still, batch_size=3, seed=0, max_objects=10))

    assert batch.targets["labels"].shape == (3, room)
    first = batch.targets["boxes"][batch.image_ids == 10][0]
    kept = min(objects, 10)
    assert first[:kept, 0].tolist() == list(range(kept))


def test_every_epoch_has_every_image_once_in_an_order_of_its_own(dataset):
    stream = [int(batch.image_ids) for batch in batches(dataset, 30, batch_size=1)]

    epochs = [tuple(stream[start : start + 3]) for start in range(0, 30, 3)]
    assert all(sorted(epoch) == [10, 11, 12] for epoch in epochs)
    assert len(set(epochs)) > 1


def test_another_seed_gives_another_stream(dataset):
    assert not equal(batches(dataset, 3, seed=0), batches(dataset, 3, seed=1))


def test_one_image_looks_different_in_every_epoch(dataset):
    stream = batches(dataset, 9, batch_size=1)

    looks = [batch.images for batch in stream if batch.image_ids == 10]

    assert not torch.equal(looks[0], looks[1])


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=st.integers(0, 12), size=st.integers(1, 7), seed=st.integers(0, 2**40))
def test_a_stream_from_any_batch_is_the_tail_of_the_whole_stream(dataset, first, size, seed):
    whole = batches(dataset, first + 2, batch_size=size, seed=seed)

    tail = batches(dataset, 2, batch_size=size, seed=seed, first_batch=first)

    assert equal(tail, whole[first:])


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(size=st.integers(1, 4), ranks=st.integers(2, 3))
def test_the_ranks_together_see_what_one_would_see(dataset, size, ranks):
    alone = torch.cat([batch.images for batch in batches(dataset, 2, batch_size=size * ranks)])
    shares = [batches(dataset, 2, batch_size=size, rank=rank, world_size=ranks) for rank in range(ranks)]

    together = torch.cat([share[number].images for number in range(2) for share in shares])

    assert torch.equal(together, alone)


@pytest.mark.slow
def test_worker_processes_change_nothing(dataset):
    assert equal(batches(dataset, 5, workers=2), batches(dataset, 5))


def test_the_streams_leave_torchs_global_generator_alone(dataset):
    torch.manual_seed(3)
    before = torch.get_rng_state()

    batches(dataset, 2)
    list(eval_loader(dataset, EvalTransform(32), batch_size=2))

    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("world_size", [1, 2, 5])
def test_evaluation_sees_every_image_once_over_all_ranks(dataset, world_size):
    seen = [
        batch.image_ids.tolist()
        for rank in range(world_size)
        for batch in eval_loader(dataset, EvalTransform(32), batch_size=2, rank=rank, world_size=world_size)
    ]

    assert sorted(itertools.chain(*seen)) == [10, 11, 12]
    assert world_size > 1 or seen == [[10, 11], [12]]


def test_evaluation_can_be_run_again(dataset):
    loader = eval_loader(dataset, EvalTransform(32), batch_size=2)

    assert equal(list(loader), list(loader))


def test_boxes_divided_by_the_scale_are_those_of_the_file(dataset):
    (batch,) = eval_loader(dataset, EvalTransform(64), batch_size=3)

    boxes = batch.targets["boxes"] / batch.scales.repeat(1, 2)[:, None]

    torch.testing.assert_close(boxes[2], dataset.samples[2].boxes)


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_an_error_in_a_worker_arrives_as_its_sentence_alone(tmp_path, write_coco, workers):
    write_coco(tmp_path)
    (tmp_path / "train" / "2.png").write_bytes(b"")
    dataset = CocoDataset(tmp_path, "train")

    with pytest.raises(SpinetError, match=r"^could not read the image .*2\.png: the file is empty") as caught:
        batches(dataset, 3, workers=workers)
    assert "\n" not in str(caught.value)
    with pytest.raises(SpinetError, match=r"2\.png"):
        list(eval_loader(dataset, EvalTransform(32), batch_size=2, workers=workers))


@pytest.mark.parametrize("argument", ["batch_size", "world_size", "max_objects"])
def test_a_number_below_one_is_an_error_at_once(dataset, argument):
    with pytest.raises(SpinetError, match=f"{argument} is 0; allowed is 1 or more"):
        train_loader(dataset, TRANSFORM, **({"batch_size": 1, "seed": 0} | {argument: 0}))
