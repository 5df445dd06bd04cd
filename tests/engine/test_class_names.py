from dataclasses import replace

import pytest

from spinet.arch.catalog import load_architecture
from spinet.engine.build import ModelInfo
from spinet.engine.class_names import class_starts, nearest, normalized
from spinet.engine.config import ModelConfig
from spinet.models.class_rows import AVERAGE, NEW

TINY = load_architecture("tiny")
COCO = ("person", "car", "truck", "bus", "cell phone", "sports ball", "wine glass")


def described(names, **model):
    settings = replace(ModelConfig(arch="tiny", new_classes=True), **model)
    return ModelInfo(TINY, settings, names, tuple(range(1, len(names) + 1)), 64)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("persons", "person"),
        ("buses", "bus"),
        ("fire truck", "truck"),
        ("Cell-Phones", "cell phone"),
        ("glass", "wine glass"),
        ("ball of the game", None),
        ("car park", "car"),
        ("persn", "person"),
        ("bicycle", None),
        ("cup", None),
        ("", None),
        ("---", None),
    ],
)
def test_the_nearest_name_is_found_by_form_alone(name, expected):
    assert nearest(normalized(name), COCO) == expected


def test_of_two_names_that_end_alike_the_longer_is_nearer():
    assert nearest("red wine glass", ["glass", "wine glass", "red"]) == "wine glass"


def test_a_class_of_the_same_name_is_kept_whatever_its_spelling():
    starts, said = class_starts(described(COCO), described(("CAR", "cell_phone", "Person", "zebra")))

    assert starts == [1, 4, 0, NEW]
    assert said == ["classes: 3 kept (CAR, cell_phone, Person), 1 newly initialized (zebra)"]


def test_the_same_spelling_goes_before_the_same_name():
    starts, _ = class_starts(described(("Cell", "cell")), described(("cell", "CELL")))

    assert starts == [1, 0]


def test_a_class_starts_from_the_nearest_name_only_when_asked_and_says_so():
    ours = described(("fire truck", "zebra", "truck"), class_start="nearest")

    starts, said = class_starts(described(COCO), ours)

    assert starts == [2, NEW, 2]
    assert said == ["classes: 1 kept (truck), 1 started (fire truck from truck), 1 newly initialized (zebra)"]


def test_a_number_instead_of_a_name_is_near_to_nothing():
    theirs = described(("class 3", "unused 12", "car 3"))

    starts, _ = class_starts(theirs, described(("3", "12", "class 3"), class_start="nearest"))

    assert starts == [2, NEW, 0]


def test_other_classes_start_from_the_average_when_asked():
    starts, said = class_starts(described(COCO), described(("bus", "RBC", "WBC"), class_start="average"))

    assert starts == [3, AVERAGE, AVERAGE]
    assert said == ["classes: 1 kept (bus), 2 started from the average (RBC, WBC)"]


def test_no_class_starts_from_the_background():
    theirs = described(("background", "person"), background=True)

    starts, _ = class_starts(theirs, described(("background", "person"), class_start="nearest"))
    both, _ = class_starts(theirs, described(("background", "person"), background=True))

    assert (starts, both) == ([NEW, 1], [0, 1])
