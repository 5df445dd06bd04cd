"""`spinet evaluate`: metrics of a trained model."""

from typing import Annotated, Literal

import tyro

from spinet.commands.console import print_metrics, say_threads, warn


def evaluate_command(args: list[str]) -> None:
    """Evaluate a trained model: COCO metrics of a detector, top-1 and top-5 of a classifier."""

    def command(
        run: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")],
        root: Annotated[str, tyro.conf.arg(name="data.root")] = "",
        split: Literal["train", "val", "all"] = "val",
        batch_size: int = 8,
        workers: int = 0,
        device: str = "auto",
        image_size: int | None = None,
        flip: bool = False,
        scales: tuple[float, ...] = (1.0,),
        threads: int = 0,
        precision: Literal["fp32", "bf16", "auto"] | None = None,
        fused: bool = False,
        trust: bool = False,
        json: bool = False,
    ) -> None:
        """Print COCO metrics of a detector, or top-1 and top-5 accuracy of a classifier.

        Args:
            run: Run folder, weights file or its address (published/NAME, https://, hf://), or exported file.
            root: Dataset folder; by default the one the run was trained on.
            split: Split to evaluate; `all` is a dataset that is not divided.
            batch_size: Images per batch.
            workers: Processes that load images.
            device: `auto`, `cpu`, `cuda` ...
            image_size: Side of the square that images are fitted into, in pixels; by default that of the training.
            flip: Detectors: test-time augmentation with the mirror image of each image.
            scales: Detectors: test-time augmentation at these multiples of the image size.
            threads: CPU threads; 0 leaves the number to PyTorch or the file's runtime, within the cores it may use.
            precision: Exported OpenVINO files: arithmetic; `auto`, the default, is what the file was exported for.
                Runs with --fused: fp32 by default; `auto` measures which is fastest here.
            fused: Evaluate the network of a run as `spinet predict` runs it, with batch norms folded.
            trust: Open a .pt2 file that was not exported on this machine by this user, which runs code inside it.
            json: Print one line of JSON instead of a table.
        """
        from spinet.api import evaluate
        from spinet.hub.fetch import local_path

        if not json:
            say_threads(local_path(run), threads, workers)
        metrics = evaluate(
            run,
            root or None,
            split,
            batch_size=batch_size,
            workers=workers,
            device=device,
            image_size=image_size,
            flip=flip,
            scales=scales,
            threads=threads,
            precision=precision,
            fused=fused,
            trust=trust,
            say=warn,
        )
        print_metrics(metrics, json)

    tyro.cli(command, args=args, prog="spinet evaluate")
