"""Writes a small dataset as annotation tools export it, after their documentation and what their packages wrote."""

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

NAMES = ("red box", "blue box")
COLOURS = ((230, 40, 40), (40, 40, 230))
WIDTH, HEIGHT = 96, 80


class Picture(NamedTuple):
    """An image of 96 x 80 pixels: its name without suffix, and (class, x, y, width, height) of its objects."""

    name: str
    objects: list[tuple[int, int, int, int, int]]

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(int(self.name[-2:]))
        image = rng.integers(0, 256, (HEIGHT // 8, WIDTH // 8, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
        for label, x, y, w, h in self.objects:
            image[y : y + h, x : x + w] = COLOURS[label]
        Image.fromarray(image).save(path, quality=95)


def pictures(count: int = 10) -> list[Picture]:
    """The last one has no objects."""
    rng = np.random.default_rng(0)
    found = []
    for number in range(count):
        sizes = rng.integers(12, 30, (2, 2)).tolist() if number < count - 1 else []
        objects = [(label, 5 + 40 * label, 6 + number, w, h) for label, (w, h) in enumerate(sizes)]
        found.append(Picture(f"photo {number:02}", objects))
    return found


def _coco(found: Sequence[Picture], file_name: str = "{}.jpg", first: int = 1) -> dict[str, Any]:
    images, annotations = [], list[dict[str, Any]]()
    for number, picture in enumerate(found, start=first):
        name = file_name.format(picture.name)
        images.append({"id": number, "file_name": name, "width": WIDTH, "height": HEIGHT})
        for label, x, y, w, h in picture.objects:
            outline = [[x, y, x + w, y, x + w, y + h, x, y + h]]
            box = {"bbox": [x, y, w, h], "area": w * h, "iscrowd": 0, "segmentation": outline}
            annotations.append({"id": len(annotations) + 1, "image_id": number, "category_id": label + first} | box)
    categories = [{"id": label + first, "name": name} for label, name in enumerate(NAMES)]
    return {"info": {}, "licenses": [], "categories": categories, "images": images, "annotations": annotations}


def _write(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


def _save(folder: Path, found: Iterable[Picture], suffix: str = ".jpg") -> None:
    for picture in found:
        picture.save(folder / f"{picture.name}{suffix}")


def _labels(folder: Path, found: Iterable[Picture]) -> None:
    for picture in found:
        lines = (
            f"{label} {(x + w / 2) / WIDTH:.6f} {(y + h / 2) / HEIGHT:.6f} {w / WIDTH:.6f} {h / HEIGHT:.6f}\n"
            for label, x, y, w, h in picture.objects
        )
        _write(folder / f"{picture.name}.txt", "".join(lines))


def _xml(folder: Path, found: Iterable[Picture], size: bool = True) -> None:
    for picture in found:
        objects = "".join(
            f"<object><name>{NAMES[label]}</name><pose>Unspecified</pose><truncated>0</truncated>"
            f"<difficult>0</difficult><bndbox><xmin>{x + 1}</xmin><ymin>{y + 1}</ymin>"
            f"<xmax>{x + w}</xmax><ymax>{y + h}</ymax></bndbox></object>"
            for label, x, y, w, h in picture.objects
        )
        sizes = f"<size><width>{WIDTH}</width><height>{HEIGHT}</height><depth>3</depth></size>" if size else ""
        head = f"<folder>x</folder><filename>{picture.name}.jpg</filename>{sizes}<segmented>0</segmented>"
        _write(folder / f"{picture.name}.xml", f"<annotation>{head}{objects}</annotation>")


def cvat_coco(root: Path, found: Sequence[Picture]) -> None:
    _save(root / "images" / "default", found)
    _write(root / "annotations" / "instances_default.json", _coco(found))


def cvat_yolo(root: Path, found: Sequence[Picture]) -> None:
    for write in (_save, _labels):
        write(root / "obj_train_data", found)
    _write(root / "obj.names", "\n".join(NAMES) + "\n")
    _write(root / "obj.data", "classes = 2\ntrain = data/train.txt\nnames = data/obj.names\nbackup = backup/\n")
    _write(root / "train.txt", "".join(f"data/obj_train_data/{picture.name}.jpg\n" for picture in found))


def cvat_ultralytics(root: Path, found: Sequence[Picture]) -> None:
    _save(root / "images" / "train", found)
    _labels(root / "labels" / "train", found)
    _write(root / "data.yaml", f"names:\n  0: {NAMES[0]}\n  1: {NAMES[1]}\npath: .\ntrain: train.txt\n")
    _write(root / "train.txt", "".join(f"data/images/train/{picture.name}.jpg\n" for picture in found))


def cvat_voc(root: Path, found: Sequence[Picture]) -> None:
    _save(root / "JPEGImages" / "cam1", found)
    _xml(root / "Annotations" / "cam1", found)
    _write(root / "ImageSets" / "Main" / "default.txt", "".join(f'"cam1/{picture.name}"\n' for picture in found))
    _write(root / "labelmap.txt", "# label:color_rgb:parts:actions\nred box:1,2,3::\n")


def label_studio_coco(root: Path, found: Sequence[Picture]) -> None:
    _save(root / "images", found)
    _write(root / "result.json", _coco(found, "images\\{}.jpg", first=0))


def label_studio_yolo(root: Path, found: Sequence[Picture]) -> None:
    _save(root / "images", found)
    _labels(root / "labels", found)
    _write(root / "classes.txt", "\n".join(NAMES) + "\n")
    _write(root / "notes.json", {"categories": [{"id": 0, "name": NAMES[0]}], "info": {"year": 2026}})


def label_studio_voc(root: Path, found: Sequence[Picture]) -> None:
    _save(root / "images", found)
    _xml(root / "Annotations", found)


def labelimg_voc(root: Path, found: Sequence[Picture]) -> None:
    for write in (_save, _xml):
        write(root / "pictures", found)


def labelimg_yolo(root: Path, found: Sequence[Picture]) -> None:
    for write in (_save, _labels):
        write(root, found)
    _write(root / "classes.txt", "\n".join(NAMES) + "\n")


def rectlabel(root: Path, found: Sequence[Picture]) -> None:
    _save(root, found)
    _xml(root / "annotations", found, size=False)


def fiftyone_coco(root: Path, found: Sequence[Picture]) -> None:
    _save(root / "data", found)
    _write(root / "labels.json", _coco(found))


def fiftyone_voc(root: Path, found: Sequence[Picture]) -> None:
    _save(root / "data", found)
    _xml(root / "labels", found)


def fiftyone_yolov4(root: Path, found: Sequence[Picture]) -> None:
    for write in (_save, _labels):
        write(root / "data", found)
    _write(root / "obj.names", "\n".join(NAMES))
    _write(root / "images.txt", "".join(f"data/{picture.name}.jpg\n" for picture in found))


def labelme2coco(root: Path, found: Sequence[Picture]) -> None:
    _save(root, found)
    _write(root / "dataset.json", _coco(found, "/home/me/labels/{}.jpg"))


def via(root: Path, found: Sequence[Picture]) -> None:
    _save(root, found)
    raw = _coco(found)
    for entry in raw["annotations"]:
        entry |= {"segmentation": entry["segmentation"][0], "image_id": str(entry["image_id"]), "iscrowd": 0}
    raw["images"] = [entry | {"id": str(entry["id"])} for entry in raw["images"]]
    _write(root / "via_export_coco.json", raw)


def x_anylabeling(root: Path, found: Sequence[Picture]) -> None:
    _save(root / "images", found, ".JPG")
    _write(root / "annotations" / "coco_detection.json", _coco(found))


def _parts(found: Sequence[Picture], names: tuple[str, str]) -> Iterable[tuple[str, Sequence[Picture]]]:
    return zip(names, (found[:-4], found[-4:]), strict=True)


def roboflow_coco(root: Path, found: Sequence[Picture]) -> None:
    for name, part in _parts(found, ("train", "valid")):
        _save(root / name, part)
        _write(root / name / "_annotations.coco.json", _coco(part))


def roboflow_yolo(root: Path, found: Sequence[Picture]) -> None:
    for name, part in _parts(found, ("train", "valid")):
        _save(root / name / "images", part)
        _labels(root / name / "labels", part)
    folders = "train: ../train/images\nval: ../valid/images\ntest: ../test/images\n"
    _write(root / "data.yaml", f"{folders}\nnc: 2\nnames: {json.dumps(NAMES)}\n")


def roboflow_voc(root: Path, found: Sequence[Picture]) -> None:
    for name, part in _parts(found, ("train", "valid")):
        for write in (_save, _xml):
            write(root / name, part)


def roboflow_darknet(root: Path, found: Sequence[Picture]) -> None:
    for name, part in _parts(found, ("train", "valid")):
        for write in (_save, _labels):
            write(root / name, part)
        _write(root / name / "_darknet.labels", "\n".join(NAMES))


def datumaro_coco(root: Path, found: Sequence[Picture]) -> None:
    for name, part in _parts(found, ("train", "val")):
        _save(root / "images" / name, part)
        _write(root / "annotations" / f"instances_{name}.json", _coco(part))


def supervision_voc(root: Path, found: Sequence[Picture]) -> None:
    for name, part in _parts(found, ("train", "valid")):
        _save(root / name / "images", part)
        _xml(root / name / "annotations", part)


def livecell(root: Path, found: Sequence[Picture]) -> None:
    _save(root / "images" / "livecell_train_val_images", found, ".tif")
    for name, part in _parts(found, ("train", "val")):
        raw = _coco(part, "{}.tif")
        raw["annotations"] = {str(entry["id"]): entry for entry in raw["annotations"]}
        _write(root / "annotations" / "LIVECell" / f"livecell_coco_{name}.json", raw)


# Exports that the tool does not divide, and such as are divided.
WHOLE: dict[str, Callable[[Path, Sequence[Picture]], None]] = {
    "CVAT: COCO 1.0": cvat_coco,
    "CVAT: YOLO 1.1": cvat_yolo,
    "CVAT: Ultralytics YOLO": cvat_ultralytics,
    "CVAT: Pascal VOC 1.1": cvat_voc,
    "Label Studio: COCO": label_studio_coco,
    "Label Studio: YOLO": label_studio_yolo,
    "Label Studio: Pascal VOC": label_studio_voc,
    "LabelImg: Pascal VOC": labelimg_voc,
    "LabelImg: YOLO": labelimg_yolo,
    "RectLabel: XML": rectlabel,
    "FiftyOne: COCO": fiftyone_coco,
    "FiftyOne: VOC": fiftyone_voc,
    "FiftyOne: YOLOv4": fiftyone_yolov4,
    "labelme2coco": labelme2coco,
    "VIA: COCO": via,
    "X-AnyLabeling: COCO": x_anylabeling,
}
DIVIDED: dict[str, Callable[[Path, Sequence[Picture]], None]] = {
    "Roboflow: COCO": roboflow_coco,
    "Roboflow: YOLO": roboflow_yolo,
    "Roboflow: Pascal VOC": roboflow_voc,
    "Roboflow: Darknet": roboflow_darknet,
    "datumaro: COCO": datumaro_coco,
    "supervision: Pascal VOC": supervision_voc,
    "LIVECell": livecell,
}
