"""Convolutions with batch norm, and the block kinds of the paper (section 3.1, appendix B)."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import StochasticDepth

from spinet.errors import unknown_name
from spinet.models.options import Activation, BackboneOptions, PadMode

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "swish": F.silu,
    "hard_swish": F.hardswish,
}

# Makes a convolution with batch norm from (in_channels, out_channels, kernel_size=, stride=, activation=, groups=).
ConvFactory = Callable[..., "ConvBN"]


def activation_function(name: str) -> Callable[[Tensor], Tensor]:
    """Return an activation by name; `swish` is PyTorch's SiLU."""
    if name not in ACTIVATIONS:
        raise unknown_name("activation", name, ACTIVATIONS)
    return ACTIVATIONS[name]


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
        if pad_mode not in get_args(PadMode):
            raise unknown_name("pad_mode", pad_mode, get_args(PadMode))
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
    """Convolution without bias, batch norm, and an activation unless `activation` is None."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 1,
        stride: int = 1,
        activation: str | None = None,
        groups: int = 1,
        *,
        pad_mode: PadMode = "symmetric",
        bn_eps: float = 1e-3,
        bn_momentum: float = 0.01,
    ) -> None:
        super().__init__()
        self.conv = Conv2d(in_channels, out_channels, kernel_size, stride, pad_mode=pad_mode, groups=groups)
        self.norm = nn.BatchNorm2d(out_channels, eps=bn_eps, momentum=bn_momentum)
        self.activation = activation_function(activation) if activation else None

    def forward(self, features: Tensor) -> Tensor:
        """Map `(N, C, H, W)` to `(N, out, ceil(H / stride), ceil(W / stride))`."""
        features = self.norm(self.conv(features))
        return self.activation(features) if self.activation else features


def conv_factory(options: BackboneOptions) -> ConvFactory:
    """Return a maker of `ConvBN` with the padding and batch norm of `options`."""
    return partial(ConvBN, pad_mode=options.pad_mode, bn_eps=options.bn_eps, bn_momentum=options.bn_momentum)


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
        shortcut: a projection where the channels change, else the identity.
        activation: after the sum.
        stochastic_depth: probability that a sample's branch is dropped in training.
        dropblock: drop probability of `DropBlock` after each convolution.
        drop_shortcut: whether `DropBlock` acts on an identity shortcut too, not only on a projection.
    """

    def __init__(
        self,
        convs: Sequence[ConvBN],
        shortcut: nn.Module,
        activation: Activation,
        stochastic_depth: float,
        dropblock: float,
        drop_shortcut: bool = False,
    ) -> None:
        super().__init__()
        self.convs = nn.ModuleList(convs)
        self.shortcut = shortcut
        self.activation = activation_function(activation)
        self.drop_path = StochasticDepth(stochastic_depth, mode="row")
        self.dropblock = DropBlock(dropblock) if dropblock > 0 else nn.Identity()
        self.drop_shortcut = drop_shortcut or not isinstance(shortcut, nn.Identity)

    def forward(self, features: Tensor) -> Tensor:
        """Map `(N, in, H, W)` to `(N, out, H, W)`."""
        branch = features
        for conv in self.convs:
            branch = self.dropblock(conv(branch))
        shortcut = self.shortcut(features)
        # tensorflow/tpu applies it to projections only in its first release (block_zoo.py), later to any shortcut
        # (nn_blocks.py).
        if self.drop_shortcut:
            shortcut = self.dropblock(shortcut)
        return self.activation(self.drop_path(branch) + shortcut)


def residual_block(
    in_channels: int,
    channels: int,
    conv: ConvFactory,
    activation: Activation,
    stochastic_depth: float = 0.0,
    dropblock: float = 0.0,
    stride: int = 1,
    drop_shortcut: bool = False,
) -> Block:
    """Two 3x3 convolutions of equal width."""
    convs = [
        conv(in_channels, channels, kernel_size=3, stride=stride, activation=activation),
        conv(channels, channels, kernel_size=3),
    ]
    shortcut = _shortcut(in_channels, channels, stride, conv)
    return Block(convs, shortcut, activation, stochastic_depth, dropblock, drop_shortcut)


def bottleneck_block(
    in_channels: int,
    channels: int,
    conv: ConvFactory,
    activation: Activation,
    stochastic_depth: float = 0.0,
    dropblock: float = 0.0,
    stride: int = 1,
    cardinality: int = 1,
    widening: int = 1,
    drop_shortcut: bool = False,
) -> Block:
    """1x1, 3x3 and 1x1 convolution; outputs four times the channels of its level.

    In ResNeXt the 3x3 convolution has `cardinality` groups and is `widening` times as wide as in a bottleneck (paper
    appendix B). Networks too narrow for that many groups have the most that divide the channels.
    """
    inner = channels * widening
    convs = [
        conv(in_channels, inner, activation=activation),
        conv(inner, inner, kernel_size=3, stride=stride, activation=activation, groups=math.gcd(cardinality, inner)),
        conv(inner, 4 * channels),
    ]
    shortcut = _shortcut(in_channels, 4 * channels, stride, conv)
    return Block(convs, shortcut, activation, stochastic_depth, dropblock, drop_shortcut)


def _shortcut(in_channels: int, out_channels: int, stride: int, conv: ConvFactory) -> nn.Module:
    if in_channels == out_channels and stride == 1:
        return nn.Identity()
    return conv(in_channels, out_channels, stride=stride)


def count_parameters(module: nn.Module) -> int:
    """Return the number of trainable parameters."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
