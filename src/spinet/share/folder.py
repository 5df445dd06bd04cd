"""A folder that is written whole or not at all."""

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from spinet.errors import SpinetError


def check_free(folder: Path) -> None:
    """Raise a SpinetError unless a folder can be written: it is not there yet, or is empty."""
    if folder.exists() and not folder.is_dir():
        raise SpinetError(f"{folder} is a file; name a folder, which is created")
    if folder.is_dir() and any(folder.iterdir()):
        raise SpinetError(f"the folder {folder} is not empty; name another one, which is created")


def write_folder(folder: Path, files: Mapping[str, bytes | Path]) -> None:
    """Write files, from bytes or copied, into a new folder, which appears when all of them are on the disk.

    Raises:
        SpinetError: the folder has files already, or cannot be written; nothing of it is left then.
    """
    check_free(folder)
    staging = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=".", suffix=".partial", dir=folder.parent))
        for name, content in files.items():
            target = staging / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, Path):
                shutil.copyfile(content, target)
            else:
                target.write_bytes(content)
        staging.chmod(0o755)
        if folder.is_dir():
            folder.rmdir()
        staging.rename(folder)
    except OSError as error:
        raise SpinetError(f"could not write the folder {folder}: {error.strerror or error}") from None
    finally:
        if staging is not None:
            shutil.rmtree(staging, ignore_errors=True)
