"""Ground truth and predictions of one evaluated split, and the compact file that holds them.

A record needs neither dataset nor model: reports and comparisons read it, and only pictures need the images.
"""

import io
import json
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, Self
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from spinet.errors import SpinetError
from spinet.files import write_atomically

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]

FORMAT = "spinet-record-1"


@dataclass(frozen=True, eq=False)
class Objects:
    """Objects of all images: annotated or detected ones, those of one image together.

    Attributes:
        owners: `(M,)`, index of each object's image, ascending.
        labels: `(M,)`.
        boxes: `(M, 4)`, XYWH in pixels of the image.
        areas: `(M,)` in pixels: of annotations as their file says, of detections those of their masks, else boxes.
        scores: `(M,)`; 1 for annotations.
        crowd: `(M,)`, crowd regions among annotations: detections in them count neither as right nor as wrong.
        masks: COCO's compressed run lengths of each object; None without masks.
    """

    owners: Integers
    labels: Integers
    boxes: Floats
    areas: Floats
    scores: Floats
    crowd: Booleans
    masks: tuple[bytes, ...] | None = None

    def __len__(self) -> int:
        return len(self.owners)

    def __getitem__(self, rows: Any) -> "Objects":
        """Return some of the objects."""
        masks = None if self.masks is None else tuple(self.masks[row] for row in np.arange(len(self))[rows])
        return Objects(
            self.owners[rows],
            self.labels[rows],
            self.boxes[rows],
            self.areas[rows],
            self.scores[rows],
            self.crowd[rows],
            masks,
        )

    def by_image(self, images: int) -> list[slice]:
        """Return where the objects of each image are."""
        edges = np.searchsorted(self.owners, np.arange(images + 1)).tolist()
        return [slice(start, end) for start, end in pairwise(edges)]

    def arrays(self, prefix: str) -> dict[str, NDArray[Any]]:
        """Return what `from_arrays` reads; scores of networks have single precision."""
        content: dict[str, NDArray[Any]] = {
            "owners": self.owners.astype(np.int32),
            "labels": self.labels.astype(np.int32),
            "boxes": self.boxes,
            "areas": self.areas,
            "scores": self.scores.astype(np.float32),
            "crowd": self.crowd,
        }
        if self.masks is not None:
            content["masks"] = np.frombuffer(b"".join(self.masks), np.uint8)
            content["mask_lengths"] = np.array([len(mask) for mask in self.masks], np.int32)
        return {f"{prefix}_{name}": value for name, value in content.items()}

    @classmethod
    def from_arrays(cls, content: Any, prefix: str) -> Self:
        """Read what `arrays` returned."""

        def read(name: str, kind: type) -> Any:
            return content[f"{prefix}_{name}"].astype(kind)

        labels, masks = [read(name, np.int64) for name in ("owners", "labels")], None
        numbers = [read(name, np.float64) for name in ("boxes", "areas", "scores")]
        if f"{prefix}_masks" in content:
            text, edges = content[f"{prefix}_masks"].tobytes(), [0, *np.cumsum(content[f"{prefix}_mask_lengths"])]
            masks = tuple(text[start:end] for start, end in pairwise(edges))
        return cls(labels[0], labels[1], numbers[0], numbers[1], numbers[2], read("crowd", np.bool_), masks)


@dataclass(frozen=True, eq=False)
class Record:
    """What detectors and classifiers share.

    Attributes:
        images: path of each image, relative to the dataset folder.
        class_names: name of each label, told apart by its category id where two are the same.
        step: optimizer steps of the model.
    """

    kind: ClassVar[str]
    images: tuple[str, ...]
    class_names: tuple[str, ...]
    step: int

    def same_data(self, other: "Record") -> bool:
        """Whether both were made on the same images with the same annotations."""
        return (self.kind, self.images, self.class_names) == (other.kind, other.images, other.class_names)

    def save(self, path: Path) -> None:
        """Write the file.

        Raises:
            SpinetError: it cannot be written.
        """
        head = {"format": FORMAT, "kind": self.kind, "step": self.step}
        names = {"images": self.images, "class_names": self.class_names}
        buffer = io.BytesIO()
        text = json.dumps({**head, **names}).encode()
        np.savez_compressed(buffer, head=np.frombuffer(text, np.uint8), **self._arrays())
        write_atomically(path, buffer.getvalue())

    def _arrays(self) -> dict[str, Any]:
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class DetectionRecord(Record):
    """Objects of a split, annotated and detected; images are in the order of their ids, as in COCO's metric.

    Attributes:
        sizes: `(N, 2)`, height and width of each image in pixels.
        truth: annotations, crowd regions among them.
        found: detections, those of an image by descending score.
    """

    kind = "detector"
    sizes: Integers
    truth: Objects
    found: Objects

    @cached_property
    def has_masks(self) -> bool:
        """Whether both sides have masks, so that overlaps are those of masks."""
        return self.truth.masks is not None and self.found.masks is not None

    def same_data(self, other: Record) -> bool:
        """See `Record`."""
        return (
            super().same_data(other)
            and isinstance(other, DetectionRecord)
            and all(
                np.array_equal(getattr(self.truth, name), getattr(other.truth, name))
                for name in ("owners", "labels", "boxes", "crowd")
            )
        )

    def _arrays(self) -> dict[str, Any]:
        return {"sizes": self.sizes.astype(np.int32), **self.truth.arrays("truth"), **self.found.arrays("found")}


@dataclass(frozen=True, eq=False)
class ClassRecord(Record):
    """True and predicted classes of a split.

    Attributes:
        labels: `(N,)`, the true class of each image.
        predicted: `(N, T)`, the T most probable classes, best first; -1 for classes that the dataset does not have.
        scores: `(N, T)`, their probabilities.
    """

    kind = "classifier"
    labels: Integers
    predicted: Integers
    scores: Floats

    def same_data(self, other: Record) -> bool:
        """See `Record`."""
        return super().same_data(other) and isinstance(other, ClassRecord) and np.array_equal(self.labels, other.labels)

    def _arrays(self) -> dict[str, Any]:
        return {
            "labels": self.labels.astype(np.int32),
            "predicted": self.predicted.astype(np.int32),
            "scores": self.scores.astype(np.float32),
        }


def load_record(path: Path) -> DetectionRecord | ClassRecord:
    """Read a record.

    Raises:
        SpinetError: the file is missing, corrupt or of another version.
    """
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            content = {name: file[name] for name in file.files}
        head = json.loads(content["head"].tobytes())
        if head["format"] != FORMAT:
            raise SpinetError(
                f"{path} has the format {head['format']!r}, not {FORMAT!r}; delete it, and it is made anew"
            )
        shared = (tuple(head["images"]), tuple(head["class_names"]), int(head["step"]))
        if head["kind"] == ClassRecord.kind:
            labels, predicted = (content[name].astype(np.int64) for name in ("labels", "predicted"))
            return ClassRecord(*shared, labels, predicted, content["scores"].astype(np.float64))
        objects = (Objects.from_arrays(content, side) for side in ("truth", "found"))
        return DetectionRecord(*shared, content["sizes"].astype(np.int64), *objects)
    except OSError as error:
        raise SpinetError(f"could not read the detections {path}: {error.strerror or 'it is corrupt'}") from None
    except (KeyError, ValueError, EOFError, BadZipFile, TypeError) as error:
        if isinstance(error, SpinetError):
            raise
        raise SpinetError(f"the detections {path} are corrupt; delete the file, and it is made anew") from None
