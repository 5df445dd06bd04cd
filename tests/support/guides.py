"""What the documents tell readers to type."""

import re
import shlex
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)


class Block(NamedTuple):
    language: str
    text: str


def text_of(name: str) -> str:
    """The text of a document by its name, such as `data` or `README`."""
    path = ROOT / "docs" / f"{name}.md"
    return (path if path.exists() else ROOT / f"{name}.md").read_text(encoding="utf-8")


def blocks_of(name: str) -> list[Block]:
    """The blocks of code of a document, in order."""
    return [Block(found[2], found[3]) for found in FENCE.finditer(text_of(name))]


def lines_of(block: Block) -> list[str]:
    """The commands of a block; a line that begins with spaces continues the one before."""
    return re.sub(r"\\?\n +", " ", block.text).splitlines() if not block.language else []


def words_of(line: str) -> list[str]:
    """The words of a command after `spinet`, without its comment; nothing if it runs another program."""
    words = shlex.split(line, comments=True)
    return words[words.index("spinet") + 1 :] if "spinet" in words[:1] or "torchrun" in words[:1] else []


def commands_of(name: str) -> list[list[str]]:
    """The words after `spinet` of every command in a document, in blocks and within sentences."""
    inline = re.findall(r"`spinet ([^`]+)`", FENCE.sub("", text_of(name)))
    found = [words_of(line) for block in blocks_of(name) for line in lines_of(block)]
    return [words for words in [*found, *(shlex.split(text) for text in inline)] if words]
