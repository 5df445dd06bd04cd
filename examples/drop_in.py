"""Drop-in: our backbones in torchvision's own detectors, and in timm where it is installed."""

import torch
from torchvision.models.detection import FasterRCNN, MaskRCNN, RetinaNet

from spinet import TorchvisionBackbone, create_backbone

# 1. Features of the levels you ask for.
backbone = create_backbone("spinenet49-quarter", levels=(3, 5), activation="swish").eval()
print({f"P{level}": tuple(features.shape) for level, features in backbone(torch.zeros(1, 3, 256, 256)).items()})

# 2. torchvision's detectors; their default anchors have five sizes, for levels 3 to 7.
image, target = torch.rand(3, 256, 256), {"boxes": torch.tensor([[40.0, 50, 200, 220]]), "labels": torch.tensor([1])}
target["masks"] = torch.ones(1, 256, 256, dtype=torch.uint8)
for detector in (RetinaNet, FasterRCNN, MaskRCNN):
    body = TorchvisionBackbone(create_backbone("spinenet49-quarter", levels=(3, 7)))
    model = detector(body, num_classes=2, min_size=256, max_size=256)
    losses = model([image, image], [target, target])
    print(detector.__name__, {name: round(loss.item(), 3) for name, loss in losses.items()})

# 3. timm: every name of the catalogue, after one import.
try:
    import timm

    import spinet.timm_models
except ImportError:
    print("timm is not installed: pip install spinet[timm]")
else:
    features = timm.create_model("spinenet49-quarter", features_only=True, out_indices=(0, 1, 2))
    print(features.feature_info.channels(), features.feature_info.reduction())
    print(len(timm.list_models(module="timm_models")), "architectures known to timm from", spinet.timm_models.__name__)
