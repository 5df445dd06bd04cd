"""Invalid labels are left out and counted, without keeping a sentence for each."""

import tracemalloc

import pytest

from spinet.errors import SpinetError
from spinet.formats.yolo_labels import LabelFiles


def test_a_large_file_in_the_wrong_form_does_not_fill_the_memory(tmp_path):
    file = tmp_path / "0.txt"
    file.write_text(5000 * "cat 0.5 0.5 0.5 0.5\n")
    labels = LabelFiles(classes=2)

    tracemalloc.start()
    labels.read(file, 40, 30)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert kept < 100_000
    with pytest.raises(SpinetError, match=r"0.txt, line 1: 'cat' is not a number \(.* in all: 5,000 of 5,000 \(100"):
        labels.check("train", file, file)
