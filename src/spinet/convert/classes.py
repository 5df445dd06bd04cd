"""The classes of COCO and ImageNet; published checkpoints contain no class names."""

from torchvision.models import ResNet50_Weights
from torchvision.models.detection import RetinaNet_ResNet50_FPN_Weights

# Published ImageNet classifiers count the background as class 0; those for iNaturalist do not.
WITH_BACKGROUND = 1001

# Category id -> name; ids run from 1 to 90 with gaps.
COCO = dict(enumerate(RetinaNet_ResNet50_FPN_Weights.COCO_V1.meta["categories"]))
COCO = {number: name for number, name in COCO.items() if name not in ("__background__", "N/A")}


def class_table(count: int, background: bool) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Return the class names and category ids of a detector.

    80 classes, or 91 including the background, are taken for COCO's; others are numbered.

    >>> class_table(80, background=False)[0][:3]
    ('person', 'bicycle', 'car')
    >>> class_table(91, background=True)[0][:2], class_table(91, background=True)[0][12]
    (('background', 'person'), 'unused 12')
    """
    if not background and count == len(COCO):
        return tuple(COCO.values()), tuple(COCO)
    ids = tuple(range(count)) if background else tuple(range(1, count + 1))
    names = {0: "background"} | (COCO if background and count == 91 else {})
    word = "unused" if background and count == 91 else "class"
    return tuple(names.get(number, f"{word} {number}") for number in ids), ids


def classifier_table(count: int) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Return the class names and indices of a classifier.

    1001 classes are taken for the background and ImageNet's, ordered by synset; others are numbered.

    >>> classifier_table(1001)[0][:2], classifier_table(3)
    (('background', 'tench'), (('class 0', 'class 1', 'class 2'), (0, 1, 2)))
    """
    numbers = tuple(range(count))
    if count == WITH_BACKGROUND:
        return ("background", *ResNet50_Weights.IMAGENET1K_V1.meta["categories"]), numbers
    return tuple(f"class {number}" for number in numbers), numbers
