"""Scores of an untrained network, recorded beside rewards and never part of them.

Published for other image classifiers; how well they predict rewards is measured, not assumed: `synflow` (Tanaka et al.
2020), `naswot` (Mellor et al. 2021), `snip` (Lee et al. 2019), `grad_norm` (Abdelfattah et al. 2021, who compare them).
"""

import math

import torch
from torch import Tensor, nn

from spinet.data.batch import Batch
from spinet.data.coco import CocoDataset
from spinet.data.loader import eval_loader
from spinet.data.transforms import EvalTransform
from spinet.data.unread import Unread
from spinet.engine.build import Detector, ModelInfo
from spinet.models.backbone import Backbone

# Most images that are used.
IMAGES = 16


def zero_cost_scores(info: ModelInfo, dataset: CocoDataset, *, seed: int, device: torch.device) -> dict[str, float]:
    """Return the finite scores of the network that training with this seed would start from.

    Args:
        info: the network.
        dataset: its first images are used, without augmentation.
        seed: of the weights.
        device: to compute on.
    """
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        model = info.create_detector().to(device)
    few = dataset.subset(range(min(IMAGES, len(dataset))))
    unread = Unread("train", len(dataset))
    batches = eval_loader(few, EvalTransform(info.image_size), batch_size=IMAGES, unread=unread)
    # One batch, or none if none of the images can be read.
    scores = {name: score for batch in batches for name, score in gradient_scores(model, batch, device).items()}
    scores["synflow"] = synflow(model.backbone, info.image_size)
    return {name: score for name, score in scores.items() if math.isfinite(score)}


def gradient_scores(model: Detector, batch: Batch, device: torch.device) -> dict[str, float]:
    """Return three scores of one training pass over `batch`.

    `grad_norm` is the norm of the loss's gradient. `snip` is the logarithm of the sum of |weight * gradient| over the
    convolutions. `naswot` is the log-determinant of the matrix of how many signs, after the backbone's batch norms, two
    images share: high if the untrained network distinguishes images.
    """
    kernel = _SharedSigns(model.backbone)
    model.train()
    targets = {name: value.to(device) for name, value in batch.targets.items()}
    torch.stack(list(model.losses(batch.images.to(device), targets).values())).sum().backward()  # type: ignore[no-untyped-call]
    kernel.remove()
    gradients = [weight.grad for weight in model.parameters() if weight.grad is not None]
    scores = {
        "grad_norm": float(torch.stack(torch._foreach_norm(gradients)).norm()),
        "naswot": kernel.log_determinant(),
    }
    return scores | {"snip": _log_saliency(model)}


def synflow(backbone: Backbone, image_size: int) -> float:
    """Return the logarithm of the sum of |weight * gradient|, with weights made positive and an image of ones.

    The weights of `backbone` are overwritten.
    """
    backbone.double().eval()
    for module in _convolutions(backbone):
        module.weight.detach().abs_()
    backbone.zero_grad(set_to_none=True)
    device = next(backbone.parameters()).device
    features = backbone(torch.ones(1, 3, image_size, image_size, dtype=torch.float64, device=device))
    torch.stack([feature.sum() for feature in features.values()]).sum().backward()  # type: ignore[no-untyped-call]
    return _log_saliency(backbone)


def _log_saliency(model: nn.Module) -> float:
    total = sum(
        float((module.weight.detach() * module.weight.grad).abs().sum())
        for module in _convolutions(model)
        if module.weight.grad is not None
    )
    return math.log(total) if total > 0 else -math.inf


def _convolutions(model: nn.Module) -> list[nn.Conv2d]:
    return [module for module in model.modules() if isinstance(module, nn.Conv2d)]


class _SharedSigns:
    """Counts, after every batch norm of a network, the positions where two images of a batch have the same sign."""

    def __init__(self, network: nn.Module) -> None:
        norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
        self._hooks = [norm.register_forward_hook(self._add) for norm in norms]
        self._shared: Tensor | None = None

    def _add(self, _module: nn.Module, _inputs: object, output: Tensor) -> None:
        signs = torch.where(output.detach().flatten(1) > 0, 1.0, -1.0)
        # Products of signs sum to agreements less disagreements.
        shared = (signs @ signs.T + signs.shape[1]).double() / 2
        self._shared = shared if self._shared is None else self._shared + shared

    def remove(self) -> None:
        for hook in self._hooks:
            hook.remove()

    def log_determinant(self) -> float:
        return -math.inf if self._shared is None else float(torch.linalg.slogdet(self._shared)[1])
