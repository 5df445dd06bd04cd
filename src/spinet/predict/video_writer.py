"""An annotated video, each frame at its own time, and one line of JSON per frame."""

import json
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

from PIL import Image

from spinet.errors import SpinetError

# Ticks a second: a multiple of the usual frame rates, those of television (30000 / 1001 ...) too, and within what
# MPEG-4 Part 2 can express (65535).
TICKS = 60000


@contextmanager
def video_writer(av: Any, video: Path, lines: Path, rate: Fraction | None) -> Iterator[Callable[..., None]]:
    """Yield what writes a frame, its JSON entry and its time in seconds; both files get their names at the end.

    Args:
        av: PyAV.
        video: the annotated video, .mp4.
        lines: the JSON lines.
        rate: average frames per second, which the encoder plans with.

    Raises:
        SpinetError: a file cannot be written.
    """
    # Short names, because that of the video may be as long as the file system allows.
    partial = video.with_name(f".{zlib.crc32(video.name.encode()):08x}.partial.mp4")
    partial_lines = partial.with_suffix(".jsonl")
    container: Any = None
    stream: Any = None
    last = -1

    def write(image: Image.Image, entry: dict[str, Any], seconds: float) -> None:
        nonlocal container, stream, last
        if stream is None:
            container = av.open(str(partial), "w")
            stream = container.add_stream("libx264" if "libx264" in av.codecs_available else "mpeg4", rate=rate or 25)
            # Most players support yuv420p only, whose colours are halved in both directions: sides must be even.
            stream.width, stream.height = (max(side // 2 * 2, 2) for side in image.size)
            stream.pix_fmt = "yuv420p"
            stream.time_base = stream.codec_context.time_base = Fraction(1, TICKS)
        frame = av.VideoFrame.from_image(image.crop((0, 0, stream.width, stream.height)))
        last = max(round(seconds * TICKS), last + 1)  # times in a file may repeat, those of an encoder must not
        frame.pts, frame.time_base = last, Fraction(1, TICKS)
        container.mux(stream.encode(frame))
        text.write(json.dumps(entry) + "\n")

    try:
        video.parent.mkdir(parents=True, exist_ok=True)
        text = partial_lines.open("w")
    except OSError as error:
        raise SpinetError(f"could not write {lines}: {error.strerror}") from None
    try:
        try:
            yield write
        finally:
            text.close()
            partial_lines.replace(lines)
            if stream is not None:
                container.mux(stream.encode())
                container.close()
                partial.replace(video)
    except (av.error.FFmpegError, OSError) as error:
        partial.unlink(missing_ok=True)
        raise SpinetError(f"could not write {video}: {error.strerror or error}") from error
