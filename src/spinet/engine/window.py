"""Losses summed on the device between two lines of metrics, without synchronizing with it."""

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor

from spinet.errors import NotFinite


class LossWindow:
    """Sums of the losses since the last line of metrics, and the first step at which each was not finite.

    Args:
        names: of the losses of a forward pass.
        device: where they are.

    Attributes:
        values: the sum of each loss, their count, and the first non-finite step of each (-1: none), on the device.
    """

    def __init__(self, names: Sequence[str], device: torch.device) -> None:
        self.names = tuple(names)
        losses = len(self.names)
        self.values = torch.tensor([0.0] * (losses + 1) + [-1.0] * losses, device=device)

    def add(self, losses: dict[str, Tensor], step: int) -> None:
        """Add the losses of one forward pass of a (1-based) step."""
        losses_now = torch.stack([losses[name] for name in self.names]).detach()
        count = len(self.names)
        self.values[:count] += losses_now
        self.values[count] += 1
        first_bad = self.values[count + 1 :]
        new = ~torch.isfinite(losses_now) & (first_bad < 0)
        self.values[count + 1 :] = torch.where(new, float(step), first_bad)

    def check(self) -> None:
        """Synchronize with the device, and raise if a loss was not finite.

        Raises:
            NotFinite: names the step and the loss.
        """
        steps = self.values[len(self.names) + 1 :].clone()
        if dist.is_initialized():
            # The loss of one process may be bad, but after the exchange of gradients all must stop.
            dist.all_reduce(steps, op=dist.ReduceOp.MAX)
        bad = [(int(step), name) for name, step in zip(self.names, steps.tolist(), strict=True) if step >= 0]
        if bad:
            step, name = min(bad)
            raise NotFinite(
                f"the {name} loss was not finite at step {step}; earlier checkpoints are intact. "
                "In a new run folder, a lower optim.lr, longer optim.warmup_epochs or optim.clip_norm 10 usually helps"
            )

    def take_means(self) -> dict[str, float]:
        """Return the mean losses and start a new window."""
        *sums, count = self.values[: len(self.names) + 1].tolist()
        self.values[: len(self.names) + 1] = 0
        means = {f"loss/{name}": total / count for name, total in zip(self.names, sums, strict=True)}
        return {"loss": sum(sums) / count, **means}
