"""Optional packages: imported on first use, with an error that names the extra to install."""

import importlib
import os
import sys
from typing import Any

from spinet.errors import SpinetError


def import_extra(module: str, extra: str, purpose: str) -> Any:
    """Import a module of an optional package, and keep the package from reporting its use to its makers.

    Args:
        module: name of the module, such as `"scipy.stats"`.
        extra: the extra of Spinet that installs it.
        purpose: what needs it, the first words of the error.

    Raises:
        SpinetError: the package is not installed.
    """
    if extra == "export":
        # OpenVINO and NNCF do without this package; with it, each report forks the whole process and waits for a reply.
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    if extra == "app":
        os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    if extra == "hub":
        os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = (error.name or module).split(".")[0]
        raise SpinetError(f"{purpose} needs {package}, which is not installed: pip install 'spinet[{extra}]'") from None
