"""Replacing the modules of a network, from the outside in."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

M = TypeVar("M", bound=nn.Module)


class InputFormat(nn.Module):
    """Converts inputs to the type and memory format of the convolutions."""

    def __init__(self, dtype: torch.dtype, channels_last: bool) -> None:
        super().__init__()
        self.dtype = dtype
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format

    def forward(self, features: Tensor) -> Tensor:
        """Map `(N, C, H, W)` to the same values."""
        return features.to(dtype=self.dtype, memory_format=self.memory_format)


@dataclass(frozen=True)
class Rewriter:
    """Returns the faster form of a module, whose parts may be changed or reused in it.

    Args:
        forms: by the class of the module; a module without one keeps its class, and its children are rewritten.
        dtype: type in which convolutions will compute.
        channels_last: whether their features are in channels-last layout.
    """

    forms: Mapping[type[nn.Module], Callable[[Any, "Rewriter"], nn.Module]]
    dtype: torch.dtype
    channels_last: bool

    def __call__(self, module: nn.Module) -> nn.Module:
        """Return the faster form of `module`."""
        for kind in type(module).__mro__:
            if kind in self.forms:
                return self.forms[kind](module, self)
        return exchange(module, **{name: self(child) for name, child in module.named_children()})

    def input_format(self) -> InputFormat:
        """Return the module to put before convolutions whose inputs may have any type and format."""
        return InputFormat(self.dtype, self.channels_last)


def exchange(module: M, **parts: nn.Module) -> M:
    """Set submodules, whatever their class, and return the module."""
    for name, part in parts.items():
        setattr(module, name, part)
    return module
