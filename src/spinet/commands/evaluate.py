"""`spinet evaluate`: what a trained network is worth."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from spinet.commands.console import print_metrics
from spinet.commands.exported import load_exported, measure_exported
from spinet.errors import SpinetError

if TYPE_CHECKING:
    import torch

    from spinet.fuse.formats import Precision


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
        precision: Literal["fp32", "bf16", "auto"] | None = None,
        fused: bool = False,
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
            precision: Of exported OpenVINO files: the arithmetic; `auto`, what the file was exported for, if left out.
                Of a run with --fused: fp32 if left out; `auto` measures which is fastest here.
            fused: Measure the network of a run as `spinet predict` runs it, with its batch norms folded.
            json: Print one line of JSON instead of a table.
        """
        from spinet.engine.checkpoint import read_info
        from spinet.engine.distributed import pick_device

        if image_size is not None and image_size < 1:
            raise SpinetError(f"--image-size is {image_size}; allowed is any whole number of pixels from 1")
        exported = load_exported(run, threads, precision, device)
        if exported is None and precision and not fused:
            raise SpinetError(f"--precision is for exported files, and {run} is none; with --fused it is for runs too")
        if exported is not None:
            if flip or scales != (1.0,) or fused or (image_size and (image_size, image_size) != exported.shape):
                raise SpinetError(
                    f"{run} was exported for photos of {exported.size} pixels as they are; "
                    "--flip, --scales, --fused and another --image-size are for run folders and weights files"
                )
            print_metrics(measure_exported(exported, run, root, split, batch_size, workers), json)
            return
        place, form = pick_device(device), (precision or "fp32") if fused else None
        if read_info(run).task == "classifier":
            if flip or scales != (1.0,):
                raise SpinetError(f"{run} holds a classifier; --flip and --scales are for detectors")
            metrics = _measure_classes(run, root, split, image_size, batch_size, workers, place, form)
        else:
            metrics = _measure_boxes(run, root, split, image_size, batch_size, workers, place, form, flip, scales)
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
    fused: "Precision | None",
    flip: bool,
    scales: tuple[float, ...],
) -> dict[str, float]:
    from spinet.data.coco import CocoDataset
    from spinet.engine.checkpoint import load_model
    from spinet.engine.evaluate import check_classes
    from spinet.engine.tta import Views, evaluate_views
    from spinet.fuse.formats import fuse_in

    views = Views(flip, scales)
    model, info = load_model(run, device)
    if fused:
        model = fuse_in(fused, model, image_size or info.image_size, device)
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
    run: Path,
    root: str,
    split: str,
    image_size: int | None,
    batch_size: int,
    workers: int,
    device: "torch.device",
    fused: "Precision | None",
) -> dict[str, float]:
    from spinet.data.class_data import ClassDataset
    from spinet.engine.checkpoint import load_classifier
    from spinet.engine.classify import evaluate_classes, label_ids
    from spinet.fuse.formats import fuse_in

    model, info = load_classifier(run, device)
    if fused:
        model = fuse_in(fused, model, image_size or info.image_size, device)
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


def _trained_on(run: Path) -> str:
    from spinet.engine.config import read_config

    folder = run if run.is_dir() else run.parent
    if not (folder / "config.json").is_file():
        raise SpinetError(f"{run} does not say which data it was trained on; pass --data.root DIR")
    return read_config(folder / "config.json").data.root
