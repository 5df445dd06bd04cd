"""Records of detections for the tests of their analysis: planted one by one, or drawn at random."""

from dataclasses import replace

import faster_coco_eval.mask_api_new_cpp as mask_api
import numpy as np

from spinet.analysis.records import DetectionRecord, Objects
from spinet.data.masks import as_rle, read_mask

CLASSES = ("cat", "dog", "bird")


def objects(rows, scores=None, crowd=(), masks=None):
    """Rows are (image, label, x, y, width, height), sorted by image here."""
    order = sorted(range(len(rows)), key=lambda index: rows[index][0])
    table = np.array([rows[index] for index in order], dtype=np.float64).reshape(-1, 6)
    scores = np.ones(len(rows)) if scores is None else np.array([scores[index] for index in order])
    flags = np.array([index in crowd for index in order], dtype=bool)
    owners, labels = table[:, 0].astype(np.int64), table[:, 1].astype(np.int64)
    masks = None if masks is None else tuple(masks[index] for index in order)
    return Objects(owners, labels, table[:, 2:], table[:, 4] * table[:, 5], scores, flags, masks)


def record(truth, found, scores, images=1, crowd=(), classes=CLASSES, size=(480, 640)):
    names = tuple(f"val/{number}.jpg" for number in range(images))
    sizes = np.tile(np.array(size), (images, 1))
    return DetectionRecord(names, tuple(classes), 7, sizes, objects(truth, crowd=crowd), objects(found, scores))


def random_record(seed, images=12, classes=3, crowd=0.0):
    """Objects, and detections that are shifted, of another class, doubled or of nothing."""
    draw = np.random.default_rng(seed)
    truth, found, scores = [], [], []
    for image in range(images):
        for _ in range(int(draw.integers(0, 7))):
            box = [*draw.uniform(0, 400, 2), *draw.uniform(10, 160, 2)]
            label = int(draw.integers(classes))
            truth.append((image, label, *box))
            for _ in range(int(draw.integers(0, 4))):
                moved = np.array(box) + draw.normal(0, 0.25, 4) * np.tile(box[2:], 2)
                moved[2:] = np.abs(moved[2:]) + 1
                found.append((image, label if draw.random() < 0.7 else int(draw.integers(classes)), *moved))
        for _ in range(int(draw.integers(0, 3))):
            found.append((image, int(draw.integers(classes)), *draw.uniform(0, 400, 2), *draw.uniform(10, 160, 2)))
    scores = draw.permutation(np.linspace(0.06, 0.99, len(found)))
    regions = [index for index in range(len(truth)) if draw.random() < crowd]
    return record(truth, found, scores, images, regions, tuple(f"class {label}" for label in range(classes)))


def with_masks(record):
    """The same record with triangles as masks: the lower left halves of the boxes."""
    height, width = record.sizes[0].tolist()

    def masked(side):
        corners = np.concatenate([side.boxes[:, :2], side.boxes[:, :2] + side.boxes[:, 2:]], axis=1).tolist()
        masks = tuple(read_mask([[x, y, x, bottom, right, bottom]], height, width) for x, y, right, bottom in corners)
        areas = mask_api.area([{"size": [height, width], "counts": mask} for mask in masks])
        return replace(side, masks=masks, areas=np.array(areas, dtype=np.float64))

    return replace(record, truth=masked(record.truth), found=masked(record.found))


def as_coco(record):
    """The ground truth and the results of a record as COCO's dicts."""
    images = [
        {"id": number, "file_name": name, "height": int(height), "width": int(width)}
        for number, (name, (height, width)) in enumerate(zip(record.images, record.sizes, strict=True), 1)
    ]
    categories = [{"id": label, "name": name} for label, name in enumerate(record.class_names, 1)]

    size = record.sizes[0].tolist()

    def entries(side):
        rows = zip(side.owners, side.labels, side.boxes, side.areas, side.crowd, side.scores, strict=True)
        for number, (owner, label, box, area, crowd, score) in enumerate(rows, 1):
            mask = {} if side.masks is None else {"segmentation": as_rle(side.masks[number - 1], *size)}
            yield mask | {
                "id": number,
                "image_id": int(owner) + 1,
                "category_id": int(label) + 1,
                "bbox": box.tolist(),
                "area": float(area),
                "iscrowd": int(crowd),
                "score": float(score),
            }

    truth = {"info": {}, "images": images, "categories": categories, "annotations": list(entries(record.truth))}
    keys = ("image_id", "category_id", "bbox", "score")
    keys += ("segmentation",) if record.has_masks else ()
    return truth, [{key: entry[key] for key in keys} for entry in entries(record.found)]
