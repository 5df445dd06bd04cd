"""Mutated datasets in COCO, YOLO and Pascal VOC format and of image classes: each is read, or refused in one sentence.

    python benchmarks/fuzz_data.py --kind coco --mutations 1000 --seed 0

Mutations know the formats: values of JSON and YAML, numbers of label lines, elements and encodings of XML, and names,
content and links of the files. A dataset is opened, loaded for training and evaluation, measured with its own truth,
and checked by the doctor, within the limits of fuzz_files.py.
"""

import io
import itertools
import json
import re
import shutil
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import quote

import torch
import yaml
from PIL import Image

from fuzz_files import Kind, main, mutate, to_text
from spinet.data.class_data import ClassDataset
from spinet.data.class_transforms import ClassEvalTransform
from spinet.data.coco import CocoDataset
from spinet.data.loader import eval_loader, train_loader
from spinet.data.masks import as_rle, read_mask
from spinet.data.transforms import EvalTransform, TrainTransform
from spinet.doctor.anchors import DetectorSettings
from spinet.doctor.examine import examine
from spinet.engine.coco_metrics import coco_metrics

Tree = dict[str, bytes]
SIZE = (48, 36)
BOXES = ((4, 5, 20, 12), (10, 8, 30, 20), (0, 0, 48, 36))
SPLITS = {"train": 4, "val": 2}
WORDS = (
    "nan",
    "inf",
    "-1",
    "0",
    "1",
    "2",
    "1e308",
    "1e-9",
    "0.5",
    "1.5",
    "x",
    "",
    "1_0",
    "9" * 5000,
    "\ud800",
    "\0",
    "½",
)
ENCODINGS = ("utf-8", "UTF-16", "GBK", "gb2312", "Shift_JIS", "latin-1", "utf-8x", "hex", "idna", "", "x" * 60, "utf-7")


def picture(seed: int, exif: int = 1) -> bytes:
    """Return a small JPEG image."""
    random = Random(seed)
    image = Image.effect_noise(SIZE, 40).convert("RGB")
    image.putpixel((0, 0), tuple(random.randrange(256) for _ in range(3)))
    tags = Image.Exif()
    tags[0x0112] = exif
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", exif=tags)
    return buffer.getvalue()


def outline(box: tuple[int, int, int, int]) -> list[int]:
    """Return a box as a polygon."""
    x, y, w, h = box
    return [x, y, x + w, y, x + w, y + h, x, y + h]


def coco(split: str, count: int) -> dict[str, Any]:
    """Return the annotations of a split, every second one with run lengths."""
    runs = {"size": [SIZE[1], SIZE[0]], "counts": [100, 50, SIZE[0] * SIZE[1] - 150]}
    images = [
        {"id": k, "file_name": f"{split}{k}.jpg", "width": SIZE[0], "height": SIZE[1]} for k in range(1, count + 1)
    ]
    annotations = [
        {
            "id": 10 * k + n,
            "image_id": k,
            "category_id": n % 2 + 1,
            "bbox": list(box),
            "area": box[2] * box[3],
            "iscrowd": int(n == 2 and k == 1),
            "segmentation": runs if n == 1 else [outline(box)],
        }
        for k in range(1, count + 1)
        for n, box in enumerate(BOXES)
    ]
    categories = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    return {"images": images, "annotations": annotations, "categories": categories}


def photos(place: str) -> Tree:
    """Return the images of both splits; `place` has the split and the name to fill in."""
    return {
        place.format(split=split, name=f"{split}{k}.jpg"): picture(k, exif=6 if k == 3 else 1)
        for split, count in SPLITS.items()
        for k in range(1, count + 1)
    }


def coco_tree(random: Random) -> Tree:
    """A dataset in COCO format with mutated JSON."""
    tree = photos("{split}/{name}")
    for split, count in SPLITS.items():
        raw = coco(split, count)
        changed = mutate(raw, random) if split == "train" or random.randrange(4) == 0 else raw
        tree[f"annotations/instances_{split}.json"] = to_text(changed, random) if random.randrange(2) else dump(changed)
    return tree


def dump(value: Any) -> bytes:
    """Return JSON."""
    return json.dumps(value).encode(errors="surrogatepass")


def yolo_tree(random: Random) -> Tree:
    """A dataset in YOLO format with mutated settings and label lines."""
    tree = photos("images/{split}/{name}")
    for name in list(tree):
        lines = []
        for n, box in enumerate(BOXES):
            x, y, w, h = box
            shares = ((x + w / 2) / SIZE[0], (y + h / 2) / SIZE[1], w / SIZE[0], h / SIZE[1])
            points = [value / SIZE[at % 2] for at, value in enumerate(outline(box))]
            lines.append(" ".join(map(str, (n % 2, *(shares if n else points)))))
        tree[name.replace("images", "labels").replace(".jpg", ".txt")] = "\n".join(lines).encode()
    settings: Any = {"names": ["cat", "dog"], "train": "images/train", "val": "images/val", "nc": 2, "path": "."}
    if random.randrange(2):
        settings = mutate(settings, random)
        if isinstance(settings, dict) and random.randrange(3) == 0:
            settings["train"] = random.choice(["/", "../../../..", "..", "x" * 5000, "C:\\a\\images\\train", "\0", "~"])
    try:
        tree["data.yaml"] = yaml.safe_dump(settings, allow_unicode=True).encode(errors="surrogatepass")
    except (RecursionError, yaml.YAMLError):
        tree["data.yaml"] = dump(settings)
    for name in random.sample(sorted(name for name in tree if name.endswith((".txt", ".yaml"))), 2):
        tree[name] = text_change(tree[name], random)
    return tree


def text_change(content: bytes, random: Random) -> bytes:
    """Return text with a few words, lines or bytes changed."""
    text = content.decode(errors="surrogatepass")
    for _ in range(random.choice([1, 1, 2, 5])):
        words = list(re.finditer(r"\S+", text)) or [re.match("", text)]
        word = random.choice(words)
        new = random.choice(
            [random.choice(WORDS), "", f"{word[0]} {word[0]}", word[0] * 3, "\n", f"&a [{word[0]}, *a]"]
        )
        text = text[: word.start()] + new + text[word.end() :]
    kind = random.randrange(12)
    text = text * 300 if kind == 0 else text[: random.randrange(len(text) + 1)] if kind == 1 else text
    content = text.encode(random.choice(["utf-8"] * 9 + ["utf-16", "utf-8-sig"]), errors="surrogatepass")
    return random.choice([b"\xff", b"\0", b"\xef\xbb\xbf"]) + content if kind == 2 else content


def voc_tree(random: Random) -> Tree:
    """A dataset in Pascal VOC format with mutated XML and lists."""
    tree = photos("JPEGImages/{name}")
    for name in list(tree):
        objects = "".join(
            f"<object><name>{'cat' if n % 2 else 'dog'}</name><difficult>{int(n == 2)}</difficult><bndbox>"
            f"<xmin>{x + 1}</xmin><ymin>{y + 1}</ymin><xmax>{x + w}</xmax><ymax>{y + h}</ymax></bndbox></object>"
            for n, (x, y, w, h) in enumerate(BOXES)
        )
        size = f"<size><width>{SIZE[0]}</width><height>{SIZE[1]}</height><depth>3</depth></size>"
        text = f"<annotation><filename>{Path(name).name}</filename>{size}{objects}</annotation>"
        tree[f"Annotations/{Path(name).stem}.xml"] = text.encode()
    for split, count in SPLITS.items():
        tree[f"ImageSets/Main/{split}.txt"] = "\n".join(f"{split}{k}" for k in range(1, count + 1)).encode()
    for name in random.sample(sorted(name for name in tree if name.endswith(".xml")), 2):
        tree[name] = xml_change(tree[name].decode(), random)
    if random.randrange(4) == 0:
        tree["ImageSets/Main/train.txt"] = text_change(tree["ImageSets/Main/train.txt"], random)
    return tree


def xml_change(text: str, random: Random) -> bytes:
    """Return XML with values, elements or the encoding changed."""
    for _ in range(random.choice([1, 1, 2, 4])):
        how = random.randrange(5)
        found = list(re.finditer(r">([^<]*)<" if how < 3 else r"<(\w+)>[^<]*</\1>", text))
        if not found:
            break
        part = random.choice(found)
        new = {
            0: f">{random.choice(WORDS)}<",
            1: f">{random.choice(WORDS)}<",
            2: random.choice(["><a/><", "><!-- --><", "><![CDATA[x]]><", ">&amp;<", ">&#0;<", f">{'<a>' * 2000}<"]),
            3: "",
            4: part[0] * random.choice([2, 500]),
        }[how]
        text = text[: part.start()] + new + text[part.end() :]
    if random.randrange(3) == 0:
        encoding = random.choice(ENCODINGS)
        text = f'<?xml version="1.0" encoding="{encoding}"?>{text.replace("cat", random.choice(["cat", "猫", "é"]))}'
        try:
            return text.encode(encoding if random.randrange(3) else "utf-8", errors="replace")
        except (LookupError, UnicodeError):
            pass
    return text.encode(errors="surrogatepass")


def class_tree(random: Random) -> Tree:
    """Image folders, or a mutated JSON file of classes."""
    tree: Tree = {}
    for split, count in SPLITS.items():
        for name, k in itertools.product(("cat", "dog"), range(count)):
            tree[f"{split}/{name}/{k}.jpg"] = picture(k)
    if random.randrange(2):
        tree = {f"images/{name}": content for name, content in tree.items()}
        for split in SPLITS:
            names = sorted(name for name in tree if f"/{split}/" in name)
            raw = {
                "images": [{"id": k, "file_name": name} for k, name in enumerate(names)],
                "annotations": [{"image_id": k, "category_id": int("dog" in name)} for k, name in enumerate(names)],
                "categories": [{"id": 0, "name": "cat"}, {"id": 1, "name": "dog"}],
            }
            tree[f"{split}2017.json"] = to_text(mutate(raw, random), random)
    return tree


def file_changes(folder: Path, random: Random) -> None:
    """Rename, delete, copy, link and overwrite files and folders."""
    for _ in range(random.choice([0, 0, 1, 1, 3])):
        everything = sorted(folder.rglob("*")) or [folder / "nothing"]
        path = random.choice(everything)
        twin = path.with_name(random.choice(NAMES)(path.name)[:120])
        change = random.randrange(8)
        try:
            if change <= 1:
                path.rename(twin)
            elif change == 2:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            elif change == 3 and path.is_file():
                shutil.copy(path, twin)
            elif change == 4:
                twin.symlink_to(random.choice([path, folder, Path("nowhere"), twin, path.parent]))
            elif change == 5 and path.is_file():
                path.write_bytes(path.read_bytes()[: random.randrange(2000)])
            elif change == 6 and path.is_file():
                path.write_bytes(random.choice([b"", b"\0" * 50, random.choice(everything).name.encode()]))
            else:
                twin.mkdir()
        except (OSError, ValueError, shutil.Error):
            continue


NAMES: tuple[Callable[[str], str], ...] = (
    lambda name: f"._{name}",
    lambda name: f".{name}",
    quote,
    lambda name: unicodedata.normalize("NFD", f"é{name}"),
    str.upper,
    lambda name: name.replace(".jpg", ".heic"),
    lambda name: name.replace(".jpg", ".png"),
    lambda name: f"{name}.txt",
    lambda name: name.replace("1", " 1"),
    lambda name: f"{name}\x1b",
    lambda _: "x" * 200,
    lambda _: "@eaDir",
    lambda _: "classes.txt",
    lambda _: "data.yaml",
)


def read_boxes(root: Path, number: int) -> None:
    """Open both splits, load, measure, and now and then let the doctor look."""
    if number % 10 == 9:
        examine(root, DetectorSettings(64), quick=number % 20 == 9)
        return
    train = CocoDataset(root, "train", masks=number % 3 == 0)
    list(itertools.islice(train_loader(train, TrainTransform(32), batch_size=2, seed=0), 2))
    val = CocoDataset(root, "val")
    list(eval_loader(val, EvalTransform(32), batch_size=2))
    for dataset in (train, val):
        truth: Any = dataset.ground_truth()
        sizes = {image["id"]: (image["height"], image["width"]) for image in truth["images"]}
        found = []
        for entry in truth["annotations"]:
            found.append({key: entry[key] for key in ("image_id", "category_id", "bbox")} | {"score": 1.0})
            if dataset.has_masks:
                size = sizes[entry["image_id"]]
                found[-1]["segmentation"] = as_rle(read_mask(entry["segmentation"], *size), *size)
        coco_metrics(truth, found)


def read_classes(root: Path, number: int) -> None:
    """Open both splits and load, and now and then let the doctor look."""
    if number % 10 == 9:
        examine(root, DetectorSettings(64), quick=number % 20 == 9)
        return
    for split in SPLITS:
        list(eval_loader(ClassDataset(root, split), ClassEvalTransform(32), batch_size=2))


def kind_of(tree: Callable[[Random], Tree], read: Callable[[Path, int], None]) -> Callable[[Path], Kind]:
    """Return what makes a kind of mutated datasets."""

    def write(folder: Path, random: Random) -> None:
        shutil.rmtree(folder)
        for name, content in tree(random).items():
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        if random.randrange(2):
            file_changes(folder, random)

    return lambda _: Kind(write, read)


KINDS = {
    "coco": kind_of(coco_tree, read_boxes),
    "yolo": kind_of(yolo_tree, read_boxes),
    "voc": kind_of(voc_tree, read_boxes),
    "classes": kind_of(class_tree, read_classes),
}

if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main(KINDS))
