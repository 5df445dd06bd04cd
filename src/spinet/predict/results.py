"""What a model predicts for one image: objects with boxes and masks, or classes."""

import io
from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2.functional import to_pil_image

from spinet.data.masks import Rle, decode_columns
from spinet.errors import SpinetError
from spinet.extras import import_extra
from spinet.files import write_atomically
from spinet.predict.visualize import draw_detections


@dataclass(frozen=True, eq=False, repr=False)
class DetectionResult:
    """The objects found in one image, highest score first.

    Attributes:
        boxes: float32 `(N, 4)`, XYXY in pixels of the image, inside it.
        scores: float32 `(N,)`, from 0 to 1.
        labels: int64 `(N,)`, indices into the classes of the model.
        class_names: the name of each object's class.
        category_ids: the COCO category id of each object's class.
        image: the image, uint8 RGB `(3, H, W)`.
        rles: the mask of each object as COCO's compressed run lengths; None if the model predicts boxes only.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    image: Tensor
    rles: tuple[Rle, ...] | None = None

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the image in pixels."""
        return self.image.shape[-2], self.image.shape[-1]

    @cached_property
    def masks(self) -> NDArray[np.bool_] | None:
        """Masks as bool `(N, H, W)`, decoded on first use; None if the model predicts boxes only."""
        if self.rles is None:
            return None
        height, width = self.image_size
        masks = np.zeros((len(self), height, width), dtype=bool)
        for mask, rle in zip(masks, self.rles, strict=True):
            mask[:] = decode_columns(rle["counts"], height, width, 0, width).T
        return masks

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, keep: NDArray[np.bool_] | NDArray[np.int64] | slice) -> "DetectionResult":
        """Return some of the objects: `result[result.scores > 0.5]`, `result[:10]`."""
        rows = np.arange(len(self))[keep]
        if rows.ndim != 1:
            raise TypeError("select objects by a slice, a boolean array or an array of indices, not by one index")
        return replace(
            self,
            boxes=self.boxes[rows],
            scores=self.scores[rows],
            labels=self.labels[rows],
            class_names=tuple(self.class_names[row] for row in rows),
            category_ids=tuple(self.category_ids[row] for row in rows),
            rles=None if self.rles is None else tuple(self.rles[row] for row in rows),
        )

    def __repr__(self) -> str:
        height, width = self.image_size
        objects = [f"{name} {score:.2f}" for name, score in zip(self.class_names, self.scores.tolist(), strict=True)]
        shown = ", ".join(objects[:5]) + (", ..." if len(objects) > 5 else "")
        return f"DetectionResult({len(self)} objects in {width} x {height} pixels{': ' if shown else ''}{shown})"

    def summary(self) -> str:
        """Return how many objects of each class there are."""
        counts = sorted(Counter(self.class_names).items())
        return ", ".join(f"{count} {name}" for name, count in counts) or "nothing found"

    def plot(self) -> Image.Image:
        """Draw masks, boxes, class names and scores on a copy of the image."""
        image: Image.Image = to_pil_image(self.image)
        return draw_detections(image, self.boxes, self.scores, self.labels, self.class_names, self.rles or ())

    def save(self, path: str | Path) -> None:
        """Write what `plot` draws as an image file.

        Raises:
            SpinetError: the file cannot be written, or its suffix is no image format that Pillow writes.
        """
        path, buffer = Path(path), io.BytesIO()
        format = Image.registered_extensions().get(path.suffix.lower(), "")
        if format not in Image.SAVE:
            raise SpinetError(f"{path} must end in an image suffix that Pillow writes, such as .jpg or .png")
        try:
            self.plot().save(buffer, format, quality=92)
        except OSError as error:  # formats that Pillow knows, and needs a plugin to write
            raise SpinetError(f"could not write {path}: {error}") from None
        write_atomically(path, buffer.getvalue())

    def to_coco(self, image_id: int) -> list[dict[str, Any]]:
        """Return the objects in COCO's results format: boxes as (x, y, width, height), masks as run lengths."""
        boxes = self.boxes.copy()
        boxes[:, 2:] -= boxes[:, :2]
        rows = zip(self.category_ids, boxes.tolist(), self.scores.tolist(), strict=True)
        results: list[dict[str, Any]] = [
            {"image_id": image_id, "category_id": category, "bbox": box, "score": score}
            for category, box, score in rows
        ]
        for result, rle in zip(results, self.rles or (), strict=False):
            result["segmentation"] = rle
        return results

    def to_dict(self) -> dict[str, Any]:
        """Return the objects as JSON for people: as in COCO's results format, rounded, with class names."""
        objects = self.to_coco(0)
        for name, found in zip(self.class_names, objects, strict=True):
            del found["image_id"]
            found |= {"class": name, "score": round(found["score"], 4)}
            found["bbox"] = [round(value, 2) for value in found["bbox"]]
        height, width = self.image_size
        return {"width": width, "height": height, "detections": objects}

    def to_supervision(self) -> Any:
        """Return the objects as `supervision.Detections`.

        Raises:
            SpinetError: supervision is not installed.
        """
        supervision = import_extra("supervision", "supervision", "to_supervision")
        return supervision.Detections(
            xyxy=self.boxes,
            mask=self.masks,
            confidence=self.scores,
            class_id=self.labels,
            data={"class_name": np.array(self.class_names, dtype=str)},
        )


@dataclass(frozen=True, eq=False, repr=False)
class ClassResult:
    """The most probable classes of one image, best first.

    Attributes:
        scores: float32 `(K,)`, probabilities.
        labels: int64 `(K,)`, indices into the classes of the model.
        class_names: the name of each class.
        category_ids: the id of each class in the dataset.
        image_size: height and width of the image in pixels.
    """

    scores: NDArray[np.float32]
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    image_size: tuple[int, int]

    def __len__(self) -> int:
        return len(self.scores)

    def __repr__(self) -> str:
        return f"ClassResult({self.summary()})"

    def summary(self) -> str:
        """Return the classes with their probabilities."""
        rows = zip(self.class_names, self.scores.tolist(), strict=True)
        return ", ".join(f"{name} {score:.2f}" for name, score in rows)

    def to_dict(self) -> dict[str, Any]:
        """Return the classes as JSON for people."""
        rows = zip(self.category_ids, self.class_names, self.scores.tolist(), strict=True)
        classes = [{"category_id": id_, "class": name, "score": round(score, 4)} for id_, name, score in rows]
        height, width = self.image_size
        return {"width": width, "height": height, "guesses": classes}

    def plot(self, *_: object, **__: object) -> NoReturn:
        """Refuse: there are no boxes to draw or to convert.

        Raises:
            SpinetError: always.
        """
        raise SpinetError("a classifier predicts no boxes: use `labels`, `scores` and `class_names` of its result")

    save = to_coco = to_supervision = plot


Result = DetectionResult | ClassResult
