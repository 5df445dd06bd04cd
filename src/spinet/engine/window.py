"""Losses added up on the device between two lines of metrics, without ever waiting for the device."""

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor

from spinet.errors import NotFinite


class LossWindow:
    """Sums of the losses since the last line of metrics, and the first step at which each was not finite.

    Args:
        names: of the losses that a forward pass gives.
        device: where they are.

    Attributes:
        values: the sum of each loss, their count, and the first bad step of each (-1: never); on the device.
    """

    def __init__(self, names: Sequence[str], device: torch.device) -> None:
        self.names = tuple(names)
        losses = len(self.names)
        self.values = torch.tensor([0.0] * (losses + 1) + [-1.0] * losses, device=device)

    def add(self, losses: dict[str, Tensor], step: int) -> None:
        """Count the losses of one forward pass of a (1-based) step."""
        losses_now = torch.stack([losses[name] for name in self.names]).detach()
        count = len(self.names)
        self.values[:count] += losses_now
        self.values[count] += 1
        first_bad = self.values[count + 1 :]
        new = ~torch.isfinite(losses_now) & (first_bad < 0)
        self.values[count + 1 :] = torch.where(new, float(step), first_bad)

    def check(self) -> None:
        """Wait for the device, and stop when a loss was not finite.

        Raises:
            NotFinite: names the step and the loss.
        """
        steps = self.values[len(self.names) + 1 :].clone()
        if dist.is_initialized():
            # One process may meet a bad image; all have its gradient after the exchange, so all must stop.
            dist.all_reduce(steps, op=dist.ReduceOp.MAX)
        bad = [(int(step), name) for name, step in zip(self.names, steps.tolist(), strict=True) if step >= 0]
        if bad:
            step, name = min(bad)
            raise NotFinite(
                f"the {name} loss was not finite at step {step}; checkpoints from before it are untouched. "
                "In a new --run folder a lower --optim.lr, a longer --optim.warmup-epochs or --optim.clip-norm 10 "
                "usually helps"
            )

    def take_means(self) -> dict[str, float]:
        """Return the mean losses and start a new window."""
        *sums, count = self.values[: len(self.names) + 1].tolist()
        self.values[: len(self.names) + 1] = 0
        means = {f"loss/{name}": total / count for name, total in zip(self.names, sums, strict=True)}
        return {"loss": sum(sums) / count, **means}
