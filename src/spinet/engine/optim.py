"""Learning-rate schedule, weight-decay groups and the moving average of the weights (paper section 5.1)."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from spinet.engine.config import OptimConfig
from spinet.models.towers import SeparableConv, Tower

# Layers whose weights are kernels.
KERNELS = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)


def learning_rate(step: int, config: OptimConfig, *, batch_size: int, steps: int, epoch_steps: float) -> float:
    """Learning rate of a step (0-based) of a run of `steps` steps with `epoch_steps` steps in an epoch.

    The base rate is scaled linearly with the batch size, warmed up linearly, and then divided by ten at given epochs
    before the end, or decayed to zero by half a cosine.
    """
    base = config.lr * batch_size / config.lr_batch
    # A warm-up longer than the run would never reach the base rate.
    warmup = min(config.warmup_epochs * epoch_steps, steps / 2)
    if step < warmup:
        return base * (config.warmup_start + (1 - config.warmup_start) * step / warmup)
    if config.schedule == "cosine":
        return base * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup)))
    dropped = sum(step >= steps - epochs * epoch_steps for epochs in config.drops)
    return base * float(0.1**dropped)


def create_optimizer(model: nn.Module, config: OptimConfig) -> torch.optim.SGD:
    """Return SGD with momentum, with weight decay on convolution and linear weights only.

    Biases and batch norms never decay. `config.decay` says which kernels do: `"tpu"` all of them (tensorflow/tpu, by
    the name `kernel` or `weight`), `"mg"` those that tensorflow/models gives a regulariser.
    """
    decayed: list[nn.Parameter] = []
    kept: list[nn.Parameter] = []
    exempt = _without_regulariser(model) if config.decay == "mg" else set()
    for module in model.modules():
        decays = isinstance(module, KERNELS) and module not in exempt
        for name, parameter in module.named_parameters(recurse=False):
            (decayed if decays and name == "weight" else kept).append(parameter)
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": kept, "weight_decay": 0.0}]
    # On a GPU the fused step is one kernel; on a CPU the default is as fast.
    fused = any(parameter.is_cuda for parameter in decayed)
    return torch.optim.SGD(groups, lr=0.0, momentum=config.momentum, fused=fused or None)


def _without_regulariser(model: nn.Module) -> set[nn.Module]:
    """Return the layers whose kernels tensorflow/models does not decay.

    These are the depthwise convolutions of the backbone, and the separable ones in RetinaNet's towers, both halves; the
    separable predictors do decay (dense_prediction_heads.py, `depthwise_regularizer`).
    """
    exempt: set[nn.Module] = set()
    predictors: set[nn.Module] = set()
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and module.groups == module.in_channels > 1:
            exempt.add(module)
        elif isinstance(module, Tower):
            separable = (conv for conv in module.convs if isinstance(conv, SeparableConv))
            exempt |= {half for conv in separable for half in conv.modules()}
            predictors |= set(module.predictor.modules())
    return exempt - predictors


class MovingAverage:
    """Exponential moving average of a model's floating-point state; integers are copied.

    The decay starts small, `(1 + t) / (10 + t)` after t updates, to forget the initial weights quickly.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.state = {name: value.detach().clone() for name, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module, updates: int) -> None:
        """Move towards the model's weights; `updates` is the number of earlier updates."""
        weight = 1 - min(self.decay, (1 + updates) / (10 + updates))
        current = model.state_dict()
        averaged = [name for name, value in self.state.items() if value.is_floating_point()]
        torch._foreach_lerp_([self.state[name] for name in averaged], [current[name] for name in averaged], weight)
        for name in self.state.keys() - set(averaged):
            self.state[name].copy_(current[name])


def clip_gradients(parameters: Iterable[Tensor], clip_norm: float) -> None:
    """Clip the gradient norm to `clip_norm`; 0 disables it."""
    if clip_norm > 0:
        nn.utils.clip_grad_norm_(parameters, clip_norm)
