"""Convolutions with batch norm, and the block kinds of the paper (section 3.1, appendix B)."""

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import StochasticDepth

from spinet.models.options import BACKBONE_DEFAULTS, BackboneOptions, PadMode

# By name; `swish` is PyTorch's SiLU.
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "swish": F.silu,
    "hard_swish": F.hardswish,
}


def batch_norm(channels: int, options: BackboneOptions) -> nn.BatchNorm2d:
    """Return a batch norm with the settings of `options`."""
    return nn.BatchNorm2d(channels, options.bn_eps, options.bn_momentum)


def same_padding(length: int, kernel_size: int, stride: int) -> tuple[int, int]:
    """Zeros before and after an axis so that a strided window gives `ceil(length / stride)` outputs.

    TensorFlow's SAME: an odd zero goes after, where PyTorch's symmetric padding would put it before.

    >>> same_padding(256, kernel_size=3, stride=2), same_padding(7, kernel_size=3, stride=2)
    ((0, 1), (1, 1))
    """
    total = max((math.ceil(length / stride) - 1) * stride + kernel_size - length, 0)
    return total // 2, total - total // 2


def pad_same(images: Tensor, kernel_size: int, stride: int, value: float = 0.0) -> Tensor:
    """Pad `(N, C, H, W)` as TensorFlow's SAME does."""
    top, bottom = same_padding(images.shape[-2], kernel_size, stride)
    left, right = same_padding(images.shape[-1], kernel_size, stride)
    return F.pad(images, (left, right, top, bottom), value=value)


class Conv2d(nn.Conv2d):
    """A convolution whose strided padding is PyTorch's (`symmetric`) or TensorFlow's (`same`).

    Weights are initialized as in the reference code: a truncated normal of variance 1 / fan-in. A grouped or depthwise
    kernel has the fan-in of one group; TensorFlow counts all channels of a depthwise one.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 1,
        stride: int = 1,
        bias: bool = False,
        pad_mode: PadMode = "symmetric",
        groups: int = 1,
    ) -> None:
        # At stride 1 with an odd kernel both modes are the same.
        self.explicit = pad_mode == "same" and stride > 1
        padding = 0 if self.explicit else (kernel_size - 1) // 2
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, groups=groups, bias=bias)

    def reset_parameters(self) -> None:
        """Initialize the weights and the bias."""
        # 0.8796 is the standard deviation of a unit normal truncated at two.
        std = math.sqrt(1.0 / self.weight[0].numel()) / 0.87962566103423978
        nn.init.trunc_normal_(self.weight, std=std, a=-2 * std, b=2 * std)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, features: Tensor) -> Tensor:
        """Map `(N, C, H, W)` to `(N, out, ceil(H / stride), ceil(W / stride))`."""
        if self.explicit:
            features = pad_same(features, self.kernel_size[0], self.stride[0])
        return super().forward(features)


class ConvBN(nn.Module):
    """Convolution without bias, batch norm, and, if `activation`, the activation of `options`."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        options: BackboneOptions = BACKBONE_DEFAULTS,
        kernel_size: int = 1,
        stride: int = 1,
        groups: int = 1,
        *,
        activation: bool = False,
    ) -> None:
        super().__init__()
        self.conv = Conv2d(in_channels, out_channels, kernel_size, stride, pad_mode=options.pad_mode, groups=groups)
        self.norm = batch_norm(out_channels, options)
        self.activation = ACTIVATIONS[options.activation] if activation else None

    def forward(self, features: Tensor) -> Tensor:
        """Map `(N, C, H, W)` to `(N, out, ceil(H / stride), ceil(W / stride))`."""
        features = self.norm(self.conv(features))
        return self.activation(features) if self.activation else features


class DropBlock(nn.Module):
    """Zeroes random squares of each channel in training (paper section 5.1: side 3, keep probability 0.9).

    The seed rate and the rescaling by the kept fraction of the whole batch are those of tensorflow/tpu nn_ops.py.
    torchvision's `DropBlock2d` fails on maps smaller than a block of even side, as at level 7.
    """

    def __init__(self, probability: float, side: int = 3) -> None:
        super().__init__()
        self.probability = probability
        self.side = side

    def forward(self, features: Tensor) -> Tensor:
        """Map `(N, C, H, W)` to the same shape."""
        if not self.training:
            return features
        height, width = features.shape[-2:]
        side = min(self.side, height, width)
        corners = (height - side + 1, width - side + 1)
        rate = self.probability * height * width / side**2 / (corners[0] * corners[1])
        seeds = torch.empty((*features.shape[:2], *corners), device=features.device).bernoulli_(min(rate, 1.0))
        dropped = F.max_pool2d(F.pad(seeds, (side - 1,) * 4), side, stride=1)
        kept = 1 - dropped
        return features * (kept * (kept.numel() / kept.sum().clamp(min=1))).to(features.dtype)


class Block(nn.Module):
    """Convolutions with a shortcut, their sum and an activation: a ResNet v1 block.

    Args:
        convs: the branch, in order; the last has no activation.
        stride: of the whole branch; if it is not 1, or the channels change, the shortcut is a projection.
        options: activation after the sum, and where `DropBlock` acts.
        stochastic_depth: probability that a sample's branch is dropped in training.
        dropblock: drop probability of `DropBlock` after each convolution.
    """

    def __init__(
        self,
        convs: Sequence[ConvBN],
        stride: int,
        options: BackboneOptions,
        stochastic_depth: float = 0.0,
        dropblock: float = 0.0,
    ) -> None:
        super().__init__()
        in_channels, out_channels = convs[0].conv.in_channels, convs[-1].conv.out_channels
        same = in_channels == out_channels and stride == 1
        self.convs = nn.ModuleList(convs)
        self.shortcut = nn.Identity() if same else ConvBN(in_channels, out_channels, options, stride=stride)
        self.activation = ACTIVATIONS[options.activation]
        self.drop_path = StochasticDepth(stochastic_depth, mode="row")
        self.dropblock = DropBlock(dropblock) if dropblock > 0 else nn.Identity()
        # tensorflow/tpu applies it to projections only in its first release (block_zoo.py), later to any shortcut
        # (nn_blocks.py).
        self.drop_shortcut = options.dropblock_places == "tpu" or not same

    def forward(self, features: Tensor) -> Tensor:
        """Map `(N, in, H, W)` to `(N, out, H, W)`."""
        branch = features
        for conv in self.convs:
            branch = self.dropblock(conv(branch))
        shortcut = self.shortcut(features)
        if self.drop_shortcut:
            shortcut = self.dropblock(shortcut)
        return self.activation(self.drop_path(branch) + shortcut)


def residual_block(in_channels: int, channels: int, options: BackboneOptions, stride: int = 1, **drops: float) -> Block:
    """Two 3x3 convolutions of equal width; `drops` are the probabilities of `Block`."""
    first = ConvBN(in_channels, channels, options, 3, stride, activation=True)
    return Block([first, ConvBN(channels, channels, options, 3)], stride, options, **drops)


def bottleneck_block(
    in_channels: int,
    channels: int,
    options: BackboneOptions,
    stride: int = 1,
    cardinality: int = 1,
    widening: int = 1,
    **drops: float,
) -> Block:
    """1x1, 3x3 and 1x1 convolution; outputs four times the channels of its level.

    In ResNeXt the 3x3 convolution has `cardinality` groups and is `widening` times as wide as in a bottleneck (paper
    appendix B). Networks too narrow for that many groups have the most that divide the channels.
    """
    inner = channels * widening
    convs = [
        ConvBN(in_channels, inner, options, activation=True),
        ConvBN(inner, inner, options, 3, stride, math.gcd(cardinality, inner), activation=True),
        ConvBN(inner, 4 * channels, options),
    ]
    return Block(convs, stride, options, **drops)


def count_parameters(module: nn.Module) -> int:
    """Return the number of trainable parameters."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
