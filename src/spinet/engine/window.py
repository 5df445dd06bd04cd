"""Losses added up on the device between two lines of metrics, without ever waiting for the device."""

import torch
import torch.distributed as dist
from torch import Tensor

from spinet.errors import NotFinite

NAMES = ("class", "box")


class LossWindow:
    """Sums of the losses since the last line of metrics, and the first step at which each was not finite.

    Attributes:
        values: sums of the class and box loss, their count, and the two steps (-1: never); on the device.
    """

    def __init__(self, device: torch.device) -> None:
        self.values = torch.tensor([0.0, 0.0, 0.0, -1.0, -1.0], device=device)

    def add(self, losses: dict[str, Tensor], step: int) -> None:
        """Count the losses of one forward pass of a (1-based) step."""
        losses_now = torch.stack([losses[name] for name in NAMES]).detach()
        self.values[:2] += losses_now
        self.values[2] += 1
        new = ~torch.isfinite(losses_now) & (self.values[3:] < 0)
        self.values[3:] = torch.where(new, float(step), self.values[3:])

    def check(self) -> None:
        """Wait for the device, and stop when a loss was not finite.

        Raises:
            NotFinite: names the step and the loss.
        """
        steps = self.values[3:].clone()
        if dist.is_initialized():
            # One process may meet a bad image; all have its gradient after the exchange, so all must stop.
            dist.all_reduce(steps, op=dist.ReduceOp.MAX)
        bad = [(int(step), name) for name, step in zip(NAMES, steps.tolist(), strict=True) if step >= 0]
        if bad:
            step, name = min(bad)
            raise NotFinite(
                f"the {name} loss was not finite at step {step}; checkpoints from before it are untouched. "
                "In a new --run folder a lower --optim.lr, a longer --optim.warmup-epochs or --optim.clip-norm 10 "
                "usually helps"
            )

    def take_means(self) -> dict[str, float]:
        """Return the mean losses and start a new window."""
        first, second, count = self.values[:3].tolist()
        self.values[:3] = 0
        return {"loss": (first + second) / count, "loss/class": first / count, "loss/box": second / count}
