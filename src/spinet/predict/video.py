"""Videos and cameras in, annotated videos and one line of JSON per frame out, by PyAV (the extra `video`)."""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from spinet.errors import SpinetError
from spinet.extras import import_extra
from spinet.files import refuse_replacing
from spinet.predict.ahead import ahead, batches
from spinet.predict.predictor import Predictor, Prepared, check_options
from spinet.predict.results import DetectionResult

VIDEO_SUFFIXES = (".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".ts", ".wmv")
CAMERA = "camera:"
# FFmpeg's input format for cameras on each system, and its name for one camera.
DEVICES = {"linux": ("v4l2", "/dev/video{}"), "darwin": ("avfoundation", "{}"), "win32": ("dshow", "video={}")}
# Fraction of a video's stated length that may be missing at its end, because containers round it.
MISSING = 0.02


@dataclass(frozen=True)
class FramePrediction:
    """The prediction for one frame: its line in the JSON file, and what was found in few words."""

    number: int
    entry: dict[str, Any]
    summary: str


def is_video(source: Path | str) -> bool:
    """Whether a source is a camera, or a video by its name."""
    return str(source).startswith(CAMERA) or Path(source).suffix.lower() in VIDEO_SUFFIXES


def device_of(source: str, platform: str = sys.platform) -> tuple[str, str | None]:
    """Return what FFmpeg opens for a file or `camera:0`, and the input format of a camera.

    Raises:
        SpinetError: a camera has no name, or cameras are not supported on this system.

    >>> device_of("camera:0", "linux"), device_of("walk.mp4")
    (('/dev/video0', 'v4l2'), ('walk.mp4', None))
    """
    if not source.startswith(CAMERA):
        return source, None
    name = source.removeprefix(CAMERA)
    if not name or (platform != "win32" and not name.isdigit()):
        raise SpinetError(f"{source!r} names no camera; expected {CAMERA} and its number, such as camera:0")
    if platform not in DEVICES:
        raise SpinetError(f"cameras are not supported on {platform!r}, only on {', '.join(sorted(DEVICES))}")
    input_format, pattern = DEVICES[platform]
    return pattern.format(name), input_format


def video_outputs(source: Path | str, out: Path) -> tuple[Path, Path]:
    """Return where the annotated video and the JSON lines of a source go."""
    stem = str(source).replace(":", "-") if str(source).startswith(CAMERA) else Path(source).stem
    return out / f"{stem}.mp4", out / f"{stem}.jsonl"


def check_outputs(sources: Sequence[Path | str], out: Path) -> None:
    """Raise a SpinetError if an annotated video would replace a source or another annotated video."""
    files = [Path(source) for source in sources if not str(source).startswith(CAMERA)]
    refuse_replacing([video_outputs(source, out)[0] for source in sources], files)


def predict_video(
    predictor: Predictor,
    source: Path | str,
    out: Path,
    *,
    score_threshold: float = 0.3,
    batch_size: int = 1,
    frames: int | None = None,
) -> Iterator[FramePrediction]:
    """Detect objects in every frame; write `NAME.mp4` with them drawn and `NAME.jsonl` with one line per frame.

    Both files get their names when the video ends or is interrupted, and hold all frames until then.

    Args:
        predictor: the detector.
        source: a video file, or `camera:0`.
        out: folder for both files.
        score_threshold: objects with lower scores are left out.
        batch_size: frames that go through the network at once.
        frames: stop after this many.

    Raises:
        SpinetError: PyAV is not installed, an option is out of range, the video cannot be opened, is truncated, or
            would be replaced by the annotated one.
    """
    check_options(score_threshold, batch_size=batch_size)
    av = import_extra("av", "video", "reading videos")
    check_outputs([source], out)
    try:
        name, input_format = device_of(str(source))
        container = av.open(name, format=input_format)
    except (av.error.FFmpegError, OSError) as error:
        raise SpinetError(f"could not open the video {source}: {error.strerror or error}") from None
    with container:
        if not container.streams.video:
            raise SpinetError(f"{source} contains no video stream, only {len(container.streams)} of other kinds")
        prepared = ahead(_prepared(av, container, predictor, str(source), frames), 2 * batch_size)
        # The thread that decodes has to end before the container is closed.
        with (
            closing(prepared),
            _outputs(av, *video_outputs(source, out), container.streams.video[0].average_rate) as write,
        ):
            for batch in batches(prepared, batch_size):
                results = predictor.predict_batch([image for _, _, image in batch], score_threshold)
                for (number, seconds, _), result in zip(batch, results, strict=True):
                    assert isinstance(result, DetectionResult)
                    entry = {"frame": number, "time": seconds, "detections": result.to_dict()["detections"]}
                    write(result.plot(), entry)
                    yield FramePrediction(number, entry, result.summary())


def _prepared(
    av: Any, container: Any, predictor: Predictor, source: str, frames: int | None
) -> Iterator[tuple[int, float, Prepared]]:
    """Yield frames with their numbers and times; raise a SpinetError if they end before the video should."""
    stream = container.streams.video[0]
    number, seconds, why = 0, 0.0, "no frames come after it"
    try:
        for frame in islice(container.decode(stream), frames):
            image = torch.from_numpy(frame.to_ndarray(format="rgb24")).permute(2, 0, 1)
            seconds = round(float(frame.time or 0.0), 4)
            yield number, seconds, predictor.prepare(image)
            number += 1
    except av.error.FFmpegError as error:
        why = str(error.strerror or error)
    else:
        length = float(container.duration / av.time_base) if container.duration else 0.0
        rate = float(stream.average_rate or 25)
        # Some containers state the number of frames, some the length, some neither: then any end will do.
        complete = number >= stream.frames * (1 - MISSING) and seconds + 2 / rate >= length * (1 - MISSING)
        if number == frames or complete:
            return
    raise SpinetError(
        f"the video {source} is truncated: it ends after {number} frames ({seconds:.2f} seconds), {why}; "
        "the predictions up to there have been written"
    )


@contextmanager
def _outputs(av: Any, video: Path, lines: Path, rate: Fraction | None) -> Iterator[Callable[..., None]]:
    """Yield what writes a frame to the annotated video and its JSON line; both get their names at the end."""
    partial = video.with_name(f".{video.stem}.partial{video.suffix}")
    partial_lines = lines.with_name(f".{lines.name}.partial")
    container: Any = None
    stream: Any = None

    def write(image: Image.Image, entry: dict[str, Any]) -> None:
        nonlocal container, stream
        if stream is None:
            container = av.open(str(partial), "w")
            stream = container.add_stream("libx264" if "libx264" in av.codecs_available else "mpeg4", rate=rate or 25)
            # Most players support yuv420p only, whose colours are halved in both directions: sides must be even.
            stream.width, stream.height = (max(side // 2 * 2, 2) for side in image.size)
            stream.pix_fmt = "yuv420p"
        frame = av.VideoFrame.from_image(image.crop((0, 0, stream.width, stream.height)))
        container.mux(stream.encode(frame))
        text.write(json.dumps(entry) + "\n")

    try:
        video.parent.mkdir(parents=True, exist_ok=True)
        text = partial_lines.open("w")
    except OSError as error:
        raise SpinetError(f"could not write {lines}: {error.strerror}") from None
    try:
        yield write
    finally:
        text.close()
        partial_lines.replace(lines)
        if stream is not None:
            container.mux(stream.encode())
            container.close()
            partial.replace(video)
