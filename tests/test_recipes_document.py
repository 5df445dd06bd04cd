"""Every recipe can be rebuilt from the tables in docs/paper.md, so that the document cannot lie."""

import re
import typing
from dataclasses import asdict
from pathlib import Path

import pytest

from spinet.engine.config import DataConfig, ModelConfig, OptimConfig, TrainConfig, differences
from spinet.recipes import RECIPES
from spinet.recipes_published import change

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "paper.md"
PARTS = {"model": ModelConfig, "data": DataConfig, "optim": OptimConfig, "": TrainConfig}

# What the tables of every published family have to name.
NAMED = {
    "epochs",
    "batch_size",
    "model.activation",
    "model.dropblock",
    "model.stochastic_depth",
    "model.bn_momentum",
    "model.bn_eps",
    "optim.lr",
    "optim.warmup_epochs",
    "optim.warmup_start",
    "optim.schedule",
    "optim.momentum",
    "optim.weight_decay",
    "optim.decay",
    "optim.clip_norm",
}

Row = list[str]
Table = list[Row]


def sections(text: str) -> dict[str, list[Table]]:
    """The tables under every heading of "Recipes", each a list of rows of cells, the head first."""
    body = text[text.index("\n## Recipes\n") :]
    found = {}
    for part in body.split("\n### ")[1:]:
        title, _, rest = part.partition("\n")
        blocks = re.findall(r"(?:^\|.*\n?)+", rest, flags=re.MULTILINE)
        tables = [[cells(line) for line in block.strip().split("\n")] for block in blocks]
        found[title] = [[table[0], *table[2:]] for table in tables]
    return found


def cells(line: str) -> Row:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def code(cell: str) -> str:
    """What stands between backticks; nothing if there are none."""
    match = re.search(r"`([^`]+)`", cell)
    return match[1] if match else ""


def value(name: str, text: str) -> object:
    """A cell of a table as the value of a setting."""
    part, _, key = name.rpartition(".")
    kind = typing.get_type_hints(PARTS[part])[key]
    if kind is bool:
        return {"yes": True, "no": False}[text]
    if kind is int:
        return int(text)
    if kind is float:
        return number(text)
    if typing.get_origin(kind) is tuple:
        return tuple(number(item) for item in text.split(","))
    return text


def number(text: str) -> float:
    top, _, bottom = text.partition("/")
    return float(top) / float(bottom or 1)


def rebuild(tables: list[Table]) -> dict[str, tuple[TrainConfig, set[str]]]:
    """All recipes of a section from its tables, and the settings that these name."""
    settings = {head[0]: (head, rows) for head, *rows in tables}
    head, rows = settings["setting"]
    protocols = {
        code(column): {code(row[0]): value(code(row[0]), row[index]) for row in rows}
        for index, column in enumerate(head)
        if index and column != "source"
    }
    found = {name: own for name, own in protocols.items() if name in RECIPES}
    if "recipe" in settings:
        columns, sizes = settings["recipe"]
        for row in sizes:
            own = {code(name): value(code(name), cell) for name, cell in zip(columns[1:], row[1:], strict=True)}
            for suffix, protocol in protocols.items():
                found[code(row[0]) + suffix] = {**protocol, **own}
    for name, setting, text, _ in settings.get("exception", ([], []))[1]:
        found[code(name)][code(setting)] = value(code(setting), text)
    return {name: (change(TrainConfig(), own), set(own)) for name, own in found.items()}


SECTIONS = sections(DOCUMENT.read_text(encoding="utf-8"))
REBUILT = {name: found for tables in SECTIONS.values() for name, found in rebuild(tables).items()}
# A ResNet takes neither swish nor stochastic depth.
WITHOUT = {f"classify-resnet{depth}-improved" for depth in (34, 50, 101, 152)}


def test_the_document_names_all_recipes_and_no_others():
    assert set(REBUILT) - WITHOUT == set(RECIPES)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_rebuilt_from_the_document_is_the_recipe(name):
    described, _ = REBUILT[name]
    assert not close(differences(described, RECIPES[name].config)), f"docs/paper.md and recipes.py differ on {name}"


@pytest.mark.parametrize("name", [name for name in RECIPES if not name.startswith(("demo", "small", "finetune"))])
def test_the_document_names_what_a_published_protocol_consists_of(name):
    config, named = REBUILT[name]
    shape = {"data.crop_area"} if config.model.head == "classifier" else {"data.scale_jitter"}
    drops = {"optim.drops"} if config.optim.schedule == "step" else set()
    assert NAMED | shape | drops <= named


def test_a_number_changed_in_the_document_is_noticed():
    text = DOCUMENT.read_text(encoding="utf-8").replace("| `epochs` | 250 | 350 |", "| `epochs` | 250 | 351 |")
    changed = {name: found for tables in sections(text).values() for name, found in rebuild(tables).items()}
    wrong = {name for name in RECIPES if asdict(changed[name][0])["epochs"] != RECIPES[name].config.epochs}
    assert wrong == {f"retinanet-spinenet{size}" for size in ("49s", "49", "49-896", "96", "143", "190")}


def close(found: dict[str, tuple[object, object]]) -> dict[str, tuple[object, object]]:
    """Differences but for those of quotients written with fewer digits."""
    return {name: pair for name, pair in found.items() if pair[0] != pytest.approx(pair[1], rel=1e-9)}
