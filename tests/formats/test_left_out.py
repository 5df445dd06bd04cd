"""Invalid labels are left out and counted, without keeping a sentence for each; faults of the machine are not."""

import errno
import os
import tracemalloc
from pathlib import Path
from xml.etree import ElementTree

import pytest
from three_formats import small_splits, write_voc, write_yolo

from spinet.data.coco import CocoDataset
from spinet.errors import OutOfMemory, SpinetError
from spinet.formats.yolo_labels import LabelFiles


def test_a_large_file_in_the_wrong_form_does_not_fill_the_memory(tmp_path):
    file = tmp_path / "0.txt"
    file.write_text(2000 * "cat 0.5 0.5 0.5 0.5\n")
    labels = LabelFiles(classes=2)

    tracemalloc.start()
    labels.read(file, 40, 30)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert kept < 100_000
    with pytest.raises(SpinetError, match=r"0.txt, line 1: 'cat' is not a number \(.* in all: 2,000 of 2,000 \(100"):
        labels.check("train", file, file)


@pytest.fixture(
    params=[(write_yolo, "labels/train/0.txt"), (write_voc, "Annotations/train_0.xml")], ids=["yolo", "voc"]
)
def first_file(request, tmp_path) -> Path:
    """The annotations of the first training image of a dataset."""
    write, name = request.param
    return write(tmp_path / "data", *small_splits(tmp_path)) / name


@pytest.fixture
def unreadable(first_file, monkeypatch):
    """Make reading that file raise an error."""
    whole_open = Path.open

    def fail_with(error):
        def fail(path, *arguments, **options):
            if path == first_file:
                raise error
            return whole_open(path, *arguments, **options)

        monkeypatch.setattr(Path, "open", fail)
        return first_file

    return fail_with


@pytest.mark.parametrize("number", [errno.EIO, errno.EMFILE, errno.ENFILE, errno.ESTALE, errno.ETIMEDOUT, errno.ENOMEM])
def test_a_fault_of_the_machine_is_not_taken_for_one_of_the_labels(unreadable, tmp_path, number):
    file = unreadable(OSError(number, os.strerror(number)))

    with pytest.raises(SpinetError, match=f"^could not read .*{file.name}: {os.strerror(number)}$"):
        CocoDataset(tmp_path / "data", "train")


def test_short_memory_is_not_taken_for_an_invalid_xml_file(tmp_path, monkeypatch):
    def fail(_):
        raise MemoryError

    root = write_voc(tmp_path / "data", *small_splits(tmp_path))
    monkeypatch.setattr(ElementTree, "fromstring", fail)

    with pytest.raises(OutOfMemory, match=r"^.*\.xml does not fit into memory$"):
        CocoDataset(root, "train")


def test_a_file_that_may_not_be_read_is_left_out_with_advice_about_that(unreadable, tmp_path):
    file = unreadable(PermissionError(errno.EACCES, "Permission denied"))

    [finding] = CocoDataset(tmp_path / "data", "train").findings

    assert f"{file.name}: Permission denied; make them readable: their images are left out too" in finding.text
