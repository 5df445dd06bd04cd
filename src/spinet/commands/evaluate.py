"""`spinet evaluate` and `spinet predict`: what a trained detector is worth and what it finds."""

from pathlib import Path
from typing import Annotated, Literal

import tyro

from spinet.commands.console import print_metrics, say, warn
from spinet.errors import SpinetError


def evaluate_command(args: list[str]) -> None:
    """COCO metrics of a trained detector."""

    def command(
        run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")],
        root: Annotated[str, tyro.conf.arg(name="data.root")] = "",
        split: Literal["train", "val"] = "val",
        batch_size: int = 8,
        workers: int = 0,
        device: str = "auto",
        json: bool = False,
    ) -> None:
        """Print COCO's metrics of a run folder or weights file.

        Args:
            run: Run folder or weights file.
            root: Data set folder; the one that the run was trained on if left out.
            split: Which images.
            batch_size: Images at once.
            workers: Processes that load images.
            device: `auto`, `cpu`, `cuda` ...
            json: Print one line of JSON instead of a table.
        """
        from spinet.data.coco import CocoDataset
        from spinet.engine.checkpoint import load_model
        from spinet.engine.distributed import pick_device
        from spinet.engine.evaluate import check_classes, evaluate

        place = pick_device(device)
        model, info = load_model(run, place)
        dataset = CocoDataset(Path(root or _trained_on(run)), split)
        check_classes(info, dataset, str(run))
        metrics = evaluate(
            model,
            dataset,
            image_size=info.image_size,
            batch_size=batch_size,
            device=place,
            workers=workers,
            category_ids=info.category_ids,
        )
        print_metrics(metrics, json)

    tyro.cli(command, args=args, prog="spinet evaluate")


def predict_command(args: list[str]) -> None:
    """Pictures with boxes, and JSON, of photos."""

    def command(
        run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")],
        photos: Annotated[list[Path], tyro.conf.Positional, tyro.conf.arg(metavar="PHOTO")],
        out: Path = Path("predictions"),
        score: float = 0.3,
        device: str = "auto",
    ) -> None:
        """Find objects in photos; write a picture of each with its boxes, and predictions.json.

        Args:
            run: Run folder or weights file.
            photos: Photos and folders of photos.
            out: Folder to write to.
            score: Detections below it are left out.
            device: `auto`, `cpu`, `cuda` ...
        """
        from spinet.engine.distributed import pick_device
        from spinet.tools.predict import Predictor, predict_files

        if not photos:
            raise SpinetError("no photo given; name photos or folders of photos after the run")
        unreadable = []
        for prediction in predict_files(Predictor.load(run, pick_device(device)), photos, out, score):
            if prediction.entry is None:
                unreadable.append(prediction.path)
                warn(prediction.error)
            else:
                say(f"{prediction.picture}  {_counts(prediction.entry['detections'])}")
        say(f"{out / 'predictions.json'}")
        if unreadable:
            raise SpinetError(f"{len(unreadable)} photos could not be read; the others were done")

    tyro.cli(command, args=args, prog="spinet predict")


def _trained_on(run: Path) -> str:
    from spinet.engine.config import read_config

    folder = run if run.is_dir() else run.parent
    if not (folder / "config.json").is_file():
        raise SpinetError(f"{run} does not say which data it was trained on; pass --data.root DIR")
    return read_config(folder / "config.json").data.root


def _counts(detections: list[dict[str, object]]) -> str:
    classes = [str(found["class"]) for found in detections]
    return ", ".join(f"{classes.count(name)} {name}" for name in sorted(set(classes))) or "nothing found"
