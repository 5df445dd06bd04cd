"""Files that no annotation refers to: unlisted images, labels without an image."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from spinet.data.coco import CocoDataset
from spinet.data.findings import Finding, of, such_as
from spinet.data.listing import is_hidden, list_images
from spinet.data.yolo_files import label_file


def file_findings(format_name: str, datasets: Sequence[CocoDataset]) -> Iterator[Finding]:
    """Report unused files: images in COCO format, labels in YOLO format.

    Folders in Pascal VOC format also hold the images of other lists.
    """
    images = {sample.path for dataset in datasets for sample in dataset.samples}
    if format_name == "COCO" and len(datasets) == 2:
        found = (path for folder in _folders(images) for path in list_images(folder, below=False).images)
        unused = [path for path in found if path not in images]
        what = "image files are not in any annotation file"
        advice = "annotate them, or list those without objects as well"
    elif format_name == "YOLO":
        used = {label_file(path) for path in images}
        found = (path for folder in _folders(used) for path in sorted(folder.glob("*.txt")))
        unused = [path for path in found if path not in used and not is_hidden(path.name)]
        what = "label files have no image with the same name"
        advice = "their objects are lost"
    else:
        return
    # LabelImg writes the class names next to the labels.
    unused = [path for path in unused if path.name != "classes.txt"]
    if unused:
        text = f"{of(len(unused), len(unused) + len(images))} {what}, {such_as(unused[0])}; {advice}"
        yield Finding("hint", "unused files", text)


def _folders(files: set[Path]) -> list[Path]:
    return sorted({path.parent for path in files if path.parent.is_dir()})
