import itertools

import pytest
import torch
from class_folders import write_folders

from spinet.data.class_data import ClassDataset
from spinet.data.class_loader import class_eval_loader, class_train_loader
from spinet.data.class_transforms import ClassEvalTransform, ClassTrainTransform
from spinet.data.rendering import RawImages
from spinet.data.stream import Batch
from spinet.errors import SpinetError

TRANSFORM = ClassTrainTransform(16)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> ClassDataset:
    return ClassDataset(write_folders(tmp_path_factory.mktemp("classes"), ("ant", "cat", "dog")), "train")


def batches(dataset: ClassDataset, count: int, **options: int) -> list[Batch]:
    options = {"batch_size": 4, "seed": 0} | options
    return list(itertools.islice(class_train_loader(dataset, TRANSFORM, **options), count))


def equal(first: list[Batch], second: list[Batch]) -> bool:
    return len(first) == len(second) and all(
        torch.equal(a.images, b.images)
        and torch.equal(a.targets["labels"], b.targets["labels"])
        and torch.equal(a.image_ids, b.image_ids)
        for a, b in zip(first, second, strict=True)
    )


def test_a_batch_has_the_promised_shapes_and_types(dataset):
    (batch,) = batches(dataset, 1)

    assert batch.images.shape == (4, 3, 16, 16)
    assert batch.images.dtype == torch.float32
    assert batch.targets.keys() == {"labels"}
    assert batch.targets["labels"].dtype == torch.int64
    assert batch.scales.tolist() == [[1, 1]] * 4
    assert batch.sizes.tolist() == [[30, 40]] * 4


def test_labels_are_those_of_the_images(dataset):
    label_of = {sample.image_id: sample.label for sample in dataset.samples}

    for batch in batches(dataset, 6):
        assert batch.targets["labels"].tolist() == [label_of[image_id] for image_id in batch.image_ids.tolist()]


def test_every_epoch_has_every_image_once_in_an_order_and_with_looks_of_its_own(dataset):
    first, second = batches(dataset, 2, batch_size=9)

    assert sorted(first.image_ids.tolist()) == sorted(second.image_ids.tolist()) == list(range(1, 10))
    assert first.image_ids.tolist() != second.image_ids.tolist()
    assert not torch.equal(first.images[first.image_ids.argsort()], second.images[second.image_ids.argsort()])


@pytest.mark.parametrize("first", [1, 4])
def test_a_stream_from_any_batch_is_the_tail_of_the_whole_stream(dataset, first):
    assert equal(batches(dataset, 3, first_batch=first), batches(dataset, first + 3)[first:])


def test_another_seed_gives_another_stream(dataset):
    assert not equal(batches(dataset, 2), batches(dataset, 2, seed=1))


def test_the_ranks_together_see_what_one_would_see(dataset):
    alone = torch.cat([batch.images for batch in batches(dataset, 2, batch_size=4)])
    shares = [batches(dataset, 2, batch_size=2, rank=rank, world_size=2) for rank in range(2)]

    together = torch.cat([share[number].images for number in range(2) for share in shares])

    assert torch.equal(together, alone)


@pytest.mark.slow
def test_worker_processes_change_nothing(dataset):
    assert equal(batches(dataset, 4, workers=2), batches(dataset, 4))
    loaders = [class_eval_loader(dataset, ClassEvalTransform(16), batch_size=2, workers=count) for count in (0, 2)]
    assert equal(*map(list, loaders))


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_images_rendered_later_are_those_that_the_workers_would_render(dataset, workers):
    transform = ClassTrainTransform(16, colour_jitter=0.4, vertical_flip=True)
    streams = [
        itertools.islice(class_train_loader(dataset, transform, batch_size=4, seed=1, workers=count, rendered=done), 6)
        for done, count in ((True, 0), (False, workers))
    ]

    for finished, raw in zip(*streams, strict=True):
        assert isinstance(raw.images, RawImages)
        assert equal([finished], [raw._replace(images=raw.images.to(torch.device("cpu")))])
        assert torch.equal(finished.sizes, raw.sizes)


def test_the_streams_leave_torchs_global_generator_alone(dataset):
    torch.manual_seed(3)
    before = torch.get_rng_state()

    batches(dataset, 2)
    list(class_eval_loader(dataset, ClassEvalTransform(16), batch_size=2))

    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("world_size", [1, 2, 11])
def test_evaluation_sees_every_image_once_over_all_ranks(dataset, world_size):
    seen = [
        batch.image_ids.tolist()
        for rank in range(world_size)
        for batch in class_eval_loader(dataset, ClassEvalTransform(16), batch_size=4, rank=rank, world_size=world_size)
    ]

    assert sorted(itertools.chain(*seen)) == list(range(1, 10))
    assert world_size > 1 or seen == [[1, 2, 3, 4], [5, 6, 7, 8], [9]]


def test_an_unreadable_image_arrives_as_its_sentence_alone(tmp_path):
    dataset = ClassDataset(write_folders(tmp_path), "train")
    (tmp_path / "train" / "dog" / "c.png").write_bytes(b"no image")

    for stream in (
        class_train_loader(dataset, TRANSFORM, batch_size=6, seed=0),
        class_eval_loader(dataset, ClassEvalTransform(16), batch_size=6),
    ):
        with pytest.raises(SpinetError, match=r"^could not read the image .*dog.c\.png: it is no image"):
            next(iter(stream))


@pytest.mark.parametrize("argument", ["batch_size", "world_size"])
def test_a_number_below_one_is_an_error_at_once(dataset, argument):
    with pytest.raises(SpinetError, match=f"{argument} is 0; allowed is 1 or more"):
        class_train_loader(dataset, TRANSFORM, **({"batch_size": 1, "seed": 0} | {argument: 0}))
