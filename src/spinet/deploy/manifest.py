"""The description inside an exported file: enough to use it without its run."""

import importlib.metadata
import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal, get_type_hints

import msgspec
import torch
from msgspec import Meta

from spinet.engine.build import ModelInfo
from spinet.errors import SpinetError, quoted
from spinet.extras import import_extra
from spinet.fields import ImageSize
from spinet.files import parse_json

ExportPrecision = Literal["fp32", "bf16", "int8"]
ExportFormat = Literal["onnx", "openvino", "pt2"]

# The manifest's key in the metadata of each format, and the version of its content.
KEY = "spinet"
FORMAT = "spinet-export-2"
# Pixels of a batch, which is prepared before a file itself can refuse it.
MAX_PIXELS, MAX_BATCH = 2**28, 1000
# Name and content of the input.
INPUT = "images"
DESCRIPTION = "uint8 RGB (N, H, W, 3), detectors: image fitted into the upper left corner, (124, 116, 104) around it"


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
    shape: tuple[ImageSize, ImageSize]
    batch_size: Annotated[int, Meta(ge=1, le=MAX_BATCH)]
    outputs: tuple[str, ...]
    precision: ExportPrecision
    versions: dict[str, str]

    def check(self, inputs: Mapping[str, Sequence[object]], outputs: Collection[str], where: str) -> None:
        """Raise a SpinetError if the network in the file has another input or lacks an output.

        Args:
            inputs: the shape of each input; what the file leaves open is not a number.
            outputs: names of the outputs.
            where: names the file in errors.
        """
        expected, shape = (self.batch_size, *self.shape, 3), inputs.get(INPUT, ())
        if len(inputs) != 1 or len(shape) != 4:
            raise SpinetError(f"{where} takes {quoted(dict(inputs))}; a file of Spinet takes {INPUT!r} of 4 dimensions")
        if any(isinstance(a, int) and a != b for a, b in zip(shape, expected, strict=True)):
            raise SpinetError(f"{where} takes images of shape {quoted(tuple(shape))}, but its manifest says {expected}")
        needed = {"probabilities"} if self.info.kind == "classifier" else {"boxes", "scores", "labels"}
        if missing := (needed | set(self.outputs)) - set(outputs):
            raise SpinetError(f"{where} has no output {', '.join(sorted(missing)):.60}, which its manifest says it has")

    def to_json(self) -> str:
        """Return the manifest as a JSON string."""
        content = {"format": FORMAT, "input": DESCRIPTION, "model": self.info.to_metadata(), **asdict(self)}
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
            content: dict[str, Any] = parse_json(text, f"the manifest of {where}")
            if content["format"] != FORMAT:
                raise SpinetError(
                    f"{where} has the export version {quoted(content['format'])}, but this Spinet reads {FORMAT!r}: "
                    "export it again"
                )
            info = ModelInfo.from_metadata(content["model"], where)
            kinds = get_type_hints(cls, include_extras=True)
            del kinds["info"]
            manifest = cls(info, **{name: msgspec.convert(content[name], kind) for name, kind in kinds.items()})
            check_input(manifest.batch_size, manifest.shape, f"the manifest of {where}: ")
            return manifest
        except SpinetError:
            raise
        except (KeyError, ValueError, TypeError, OverflowError) as error:
            raise SpinetError(f"the manifest of {where} is corrupt: {error!r:.100}") from None


def check_input(batch_size: int, shape: tuple[int, int], where: str = "") -> None:
    """Raise a SpinetError, which begins with `where`, for more pixels than a file may take at once."""
    if (pixels := batch_size * math.prod(shape)) > MAX_PIXELS:
        # They are several: a single image of the largest size has a quarter of that.
        raise SpinetError(
            f"{where}{batch_size} images of {shape[0]} x {shape[1]} pixels are {pixels:,} pixels; "
            f"must be at most {MAX_PIXELS:,}, so lower batch_size or image_size"
        )


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
