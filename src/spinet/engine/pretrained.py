"""Starting a training from the weights of another one, as far as the networks agree."""

from pathlib import Path

from torch import Tensor

from spinet.engine.build import WITHOUT_MASKS, Model, ModelInfo
from spinet.engine.checkpoint import BACKBONE, CONVENTIONS, load_tensors, read_weights
from spinet.engine.class_names import class_starts, first_class
from spinet.engine.config import ModelConfig
from spinet.errors import SpinetError
from spinet.models.class_rows import ClassRows, take_rows

MASK_HEAD = "mask_head."


def load_pretrained(model: Model, info: ModelInfo, file: Path | None = None) -> list[str]:
    """Load the weights that `info.model.weights` names into `model`, as far as the heads match.

    Args:
        model: the network.
        info: its description.
        file: the file that `info.model.weights` stands for, if that is not a path.

    Returns:
        Sentences on what was loaded, and with `new_classes` on where the classes start.

    Raises:
        SpinetError: they are of another architecture, were trained with other conventions, or have other classes while
            `new_classes` is off.
    """
    path = info.model.weights
    tensors, source = read_weights(file or path)
    if source.architecture != info.architecture:
        raise SpinetError(
            f"{path} holds weights of another architecture ({source.architecture.name:.60}, not "
            f"{info.architecture.name:.60}); set model.arch to {source.model.arch:.60}"
            + (f" and model.scaling to {source.model.scaling:.60}" if source.model.scaling else "")
            + ", or fine-tune them, which takes the architecture from them"
        )
    _check_conventions(source.model, info.model, path)
    initial, said = model.state_dict(), list[str]()
    if same_head(source, info.model.head):
        _check_names(source, info)
        new = (MASK_HEAD,) if source.model.head != info.model.head else ()
        loaded = {name: value for name, value in tensors.items() if not name.startswith(new)}
        fresh = {name: value for name, value in initial.items() if name.startswith(new)}
        if info.model.new_classes:
            rows, said = _class_rows(model, loaded, initial, source, info)
            loaded |= rows
    else:
        loaded = {name: value for name, value in tensors.items() if name.startswith(BACKBONE)}
        fresh = {name: value for name, value in initial.items() if not name.startswith(BACKBONE)}
        if source.kind == "backbone":
            said = [f"{path} holds a backbone without a head: the head {info.model.head} is chosen by model.head"]
    load_tensors(model, loaded | fresh, path)
    parts = ", ".join(sorted({name.split(".")[0] for name in fresh}))
    return [f"weights: from {path}" + (f", except {parts}, which are newly initialized" if parts else ""), *said]


def same_head(source: ModelInfo, head: str) -> bool:
    """Whether the head of a weights file fits into one of this name, with or without masks."""
    theirs = source.model.head
    return source.kind != "backbone" and WITHOUT_MASKS.get(theirs, theirs) == WITHOUT_MASKS.get(head, head)


def _class_rows(
    model: Model, loaded: dict[str, Tensor], initial: dict[str, Tensor], source: ModelInfo, info: ModelInfo
) -> tuple[dict[str, Tensor], list[str]]:
    """Return the class predictors, with the rows of the source's classes where classes start from one."""
    starts, said = class_starts(source, info)
    averaged = range(first_class(source.model), len(source.class_names))
    rows = {
        name: take_rows(initial[name], loaded[name], made_up, starts, averaged)
        for prefix, made_up in model.class_predictors.items()
        for name in loaded
        if name.startswith(prefix) and _fits(loaded[name], initial.get(name), made_up, len(source.class_names))
    }
    return rows, said


def _fits(old: Tensor, new: Tensor | None, rows: ClassRows, classes: int) -> bool:
    """Whether two predictors differ in the number of classes alone; others are refused with all tensors."""
    if new is None or old.shape[1:] != new.shape[1:]:
        return False
    return len(old) == rows.groups * (rows.first + classes) * rows.values


def _check_names(source: ModelInfo, info: ModelInfo) -> None:
    if info.model.new_classes or source.class_names == info.class_names:
        return
    theirs, ours = (", ".join(names[:3]) for names in (source.class_names, info.class_names))
    raise SpinetError(
        f"{info.model.weights} has {len(source.class_names)} classes ({theirs} ...), but the dataset has "
        f"{len(info.class_names)} ({ours} ...); turn on model.new_classes to train a new class predictor"
    )


def _check_conventions(theirs: ModelConfig, ours: ModelConfig, path: str) -> None:
    wrong = [name for name in CONVENTIONS if getattr(theirs, name) != getattr(ours, name)]
    if wrong:
        settings = ", ".join(f"model.{name} = {getattr(theirs, name)}" for name in wrong)
        raise SpinetError(f"{path} was trained with different settings; set {settings}")
