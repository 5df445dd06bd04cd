"""Exports a small dataset with a real annotation package; run by `tool_exports.py` in an environment of its own.

`python tool_writers.py FORMAT SOURCE OUT`: SOURCE holds images/ and truth.json in COCO format. Nothing of Spinet is
imported here.
"""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def _truth(source: Path) -> dict[str, Any]:
    raw: dict[str, Any] = json.loads((source / "truth.json").read_text())
    return raw


def _copy_images(source: Path, folder: Path) -> None:
    shutil.copytree(source / "images", folder, dirs_exist_ok=True)


def _objects(raw: dict[str, Any], image: dict[str, Any]) -> list[tuple[str, list[float]]]:
    names = {entry["id"]: entry["name"] for entry in raw["categories"]}
    return [
        (names[entry["category_id"]], entry["bbox"]) for entry in raw["annotations"] if entry["image_id"] == image["id"]
    ]


def _datumaro(form: str) -> Callable[[Path, Path], None]:
    def write(source: Path, out: Path) -> None:
        import datumaro

        root, raw = out.parent / "datumaro-source", _truth(source)
        (root / "annotations").mkdir(parents=True)
        # This format needs both splits.
        for subset, start in {"train": 0, "val": 1}.items() if form == "yolo_ultralytics" else [("default", None)]:
            images = raw["images"] if start is None else raw["images"][start::2]
            ids = {image["id"] for image in images}
            kept = [entry for entry in raw["annotations"] if entry["image_id"] in ids]
            content = json.dumps(raw | {"images": images, "annotations": kept})
            (root / "annotations" / f"instances_{subset}.json").write_text(content)
            (root / "images" / subset).mkdir(parents=True)
            for image in images:
                shutil.copy(source / "images" / image["file_name"], root / "images" / subset)
        datumaro.Dataset.import_from(str(root), "coco_instances").export(str(out), form, save_media=True)

    return write


def _supervision(form: str) -> Callable[[Path, Path], None]:
    def write(source: Path, out: Path) -> None:
        from supervision import DetectionDataset

        dataset = DetectionDataset.from_coco(str(source / "images"), str(source / "truth.json"))
        for name, part in zip(("train", "valid"), dataset.split(split_ratio=0.7, random_state=0), strict=True):
            images = str(out / name / "images")
            if form == "coco":
                part.as_coco(images, str(out / name / "_annotations.coco.json"))
            elif form == "yolo":
                part.as_yolo(images, str(out / name / "labels"), str(out / "data.yaml"))
            else:
                part.as_pascal_voc(images, str(out / name / "annotations"))

    return write


def _pylabel(form: str) -> Callable[[Path, Path], None]:
    def write(source: Path, out: Path) -> None:
        from pylabel import importer

        dataset = importer.ImportCoco(str(source / "truth.json"), path_to_images=str(source / "images"))
        if form == "coco":
            _copy_images(source, out / "images")
            dataset.export.ExportToCoco(str(out / "annotations.json"), cat_id_index=1)
        elif form == "yolo":
            dataset.path_to_annotations = str(source / "images")
            dataset.df["img_folder"] = ""
            dataset.export.ExportToYoloV5(str(out / "labels"), copy_images=True, cat_id_index=0)
        else:
            _copy_images(source, out / "images")
            dataset.export.ExportToVoc(str(out / "Annotations"))

    return write


def _label_studio(form: str) -> Callable[[Path, Path], None]:
    def write(source: Path, out: Path) -> None:
        from label_studio_sdk.converter import Converter

        raw = _truth(source)
        tasks = [_label_studio_task(raw, image) for image in raw["images"]]
        (source.parent / "tasks.json").write_text(json.dumps(tasks))
        labels = "".join(f'<Label value="{entry["name"]}"/>' for entry in raw["categories"])
        config = f'<View><Image name="image" value="$image"/><RectangleLabels name="label" toName="image">{labels}'
        converter = Converter(f"{config}</RectangleLabels></View>", str(source), download_resources=False)
        convert = {
            "coco": converter.convert_to_coco,
            "yolo": converter.convert_to_yolo,
            "voc": converter.convert_to_voc,
        }
        # What the server puts into the archive: the images under their names in the tasks.
        _copy_images(source, out / "images")
        convert[form](str(source.parent / "tasks.json"), str(out), output_image_dir=str(out / "images"), is_dir=False)

    return write


def _label_studio_task(raw: dict[str, Any], image: dict[str, Any]) -> dict[str, Any]:
    width, height = image["width"], image["height"]
    results = [
        {
            "id": f"box{number}",
            "type": "rectanglelabels",
            "from_name": "label",
            "to_name": "image",
            "original_width": width,
            "original_height": height,
            "image_rotation": 0,
            "value": {
                "x": 100 * box[0] / width,
                "y": 100 * box[1] / height,
                "width": 100 * box[2] / width,
                "height": 100 * box[3] / height,
                "rotation": 0,
                "rectanglelabels": [name],
            },
        }
        for number, (name, box) in enumerate(_objects(raw, image))
    ]
    annotation = {"id": image["id"], "result": results, "completed_by": {"id": 1, "email": "a@example.org"}}
    return {"id": image["id"], "data": {"image": f"/data/upload/1/{image['file_name']}"}, "annotations": [annotation]}


def _labelme2coco(source: Path, out: Path) -> None:
    import labelme2coco

    raw = _truth(source)
    _copy_images(source, out)
    for image in raw["images"]:
        shapes = [
            {
                "label": name,
                "points": [[x, y], [x + w, y], [x + w, y + h], [x, y + h]],
                "shape_type": "polygon",
                "group_id": None,
                "flags": {},
            }
            for name, (x, y, w, h) in _objects(raw, image)
        ]
        content = {
            "version": "5.4.1",
            "flags": {},
            "shapes": shapes,
            "imagePath": image["file_name"],
            "imageData": None,
            "imageHeight": image["height"],
            "imageWidth": image["width"],
        }
        (out / image["file_name"]).with_suffix(".json").write_text(json.dumps(content))
    labelme2coco.convert(str(out), str(out / "annotations"))


def _globox(form: str) -> Callable[[Path, Path], None]:
    def write(source: Path, out: Path) -> None:
        import globox

        dataset = globox.AnnotationSet.from_coco(source / "truth.json")
        names = {entry["name"]: entry["id"] - 1 for entry in _truth(source)["categories"]}
        _copy_images(source, out / "images")
        if form == "coco":
            dataset.save_coco(out / "coco.json", auto_ids=True)
        elif form == "yolo":
            dataset.save_yolo_v5(out / "labels", label_to_id=names)
            (out / "classes.txt").write_text("".join(f"{name}\n" for name in names))
        else:
            dataset.save_pascal_voc(out / "Annotations")

    return write


def _fiftyone(form: str) -> Callable[[Path, Path], None]:
    def write(source: Path, out: Path) -> None:
        from fiftyone.core.labels import Detection, Detections
        from fiftyone.core.metadata import ImageMetadata as Metadata
        from fiftyone.utils.coco import COCODetectionDatasetExporter
        from fiftyone.utils.voc import VOCDetectionDatasetExporter
        from fiftyone.utils.yolo import YOLOv4DatasetExporter, YOLOv5DatasetExporter

        raw = _truth(source)
        classes = [entry["name"] for entry in raw["categories"]]
        exporters = {
            "coco": lambda: COCODetectionDatasetExporter(export_dir=str(out), classes=classes),
            "voc": lambda: VOCDetectionDatasetExporter(export_dir=str(out)),
            "yolov4": lambda: YOLOv4DatasetExporter(export_dir=str(out), classes=classes),
            "yolov5": lambda: YOLOv5DatasetExporter(export_dir=str(out), classes=classes, split="train"),
        }
        # The exporter itself, because a fiftyone.Dataset needs a running database.
        with exporters[form]() as exporter:
            for image in raw["images"]:
                path, width, height = source / "images" / image["file_name"], image["width"], image["height"]
                boxes = [
                    Detection(label=name, bounding_box=[x / width, y / height, w / width, h / height])
                    for name, (x, y, w, h) in _objects(raw, image)
                ]
                metadata = Metadata(width=width, height=height, num_channels=3, size_bytes=path.stat().st_size)
                exporter.export_sample(str(path), Detections(detections=boxes), metadata=metadata)

    return write


def _sahi(source: Path, out: Path) -> None:
    from sahi.utils.coco import Coco, CocoAnnotation, CocoImage

    raw = _truth(source)
    _copy_images(source, out / "images")
    coco = Coco()
    ids = {entry["name"]: entry["id"] - 1 for entry in raw["categories"]}
    coco.add_categories_from_coco_category_list([{"id": number, "name": name} for name, number in ids.items()])
    for image in raw["images"]:
        target = CocoImage(file_name=image["file_name"], height=image["height"], width=image["width"])
        for name, box in _objects(raw, image):
            target.add_annotation(CocoAnnotation(bbox=box, category_id=ids[name], category_name=name))
        coco.add_image(target)
    (out / "coco.json").write_text(json.dumps(coco.json))


def _imantics(source: Path, out: Path) -> None:
    import imantics

    raw = _truth(source)
    _copy_images(source, out)
    dataset = imantics.Dataset("small")
    categories = {entry["name"]: imantics.Category(entry["name"], id=entry["id"]) for entry in raw["categories"]}
    for image in raw["images"]:
        target = imantics.Image.from_path(str(out / image["file_name"]))
        target.id = image["id"]
        for name, (x, y, w, h) in _objects(raw, image):
            target.add(imantics.Annotation.from_bbox(imantics.BBox([x, y, x + w, y + h]), target, categories[name]))
        dataset.add(target)
    (out / "imantics.json").write_text(json.dumps(dataset.coco(), default=int))


def _bboxconverter(source: Path, out: Path) -> None:
    import bboxconverter

    _copy_images(source, out / "images")
    # It takes no masks.
    raw = _truth(source)
    keys = ("id", "image_id", "category_id", "bbox", "area", "iscrowd")
    boxes = [{key: entry[key] for key in keys} for entry in raw["annotations"]]
    (source.parent / "boxes.json").write_text(json.dumps(raw | {"annotations": boxes}))
    bboxconverter.read_coco(str(source.parent / "boxes.json")).export(output_path=str(out), format="coco")


def _pascal_voc_writer(source: Path, out: Path) -> None:
    from pascal_voc_writer import Writer

    raw = _truth(source)
    _copy_images(source, out / "images")
    (out / "annotations").mkdir()
    for image in raw["images"]:
        path = out / "images" / image["file_name"]
        writer = Writer(str(path), image["width"], image["height"])
        for name, (x, y, w, h) in _objects(raw, image):
            writer.addObject(name, int(x) + 1, int(y) + 1, int(x + w), int(y + h))
        writer.save(str(out / "annotations" / f"{path.stem}.xml"))


def _labelimg(form: str) -> Callable[[Path, Path], None]:
    def write(source: Path, out: Path) -> None:
        from libs.pascal_voc_io import PascalVocWriter
        from libs.yolo_io import YOLOWriter

        raw = _truth(source)
        classes = [entry["name"] for entry in raw["categories"]]
        _copy_images(source, out)
        for image in raw["images"]:
            path = out / image["file_name"]
            size = [image["height"], image["width"], 3]
            kind = PascalVocWriter if form == "voc" else YOLOWriter
            writer = kind(out.name, image["file_name"], size, local_img_path=str(path))
            for name, (x, y, w, h) in _objects(raw, image):
                writer.add_bnd_box(int(x) + 1, int(y) + 1, int(x + w), int(y + h), name, 0)
            target = str(path.with_suffix(".xml" if form == "voc" else ".txt"))
            writer.save(target_file=target) if form == "voc" else writer.save(classes, target)

    return write


# Format of a tool: the function that writes it.
WRITERS: dict[str, Callable[[Path, Path], None]] = {
    **{f"datumaro {form}": _datumaro(form) for form in ("coco_instances", "voc", "yolo", "yolo_ultralytics")},
    **{f"supervision {form}": _supervision(form) for form in ("coco", "yolo", "voc")},
    **{f"pylabel {form}": _pylabel(form) for form in ("coco", "yolo", "voc")},
    **{f"label-studio-sdk {form}": _label_studio(form) for form in ("coco", "yolo", "voc")},
    "labelme2coco coco": _labelme2coco,
    **{f"globox {form}": _globox(form) for form in ("coco", "yolo", "voc")},
    **{f"fiftyone {form}": _fiftyone(form) for form in ("coco", "voc", "yolov4", "yolov5")},
    "sahi coco": _sahi,
    "imantics coco": _imantics,
    "bboxconverter coco": _bboxconverter,
    "pascal-voc-writer voc": _pascal_voc_writer,
    **{f"labelImg {form}": _labelimg(form) for form in ("voc", "yolo")},
}

if __name__ == "__main__":
    name, source, out = sys.argv[1:]
    Path(out).mkdir(parents=True, exist_ok=True)
    WRITERS[name](Path(source), Path(out))
