"""`spinet evaluate`: metrics of a trained model."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from spinet.commands.console import print_metrics
from spinet.commands.exported import load_exported
from spinet.errors import SpinetError

if TYPE_CHECKING:
    import torch

    from spinet.engine.build import ModelInfo
    from spinet.fuse.formats import Precision


def evaluate_command(args: list[str]) -> None:
    """Evaluate a trained model: COCO metrics of a detector, top-1 and top-5 of a classifier."""

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
        """Print COCO metrics of a detector, or top-1 and top-5 accuracy of a classifier.

        Args:
            run: Run folder, weights file, or file written by `spinet export`.
            root: Dataset folder; by default the one the run was trained on.
            split: Split to evaluate.
            batch_size: Images per batch.
            workers: Processes that load images.
            device: `auto`, `cpu`, `cuda` ...
            image_size: Side of the square that images are fitted into, in pixels; by default that of the training.
            flip: Detectors: test-time augmentation with the mirror image of each image.
            scales: Detectors: test-time augmentation at these multiples of the image size.
            threads: Exported files: number of threads; 0 lets the runtime choose.
            precision: Exported OpenVINO files: arithmetic; `auto`, the default, is what the file was exported for.
                Runs with --fused: fp32 by default; `auto` measures which is fastest here.
            fused: Evaluate the network of a run as `spinet predict` runs it, with batch norms folded.
            json: Print one line of JSON instead of a table.
        """
        from spinet.engine.evaluate import EvalOptions
        from spinet.engine.task import evaluate_folder
        from spinet.engine.tta import Views

        if image_size is not None and image_size < 1:
            raise SpinetError(f"--image-size is {image_size}; must be at least 1 pixel")
        exported = load_exported(run, threads, precision, device)
        if exported is None and precision and not fused:
            raise SpinetError(f"--precision is for exported files, which {run} is not, or for runs with --fused")
        options = EvalOptions(image_size or 1, batch_size, workers=workers, views=Views(flip, scales))
        if exported is not None:
            if flip or scales != (1.0,) or fused or (image_size and (image_size, image_size) != exported.shape):
                raise SpinetError(
                    f"{run} was exported for single images of {exported.size} pixels; "
                    "--flip, --scales, --fused and another --image-size are for run folders and weights files"
                )
            model, info = exported, exported.info
            options = replace(options, image_size=exported.shape)
            if not root:
                raise SpinetError(f"{run} does not contain the path of its dataset; pass --data.root DIR")
        else:
            model, info, place = _load(run, device, (precision or "fp32") if fused else None, image_size)
            if info.kind == "classifier" and options.views != Views():
                raise SpinetError(f"{run} holds a classifier; --flip and --scales are for detectors")
            options = replace(options, image_size=image_size or info.image_size, device=place)
        print_metrics(evaluate_folder(model, info, Path(root or _trained_on(run)), split, options, str(run)), json)

    tyro.cli(command, args=args, prog="spinet evaluate")


def _load(
    run: Path, device_name: str, fused: "Precision | None", image_size: int | None
) -> tuple[Any, "ModelInfo", "torch.device"]:
    from spinet.engine.checkpoint import load_model
    from spinet.engine.distributed import pick_device
    from spinet.fuse.formats import fuse_in

    device = pick_device(device_name)
    model: Any
    model, info = load_model(run, device)
    if fused:
        model = fuse_in(fused, model, image_size or info.image_size, device)
    return model, info, device


def _trained_on(run: Path) -> str:
    from spinet.engine.config import read_config

    folder = run if run.is_dir() else run.parent
    if not (folder / "config.json").is_file():
        raise SpinetError(f"{run} does not contain the path of its dataset; pass --data.root DIR")
    return read_config(folder / "config.json").data.root
