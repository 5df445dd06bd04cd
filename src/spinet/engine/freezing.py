"""Parts of a network that a training leaves as they are."""

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from spinet.engine.build import Model
from spinet.engine.config import ModelConfig
from spinet.models.blocks import count_parameters


def freeze(model: Model, settings: ModelConfig) -> tuple[str, ...]:
    """Exclude from training what `settings.freeze` and `settings.freeze_norm` say.

    Parameters that do not train get no gradient, and so no weight decay either; what the moving average of equal
    values is needs no rule.

    Returns:
        Names of the modules that are to stay in evaluation mode: frozen parts, where nothing is dropped at random and
        no statistics are measured, and frozen batch norms. Names, because several processes exchange batch norms for
        synchronized ones.
    """
    parts = model.backbone.parts()
    frozen: dict[str, list[nn.Module]] = {"none": [], "stem": parts.stem, "backbone": [model.backbone]}
    still = {module for part in frozen[settings.freeze] for module in part.modules()}
    for module in still:
        for parameter in module.parameters(recurse=False):
            parameter.requires_grad_(False)
    if settings.freeze_norm != "none":
        for module in model.backbone.modules():
            if isinstance(module, _BatchNorm):
                still.add(module)
                for parameter in module.parameters(recurse=False):
                    parameter.requires_grad_(settings.freeze_norm == "statistics" and parameter.requires_grad)
    return tuple(name for name, module in model.named_modules() if module in still)


def train_mode(model: nn.Module, still: tuple[str, ...]) -> None:
    """Put a network into training mode, except the modules of these names."""
    model.train()
    for name in still:
        model.get_submodule(name).training = False


def count_trained(model: nn.Module) -> str:
    """Return the number of parameters, and how many of them train, as text."""
    total, trained = sum(parameter.numel() for parameter in model.parameters()), count_parameters(model)
    return f"{total:,} parameters" + (f", {trained:,} of them trained" if trained < total else "")
