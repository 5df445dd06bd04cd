"""`spinet train` and `spinet demo`."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import tyro

from spinet.commands.console import print_metrics, say


def train_command(args: list[str]) -> None:
    """Train a model, or resume a run."""
    from spinet.engine.config import TrainConfig
    from spinet.recipes import RECIPES, load_recipe

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

    default = Arguments(load_recipe(args[0]), tyro.MISSING)
    description = f"Train with the recipe {args[0]}, overriding any of its settings."
    chosen = tyro.cli(
        Arguments, default=default, args=args[1:], prog=f"spinet train {args[0]}", description=description
    )
    from spinet.engine.train import train
    from spinet.hub.fetch import local_path
    from spinet.report.training import report_of

    train(chosen.config, chosen.run, find_weights=local_path)
    if chosen.report:
        report_of(chosen.run)


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
