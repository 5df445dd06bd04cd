"""Packages that only some of the search needs: imported on first use, missed by name."""

import importlib
from typing import Any

from spinet.errors import SpinetError


def import_extra(module: str, purpose: str) -> Any:
    """Return a module of the extra `search`.

    Raises:
        SpinetError: the package is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = (error.name or module).split(".")[0]
        raise SpinetError(f"{purpose} needs {package}, which is not installed: pip install 'spinet[search]'") from None
