"""`spinet predict`: what a trained network finds in photos and videos."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from spinet.commands.console import say, warn
from spinet.commands.exported import load_exported
from spinet.errors import SpinetError

if TYPE_CHECKING:
    from spinet.predict.predict import PhotoDetector
    from spinet.predict.predict_classes import PhotoClassifier


def predict_command(args: list[str]) -> None:
    """Pictures with boxes, and JSON, of photos; guesses of a classifier."""

    def command(
        run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")],
        photos: Annotated[list[Path], tyro.conf.Positional, tyro.conf.arg(metavar="PHOTO")],
        out: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("predictions"),
        score: float | None = None,
        top: int | None = None,
        device: str = "auto",
        batch_size: int | None = None,
        precision: Literal["fp32", "bf16", "auto"] | None = None,
        compile: bool = False,
        threads: int = 0,
        coco_results: Path | None = None,
        frames: int | None = None,
    ) -> None:
        """Find objects in photos and videos, or guess the classes of photos; write pictures, videos and JSON.

        Args:
            run: Run folder, weights file, or file of `spinet export`.
            photos: Photos, folders of photos, videos, and cameras (camera:0).
            out: Folder to write to.
            score: Detectors: what is found with less is left out; 0.3 if not given.
            top: Classifiers: guesses for each photo; 5 if not given.
            device: `auto`, `cpu`, `cuda` ...; exported files that are no .pt2 run on the CPU.
            batch_size: Detectors: photos or frames at once; 1 if not given.
            precision: Of a run's network: fp32 if not given; `auto` measures which is fastest here. Of an exported
                OpenVINO file: what it was exported for if not given or `auto`.
            compile: Runs and weights files: compile the network with torch.compile, on GPUs as a CUDA graph. The first
                photo takes a minute, and so does each batch of another size.
            threads: Exported files: how many compute; 0 leaves it to the runtime.
            coco_results: Detectors: file to write what was found in photos to in COCO's results format too.
            frames: Videos: stop after so many frames; a camera goes on until Ctrl-C otherwise.
        """
        from spinet.deploy.exported import ExportedClassifier, ExportedDetector
        from spinet.engine.checkpoint import read_info
        from spinet.engine.distributed import pick_device
        from spinet.predict.predict import Predictor
        from spinet.predict.predict_classes import ClassPredictor

        if not photos:
            raise SpinetError("no photo given; name photos, folders of photos or videos after the run")
        exported = load_exported(run, threads, precision, device)
        if exported is not None and compile:
            raise SpinetError(f"--compile is for runs and weights files; {run} was compiled when it was exported")
        if (exported.info if exported else read_info(run)).kind == "classifier":
            others = {"score": score, "batch-size": batch_size, "coco-results": coco_results, "frames": frames}
            _refuse(others, f"for detectors, and {run} holds a classifier")
            guesser = exported or ClassPredictor.load(run, pick_device(device), precision or "fp32", compile)
            assert not isinstance(guesser, ExportedDetector)
            lines = _guesses(guesser, photos, out, 5 if top is None else top)
        else:
            _refuse({"top": top}, f"for classifiers, and {run} holds a detector")
            finder = exported or Predictor.load(run, pick_device(device), precision or "fp32", compile)
            assert not isinstance(finder, ExportedClassifier)
            score, batch_size = 0.3 if score is None else score, 1 if batch_size is None else batch_size
            lines = _pictures(finder, photos, out, score, batch_size, coco_results, frames)
        unreadable = 0
        for readable, line in lines:
            (say if readable else warn)(line)
            unreadable += not readable
        if unreadable:
            photos_of = "photo" if unreadable == 1 else "photos"
            raise SpinetError(f"{unreadable} {photos_of} could not be read; the others were done")

    tyro.cli(command, args=args, prog="spinet predict")


def _refuse(options: Mapping[str, object], why: str) -> None:
    """Raise for an option that was given although nothing would come of it."""
    for name, value in options.items():
        if value is not None:
            raise SpinetError(f"--{name} is {why}")


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
    from spinet.predict.predict import predict_files
    from spinet.predict.video import check_outputs, is_video, predict_video, video_outputs

    videos = [path for path in photos if is_video(path)]
    files = [path for path in photos if path not in videos]
    _refuse({} if videos else {"frames": frames}, "for videos and cameras, and none is named")
    _refuse({} if files else {"coco-results": coco_results}, "for photos, and none is named")
    check_outputs(videos, out)
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
    from spinet.predict.predict_classes import predict_class_files

    for prediction in predict_class_files(predictor, photos, out, top):
        yield prediction.entry is not None, str(prediction)
    yield True, str(out / "predictions.json")


def _counts(detections: list[dict[str, object]]) -> str:
    classes = [str(found["class"]) for found in detections]
    return ", ".join(f"{classes.count(name)} {name}" for name in sorted(set(classes))) or "nothing found"
