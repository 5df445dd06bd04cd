"""Exchanging the parts of a network for others, from the outside in."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

M = TypeVar("M", bound=nn.Module)


class Entry(nn.Module):
    """Brings what enters convolutions to their type and memory format."""

    def __init__(self, dtype: torch.dtype, channels_last: bool) -> None:
        super().__init__()
        self.dtype = dtype
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format

    def forward(self, features: Tensor) -> Tensor:
        """Map `(N, C, H, W)` to the same values."""
        return features.to(dtype=self.dtype, memory_format=self.memory_format)


@dataclass(frozen=True)
class Rewriter:
    """Gives the faster form of a module, whose parts may be changed or used in it.

    Args:
        forms: by the class of the module; what has none keeps its class, and its parts are rewritten.
        dtype: in which convolutions will compute.
        channels_last: the memory format of their features.
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

    def entry(self) -> Entry:
        """Return what has to stand where features of any type and format come in."""
        return Entry(self.dtype, self.channels_last)


def exchange(module: M, **parts: nn.Module) -> M:
    """Set parts of a module, of whatever class they are, and return it."""
    for name, part in parts.items():
        setattr(module, name, part)
    return module
