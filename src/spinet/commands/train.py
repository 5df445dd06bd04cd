"""`spinet train` and `spinet demo`."""

import os
from argparse import ArgumentParser
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from rich.table import Table as RichTable

from spinet.commands.console import print_metrics, say

if TYPE_CHECKING:
    from spinet.engine.config import TrainConfig


def train_command(args: list[str]) -> None:
    """Train a model, or resume a run."""
    from spinet.engine.config import TrainConfig
    from spinet.recipes import RECIPES

    if not args or args[0].startswith("-"):
        say("usage: spinet train RECIPE --data.root DIR --run RUN [settings]\n")
        say("RECIPE is a config.json or one of these; `spinet train RECIPE --help` lists the settings.\n")
        say("\n".join(f"  {name:36}{recipe.summary}" for name, recipe in RECIPES.items()))
        if not {"-h", "--help"} & set(args):
            raise SystemExit(2)
        return

    @dataclass(frozen=True)
    class Arguments:
        config: Annotated[TrainConfig, tyro.conf.arg(name="")]
        run: Path
        """Run folder; run the same command again to resume."""
        report: bool = True
        """Write report.html into the run folder at the end."""
        log_to: Annotated[tuple[str, ...], tyro.conf.arg(metavar="{csv,mlflow,wandb}")] = ()
        """Experiment trackers that get a copy of settings, metrics and results."""

    default = Arguments(_defaults(args), tyro.MISSING)
    description = f"Train with the recipe {args[0]}, overriding any of its settings."
    chosen = tyro.cli(
        Arguments, default=default, args=args[1:], prog=f"spinet train {args[0]}", description=description
    )
    from spinet.engine.train import train
    from spinet.hub.fetch import local_path
    from spinet.report.training import report_of
    from spinet.share.tracked import add_results
    from spinet.track.trackers import Trackers

    with Trackers(chosen.log_to, chosen.run, say) as trackers:
        train(chosen.config, chosen.run, trackers=trackers, find_weights=local_path)
        if chosen.report:
            report_of(chosen.run)
        add_results(trackers, chosen.run, say)
    _summary(chosen.run)


def _summary(run: Path) -> None:
    """Print what a training came to and what can be done next, in its main process."""
    from spinet.report.summary import best_line, class_table, judgement
    from spinet.report.training_run import open_training

    if int(os.environ.get("RANK", "0")):
        return
    try:
        training = open_training(run)
        table, advice = class_table(training), judgement(training)
        say(best_line(training))
    except Exception as error:  # nothing of a complete training may be lost to a line
        say(f"no summary ({error!s:.200}); the training is complete")
        return
    if table:
        shown = RichTable(*table.head, box=None)
        for row in table.rows:
            shown.add_row(*row)
        say(shown)
    if advice:
        say(advice)
    say(f"next: spinet predict {run} IMAGE ..., spinet evaluate {run}, spinet export {run} -o FILE.onnx")


def _defaults(args: list[str]) -> "TrainConfig":
    """Return the settings of a recipe before those of the command line, on which they depend for fine-tuning."""
    from spinet.recipes import load_recipe, start_recipe

    parser = ArgumentParser(add_help=False, allow_abbrev=False)  # what is wrong is said by the parser of all settings
    for name in ("weights", "head"):
        parser.add_argument(f"--model.{name}", dest=name, default="", nargs="?", const="")
    parser.add_argument("--run", type=Path, nargs="?")
    given, others = parser.parse_known_args(args[1:])
    if not given.weights and {"-h", "--help"} & set(others):
        return load_recipe(args[0])
    return start_recipe(args[0], given.weights, given.head, given.run)


def demo_command(args: list[str]) -> None:
    """Generate a small dataset of digits, train on it and draw detections, in minutes."""

    def command(folder: Path = Path("runs/demo"), seed: int = 0) -> None:
        """Generate a small dataset, train the demo recipe, print COCO metrics and draw detections on images.

        Args:
            folder: Output folder; run the command again with the same folder to resume.
            seed: Seed of the training.
        """
        from spinet.data.demo import make_demo_dataset
        from spinet.engine.train import train
        from spinet.formats.listing import find_images
        from spinet.predict.files import predict_files
        from spinet.predict.open import load
        from spinet.recipes import RECIPES
        from spinet.report.training import report_of

        say("generating the dataset: handwritten digits on photos")
        root = make_demo_dataset(folder / "data", train_images=1000, val_images=100)
        config = RECIPES["demo"].config
        config = replace(config, seed=seed, data=replace(config.data, root=str(root)))
        result = train(config, folder / "run")
        print_metrics(result.best, as_json=False)
        report_of(folder / "run")
        images = find_images([root / "val"])[:12]
        for prediction in predict_files(load(folder / "run", device="cpu"), images, folder / "pictures"):
            say(f"{prediction.visualization}")
        say(f"trained and evaluated in {result.seconds:.0f} s; next: your own data, docs/data.md")

    tyro.cli(command, args=args, prog="spinet demo")
