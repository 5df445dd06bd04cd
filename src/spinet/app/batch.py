"""Many images at once: their predictions in a table, and as files to download."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from spinet.app.answers import open_image, resized
from spinet.app.choices import Choices
from spinet.app.html import alert, note, table
from spinet.app.models import AppModel
from spinet.errors import SpinetError
from spinet.files import unique_file_names, unique_names
from spinet.predict.results import ClassResult, DetectionResult
from spinet.predict.writers import FORMATS, FileResult, Format, save_results
from spinet.text import count_of

# More would keep all other visitors waiting; the command line has no limit.
MOST_IMAGES = 500


@dataclass(frozen=True)
class BatchView:
    """What the page shows of a batch: a table as HTML, and the file of each format, None where there is none."""

    html: str
    files: dict[Format, Path | None]


def predict_all(
    model: AppModel,
    paths: Sequence[Path],
    choices: Choices,
    folder: Path,
    progress: Callable[[int, int], None] | None = None,
) -> BatchView:
    """Predict images one after the other and write what was found; an image that cannot be read is said and left out.

    Args:
        model: the model.
        paths: the images.
        choices: threshold and classes of a detector.
        folder: where the files are written.
        progress: called with how many images are done, and how many there are.
    """
    nothing: dict[Format, Path | None] = dict.fromkeys(FORMATS)
    if not paths:
        return BatchView(note("Choose images first."), nothing)
    if len(paths) > MOST_IMAGES:
        return BatchView(alert(f"{len(paths):,} images are too many; this page takes {MOST_IMAGES} at once"), nothing)
    names, stems = unique_file_names(paths), unique_names(path.stem for path in paths)
    results, rows, failed = [], [], 0
    for done, (path, name, stem) in enumerate(zip(paths, names, stems, strict=True)):
        if progress:
            progress(done, len(paths))
        try:
            result = _predict(model, path, choices)
        except SpinetError as error:
            failed += 1
            rows.append((escape(name), f'<span class="wrong">{escape(str(error))}</span>'))
            continue
        results.append(FileResult(name, stem, result).without_pixels())
        rows.append((escape(name), escape(result.summary())))
    formats: tuple[Format, ...] = ("csv",) if model.predictor.is_classifier else FORMATS
    lines = alert(f"{count_of(failed, 'image')} could not be read; all others are done") if failed else ""
    lines += note(_summary(model, [each.result for each in results], choices))
    if not results:
        return BatchView(lines + table(("image", "found"), rows, "batch"), nothing)
    files = nothing.copy()
    files.update(zip(formats, save_results(results, model.info, folder, formats), strict=True))
    return BatchView(lines + table(("image", "found"), rows, "batch"), files)


def _predict(model: AppModel, path: Path, choices: Choices) -> DetectionResult | ClassResult:
    page_image, image = open_image(path)
    result = model.predict(image)
    if isinstance(result, ClassResult):
        return result
    return resized(result[choices.rows(result)], page_image.width, page_image.height)


def _summary(model: AppModel, results: Sequence[DetectionResult | ClassResult], choices: Choices) -> str:
    images = count_of(len(results), "image")
    if model.predictor.is_classifier:
        return f"{images}, by {model.name}"
    counts = Counter(name for result in results for name in result.class_names)
    words = ", ".join(f"{count} {name}" for name, count in counts.most_common()) or "nothing found"
    return f"{images}, by {model.name} from score {choices.threshold:.2f}: {words}"
