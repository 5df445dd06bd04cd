"""Learning-rate schedule, weight-decay groups and the moving average of the weights (paper section 5.1)."""

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise

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
    asked = config.warmup_fraction * steps if config.warmup_fraction else config.warmup_epochs * epoch_steps
    # A warm-up longer than the run would never reach the base rate.
    warmup = min(asked, steps / 2)
    if step < warmup:
        return base * (config.warmup_start + (1 - config.warmup_start) * step / warmup)
    if config.schedule == "cosine":
        return base * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup)))
    dropped = sum(step >= steps - epochs * epoch_steps for epochs in config.drops)
    return base * float(0.1**dropped)


def create_optimizer(model: nn.Module, config: OptimConfig) -> torch.optim.SGD:
    """Return SGD with momentum, with weight decay on convolution and linear weights only.

    Biases and batch norms never decay. `config.decay` says which kernels do: `"tpu"` all of them (tensorflow/tpu, by
    the name `kernel` or `weight`), `"mg"` those that tensorflow/models gives a regulariser. Frozen parameters are in no
    group. `rate` of a group is what its learning rate is multiplied by (`config.layer_decay`), the head's first.
    """
    exempt = _without_regulariser(model) if config.decay == "mg" else set()
    rates = learning_rates(model, config.layer_decay)
    by_rate: dict[float, tuple[list[nn.Parameter], list[nn.Parameter]]] = {
        rate: ([], []) for rate in sorted({1.0, *rates.values()}, reverse=True)
    }
    for module in model.modules():
        decays = isinstance(module, KERNELS) and module not in exempt
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.requires_grad:
                decayed, kept = by_rate[rates.get(parameter, 1.0)]
                (decayed if decays and name == "weight" else kept).append(parameter)
    groups = [
        {"params": parameters, "weight_decay": decay, "rate": rate}
        for rate, kinds in by_rate.items()
        for parameters, decay in zip(kinds, (config.weight_decay, 0.0), strict=True)
        if parameters or rate == 1.0
    ]
    # On a GPU the fused step is one kernel; on a CPU the default is as fast.
    fused = any(parameter.is_cuda for parameter in model.parameters())
    return torch.optim.SGD(groups, lr=0.0, momentum=config.momentum, fused=fused or None)


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of all groups; `rate` is that of the head."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("rate", 1.0)  # checkpoints of earlier versions have no `rate`


def describe_depth(optimizer: torch.optim.Optimizer) -> str:
    """Return what to add to a sentence about the learning rate; empty if it is the same at all depths."""
    lowest = min(group.get("rate", 1.0) for group in optimizer.param_groups)
    return f"; {lowest:.2g} of it in the lowest layers that train" if lowest < 1 else ""


def learning_rates(model: nn.Module, decay: float) -> dict[nn.Parameter, float]:
    """Return what the learning rate of each of the backbone's parameters is multiplied by; all others have 1.

    From the head down: the endpoints have `decay`, the last third of the blocks its square, the middle and the first
    third its third and fourth power, and the stem its fifth. It is by depth and not by block, so that one number suits
    networks of any length.
    """
    if decay == 1:
        return {}
    stem, blocks, endpoints = model.backbone.parts()  # type: ignore[operator, union-attr]
    rates: dict[nn.Parameter, float] = {}
    for power, modules in enumerate([endpoints, *_thirds(blocks)[::-1], stem], start=1):
        rates |= {parameter: decay**power for module in modules for parameter in module.parameters()}
    return rates


def _thirds(blocks: Sequence[nn.Module]) -> list[Sequence[nn.Module]]:
    """Divide blocks in building order; of a number that does not divide, the last third has most."""
    edges = [len(blocks) * third // 3 for third in range(4)]
    return [blocks[start:end] for start, end in pairwise(edges)]


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
