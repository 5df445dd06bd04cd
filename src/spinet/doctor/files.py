"""Images that no annotation refers to."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from spinet.data.coco import CocoDataset
from spinet.formats.findings import Finding, of, such_as
from spinet.formats.listing import list_images


def file_findings(datasets: Sequence[CocoDataset]) -> Iterator[Finding]:
    """Report images in the folders of a dataset in COCO format that no annotation file lists.

    Folders in Pascal VOC format also hold the images of other lists.
    """
    if len(datasets) < 2 or datasets[0].format != "COCO":
        return
    images = {sample.path for dataset in datasets for sample in dataset.samples}
    found = (path for folder in _folders(images) for path in list_images(folder, below=False).images)
    unused = [path for path in found if path not in images]
    if unused:
        text = f"{of(len(unused), len(unused) + len(images))} image files are not in any annotation file"
        advice = "annotate them, or list those without objects as well"
        yield Finding("hint", "unused files", f"{text}, {such_as(unused[0])}; {advice}")


def _folders(files: set[Path]) -> list[Path]:
    return sorted({path.parent for path in files if path.parent.is_dir()})
