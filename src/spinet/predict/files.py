"""Image files in, visualizations and one JSON file out."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spinet.errors import SpinetError
from spinet.files import refuse_replacing, unique_names, write_atomically
from spinet.formats.listing import find_images
from spinet.predict.ahead import ahead, batches
from spinet.predict.predictor import Predictor, Prepared, Score, check_options
from spinet.predict.results import DetectionResult
from spinet.predict.writers import FileResult, Format, check_formats, save_results


@dataclass(frozen=True)
class FilePrediction:
    """The prediction for one file.

    Attributes:
        path: the image.
        entry: what the JSON file says of it; None if the image could not be read.
        summary: in one line what was found, or why the image could not be read or the visualization not be written.
        visualization: the image with the objects drawn; None for classifiers, and where it could not be written.
        failed: whether the image could not be read, or its visualization not be written.
    """

    path: Path
    entry: dict[str, Any] | None
    summary: str
    visualization: Path | None = None
    failed: bool = False

    def __str__(self) -> str:
        return self.summary if self.failed else f"{self.visualization or self.path}  {self.summary}"


def predict_files(
    predictor: Predictor,
    paths: Sequence[str | Path],
    out: str | Path,
    *,
    score_threshold: Score = 0.3,
    top: int = 5,
    batch_size: int = 1,
    coco_results: str | Path | None = None,
    save_as: Sequence[Format] = (),
) -> Iterator[FilePrediction]:
    """Predict image files; write the visualizations of a detector, and `predictions.json` at the end.

    A thread reads ahead. An image that cannot be read is reported in its `FilePrediction` and left out; so is a
    visualization that cannot be written.

    Args:
        predictor: the model.
        paths: image files, or folders of images.
        out: folder for visualizations and JSON.
        score_threshold: detectors: objects with lower scores are left out; see `Predictor.predict` for "auto".
        top: classifiers: classes per image.
        batch_size: images that go through the network at once.
        coco_results: detectors: file for COCO's results format, which `COCO.loadRes` of pycocotools reads. The image
            id is the number that a file is named by, as in COCO (000000000139.jpg); if any name is not a number, or
            two are the same, the position in the list, from 1.
        save_as: also write all predictions in these formats to `out`; see `save_results`.

    Raises:
        SpinetError: a path does not exist, an option is out of range, a visualization would replace an image, or
            `predictions.json` or `coco_results` cannot be written.
    """
    check_options(score_threshold, top, batch_size)
    check_formats(save_as, predictor.info)
    files, out = find_images(paths), Path(out)
    stems = unique_names(path.stem for path in files)
    drawn = [] if predictor.is_classifier else [out / f"{stem}.jpg" for stem in stems]
    refuse_replacing(drawn, files)
    times = Counter(path.name for path in files)
    names = {path: path.name if times[path.name] == 1 else str(path) for path in files}
    targets, image_ids, stems_left = iter(drawn), iter(_image_ids(files)), iter(stems)
    entries: list[dict[str, Any]] = []
    coco: list[dict[str, Any]] = []
    results_of: list[FileResult] = []
    reads = ahead((_read(predictor, path) for path in files), 2 * batch_size)
    for batch in batches(reads, batch_size, lambda read: isinstance(read[1], Prepared)):
        readable = [image for _, image in batch if isinstance(image, Prepared)]
        results = iter(predictor.predict_batch(readable, score_threshold, top) if readable else [])
        for path, image in batch:
            target, image_id, stem = next(targets, None), next(image_ids), next(stems_left)
            if isinstance(image, SpinetError):
                yield FilePrediction(path, None, str(image), failed=True)
                continue
            result = next(results)
            entries.append({"file": str(path), **result.to_dict()})
            if save_as:
                results_of.append(FileResult(names[path], stem, result).without_pixels())
            if isinstance(result, DetectionResult) and target is not None:
                coco += result.to_coco(image_id)
                try:
                    result.save(target)
                except SpinetError as error:
                    yield FilePrediction(path, entries[-1], str(error), failed=True)
                    continue
            yield FilePrediction(path, entries[-1], result.summary(), target)
    write_atomically(out / "predictions.json", json.dumps(entries, indent=1) + "\n")
    if coco_results is not None:
        write_atomically(Path(coco_results), json.dumps(coco) + "\n")
    save_results(results_of, predictor.info, out, save_as)


def _read(predictor: Predictor, path: Path) -> tuple[Path, Prepared | SpinetError]:
    try:
        return path, predictor.prepare(path)
    except SpinetError as error:
        return path, error


def _image_ids(files: Sequence[Path]) -> list[int]:
    numbers = [int(file.stem) for file in files if file.stem.isascii() and file.stem.isdigit()]
    return numbers if len(set(numbers)) == len(files) else list(range(1, len(files) + 1))
