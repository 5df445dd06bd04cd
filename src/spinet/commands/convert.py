"""`spinet convert`: published weights as Spinet's own."""

from pathlib import Path
from typing import Annotated, Literal

import tyro

from spinet.commands.console import say


def convert_command(args: list[str]) -> None:
    """Weights published for TensorFlow or mmdetection, as a weights file."""

    def command(
        path: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="PATH")],
        out: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("weights.safetensors"),
        arch: str = "",
        activation: Literal["relu", "swish", "hard_swish"] | None = None,
        bn_eps: float | None = None,
        image_size: int | None = None,
    ) -> None:
        """Convert a checkpoint of tensorflow/models or tensorflow/tpu, or a state dict of the mmdetection ports.

        Backbones, RetinaNet detectors, and the classifiers of tensorflow/tpu are known.
        Every checksum is verified and every variable accounted for; on any mismatch nothing is written.

        Args:
            path: Checkpoint prefix, one of its files or its folder; or a .pth file.
            out: Weights file to write.
            arch: Catalogue name or architecture file; found from the weights if left out.
            activation: Which one the model was trained with; no checkpoint says it.
            bn_eps: Epsilon of batch norm; the source's usual one if left out.
            image_size: Side of the images it was trained on; the published model's if left out.
        """
        from spinet.convert.convert import convert

        found = convert(path, arch=arch, activation=activation, bn_eps=bn_eps, image_size=image_size)
        found.save(out)
        info = found.info
        what = f"{info.task} of {len(info.class_names)} classes" if info.class_names else "backbone without a head"
        say(f"{found.source}: {info.architecture.name}, {what}, {found.parameters:,} parameters")
        for reason, left_out in found.left_out.items():
            say(f"left out: {reason} ({len(left_out)}): {', '.join(left_out[:3])}{', ...' * (len(left_out) > 3)}")
        if activation is None:
            say(f"activation: {info.model.activation}, as is usual there; --activation says otherwise")
        say(f"{out}")

    tyro.cli(command, args=args, prog="spinet convert")
