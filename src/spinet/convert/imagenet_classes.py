"""The classes of ImageNet, for classifiers whose checkpoints do not name theirs."""

from torchvision.models import ResNet50_Weights

# Of the published classifiers those for ImageNet count the background too, as class 0; those for iNaturalist do not.
WITH_BACKGROUND = 1001


def classifier_table(count: int) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Return the names and numbers of a classifier's labels.

    1001 classes are ImageNet's behind the background, in the order of their synsets; others are numbered.

    >>> classifier_table(1001)[0][:2], classifier_table(3)
    (('background', 'tench'), (('class 0', 'class 1', 'class 2'), (0, 1, 2)))
    """
    numbers = tuple(range(count))
    if count == WITH_BACKGROUND:
        return ("background", *ResNet50_Weights.IMAGENET1K_V1.meta["categories"]), numbers
    return tuple(f"class {number}" for number in numbers), numbers
