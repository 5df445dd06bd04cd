"""What was found in a photo as JSON, for COCO's tools and for people."""

from typing import Any

from spinet.engine.build import ModelInfo
from spinet.engine.evaluate import ImageDetections


def coco_entries(found: ImageDetections, info: ModelInfo) -> list[dict[str, Any]]:
    """Return what was found in COCO's results format, without the image: boxes (x, y, width, height), masks RLE."""
    boxes = found["boxes"].clone()
    boxes[:, 2:] -= boxes[:, :2]
    results: list[dict[str, Any]] = [
        {"category_id": info.category_ids[label], "bbox": box, "score": score}
        for box, score, label in zip(boxes.tolist(), found["scores"].tolist(), found["labels"].tolist(), strict=True)
    ]
    for result, mask in zip(results, found.get("masks", ()), strict=False):
        result["segmentation"] = mask
    return results


def detections_json(found: ImageDetections, info: ModelInfo) -> list[dict[str, Any]]:
    """What was found, for people to read: as in COCO's results format, rounded, and with the names of the classes."""
    names = [info.class_names[label] for label in found["labels"].tolist()]
    return [
        result
        | {"class": name, "score": round(result["score"], 4), "bbox": [round(value, 2) for value in result["bbox"]]}
        for name, result in zip(names, coco_entries(found, info), strict=True)
    ]
