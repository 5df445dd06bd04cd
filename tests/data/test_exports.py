import pytest
from class_folders import write_image
from exports import DIVIDED, HEIGHT, NAMES, WHOLE, WIDTH, Picture, pictures

from spinet.cli import main
from spinet.data.class_data import ClassDataset
from spinet.data.coco import CocoDataset
from spinet.data.division import open_split
from spinet.data.split_lists import split_dataset
from spinet.errors import SpinetError
from spinet.formats.splits import Division

PICTURES = pictures()


def check(dataset: CocoDataset, found: list[Picture]) -> None:
    """Every image and object of these pictures, and nothing else."""
    shown = {
        sample.path.stem: sorted(
            (NAMES.index(dataset.class_names[label]), *(round(value) for value in box))
            for label, box in zip(sample.labels.tolist(), sample.boxes.tolist(), strict=True)
        )
        for sample in dataset.samples
    }
    assert shown == {
        picture.name: [(label, x, y, x + w, y + h) for label, x, y, w, h in picture.objects] for picture in found
    }
    assert all((sample.width, sample.height) == (WIDTH, HEIGHT) for sample in dataset.samples)
    assert dataset.image(0).shape == (3, HEIGHT, WIDTH)
    assert dataset.problems == {}


@pytest.mark.parametrize("tool", WHOLE)
def test_exports_that_are_not_divided_are_read_whole_and_divided_both_ways(tmp_path, tool):
    WHOLE[tool](tmp_path, PICTURES)

    check(CocoDataset(tmp_path, "all"), PICTURES)
    with pytest.raises(SpinetError, match=r"spinet split DIR"):
        CocoDataset(tmp_path, "val")
    division = Division(0.3, seed=1)
    parts = {split: open_split(lambda part: CocoDataset(tmp_path, part), split, division) for split in ("train", "val")}
    assert [len(parts["train"]), len(parts["val"])] == [7, 3]

    try:
        written = split_dataset(tmp_path, division)
    except SpinetError as error:
        pytest.fail(str(error))

    assert written.counts == {"train": 7, "val": 3}
    for split, part in parts.items():
        divided = CocoDataset(written.root, split)
        assert sorted(sample.path for sample in divided.samples) == sorted(sample.path for sample in part.samples)
        check(divided, [picture for picture in PICTURES if picture.name in {s.path.stem for s in part.samples}])
        assert divided.class_names == part.class_names


@pytest.mark.parametrize("tool", DIVIDED)
def test_exports_that_are_divided_are_read_as_they_are(tmp_path, tool):
    DIVIDED[tool](tmp_path, PICTURES)

    check(CocoDataset(tmp_path, "train"), PICTURES[:-4])
    check(CocoDataset(tmp_path, "val"), PICTURES[-4:])
    with pytest.raises(SpinetError, match="has its own val split"):
        CocoDataset(tmp_path, "all")


def test_nothing_is_overwritten_and_no_image_is_touched(tmp_path):
    WHOLE["Label Studio: COCO"](tmp_path, PICTURES)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    first = split_dataset(tmp_path, Division(0.2))

    assert {path: path.stat().st_mtime_ns for path in before} == before
    with pytest.raises(SpinetError, match="has its own val split"):
        split_dataset(tmp_path, Division(0.2))
    first.files[1].unlink()
    with pytest.raises(SpinetError, match=r"instances_train.json exists and is not overwritten; move it away"):
        split_dataset(tmp_path, Division(0.2))


def test_class_folders_are_divided_by_lists(tmp_path):
    for name in ("cat", "dog"):
        for number in range(10):
            write_image(tmp_path / name / f"{number}.png", seed=number + 10 * len(name) * (name == "dog"))

    written = split_dataset(tmp_path, Division(0.2))

    assert written.files == [tmp_path / "train.json", tmp_path / "val.json"]
    train, val = ClassDataset(tmp_path, "train"), ClassDataset(tmp_path, "val")
    assert (len(train), len(val)) == (16, 4)
    assert train.class_names == val.class_names == ("cat", "dog")
    assert all(sample.path.parent.name == train.class_names[sample.label] for sample in train.samples)


def test_key_points_of_a_yaml_file_are_still_left_out_after_dividing(tmp_path):
    WHOLE["CVAT: Ultralytics YOLO"](tmp_path, PICTURES)
    with (tmp_path / "data.yaml").open("a") as file:
        file.write("kpt_shape: [1, 2]\n")
    for label in (tmp_path / "labels").rglob("*.txt"):
        label.write_text("".join(f"{line} 0.1 0.2\n" for line in label.read_text().splitlines()))

    written = split_dataset(tmp_path, Division(0.2))

    assert written.root == tmp_path / "split.yaml"
    assert sum(len(CocoDataset(written.root, split)) for split in ("train", "val")) == 10


def test_the_command_says_what_it_wrote_and_how_to_train(tmp_path, capsys, monkeypatch):
    WHOLE["LabelImg: Pascal VOC"](tmp_path, PICTURES)
    monkeypatch.setattr("sys.argv", ["spinet", "split", str(tmp_path), "--val-share", "0.3"])

    main()

    text = capsys.readouterr().out
    assert "7 images of" in text
    assert "3 are val" in text
    assert f"wrote {tmp_path / 'ImageSets' / 'Main' / 'val.txt'}" in text
    assert f"train with --data.root {tmp_path}" in text


@pytest.mark.parametrize("tool", ["LabelImg: Pascal VOC", "Label Studio: YOLO"])
def test_names_with_other_letters_and_spaces_are_divided(tmp_path, tool):
    found = [picture._replace(name=f"caf\u00e9 \u5199\u771f {picture.name}") for picture in PICTURES]
    WHOLE[tool](tmp_path, found)

    written = split_dataset(tmp_path, Division(0.2))

    assert sum(len(CocoDataset(written.root, split)) for split in ("train", "val")) == 10
