"""`spinet evaluate` and `spinet predict`: what a trained detector is worth and what it finds."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from spinet.commands.console import print_metrics, say, warn
from spinet.commands.exported import (
    Arithmetic,
    guess_lines,
    load_exported,
    measure_exported,
    picture_lines,
    predict_exported,
)
from spinet.errors import SpinetError

if TYPE_CHECKING:
    import torch


def evaluate_command(args: list[str]) -> None:
    """COCO metrics of a trained detector, top-1 and top-5 of a classifier."""

    def command(
        run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")],
        root: Annotated[str, tyro.conf.arg(name="data.root")] = "",
        split: Literal["train", "val"] = "val",
        batch_size: int = 8,
        workers: int = 0,
        device: str = "auto",
        image_size: int | None = None,
        flip: bool = False,
        scales: tuple[float, ...] = (1.0,),
        threads: int = 0,
        precision: Arithmetic = "auto",
        json: bool = False,
    ) -> None:
        """Print COCO's metrics of a detector, or top-1 and top-5 of a classifier.

        Args:
            run: Run folder, weights file, or file of `spinet export`.
            root: Data set folder; the one that the run was trained on if left out.
            split: Which images.
            batch_size: Images at once.
            workers: Processes that load images.
            device: `auto`, `cpu`, `cuda` ...
            image_size: Side of the square that photos are fitted into, pixels; the one of the training if left out.
            flip: Detectors: look at the mirror image of each photo too.
            scales: Detectors: look at each photo at these multiples of the image size, and merge what is found.
            threads: Exported files: how many compute; 0 leaves it to the runtime.
            precision: Exported OpenVINO files: the arithmetic; `auto` is what the file was exported for.
            json: Print one line of JSON instead of a table.
        """
        from spinet.engine.checkpoint import read_info
        from spinet.engine.distributed import pick_device

        if image_size is not None and image_size < 1:
            raise SpinetError(f"--image-size is {image_size}; allowed is any whole number of pixels from 1")
        exported = load_exported(run, threads, precision)
        if exported is not None:
            if flip or scales != (1.0,) or image_size not in (None, exported.info.image_size):
                raise SpinetError(
                    f"{run} was exported for photos of {exported.info.image_size} pixels as they are; "
                    "--flip, --scales and another --image-size are for run folders and weights files"
                )
            print_metrics(measure_exported(exported, run, root, split, batch_size, workers), json)
            return
        place = pick_device(device)
        if read_info(run).task == "classifier":
            if flip or scales != (1.0,):
                raise SpinetError(f"{run} holds a classifier; --flip and --scales are for detectors")
            metrics = _measure_classes(run, root, split, image_size, batch_size, workers, place)
        else:
            metrics = _measure_boxes(run, root, split, image_size, batch_size, workers, place, flip, scales)
        print_metrics(metrics, json)

    tyro.cli(command, args=args, prog="spinet evaluate")


def _measure_boxes(
    run: Path,
    root: str,
    split: str,
    image_size: int | None,
    batch_size: int,
    workers: int,
    device: "torch.device",
    flip: bool,
    scales: tuple[float, ...],
) -> dict[str, float]:
    from spinet.data.coco import CocoDataset
    from spinet.engine.checkpoint import load_model
    from spinet.engine.evaluate import check_classes
    from spinet.engine.tta import Views, evaluate_views

    views = Views(flip, scales)
    model, info = load_model(run, device)
    dataset = CocoDataset(Path(root or _trained_on(run)), split)
    check_classes(info, dataset, str(run))
    return evaluate_views(
        model,
        dataset,
        views=views,
        image_size=image_size or info.image_size,
        batch_size=batch_size,
        device=device,
        workers=workers,
        category_ids=info.category_ids,
    )


def _measure_classes(
    run: Path, root: str, split: str, image_size: int | None, batch_size: int, workers: int, device: "torch.device"
) -> dict[str, float]:
    from spinet.data.class_data import ClassDataset
    from spinet.engine.checkpoint import load_classifier
    from spinet.engine.classify import evaluate_classes, label_ids

    model, info = load_classifier(run, device)
    dataset = ClassDataset(Path(root or _trained_on(run)), split)
    return evaluate_classes(
        model,
        dataset,
        image_size=image_size or info.image_size,
        batch_size=batch_size,
        device=device,
        workers=workers,
        category_ids=label_ids(info, dataset, str(run)),
    )


def predict_command(args: list[str]) -> None:
    """Pictures with boxes, and JSON, of photos; guesses of a classifier."""

    def command(
        run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")],
        photos: Annotated[list[Path], tyro.conf.Positional, tyro.conf.arg(metavar="PHOTO")],
        out: Path = Path("predictions"),
        score: float = 0.3,
        top: int = 5,
        device: str = "auto",
        threads: int = 0,
        precision: Arithmetic = "auto",
    ) -> None:
        """Find objects in photos, or guess their classes; write pictures with what was found, and predictions.json.

        Args:
            run: Run folder, weights file, or file of `spinet export`.
            photos: Photos and folders of photos.
            out: Folder to write to.
            score: Detections below it are left out.
            top: Guesses of a classifier for each photo.
            device: `auto`, `cpu`, `cuda` ...
            threads: Exported files: how many compute; 0 leaves it to the runtime.
            precision: Exported OpenVINO files: the arithmetic; `auto` is what the file was exported for.
        """
        from spinet.engine.checkpoint import read_info
        from spinet.engine.distributed import pick_device

        if not photos:
            raise SpinetError("no photo given; name photos or folders of photos after the run")
        unreadable = 0
        exported = load_exported(run, threads, precision)
        if exported is not None:
            lines = predict_exported(exported, photos, out, score, top)
        elif read_info(run).task == "classifier":
            lines = _guesses(run, photos, out, top, pick_device(device))
        else:
            lines = _pictures(run, photos, out, score, pick_device(device))
        for readable, line in lines:
            (say if readable else warn)(line)
            unreadable += not readable
        say(f"{out / 'predictions.json'}")
        if unreadable:
            raise SpinetError(f"{unreadable} photos could not be read; the others were done")

    tyro.cli(command, args=args, prog="spinet predict")


def _pictures(
    run: Path, photos: list[Path], out: Path, score: float, device: "torch.device"
) -> Iterator[tuple[bool, str]]:
    """Detect, and yield whether a photo could be read, with a line about it."""
    from spinet.tools.predict import Predictor, predict_files

    yield from picture_lines(predict_files(Predictor.load(run, device), photos, out, score))


def _guesses(run: Path, photos: list[Path], out: Path, top: int, device: "torch.device") -> Iterator[tuple[bool, str]]:
    """As `_pictures`, for a classifier."""
    from spinet.tools.predict_classes import ClassPredictor, predict_class_files

    yield from guess_lines(predict_class_files(ClassPredictor.load(run, device), photos, out, top))


def _trained_on(run: Path) -> str:
    from spinet.engine.config import read_config

    folder = run if run.is_dir() else run.parent
    if not (folder / "config.json").is_file():
        raise SpinetError(f"{run} does not say which data it was trained on; pass --data.root DIR")
    return read_config(folder / "config.json").data.root
