"""The `spinet` command: one function a subcommand, each importing what it needs when it is called."""

import json
import math
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro
from rich.console import Console
from rich.table import Table

from spinet.arch.catalog import Architecture, load_architecture, names
from spinet.errors import SpinetError, unknown_name
from spinet.files import write_atomically

if TYPE_CHECKING:
    from spinet.arch.cost import Part


def list_command(args: list[str]) -> None:
    """Names of all architectures and recipes."""

    def command() -> None:
        """Print the names of all architectures and of all training recipes."""
        from spinet.arch.baseline import BASELINES
        from spinet.recipes import RECIPES

        table = Table("architecture", "blocks", "levels", "width", "repeats", "endpoint channels", box=None)
        for name in names():
            found = load_architecture(name)
            graph, scaling = found.genotype, found.scaling
            levels = f"{min(graph.endpoints)}-{max(graph.endpoints)}"
            row = (len(graph.all_blocks), levels, scaling.width, scaling.repeats, scaling.endpoint_channels)
            table.add_row(name, *map(str, row))
        recipes = Table("recipe", "what it is", box=None)
        for name, recipe in RECIPES.items():
            recipes.add_row(name, recipe.summary)
        _print(table)
        _print(f"\nbaselines, where an architecture goes: {', '.join(BASELINES)}, timm/NAME-fpn, timm/NAME-nas-fpn\n")
        _print(recipes)

    tyro.cli(command, args=args, prog="spinet list")


def show_command(args: list[str]) -> None:
    """One architecture, block by block, and what it costs."""

    def command(
        arch: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME")],
        image_size: int = 640,
        head: Literal["none", "retinanet", "mask-rcnn", "classifier"] = "none",
        num_classes: int = 91,
        json: bool = False,
    ) -> None:
        """Print the blocks of an architecture with their parameters and multiply-adds.

        Args:
            arch: Catalogue name or architecture file.
            image_size: Side of the image, pixels, for the sizes of the feature maps and the multiply-adds.
            head: Task whose head is counted too.
            num_classes: Classes of that head; the published detectors have 91 for COCO.
            json: Print the architecture file instead; with a head, the costs of all parts as JSON.
        """
        from spinet.arch.baseline import is_baseline
        from spinet.arch.head_cost import model_parts

        if is_baseline(arch):
            raise SpinetError(f"{arch} is a baseline without a graph to show; train it with --model.arch {arch}")
        found = load_architecture(arch)
        if image_size < 1 or num_classes < 1:
            raise SpinetError(f"image size {image_size} and classes {num_classes} must be 1 or more")
        parts = model_parts(found, image_size, head, num_classes)
        if json:
            sys.stdout.write(found.to_json() if head == "none" else _costs_json(found, parts, image_size, head))
            return
        _print(_blocks_table(found, image_size, parts))
        _print(_costs_table(parts))
        _print(f"{found.scaling}\ndangling rule: {found.genotype.dangling}\nsource: {found.source}")

    tyro.cli(command, args=args, prog="spinet show")


def draw_command(args: list[str]) -> None:
    """A picture of an architecture, of two compared, or of all."""

    def command(
        archs: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="NAME [OTHER]")] = (),
        *,
        out: Annotated[Path, tyro.conf.arg(aliases=["-o"])],
        all: bool = False,
    ) -> None:
        """Draw one architecture, or two with their differences marked.

        Args:
            archs: Catalogue names or architecture files.
            out: File to write: .svg, .png or .html.
            all: Draw the whole catalogue as one .html page.
        """
        from spinet.arch.draw import draw, draw_pair
        from spinet.arch.draw_page import draw_catalogue

        if all == bool(archs) or len(archs) > 2:
            raise SpinetError(f"draw takes one name, two names, or --all alone; found {len(archs)} names")
        allowed = (".html",) if all else (".svg", ".png") if len(archs) == 2 else (".svg", ".png", ".html")
        if out.suffix.lower() not in allowed:
            raise SpinetError(f"{out} does not end in {' or '.join(allowed)}, what can be drawn here")
        found = [load_architecture(name) for name in (names() if all else archs)]
        if out.suffix.lower() == ".html":
            write_atomically(out, draw_catalogue(found))
        else:
            svg = draw_pair(*found) if len(found) == 2 else draw(*found)
            write_atomically(out, _png(svg) if out.suffix.lower() == ".png" else svg)
        _print(str(out))

    tyro.cli(command, args=args, prog="spinet draw")


def train_command(args: list[str]) -> None:
    """Train a detector, or go on with a run."""
    from spinet.engine.config import TrainConfig
    from spinet.recipes import RECIPES, load_recipe

    if not args or args[0].startswith("-"):
        _print("usage: spinet train RECIPE --data.root DIR --run RUN [settings]\n")
        _print("RECIPE is one of these names, or a config.json; `spinet train RECIPE --help` lists its settings.\n")
        _print("\n".join(f"  {name:28}{recipe.summary}" for name, recipe in RECIPES.items()))
        if not {"-h", "--help"} & set(args):
            raise SystemExit(2)
        return

    @dataclass(frozen=True)
    class Arguments:
        config: Annotated[TrainConfig, tyro.conf.arg(name="")]
        run: Path
        """Run folder; the same command again goes on with it."""

    default = Arguments(load_recipe(args[0]), tyro.MISSING)
    description = f"Train with the recipe {args[0]}; every setting can be replaced."
    chosen = tyro.cli(
        Arguments, default=default, args=args[1:], prog=f"spinet train {args[0]}", description=description
    )
    from spinet.engine.train import train

    train(chosen.config, chosen.run)


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
        _print_metrics(metrics, json)

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
                _warn(prediction.error)
            else:
                _print(f"{prediction.picture}  {_counts(prediction.entry['detections'])}")
        _print(f"{out / 'predictions.json'}")
        if unreadable:
            raise SpinetError(f"{len(unreadable)} photos could not be read; the others were done")

    tyro.cli(command, args=args, prog="spinet predict")


def convert_command(args: list[str]) -> None:
    """Weights published for TensorFlow or mmdetection, as a weights file."""

    def command(
        path: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="PATH")],
        out: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("weights.safetensors"),
        arch: str = "",
        activation: Literal["relu", "swish", "hard_swish"] | None = None,
        bn_eps: float | None = None,
        image_size: int | None = None,
    ) -> None:
        """Convert a checkpoint of tensorflow/models or tensorflow/tpu, or a state dict of the mmdetection ports.

        Backbones, RetinaNet detectors, and the classifiers of tensorflow/tpu are known.
        Every checksum is verified and every variable accounted for; on any mismatch nothing is written.

        Args:
            path: Checkpoint prefix, one of its files or its folder; or a .pth file.
            out: Weights file to write.
            arch: Catalogue name or architecture file; found from the weights if left out.
            activation: Which one the model was trained with; no checkpoint says it.
            bn_eps: Epsilon of batch norm; the source's usual one if left out.
            image_size: Side of the images it was trained on; the published model's if left out.
        """
        from spinet.tools.convert import convert

        found = convert(path, arch=arch, activation=activation, bn_eps=bn_eps, image_size=image_size)
        found.save(out)
        info = found.info
        what = f"{info.task} of {len(info.class_names)} classes" if info.class_names else "backbone without a head"
        _print(f"{found.source}: {info.architecture.name}, {what}, {found.parameters:,} parameters")
        for reason, left_out in found.left_out.items():
            _print(f"left out: {reason} ({len(left_out)}): {', '.join(left_out[:3])}{', ...' * (len(left_out) > 3)}")
        if activation is None:
            _print(f"activation: {info.model.activation}, as is usual there; --activation says otherwise")
        _print(f"{out}")

    tyro.cli(command, args=args, prog="spinet convert")


def demo_command(args: list[str]) -> None:
    """Train on generated photos of digits, from nothing to pictures, in minutes."""

    def command(folder: Path = Path("runs/demo"), seed: int = 0) -> None:
        """Make a small data set, train the demo recipe on it, print COCO's metrics and draw boxes on photos.

        Args:
            folder: Where the data set, the run and the pictures go; the same folder goes on with an interrupted run.
            seed: Seed of the training.
        """
        from spinet.data.demo import make_demo_dataset
        from spinet.engine.train import train
        from spinet.recipes import RECIPES
        from spinet.tools.predict import Predictor, find_images, predict_files

        _print("making the data set: handwritten digits on photos")
        root = make_demo_dataset(folder / "data", train_images=1000, val_images=100)
        config = RECIPES["demo"].config
        config = replace(config, seed=seed, data=replace(config.data, root=str(root)))
        result = train(config, folder / "run")
        _print_metrics(result.best, as_json=False)
        import torch

        predictor = Predictor.load(folder / "run", torch.device("cpu"))
        photos = find_images([root / "val"])[:12]
        for prediction in predict_files(predictor, photos, folder / "pictures"):
            _print(f"{prediction.picture}")
        _print(f"trained and evaluated in {result.seconds:.0f} s; your own photos: README.md, 'Your own photos'")

    tyro.cli(command, args=args, prog="spinet demo")


COMMANDS: dict[str, Callable[[list[str]], None]] = {
    "list": list_command,
    "show": show_command,
    "draw": draw_command,
    "train": train_command,
    "evaluate": evaluate_command,
    "predict": predict_command,
    "convert": convert_command,
    "demo": demo_command,
}


def main() -> None:
    """Run the command line; a `SpinetError` becomes one sentence and exit code 1."""
    args = sys.argv[1:]
    if not args or args[0] in ("-h", "--help"):
        _print("SpineNet in PyTorch: build, train and ship scale-permuted detectors.\n")
        _print("\n".join(f"  spinet {name:10}{function.__doc__}" for name, function in COMMANDS.items()))
        _print("\n`spinet COMMAND --help` tells more.")
        raise SystemExit(0 if args else 2)
    try:
        if args[0] not in COMMANDS:
            raise unknown_name("command", args[0], COMMANDS)
        COMMANDS[args[0]](args[1:])
    except SpinetError as error:
        _warn(f"error: {error}")
        raise SystemExit(1) from None
    except BrokenPipeError:
        # Whoever read the output has gone, as `head` does; nothing is left to say or to flush.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        _warn("stopped; a training goes on from its last checkpoint with the same command")
        raise SystemExit(130) from None


def _blocks_table(architecture: Architecture, image_size: int, parts: "list[Part]") -> Table:
    """Blocks with what they and the connections to them cost."""
    from spinet.arch.cost import total

    graph, scaling = architecture.genotype, architecture.scaling
    columns = ("block", "level", "size", "kind", "width", "out", "parents", "parameters", "MACs, M")
    table = Table(*columns, box=None, padding=(0, 1), pad_edge=False)
    for index, block in enumerate(graph.all_blocks):
        name = f"{index} P{block.level}" if block.endpoint else str(index) if index in graph.live else f"{index} unused"
        sources = ["stem" if not block.parents else ", ".join(map(str, block.parents))]
        sources += map(str, graph.merges.get(index, ()))
        numbers = (scaling.channels(block.level), scaling.out_channels(block))
        side = math.ceil(image_size / 2**block.level)
        cost = total(part.cost for part in parts if part.index == index and part.kind in ("block", "connection"))
        costs = (f"{cost.parameters:,}", f"{cost.multiply_adds / 1e6:,.1f}")
        row = (name, block.level, side, block.kind, *numbers, " + ".join(sources), *costs)
        table.add_row(*map(str, row))
    return table


def _png(svg: str) -> bytes:
    from spinet.tools.raster import svg_to_png

    return svg_to_png(svg)


def _costs_table(parts: "list[Part]") -> Table:
    """Sums over the kinds of parts, heads one by one."""
    from spinet.arch.cost import total

    sums = {
        "first convolution": [part for part in parts if part.kind == "stem"],
        "blocks": [part for part in parts if part.kind == "block"],
        "connections": [part for part in parts if part.kind == "connection"],
        "endpoints": [part for part in parts if part.kind == "endpoint"],
        "backbone": [part for part in parts if part.kind != "head"],
        **{part.name: [part] for part in parts if part.kind == "head"},
        "all": parts,
    }
    if all(part.kind != "head" for part in parts):
        del sums["all"]
    table = Table("part", "parameters", "multiply-adds (FLOPs in the paper), M", box=None)
    for name, chosen in sums.items():
        cost = total(part.cost for part in chosen)
        table.add_row(name, f"{cost.parameters:,}", f"{cost.multiply_adds / 1e6:,.1f}")
    return table


def _costs_json(architecture: Architecture, parts: "list[Part]", image_size: int, head: str) -> str:
    from spinet.arch.cost import total

    tree = {
        "architecture": architecture.name,
        "image_size": image_size,
        "head": head,
        **total(part.cost for part in parts)._asdict(),
        "parts": [
            {"kind": part.kind, "name": part.name, "block": part.index, "source": part.source, **part.cost._asdict()}
            for part in parts
        ],
    }
    return json.dumps(tree, indent=1) + "\n"


def _trained_on(run: Path) -> str:
    from spinet.engine.config import read_config

    folder = run if run.is_dir() else run.parent
    if not (folder / "config.json").is_file():
        raise SpinetError(f"{run} does not say which data it was trained on; pass --data.root DIR")
    return read_config(folder / "config.json").data.root


def _print_metrics(metrics: dict[str, float], as_json: bool) -> None:
    if as_json:
        known = {name: value for name, value in metrics.items() if math.isfinite(value)}
        sys.stdout.write(json.dumps(known) + "\n")
        return
    table = Table("metric", "value", box=None)
    for name, value in metrics.items():
        table.add_row(name, "-" if math.isnan(value) else f"{value:.3f}")
    _print(table)


def _counts(detections: list[dict[str, object]]) -> str:
    classes = [str(found["class"]) for found in detections]
    return ", ".join(f"{classes.count(name)} {name}" for name in sorted(set(classes))) or "nothing found"


def _print(content: object) -> None:
    Console(soft_wrap=True, highlight=False).print(content, markup=False)


def _warn(text: str) -> None:
    Console(stderr=True, soft_wrap=True, highlight=False).print(f"spinet: {text}", markup=False)
