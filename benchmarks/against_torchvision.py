"""SpineNet-49S against torchvision's `retinanet_resnet50_fpn`, both from scratch with one recipe on one dataset.

Both train in `spinet.engine.train` with the same data, augmentation, image size, schedule, optimizer and metric; only
the model differs, with its own anchors and losses.

usage: python benchmarks/against_torchvision.py DATA OUT [--recipe small-gpu] [--epochs N] [--image-size S] ...
"""

import json
import platform
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import torch
import torchvision
import tyro
from torch import Tensor, nn
from torchvision.models.detection import retinanet_resnet50_fpn

from spinet.data.coco import CocoDataset
from spinet.engine.build import ModelInfo
from spinet.engine.train import model_info, train
from spinet.files import write_atomically
from spinet.recipes import load_recipe


class TorchvisionRetinaNet(nn.Module):
    """torchvision's RetinaNet with the two methods that training calls."""

    def __init__(self, num_classes: int, image_size: int) -> None:
        super().__init__()
        self.inner = retinanet_resnet50_fpn(
            weights=None,
            weights_backbone=None,
            num_classes=num_classes,
            # Images arrive resized and normalized.
            min_size=image_size,
            max_size=image_size,
            image_mean=(0.0, 0.0, 0.0),
            image_std=(1.0, 1.0, 1.0),
            detections_per_img=100,
        )

    def losses(self, images: Tensor, targets: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the class and box loss of a batch."""
        each = [
            {"boxes": boxes[labels >= 0], "labels": labels[labels >= 0]}
            for boxes, labels in zip(targets["boxes"], targets["labels"], strict=True)
        ]
        losses = self.inner(list(images), each)
        return {"class": losses["classification"], "box": losses["bbox_regression"]}

    def predict(self, images: Tensor) -> list[dict[str, Tensor]]:
        """Return the detections of a batch."""
        with torch.no_grad():
            return self.inner(list(images))


@dataclass(frozen=True)
class TorchvisionInfo(ModelInfo):
    """Describes torchvision's model to Spinet's training."""

    def create_model(self) -> TorchvisionRetinaNet:
        """Build the model with untrained weights."""
        return TorchvisionRetinaNet(len(self.class_names), self.image_size)


def main(
    data: tyro.conf.Positional[Path],
    out: tyro.conf.Positional[Path],
    recipe: str = "small-gpu",
    networks: tuple[Literal["spinet", "torchvision"], ...] = ("spinet", "torchvision"),
    epochs: float | None = None,
    image_size: int | None = None,
    batch_size: int | None = None,
    torchvision_lr: float = 0.16,
    seed: int = 0,
) -> None:
    """Train both and write OUT/results.json.

    Args:
        data: COCO-format folder.
        out: Folder for the runs and results.json; interrupted runs are resumed.
        recipe: StrategySettings of both.
        networks: Which to train.
        epochs: Overrides the recipe.
        image_size: Overrides the recipe.
        batch_size: Overrides the recipe.
        torchvision_lr: Learning rate of torchvision's model per 256 images; 0.16 equals its reference's 0.01 per 16.
        seed: Seed of both.
    """
    config = load_recipe(recipe)
    config = replace(
        config,
        seed=seed,
        epochs=epochs or config.epochs,
        batch_size=batch_size or config.batch_size,
        data=replace(config.data, root=str(data), image_size=image_size or config.data.image_size),
    )
    results = {}
    for name in networks:
        chosen = config
        if name == "torchvision":
            chosen = replace(config, optim=replace(config.optim, lr=torchvision_lr))
        spinet_info = model_info(chosen, CocoDataset(data, "train"))
        fields = {key: getattr(spinet_info, key) for key in spinet_info.__dataclass_fields__}
        info = TorchvisionInfo(**fields) if name == "torchvision" else spinet_info
        parameters = sum(parameter.numel() for parameter in info.create_model().parameters())
        result = train(chosen, out / name, info=info)
        rates = [json.loads(line).get("images_per_second", 0) for line in (out / name / "metrics.jsonl").open()]
        speed = sorted(rate for rate in rates if rate)
        results[name] = asdict(result) | {"parameters": parameters, "images_per_second": speed[len(speed) // 2]}
        best = result.best
        print(f"{name}: AP {best['AP']:.3f}  AP50 {best['AP50']:.3f}  {parameters:,} parameters", flush=True)
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor() or platform.machine()
    versions = {"torch": torch.__version__, "torchvision": torchvision.__version__}
    report = {"device": device, "versions": versions, "config": asdict(config), "results": results}
    write_atomically(out / "results.json", json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    tyro.cli(main)
