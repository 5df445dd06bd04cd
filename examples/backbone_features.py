"""Multi-scale features, and a training loop of your own: a small network that segments squares."""

import torch
import torch.nn.functional as F

import spinet

# A backbone by name: {level: features}, of stride 2 ** level and one width.
backbone = spinet.create_backbone("spinenet49-quarter", levels=(3, 5), activation="swish")
for level, features in backbone(torch.zeros(2, 3, 128, 128)).items():
    print(f"P{level}: {tuple(features.shape)}")


class Segmenter(torch.nn.Module):
    """Sums all levels at the finest resolution, and classifies every pixel."""

    def __init__(self, backbone: torch.nn.Module, classes: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.classify = torch.nn.Conv2d(backbone.out_channels, classes, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map images `(N, 3, H, W)` to logits `(N, classes, H, W)`."""
        features = list(self.backbone(images).values())
        total = sum(F.interpolate(level, features[0].shape[-2:]) for level in features)
        return F.interpolate(self.classify(total), images.shape[-2:], mode="bilinear")


model = Segmenter(backbone, classes=2)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
for step in range(5):
    labels = torch.zeros(4, 128, 128, dtype=torch.int64)
    labels[:, 32 + step : 96, 32:96] = 1
    images = labels[:, None].float().repeat(1, 3, 1, 1) + 0.1 * torch.randn(4, 3, 128, 128)
    loss = F.cross_entropy(model(images), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(f"step {step}: loss {loss.item():.3f}")
