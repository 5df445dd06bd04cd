"""The public functions that open weights, which take addresses beside paths."""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar, cast

from spinet.deploy import export as _export
from spinet.engine import checkpoint
from spinet.hub.fetch import local_path

F = TypeVar("F", bound=Callable[..., Any])


def takes_address(function: F) -> F:
    """Return a function whose first argument, `path`, may be an address of weights too."""

    @wraps(function)
    def resolve(path: str | Path, *args: Any, **kwargs: Any) -> Any:
        return function(local_path(path), *args, **kwargs)

    return cast(F, resolve)


load_backbone = takes_address(checkpoint.load_backbone)
load_classifier = takes_address(checkpoint.load_classifier)
load_detector = takes_address(checkpoint.load_detector)
load_model = takes_address(checkpoint.load_model)
export = takes_address(_export.export)
