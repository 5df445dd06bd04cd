"""`spinet export`: a trained model for other runtimes."""

from pathlib import Path
from typing import Annotated, Literal

import tyro

from spinet.commands.console import say, warn
from spinet.errors import SpinetError


def export_command(args: list[str]) -> None:
    """Export a trained model to ONNX, OpenVINO or torch.export."""

    def command(
        run: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")],
        out: Annotated[Path, tyro.conf.arg(aliases=["-o"])],
        format: Literal["onnx", "openvino", "pt2"] = "onnx",
        image_size: int | tuple[int, int] | None = None,
        batch_size: int = 1,
        precision: Literal["fp32", "bf16"] = "fp32",
        int8: bool = False,
        calibration: Path | None = None,
    ) -> None:
        """Export a model as one file, with preprocessing and NMS, and compare its outputs with the network's.

        Input: uint8 RGB (N, H, W, 3), each image resized to fit into the upper left corner, padded with the colour
        (124, 116, 104). Outputs of a detector: boxes (N, 100, 4) XYXY in pixels of this input, scores (N, 100), labels
        (N, 100), -1 for empty rows, and with a mask head masks (N, 100, 28, 28) inside the boxes; of a classifier:
        probabilities (N, K). `spinet predict` and `spinet evaluate` take the file like a run.

        Args:
            run: Run folder, weights file or its address (published/NAME, https://, hf://).
            out: File to write: .onnx, .xml with a .bin beside it (or a folder for both), or .pt2.
            format: `onnx` for onnxruntime and others, `openvino`, or `pt2` for PyTorch without this package.
            image_size: Side of the square input, or its height and width (384 640), in pixels; by default that of the
                training.
            batch_size: Images per batch, fixed in the file.
            precision: OpenVINO: arithmetic that the file asks its runtime for.
            int8: OpenVINO: 8-bit integers where NNCF supports them.
            calibration: Folder of images like those that the file will see. --int8 calibrates on 300 of them, and
                --precision bf16 is compared on some.
        """
        from spinet.deploy.trust import record_export
        from spinet.hub.models import export

        if int8 and precision != "fp32":
            raise SpinetError("--int8 and --precision bf16 exclude each other")
        agreement = export(
            run,
            out,
            format=format,
            image_size=image_size,
            batch_size=batch_size,
            precision="int8" if int8 else precision,
            calibration=calibration,
        )
        parts = [f"{agreement.matched:.1%} of {agreement.detections} detections match"] if agreement.detections else []
        parts += [f"raw outputs within {agreement.raw:.1e} of their range"] if agreement.raw else []
        nothing = "no objects were detected, so nothing was compared; check the file with `spinet evaluate`"
        say(f"compared with the network: {', '.join(parts) or nothing}")
        if format == "pt2" and (reason := record_export(out.read_bytes())):  # once more, to hear why not
            warn(f"opening {out} will need --trust, see docs/export.md: {reason}")
        say(f"{out}")

    tyro.cli(command, args=args, prog="spinet export")
