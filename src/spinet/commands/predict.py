"""`spinet predict`: the predictions of a trained model for images and videos."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from spinet.commands.console import say, say_threads, warn
from spinet.errors import SpinetError


def predict_command(args: list[str]) -> None:
    """Predict images and videos: visualizations and JSON."""

    def command(
        run: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")],
        images: Annotated[list[Path], tyro.conf.Positional, tyro.conf.arg(metavar="IMAGE")],
        out: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("predictions"),
        score: float | Literal["auto"] | None = None,
        top: int | None = None,
        device: str = "auto",
        batch_size: int | None = None,
        precision: Literal["fp32", "bf16", "auto"] | None = None,
        compile: bool = False,
        threads: int = 0,
        coco_results: Path | None = None,
        save_as: tuple[Literal["coco", "yolo", "csv"], ...] = (),
        frames: int | None = None,
        trust: bool = False,
    ) -> None:
        """Detect objects in images and videos, or classify images; write visualizations, videos and JSON.

        Args:
            run: Run folder, weights file or its address (published/NAME, https://, hf://), or exported file.
            images: Images, videos, folders of both (without the folders in them), and cameras (camera:0).
            out: Output folder.
            score: Detectors: leave out objects with lower scores (default 0.3); `auto` is the threshold of best F1 of
                each class on val.
            top: Classifiers: classes per image (default 5).
            device: `auto`, `cpu`, `cuda` ...; ONNX and OpenVINO files run on the CPU.
            batch_size: Detectors: images or frames per batch (default 1).
            precision: Runs and weights files: default fp32; `auto` picks the fastest by a few measured runs. OpenVINO
                files: default what the file was exported for.
            compile: Runs and weights files: compile the network with torch.compile, on GPUs as a CUDA graph. The first
                image takes a minute, and so does every new batch size.
            threads: CPU threads; 0 leaves the number to PyTorch or the file's runtime, within the cores it may use.
            coco_results: Detectors: also write the objects found in images to this file, in COCO's results format.
            save_as: Also write the predictions for images to the output folder as detections-coco.json (a dataset with
                scores), detections-yolo.zip (boxes without scores) or detections.csv.
            frames: Videos: stop after this many frames. Cameras run until Ctrl-C otherwise.
            trust: Open a .pt2 file that was not exported on this machine by this user, which runs code inside it.
        """
        from spinet.hub.fetch import local_path
        from spinet.predict.files import predict_files
        from spinet.predict.open import load
        from spinet.predict.video import predict_video
        from spinet.predict.video_sources import find_sources, video_outputs
        from spinet.predict.writers import FILES

        if not images:
            raise SpinetError("no image given; name images, folders of images or videos after the run")
        path = local_path(run)
        predictor = load(path, device=device, precision=precision, threads=threads, compile=compile, trust=trust)
        if predictor.is_classifier:
            for_detectors = {"score": score, "batch-size": batch_size, "coco-results": coco_results, "frames": frames}
            _refuse(for_detectors, f"for detectors, and {run} holds a classifier")
        else:
            _refuse({"top": top}, f"for classifiers, and {run} holds a detector")
        sources = find_sources(images, videos=not predictor.is_classifier)
        videos, files = sources.videos, sources.images
        if videos and predictor.is_classifier:
            raise SpinetError(f"{videos[0]} is a video; videos are for detectors, and {run} holds a classifier")
        _refuse({} if videos else {"frames": frames}, "for videos and cameras, and none is named")
        _refuse(
            {} if files else {"coco-results": coco_results, "save-as": save_as or None}, "for images, and none is named"
        )
        drawn = video_outputs(videos, out)
        say_threads(path, threads)
        options: dict[str, Any] = {
            "score_threshold": 0.3 if score is None else score,
            "batch_size": 1 if batch_size is None else batch_size,
        }
        for sentence in sources.left_out:
            warn(sentence)
        failed = 0
        if files:
            top = 5 if top is None else top
            extra: dict[str, Any] = {"coco_results": coco_results, "save_as": save_as}
            for prediction in predict_files(predictor, files, out, top=top, **extra, **options):
                (warn if prediction.failed else say)(str(prediction))
                failed += prediction.failed
            say(f"{out / 'predictions.json'}")
            for format in dict.fromkeys(save_as):
                say(f"{out / FILES[format]}")
        for video, target in zip(videos, drawn, strict=True):
            try:
                for frame in predict_video(predictor, video, out, frames=frames, stem=target.stem, **options):
                    say(f"{video}  frame {frame.number}  {frame.summary}")
                say(f"{target}  {target.with_suffix('.jsonl')}")
            except SpinetError as error:
                if not files and len(videos) == 1:
                    raise
                warn(str(error))
                failed += 1
        if failed:
            raise SpinetError(
                f"{failed} {'file' if failed == 1 else 'files'} failed, as said above; all others are done"
            )

    tyro.cli(command, args=args, prog="spinet predict")


def _refuse(options: Mapping[str, object], why: str) -> None:
    """Raise for an option that was given although it has no effect."""
    for name, value in options.items():
        if value is not None:
            raise SpinetError(f"--{name} is {why}")
