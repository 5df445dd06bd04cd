"""A policy whose decisions know nothing of each other: one table of logits each (as google-research/tunas has it)."""

from collections.abc import Generator

import torch
from torch import Tensor, nn

from spinet.search.policy import PolicyNetwork
from spinet.search.space import Space


class FactoredNetwork(PolicyNetwork):
    """Logits of their own for each decision; only the masks of the ordering depend on what was chosen before."""

    def __init__(self, space: Space) -> None:
        super().__init__()
        self._options = [decision.options for decision in space.decisions]
        self.table = nn.Parameter(torch.zeros(len(self._options), max(self._options)))

    def logits(self, choices: Tensor) -> Tensor:
        """Return the table for each point, `(N, D, O)`."""
        return self.table.expand(len(choices), -1, -1)

    def walk(self) -> Generator[Tensor, int, None]:
        """Yield the rows of the table."""
        for row, options in zip(self.table, self._options, strict=True):
            yield row[:options]
