"""Folding batch norms into the layer before them: in evaluation mode the two are one linear map."""

import copy
from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights, fuse_linear_bn_weights

M = TypeVar("M", bound=nn.Module)

# Activations and their in-place versions.
_IN_PLACE: dict[Callable[..., Tensor], Callable[[Tensor], Tensor]] = {
    F.relu: partial(F.relu, inplace=True),
    F.silu: partial(F.silu, inplace=True),
    F.hardswish: partial(F.hardswish, inplace=True),
}


def in_place(activation: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Return the in-place version of an activation, if it has one."""
    return _IN_PLACE.get(activation, activation)


class FoldedConv(nn.Module):
    """A convolution with bias and an optional in-place activation."""

    def __init__(self, conv: nn.Module, activation: Callable[[Tensor], Tensor] | None) -> None:
        super().__init__()
        self.conv = conv
        self.activation = in_place(activation) if activation else None

    def forward(self, features: Tensor) -> Tensor:
        """Map `(N, in, H, W)` to `(N, out, H', W')`."""
        features = self.conv(features)
        return self.activation(features) if self.activation else features


def fold_conv(conv: M, norm: nn.Module) -> M:
    """Return a convolution equal to `conv`, of any kind, groups and strides, followed by the batch norm.

    Computed in float64, so that only the result is rounded.
    """
    transposed = isinstance(conv, nn.ConvTranspose2d)
    mean, variance, eps, scale, shift = _statistics(norm)
    folded = fuse_conv_bn_weights(*_weights(conv), mean, variance, eps, scale, shift, transpose=transposed)
    return with_weights(conv, *folded)


def fold_linear(linear: M, norm: nn.Module) -> M:
    """Return a dense layer equal to `linear` followed by the batch norm."""
    mean, variance, eps, scale, shift = _statistics(norm)
    return with_weights(linear, *fuse_linear_bn_weights(*_weights(linear), mean, variance, eps, scale, shift))


def with_weights(layer: M, weight: Tensor, bias: Tensor) -> M:
    """Return a copy of `layer` with other weights and bias, and the numbers of channels that follow from them."""
    made = copy.deepcopy(layer)
    dtype = layer.get_parameter("weight").dtype
    made.weight = nn.Parameter(weight.to(dtype), requires_grad=False)
    made.bias = nn.Parameter(bias.to(dtype), requires_grad=False)
    if isinstance(made, nn.Conv2d):
        made.out_channels, made.in_channels = weight.shape[0], weight.shape[1] * made.groups
    return made


def _weights(layer: nn.Module) -> tuple[Tensor, Tensor | None]:
    weight = layer.get_parameter("weight").detach().double()
    return weight, layer.bias.detach().double() if isinstance(layer.bias, Tensor) else None


def _statistics(norm: nn.Module) -> tuple[Tensor, Tensor, float, Tensor, Tensor]:
    assert isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d)
    mean, variance = norm.get_buffer("running_mean").double(), norm.get_buffer("running_var").double()
    if not norm.affine:
        return mean, variance, norm.eps, torch.ones_like(mean), torch.zeros_like(mean)
    return mean, variance, norm.eps, norm.weight.detach().double(), norm.bias.detach().double()


class _NormTracer(fx.Tracer):
    """Treats batch norms of any library as leaves."""

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        return isinstance(module, nn.BatchNorm2d) or super().is_leaf_module(module, name)


def fold_traced(module: nn.Module) -> nn.Module:
    """Fold the batch norms of another library's network, found by tracing it; return a new module.

    A norm is folded if it is the only user of a convolution. A network that cannot be traced is returned unchanged.
    """
    try:
        graph = _NormTracer().trace(module)
    except Exception:  # tracing code that depends on values may raise anything
        return module
    modules = dict(module.named_modules())
    for node in graph.nodes:
        pair = _foldable(node, modules)
        if pair is None:
            continue
        conv, norm = pair
        before = node.args[0]
        _replace(modules, before.target, fold_conv(conv, norm))
        # timm's batch norms may contain an activation, which stays.
        rest = [getattr(norm, name) for name in ("drop", "act") if isinstance(getattr(norm, name, None), nn.Module)]
        _replace(modules, node.target, nn.Sequential(*rest) if rest else nn.Identity())
    return fx.GraphModule(module, graph)


def _foldable(node: fx.Node, modules: Mapping[str, nn.Module]) -> tuple[nn.Conv2d, nn.BatchNorm2d] | None:
    """Return the convolution and the batch norm if both are called once and `node` is the only user of the former."""
    if node.op != "call_module" or not isinstance(modules.get(str(node.target)), nn.BatchNorm2d):
        return None
    before = node.args[0]
    if not isinstance(before, fx.Node) or before.op != "call_module" or len(before.users) != 1:
        return None
    conv, norm = modules[str(before.target)], modules[str(node.target)]
    calls = [str(other.target) for other in node.graph.nodes if other.op == "call_module"]
    if type(conv) is not nn.Conv2d or conv.padding_mode != "zeros" or isinstance(conv.padding, str):
        return None
    if calls.count(str(node.target)) > 1 or calls.count(str(before.target)) > 1 or norm.running_mean is None:
        return None
    assert isinstance(norm, nn.BatchNorm2d)
    return conv, norm


def _replace(modules: dict[str, nn.Module], name: str, new: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(modules[parent], child, new)
    modules[name] = new
