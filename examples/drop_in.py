"""Our backbones in torchvision's detectors, and in timm if it is installed."""

import torch
from torchvision.models.detection import FasterRCNN, MaskRCNN, RetinaNet

import spinet

# 1. torchvision; its default anchors have five sizes, for levels 3 to 7.
image, target = torch.rand(3, 256, 256), {"boxes": torch.tensor([[40.0, 50, 200, 220]]), "labels": torch.tensor([1])}
target["masks"] = torch.ones(1, 256, 256, dtype=torch.uint8)
for detector in (RetinaNet, FasterRCNN, MaskRCNN):
    backbone = spinet.create_backbone("spinenet49-quarter", levels=(3, 7))
    model = detector(spinet.TorchvisionBackbone(backbone), num_classes=2, min_size=256, max_size=256)
    losses = model([image, image], [target, target])
    print(detector.__name__, {name: round(loss.item(), 3) for name, loss in losses.items()})

# 2. timm: every architecture of the catalogue, after one import.
try:
    import timm

    import spinet.timm_models
except ImportError:
    print("timm is not installed: pip install 'spinet[timm]'")
else:
    features = timm.create_model("spinenet49-quarter", features_only=True, out_indices=(0, 1, 2))
    print(features.feature_info.channels(), features.feature_info.reduction())
    print(len(timm.list_models(module="timm_models")), "architectures of", spinet.timm_models.__name__)
