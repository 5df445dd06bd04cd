"""Mutated files of the kinds that others send: each is read, or refused in one short sentence.

    python benchmarks/fuzz_files.py --kind weights --mutations 1000 --seed 0

Mutations know the structure of a file: values of JSON are exchanged, dropped, doubled, nested and blown up, as are
characters of the text, bytes of a safetensors header and shapes of tensors. Each file is read in a forked child with 20
CPU seconds and 2 GB more memory. Exit code 1 if anything else than success or a `SpinetError` of one line of
under 300 characters happened. Needs a POSIX system.
"""

import argparse
import copy
import json
import os
import resource
import shutil
import signal
import struct
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save

from spinet.arch.baseline import Baseline
from spinet.arch.catalog import Architecture, load_architecture, load_network, names
from spinet.arch.head_cost import HEADS, model_cost
from spinet.draw.architecture import draw
from spinet.engine.build import ModelInfo
from spinet.engine.config import ModelConfig, read_config
from spinet.errors import SpinetError
from spinet.nas.api import search
from spinet.nas.journal import NAME
from spinet.nas.status import status_text, summary
from spinet.predict.open import load
from spinet.recipes import RECIPES
from spinet.report.report import write_report

SECONDS, BYTES, LONGEST = 20, 2 << 30, 300
# Values in a file that is not changed further.
LARGEST = 10**5
# Every how many journals the report is written too, which takes a second.
REPORTED = 15

AWKWARD: tuple[Callable[[Random], Any], ...] = (
    lambda random: random.choice([None, True, False, "", "x", [], {}, 0, -1, 1, 2, 3, 7, 100, 101, 10**6]),
    lambda random: random.choice([0.5, -0.0, 1e-308, 1e308, float("nan"), float("inf"), -float("inf"), 1.0]),
    lambda random: random.choice([1, -1]) * (10 ** random.choice([9, 10, 18, 19, 38, 400]) + random.randrange(2)),
    lambda random: random.choice([2**31, 2**32, 2**53 + 1, 2**63, 2**64, -(2**63)]),
    lambda random: random.choice("aé語\ud800\0\n\x1b") * random.choice([1, 40, 5000, 10**6]),
    lambda random: [random.choice([0, 1.5, "a", None])] * random.choice([1, 2, 1000, 10**5]),
    lambda random: {f"k{index}": index for index in range(random.choice([1, 3, 1000]))},
    lambda random: nested(random.choice([2, 50, 400, 900, 980]), random.choice([list, dict])),
    lambda random: random.choice(["resnet18", "spinenet49", "tiny", "retinanet", "classifier", "mask-rcnn", "none"]),
)


def nested(depth: int, kind: type) -> Any:
    """Return a list in a list in a list, or objects."""
    value: Any = 1
    for _ in range(depth):
        value = [value] if kind is list else {"a": value}
    return value


def places(tree: Any) -> list[tuple[Any, Any]]:
    """Return every (container, key) inside a JSON value."""
    found: list[tuple[Any, Any]] = []
    rest = [tree]
    while rest:
        node = rest.pop()
        if isinstance(node, dict | list):
            inside = [(node, key) for key in (node if isinstance(node, dict) else range(len(node)))]
            found += inside
            rest += [node[key] for node, key in inside]
    return found


def mutate(tree: Any, random: Random) -> Any:
    """Return a JSON value with one to three changes."""
    tree = copy.deepcopy(tree)
    for _ in range(random.choice([1, 1, 1, 2, 3])):
        everything = places(tree)
        if len(everything) > LARGEST:
            return tree
        if not everything:
            return random.choice(AWKWARD)(random)
        node, key = random.choice(everything)
        change = random.randrange(8)
        if change <= 3:
            node[key] = random.choice(AWKWARD)(random)
        elif change == 4:
            del node[key]
        elif change == 5:
            other, place = random.choice(everything)
            node[key] = copy.deepcopy(other[place]) if place in other or isinstance(other, list) else None
        elif change == 6 and isinstance(node, dict):
            node[random.choice([f"{key}s", "", "x" * 5000, "name"])] = node.pop(key)
        elif isinstance(node[key], list) and node[key]:
            node[key] = node[key] * random.choice([2, 10, 1000])
        elif isinstance(node[key], int | float):
            node[key] = node[key] * random.choice([-1, 0, 2, 10, 1000, 0.5])
    return tree


def to_text(tree: Any, random: Random) -> bytes:
    """Return a JSON value as text, now and then with characters changed or beyond what Python parses."""
    text = json.dumps(tree)
    kind = random.randrange(20)
    if kind == 0:
        start = random.randrange(len(text) + 1)
        text = (
            text[:start] + random.choice(["", "[", '"', "9" * 5000, "[" * 10**5, "\\ud800", "NaN", ","]) + text[start:]
        )
    if kind == 1:
        text = text[: random.randrange(len(text) + 1)]
    content = text.encode(errors="surrogatepass")
    if kind == 2:
        content = random.choice([b"\xef\xbb\xbf", b"\xff\xfe", b"\0", b"\xff"]) + content
    if kind == 3:
        content = text.encode(random.choice(["utf-16", "utf-32", "utf-8", "utf-7"]), errors="replace")
    return content


@dataclass(frozen=True)
class Kind:
    """Writes a mutated file into a folder, and reads it."""

    write: Callable[[Path, Random], None]
    read: Callable[[Path, int], object]


def config_kind(_: Path) -> Kind:
    """Settings of a run."""
    originals = [json.loads(recipe.config.to_json()) for recipe in RECIPES.values()]

    def write(folder: Path, random: Random) -> None:
        (folder / "config.json").write_bytes(to_text(mutate(random.choice(originals), random), random))

    return Kind(write, lambda folder, _: read_config(folder / "config.json"))


def architecture_kind(_: Path) -> Kind:
    """Architectures, their costs and drawings."""
    originals = [json.loads(load_architecture(name).to_json()) for name in names()]
    originals.append(json.loads(Baseline(body="resnet18").to_json()))

    def write(folder: Path, random: Random) -> None:
        (folder / "mine.json").write_bytes(to_text(mutate(random.choice(originals), random), random))

    def read(folder: Path, number: int) -> None:
        found = load_network(folder / "mine.json")
        if isinstance(found, Architecture):
            model_cost(found, 640, HEADS[number % len(HEADS)])
            draw(found)

    return Kind(write, read)


def weights_kind(_: Path) -> Kind:
    """Weights files: their metadata, header and tensors; what opens predicts an image."""
    torch.manual_seed(0)
    originals = []
    for head in ("retinanet", "mask-rcnn", "classifier"):
        info = ModelInfo(load_architecture("tiny"), ModelConfig(head=head, arch="tiny"), ("a", "b"), (1, 2), 64)
        originals.append((info.to_metadata(), dict(info.create_model().state_dict())))

    def write(folder: Path, random: Random) -> None:
        metadata, tensors = random.choice(originals)
        metadata, tensors = dict(metadata), dict(tensors)
        how = random.randrange(10)
        if how == 0:
            name = random.choice(list(tensors))
            tensors[name] = random.choice([torch.zeros(0), torch.zeros(3, 3), tensors[name].half(), torch.tensor(1)])
        elif how == 1:
            tensors[random.choice(["x" * 5000, "extra"])] = tensors.pop(random.choice(list(tensors)))
        elif how > 2:
            key = random.choice(list(metadata))
            try:
                changed = to_text(mutate(json.loads(metadata[key]), random), random)
            except json.JSONDecodeError:
                changed = to_text(random.choice(AWKWARD)(random), random)
            metadata[key] = changed.decode(errors="replace")
        try:
            content = bytearray(save(tensors, metadata))
        except SafetensorError:  # a header that the format does not hold
            content = bytearray(save(tensors))
        if how == 2:
            (size,) = struct.unpack("<Q", content[:8])
            for _ in range(random.choice([1, 2, 5])):
                content[random.randrange(random.choice([8, 8 + size, len(content)]))] = random.randrange(256)
            if random.randrange(3) == 0:
                del content[random.randrange(len(content)) :]
        (folder / "mine.safetensors").write_bytes(content)

    def read(folder: Path, _: int) -> None:
        image = torch.zeros(3, 60, 80, dtype=torch.uint8)
        load(folder / "mine.safetensors", "cpu").predict(image, score_threshold=0.05)

    return Kind(write, read)


def journal_kind(folder: Path) -> Kind:
    """Journals of searches, their status and their reports."""
    originals = []
    for strategy in ("random", "evolution-small", "controller"):
        run = folder / strategy
        search("spinenet49", block_count, run, trials=12, strategy=strategy, constraints=(), quiet=True)
        originals.append([json.loads(line) for line in (run / NAME).read_bytes().splitlines()])

    def write(folder: Path, random: Random) -> None:
        events = random.choice(originals)
        lines = [json.dumps(event).encode() for event in events]
        for _ in range(random.choice([1, 1, 2])):
            index = random.choice([0, random.randrange(len(events) - 1)])
            how = random.randrange(8)
            if how == 0:
                del lines[index]
            elif how == 1:
                lines.insert(index, random.choice(lines))
            else:
                lines[index] = to_text(mutate(events[index], random), random)
        (folder / NAME).write_bytes(b"\n".join(lines) + b"\n")

    def read(folder: Path, number: int) -> None:
        status_text(summary(folder))
        if number % REPORTED == 0:
            write_report(folder)

    return Kind(write, read)


def block_count(architecture: Architecture) -> float:
    """Return a reward."""
    return float(sum(block.kind == "bottleneck" for block in architecture.genotype.blocks))


KINDS = {"config": config_kind, "architecture": architecture_kind, "weights": weights_kind, "journal": journal_kind}


def read_in_child(kind: Kind, folder: Path, number: int) -> str:
    """Read a file in a child and return what came of it: "ok", "sentence", or the fault."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.close(reader)
        limit(resource.RLIMIT_AS, int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() + BYTES)
        limit(resource.RLIMIT_CPU, int(time.process_time()) + SECONDS + 1)
        try:
            kind.read(folder, number)
            said = "ok"
        except SpinetError as error:
            message = str(error).replace(str(folder), "")
            fine = len(message) < LONGEST and "\n" not in message
            said = "sentence" if fine else f"{len(message)} characters: {message[:200]!r}"
        except BaseException as error:  # whatever it is, it is a fault
            said = f"{type(error).__name__}: {str(error)[:200]!r}"
        os.write(writer, said.encode(errors="replace"))
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        name = signal.Signals(os.WTERMSIG(status)).name
        return f"over {SECONDS} CPU seconds" if name in ("SIGXCPU", "SIGKILL") else f"killed by {name}"
    return said or "no answer"


def limit(which: int, most: int) -> None:
    """Set a limit of this process for good."""
    resource.setrlimit(which, (most, most))


def main(kinds: Mapping[str, Callable[[Path], Kind]] = KINDS) -> int:
    """Read mutated files and print the counts, and each fault with the number that repeats it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kind", choices=kinds, required=True)
    parser.add_argument("--mutations", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first mutation, to repeat a fault")
    parser.add_argument("--keep", type=Path, help="folder for the files that led to a fault")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    usual = sys.getrecursionlimit()
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as name:
        kind = kinds[chosen.kind](Path(name))
        folder = Path(name) / "mutated"
        folder.mkdir()
        for number in range(chosen.first, chosen.first + chosen.mutations):
            sys.setrecursionlimit(30_000)  # to write deeper than what is read as usual
            kind.write(folder, Random(f"{chosen.kind} {chosen.seed} {number}"))
            sys.setrecursionlimit(usual)
            said = read_in_child(kind, folder, number)
            counts[said if said in ("ok", "sentence") else "fault"] += 1
            if said not in ("ok", "sentence"):
                print(f"{chosen.kind} {number}: {said}", flush=True)
                if chosen.keep:
                    target = chosen.keep / f"{chosen.kind}-{number}"
                    with suppress(shutil.Error):  # links to nowhere
                        shutil.copytree(folder, target, symlinks=True, dirs_exist_ok=True)
    said = ", ".join(f"{count:,} {what}" for what, count in counts.items())
    print(f"{chosen.kind}, seed {chosen.seed}: {chosen.mutations:,} mutations: {said}")
    return 1 if counts["fault"] else 0


if __name__ == "__main__":
    sys.exit(main())
