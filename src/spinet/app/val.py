"""What the val split of a run says about thresholds, and the annotations of its images; no model is run."""

from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from spinet.analysis.matching import SIZES, ClassMatches, match
from spinet.analysis.records import DetectionRecord, load_record
from spinet.analysis.thresholds import OVERLAP, F1Curve, pooled_curve
from spinet.data.masks import as_rle
from spinet.deploy.sessions import exported_file
from spinet.engine.checkpoint import read_notes, weights_file
from spinet.engine.config import read_config
from spinet.engine.record import RECORD, dataset_folder
from spinet.errors import SpinetError
from spinet.predict.results import DetectionResult


@dataclass(eq=False)
class Val:
    """The val split of the training of a model.

    Attributes:
        record: what was annotated and found; None if it is not known.
        problem: why it is not known, as a sentence.
        root: the folder that the paths of the record start from.
    """

    record: DetectionRecord | None = None
    problem: str = ""
    root: Path | None = None
    _curves: dict[tuple[str, ...], F1Curve] = field(default_factory=dict)

    @cached_property
    def _matches(self) -> list[ClassMatches]:
        assert self.record is not None
        return match(self.record, thresholds=np.array([OVERLAP]), sizes=[SIZES["all"]])

    @cached_property
    def _index(self) -> dict[Path, int]:
        if self.record is None or self.root is None:
            return {}
        return {(self.root / name).resolve(): index for index, name in enumerate(self.record.images)}

    def curve(self, classes: tuple[str, ...] = ()) -> F1Curve | None:
        """Return precision, recall and F1 of these classes together, or of all; None if they are not known."""
        if self.record is None:
            return None
        wanted = tuple(name for name in self.record.class_names if not classes or name in classes)
        if wanted not in self._curves:
            pairs = zip(self.record.class_names, self._matches, strict=True)
            self._curves[wanted] = pooled_curve([matches for name, matches in pairs if name in wanted])
        return self._curves[wanted]

    def truth(self, image: Path) -> DetectionResult | None:
        """Return the annotations of an image, without its pixels; None if it is not one of the val split."""
        index = self._index.get(image.resolve())
        if index is None or self.record is None:
            return None
        truth, (height, width) = self.record.truth, self.record.sizes[index].tolist()
        found = truth[(truth.owners == index) & ~truth.crowd]
        boxes = found.boxes.astype(np.float32)
        boxes[:, 2:] += boxes[:, :2]
        names = tuple(self.record.class_names[label] for label in found.labels.tolist())
        masks = None if found.masks is None else tuple(as_rle(mask, height, width) for mask in found.masks)
        nothing = torch.zeros(1, dtype=torch.uint8).expand(3, height, width)
        ids = tuple(found.labels.tolist())
        bare = DetectionResult(boxes, found.scores.astype(np.float32), found.labels, names, ids, nothing)
        return replace(bare, rles=masks)


def open_val(path: Path) -> Val:
    """Return what is known about the val split of the training of a model; a problem with it is a sentence in it."""
    if exported_file(path) is not None:
        return Val(problem="Precision and recall are known for runs only; this is an exported file.")
    try:
        file = weights_file(path)
        folder = file.parent
        if not (folder / RECORD).is_file():
            return Val(problem=f"There is no {RECORD} beside these weights, so precision and recall are not known.")
        record, notes = load_record(folder / RECORD), read_notes(file)[0]
        if not isinstance(record, DetectionRecord):
            return Val()
        if record.step != int(notes.get("step", -1)):
            return Val(problem=f"{RECORD} is of other weights than {file.name}, so precision and recall are not known.")
        root = read_config(folder / "config.json").data.root
    except SpinetError as error:
        return Val(problem=f"Precision and recall are not known: {error}.")
    return Val(record, root=dataset_folder(Path(root)) if root else None)
