"""`spinet list` and `spinet show`: the catalogue, and the blocks and costs of an architecture."""

import json as json_module
import math
import sys
from typing import Annotated, Any

import tyro
from rich.table import Column, Table

from spinet.arch.catalog import Architecture, load_architecture, names
from spinet.arch.cost import Part, total
from spinet.arch.head_cost import Head, model_parts
from spinet.commands.console import say
from spinet.errors import SpinetError, quoted


def list_command(args: list[str]) -> None:
    """Names of all architectures and recipes."""

    def command(json: bool = False) -> None:
        """Print the names of all architectures, with their size at 640 px, and of all training recipes.

        Args:
            json: Print JSON instead of tables.
        """
        from spinet.arch.baseline import BASELINES
        from spinet.recipes import RECIPES

        rows = [_listed(load_architecture(name)) for name in names()]
        baselines = [*BASELINES, "timm/NAME-fpn", "timm/NAME-nas-fpn"]
        if json:
            recipes = [{"recipe": name, "description": recipe.summary} for name, recipe in RECIPES.items()]
            content = {"architectures": rows, "baselines": baselines, "recipes": recipes}
            sys.stdout.write(json_module.dumps(content) + "\n")
            return
        first = Column("architecture", no_wrap=True, min_width=max(len(row["architecture"]) for row in rows))
        table = Table(first, "params", "GMACs", "blocks", "levels", "width", "repeats", "out", box=None, pad_edge=False)
        for row in rows:
            sizes = f"{row['parameters'] / 1e6:.1f} M", f"{row['multiply_adds'] / 1e9:.1f}"
            others = (row[name] for name in ("blocks", "levels", "width", "repeats", "endpoint_channels"))
            table.add_row(row["architecture"], *sizes, *map(str, others))
        table_of_recipes = Table("recipe", "description", box=None)
        for name, recipe in RECIPES.items():
            table_of_recipes.add_row(name, recipe.summary)
        say(table)
        say("backbones alone, at 640 px; out: channels of their outputs")
        say(f"\nbaselines, accepted in place of an architecture: {', '.join(baselines)}\n")
        say(table_of_recipes)

    tyro.cli(command, args=args, prog="spinet list")


def _listed(architecture: Architecture) -> dict[str, Any]:
    """Return a row of the table of architectures."""
    graph, scaling = architecture.genotype, architecture.scaling
    cost = total(part.cost for part in model_parts(architecture, 640, "none", 91))
    return {
        "architecture": architecture.name,
        "parameters": cost.parameters,
        "multiply_adds": cost.multiply_adds,
        "blocks": len(graph.all_blocks),
        "levels": f"{min(graph.endpoints)}-{max(graph.endpoints)}",
        "width": scaling.width,
        "repeats": scaling.repeats,
        "endpoint_channels": scaling.endpoint_channels,
    }


def show_command(args: list[str]) -> None:
    """The blocks of an architecture, and its costs."""

    def command(
        arch: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME")],
        image_size: int = 640,
        head: Head = "none",
        num_classes: int = 91,
        json: bool = False,
    ) -> None:
        """Print the blocks of an architecture with their parameters and multiply-adds.

        Args:
            arch: Catalogue name or architecture file.
            image_size: Side of the image in pixels, for feature map sizes and multiply-adds.
            head: Also count this head.
            num_classes: Classes of the head; the published detectors have 91 for COCO.
            json: Print the architecture file instead, or with a head the costs of all parts, as JSON.
        """
        from spinet.arch.baseline import is_baseline

        if is_baseline(arch):
            raise SpinetError(f"{arch} is a baseline without a graph to show; train it with --model.arch {arch}")
        architecture = load_architecture(arch)
        for option, value in (("--image-size", image_size), ("--num-classes", num_classes)):
            if not 1 <= value <= 10**6:
                raise SpinetError(f"{option} must be at least 1 and at most 1,000,000, not {quoted(value)}")
        parts = model_parts(architecture, image_size, head, num_classes)
        if json:
            costs = _costs_json(architecture, parts, image_size, head)
            sys.stdout.write(architecture.to_json() if head == "none" else costs)
            return
        say(_blocks_table(architecture, image_size, parts))
        say(_costs_table(parts))
        say(f"{architecture.scaling}\ndangling rule: {architecture.genotype.dangling}\nsource: {architecture.source}")

    tyro.cli(command, args=args, prog="spinet show")


def _blocks_table(architecture: Architecture, image_size: int, parts: list[Part]) -> Table:
    """Blocks with the costs of each and of the connections to it."""
    graph, scaling = architecture.genotype, architecture.scaling
    columns = ("block", "level", "size", "kind", "width", "out", "parents", "parameters", "MACs, M")
    table = Table(*columns, box=None, padding=(0, 1), pad_edge=False)
    for index, block in enumerate(graph.all_blocks):
        name = f"{index} P{block.level}" if block.endpoint else str(index) if index in graph.live else f"{index} unused"
        sources = [", ".join(map(str, block.parents)) or "stem", *map(str, graph.merges.get(index, ()))]
        numbers = (scaling.channels(block.level), scaling.out_channels(block))
        side = math.ceil(image_size / 2**block.level)
        cost = total(part.cost for part in parts if part.index == index and part.kind in ("block", "connection"))
        costs = (f"{cost.parameters:,}", f"{cost.multiply_adds / 1e6:,.1f}")
        row = (name, block.level, side, block.kind, *numbers, " + ".join(sources), *costs)
        table.add_row(*map(str, row))
    return table


def _costs_table(parts: list[Part]) -> Table:
    """Costs summed by kind of part; heads individually."""
    groups = {"stem": "first convolution", "block": "blocks", "connection": "connections", "endpoint": "endpoints"}
    sums = {name: [part for part in parts if part.kind == kind] for kind, name in groups.items()}
    heads = {part.name: [part] for part in parts if part.kind == "head"}
    sums |= {"backbone": [part for part in parts if part.kind != "head"]} | heads | ({"all": parts} if heads else {})
    table = Table("part", "parameters", "multiply-adds (FLOPs in the paper), M", box=None)
    for name, chosen in sums.items():
        cost = total(part.cost for part in chosen)
        table.add_row(name, f"{cost.parameters:,}", f"{cost.multiply_adds / 1e6:,.1f}")
    return table


def _costs_json(architecture: Architecture, parts: list[Part], image_size: int, head: str) -> str:
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
    return json_module.dumps(tree, indent=1) + "\n"
