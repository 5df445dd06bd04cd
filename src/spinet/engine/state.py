"""Everything that training changes, and so everything in a checkpoint."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from spinet.engine.build import Model, ModelInfo
from spinet.engine.checkpoint import load_pretrained, save_state, save_weights
from spinet.engine.config import TrainConfig
from spinet.engine.key_names import rename_keys
from spinet.engine.optim import MovingAverage, create_optimizer
from spinet.engine.window import LossWindow
from spinet.errors import BuildError, NotFinite, SpinetError


class TrainState:
    """Everything that training changes: weights, optimizer, moving average, counters.

    Attributes:
        step: optimizer steps done.
        best: metrics of the best evaluation so far; `last`: those of the latest.
        window: losses since the last line of metrics.
        started: message about the pretrained weights that were loaded; empty without any.

    Raises:
        BuildError: the network cannot be built.
    """

    def __init__(self, info: ModelInfo, config: TrainConfig, device: torch.device, resumed: bool = False) -> None:
        self.info = info
        try:
            self.model: Model = info.create_model()
        except SpinetError as error:
            raise BuildError(str(error)) from None
        self.channels_last = config.channels_last
        # A resumed run has its own weights: the pretrained file may be gone.
        self.started = load_pretrained(self.model, info) if config.model.weights and not resumed else ""
        self._to_device(self.model, device)
        self.optimizer = create_optimizer(self.model, config.optim)
        decay = config.optim.ema_decay
        self.average = MovingAverage(self.model, decay) if decay > 0 else None
        self.step = 0
        self.best: dict[str, float] = {}
        self.last: dict[str, float] = {}
        self.window = LossWindow(self.model.loss_names, device)

    def to_dict(self) -> dict[str, Any]:
        """Return tensors and plain values for `load`."""
        return {
            "class_names": list(self.info.class_names),
            "category_ids": list(self.info.category_ids),
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average.state if self.average else None,
            "step": self.step,
            "best": self.best,
            "last": self.last,
            "window": self.window.values,
        }

    def load(self, state: dict[str, Any]) -> None:
        """Restore what `to_dict` returned.

        Raises:
            SpinetError: the dataset has different classes now.
        """
        classes = dict(zip(state["category_ids"], state["class_names"], strict=True))
        now = dict(zip(self.info.category_ids, self.info.class_names, strict=True))
        if classes != now:
            raise SpinetError(
                f"the run was trained on {len(classes)} classes {classes}, but the dataset has {len(now)} now, {now}; "
                "use another run folder, starting from these weights with model.weights and model.new_classes"
            )
        self.model.load_state_dict(rename_keys(state["model"]))
        self.optimizer.load_state_dict(state["optimizer"])
        if self.average:
            for name, value in rename_keys(state["average"]).items():
                self.average.state[name].copy_(value)
        self.step, self.best, self.last = state["step"], state["best"], state["last"]
        self.window.values.copy_(state["window"])

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

    def check_finite(self) -> None:
        """Raise before weights that are not finite are saved.

        Raises:
            NotFinite: a loss since the last line of metrics, or the weights, are not finite.
        """
        self.window.check()
        values = [value for value in self.model.state_dict().values() if value.is_floating_point()]
        if not torch.isfinite(torch.stack(torch._foreach_norm(values))).all():
            raise NotFinite(
                f"the weights are not finite after step {self.step}; earlier checkpoints are intact. "
                "In a new run folder, a lower optim.lr or optim.clip_norm 10 usually helps"
            )

    def save(self, run: Path) -> None:
        """Write `last.safetensors`, then `state.pt`, which makes the checkpoint valid."""
        save_weights(run / "last.safetensors", self.weights(), self.info, {"step": self.step, **self.last})
        save_state(run / "state.pt", self.to_dict(), self.info.architecture)
