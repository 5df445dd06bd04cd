"""The mobile inverted bottleneck and its connections (paper appendix A; tensorflow/tpu spinenet_mbconv.py)."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import StochasticDepth

from spinet.models.blocks import Conv2d, ConvBN, DropBlock
from spinet.models.options import BackboneOptions, SqueezeMode

# Width of the branch, and of its squeeze layer, relative to the block's input.
EXPANSION = 6
SQUEEZE = 0.2


def hard_gate(features: Tensor) -> Tensor:
    """Hard sigmoid, with the rounded 1/6 of tensorflow/models `hard_sigmoid`."""
    return F.relu6(features + 3.0) * 0.16667


# Activation between the two layers, and the gate.
SQUEEZE_MODES: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "tpu": (F.silu, torch.sigmoid),
    "mg": (F.relu, hard_gate),
}


class SqueezeExcite(nn.Module):
    """Scales each channel by a gate computed from the global averages of all channels."""

    def __init__(self, channels: int, squeezed: int, mode: SqueezeMode = "tpu") -> None:
        super().__init__()
        self.reduce = Conv2d(channels, squeezed, bias=True)
        self.expand = Conv2d(squeezed, channels, bias=True)
        self.activation, self.gate = SQUEEZE_MODES[mode]

    def forward(self, features: Tensor) -> Tensor:
        """Map `(N, C, H, W)` to the same shape."""
        squeezed = self.activation(self.reduce(features.mean(dim=(2, 3), keepdim=True)))
        return features * self.gate(self.expand(squeezed))


class MBConv(nn.Module):
    """1x1 convolution to six times the channels, 3x3 depthwise, squeeze and excitation, 1x1 without activation.

    The input is added if `stride` is 1 and the channels do not change; no activation follows. The drop probabilities
    are those of `Block`.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        options: BackboneOptions,
        stride: int = 1,
        stochastic_depth: float = 0.0,
        dropblock: float = 0.0,
    ) -> None:
        super().__init__()
        inner = EXPANSION * in_channels
        self.expand = ConvBN(in_channels, inner, options, activation=True)
        self.depthwise = ConvBN(inner, inner, options, 3, stride, inner, activation=True)
        self.squeeze_excite = SqueezeExcite(inner, max(1, int(in_channels * SQUEEZE)), options.squeeze_mode)
        self.project = ConvBN(inner, channels, options)
        self.drop_path = StochasticDepth(stochastic_depth, mode="row")
        self.dropblock = DropBlock(dropblock) if dropblock > 0 else nn.Identity()
        self.residual = in_channels == channels and stride == 1

    def forward(self, features: Tensor) -> Tensor:
        """Map `(N, in, H, W)` to `(N, channels, ceil(H / stride), ceil(W / stride))`."""
        branch = self.dropblock(self.depthwise(self.dropblock(self.expand(features))))
        branch = self.dropblock(self.project(self.squeeze_excite(branch)))
        output: Tensor = self.drop_path(branch) + features if self.residual else branch
        return output
