import io
import os
from pathlib import Path

import pytest
from class_folders import write_folders
from PIL import Image
from three_formats import small_splits, write_voc, write_yolo

from spinet.data.class_data import ClassDataset
from spinet.data.coco import CocoDataset
from spinet.errors import SpinetError
from spinet.formats import listing
from spinet.formats.images import read_image
from spinet.formats.listing import find_images, image_suffixes, list_images


def image(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 6), "red").save(path)
    return path


def names(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in list_images(folder).images]


def test_every_suffix_that_pillow_writes_and_reads_is_an_image(tmp_path):
    known = image_suffixes()

    for suffix, name in sorted(Image.registered_extensions().items()):
        buffer = io.BytesIO()
        try:
            Image.new("1" if name in ("MSP", "XBM") else "RGB", (16, 16)).save(buffer, name)
        except (KeyError, OSError, ValueError):
            continue  # it only reads them, or other modes
        (tmp_path / f"a{suffix}").write_bytes(buffer.getvalue())
        try:
            size = read_image(tmp_path / f"a{suffix}").shape[1:]
        except SpinetError:
            assert suffix not in known
        else:
            assert suffix in known or name == "EPS"
            assert size == (16, 16) or name == "ICNS"
    assert {".jpg", ".jfif", ".avif", ".webp", ".jp2", ".tga", ".ppm", ".psd", ".apng"} <= known


@pytest.mark.parametrize("suffix", [".h5", ".grib", ".bufr", ".wmf", ".mpg", ".pdf", ".eps", ".txt"])
def test_a_suffix_that_pillow_only_recognises_is_no_image(suffix):
    assert suffix not in image_suffixes()


def test_a_format_of_a_plug_in_counts_as_soon_as_it_is_registered(tmp_path, monkeypatch):
    image(tmp_path / "a.png").rename(tmp_path / "a.heic")
    Image.init()
    monkeypatch.setattr(Image, "EXTENSION", {**Image.EXTENSION, ".heic": "PNG"})

    assert names(tmp_path) == ["a.heic"]


def test_folders_are_walked_and_sorted_and_the_suffix_counts_in_any_case(tmp_path):
    for name in ("b/c/2.JPG", "b/1.png", "a.JfIf", "z.d/3.webp"):
        image(tmp_path / name.replace(".JfIf", ".jpg")).rename(tmp_path / name)

    assert names(tmp_path) == ["a.JfIf", "b/1.png", "b/c/2.JPG", "z.d/3.webp"]
    assert [path.name for path in list_images(tmp_path, below=False).images] == ["a.JfIf"]


@pytest.mark.parametrize(
    "name",
    [
        "._a.jpg",
        ".hidden.png",
        ".ipynb_checkpoints/a-checkpoint.jpg",
        "b/.Trash/a.jpg",
        "@eaDir/a.jpg/SYNOPHOTO_THUMB_M.jpg",
        "b/__MACOSX/a.jpg",
        "$RECYCLE.BIN/a.jpg",
        ".@__thumb/a.jpg",
        "Thumbs.db",
        "b/.DS_Store",
    ],
)
def test_what_systems_leave_behind_is_no_data_at_any_level(tmp_path, name):
    image(tmp_path / "b" / "kept.jpg")
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_bytes(b"\0\5\x16\7")

    found = list_images(tmp_path)

    assert [path.name for path in found.images] == ["kept.jpg"]
    assert found.skipped == {}


def test_the_folder_itself_may_be_hidden(tmp_path):
    image(tmp_path / ".cache" / "data" / "a.jpg")

    assert names(tmp_path / ".cache") == ["data/a.jpg"]


def test_links_to_files_and_folders_are_followed_and_circles_end(tmp_path):
    image(tmp_path / "elsewhere" / "deep" / "1.jpg")
    image(tmp_path / "images" / "0.jpg")
    (tmp_path / "images" / "batch").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "up").symlink_to(tmp_path / "images")
    (tmp_path / "images" / "self").symlink_to("self")
    (tmp_path / "images" / "2.jpg").symlink_to(tmp_path / "elsewhere" / "deep" / "1.jpg")

    assert names(tmp_path / "images") == ["0.jpg", "2.jpg", "batch/deep/1.jpg"]


def test_a_folder_that_is_also_linked_keeps_its_own_name(tmp_path):
    image(tmp_path / "z" / "1.jpg")
    (tmp_path / "a").symlink_to(tmp_path / "z")

    assert names(tmp_path) == ["z/1.jpg"]


def test_a_link_to_nowhere_is_an_image_that_cannot_be_read(tmp_path):
    (tmp_path / "a.jpg").symlink_to(tmp_path / "gone.jpg")

    [path] = list_images(tmp_path).images
    with pytest.raises(SpinetError, match=r"a\.jpg: there is no such file"):
        read_image(path)


def test_a_folder_named_like_an_image_and_a_pipe_are_no_images(tmp_path):
    image(tmp_path / "scans.jpg" / "1.png")
    os.mkfifo(tmp_path / "pipe.jpg")

    assert names(tmp_path) == ["scans.jpg/1.png"]


def test_what_may_be_an_image_or_a_video_is_counted_by_suffix_and_side_files_are_not(tmp_path):
    image(tmp_path / "0.jpg")
    for name in ("b.HEIC", "a.heic", "c/d.heic", "e.mp4", "IMG_0001", "f.cr2", "g.jpg~"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"?")
    for name in ("a.txt", "a.json", "a.xml", "data.yaml", "labels.cache", "README", "x.md", "m.npy", "s.csv", "w.wav"):
        (tmp_path / name).write_bytes(b"?")

    found = list_images(tmp_path)

    assert {suffix: count for suffix, (count, _) in found.skipped.items()} == {
        ".heic": 3,
        ".mp4": 1,
        "": 1,
        ".cr2": 1,
        ".jpg~": 1,
    }
    text = found.skipped_text()
    assert text.startswith("7 files are skipped because Pillow does not read the format (.heic: 3, no suffix: 1, ")
    assert f"such as {tmp_path.name}/a.heic" in text
    assert list_images(tmp_path / "c", below=False).skipped_text().startswith("1 file is skipped")


def test_a_disk_instead_of_a_folder_of_images_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(listing, "STRAY_FILES", 50)
    for number in range(60):
        (tmp_path / f"{number}.so").touch()

    with pytest.raises(SpinetError, match="holds more than 50 files, of which 0 of the first ones are images"):
        list_images(tmp_path)

    for number in range(60):
        image(tmp_path / f"{number}.png")
    assert len(list_images(tmp_path).images) == 60


def test_a_folder_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    (tmp_path / "closed").mkdir()
    scan = os.scandir

    def refuse(folder):
        if str(folder).endswith("closed"):
            raise PermissionError(13, "Permission denied")
        return scan(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(SpinetError, match="could not read the folder .*closed: Permission denied"):
        list_images(tmp_path)


def test_a_folder_without_images_says_what_lies_there_instead(tmp_path):
    (tmp_path / "a.heic").touch()

    with pytest.raises(SpinetError, match=r"contains no image that Pillow reads: 1 file is skipped .*\.heic: 1"):
        find_images([tmp_path])


def test_yolo_takes_linked_folders_and_all_suffixes_and_says_what_it_skips(tmp_path):
    root = write_yolo(tmp_path / "yolo", *small_splits(tmp_path))
    image(tmp_path / "more" / "9.jpg").rename(tmp_path / "more" / "9.jfif")
    (root / "images" / "train" / "more").symlink_to(tmp_path / "more")
    (root / "images" / "train" / "raw.nef").touch()
    (root / "images" / "train" / "._0.png").write_bytes(b"\0")

    dataset = CocoDataset(root, "train")

    assert [sample.path.name for sample in dataset.samples] == ["0.png", "1.png", "2.png", "9.jfif"]
    [finding] = dataset.findings
    assert finding.text.startswith("train: 1 file is skipped because Pillow does not read the format (.nef: 1)")
    assert finding.severity == "warning"


def test_voc_files_of_macs_beside_the_data_are_no_data(tmp_path):
    root = write_voc(tmp_path / "voc", *small_splits(tmp_path))
    for folder, suffix in (("Annotations", "xml"), ("JPEGImages", "png")):
        (root / folder / f"._train_0.{suffix}").write_bytes(b"\0")
    with (root / "ImageSets" / "Main" / "train.txt").open("a") as file:
        file.write("._train_0\n")

    assert len(CocoDataset(root, "train")) == 3


def test_class_folders_follow_links_and_count_what_is_no_image_and_what_has_no_class(tmp_path):
    root = write_folders(tmp_path / "data")
    image(tmp_path / "more" / "9.png")
    (root / "train" / "cat" / "more").symlink_to(tmp_path / "more")
    (root / "train" / "owl").symlink_to(tmp_path / "more")
    (root / "train" / "@eaDir").mkdir()
    (root / "train" / "dog" / "film.mov").touch()
    image(root / "train" / "loose.png")

    dataset = ClassDataset(root, "train")

    assert dataset.class_names == ("cat", "dog", "owl")
    assert [sample.label for sample in dataset.samples] == [0, 0, 0, 0, 1, 1, 1, 2]
    assert [finding.text.split(",")[0] for finding in dataset.findings] == [
        "train: 1 images lie outside the class folders and are ignored",
        "train: 1 file is skipped because Pillow does not read the format (.mov: 1)",
    ]
