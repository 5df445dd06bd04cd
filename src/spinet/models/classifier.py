"""Image classification on the features of a backbone (paper section 4.2, Table 11; tensorflow/tpu heads.py)."""

from typing import ClassVar, Literal, TypedDict, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spinet.errors import SpinetError, unknown_name
from spinet.models.backbone import Backbone
from spinet.models.class_rows import ClassRows
from spinet.models.resample import resize

Aggregation = Literal["all", "one", "concat"]


class ClassPredictions(TypedDict):
    """Top classes of each image, best first: `scores` and `labels` `(N, top)`."""

    scores: Tensor
    labels: Tensor


class Classifier(nn.Module):
    """A dense layer on the globally averaged features of a backbone.

    Args:
        backbone: gives `{level: (N, out_channels, H, W)}` for its `levels`.
        num_classes: number of classes; the published models for ImageNet count a background class too (1001).
        aggregation: `"all"`: features of all levels, resized to the finest by nearest neighbour, and averaged (the
            paper's classifier). `"one"`: only the coarsest level of the backbone. `"concat"`: the means of all levels,
            concatenated.
        background: whether class 0 is the background, which is never predicted.
        label_smoothing: of the loss; 0.1 in the published protocol.

    Raises:
        SpinetError: the aggregation is unknown, or `num_classes` or `label_smoothing` is out of range.
    """

    loss_names = ("class",)
    class_predictors: ClassVar = {"fc.": ClassRows()}

    def __init__(
        self,
        backbone: Backbone,
        num_classes: int,
        *,
        aggregation: Aggregation = "all",
        background: bool = False,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        if aggregation not in get_args(Aggregation):
            raise unknown_name("aggregation", aggregation, get_args(Aggregation))
        if num_classes < 1:
            raise SpinetError(f"num_classes must be at least 1, not {num_classes}")
        if not 0 <= label_smoothing < 1:
            raise SpinetError(f"label_smoothing is {label_smoothing}; it must be at least 0 and below 1")
        self.backbone = backbone
        self.num_classes = num_classes
        self.aggregation: Aggregation = aggregation
        self.background = background
        self.label_smoothing = label_smoothing
        vectors = len(backbone.levels) if aggregation == "concat" else 1
        self.fc = nn.Linear(vectors * backbone.out_channels, num_classes)
        nn.init.normal_(self.fc.weight, std=0.01)
        nn.init.zeros_(self.fc.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Map normalised images `(N, 3, H, W)`, of any size, to logits `(N, num_classes)`."""
        logits: Tensor = self.fc(self._vector(self.backbone(images)))
        return logits

    def losses(self, images: Tensor, targets: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the cross entropy of a batch, as `"class"`.

        Args:
            images: normalised, `(N, 3, H, W)`.
            targets: `labels` `(N,)`, the class of each.
        """
        logits = self(images).float()
        return {"class": F.cross_entropy(logits, targets["labels"], label_smoothing=self.label_smoothing)}

    @torch.no_grad()
    def predict(self, images: Tensor, top: int = 5) -> ClassPredictions:
        """Predict the classes of normalised images `(N, 3, H, W)`; call `eval()` on the model first.

        Args:
            images: the batch.
            top: classes per image; fewer if there are not that many.

        Returns:
            Probabilities and labels; the background counts in the former, but is not among the latter.
        """
        scores = self(images).float().softmax(dim=1)
        first = 1 if self.background else 0
        best, labels = scores[:, first:].topk(min(top, self.num_classes - first), dim=1)
        return {"scores": best, "labels": labels + first}

    def _vector(self, features: dict[int, Tensor]) -> Tensor:
        """Map `{level: (N, C, H, W)}`, finest first, to the input of the dense layer."""
        if self.aggregation == "concat":
            return torch.cat([x.mean(dim=(2, 3)) for x in features.values()], dim=1)
        total, *finer = reversed(features.values())
        if self.aggregation == "one":
            return total.mean(dim=(2, 3))
        for x in finer:
            total = resize(total, (x.shape[-2], x.shape[-1])) + x
        return total.mean(dim=(2, 3)) / len(features)
