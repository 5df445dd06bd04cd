"""The public functions of `spinet`: train and evaluate in one call each."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

import torch

from spinet.data.dataset import ImageDataset
from spinet.data.unread import warn
from spinet.deploy.exported import ExportedModel
from spinet.engine.build import ModelInfo
from spinet.engine.config import TrainConfig, flatten, read_config
from spinet.engine.evaluate import EvalOptions
from spinet.engine.task import evaluate_folder
from spinet.engine.train import TrainResult
from spinet.engine.train import train as train_config
from spinet.engine.tta import Views
from spinet.errors import SpinetError, quoted
from spinet.fields import check_image_size
from spinet.formats.splits import Division
from spinet.fuse.formats import Precision
from spinet.hub.fetch import local_path
from spinet.predict.open import load
from spinet.predict.predictor import Predictor
from spinet.recipes import start_recipe
from spinet.report.training import report_of
from spinet.share.tracked import add_results
from spinet.track.trackers import Trackers


def train(
    config: str | Path | TrainConfig,
    run: str | Path | None,
    *,
    data: str | Path | Mapping[str, Any] | None = None,
    train_set: ImageDataset | None = None,
    val_set: ImageDataset | None = None,
    info: ModelInfo | None = None,
    quiet: bool = False,
    report: bool = True,
    log_to: Sequence[str] = (),
    **settings: Any,
) -> TrainResult:
    """Train a model, or resume its run: `spinet.train("small-cpu", "runs/mine", data="DIR", model__arch="tiny")`.

    `spinet.train("finetune-cpu", "runs/mine", data="DIR", model__weights="runs/other")` starts from trained weights, of
    which it takes the network and the image size.

    Args:
        config: a recipe's name, the path of a config.json, or a `TrainConfig`.
        run: the run folder, which is resumed if its settings are the same; None writes no files.
        data: the dataset folder, short for the setting `data.root`; or settings of the part `data`.
        train_set: an open dataset to train on, instead of the one in `data`; alone, its folder stands for `data`.
        val_set: an open dataset to evaluate on, instead of `data`.
        info: the architecture and classes of the model, instead of those of the config and the dataset.
        quiet: print nothing.
        report: write `report.html` into the run folder at the end; if that fails, the training is complete all the
            same.
        log_to: experiment trackers that get a copy of settings, metrics and results: "csv", "mlflow", "wandb".
        settings: settings to change, as `epochs=50`, `model__arch="tiny"`, `model={"arch": "tiny"}` or
            `**{"model.arch": "tiny"}`.

    Raises:
        SpinetError: a setting is unknown or not valid, or as for `engine.train.train`.
    """
    folder = None if run is None else Path(run)
    if not isinstance(config, TrainConfig):
        named = flatten({key.replace("__", "."): value for key, value in settings.items()})
        weights, head = (str(named.get(f"model.{name}", "")) for name in ("weights", "head"))
        config = start_recipe(config, weights, head, folder)
    if data is None and train_set is not None and not config.data.root:
        data = train_set.root
    if data is not None:
        settings = {**settings, "data": data if isinstance(data, Mapping) else {"root": str(data)}}
    config = change_settings(config, settings)
    with Trackers(log_to, folder, (lambda _: None) if quiet else print) as trackers:
        result = train_config(
            config,
            folder,
            train_set=train_set,
            val_set=val_set,
            info=info,
            quiet=quiet,
            trackers=trackers,
            find_weights=local_path,
        )
        if folder is not None:
            if report:
                report_of(folder, quiet)
            add_results(trackers, folder, trackers.say)
    return result


def evaluate(
    model: str | Path | Predictor,
    data: str | Path | None = None,
    split: Literal["train", "val", "all"] = "val",
    *,
    batch_size: int = 8,
    workers: int = 0,
    image_size: int | None = None,
    flip: bool = False,
    scales: tuple[float, ...] = (1.0,),
    device: str | torch.device = "auto",
    precision: Precision | None = None,
    threads: int = 0,
    fused: bool = False,
    trust: bool = False,
    say: Callable[[str], None] = warn,
) -> dict[str, float]:
    """Return COCO metrics of a detector, or top-1 and top-5 accuracy of a classifier.

    Args:
        model: a run folder, a weights file or its address, an exported file, or what `load` returned.
        data: the dataset folder; the one that the run was trained on if None.
        split: `"train"` or `"val"`, or `"all"` of a dataset that is not divided. Such a dataset is divided as for the
            training of a run, if that divided it (data.val_share).
        batch_size: images per batch.
        workers: processes that load images.
        image_size: side of the square that images are fitted into, in pixels; that of the training if None.
        flip: detectors: test-time augmentation with the mirror image of each image.
        scales: detectors: test-time augmentation at these multiples of the image size.
        device: for a path: as for `load`.
        precision: for a path: as for `load`; a run needs `fused` for it.
        threads: for a path: as for `load`.
        fused: for a run folder or weights file: evaluate the network as `load` runs it, with batch norms folded.
        trust: for a path: as for `load`.
        say: is told what is wrong with the data, which images the metrics leave out, and that a dataset other than the
            run's own was divided; a warning of Python's by default.

    Raises:
        SpinetError: the model or the data cannot be read, do not fit each other, or an option does not apply.
    """
    if isinstance(model, Predictor):
        if (str(device), precision, threads, fused, trust) != ("auto", None, 0, False, False):
            raise SpinetError("device, precision, threads, fused and trust are for paths; this model is loaded already")
        opened, where = model, "the model"
    else:
        where, model = str(model), local_path(model)
        opened = load(model, device=device, precision=precision, threads=threads, fused=fused, trust=trust)
    views = Views(flip, scales)
    if image_size is not None:
        if not isinstance(image_size, int):
            raise SpinetError(f"image_size must be an integer, the side of a square, not {quoted(image_size)}")
        check_image_size(image_size)
    if workers < 0:
        raise SpinetError(f"workers must be at least 0, not {workers}")
    if isinstance(opened.model, ExportedModel) and (
        views != Views() or fused or (image_size and (image_size, image_size) != opened.input_shape)
    ):
        raise SpinetError(
            f"{where} was exported for single images of {opened.input_size} pixels; flip, scales, fused and another "
            "image_size are for run folders and weights files"
        )
    if opened.is_classifier and views != Views():
        raise SpinetError(f"{where} holds a classifier; flip and scales are for detectors")
    root = _trained_on(model, where) if data is None else Path(data)
    division = _division(model, data is None)
    options = EvalOptions(image_size or opened.input_shape, batch_size, opened.device, workers, views=views, say=say)
    run = None if isinstance(model, Predictor) else _folder(model)
    return evaluate_folder(opened.model, opened.info, root, split, options, where, division, run).metrics


def change_settings(config: TrainConfig, settings: Mapping[str, Any]) -> TrainConfig:
    """Return a config with some settings changed.

    >>> change_settings(TrainConfig(), {"model__arch": "tiny", "data": {"image_size": 64}}).data.image_size
    64

    Raises:
        SpinetError: a setting is unknown or its value is not valid.
    """
    tree = asdict(config)
    known = list(flatten(tree))
    for name, value in flatten({key.replace("__", "."): value for key, value in settings.items()}).items():
        if name not in known:
            raise _unknown_setting(name, known)
        part, _, key = name.rpartition(".")
        (tree[part] if part else tree)[key] = value
    return TrainConfig.from_json(json.dumps(tree, default=_plain), "settings")


def _plain(value: Any) -> Any:
    """Return a value of NumPy as Python's, and anything else, such as a path, as text."""
    return value.item() if hasattr(value, "item") else str(value)


def _unknown_setting(name: str, known: list[str]) -> SpinetError:
    # A name without its part, such as `arch`, is closest to its own last word.
    same_key = [full for full in known if full.rpartition(".")[2] == name]
    near = same_key or get_close_matches(name, known, n=1) or get_close_matches(f"model.{name}", known, n=1)
    hint = f", did you mean {near[0]!r}?" if near else "; `spinet.TrainConfig` lists all settings"
    return SpinetError(f"unknown setting {quoted(name)}{hint}")


def _division(model: str | Path | Predictor, own: bool) -> Division | None:
    """Return how a run divided its own dataset, and how to divide another one if that has no val split."""
    try:
        config = _config(model)
    except SpinetError:
        if own:
            raise
        config = None  # some other program's config.json
    division = config.data.division if config else None
    return division and division._replace(required=own)


def _config(model: str | Path | Predictor) -> TrainConfig | None:
    if isinstance(model, Predictor):
        return None
    file = _folder(model) / "config.json"
    return read_config(file) if file.is_file() else None


def _folder(model: str | Path) -> Path:
    """Return the run folder of a path to it or to a file in it."""
    return Path(model) if Path(model).is_dir() else Path(model).parent


def _trained_on(model: str | Path | Predictor, where: str) -> Path:
    """Return the dataset folder that a run was trained on."""
    config = _config(model)
    if config and config.data.root:
        root = Path(config.data.root)
        if not root.exists():
            raise SpinetError(
                f"{where} was trained on {root}, which is not there any more; name the dataset folder as data "
                "(data.root)"
            )
        return root
    raise SpinetError(f"{where} does not contain the path of its dataset; name the dataset folder as data (data.root)")
