"""The classes of ImageNet; published classification checkpoints contain no class names."""

from torchvision.models import ResNet50_Weights

# Published ImageNet classifiers count the background as class 0; those for iNaturalist do not.
WITH_BACKGROUND = 1001


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
