"""`spinet evaluate` and `spinet predict`: what a trained detector is worth and what it finds."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from spinet.commands.console import print_metrics, say, warn
from spinet.commands.exported import load_exported, measure_exported
from spinet.errors import SpinetError

if TYPE_CHECKING:
    import torch

    from spinet.tools.predict import PhotoDetector
    from spinet.tools.predict_classes import PhotoClassifier


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
        precision: Literal["fp32", "bf16", "auto"] = "auto",
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
        if exported is None and precision != "auto":
            raise SpinetError(f"--precision is for exported files, and {run} is none")
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
        out: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("predictions"),
        score: float = 0.3,
        top: int = 5,
        device: str = "auto",
        batch_size: int = 1,
        precision: Literal["fp32", "bf16", "auto"] | None = None,
        threads: int = 0,
        coco_results: Path | None = None,
        frames: int | None = None,
    ) -> None:
        """Find objects in photos and videos, or guess the classes of photos; write pictures, videos and JSON.

        Args:
            run: Run folder, weights file, or file of `spinet export`.
            photos: Photos, folders of photos, videos, and cameras (camera:0).
            out: Folder to write to.
            score: Detections below it are left out.
            top: Guesses of a classifier for each photo.
            device: `auto`, `cpu`, `cuda` ...
            batch_size: Photos or frames at once.
            precision: Of a detector's network: fp32 if left out; `auto` measures which is fastest here. Of an exported
                OpenVINO file: what it was exported for if left out or `auto`.
            threads: Exported files: how many compute; 0 leaves it to the runtime.
            coco_results: File to write the detections of photos to in COCO's results format too.
            frames: Stop after so many frames of a video; a camera goes on until Ctrl-C otherwise.
        """
        from spinet.engine.checkpoint import read_info
        from spinet.engine.distributed import pick_device
        from spinet.tools.exported import ExportedClassifier
        from spinet.tools.predict import Predictor
        from spinet.tools.predict_classes import ClassPredictor

        if not photos:
            raise SpinetError("no photo given; name photos, folders of photos or videos after the run")
        exported = load_exported(run, threads, precision or "auto")
        if isinstance(exported, ExportedClassifier):
            lines = _guesses(exported, photos, out, top)
        elif exported is not None:
            lines = _pictures(exported, photos, out, score, batch_size, coco_results, frames)
        elif read_info(run).task == "classifier":
            lines = _guesses(ClassPredictor.load(run, pick_device(device)), photos, out, top)
        else:
            predictor = Predictor.load(run, pick_device(device), precision or "fp32")
            lines = _pictures(predictor, photos, out, score, batch_size, coco_results, frames)
        unreadable = 0
        for readable, line in lines:
            (say if readable else warn)(line)
            unreadable += not readable
        if unreadable:
            raise SpinetError(f"{unreadable} photos could not be read; the others were done")

    tyro.cli(command, args=args, prog="spinet predict")


def _pictures(
    predictor: "PhotoDetector",
    photos: list[Path],
    out: Path,
    score: float,
    batch_size: int,
    coco_results: Path | None,
    frames: int | None,
) -> Iterator[tuple[bool, str]]:
    """Detect, and yield whether a photo could be read, with a line about it."""
    from spinet.tools.predict import predict_files
    from spinet.tools.video import is_video, predict_video, video_outputs

    videos = [path for path in photos if is_video(path)]
    files = [path for path in photos if path not in videos]
    if files:
        found = predict_files(predictor, files, out, score, batch_size=batch_size, coco_results=coco_results)
        for prediction in found:
            if prediction.entry is None:
                yield False, prediction.error
            else:
                yield True, f"{prediction.picture}  {_counts(prediction.entry['detections'])}"
        yield True, str(out / "predictions.json")
    for video in videos:
        for frame in predict_video(predictor, video, out, score, batch_size=batch_size, frames=frames):
            yield True, f"{video}  frame {frame.number}  {_counts(frame.entry['detections'])}"
        yield True, "  ".join(map(str, video_outputs(video, out)))


def _guesses(predictor: "PhotoClassifier", photos: list[Path], out: Path, top: int) -> Iterator[tuple[bool, str]]:
    """As `_pictures`, for a classifier."""
    from spinet.tools.predict_classes import predict_class_files

    for prediction in predict_class_files(predictor, photos, out, top):
        yield prediction.entry is not None, str(prediction)
    yield True, str(out / "predictions.json")


def _trained_on(run: Path) -> str:
    from spinet.engine.config import read_config

    folder = run if run.is_dir() else run.parent
    if not (folder / "config.json").is_file():
        raise SpinetError(f"{run} does not say which data it was trained on; pass --data.root DIR")
    return read_config(folder / "config.json").data.root


def _counts(detections: list[dict[str, object]]) -> str:
    classes = [str(found["class"]) for found in detections]
    return ", ".join(f"{classes.count(name)} {name}" for name in sorted(set(classes))) or "nothing found"
