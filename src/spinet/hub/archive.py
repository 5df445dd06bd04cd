"""Unpacking a checkpoint from an archive that may be anything."""

import gzip
import lzma
import re
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from spinet.convert.tf_checkpoint import checkpoint_prefix
from spinet.errors import SpinetError
from spinet.hub.cache import check_room

# The published archives hold four to six files, the largest of some two gigabytes.
MAX_ENTRIES = 1000
MAX_BYTES = 16 << 30
# Of what an archive holds, the parts of a checkpoint; graphs, logs and configs stay in it.
_NEEDED = re.compile(r"checkpoint|[^/]+\.index|[^/]+\.data-\d{5}-of-\d{5}")


def unpack_checkpoint(archive: Path, folder: Path, where: str) -> Path:
    """Unpack the checkpoint in an archive, and nothing else, into an empty folder.

    Args:
        archive: .tar, compressed or not.
        folder: existing and empty; without links on the way, nothing is written outside.
        where: the address of the archive, for errors.

    Returns:
        The prefix of the checkpoint.

    Raises:
        SpinetError: the archive is corrupt, has entries that no checkpoint has, is too large, or holds no or several
            checkpoints; or there is no room.
    """
    try:
        with tarfile.open(archive) as content:
            members = list(_checked(content, where))
            check_room(folder, sum(member.size for member in members), "unpack")
            for member in members:
                content.extract(member, folder, filter="data")
    except (tarfile.TarError, gzip.BadGzipFile, lzma.LZMAError, EOFError, zlib.error, ValueError) as error:
        if isinstance(error, SpinetError):
            raise
        raise SpinetError(f"{where} is not an intact archive: {error!s:.100}") from None
    indices = sorted(folder.rglob("*.index"))
    if not indices:
        raise SpinetError(f"{where} holds no TensorFlow checkpoint (there is no .index file in it)")
    parents = {index.parent for index in indices}
    if len(parents) > 1:
        names = ", ".join(str(index.relative_to(folder)) for index in indices[:3])
        raise SpinetError(f"{where} holds several checkpoints: {names}; unpack it and convert one of them")
    return checkpoint_prefix(indices[0].parent if len(indices) > 1 else indices[0])


def _checked(content: tarfile.TarFile, where: str) -> Iterator[tarfile.TarInfo]:
    """Yield the files of the checkpoint, after a look at every entry."""
    total = 0
    for number, member in enumerate(content, start=1):
        total += member.size
        name = PurePosixPath(member.name)
        if number > MAX_ENTRIES or total > MAX_BYTES:
            raise SpinetError(
                f"{where} is not a checkpoint: it has more than {MAX_ENTRIES:,} entries or {MAX_BYTES >> 30} GB"
            )
        if name.is_absolute() or ".." in name.parts or "\\" in member.name or ":" in member.name:
            raise SpinetError(f"{where} has an entry outside of it, {member.name!r:.60}; nothing was unpacked")
        if not (member.isreg() or member.isdir()):
            raise SpinetError(f"{where} has an entry that is no file, {member.name!r:.60}; nothing was unpacked")
        if member.isreg() and _NEEDED.fullmatch(name.name) and not name.name.startswith("._"):
            yield member
