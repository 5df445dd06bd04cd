"""The ground truth of a split as a COCO dict, for the metric."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from spinet.data.masks import area_of
from spinet.data.objects import ObjectTable, Sample


def ground_truth(
    table: ObjectTable,
    samples: Sequence[Sample],
    classes: Mapping[int, str],
    segmentations: Sequence[object] | None,
) -> dict[str, Any]:
    """Return a COCO dict of the samples' kept annotations.

    Annotations are numbered from 1, because COCO's metric counts an object with id 0 as missed. An area that the file
    does not say is that of the mask, or else of the box.

    Args:
        table: all annotations of the split.
        samples: the images.
        classes: name of each category id, in the order of labels.
        segmentations: masks `(A,)` in any of COCO's forms, if there are any.
    """
    ids, names = list(classes), list(classes.values())
    owners = {sample.number - 1: sample for sample in samples}
    annotations: list[dict[str, Any]] = []
    columns = (table.owners, table.labels, table.xywh, table.crowd, table.areas)
    rows = table.kept.nonzero().squeeze(1)
    for index, owner, label, box, crowd, area in zip(
        rows.tolist(), *(column[rows].tolist() for column in columns), strict=True
    ):
        if owner not in owners:
            continue
        sample = owners[owner]
        entry = {
            "id": len(annotations) + 1,
            "image_id": sample.image_id,
            "category_id": ids[label],
            "bbox": box,
            "iscrowd": int(crowd),
        }
        outline = segmentations[index] if segmentations else None
        if outline is not None:
            entry["segmentation"] = outline
        if math.isnan(area):
            area = (area_of(outline, sample.height, sample.width) if outline else 0) or box[2] * box[3]
        annotations.append(entry | {"area": area})
    return {
        "info": {},
        "images": [
            {"id": sample.image_id, "file_name": sample.path.name, "width": sample.width, "height": sample.height}
            for _, sample in sorted(owners.items())
        ],
        "categories": [{"id": id_, "name": name} for id_, name in zip(ids, names, strict=True)],
        "annotations": annotations,
    }
