"""`spinet convert`: published weights to a Spinet weights file."""

from pathlib import Path
from typing import Annotated, Literal

import tyro

from spinet.commands.console import say


def convert_command(args: list[str]) -> None:
    """Convert weights published for TensorFlow or mmdetection."""

    def command(
        path: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="PATH")],
        out: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("weights.safetensors"),
        arch: str = "",
        activation: Literal["relu", "swish", "hard_swish"] | None = None,
        bn_eps: float | None = None,
        image_size: int | None = None,
    ) -> None:
        """Convert a checkpoint of tensorflow/models or tensorflow/tpu, or a state dict of the mmdetection ports.

        Supported are backbones, RetinaNet detectors, Faster, Mask and Cascade R-CNNs of tensorflow/models and
        tensorflow/tpu, and the classifiers of the latter. Every checksum is verified and every variable accounted for;
        on any mismatch nothing is written.

        Args:
            path: Checkpoint prefix, one of its files or its folder; or a .pth file.
            out: Weights file to write.
            arch: Catalog name or architecture file; inferred from the weights by default.
            activation: That the model was trained with; checkpoints do not contain it.
            bn_eps: Epsilon of batch norm; the publisher's by default.
            image_size: Side of the training images, pixels; the published model's by default.
        """
        from spinet.convert.convert import convert

        converted = convert(path, arch=arch, activation=activation, bn_eps=bn_eps, image_size=image_size)
        converted.save(out)
        info = converted.info
        what = f"{info.kind} of {len(info.class_names)} classes" if info.class_names else "backbone without a head"
        say(f"{converted.source}: {info.architecture.name}, {what}, {converted.parameters:,} parameters")
        for reason, left_out in converted.left_out.items():
            say(f"left out: {reason} ({len(left_out)}): {', '.join(left_out[:3])}{', ...' * (len(left_out) > 3)}")
        if activation is None:
            say(f"activation: {info.model.activation} by default; change it with --activation")
        say(f"{out}")

    tyro.cli(command, args=args, prog="spinet convert")
