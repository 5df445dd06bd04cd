"""What is exported: a network with its preprocessing and the selection of detections."""

import torch
from torch import Tensor, nn
from torchvision.transforms.v2 import functional

from spinet.data.transforms import IMAGE_MEAN, IMAGE_STD, fit
from spinet.engine.build import Detector, Model
from spinet.models.classifier import Classifier
from spinet.models.detections import NmsOptions, select_detections
from spinet.models.rcnn import RCNN
from spinet.models.retinanet import RetinaNet

# The 8-bit colour nearest to the mean. Networks were trained with padding of exactly the mean, which 8 bits cannot
# express, so a pixel of exactly this colour stands for it. Such pixels of an image itself change by a third of a level.
PAD_COLOUR = tuple(round(255 * mean) for mean in IMAGE_MEAN)


class Normalise(nn.Module):
    """Normalizes 8-bit images with the constants of `data.transforms`."""

    mean: Tensor
    std: Tensor
    pad: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name, values in {"mean": IMAGE_MEAN, "std": IMAGE_STD}.items():
            self.register_buffer(name, 255 * torch.tensor(values).view(3, 1, 1))
        self.register_buffer("pad", torch.tensor(PAD_COLOUR, dtype=torch.float32).view(3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Map uint8 RGB `(N, H, W, 3)` to float32 `(N, 3, H, W)`."""
        values = images.permute(0, 3, 1, 2).float()
        padding = (values == self.pad).all(dim=1, keepdim=True)
        return torch.where(padding, 0.0, (values - self.mean) / self.std)


class DetectorGraph(nn.Module):
    """A detector from 8-bit images to detections of fixed shapes.

    Attributes:
        output_names: names of the outputs of `forward`.
        raw_names: names of the raw outputs that follow them.
    """

    def __init__(self, model: Detector) -> None:
        super().__init__()
        self.normalise = Normalise()
        self.model = model
        masks = isinstance(model, RCNN) and model.mask_head is not None
        self.output_names = ("boxes", "scores", "labels", *(("masks",) if masks else ()))
        self.raw_names = ("class_logits", "box_offsets") if isinstance(model, RetinaNet) else ()

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Find objects in uint8 RGB images `(N, H, W, 3)`.

        Returns:
            Boxes `(N, 100, 4)` XYXY in pixels of the input, scores `(N, 100)` and labels `(N, 100)`, best first, filled
            up with score 0 and label -1; with a mask head, masks `(N, 100, 28, 28)` inside the boxes. RetinaNet adds
            the raw outputs: class logits `(N, A, K)` and box offsets `(N, A, 4)`.
        """
        images = self.normalise(images)
        if isinstance(self.model, RCNN):
            detections: tuple[Tensor, ...] = self.model(images)
            return detections
        logits, deltas = self.model(images)
        candidates = self.model.choose(logits, deltas, images.shape[-2], images.shape[-1])
        return (*select_detections(*candidates, NmsOptions()), logits, deltas)


class ClassifierGraph(nn.Module):
    """A classifier from 8-bit images to probabilities."""

    output_names = ("probabilities",)
    raw_names = ()

    def __init__(self, model: Classifier) -> None:
        super().__init__()
        self.normalise = Normalise()
        self.model = model

    def forward(self, images: Tensor) -> tuple[Tensor]:
        """Map uint8 RGB `(N, S, S, 3)` to the probabilities `(N, K)` of all classes, including a background."""
        return (self.model(self.normalise(images)).float().softmax(dim=1),)


Graph = DetectorGraph | ClassifierGraph


def create_graph(model: Model) -> Graph:
    """Return the graph of a network as it is."""
    return ClassifierGraph(model).eval() if isinstance(model, Classifier) else DetectorGraph(model).eval()


def to_pixels(images: Tensor) -> Tensor:
    """Turn normalized images `(N, 3, H, W)` back into the uint8 images `(N, H, W, 3)` that they were made from.

    >>> to_pixels(torch.zeros(1, 3, 1, 1)).tolist()
    [[[[124, 116, 104]]]]
    """
    mean, std = (255 * torch.tensor(values).view(3, 1, 1) for values in (IMAGE_MEAN, IMAGE_STD))
    return (images.cpu() * std + mean).round().clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous()


def letterbox(image: Tensor, shape: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Fit an image into the input of an exported detector, as `data.transforms.EvalTransform` does.

    Args:
        image: uint8 RGB `(3, H, W)`.
        shape: height and width of the input, pixels.

    Returns:
        uint8 RGB `(*shape, 3)`, the image in the upper left corner and `PAD_COLOUR` around it, and the scale `(2,)` as
        (x, y): input size divided by image size.
    """
    height, width = image.shape[-2:]
    rows, columns = fit((height, width), shape)
    fitted = torch.tensor(PAD_COLOUR, dtype=torch.uint8).repeat(*shape, 1)
    fitted[:rows, :columns] = functional.resize(image, [rows, columns], antialias=True).permute(1, 2, 0)
    return fitted, torch.tensor([columns / width, rows / height])
