"""Convolutions that all levels share, with batch norms of each level's own: RetinaNet's towers and the RPN's."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from spinet.models.blocks import ACTIVATIONS, Conv2d, batch_norm
from spinet.models.options import BackboneOptions


class SeparableConv(nn.Module):
    """3x3 depthwise convolution and a 1x1 convolution with bias, nothing between them."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.depthwise = Conv2d(in_channels, in_channels, kernel_size=3, groups=in_channels)
        self.pointwise = Conv2d(in_channels, out_channels, bias=True)

    def forward(self, features: Tensor) -> Tensor:
        """Map `(N, in, H, W)` to `(N, out, H, W)`."""
        output: Tensor = self.pointwise(self.depthwise(features))
        return output


class SharedConvs(nn.Module):
    """3x3 convolutions, `depth` of them, shared by all levels; a batch norm of each level's own and the activation."""

    def __init__(
        self,
        in_channels: int,
        channels: int,
        depth: int,
        levels: Sequence[int],
        options: BackboneOptions,
        separable: bool = False,
    ) -> None:
        super().__init__()
        widths = [in_channels] + [channels] * depth
        self.out_channels = widths[-1]
        conv = SeparableConv if separable else partial(Conv2d, kernel_size=3, bias=True)
        self.convs = nn.ModuleList(conv(width, channels) for width in widths[:-1])
        self.norms = nn.ModuleDict(
            {str(level): nn.ModuleList(batch_norm(channels, options) for _ in range(depth)) for level in levels}
        )
        self.activation = ACTIVATIONS[options.activation]

    def level_features(self, features: dict[int, Tensor]) -> dict[int, Tensor]:
        """Map `{level: (N, in, H, W)}` to `{level: (N, out_channels, H, W)}`."""
        outputs = {}
        for level, x in features.items():
            norms = self.norms[str(level)]
            assert isinstance(norms, nn.ModuleList)
            for conv, norm in zip(self.convs, norms, strict=True):
                x = self.activation(norm(conv(x)))
            outputs[level] = x
        return outputs


class Tower(SharedConvs):
    """Shared convolutions and a predictor of some values per anchor.

    Initialized as in tensorflow/tpu heads.py, separable ones too (predictor N(0, 0.03)).
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        depth: int,
        out_channels: int,
        levels: Sequence[int],
        options: BackboneOptions,
        separable: bool = False,
    ) -> None:
        super().__init__(in_channels, channels, depth, levels, options, separable)
        if separable:
            self.predictor: nn.Module = SeparableConv(self.out_channels, out_channels)
        else:
            self.predictor = Conv2d(self.out_channels, out_channels, kernel_size=3, bias=True)
        init_kernels(self.convs, std=0.01)
        init_kernels(self.predictor, std=0.03 if separable else 1e-5)

    @property
    def bias(self) -> nn.Parameter:
        """Bias of the predictor."""
        last = self.predictor.pointwise if isinstance(self.predictor, SeparableConv) else self.predictor
        return last.get_parameter("bias")

    def forward(self, features: dict[int, Tensor], values: int) -> Tensor:
        """Map `{level: (N, in, H, W)}` to `(N, A, values)`: levels, rows, columns, then the anchors of a location."""
        outputs = [self.predictor(x).permute(0, 2, 3, 1) for x in self.level_features(features).values()]
        return torch.cat([x.reshape(len(x), -1, values) for x in outputs], dim=1)


def init_kernels(module: nn.Module, std: float) -> None:
    """Draw all weights of convolutions in `module` from a normal distribution."""
    for name, weight in module.named_parameters():
        if name.endswith("weight"):
            nn.init.normal_(weight, std=std)
