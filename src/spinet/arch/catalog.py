"""From a name or a file path to an architecture, and from an architecture to its file."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from spinet.arch.baseline import BASELINES, NECKS, TIMM, Baseline, is_baseline
from spinet.arch.genotype import MAX_BLOCKS, Genotype, check_keys
from spinet.arch.published import PUBLISHED, SMALL
from spinet.arch.scaling import Scaling
from spinet.arch.variants import with_kind
from spinet.errors import SpinetError, is_unicode, quoted, unknown_name
from spinet.files import parse_json, read_content, write_atomically

T = TypeVar("T")
# Characters of a name or source.
MAX_TEXT = 1000
_FILES = resources.files("spinet.arch") / "genotypes"


@dataclass(frozen=True, repr=False)
class Architecture:
    """A graph and its scaling: all that is needed to build a backbone. Name and source do not count in comparisons."""

    genotype: Genotype
    scaling: Scaling
    name: str = field(default="unnamed", compare=False)
    source: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        built = len(self.genotype.all_blocks) * self.scaling.repeats
        if built > MAX_BLOCKS:
            raise SpinetError(
                f"architecture: {len(self.genotype.all_blocks):,} blocks with {self.scaling.repeats} repeats are "
                f"{built:,} in all; at most {MAX_BLOCKS:,} are supported"
            )

    def __repr__(self) -> str:
        return f"<Architecture {self.name}: {len(self.genotype.all_blocks)} blocks, width {self.scaling.width:g}>"

    def to_json(self) -> str:
        """Return the architecture as a JSON string, one block per line."""
        graph = self.genotype.to_dict()
        parts = [f'"name": {json.dumps(self.name)}', f'"source": {json.dumps(self.source)}']
        parts.append(f'"scaling": {json.dumps(self.scaling.to_dict())}')
        parts += [f'"{key}": {json.dumps(graph[key])}' for key in ("dangling", "damage") if key in graph]
        for key in ("stem", "blocks"):
            lines = ",\n".join(f"    {json.dumps(block)}" for block in graph[key])
            parts.append(f'"{key}": [\n{lines}\n  ]')
        return "{\n  " + ",\n  ".join(parts) + "\n}\n"

    @classmethod
    def from_json(cls, text: str, where: str) -> "Architecture":
        """Read an architecture from a JSON string; `where` names it in errors.

        Raises:
            SpinetError: the string is not JSON or not a valid architecture.
        """
        return _from_tree(cls.from_dict, parse_json(text, where), where)

    @classmethod
    def from_dict(cls, data: Any) -> "Architecture":
        """Build an architecture from the content of its file.

        Raises:
            SpinetError: a key is missing or unknown, or a value is invalid.
        """
        optional = ("name", "source", "scaling", "dangling", "damage")
        check_keys("architecture", data, required=("stem", "blocks"), optional=optional)
        for key in ("name", "source"):
            if not isinstance(data.get(key, ""), str):
                raise SpinetError(f"architecture: {key} must be a string, not {quoted(data[key])}")
            if not is_unicode(data.get(key, "")):
                raise SpinetError(f"architecture: {key} must be valid Unicode, not {quoted(data[key])}")
            if len(data.get(key, "")) > MAX_TEXT:
                raise SpinetError(
                    f"architecture: {key} must have at most {MAX_TEXT:,} characters, not {len(data[key]):,}"
                )
        graph = {key: data[key] for key in ("stem", "blocks", "dangling", "damage") if key in data}
        scaling = Scaling.from_dict(data.get("scaling", {}))
        return cls(Genotype.from_dict(graph), scaling, data.get("name", "unnamed"), data.get("source", ""))

    def save(self, path: str | Path) -> None:
        """Write the JSON file that `load_architecture` reads."""
        write_atomically(Path(path), self.to_json())


Network = Architecture | Baseline


def names() -> list[str]:
    """Names of all architectures in the package."""
    return [*PUBLISHED, *SMALL]


def load_architecture(name_or_path: str | Path) -> Architecture:
    """Return the architecture of a catalogue name, or the one in a JSON file.

    Raises:
        SpinetError: the name is unknown, or the file is missing or not a valid architecture.
    """
    text = str(name_or_path)
    return _shipped(text) if text in names() else Architecture.from_json(_content(text), text)


def load_network(name_or_path: str | Path) -> Network:
    """Return the baseline of a name, or the architecture of a name or file (see `load_architecture`).

    The JSON of a network itself, as `to_json` returns it, is read too: settings adopted from weights name no file.

    Raises:
        SpinetError: the name is unknown, or the file is missing or not valid.
    """
    text = str(name_or_path)
    if text.startswith("{"):
        return network_from_json(text, "the architecture")
    if is_baseline(text):
        return Baseline.from_name(text)
    if text.endswith(NECKS) and not Path(text).is_file():
        raise unknown_name("baseline", text, (*BASELINES, f"{TIMM}NAME-fpn", f"{TIMM}NAME-nas-fpn"))
    return _shipped(text) if text in names() else network_from_json(_content(text), text)


def network_from_json(text: str, where: str) -> Network:
    """Read the output of `to_json` of an architecture or a baseline; `where` names it in errors.

    Raises:
        SpinetError: the string is not JSON or not a valid network.
    """
    data = parse_json(text, where)
    build: Callable[[Any], Network] = Architecture.from_dict
    if isinstance(data, dict) and "baseline" in data:
        build = _baseline
    return _from_tree(build, data, where)


def _baseline(data: Any) -> Baseline:
    check_keys("network", data, required=("baseline",))
    return Baseline.from_dict(data["baseline"])


def _from_tree(build: Callable[[Any], T], data: Any, where: str) -> T:
    try:
        return build(data)
    except SpinetError as error:
        raise SpinetError(f"{where}: {error}") from None


def _content(file: str) -> str:
    path = Path(file)
    try:
        if (path / "best.json").is_file():
            raise SpinetError(f"{file} is a folder; name the architecture in it, {path / 'best.json'}")
        if path.suffix != ".json" and not path.is_file():
            raise unknown_name("architecture", file, names())
        return read_content(path).decode("utf-8-sig")
    except OSError as error:
        raise SpinetError(f"could not read the architecture file {file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SpinetError(f"could not read the architecture file {file}: it is not UTF-8 text") from None


def _shipped(name: str) -> Architecture:
    entry = {**PUBLISHED, **SMALL}[name]
    found = Architecture.from_json((_FILES / f"{entry.file}.json").read_text(encoding="utf-8"), f"{entry.file}.json")
    genotype = with_kind(found.genotype, entry.kind) if entry.kind else found.genotype
    return Architecture(genotype, entry.scaling or found.scaling, name, f"{found.source}; {entry.source}")
