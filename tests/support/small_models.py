"""Models of known behaviour for the page: files of tiny networks, and finders that need no weights."""

from pathlib import Path

import torch

from spinet.arch.catalog import load_network
from spinet.engine.build import ModelInfo
from spinet.engine.checkpoint import save_weights
from spinet.engine.config import ModelConfig


def tiny_weights(
    path: Path, head: str = "retinanet", names: tuple[str, ...] = ("ant", "cat"), arch: str = "tiny"
) -> Path:
    """Weights of an untrained network at 64 pixels; no score of a detector reaches 0.05."""
    config = ModelConfig(head=head, arch=arch, proposals=8)
    info = ModelInfo(load_network(arch), config, names, tuple(range(1, len(names) + 1)), 64)
    torch.manual_seed(0)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_weights(path, info.create_model().state_dict(), info, {})
    return path


class Finder(torch.nn.Module):
    """Finds a cat in the upper left quarter of its input, and less surely an ant; counts how often it is asked."""

    def __init__(self, masks: bool = False) -> None:
        super().__init__()
        self.masks, self.asked = masks, 0

    def predict(self, images, score_threshold):
        self.asked += 1
        found = {
            "boxes": torch.tensor([[0.0, 0.0, 32.0, 16.0], [8.0, 8.0, 24.0, 24.0]]),
            "scores": torch.tensor([0.9, 0.4]),
            "labels": torch.tensor([1, 0]),
        }
        if self.masks:
            found["masks"] = torch.ones(2, 4, 4)
            found["masks"][:, :, 2:] = 0
        return [found for _ in images]
