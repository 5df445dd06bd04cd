"""Cross-scale connections: from a parent's resolution and width to its child's (paper section 3.2, appendix A)."""

import math
from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from spinet.models.blocks import ConvBN, pad_same
from spinet.models.options import BackboneOptions, PoolMode

# Modes that pool once by the remaining ratio, and modes with PyTorch's padding.
ONE_POOL = ("tpu", "mmdet")
SYMMETRIC = ("symmetric", "mmdet")

Size = tuple[int, int]


def level_size(image_size: Size, level: int) -> Size:
    """Height and width of the features of a level: halved `level` times, rounded up each time.

    >>> [level_size((224, 224), level)[0] for level in range(2, 8)]
    [56, 28, 14, 7, 4, 2]
    """
    return math.ceil(image_size[0] / 2**level), math.ceil(image_size[1] / 2**level)


def max_pool(features: Tensor, kernel_size: int, stride: int, mode: PoolMode) -> Tensor:
    """Max-pool `(N, C, H, W)` to ceil sizes, padded as PyTorch (`symmetric`, `mmdet`) or as TensorFlow's SAME."""
    if mode in SYMMETRIC:
        return F.max_pool2d(features, kernel_size, stride, padding=(kernel_size - 1) // 2)
    return F.max_pool2d(pad_same(features, kernel_size, stride, value=-math.inf), kernel_size, stride)


def pool_to(features: Tensor, size: Size, mode: PoolMode) -> Tensor:
    """Downsample `(N, C, H, W)`, already halved once, to `size` by max-pooling.

    `symmetric` and `mg` repeat a 3x3 pool of stride 2 (tensorflow/models spinenet.py). `tpu` pools once, by the
    remaining ratio, and resizes by nearest neighbour what does not divide (tensorflow/tpu spinenet.py,
    `resample_with_alpha`); `mmdet` does the same with symmetric padding (lucifer443/SpineNet-Pytorch spinenet.py).
    """
    if mode not in ONE_POOL:
        while features.shape[-2] > size[0] or features.shape[-1] > size[1]:
            features = max_pool(features, 3, 2, mode)
    return resize(features, size)


def tpu_pool(features: Tensor, before: int, target: int, mode: PoolMode = "tpu") -> Tensor:
    """Pool once as tensorflow/tpu does, given the widths before the stride-2 convolution and of the target."""
    if before // target <= 2:
        return features
    stride = before // target // 2 if before % target == 0 else 2
    return max_pool(features, 3 if before / target <= 4 else 5, stride, mode)


def resize(features: Tensor, size: Size) -> Tensor:
    """Resize `(N, C, H, W)` to `size` by nearest neighbour; a no-op at that size."""
    if features.shape[-2:] == size:
        return features
    return F.interpolate(features, size=size, mode="nearest")


def downsample(features: Tensor, conv: nn.Module, size: Size, mode: PoolMode) -> Tensor:
    """Downsample `(N, C, H, W)` to `size` by the stride-2 convolution `conv` and max-pools."""
    x = conv(features)
    if mode in ONE_POOL:
        x = tpu_pool(x, features.shape[-1], size[1], mode)
    return pool_to(x, size, mode)


class Resample(nn.Module):
    """1x1 convolution to fewer channels, change of resolution, 1x1 convolution to the target's channels.

    Down: a 3x3 convolution of stride 2, then max-pooling; up: nearest neighbour. The last convolution has no
    activation: that follows the sum of both parents. Connections within a level have both 1x1 convolutions too.
    """

    def __init__(self, in_channels: int, inner: int, out_channels: int, options: BackboneOptions, down: bool) -> None:
        super().__init__()
        self.pool_mode = options.pool_mode
        self.reduce = ConvBN(in_channels, inner, options, activation=True)
        self.down = ConvBN(inner, inner, options, kernel_size=3, stride=2, activation=True) if down else None
        self.expand = ConvBN(inner, out_channels, options)

    def forward(self, features: Tensor, size: Size) -> Tensor:
        """Map `(N, in, H, W)` to `(N, out, *size)`."""
        features = self.reduce(features)
        if self.down is not None:
            features = downsample(features, self.down, size, self.pool_mode)
        resampled: Tensor = self.expand(resize(features, size))
        return resampled


class SeparableResample(nn.Module):
    """3x3 depthwise convolutions of stride 2, one per level down, then a 1x1 convolution to the target's width.

    Up: nearest neighbour before the 1x1 convolution. The mobile models' connection (paper appendix A; tensorflow/tpu
    spinenet_mbconv.py, `resample_with_sepconv`).
    """

    def __init__(self, in_channels: int, out_channels: int, options: BackboneOptions, levels_down: int) -> None:
        super().__init__()
        conv = partial(ConvBN, in_channels, in_channels, options, 3, stride=2, groups=in_channels, activation=True)
        self.down = nn.Sequential(*(conv() for _ in range(levels_down)))
        self.expand = ConvBN(in_channels, out_channels, options)

    def forward(self, features: Tensor, size: Size) -> Tensor:
        """Map `(N, in, H, W)` to `(N, out, *size)`."""
        resampled: Tensor = self.expand(resize(self.down(features), size))
        return resampled
