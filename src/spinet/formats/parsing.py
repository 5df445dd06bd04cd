"""Text, YAML and XML of others: read in their encodings, and whatever is wrong becomes one sentence."""

import codecs
import re
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from encodings.aliases import aliases
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from spinet.errors import OutOfMemory, SpinetError, quoted

# Larger encodings that contain the one named, which programs write under its name (as in WHATWG's encoding standard).
SUPERSETS = {"gb2312": "gb18030", "gbk": "gb18030", "shift_jis": "cp932", "euc_kr": "cp949", "big5": "cp950"}
# ImageNet's 21,000 class names are half of that. PyYAML takes up to ten seconds for so much.
MAX_YAML = 2**20

_DECLARED = re.compile(rb"""^\s*<\?xml[^>]{0,200}?encoding\s*=\s*["']([^"'>]{1,80})["']""")


@contextmanager
def reading(file: Path, form: str) -> Iterator[None]:
    """Turn whatever goes wrong inside into a SpinetError that names the file; `form` is such as "XML"."""
    try:
        yield
    except SpinetError:
        raise
    except OSError as error:
        raise SpinetError(f"could not read {file}: {error.strerror or type(error).__name__}") from error
    except RecursionError:
        raise SpinetError(f"{file} is not valid {form}: it is nested too deeply") from None
    except MemoryError:
        raise OutOfMemory(f"{file} does not fit into memory") from None
    except UnicodeDecodeError as error:
        raise SpinetError(
            f"{file} is not valid {form}: byte {error.start:,} is not {error.encoding.upper()} text"
        ) from error
    # Parsers raise nearly anything: ValueError for an integer of 5,000 digits, AttributeError, LookupError, ...
    except Exception as error:
        reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise SpinetError(f"{file} is not valid {form}: {reason}") from error


@contextmanager
def readable(root: Path) -> Iterator[None]:
    """Turn what the system says of a file or folder of a dataset into a SpinetError, and keep errors on one line."""
    try:
        yield
    except SpinetError as error:
        text = str(error).encode(errors="backslashreplace").decode()
        if text.isprintable():
            raise
        # Names of files and values may hold line breaks.
        text = "".join(letter if letter.isprintable() else " " for letter in text)
        raise type(error)(" ".join(text.split())) from error
    except OSError as error:
        where = str(error.filename or root)
        raise SpinetError(f"could not read {where[-160:]}: {error.strerror or type(error).__name__}") from error
    except ValueError as error:
        if "null" not in str(error):
            raise
        raise SpinetError(f"a file of {root} names a file with a null character") from error


def peek(file: Path, size: int = -1) -> bytes:
    """Return the beginning of a file, or all of it; nothing of what cannot be read or is a folder."""
    try:
        with file.open("rb") as content:
            return content.read(size)
    except OSError:
        return b""


def read_lines(file: Path) -> list[str]:
    """Return the lines of a list, stripped and without empty ones; a byte order mark is no part of them."""
    with reading(file, "text"):
        text = file.read_bytes().decode("utf-8-sig", errors="replace")
    return [line.strip() for line in text.splitlines() if line.strip()]


def read_yaml(file: Path) -> Any:
    """Return the content of a YAML file; tags that make objects are refused."""
    try:
        import yaml  # type: ignore[import-untyped]
    except ImportError as error:
        raise SpinetError(f"reading {file} needs pyyaml, which is not installed: pip install pyyaml") from error
    with reading(file, "YAML"):
        content = file.read_bytes()
        if len(content) > MAX_YAML:
            raise SpinetError(f"{file} has {len(content):,} bytes; settings must have at most {MAX_YAML:,}")
        try:
            return yaml.safe_load(content)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark
            where = f": line {mark.line + 1}, column {mark.column + 1}" if mark else ""
            raise SpinetError(f"{file} is not valid YAML{where}: {str(error.problem)[:120]}") from error


def read_xml(file: Path, content: bytes) -> ElementTree.Element:
    """Return the root element of an XML file, in any encoding that Python knows."""
    with reading(file, "XML"):
        text = _decoded(content, file)
        # Against entity expansion. Expat limits it too, from 2.4.1.
        if "<!DOCTYPE" in text or "<!ENTITY" in text:
            raise SpinetError(f"{file} declares a document type or entities, which is not allowed in Pascal VOC files")
        try:
            return ElementTree.fromstring(text)
        except ElementTree.ParseError as error:
            line, column = error.position
            reason = str(error).split(":")[0]
            raise SpinetError(f"{file} is not valid XML: line {line}, column {column + 1}: {reason}") from error


def _decoded(content: bytes, file: Path) -> str:
    """Decode XML by its byte order mark or its declaration; expat itself knows no encoding of several bytes."""
    for mark, encoding in (
        (codecs.BOM_UTF8, "utf-8-sig"),
        (codecs.BOM_UTF32_LE, "utf-32"),
        (codecs.BOM_UTF32_BE, "utf-32"),
        (codecs.BOM_UTF16_LE, "utf-16"),
        (codecs.BOM_UTF16_BE, "utf-16"),
    ):
        if content.startswith(mark):
            return content.decode(encoding)
    declared = _DECLARED.match(content)
    name = declared[1].decode("ascii", errors="replace").strip() if declared else "utf-8"
    try:
        codec = codecs.lookup(name)
        encoding = SUPERSETS.get(codec.name.replace("-", "_"), codec.name)
        # .NET declares UTF-16 and writes UTF-8; the declaration itself could not be read otherwise.
        return content.decode("utf-8" if encoding.startswith(("utf-16", "utf-32")) else encoding)
    except (LookupError, ValueError) as error:
        if isinstance(error, UnicodeDecodeError):
            raise
        near = get_close_matches(name.casefold().replace("-", "_"), [*aliases, *aliases.values()], n=1)
        hint = f", did you mean {near[0].replace('_', '-')!r}?" if near else "; save it as UTF-8"
        raise SpinetError(f"{file} declares the unknown encoding {quoted(name)}{hint}") from None
