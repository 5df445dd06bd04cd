"""Networks that are worth exporting: untrained ones that find something everywhere, and the network as a file."""

import torch

from spinet.arch.catalog import load_architecture
from spinet.data.transforms import EvalTransform
from spinet.deploy.check import sample_images
from spinet.deploy.graph import create_graph
from spinet.deploy.manifest import Manifest, current_versions
from spinet.engine.build import ModelInfo
from spinet.engine.config import ModelConfig

SIZE = 64
# Height and width of photos: ten shapes and a single pixel; several are strips.
PHOTO_SIZES = [(1, 1), (64, 64), (63, 65), (7, 300), (300, 7), (480, 640), (33, 64), (1, 500), (500, 1), (37, 613)]
PHOTO_SIZES += [(613, 37)]


def tiny(head: str = "retinanet", shape: tuple[int, int] = (SIZE, SIZE), **settings):
    """Build a network that finds something everywhere in images of a shape, and its description."""
    torch.manual_seed(0)
    classes = 3
    names = tuple(f"class {label}" for label in range(classes))
    model_config = ModelConfig(arch="tiny", head=head, **settings)
    info = ModelInfo(load_architecture("tiny"), model_config, names, tuple(range(10, 10 + 5 * classes, 5)), max(shape))
    model = info.create_model().train()
    with torch.no_grad():
        if head == "retinanet":
            # Scores around a half that differ from place to place.
            torch.nn.init.normal_(model.cls_tower.predictor.weight, std=0.3)
            torch.nn.init.normal_(model.box_tower.predictor.weight, std=0.05)
            torch.nn.init.constant_(model.cls_tower.bias, -2.0)
        for layer in model.modules():
            if isinstance(layer, torch.nn.BatchNorm2d):
                layer.momentum = None
        if head in ("retinanet", "classifier"):
            model(normalised(sample_images(4, *shape)))
    return model.eval(), info


def normalised(pictures):
    """Map uint8 pictures `(H, W, 3)` of one size to the batch that a network takes."""
    return torch.stack([EvalTransform(picture.shape[:2])(picture.permute(2, 0, 1))[0] for picture in pictures])


def noise(height: int, width: int):
    """Make a photo of random pixels, always the same one."""
    return torch.randint(0, 256, (3, height, width), generator=torch.Generator().manual_seed(3), dtype=torch.uint8)


class Eager:
    """The network itself in the place of a file; `wrong` is added to its scores."""

    def __init__(self, model, info, wrong: float = 0.0):
        self.graph, self.wrong, self.where = create_graph(model), wrong, "the network"
        shape = (info.image_size, info.image_size)
        self.manifest = Manifest(info, shape, 1, self.graph.output_names, "fp32", current_versions())

    @torch.no_grad()
    def run(self, images):
        outputs = dict(zip(self.manifest.outputs, self.graph(images), strict=False))
        return outputs | {"scores": outputs["scores"] + self.wrong} if "scores" in outputs else outputs
