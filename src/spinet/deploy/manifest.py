"""What an exported file says about itself: enough to use it without the run that it came from."""

import importlib.metadata
import json
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import torch

from spinet.engine.build import ModelInfo
from spinet.errors import SpinetError, unknown_name
from spinet.extras import import_extra

Precision = Literal["fp32", "bf16", "int8"]
ExportFormat = Literal["onnx", "openvino", "pt2"]

# The key of the manifest in the metadata that each format has a place for, and the version of all this.
KEY = "spinet"
FORMAT = "spinet-export-2"
INPUT = "uint8 RGB (N, H, W, 3), detectors: photo fitted into the upper left corner, (124, 116, 104) around it"


@dataclass(frozen=True)
class Manifest:
    """Description inside an exported file.

    Attributes:
        info: architecture, settings, classes with their ids; `image_size` is the long side of the file's own input.
        shape: height and width of this input, pixels.
        batch_size: images that the file takes at once, always as many.
        outputs: names of the outputs, in their order.
        precision: what its arithmetic is meant to be; `"bf16"` is a hint to the runtime.
        versions: of spinet and torch that wrote it.
    """

    info: ModelInfo
    shape: tuple[int, int]
    batch_size: int
    outputs: tuple[str, ...]
    precision: Precision
    versions: dict[str, str]

    def to_json(self) -> str:
        """Return the text that travels in the file."""
        fields = {name: value for name, value in asdict(self).items() if name != "info"}
        return json.dumps({"format": FORMAT, "input": INPUT, "model": self.info.to_metadata(), **fields})

    @classmethod
    def from_json(cls, text: str | None, where: str) -> "Manifest":
        """Read what `to_json` wrote; `where` names the file in errors.

        Raises:
            SpinetError: there is no manifest, or one of another version, or a damaged one.
        """
        if not text:
            raise SpinetError(f"{where} has no manifest of Spinet in it; `spinet export` writes files that have one")
        try:
            content: dict[str, Any] = json.loads(text)
            if content["format"] != FORMAT:
                raise SpinetError(
                    f"{where} is an export of the version {content['format']!r}, but this Spinet reads {FORMAT!r}: "
                    "export it again"
                )
            if content["precision"] not in get_args(Precision):
                raise unknown_name("precision", str(content["precision"]), get_args(Precision))
            height, width = map(int, content["shape"])
            return cls(
                ModelInfo.from_metadata(content["model"], where),
                (height, width),
                int(content["batch_size"]),
                tuple(content["outputs"]),
                content["precision"],
                dict(content["versions"]),
            )
        except SpinetError:
            raise
        except (KeyError, ValueError, TypeError) as error:
            raise SpinetError(f"the manifest of {where} is damaged: {error!r:.100}") from None


def current_versions() -> dict[str, str]:
    """Return what the manifest says of the software that writes it."""
    return {"spinet": importlib.metadata.version("spinet"), "torch": torch.__version__}


def require_packages(format: ExportFormat, precision: Precision) -> None:
    """Import what an export needs, before it computes for minutes.

    Raises:
        SpinetError: a package is not installed.
    """
    modules = {"onnx": ("onnx", "onnxscript", "onnxruntime"), "openvino": ("onnx", "onnxscript", "openvino"), "pt2": ()}
    for module in (*modules[format], *(("nncf",) if precision == "int8" else ())):
        import_extra(module, "export", f"exporting to {format} in {precision}")
