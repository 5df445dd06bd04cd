"""`spinet export`: a trained network for other runtimes."""

from pathlib import Path
from typing import Annotated, Literal

import tyro

from spinet.commands.console import say
from spinet.errors import SpinetError


def export_command(args: list[str]) -> None:
    """A trained network as ONNX, OpenVINO or torch.export file."""

    def command(
        run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")],
        out: Annotated[Path, tyro.conf.arg(aliases=["-o"])],
        format: Literal["onnx", "openvino", "pt2"] = "onnx",
        image_size: int | tuple[int, int] | None = None,
        batch_size: int = 1,
        precision: Literal["fp32", "bf16"] = "fp32",
        int8: bool = False,
        calibration: Path | None = None,
    ) -> None:
        """Write a network with pre-processing and non-maximum suppression as one file, and compare it with the network.

        The file takes uint8 RGB (N, H, W, 3): a photo as large as fits, in the upper left corner, and the colour
        (124, 116, 104) around it. It gives boxes (N, 100, 4) XYXY in pixels of this input, scores (N, 100), labels
        (N, 100), -1 where nothing more was found, and masks (N, 100, 28, 28) inside the boxes; a classifier's gives
        probabilities (N, K). `spinet predict` and `spinet evaluate` take the file in place of a run.

        Args:
            run: Run folder or weights file.
            out: File to write: .onnx, .xml with a .bin beside it (or a folder for both), or .pt2.
            format: For onnxruntime and others, for OpenVINO, or for PyTorch without this package.
            image_size: Side of the square that the file takes, or its height and width (384 640), pixels; the side
                of the training if left out.
            batch_size: Images N that the file takes at once.
            precision: OpenVINO: arithmetic that the file asks its runtime for.
            int8: OpenVINO: 8-bit integers where NNCF allows them.
            calibration: Folder of photos like those that the file will see: --int8 takes ranges of values from 300 of
                them, and --precision bf16 is compared on some.
        """
        from spinet.deploy.export import ExportOptions, export

        if int8 and precision != "fp32":
            raise SpinetError("--int8 and --precision bf16 are two precisions; one is allowed")
        options = ExportOptions(format, image_size, batch_size, "int8" if int8 else precision, calibration)
        agreement = export(run, out, options)
        parts = [f"{agreement.matched:.1%} of {agreement.detections} detections"] if agreement.detections else []
        parts += [f"raw outputs within {agreement.raw:.1e} of their range"] if agreement.raw else []
        nothing = (
            "nothing was found in the pictures, so nothing was compared; see what `spinet evaluate` says of the file"
        )
        say(f"compared with the network: {', '.join(parts) or nothing}")
        say(f"{out}")

    tyro.cli(command, args=args, prog="spinet export")
