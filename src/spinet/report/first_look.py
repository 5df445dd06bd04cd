"""What the network sees, from the files that a training writes before its first step."""

import base64
from contextlib import suppress
from pathlib import Path
from typing import Any

from spinet.engine.first_batch import PICTURE, read_labels
from spinet.report.panels import Panel, Table, listed

# Classes of the table; fewer train objects than these are few, and the most frequent class has so many times more.
LISTED, FEW, IMBALANCE = 20, 20, 30
ABOUT = (
    "The first batch as the network got it, after augmentation and padding. Every object should have a box that fits "
    "and the right name; objects without a box teach the network that they are background."
)
ABOUT_CLASSES = (
    "The first batch as the network got it, after augmentation, each image above its class. What decides the class "
    "should still be in the crop."
)


def batch_picture(run: Path) -> str | None:
    """Return the picture of the first batch as a data URI; None if the run has none, as runs of earlier versions."""
    with suppress(OSError):
        content = base64.b64encode((run / PICTURE).read_bytes()).decode()
        return f"data:image/jpeg;base64,{content}"
    return None


def label_panels(run: Path) -> list[Panel]:
    """Return the panel of the label statistics of train and val; none without the file."""
    content = read_labels(run)
    try:
        return [_panel(content["train"], content["val"], int(content["image_size"]))] if content else []
    except (KeyError, TypeError, ValueError, AttributeError):  # of another version, or edited
        return []


def _panel(train: dict[str, Any], val: dict[str, Any], image_size: int) -> Panel:
    what = "objects" if "objects" in train else "images"
    counts = [(str(one["name"]), int(one[what])) for one in train["classes"]]
    in_val = {str(one["name"]): int(one[what]) for one in val["classes"]}
    ordered = sorted(counts, key=lambda pair: -pair[1])
    rows = [[name, f"{count:,}", f"{in_val.get(name, 0):,}"] for name, count in ordered[:LISTED]]
    if len(ordered) > LISTED:
        rest = ordered[LISTED:]
        inside = sum(in_val.get(name, 0) for name, _ in rest)
        rows.append([f"{len(rest)} others", f"{sum(count for _, count in rest):,}", f"{inside:,}"])
    rows.append(["images", f"{train['images']:,}", f"{val['images']:,}"])
    read = f"Numbers of {what} of each class and of images in the two splits."
    if what == "objects":
        rows.append(["images without objects", *(f"{part['images_without_objects']:,}" for part in (train, val))])
        rows += [[f"{size} objects", *(f"{part['sizes'][size]:,}" for part in (train, val))] for size in train["sizes"]]
        sides = train["sides"]
        if sides:
            read += (
                f" At {image_size} px the train objects have sides of {sides['min']:.0f} to {sides['max']:.0f} px, the "
                f"middle 80 % of them {sides['p10']:.0f} to {sides['p90']:.0f}. Small, medium and large are COCO's: up "
                "to 32 and 96 px in the file."
            )
    return Panel("Labels", read, _advice(counts, what), table=Table(("", "train", "val"), rows), wide=True)


def _advice(counts: list[tuple[str, int]], what: str) -> str:
    few = [name for name, count in counts if count < FEW]
    if few and len(counts) > 1:
        return (
            f"{listed(few)} {'has' if len(few) == 1 else 'have'} fewer than {FEW} train {what}: annotate more of them "
            "before anything else."
        )
    most, least = max(counts, key=lambda pair: pair[1]), min(counts, key=lambda pair: pair[1])
    if least[1] and most[1] > IMBALANCE * least[1]:
        return (
            f"{most[0]} has {most[1] / least[1]:.0f} times as many train {what} as {least[0]}: more images of rare "
            "classes help them more than anything else."
        )
    return ""
