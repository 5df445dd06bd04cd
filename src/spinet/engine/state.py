"""Everything that training changes, and so everything in a checkpoint."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from spinet.data.unread import Fault
from spinet.engine.build import Model, ModelInfo
from spinet.engine.checkpoint import save_weights
from spinet.engine.config import TrainConfig
from spinet.engine.freezing import freeze, train_mode
from spinet.engine.key_names import rename_keys
from spinet.engine.optim import MovingAverage, create_optimizer
from spinet.engine.pretrained import load_pretrained
from spinet.engine.resume import Origin
from spinet.engine.state_file import save_state
from spinet.errors import BuildError, NotFinite, SpinetError


class TrainState:
    """Everything that training changes: weights, optimizer, moving average, counters.

    Attributes:
        step: optimizer steps done.
        pending: what is still to be done after that step: its "line" of metrics and all that follows, its "evaluation",
            or "", nothing. A run that is stopped by a signal does not wait for them.
        best: metrics of the best evaluation so far; `last`: those of the latest.
        window: since the last line of metrics, on the device: the sum of each loss of `model.loss_names`, their count,
            and the first step at which each was not finite (-1: none).
        thresholds: scores of best F1 at the latest evaluation, see `ModelInfo`.
        origin: the data, threads and versions of the run.
        unread: training images that could not be read so far.
        started: sentences about the pretrained weights that were loaded; empty without any.
    """

    def __init__(
        self,
        info: ModelInfo,
        config: TrainConfig,
        device: torch.device,
        resumed: bool = False,
        pretrained: Path | None = None,
    ) -> None:
        self.info = info
        try:
            self.model: Model = info.create_model()
        except SpinetError as error:
            raise BuildError(str(error)) from None
        self.channels_last = config.channels_last
        # A resumed run has its own weights: the pretrained file may be gone.
        self.started = load_pretrained(self.model, info, pretrained) if config.model.weights and not resumed else []
        self._still = freeze(self.model, config.model)
        self._to_device(self.model, device)
        self.optimizer = create_optimizer(self.model, config.optim)
        decay = config.optim.ema_decay
        self.average = MovingAverage(self.model, decay) if decay > 0 else None
        self.origin = Origin()
        self.unread: list[Fault] = []
        self.step, self.pending = 0, ""
        self.best: dict[str, float] = {}
        self.last: dict[str, float] = {}
        self.thresholds: tuple[float, ...] = ()
        self.losses = len(self.model.loss_names)
        self.window = torch.tensor([0.0] * (self.losses + 1) + [-1.0] * self.losses, device=device)

    def to_dict(self) -> dict[str, Any]:
        """Return tensors and plain values for `load`."""
        return {
            "class_names": list(self.info.class_names),
            "category_ids": list(self.info.category_ids),
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average.state if self.average else None,
            "step": self.step,
            "pending": self.pending,
            "best": self.best,
            "last": self.last,
            "thresholds": list(self.thresholds),
            "window": self.window,
            "origin": self.origin.to_dict(),
            "unread": [list(fault) for fault in self.unread],
        }

    def load(self, state: dict[str, Any]) -> None:
        """Restore what `to_dict` returned."""
        classes = dict(zip(state["category_ids"], state["class_names"], strict=True))
        now = dict(zip(self.info.category_ids, self.info.class_names, strict=True))
        if classes != now:
            raise SpinetError(
                f"the run was trained on {len(classes)} classes, but the dataset has {len(now)} now "
                f"({_first_change(classes, now)}); use another run folder, starting from these weights with "
                "model.weights and model.new_classes"
            )
        self.model.load_state_dict(rename_keys(state["model"]))
        self.optimizer.load_state_dict(state["optimizer"])
        if self.average:
            for name, value in rename_keys(state["average"]).items():
                self.average.state[name].copy_(value)
        self.step, self.best, self.last = state["step"], state["best"], state["last"]
        self.pending, self.thresholds = state.get("pending", ""), tuple(state.get("thresholds", ()))
        self.unread = [Fault(*fault) for fault in state.get("unread", [])]
        self.window.copy_(state["window"])

    def train_mode(self) -> None:
        """Put the network into training mode, except what is frozen."""
        train_mode(self.model, self._still)

    def weights(self) -> dict[str, Tensor]:
        """Return the weights to evaluate and save: the moving average if enabled."""
        return self.average.state if self.average else self.model.state_dict()

    def evaluated(self, device: torch.device) -> Model:
        """Return the network to evaluate: a copy with the moving average if enabled, else the one in training."""
        if not self.average:
            return self.model
        model = self.info.create_model()
        model.load_state_dict(self.average.state)
        self._to_device(model, device)
        return model

    def _to_device(self, model: Model, device: torch.device) -> None:
        model.to(device)
        if self.channels_last:
            model.to(memory_format=torch.channels_last)

    def add_losses(self, losses: dict[str, Tensor]) -> None:
        """Add the losses of a forward pass of the step that is running, without synchronizing with the device."""
        values = torch.stack([losses[name] for name in self.model.loss_names]).detach()
        self.window[: self.losses] += values
        self.window[self.losses] += 1
        first_bad = self.window[self.losses + 1 :]
        new = ~torch.isfinite(values) & (first_bad < 0)
        first_bad.copy_(torch.where(new, float(self.step + 1), first_bad))

    def take_means(self) -> dict[str, float]:
        """Return the mean losses since the last line of metrics, and start anew."""
        *sums, count = self.window[: self.losses + 1].tolist()
        self.window[: self.losses + 1] = 0
        means = {f"loss/{name}": total / count for name, total in zip(self.model.loss_names, sums, strict=True)}
        return {"loss": sum(sums) / count, **means}

    def check_losses(self) -> None:
        """Synchronize with the device, and raise `NotFinite` if a loss since the last line of metrics was not."""
        steps = self.window[self.losses + 1 :].clone()
        if dist.is_initialized():
            # The loss of one process may be bad, but after the exchange of gradients all must stop.
            dist.all_reduce(steps, op=dist.ReduceOp.MAX)
        bad = [(int(step), name) for name, step in zip(self.model.loss_names, steps.tolist(), strict=True) if step >= 0]
        if bad:
            step, name = min(bad)
            raise NotFinite(
                f"the {name} loss was not finite at step {step}; earlier checkpoints are intact. "
                "In a new run folder, a lower optim.lr, longer optim.warmup_epochs or optim.clip_norm 10 usually helps"
            )

    def check_finite(self) -> None:
        """Raise `NotFinite` before weights that are not finite are saved."""
        self.check_losses()
        values = [value for value in self.model.state_dict().values() if value.is_floating_point()]
        if not torch.isfinite(torch.stack(torch._foreach_norm(values))).all():
            raise NotFinite(
                f"the weights are not finite after step {self.step}; earlier checkpoints are intact. "
                "In a new run folder, a lower optim.lr or optim.clip_norm 10 usually helps"
            )

    def save_weights(self, path: Path) -> None:
        """Write a weights file with the metrics and thresholds of the latest evaluation."""
        info = replace(self.info, thresholds=self.thresholds)
        save_weights(path, self.weights(), info, {"step": self.step, **self.last})

    def save(self, run: Path) -> None:
        """Write `last.safetensors`, then `state.pt`, which makes the checkpoint valid."""
        self.save_weights(run / "last.safetensors")
        save_state(run / "state.pt", self.to_dict(), self.info.architecture)


def _first_change(before: dict[int, str], now: dict[int, str]) -> str:
    key = next(key for key in sorted({*before, *now}) if before.get(key) != now.get(key))
    if key not in before:
        return f"{now[key]!r:.40} is new"
    return f"{before[key]!r:.40} is " + (f"{now[key]!r:.40} now" if key in now else "gone")
