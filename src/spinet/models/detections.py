"""What a detector finds in an image."""

from typing import NotRequired, TypedDict

from torch import Tensor


class Detections(TypedDict):
    """What was found in one image, best first.

    Attributes:
        boxes: `(D, 4)` XYXY pixels.
        scores: `(D,)`.
        labels: `(D,)`.
        masks: probabilities `(D, B, B)` that a point inside the box belongs to the object; absent where only boxes
            are found.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    masks: NotRequired[Tensor]
