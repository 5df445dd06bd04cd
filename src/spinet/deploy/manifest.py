"""The description inside an exported file: enough to use it without its run."""

import importlib.metadata
import json
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_type_hints

import msgspec
import torch

from spinet.engine.build import ModelInfo
from spinet.errors import SpinetError
from spinet.extras import import_extra

ExportPrecision = Literal["fp32", "bf16", "int8"]
ExportFormat = Literal["onnx", "openvino", "pt2"]

# The manifest's key in the metadata of each format, and the version of its content.
KEY = "spinet"
FORMAT = "spinet-export-2"
INPUT = "uint8 RGB (N, H, W, 3), detectors: image fitted into the upper left corner, (124, 116, 104) around it"


@dataclass(frozen=True)
class Manifest:
    """Description inside an exported file.

    Attributes:
        info: architecture, settings and classes; `image_size` is the long side of the file's input.
        shape: height and width of this input in pixels.
        batch_size: images per batch, always the same number.
        outputs: names of the outputs, in order.
        precision: the intended arithmetic; `"bf16"` is a hint to the runtime.
        versions: of spinet and torch.
    """

    info: ModelInfo
    shape: tuple[int, int]
    batch_size: int
    outputs: tuple[str, ...]
    precision: ExportPrecision
    versions: dict[str, str]

    def to_json(self) -> str:
        """Return the manifest as a JSON string."""
        content = {"format": FORMAT, "input": INPUT, "model": self.info.to_metadata(), **asdict(self)}
        del content["info"]
        return json.dumps(content)

    @classmethod
    def from_json(cls, text: str | None, where: str) -> "Manifest":
        """Read what `to_json` wrote; `where` names the file in errors.

        Raises:
            SpinetError: the manifest is missing, corrupt or of another version.
        """
        if not text:
            raise SpinetError(f"{where} contains no manifest of Spinet; only files that Spinet exported can be used")
        try:
            content: dict[str, Any] = json.loads(text)
            if content["format"] != FORMAT:
                raise SpinetError(
                    f"{where} has the export version {content['format']!r}, but this Spinet reads {FORMAT!r}: "
                    "export it again"
                )
            info = ModelInfo.from_metadata(content["model"], where)
            kinds = get_type_hints(cls)
            del kinds["info"]
            return cls(info, **{name: msgspec.convert(content[name], kind) for name, kind in kinds.items()})
        except SpinetError:
            raise
        except (KeyError, ValueError, TypeError) as error:
            raise SpinetError(f"the manifest of {where} is corrupt: {error!r:.100}") from None


def current_versions() -> dict[str, str]:
    """Return the versions of the software that writes a manifest."""
    return {"spinet": importlib.metadata.version("spinet"), "torch": torch.__version__}


def require_packages(format: ExportFormat, precision: ExportPrecision) -> None:
    """Import the packages that an export needs, before it computes for minutes.

    Raises:
        SpinetError: a package is not installed.
    """
    modules = {"onnx": ("onnx", "onnxscript", "onnxruntime"), "openvino": ("onnx", "onnxscript", "openvino"), "pt2": ()}
    for module in (*modules[format], *(("nncf",) if precision == "int8" else ())):
        import_extra(module, "export", f"exporting to {format} in {precision}")
